//! The four IDX files of a data set in a folder, and the names of its classes.

use super::published::{self, Published};
use super::{Found, Named, Origin, SourceError, emnist};
use crate::data::idx::{Array, Fault, MOST_BYTES};
use crate::data::{DataError, Dataset, Images, hexadecimal};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// One of the four files.
pub struct Kind {
    /// MNIST's name for it, without `.gz`.
    pub published: &'static str,
    /// What a file's name begins with; `-idx` or `.idx` follows.
    stems: &'static [&'static str],
    /// Of the published file, unpacked: its length in bytes.
    pub len: u64,
}

/// The small ones first: what is wrong with those is told (and what cannot be downloaded is noticed) before the long
/// work on the largest.
pub const KINDS: [Kind; 4] = [
    Kind { published: "train-labels-idx1-ubyte", stems: &["train-labels"], len: 60_008 },
    Kind { published: "t10k-labels-idx1-ubyte", stems: &["t10k-labels", "test-labels"], len: 10_008 },
    Kind { published: "t10k-images-idx3-ubyte", stems: &["t10k-images", "test-images"], len: 7_840_016 },
    Kind { published: "train-images-idx3-ubyte", stems: &["train-images"], len: 47_040_016 },
];

/// The file of names, one in a line.
pub const CLASSES: &str = "classes.txt";

impl Kind {
    /// The files in `folder` that can be meant, the likeliest first: the published name before others, plain before
    /// packed. All names begin with `prefix`. A folder of such a name stands for the files of such names in it, as in
    /// Kaggle's archive; where there is nothing else it is a candidate itself.
    pub fn candidates(&self, folder: &Path, prefix: &str) -> Vec<PathBuf> {
        let meant = |folder: &Path| {
            let mut names: Vec<String> = names(folder).filter(|name| self.rest(name, prefix).is_some()).collect();
            names.sort_by_cached_key(|name| {
                let plain = name[prefix.len()..].trim_end_matches(".gz").replacen(".idx", "-idx", 1);
                (plain != self.published, name.ends_with(".gz"), name.clone())
            });
            names.into_iter().map(|name| folder.join(name)).partition::<Vec<_>, _>(|path| path.is_dir())
        };
        let (folders, mut files) = meant(folder);
        files.extend(folders.iter().flat_map(|folder| meant(folder).1));
        if files.is_empty() { folders } else { files }
    }

    /// What follows `prefix` and a stem in a name that can be meant.
    fn rest<'a>(&self, name: &'a str, prefix: &str) -> Option<&'a str> {
        let name = name.strip_prefix(prefix)?;
        let rest = self.stems.iter().find_map(|stem| name.strip_prefix(stem));
        rest.filter(|rest| rest.starts_with("-idx") || rest.starts_with(".idx"))
    }
}

/// An IDX file's content.
pub struct Content {
    pub array: Array,
    /// SHA-256 of the file itself where it is packed, in hexadecimal.
    pub packed: Option<String>,
}

impl Content {
    /// Reads an IDX file with numbers of at most `most` bytes.
    pub fn read(input: impl Read, most: u64) -> Result<Self, Fault> {
        let mut input = Summed { input, sum: Sha256::new(), beginning: Vec::new() };
        let array = Array::read_at_most(most, &mut input)?;
        if !input.is_packed() {
            return Ok(Self { array, packed: None });
        }
        // Whatever the decoder left.
        io::copy(&mut input, &mut io::sink()).map_err(Fault::Unreadable)?;
        Ok(Self { array, packed: Some(hexadecimal(&input.sum.finalize())) })
    }
}

/// A reader that sums up what is read, if that is packed.
struct Summed<R> {
    input: R,
    sum: Sha256,
    /// Up to two bytes.
    beginning: Vec<u8>,
}

impl<R> Summed<R> {
    fn is_packed(&self) -> bool {
        self.beginning == [0x1f, 0x8b]
    }
}

