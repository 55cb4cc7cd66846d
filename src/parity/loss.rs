//! cross_entropy: losses, gradients and metrics.
//!
//! The bounds follow from what WGSL allows a device, to first order in EPS (half an ulp of 1; an ulp is at most 2 EPS
//! of the value it belongs to):
//!
//! - `+`, `-`: correctly rounded, EPS of the result. `/`: 2.5 ulp, 5 EPS.
//! - `exp(a)`: 3 + 2|a| ulp, (6 + 4|a|) EPS; the argument is a rounded difference, which adds |a| EPS.
//! - `log(s)`: 2^-21 where s is in [0.5, 2], else 3 ulp, 6 EPS |log s|.

use super::compare::{EPS, SENTINEL, exact, f64s, within};
use super::inputs::hash;
use super::{Fault, Gpu, Kind, Mismatch, Verdict, on_each};
use crate::metrics::BatchMetrics;
use crate::ops::Batch;
use crate::ops::cross_entropy::{CrossEntropy, LossTensors, cpu};

/// Losses, gradients and metrics of `case` on each of `gpus`.
pub async fn check(gpus: &[Gpu], what: &str, case: &Case) -> Verdict {
    let n = case.n();
    on_each(gpus, &format!("cross_entropy, {what}, batch {n}, {} classes", case.op.classes), async |gpu| {
        let want = case.want(n);
        let (losses, d_logits) = case.pair(gpu).await?;
        let mut compared = vec![
            within("losses", &losses, &want.losses, &want.loss_bounds)?,
            within("d_logits of backward", &d_logits, &want.d_logits, &want.d_bounds)?,
        ];
        for count in [n, n.div_ceil(2), 1] {
            let want = case.want(count);
            let (d_logits, [train, evaluate]) = case.fused(gpu, count).await?;
            compared.push(within("d_logits of train", &d_logits, &want.d_logits, &want.d_bounds)?);
            check_metrics(&format!("train, count {count}"), train, &want)?;
            check_metrics(&format!("evaluate, count {count}"), evaluate, &want)?;
        }
        let (fused, [train, _]) = case.fused(gpu, n).await?;
        within("d_logits, train against backward", &fused, &f64s(&d_logits), &want.d_bounds)?;
        let sum = losses.iter().map(|&loss| f64::from(loss)).sum();
        let bound = want.loss_bounds.iter().sum::<f64>() + n as f64 * EPS * sum;
        within("metrics, loss_sum of train against forward", &[train.loss_sum], &[sum], &[bound])?;
        Ok(compared)
    })
    .await
}

/// Logits in [-scale, scale), and targets among which every class occurs.
pub fn case(n: usize, classes: usize, scale: f32) -> Case {
    let logits = Kind::Even.draw(1, n * classes).into_iter().map(|x| x * scale).collect();
    let targets = (0..n as u32).map(|i| hash(i) % classes as u32).collect();
    Case { op: CrossEntropy::new(classes), logits, targets }
}

/// The least that runs every entry point.
pub async fn smallest(gpus: &[Gpu]) -> Verdict {
    check(gpus, "ordinary", &case(3, 4, 1.0)).await
}

/// For what the first-order bounds leave out: products of two errors.
const SECOND_ORDER: f64 = 1.001;
/// What a device that flushes denormals to zero may lose.
const TINY: f64 = f32::MIN_POSITIVE as f64;

/// Batches of an epoch in the metrics' buffer, and which of them the tests write.
const BATCHES: usize = 4;
const INDEX: usize = 2;

pub struct Case {
    pub op: CrossEntropy,
    pub logits: Vec<f32>,
    pub targets: Vec<u32>,
}

/// What the mirror says of a case's first samples, and how far the device may be off.
pub struct Want {
    pub losses: Vec<f64>,
    pub loss_bounds: Vec<f64>,
    pub d_logits: Vec<f64>,
    pub d_bounds: Vec<f64>,
    pub metrics: BatchMetrics,
}

/// Bounds of one sample's loss and gradient, whose mean is taken over `count` samples.
fn bounds(logits: &[f64], target: usize, count: f64) -> (f64, Vec<f64>) {
    let most = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let exp_error = |a: f64| (6.0 + 5.0 * a.abs()) * EPS;
    let sum: f64 = logits.iter().map(|l| (l - most).exp()).sum();
    let sum_error = logits.iter().map(|l| (l - most).exp() * exp_error(l - most) + TINY).sum::<f64>()
        + (logits.len() - 1) as f64 * EPS * sum;
    let log_error = f64::max(0.5_f64.powi(21), 6.0 * EPS * sum.ln());
    let normaliser = most + sum.ln();
    let normaliser_error = sum_error / sum + log_error + EPS * normaliser.abs();
    let loss_bound = normaliser_error + EPS * (normaliser - logits[target]).abs() + TINY;

    let gradient = |(c, l): (usize, &f64)| {
        let (a, label) = (l - normaliser, f64::from(u8::from(c == target)));
        let p = a.exp();
        // A probability's error, its difference to the label rounded, and the division.
        let error = p * (exp_error(a) + normaliser_error) + TINY + EPS * (p - label).abs();
        (error / count + 5.0 * EPS * (p - label).abs() / count) * SECOND_ORDER + TINY
    };
    (loss_bound * SECOND_ORDER, logits.iter().enumerate().map(gradient).collect())
}

