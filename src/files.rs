//! Files that are at any time either what they were or complete: written beside their place, then renamed.

use std::io::{Error, ErrorKind, Result, Write};
use std::path::Path;

/// Writes `bytes` to `path`.
pub fn replace(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut file = beside(path)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|e| e.error)?;
    Ok(())
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
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    std::fs::create_dir_all(folder).map_err(|error| {
        let message = format!("its folder {} cannot be made: {error}", folder.display());
        Error::new(error.kind(), message)
    })?;
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666)); // less the umask
    builder.prefix(".mnist-wgpu-").tempfile_in(folder)
}
