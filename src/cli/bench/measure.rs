//! Training steps on one device at one batch size, timed in this process.

use super::kernels;
use super::report::{Device, Measured, Spread};
use crate::cli::clock::clock;
use crate::cli::{Failure, device};
use device::DeviceChoice;
use mnist_wgpu::data::{Dataset, Images, synthetic};
use mnist_wgpu::engine::{CpuEngine, Engine, EngineError, GpuEngine, Pass, Settings};
use mnist_wgpu::gpu::context::kind;
use mnist_wgpu::gpu::{Context, drive};
use mnist_wgpu::model::Model;
use mnist_wgpu::ops::lanes;
use mnist_wgpu::state::State;
use std::time::Duration;

/// As many as MNIST has, so that uploads and memory are those of a real run.
const IMAGES: usize = 60_000;
/// Images that are drawn; they repeat.
const DRAWN: usize = 1_000;
/// Steps of one submit take about this long, if there can be so few or many of them: as in training.
const SUBMIT: Duration = Duration::from_millis(100);
/// Most steps of one submit.
const STEPS: usize = 32;

/// The classic network, with dropout.
pub fn model() -> Result<Model, Failure> {
    Ok(Model::classic([1, 28, 28], 10, 0.5)?)
}

/// `images` training images.
pub fn digits(images: usize) -> Dataset {
    let data = synthetic(DRAWN, 1, 0);
    let pixels = data.train.pixels.iter().copied().cycle().take(images * data.shape.iter().product::<usize>());
    let labels = data.train.labels.iter().copied().cycle().take(images);
    Dataset { train: Images { pixels: pixels.collect(), labels: labels.collect() }, ..data }
}

/// Gives `engine` a network and all images, in order.
pub fn begin<E: Engine>(engine: &mut E, model: &Model, images: usize) -> Result<(), EngineError> {
    engine.set_state(&State::new(model, 0))?;
    let order: Vec<u32> = (0..images as u32).collect();
    engine.begin(&Pass::train(&order, 0, &|_| 0.01))
}

/// Trains for `length` on the device that `asked` means, and then, if `time_kernels`, step by step for the time of each
/// dispatch.
pub fn run(asked: &DeviceChoice, batch_size: u32, length: Duration, time_kernels: bool) -> Result<Measured, Failure> {
    let model = model()?;
    let settings = Settings { batch_size: batch_size as usize, ..Settings::default() };
    let data = digits(IMAGES);

    let start = clock();
    let context = device::find(asked)?.open()?;
    let (mut timed, dispatches, kernels);
    match &context {
        Some(context) => {
            let mut engine = GpuEngine::new(context, &model, &data, settings)?;
            timed = drive::block_on(context, train(&mut engine, &model, settings, start, length))?;
            timed.peak_memory = peak_memory();
            dispatches = Some(engine.training_steps().count());
            kernels = if time_kernels { kernels::measure(context, &mut engine)? } else { None };
        }
        None => {
            let mut engine = CpuEngine::new(&model, &data, settings)?;
            timed = pollster::block_on(train(&mut engine, &model, settings, start, length))?;
            timed.peak_memory = peak_memory();
            (dispatches, kernels) = (None, None);
        }
    }
    let flops_per_step = model.training_flops(settings.batch_size);
    let per_second = 1e3 / timed.ms_per_step.median;
    Ok(Measured {
        device: describe(context.as_ref()),
        batch_size,
        images_per_second: f64::from(batch_size) * per_second,
        flops_per_step,
        gflops_per_second: flops_per_step as f64 / 1e9 * per_second,
        dispatches_per_step: dispatches,
        first_step_seconds: timed.first_step.as_secs_f64(),
        peak_memory_bytes: timed.peak_memory,
        ms_per_step: timed.ms_per_step,
        kernels,
    })
}

struct Timed {
    first_step: Duration,
    ms_per_step: Spread,
    /// In bytes.
    peak_memory: Option<u64>,
}

/// Trains for `length`; the first step counts from `start`.
async fn train<E: Engine>(
    engine: &mut E,
    model: &Model,
    settings: Settings,
    start: Duration,
    length: Duration,
) -> Result<Timed, EngineError> {
    begin(engine, model, IMAGES)?;
    engine.submit(0..1)?;
    engine.collect().await?;
    let first_step = clock() - start;

    // The second step is the first that compiles nothing.
    let from = clock();
    engine.submit(1..2)?;
    engine.collect().await?;
    let step = (clock() - from).as_secs_f64();
    let most = STEPS.min(IMAGES / settings.batch_size);
    let steps = ((SUBMIT.as_secs_f64() / step) as usize).clamp(1, most);

    // One submit is always queued while another is waited for, as in training: the device never runs dry.
    let mut ms = Vec::new();
    let begun = clock();
    engine.submit(0..steps)?;
    engine.submit(0..steps)?;
    engine.collect().await?;
    let mut from = clock();
    while ms.len() < 3 || clock() - begun < length {
        engine.submit(0..steps)?;
        engine.collect().await?;
        let now = clock();
        ms.push((now - from).as_secs_f64() * 1e3 / steps as f64);
        from = now;
    }
    engine.collect().await?;
    Ok(Timed { first_step, ms_per_step: Spread::of(ms), peak_memory: None })
}

fn describe(context: Option<&Context>) -> Device {
    match context {
        Some(Context { info, .. }) => Device {
            name: info.name.clone(),
            kind: kind(info).into(),
            backend: Some(info.backend.to_string()),
            driver: Some([info.driver.as_str(), info.driver_info.as_str()].join(" ").trim().into()),
            threads: None,
            instructions: None,
        },
        None => Device {
            name: "cpu".into(),
            kind: "CPU path".into(),
            backend: None,
            driver: None,
            threads: Some(rayon::current_num_threads()),
            instructions: Some(lanes::instructions().into()),
        },
    }
}

/// In bytes, of this process. (`getrusage` would also count what the process was that started this one.)
fn peak_memory() -> Option<u64> {
    // Linux alone has it; elsewhere there is no such file.
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let kibibytes = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB"))?;
    Some(kibibytes.trim().parse::<u64>().ok()? * 1024)
}
