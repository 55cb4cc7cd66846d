//! A run is a folder: what it was told to do, how it went, the best network, and the last one with all that is needed
//! to go on.

mod tested;

pub use tested::{TEST, Tested};

use crate::checkpoint::{self, Checkpoint, CheckpointError, Info};
use crate::files;
use crate::history::Row;
use crate::layers;
use crate::model::Model;
use crate::normalisation::Normalisation;
use crate::ops::adamw::AdamW;
use crate::ops::augment::Amounts;
use crate::ops::sgd::Sgd;
use crate::ops::{Layer, TextError, optimizer};
use crate::schedule::{self, Schedule};
use crate::state::State;
use crate::train::Position;
use crate::{report, tensorboard};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Every setting of the run, and what it ran on.
pub const CONFIG: &str = "config.toml";
/// A [`Row`] per epoch.
pub const METRICS: &str = "metrics.csv";
/// The network of the best epoch by validation.
pub const MODEL: &str = "model.safetensors";
/// The network as the last checkpoint left it, with the optimizer's state: what a resumed run goes on from.
pub const LAST: &str = "last.safetensors";

/// A run that no other process can take.
#[derive(Debug)]
pub struct Lock {
    _file: std::fs::File,
}

/// A run's folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    pub folder: PathBuf,
}

/// What [`CONFIG`] holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Config {
    pub training: Training,
    pub data: Data,
    pub device: Device,
    pub program: Program,
    /// Each time that the run was taken up again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub resumed: Vec<Resumed>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Resumed {
    /// Epochs complete by then.
    pub epochs: u32,
    pub device: Device,
    pub program: Program,
}

impl Config {
    /// The device of the last start.
    pub fn device_now(&self) -> &Device {
        self.resumed.last().map_or(&self.device, |resumed| &resumed.device)
    }

    /// The program of the last start.
    pub fn program_now(&self) -> &Program {
        self.resumed.last().map_or(&self.program, |resumed| &resumed.program)
    }
}

/// Settings of the training: together with data and device they determine every bit of the result.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Training {
    pub epochs: u32,
    pub batch_size: u32,
    pub learning_rate: f64,
    pub momentum: f64,
    pub nesterov: bool,
    /// Of the classic network; others say their own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dropout: Option<f64>,
    pub seed: u64,
    pub val_fraction: f64,
    /// Earlier versions knew neither this nor what follows.
    #[serde(default)]
    pub schedule: schedule::Kind,
    #[serde(default)]
    pub warmup: f64,
    #[serde(default)]
    pub optimizer: Optimizer,
    #[serde(default)]
    pub weight_decay: f64,
    #[serde(default)]
    pub label_smoothing: f64,
    /// Share of the weights' moving average that each step keeps; 0 where there is none.
    #[serde(default)]
    pub ema: f64,
    /// The run ends when validation has not improved for so many epochs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patience: Option<u32>,
    /// The layers, as [`layers::parse`] reads them; none for the classic network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<Cow<'static, str>>,
    /// The network that the run began with, if not with random numbers, and how many of its layers stay as they were.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    #[serde(default)]
    pub freeze: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub augment: Option<Amounts>,
}

/// What moves the parameters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Optimizer {
    #[default]
    Sgd,
    AdamW,
}

impl Optimizer {
    pub const ALL: [Self; 2] = [Self::Sgd, Self::AdamW];

    /// As options and files call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sgd => "sgd",
            Self::AdamW => "adamw",
        }
    }

    /// The learning rate and the weight decay where none are given.
    pub fn defaults(self) -> (f64, f64) {
        match self {
            Self::Sgd => (0.01, 0.0),
            Self::AdamW => (0.001, 0.01),
        }
    }
}

impl Training {
    /// The classic notebook's run, which is the default.
    pub const NOTEBOOK: Self = Self {
        epochs: 10,
        batch_size: 32,
        learning_rate: 0.01,
        momentum: 0.9,
        nesterov: true,
        dropout: Some(0.5),
        seed: 0,
        val_fraction: 0.1,
        schedule: schedule::Kind::Constant,
        warmup: 0.0,
        optimizer: Optimizer::Sgd,
        weight_decay: 0.0,
        label_smoothing: 0.0,
        ema: 0.0,
        patience: None,
        model: None,
        from: None,
        freeze: 0,
        augment: None,
    };

