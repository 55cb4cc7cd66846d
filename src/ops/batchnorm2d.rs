//! Batch normalisation of images, as PyTorch's `BatchNorm2d` (S. Ioffe, C. Szegedy, Batch Normalization, 2015,
//! arXiv:1502.03167): in training by the statistics of the batch, in an evaluation by their running means.

use super::Attribute::Float;
use super::relu::Relu;
use super::{
    BackwardSlices, BackwardTensors, Definition, ForwardSlices, ForwardTensors, Init, LayerOp, Misfit, Needed, OnCpu, OnGpu,
    Op, Operator, Place, Shape, Spoken, TextError, Words,
};
use crate::gpu::plan::{Dispatch, in_turns};
use crate::gpu::{GpuError, Planner, Shader, Tensor};
use crate::shader;
use std::any::Any;
use std::fmt;

pub const SHADER: Shader = shader!("batchnorm2d");

/// Added to the variance, and the share of a batch's statistics in the running ones: PyTorch's defaults.
const EPSILON: f32 = 1e-5;
const MOMENTUM: f32 = 0.1;

/// The layer, which has none.
pub struct Settings;

impl fmt::Display for Settings {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("BatchNorm2d")
    }
}

impl Spoken for Settings {
    const NAMES: &'static [&'static str] = &["bn", "batchnorm", "BatchNorm2d"];
    const USAGE: &'static str = "bn";

    fn words(&self) -> String {
        Self::USAGE.into()
    }

    fn parse(_words: &mut Words) -> Result<Self, TextError> {
        Ok(Self)
    }
}

impl Definition for Settings {
    fn output(&self, input: &Shape) -> Result<Shape, Misfit> {
        input.image().map(|_| input.clone())
    }

    fn parameters(&self, input: &Shape) -> Vec<Needed> {
        let tensor = |name, value| Needed { name, shape: vec![input.0[0]], init: Init::Constant(value) };
        vec![tensor("weight", 1.0), tensor("bias", 0.0)]
    }

    fn buffers(&self, input: &Shape) -> Vec<Needed> {
        let tensor = |name, value| Needed { name, shape: vec![input.0[0]], init: Init::Constant(value) };
        vec![tensor("running_mean", 0.0), tensor("running_var", 1.0)]
    }

    fn op(&self, input: &Shape, _place: Place) -> Option<Box<dyn LayerOp>> {
        let [channels, height, width] = input.image().ok()?;
        Some(Box::new(BatchNorm2d { channels, plane: height * width, relu: false }))
    }

    fn onnx(&self) -> Option<Operator> {
        Some(Operator { name: "BatchNormalization", attributes: vec![Float("epsilon", EPSILON)] })
    }
}

/// Normalisation of `channels` channels of `plane` elements each, and ReLU behind it where `relu` is set.
#[derive(Clone, Debug)]
pub struct BatchNorm2d {
    pub channels: usize,
    /// H * W
    pub plane: usize,
    pub relu: bool,
}

/// Makes normalisation and the ReLU after it one op.
pub fn with_relu(ops: &[&dyn Any]) -> Option<(usize, Box<dyn LayerOp>)> {
    let [norm, relu, ..] = ops else { return None };
    let (norm, _) = (norm.downcast_ref::<BatchNorm2d>().filter(|norm| !norm.relu)?, relu.downcast_ref::<Relu>()?);
    Some((2, Box::new(BatchNorm2d { relu: true, ..norm.clone() })))
}

impl BatchNorm2d {
    /// Numbers of a channel that a backward pass needs: see [`cpu::Channel`].
    pub(super) const SAVED: usize = 4;

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
            ("PLANE", self.plane as f64),
            ("EPSILON", f64::from(EPSILON)),
            ("MOMENTUM", f64::from(MOMENTUM)),
            ("RELU", f64::from(u8::from(self.relu))),
        ];
        planner.dispatch(Dispatch { shader: &SHADER, entry, constants, buffers, invocations, flops: 0 })
    }

    /// Writes `channels`, as an evaluation has them.
    pub(super) fn plan_recall(
        &self,
        planner: &mut Planner,
        n: usize,
        params: &[Tensor],
        buffers: &[Tensor],
        channels: &Tensor,
    ) -> Result<(), GpuError> {
        let c = self.channels;
        let (weight, bias) = (("weight", &params[0], c), ("bias", &params[1], c));
        let (mean, var) = (("running_mean", &buffers[0], c), ("running_var", &buffers[1], c));
        let buffers = [weight, bias, ("channels", channels, Self::SAVED * c), mean, var];
        self.dispatch(planner, n, "recall", &buffers, [c, 1, 1])
    }

    /// A workgroup for each channel.
    fn by_channel(&self) -> [usize; 3] {
        [self.channels * SHADER.constant("GROUP"), 1, 1]
    }

    /// An invocation for each element of a plane, which takes planes in turns.
    fn by_element(&self, n: usize) -> [usize; 3] {
        [self.plane, in_turns(n * self.channels), 1]
    }
}

