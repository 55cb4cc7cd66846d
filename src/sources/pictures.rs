//! A folder of pictures, a sub-folder for each class, as a data set.
//!
//! ```text
//! FOLDER/train/CLASS/*.png  FOLDER/test/CLASS/*.png   or   FOLDER/CLASS/*.png, some of which are held out to test
//! ```

use super::folder::{CLASSES, class_names, open};
use super::{Event, Found, Origin, SourceError};
use crate::data::idx::MOST_BYTES;
use crate::data::{Dataset, Images, hold_out};
use crate::image::{self, Digit, EXTENSIONS, Fault, OTHER_EXTENSIONS, Picture};
use crate::run::is_run;
use rayon::prelude::*;
use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use walkdir::{DirEntry, WalkDir};

/// What such a data set is called, and one of the strokes in them.
pub const NAME: &str = "pictures";
pub const STROKES: &str = "strokes";

/// Sides of a sample that are not asked for are at most this long, and never shorter than a network takes.
const LARGEST: u32 = 64;
pub const SMALLEST: u32 = 10;
/// A larger file is refused.
const LARGEST_FILE: u64 = 256 << 20;
/// Folders in folders: no deeper than this.
const DEEPEST: usize = 8;
/// Pixels of all pictures, in three channels, while they are read.
const MOST: u64 = MOST_BYTES;
/// A sample is grey where the channels of no pixel differ by more than this: JPEG rounds.
const GREY: u8 = 4;

/// What the two sets' folders are called.
const TRAIN: [&str; 2] = ["train", "training"];
const TEST: [&str; 2] = ["test", "testing"];
const VAL: [&str; 3] = ["val", "valid", "validation"];

/// What the pictures are made to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Settings {
    /// Draws the test set where none comes with the pictures.
    pub seed: u64,
    /// Rows and columns of a sample. Without it the size that most pictures have, its longer side at most 64.
    pub size: Option<[usize; 2]>,
    /// 1 for grey, 3 for colour. Without it grey if all pictures are.
    pub channels: Option<usize>,
    /// Of each picture the largest digit, or what else was written, as `predict` finds it and MNIST has it: white on
    /// black, 28x28. Size and channels then follow.
    pub strokes: bool,
}

/// The folder at or below `folder` that holds classes: archives often put one folder around all.
pub fn locate(folder: &Path) -> Option<PathBuf> {
    let mut folder = folder.to_path_buf();
    for _ in 0..DEEPEST {
        let below = sub_folders(&folder);
        let holds = |path: &PathBuf| fs::read_dir(path).into_iter().flatten().flatten().any(|entry| is_ours(&entry.path()));
        if below.iter().any(holds) {
            return Some(folder);
        }
        match &below[..] {
            [only] if !is_called(only, &TRAIN) => folder = only.clone(),
            _ if below.iter().any(|path| has_pictures(path)) => return Some(folder),
            _ => return None,
        }
    }
    None
}

/// What [`collect`] found beside pictures.
#[derive(Default)]
struct Others {
    /// Pictures of other kinds.
    kinds: Vec<PathBuf>,
    rest: Vec<PathBuf>,
}

