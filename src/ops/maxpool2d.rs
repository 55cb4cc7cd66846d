//! Max pooling over windows that do not overlap. Rows and columns that fill no whole window are left out.
//!
//! Tie rule, as PyTorch's: of equal values the first in row-major order wins, and receives the whole gradient. A NaN
//! wins over everything, so that it reaches the loss.

use super::Attribute::Ints;
use super::{
    BackwardSlices, BackwardTensors, Definition, ForwardSlices, ForwardTensors, LayerOp, Misfit, OnCpu, OnGpu, Op, Operator,
    Place, Shape, Spoken, TextError, Words,
};
use crate::gpu::plan::{Dispatch, in_turns};
use crate::gpu::{GpuError, Planner, Shader, Tensor};
use crate::shader;
use serde::{Deserialize, Serialize};
use std::fmt;

pub const SHADER: Shader = shader!("maxpool2d");

/// The layer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// Rows and columns of a window.
    pub size: usize,
}

impl fmt::Display for Settings {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "MaxPool2d({})", self.size)
    }
}

impl Spoken for Settings {
    const NAMES: &'static [&'static str] = &["pool", "maxpool", "MaxPool2d"];
    const USAGE: &'static str = "pool [SIZE]";

    fn words(&self) -> String {
        format!("pool {}", self.size)
    }

    fn parse(words: &mut Words) -> Result<Self, TextError> {
        Ok(Self { size: words.number_or(2) })
    }
}

impl Definition for Settings {
    fn output(&self, input: &Shape) -> Result<Shape, Misfit> {
        pooled(input, self.size)
    }

    fn op(&self, input: &Shape, _place: Place) -> Option<Box<dyn LayerOp>> {
        let [channels, height, width] = input.image().ok()?;
        Some(Box::new(MaxPool2d { channels, height, width, size: self.size }))
    }

    fn onnx(&self) -> Option<Operator> {
        let size = || vec![self.size; 2];
        Some(Operator { name: "MaxPool", attributes: vec![Ints("kernel_shape", size()), Ints("strides", size())] })
    }
}

/// The shape of `input` after pooling over windows of `size` x `size` that do not overlap.
pub fn pooled(input: &Shape, size: usize) -> Result<Shape, Misfit> {
    if size == 0 {
        return Err(Misfit::Setting("a window is at least 1x1"));
    }
    let [c, h, w] = input.image()?;
    if h < size || w < size {
        return Err(Misfit::Input(format!("at least ({c}, {size}, {size})")));
    }
    Ok(Shape(vec![c, h / size, w / size]))
}

/// Pooling of (C, H, W) samples over windows of `size` x `size`.
#[derive(Clone, Debug)]
pub struct MaxPool2d {
    pub channels: usize,
    pub height: usize,
    pub width: usize,
    pub size: usize,
}

impl MaxPool2d {
    /// (PH, PW)
    pub fn pooled(&self) -> (usize, usize) {
        (self.height / self.size, self.width / self.size)
    }

    /// One invocation for each of the `elements` of a plane, which takes planes in turns.
    fn dispatch(
        &self,
        planner: &mut Planner,
        n: usize,
        entry: &str,
        buffers: &[(&str, &Tensor, usize)],
        elements: usize,
    ) -> Result<(), GpuError> {
        let constants = &[
            ("PLANES", (n * self.channels) as f64),
            ("HEIGHT", self.height as f64),
            ("WIDTH", self.width as f64),
            ("SIZE", self.size as f64),
        ];
        let invocations = [elements, in_turns(n * self.channels), 1];
        planner.dispatch(Dispatch { shader: &SHADER, entry, constants, buffers, invocations, flops: 0 })
    }
}

impl Op for MaxPool2d {
    fn name(&self) -> &'static str {
        SHADER.op
    }

    fn input_len(&self) -> usize {
        self.channels * self.height * self.width
    }

    fn output_len(&self) -> usize {
        let (ph, pw) = self.pooled();
        self.channels * ph * pw
    }

    fn saved_words(&self) -> usize {
        self.output_len()
    }
}

impl OnGpu for MaxPool2d {
    fn plan_forward(&self, planner: &mut Planner, t: &ForwardTensors) -> Result<(), GpuError> {
        let (inputs, outputs) = (t.n * self.input_len(), t.n * self.output_len());
        let buffers = [("x", t.x, inputs), ("y", t.y, outputs), ("winner", t.saved, outputs)];
        self.dispatch(planner, t.n, "forward", &buffers, self.output_len() / self.channels)
    }

    fn plan_backward(&self, planner: &mut Planner, t: &BackwardTensors) -> Result<(), GpuError> {
        let Some(d_x) = t.d_x else { return Ok(()) };
        let (inputs, outputs) = (t.n * self.input_len(), t.n * self.output_len());
        let buffers = [("d_y", t.d_y, outputs), ("winner", t.saved, outputs), ("d_x", d_x, inputs)];
        self.dispatch(planner, t.n, "backward", &buffers, self.height * self.width)
    }
}

impl OnCpu for MaxPool2d {
    fn forward(&self, s: ForwardSlices) {
        cpu::forward(self, s.x, s.y, s.saved);
    }

    fn backward(&self, s: BackwardSlices) {
        if let Some(d_x) = s.d_x {
            cpu::backward(self, s.saved, s.d_y, d_x);
        }
    }
}

pub mod cpu {
    use super::MaxPool2d;
    use crate::ops::Real;
    use rayon::prelude::*;

    /// Planes that one task takes.
    const PLANES: usize = 64;

    /// `y[p] = max` over window `p`; `winner[p]` is the position in the plane (`row * W + column`) that held it.
    pub fn forward<T: Real>(op: &MaxPool2d, x: &[T], y: &mut [T], winner: &mut [u32]) {
        let (ph, pw) = op.pooled();
        let windows = ph * pw;
        if windows == 0 {
            return;
        }
        let planes = x.par_chunks_exact(op.height * op.width).with_min_len(PLANES);
        let planes = planes.zip(y.par_chunks_exact_mut(windows)).zip(winner.par_chunks_exact_mut(windows));
        planes.for_each(|((x, y), winner)| {
            for p in 0..windows {
                let corner = p / pw * op.size * op.width + p % pw * op.size;
                let mut best = corner;
                for row in 0..op.size {
                    for at in corner + row * op.width..corner + row * op.width + op.size {
                        if x[at] > x[best] || x[at].is_nan() {
                            best = at;
                        }
                    }
                }
                y[p] = x[best];
                winner[p] = best as u32;
            }
        });
    }

    /// `d_x` is `d_y` at each window's winner, 0 elsewhere.
    pub fn backward<T: Real>(op: &MaxPool2d, winner: &[u32], d_y: &[T], d_x: &mut [T]) {
        let (ph, pw) = op.pooled();
        if ph * pw == 0 {
            return d_x.fill(T::zero());
        }
        let planes = d_x.par_chunks_exact_mut(op.height * op.width).with_min_len(PLANES);
        let planes = planes.zip(winner.par_chunks_exact(ph * pw)).zip(d_y.par_chunks_exact(ph * pw));
        planes.for_each(|((d_x, winner), d_y)| {
            d_x.fill(T::zero());
            for (&at, &d) in winner.iter().zip(d_y) {
                d_x[at as usize] = d;
            }
        });
    }
}