    /// 99% of MNIST in two epochs: one cycle of a high learning rate leaves no time for dropout.
    pub const FAST: Self = Self {
        epochs: 2,
        batch_size: 64,
        learning_rate: 0.1,
        dropout: Some(0.0),
        schedule: schedule::Kind::OneCycle,
        ..Self::NOTEBOOK
    };

    /// 99.6% of MNIST: four convolutions, each normalised, over images that are moved a little each time.
    pub const ACCURATE: Self = Self {
        epochs: 12,
        batch_size: 128,
        learning_rate: 0.1,
        dropout: None,
        schedule: schedule::Kind::OneCycle,
        weight_decay: 5e-4,
        ema: 0.995,
        model: Some(Cow::Borrowed(
            "conv 32 3, bn, relu, conv 32 3, bn, relu, pool 2, conv 64 3, bn, relu, conv 64 3, bn, relu, pool 2, linear 128, \
             relu, dropout 0.5, linear",
        )),
        augment: Some(Amounts::USUAL),
        ..Self::NOTEBOOK
    };

    /// The layers of the network, for so many classes.
    ///
    /// # Errors
    ///
    /// If the text of them is none.
    pub fn layers(&self, classes: usize) -> Result<Vec<Layer>, TextError> {
        match &self.model {
            Some(text) => layers::parse(text, classes),
            None => Ok(Model::classic_layers(classes, self.dropout.unwrap_or_default() as f32)),
        }
    }

    /// The optimizer with its settings.
    pub fn optimizer(&self) -> optimizer::Optimizer {
        let weight_decay = self.weight_decay as f32;
        match self.optimizer {
            Optimizer::Sgd => {
                let momentum = self.momentum as f32;
                optimizer::Optimizer::Sgd(Sgd { momentum, nesterov: self.nesterov, weight_decay })
            }
            Optimizer::AdamW => optimizer::Optimizer::AdamW(AdamW { weight_decay, ..AdamW::default() }),
        }
    }

    /// The learning rate of each step.
    pub fn schedule(&self) -> Schedule {
        Schedule { kind: self.schedule, rate: self.learning_rate, epochs: self.epochs, warmup: self.warmup }
    }

    pub const MOST_EPOCHS: u32 = 100_000;
    pub const LARGEST_BATCH: u32 = 4096;

