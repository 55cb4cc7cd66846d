//! The checks that a user's own device has to pass: every op at the sizes of the default network and at odd ones, then
//! whole training steps.

use super::{Compared, Failed, Fault, Gpu, Kind, Verdict, adamw, affine, batchnorm, fused, loss, pointwise, sgd, step};
use crate::gpu::Options;
use crate::ops::augment::{Amounts, Augment};
use crate::ops::conv2d_relu_maxpool2d::Conv2dReluMaxPool2d;
use crate::ops::{Batch, SHADERS, avgpool2d::AvgPool2d, batchnorm2d::BatchNorm2d, conv2d::Conv2d, dropout::Dropout};
use crate::ops::{adamw::AdamW, average::Average, conv2d_batchnorm2d::Conv2dBatchNorm2d};
use crate::ops::{leaky_relu::LeakyRelu, linear::Linear, maxpool2d::MaxPool2d, sgd::Sgd};
use std::pin::Pin;

/// One line of a self-test.
pub struct Check {
    /// The op, or what else is checked.
    pub name: &'static str,
    /// Its sizes.
    pub case: String,
    run: Box<dyn Run>,
}

/// An `async` closure as a trait object.
trait Run {
    fn on<'a>(&'a self, gpus: &'a [Gpu]) -> Pin<Box<dyn Future<Output = Verdict> + 'a>>;
}

impl<F: AsyncFn(&[Gpu]) -> Verdict> Run for F {
    fn on<'a>(&'a self, gpus: &'a [Gpu]) -> Pin<Box<dyn Future<Output = Verdict> + 'a>> {
        Box::pin(self(gpus))
    }
}

/// How a check ended.
pub struct Outcome {
    /// The entry points that ran, `op.entry`.
    pub entries: Vec<String>,
    /// Of each result the comparison that came nearest to its bound.
    pub compared: Vec<Compared>,
    pub failure: Option<Failure>,
}

/// A check that failed.
pub struct Failure {
    pub failed: Failed,
    /// The entry points that write the wrong result; all that ran where none has it among its bindings.
    pub suspects: Vec<String>,
}

impl Check {
    pub fn new(name: &'static str, case: impl Into<String>, run: impl AsyncFn(&[Gpu]) -> Verdict + 'static) -> Self {
        Self { name, case: case.into(), run: Box::new(run) }
    }

    pub async fn run(&self, gpu: &Gpu) -> Outcome {
        gpu.ran.borrow_mut().clear();
        let verdict = self.run.on(std::slice::from_ref(gpu)).await;
        let entries: Vec<String> = gpu.ran.borrow().iter().cloned().collect();
        match verdict {
            Ok(compared) => Outcome { entries, compared: nearest(compared), failure: None },
            Err(failed) => {
                let suspects = suspects(gpu.context.options, &entries, &failed.fault);
                Outcome { entries, compared: Vec::new(), failure: Some(Failure { failed, suspects }) }
            }
        }
    }
}

