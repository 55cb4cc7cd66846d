//! A picture with the digits that were found in it, and below it what the network saw of each.

use super::picture::{self, DENSITY, Drawing, Overlay, printable};
use super::tiles::{self, Tile, sheet};
use super::{Heading, ReportError};
use crate::image::Picture;
use image::imageops::{FilterType, resize};
use std::fmt::Write;

/// The longer side of the picture that is shown, in units at most and at least, as far as whole pixels allow.
const LARGEST: u32 = 660;
const SMALLEST: u32 = 240;
/// Above the picture, for what is written over the uppermost digits; and between it and what the network saw.
const ROOM: u32 = 14;
const GAP: u32 = 20;

/// A digit, and what was said of it.
pub struct Read<'a> {
    /// Left, top, width and height, in the picture's pixels; none for the whole picture.
    pub place: Option<[u32; 4]>,
    /// (C, H, W) bytes.
    pub sample: &'a [u8],
    pub shape: [usize; 3],
    pub class: &'a str,
    /// 0 to 1.
    pub confidence: f64,
    pub doubtful: bool,
}

/// A PNG file of it: clear readings are framed in blue, doubtful ones in orange and dashed.
pub fn png(heading: Heading, picture: &Picture, reads: &[Read]) -> Result<Vec<u8>, ReportError> {
    let page = picture.on_ground(255);
    let longer = page.width().max(page.height());
    let page = match longer > LARGEST * DENSITY {
        true => {
            let scaled = |side: u32| (side * LARGEST * DENSITY / longer).max(1);
            resize(&page, scaled(page.width()), scaled(page.height()), FilterType::Triangle)
        }
        false => page,
    };
    let enlarged = (SMALLEST * DENSITY / page.width().max(page.height())).max(1);
    let pixel = |x: usize, y: usize| Some(page.get_pixel(x as u32, y as u32).0);
    let pixels = tiles::pixmap(page.width() as usize, page.height() as usize, pixel)?;
    let [width, height] = [page.width(), page.height()].map(|side| (side * enlarged).div_ceil(DENSITY));
    let framed = frames(picture, [width, height], reads);

    let tiles = reads.iter().map(tile).collect::<Result<Vec<Tile>, ReportError>>()?;
    let (captions, seen) = sheet(&tiles)?;
    let drawing = Drawing { width, height: ROOM + height, body: String::new() }.above(captions, GAP);
    let page = Overlay { x: 0, y: ROOM, enlarged, pixels: &pixels };
    let seen = seen.into_iter().map(|overlay| Overlay { y: overlay.y + ROOM + height + GAP, ..overlay });
    let overlays: Vec<Overlay> = std::iter::once(page).chain(seen).collect();
    picture::png(heading, "What was found, and what the network saw of it", &drawing, &overlays, &framed)
}

fn tile(read: &Read) -> Result<Tile, ReportError> {
    let [channels, height, width] = read.shape;
    let value = |x, y, c: usize| read.sample[((c % channels) * height + y) * width + x];
    let class = printable(read.class);
    Ok(Tile {
        pixels: tiles::pixmap(width, height, |x, y| Some([0, 1, 2].map(|c| value(x, y, c))))?,
        note: format!("{:.0}%", 100.0 * read.confidence),
        alt: class.clone(),
        caption: if read.doubtful { format!("{class}?") } else { class },
        taken_for: None,
    })
}

/// A frame around each digit, and above it what it was read as.
fn frames(picture: &Picture, [width, height]: [u32; 2], reads: &[Read]) -> String {
    let [across, down] = [width, height].map(f64::from);
    let [columns, rows] = picture.size.map(f64::from);
    let mut svg = String::new();
    for read in reads {
        let Some([left, top, wide, high]) = read.place.map(|place| place.map(f64::from)) else { continue };
        let (x, y) = (left * across / columns - 1.5, top * down / rows + f64::from(ROOM) - 1.5);
        let (wide, high) = (wide * across / columns + 3.0, high * down / rows + 3.0);
        let (frame, letter, mark) = if read.doubtful { ("val dashed", "wrong", "?") } else { ("train", "right", "") };
        let class = read.class.replace('&', "&amp;").replace('<', "&lt;");
        let (middle, above) = (x + wide / 2.0, y - 3.0);
        let _ = write!(
            svg,
            r#"<rect class="{frame}" x="{x:.1}" y="{y:.1}" width="{wide:.1}" height="{high:.1}" rx="2"/>
<text class="{letter} middle" x="{middle:.1}" y="{above:.1}">{}{mark}</text>"#,
            printable(&class)
        );
    }
    svg
}