impl Op for BatchNorm2d {
    fn name(&self) -> &'static str {
        SHADER.op
    }

    fn input_len(&self) -> usize {
        self.channels * self.plane
    }

    fn output_len(&self) -> usize {
        self.channels * self.plane
    }

    /// Needed once for a batch. There is no less than one sample in it.
    fn saved_words(&self) -> usize {
        Self::SAVED * self.channels
    }
}

impl OnGpu for BatchNorm2d {
    fn plan_forward(&self, planner: &mut Planner, t: &ForwardTensors) -> Result<(), GpuError> {
        let (c, len) = (self.channels, t.n * self.input_len());
        let channels = ("channels", t.saved, Self::SAVED * c);
        if t.training {
            let (weight, bias) = (("weight", &t.params[0], c), ("bias", &t.params[1], c));
            let (mean, var) = (("running_mean", &t.buffers[0], c), ("running_var", &t.buffers[1], c));
            let buffers = [("x", t.x, len), weight, bias, channels, mean, var];
            self.dispatch(planner, t.n, "statistics", &buffers, self.by_channel())?;
        } else {
            self.plan_recall(planner, t.n, t.params, t.buffers, t.saved)?;
        }
        let buffers = [("x", t.x, len), channels, ("y", t.y, len)];
        self.dispatch(planner, t.n, "forward", &buffers, self.by_element(t.n))
    }

    fn plan_backward(&self, planner: &mut Planner, t: &BackwardTensors) -> Result<(), GpuError> {
        let (c, len) = (self.channels, t.n * self.input_len());
        let (x, d_y, channels) = (("x", t.x, len), ("d_y", t.d_y, len), ("channels", t.saved, Self::SAVED * c));
        let (d_weight, d_bias) = (("d_weight", &t.d_params[0], c), ("d_bias", &t.d_params[1], c));
        let buffers = [x, d_y, channels, d_weight, d_bias];
        self.dispatch(planner, t.n, "backward_params", &buffers, self.by_channel())?;
        let Some(d_x) = t.d_x else { return Ok(()) };
        let buffers = [x, d_y, channels, d_weight, d_bias, ("d_x", d_x, len)];
        self.dispatch(planner, t.n, "backward_input", &buffers, self.by_element(t.n))
    }
}

impl OnCpu for BatchNorm2d {
    fn forward(&self, s: ForwardSlices) {
        let [running_mean, running_var] = s.buffers else { unreachable!("two buffers: running mean and variance") };
        let channels = match s.training {
            true => cpu::statistics(self, s.x, s.params[0], s.params[1], running_mean, running_var),
            false => cpu::recall(s.params[0], s.params[1], running_mean, running_var),
        };
        cpu::forward(self, s.x, &channels, s.y);
        for (saved, channel) in s.saved.chunks_exact_mut(Self::SAVED).zip(&channels) {
            saved.copy_from_slice(&[channel.mean, channel.scale, channel.weight, channel.bias].map(f32::to_bits));
        }
    }

    fn backward(&self, s: BackwardSlices) {
        let [d_weight, d_bias] = s.d_params else { unreachable!("two parameters: weight and bias") };
        let saved = s.saved.chunks_exact(Self::SAVED).take(self.channels);
        let channels: Vec<cpu::Channel<f32>> = saved.map(cpu::Channel::of_saved).collect();
        cpu::backward_params(self, s.x, &channels, s.d_y, d_weight, d_bias);
        if let Some(d_x) = s.d_x {
            cpu::backward_input(self, s.x, &channels, s.d_y, d_weight, d_bias, d_x);
        }
    }
}

/// Each sample's planes are summed while they are in the cache, and then the samples' sums, in their order.
pub mod cpu {
    use super::{BatchNorm2d, EPSILON, MOMENTUM};
    use crate::ops::Real;
    use crate::ops::lanes::{Lanes, widest};
    use rayon::prelude::*;

    /// Elements that are summed side by side.
    const LANES: usize = 16;

    /// What the passes need of a channel.
    #[derive(Clone, Copy, Debug)]
    pub struct Channel<T> {
        pub mean: T,
        /// `1 / sqrt(variance + EPSILON)`
        pub scale: T,
        pub weight: T,
        pub bias: T,
    }

