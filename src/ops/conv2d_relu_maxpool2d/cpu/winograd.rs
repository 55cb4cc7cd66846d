//! Winograd's minimal filtering F(2x2, 3x3) (A. Lavin, S. Gray, Fast Algorithms for Convolutional Neural Networks, 2015,
//! arXiv:1509.09308, section 4.1): `Y = A^T [(G g G^T) * (B^T d B)] A`, the product taken element by element, is the 2x2
//! outputs of a 3x3 kernel g over a 4x4 field d. It takes 16 multiplications instead of 36, and those 2x2 outputs are
//! exactly what a pooling window takes.

use super::super::{Conv2dReluMaxPool2d, DEAD};
use super::TAPS;
use super::image::Layout;
use crate::ops::Real;
use crate::ops::lanes::Lanes;

/// Elements of a window's field and of its transform.
pub const FIELD: usize = 16;

/// `U = G g G^T` of the kernels `weight` (O, C, 3, 3), as (16, C, O).
pub fn transform_weight<T: Real>(op: &Conv2dReluMaxPool2d, weight: &[T]) -> Vec<T> {
    let mut u = vec![T::zero(); FIELD * op.channels * op.out];
    let half = T::of(0.5);
    let g_times = |[a, b, c]: [T; 3]| [a, (a + b + c) * half, (a - b + c) * half, c];
    for (k, g) in weight.chunks_exact(TAPS).enumerate() {
        let (o, c) = (k / op.channels, k % op.channels);
        let rows = [0, 3, 6].map(|i| g_times([g[i], g[i + 1], g[i + 2]]));
        for j in 0..4 {
            for (i, element) in g_times(rows.map(|row| row[j])).into_iter().enumerate() {
                u[((4 * i + j) * op.channels + c) * op.out + o] = element;
            }
        }
    }
    u
}

/// `V = B^T d B` of the fields d of the windows at `corners`: (16, windows, C).
#[inline(always)]
pub fn transform_fields<T: Real>(layout: &Layout, image: &[T], corners: &[usize], v: &mut [T]) {
    let (channels, step) = (layout.channels, corners.len() * layout.channels);
    for (&corner, w) in corners.iter().zip(0..) {
        let (d, v) = (&image[corner..], &mut v[w * channels..]);
        let mut c = 0;
        while c + 8 <= channels {
            transform_field::<T, 8>(layout, &d[c..], &mut v[c..], step);
            c += 8;
        }
        while c < channels {
            transform_field::<T, 1>(layout, &d[c..], &mut v[c..], step);
            c += 1;
        }
    }
}

/// One field's transform for `L` channels; the elements of `v` lie `step` apart.
#[inline(always)]
fn transform_field<T: Real, const L: usize>(layout: &Layout, d: &[T], v: &mut [T], step: usize) {
    let b_times = |[a, b, c, d]: [Lanes<T, L>; 4]| [a - c, b + c, c - b, b - d];
    let mut columns = [[Lanes::zero(); 4]; 4];
    for (j, column) in columns.iter_mut().enumerate() {
        let d = |i: usize| Lanes::load(&d[i * layout.row + j * layout.channels..]);
        *column = b_times([d(0), d(1), d(2), d(3)]);
    }
    for i in 0..4 {
        let row = b_times([columns[0][i], columns[1][i], columns[2][i], columns[3][i]]);
        for (j, element) in row.into_iter().enumerate() {
            element.store(&mut v[(4 * i + j) * step..]);
        }
    }
}

/// The pooled outputs `y` (windows, O) and their `winner` (windows, O) from the products M.
///
/// With several channels M is a sum over them, `m` (16, windows, O). With one it is `u[e,o] * v[e,w]`: cheaper to compute
/// here, in registers, than to write and read again.
#[inline(always)]
pub fn pool<T: Real>(products: Products<T>, windows: usize, bias: &[T], y: &mut [T], winner: &mut [u32]) {
    let out = bias.len();
    let outputs = y.chunks_exact_mut(out).zip(winner.chunks_exact_mut(out));
    for (w, (y, winner)) in outputs.take(windows).enumerate() {
        let (m, step, factors) = match products {
            Products::Sums(m) => (&m[w * out..], windows * out, [T::one(); FIELD]),
            Products::OneChannel { u, v } => {
                let mut factors = [T::zero(); FIELD];
                factors.iter_mut().zip(v[w..].iter().step_by(windows)).for_each(|(factor, &v)| *factor = v);
                (u, out, factors)
            }
        };
        let mut o = 0;
        while o + 16 <= out {
            pool_window::<T, 16>(&m[o..], step, &factors, &bias[o..], &mut y[o..], &mut winner[o..]);
            o += 16;
        }
        while o < out {
            pool_window::<T, 1>(&m[o..], step, &factors, &bias[o..], &mut y[o..], &mut winner[o..]);
            o += 1;
        }
    }
}

/// What [`pool`] takes M from.
#[derive(Clone, Copy)]
pub enum Products<'a, T> {
    Sums(&'a [T]),
    OneChannel { u: &'a [T], v: &'a [T] },
}

/// `L` outputs of one window: element e of M is `factors[e] * m[e * step..]`, and the largest of the four sums `A^T M A` stays.
#[inline(always)]
fn pool_window<T: Real, const L: usize>(
    m: &[T],
    step: usize,
    factors: &[T; FIELD],
    bias: &[T],
    y: &mut [T],
    winner: &mut [u32],
) {
    let mut elements = [[T::zero(); L]; FIELD];
    for (e, element) in elements.iter_mut().enumerate() {
        *element = (Lanes::<T, L>::load(&m[e * step..]) * factors[e]).0;
    }
    let (bias, y, winner) = (&bias[..L], &mut y[..L], &mut winner[..L]);
    for l in 0..L {
        let a_times = |m: [T; 4]| [m[0] + m[1] + m[2], m[1] - m[2] - m[3]];
        let column = |j: usize| a_times([elements[j][l], elements[4 + j][l], elements[8 + j][l], elements[12 + j][l]]);
        let [a, b, c, d] = [column(0), column(1), column(2), column(3)];
        let (upper, lower) = (a_times([a[0], b[0], c[0], d[0]]), a_times([a[1], b[1], c[1], d[1]]));
        let (mut most, mut best) = (upper[0], 0);
        for (q, sum) in [(1, upper[1]), (2, lower[0]), (3, lower[1])] {
            // `>` keeps the first of equal values, PyTorch's rule for ties.
            best = if sum > most { q } else { best };
            most = if sum > most { sum } else { most };
        }
        most += bias[l];
        let dead = most <= T::zero();
        y[l] = if dead { T::zero() } else { most };
        winner[l] = if dead { DEAD.into() } else { best };
    }
}
