//! The digits that were judged worst.

use super::picture::{self, Drawing};
use super::tiles::{self, Tile, sheet};
use super::{Heading, ReportError};
use crate::data::{COLS, PIXELS, ROWS};
use crate::evaluation::Mistake;

/// So many are shown.
pub const MOST: usize = 40;

/// `mistakes.png`: the worst of `mistakes`, which begin with the worst.
pub fn png(heading: Heading, mistakes: &[(Mistake, [u8; PIXELS])]) -> Result<Vec<u8>, ReportError> {
    let tiles = tiles(mistakes)?;
    let (drawing, overlays) = sheet(&tiles)?;
    let what = match tiles.len() {
        0 => return picture::png(heading, "No mistakes", &Drawing { height: 0, ..drawing }, &[]),
        1 => "The only mistake: truth, guess, and how sure of it the network was".to_owned(),
        shown => format!("The {shown} worst mistakes: truth, guess, and how sure of it the network was"),
    };
    picture::png(heading, &what, &drawing, &overlays)
}

/// Each as a tile, the worst first.
pub(super) fn tiles(mistakes: &[(Mistake, [u8; PIXELS])]) -> Result<Vec<Tile>, ReportError> {
    mistakes.iter().take(MOST).map(|(mistake, image)| tile(mistake, image)).collect()
}

fn tile(mistake: &Mistake, image: &[u8; PIXELS]) -> Result<Tile, ReportError> {
    let Mistake { truth, verdict, .. } = mistake;
    Ok(Tile {
        pixels: tiles::pixmap(COLS, ROWS, |x, y| Some([image[y * COLS + x]; 3]))?,
        caption: truth.to_string(),
        taken_for: Some(verdict.guess),
        note: format!("{:.0}%", 100.0 * verdict.confidence),
        alt: format!("a {truth}, taken for a {}", verdict.guess),
    })
}