    impl<T: Real> Channel<T> {
        /// From the words that a forward pass saved of it.
        pub fn of_saved(words: &[u32]) -> Self {
            let number = |i: usize| T::of(f32::from_bits(words[i]).into());
            Self { mean: number(0), scale: number(1), weight: number(2), bias: number(3) }
        }
    }

    /// The sum of `term` of all elements: lane by lane, then over the lanes, then what is left.
    #[inline(always)]
    fn sum<T: Real>(elements: &[T], term: impl Fn(T) -> T) -> T {
        let (whole, rest) = elements.as_chunks::<LANES>();
        let mut lanes = [T::zero(); LANES];
        for chunk in whole {
            for (lane, &element) in lanes.iter_mut().zip(chunk) {
                *lane += term(element);
            }
        }
        lanes.iter().copied().sum::<T>() + rest.iter().map(|&element| term(element)).sum()
    }

    /// `mean = sum x / M` and `var = sum (x - mean)^2 / M` over the M elements of each channel. The running statistics
    /// (C) follow by `MOMENTUM`; theirs is the unbiased variance, over M - 1.
    ///
    /// A plane's own mean and sum of squares around it are enough: `sum (x - mean)^2` is the sum of the latter, and of
    /// `H * W * (the plane's mean - mean)^2`.
    pub fn statistics<T: Real>(
        op: &BatchNorm2d,
        x: &[T],
        weight: &[T],
        bias: &[T],
        running_mean: &mut [T],
        running_var: &mut [T],
    ) -> Vec<Channel<T>> {
        let plane_len = T::of(op.plane as f64);
        let of_plane = |plane: &[T]| {
            let mean = sum(
                plane,
                #[inline(always)]
                |x| x,
            ) / plane_len;
            (
                mean,
                sum(
                    plane,
                    #[inline(always)]
                    |x| (x - mean) * (x - mean),
                ),
            )
        };
        let of_sample = |x: &[T]| {
            widest(
                #[inline(always)]
                || x.chunks_exact(op.plane).map(of_plane).collect(),
            )
        };
        let samples: Vec<Vec<(T, T)>> = x.par_chunks(op.channels * op.plane).map(of_sample).collect();
        let count = samples.len() * op.plane;
        let channel = |c: usize| {
            let planes = || samples.iter().map(|sample| sample[c]);
            let mean = planes().map(|(mean, _)| mean).sum::<T>() / T::of(samples.len() as f64);
            let around = |(own, squares): (T, T)| squares + plane_len * (own - mean) * (own - mean);
            let squares = planes().map(around).sum::<T>();
            let follow = |running: &mut T, now: T| {
                let share = T::of(MOMENTUM.into());
                *running = (T::one() - share) * *running + share * now;
            };
            follow(&mut running_mean[c], mean);
            follow(&mut running_var[c], squares / T::of((count - 1).max(1) as f64));
            let scale = T::one() / (squares / T::of(count as f64) + T::of(EPSILON.into())).sqrt();
            Channel { mean, scale, weight: weight[c], bias: bias[c] }
        };
        (0..op.channels).map(channel).collect()
    }

    /// The channels as an evaluation has them.
    pub fn recall<T: Real>(weight: &[T], bias: &[T], running_mean: &[T], running_var: &[T]) -> Vec<Channel<T>> {
        let channel = |c: usize| {
            let scale = T::one() / (running_var[c] + T::of(EPSILON.into())).sqrt();
            Channel { mean: running_mean[c], scale, weight: weight[c], bias: bias[c] }
        };
        (0..weight.len()).map(channel).collect()
    }

    /// `(x - mean) / sqrt(var + EPSILON) * weight + bias`
    #[inline(always)]
    fn normalised<T: Real>(x: T, channel: &Channel<T>) -> T {
        (x - channel.mean) * (channel.scale * channel.weight) + channel.bias
    }

    /// The same, cut to 0 below it where the op has ReLU; a NaN stays one.
    #[inline(always)]
    fn output<T: Real>(op: &BatchNorm2d, x: T, channel: &Channel<T>) -> T {
        let value = normalised(x, channel);
        if op.relu && value <= T::zero() { T::zero() } else { value }
    }

    /// Normalises a sample where it lies.
    #[inline(always)]
    pub fn normalise<T: Real>(op: &BatchNorm2d, channels: &[Channel<T>], sample: &mut [T]) {
        for (plane, channel) in sample.chunks_exact_mut(op.plane).zip(channels) {
            plane.iter_mut().for_each(|x| *x = output(op, *x, channel));
        }
    }

