//! `train`: from no model to a saved one.

use super::dataset::{is_synthetic, load, warn_if_synthetic};
use super::device::{self, DeviceArguments};
use super::watch::{self, Bar};
use super::{Failure, print, tell};
use mnist_wgpu::checkpoint::{self, Info, NORMALISATION};
use mnist_wgpu::cpu::CpuEngine;
use mnist_wgpu::data::{CLASSES, COLS, Dataset, ROWS, split};
use mnist_wgpu::engine::{Engine, Set, Settings, State};
use mnist_wgpu::gpu::{GpuEngine, drive};
use mnist_wgpu::model::Model;
use mnist_wgpu::ops::sgd::Sgd;
use mnist_wgpu::train::{EpochReport, Observer, Options, Progress, TrainError, evaluate, fit};
use std::error::Error;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

#[derive(clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    device: DeviceArguments,

    /// Folder with the four MNIST files, gzip or plain [default: $MNIST_DIR, the user's cache folder, a download]
    #[arg(long, value_name = "FOLDER")]
    data_dir: Option<PathBuf>,

    /// Passes over the training images
    #[arg(long, default_value_t = 10, value_parser = epochs, allow_negative_numbers = true)]
    epochs: u32,

    /// Images per training step, at most 4096
    #[arg(long, default_value_t = 32, value_name = "N", value_parser = batch_size, allow_negative_numbers = true)]
    batch_size: u32,

    /// Learning rate
    #[arg(long, default_value_t = 0.01, value_name = "RATE", value_parser = positive, allow_negative_numbers = true)]
    lr: f32,

    /// Momentum of SGD, in [0, 1)
    #[arg(long, default_value_t = 0.9, value_parser = below_one, allow_negative_numbers = true)]
    momentum: f32,

    /// Plain momentum instead of Nesterov's
    #[arg(long)]
    no_nesterov: bool,

    /// Probability of zeroing a feature before the last layer, in [0, 1)
    #[arg(long, default_value_t = 0.5, value_name = "P", value_parser = below_one, allow_negative_numbers = true)]
    dropout: f32,

    /// Drives initialisation, split, shuffles and dropout: the same seed on the same device gives the same bits
    #[arg(long, default_value_t = 0, value_parser = seed, allow_negative_numbers = true)]
    seed: u64,

    /// Share of the training images held out for validation, in (0, 1)
    #[arg(long, default_value_t = 0.1, value_name = "SHARE", value_parser = fraction, allow_negative_numbers = true)]
    val_fraction: f64,

    /// Where the network is saved after each epoch, as safetensors
    #[arg(long, default_value = "model.safetensors", value_name = "FILE")]
    out: PathBuf,
}

pub fn whole<T: TryFrom<u64>>(text: &str, range: RangeInclusive<u64>) -> Result<T, String> {
    let number = text.parse().ok().filter(|number| range.contains(number));
    let expected = || format!("expected a whole number from {} to {}", range.start(), range.end());
    number.and_then(|number| number.try_into().ok()).ok_or_else(expected)
}

fn epochs(text: &str) -> Result<u32, String> {
    whole(text, 1..=100_000)
}

pub fn batch_size(text: &str) -> Result<u32, String> {
    whole(text, 1..=4096)
}

fn seed(text: &str) -> Result<u64, String> {
    whole(text, 0..=u64::MAX)
}

fn number(text: &str, fits: impl Fn(f64) -> bool, expected: &str) -> Result<f64, String> {
    let number: f64 = text.parse().map_err(|_| format!("expected a number {expected}"))?;
    if fits(number) { Ok(number) } else { Err(format!("expected a number {expected}")) }
}

fn positive(text: &str) -> Result<f32, String> {
    number(text, |x| x > 0.0 && (x as f32).is_finite() && x as f32 > 0.0, "above 0").map(|x| x as f32)
}

fn below_one(text: &str) -> Result<f32, String> {
    number(text, |x| x >= 0.0 && (x as f32) < 1.0, "from 0 to below 1").map(|x| x as f32)
}

fn fraction(text: &str) -> Result<f64, String> {
    number(text, |x| x > 0.0 && x < 1.0, "between 0 and 1")
}

pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    // What can be wrong is found out before anything takes long.
    let model = Model::new([1, ROWS, COLS], Model::classic_layers(arguments.dropout), CLASSES)?;
    checkpoint::check_writable(&arguments.out)?;
    watch::catch_interrupts()?;
    let context = device::open(&arguments.device)?;
    let data = load(arguments.data_dir.clone())?;
    if watch::interrupted() {
        return Err(Failure::Interrupted("interrupted; nothing was saved yet".into()));
    }

    let settings = Settings {
        batch_size: arguments.batch_size as usize,
        sgd: Sgd { lr: arguments.lr, momentum: arguments.momentum, nesterov: !arguments.no_nesterov },
        seed: arguments.seed,
        fuse: true,
    };
    let training = Training { arguments, model: &model, data: &data, settings };
    match &context {
        Some(context) => {
            tell("Preparing the GPU: compiling kernels, uploading images.");
            let engine = GpuEngine::new(context, &model, &data, settings)?;
            drive::block_on(context, training.run(engine))
        }
        None => pollster::block_on(training.run(CpuEngine::new(&model, &data, settings))),
    }
}

