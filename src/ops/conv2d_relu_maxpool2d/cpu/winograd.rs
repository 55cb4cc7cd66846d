//! Winograd's minimal filtering F(2x2, 3x3) (A. Lavin, S. Gray, Fast Algorithms for Convolutional Neural Networks,
//! 2015, arXiv:1509.09308, section 4.1): `Y = A^T [(G g G^T) * (B^T d B)] A`, the product taken element by element, is
//! the 2x2 outputs of a 3x3 kernel g over a 4x4 field d. It takes 16 multiplications instead of 36, and those 2x2
//! outputs are exactly what a pooling window takes.

use super::super::{Conv2dReluMaxPool2d, DEAD};
use super::TAPS;
use super::image::Layout;
use crate::ops::Real;
use crate::ops::lanes::{Lanes, widest};
use crate::ops::matrix::{Matrix, transpose};
use std::ops::{Add, Sub};

/// Elements of a window's field and of its transform.
pub const FIELD: usize = 16;

/// `U = G g G^T` of the kernels `weight` (O, C, 3, 3), as (16, C, O).
pub fn transform_weight<T: Real>(op: &Conv2dReluMaxPool2d, weight: &[T]) -> Vec<T> {
    let len = op.channels * op.out;
    let mut taps = vec![T::zero(); weight.len()]; // (C, 3, 3, O)
    let mut u = vec![T::zero(); FIELD * len];
    widest(
        #[inline(always)]
        || {
            transpose(Matrix::new(weight, op.out, op.channels * TAPS), &mut taps, op.out);
            for (taps, c) in taps.chunks_exact(TAPS * op.out).zip(0..) {
                let mut o = 0;
                while o + 8 <= op.out {
                    transform_kernels::<T, 8>(&taps[o..], op.out, &mut u[c * op.out + o..], len);
                    o += 8;
                }
                while o < op.out {
                    transform_kernels::<T, 1>(&taps[o..], op.out, &mut u[c * op.out + o..], len);
                    o += 1;
                }
            }
        },
    );
    u
}

/// The transform of `L` kernels, whose taps lie `out` apart; the elements of `u` lie `step` apart.
#[inline(always)]
fn transform_kernels<T: Real, const L: usize>(taps: &[T], out: usize, u: &mut [T], step: usize) {
    let g = |i: usize, j: usize| Lanes::<T, L>::load(&taps[(3 * i + j) * out..]);
    let columns = [0, 1, 2].map(|j| g_times([g(0, j), g(1, j), g(2, j)]));
    for i in 0..4 {
        let row = g_times([columns[0][i], columns[1][i], columns[2][i]]);
        for (j, element) in row.into_iter().enumerate() {
            element.store(&mut u[(4 * i + j) * step..]);
        }
    }
}

/// `G` times a column or, of a row, what is multiplied by `G^T`.
#[inline(always)]
fn g_times<T: Real, const L: usize>([a, b, c]: [Lanes<T, L>; 3]) -> [Lanes<T, L>; 4] {
    let half = T::of(0.5);
    [a, (a + b + c) * half, (a - b + c) * half, c]
}

/// `V = B^T d B` of the fields d of the windows at `corners`: (16, windows, C).
#[inline(always)]
pub fn transform_fields<T: Real>(layout: &Layout, image: &[T], corners: &[usize], v: &mut [T]) {
    let channels = layout.channels;
    for (&corner, w) in corners.iter().zip(0..) {
        let mut c = 0;
        while c + 8 <= channels {
            transform_channels::<T, 8>(layout, &image[corner + c..], &mut v[w * channels + c..], corners.len() * channels);
            c += 8;
        }
        while c < channels {
            transform_channels::<T, 1>(layout, &image[corner + c..], &mut v[w * channels + c..], corners.len() * channels);
            c += 1;
        }
    }
}

