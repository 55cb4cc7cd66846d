//! `train`: from no model to a folder with the best one, or from an interrupted run to its end.

mod data;
mod from;
mod recipe;
mod report;
mod seeds;
mod session;

use super::clock::now;
use super::device::{self, DeviceArguments};
use super::fastest::Job;
use super::output::note;
use super::watch::WatchArguments;
use super::{Failure, interrupt, layers, tell, values, version};
pub use data::TrainingData;
pub use from::Predecessor;
use mnist_wgpu::checkpoint::{Checkpoint, Info};
use mnist_wgpu::data::{Dataset, split};
use mnist_wgpu::engine::{CpuEngine, GpuEngine, Settings, Work};
use mnist_wgpu::gpu::{Context, drive};
use mnist_wgpu::history;
use mnist_wgpu::model::Model;
use mnist_wgpu::run::{self, Config, Resumed, Run, RunError};
use mnist_wgpu::sources::{Found, Origin};
use mnist_wgpu::state::{Role, State};
use recipe::Recipe;
pub use recipe::Step;
use session::{Options, Session, Start, keep_best};
use std::path::{Path, PathBuf};

const EXAMPLES: &str = "\
Examples:
  mnist-wgpu train                                    ten epochs on the best device there is
  mnist-wgpu train --device cpu --epochs 3 --tui      three, on the CPU, on a dashboard
  mnist-wgpu train --resume runs/latest --epochs 20   ten more, or the rest of an interrupted run
  mnist-wgpu train --data-dir ~/mnist --seed 7        with the MNIST files of a folder, and another seed
  mnist-wgpu train --data-dir pictures --size 32      on pictures in a folder, a sub-folder for each class";

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
#[command(mut_arg("dataset", |dataset| dataset.conflicts_with("resume")))]
#[command(mut_arg("size", |size| size.conflicts_with("resume")))]
#[command(mut_arg("resume", |resume| resume.conflicts_with_all(recipe::options())))]
pub struct Arguments {
    #[command(flatten)]
    device: DeviceArguments,

    #[command(flatten)]
    data: TrainingData,

    /// Passes over the training images [default: the preset's, 10 of notebook; with --resume those that the run was to
    /// have]
    #[arg(long, value_parser = values::epochs, allow_negative_numbers = true)]
    epochs: Option<u32>,

    #[command(flatten)]
    recipe: Recipe,

    /// Make N runs, with the seeds from --seed on, in folders seed-0, seed-1 and so on of --out, and compare them. The
    /// same command again goes on where it was stopped
    #[arg(
        long, value_name = "N", conflicts_with_all = ["tui", "resume"], value_parser = values::seeds,
        allow_negative_numbers = true
    )]
    seeds: Option<u32>,

    /// Folder of the run, for the network, its settings, figures and pictures [default: a new one, runs/DATE-NAME]
    #[arg(long, value_name = "FOLDER", value_parser = values::path())]
    out: Option<PathBuf>,

    /// Write into --out although something is there; an earlier run in it is lost
    #[arg(long, requires = "out")]
    force: bool,

    /// Go on with the run in this folder, to the very bits it would have reached
    #[arg(long, value_name = "RUN", conflicts_with_all = ["out", "force"], value_parser = values::path())]
    resume: Option<PathBuf>,

    /// Save every N steps, too, so that a crash costs no more than these; an epoch's end and Ctrl-C always save
    #[arg(long, value_name = "N", value_parser = values::steps, allow_negative_numbers = true)]
    checkpoint_every: Option<usize>,

    /// Write TensorBoard's event files into the run's folder, too
    #[arg(long)]
    tensorboard: bool,

    #[command(flatten)]
    watch: WatchArguments,
}

impl Arguments {
    fn options(&self) -> Options<'_> {
        Options { watch: &self.watch, tensorboard: self.tensorboard, checkpoint_every: self.checkpoint_every }
    }
}

pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    arguments.watch.check()?;
    match &arguments.resume {
        Some(folder) => resume(arguments, folder),
        None if arguments.seeds.is_some() => seeds::run(arguments),
        None => begin(arguments),
    }
}

