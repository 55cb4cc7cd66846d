//! cross_entropy: losses, gradients and metrics.
//!
//! The bounds follow from what WGSL allows a device, to first order in EPS (half an ulp of 1; an ulp is at most 2 EPS of the
//! value it belongs to):
//!
//! - `+`, `-`: correctly rounded, EPS of the result. `/`: 2.5 ulp, 5 EPS.
//! - `exp(a)`: 3 + 2|a| ulp, (6 + 4|a|) EPS; the argument is a rounded difference, which adds |a| EPS.
//! - `log(s)`: 2^-21 where s is in [0.5, 2], else 3 ulp, 6 EPS |log s|.

use crate::common::{EPS, exact, f64s, within};
use crate::{Gpu, Kind};
use mnist_wgpu::gpu::Batch;
use mnist_wgpu::metrics::BatchMetrics;
use mnist_wgpu::ops::cross_entropy::{CrossEntropy, LossTensors, cpu};

/// For what the first-order bounds leave out: products of two errors.
const SECOND_ORDER: f64 = 1.001;
/// What a device that flushes denormals to zero may lose.
const TINY: f64 = f32::MIN_POSITIVE as f64;

/// Batches of an epoch in the metrics' buffer, and which of them the tests write.
const BATCHES: usize = 4;
const INDEX: usize = 2;

struct Case {
    op: CrossEntropy,
    logits: Vec<f32>,
    targets: Vec<u32>,
}

/// What the mirror says of a case's first samples, and how far the device may be off.
struct Want {
    losses: Vec<f64>,
    loss_bounds: Vec<f64>,
    d_logits: Vec<f64>,
    d_bounds: Vec<f64>,
    metrics: BatchMetrics,
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

