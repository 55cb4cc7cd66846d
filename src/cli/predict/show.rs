//! `--show`: a picture of what was found and read.

use super::super::Failure;
use super::pictures;
use mnist_wgpu::reading::Reading;
use mnist_wgpu::report::seen::{self, Read};
use mnist_wgpu::{files, report};
use std::path::Path;

/// Writes the PNG file `file`: the picture `path` with its readings.
///
/// # Errors
///
/// stdin, which cannot be read twice; a file that cannot be written.
pub fn write(file: &Path, path: &Path, readings: &[Reading], shape: [usize; 3], classes: &[String]) -> Result<(), Failure> {
    let picture = pictures::open(path).map_err(|trouble| Failure::saying(format!("{}: {trouble}", path.display())))?;
    let read = readings.iter().map(|reading| Read {
        place: reading.place.map(|(place, _)| place),
        sample: &reading.sample,
        shape,
        class: &classes[usize::from(reading.verdict.guess)],
        confidence: reading.verdict.confidence,
        doubtful: reading.doubt.is_some(),
    });
    let reads: Vec<Read> = read.collect();
    let title = path.display().to_string();
    let png = seen::png(report::Heading { title: &title, warning: None }, &picture, &reads)?;
    files::replace(file, &png).map_err(|error| Failure::saying(format!("--show: cannot write {}: {error}", file.display())))
}