impl<R: Read> Read for Summed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.input.read(buffer)?;
        let known = self.beginning.len();
        self.beginning.extend(buffer[..read].iter().take(2 - known));
        if known < 2 || self.is_packed() {
            self.sum.update(&buffer[..read]);
        }
        Ok(read)
    }
}

/// Reads an IDX file with numbers of at most `most` bytes.
pub fn read(path: &Path, most: u64) -> Result<Content, SourceError> {
    Content::read(open(path)?, most).map_err(|fault| SourceError::BadFile { path: path.into(), fault })
}

pub fn open(path: &Path) -> Result<File, SourceError> {
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

/// The names in `folder`; none where it cannot be read.
fn names(folder: &Path) -> impl Iterator<Item = String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok())
}

/// What stands before MNIST's names of the files in `folder`, as EMNIST's and QMNIST's have it: "" for MNIST's own.
fn prefixes(folder: &Path) -> BTreeSet<String> {
    let prefix = |name: &String, kind: &Kind| {
        let prefix = kind.stems.iter().find_map(|stem| name.find(stem).map(|at| &name[..at]))?;
        kind.rest(name, prefix).map(|_| prefix.to_owned())
    };
    names(folder).flat_map(|name| KINDS.iter().filter_map(move |kind| prefix(&name, kind))).collect()
}

/// The published names, behind `prefix`, of which there is no file in `folder`.
fn missing(folder: &Path, prefix: &str) -> Vec<String> {
    let missing = KINDS.iter().filter(|kind| kind.candidates(folder, prefix).is_empty());
    missing.map(|kind| format!("{prefix}{}", kind.published)).collect()
}

/// The prefixes of the data sets in `folder`.
fn whole(folder: &Path) -> impl Iterator<Item = String> {
    prefixes(folder).into_iter().filter(move |prefix| missing(folder, prefix).is_empty())
}

/// The folder and the prefix that `path`, a folder's with a data set's name behind it, means: of several in it.
pub fn prefixed(path: &Path) -> Option<(PathBuf, String)> {
    let (folder, name) = (path.parent()?, path.file_name()?.to_str()?);
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let found = whole(folder).find(|prefix| !prefix.is_empty() && named(prefix) == name);
    found.map(|prefix| (folder.to_path_buf(), prefix))
}

/// A data set's name, by its prefix.
fn named(prefix: &str) -> &str {
    prefix.trim_end_matches(['-', '_', '.'])
}

/// The data sets in `folder`; where it has no file of one, those in its sub-folders, else in their folders `raw`, as
/// torchvision keeps them.
fn data_sets(folder: &Path) -> Vec<(PathBuf, String)> {
    let in_folder = |folder: PathBuf| Vec::from_iter(whole(&folder).map(|prefix| (folder.clone(), prefix)));
    let mut found = in_folder(folder.into());
    if found.first().is_some_and(|(_, prefix)| prefix.is_empty()) {
        found.truncate(1); // what has no other name than the folder's is what the folder's name means
    }
    if !prefixes(folder).is_empty() {
        return found;
    }
    let mut below: Vec<_> = names(folder).map(|name| folder.join(name)).filter(|path| path.is_dir()).collect();
    below.sort();
    for folders in [below.clone(), below.iter().map(|path| path.join("raw")).collect()] {
        if found.is_empty() {
            found = folders.into_iter().flat_map(in_folder).collect();
        }
    }
    found
}

/// The four files of a data set, in the order of [`KINDS`].
pub struct Files {
    /// Where they lie, and perhaps `classes.txt`.
    pub folder: PathBuf,
    /// What stands before their names.
    pub prefix: String,
    /// With their content, where they have been read.
    pub files: [(PathBuf, Option<Array>); 4],
    /// Which data set they have been found to be.
    pub published: Option<&'static Published>,
}

