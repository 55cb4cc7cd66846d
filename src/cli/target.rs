//! Files that a command writes for the user: found out, before anything takes long, whether they can be written, and
//! whether somebody would miss what is there.

use super::Failure;
use mnist_wgpu::files;
use std::fmt::Display;
use std::path::Path;

/// Checks that `what`, such as "the page", can be written to `path`.
///
/// # Errors
///
/// What cannot be written, as a device or a pipe; one of `sources`, which it is made from; what is there, without
/// `force`.
pub fn check(what: &str, path: &Path, force: bool, sources: &[&Path]) -> Result<(), Failure> {
    files::check_writable(path).map_err(|error| cannot_write(what, path, error))?;
    let same =
        |source: &&&Path| source.canonicalize().is_ok_and(|source| path.canonicalize().is_ok_and(|path| path == source));
    if let Some(source) = sources.iter().find(same) {
        return Err(Failure::saying(format!("{}: {what} is made from it; give another file", source.display())));
    }
    // Not `exists`, which a link that leads nowhere denies.
    if !force && path.symlink_metadata().is_ok() {
        return Err(Failure::saying(format!("{} exists; --force overwrites it", path.display())));
    }
    Ok(())
}

/// Writes it.
pub fn write(what: &str, path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    files::replace(path, bytes).map_err(|error| cannot_write(what, path, error))
}

fn cannot_write(what: &str, path: &Path, error: impl Display) -> Failure {
    Failure::saying(format!("cannot write {what} {}: {error}", path.display()))
}
