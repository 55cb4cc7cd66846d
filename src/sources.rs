//! Where a data set comes from: the first of a folder that the user names, the cache folder, a download into it, and
//! digits that the program draws itself.

mod download;
mod emnist;
mod folder;
pub mod pictures;
pub mod published;

use crate::data::idx::Fault;
use crate::data::{self, Dataset, synthetic};
use crate::image;
pub use download::Patience;
use etcetera::base_strategy::{BaseStrategy, choose_native_strategy};
use folder::Files;
use published::{MNIST, Published};
use std::io;
use std::path::{Path, PathBuf};

/// How many digits are drawn: as many as MNIST has.
const DRAWN: (usize, usize) = (60_000, 10_000);
/// Fixed, and apart from a run's own seed, so that the synthetic data set is the same data for everybody.
const SYNTHETIC_SEED: u64 = 0x6d6e_6973_7400_0001;

/// A data set, and what is to be told of it.
#[derive(Clone, Debug)]
pub struct Found {
    pub dataset: Dataset,
    /// A [`Published`] one's if all four files are that one's, `synthetic`, [`pictures::NAME`], [`pictures::STROKES`],
    /// or else `custom`.
    pub name: String,
    pub origin: Origin,
}

/// Where a data set came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A folder that the user named.
    Directory(PathBuf),
    /// The cache folder, filled by this or an earlier download.
    Downloaded(PathBuf),
    /// Drawn by the program: accuracy on it says nothing about MNIST.
    Synthetic {
        /// One line: what was looked for, and why it was not had. None if nothing else was asked for.
        reason: Option<String>,
    },
}

/// A folder, and what the user named it by.
#[derive(Clone, Debug)]
pub struct Named {
    /// An option or a variable, for errors.
    pub by: String,
    pub path: PathBuf,
}

/// Which data set is asked for.
#[derive(Clone, Copy, Debug, Default)]
pub enum Wanted {
    /// What the folder holds; without one MNIST, and where that cannot be had synthetic digits.
    #[default]
    Any,
    /// This one, and no other in its place.
    Only(&'static Published),
    /// Digits that the program draws.
    Synthetic,
}

/// Where to look for a data set, in this order.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    pub wanted: Wanted,
    pub folder: Option<Named>,
    /// Where downloads are kept; without one nothing is downloaded.
    pub cache_dir: Option<PathBuf>,
    /// URLs of folders that hold the four `.gz` files, tried in this order. Without one no connection is made.
    pub mirrors: Vec<String>,
    pub patience: Patience,
    /// What a folder of pictures is made to.
    pub pictures: pictures::Settings,
}

impl Sources {
    /// `folder`, the user's cache folder, and the known mirrors of MNIST.
    pub fn of_user(folder: Option<Named>) -> Self {
        let sources = Self { folder, cache_dir: cache_dir(), ..Self::default() };
        sources.wanting(Wanted::Any)
    }

    /// The same for another data set, and its mirrors.
    pub fn wanting(self, wanted: Wanted) -> Self {
        let mirrors = match wanted {
            Wanted::Any => MNIST.mirrors,
            Wanted::Only(published) => published.mirrors,
            Wanted::Synthetic => &[],
        };
        Self { wanted, mirrors: mirrors.iter().map(|&url| url.into()).collect(), ..self }
    }
}

/// The user's cache folder for this program, if the system has one.
pub fn cache_dir() -> Option<PathBuf> {
    choose_native_strategy().ok().map(|user| user.cache_dir().join("mnist-wgpu"))
}

/// What [`load`] tells while it works.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// One line for the user.
    Message(&'a str),
    /// How far the download of one file is.
    Progress {
        file: &'a str,
        /// Bytes received.
        done: u64,
        /// Bytes to receive, if the server says.
        total: Option<u64>,
    },
}

