//! From a file's bytes to a picture of at most [`WORKING_SIDE`] pixels a side. A larger picture is scaled down while it
//! is decoded, PNG row by row and JPEG by the decoder itself: a phone's 200 megapixels never lie in memory.

use super::Fault;
use crate::foreign;
use ::image::metadata::Orientation;
use ::image::{DynamicImage, ImageFormat, Rgb, RgbImage, RgbaImage, guess_format};
use jpeg_decoder::{CodingProcess, PixelFormat};
use png::{ColorType, Transformations};
use std::io::Cursor;

/// Pixels that a picture may have: more than any camera's, and decoded in seconds.
pub const MOST_PIXELS: u64 = 500_000_000;
/// Bytes that a decoder may hold of a picture whose rows do not come in order: an interlaced PNG, a progressive JPEG.
const MOST_HELD: u64 = 400 << 20;
/// The longer side of what is looked at, at most. Of a page that many pixels across, digits a hundredth as high are
/// still read.
const WORKING_SIDE: u32 = 2048;

/// A picture as it is looked at, the right way up.
pub struct Picture {
    /// Red, green and blue, each times the opacity, and the opacity.
    pixels: RgbaImage,
    /// Columns and rows of the picture in the file, the right way up.
    pub size: [u32; 2],
}

impl Picture {
    /// Of pixels in memory.
    ///
    /// # Errors
    ///
    /// What has too many pixels.
    pub fn of(picture: &DynamicImage) -> Result<Self, Fault> {
        let mut shrinker = Shrinker::new(picture.width(), picture.height())?;
        let rgba = picture.to_rgba8();
        rgba.rows().for_each(|row| shrinker.row(row.map(|pixel| pixel.0)));
        Ok(shrinker.finish([rgba.width(), rgba.height()], None))
    }

    /// Decodes the PNG or JPEG file `bytes`.
    ///
    /// # Errors
    ///
    /// What is no such file, damaged, or too large.
    pub fn decode(bytes: &[u8]) -> Result<Self, Fault> {
        match guess_format(bytes) {
            Ok(ImageFormat::Png) => decode_png(bytes),
            Ok(ImageFormat::Jpeg) => decode_jpeg(bytes),
            Ok(other) => Err(Fault::Format { found: format!("a {} picture", format!("{other:?}").to_uppercase()) }),
            Err(_) => Err(fault(bytes)),
        }
    }

    /// Columns and rows of the picture in the PNG or JPEG file `bytes`, the right way up, by what the file says of
    /// itself.
    ///
    /// # Errors
    ///
    /// As [`Picture::decode`], but for what comes to light only in the pixels.
    pub fn size_of(bytes: &[u8]) -> Result<[u32; 2], Fault> {
        let (width, height, orientation) = match guess_format(bytes) {
            Ok(ImageFormat::Png) => {
                let reader = png_decoder(bytes).read_info().map_err(damaged_png)?;
                let info = reader.info();
                (info.width, info.height, info.exif_metadata.as_deref().and_then(Orientation::from_exif_chunk))
            }
            Ok(ImageFormat::Jpeg) => {
                let mut decoder = jpeg_decoder::Decoder::new(bytes);
                decoder.read_info().map_err(damaged_jpeg)?;
                let info = decoder.info().ok_or_else(no_size)?;
                (info.width.into(), info.height.into(), decoder.exif_data().and_then(Orientation::from_exif_chunk))
            }
            _ => return Self::decode(bytes).map(|picture| picture.size),
        };
        let turned = matches!(
            orientation,
            Some(Orientation::Rotate90 | Orientation::Rotate270 | Orientation::Rotate90FlipH | Orientation::Rotate270FlipH)
        );
        Ok(if turned { [height, width] } else { [width, height] })
    }

    /// The picture laid on a grey of value `ground`.
    pub fn on_ground(&self, ground: u8) -> RgbImage {
        RgbImage::from_fn(self.pixels.width(), self.pixels.height(), |x, y| {
            let [colour @ .., opacity] = self.pixels.get_pixel(x, y).0;
            let behind = ((u32::from(ground) * u32::from(255 - opacity) + 127) / 255) as u8;
            Rgb(colour.map(|value| value.saturating_add(behind)))
        })
    }

