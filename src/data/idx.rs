//! IDX, the format of MNIST's files: a magic number, sizes, and the numbers. Read from any stream, plain or packed by
//! gzip.

use super::hexadecimal;
use crate::foreign::{self, Foreign};
use flate2::bufread::MultiGzDecoder;
use sha2::{Digest, Sha256};
use std::io::{self, BufReader, Read};

/// More than any data set that fits the memory of a laptop: a file that claims more is refused before anything is read
/// of it.
pub const MOST_BYTES: u64 = 1 << 31;

/// How far a pixel may be outside of its bounds, as a share.
const ROUNDED: f64 = 1e-3;

/// What is wrong with a file: what was expected and what was found. The texts do not say which file it was.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)] // the texts say it
pub enum Fault {
    #[error("expected a readable file, found: {0}")]
    Unreadable(io::Error),
    #[error("expected intact gzip data, found it broken after {after} unpacked bytes: {error}")]
    Gzip { after: u64, error: io::Error },
    #[error("expected an IDX file, whose first two bytes are 0, found a magic number of {found:#010x}")]
    Magic { found: u32 },
    #[error("expected an IDX file, found {}", .0.what)]
    Foreign(Foreign),
    #[error("expected pixels from 0 to 255 (or of floats, all from 0 to 1), found {found} as number {index}")]
    Pixel { index: usize, found: f64 },
    #[error("expected {expected}, found sizes of {found:?}")]
    Dimensions { expected: &'static str, found: Vec<usize> },
    #[error("expected at most {most} bytes, found sizes of {found:?}")]
    TooLarge { most: u64, found: Vec<usize> },
    #[error("expected {expected} bytes, found {found}: the file is truncated")]
    Truncated { expected: u64, found: u64 },
    #[error("expected {expected} bytes, found more: something follows the data")]
    Oversized { expected: u64 },
    #[error("expected whole numbers from 0 to 65535 as labels, found {found} as label number {index}")]
    Label { index: usize, found: f64 },
    #[error("expected content with SHA-256 {expected}, found {found}")]
    Checksum { expected: &'static str, found: String },
}

impl Fault {
    /// What to do about it, in the imperative.
    pub fn advice(&self) -> &'static str {
        match self {
            Fault::Unreadable(_) => "check its path and permissions",
            Fault::Foreign(foreign) => foreign.advice,
            Fault::Magic { .. } => "put an IDX file there, plain or .gz",
            Fault::Dimensions { .. } => "write it anew with these sizes, or check that images and labels are not swapped",
            Fault::Pixel { .. } => "scale the images, and write them anew",
            Fault::Label { .. } => "number the classes from 0, and write them anew",
            Fault::TooLarge { .. } => "leave out some of the images",
            Fault::Oversized { .. } => "write sizes and data that belong together",
            Fault::Gzip { .. } | Fault::Truncated { .. } | Fault::Checksum { .. } => {
                "replace it with an intact copy (plain or .gz)"
            }
        }
    }
}

/// An IDX file's content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Array {
    /// Magic number and sizes, as the file has them.
    header: Vec<u8>,
    /// The type of its numbers: 0x08 for u8.
    code: u8,
    sizes: Vec<usize>,
    /// Big endian.
    data: Vec<u8>,
}

impl Array {
    /// Reads a file to its end, plain or gzip, but never more of it than its sizes ask for and one byte: a small gzip
    /// file can unpack to terabytes.
    ///
    /// # Errors
    ///
    /// What is no IDX file, or not a whole one.
    pub fn read(input: impl Read) -> Result<Self, Fault> {
        Self::read_at_most(MOST_BYTES, input)
    }

    /// As [`Array::read`], where it is known that the numbers take at most `most` bytes.
    ///
    /// # Errors
    ///
    /// What is no IDX file, not a whole one, or larger by its sizes.
    pub fn read_at_most(most: u64, mut input: impl Read) -> Result<Self, Fault> {
        let mut start = Vec::new(); // a stream may give one byte at a time
        (&mut input).take(2).read_to_end(&mut start).map_err(Fault::Unreadable)?;
        let input = BufReader::new(start.as_slice().chain(input));
        match start == [0x1f, 0x8b] {
            true => Self::unpacked(most, MultiGzDecoder::new(input), |after, error| Fault::Gzip { after, error }),
            false => Self::unpacked(most, input, |_, error| Fault::Unreadable(error)),
        }
    }

    fn unpacked(most: u64, mut input: impl Read, broken: impl Fn(u64, io::Error) -> Fault) -> Result<Self, Fault> {
        let mut file = Vec::new();
        let mut read_to = |file: &mut Vec<u8>, len: u64| {
            let result = (&mut input).take(len - file.len() as u64).read_to_end(file);
            result.map_err(|error| broken(file.len() as u64, error))
        };
        let whole = |file: &[u8], expected: u64| match file.len() as u64 {
            found if found < expected => Err(Fault::Truncated { expected, found }),
            _ => Ok(()),
        };
        read_to(&mut file, 4)?;
        whole(&file, 4)?;
        let [first, second, code, dimensions] = [file[0], file[1], file[2], file[3]];
        let bytes = match code {
            0x08 | 0x09 => 1,
            0x0b => 2,
            0x0c | 0x0d => 4,
            0x0e => 8,
            _ => 0,
        };
        if first != 0 || second != 0 || bytes == 0 || dimensions == 0 {
            let _ = read_to(&mut file, foreign::ENOUGH as u64); // it is no IDX file, whatever follows
            if let Some(foreign) = foreign::known(&file) {
                return Err(Fault::Foreign(foreign));
            }
            return Err(Fault::Magic { found: u32::from_be_bytes([first, second, code, dimensions]) });
        }
        let header = 4 + 4 * u64::from(dimensions);
        read_to(&mut file, header)?;
        whole(&file, header)?;
        let sizes: Vec<usize> = words(&file[4..]).map(|size| u32::from_be_bytes(size) as usize).collect();
        let len = sizes.iter().try_fold(bytes, |len: u64, &size| len.checked_mul(size as u64));
        let Some(len) = len.filter(|len| *len <= most) else { return Err(Fault::TooLarge { most, found: sizes }) };

        let expected = header + len;
        read_to(&mut file, expected + 1)?;
        whole(&file, expected)?;
        if file.len() as u64 > expected {
            return Err(Fault::Oversized { expected });
        }
        let header = file.drain(..header as usize).collect();
        file.shrink_to_fit();
        Ok(Self { header, code, sizes, data: file })
    }

