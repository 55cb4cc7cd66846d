//! Average pooling over windows that do not overlap. Rows and columns that fill no whole window are left out.

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

pub const SHADER: Shader = shader!("avgpool2d");

/// The layer, PyTorch's `AvgPool2d`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// Rows and columns of a window.
    pub size: usize,
}

impl fmt::Display for Settings {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "AvgPool2d({})", self.size)
    }
}

impl Spoken for Settings {
    const NAMES: &'static [&'static str] = &["avgpool", "AvgPool2d"];
    const USAGE: &'static str = "avgpool [SIZE]";

    fn words(&self) -> String {
        format!("avgpool {}", self.size)
    }

    fn parse(words: &mut Words) -> Result<Self, TextError> {
        Ok(Self { size: words.number_or(2) })
    }
}

impl Definition for Settings {
    fn output(&self, input: &Shape) -> Result<Shape, Misfit> {
        super::maxpool2d::pooled(input, self.size)
    }

    fn op(&self, input: &Shape, _place: Place) -> Option<Box<dyn LayerOp>> {
        let [channels, height, width] = input.image().ok()?;
        Some(Box::new(AvgPool2d { channels, height, width, rows: self.size, columns: self.size }))
    }

    fn onnx(&self) -> Option<Operator> {
        let size = || vec![self.size; 2];
        Some(Operator { name: "AveragePool", attributes: vec![Ints("kernel_shape", size()), Ints("strides", size())] })
    }
}

/// Pooling of (C, H, W) samples over windows of `rows` x `columns`.
#[derive(Clone, Debug)]
pub struct AvgPool2d {
    pub channels: usize,
    pub height: usize,
    pub width: usize,
    pub rows: usize,
    pub columns: usize,
}

impl AvgPool2d {
    /// (PH, PW)
    pub fn pooled(&self) -> (usize, usize) {
        (self.height / self.rows, self.width / self.columns)
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
            ("ROWS", self.rows as f64),
            ("COLUMNS", self.columns as f64),
        ];
        let invocations = [elements, in_turns(n * self.channels), 1];
        planner.dispatch(Dispatch { shader: &SHADER, entry, constants, buffers, invocations, flops: 0 })
    }
}

impl Op for AvgPool2d {
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
}

impl OnGpu for AvgPool2d {
    fn plan_forward(&self, planner: &mut Planner, t: &ForwardTensors) -> Result<(), GpuError> {
        let buffers = [("x", t.x, t.n * self.input_len()), ("y", t.y, t.n * self.output_len())];
        self.dispatch(planner, t.n, "forward", &buffers, self.output_len() / self.channels)
    }

    fn plan_backward(&self, planner: &mut Planner, t: &BackwardTensors) -> Result<(), GpuError> {
        let Some(d_x) = t.d_x else { return Ok(()) };
        let buffers = [("d_y", t.d_y, t.n * self.output_len()), ("d_x", d_x, t.n * self.input_len())];
        self.dispatch(planner, t.n, "backward", &buffers, self.height * self.width)
    }
}

impl OnCpu for AvgPool2d {
    fn forward(&self, s: ForwardSlices) {
        cpu::forward(self, s.x, s.y);
    }

    fn backward(&self, s: BackwardSlices) {
        if let Some(d_x) = s.d_x {
            cpu::backward(self, s.d_y, d_x);
        }
    }
}

pub mod cpu {
    use super::AvgPool2d;
    use crate::ops::Real;
    use rayon::prelude::*;

    /// Planes that one task takes.
    const PLANES: usize = 64;

    /// `y[p]` is the sum of window `p` over its size.
    pub fn forward<T: Real>(op: &AvgPool2d, x: &[T], y: &mut [T]) {
        let (ph, pw) = op.pooled();
        let size = T::of((op.rows * op.columns) as f64);
        let planes = x.par_chunks_exact(op.height * op.width).with_min_len(PLANES).zip(y.par_chunks_exact_mut(ph * pw));
        planes.for_each(|(x, y)| {
            for (p, y) in y.iter_mut().enumerate() {
                let corner = p / pw * op.rows * op.width + p % pw * op.columns;
                let rows = (0..op.rows).flat_map(|row| &x[corner + row * op.width..][..op.columns]);
                *y = rows.copied().sum::<T>() / size;
            }
        });
    }

    /// `d_x` is the window's `d_y` over its size, 0 in rows and columns that fill no window.
    pub fn backward<T: Real>(op: &AvgPool2d, d_y: &[T], d_x: &mut [T]) {
        let (ph, pw) = op.pooled();
        let size = T::of((op.rows * op.columns) as f64);
        let planes = d_x.par_chunks_exact_mut(op.height * op.width).with_min_len(PLANES);
        planes.zip(d_y.par_chunks_exact(ph * pw)).for_each(|(d_x, d_y)| {
            for (i, d_x) in d_x.iter_mut().enumerate() {
                let (py, px) = (i / op.width / op.rows, i % op.width / op.columns);
                *d_x = if py < ph && px < pw { d_y[py * pw + px] / size } else { T::zero() };
            }
        });
    }
}
