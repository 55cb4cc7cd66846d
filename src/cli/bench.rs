//! `bench`: how fast a device trains the classic network.

use super::device::{self, DeviceChoice};
use super::{Failure, print, tell, watch};
use mnist_wgpu::cpu::CpuEngine;
use mnist_wgpu::data::{CLASSES, COLS, Dataset, Origin, ROWS, synthetic};
use mnist_wgpu::engine::{Engine, Set, Settings, State, Work};
use mnist_wgpu::gpu::{Context, GpuEngine, GpuError, drive};
use mnist_wgpu::model::Model;
use std::time::Duration;

/// Batches that are cycled through: the numbers in them do not matter, their variety does a little.
const BATCHES: usize = 16;

#[derive(clap::Args)]
pub struct Arguments {
    /// auto (a GPU if there is one), cpu, gpu, a number of `devices`, or a part of a device's name
    #[arg(long, default_value = "auto")]
    device: DeviceChoice,

    /// Images per training step, several with commas between them
    #[arg(long, default_value = "32", value_name = "N", value_delimiter = ',', value_parser = super::train::batch_size, allow_negative_numbers = true)]
    batch_size: Vec<u32>,

    /// How long to measure each batch size
    #[arg(long, default_value_t = 5, value_parser = seconds, allow_negative_numbers = true)]
    seconds: u64,

    /// Also the time of each dispatch, where the GPU has timestamps
    #[arg(long)]
    kernels: bool,
}

fn seconds(text: &str) -> Result<u64, String> {
    super::train::whole(text, 1..=3600)
}

/// What was measured of one batch size.
struct Measured {
    /// From the beginning, device opened but no kernel compiled, to the end of the first step.
    first_step: Duration,
    /// Milliseconds per step of each submit of [`BATCHES`] steps, ascending.
    steps: Vec<f64>,
}

pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let context = device::open(&arguments.device)?;
    let model = Model::new([1, ROWS, COLS], Model::classic_layers(0.5), CLASSES)?;
    tell("The classic network, dropout 0.5, on synthetic digits; milliseconds per training step.");
    print("batch  median     min     max  images/s  first step\n")?;
    for &batch_size in &arguments.batch_size {
        let settings = Settings { batch_size: batch_size as usize, ..Settings::default() };
        let data = digits(settings.batch_size);
        let start = watch::clock();
        let length = Duration::from_secs(arguments.seconds);
        let mut kernels = String::new();
        let measured = match &context {
            Some(context) => {
                let mut engine = GpuEngine::new(context, &model, &data, settings)?;
                let measured = drive::block_on(context, measure(&mut engine, &model, settings, start, length))?;
                if arguments.kernels {
                    kernels = kernel_table(context, &mut engine)?;
                }
                measured
            }
            None => {
                let mut engine = CpuEngine::new(&model, &data, settings);
                pollster::block_on(measure(&mut engine, &model, settings, start, length))?
            }
        };
        print(&row(batch_size, &measured))?;
        print(&kernels)?;
    }
    Ok(())
}

fn digits(batch_size: usize) -> Dataset {
    let (train, test) = synthetic(BATCHES * batch_size, 1, 0);
    let origin = Origin::Synthetic { reason: "a benchmark".into() };
    Dataset { name: "synthetic".into(), origin, train, test }
}

/// Trains for `length`, from `start` on the clock.
async fn measure<E: Engine>(
    engine: &mut E,
    model: &Model,
    settings: Settings,
    start: Duration,
    length: Duration,
) -> Result<Measured, GpuError> {
    engine.set_state(&State { parameters: model.init(0), velocity: vec![0.0; model.arena_len()] })?;
    let order: Vec<u32> = (0..(BATCHES * settings.batch_size) as u32).collect();
    engine.begin(Set::Train, Work::Train, &order, 0)?;
    engine.submit(0..1)?;
    engine.collect().await?;
    let first_step = watch::clock() - start;

    let mut steps = Vec::new();
    let begun = watch::clock();
    while steps.len() < 3 || watch::clock() - begun < length {
        let from = watch::clock();
        engine.submit(0..BATCHES)?;
        engine.collect().await?;
        steps.push((watch::clock() - from).as_secs_f64() * 1e3 / BATCHES as f64);
    }
    steps.sort_by(f64::total_cmp);
    Ok(Measured { first_step, steps })
}

fn row(batch_size: u32, measured: &Measured) -> String {
    let steps = &measured.steps;
    let (min, median, max) = (steps[0], steps[steps.len() / 2], steps[steps.len() - 1]);
    let rate = f64::from(batch_size) / median * 1e3;
    let first = measured.first_step.as_secs_f64();
    format!("{batch_size:>5} {median:>7.3} {min:>7.3} {max:>7.3} {rate:>9.0} {first:>9.2} s\n")
}

/// The median time of each dispatch of a training step. Timing gives each a pass of its own, so that the sum is not a step's.
fn kernel_table(context: &Context, engine: &mut GpuEngine) -> Result<String, GpuError> {
    let mut runs = Vec::new();
    for batch in 0..BATCHES {
        match drive::block_on(context, engine.time_dispatches(batch))? {
            Some(times) => runs.push(times),
            None => return Ok("       this device has no timestamps\n".into()),
        }
    }
    let mut table = String::new();
    let mut total = 0.0;
    for (index, label) in engine.dispatches().into_iter().enumerate() {
        let mut times: Vec<f64> = runs.iter().map(|run| run[index].as_secs_f64() * 1e3).collect();
        times.sort_by(f64::total_cmp);
        let median = times[times.len() / 2];
        total += median;
        table += &format!("      {median:>7.3}  {label}\n");
    }
    Ok(table
        + &format!("      {total:>7.3}  all {} dispatches, each timed in a pass of its own\n", engine.dispatches().len()))
}
