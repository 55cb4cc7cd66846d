//! Winograd's minimal filtering F(2x2, 3x3) (A. Lavin, S. Gray, Fast Algorithms for Convolutional Neural Networks,
//! 2015, arXiv:1509.09308, section 4.1): `Y = A^T [(G g G^T) * (B^T d B)] A`, the product taken element by element, is
//! the 2x2 outputs of a 3x3 kernel g over a 4x4 field d. It takes 16 multiplications instead of 36.
//!
//! Over many channels each element of the product is a matrix product. The gradients go the same way backwards: that of
//! the kernel is `G^T [(B^T d B) * (A dY A^T)] G`.

mod image;

pub use image::Layout;

use super::Real;
use super::lanes::{Lanes, widest};
use super::matrix::{Matrix, transpose};
use std::ops::{Add, Sub};

/// Elements of a window's field and of its transform.
pub const FIELD: usize = 16;

/// Elements of a kernel (3, 3).
pub const TAPS: usize = 9;

/// `U = G g G^T` of the kernels `weight` (O, C, 3, 3), as (16, C, O).
pub fn transform_weight<T: Real>(channels: usize, out: usize, weight: &[T]) -> Vec<T> {
    let len = channels * out;
    let mut taps = vec![T::zero(); weight.len()]; // (C, 3, 3, O)
    let mut u = vec![T::zero(); FIELD * len];
    widest(
        #[inline(always)]
        || {
            transpose(Matrix::new(weight, out, channels * TAPS), &mut taps, out);
            for (taps, c) in taps.chunks_exact(TAPS * out).zip(0..) {
                let mut o = 0;
                while o + 8 <= out {
                    transform_kernels::<T, 8>(&taps[o..], out, &mut u[c * out + o..], len);
                    o += 8;
                }
                while o < out {
                    transform_kernels::<T, 1>(&taps[o..], out, &mut u[c * out + o..], len);
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

/// `A^T` times a column or, of a row, what is multiplied by A.
#[inline(always)]
pub fn a_times<E: Copy + Add<Output = E> + Sub<Output = E>>([a, b, c, d]: [E; 4]) -> [E; 2] {
    [a + b + c, b - c - d]
}

/// The outputs `A^T M A` of the windows at `corners` of `image`, whose elements are M, sums over the channels: (16,
/// windows, O). To each its channel's `bias` is added.
#[inline(always)]
pub fn write_outputs<T: Real>(layout: &Layout, m: &[T], bias: &[T], corners: &[usize], image: &mut [T]) {
    let out = layout.channels;
    for (&corner, w) in corners.iter().zip(0..) {
        let mut o = 0;
        while o + 8 <= out {
            write_channels::<T, 8>(layout, &m[w * out + o..], corners.len() * out, &bias[o..], &mut image[corner + o..]);
            o += 8;
        }
        while o < out {
            write_channels::<T, 1>(layout, &m[w * out + o..], corners.len() * out, &bias[o..], &mut image[corner + o..]);
            o += 1;
        }
    }
}

/// One window's outputs in `L` channels; the elements of `m` lie `step` apart.
#[inline(always)]
fn write_channels<T: Real, const L: usize>(layout: &Layout, m: &[T], step: usize, bias: &[T], image: &mut [T]) {
    let m = |e: usize| Lanes::<T, L>::load(&m[e * step..]);
    let columns = [0, 1, 2, 3].map(|j| a_times([m(j), m(4 + j), m(8 + j), m(12 + j)]));
    let bias = Lanes::load(bias);
    for i in 0..2 {
        let row = a_times([columns[0][i], columns[1][i], columns[2][i], columns[3][i]]);
        for (j, output) in row.into_iter().enumerate() {
            (output + bias).store(&mut image[i * layout.row + j * layout.channels..]);
        }
    }
}

/// `E = A dY A^T` of the gradients dY of the windows' outputs at `corners` of `image`: (16, windows, O).
#[inline(always)]
pub fn spread_outputs<T: Real>(layout: &Layout, image: &[T], corners: &[usize], e: &mut [T]) {
    let out = layout.channels;
    for (&corner, w) in corners.iter().zip(0..) {
        let mut o = 0;
        while o + 8 <= out {
            spread_channels::<T, 8>(layout, &image[corner + o..], &mut e[w * out + o..], corners.len() * out);
            o += 8;
        }
        while o < out {
            spread_channels::<T, 1>(layout, &image[corner + o..], &mut e[w * out + o..], corners.len() * out);
            o += 1;
        }
    }
}

/// One window's in `L` channels; the elements of `e` lie `step` apart.
#[inline(always)]
fn spread_channels<T: Real, const L: usize>(layout: &Layout, d: &[T], e: &mut [T], step: usize) {
    let d = |i: usize, j: usize| Lanes::<T, L>::load(&d[i * layout.row + j * layout.channels..]);
    // A times a column or, of a row, what is multiplied by A^T.
    let spread = |[a, b]: [Lanes<T, L>; 2]| [a, a + b, a - b, Lanes::zero() - b];
    let columns = [0, 1].map(|j| spread([d(0, j), d(1, j)]));
    for i in 0..4 {
        for (j, element) in spread([columns[0][i], columns[1][i]]).into_iter().enumerate() {
            element.store(&mut e[(4 * i + j) * step..]);
        }
    }
}

/// `G^T dU G` of the gradients `d_u` (16, C, O), as the gradient of the kernels (O, C, 3, 3).
pub fn gather_weight<T: Real>(channels: usize, out: usize, d_u: &[T], d_weight: &mut [T]) {
    let (half, len) = (T::of(0.5), channels * out);
    let gathered = |[a, b, c, d]: [T; 4]| [a + half * (b + c), half * (b - c), half * (b + c) + d];
    for (o, d_weight) in d_weight.chunks_exact_mut(channels * TAPS).enumerate() {
        for (c, taps) in d_weight.chunks_exact_mut(TAPS).enumerate() {
            let u = |e: usize| d_u[e * len + c * out + o];
            let columns = [0, 1, 2, 3].map(|j| gathered([u(j), u(4 + j), u(8 + j), u(12 + j)]));
            for (i, taps) in taps.chunks_exact_mut(3).enumerate() {
                taps.copy_from_slice(&gathered([columns[0][i], columns[1][i], columns[2][i], columns[3][i]]));
            }
        }
    }
}
