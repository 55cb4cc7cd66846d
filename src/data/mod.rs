//! The dataset: where it is looked for, how it is checked, and how it is split into training and validation.
//!
//! [`load`] takes the first of: a folder that the user named, the cache folder, a download into the cache folder, and
//! digits that the program draws itself ([`synthetic()`]). Whatever it takes has the shape of MNIST: 60,000 training and
//! 10,000 test images of 28x28 bytes.

mod download;
mod glyphs;
mod idx;
mod pen;
mod split;
mod staging;
mod synthetic;

use std::io;
use std::path::PathBuf;

pub use idx::Fault;
use sha2::{Digest, Sha256};
pub use split::{Split, epoch_order, split};
use staging::Staging;
pub use synthetic::synthetic;

/// Height of an image in pixels.
pub const ROWS: usize = 28;
/// Width of an image in pixels.
pub const COLS: usize = 28;
/// Pixels (and bytes) of one image.
pub const PIXELS: usize = ROWS * COLS;
/// Number of classes: the digits 0 to 9.
pub const CLASSES: usize = 10;

const TRAIN_COUNT: usize = 60_000;
const TEST_COUNT: usize = 10_000;
/// Fixed, and apart from a run's own seed, so that the synthetic dataset is the same data for everybody.
const SYNTHETIC_SEED: u64 = 0x6d6e_6973_7400_0001;

/// Images and their labels, as bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Images {
    /// (N, 28, 28), row by row from the top left, 0 for background to 255 for ink.
    pub pixels: Vec<u8>,
    /// (N), each in 0..10.
    pub labels: Vec<u8>,
}

impl Images {
    /// Number of images, N.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there is no image.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }
}

/// Where a dataset came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A folder that the user named.
    Directory(PathBuf),
    /// The cache folder, filled by this or an earlier download.
    Downloaded(PathBuf),
    /// Drawn by the program: accuracy on it says nothing about MNIST.
    Synthetic {
        /// One line: what was looked for, and why it was not had.
        reason: String,
    },
}

/// A complete dataset, in memory.
#[derive(Clone, Debug)]
pub struct Dataset {
    /// `mnist` if the content of all four files is the published one, `synthetic`, or else `custom`.
    pub name: String,
    /// Where it came from.
    pub origin: Origin,
    /// 60,000 images to train and validate with.
    pub train: Images,
    /// 10,000 images to test with.
    pub test: Images,
}

impl Dataset {
    /// SHA-256 of all pixels and labels, in hexadecimal: training pixels, training labels, test pixels, test labels.
    pub fn sha256(&self) -> String {
        let mut hash = Sha256::new();
        for part in [&self.train.pixels, &self.train.labels, &self.test.pixels, &self.test.labels] {
            hash.update(part);
        }
        hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// Where to look for the dataset, in this order.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// The folder named by `--data-dir`.
    pub data_dir: Option<PathBuf>,
    /// The folder named by the environment variable `MNIST_DIR`.
    pub mnist_dir: Option<PathBuf>,
    /// Where downloads are kept; without one nothing is downloaded.
    pub cache_dir: Option<PathBuf>,
    /// URLs of folders that hold the four `.gz` files, tried in this order.
    pub mirrors: Vec<String>,
}

impl Sources {
    /// The sources of a command line: `data_dir`, `MNIST_DIR` (unset and empty are the same), the user's cache folder, and
    /// the known mirrors.
    pub fn from_environment(data_dir: Option<PathBuf>) -> Self {
        Self {
            data_dir,
            mnist_dir: std::env::var_os("MNIST_DIR").filter(|value| !value.is_empty()).map(PathBuf::from),
            cache_dir: dirs::cache_dir().map(|cache| cache.join("mnist-wgpu")),
            mirrors: download::MIRRORS.map(String::from).to_vec(),
        }
    }

