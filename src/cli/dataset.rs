//! Loading the data set, and saying so where it is not MNIST.

use super::output::{note, quiet};
use super::{Failure, tell, thousands};
use indicatif::{ProgressBar, ProgressStyle};
use mnist_wgpu::data::{self, Dataset, Event, Origin, Sources};
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

/// Says of a synthetic data set what its accuracy is worth.
pub fn warn_if_synthetic(dataset: &Dataset) {
    if is_synthetic(dataset) {
        tell("      These are NOT the MNIST images: loss and accuracy say nothing about MNIST.");
    }
}

pub fn is_synthetic(dataset: &Dataset) -> bool {
    matches!(dataset.origin, Origin::Synthetic { .. })
}
