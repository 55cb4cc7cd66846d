//! Pictures of a run, and the page that shows them; and those of several runs, and of a search for a learning rate.
//!
//! [`write()`] makes all of it. Each picture can also be had by itself: [`curves::png`], [`confusion::png`],
//! [`mistakes::png`], [`filters::png`]. All are drawn as SVG (`templates/report/`), which the page holds inline, so
//! that it is crisp at any size and follows its reader's colour scheme; `picture` makes files of it.

mod augmented;
mod axis;
pub mod comparison;
pub mod confusion;
pub mod curves;
pub mod filters;
pub mod lr_find;
pub mod mistakes;
pub mod page;
mod picture;
pub mod seen;
mod theme;
mod tiles;

use crate::evaluation::{Confusion, Mistake};
use crate::files;
use crate::history::Row;
use std::path::{Path, PathBuf};

/// What a report shows.
pub struct Material<'a> {
    /// The run's name.
    pub title: &'a str,
    /// What must be said loudly, if anything: that the digits were synthetic.
    pub warning: Option<&'a str>,
    /// Settings, device, data set, versions: names and values, in the order in which they are shown.
    pub facts: &'a [(String, String)],
    /// At least one epoch.
    pub history: &'a [Row],
    /// Loss and accuracy on the test images.
    pub test_loss: f64,
    pub test_accuracy: f64,
    /// Names of the classes, as many as the matrix has.
    pub classes: &'a [String],
    pub confusion: &'a Confusion,
    /// Of an image, (C, H, W).
    pub shape: [usize; 3],
    /// The worst first, each with its image.
    pub mistakes: &'a [(Mistake, Vec<u8>)],
    /// Of a few training images: each as it is, then as training moved it; none without augmentation.
    pub augmented: &'a [Vec<Vec<u8>>],
    /// The first layer's kernels, (count, channels, height, width); none where the network does not begin with a
    /// convolution.
    pub filters: Option<Filters<'a>>,
}

/// See [`Material::filters`].
#[derive(Clone, Copy)]
pub struct Filters<'a> {
    pub shape: [usize; 4],
    pub weights: &'a [f32],
}

/// What stands above a picture.
#[derive(Clone, Copy)]
pub struct Heading<'a> {
    pub title: &'a str,
    /// See [`Material::warning`].
    pub warning: Option<&'a str>,
}

/// The files of a report.
pub const FILES: [&str; 5] = ["curves.png", "confusion.png", "mistakes.png", "filters.png", "report.html"];

/// A report that cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    #[error("cannot write {path}: {source}; make room there, or name a folder that can be written")]
    Write { path: PathBuf, source: std::io::Error },

    #[error("a picture of {width} x {height} is too large to draw, or has no pixels")]
    TooLarge { width: u32, height: u32 },

    #[error("cannot encode a picture as PNG: {0}")]
    Encode(String),

    #[error("cannot draw a picture: {0}")]
    Draw(#[from] resvg::usvg::Error),

    #[error("cannot fill in a template: {0}")]
    Template(#[from] askama::Error),
}

/// Writes `curves.png`, `confusion.png`, `mistakes.png`, `filters.png` and `report.html` into `folder`, which is made
/// if it is not there. Each file is at any time either what it was or complete.
///
/// # Errors
///
/// A file that cannot be written is named. Nothing is written before everything is drawn.
pub fn write(folder: &Path, material: &Material) -> Result<(), ReportError> {
    let heading = Heading { title: material.title, warning: material.warning };
    let drawn = [
        curves::png(heading, material.history)?,
        confusion::png(heading, material)?,
        mistakes::png(heading, material)?,
        filters::png(heading, material.filters)?,
        page::html(material)?.into_bytes(),
    ];
    for (name, bytes) in FILES.iter().zip(drawn) {
        let path = folder.join(name);
        files::replace(&path, &bytes).map_err(|source| ReportError::Write { path, source })?;
    }
    Ok(())
}

/// A share as people read it; a dash for none.
fn percent(share: Option<f64>, decimals: usize) -> String {
    share.map_or("–".to_owned(), |share| format!("{:.decimals$}%", 100.0 * share))
}

/// A number as people read it: with an exponent where it is too large for anything else.
fn number(value: f64, decimals: usize) -> String {
    if value.abs() < 1e6 { format!("{value:.decimals$}") } else { format!("{value:.1e}").replace(".0e", "e") }
}
