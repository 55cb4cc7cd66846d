//! 2-D convolution (cross-correlation, as PyTorch's `Conv2d`), stride 1, zero padding, any kernel size.
//!
//! The general form. Where ReLU and 2x2 pooling follow a 3x3 convolution, the plan takes
//! [`super::conv2d_relu_maxpool2d`] instead.

use super::Attribute::Ints;
use super::{
    BackwardSlices, BackwardTensors, Definition, ForwardSlices, ForwardTensors, LayerOp, Misfit, Needed, OnCpu, OnGpu, Op,
    Operator, Place, Shape, weight_and_bias,
};
use crate::gpu::plan::Dispatch;
use crate::gpu::{GpuError, Planner, Shader, Tensor};
use crate::shader;
use serde::{Deserialize, Serialize};
use std::fmt;

pub const SHADER: Shader = shader!("conv2d");

/// The layer: stride 1, square kernel, zero padding.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    pub out: usize,
    pub kernel: usize,
    pub padding: usize,
}

impl fmt::Display for Settings {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Self { out, kernel, padding } = self;
        match padding {
            0 => write!(f, "Conv2d({out}, {kernel}x{kernel})"),
            _ => write!(f, "Conv2d({out}, {kernel}x{kernel}, padding {padding})"),
        }
    }
}

impl Definition for Settings {
    fn output(&self, input: &Shape) -> Result<Shape, Misfit> {
        let &Self { out, kernel, padding } = self;
        match (out, kernel) {
            (0, _) => return Err(Misfit::Setting("needs at least one output")),
            (_, 0) => return Err(Misfit::Setting("a kernel is at least 1x1")),
            (_, kernel) if padding >= kernel => {
                return Err(Misfit::Setting("the padding must be smaller than the kernel"));
            }
            (_, kernel) if kernel > LARGEST => return Err(Misfit::Setting("the kernel is too large")),
            _ => {}
        }
        let [c, h, w] = input.image()?;
        if h + 2 * padding < kernel || w + 2 * padding < kernel {
            let least = kernel - 2 * padding;
            return Err(Misfit::Input(format!("at least ({c}, {least}, {least})")));
        }
        let (oh, ow) = (h + 2 * padding + 1 - kernel, w + 2 * padding + 1 - kernel);
        if [c, kernel, kernel, oh, ow].into_iter().fold(1, usize::saturating_mul) > MOST_UNFOLDED {
            return Err(Misfit::Setting("kernel and image are too large together"));
        }
        Ok(Shape(vec![out, oh, ow]))
    }

    fn parameters(&self, input: &Shape) -> Vec<Needed> {
        weight_and_bias(vec![self.out, input.0[0], self.kernel, self.kernel])
    }

    fn op(&self, input: &Shape, _place: Place) -> Option<Box<dyn LayerOp>> {
        let [channels, height, width] = input.image().ok()?;
        let &Self { out, kernel, padding } = self;
        Some(Box::new(Conv2d { channels, height, width, out, kernel, padding }))
    }

    fn onnx(&self) -> Option<Operator> {
        // Padding on four sides.
        let attributes = vec![Ints("kernel_shape", vec![self.kernel; 2]), Ints("pads", vec![self.padding; 4])];
        Some(Operator { name: "Conv", attributes })
    }
}

/// Beyond any image, and far from any overflow.
const LARGEST: usize = 1 << 28;
/// Elements of an unfolded sample, C * K * K * OH * OW: the mirror keeps one for each thread, and its places.
const MOST_UNFOLDED: usize = 1 << 25;

/// Convolution of (C, H, W) samples with `out` kernels of (C, K, K).
#[derive(Clone, Debug)]
pub struct Conv2d {
    pub channels: usize,
    pub height: usize,
    pub width: usize,
    pub out: usize,
    pub kernel: usize,
    pub padding: usize,
}

