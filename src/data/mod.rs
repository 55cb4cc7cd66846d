//! A data set in memory: images of one shape as bytes, their labels, and the classes' names. [`idx`] reads the images
//! and labels of files; [`synthetic()`] draws digits; [`split()`] and [`epoch_order`] say which images train, and in
//! which order.

mod glyphs;
pub mod idx;
mod pen;
mod split;
mod synthetic;

pub use split::{Split, epoch_order, hold_out, split};
pub use synthetic::synthetic;

use sha2::{Digest, Sha256};

/// Images and their labels.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Images {
    /// (N, C, H, W), row by row from the top left.
    pub pixels: Vec<u8>,
    /// (N), each the number of a class.
    pub labels: Vec<u16>,
}

impl Images {
    /// Number of images, N.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }
}

/// A data set. Where it came from is told beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dataset {
    /// Of one image: (C, H, W).
    pub shape: [usize; 3],
    /// Names of the classes, in the order of their numbers.
    pub classes: Vec<String>,
    /// To train and validate with.
    pub train: Images,
    /// To test with.
    pub test: Images,
}

/// Why images, labels and classes make no data set.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DataError {
    #[error(
        "expected images of 1 or 3 channels and from 1x1 to {0}x{0} pixels, found {channels} channels and {height}x{width}",
        Dataset::LARGEST_SIDE
    )]
    Shape { channels: usize, height: usize, width: usize },

    #[error("expected from 1 to {} classes, found {found}", Dataset::MOST_CLASSES)]
    Classes { found: usize },

    #[error("expected fewer than 2^31 {set} images, found {found}")]
    Count { set: &'static str, found: usize },

    #[error("expected {expected} bytes of {set} images, one image for each of {labels} labels, found {found}")]
    Pixels { set: &'static str, labels: usize, expected: u64, found: usize },

    #[error("expected labels from 0 to {}, found {found} as {set} label number {index}", classes - 1)]
    Label { set: &'static str, index: usize, found: u16, classes: usize },
}

impl Dataset {
    /// Rows, and columns, of an image at most.
    pub const LARGEST_SIDE: usize = 256;
    pub const MOST_CLASSES: usize = 1000;

    /// # Errors
    ///
    /// A shape or a number of classes out of bounds, pixels that are not as many as the labels ask for, and labels of
    /// no class.
    pub fn new(shape: [usize; 3], classes: Vec<String>, train: Images, test: Images) -> Result<Self, DataError> {
        Self::check_shape(shape)?;
        Self::check_classes(classes.len())?;
        for (set, Images { pixels, labels }) in [("training", &train), ("test", &test)] {
            if labels.len() >= 1 << 31 {
                return Err(DataError::Count { set, found: labels.len() });
            }
            let expected = shape.iter().fold(labels.len() as u64, |product, &size| product * size as u64);
            if pixels.len() as u64 != expected {
                return Err(DataError::Pixels { set, labels: labels.len(), expected, found: pixels.len() });
            }
            if let Some(index) = labels.iter().position(|&label| usize::from(label) >= classes.len()) {
                return Err(DataError::Label { set, index, found: labels[index], classes: classes.len() });
            }
        }
        Ok(Self { shape, classes, train, test })
    }

    /// # Errors
    ///
    /// A shape out of bounds.
    pub(crate) fn check_shape([channels, height, width]: [usize; 3]) -> Result<(), DataError> {
        let sides = 1..=Self::LARGEST_SIDE;
        match [1, 3].contains(&channels) && sides.contains(&height) && sides.contains(&width) {
            true => Ok(()),
            false => Err(DataError::Shape { channels, height, width }),
        }
    }

    /// # Errors
    ///
    /// A number of classes out of bounds.
    pub(crate) fn check_classes(found: usize) -> Result<(), DataError> {
        match (1..=Self::MOST_CLASSES).contains(&found) {
            true => Ok(()),
            false => Err(DataError::Classes { found }),
        }
    }

    /// Bytes of one image, C * H * W.
    pub fn image_len(&self) -> usize {
        self.shape.iter().product()
    }

    /// SHA-256 of all pixels and labels, in hexadecimal: training pixels, training labels, test pixels, test labels. A
    /// label is one byte where there are at most 256 classes, and two with the lower one first where there are more.
    pub fn sha256(&self) -> String {
        let bytes = if self.classes.len() > 256 { 2 } else { 1 };
        let mut hash = Sha256::new();
        for Images { pixels, labels } in [&self.train, &self.test] {
            hash.update(pixels);
            hash.update(Vec::from_iter(labels.iter().flat_map(|label| label.to_le_bytes().into_iter().take(bytes))));
        }
        hexadecimal(&hash.finalize())
    }
}

/// The classes of MNIST: the digits.
pub fn digits() -> Vec<String> {
    (0..10).map(|digit| digit.to_string()).collect()
}

pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