/// Reads the pictures below `folder`, which [`locate`] found, for `origin`.
pub fn load(
    folder: &Path,
    origin: Origin,
    settings: &Settings,
    on_event: &mut dyn FnMut(Event),
) -> Result<Found, SourceError> {
    let (train, test, passed) = sets(folder);
    let mut others = Others { rest: passed, ..Others::default() };
    let training = of_classes(&train, &mut others)?;
    let testing = test.as_ref().map(|test| of_classes(test, &mut others)).transpose()?;
    others.tell(on_event);
    let names = names(folder, &train, &training)?;
    if let Some(unknown) = testing.iter().flatten().find(|(name, _)| !names.contains(name)) {
        let problem =
            format!("expected the classes of {}, found `{}`; add its training pictures", train.display(), unknown.0);
        return Err(SourceError::Pictures { path: test.unwrap_or_default(), problem });
    }

    let labelled = |classes: &BTreeMap<String, Vec<PathBuf>>| {
        let of = |(label, name): (u16, &String)| {
            classes.get(name).into_iter().flatten().map(move |path| (path.clone(), label)).collect::<Vec<_>>()
        };
        (0..).zip(&names).flat_map(of).collect::<Vec<(PathBuf, u16)>>()
    };
    let (mut training, testing) = (labelled(&training), testing.as_ref().map(labelled));
    let testing = testing.unwrap_or_else(|| {
        let labels: Vec<u16> = training.iter().map(|picture| picture.1).collect();
        let (train, test) = hold_out(&labels, settings.seed);
        let [train, test] = [train, test].map(|set| set.iter().map(|&i| training[i as usize].clone()).collect::<Vec<_>>());
        on_event(Event::Message("Of each class an eighth, drawn by the seed, is held out to test with."));
        training = train;
        test
    });
    if testing.is_empty() {
        let problem = "expected two pictures of a class at least, one to test with, found one of each; add some";
        return Err(SourceError::Pictures { path: folder.into(), problem: problem.into() });
    }

    let all: Vec<&Path> = training.iter().chain(&testing).map(|picture| picture.0.as_path()).collect();
    let [height, width] = match settings.size {
        _ if settings.strokes => [28, 28],
        Some(size) => size,
        None => common_size(&all)?,
    };
    let shape = |channels: usize| [channels, height, width];
    Dataset::check_shape(shape(1)).map_err(|source| SourceError::Dataset { path: folder.into(), source })?;
    let (len, bytes) = (3 * height * width, 3 * (height * width) as u64 * all.len() as u64);
    if bytes > MOST {
        let problem = format!(
            "expected pictures that take at most {} MB in three channels of {height}x{width}, found {} that take {} MB; give a \
             smaller `--size`, or leave some out",
            MOST >> 20,
            all.len(),
            bytes >> 20
        );
        return Err(SourceError::Pictures { path: folder.into(), problem });
    }
    let mut pixels = vec![0; len * all.len()];
    let coloured = AtomicBool::new(false);
    pixels.par_chunks_exact_mut(len).zip(&all).try_for_each(|(sample, path)| {
        let picture = decoded(path, Picture::decode)?;
        if settings.strokes {
            let digit = largest(&picture).map_err(|fault| SourceError::Picture { path: path.to_path_buf(), fault })?;
            sample.copy_from_slice(&digit.sample.repeat(3));
            return Ok(());
        }
        sample.copy_from_slice(&image::whole(&picture, shape(3)));
        if !is_grey(sample) {
            coloured.store(true, Ordering::Relaxed);
        }
        Ok(())
    })?;
    let channels = settings.channels.unwrap_or(if coloured.into_inner() { 3 } else { 1 });
    if channels == 1 {
        let plane = height * width;
        let grey = |sample: &[u8]| {
            Vec::from_iter((0..plane).map(|i| image::grey([sample[i], sample[plane + i], sample[2 * plane + i]])))
        };
        pixels = pixels.par_chunks_exact(len).flat_map_iter(grey).collect();
    }
    let rest = pixels.split_off(training.len() * channels * height * width);
    let labels = |pictures: &[(PathBuf, u16)]| pictures.iter().map(|picture| picture.1).collect();
    let train = Images { pixels, labels: labels(&training) };
    let test = Images { pixels: rest, labels: labels(&testing) };
    let dataset = Dataset::new(shape(channels), names, train, test)
        .map_err(|source| SourceError::Dataset { path: folder.into(), source })?;
    let name = if settings.strokes { STROKES } else { NAME };
    Ok(Found { dataset, name: name.into(), origin })
}

/// The largest of the digits in a picture.
fn largest(picture: &Picture) -> Result<Digit, Fault> {
    let area = |digit: &Digit| u64::from(digit.place[2]) * u64::from(digit.place[3]);
    let digits = image::digits(picture)?.into_iter();
    digits.max_by_key(area).ok_or(Fault::Blank { width: picture.size[0], height: picture.size[1] })
}

/// The folder of training classes, that of test classes if there is one, and what lies beside them.
fn sets(folder: &Path) -> (PathBuf, Option<PathBuf>, Vec<PathBuf>) {
    let below = sub_folders(folder);
    let called = |names: &[&str]| below.iter().find(|path| is_called(path, names)).cloned();
    let Some(train) = called(&TRAIN) else { return (folder.into(), None, Vec::new()) };
    let test = called(&TEST).or_else(|| called(&VAL));
    let passed = below.into_iter().filter(|path| *path != train && Some(path) != test.as_ref()).collect();
    (train, test, passed)
}

