//! The CPU path of the fused op. Forward is Winograd's algorithm, sixteen matrix products instead of thirty-six; backward
//! follows each window's gradient to the one patch of the input that it came from.
//!
//! A sample is copied to an image first, its channels last. So neighbouring elements are different channels, and every loop
//! fills vector registers however narrow the sample is.

mod image;
mod winograd;

use super::{Conv2dReluMaxPool2d, DEAD, KERNEL};
use crate::ops::conv2d::cpu::sum_parts;
use crate::ops::lanes::{Lanes, widest};
use crate::ops::matrix::{Matrix, multiply};
use crate::ops::{Real, samples_per_task};
use image::Layout;
use rayon::prelude::*;
use winograd::{FIELD, Products};

/// Elements of a kernel (3, 3).
const TAPS: usize = KERNEL * KERNEL;

/// Windows that are transformed, multiplied and pooled at once: few enough to stay in a core's cache.
const BLOCK: usize = 64;

/// `y[n,o,w] = max(0, max_q(bias[o] + sum_{c,i,j} weight[o,c,i,j] * x[n, c, 2 py + q/2 + i - P, 2 px + q%2 + j - P]))`;
/// `winner[n,o,w]` is that q, or [`DEAD`] where the result is 0.
pub fn forward<T: Real>(op: &Conv2dReluMaxPool2d, x: &[T], weight: &[T], bias: &[T], y: &mut [T], winner: &mut [u8]) {
    let (input, output) = (op.channels * op.height * op.width, op.out * op.windows());
    let (layout, u) = (&Layout::new(op), &winograd::transform_weight(op, weight));
    let task = samples_per_task(x.len() / input);
    let tasks = x.par_chunks(input * task).zip(y.par_chunks_mut(output * task).zip(winner.par_chunks_mut(output * task)));
    tasks.for_each_init(
        || Scratch::new(op, layout),
        |scratch, (x, (y, winner))| {
            let outputs = y.chunks_exact_mut(output).zip(winner.chunks_exact_mut(output));
            for (x, (y, winner)) in x.chunks_exact(input).zip(outputs) {
                forward_sample(layout, scratch, x, u, bias, y, winner);
            }
        },
    );
}

/// What a task of the forward pass computes on its way; B is a block of windows.
struct Scratch<T> {
    /// (SH, SW, C)
    image: Vec<T>,
    /// (16, B, C)
    v: Vec<T>,
    /// (16, B, O), of no use with one channel
    m: Vec<T>,
    /// (B, O)
    y: Vec<T>,
    /// (B, O), each as wide as a float, since a comparison of floats chooses it
    winner: Vec<u32>,
}

impl<T: Real> Scratch<T> {
    fn new(op: &Conv2dReluMaxPool2d, layout: &Layout) -> Self {
        let block = BLOCK.min(op.windows());
        let products = if op.channels > 1 { FIELD * block * op.out } else { 0 };
        let zeros = |len| vec![T::zero(); len];
        Self {
            image: zeros(layout.len),
            v: zeros(FIELD * block * op.channels),
            m: zeros(products),
            y: zeros(block * op.out),
            winner: vec![0; block * op.out],
        }
    }
}

fn forward_sample<T: Real>(
    layout: &Layout,
    scratch: &mut Scratch<T>,
    x: &[T],
    u: &[T],
    bias: &[T],
    y: &mut [T],
    winner: &mut [u8],
) {
    let Scratch { image, v, m, y: pooled, winner: winners } = scratch;
    let (channels, out, windows) = (layout.channels, bias.len(), layout.corners.len());
    widest(
        #[inline(always)]
        || layout.write_image(x, image),
    );
    for (first, corners) in (0..).step_by(BLOCK).zip(layout.corners.chunks(BLOCK)) {
        let block = corners.len();
        widest(
            #[inline(always)]
            || winograd::transform_fields(layout, image, corners, v),
        );
        let products = if channels == 1 {
            Products::OneChannel { u, v }
        } else {
            let products = m.chunks_exact_mut(block * out).zip(v.chunks_exact(block * channels));
            for ((m, v), u) in products.zip(u.chunks_exact(channels * out)) {
                multiply(m, out, Matrix::new(v, block, channels), Matrix::new(u, channels, out), false);
            }
            Products::Sums(m)
        };
        widest(
            #[inline(always)]
            || winograd::pool(products, block, bias, pooled, winners),
        );
        for o in 0..out {
            let to = o * windows + first..o * windows + first + block;
            let pooled = pooled.chunks_exact(out).zip(winners.chunks_exact(out));
            for ((y, winner), (pooled, winners)) in y[to.clone()].iter_mut().zip(&mut winner[to]).zip(pooled) {
                (*y, *winner) = (pooled[o], winners[o] as u8);
            }
        }
    }
}

/// The kernels with their channels last: (O, 3, R), where the 3 * C elements of a row are filled up to R.
struct Kernels {
    channels: usize,
    row: usize,
}

impl Kernels {
    /// R is a multiple of this, so that small rows fill a vector register too.
    const ALIGN: usize = 4;

