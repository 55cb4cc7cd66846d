//! The pictures that were named: files, folders of them, and stdin.

use super::super::tell;
use mnist_wgpu::image::{self, EXTENSIONS as READ, Fault, OTHER_EXTENSIONS as OTHERS, Picture};
use mnist_wgpu::reading::Content;
use mnist_wgpu::run;
use mnist_wgpu::sources::pictures::files_below;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// A larger file is refused.
const MOST_BYTES: u64 = 256 << 20;
/// Stands for stdin.
pub const STDIN: &str = "-";

/// A picture, and what the network takes of it.
pub struct Seen {
    pub path: String,
    pub content: Result<Content, Trouble>,
    /// The picture itself, if it is kept.
    pub picture: Option<Picture>,
}

/// Why there is nothing to judge.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    #[error("cannot read it ({0}); check the path")]
    Read(#[from] io::Error),
    #[error("expected a picture of at most {} MB, found a larger file; scale it down", MOST_BYTES >> 20)]
    Large,
    #[error("expected .png or .jpg files in this folder or in those in it, found none; name another")]
    Empty,
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// Whether `path` names a picture or a folder with pictures, whatever their kind. What does not exist, or is a pipe, is
/// one if it is called as one.
pub fn is_picture(path: &Path) -> bool {
    if path.as_os_str() == STDIN || has_extension(path, &READ) || has_extension(path, &OTHERS) {
        return true;
    }
    // A run's folder holds pictures, too: those of its report.
    if run::is_run(path) {
        return false;
    }
    if path.is_dir() {
        return below(path).is_ok_and(|files| !files.is_empty());
    }
    if is_pipe(path) {
        return false;
    }
    let mut beginning = [0; 16];
    let read = fs::File::open(path).and_then(|mut file| file.read(&mut beginning));
    read.is_ok_and(|count| image::is_picture(&beginning[..count]))
}

/// Whether `path` is a pipe or a device, which can be read but once.
pub fn is_pipe(path: &Path) -> bool {
    path.metadata().is_ok_and(|found| !found.is_file() && !found.is_dir())
}

/// The pictures that `path` names, one or a folder's, in the order of their names, for samples of shape `shape` that
/// are digits or `whole` pictures. One that is no folder's is kept on demand.
pub fn see(path: &Path, shape: [usize; 3], whole: bool, keep: bool) -> Vec<Seen> {
    let content = |picture: &Picture| Ok(Content::of(picture, shape, whole)?);
    if !path.is_dir() {
        let (content, picture) = match open(path) {
            Ok(picture) => (content(&picture), Some(picture).filter(|_| keep)),
            Err(trouble) => (Err(trouble), None),
        };
        return vec![Seen { path: path.display().to_string(), content, picture }];
    }
    let trouble = |trouble: Trouble| vec![Seen { path: path.display().to_string(), content: Err(trouble), picture: None }];
    let files = match below(path) {
        Ok(files) => files,
        Err(error) => return trouble(error.into()),
    };
    let mut seen = Vec::new();
    for file in files {
        let name = file.display().to_string();
        let content = match has_extension(&file, &OTHERS) {
            true => Err(Fault::Format { found: "a picture of another kind".into() }.into()),
            false => open(&file).and_then(|picture| content(&picture)),
        };
        match content {
            // What is no picture does not belong to a folder's pictures; it is an error where it is named itself.
            Err(Trouble::Fault(fault @ (Fault::Format { .. } | Fault::Foreign(_)))) => {
                tell(format_args!("{name}: passed over: {fault}"))
            }
            content => seen.push(Seen { path: name, content, picture: None }),
        }
    }
    if seen.is_empty() { trouble(Trouble::Empty) } else { seen }
}

fn has_extension(path: &Path, known: &[&str]) -> bool {
    let extension = path.extension().unwrap_or_default().to_ascii_lowercase();
    known.iter().any(|known| extension == *known)
}

/// The pictures in a folder and in those in it, in the order of their names.
fn below(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = files_below(folder).collect::<io::Result<Vec<PathBuf>>>()?;
    files.retain(|file| has_extension(file, &READ) || has_extension(file, &OTHERS));
    files.sort();
    Ok(files)
}

/// Reads and decodes one picture.
fn open(path: &Path) -> Result<Picture, Trouble> {
    let mut bytes = Vec::new();
    let source: &mut dyn Read = match path.as_os_str() == STDIN {
        true => &mut io::stdin().lock(),
        false => &mut fs::File::open(path)?,
    };
    if source.take(MOST_BYTES + 1).read_to_end(&mut bytes)? as u64 > MOST_BYTES {
        return Err(Trouble::Large);
    }
    Ok(Picture::decode(&bytes)?)
}
