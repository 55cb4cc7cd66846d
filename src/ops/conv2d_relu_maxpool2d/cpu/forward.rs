//! The forward pass.

use super::super::Conv2dReluMaxPool2d;
use super::plane::ForwardPlane;
use super::pool;
use crate::ops::lanes::widest;
use crate::ops::matrix::{Matrix, multiply, transpose};
use crate::ops::winograd::{self, FIELD, Layout};
use crate::ops::{Op, Real, samples_per_task};
use rayon::prelude::*;

/// Windows that are transformed, multiplied and pooled at once: few enough to stay in a core's cache.
const BLOCK: usize = 64;

/// A layer in a forward pass.
pub struct Forward<'a, T> {
    pub op: &'a Conv2dReluMaxPool2d,
    /// (O, C, 3, 3)
    pub weight: &'a [T],
    /// (O)
    pub bias: &'a [T],
    /// (N, O, PH, PW)
    pub y: &'a mut [T],
    /// (N, O, PH, PW)
    pub winner: &'a mut [u8],
}

/// `y[n,o,w] = max(0, max_q(bias[o] + sum_{c,i,j} weight[o,c,i,j] * x[n, c, 2 py + q/2 + i - P, 2 px + q%2 + j - P]))`;
/// `winner[n,o,w]` is that q, or [`DEAD`](super::super::DEAD) where the result is 0.
///
/// `x` (N, C, H, W) is for the first of the `layers`; each of the others takes the `y` of the one before.
///
/// # Panics
/// If there is no layer, or one does not take what the one before it puts out.
pub fn forward<T: Real>(x: &[T], layers: Vec<Forward<T>>) {
    let fit = |pair: &[Forward<T>]| pair[0].op.output_len() == pair[1].op.input_len();
    assert!(layers.windows(2).all(fit), "layers that do not fit each other");
    let input = layers[0].op.input_len();
    let task = samples_per_task(x.len() / input);
    let mut tasks: Vec<_> = x.chunks(input * task).map(|x| (x, Vec::new())).collect();
    let mut prepared = Vec::new();
    for Forward { op, weight, bias, y, winner } in layers {
        prepared.push(Prepared::new(op, weight, bias));
        let output = op.output_len();
        let chunks = y.chunks_mut(output * task).zip(winner.chunks_mut(output * task));
        for ((_, outputs), (y, winner)) in tasks.iter_mut().zip(chunks) {
            outputs.push(y.chunks_exact_mut(output).zip(winner.chunks_exact_mut(output)));
        }
    }
    tasks.into_par_iter().for_each_init(
        || prepared.iter().map(Scratch::new).collect::<Vec<_>>(),
        |scratch, (x, mut outputs)| {
            for mut x in x.chunks_exact(input) {
                for ((layer, scratch), outputs) in prepared.iter().zip(scratch.iter_mut()).zip(&mut outputs) {
                    let (y, winner) = outputs.next().expect("an output for each sample");
                    layer.forward_sample(scratch, x, y, winner);
                    x = y;
                }
            }
        },
    );
}

/// A layer as all tasks read it.
struct Prepared<'a, T> {
    op: &'a Conv2dReluMaxPool2d,
    layout: Layout,
    /// (16, C, O), or (O, 16) where there is one channel.
    u: Vec<T>,
    bias: &'a [T],
}

impl<'a, T: Real> Prepared<'a, T> {
    fn new(op: &'a Conv2dReluMaxPool2d, weight: &[T], bias: &'a [T]) -> Self {
        let mut u = winograd::transform_weight(op.channels, op.out, weight);
        if op.channels == 1 {
            let elements = u.clone();
            transpose(Matrix::new(&elements, FIELD, op.out), &mut u, FIELD);
        }
        Self { op, layout: op.layout(), u, bias }
    }
}

/// A task's buffers for one layer. B is the number of windows in a block.
struct Scratch<T> {
    /// (SH, SW, C)
    image: Vec<T>,
    /// Where there is one channel; the rest is for several.
    plane: Option<ForwardPlane<T>>,
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
    fn new(layer: &Prepared<T>) -> Self {
        let op = layer.op;
        let plane = (op.channels == 1).then(|| ForwardPlane::new(&layer.layout, op.out));
        let block = if plane.is_some() { 0 } else { BLOCK.min(op.windows()) };
        let zeros = |len| vec![T::zero(); len];
        Self {
            image: zeros(layer.layout.len),
            plane,
            v: zeros(FIELD * block * op.channels),
            m: zeros(FIELD * block * op.out),
            y: zeros(block * op.out),
            winner: vec![0; block * op.out],
        }
    }
}

impl<T: Real> Prepared<'_, T> {
    fn forward_sample(&self, scratch: &mut Scratch<T>, x: &[T], y: &mut [T], winner: &mut [u8]) {
        let Self { layout, u, bias, .. } = self;
        let Scratch { image, plane, v, m, y: pooled, winner: winners } = scratch;
        let (channels, out, windows) = (layout.channels, bias.len(), layout.corners.len());
        widest(
            #[inline(always)]
            || layout.write_image(x, image),
        );
        if let Some(plane) = plane {
            widest(
                #[inline(always)]
                || plane.forward(layout, image, u, bias, y, winner),
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
                        pool::pool_window(&m[w * out..], block * out, bias, y, winner);
                    }
                    transpose(Matrix::new(pooled, block, out), &mut y[first..], windows);
                },
            );
            for (o, winner) in winner.chunks_exact_mut(windows).enumerate() {
                let winners = winners.chunks_exact(out);
                winner[first..first + block].iter_mut().zip(winners).for_each(|(winner, winners)| *winner = winners[o]);
            }
        }
    }
}
