//! A run is a folder: what it was told to do, how it went, the best network, and the last one with all that is needed
//! to go on.

mod tested;
mod training;

pub use tested::{TEST, Tested};
pub use training::{Optimizer, Training};

use crate::checkpoint::{self, Checkpoint, CheckpointError, Info};
use crate::files;
use crate::history::Row;
use crate::model::Model;
use crate::normalisation::Normalisation;
use crate::ops::lanes;
use crate::state::State;
use crate::train::Position;
use crate::{report, tensorboard};
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

/// A run that no other process can take.
#[derive(Debug)]
pub struct Lock {
    /// The folder itself; on Windows a file in it.
    #[cfg_attr(windows, expect(dead_code, reason = "it is held, not read"))]
    file: std::fs::File,
}

impl Lock {
    /// Whether `folder` is the one that this was taken of.
    fn is_of(&self, folder: &Path) -> bool {
        #[cfg(unix)]
        {
            use std::os::unix::fs::MetadataExt;
            let identity = |found: std::io::Result<std::fs::Metadata>| found.ok().map(|found| (found.dev(), found.ino()));
            identity(self.file.metadata()) == identity(folder.metadata())
        }
        // Windows neither moves nor removes a folder in which a file is open.
        #[cfg(not(unix))]
        folder.is_dir()
    }
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

impl Device {
    /// Whether a run goes on there to the same bits: on the CPU path of any processor with fused multiply-add.
    pub fn same_bits(&self, other: &Self) -> bool {
        let fused = |device: &Self| device.instructions.as_deref().is_some_and(|name| lanes::FUSED.contains(&name));
        self == other || (fused(self) && fused(other))
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Program {
    pub version: String,
    /// When the run was begun: RFC 3339.
    pub started: String,
}

/// Whether `folder` is a run's.
pub fn is_run(folder: &Path) -> bool {
    [MODEL, CONFIG, LAST].iter().any(|name| folder.join(name).is_file())
}

/// The file that holds a run on Windows, as long as somebody does.
const WINDOWS_LOCK: &str = ".lock";

/// A run's folder that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error("{folder} holds a run already")]
    Exists { folder: PathBuf },

    #[error("{folder} is in use by another process that trains in it")]
    InUse { folder: PathBuf },

    #[error("{folder} is not the folder any more that the run was begun in: it was moved, removed or replaced")]
    Gone { folder: PathBuf },

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
    /// Checks, before anything takes long, that `folder` can become a new run's: it is not there yet, or empty, or
    /// holds a run that kept no network, or `force` is set. Makes nothing.
    pub fn check(folder: &Path, force: bool) -> Result<Self, RunError> {
        if folder.is_file() {
            return Err(RunError::File { path: folder.into() });
        }
        let run = Self { folder: folder.into() };
        let config = files::read(&run.path(CONFIG), files::LARGEST_TEXT).ok();
        // Every version has begun the file so; a full disk may have cut it short.
        let foreign = config.as_ref().is_some_and(|text| !text.starts_with(b"[training]") && !text.is_empty());
        let kept = [MODEL, LAST].iter().any(|name| run.path(name).exists());
        match (force, config.is_some()) {
            (_, true) if foreign && force => return Err(RunError::Foreign { folder: folder.into() }),
            (true, _) => {}
            (false, true) if kept && !foreign => return Err(RunError::Exists { folder: folder.into() }),
            (false, there) if foreign || kept || run.has_others(there) => {
                return Err(RunError::NotEmpty { folder: folder.into() });
            }
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
                Ok(()) => Ok(self.tidied(Lock { file })),
                // A file system without locks is no reason not to train.
                Err(std::fs::TryLockError::Error(_)) => Ok(Lock { file }),
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
            match options.open(self.path(WINDOWS_LOCK)) {
                Err(error) if error.raw_os_error() == Some(SHARING_VIOLATION) => Err(in_use()),
                file => file.map(|file| self.tidied(Lock { file })).map_err(failed),
            }
        }
    }

    /// Checks, before something is written, that the folder is still the one that `lock` was taken of: another process
    /// may have a run in what is there now.
    pub fn check_held(&self, lock: &Lock) -> Result<(), RunError> {
        match lock.is_of(&self.folder) {
            true => Ok(()),
            false => Err(RunError::Gone { folder: self.folder.clone() }),
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

    /// Whether there is anything in the folder that a run does not leave there. Beside no run's configuration, others'
    /// files may be called as a run's are.
    fn has_others(&self, is_run: bool) -> bool {
        let ours = if is_run { self.leftovers() } else { Vec::new() };
        // A lock is no leftover: it is this process's own, or its holder will be named.
        let is_ours = |path: &PathBuf| files::is_unfinished(path) || path.ends_with(WINDOWS_LOCK) || ours.contains(path);
        self.entries().any(|path| !is_ours(&path))
    }

    /// What a run may have left in the folder. Last comes what tells that it was a run.
    fn leftovers(&self) -> Vec<PathBuf> {
        let mut paths: Vec<_> =
            [LAST, MODEL, METRICS, TEST].iter().chain(&report::FILES).map(|name| self.path(name)).collect();
        paths.extend(self.entries().filter(|path| tensorboard::is_event_file(path) || files::is_unfinished(path)));
        paths.push(self.path(CONFIG));
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
        let text = files::read_text(&path).map_err(|source| RunError::Read { path: path.clone(), source })?;
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

    /// The rows of the first `epochs` epochs, in order: those that the last checkpoint holds, or else the file's. Those
    /// of later epochs, which the checkpoint does not have, are left out.
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
        let text =
            files::read(&path, files::LARGEST_TEXT).map_err(|source| RunError::Read { path: path.clone(), source })?;
        let rows: Result<Vec<Row>, _> = csv::Reader::from_reader(&text[..]).deserialize().collect();
        let rows = rows.map_err(|error| RunError::Content { path: path.clone(), problem: error.to_string() })?;
        if let Some((epoch, row)) = (1..).zip(&rows).find(|(epoch, row)| row.epoch != *epoch) {
            let problem = format!("expected a row for each epoch from 1 on, found epoch {} in row {epoch}", row.epoch);
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
            _ = std::fs::remove_file(&beside); // of a process that was killed
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
    /// Of 500 million parameters, each with AdamW's two numbers and an average.
    const LARGEST: u64 = 8 << 30;
    let unreadable = |source| RunError::ReadNetwork { path: path.into(), source };
    let bytes = files::read_known(path, LARGEST, checkpoint::may_begin).map_err(unreadable)?;
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
        && let (Some(parent), Ok(name)) = (path.parent(), files::read_text(path))
    {
        return parent.join(name.trim());
    }
    path.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// On Windows a new run's own lock lies in its folder when that is looked at again.
    #[test]
    fn a_lock_is_nothing_that_would_be_lost() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(WINDOWS_LOCK), "").unwrap();
        assert!(Run::check(folder.path(), false).is_ok());
        std::fs::write(folder.path().join("letter.txt"), "").unwrap();
        assert!(matches!(Run::check(folder.path(), false), Err(RunError::NotEmpty { .. })));
    }

    #[test]
    fn processors_with_fused_multiply_add_and_no_others_have_the_same_bits() {
        let cpu = |name: &str| Device { name: "cpu".into(), backend: None, driver: None, instructions: Some(name.into()) };
        let gpu = |driver: &str| Device { driver: Some(driver.into()), instructions: None, ..cpu("") };
        assert!(lanes::FUSED.iter().all(|name| cpu(name).same_bits(&cpu(lanes::FUSED[0]))));
        assert!(!cpu("SSE2").same_bits(&cpu("AVX-512")) && !cpu("AVX-512").same_bits(&cpu("SSE2")));
        assert!(cpu("SSE2").same_bits(&cpu("SSE2")) && gpu("1").same_bits(&gpu("1")) && !gpu("1").same_bits(&gpu("2")));
        assert!(!gpu("1").same_bits(&cpu("AVX-512")));
    }
}