/// One field's transform for `L` channels; the elements of `v` lie `step` apart.
#[inline(always)]
fn transform_channels<T: Real, const L: usize>(layout: &Layout, d: &[T], v: &mut [T], step: usize) {
    let mut columns = [[Lanes::zero(); 4]; 4];
    for (j, column) in columns.iter_mut().enumerate() {
        let d = |i: usize| Lanes::<T, L>::load(&d[i * layout.row + j * layout.channels..]);
        *column = b_times([d(0), d(1), d(2), d(3)]);
    }
    for i in 0..4 {
        let row = b_times([columns[0][i], columns[1][i], columns[2][i], columns[3][i]]);
        for (j, element) in row.into_iter().enumerate() {
            element.store(&mut v[(4 * i + j) * step..]);
        }
    }
}

/// `B^T` times a column or, of a row, what is multiplied by B.
#[inline(always)]
pub fn b_times<E: Copy + Add<Output = E> + Sub<Output = E>>([a, b, c, d]: [E; 4]) -> [E; 4] {
    [a - c, b + c, c - b, b - d]
}

/// Outputs that are pooled at once.
const POOLED: usize = 16;

/// The pooled outputs `y` (O) of one window and their `winner` (O) from the products M, sums over the channels: its
/// elements, (O) each, lie `step` apart.
#[inline(always)]
pub fn pool_window<T: Real>(m: &[T], step: usize, bias: &[T], y: &mut [T], winner: &mut [u8]) {
    let mut o = 0;
    while o + POOLED <= bias.len() {
        pool_outputs::<T, POOLED>(&m[o..], step, &bias[o..], &mut y[o..], &mut winner[o..]);
        o += POOLED;
    }
    while o < bias.len() {
        pool_outputs::<T, 1>(&m[o..], step, &bias[o..], &mut y[o..], &mut winner[o..]);
        o += 1;
    }
}

/// `L` of them.
#[inline(always)]
fn pool_outputs<T: Real, const L: usize>(m: &[T], step: usize, bias: &[T], y: &mut [T], winner: &mut [u8]) {
    let mut elements = [[T::zero(); L]; FIELD];
    for (e, element) in elements.iter_mut().enumerate() {
        *element = Lanes::<T, L>::load(&m[e * step..]).0;
    }
    let bias = Lanes::<T, L>::load(bias).0;
    pool::<T, L>(|e, l| elements[e][l], |l| bias[l], y, winner);
}

/// The largest of the four sums `A^T M A`, after bias and ReLU, and which it was: for `L` windows or outputs, of which
/// element e of M is `m(e, l)`.
#[inline(always)]
pub fn pool<T: Real, const L: usize>(
    m: impl Fn(usize, usize) -> T,
    bias: impl Fn(usize) -> T,
    y: &mut [T],
    winner: &mut [u8],
) {
    let (y, winner) = (&mut y[..L], &mut winner[..L]);
    let mut winners = [0; L]; // each as wide as a float, since a comparison of floats chooses it
    for l in 0..L {
        let a_times = |m: [T; 4]| [m[0] + m[1] + m[2], m[1] - m[2] - m[3]];
        let column = |j: usize| a_times([m(j, l), m(4 + j, l), m(8 + j, l), m(12 + j, l)]);
        let [a, b, c, d] = [column(0), column(1), column(2), column(3)];
        let (upper, lower) = (a_times([a[0], b[0], c[0], d[0]]), a_times([a[1], b[1], c[1], d[1]]));
        let (mut most, mut best) = (upper[0], 0);
        for (q, sum) in [(1, upper[1]), (2, lower[0]), (3, lower[1])] {
            // `>` keeps the first of equal values, PyTorch's rule for ties.
            best = if sum > most { q } else { best };
            most = if sum > most { sum } else { most };
        }
        most += bias(l);
        let dead = most <= T::zero();
        // A NaN must reach the loss.
        let sum = upper[0] + upper[1] + lower[0] + lower[1];
        let kept = if dead { T::zero() } else { most };
        y[l] = if sum.is_nan() { sum } else { kept };
        winners[l] = if dead { u32::from(DEAD) } else { best };
    }
    winner.iter_mut().zip(winners).for_each(|(to, winner)| *to = winner as u8);
}