fn begin(arguments: &Arguments) -> Result<(), Failure> {
    // What can be wrong is found out before anything takes long.
    let predecessor = arguments.recipe.predecessor()?;
    let training = arguments.recipe.training(arguments.epochs, predecessor.as_ref())?;
    let folder = folder_of(arguments)?;
    let run = Run::check(&folder, arguments.force).map_err(advise)?;
    interrupt::end_saying("interrupted; nothing was saved yet");
    let device = arguments.device.find()?;
    let found = arguments.data.load(training.seed, predecessor.as_ref())?;
    let model = checked_model(&found.dataset, &training)?;
    let context = arguments.device.open(device, &Job { model: &model, settings: settings_of(&training) })?;
    begin_in(run, training, predecessor.as_ref(), arguments, context.as_ref(), &found)
}

/// The folder that is to be the new run's.
fn folder_of(arguments: &Arguments) -> Result<PathBuf, Failure> {
    match &arguments.out {
        Some(folder) if folder.extension().is_some_and(|extension| extension == "safetensors") => Err(Failure::Usage(
            format!("`--out {}`: expected the name of a folder; the network will be {} in it", folder.display(), run::MODEL),
        )),
        Some(folder) => Ok(folder.clone()),
        None => Ok(new_folder()),
    }
}

/// Makes a new run on the device of `context`.
fn begin_in(
    run: Run,
    training: run::Training,
    predecessor: Option<&Predecessor>,
    arguments: &Arguments,
    context: Option<&Context>,
    found: &Found,
) -> Result<(), Failure> {
    let data = &found.dataset;
    let model = checked_model(data, &training)?;
    let device = device::describe(context);
    let config = Config { training, data: described(found), device, program: program(), resumed: Vec::new() };
    let state = match predecessor {
        Some(predecessor) => predecessor.state(&model, data, config.training.seed)?,
        None => State::new(&model, config.training.seed),
    };
    let settings = settings_of(&config.training);
    // An earlier run is not touched before the device is known to be able to train.
    let session = || {
        let lock = run.create(&config, arguments.force).map_err(advise)?;
        Session::new((run, lock), config, &model, found, Start::default(), &arguments.options())
    };
    on_device(context, (&model, data, settings), session, &state)
}

fn resume(arguments: &Arguments, folder: &Path) -> Result<(), Failure> {
    let run = Run { folder: run_folder(folder)? };
    let mut config = run.config()?;
    let lock = run.lock()?;
    let path = run.path(run::LAST);
    let last = run::load_network(&path).map_err(|error| match error {
        RunError::ReadNetwork { .. } => {
            Failure::saying(format!("{error}; there is nothing to go on from: begin the run anew"))
        }
        error => Failure::from(error),
    })?;
    let (classes, model) = (last.classes(), &last.model);
    let Some(position) = last.position else {
        let message = format!("{}: holds no optimizer's state, so that it is no checkpoint to go on from", path.display());
        return Err(Failure::saying(message));
    };
    let layers = config.training.layers(config.data.classes);
    let settings = settings_of(&config.training);
    let slots = settings.optimizer.slots().iter().all(|&slot| last.state.get(Role::Slot(slot)).is_some());
    let averaged = last.state.get(Role::Average).is_some() == settings.average.is_some();
    let fits = layers.is_ok_and(|layers| layers == model.layers()) && model.shapes()[0].0 == config.data.shape;
    // By these the images to train with are drawn.
    let drawn = |info: &Info| (info.seed, info.val_fraction) == (config.training.seed, config.training.val_fraction);
    if !(fits && slots && averaged && last.info.as_ref().is_none_or(drawn)) {
        return Err(RunError::Content {
            path: run.path(run::CONFIG),
            problem: format!("does not describe the network in {}", path.display()),
        }
        .into());
    }
    config.training.epochs = arguments.epochs.unwrap_or(config.training.epochs);
    let (epochs, done) = (config.training.epochs, position.epochs);
    if epochs < done {
        let message = format!("`--epochs {epochs}`: the run has {done} epochs already; give at least as many");
        return Err(Failure::Usage(message));
    }
    let warmup = config.training.warmup;
    if warmup > f64::from(epochs) {
        let message =
            format!("`--epochs {epochs}`: the run's learning rate rises for {warmup} epochs; give at least as many");
        return Err(Failure::Usage(message));
    }
    let start = Start { position, rows: run.history(position.epochs, &last.history)?, written: last.history.is_empty() };

    interrupt::end_saying("interrupted; the run is as it was");
    let device = arguments.device.find_again(config.device_now())?;
    let context = arguments.device.open(device, &Job { model, settings })?;
    let now = Resumed { epochs: position.epochs, device: device::describe(context.as_ref()), program: program() };
    let same_bits = now.device.same_bits(config.device_now());
    if !same_bits {
        tell("      The run was on another device or driver: it goes on well, but not to the same bits.");
    } else if now.program.version != config.program_now().version {
        tell("      The run was begun by another version of this program: it may not go on to the same bits.");
    }
    check_best(&run, &last, &start, same_bits)?;
    config.resumed.push(now);
    let found = arguments.data.set.load_again(&config.data, &classes, config.training.seed)?;
    check_split(&found.dataset, &config.training)?;
    config.data.folder = folder_of_data(&found); // it may have been moved

    let session = || {
        run.write_config(&config)?;
        Session::new((run, lock), config, model, &found, start, &arguments.options())
    };
    on_device(context.as_ref(), (model, &found.dataset, settings), session, &last.state)
}

