//! A sample of one channel, as the first layer's are: here neighbouring elements are different windows.

use super::super::{DEAD, KERNEL};
use super::TAPS;
use super::patches::Kernels;
use super::pool::pool;
use crate::ops::Real;
use crate::ops::lanes::Lanes;
use crate::ops::matrix::transposed;
use crate::ops::winograd::{FIELD, Layout, b_times};
use aligned_vec::{AVec, avec};

/// Windows that are computed at once.
const LANES: usize = 16;

/// The 4x4 fields of a sample's windows, padded to whole vectors.
struct Fields<T> {
    windows: usize,
    /// Where in an image each field begins. The padding repeats the last one.
    corners: Vec<usize>,
    /// The sixteen elements of each field, or of its transform.
    elements: AVec<[Lanes<T, LANES>; FIELD]>,
}

impl<T: Real> Fields<T> {
    fn new(layout: &Layout) -> Self {
        let windows = layout.corners.len();
        let vectors = windows.div_ceil(LANES);
        let mut corners = layout.corners.clone();
        corners.resize(vectors * LANES, corners[windows - 1]);
        Self { windows, corners, elements: avec![[Lanes::zero(); FIELD]; vectors] }
    }

    /// Takes them from `image`.
    #[inline(always)]
    fn read(&mut self, layout: &Layout, image: &[T]) {
        for (fields, corners) in self.elements.iter_mut().zip(self.corners.chunks_exact(LANES)) {
            for (first, corners) in (0..).step_by(4).zip(corners.chunks_exact(4)) {
                for i in 0..4 {
                    let row = |window: usize| {
                        let row = &image[corners[window] + i * layout.row..][..4];
                        [row[0], row[1], row[2], row[3]]
                    };
                    let columns = transposed([row(0), row(1), row(2), row(3)]);
                    for (j, column) in columns.iter().enumerate() {
                        fields[4 * i + j].0[first..first + 4].copy_from_slice(column);
                    }
                }
            }
        }
    }

    /// Takes the transform of each field in its place.
    #[inline(always)]
    fn transform(&mut self) {
        for fields in self.elements.iter_mut() {
            for j in 0..4 {
                let column = b_times([fields[j], fields[4 + j], fields[8 + j], fields[12 + j]]);
                for (i, element) in column.into_iter().enumerate() {
                    fields[4 * i + j] = element;
                }
            }
            for row in fields.chunks_exact_mut(4) {
                row.copy_from_slice(&b_times([row[0], row[1], row[2], row[3]]));
            }
        }
    }
}

/// What is computed of one sample forward.
pub struct ForwardPlane<T> {
    fields: Fields<T>,
    /// (O, windows)
    y: AVec<T>,
    /// (O, windows)
    winner: AVec<u8>,
}

impl<T: Real> ForwardPlane<T> {
    /// For `out` output channels.
    pub fn new(layout: &Layout, out: usize) -> Self {
        let fields = Fields::new(layout);
        let len = out * fields.corners.len();
        Self { fields, y: avec![T::zero(); len], winner: avec![DEAD; len] }
    }

    /// The pooled outputs `y` (O, windows) of `image` and their `winner` (O, windows) by the transformed `kernels` (O,
    /// 16). A vector's fields stay in registers for all channels, and the products never leave them.
    #[inline(always)]
    pub fn forward(&mut self, layout: &Layout, image: &[T], kernels: &[T], bias: &[T], y: &mut [T], winner: &mut [u8]) {
        let Self { fields, y: pooled, winner: winners } = self;
        fields.read(layout, image);
        fields.transform();
        let (windows, filled) = (fields.windows, fields.corners.len());
        for (first, fields) in (0..).step_by(LANES).zip(fields.elements.iter()) {
            let fields = *fields;
            let planes = pooled.chunks_exact_mut(filled).zip(winners.chunks_exact_mut(filled));
            for ((kernel, &bias), (y, winner)) in kernels.chunks_exact(FIELD).zip(bias).zip(planes) {
                let kernel = &kernel[..FIELD];
                pool::<T, LANES>(|e, l| fields[e].0[l] * kernel[e], |_| bias, &mut y[first..], &mut winner[first..]);
            }
        }
        // Written one output after the other, which is fastest: they lie apart in memory.
        for (y, pooled) in y.chunks_exact_mut(windows).zip(pooled.chunks_exact(filled)) {
            y.copy_from_slice(&pooled[..windows]);
        }
        for (winner, winners) in winner.chunks_exact_mut(windows).zip(winners.chunks_exact(filled)) {
            winner.copy_from_slice(&winners[..windows]);
        }
    }
}