impl Conv2d {
    /// (OH, OW): `H + 2P - K + 1` and the same of W.
    pub fn output_size(&self) -> (usize, usize) {
        (self.height + 2 * self.padding + 1 - self.kernel, self.width + 2 * self.padding + 1 - self.kernel)
    }

    /// Elements of the weight (O, C, K, K).
    pub fn weight_len(&self) -> usize {
        self.out * self.fan_in()
    }

    /// C * K * K, the terms of one output.
    pub fn fan_in(&self) -> usize {
        self.channels * self.kernel * self.kernel
    }

    fn dispatch(
        &self,
        planner: &mut Planner,
        n: usize,
        entry: &str,
        buffers: &[(&str, &Tensor, usize)],
        invocations: [usize; 3],
    ) -> Result<(), GpuError> {
        let constants = &[
            ("BATCH", n as f64),
            ("CHANNELS", self.channels as f64),
            ("HEIGHT", self.height as f64),
            ("WIDTH", self.width as f64),
            ("OUT_CHANNELS", self.out as f64),
            ("KERNEL", self.kernel as f64),
            ("PADDING", self.padding as f64),
        ];
        let flops = n as u64 * self.flops();
        planner.dispatch(Dispatch { shader: &SHADER, entry, constants, buffers, invocations, flops })
    }
}

impl Op for Conv2d {
    fn name(&self) -> &'static str {
        SHADER.op
    }

    fn input_len(&self) -> usize {
        self.channels * self.height * self.width
    }

    fn output_len(&self) -> usize {
        let (oh, ow) = self.output_size();
        self.out * oh * ow
    }

    fn flops(&self) -> u64 {
        2 * (self.output_len() * self.fan_in()) as u64
    }
}

impl OnGpu for Conv2d {
    fn plan_forward(&self, planner: &mut Planner, t: &ForwardTensors) -> Result<(), GpuError> {
        let (oh, ow) = self.output_size();
        let buffers = [
            ("x", t.x, t.n * self.input_len()),
            ("weight", &t.params[0], self.weight_len()),
            ("bias", &t.params[1], self.out),
            ("y", t.y, t.n * self.output_len()),
        ];
        self.dispatch(planner, t.n, "forward", &buffers, [oh * ow, self.out, t.n])
    }

    fn plan_backward(&self, planner: &mut Planner, t: &BackwardTensors) -> Result<(), GpuError> {
        let d_y = ("d_y", t.d_y, t.n * self.output_len());
        let (d_weight, d_bias) = (("d_weight", &t.d_params[0], self.weight_len()), ("d_bias", &t.d_params[1], self.out));
        let buffers = [("x", t.x, t.n * self.input_len()), d_y, d_weight, d_bias];
        self.dispatch(planner, t.n, "backward_params", &buffers, [self.fan_in() + 1, self.out, 1])?;
        let Some(d_x) = t.d_x else { return Ok(()) };
        let buffers = [("weight", &t.params[0], self.weight_len()), d_y, ("d_x", d_x, t.n * self.input_len())];
        self.dispatch(planner, t.n, "backward_input", &buffers, [self.height * self.width, self.channels, t.n])
    }
}

impl OnCpu for Conv2d {
    fn forward(&self, s: ForwardSlices) {
        cpu::forward(self, s.x, s.params[0], s.params[1], s.y);
    }

    fn backward(&self, s: BackwardSlices) {
        let [d_weight, d_bias] = s.d_params else { unreachable!("two parameters: weight and bias") };
        cpu::backward_params(self, s.x, s.d_y, d_weight, d_bias);
        if let Some(d_x) = s.d_x {
            cpu::backward_input(self, s.params[0], s.d_y, d_x);
        }
    }
}

/// Convolution as a matrix product: each sample is unfolded into columns (C*K*K, OH*OW), one per output position.
pub mod cpu {
    use super::Conv2d;
    use crate::ops::matrix::{Matrix, multiply};
    use crate::ops::{Real, samples_per_task};
    use rayon::prelude::*;
    use std::ops::Deref;

