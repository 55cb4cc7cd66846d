//! The backward pass over several channels. A window's gradient belongs to one patch (3, 3, C) of the image, whose rows of 3 * C
//! neighbours fill vector registers.

use super::super::{Conv2dReluMaxPool2d, DEAD, KERNEL};
use super::TAPS;
use super::image::Layout;
use crate::ops::Real;
use crate::ops::lanes::Lanes;

/// Columns of a patch whose three rows of sums stay in registers.
const COLUMNS: usize = 32;

/// Winners that a window can have, the dead among them.
const WINNERS: usize = DEAD as usize + 1;

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

/// Adds a sample's part of the parameters' gradients: `d_weight` (O, 3, R) and `d_bias` (O).
#[inline(always)]
pub fn add_params<T: Real>(
    layout: &Layout,
    kernels: &Kernels,
    image: &[T],
    winner: &[u8],
    d_y: &[T],
    d_weight: &mut [T],
    d_bias: &mut [T],
) {
    let windows = layout.corners.len();
    let [a, b, c, d] = layout.patches();
    let patches = [a, b, c, d, 0]; // indexed by winners, the dead among them
    let mut terms = vec![(0, T::zero()); windows];
    let planes = winner.chunks_exact(windows).zip(d_y.chunks_exact(windows));
    let params = d_weight.chunks_exact_mut(kernels.len()).zip(d_bias);
    for ((winner, d_y), (d_weight, d_bias)) in planes.zip(params) {
        let mut alive = 0;
        for ((&q, &d_y), &corner) in winner.iter().zip(d_y).zip(&layout.corners) {
            // Always written, kept by counting: which windows are dead is nothing that a processor could predict.
            terms[alive] = (corner + patches[q as usize], d_y);
            alive += usize::from(q != DEAD);
        }
        let terms = &terms[..alive];
        *d_bias += terms.iter().map(|&(_, d)| d).sum();
        add_patches(d_weight, kernels.row, terms, image, layout.row, kernels.row);
    }
}

/// Adds a sample's gradients to `d_image` (SH, SW, C).
#[inline(always)]
pub fn add_input<T: Real>(layout: &Layout, kernels: &Kernels, weight: &[T], winner: &[u8], d_y: &[T], d_image: &mut [T]) {
    let (ends, terms) = sort_terms(kernels, layout.corners.len(), winner, d_y);
    // All windows take some columns of the kernels before any takes the next: so few stay in a core's nearest cache.
    for at in (0..kernels.row).step_by(COLUMNS) {
        let columns = COLUMNS.min(kernels.row - at);
        let mut begin = 0;
        for (&corner, ends) in layout.corners.iter().zip(ends.chunks_exact(WINNERS)) {
            for (&end, patch) in ends.iter().zip(layout.patches()) {
                let to = &mut d_image[corner + patch + at..];
                add_patches(to, layout.row, &terms[begin..end], &weight[at..], kernels.row, columns);
                begin = end;
            }
            begin = ends[usize::from(DEAD)];
        }
    }
}

/// A sample's gradients as terms (at, d), where `at` is where the output channel's kernel begins: those of each window and winner, the
/// dead among them, in the order of the channels. They end where the five numbers of each window say, (PH * PW, 5), and begin
/// where the ones before end.
///
/// Not compiled for wide registers, of which it makes no use.
fn sort_terms<T: Real>(kernels: &Kernels, windows: usize, winner: &[u8], d_y: &[T]) -> (Vec<usize>, Vec<(usize, T)>) {
    let mut ends = vec![0; WINNERS * windows];
    for winner in winner.chunks_exact(windows) {
        for (ends, &q) in ends.chunks_exact_mut(WINNERS).zip(winner) {
            ends[usize::from(q)] += 1;
        }
    }
    let mut begin = 0;
    for end in &mut ends {
        (*end, begin) = (begin, begin + *end);
    }
    // Each list begins where it ends for now, and grows from there.
    let mut terms = vec![(0, T::zero()); winner.len()];
    let planes = winner.chunks_exact(windows).zip(d_y.chunks_exact(windows));
    for (kernel, (winner, d_y)) in (0..).step_by(kernels.len()).zip(planes) {
        for (ends, (&q, &d)) in ends.chunks_exact_mut(WINNERS).zip(winner.iter().zip(d_y)) {
            let end = &mut ends[usize::from(q)];
            terms[*end] = (kernel, d);
            *end += 1;
        }
    }
    (ends, terms)
}

/// `to += sum d * from[at..]` over the `terms` (at, d), for the first `columns` of patches (3, R) whose rows lie `to_row` and `from_row` apart.
#[inline(always)]
fn add_patches<T: Real>(to: &mut [T], to_row: usize, terms: &[(usize, T)], from: &[T], from_row: usize, columns: usize) {
    let mut at = 0;
    while at + COLUMNS <= columns {
        add_columns::<T, COLUMNS>(&mut to[at..], to_row, terms, &from[at..], from_row);
        at += COLUMNS;
    }
    while at < columns {
        add_columns::<T, { Kernels::ALIGN }>(&mut to[at..], to_row, terms, &from[at..], from_row);
        at += Kernels::ALIGN;
    }
}

/// The same for `L` columns, whose sums stay in registers.
#[inline(always)]
fn add_columns<T: Real, const L: usize>(to: &mut [T], to_row: usize, terms: &[(usize, T)], from: &[T], from_row: usize) {
    let mut sums = [Lanes::<T, L>::zero(); KERNEL];
    for (i, sum) in sums.iter_mut().enumerate() {
        *sum = Lanes::load(&to[i * to_row..]);
    }
    for &(at, d) in terms {
        let from = &from[at..at + 2 * from_row + L];
        for (i, sum) in sums.iter_mut().enumerate() {
            *sum = *sum + Lanes::load(&from[i * from_row..]) * d;
        }
    }
    for (i, sum) in sums.into_iter().enumerate() {
        sum.store(&mut to[i * to_row..]);
    }
}
