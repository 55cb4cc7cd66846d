//! ReLU: `y = max(x, 0)`. Its gradient at 0 is 0, as PyTorch's.

use super::{
    BackwardSlices, BackwardTensors, Definition, ForwardSlices, ForwardTensors, LayerOp, Misfit, OnCpu, OnGpu, Op, Operator,
    Place, Shape, Spoken, TextError, Words,
};
use crate::gpu::plan::{Dispatch, strided};
use crate::gpu::{GpuError, Planner, Shader, Tensor};
use crate::shader;
use std::fmt;

pub const SHADER: Shader = shader!("relu");

/// The layer, which has none.
pub struct Settings;

impl fmt::Display for Settings {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("ReLU")
    }
}

impl Spoken for Settings {
    const NAMES: &'static [&'static str] = &["relu"];
    const USAGE: &'static str = "relu";

    fn words(&self) -> String {
        Self::USAGE.into()
    }

    fn parse(_words: &mut Words) -> Result<Self, TextError> {
        Ok(Self)
    }
}

impl Definition for Settings {
    fn output(&self, input: &Shape) -> Result<Shape, Misfit> {
        Ok(input.clone())
    }

    fn op(&self, input: &Shape, _place: Place) -> Option<Box<dyn LayerOp>> {
        Some(Box::new(Relu { len: input.len() }))
    }

    fn onnx(&self) -> Option<Operator> {
        Some(Operator { name: "Relu", attributes: vec![] })
    }
}

/// ReLU over samples of `len` elements.
#[derive(Clone, Debug)]
pub struct Relu {
    pub len: usize,
}

impl Relu {
    fn dispatch(&self, planner: &mut Planner, n: usize, entry: &str, buffers: &[(&str, &Tensor)]) -> Result<(), GpuError> {
        let total = n * self.len;
        planner.dispatch(Dispatch {
            shader: &SHADER,
            entry,
            constants: &[("LENGTH", total as f64)],
            buffers: &Vec::from_iter(buffers.iter().map(|&(name, tensor)| (name, tensor, total))),
            invocations: strided(total),
            flops: 0,
        })
    }
}

impl Op for Relu {
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

impl OnGpu for Relu {
    fn plan_forward(&self, planner: &mut Planner, t: &ForwardTensors) -> Result<(), GpuError> {
        self.dispatch(planner, t.n, "forward", &[("x", t.x), ("y", t.y)])
    }

    fn plan_backward(&self, planner: &mut Planner, t: &BackwardTensors) -> Result<(), GpuError> {
        let Some(d_x) = t.d_x else { return Ok(()) };
        self.dispatch(planner, t.n, "backward", &[("x", t.x), ("d_y", t.d_y), ("d_x", d_x)])
    }
}

impl OnCpu for Relu {
    fn forward(&self, s: ForwardSlices) {
        cpu::forward(s.x, s.y);
    }

    fn backward(&self, s: BackwardSlices) {
        if let Some(d_x) = s.d_x {
            cpu::backward(s.x, s.d_y, d_x);
        }
    }
}

pub mod cpu {
    use crate::ops::{PER_TASK, Real};
    use rayon::prelude::*;

    /// `y = max(x, 0)`; a NaN stays one.
    pub fn forward<T: Real>(x: &[T], y: &mut [T]) {
        y.par_chunks_mut(PER_TASK).zip(x.par_chunks(PER_TASK)).for_each(|(y, x)| {
            for (y, &x) in y.iter_mut().zip(x) {
                *y = if x <= T::zero() { T::zero() } else { x };
            }
        });
    }

    /// `d_x = d_y` where `x > 0`, else 0
    pub fn backward<T: Real>(x: &[T], d_y: &[T], d_x: &mut [T]) {
        let tasks = d_x.par_chunks_mut(PER_TASK).zip(x.par_chunks(PER_TASK)).zip(d_y.par_chunks(PER_TASK));
        tasks.for_each(|((d_x, x), d_y)| {
            for ((d_x, &x), &d_y) in d_x.iter_mut().zip(x).zip(d_y) {
                *d_x = if x <= T::zero() { T::zero() } else { d_y };
            }
        });
    }
}
