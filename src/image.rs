//! From a picture, as a paint program or a camera makes it, to what a network takes; a digit becomes 28x28 bytes as
//! MNIST's were made.
//!
//! ```text
//! bytes -> decode -> ink (what differs from the paper) -> fit (20x20, centred in 28x28 by mass)
//! ```

mod fit;
mod ink;

use ::image::imageops::{FilterType, resize, thumbnail};
use ::image::metadata::Orientation;
use ::image::{DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits, Rgb, RgbImage};
use std::io::Cursor;

/// Rows and columns of a digit, and its pixels.
const ROWS: usize = 28;
const COLS: usize = 28;
const PIXELS: usize = ROWS * COLS;

/// Pixels that a picture may have: more than any camera's, and decoded still a fraction of a laptop's memory.
pub const MOST_PIXELS: u64 = 120_000_000;
/// A larger picture is first scaled down until its longer side has this many pixels; a digit needs twenty.
const WORKING_SIDE: u32 = 1024;

/// Why a picture gives no digit. Each text says what was expected, what was found and what to do, not which file it
/// was.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    #[error("expected a PNG or JPEG picture, found {found}; save the picture as PNG")]
    Format { found: String },

    #[error("expected a whole {format} picture, found a damaged one ({source}); save it again")]
    Damaged { format: &'static str, source: ImageError },

    #[error("expected a picture of at most {MOST_PIXELS} pixels, found {width}x{height}; scale it down")]
    Size { width: u32, height: u32 },

    #[error("expected a digit, found a blank page of {width}x{height} pixels; make the digit stand out from the paper")]
    Blank { width: u32, height: u32 },
}

/// What a network for samples of shape `shape`, (C, H, W), takes of the PNG or JPEG file `bytes`: C * H * W bytes. For
/// (1, 28, 28) that is the digit in the picture, for all other shapes the picture itself, scaled to H x W; in grey if C
/// is 1.
///
/// # Errors
///
/// What is not such a picture, too large, or shows no digit: see [`Fault`].
pub fn sample(bytes: &[u8], shape: [usize; 3]) -> Result<Vec<u8>, Fault> {
    if shape == [1, ROWS, COLS] {
        return digit(bytes).map(Vec::from);
    }
    let [channels, height, width] = shape;
    let picture = shrink(on_ground(&decode(bytes)?, 255));
    let scaled = DynamicImage::from(resize(&picture, width as u32, height as u32, FilterType::Triangle));
    Ok(match channels {
        1 => scaled.to_luma8().into_raw(),
        _ => (0..channels).flat_map(|c| scaled.as_bytes().iter().skip(c).step_by(3).copied()).collect(),
    })
}

/// The digit in the PNG or JPEG file `bytes`, as (28, 28) bytes, row by row, 0 for paper to 255 for ink. Dark on light
/// or light on dark makes no difference; of a picture that is partly transparent, what lies on the transparent ground
/// counts.
///
/// # Errors
///
/// What is not such a picture, too large, or shows nothing: see [`Fault`].
pub fn digit(bytes: &[u8]) -> Result<[u8; PIXELS], Fault> {
    digit_of(&decode(bytes)?)
}

/// The same of a picture that is decoded already.
pub fn digit_of(picture: &DynamicImage) -> Result<[u8; PIXELS], Fault> {
    let (width, height) = (picture.width(), picture.height());
    // White ink on nothing is invisible on white, black ink on black.
    for ground in [255, 0] {
        let picture = shrink(on_ground(picture, ground));
        if let Some(digit) = as_mnist(&picture) {
            return Ok(digit);
        }
        if let Some(digit) = ink::ink(&picture).and_then(|ink| fit::fit(&ink)) {
            return Ok(digit);
        }
    }
    Err(Fault::Blank { width, height })
}

/// Values of a picture, one per pixel, row by row.
struct Plane {
    width: usize,
    height: usize,
    /// 0 for paper to 1 for ink.
    values: Vec<f32>,
}

fn decode(bytes: &[u8]) -> Result<DynamicImage, Fault> {
    let format = ::image::guess_format(bytes).ok();
    let name = match format {
        Some(ImageFormat::Png) => "PNG",
        Some(ImageFormat::Jpeg) => "JPEG",
        Some(other) => return Err(Fault::Format { found: format!("a {other:?} file") }),
        None if bytes.is_empty() => return Err(Fault::Format { found: "nothing in it".into() }),
        None => return Err(Fault::Format { found: "something else".into() }),
    };
    let damaged = |source| Fault::Damaged { format: name, source };
    let reader = || ImageReader::new(Cursor::new(bytes)).with_guessed_format();
    let mut reader = reader().map_err(|error| damaged(error.into()))?;
    let mut limits = Limits::default();
    limits.max_alloc = Some(8 * MOST_PIXELS + (64 << 20)); // four channels of 16 bits, and what the file says of itself
    reader.limits(limits);
    let mut decoder = reader.into_decoder().map_err(damaged)?;
    let (width, height) = decoder.dimensions();
    if u64::from(width) * u64::from(height) > MOST_PIXELS {
        return Err(Fault::Size { width, height });
    }
    // A picture is not worse for a broken note of how the camera was held.
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let mut picture = DynamicImage::from_decoder(decoder).map_err(damaged)?;
    picture.apply_orientation(orientation);
    Ok(picture)
}

/// The picture laid on a grey of value `ground`.
fn on_ground(picture: &DynamicImage, ground: u8) -> RgbImage {
    if !picture.color().has_alpha() {
        return picture.to_rgb8();
    }
    let picture = picture.to_rgba8();
    RgbImage::from_fn(picture.width(), picture.height(), |x, y| {
        let [colour @ .., alpha] = picture.get_pixel(x, y).0.map(u32::from);
        Rgb(colour.map(|value| ((value * alpha + u32::from(ground) * (255 - alpha) + 127) / 255) as u8))
    })
}

fn shrink(picture: RgbImage) -> RgbImage {
    let (width, height) = picture.dimensions();
    let longer = width.max(height);
    if longer <= WORKING_SIDE {
        return picture;
    }
    let scaled = |side: u32| (u64::from(side) * u64::from(WORKING_SIDE) / u64::from(longer)).max(1) as u32;
    thumbnail(&picture, scaled(width), scaled(height))
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

#[cfg(test)]
mod tests;
