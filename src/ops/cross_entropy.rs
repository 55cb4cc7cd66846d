//! Softmax cross-entropy with the mean over the batch, as PyTorch's `cross_entropy`, and the batch's metrics.

use crate::gpu::plan::Dispatch;
use crate::gpu::{GpuError, Planner, Shader, Tensor};
use crate::metrics::BatchMetrics;
use crate::shader;

pub const SHADER: Shader = shader!("cross_entropy");

/// Over `classes` logits per sample.
#[derive(Clone, Debug)]
pub struct CrossEntropy {
    pub classes: usize,
    /// Share of each target that is spread over all classes: PyTorch's `label_smoothing`. An evaluation knows none.
    pub smoothing: f32,
}

/// The tensors of the fused kernels.
pub struct LossTensors<'a> {
    pub n: usize,
    /// (N, classes)
    pub logits: &'a Tensor,
    /// (N) u32
    pub targets: &'a Tensor,
    /// (batches of an epoch) [`BatchMetrics`]
    pub metrics: &'a Tensor,
}

impl CrossEntropy {
    /// Without smoothing.
    pub const fn new(classes: usize) -> Self {
        Self { classes, smoothing: 0.0 }
    }

    /// Elements of one [`BatchMetrics`] in its tensor.
    pub const METRICS_LEN: usize = size_of::<BatchMetrics>() / 4;

    fn dispatch(
        &self,
        planner: &mut Planner,
        n: usize,
        entry: &str,
        buffers: &[(&str, &Tensor, usize)],
        invocations: usize,
    ) -> Result<(), GpuError> {
        let constants = &[("BATCH", n as f64), ("CLASSES", self.classes as f64), ("SMOOTHING", f64::from(self.smoothing))];
        let invocations = [invocations, 1, 1];
        planner.dispatch(Dispatch { shader: &SHADER, entry, constants, buffers, invocations, flops: 0 })
    }

    /// Each sample's loss into `losses` (N).
    pub fn plan_forward(
        &self,
        planner: &mut Planner,
        n: usize,
        logits: &Tensor,
        targets: &Tensor,
        losses: &Tensor,
    ) -> Result<(), GpuError> {
        let buffers = [("logits", logits, n * self.classes), ("targets", targets, n), ("losses", losses, n)];
        self.dispatch(planner, n, "forward", &buffers, n)
    }

    /// The gradient of the mean loss into `d_logits` (N, classes).
    pub fn plan_backward(
        &self,
        planner: &mut Planner,
        n: usize,
        logits: &Tensor,
        targets: &Tensor,
        d_logits: &Tensor,
    ) -> Result<(), GpuError> {
        let len = n * self.classes;
        let buffers = [("logits", logits, len), ("targets", targets, n), ("d_logits", d_logits, len)];
        self.dispatch(planner, n, "backward", &buffers, n)
    }

    /// Loss, gradient and metrics in one dispatch.
    pub fn plan_train(&self, planner: &mut Planner, t: &LossTensors, d_logits: &Tensor) -> Result<(), GpuError> {
        let [logits, targets, metrics] = self.buffers(t);
        let d_logits = ("d_logits", d_logits, t.n * self.classes);
        self.dispatch(planner, t.n, "train", &[logits, targets, metrics, d_logits], 1)
    }

    /// Loss and metrics alone.
    pub fn plan_evaluate(&self, planner: &mut Planner, t: &LossTensors) -> Result<(), GpuError> {
        self.dispatch(planner, t.n, "evaluate", &self.buffers(t), 1)
    }

    fn buffers<'a>(&self, t: &LossTensors<'a>) -> [(&'static str, &'a Tensor, usize); 3] {
        let logits = ("logits", t.logits, t.n * self.classes);
        [logits, ("targets", t.targets, t.n), ("metrics", t.metrics, Self::METRICS_LEN)]
    }
}

pub mod cpu {
    use super::CrossEntropy;
    use crate::metrics::BatchMetrics;
    use crate::ops::Real;

    /// `log(sum exp(logits))`, the maximum subtracted first so that nothing overflows.
    fn log_sum_exp<T: Real>(logits: &[T]) -> T {
        let most = logits.iter().copied().fold(T::neg_infinity(), T::max);
        most + logits.iter().map(|&logit| (logit - most).exponential()).sum::<T>().logarithm()
    }

    /// `losses[n] = log_sum_exp(logits[n]) - logits[n, targets[n]]`; of that `1 - smoothing`, and `smoothing` of the
    /// mean over all classes in the target's place.
    pub fn forward<T: Real>(op: &CrossEntropy, logits: &[T], targets: &[u32], losses: &mut [T]) {
        for ((logits, &target), loss) in logits.chunks_exact(op.classes).zip(targets).zip(losses) {
            let normaliser = log_sum_exp(logits);
            *loss = normaliser - logits[target as usize];
            if op.smoothing != 0.0 {
                let smoothing = T::of(op.smoothing.into());
                let mean = logits.iter().copied().sum::<T>() / T::of(op.classes as f64);
                *loss = (T::one() - smoothing) * *loss + smoothing * (normaliser - mean);
            }
        }
    }

    /// `d_logits[n,c] = (softmax(logits[n])[c] - (1 - smoothing) * (c == targets[n]) - smoothing / classes) / N`
    pub fn backward<T: Real>(op: &CrossEntropy, logits: &[T], targets: &[u32], d_logits: &mut [T]) {
        let count = T::of(targets.len() as f64);
        let smoothing = T::of(op.smoothing.into());
        let spread = smoothing / T::of(op.classes as f64);
        let samples = logits.chunks_exact(op.classes).zip(d_logits.chunks_exact_mut(op.classes));
        for ((logits, d_logits), &target) in samples.zip(targets) {
            let normaliser = log_sum_exp(logits);
            for (c, (&logit, d)) in logits.iter().zip(d_logits).enumerate() {
                let label = if c == target as usize { T::one() - smoothing + spread } else { spread };
                *d = ((logit - normaliser).exponential() - label) / count;
            }
        }
    }

    /// The batch's metrics; the first of equal logits is the judgement, as `torch.argmax`.
    pub fn metrics(op: &CrossEntropy, logits: &[f32], targets: &[u32]) -> BatchMetrics {
        let mut losses = vec![0.0; targets.len()];
        forward(op, logits, targets, &mut losses);
        let mut metrics = BatchMetrics { loss_sum: losses.iter().sum(), count: targets.len() as u32, ..Default::default() };
        for (logits, &target) in logits.chunks_exact(op.classes).zip(targets) {
            let best = (1..op.classes).fold(0, |best, c| if logits[c] > logits[best] { c } else { best });
            metrics.correct += u32::from(best == target as usize);
            metrics.non_finite += logits.iter().filter(|logit| !logit.is_finite()).count() as u32;
        }
        metrics
    }
}