fn is_called(folder: &Path, names: &[&str]) -> bool {
    folder.file_name().is_some_and(|name| names.iter().any(|known| name.eq_ignore_ascii_case(known)))
}

/// The pictures of each class in `folder`, in the order of their names. A folder without any is passed over.
fn of_classes(folder: &Path, others: &mut Others) -> Result<BTreeMap<String, Vec<PathBuf>>, SourceError> {
    let unreadable = |error| SourceError::unreadable(folder.into(), error);
    let mut classes = BTreeMap::new();
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if !path.is_dir() {
            others.file(path);
            continue;
        } else if is_hidden(&path) {
            continue;
        }
        let mut pictures = Vec::new();
        if !is_run(&path) {
            collect(&path, &mut pictures, others)?;
        }
        if pictures.is_empty() {
            others.rest.push(path);
            continue;
        }
        let name = path.file_name().and_then(|name| name.to_str()).filter(|name| !name.contains(char::is_control));
        let Some(name) = name else {
            let problem = "expected the name of a class in UTF-8 and without control characters; rename the folder";
            return Err(SourceError::Pictures { path, problem: problem.into() });
        };
        pictures.sort();
        classes.insert(name.to_owned(), pictures);
    }
    Ok(classes)
}

/// The names of the classes in their order: that of `classes.txt`, or numbers by their value, or text.
fn names(folder: &Path, train: &Path, classes: &BTreeMap<String, Vec<PathBuf>>) -> Result<Vec<String>, SourceError> {
    let found: Vec<String> = classes.keys().cloned().collect();
    if !(2..=Dataset::MOST_CLASSES).contains(&found.len()) {
        let what = match found.len() {
            0 => "none with a picture".into(),
            1 => format!("one, `{}`", found[0]),
            many => many.to_string(),
        };
        let problem = format!(
            "expected from 2 to {} folders, one for each class, with .png or .jpg files in them, found {what}",
            Dataset::MOST_CLASSES
        );
        return Err(SourceError::Pictures { path: train.into(), problem });
    }
    if let Some(listed) = class_names(folder)? {
        let unlisted = found.iter().find(|name| !listed.contains(name));
        let absent = listed.iter().find(|name| !found.contains(name));
        let (name, where_) = match (unlisted, absent) {
            (None, None) => return Ok(listed),
            (Some(name), _) => (name, "as a folder only"),
            (None, Some(name)) => (name, "in the file only"),
        };
        let problem = format!("expected the names of the folders in {}, found `{name}` {where_}; ", train.display());
        let problem = problem + "correct it, or leave it out";
        return Err(SourceError::Pictures { path: folder.join(CLASSES), problem });
    }
    let mut names = found;
    if names.iter().all(|name| name.bytes().all(|byte| byte.is_ascii_digit())) {
        names.sort_by_key(|name| (name.trim_start_matches('0').len(), name.trim_start_matches('0').to_owned()));
    }
    Ok(names)
}

/// Rows and columns that most of the pictures have, scaled so that the longer side is at most [`LARGEST`].
fn common_size(pictures: &[&Path]) -> Result<[usize; 2], SourceError> {
    let sizes = pictures.par_iter().map(|path| decoded(path, Picture::size_of));
    let sizes: Vec<[u32; 2]> = sizes.collect::<Result<_, _>>()?;
    let mut counts = BTreeMap::new();
    sizes.into_iter().for_each(|size| *counts.entry(size).or_insert(0) += 1);
    let [width, height] = counts.into_iter().max_by_key(|&(_, count)| count).unwrap_or_default().0;
    let longer = width.max(height).max(1);
    let scaled = |side: u32| {
        let side = if longer > LARGEST { (u64::from(side) * u64::from(LARGEST) / u64::from(longer)) as u32 } else { side };
        side.clamp(SMALLEST, LARGEST) as usize
    };
    Ok([scaled(height), scaled(width)])
}

