//! From a picture, as a paint program or a camera makes it, to what a network takes; a digit becomes 28x28 bytes as
//! MNIST's were made.
//!
//! ```text
//! bytes -> decode (at most 2048 pixels a side) -> strokes (what is thin and stands out) -> find (the digits among
//!       them) -> fit (20x20, centred in 28x28 by mass)
//! ```

mod decode;
mod find;
mod fit;
mod parts;
mod strokes;

pub use decode::{MOST_PIXELS, Picture};

use crate::foreign::Foreign;
use ::image::imageops::{FilterType, replace, resize};
use ::image::{Rgb, RgbImage};
use find::Glyph;

/// Extensions of the names of files that are read, and of pictures of other kinds.
pub const EXTENSIONS: [&str; 5] = ["png", "jpg", "jpeg", "jpe", "jfif"];
pub const OTHER_EXTENSIONS: [&str; 10] = ["heic", "heif", "avif", "webp", "gif", "bmp", "tif", "tiff", "svg", "pdf"];

/// Rows and columns of a digit, and its pixels.
const ROWS: usize = 28;
const COLS: usize = 28;
const PIXELS: usize = ROWS * COLS;

/// Why a picture gives no digit. Each text says what was expected, what was found and what to do, not which file it
/// was.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    #[error("expected a PNG or JPEG picture, found {found}; save the picture as PNG")]
    Format { found: String },

    #[error("expected a PNG or JPEG picture, found {0}")]
    Foreign(Foreign),

    #[error("expected a whole {format} picture, found a damaged one ({found}); save it again")]
    Damaged { format: &'static str, found: String },

    #[error("expected a picture of at most {MOST_PIXELS} pixels, found {width}x{height}; scale it down")]
    Size { width: u32, height: u32 },

    #[error(
        "expected rows in their order, found {form} of {width}x{height} pixels, which takes too much memory; save it as plain PNG"
    )]
    Held { form: &'static str, width: u32, height: u32 },

    #[error("expected a digit, found a blank page of {width}x{height} pixels; make the digit stand out from the paper")]
    Blank { width: u32, height: u32 },
}

/// A digit that was found in a picture.
#[derive(Clone, Debug, PartialEq)]
pub struct Digit {
    /// Where it stands: left, top, width and height, in the picture's own pixels.
    pub place: [u32; 4],
    /// The line in which it stands, from 0.
    pub line: usize,
    /// (28, 28) bytes as MNIST's, row by row, 0 for paper to 255 for ink.
    pub sample: [u8; PIXELS],
    /// The two that it may be where it is wide, as two digits are that touch; else empty.
    pub halves: Vec<Digit>,
    /// Whether it stands apart, as digits do. If not, it is all that stands out from the paper, whatever that is.
    pub apart: bool,
}

/// The digits in a picture, at least one, as one reads them: line by line from left to right. Dark on light or light on
/// dark makes no difference; of a picture that is partly transparent, what lies on the transparent ground counts.
///
/// # Errors
///
/// [`Fault::Blank`], where nothing stands out.
pub fn digits(picture: &Picture) -> Result<Vec<Digit>, Fault> {
    // White ink on nothing is invisible on white, black ink on black.
    let grounds: &[u8] = if picture.is_opaque() { &[255] } else { &[255, 0] };
    for &ground in grounds {
        let page = picture.on_ground(ground);
        if let Some(sample) = as_mnist(&page) {
            let place = [0, 0, COLS as u32, ROWS as u32];
            return Ok(vec![Digit { place, line: 0, sample, halves: Vec::new(), apart: true }]);
        }
        let mut glyphs = find::find(&page);
        let apart = !glyphs.is_empty();
        if !apart {
            glyphs.extend(find::everything(&page));
        }
        let of_glyph = |glyph: &Glyph| {
            let halves = glyph.halves();
            let halves: Vec<Digit> = halves.iter().flatten().filter_map(|half| digit(picture, half, apart)).collect();
            Some(Digit { halves: if halves.len() == 2 { halves } else { Vec::new() }, ..digit(picture, glyph, apart)? })
        };
        let digits: Vec<Digit> = glyphs.iter().filter_map(of_glyph).collect();
        if !digits.is_empty() {
            return Ok(digits);
        }
    }
    let [width, height] = picture.size;
    Err(Fault::Blank { width, height })
}