    /// Whether anything can be seen through it.
    pub(super) fn is_opaque(&self) -> bool {
        self.pixels.pixels().all(|pixel| pixel.0[3] == 255)
    }

    /// Pixels of the file's picture to one of this, across and down.
    pub(super) fn scale(&self) -> [f64; 2] {
        let [width, height] = self.size.map(f64::from);
        [width / f64::from(self.pixels.width()), height / f64::from(self.pixels.height())]
    }
}

/// As iPhones make them.
pub fn is_heic(bytes: &[u8]) -> bool {
    matches!(bytes, [_, _, _, _, b'f', b't', b'y', b'p', b'h' | b'm', ..])
}

/// What is wrong with a file that is no picture of a kind which `image` knows.
fn fault(bytes: &[u8]) -> Fault {
    let found = match bytes {
        [] => "nothing in it",
        _ if is_heic(bytes) => "a HEIC picture",
        _ if bytes.starts_with(b"%PDF") => "a PDF document",
        _ => match foreign::known(bytes) {
            Some(file) => return Fault::Foreign(file),
            None => "something else",
        },
    };
    Fault::Format { found: found.into() }
}

/// The mean of each square of pixels, as rows come in.
struct Shrinker {
    width: u32,
    /// Rows and columns of a square.
    step: u32,
    /// Of the rows that have come since the last one that is done: each square's sums of the colours times the opacity,
    /// and of the opacity, at most 255 * 255 a pixel.
    sums: Vec<[u64; 4]>,
    rows: u32,
    done: Vec<u8>,
}

impl Shrinker {
    fn new(width: u32, height: u32) -> Result<Self, Fault> {
        if u64::from(width) * u64::from(height) > MOST_PIXELS {
            return Err(Fault::Size { width, height });
        }
        let step = width.max(height).div_ceil(WORKING_SIDE).max(1);
        let sums = vec![[0; 4]; width.div_ceil(step) as usize];
        Ok(Self { width, step, sums, rows: 0, done: Vec::new() })
    }

    /// Takes the next row, of red, green, blue and opacity each.
    fn row(&mut self, pixels: impl Iterator<Item = [u8; 4]>) {
        for (x, [colour @ .., opacity]) in pixels.enumerate() {
            let sums = &mut self.sums[x / self.step as usize];
            let opacity = u64::from(opacity);
            for (sum, value) in sums.iter_mut().zip(colour) {
                *sum += u64::from(value) * opacity;
            }
            sums[3] += 255 * opacity;
        }
        self.rows += 1;
        if self.rows == self.step {
            self.end_squares();
        }
    }

    fn end_squares(&mut self) {
        let (step, last) = (self.step, self.sums.len() as u32 - 1);
        for (x, sums) in (0..).zip(&mut self.sums) {
            let columns = if x == last { self.width - last * step } else { step };
            let whole = 255 * u64::from(columns * self.rows);
            self.done.extend(std::mem::take(sums).map(|sum| ((sum + whole / 2) / whole) as u8));
        }
        self.rows = 0;
    }

    /// The picture, which has `whole` columns and rows in its file and lies there by `orientation`.
    fn finish(mut self, whole: [u32; 2], orientation: Option<Orientation>) -> Picture {
        if self.rows > 0 {
            self.end_squares();
        }
        let (columns, rows) = (self.sums.len() as u32, (self.done.len() / 4 / self.sums.len()) as u32);
        let pixels = RgbaImage::from_raw(columns, rows, self.done).unwrap_or_default();
        let mut picture = DynamicImage::from(pixels);
        picture.apply_orientation(orientation.unwrap_or(Orientation::NoTransforms));
        let turned = (picture.width(), picture.height()) != (columns, rows);
        let [width, height] = whole;
        Picture { size: if turned { [height, width] } else { whole }, pixels: picture.into_rgba8() }
    }
}

fn png_decoder(bytes: &[u8]) -> png::Decoder<Cursor<&[u8]>> {
    let mut decoder = png::Decoder::new_with_limits(Cursor::new(bytes), png::Limits { bytes: 64 << 20 });
    decoder.set_transformations(Transformations::normalize_to_color8());
    decoder
}

fn damaged_png(error: png::DecodingError) -> Fault {
    Fault::Damaged { format: "PNG", found: error.to_string() }
}

fn damaged_jpeg(error: jpeg_decoder::Error) -> Fault {
    Fault::Damaged { format: "JPEG", found: error.to_string() }
}

