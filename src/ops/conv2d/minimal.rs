//! 3x3 convolution of stride 1 by [`winograd`]'s algorithm, each pass in sixteen matrix products. It rounds otherwise
//! than [`super::cpu`], which is the mirror proper.

use super::Conv2d;
use super::cpu::sum_parts;
use crate::ops::lanes::widest;
use crate::ops::matrix::{Matrix, multiply};
use crate::ops::winograd::{self, FIELD, Layout, TAPS};
use crate::ops::{Op, Real, samples_per_task};
use rayon::prelude::*;

/// Windows that are transformed and multiplied at once: few enough to stay in a core's cache.
const BLOCK: usize = 64;

impl Conv2d {
    /// Windows of 2x2 outputs, the last of a row or column of which may be cut off.
    fn windows(&self) -> (usize, usize) {
        let (oh, ow) = self.output_size();
        (oh.div_ceil(2), ow.div_ceil(2))
    }

    fn input_layout(&self) -> Layout {
        Layout::new([self.channels, self.height, self.width], self.padding, self.windows())
    }

    fn output_layout(&self) -> Layout {
        let (oh, ow) = self.output_size();
        Layout::new([self.out, oh, ow], 0, self.windows())
    }

    /// The convolution from the gradient of the output to that of the input.
    fn transposed(&self) -> Self {
        let (height, width) = self.output_size();
        Self { channels: self.out, height, width, out: self.channels, padding: 2 - self.padding, ..self.clone() }
    }
}

/// A task's buffers. B is the number of windows in a block.
struct Scratch<T> {
    /// (SH, SW, C), what the windows see of a sample.
    image: Vec<T>,
    /// The same of its outputs, (SH, SW, O).
    outputs: Vec<T>,
    /// (16, B, C)
    v: Vec<T>,
    /// (16, B, O)
    m: Vec<T>,
}

impl<T: Real> Scratch<T> {
    fn new(op: &Conv2d, input: &Layout, output: &Layout) -> Self {
        let zeros = |len| vec![T::zero(); len];
        let block = BLOCK.min(input.corners.len());
        Self {
            image: zeros(input.len),
            outputs: zeros(output.len),
            v: zeros(FIELD * block * op.channels),
            m: zeros(FIELD * block * op.out),
        }
    }
}

/// As [`super::cpu::forward`].
pub fn forward<T: Real>(op: &Conv2d, x: &[T], weight: &[T], bias: &[T], y: &mut [T], finish: impl Fn(&mut [T]) + Sync) {
    let (channels, out) = (op.channels, op.out);
    let (input, output) = (op.input_layout(), op.output_layout());
    let u = winograd::transform_weight(channels, out, weight);
    let samples = x.par_chunks(op.input_len()).zip(y.par_chunks_mut(op.output_len()));
    samples.for_each_init(
        || Scratch::new(op, &input, &output),
        |Scratch { image, outputs, v, m }, (x, y)| {
            widest(
                #[inline(always)]
                || input.write_image(x, image),
            );
            for (corners, places) in input.corners.chunks(BLOCK).zip(output.corners.chunks(BLOCK)) {
                let block = corners.len();
                widest(
                    #[inline(always)]
                    || winograd::transform_fields(&input, image, corners, v),
                );
                let products = m.chunks_exact_mut(block * out).zip(v.chunks_exact(block * channels));
                for ((m, v), u) in products.zip(u.chunks_exact(channels * out)) {
                    multiply(m, out, Matrix::new(v, block, channels), Matrix::new(u, channels, out), false);
                }
                widest(
                    #[inline(always)]
                    || winograd::write_outputs(&output, m, bias, places, outputs),
                );
            }
            widest(
                #[inline(always)]
                || {
                    output.write_sample(outputs, y);
                    finish(y);
                },
            );
        },
    );
}

/// As [`super::cpu::backward_input`]: the convolution of `d_y` with the kernels turned around.
pub fn backward_input<T: Real>(op: &Conv2d, weight: &[T], d_y: &[T], d_x: &mut [T]) {
    let mut turned = vec![T::zero(); weight.len()]; // (C, O, 3, 3)
    for (o, kernels) in weight.chunks_exact(op.channels * TAPS).enumerate() {
        for (c, taps) in kernels.chunks_exact(TAPS).enumerate() {
            let to = &mut turned[(c * op.out + o) * TAPS..][..TAPS];
            to.iter_mut().zip(taps.iter().rev()).for_each(|(to, &tap)| *to = tap);
        }
    }
    forward(&op.transposed(), d_y, &turned, &vec![T::zero(); op.channels], d_x, |_| {});
}

/// As [`super::cpu::backward_params`].
pub fn backward_params<T: Real>(op: &Conv2d, x: &[T], d_y: &[T], d_weight: &mut [T], d_bias: &mut [T]) {
    let (channels, out) = (op.channels, op.out);
    let (input, output) = (op.input_layout(), op.output_layout());
    let (oh, ow) = op.output_size();
    let task = samples_per_task(x.len() / op.input_len());
    let tasks = x.par_chunks(op.input_len() * task).zip(d_y.par_chunks(op.output_len() * task));
    let parts: Vec<(Vec<T>, Vec<T>)> = tasks
        .map(|(x, d_y)| {
            let Scratch { mut image, mut outputs, mut v, m: mut e } = Scratch::new(op, &input, &output);
            let (mut d_u, mut d_bias) = (vec![T::zero(); FIELD * channels * out], vec![T::zero(); out]);
            for (x, d_y) in x.chunks_exact(op.input_len()).zip(d_y.chunks_exact(op.output_len())) {
                widest(
                    #[inline(always)]
                    || {
                        input.write_image(x, &mut image);
                        output.write_image(d_y, &mut outputs);
                    },
                );
                for (corners, places) in input.corners.chunks(BLOCK).zip(output.corners.chunks(BLOCK)) {
                    let block = corners.len();
                    widest(
                        #[inline(always)]
                        || {
                            winograd::transform_fields(&input, &image, corners, &mut v);
                            winograd::spread_outputs(&output, &outputs, places, &mut e);
                        },
                    );
                    let products = v.chunks_exact(block * channels).zip(e.chunks_exact(block * out));
                    for (d_u, (v, e)) in d_u.chunks_exact_mut(channels * out).zip(products) {
                        let (v, e) = (Matrix::new(v, block, channels), Matrix::new(e, block, out));
                        multiply(d_u, out, v.t(), e, true);
                    }
                }
                for (d_bias, d_y) in d_bias.iter_mut().zip(d_y.chunks_exact(oh * ow)) {
                    *d_bias += d_y.iter().copied().sum();
                }
            }
            (d_u, d_bias)
        })
        .collect();
    let mut d_u = vec![T::zero(); FIELD * channels * out];
    sum_parts(parts, &mut d_u, d_bias);
    winograd::gather_weight(channels, out, &d_u, d_weight);
}
