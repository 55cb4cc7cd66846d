//! Loading the data set, and saying so where it is not MNIST.

use super::output::{note, quiet};
use super::{Failure, tell, thousands};
use indicatif::{ProgressBar, ProgressStyle};
use mnist_wgpu::data::{self, Dataset, Event, Origin, Sources};
use mnist_wgpu::run;
use std::path::PathBuf;

/// Loads the data set, telling on stderr where it comes from.
pub fn load(data_dir: Option<PathBuf>) -> Result<Dataset, Failure> {
    let bar = if quiet() { ProgressBar::hidden() } else { ProgressBar::no_length() }; // draws only where stderr is a terminal
    if let Ok(style) = ProgressStyle::with_template("{msg}  {bytes} of {total_bytes}  {bytes_per_sec}") {
        bar.set_style(style);
    }
    let dataset = data::load(&Sources::from_environment(data_dir), &mut |event| match event {
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
    let dataset = dataset?;
    let (train, test) = (thousands(dataset.train.len()), thousands(dataset.test.len()));
    match &dataset.origin {
        Origin::Directory(folder) | Origin::Downloaded(folder) => {
            note(format_args!("Data: {} ({}), {train} training and {test} test images", dataset.name, folder.display()));
        }
        Origin::Synthetic { reason } => {
            tell(format_args!("Data: SYNTHETIC digits, {train} training and {test} test images drawn by this program"));
            tell(format_args!("      {reason}"));
            warn_if_synthetic(&dataset);
            tell("      For MNIST: --data-dir FOLDER (or the variable MNIST_DIR) with the four IDX files, gzip or plain.");
        }
    }
    Ok(dataset)
}

/// Loads the data set that a run was begun with: from `data_dir`, or else from where it was. Any other is refused.
pub fn load_again(data_dir: Option<PathBuf>, before: &run::Data) -> Result<Dataset, Failure> {
    let there = before.folder.clone().filter(|folder| folder.is_dir());
    let data = match (data_dir.or(there), &before.folder) {
        (None, None) => {
            let data = data::draw("the run was begun with them".into());
            tell("Data: SYNTHETIC digits, as before");
            warn_if_synthetic(&data);
            data
        }
        (folder, _) => load(folder)?,
    };
    if data.sha256() != before.sha256 {
        let from = before.folder.as_ref().map(|folder| format!(" from {}", folder.display())).unwrap_or_default();
        let message = format!(
            "the run was begun with other images: {}{from} (SHA-256 {}); name their folder with `--data-dir`",
            before.name, before.sha256
        );
        return Err(Failure::saying(message));
    }
    Ok(data)
}

pub const NOT_MNIST: &str = "These are NOT the MNIST images: loss and accuracy say nothing about MNIST.";

/// Says of a synthetic data set what its accuracy is worth.
pub fn warn_if_synthetic(dataset: &Dataset) {
    if is_synthetic(dataset) {
        tell(format_args!("      {NOT_MNIST}"));
    }
}

pub fn is_synthetic(dataset: &Dataset) -> bool {
    matches!(dataset.origin, Origin::Synthetic { .. })
}