/// The run's folder that `path` means: itself, or the one whose last checkpoint it is.
fn run_folder(path: &Path) -> Result<PathBuf, Failure> {
    let folder = run::resolve(path);
    let inside = folder.parent().map(|parent| if parent.as_os_str().is_empty() { Path::new(".") } else { parent });
    match inside.filter(|_| folder.is_file()) {
        None => Ok(folder),
        Some(outer) if folder.file_name().is_some_and(|name| name == run::LAST) => Ok(outer.into()),
        Some(outer) if outer.join(run::LAST).is_file() => Err(Failure::Usage(format!(
            "`--resume {}`: a run goes on from its {}; name its folder, {}",
            path.display(),
            run::LAST,
            outer.display()
        ))),
        Some(_) => Err(Failure::Usage(format!(
            "`--resume {}`: expected the folder of a run, which `train` made, found a file",
            path.display()
        ))),
    }
}

/// Sees to it, before the rest is trained, that the best network so far is where it is kept. A run that was killed in
/// between may not have come to save it; the last checkpoint has it then.
fn check_best(run: &Run, last: &Checkpoint, start: &Start, same_bits: bool) -> Result<(), Failure> {
    let (Some(best), position) = (history::best(&start.rows), start.position) else { return Ok(()) };
    let path = run.path(run::MODEL);
    let kept = run::load_network(&path).map(|kept| kept.info.map(|info| info.epoch));
    if matches!(kept, Ok(Some(epoch)) if epoch == best.epoch) {
        return Ok(());
    }
    if let Some(info) = last.info.as_ref().filter(|_| best.epoch == position.epochs && position.batches == 0) {
        return Ok(keep_best(run, &last.model, &last.state, info)?);
    }
    // Earlier versions saved the best network first: it may be of an epoch that will be done again, to the same bits.
    if same_bits && kept? == Some(position.epochs + 1) {
        return Ok(());
    }
    let problem = format!("expected the network of epoch {}, the best by {}", best.epoch, run::METRICS);
    Err(RunError::Content { path, problem }.into())
}

/// Makes the engine, then the session, and runs it.
fn on_device<'a>(
    context: Option<&Context>,
    (model, data, settings): (&Model, &'a Dataset, Settings),
    session: impl FnOnce() -> Result<Session<'a>, Failure>,
    state: &State,
) -> Result<(), Failure> {
    let session = || {
        interrupt::catch_interrupts();
        session()
    };
    match context {
        Some(context) => {
            note("Preparing the GPU: compiling kernels, uploading images.");
            let engine = GpuEngine::new(context, model, data, settings)?;
            drive::block_on(context, session()?.run(engine, state))
        }
        None => pollster::block_on(session()?.run(CpuEngine::new(model, data, settings)?, state)),
    }
}

/// The network for the images and classes of `data`.
fn model_of(data: &Dataset, training: &run::Training) -> Result<Model, Failure> {
    let ([_, height, width], classes) = (data.shape, data.classes.len());
    let layers = training.layers(classes).map_err(|error| layers::bad(training.model.as_deref(), &error))?;
    Model::new(data.shape, layers, classes).map_err(|error| match training.model {
        Some(_) => Failure::Usage(format!("`--model`, for images of {height}x{width} pixels: {error}")),
        None => Failure::saying(format!(
            "the images, {height}x{width} pixels, are too small for the network: {error}; use larger ones, or another network \
             (`--model`)"
        )),
    })
}