struct Training<'a> {
    arguments: &'a Arguments,
    model: &'a Model,
    data: &'a Dataset,
    settings: Settings,
}

impl Training<'_> {
    async fn run<E: Engine>(&self, mut engine: E) -> Result<(), Failure> {
        let Arguments { seed, val_fraction, epochs, .. } = *self.arguments;
        let split = split(self.data.train.len(), val_fraction, seed);
        if split.val.is_empty() {
            return Err(Failure::Usage("no image is held out for validation; use a larger `--val-fraction`".into()));
        }
        let info = Info {
            input: [1, ROWS, COLS],
            layers: self.model.layers().to_vec(),
            normalisation: NORMALISATION.into(),
            dataset: self.data.name.clone(),
            epoch: 0,
            seed,
            val_fraction,
            version: env!("CARGO_PKG_VERSION").into(),
        };
        let parameters = self.model.init(seed);
        let velocity = vec![0.0; parameters.len()];
        engine.set_state(&State { parameters, velocity })?;

        let label = if is_synthetic(self.data) { "synthetic digits, not MNIST: " } else { "" };
        let mut watcher = Watcher { bar: Bar::new(label), model: self.model, info, out: &self.arguments.out };
        let options = Options { batch_size: self.settings.batch_size, epochs, seed };
        let trained = fit(&mut engine, &split, &options, &watch::clock, &mut watcher).await;
        watcher.bar.clear();
        trained.map_err(|error| self.explain(error, watcher.info.epoch))?;

        let order: Vec<u32> = (0..self.data.test.len() as u32).collect();
        let batch_size = self.settings.batch_size;
        let test = evaluate(&mut engine, Set::Test, &order, batch_size, epochs, &watch::clock, &mut watcher).await;
        watcher.bar.clear();
        let test = test.map_err(|error| self.explain(error, epochs))?;
        let line = format!("Loss on test set:{:.6} Accuracy on test set: {:.6}\n", test.loss(), test.accuracy());
        print(&line).map_err(|error| self.explain(TrainError::Observer(error.into()), epochs))?;
        tell(format_args!("Saved as {}", self.arguments.out.display()));
        if is_synthetic(self.data) {
            tell("This network was trained and tested on SYNTHETIC digits.");
            warn_if_synthetic(self.data);
        }
        Ok(())
    }

    /// An early end, with what it means for the file that `saved` epochs were saved to.
    fn explain(&self, error: TrainError, saved: u32) -> Failure {
        let out = self.arguments.out.display();
        let kept = match saved {
            0 => "nothing was saved yet".to_string(),
            epoch => format!("{out} holds the network after epoch {epoch}"),
        };
        match error {
            TrainError::Interrupted { .. } => Failure::Interrupted(format!("{error}; {kept}")),
            TrainError::TooFewImages { .. } => Failure::Usage(error.to_string()),
            error => Failure::Failed(format!("{error}; {kept}").into()),
        }
    }
}

/// Prints each epoch's report and saves the network.
struct Watcher<'a> {
    bar: Bar,
    model: &'a Model,
    /// Of the last epoch saved.
    info: Info,
    out: &'a Path,
}

impl Observer for Watcher<'_> {
    fn progress(&mut self, progress: &Progress) {
        self.bar.show(progress);
    }

    fn epoch(&mut self, report: &EpochReport, state: &State) -> Result<(), Box<dyn Error + Send + Sync>> {
        self.bar.clear();
        let info = Info { epoch: report.epoch, ..self.info.clone() };
        let saved = checkpoint::save(self.out, self.model, &state.parameters, &info);
        if saved.is_ok() {
            self.info = info;
        }
        print(&epoch_text(report))?; // what was computed is told, whether or not it could be saved
        Ok(saved?)
    }

    fn stop(&self) -> bool {
        watch::interrupted()
    }
}

/// An epoch's lines, in the form that the notebook prints.
fn epoch_text(report: &EpochReport) -> String {
    let (train, val) = (&report.train, &report.val);
    format!(
        "-------------\nEpoch {}:\n\nTrain loss: {:.6} | Train accuracy: {:.6}\nVal loss:   {:.6} | Val accuracy:   {:.6}\n",
        report.epoch,
        train.loss(),
        train.accuracy(),
        val.loss(),
        val.accuracy()
    )
}