/// Why no data set could be loaded. Each text names the file or folder, what was expected, what was found, and what to
/// do.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    #[error(
        "{by}: expected {} to be a folder that holds the four files of a data set, found {found}; correct the path, or leave it out \
         to have MNIST downloaded", path.display()
    )]
    Folder { by: String, path: PathBuf, found: String },

    #[error(
        "{by}: expected {missing} in {} (each plain or with .gz), or folders of pictures, one for each class, found {found}; add \
         what is missing, name another folder, or leave it out to have MNIST downloaded", path.display()
    )]
    Missing { by: String, path: PathBuf, missing: String, found: String },

    #[error("{}: expected a file, found a {found}; replace it", path.display())]
    NotAFile { path: PathBuf, found: &'static str },

    #[error("{by}: expected one data set in {}, found {}: name one of these", path.display(), list(found))]
    Several { by: String, path: PathBuf, found: Vec<PathBuf> },

    #[error("{}: {fault}; {}", path.display(), fault.advice())]
    BadFile { path: PathBuf, fault: Fault },

    #[error(
        "expected as many labels as images, found {labels} labels in {} and {images} images in {}; replace one of them",
        labels_path.display(), images_path.display()
    )]
    Count { labels_path: PathBuf, labels: usize, images_path: PathBuf, images: usize },

    #[error(
        "{}: expected images of shape {expected:?}, as the training images have, found {found:?}; name a folder whose files belong \
         together", path.display()
    )]
    Shape { path: PathBuf, expected: [usize; 3], found: [usize; 3] },

    #[error("{}: expected at least one image, found none; replace it", path.display())]
    Empty { path: PathBuf },

    #[error("{}, line {line}: {problem}; give each class one name, in a line of its own", path.display())]
    Classes { path: PathBuf, line: usize, problem: String },

    #[error("{by}: expected {expected} in {}, found other images ({found}); name its folder, or none", path.display())]
    Other { by: String, path: PathBuf, expected: &'static str, found: String },

    #[error("{name}: {reason}; name a folder with its four IDX files by `--data-dir`")]
    Unavailable { name: &'static str, reason: String },

    #[error("{}: {fault}, or remove it", path.display())]
    Picture { path: PathBuf, fault: image::Fault },

    #[error("{}: {problem}", path.display())]
    Pictures { path: PathBuf, problem: String },

    #[error("{}: {source}; images, labels and classes.txt of a data set must fit each other", path.display())]
    Dataset { path: PathBuf, source: data::DataError },
}

fn list(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}

impl SourceError {
    fn unreadable(path: PathBuf, error: io::Error) -> Self {
        Self::BadFile { path, fault: Fault::Unreadable(error) }
    }
}

/// Loads the data set from the first source that has it.
///
/// `on_event` is called with messages for the user and with the progress of downloads. Unless one data set alone is
/// wanted, the last resort, synthetic digits, always works; the caller must say loudly that a [`Origin::Synthetic`]
/// data set is not MNIST.
///
/// # Errors
///
/// A folder that the user named is taken or refused, never skipped: a missing, malformed or unreadable file there is an
/// error. A failed download is one if that data set alone is wanted.
pub fn load(sources: &Sources, on_event: &mut dyn FnMut(Event)) -> Result<Found, SourceError> {
    if let Wanted::Synthetic = sources.wanted {
        return Ok(draw(None));
    }
    if let Some(named) = &sources.folder {
        let found = in_folder(named, &sources.pictures, on_event)?;
        return match sources.wanted {
            Wanted::Only(Published { name, .. }) if found.name != *name => {
                let (by, path) = (named.by.clone(), named.path.clone());
                Err(SourceError::Other { by, path, expected: name, found: found.name })
            }
            _ => Ok(found),
        };
    }
    let published = if let Wanted::Only(published) = sources.wanted { published } else { &MNIST };
    let reason = match &sources.cache_dir {
        None => "no data folder was named, and there is no cache folder to download to".to_owned(),
        Some(cache) => {
            let cache = if published.folder.is_empty() { cache.clone() } else { cache.join(published.folder) };
            match download::fill(&cache, published, &sources.mirrors, &sources.patience, on_event) {
                Ok(files) => return files.load(Origin::Downloaded(cache)),
                Err(failure) => format!("{} holds no complete {}, and {failure}", cache.display(), published.title),
            }
        }
    };
    if let Wanted::Only(Published { title, .. }) = sources.wanted {
        return Err(SourceError::Unavailable { name: title, reason });
    }
    on_event(Event::Message("Drawing synthetic digits instead of MNIST."));
    Ok(draw(Some(reason)))
}

/// The data set in a folder that the user named: IDX files, or pictures.
fn in_folder(named: &Named, settings: &pictures::Settings, on_event: &mut dyn FnMut(Event)) -> Result<Found, SourceError> {
    if let Some((path, files)) = Files::locate(named)? {
        return files.load(Origin::Directory(path));
    }
    match pictures::locate(&named.path) {
        Some(folder) => pictures::load(&folder, Origin::Directory(named.path.clone()), settings, on_event),
        None => Err(Files::missing(&named.by, &named.path)),
    }
}

/// Whether `path`, under which a data set was found once, still names something.
pub fn is_there(path: &Path) -> bool {
    path.is_dir() || folder::prefixed(path).is_some()
}

/// The synthetic data set; `reason` is why it is not what was asked for, if it is not.
pub fn draw(reason: Option<String>) -> Found {
    let dataset = synthetic(DRAWN.0, DRAWN.1, SYNTHETIC_SEED);
    Found { dataset, name: "synthetic".to_owned(), origin: Origin::Synthetic { reason } }
}
