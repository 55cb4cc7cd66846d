//! `--show`: a picture of what was found and read.

use super::super::{Failure, target};
use mnist_wgpu::image::Picture;
use mnist_wgpu::reading::Reading;
use mnist_wgpu::report;
use mnist_wgpu::report::seen::{self, Read};
use std::path::Path;

/// What is written.
pub const PICTURE: &str = "the picture";

/// Writes the PNG file `file`: the picture called `title` with its readings.
///
/// # Errors
///
/// A file that cannot be written.
pub fn write(
    file: &Path,
    title: &str,
    picture: &Picture,
    readings: &[Reading],
    shape: [usize; 3],
    classes: &[String],
) -> Result<(), Failure> {
    let read = readings.iter().map(|reading| Read {
        place: reading.place.map(|(place, _)| place),
        sample: &reading.sample,
        shape,
        class: &classes[usize::from(reading.verdict.guess)],
        confidence: reading.verdict.confidence,
        doubtful: reading.doubt.is_some(),
    });
    let reads: Vec<Read> = read.collect();
    let png = seen::png(report::Heading { title, warning: None }, picture, &reads)?;
    target::write(PICTURE, file, &png)
}