impl Case {
    fn n(&self) -> usize {
        self.targets.len()
    }

    pub fn want(&self, count: usize) -> Want {
        let (logits, targets) = (&self.logits[..count * self.op.classes], &self.targets[..count]);
        let metrics = cpu::metrics(&self.op, logits, targets);
        let logits = f64s(logits);
        let (mut losses, mut d_logits) = (vec![f64::NAN; count], vec![f64::NAN; logits.len()]);
        cpu::forward(&self.op, &logits, targets, &mut losses);
        cpu::backward(&self.op, &logits, targets, &mut d_logits);
        let samples = logits.chunks_exact(self.op.classes).zip(targets);
        let (loss_bounds, d_bounds): (Vec<_>, Vec<_>) =
            samples.map(|(logits, &target)| bounds(logits, target as usize, count as f64)).unzip();
        Want { losses, loss_bounds, d_logits, d_bounds: d_bounds.concat(), metrics }
    }

    /// Losses of `forward`, gradients of `backward`.
    async fn pair(&self, gpu: &Gpu) -> Result<(Vec<f32>, Vec<f32>), Fault> {
        let n = self.n();
        let (logits, targets) = (gpu.input("logits", &self.logits)?, gpu.input("targets", &self.targets)?);
        let (losses, d_logits) = (gpu.output("losses", n)?, gpu.output("d_logits", self.logits.len())?);
        gpu.run(Batch::default(), |planner| {
            self.op.plan_forward(planner, n, &logits, &targets, &losses)?;
            self.op.plan_backward(planner, n, &logits, &targets, &d_logits)
        })?;
        Ok((gpu.read(&losses, n).await?, gpu.read(&d_logits, self.logits.len()).await?))
    }

    /// Gradients and metrics of `train`, metrics of `evaluate`, over the first `count` samples.
    pub async fn fused(&self, gpu: &Gpu, count: usize) -> Result<(Vec<f32>, [BatchMetrics; 2]), Fault> {
        let (logits, targets) = (gpu.input("logits", &self.logits)?, gpu.input("targets", &self.targets)?);
        let len = BATCHES * CrossEntropy::METRICS_LEN;
        let metrics = [gpu.output("metrics of train", len)?, gpu.output("metrics of evaluate", len)?];
        let d_logits = gpu.output("d_logits", self.logits.len())?;
        let batch =
            Batch { first: 17, count: count as u32, index: INDEX as u32, step: 99, learning_rate: 1.0, ..Batch::default() };
        let [train, evaluate] =
            metrics.each_ref().map(|metrics| LossTensors { n: self.n(), logits: &logits, targets: &targets, metrics });
        gpu.run(batch, |planner| {
            self.op.plan_train(planner, &train, &d_logits)?;
            self.op.plan_evaluate(planner, &evaluate)
        })?;
        let d_logits = gpu.read(&d_logits, self.logits.len()).await?[..count * self.op.classes].to_vec();
        let [train, evaluate] = &metrics;
        Ok((d_logits, [one_of(&gpu.read(train, len).await?)?, one_of(&gpu.read(evaluate, len).await?)?]))
    }
}

/// The metrics of batch [`INDEX`]; the other batches' must be untouched.
fn one_of(words: &[u32]) -> Result<BatchMetrics, Mismatch> {
    for (index, words) in words.chunks_exact(CrossEntropy::METRICS_LEN).enumerate() {
        let untouched = words.iter().all(|&word| word == SENTINEL.to_bits());
        if untouched != (index != INDEX) {
            let problem = format!("of batch {index} after batch {INDEX}: {words:x?}");
            return Err(Mismatch::Other { what: "metrics".into(), problem });
        }
    }
    let all: &[BatchMetrics] = bytemuck::cast_slice(words);
    Ok(all[INDEX])
}

fn check_metrics(what: &str, got: BatchMetrics, want: &Want) -> Result<(), Mismatch> {
    let counts = |m: BatchMetrics| [m.correct, m.count, m.non_finite];
    exact(&format!("metrics of {what}: correct, count, non_finite"), &counts(got), &counts(want.metrics))?;
    // Adding up rounds each partial sum, none of which is larger than the sum of all losses.
    let (sum, size): (f64, f64) = (want.losses.iter().sum(), want.losses.iter().map(|loss| loss.abs()).sum());
    let bound = want.loss_bounds.iter().sum::<f64>() + want.losses.len() as f64 * EPS * size * SECOND_ORDER;
    within(&format!("metrics of {what}: loss_sum"), &[got.loss_sum], &[sum], &[bound]).map(drop)
}