    fn new(op: &Conv2dReluMaxPool2d) -> Self {
        Self { channels: op.channels, row: (KERNEL * op.channels).next_multiple_of(Self::ALIGN) }
    }

    /// Elements of one kernel.
    fn len(&self) -> usize {
        KERNEL * self.row
    }

    /// Where element `i` of a weight (O, C, 3, 3) lies.
    fn place(&self, i: usize) -> usize {
        let (o, c, tap) = (i / TAPS / self.channels, i / TAPS % self.channels, i % TAPS);
        o * self.len() + tap / KERNEL * self.row + tap % KERNEL * self.channels + c
    }
}

/// All gradients at once: they share the winners and their images.
///
/// A window with gradient d, whose winner was computed from a patch (3, 3, C) of the image, adds `d * patch` to its
/// kernel's gradient and `d * kernel` to the patch's gradient. The other three elements of the window have no part.
#[allow(clippy::too_many_arguments)] // the op's tensors, each of them once
pub fn backward<T: Real>(
    op: &Conv2dReluMaxPool2d,
    x: &[T],
    weight: &[T],
    winner: &[u8],
    d_y: &[T],
    d_x: Option<&mut [T]>,
    d_weight: &mut [T],
    d_bias: &mut [T],
) {
    let (input, output) = (op.channels * op.height * op.width, op.out * op.windows());
    let (layout, kernels) = (&Layout::new(op), &Kernels::new(op));
    let mut weight_last = vec![T::zero(); op.out * kernels.len()];
    weight.iter().enumerate().for_each(|(i, &weight)| weight_last[kernels.place(i)] = weight);

    let task = samples_per_task(x.len() / input);
    let d_x: Vec<Option<&mut [T]>> = match d_x {
        Some(d_x) => d_x.chunks_mut(input * task).map(Some).collect(),
        None => (0..x.len().div_ceil(input * task)).map(|_| None).collect(),
    };
    let tasks = x.par_chunks(input * task).zip(d_x).zip(winner.par_chunks(output * task).zip(d_y.par_chunks(output * task)));
    let parts = tasks.map_init(
        || vec![T::zero(); layout.len + Kernels::ALIGN], // the last patch may be read beyond its end
        |image, ((x, d_x), (winner, d_y))| {
            let (mut d_weight, mut d_bias) = (vec![T::zero(); weight_last.len()], vec![T::zero(); op.out]);
            image.fill(T::zero()); // the padding
            let samples = || winner.chunks_exact(output).zip(d_y.chunks_exact(output));
            for (x, (winner, d_y)) in x.chunks_exact(input).zip(samples()) {
                widest(
                    #[inline(always)]
                    || {
                        layout.write_image(x, image);
                        add_params(layout, kernels, image, winner, d_y, &mut d_weight, &mut d_bias);
                    },
                );
            }
            for (d_x, (winner, d_y)) in d_x.into_iter().flat_map(|d_x| d_x.chunks_exact_mut(input)).zip(samples()) {
                widest(
                    #[inline(always)]
                    || {
                        image.fill(T::zero());
                        add_input(layout, kernels, &weight_last, winner, d_y, image);
                        layout.write_sample(image, d_x);
                    },
                );
            }
            (d_weight, d_bias)
        },
    );
    let mut d_weight_last = weight_last.clone();
    sum_parts(parts.collect(), &mut d_weight_last, d_bias);
    d_weight.iter_mut().enumerate().for_each(|(i, d_weight)| *d_weight = d_weight_last[kernels.place(i)]);
}

/// Adds a sample's part of the parameters' gradients: `d_weight` (O, 3, R) and `d_bias` (O).
#[inline(always)]
fn add_params<T: Real>(
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
fn add_input<T: Real>(layout: &Layout, kernels: &Kernels, weight: &[T], winner: &[u8], d_y: &[T], d_image: &mut [T]) {
    let windows = layout.corners.len();
    // A list for each q, and one for the dead.
    let mut terms: [Vec<(usize, T)>; 5] = std::array::from_fn(|_| Vec::with_capacity(winner.len() / windows));
    for (w, &corner) in layout.corners.iter().enumerate() {
        terms.iter_mut().for_each(Vec::clear);
        let outputs = winner[w..].iter().zip(&d_y[w..]).step_by(windows);
        for (kernel, (&q, &d)) in (0..).step_by(kernels.len()).zip(outputs) {
            terms[q as usize].push((kernel, d));
        }
        for (terms, patch) in terms.iter().zip(layout.patches()) {
            add_patches(&mut d_image[corner + patch..], layout.row, terms, weight, kernels.row, kernels.row);
        }
    }
}

/// `to += sum d * from[at..]` over the `terms` (at, d), for patches (3, R) whose rows lie `to_row` and `from_row` apart.
#[inline(always)]
fn add_patches<T: Real>(to: &mut [T], to_row: usize, terms: &[(usize, T)], from: &[T], from_row: usize, row: usize) {
    let mut at = 0;
    while at + 32 <= row {
        add_columns::<T, 32>(&mut to[at..], to_row, terms, &from[at..], from_row);
        at += 32;
    }
    while at < row {
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
