//! The CPU path of the fused op. Forward is Winograd's algorithm, sixteen matrix products instead of thirty-six; backward
//! follows each window's gradient to the one patch of the input that it came from.
//!
//! A sample is copied to an image first, its channels last. So neighbouring elements are different channels, and every loop
//! fills vector registers however narrow the sample is. Where there is but one channel, they are different windows.

mod image;
mod patches;
mod plane;
mod winograd;

use super::{Conv2dReluMaxPool2d, KERNEL};
use crate::ops::conv2d::cpu::sum_parts;
use crate::ops::lanes::widest;
use crate::ops::matrix::{Matrix, multiply};
use crate::ops::{Real, samples_per_task};
use aligned_vec::avec;
use image::Layout;
use patches::Kernels;
use plane::Plane;
use rayon::prelude::*;
use winograd::FIELD;

/// Elements of a kernel (3, 3).
const TAPS: usize = KERNEL * KERNEL;

/// Windows that are transformed, multiplied and pooled at once: few enough to stay in a core's cache.
const BLOCK: usize = 64;

/// `y[n,o,w] = max(0, max_q(bias[o] + sum_{c,i,j} weight[o,c,i,j] * x[n, c, 2 py + q/2 + i - P, 2 px + q%2 + j - P]))`;
/// `winner[n,o,w]` is that q, or [`DEAD`](super::DEAD) where the result is 0.
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
    /// Where there is one channel; the rest is for several.
    plane: Option<Plane<T>>,
    /// (16, B, C)
    v: Vec<T>,
    /// (16, B, O)
    m: Vec<T>,
    /// (B, O)
    y: Vec<T>,
    /// (B, O)
    winner: Vec<u8>,
}

impl<T: Real> Scratch<T> {
    fn new(op: &Conv2dReluMaxPool2d, layout: &Layout) -> Self {
        let plane = Plane::new(op);
        let block = if plane.is_some() { 0 } else { BLOCK.min(op.windows()) };
        let zeros = |len| vec![T::zero(); len];
        Self {
            image: zeros(layout.len),
            plane,
            v: zeros(FIELD * block * op.channels),
            m: zeros(FIELD * block * op.out),
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
    let Scratch { image, plane, v, m, y: pooled, winner: winners } = scratch;
    let (channels, out, windows) = (layout.channels, bias.len(), layout.corners.len());
    widest(
        #[inline(always)]
        || layout.write_image(x, image),
    );
    if let Some(plane) = plane {
        widest(
            #[inline(always)]
            || {
                plane.read_fields(layout, image);
                plane.transform_fields();
                let planes = y.chunks_exact_mut(windows).zip(winner.chunks_exact_mut(windows));
                for (o, (y, winner)) in planes.enumerate() {
                    plane.pool_channel(&u[o..], out, bias[o], y, winner);
                }
            },
        );
        return;
    }
    for (first, corners) in (0..).step_by(BLOCK).zip(layout.corners.chunks(BLOCK)) {
        let block = corners.len();
        widest(
            #[inline(always)]
            || winograd::transform_fields(layout, image, corners, v),
        );
        let products = m.chunks_exact_mut(block * out).zip(v.chunks_exact(block * channels));
        for ((m, v), u) in products.zip(u.chunks_exact(channels * out)) {
            multiply(m, out, Matrix::new(v, block, channels), Matrix::new(u, channels, out), false);
        }
        widest(
            #[inline(always)]
            || {
                let outputs = pooled.chunks_exact_mut(out).zip(winners.chunks_exact_mut(out)).take(block);
                for (w, (y, winner)) in outputs.enumerate() {
                    winograd::pool_window(&m[w * out..], block * out, bias, y, winner);
                }
            },
        );
        for o in 0..out {
            let to = o * windows + first..o * windows + first + block;
            let pooled = pooled.chunks_exact(out).zip(winners.chunks_exact(out));
            for ((y, winner), (pooled, winners)) in y[to.clone()].iter_mut().zip(&mut winner[to]).zip(pooled) {
                (*y, *winner) = (pooled[o], winners[o]);
            }
        }
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
    let mut weight_last = avec![T::zero(); op.out * kernels.len()];
    kernels.read_weight(weight, &mut weight_last);

    let task = samples_per_task(x.len() / input);
    let d_x: Vec<Option<&mut [T]>> = match d_x {
        Some(d_x) => d_x.chunks_mut(input * task).map(Some).collect(),
        None => (0..x.len().div_ceil(input * task)).map(|_| None).collect(),
    };
    let tasks = x.par_chunks(input * task).zip(d_x).zip(winner.par_chunks(output * task).zip(d_y.par_chunks(output * task)));
    let parts = tasks.map_init(
        || avec![T::zero(); layout.len + Kernels::ALIGN], // the last patch may be read beyond its end
        |image, ((x, d_x), (winner, d_y))| {
            let mut plane = Plane::new(op);
            let mut d_weight = avec![T::zero(); weight_last.len()];
            let mut d_bias = vec![T::zero(); op.out];
            image.fill(T::zero()); // the padding
            let samples = || winner.chunks_exact(output).zip(d_y.chunks_exact(output));
            for (x, (winner, d_y)) in x.chunks_exact(input).zip(samples()) {
                widest(
                    #[inline(always)]
                    || {
                        layout.write_image(x, image);
                        if let Some(plane) = &mut plane {
                            plane.read_fields(layout, image);
                            plane.add_params(winner, d_y);
                        } else {
                            patches::add_params(layout, kernels, image, winner, d_y, &mut d_weight, &mut d_bias);
                        }
                    },
                );
            }
            if let Some(plane) = plane {
                plane.write_params(kernels, &mut d_weight, &mut d_bias);
            }
            for (d_x, (winner, d_y)) in d_x.into_iter().flat_map(|d_x| d_x.chunks_exact_mut(input)).zip(samples()) {
                widest(
                    #[inline(always)]
                    || {
                        image.fill(T::zero());
                        patches::add_input(layout, kernels, &weight_last, winner, d_y, image);
                        layout.write_sample(image, d_x);
                    },
                );
            }
            (d_weight, d_bias)
        },
    );
    let mut d_weight_last = weight_last.clone();
    sum_parts(parts.collect(), &mut d_weight_last, d_bias);
    kernels.write_weight(&d_weight_last, d_weight);
}
