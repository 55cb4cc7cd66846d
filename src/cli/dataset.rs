//! Loading the data set, and saying so where it is not MNIST.

use super::output::{note, quiet};
use super::{Failure, tell, thousands, values};
use indicatif::{ProgressBar, ProgressStyle};
use mnist_wgpu::run;
use mnist_wgpu::sources::{self, Event, Found, Named, Origin, Sources};
use std::path::PathBuf;

/// Where `--data-dir`, the variable `MNIST_DIR`, and the user's own folders say that data sets are.
fn sources(data_dir: Option<PathBuf>) -> Result<Sources, Failure> {
    let variable = || std::env::var_os("MNIST_DIR").filter(|value| !value.is_empty()).map(PathBuf::from);
    let folder = match data_dir {
        Some(path) => Some(Named { by: "--data-dir".into(), path }),
        None => {
            let path = variable().map(values::expanded).transpose();
            let path = path.map_err(|problem| Failure::saying(format!("MNIST_DIR: {problem}")))?;
            path.map(|path| Named { by: "MNIST_DIR".into(), path })
        }
    };
    Ok(Sources::of_user(folder))
}

/// Loads the data set, telling on stderr where it comes from.
pub fn load(data_dir: Option<PathBuf>) -> Result<Found, Failure> {
    let bar = if quiet() { ProgressBar::hidden() } else { ProgressBar::no_length() }; // draws only where stderr is a terminal
    if let Ok(style) = ProgressStyle::with_template("{msg}  {bytes} of {total_bytes}  {bytes_per_sec}") {
        bar.set_style(style);
    }
    let found = sources::load(&sources(data_dir)?, &mut |event| match event {
        Event::Message(message) => bar.suspend(|| note(message)),
        Event::Progress { file, done, total } => {
            if let Some(total) = total {
                bar.set_length(total);
            }
            bar.set_message(format!("Downloading {file}"));
            bar.set_position(done);
        }
    });
    bar.finish_and_clear();
    let found = found?;
    let data = &found.dataset;
    let (train, test) = (thousands(data.train.len()), thousands(data.test.len()));
    match &found.origin {
        Origin::Directory(folder) | Origin::Downloaded(folder) => {
            note(format_args!("Data: {} ({}), {train} training and {test} test images", found.name, folder.display()));
            if data.shape != [1, 28, 28] || data.classes.len() != 10 {
                let ([c, h, w], classes) = (data.shape, data.classes.len());
                let colours = if c == 1 { "grey" } else { "colour" };
                note(format_args!("      {classes} classes, {h}x{w} pixels, {colours}"));
            }
        }
        Origin::Synthetic { reason } => {
            tell(format_args!("Data: SYNTHETIC digits, {train} training and {test} test images drawn by this program"));
            tell(format_args!("      {reason}"));
            warn_if_synthetic(&found);
            tell("      For MNIST: --data-dir FOLDER (or the variable MNIST_DIR) with the four IDX files, gzip or plain.");
        }
    }
    Ok(found)
}

/// Loads the data set that a run with `classes` was begun with: from `data_dir`, or else from where it was. Any other
/// is refused.
pub fn load_again(data_dir: Option<PathBuf>, before: &run::Data, classes: &[String]) -> Result<Found, Failure> {
    let there = before.folder.clone().filter(|folder| sources::is_there(folder));
    let mut found = match (data_dir.or(there), &before.folder) {
        (None, None) => {
            let found = sources::draw("the run was begun with them".into());
            tell("Data: SYNTHETIC digits, as before");
            warn_if_synthetic(&found);
            found
        }
        (folder, _) => load(folder)?,
    };
    let data = &mut found.dataset;
    if data.sha256() != before.sha256 || data.shape != before.shape || data.classes.len() > classes.len() {
        let from = before.folder.as_ref().map(|folder| format!(" from {}", folder.display())).unwrap_or_default();
        let message = format!(
            "the run was begun with other images: {}{from} (SHA-256 {}); name their folder with `--data-dir`",
            before.name, before.sha256
        );
        return Err(Failure::saying(message));
    }
    data.classes = classes.to_vec(); // whatever the folder calls them now
    Ok(found)
}

pub const NOT_MNIST: &str = "These are NOT the MNIST images: loss and accuracy say nothing about MNIST.";

/// Says of a synthetic data set what its accuracy is worth.
pub fn warn_if_synthetic(found: &Found) {
    if is_synthetic(found) {
        tell(format_args!("      {NOT_MNIST}"));
    }
}

pub fn is_synthetic(found: &Found) -> bool {
    matches!(found.origin, Origin::Synthetic { .. })
}