    /// `y` is `x` normalised.
    pub fn forward<T: Real>(op: &BatchNorm2d, x: &[T], channels: &[Channel<T>], y: &mut [T]) {
        let sample = op.channels * op.plane;
        x.par_chunks(sample).zip(y.par_chunks_mut(sample)).for_each(|(x, y)| {
            widest(
                #[inline(always)]
                || {
                    let planes = x.chunks_exact(op.plane).zip(y.chunks_exact_mut(op.plane));
                    for ((x, y), channel) in planes.zip(channels) {
                        for (y, &x) in y.iter_mut().zip(x) {
                            *y = output(op, x, channel);
                        }
                    }
                },
            );
        });
    }

    /// The gradient of what was normalised: `d_y`, without what ReLU cut.
    #[inline(always)]
    fn living<T: Real>(op: &BatchNorm2d, x: T, channel: &Channel<T>, d_y: T) -> T {
        if op.relu && normalised(x, channel) <= T::zero() { T::zero() } else { d_y }
    }

    /// `d_bias = sum d_y`, `d_weight = sum d_y * (x - mean) / sqrt(var + EPSILON)`
    pub fn backward_params<T: Real>(
        op: &BatchNorm2d,
        x: &[T],
        channels: &[Channel<T>],
        d_y: &[T],
        d_weight: &mut [T],
        d_bias: &mut [T],
    ) {
        let sample = op.channels * op.plane;
        let of_plane = |((x, d_y), channel): ((&[T], &[T]), &Channel<T>)| {
            let ((xs, rest), (d_ys, d_rest)) = (x.as_chunks::<LANES>(), d_y.as_chunks::<LANES>());
            let (mut sums, mut weighted) = (Lanes::<T, LANES>::zero(), Lanes::<T, LANES>::zero());
            for (x, d_y) in xs.iter().zip(d_ys) {
                for l in 0..LANES {
                    let d = living(op, x[l], channel, d_y[l]);
                    sums.0[l] += d;
                    weighted.0[l] += d * (x[l] - channel.mean);
                }
            }
            let (mut sum, mut all) = (sums.0.iter().copied().sum::<T>(), weighted.0.iter().copied().sum::<T>());
            for (&x, &d_y) in rest.iter().zip(d_rest) {
                let d = living(op, x, channel, d_y);
                sum += d;
                all += d * (x - channel.mean);
            }
            (sum, all)
        };
        let samples = x.par_chunks(sample).zip(d_y.par_chunks(sample));
        let samples = samples.map(|(x, d_y)| -> Vec<(T, T)> {
            let planes = || x.chunks_exact(op.plane).zip(d_y.chunks_exact(op.plane)).zip(channels);
            widest(
                #[inline(always)]
                || planes().map(of_plane).collect(),
            )
        });
        let samples: Vec<_> = samples.collect();
        for (c, channel) in channels.iter().enumerate() {
            d_bias[c] = samples.iter().map(|sample| sample[c].0).sum();
            d_weight[c] = samples.iter().map(|sample| sample[c].1).sum::<T>() * channel.scale;
        }
    }

    /// `d_x = weight / sqrt(var + EPSILON) * (d_y - (d_bias + d_weight * (x - mean) / sqrt(var + EPSILON)) / M)`: mean
    /// and variance depend on x, too.
    pub fn backward_input<T: Real>(
        op: &BatchNorm2d,
        x: &[T],
        channels: &[Channel<T>],
        d_y: &[T],
        d_weight: &[T],
        d_bias: &[T],
        d_x: &mut [T],
    ) {
        let sample = op.channels * op.plane;
        let count = T::of((x.len() / op.channels) as f64);
        x.par_chunks(sample).zip(d_y.par_chunks(sample)).zip(d_x.par_chunks_mut(sample)).for_each(|((x, d_y), d_x)| {
            widest(
                #[inline(always)]
                || {
                    let planes = x.chunks_exact(op.plane).zip(d_y.chunks_exact(op.plane));
                    let planes = planes.zip(d_x.chunks_exact_mut(op.plane)).zip(channels.iter().enumerate());
                    for (((x, d_y), d_x), (c, channel)) in planes {
                        let factor = channel.scale * channel.weight;
                        let (offset, slope) = (d_bias[c] / count, d_weight[c] * channel.scale / count);
                        for ((d_x, &x), &d_y) in d_x.iter_mut().zip(x).zip(d_y) {
                            let d = living(op, x, channel, d_y);
                            *d_x = factor * (d - (offset + slope * (x - channel.mean)));
                        }
                    }
                },
            );
        });
    }
}
