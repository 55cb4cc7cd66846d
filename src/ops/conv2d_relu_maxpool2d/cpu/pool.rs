//! The largest of a window's four outputs, which are the sums of Winograd's algorithm.

use super::super::DEAD;
use crate::ops::Real;
use crate::ops::lanes::Lanes;
use crate::ops::winograd::{FIELD, a_times};

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
