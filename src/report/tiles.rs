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

/// Edge of a tile's place and the gaps between places, in units of the drawing.
const EDGE: u32 = 84;
const GAP: u32 = 16;
/// Below a tile.
const CAPTION: u32 = 30;
/// Between two lines of a caption.
const LINE: u32 = 14;
/// Of a caption's letters.
const SIZE: f64 = 11.0;
/// From an arrow's tail to what it leads to, and room for a note.
const ARROW: u32 = 14;
const NOTE: u32 = 34;

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

/// The captions, and the tiles to lay over them: all enlarged by the same whole number, in rows of eight, or of six
/// where names are long.
pub fn sheet(tiles: &[Tile]) -> Result<(Drawing, Vec<Overlay<'_>>), ReportError> {
    let most = |size: fn(&Pixmap) -> u32| tiles.iter().map(|tile| size(&tile.pixels)).max().unwrap_or(1);
    let (widest, highest) = (most(Pixmap::width), most(Pixmap::height));
    let enlarged = (EDGE * DENSITY / widest.max(highest)).max(1);
    let high = (highest * enlarged).div_ceil(DENSITY);
    // Short names stand side by side, an arrow and a note between and beside them; others one under the other.
    let short = |tile: &Tile| {
        let guess = tile.taken_for.as_ref().map_or(0, |guess| 5 + ARROW + text_width(guess, SIZE));
        text_width(&tile.caption, SIZE) + guess + NOTE <= EDGE
    };
    let (across, place, down) = if tiles.iter().all(short) { (8, EDGE, 0) } else { (6, 117, LINE) };
    let wide = place.max((widest * enlarged).div_ceil(DENSITY));
    let at = |index: usize| {
        let (row, column) = (index as u32 / across, index as u32 % across);
        (column * (wide + GAP), row * (high + CAPTION + down))
    };
    let overlays = tiles.iter().enumerate().map(|(index, tile)| {
        let (x, y) = at(index);
        Overlay { x, y, enlarged, pixels: &tile.pixels }
    });
    let captions = tiles.iter().enumerate().map(|(index, tile)| {
        let (left, y) = at(index);
        let text = shortened(&tile.caption, wide - if tile.note.is_empty() { 0 } else { NOTE }, SIZE);
        let arrow = left + if down == 0 { text_width(&text, SIZE) + 5 } else { 0 };
        let taken_for = tile.taken_for.as_ref().map(|guess| shortened(guess, wide - ARROW, SIZE));
        Caption { left, right: left + wide, y: y + high + 15, text, taken_for, arrow, down, note: &tile.note }
    });
    let body = Captions { captions: captions.collect() }.render()?;
    let height = (tiles.len() as u32).div_ceil(across) * (high + CAPTION + down);
    Ok((Drawing { width: across * (wide + GAP) - GAP, height, body }, overlays.collect()))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::picture::check_text;

    #[test]
    fn no_caption_lies_over_another_whatever_its_words_and_its_tile() {
        let long = "W".repeat(200);
        for (width, height) in [(28, 28), (1, 1), (1, 256), (256, 1), (256, 256), (24, 20)] {
            for (truth, guess) in
                [("0", "9"), ("m", "W"), ("boot", "shoe"), (&long, "i"), ("\u{72ac}\u{72ac}\u{72ac}", &long)]
            {
                let tile = |_| Tile {
                    pixels: pixmap(width, height, |_, _| None).unwrap(),
                    caption: truth.into(),
                    taken_for: Some(guess.into()),
                    note: "100%".into(),
                    alt: String::new(),
                };
                let tiles: Vec<Tile> = (0..9).map(tile).collect();
                let (drawing, overlays) = sheet(&tiles).unwrap();
                check_text(&format!("{truth} for {guess}, {width} x {height}"), &drawing);
                let last = &overlays[8];
                assert!(last.y + (height as u32 * last.enlarged).div_ceil(DENSITY) < drawing.height);
            }
        }
    }
}
