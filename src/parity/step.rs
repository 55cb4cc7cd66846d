//! Whole training steps of the default network: on the device against the CPU path, and against themselves.
//!
//! Two paths that round differently drift apart by what one rounding grows to, and by more where a rounding decides
//! which element of a pooling window wins; `tests/training/paths.rs` explains that, and this check measures it in the
//! same way: by twins of the CPU's step whose parameters start one rounding away. To that come the 48 roundings of a
//! tensor's largest value that `tests/golden/net.rs` explains.

use super::compare::{EPS, exact, within};
use super::inputs::{hash, twin};
use super::{Fault, Gpu, Mismatch, Verdict, on_each};
use crate::data::{Dataset, Images, digits};
use crate::engine::{CpuEngine, Engine, EngineError, GpuEngine, Pass, Settings};
use crate::gpu::drive;
use crate::model::Model;
use crate::state::State;

const ROUNDINGS: f64 = 48.0;
const TWINS: u32 = 16;

/// What one training step leaves.
struct Trained {
    /// Mean loss of the batch.
    loss: f32,
    gradients: Vec<f32>,
    parameters: Vec<f32>,
}

/// One step on the device against the CPU path: the loss, every parameter's gradient, every parameter afterwards.
pub async fn check(gpus: &[Gpu]) -> Verdict {
    on_each(gpus, "training step of the default network, batch 32", async |gpu| {
        let (model, data) = (model()?, data(settings().batch_size));
        let start = model.init(settings().seed);
        let want = on_cpu(&model, &data, &start).await?;
        let mut twins = Vec::new();
        for number in 0..TWINS {
            twins.push(on_cpu(&model, &data, &twin(&start, number)).await?);
        }
        let got = on_gpu(gpu, &model, &data, &start, 1).await?;

        let compare = |what: &str, part: &dyn Fn(&Trained) -> Vec<f32>| {
            let (got, want) = (part(&got), part(&want));
            let largest = want.iter().fold(0.0, |most, x| f64::max(most, x.abs().into()));
            let grown = twins.iter().map(|twin| farthest(&part(twin), &want)).fold(0.0, f64::max);
            let want: Vec<f64> = want.iter().map(|&x| x.into()).collect();
            within(what, &got, &want, &vec![ROUNDINGS * EPS * largest + 2.0 * grown; want.len()])
        };
        let mut compared = vec![compare("loss", &|t| vec![t.loss])?];
        for parameter in model.parameters() {
            let (name, range) = (&parameter.name, parameter.range.clone());
            compared.push(compare(&format!("gradient of {name}"), &|t| t.gradients[range.clone()].to_vec())?);
            compared.push(compare(&format!("{name} after the step"), &|t| t.parameters[range.clone()].to_vec())?);
        }
        Ok(compared)
    })
    .await
}

/// Three steps, twice: the same bits.
pub async fn check_repeatable(gpus: &[Gpu]) -> Verdict {
    on_each(gpus, "three training steps of the default network, twice", async |gpu| {
        const STEPS: usize = 3;
        let (model, data) = (model()?, data(STEPS * settings().batch_size));
        let start = model.init(settings().seed);
        let bits = |values: &[f32]| values.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
        let run = async || on_gpu(gpu, &model, &data, &start, STEPS).await;
        let (a, b) = (run().await?, run().await?);
        let gradients = exact("gradients, the bits of the second run", &bits(&b.gradients), &bits(&a.gradients))?;
        let parameters = exact("parameters, the bits of the second run", &bits(&b.parameters), &bits(&a.parameters))?;
        Ok(vec![gradients, parameters])
    })
    .await
}

fn settings() -> Settings {
    Settings { seed: 7, ..Settings::default() }
}

const SHAPE: [usize; 3] = [1, 28, 28];
const PIXELS: usize = SHAPE[1] * SHAPE[2];
const CLASSES: usize = 10;

fn model() -> Result<Model, Mismatch> {
    Model::classic(SHAPE, CLASSES, 0.5)
        .map_err(|error| Mismatch::Other { what: "the default network".into(), problem: error.to_string() })
}

/// `samples` images of noise, three pixels of four black, and labels.
fn data(samples: usize) -> Dataset {
    let pixel = |i| match hash(i) {
        drawn if drawn & 3 == 0 => (drawn >> 24) as u8,
        _ => 0,
    };
    let train = Images {
        pixels: (0..(samples * PIXELS) as u32).map(pixel).collect(),
        labels: (0..samples as u32).map(|i| (hash(i ^ 0xa5a5) % CLASSES as u32) as u16).collect(),
    };
    Dataset { shape: SHAPE, classes: digits(), train, test: Images { pixels: vec![0; PIXELS], labels: vec![0] } }
}

async fn on_cpu(model: &Model, data: &Dataset, start: &[f32]) -> Result<Trained, EngineError> {
    let mut engine = CpuEngine::new(model, data, settings())?;
    let (loss, parameters) = train(&mut engine, start, 1).await?;
    Ok(Trained { loss, gradients: engine.gradients().to_vec(), parameters })
}

async fn on_gpu(gpu: &Gpu, model: &Model, data: &Dataset, start: &[f32], steps: usize) -> Result<Trained, Fault> {
    let context = &gpu.context;
    let mut engine = GpuEngine::new(context, model, data, settings())?;
    gpu.ran.borrow_mut().extend(engine.training_steps().map(|step| step.label.clone()));
    let (loss, parameters) = drive::wait(context, train(&mut engine, start, steps)).await?;
    Ok(Trained { loss, gradients: drive::wait(context, engine.gradients()).await?, parameters })
}

/// The last step's mean loss, and the parameters after it.
async fn train<E: Engine>(engine: &mut E, start: &[f32], steps: usize) -> Result<(f32, Vec<f32>), EngineError> {
    let samples = (steps * settings().batch_size) as u32;
    engine.set_state(&State::from(start.to_vec()))?;
    engine.begin(&Pass::train(&Vec::from_iter(0..samples), 0, &|_| 0.01))?;
    engine.submit(0..steps)?;
    let metrics = engine.collect().await?.unwrap_or_default();
    let loss = metrics.last().map_or(f32::NAN, |batch| batch.loss_sum / batch.count as f32);
    Ok((loss, engine.state().await?.parameters().to_vec()))
}

/// The largest difference of two tensors; NaN if there is one.
fn farthest(a: &[f32], b: &[f32]) -> f64 {
    let differences = a.iter().zip(b).map(|(&a, &b)| (f64::from(a) - f64::from(b)).abs());
    differences.max_by(f64::total_cmp).unwrap_or_default()
}