/// Every check: what is simple first, whole training steps last.
pub fn checks() -> Vec<Check> {
    const N: usize = 32;
    let image = 28 * 28;
    let batch = |count| Batch { first: 5, count, index: 9, step: 9, learning_rate: 1.0, ..Batch::default() };
    let mut checks = vec![
        Check::new("gather", "32 images of 784", async move |gpus: &[Gpu]| {
            pointwise::check_gather(gpus, N, image, batch(32)).await
        }),
        Check::new("gather", "the last 16 images of 784", async move |gpus: &[Gpu]| {
            pointwise::check_gather(gpus, N, image, batch(16)).await
        }),
        Check::new("augment", "32 images of 28 x 28", async move |gpus: &[Gpu]| {
            pointwise::check_augment(gpus, N, &Augment::new([1, 28, 28], Amounts::USUAL, 7), 3).await
        }),
        Check::new("dropout", "32 x 128", async |gpus: &[Gpu]| {
            pointwise::check_dropout(gpus, N, &Dropout::new(128, 0.5, 42, 8), 1).await
        }),
        Check::new("cross_entropy", "32, 16 and 1 x 10", async |gpus: &[Gpu]| {
            loss::check(gpus, "ordinary", &loss::case(N, 10, 3.0)).await
        }),
        Check::new("cross_entropy", "67 x 17, large logits", async |gpus: &[Gpu]| {
            loss::check(gpus, "large", &loss::case(67, 17, 80.0)).await
        }),
        Check::new("sgd", "225,280 parameters, 10 steps", async |gpus: &[Gpu]| {
            sgd::check(gpus, &Sgd::default(), 0.01, Kind::Mixed, 225_280).await
        }),
        Check::new("adamw", "225,280 parameters, 10 steps", async |gpus: &[Gpu]| {
            adamw::check(gpus, &AdamW::default(), 0.01, 225_280).await
        }),
        Check::new("average", "225,280 parameters, 10 steps", async |gpus: &[Gpu]| {
            adamw::check_average(gpus, &Average { decay: 0.995 }, 225_280).await
        }),
        Check::new("relu", "3 x 85", async |gpus: &[Gpu]| pointwise::check_relu(gpus, 3, 85).await),
        Check::new("maxpool2d", "3 x (2, 5, 7), windows of 2", async |gpus: &[Gpu]| {
            pointwise::check_maxpool2d(gpus, 3, &MaxPool2d { channels: 2, height: 5, width: 7, size: 2 }).await
        }),
        Check::new("leaky_relu", "3 x 85", async |gpus: &[Gpu]| {
            pointwise::check_leaky_relu(gpus, 3, &LeakyRelu { len: 85, slope: 0.01 }).await
        }),
        Check::new("avgpool2d", "3 x (2, 5, 7), windows of 2 and one of all", async |gpus: &[Gpu]| {
            let op = |rows, columns| AvgPool2d { channels: 2, height: 5, width: 7, rows, columns };
            let small = pointwise::check_avgpool2d(gpus, 3, &op(2, 2)).await?;
            Ok([small, pointwise::check_avgpool2d(gpus, 3, &op(5, 7)).await?].concat())
        }),
        Check::new("batchnorm2d", "5 x (3, 67), with ReLU and without", async |gpus: &[Gpu]| {
            let op = |relu| BatchNorm2d { channels: 3, plane: 67, relu };
            Ok([batchnorm::check(gpus, 5, &op(false)).await?, batchnorm::check(gpus, 5, &op(true)).await?].concat())
        }),
        Check::new("conv2d_batchnorm2d", "3 x (2, 7, 5) -> 3, padding 1, with ReLU", async |gpus: &[Gpu]| {
            let conv = Conv2d { channels: 2, height: 7, width: 5, out: 3, kernel: 3, padding: 1, stride: 1 };
            let norm = BatchNorm2d { channels: 3, plane: 7 * 5, relu: true };
            batchnorm::check_folded(gpus, 3, &Conv2dBatchNorm2d { conv, norm }).await
        }),
    ];
    for (n, inputs, outputs) in [(N, 1600, 128), (N, 128, 10), (5, 65, 9), (3, 63, 7)] {
        let run = async move |gpus: &[Gpu]| affine::check(gpus, n, &Linear::new(inputs, outputs)).await;
        checks.push(Check::new("linear", format!("{n} x {inputs} -> {outputs}"), run));
    }
    checks.push(Check::new("linear", format!("{N} x 128 -> 10, inputs dropped"), async |gpus: &[Gpu]| {
        affine::check(gpus, N, &affine::with_dropout(128, 10, 0.5)).await
    }));
    for (n, [channels, height, width, out, kernel, padding, stride]) in
        [(3, [2, 7, 5, 3, 3, 1, 1]), (2, [3, 11, 13, 5, 5, 2, 2])]
    {
        let op = Conv2d { channels, height, width, out, kernel, padding, stride };
        let case =
            format!("{n} x ({channels}, {height}, {width}) -> {out}, kernel {kernel}, padding {padding}, stride {stride}");
        checks.push(Check::new("conv2d", case, async move |gpus: &[Gpu]| affine::check(gpus, n, &op).await));
    }
    let sized = |n, [channels, height, width, out, padding]: [usize; 5]| {
        let case = format!("{n} x ({channels}, {height}, {width}) -> {out}, padding {padding}");
        (case, n, Conv2dReluMaxPool2d { channels, height, width, out, padding })
    };
    for (case, n, op) in [sized(3, [2, 7, 5, 9, 1]), sized(5, [3, 9, 7, 17, 2])] {
        checks.push(Check::new("conv2d_relu_maxpool2d", case, async move |gpus: &[Gpu]| fused::check(gpus, n, &op).await));
    }
    // Without the three ops that it stands for, which take a software rasteriser half a minute at these sizes.
    for (case, n, op) in [sized(N, [1, 28, 28, 32, 0]), sized(N, [32, 13, 13, 64, 0])] {
        let run = async move |gpus: &[Gpu]| fused::check_against_mirror(gpus, n, &op, &[Kind::Integers, Kind::Mixed]).await;
        checks.push(Check::new("conv2d_relu_maxpool2d", case, run));
    }
    checks.push(Check::new("training step", "the default network, batch 32, against the CPU path", step::check));
    checks.push(Check::new("repeatable", "three training steps, twice to the same bits", step::check_repeatable));
    checks
}

/// Of each result the comparison that came nearest to its bound.
fn nearest(compared: Vec<Compared>) -> Vec<Compared> {
    let mut nearest: Vec<Compared> = Vec::new();
    for one in compared {
        match nearest.iter_mut().find(|known| known.what == one.what) {
            Some(known) => known.share = known.share.max(one.share),
            None => nearest.push(one),
        }
    }
    nearest
}

/// Which of `entries` write the result that is wrong.
fn suspects(Options { interfaces, .. }: Options, entries: &[String], fault: &Fault) -> Vec<String> {
    let what = match fault {
        Fault::Mismatch(mismatch) => mismatch.what(),
        Fault::Overrun(what) => what,
        Fault::Gpu(_) | Fault::Engine(_) => "",
    };
    let binding = what.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default();
    let mut writers = Vec::new();
    for shader in SHADERS {
        let Ok(interfaces) = interfaces(shader) else { continue };
        for interface in interfaces {
            let label = format!("{}.{}", shader.op, interface.entry);
            // Dropout's one entry point writes y for both of its passes.
            let writes = interface.bindings.iter().any(|b| b.writes && b.name == binding);
            if writes && entries.contains(&label) {
                writers.push(label);
            }
        }
    }
    if writers.is_empty() { entries.to_vec() } else { writers }
}