fn no_size() -> Fault {
    Fault::Damaged { format: "JPEG", found: "it does not say how large it is".into() }
}

fn decode_png(bytes: &[u8]) -> Result<Picture, Fault> {
    let damaged = damaged_png;
    let mut reader = png_decoder(bytes).read_info().map_err(damaged)?;
    let info = reader.info();
    let (width, height, interlaced) = (info.width, info.height, info.interlaced);
    // A picture is not worse for a broken note of how the camera was held.
    let orientation = info.exif_metadata.as_deref().and_then(Orientation::from_exif_chunk);
    let mut shrinker = Shrinker::new(width, height)?;
    let (colour, _) = reader.output_color_type();
    let pixel = move |value: &[u8]| match *value {
        [grey] => opaque(grey),
        [grey, opacity] => [grey, grey, grey, opacity],
        [red, green, blue] => [red, green, blue, 255],
        [red, green, blue, opacity, ..] => [red, green, blue, opacity],
        [] => [0; 4],
    };
    let samples = match colour {
        ColorType::Grayscale | ColorType::Indexed => 1,
        ColorType::GrayscaleAlpha => 2,
        ColorType::Rgb => 3,
        ColorType::Rgba => 4,
    };
    if interlaced {
        let held = u64::from(width) * u64::from(height) * samples as u64;
        if held > MOST_HELD {
            return Err(Fault::Held { form: "interlaced PNG", width, height });
        }
        let mut whole = vec![0; held as usize];
        reader.next_frame(&mut whole).map_err(damaged)?;
        let rows = whole.chunks_exact(width as usize * samples);
        rows.for_each(|row| shrinker.row(row.chunks_exact(samples).map(pixel)));
    } else {
        while let Some(row) = reader.next_row().map_err(damaged)? {
            shrinker.row(row.data().chunks_exact(samples).map(pixel));
        }
    }
    Ok(shrinker.finish([width, height], orientation))
}

fn decode_jpeg(bytes: &[u8]) -> Result<Picture, Fault> {
    let damaged = damaged_jpeg;
    let mut decoder = jpeg_decoder::Decoder::new(bytes);
    decoder.read_info().map_err(damaged)?;
    let whole = decoder.info().ok_or_else(no_size)?;
    let (width, height) = (u32::from(whole.width), u32::from(whole.height));
    let full = Shrinker::new(width, height)?;
    // Two bytes for each coefficient, as many as the pixels have values.
    let held = 2 * u64::from(width) * u64::from(height) * whole.pixel_format.pixel_bytes() as u64;
    if whole.coding_process == CodingProcess::DctProgressive && held > MOST_HELD {
        return Err(Fault::Held { form: "progressive JPEG", width, height });
    }
    // The decoder scales to an eighth, a quarter or a half, and the rest is done here.
    let [columns, rows] = [width, height].map(|side| side.div_ceil(full.step) as u16);
    let (columns, rows) = decoder.scale(columns, rows).map_err(damaged)?;
    let pixels = decoder.decode().map_err(damaged)?;
    let mut shrinker = Shrinker::new(columns.into(), rows.into())?;
    let samples = whole.pixel_format.pixel_bytes();
    let pixel = |value: &[u8]| match (whole.pixel_format, value) {
        (PixelFormat::RGB24, &[red, green, blue, ..]) => [red, green, blue, 255],
        (PixelFormat::CMYK32, &[cyan, magenta, yellow, black, ..]) => {
            let [red, green, blue] = [cyan, magenta, yellow].map(|ink| {
                (u16::from(255 - ink) * u16::from(255 - black) / 255) as u8 //
            });
            [red, green, blue, 255]
        }
        (PixelFormat::L16, &[first, second]) => opaque((u16::from_ne_bytes([first, second]) >> 8) as u8),
        (_, &[grey, ..]) => opaque(grey),
        (_, []) => [0; 4],
    };
    for row in pixels.chunks_exact(usize::from(columns) * samples) {
        shrinker.row(row.chunks_exact(samples).map(pixel));
    }
    Ok(shrinker.finish([width, height], decoder.exif_data().and_then(Orientation::from_exif_chunk)))
}

fn opaque(grey: u8) -> [u8; 4] {
    [grey, grey, grey, 255]
}