    /// For every tap (c, ky, kx) and output position: the element of `x` under it, or nothing where that is padding.
    fn taps(op: &Conv2d) -> impl Iterator<Item = (usize, usize)> {
        let (oh, ow) = op.output_size();
        let (h, w, k, p) = (op.height, op.width, op.kernel, op.padding);
        (0..op.fan_in() * oh * ow).filter_map(move |i| {
            let (tap, position) = (i / (oh * ow), i % (oh * ow));
            let (y, x) = (position / ow + tap / k % k, position % ow + tap % k);
            let inside = (p..h + p).contains(&y) && (p..w + p).contains(&x);
            inside.then(|| (i, (tap / (k * k) * h + y - p) * w + x - p))
        })
    }

    /// `y[n,o] = bias[o] + sum_{c,ky,kx} weight[o,c,ky,kx] * x[n, c, y+ky-P, x+kx-P]`
    pub fn forward<T: Real>(op: &Conv2d, x: &[T], weight: &[T], bias: &[T], y: &mut [T]) {
        let (oh, ow) = op.output_size();
        let taps: Vec<_> = taps(op).collect();
        let samples = x.par_chunks(op.channels * op.height * op.width).zip(y.par_chunks_mut(op.out * oh * ow));
        samples.for_each_init(
            || vec![T::zero(); op.fan_in() * oh * ow],
            |columns, (x, y)| {
                taps.iter().for_each(|&(to, from)| columns[to] = x[from]);
                for (y, &bias) in y.chunks_exact_mut(oh * ow).zip(bias) {
                    y.fill(bias);
                }
                let weight = Matrix::new(weight, op.out, op.fan_in());
                multiply(y, oh * ow, weight, Matrix::new(columns, op.fan_in(), oh * ow), true);
            },
        );
    }

    /// `d_x[n,c,y,x] = sum_{o,ky,kx} weight[o,c,ky,kx] * d_y[n, o, y-ky+P, x-kx+P]`
    pub fn backward_input<T: Real>(op: &Conv2d, weight: &[T], d_y: &[T], d_x: &mut [T]) {
        let (oh, ow) = op.output_size();
        let taps: Vec<_> = taps(op).collect();
        let samples = d_x.par_chunks_mut(op.channels * op.height * op.width).zip(d_y.par_chunks(op.out * oh * ow));
        samples.for_each_init(
            || vec![T::zero(); op.fan_in() * oh * ow],
            |columns, (d_x, d_y)| {
                let weight = Matrix::new(weight, op.out, op.fan_in());
                multiply(columns, oh * ow, weight.t(), Matrix::new(d_y, op.out, oh * ow), false);
                d_x.fill(T::zero());
                taps.iter().for_each(|&(from, to)| d_x[to] += columns[from]);
            },
        );
    }

    /// `d_weight[o,c,ky,kx] = sum_{n,y,x} d_y[n,o,y,x] * x[n, c, y+ky-P, x+kx-P]`, `d_bias[o] = sum d_y[:,o]`
    pub fn backward_params<T: Real>(op: &Conv2d, x: &[T], d_y: &[T], d_weight: &mut [T], d_bias: &mut [T]) {
        let (oh, ow) = op.output_size();
        let (input, output) = (op.channels * op.height * op.width, op.out * oh * ow);
        let taps: Vec<_> = taps(op).collect();
        let task = samples_per_task(x.len() / input);
        let parts: Vec<(Vec<T>, Vec<T>)> = x
            .par_chunks(input * task)
            .zip(d_y.par_chunks(output * task))
            .map(|(x, d_y)| {
                let (mut d_weight, mut d_bias) = (vec![T::zero(); op.weight_len()], vec![T::zero(); op.out]);
                let mut columns = vec![T::zero(); op.fan_in() * oh * ow];
                for (x, d_y) in x.chunks_exact(input).zip(d_y.chunks_exact(output)) {
                    taps.iter().for_each(|&(to, from)| columns[to] = x[from]);
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
}
