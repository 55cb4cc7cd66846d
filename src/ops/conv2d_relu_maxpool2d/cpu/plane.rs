//! A sample of one channel, as the first layer's are: here neighbouring elements are different windows.

use super::super::{Conv2dReluMaxPool2d, DEAD, KERNEL};
use super::TAPS;
use super::image::Layout;
use super::patches::Kernels;
use super::winograd::{FIELD, b_times, pool};
use crate::ops::Real;
use aligned_vec::{AVec, avec};

/// Windows that are computed at once.
const LANES: usize = 16;

/// What is computed of one sample on the way. Its windows are filled up to whole vectors, by dead ones.
pub struct Plane<T> {
    windows: usize,
    /// The sixteen elements of each window's field, or of its transform.
    fields: AVec<[[T; LANES]; FIELD]>,
    /// One channel's outputs, or their gradients.
    y: AVec<T>,
    winner: AVec<u8>,
    /// Of each output channel, over the windows and samples that a lane has seen.
    sums: AVec<Sums<T>>,
}

/// A channel's part of the parameters' gradients.
#[derive(Clone)]
struct Sums<T> {
    weight: [[T; LANES]; TAPS],
    bias: [T; LANES],
}

impl<T: Real> Plane<T> {
    /// For an op of one channel.
    pub fn new(op: &Conv2dReluMaxPool2d) -> Self {
        let windows = op.windows();
        let vectors = windows.div_ceil(LANES);
        let sums = Sums { weight: [[T::zero(); LANES]; TAPS], bias: [T::zero(); LANES] };
        Self {
            windows,
            fields: avec![[[T::zero(); LANES]; FIELD]; vectors],
            y: avec![T::zero(); vectors * LANES],
            winner: avec![DEAD; vectors * LANES],
            sums: avec![sums; op.out],
        }
    }

    /// Takes the fields from `image`.
    #[inline(always)]
    pub fn read_fields(&mut self, layout: &Layout, image: &[T]) {
        for (fields, corners) in self.fields.iter_mut().zip(layout.corners.chunks(LANES)) {
            for (l, &corner) in corners.iter().enumerate() {
                for (i, row) in image[corner..].chunks(layout.row).take(4).enumerate() {
                    let row = &row[..4];
                    for (j, &element) in row.iter().enumerate() {
                        fields[4 * i + j][l] = element;
                    }
                }
            }
        }
    }

    /// Takes the transform of each field in its place.
    #[inline(always)]
    #[allow(clippy::needless_range_loop)] // a loop over lanes is what becomes a vector
    pub fn transform_fields(&mut self) {
        for fields in self.fields.iter_mut() {
            for l in 0..LANES {
                for j in 0..4 {
                    let column = b_times([fields[j][l], fields[4 + j][l], fields[8 + j][l], fields[12 + j][l]]);
                    for (i, element) in column.into_iter().enumerate() {
                        fields[4 * i + j][l] = element;
                    }
                }
                for i in (0..FIELD).step_by(4) {
                    let row = b_times([fields[i][l], fields[i + 1][l], fields[i + 2][l], fields[i + 3][l]]);
                    for (j, element) in row.into_iter().enumerate() {
                        fields[i + j][l] = element;
                    }
                }
            }
        }
    }

    /// The pooled outputs `y` (windows) of one channel and their `winner` (windows) from the transformed fields. The sixteen
    /// elements of its transformed kernel `u` lie `out` apart. The products are cheaper to compute in registers than to write
    /// and read again.
    #[inline(always)]
    pub fn pool_channel(&mut self, u: &[T], out: usize, bias: T, y: &mut [T], winner: &mut [u8]) {
        let mut factors = [T::zero(); FIELD];
        for (factor, &u) in factors.iter_mut().zip(u.iter().step_by(out)) {
            *factor = u;
        }
        let vectors = self.y.chunks_exact_mut(LANES).zip(self.winner.chunks_exact_mut(LANES));
        for (v, (y, winner)) in self.fields.iter().zip(vectors) {
            pool::<T, LANES>(|e, l| v[e][l] * factors[e], |_| bias, y, winner);
        }
        y.copy_from_slice(&self.y[..self.windows]);
        winner.copy_from_slice(&self.winner[..self.windows]);
    }

    /// Adds a sample's part of the parameters' gradients, from its fields, to the sums.
    #[inline(always)]
    pub fn add_params(&mut self, winner: &[u8], d_y: &[T]) {
        let planes = winner.chunks_exact(self.windows).zip(d_y.chunks_exact(self.windows));
        for ((winner, d_y), sums) in planes.zip(self.sums.iter_mut()) {
            self.winner[..self.windows].copy_from_slice(winner);
            self.y[..self.windows].copy_from_slice(d_y);
            let vectors = self.winner.chunks_exact(LANES).zip(self.y.chunks_exact(LANES));
            for (field, (winner, d_y)) in self.fields.iter().zip(vectors) {
                let (winner, d_y) = (&winner[..LANES], &d_y[..LANES]);
                let Sums { weight, bias } = sums;
                for l in 0..LANES {
                    // The gradient once for each winner, 0 where it is another.
                    let d = |q: u8| if winner[l] == q { d_y[l] } else { T::zero() };
                    let d = [d(0), d(1), d(2), d(3)];
                    bias[l] += d[0] + d[1] + d[2] + d[3];
                    for (tap, sum) in weight.iter_mut().enumerate() {
                        // What the tap multiplied is in another element of the field for each winner.
                        let e = tap / KERNEL * 4 + tap % KERNEL;
                        sum[l] +=
                            field[e][l] * d[0] + field[e + 1][l] * d[1] + field[e + 4][l] * d[2] + field[e + 5][l] * d[3];
                    }
                }
            }
        }
    }

    /// Writes the sums of all samples to `d_weight` (O, 3, R) and `d_bias` (O).
    pub fn write_params(&self, kernels: &Kernels, d_weight: &mut [T], d_bias: &mut [T]) {
        for (sums, (d_weight, d_bias)) in self.sums.iter().zip(d_weight.chunks_exact_mut(kernels.len()).zip(d_bias)) {
            for (tap, sum) in sums.weight.iter().enumerate() {
                d_weight[kernels.place(0, tap)] = sum.iter().copied().sum();
            }
            *d_bias = sums.bias.iter().copied().sum();
        }
    }
}
