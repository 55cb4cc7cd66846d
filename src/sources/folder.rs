//! The four IDX files of a data set in a folder, and the names of its classes.

use super::{Found, Named, Origin, SourceError};
use crate::data::idx::{Array, Fault, MOST_BYTES};
use crate::data::{DataError, Dataset, Images};
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

/// One of the four files.
pub struct Kind {
    /// MNIST's name for it, without `.gz`.
    pub published: &'static str,
    /// What a file's name begins with; `-idx` or `.idx` follows.
    stems: &'static [&'static str],
    /// Of the published file, unpacked: its length in bytes and its SHA-256 in hexadecimal.
    pub len: u64,
    pub sha256: &'static str,
}

/// The small ones first: what is wrong with those is told (and what cannot be downloaded is noticed) before the long
/// work on the largest.
pub const KINDS: [Kind; 4] = [
    Kind {
        published: "train-labels-idx1-ubyte",
        stems: &["train-labels"],
        len: 60_008,
        sha256: "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    },
    Kind {
        published: "t10k-labels-idx1-ubyte",
        stems: &["t10k-labels", "test-labels"],
        len: 10_008,
        sha256: "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    },
    Kind {
        published: "t10k-images-idx3-ubyte",
        stems: &["t10k-images", "test-images"],
        len: 7_840_016,
        sha256: "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    },
    Kind {
        published: "train-images-idx3-ubyte",
        stems: &["train-images"],
        len: 47_040_016,
        sha256: "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    },
];

/// The file of names, one in a line.
const CLASSES: &str = "classes.txt";

impl Kind {
    /// The files in `folder` that can be meant, the likeliest first: the published name before others, plain before
    /// packed.
    pub fn candidates(&self, folder: &Path) -> Vec<PathBuf> {
        let names = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.file_name());
        let is_meant = |name: &String| {
            let rest = self.stems.iter().find_map(|stem| name.strip_prefix(stem));
            rest.is_some_and(|rest| rest.starts_with("-idx") || rest.starts_with(".idx"))
        };
        let mut names: Vec<String> = names.filter_map(|name| name.into_string().ok()).filter(is_meant).collect();
        names.sort_by_cached_key(|name| {
            let plain = name.trim_end_matches(".gz").replacen(".idx", "-idx", 1);
            (plain != self.published, name.ends_with(".gz"), name.clone())
        });
        names.into_iter().map(|name| folder.join(name)).collect()
    }

    pub fn is_published(&self, array: &Array) -> bool {
        array.len() == self.len && array.sha256() == self.sha256
    }
}

/// Reads an IDX file with numbers of at most `most` bytes.
pub fn read(path: &Path, most: u64) -> Result<Array, SourceError> {
    Array::read_at_most(most, open(path)?).map_err(|fault| SourceError::BadFile { path: path.into(), fault })
}

fn open(path: &Path) -> Result<File, SourceError> {
    // Looked at before it is opened: opening a pipe would wait for a writer.
    let unreadable = |error| SourceError::unreadable(path.into(), error);
    let metadata = fs::metadata(path).map_err(unreadable)?;
    if metadata.is_dir() {
        return Err(SourceError::NotAFile { path: path.into(), found: "folder" });
    } else if !metadata.is_file() {
        return Err(SourceError::NotAFile { path: path.into(), found: "device or pipe" });
    }
    File::open(path).map_err(unreadable)
}

/// The four files of a folder, in the order of [`KINDS`]; those that have been found to be the published ones with
/// their content.
pub struct Files(pub [(PathBuf, Option<Array>); 4]);

impl Files {
    /// Those in a folder that the user named.
    pub fn locate(Named { by, path: folder }: &Named) -> Result<Self, SourceError> {
        let not_a_folder = |found: String| SourceError::Folder { by: by.clone(), path: folder.clone(), found };
        let metadata = fs::metadata(folder).map_err(|error| not_a_folder(error.to_string()))?;
        if !metadata.is_dir() {
            return Err(not_a_folder("a file".to_owned()));
        }
        let entries = fs::read_dir(folder).map_err(|error| not_a_folder(error.to_string()))?;
        let paths = KINDS.each_ref().map(|kind| kind.candidates(folder).into_iter().next());
        let missing: Vec<_> =
            KINDS.iter().zip(&paths).filter(|(_, path)| path.is_none()).map(|(kind, _)| kind.published).collect();
        if missing.is_empty() {
            return Ok(Self(paths.map(|path| (path.unwrap_or_default(), None))));
        }
        let (by, path, missing) = (by.clone(), folder.clone(), missing.join(", "));
        Err(SourceError::Missing { by, path, missing, found: list(entries) })
    }

    /// Reads what has not been read, and puts the data set together.
    pub fn load(self, origin: Origin) -> Result<Found, SourceError> {
        let mut published = true;
        let mut arrays = Vec::new();
        for ((path, array), kind) in self.0.into_iter().zip(&KINDS) {
            let array = match array {
                Some(array) => array,
                None => {
                    let array = read(&path, MOST_BYTES)?;
                    published = published && kind.is_published(&array);
                    array
                }
            };
            arrays.push((path, array));
        }
        let Ok([train_labels, test_labels, test_images, train_images]) = <[_; 4]>::try_from(arrays) else {
            unreachable!("there are four kinds")
        };
        let (train_path, test_path) = (train_labels.0.clone(), test_labels.0.clone());
        let test_images_path = test_images.0.clone();
        let (shape, train) = images(train_images, train_labels)?;
        let (found, test) = images(test_images, test_labels)?;
        if found != shape {
            return Err(SourceError::Shape { path: test_images_path, expected: shape, found });
        }
        let folder = train_path.parent().unwrap_or(Path::new("")).to_path_buf();
        let names = match &origin {
            Origin::Directory(_) => class_names(&folder)?,
            _ => None,
        };
        let [most, most_in_test] = [&train, &test].map(|set| set.labels.iter().max().copied().unwrap_or_default());
        // The file that is to blame where there are too many classes, or a label of none.
        let of_classes = match names {
            Some(_) => folder.join(CLASSES),
            None if most >= most_in_test => train_path.clone(),
            None => test_path.clone(),
        };
        let classes = names.unwrap_or_else(|| (0..=most.max(most_in_test)).map(|class| class.to_string()).collect());
        let dataset = Dataset::new(shape, classes, train, test).map_err(|source| {
            let path = match &source {
                DataError::Classes { .. } => of_classes,
                DataError::Label { set: "training", .. } => train_path,
                DataError::Label { .. } => test_path,
                _ => folder,
            };
            SourceError::Dataset { path, source }
        })?;
        Ok(Found { dataset, name: if published { "mnist" } else { "custom" }.to_owned(), origin })
    }
}

/// A file of images and the file of their labels as a set of at least one, and the shape of an image.
fn images(
    (images_path, images): (PathBuf, Array),
    (labels_path, labels): (PathBuf, Array),
) -> Result<([usize; 3], Images), SourceError> {
    let bad = |path: &PathBuf| {
        let path = path.clone();
        move |fault: Fault| SourceError::BadFile { path, fault }
    };
    let labels = labels.into_labels().map_err(bad(&labels_path))?;
    let count = images.sizes()[0];
    let (shape, pixels) = images.into_images().map_err(bad(&images_path))?;
    Dataset::check_shape(shape).map_err(|source| SourceError::Dataset { path: images_path.clone(), source })?;
    if count != labels.len() {
        return Err(SourceError::Count { labels_path, labels: labels.len(), images_path, images: count });
    }
    if count == 0 {
        return Err(SourceError::Empty { path: images_path });
    }
    Ok((shape, Images { pixels, labels }))
}

/// The names in [`CLASSES`], if there is that file.
fn class_names(folder: &Path) -> Result<Option<Vec<String>>, SourceError> {
    /// A thousand names are far less.
    const MOST: u64 = 1 << 20;
    let path = folder.join(CLASSES);
    if fs::symlink_metadata(&path).is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound) {
        return Ok(None);
    }
    let mut text = Vec::new();
    let read = open(&path)?.take(MOST).read_to_end(&mut text);
    read.map_err(|error| SourceError::unreadable(path.clone(), error))?;
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&text).trim_ascii_end();
    let mut names: Vec<String> = Vec::new();
    for (line, name) in (1..).zip(text.split(|&byte| byte == b'\n')) {
        let name = std::str::from_utf8(name).map(str::trim);
        let before = names.iter().position(|known| Ok(known.as_str()) == name);
        let problem = match (name, before) {
            (Err(error), _) => format!("expected UTF-8, found: {error}"),
            (Ok(""), _) => "expected the name of a class, found an empty line".to_owned(),
            (Ok(name), Some(before)) => format!("expected a name of its own, found `{name}` as in line {}", before + 1),
            // They are shown on terminals.
            (Ok(name), None) if name.contains(char::is_control) => {
                format!("expected a name without control characters, found {name:?}")
            }
            (Ok(name), None) => {
                names.push(name.to_owned());
                continue;
            }
        };
        return Err(SourceError::Classes { path, line, problem });
    }
    Ok(Some(names))
}

/// The first few names in a folder, in words.
fn list(entries: fs::ReadDir) -> String {
    const SHOWN: usize = 6;
    let names = entries.flatten().map(|entry| entry.file_name());
    let mut names: Vec<String> = names.map(|name| name.to_string_lossy().into_owned()).collect();
    names.sort();
    match names.len() {
        0 => "an empty folder".to_owned(),
        n if n <= SHOWN => names.join(", "),
        n => format!("{} and {} more", names[..SHOWN].join(", "), n - SHOWN),
    }
}
