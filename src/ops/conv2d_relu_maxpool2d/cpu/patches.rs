//! The backward pass over several channels, or over one whose gradient is wanted. A window's gradient belongs to one
//! patch (3, 3, C) of the image, whose rows of 3 * C neighbours fill vector registers.

use super::super::{Conv2dReluMaxPool2d, DEAD, KERNEL};
use super::TAPS;
use crate::ops::Real;
use crate::ops::lanes::Lanes;
use crate::ops::winograd::Layout;

/// Columns of a kernel whose three rows stay in registers.
const COLUMNS: usize = 32;

/// The kernels with their channels last: (O, 3, R), where the 3 * C elements of a row are filled up to R.
pub struct Kernels {
    channels: usize,
    row: usize,
}

impl Kernels {
    /// R is a multiple of this, so that small rows fill a vector register too.
    pub const ALIGN: usize = 4;

    pub fn new(op: &Conv2dReluMaxPool2d) -> Self {
        Self { channels: op.channels, row: (KERNEL * op.channels).next_multiple_of(Self::ALIGN) }
    }

    /// Elements of one kernel.
    pub fn len(&self) -> usize {
        KERNEL * self.row
    }

    /// Where in a kernel the tap (3, 3) of channel `c` lies.
    pub fn place(&self, c: usize, tap: usize) -> usize {
        tap / KERNEL * self.row + tap % KERNEL * self.channels + c
    }

    /// Writes a weight (O, C, 3, 3) to `last`.
    pub fn read_weight<T: Copy>(&self, weight: &[T], last: &mut [T]) {
        for (kernel, last) in weight.chunks_exact(self.channels * TAPS).zip(last.chunks_exact_mut(self.len())) {
            for (c, taps) in kernel.chunks_exact(TAPS).enumerate() {
                taps.iter().enumerate().for_each(|(tap, &weight)| last[self.place(c, tap)] = weight);
            }
        }
    }

    /// Writes `last` to a weight (O, C, 3, 3).
    pub fn write_weight<T: Copy>(&self, last: &[T], weight: &mut [T]) {
        for (kernel, last) in weight.chunks_exact_mut(self.channels * TAPS).zip(last.chunks_exact(self.len())) {
            for (c, taps) in kernel.chunks_exact_mut(TAPS).enumerate() {
                taps.iter_mut().enumerate().for_each(|(tap, weight)| *weight = last[self.place(c, tap)]);
            }
        }
    }
}

/// What a sample's gradients are added to.
pub struct Gradients<'a, T> {
    /// (O, 3, R)
    pub d_weight: &'a mut [T],
    /// (O)
    pub d_bias: &'a mut [T],
    /// (SH, SW, C), if it is wanted.
    pub d_image: Option<&'a mut [T]>,
}

/// Adds a sample's gradients to those of the weights, the bias and the image.
#[inline(always)]
pub fn add_gradients<T: Real>(
    layout: &Layout,
    kernels: &Kernels,
    image: &[T],
    weight: &[T],
    winner: &[u8],
    d_y: &[T],
    gradients: Gradients<T>,
) {
    let (windows, row, len) = (layout.corners.len(), kernels.row, kernels.len());
    let [a, b, c, d] = layout.patches();
    let patches = [a, b, c, d, 0]; // indexed by winners, the dead among them
    let Gradients { d_weight, d_bias, mut d_image } = gradients;
    let mut terms = vec![(0, T::zero()); windows];
    let planes = winner.chunks_exact(windows).zip(d_y.chunks_exact(windows));
    let params = weight.chunks_exact(len).zip(d_weight.chunks_exact_mut(len).zip(d_bias));
    for ((winner, d_y), (weight, (d_weight, d_bias))) in planes.zip(params) {
        let mut alive = 0;
        for ((&q, &d_y), &corner) in winner.iter().zip(d_y).zip(&layout.corners) {
            // Each term is written, and the count decides whether it stays. A branch would be mispredicted: windows are
            // dead at random.
            terms[alive] = (corner + patches[q as usize], d_y);
            alive += usize::from(q != DEAD);
        }
        let terms = &terms[..alive];
        *d_bias += terms.iter().map(|&(_, d)| d).sum();
        let mut at = 0;
        while at < row {
            let wide = at + COLUMNS <= row;
            let (weight, d_weight, image) = (&weight[at..], &mut d_weight[at..], &image[at..]);
            let d_image = d_image.as_mut().map(|d_image| &mut d_image[at..]);
            if wide {
                add_columns::<T, COLUMNS>(terms, row, weight, d_weight, layout.row, image, d_image);
                at += COLUMNS;
            } else {
                add_columns::<T, { Kernels::ALIGN }>(terms, row, weight, d_weight, layout.row, image, d_image);
                at += Kernels::ALIGN;
            }
        }
    }
}

/// Adds `d * patch` to `d_weight` and `d * weight` to the patch of `d_image` for one channel's `terms`, each a patch's
/// place and a d, in `L` columns.
#[inline(always)]
fn add_columns<T: Real, const L: usize>(
    terms: &[(usize, T)],
    row: usize,
    weight: &[T],
    d_weight: &mut [T],
    image_row: usize,
    image: &[T],
    d_image: Option<&mut [T]>,
) {
    let mut sums = [Lanes::<T, L>::zero(); KERNEL];
    for (i, sum) in sums.iter_mut().enumerate() {
        *sum = Lanes::load(&d_weight[i * row..]);
    }
    for &(patch, d) in terms {
        let patch = &image[patch..][..2 * image_row + L];
        for (i, sum) in sums.iter_mut().enumerate() {
            *sum = *sum + Lanes::load(&patch[i * image_row..]) * d;
        }
    }
    for (i, sum) in sums.into_iter().enumerate() {
        sum.store(&mut d_weight[i * row..]);
    }
    let Some(d_image) = d_image else { return };
    let mut rows = [Lanes::<T, L>::zero(); KERNEL];
    for (i, kernel) in rows.iter_mut().enumerate() {
        *kernel = Lanes::load(&weight[i * row..]);
    }
    for &(patch, d) in terms {
        let d_patch = &mut d_image[patch..][..2 * image_row + L];
        for (i, kernel) in rows.iter().enumerate() {
            let d_row = &mut d_patch[i * image_row..];
            (Lanes::load(d_row) + *kernel * d).store(d_row);
        }
    }
}