fn digit(picture: &Picture, Glyph { frame, line, ink }: &Glyph, apart: bool) -> Option<Digit> {
    let scaled = |side: usize, scale: f64| (side as f64 * scale).round() as u32;
    let [across, down] = picture.scale();
    let place =
        [scaled(frame.left, across), scaled(frame.top, down), scaled(frame.width(), across), scaled(frame.height(), down)];
    Some(Digit { place, line: *line, sample: fit::fit(ink)?, halves: Vec::new(), apart })
}

/// Whether a file that begins with these bytes is a picture, of whatever kind.
pub fn is_picture(beginning: &[u8]) -> bool {
    ::image::guess_format(beginning).is_ok() || decode::is_heic(beginning)
}

/// What a network for samples of shape `shape`, (C, H, W), takes of a whole picture, and learns of one: C * H * W
/// bytes, in grey if C is 1. The picture is scaled to fit H x W, its sides in their proportion, and lies on the colour
/// of its edge: of each channel the median there. Where it is transparent it lies on white; on black if nothing could
/// be seen of it.
pub fn whole(picture: &Picture, [channels, height, width]: [usize; 3]) -> Vec<u8> {
    let page = match picture.on_ground(255) {
        blank if !picture.is_opaque() && blank.pixels().all(|pixel| pixel == blank.get_pixel(0, 0)) => picture.on_ground(0),
        page => page,
    };
    let (height, width) = (height as u32, width as u32);
    let [across, down] = [(width, page.width()), (height, page.height())].map(|(to, from)| f64::from(to) / f64::from(from));
    let scaled = |side: u32, most: u32| ((f64::from(side) * across.min(down)).round() as u32).clamp(1, most);
    let (columns, rows) = (scaled(page.width(), width), scaled(page.height(), height));
    let ground = edge(&page);
    let inner = if page.dimensions() == (columns, rows) { page } else { resize(&page, columns, rows, FilterType::Triangle) };
    let mut framed = RgbImage::from_pixel(width, height, ground);
    replace(&mut framed, &inner, ((width - columns) / 2).into(), ((height - rows) / 2).into());
    match channels {
        1 => framed.pixels().map(|pixel| grey(pixel.0)).collect(),
        _ => (0..channels).flat_map(|c| framed.as_raw().iter().skip(c).step_by(3).copied()).collect(),
    }
}

/// How light a colour is.
pub fn grey(colour: [u8; 3]) -> u8 {
    let [red, green, blue] = colour.map(u32::from);
    ((2126 * red + 7152 * green + 722 * blue) / 10_000) as u8
}

/// The middle value of each channel along the edge.
fn edge(picture: &RgbImage) -> Rgb<u8> {
    let (width, height) = picture.dimensions();
    let rows = (0..width).flat_map(|x| [(x, 0), (x, height - 1)]);
    let columns = (0..height).flat_map(|y| [(0, y), (width - 1, y)]);
    let places: Vec<(u32, u32)> = rows.chain(columns).collect();
    Rgb([0, 1, 2].map(|c| {
        let mut values: Vec<u8> = places.iter().map(|&(x, y)| picture.get_pixel(x, y).0[c]).collect();
        let middle = values.len() / 2;
        *values.select_nth_unstable(middle).1
    }))
}

/// Values of a picture, one per pixel, row by row.
struct Plane {
    width: usize,
    height: usize,
    /// 0 for paper to 1 for ink.
    values: Vec<f32>,
}

/// The picture itself, if it has MNIST's form already: white on black, at most 20x20, and with its centre of mass in
/// the middle. To scale it again could only blur it.
fn as_mnist(picture: &RgbImage) -> Option<[u8; PIXELS]> {
    if picture.dimensions() != (COLS as u32, ROWS as u32) || picture.pixels().any(|&Rgb([r, g, b])| r != g || g != b) {
        return None;
    }
    let digit: [u8; PIXELS] = std::array::from_fn(|i| picture.as_raw()[3 * i]);
    fit::is_fitted(&digit).then_some(digit)
}

/// How strong the ink is: the middle of the values that are more than half of the largest.
fn strength(values: &[f32]) -> f32 {
    let most = values.iter().copied().fold(0.0, f32::max);
    median(values.iter().copied().filter(|&value| value > most / 2.0).collect())
}

/// The middle one; 0 of none.
fn median(mut values: Vec<f32>) -> f32 {
    if values.is_empty() {
        return 0.0;
    }
    let middle = values.len() / 2;
    *values.select_nth_unstable_by(middle, f32::total_cmp).1
}
