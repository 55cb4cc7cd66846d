//! Convolution as a matrix product: each sample is unfolded into columns (C*K*K, OH*OW), one per output position.

use super::Conv2d;
use crate::ops::lanes::widest;
use crate::ops::matrix::{Matrix, multiply};
use crate::ops::{Real, samples_per_task};
use rayon::prelude::*;
use std::ops::{Deref, Range};

/// A tap (c, ky, kx) over a row of outputs.
struct Run {
    /// Where it begins among the columns.
    at: usize,
    /// Which of the outputs meet the image, and where in a sample the first of those lies.
    met: Option<(Range<usize>, usize)>,
}

/// Each tap over each row of outputs, in order.
fn runs(op: &Conv2d) -> Vec<Run> {
    let (oh, ow) = op.output_size();
    let &Conv2d { height, width, kernel, padding, stride, .. } = op;
    let run = |row: usize| {
        let (tap, oy) = (row / oh, row % oh);
        let (c, ky, kx) = (tap / (kernel * kernel), tap / kernel % kernel, tap % kernel);
        let y = (oy * stride + ky).checked_sub(padding).filter(|&y| y < height);
        // Outputs ox with 0 <= ox * stride + kx - padding < width.
        let first = padding.saturating_sub(kx).div_ceil(stride);
        let end = (width + padding).saturating_sub(kx).div_ceil(stride).min(ow);
        let met = y.filter(|_| first < end);
        let met = met.map(|y| (first..end, (c * height + y) * width + first * stride + kx - padding));
        Run { at: row * ow, met }
    };
    (0..op.fan_in() * oh).map(run).collect()
}

/// Writes the element of `x` under each tap and output to `columns` (C*K*K, OH*OW), 0 where that is padding.
fn unfold<T: Real>(op: &Conv2d, runs: &[Run], x: &[T], columns: &mut [T]) {
    let (_, ow) = op.output_size();
    for Run { at, met } in runs {
        let row = &mut columns[*at..at + ow];
        let Some((outputs, from)) = met else {
            row.fill(T::zero());
            continue;
        };
        row[..outputs.start].fill(T::zero());
        row[outputs.end..].fill(T::zero());
        let row = &mut row[outputs.clone()];
        match op.stride {
            1 => row.copy_from_slice(&x[*from..][..row.len()]),
            stride => row.iter_mut().zip(x[*from..].iter().step_by(stride)).for_each(|(to, &x)| *to = x),
        }
    }
}

/// Adds each of the `columns` to the element of `d_x` that it was unfolded from.
fn fold<T: Real>(op: &Conv2d, runs: &[Run], columns: &[T], d_x: &mut [T]) {
    d_x.fill(T::zero());
    for Run { at, met } in runs {
        let Some((outputs, to)) = met else { continue };
        let row = &columns[at + outputs.start..at + outputs.end];
        d_x[*to..].iter_mut().step_by(op.stride).zip(row).for_each(|(d_x, &column)| *d_x += column);
    }
}

/// `y[n,o,r,k] = bias[o] + sum_{c,i,j} weight[o,c,i,j] * x[n, c, S*r+i-P, S*k+j-P]`, and then `finish` of each sample
pub fn forward<T: Real>(op: &Conv2d, x: &[T], weight: &[T], bias: &[T], y: &mut [T], finish: impl Fn(&mut [T]) + Sync) {
    let (oh, ow) = op.output_size();
    let runs = runs(op);
    let samples = x.par_chunks(op.channels * op.height * op.width).zip(y.par_chunks_mut(op.out * oh * ow));
    samples.for_each_init(
        || vec![T::zero(); op.fan_in() * oh * ow],
        |columns, (x, y)| {
            unfold(op, &runs, x, columns);
            for (y, &bias) in y.chunks_exact_mut(oh * ow).zip(bias) {
                y.fill(bias);
            }
            let weight = Matrix::new(weight, op.out, op.fan_in());
            multiply(y, oh * ow, weight, Matrix::new(columns, op.fan_in(), oh * ow), true);
            widest(
                #[inline(always)]
                || finish(y),
            );
        },
    );
}

/// `d_x[n,c,r,k] = sum_{o,i,j} weight[o,c,i,j] * d_y[n, o, (r-i+P)/S, (k-j+P)/S]`, of which only whole places count
pub fn backward_input<T: Real>(op: &Conv2d, weight: &[T], d_y: &[T], d_x: &mut [T]) {
    let (oh, ow) = op.output_size();
    let runs = runs(op);
    let samples = d_x.par_chunks_mut(op.channels * op.height * op.width).zip(d_y.par_chunks(op.out * oh * ow));
    samples.for_each_init(
        || vec![T::zero(); op.fan_in() * oh * ow],
        |columns, (d_x, d_y)| {
            let weight = Matrix::new(weight, op.out, op.fan_in());
            multiply(columns, oh * ow, weight.t(), Matrix::new(d_y, op.out, oh * ow), false);
            fold(op, &runs, columns, d_x);
        },
    );
}

/// `d_weight[o,c,i,j] = sum_{n,r,k} d_y[n,o,r,k] * x[n, c, S*r+i-P, S*k+j-P]`,
/// `d_bias[o] = sum_{n,r,k} d_y[n,o,r,k]`
pub fn backward_params<T: Real>(op: &Conv2d, x: &[T], d_y: &[T], d_weight: &mut [T], d_bias: &mut [T]) {
    let (oh, ow) = op.output_size();
    let (input, output) = (op.channels * op.height * op.width, op.out * oh * ow);
    let runs = runs(op);
    let task = samples_per_task(x.len() / input);
    let parts: Vec<(Vec<T>, Vec<T>)> = x
        .par_chunks(input * task)
        .zip(d_y.par_chunks(output * task))
        .map(|(x, d_y)| {
            let (mut d_weight, mut d_bias) = (vec![T::zero(); op.weight_len()], vec![T::zero(); op.out]);
            let mut columns = vec![T::zero(); op.fan_in() * oh * ow];
            for (x, d_y) in x.chunks_exact(input).zip(d_y.chunks_exact(output)) {
                unfold(op, &runs, x, &mut columns);
                let d_y_matrix = Matrix::new(d_y, op.out, oh * ow);
                multiply(&mut d_weight, op.fan_in(), d_y_matrix, Matrix::new(&columns, op.fan_in(), oh * ow).t(), true);
                for (d_bias, d_y) in d_bias.iter_mut().zip(d_y.chunks_exact(oh * ow)) {
                    *d_bias += d_y.iter().copied().sum();
                }
            }
            (d_weight, d_bias)
        })
        .collect();
    sum_parts(parts, d_weight, d_bias);
}

/// Adds up the tasks' gradients in the order of the tasks.
pub fn sum_parts<T: Real>(parts: Vec<(impl Deref<Target = [T]>, Vec<T>)>, d_weight: &mut [T], d_bias: &mut [T]) {
    d_weight.fill(T::zero());
    d_bias.fill(T::zero());
    for (part_weight, part_bias) in parts {
        d_weight.iter_mut().zip(&*part_weight).for_each(|(sum, &part)| *sum += part);
        d_bias.iter_mut().zip(part_bias).for_each(|(sum, part)| *sum += part);
    }
}