    /// The folder the user named, and what named it.
    fn named_folder(&self) -> Option<(&'static str, &PathBuf)> {
        let option = self.data_dir.as_ref().map(|path| ("--data-dir", path));
        option.or_else(|| self.mnist_dir.as_ref().map(|path| ("MNIST_DIR", path)))
    }
}

/// What [`load`] tells while it works.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// One line for the user.
    Message(&'a str),
    /// How far the download of one file is.
    Progress {
        /// The file's name.
        file: &'a str,
        /// Bytes received.
        done: u64,
        /// Bytes to receive, if the server says.
        total: Option<u64>,
    },
}

/// Why no dataset could be loaded. Each text names the file or folder, what was expected, what was found, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// The named folder is not a readable folder.
    #[error(
        "{named_by}: expected {} to be a folder that holds the four MNIST files, found {found}; correct the path, or \
         leave it out to have MNIST downloaded", path.display()
    )]
    Folder {
        /// `--data-dir` or `MNIST_DIR`.
        named_by: &'static str,
        /// The path it names.
        path: PathBuf,
        /// What is there.
        found: String,
    },
    /// The named folder lacks at least one of the four files.
    #[error(
        "{named_by}: expected {missing} in {} (each plain or with .gz), found {found}; add what is missing, name another \
         folder, or leave it out to have MNIST downloaded", path.display()
    )]
    Missing {
        /// `--data-dir` or `MNIST_DIR`.
        named_by: &'static str,
        /// The folder it names.
        path: PathBuf,
        /// Names of the missing files.
        missing: String,
        /// Names of files that are there.
        found: String,
    },
    /// One of the four files cannot be used.
    #[error(
        "{}: {fault}; replace it with an intact copy (plain or .gz), or name no folder to have MNIST downloaded",
        path.display()
    )]
    BadFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        fault: Fault,
    },
    /// The temporary folder, into which the files are unpacked, cannot be used.
    #[error(
        "{}: expected a temporary folder with 60 MB of space and a UTF-8 path, found: {source}; make room there, or set \
         TMPDIR (Windows: TEMP) to another folder", path.display()
    )]
    Temporary {
        /// The temporary folder.
        path: PathBuf,
        /// Why it cannot be used.
        source: io::Error,
    },
}

/// Loads the dataset from the first source that has it.
///
/// `on_event` is called with messages for the user and with the progress of downloads. The last resort, synthetic digits,
/// always works; the caller must say loudly that a [`Origin::Synthetic`] dataset is not MNIST.
///
/// # Errors
///
/// A folder that the user named is taken or refused, never skipped: a missing, malformed or unreadable file there is an
/// error. So is a temporary folder that cannot be used. A failed download is not.
pub fn load(sources: &Sources, on_event: &mut dyn FnMut(Event)) -> Result<Dataset, DataError> {
    if let Some((named_by, folder)) = sources.named_folder() {
        let paths = idx::locate(named_by, folder)?;
        let mut staging = Staging::new()?;
        for (file, path) in idx::FILES.iter().zip(paths) {
            staging.add(file, &path).map_err(|fault| DataError::BadFile { path, fault })?;
        }
        return staging.finish(Origin::Directory(folder.clone()));
    }

    let reason = match &sources.cache_dir {
        None => "no data folder was named, and there is no cache folder to download to".to_owned(),
        Some(cache) => {
            let mut staging = Staging::new()?;
            match download::stage(cache, &sources.mirrors, &mut staging, on_event) {
                Ok(()) => return staging.finish(Origin::Downloaded(cache.clone())),
                Err(failure) => {
                    format!("{} holds no complete MNIST, and {failure}", cache.display())
                }
            }
        }
    };
    on_event(Event::Message("Drawing synthetic digits instead of MNIST."));
    Ok(draw(reason))
}

/// The synthetic dataset; `reason` is why it is not MNIST.
pub fn draw(reason: String) -> Dataset {
    let (train, test) = synthetic(TRAIN_COUNT, TEST_COUNT, SYNTHETIC_SEED);
    Dataset { name: "synthetic".to_owned(), origin: Origin::Synthetic { reason }, train, test }
}