/// What `decode` makes of a file.
fn decoded<T>(path: &Path, decode: impl Fn(&[u8]) -> Result<T, Fault>) -> Result<T, SourceError> {
    let mut bytes = Vec::new();
    let read = open(path)?.take(LARGEST_FILE + 1).read_to_end(&mut bytes);
    read.map_err(|error| SourceError::unreadable(path.into(), error))?;
    if bytes.len() as u64 > LARGEST_FILE {
        let problem = format!("expected a picture of at most {} MB, found a larger file; scale it down", LARGEST_FILE >> 20);
        return Err(SourceError::Pictures { path: path.into(), problem });
    }
    decode(&bytes).map_err(|fault| SourceError::Picture { path: path.into(), fault })
}

/// Of three planes.
fn is_grey(sample: &[u8]) -> bool {
    let (red, rest) = sample.split_at(sample.len() / 3);
    let (green, blue) = rest.split_at(red.len());
    red.iter().zip(green).zip(blue).all(|((&r, &g), &b)| r.max(g).max(b) - r.min(g).min(b) <= GREY)
}

impl Others {
    /// Takes a file that is no picture of ours. What systems leave in folders is not worth a word.
    fn file(&mut self, path: PathBuf) {
        let left = ["Thumbs.db", "desktop.ini", CLASSES];
        if is_hidden(&path) || path.file_name().is_some_and(|name| left.iter().any(|left| name == *left)) {
            return;
        }
        if has_extension(&path, &OTHER_EXTENSIONS) { self.kinds.push(path) } else { self.rest.push(path) }
    }

    /// Says once what is not used.
    fn tell(&mut self, on_event: &mut dyn FnMut(Event)) {
        for (paths, what) in [(&mut self.kinds, "pictures that are neither PNG nor JPEG"), (&mut self.rest, "other things")]
        {
            paths.sort();
            if let Some(first) = paths.first() {
                let message = format!("Passed over, {} {what}, such as {}", paths.len(), first.display());
                on_event(Event::Message(&message));
            }
        }
    }
}

/// The files in a folder and in those in it. Left out are hidden ones, runs with the pictures of their reports, and
/// links to a folder that they lie in.
pub fn files_below(folder: &Path) -> impl Iterator<Item = io::Result<PathBuf>> {
    let wanted = |entry: &DirEntry| {
        entry.depth() == 0 || !(is_hidden(entry.path()) || (entry.file_type().is_dir() && is_run(entry.path())))
    };
    let entries = WalkDir::new(folder).follow_links(true).max_depth(DEEPEST + 1).into_iter().filter_entry(wanted);
    entries.filter_map(|entry| match entry {
        Ok(entry) if entry.file_type().is_dir() => None,
        Ok(entry) => Some(Ok(entry.into_path())),
        Err(error) if error.loop_ancestor().is_some() => None,
        // A link that leads nowhere is found out when it is read, if it is.
        Err(error) => Some(match error.path().filter(|path| path.is_symlink()) {
            Some(path) => Ok(path.into()),
            None => Err(error.into()),
        }),
    })
}

/// Adds the pictures in a folder and in those in it.
fn collect(folder: &Path, files: &mut Vec<PathBuf>, others: &mut Others) -> Result<(), SourceError> {
    for path in files_below(folder) {
        let path = path.map_err(|error| SourceError::unreadable(folder.into(), error))?;
        if is_ours(&path) {
            files.push(path);
        } else {
            others.file(path);
        }
    }
    Ok(())
}

fn has_pictures(folder: &Path) -> bool {
    files_below(folder).flatten().any(|path| is_ours(&path))
}

/// In the order of their names.
fn sub_folders(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut folders: Vec<PathBuf> = entries.filter(|path| path.is_dir() && !is_hidden(path) && !is_run(path)).collect();
    folders.sort();
    folders
}

/// A file that is read as a picture, by its name.
fn is_ours(path: &Path) -> bool {
    has_extension(path, &EXTENSIONS) && !is_hidden(path) && !path.is_dir()
}

fn has_extension(path: &Path, known: &[&str]) -> bool {
    let extension = path.extension().unwrap_or_default().to_ascii_lowercase();
    known.iter().any(|known| extension == *known)
}

/// macOS keeps notes on `7.png` in `._7.png`.
fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
}