    /// What is out of bounds, if anything.
    fn fault(&self) -> Option<&'static str> {
        let below_one = |x: f64| x >= 0.0 && (x as f32) < 1.0;
        let lr = self.learning_rate as f32;
        let bounds = [
            ("epochs", (1..=Self::MOST_EPOCHS).contains(&self.epochs)),
            ("batch_size", (1..=Self::LARGEST_BATCH).contains(&self.batch_size)),
            ("learning_rate", lr > 0.0 && lr.is_finite()),
            ("momentum", below_one(self.momentum)),
            ("dropout", self.dropout.is_none_or(below_one)),
            ("val_fraction", self.val_fraction > 0.0 && self.val_fraction < 1.0),
            ("patience", self.patience != Some(0)),
            ("label_smoothing", below_one(self.label_smoothing)),
            ("ema", below_one(self.ema)),
            ("model", self.layers(1).is_ok()),
            ("augment", self.augment.is_none_or(Amounts::are_sound)),
            ("warmup", (0.0..=f64::from(self.epochs)).contains(&self.warmup)),
            ("weight_decay", self.weight_decay >= 0.0 && (self.weight_decay as f32).is_finite()),
        ];
        bounds.into_iter().find(|(_, within)| !within).map(|(name, _)| name)
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Data {
    /// [`crate::sources::Found::name`]
    pub name: String,
    /// Where it was read from; none where the program drew it.
    pub folder: Option<PathBuf>,
    pub training_images: usize,
    pub test_images: usize,
    /// Of one image, (channels, height, width). Earlier versions knew this one alone.
    #[serde(default = "mnist_shape")]
    pub shape: [usize; 3],
    /// Earlier versions knew ten.
    #[serde(default = "ten")]
    pub classes: usize,
    /// [`crate::data::Dataset::sha256`]
    pub sha256: String,
}

fn mnist_shape() -> [usize; 3] {
    [1, 28, 28]
}

fn ten() -> usize {
    10
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Device {
    /// The adapter's, or `cpu`.
    pub name: String,
    pub backend: Option<String>,
    pub driver: Option<String>,
    /// The vector instructions of the CPU path; none for a GPU. Earlier versions wrote it as `variant`, which for a GPU
    /// named kernels that are no more.
    #[serde(alias = "variant")]
    pub instructions: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Program {
    pub version: String,
    /// When the run was begun: RFC 3339.
    pub started: String,
}

/// A run's folder that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error("{folder} holds a run already")]
    Exists { folder: PathBuf },

    #[error("{folder} is in use by another process that trains in it")]
    InUse { folder: PathBuf },

    #[error("{folder} exists and is not empty")]
    NotEmpty { folder: PathBuf },

    #[error("{folder} has a {CONFIG} that is no run's")]
    Foreign { folder: PathBuf },

    #[error("{path} is a file; expected the name of a folder, in which the network will be {MODEL}")]
    File { path: PathBuf },

    #[error("cannot write {path}: {source}")]
    Write { path: PathBuf, source: std::io::Error },

    #[error("cannot read {path}: {source}; is its folder one that `train` made?")]
    Read { path: PathBuf, source: std::io::Error },

    #[error("{path}: {problem}; if it was edited by hand, undo that")]
    Content { path: PathBuf, problem: String },

    #[error("cannot write the checkpoint {path}: {source}")]
    WriteNetwork { path: PathBuf, source: std::io::Error },

    #[error("cannot read the checkpoint {path}: {source}")]
    ReadNetwork { path: PathBuf, source: std::io::Error },

    #[error("{path}: {source}")]
    Network { path: PathBuf, source: CheckpointError },
}

impl Run {
    /// Checks, before anything takes long, that `folder` can become a new run's: it is not there yet, or empty, or holds
    /// a run that kept no network, or `force` is set. Makes nothing.
    pub fn check(folder: &Path, force: bool) -> Result<Self, RunError> {
        if folder.is_file() {
            return Err(RunError::File { path: folder.into() });
        }
        let run = Self { folder: folder.into() };
        let config = std::fs::read(run.path(CONFIG)).ok();
        // Every version has begun the file so; a full disk may have cut it short.
        let foreign = config.as_ref().is_some_and(|text| !text.starts_with(b"[training]") && !text.is_empty());
        let kept = [MODEL, LAST].iter().any(|name| run.path(name).exists());
        match (force, config.is_some()) {
            (_, true) if foreign && force => return Err(RunError::Foreign { folder: folder.into() }),
            (true, _) => {}
            (false, true) if kept && !foreign => return Err(RunError::Exists { folder: folder.into() }),
            (false, _) if foreign || kept || run.has_others() => return Err(RunError::NotEmpty { folder: folder.into() }),
            (false, _) => {}
        }
        let there = folder.ancestors().find(|ancestor| ancestor.exists()).unwrap_or(Path::new("."));
        let writable = files::check_writable(&there.join(LAST));
        writable.map_err(|source| RunError::Write { path: folder.into(), source })?;
        Ok(run)
    }

    /// Makes the folder of a new run and begins it with `config`. It removes what an earlier run left there, the file
    /// that could be resumed first: with `force` whatever that is, without only of a run that kept no network.
    pub fn create(&self, config: &Config, force: bool) -> Result<Lock, RunError> {
        let text = self.toml(config)?;
        let made = std::fs::create_dir_all(&self.folder);
        made.map_err(|source| RunError::Write { path: self.folder.clone(), source })?;
        let lock = self.lock()?;
        // Somebody else may have begun and ended a run meanwhile.
        Self::check(&self.folder, force)?;
        for path in self.leftovers() {
            match std::fs::remove_file(&path) {
                Err(source) if source.kind() != ErrorKind::NotFound => return Err(RunError::Write { path, source }),
                _ => {}
            }
        }
        let path = self.path(CONFIG);
        files::create(&path, text.as_bytes()).map_err(|source| RunError::Write { path, source })?;
        Ok(lock)
    }

    /// Takes the run for this process, until the lock is dropped or the process ends, however it ends. Removes what one
    /// that was killed left unfinished.
    pub fn lock(&self) -> Result<Lock, RunError> {
        let in_use = || RunError::InUse { folder: self.folder.clone() };
        let failed = |source| RunError::Write { path: self.folder.clone(), source };
        #[cfg(not(windows))]
        {
            let file = std::fs::File::open(&self.folder).map_err(failed)?;
            match file.try_lock() {
                Err(std::fs::TryLockError::WouldBlock) => Err(in_use()),
                Ok(()) => Ok(self.tidied(Lock { _file: file })),
                // A file system without locks is no reason not to train.
                Err(std::fs::TryLockError::Error(_)) => Ok(Lock { _file: file }),
            }
        }
        // Windows locks no folders: a file that nobody else can open, and that goes with its holder.
        #[cfg(windows)]
        {
            use std::os::windows::fs::OpenOptionsExt;
            const DELETE_ON_CLOSE: u32 = 0x0400_0000;
            const SHARING_VIOLATION: i32 = 32;
            let mut options = std::fs::OpenOptions::new();
            options.create(true).write(true).share_mode(0).custom_flags(DELETE_ON_CLOSE);
            match options.open(self.path(".lock")) {
                Err(error) if error.raw_os_error() == Some(SHARING_VIOLATION) => Err(in_use()),
                file => file.map(|file| self.tidied(Lock { _file: file })).map_err(failed),
            }
        }
    }

    /// Without files that nobody goes on writing: whoever could has not got the `lock`.
    fn tidied(&self, lock: Lock) -> Lock {
        let unfinished = self.entries().filter(|path| files::is_unfinished(path));
        unfinished.for_each(|path| drop(std::fs::remove_file(path))); // it is only in the way
        lock
    }

    fn entries(&self) -> impl Iterator<Item = PathBuf> {
        std::fs::read_dir(&self.folder).into_iter().flatten().flatten().map(|entry| entry.path())
    }

    /// Whether there is anything in the folder that a run does not leave there.
    fn has_others(&self) -> bool {
        let ours = self.leftovers();
        self.entries().any(|path| !ours.contains(&path))
    }

    /// What a run may have left in the folder.
    fn leftovers(&self) -> Vec<PathBuf> {
        let mut paths: Vec<_> =
            [LAST, MODEL, METRICS, CONFIG, TEST].iter().chain(&report::FILES).map(|name| self.path(name)).collect();
        paths.extend(self.entries().filter(|path| tensorboard::is_event_file(path) || files::is_unfinished(path)));
        paths
    }

    /// The folder's own name.
    pub fn name(&self) -> String {
        let name = std::path::absolute(&self.folder).ok().and_then(|folder| Some(folder.file_name()?.to_owned()));
        name.map_or_else(|| self.folder.display().to_string(), |name| name.to_string_lossy().into_owned())
    }

    /// The file `name` of the run.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    pub fn write_config(&self, config: &Config) -> Result<(), RunError> {
        self.write(CONFIG, self.toml(config)?.as_bytes())
    }

    fn toml(&self, config: &Config) -> Result<String, RunError> {
        let unwritable =
            |error: toml::ser::Error| RunError::Write { path: self.path(CONFIG), source: std::io::Error::other(error) };
        toml::to_string(config).map_err(unwritable)
    }

    pub fn config(&self) -> Result<Config, RunError> {
        let path = self.path(CONFIG);
        let text = std::fs::read_to_string(&path).map_err(|source| RunError::Read { path: path.clone(), source })?;
        let config: Result<Config, _> = toml::from_str(&text);
        let mut config = config.map_err(|error| RunError::Content { path: path.clone(), problem: error.to_string() })?;
        let resumed = config.resumed.iter_mut().map(|resumed| &mut resumed.device);
        for device in std::iter::once(&mut config.device).chain(resumed).filter(|device| device.backend.is_some()) {
            device.instructions = None;
        }
        match config.training.fault() {
            Some(name) => Err(RunError::Content { path, problem: format!("training.{name} is out of bounds") }),
            None => Ok(config),
        }
    }

    pub fn write_history(&self, rows: &[Row]) -> Result<(), RunError> {
        let path = self.path(METRICS);
        let text = || -> Result<Vec<u8>, csv::Error> {
            let mut writer = csv::Writer::from_writer(Vec::new());
            rows.iter().try_for_each(|row| writer.serialize(row))?;
            Ok(writer.into_inner().map_err(|error| error.into_error())?)
        };
        match text() {
            Ok(text) => self.write(METRICS, &text),
            Err(error) => Err(RunError::Content { path, problem: error.to_string() }),
        }
    }

    /// The rows of the first `epochs` epochs, in order: those that the last checkpoint holds, or else the file's. Those of
    /// later epochs, which the checkpoint does not have, are left out.
    pub fn history(&self, epochs: u32, kept: &[Row]) -> Result<Vec<Row>, RunError> {
        let path = self.path(METRICS);
        if kept.len() == epochs as usize {
            return Ok(kept.to_vec()); // none at all where the first was interrupted: the file need not be there
        }
        let mut rows = self.rows()?;
        rows.truncate(epochs as usize);
        if rows.len() != epochs as usize {
            let problem = format!("expected a row for each of the epochs 1 to {epochs}");
            return Err(RunError::Content { path, problem });
        }
        Ok(rows)
    }

    /// The file's rows, of the epochs from 1 on in order.
    pub fn rows(&self) -> Result<Vec<Row>, RunError> {
        let path = self.path(METRICS);
        let text = std::fs::read(&path).map_err(|source| RunError::Read { path: path.clone(), source })?;
        let rows: Result<Vec<Row>, _> = csv::Reader::from_reader(&text[..]).deserialize().collect();
        let rows = rows.map_err(|error| RunError::Content { path: path.clone(), problem: error.to_string() })?;
        if !(1..).zip(&rows).all(|(epoch, row)| row.epoch == epoch) {
            let problem = format!("expected a row for each of the epochs 1 to {}", rows.len());
            return Err(RunError::Content { path, problem });
        }
        Ok(rows)
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<(), RunError> {
        let path = self.path(name);
        files::replace(&path, bytes).map_err(|source| RunError::Write { path, source })
    }

    /// Points `runs/latest` at a run in `runs/`, or in a folder there, as those of several seeds are: a symbolic link,
    /// or where the system has none a file that holds the path.
    pub fn point_latest(&self) -> Result<(), RunError> {
        let outer: Vec<&Path> = self.folder.ancestors().skip(1).take(2).collect();
        let Some(parent) = outer.into_iter().find(|folder| folder.file_name().is_some_and(|name| name == RUNS)) else {
            return Ok(());
        };
        let Ok(name) = self.folder.strip_prefix(parent) else { return Ok(()) };
        let latest = parent.join(LATEST);
        if name == Path::new(LATEST) || latest.symlink_metadata().is_ok_and(|found| found.is_dir()) {
            return Ok(());
        }
        let write = |source| RunError::Write { path: latest.clone(), source };
        #[cfg(unix)]
        {
            // Made beside it and renamed, so that at any time there is one.
            let beside = parent.join(format!(".{LATEST}-{}", std::process::id()));
            std::os::unix::fs::symlink(name, &beside).map_err(write)?;
            std::fs::rename(&beside, &latest).map_err(write)
        }
        #[cfg(not(unix))]
        files::replace(&latest, name.display().to_string().as_bytes()).map_err(write)
    }
}

/// Writes a network to `path`; see [`checkpoint::write`].
pub fn save_network(
    path: &Path,
    model: &Model,
    state: &State,
    info: &Info,
    position: Option<&Position>,
    history: &[Row],
) -> Result<(), RunError> {
    let network = |source| RunError::Network { path: path.into(), source };
    let bytes = checkpoint::write(model, state, info, position, history).map_err(network)?;
    files::replace(path, &bytes).map_err(|source| RunError::WriteNetwork { path: path.into(), source })
}

/// Reads the network in the file `path`.
pub fn load_network(path: &Path) -> Result<Checkpoint, RunError> {
    load_normalised(path, None)
}

/// The same of one that was trained on pixels to which `normalisation` was done; see [`checkpoint::read_normalised`].
pub fn load_normalised(path: &Path, normalisation: Option<Normalisation>) -> Result<Checkpoint, RunError> {
    let bytes = std::fs::read(path).map_err(|source| RunError::ReadNetwork { path: path.into(), source })?;
    let read = checkpoint::read_normalised(&bytes, normalisation);
    read.map_err(|source| RunError::Network { path: path.into(), source })
}

/// Where runs lie whose folder the user does not name.
pub const RUNS: &str = "runs";

/// In [`RUNS`], points at the newest.
const LATEST: &str = "latest";

/// The folder that `path` means: itself, or where it is a file that [`Run::point_latest`] wrote, the folder it names.
pub fn resolve(path: &Path) -> PathBuf {
    if path.file_name().is_some_and(|name| name == LATEST)
        && path.is_file()
        && let (Some(parent), Ok(name)) = (path.parent(), std::fs::read_to_string(path))
    {
        return parent.join(name.trim());
    }
    path.into()
}