impl Files {
    /// Those in a folder that the user named, or below it, and the path that means them. None where it is a folder
    /// without a file of a data set.
    pub fn locate(Named { by, path: folder }: &Named) -> Result<Option<(PathBuf, Self)>, SourceError> {
        let files = |folder: PathBuf, prefix: &str| {
            let first = |kind: &Kind| (kind.candidates(&folder, prefix).into_iter().next().unwrap_or_default(), None);
            let path = if prefix.is_empty() { folder.clone() } else { folder.join(named(prefix)) };
            (path, Self { files: KINDS.each_ref().map(first), prefix: prefix.into(), folder, published: None })
        };
        let not_a_folder = |found: String| SourceError::Folder { by: by.clone(), path: folder.clone(), found };
        let metadata = match (fs::metadata(folder), prefixed(folder)) {
            (Ok(metadata), _) => metadata,
            (Err(_), Some((folder, prefix))) => return Ok(Some(files(folder, &prefix))),
            (Err(error), None) => return Err(not_a_folder(error.to_string())),
        };
        if !metadata.is_dir() {
            return Err(not_a_folder("a file".to_owned()));
        }
        fs::read_dir(folder).map_err(|error| not_a_folder(error.to_string()))?;
        let mut found = data_sets(folder);
        if found.len() > 1 {
            let found = found.into_iter().map(|(folder, prefix)| files(folder, &prefix).0).collect();
            return Err(SourceError::Several { by: by.clone(), path: folder.clone(), found });
        }
        if let Some((folder, prefix)) = found.pop() {
            return Ok(Some(files(folder, &prefix)));
        }
        match prefixes(folder).is_empty() {
            true => Ok(None),
            false => Err(Self::missing(by, folder)),
        }
    }

    /// What `folder` lacks: of the data set that lacks least; without any, of MNIST.
    pub fn missing(by: &str, folder: &Path) -> SourceError {
        let missing = prefixes(folder).iter().map(|prefix| missing(folder, prefix)).min_by_key(Vec::len);
        let missing = missing.unwrap_or_else(|| KINDS.map(|kind| kind.published.to_owned()).to_vec()).join(", ");
        SourceError::Missing { by: by.into(), path: folder.into(), missing, found: list(folder) }
    }

    /// Reads what has not been read, and puts the data set together.
    pub fn load(self, origin: Origin) -> Result<Found, SourceError> {
        let mut candidates: Vec<&Published> = published::ALL.into();
        let mut arrays = Vec::new();
        for (index, ((path, array), kind)) in self.files.into_iter().zip(&KINDS).enumerate() {
            let array = match array {
                Some(array) => array,
                None => {
                    let content = read(&path, MOST_BYTES)?;
                    candidates.retain(|published| published.sums[index].is_of(kind, &content));
                    content.array
                }
            };
            arrays.push((path, array));
        }
        let published = self.published.or(candidates.first().copied());
        let Ok([train_labels, test_labels, test_images, train_images]) = <[_; 4]>::try_from(arrays) else {
            unreachable!("there are four kinds")
        };
        let (train_path, test_path) = (train_labels.0.clone(), test_labels.0.clone());
        let test_images_path = test_images.0.clone();
        let (mut shape, mut train) = images(train_images, train_labels)?;
        let (found, mut test) = images(test_images, test_labels)?;
        if found != shape {
            return Err(SourceError::Shape { path: test_images_path, expected: shape, found });
        }
        let (folder, prefix) = (self.folder, self.prefix);
        let is_emnist = emnist::is(&prefix) && published.is_none();
        if is_emnist {
            [shape, _] = [&mut train, &mut test].map(|set| emnist::set_upright(shape, &mut set.pixels));
        }

        let labels = || train.labels.iter().chain(&test.labels).copied();
        let (lowest, most) = (labels().min().unwrap_or_default(), labels().max().unwrap_or_default());
        let listed = match &origin {
            Origin::Directory(_) => class_names(&folder)?,
            _ => None,
        };
        // The file that is to blame where there are too many classes, or a label of none.
        let of_classes = match listed {
            Some(_) => folder.join(CLASSES),
            None if train.labels.contains(&most) => train_path.clone(),
            None => test_path.clone(),
        };
        let names = match (listed, published) {
            (Some(names), _) => Names { first: u16::from(names.len() == usize::from(most)), names },
            (None, Some(known)) => Names { first: 0, names: known.classes.iter().map(|&name| name.into()).collect() },
            (None, None) if is_emnist => emnist::names(&folder, &prefix)?.unwrap_or(Names::numbers(lowest, most)),
            (None, None) => Names::numbers(lowest, most),
        };
        // Labels that begin at 1, as those of EMNIST's letters: no class without images.
        let first = names.first.min(lowest);
        for label in [&mut train, &mut test].into_iter().flat_map(|set| &mut set.labels) {
            *label -= first;
        }
        let dataset = Dataset::new(shape, names.names, train, test).map_err(|source| {
            let path = match &source {
                DataError::Classes { .. } => of_classes,
                DataError::Label { set: "training", .. } => train_path,
                DataError::Label { .. } => test_path,
                _ => folder,
            };
            SourceError::Dataset { path, source }
        })?;
        Ok(Found { dataset, name: published.map_or("custom", |published| published.name).to_owned(), origin })
    }
}