/// The same, where a run with these settings can be made of it.
pub fn checked_model(data: &Dataset, training: &run::Training) -> Result<Model, Failure> {
    let model = model_of(data, training)?;
    check_split(data, training)?;
    from::check_freeze(&model, training.freeze)?;
    Ok(model)
}

/// What an option can do about a folder that cannot be used.
fn advise(error: RunError) -> Failure {
    let advice = match error {
        RunError::Exists { .. } => "; give another `--out`, go on with it by `--resume`, or overwrite it with `--force`",
        RunError::NotEmpty { .. } => "; give another `--out`, or write into it with `--force`",
        RunError::Foreign { .. } => ", which `--force` would replace; give another `--out`",
        RunError::File { .. } => "; give another `--out`",
        RunError::InUse { .. } => "; wait for its end, or give another `--out`",
        _ => "",
    };
    Failure::saying(format!("{error}{advice}"))
}

pub(super) fn settings_of(training: &run::Training) -> Settings {
    Settings {
        batch_size: training.batch_size as usize,
        optimizer: training.optimizer(),
        average: (training.ema > 0.0).then_some(training.ema as f32),
        smoothing: training.label_smoothing as f32,
        augment: training.augment,
        freeze: training.freeze as usize,
        seed: training.seed,
        fuse: true,
    }
}

/// Refuses a split that leaves nothing to train or to validate with.
fn check_split(data: &Dataset, training: &run::Training) -> Result<(), Failure> {
    let parts = split(data.train.len(), training.val_fraction, training.seed);
    if parts.val.is_empty() {
        return Err(Failure::Usage("no image is held out for validation; use a larger `--val-fraction`".into()));
    }
    let batch_size = training.batch_size as usize;
    if Work::Train.batches(parts.train.len(), batch_size) == 0 {
        let error = mnist_wgpu::train::TrainError::TooFewImages { training: parts.train.len(), batch_size };
        return Err(Failure::Usage(format!("{error}; use a smaller `--batch-size` or `--val-fraction`")));
    }
    Ok(())
}

fn described(found: &Found) -> run::Data {
    let data = &found.dataset;
    run::Data {
        name: found.name.clone(),
        folder: folder_of_data(found),
        training_images: data.train.len(),
        test_images: data.test.len(),
        shape: data.shape,
        classes: data.classes.len(),
        sha256: data.sha256(),
    }
}

/// Where the data set was found.
fn folder_of_data(found: &Found) -> Option<PathBuf> {
    match &found.origin {
        Origin::Directory(folder) | Origin::Downloaded(folder) => {
            Some(std::path::absolute(folder).unwrap_or(folder.clone()))
        }
        Origin::Synthetic { .. } => None,
    }
}

fn program() -> run::Program {
    let now = now().timestamp();
    let started = now.round(jiff::Unit::Second).unwrap_or(now).to_string();
    run::Program { version: version::version().into(), started }
}

/// A folder that is not there yet: today's date and a name that one can remember and say.
fn new_folder() -> PathBuf {
    const ADJECTIVES: [&str; 32] = [
        "able", "brave", "bright", "calm", "clever", "cosy", "eager", "fair", "fond", "free", "gentle", "glad", "golden",
        "good", "happy", "keen", "kind", "light", "lucky", "merry", "neat", "noble", "patient", "polite", "proud", "quick",
        "quiet", "sound", "sunny", "swift", "warm", "wise",
    ];
    const ANIMALS: [&str; 32] = [
        "badger", "bat", "bear", "beaver", "bee", "crane", "crow", "deer", "dove", "duck", "falcon", "finch", "fox", "frog",
        "goat", "hare", "heron", "horse", "lark", "lion", "lynx", "mole", "newt", "otter", "owl", "raven", "robin", "seal",
        "stork", "swan", "tiger", "toad",
    ];
    let now = now();
    let date = now.date();
    // The clock's last digits are as good as dice here.
    let dice = now.timestamp().as_nanosecond() as usize / 100;
    let names = (0..ADJECTIVES.len() * ANIMALS.len()).map(|turn| {
        let place = dice.wrapping_add(turn * 37);
        format!("{date}-{}-{}", ADJECTIVES[place % 32], ANIMALS[place / 32 % 32])
    });
    let mut folders = names.map(|name| Path::new(run::RUNS).join(name));
    folders.find(|folder| !folder.exists()).unwrap_or_else(|| Path::new(run::RUNS).join(format!("{date}-{dice}")))
}