/// A task's sums of the parameters' gradients.
pub struct BackwardPlane<T> {
    fields: Fields<T>,
    /// One channel's winners.
    winner: AVec<u8>,
    /// One channel's gradients.
    d_y: AVec<T>,
    /// Of each output channel, over the windows and samples that a lane has seen.
    sums: AVec<Sums<T>>,
}

/// A channel's part of the parameters' gradients.
#[derive(Clone, Copy)]
struct Sums<T> {
    weight: [Lanes<T, LANES>; TAPS],
    bias: Lanes<T, LANES>,
}

impl<T: Real> BackwardPlane<T> {
    /// For `out` output channels.
    pub fn new(layout: &Layout, out: usize) -> Self {
        let fields = Fields::new(layout);
        let len = fields.corners.len();
        let sums = Sums { weight: [Lanes::zero(); TAPS], bias: Lanes::zero() };
        Self { fields, winner: avec![DEAD; len], d_y: avec![T::zero(); len], sums: avec![sums; out] }
    }

    /// Adds the part of a sample, an `image`, to the sums.
    #[inline(always)]
    pub fn backward(&mut self, layout: &Layout, image: &[T], winner: &[u8], d_y: &[T]) {
        self.fields.read(layout, image);
        let windows = self.fields.windows;
        let planes = winner.chunks_exact(windows).zip(d_y.chunks_exact(windows));
        for ((winner, d_y), sums) in planes.zip(self.sums.iter_mut()) {
            self.winner[..windows].copy_from_slice(winner);
            self.d_y[..windows].copy_from_slice(d_y);
            let Sums { mut weight, mut bias } = *sums;
            let vectors = self.winner.chunks_exact(LANES).zip(self.d_y.chunks_exact(LANES));
            for (field, (winner, d_y)) in self.fields.elements.iter().zip(vectors) {
                let mask = |is: fn(u8) -> bool| {
                    let mut mask = [false; LANES];
                    mask.iter_mut().zip(winner).for_each(|(mask, &q)| *mask = is(q));
                    mask
                };
                let d = Lanes::choose(mask(|q| q != DEAD), Lanes::load(d_y), Lanes::zero());
                let (upper, upper_left, lower_left) = (mask(|q| q < 2), mask(|q| q == 0), mask(|q| q == 2));
                bias = bias + d;
                for (tap, sum) in weight.iter_mut().enumerate() {
                    // Each winner was computed from another element of the field.
                    let e = tap / KERNEL * 4 + tap % KERNEL;
                    let above = Lanes::choose(upper_left, field[e], field[e + 1]);
                    let below = Lanes::choose(lower_left, field[e + 4], field[e + 5]);
                    *sum = *sum + Lanes::choose(upper, above, below) * d;
                }
            }
            *sums = Sums { weight, bias };
        }
    }

    /// Writes the sums of all samples to `d_weight` (O, 3, R) and `d_bias` (O).
    pub fn write_params(&self, kernels: &Kernels, d_weight: &mut [T], d_bias: &mut [T]) {
        for (sums, (d_weight, d_bias)) in self.sums.iter().zip(d_weight.chunks_exact_mut(kernels.len()).zip(d_bias)) {
            for (tap, sum) in sums.weight.iter().enumerate() {
                d_weight[kernels.place(0, tap)] = sum.0.iter().copied().sum();
            }
            *d_bias = sums.bias.0.iter().copied().sum();
        }
    }
}
