//! The images that were judged worst.

use super::picture::{self, Drawing, printable, shortened};
use super::tiles::{self, Tile, sheet};
use super::{Heading, Material, ReportError};
use crate::evaluation::Mistake;

/// So many are shown.
pub const MOST: usize = 40;
/// Room for a name in a caption on the page, over the size of its letters.
const NAME: u32 = 14;

/// `mistakes.png`: the worst, which come first.
pub fn png(heading: Heading, material: &Material) -> Result<Vec<u8>, ReportError> {
    let tiles = tiles(material)?;
    let (drawing, overlays) = sheet(&tiles)?;
    let what = match tiles.len() {
        0 => return picture::png(heading, "No mistakes", &Drawing { height: 0, ..drawing }, &[], ""),
        1 => "The only mistake: truth, guess, and how sure of it the network was".to_owned(),
        shown => format!("The {shown} worst mistakes: truth, guess, and how sure of it the network was"),
    };
    picture::png(heading, &what, &drawing, &overlays, "")
}

/// Each as a tile, the worst first.
pub(super) fn tiles(material: &Material) -> Result<Vec<Tile>, ReportError> {
    material.mistakes.iter().take(MOST).map(|(mistake, image)| tile(material, mistake, image)).collect()
}

fn tile(material: &Material, mistake: &Mistake, image: &[u8]) -> Result<Tile, ReportError> {
    let [channels, height, width] = material.shape;
    let name = |class: u16| printable(&material.classes[usize::from(class)]);
    let (truth, guess) = (name(mistake.truth), name(mistake.verdict.guess));
    let value = |x, y, c: usize| image[((c % channels) * height + y) * width + x];
    Ok(Tile {
        pixels: tiles::pixmap(width, height, |x, y| Some([0, 1, 2].map(|c| value(x, y, c))))?,
        note: format!("{:.0}%", 100.0 * mistake.verdict.confidence),
        alt: format!("{truth}, taken for {guess}"),
        caption: shortened(&truth, NAME, 1.0),
        taken_for: Some(shortened(&guess, NAME, 1.0)),
    })
}
