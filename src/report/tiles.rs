//! Small pictures with captions, laid out on a sheet; the page shows them one by one.

use super::ReportError;
use super::picture::{DENSITY, Drawing, Overlay};
use askama::Template;
use resvg::tiny_skia::Pixmap;

/// A small picture, pixel by pixel.
pub struct Tile {
    pub pixels: Pixmap,
    pub caption: String,
    /// What an arrow leads to from the caption, if anything. (The font of picture files has no arrows.)
    pub taken_for: Option<u8>,
    /// Written beside the caption, fainter.
    pub note: String,
    /// What the picture shows, for those who do not see it.
    pub alt: String,
}

const ACROSS: u32 = 8;
/// Edge of a tile's place and the gaps between places, in units of the drawing.
const EDGE: u32 = 84;
const GAP: u32 = 16;
const CAPTION: u32 = 30;

#[derive(Template)]
#[template(path = "report/tiles.svg")]
struct Captions<'a> {
    captions: Vec<Caption<'a>>,
}

struct Caption<'a> {
    left: u32,
    right: u32,
    y: u32,
    text: &'a str,
    taken_for: Option<u8>,
    note: &'a str,
}

/// The captions, and the tiles to lay over them: rows of eight, all enlarged by the same whole number.
pub fn sheet(tiles: &[Tile]) -> Result<(Drawing, Vec<Overlay<'_>>), ReportError> {
    let longest = tiles.iter().map(|tile| tile.pixels.width().max(tile.pixels.height())).max().unwrap_or(1);
    let enlarged = (EDGE * DENSITY / longest).max(1);
    let edge = EDGE.max(longest.div_ceil(DENSITY));
    let place = |index: usize| ((index as u32 % ACROSS) * (edge + GAP), (index as u32 / ACROSS) * (edge + CAPTION));
    let overlays = tiles.iter().enumerate().map(|(index, tile)| {
        let (x, y) = place(index);
        Overlay { x, y, enlarged, pixels: &tile.pixels }
    });
    let captions = tiles.iter().enumerate().map(|(index, tile)| {
        let (left, y) = place(index);
        let right = left + (tile.pixels.width() * enlarged).div_ceil(DENSITY);
        Caption { left, right, y: y + edge + 15, text: &tile.caption, taken_for: tile.taken_for, note: &tile.note }
    });
    let body = Captions { captions: captions.collect() }.render()?;
    let rows = (tiles.len() as u32).div_ceil(ACROSS);
    Ok((Drawing { width: ACROSS * (edge + GAP) - GAP, height: rows * (edge + CAPTION), body }, overlays.collect()))
}

/// A picture of `width` x `height` pixels, transparent where `pixel(x, y)` is none.
pub fn pixmap(width: usize, height: usize, pixel: impl Fn(usize, usize) -> Option<[u8; 3]>) -> Result<Pixmap, ReportError> {
    let (wide, high) = (width as u32, height as u32);
    let mut pixmap = Pixmap::new(wide, high).ok_or(ReportError::TooLarge { width: wide, height: high })?;
    for (place, to) in pixmap.data_mut().chunks_exact_mut(4).enumerate() {
        if let Some([red, green, blue]) = pixel(place % width, place / width) {
            to.copy_from_slice(&[red, green, blue, 255]);
        }
    }
    Ok(pixmap)
}
