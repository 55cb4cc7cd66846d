//! Small pictures with captions, laid out on a sheet; the page shows them one by one.

use super::ReportError;
use super::picture::{DENSITY, Drawing, Overlay, shortened, text_width};
use askama::Template;
use resvg::tiny_skia::Pixmap;

/// A small picture, pixel by pixel.
pub struct Tile {
    pub pixels: Pixmap,
    pub caption: String,
    /// What an arrow leads to from the caption, if anything. (The font of picture files has no arrows.)
    pub taken_for: Option<String>,
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
/// Between two lines of a caption.
const LINE: u32 = 14;
/// Of a caption's letters.
const SIZE: f64 = 11.0;

#[derive(Template)]
#[template(path = "report/tiles.svg")]
struct Captions<'a> {
    captions: Vec<Caption<'a>>,
}

struct Caption<'a> {
    left: u32,
    right: u32,
    y: u32,
    text: String,
    taken_for: Option<String>,
    arrow: u32,
    /// From the caption to what it leads to.
    down: u32,
    note: &'a str,
}

/// The captions, and the tiles to lay over them: rows of eight, all enlarged by the same whole number.
pub fn sheet(tiles: &[Tile]) -> Result<(Drawing, Vec<Overlay<'_>>), ReportError> {
    let longest = tiles.iter().map(|tile| tile.pixels.width().max(tile.pixels.height())).max().unwrap_or(1);
    let enlarged = (EDGE * DENSITY / longest).max(1);
    let edge = EDGE.max(longest.div_ceil(DENSITY));
    // Short names stand side by side, an arrow and a note between and beside them; others one under the other.
    let short = |tile: &Tile| {
        let guess = tile.taken_for.as_ref().map_or(0, |guess| 20 + text_width(guess, SIZE));
        text_width(&tile.caption, SIZE) + guess + 34 <= EDGE
    };
    let caption = if tiles.iter().all(short) { CAPTION } else { CAPTION + LINE };
    let letters = |room: u32| room as usize * 2 / SIZE as usize;
    let place = |index: usize| ((index as u32 % ACROSS) * (edge + GAP), (index as u32 / ACROSS) * (edge + caption));
    let overlays = tiles.iter().enumerate().map(|(index, tile)| {
        let (x, y) = place(index);
        Overlay { x, y, enlarged, pixels: &tile.pixels }
    });
    let captions = tiles.iter().enumerate().map(|(index, tile)| {
        let (left, y) = place(index);
        let right = left + (tile.pixels.width() * enlarged).div_ceil(DENSITY);
        let text = shortened(&tile.caption, letters(edge - 30));
        let (arrow, down) = match caption {
            CAPTION => (left + text_width(&text, SIZE) + 5, 0),
            _ => (left, LINE),
        };
        let taken_for = tile.taken_for.as_ref().map(|guess| shortened(guess, letters(edge - 14)));
        Caption {
            left,
            right: right.max(left + edge * u32::from(down > 0)),
            y: y + edge + 15,
            text,
            taken_for,
            arrow,
            down,
            note: &tile.note,
        }
    });
    let body = Captions { captions: captions.collect() }.render()?;
    let rows = (tiles.len() as u32).div_ceil(ACROSS);
    Ok((Drawing { width: ACROSS * (edge + GAP) - GAP, height: rows * (edge + caption), body }, overlays.collect()))
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
