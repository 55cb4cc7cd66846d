//! Leaky ReLU: `y = x` above 0, `slope * x` below. Its gradient at 0 is the slope, as PyTorch's.

use super::Attribute::Float;
use super::{
    BackwardSlices, BackwardTensors, Definition, ForwardSlices, ForwardTensors, LayerOp, Misfit, OnCpu, OnGpu, Op, Operator,
    Place, Shape, Spoken, TextError, Words,
};
use crate::gpu::plan::{Dispatch, strided};
use crate::gpu::{GpuError, Planner, Shader, Tensor};
use crate::shader;
use serde::{Deserialize, Serialize};
use std::fmt;

pub const SHADER: Shader = shader!("leaky_relu");

/// The layer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// PyTorch's `negative_slope`.
    pub slope: f32,
}

impl fmt::Display for Settings {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "LeakyReLU({})", self.slope)
    }
}

impl Spoken for Settings {
    const NAMES: &'static [&'static str] = &["leaky", "leaky_relu", "LeakyReLU"];
    const USAGE: &'static str = "leaky [SLOPE]";

    fn words(&self) -> String {
        format!("leaky {}", self.slope)
    }

    fn parse(words: &mut Words) -> Result<Self, TextError> {
        Ok(Self { slope: words.number_or(0.01) })
    }
}

impl Definition for Settings {
    fn output(&self, input: &Shape) -> Result<Shape, Misfit> {
        match self.slope.is_finite() {
            true => Ok(input.clone()),
            false => Err(Misfit::Setting("the slope must be a finite number")),
        }
    }

    fn op(&self, input: &Shape, _place: Place) -> Option<Box<dyn LayerOp>> {
        Some(Box::new(LeakyRelu { len: input.len(), slope: self.slope }))
    }

    fn onnx(&self) -> Option<Operator> {
        Some(Operator { name: "LeakyRelu", attributes: vec![Float("alpha", self.slope)] })
    }
}

/// Over samples of `len` elements.
#[derive(Clone, Debug)]
pub struct LeakyRelu {
    pub len: usize,
    pub slope: f32,
}

impl LeakyRelu {
    fn dispatch(&self, planner: &mut Planner, n: usize, entry: &str, buffers: &[(&str, &Tensor)]) -> Result<(), GpuError> {
        let total = n * self.len;
        planner.dispatch(Dispatch {
            shader: &SHADER,
            entry,
            constants: &[("LENGTH", total as f64), ("SLOPE", f64::from(self.slope))],
            buffers: &Vec::from_iter(buffers.iter().map(|&(name, tensor)| (name, tensor, total))),
            invocations: strided(total),
            flops: 0,
        })
    }
}

impl Op for LeakyRelu {
    fn name(&self) -> &'static str {
        SHADER.op
    }

    fn input_len(&self) -> usize {
        self.len
    }

    fn output_len(&self) -> usize {
        self.len
    }
}

impl OnGpu for LeakyRelu {
    fn plan_forward(&self, planner: &mut Planner, t: &ForwardTensors) -> Result<(), GpuError> {
        self.dispatch(planner, t.n, "forward", &[("x", t.x), ("y", t.y)])
    }

    fn plan_backward(&self, planner: &mut Planner, t: &BackwardTensors) -> Result<(), GpuError> {
        let Some(d_x) = t.d_x else { return Ok(()) };
        self.dispatch(planner, t.n, "backward", &[("x", t.x), ("d_y", t.d_y), ("d_x", d_x)])
    }
}

impl OnCpu for LeakyRelu {
    fn forward(&self, s: ForwardSlices) {
        cpu::forward(self, s.x, s.y);
    }

    fn backward(&self, s: BackwardSlices) {
        if let Some(d_x) = s.d_x {
            cpu::backward(self, s.x, s.d_y, d_x);
        }
    }
}

pub mod cpu {
    use super::LeakyRelu;
    use crate::ops::{PER_TASK, Real};
    use rayon::prelude::*;

    /// `y = x` where `x > 0`, else `slope * x`
    pub fn forward<T: Real>(op: &LeakyRelu, x: &[T], y: &mut [T]) {
        let slope = T::of(op.slope.into());
        y.par_chunks_mut(PER_TASK).zip(x.par_chunks(PER_TASK)).for_each(|(y, x)| {
            for (y, &x) in y.iter_mut().zip(x) {
                *y = if x > T::zero() { x } else { slope * x };
            }
        });
    }

    /// `d_x = d_y` where `x > 0`, else `slope * d_y`
    pub fn backward<T: Real>(op: &LeakyRelu, x: &[T], d_y: &[T], d_x: &mut [T]) {
        let slope = T::of(op.slope.into());
        let tasks = d_x.par_chunks_mut(PER_TASK).zip(x.par_chunks(PER_TASK)).zip(d_y.par_chunks(PER_TASK));
        tasks.for_each(|((d_x, x), d_y)| {
            for ((d_x, &x), &d_y) in d_x.iter_mut().zip(x).zip(d_y) {
                *d_x = if x > T::zero() { d_y } else { slope * d_y };
            }
        });
    }
}
