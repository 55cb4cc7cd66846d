//! Files that are at any time either what they were or complete: written beside their place, then renamed. And reading
//! that ends, whatever lies there.

use crate::foreign;
use std::fs::File;
use std::io::{Error, ErrorKind, Read, Result, Write};
use std::path::Path;

/// More than any text has that the program reads.
pub const LARGEST_TEXT: u64 = 256 << 20;

/// What `path` holds. A file of more than `most` bytes is an error, before it fills the memory; so is a pipe, which
/// nobody may write to.
pub fn read(path: &Path, most: u64) -> Result<Vec<u8>> {
    #[cfg(unix)]
    if std::os::unix::fs::FileTypeExt::is_fifo(&path.metadata()?.file_type()) {
        return Err(Error::new(ErrorKind::InvalidInput, "expected a file, found a pipe"));
    }
    read_known(path, most, |_| true)
}

/// The same of a file that is `known` by its first [`foreign::ENOUGH`] bytes; of another one, those alone.
pub fn read_known(path: &Path, most: u64, known: impl FnOnce(&[u8]) -> bool) -> Result<Vec<u8>> {
    let mut file = File::open(path)?;
    let mut bytes = Vec::new();
    (&mut file).take(foreign::ENOUGH as u64).read_to_end(&mut bytes)?;
    if !known(&bytes) {
        return Ok(bytes);
    }
    let large = file.metadata().is_ok_and(|found| found.len() > most); // a device has no length
    if !large {
        file.take((most + 1).saturating_sub(bytes.len() as u64)).read_to_end(&mut bytes)?;
    }
    if large || bytes.len() as u64 > most {
        return Err(Error::other(format!("expected a file of at most {} MiB, found a larger one", most >> 20)));
    }
    Ok(bytes)
}

/// The text in `path`, of at most [`LARGEST_TEXT`] bytes.
pub fn read_text(path: &Path) -> Result<String> {
    String::from_utf8(read(path, LARGEST_TEXT)?).map_err(|error| Error::new(ErrorKind::InvalidData, error.utf8_error()))
}

/// `path` as a shell takes it for an argument: in quotes where it must be.
pub fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    if cfg!(windows) {
        return if text.contains(char::is_whitespace) { format!("\"{text}\"") } else { text };
    }
    // What begins with a dash would be taken for an option.
    let text = if text.starts_with('-') { format!("./{text}") } else { text };
    shlex::try_quote(&text).map(Into::into).unwrap_or(text)
}

/// Begins the name of a file that is being written.
const UNFINISHED: &str = ".mnist-wgpu-";

/// Whether `path` is a file that is being written, or that a process was killed over.
pub fn is_unfinished(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(UNFINISHED))
}

/// Writes `bytes` to `path`.
pub fn replace(path: &Path, bytes: &[u8]) -> Result<()> {
    written_beside(path, bytes)?.persist(path).map_err(|error| error.error)?;
    sync_folder(path);
    Ok(())
}

/// Writes `bytes` to `path`, where no file may be yet.
pub fn create(path: &Path, bytes: &[u8]) -> Result<()> {
    written_beside(path, bytes)?.persist_noclobber(path).map_err(|error| error.error)?;
    sync_folder(path);
    Ok(())
}

fn written_beside(path: &Path, bytes: &[u8]) -> Result<tempfile::NamedTempFile> {
    let mut file = beside(path)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    Ok(file)
}

/// So that the name lasts as the content does. Not every file system can, and not every system opens folders.
fn sync_folder(path: &Path) {
    let _ = File::open(folder_of(path)).and_then(|folder| folder.sync_all());
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Checks, before the work of minutes or hours, that [`replace`] can write `path`; makes the folder it is to lie in.
pub fn check_writable(path: &Path) -> Result<()> {
    let text = path.as_os_str().to_string_lossy();
    if path.is_dir() || path.file_name().is_none() || text.ends_with(std::path::is_separator) {
        return Err(Error::new(ErrorKind::IsADirectory, "it is a folder; give the name of a file in it"));
    }
    // Renaming over a device or a pipe would replace it.
    if path.metadata().is_ok_and(|found| !found.is_file()) {
        return Err(Error::new(ErrorKind::InvalidInput, "it is a device or a pipe, not a file"));
    }
    beside(path).map(drop)
}

/// A temporary file in the folder of `path`, with the permissions that a new file would have.
fn beside(path: &Path) -> Result<tempfile::NamedTempFile> {
    let folder = folder_of(path);
    std::fs::create_dir_all(folder).map_err(|error| {
        let message = format!("its folder {} cannot be made: {error}", folder.display());
        Error::new(error.kind(), message)
    })?;
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666)); // less the umask
    builder.prefix(UNFINISHED).tempfile_in(folder)
}
