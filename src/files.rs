//! Files that are at any time either what they were or complete: written beside their place, then renamed.

use std::io::{Error, ErrorKind, Result, Write};
use std::path::Path;

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
    let _ = std::fs::File::open(folder_of(path)).and_then(|folder| folder.sync_all());
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