/// The names of the classes, and the label of the first.
pub struct Names {
    pub first: u16,
    pub names: Vec<String>,
}

impl Names {
    /// The labels themselves, from 0, or from 1 where there is no 0 but a 1 and others.
    fn numbers(lowest: u16, most: u16) -> Self {
        let first = u16::from(lowest == 1 && most > 1);
        Self { first, names: (first..=most).map(|class| class.to_string()).collect() }
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
pub fn class_names(folder: &Path) -> Result<Option<Vec<String>>, SourceError> {
    let path = folder.join(CLASSES);
    let Some(text) = text(&path)? else { return Ok(None) };
    let mut names: Vec<String> = Vec::new();
    for (line, name) in (1..).zip(text.split('\n').map(str::trim)) {
        let problem = match names.iter().position(|known| known == name) {
            _ if name.is_empty() => "expected the name of a class, found an empty line".to_owned(),
            Some(before) => format!("expected a name of its own, found `{name}` as in line {}", before + 1),
            // They are shown on terminals.
            None if name.contains(char::is_control) => {
                format!("expected a name without control characters, found {name:?}")
            }
            None => {
                names.push(name.to_owned());
                continue;
            }
        };
        return Err(SourceError::Classes { path, line, problem });
    }
    Ok(Some(names))
}

/// What a small file of text holds, without spaces at its end; none where there is no such file.
pub fn text(path: &Path) -> Result<Option<String>, SourceError> {
    /// A thousand names are far less.
    const MOST: u64 = 1 << 20;
    if fs::symlink_metadata(path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
        return Ok(None);
    }
    let mut text = Vec::new();
    let read = open(path)?.take(MOST).read_to_end(&mut text);
    read.map_err(|error| SourceError::unreadable(path.into(), error))?;
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&text).trim_ascii_end();
    match std::str::from_utf8(text) {
        Ok(text) => Ok(Some(text.to_owned())),
        Err(error) => {
            let line = 1 + text[..error.valid_up_to()].iter().filter(|&&byte| byte == b'\n').count();
            let problem = format!("expected UTF-8, found: {error}");
            Err(SourceError::Classes { path: path.into(), line, problem })
        }
    }
}

/// The first few names in a folder, in words.
fn list(folder: &Path) -> String {
    const SHOWN: usize = 6;
    let names = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.file_name());
    let mut names: Vec<String> = names.map(|name| name.to_string_lossy().into_owned()).collect();
    names.sort();
    match names.len() {
        0 => "an empty folder".to_owned(),
        n if n <= SHOWN => names.join(", "),
        n => format!("{} and {} more", names[..SHOWN].join(", "), n - SHOWN),
    }
}