    fn want(&self, count: usize) -> Want {
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
    fn pair(&self, gpu: &Gpu) -> (Vec<f32>, Vec<f32>) {
        let n = self.n();
        let (logits, targets) = (gpu.input("logits", &self.logits), gpu.input("targets", &self.targets));
        let (losses, d_logits) = (gpu.output("losses", n), gpu.output("d_logits", self.logits.len()));
        gpu.run(Batch::default(), |planner| {
            self.op.plan_forward(planner, n, &logits, &targets, &losses)?;
            self.op.plan_backward(planner, n, &logits, &targets, &d_logits)
        });
        (gpu.read(&losses, n), gpu.read(&d_logits, self.logits.len()))
    }

    /// Gradients and metrics of `train`, metrics of `evaluate`, over the first `count` samples.
    fn fused(&self, gpu: &Gpu, count: usize) -> (Vec<f32>, [BatchMetrics; 2]) {
        let (logits, targets) = (gpu.input("logits", &self.logits), gpu.input("targets", &self.targets));
        let len = BATCHES * CrossEntropy::METRICS_LEN;
        let metrics = [gpu.output("metrics of train", len), gpu.output("metrics of evaluate", len)];
        let d_logits = gpu.output("d_logits", self.logits.len());
        let batch = Batch { first: 17, count: count as u32, index: INDEX as u32, step: 99 };
        let [train, evaluate] =
            metrics.each_ref().map(|metrics| LossTensors { n: self.n(), logits: &logits, targets: &targets, metrics });
        gpu.run(batch, |planner| {
            self.op.plan_train(planner, &train, &d_logits)?;
            self.op.plan_evaluate(planner, &evaluate)
        });
        let d_logits = gpu.read(&d_logits, self.logits.len())[..count * self.op.classes].to_vec();
        (d_logits, metrics.map(|metrics| one_of(&gpu.read(&metrics, len))))
    }
}

/// The metrics of batch [`INDEX`]; the other batches' must be untouched.
fn one_of(words: &[u32]) -> BatchMetrics {
    for (index, words) in words.chunks_exact(CrossEntropy::METRICS_LEN).enumerate() {
        let untouched = words.iter().all(|&word| word == crate::common::SENTINEL.to_bits());
        assert_eq!(untouched, index != INDEX, "metrics of batch {index} after batch {INDEX}: {words:x?}");
    }
    let all: &[BatchMetrics] = bytemuck::cast_slice(words);
    all[INDEX]
}

fn check_metrics(got: BatchMetrics, want: &Want) -> Result<(), String> {
    let counts = |m: BatchMetrics| [m.correct, m.count, m.non_finite];
    exact("correct, count, non_finite", &counts(got), &counts(want.metrics))?;
    // Adding up rounds each partial sum, none of which is larger than the sum of all losses.
    let (sum, size): (f64, f64) = (want.losses.iter().sum(), want.losses.iter().map(|loss| loss.abs()).sum());
    let bound = want.loss_bounds.iter().sum::<f64>() + want.losses.len() as f64 * EPS * size * SECOND_ORDER;
    within("loss_sum", &[got.loss_sum], &[sum], &[bound])
}

fn check(gpus: &[Gpu], what: &str, case: &Case) {
    let n = case.n();
    for gpu in gpus {
        let check = || -> Result<(), String> {
            let want = case.want(n);
            let (losses, d_logits) = case.pair(gpu);
            within("losses", &losses, &want.losses, &want.loss_bounds)?;
            within("d_logits of backward", &d_logits, &want.d_logits, &want.d_bounds)?;
            for count in [n, n.div_ceil(2), 1] {
                let want = case.want(count);
                let (d_logits, [train, evaluate]) = case.fused(gpu, count);
                within("d_logits of train", &d_logits, &want.d_logits, &want.d_bounds)?;
                check_metrics(train, &want).map_err(|e| format!("train, count {count}: {e}"))?;
                check_metrics(evaluate, &want).map_err(|e| format!("evaluate, count {count}: {e}"))?;
            }
            let (fused, [train, _]) = case.fused(gpu, n);
            within("d_logits, train against backward", &fused, &f64s(&d_logits), &want.d_bounds)?;
            let sum = losses.iter().map(|&loss| f64::from(loss)).sum();
            let bound = want.loss_bounds.iter().sum::<f64>() + n as f64 * EPS * sum;
            within("loss_sum, train against forward", &[train.loss_sum], &[sum], &[bound])
        };
        check().unwrap_or_else(|e| panic!("{gpu}: {what}, batch {n}, {} classes: {e}", case.op.classes));
    }
}

/// Logits in [-scale, scale), and targets among which every class occurs.
fn case(n: usize, classes: usize, scale: f32) -> Case {
    let logits = Kind::Even.draw(1, n * classes).into_iter().map(|x| x * scale).collect();
    let targets = (0..n as u32).map(|i| crate::common::hash(i) % classes as u32).collect();
    Case { op: CrossEntropy { classes }, logits, targets }
}

pub fn smallest(gpus: &[Gpu]) {
    check(gpus, "ordinary", &case(3, 4, 1.0));
}

#[test]
fn cross_entropy_agrees_with_its_mirror_for_any_batch_and_number_of_classes() {
    let gpus = Gpu::all();
    for (n, classes) in [(1, 10), (1, 1), (3, 2), (32, 10), (63, 3), (64, 10), (65, 10), (67, 17), (193, 5)] {
        check(&gpus, "ordinary logits", &case(n, classes, 3.0));
    }
}

#[test]
fn cross_entropy_agrees_with_its_mirror_where_exp_would_overflow() {
    let gpus = Gpu::all();
    for scale in [1e-3, 20.0, 80.0, 1e4] {
        check(&gpus, &format!("logits up to {scale}"), &case(37, 10, scale));
    }
    // Both ends of the scale at once, the target at either.
    for (scale, target) in [(80.0, 0), (80.0, 1), (1e4, 0), (1e4, 1)] {
        let op = CrossEntropy { classes: 3 };
        let case = Case { op, logits: [scale, -scale, 0.0].repeat(5), targets: vec![target; 5] };
        check(&gpus, &format!("logits of {scale} and -{scale}"), &case);
    }
}

#[test]
fn of_equal_logits_the_first_is_the_judgement() {
    let gpus = Gpu::all();
    for value in [0.0, -1e4, 1e4] {
        let equal =
            Case { op: CrossEntropy { classes: 10 }, logits: vec![value; 200], targets: (0..20).map(|i| i % 10).collect() };
        check(&gpus, &format!("all logits {value}"), &equal);
        assert_eq!(equal.want(20).metrics.correct, 2, "the mirror judges all samples to be of class 0");
    }
    // Ties for the largest logit that class 0 has no part in.
    let logits = Kind::Integers.draw(5, 67 * 10);
    let case = Case { logits, ..case(67, 10, 1.0) };
    check(&gpus, "integers", &case);
}

#[test]
fn non_finite_logits_are_counted_and_only_within_the_batch() {
    let mut case = case(70, 10, 3.0);
    let places = [(3, f32::NAN), (47, f32::INFINITY), (48, f32::NEG_INFINITY), (49, -f32::NAN), (640, f32::INFINITY)];
    for (place, value) in places {
        case.logits[place] = value;
    }
    case.logits[100] = f32::MAX; // large, but finite
    for gpu in Gpu::all() {
        for (count, expected) in [(70, 5), (64, 4), (5, 4), (4, 1), (1, 1)] {
            let (_, [train, evaluate]) = case.fused(&gpu, count);
            for metrics in [train, evaluate] {
                assert_eq!((metrics.non_finite, metrics.count), (expected, count as u32), "{gpu}, count {count}");
                assert!(metrics.diverged());
            }
        }
    }
}
