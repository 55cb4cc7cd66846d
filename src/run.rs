//! A run is a folder: what it was told to do, how it went, the best network, and the last one with all that is needed to go on.

use crate::files;
use crate::history::Row;
use serde::{Deserialize, Serialize};
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

/// What makes a folder a run's.
const NAMES: [&str; 4] = [LAST, MODEL, METRICS, CONFIG];

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
}

/// Settings of the training: together with data and device they determine every bit of the result.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Training {
    pub epochs: u32,
    pub batch_size: u32,
    pub learning_rate: f64,
    pub momentum: f64,
    pub nesterov: bool,
    pub dropout: f64,
    pub seed: u64,
    pub val_fraction: f64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Data {
    /// `mnist`, `synthetic` or `custom`.
    pub name: String,
    /// Where it was read from; none where the program drew it.
    pub folder: Option<PathBuf>,
    pub training_images: usize,
    pub test_images: usize,
    /// [`crate::data::Dataset::sha256`]
    pub sha256: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Device {
    /// The adapter's, or `cpu`.
    pub name: String,
    pub backend: Option<String>,
    pub driver: Option<String>,
    /// Of the GPU kernels.
    pub variant: Option<String>,
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
    #[error(
        "{folder} holds a run already; give another `--out`, go on with it by `--resume {folder}`, or overwrite it with `--force`"
    )]
    Exists { folder: PathBuf },

    #[error("{folder} exists and is not empty; give another `--out`, or write into it with `--force`")]
    NotEmpty { folder: PathBuf },

    #[error("{path} is a file; `--out` names the folder of the run, in which the network will be {MODEL}")]
    File { path: PathBuf },

    #[error("cannot write {path}: {source}")]
    Write { path: PathBuf, source: std::io::Error },

    #[error("cannot read {path}: {source}; is its folder one that `train` made?")]
    Read { path: PathBuf, source: std::io::Error },

    #[error("{path}: {problem}; if it was edited by hand, undo that")]
    Content { path: PathBuf, problem: String },
}

impl Run {
    /// Checks, before anything takes long, that `folder` can become a new run's: it is not there yet, or empty, or `force` is set. Makes
    /// nothing.
    pub fn check(folder: &Path, force: bool) -> Result<Self, RunError> {
        if folder.is_file() {
            return Err(RunError::File { path: folder.into() });
        }
        let run = Self { folder: folder.into() };
        if !force {
            if NAMES.iter().any(|name| run.path(name).exists()) {
                return Err(RunError::Exists { folder: folder.into() });
            }
            if std::fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some()) {
                return Err(RunError::NotEmpty { folder: folder.into() });
            }
        }
        let there = folder.ancestors().find(|ancestor| ancestor.exists()).unwrap_or(Path::new("."));
        let writable = files::check_writable(&there.join(LAST));
        writable.map_err(|source| RunError::Write { path: folder.into(), source })?;
        Ok(run)
    }

    /// Makes the folder of a new run, and removes what an earlier one left in it, the file that could be resumed first.
    pub fn create(&self, config: &Config) -> Result<(), RunError> {
        let made = std::fs::create_dir_all(&self.folder);
        made.map_err(|source| RunError::Write { path: self.folder.clone(), source })?;
        for path in NAMES.map(|name| self.path(name)) {
            match std::fs::remove_file(&path) {
                Err(source) if source.kind() != ErrorKind::NotFound => return Err(RunError::Write { path, source }),
                _ => {}
            }
        }
        self.write_config(config)
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
        let path = self.path(CONFIG);
        match toml::to_string(config) {
            Ok(text) => self.write(CONFIG, text.as_bytes()),
            Err(error) => Err(RunError::Content { path, problem: error.to_string() }),
        }
    }

    pub fn config(&self) -> Result<Config, RunError> {
        let path = self.path(CONFIG);
        let text = std::fs::read_to_string(&path).map_err(|source| RunError::Read { path: path.clone(), source })?;
        toml::from_str(&text).map_err(|error| RunError::Content { path, problem: error.to_string() })
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

    /// The rows of the first `epochs` epochs, in order; those of later ones, which a checkpoint does not have, are left out.
    pub fn history(&self, epochs: u32) -> Result<Vec<Row>, RunError> {
        let path = self.path(METRICS);
        if epochs == 0 {
            return Ok(Vec::new()); // interrupted in the first: the file need not be there
        }
        let text = std::fs::read(&path).map_err(|source| RunError::Read { path: path.clone(), source })?;
        let rows: Result<Vec<Row>, _> = csv::Reader::from_reader(&text[..]).deserialize().collect();
        let mut rows = rows.map_err(|error| RunError::Content { path: path.clone(), problem: error.to_string() })?;
        rows.truncate(epochs as usize);
        if !rows.iter().map(|row| row.epoch).eq(1..=epochs) {
            let problem = format!("expected a row for each of the epochs 1 to {epochs}");
            return Err(RunError::Content { path, problem });
        }
        Ok(rows)
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<(), RunError> {
        let path = self.path(name);
        files::replace(&path, bytes).map_err(|source| RunError::Write { path, source })
    }

    /// Points `runs/latest` at a run in `runs/`: a symbolic link, or where the system has none a file that holds the name.
    pub fn point_latest(&self) -> Result<(), RunError> {
        let (Some(parent), Some(name)) = (self.folder.parent(), self.folder.file_name()) else { return Ok(()) };
        let latest = parent.join(LATEST);
        let own_folder = name == LATEST || latest.symlink_metadata().is_ok_and(|found| found.is_dir());
        if parent.file_name().is_none_or(|parent| parent != RUNS) || own_folder {
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
        files::replace(&latest, name.to_string_lossy().as_bytes()).map_err(write)
    }
}

/// Where runs lie whose folder the user does not name.
pub const RUNS: &str = "runs";

/// In [`RUNS`], points at the newest.
const LATEST: &str = "latest";

/// The folder that `path` means: itself, or where it is a file that [`Run::point_latest`] wrote, the folder it names.
pub fn resolve(path: &Path) -> PathBuf {
    if path.file_name().is_some_and(|name| name == LATEST) && path.is_file() {
        if let (Some(parent), Ok(name)) = (path.parent(), std::fs::read_to_string(path)) {
            return parent.join(name.trim());
        }
    }
    path.into()
}
