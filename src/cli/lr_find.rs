//! `lr-find`: which learning rate to begin with.

use super::dataset::{NOT_MNIST, is_synthetic, warn_if_synthetic};
use super::device::DeviceArguments;
use super::fastest::Job;
use super::output::note;
use super::train::{self, Step, TrainingData};
use super::watch::Bar;
use super::{Failure, interrupt, print, target, values};
use mnist_wgpu::data::split;
use mnist_wgpu::engine::{CpuEngine, Engine, GpuEngine};
use mnist_wgpu::gpu::drive;
use mnist_wgpu::lr_find::{Search, Suggestion, Sweep, search};
use mnist_wgpu::report::{self, Heading, lr_find::rounded};
use mnist_wgpu::run::Training;
use mnist_wgpu::sources::Found;
use mnist_wgpu::state::State;
use mnist_wgpu::train::{Observer, Progress, TrainError};
use serde::Serialize;
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  mnist-wgpu lr-find                                     the rate for the default settings
  mnist-wgpu lr-find --batch-size 64 --out rates.png     for larger batches, and a picture

The learning rate rises from step to step, from --lowest to --highest, until the loss exceeds four times its least. \
Where the loss falls fastest is a good highest rate for a one-cycle schedule.";

/// What is written.
const PICTURE: &str = "the picture";

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    #[command(flatten)]
    device: DeviceArguments,

    #[command(flatten)]
    data: TrainingData,

    #[command(flatten)]
    step: Step,

    /// The first rate
    #[arg(
        long, value_name = "RATE", default_value_t = Sweep::default().from, value_parser = values::positive,
        allow_negative_numbers = true
    )]
    lowest: f64,

    /// The last rate, if the loss does not end the search before
    #[arg(
        long, value_name = "RATE", default_value_t = Sweep::default().to, value_parser = values::positive,
        allow_negative_numbers = true
    )]
    highest: f64,

    /// Training steps, at least 20
    #[arg(
        long, value_name = "N", default_value_t = Sweep::default().steps, value_parser = steps,
        allow_negative_numbers = true
    )]
    steps: usize,

    /// Picture to write: the loss over the learning rate, a PNG file
    #[arg(long, value_name = "FILE.png", value_parser = values::path())]
    out: Option<PathBuf>,

    /// Overwrite a file that exists
    #[arg(long, requires = "out")]
    force: bool,

    /// Print JSON for programs instead of the suggestion
    #[arg(long)]
    json: bool,
}

fn steps(text: &str) -> Result<usize, String> {
    values::whole(text, 20..=10_000)
}

/// What `--json` prints. Fields keep their names and units from version to version; new ones may come.
#[derive(Serialize)]
struct Report<'a> {
    dataset: &'a str,
    /// Where the loss falls fastest, and a tenth of the rate of the least loss; none where it did not fall.
    steepest: Option<f64>,
    tenth_of_least: Option<f64>,
    /// Of each step.
    rates: Vec<f64>,
    losses: Vec<f64>,
    smoothed: Vec<f64>,
}

pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let &Arguments { lowest: from, highest: to, steps, .. } = arguments;
    if from >= to {
        return Err(Failure::Usage(format!("`--lowest {from} --highest {to}`: expected the first rate below the last")));
    }
    if let Some(path) = &arguments.out {
        target::check(PICTURE, path, arguments.force, &[])?;
    }
    let predecessor = arguments.step.predecessor()?;
    let training = arguments.step.training(predecessor.as_ref())?;
    interrupt::end_saying("interrupted");
    let device = arguments.device.find()?;
    let found = arguments.data.load(training.seed, predecessor.as_ref())?;
    let data = &found.dataset;
    let model = train::checked_model(data, &training)?;
    let settings = train::settings_of(&training);
    let state = match &predecessor {
        Some(predecessor) => predecessor.state(&model, data, training.seed)?,
        None => State::new(&model, training.seed),
    };
    let context = arguments.device.open(device, &Job { model: &model, settings })?;
    interrupt::catch_interrupts();
    let sweep = Sweep { from, to, steps };
    let searched = match &context {
        Some(context) => {
            let engine = GpuEngine::new(context, &model, data, settings)?;
            drive::block_on(context, sweep_by(engine, &state, &found, &training, sweep))
        }
        None => pollster::block_on(sweep_by(CpuEngine::new(&model, data, settings)?, &state, &found, &training, sweep)),
    };
    let searched = searched.map_err(|error| match error {
        TrainError::Interrupted { .. } => Failure::Interrupted("interrupted; no rate was found yet".into()),
        error => error.into(),
    })?;
    let suggestion = searched.suggestion();
    if let Some(path) = &arguments.out {
        let heading = Heading { title: "Learning rates", warning: is_synthetic(&found).then_some(NOT_MNIST) };
        let picture = report::lr_find::png(heading, &searched, suggestion)?;
        target::write(PICTURE, path, &picture)?;
        note(format_args!("Wrote {}.", path.display()));
    }
    let told = line(suggestion, &searched, arguments);
    if arguments.json {
        let (rates, losses) = searched.points().unzip();
        let report = Report {
            dataset: &found.name,
            steepest: suggestion.map(|found| found.steepest),
            tenth_of_least: suggestion.map(|found| found.tenth),
            rates,
            losses,
            smoothed: searched.smoothed(),
        };
        print(&(serde_json::to_string_pretty(&report)? + "\n"))?;
        told?;
    } else {
        print(&told?)?;
    }
    warn_if_synthetic(&found);
    Ok(())
}

async fn sweep_by<E: Engine>(
    mut engine: E,
    state: &State,
    found: &Found,
    training: &Training,
    sweep: Sweep,
) -> Result<Search, TrainError> {
    engine.set_state(state)?;
    let parts = split(found.dataset.train.len(), training.val_fraction, training.seed);
    let mut watcher = Watcher(Bar::new("", 1));
    let batch_size = training.batch_size as usize;
    let searched = search(&mut engine, &parts.train, batch_size, training.seed, sweep, &mut watcher).await;
    watcher.0.clear();
    searched
}

/// The suggestion, and which flags follow from it.
fn line(suggestion: Option<Suggestion>, searched: &Search, arguments: &Arguments) -> Result<String, Failure> {
    let Some(Suggestion { steepest, tenth }) = suggestion else {
        let (from, to, done) = (arguments.lowest, arguments.highest, searched.points().count());
        return Err(Failure::saying(format!(
            "the loss did not fall at any rate from {from:?} to {to:?}, in {done} steps; try another `--lowest` or `--highest`, \
             or more `--steps`"
        )));
    };
    let (lr, tenth) = (rounded(steepest), rounded(tenth));
    Ok(format!(
        "--lr {lr} --schedule one-cycle    (the loss falls fastest at {lr}; a tenth of the least loss's rate is \
         {tenth})\n",
    ))
}

struct Watcher(Bar);

impl Observer for Watcher {
    fn progress(&mut self, progress: &Progress) {
        self.0.show(progress);
    }

    fn stop(&self) -> bool {
        interrupt::interrupted()
    }
}
