//! A sample with its channels last.

use crate::ops::Real;
use crate::ops::matrix::{Matrix, transpose};

/// An image is what the windows of a sample (C, H, W) see of it and its padding: (SH, SW, C), with SH = 2 (PH + 1) and
/// SW = 2 (PW + 1). A window is 2x2 outputs of a 3x3 kernel; there are PH x PW.
pub struct Layout {
    pub channels: usize,
    /// Elements of a row, SW * C.
    pub row: usize,
    /// Elements of an image.
    pub len: usize,
    /// Where each window's 4x4 field begins, (PH * PW).
    pub corners: Vec<usize>,
    /// What lies in a row of the image and in a row of a plane (H, W): where it begins in the plane, where in the
    /// image, and how many pixels it has.
    runs: Vec<(usize, usize, usize)>,
    /// Elements of a plane of the sample.
    plane: usize,
}

impl Layout {
    /// That of (C, H, W) samples with `padding` around them, of which `windows` (PH, PW) are taken.
    pub fn new([channels, height, width]: [usize; 3], padding: usize, (ph, pw): (usize, usize)) -> Self {
        let (sh, sw) = (2 * ph + 2, 2 * pw + 2);
        let pixels = (padding + width).min(sw) - padding;
        let rows = padding..(padding + height).min(sh);
        Self {
            channels,
            row: sw * channels,
            len: sh * sw * channels,
            corners: (0..ph * pw).map(|w| (w / pw * 2 * sw + w % pw * 2) * channels).collect(),
            runs: rows.map(|row| ((row - padding) * width, (row * sw + padding) * channels, pixels)).collect(),
            plane: height * width,
        }
    }

    /// From the corner of a window's field to the patches, (3, 3, C) each, that its four elements are computed from.
    pub fn patches(&self) -> [usize; 4] {
        [0, self.channels, self.row, self.row + self.channels]
    }

    /// Writes the sample `x` into `image`, whose padding stays as it is.
    #[inline(always)]
    pub fn write_image<T: Real>(&self, x: &[T], image: &mut [T]) {
        for &(from, to, pixels) in &self.runs {
            if self.channels == 1 {
                image[to..][..pixels].copy_from_slice(&x[from..][..pixels]);
            } else {
                let pixels = Matrix::strided(&x[from..], self.channels, pixels, self.plane);
                transpose(pixels, &mut image[to..], self.channels);
            }
        }
    }

    /// Writes `image` into the sample `x`, which stays as it is where no window sees it.
    #[inline(always)]
    pub fn write_sample<T: Real>(&self, image: &[T], x: &mut [T]) {
        for &(to, from, pixels) in &self.runs {
            transpose(Matrix::new(&image[from..], pixels, self.channels), &mut x[to..], self.plane);
        }
    }
}
