//! Training steps on one device at one batch size, timed in this process.

use super::kernels;
use super::report::{Device, Measured, Spread};
use crate::cli::clock::clock;
use crate::cli::{Failure, device, layers, stopwatch};
use device::DeviceChoice;
use mnist_wgpu::data::{Dataset, Images, synthetic};
use mnist_wgpu::engine::{CpuEngine, GpuEngine, Settings};
use mnist_wgpu::gpu::context::kind;
use mnist_wgpu::gpu::{Context, drive};
use mnist_wgpu::layers::parse;
use mnist_wgpu::model::Model;
use mnist_wgpu::ops::lanes;
use std::time::Duration;

/// As many as MNIST has, so that uploads and memory are those of a real run.
const IMAGES: usize = 60_000;
/// Images that are drawn; they repeat.
const DRAWN: usize = 1_000;
/// The shape of the images, and their classes.
const SHAPE: [usize; 3] = [1, 28, 28];
const CLASSES: usize = 10;

/// The network of `layers`; without, the classic one with dropout.
pub fn model(text: Option<&str>) -> Result<Model, Failure> {
    let layers = match text {
        Some(layers) => parse(layers, CLASSES).map_err(|error| layers::bad(text, &error))?,
        None => Model::classic_layers(CLASSES, 0.5),
    };
    Model::new(SHAPE, layers, CLASSES).map_err(|error| Failure::Usage(format!("`--model`, for digits: {error}")))
}

/// `images` training images.
pub fn digits(images: usize) -> Dataset {
    let data = synthetic(DRAWN, 1, 0);
    let pixels = data.train.pixels.iter().copied().cycle().take(images * data.shape.iter().product::<usize>());
    let labels = data.train.labels.iter().copied().cycle().take(images);
    Dataset { train: Images { pixels: pixels.collect(), labels: labels.collect() }, ..data }
}

/// Trains for `length` on the device that `asked` means, and then, if `time_kernels`, step by step for the time of each
/// dispatch.
pub fn run(
    asked: &DeviceChoice,
    model: &Model,
    batch_size: u32,
    length: Duration,
    time_kernels: bool,
) -> Result<Measured, Failure> {
    let settings = Settings { batch_size: batch_size as usize, ..Settings::default() };
    let data = digits(IMAGES);

    let start = clock();
    let context = device::find(asked)?.open()?;
    let (timed, peak_memory, dispatches, kernels);
    let batch = settings.batch_size;
    match &context {
        Some(context) => {
            let mut engine = GpuEngine::new(context, model, &data, settings)?;
            timed = drive::block_on(context, stopwatch::time(&mut engine, model, IMAGES, batch, length))?;
            peak_memory = most_memory();
            dispatches = Some(engine.training_steps().count());
            kernels = if time_kernels { kernels::measure(context, &mut engine)? } else { None };
        }
        None => {
            let mut engine = CpuEngine::new(model, &data, settings)?;
            timed = pollster::block_on(stopwatch::time(&mut engine, model, IMAGES, batch, length))?;
            peak_memory = most_memory();
            (dispatches, kernels) = (None, None);
        }
    }
    let flops_per_step = model.training_flops(settings.batch_size);
    let ms_per_step = Spread::of(timed.ms_per_step);
    let per_second = 1e3 / ms_per_step.median;
    Ok(Measured {
        device: describe(context.as_ref()),
        batch_size,
        images_per_second: f64::from(batch_size) * per_second,
        flops_per_step,
        gflops_per_second: flops_per_step as f64 / 1e9 * per_second,
        dispatches_per_step: dispatches,
        first_step_seconds: (timed.first_step - start).as_secs_f64(),
        peak_memory_bytes: peak_memory,
        ms_per_step,
        kernels,
    })
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
fn most_memory() -> Option<u64> {
    // Linux alone has it; elsewhere there is no such file.
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let kibibytes = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB"))?;
    Some(kibibytes.trim().parse::<u64>().ok()? * 1024)
}