    /// Elements along each dimension, at least one.
    pub fn sizes(&self) -> &[usize] {
        &self.sizes
    }

    /// Bytes of the unpacked file.
    #[expect(clippy::len_without_is_empty, reason = "no file with a header is empty")]
    pub fn len(&self) -> u64 {
        (self.header.len() + self.data.len()) as u64
    }

    /// SHA-256 of the unpacked file, in hexadecimal.
    pub fn sha256(&self) -> String {
        hexadecimal(&Sha256::new_with_prefix(&self.header).chain_update(&self.data).finalize())
    }

    /// The file as images of bytes, and the shape (C, H, W) of one. Its sizes are N x H x W, N x H x W x C or
    /// N x C x H x W with one or three channels, or N x H*W where that is a square. Its numbers are from 0 to 255, or
    /// floats that are all from 0 to 1, but for rounding, and stand for 0 to 255.
    ///
    /// # Errors
    ///
    /// Other sizes and numbers.
    pub fn into_images(mut self) -> Result<([usize; 3], Vec<u8>), Fault> {
        if self.code != 0x08 {
            let floats = matches!(self.code, 0x0d | 0x0e);
            let largest = self.numbers().fold(0.0, f64::max);
            // Interpolation leaves them a hair outside. All above 1, and far below 255, would be black.
            let scale = if floats && largest <= 1.0 + ROUNDED { 255.0 } else { 1.0 };
            let black = floats && scale == 1.0 && largest < 2.0;
            let pixel = |(index, found): (usize, f64)| match scale * found {
                _ if black && found > 1.0 => Err(Fault::Pixel { index, found }),
                pixel if (-ROUNDED..=255.0 * (1.0 + ROUNDED)).contains(&pixel) => Ok(pixel.round() as u8),
                _ => Err(Fault::Pixel { index, found }),
            };
            self.data = self.numbers().enumerate().map(pixel).collect::<Result<_, _>>()?;
        }
        let side = |len: usize| len.isqrt();
        match self.sizes[..] {
            [_, len] if len > 0 && side(len) * side(len) == len => Ok(([1, side(len), side(len)], self.data)),
            [_, height, width] => Ok(([1, height, width], self.data)),
            [count, height, width, channels @ (1 | 3)] => {
                let mut planes = self.data;
                // Not by the sizes: where there is no image, their product may be any number.
                let len = planes.len().checked_div(count).unwrap_or_default();
                if channels == 3 && len > 0 {
                    let (mut pixels, plane) = (vec![0; len], len / channels);
                    for image in planes.chunks_exact_mut(len) {
                        pixels.copy_from_slice(image);
                        for (place, value) in image.iter_mut().enumerate() {
                            *value = pixels[place % plane * channels + place / plane];
                        }
                    }
                }
                Ok(([channels, height, width], planes))
            }
            [_, channels @ (1 | 3), height, width] => Ok(([channels, height, width], self.data)),
            _ => {
                let expected = "images of N x rows x columns (x 1 or 3 channels), or of N x pixels if they are square";
                Err(Fault::Dimensions { expected, found: self.sizes })
            }
        }
    }

    /// The file as labels: N whole numbers (or N x 1), or N x 8 as QMNIST has them, of which the first is the class.
    ///
    /// # Errors
    ///
    /// Other sizes, and numbers that are no u16.
    pub fn into_labels(self) -> Result<Vec<u16>, Fault> {
        let columns = match self.sizes[..] {
            [_] | [_, 1] => 1,
            [_, 8] => 8,
            _ => {
                return Err(Fault::Dimensions { expected: "labels of N (or N x 8, as QMNIST has them)", found: self.sizes });
            }
        };
        let label = |(index, found): (usize, f64)| match found as u16 {
            label if f64::from(label) == found => Ok(label),
            _ => Err(Fault::Label { index, found }),
        };
        self.numbers().step_by(columns).enumerate().map(label).collect()
    }

    /// Its numbers, which an f64 holds exactly, whatever their type.
    fn numbers(&self) -> Box<dyn Iterator<Item = f64> + '_> {
        match self.code {
            0x08 => Box::new(self.data.iter().map(|&number| number.into())),
            0x09 => Box::new(self.data.iter().map(|&number| (number as i8).into())),
            0x0b => Box::new(words(&self.data).map(|number| i16::from_be_bytes(number).into())),
            0x0c => Box::new(words(&self.data).map(|number| i32::from_be_bytes(number).into())),
            0x0d => Box::new(words(&self.data).map(|number| f32::from_be_bytes(number).into())),
            _ => Box::new(words(&self.data).map(f64::from_be_bytes)),
        }
    }
}

/// Big-endian numbers of `N` bytes.
fn words<const N: usize>(bytes: &[u8]) -> impl Iterator<Item = [u8; N]> {
    bytes.as_chunks().0.iter().copied()
}
