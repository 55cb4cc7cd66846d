//! Dropout: in training each element is zeroed with probability `p`, the others are scaled by `1 / (1 - p)`.
//!
//! No mask is stored. Whether an element is kept is a hash of (seed, layer, step, index) in u32 arithmetic, the same
//! function here and in the shader, so the backward pass and the other device draw the same mask again.

use super::{
    BackwardSlices, BackwardTensors, Definition, ForwardSlices, ForwardTensors, LayerOp, Misfit, OnCpu, OnGpu, Op, Operator,
    Place, Shape, Spoken, TextError, Words,
};
use crate::gpu::plan::{Dispatch, strided};
use crate::gpu::{GpuError, Planner, Shader, Tensor};
use crate::shader;
use serde::{Deserialize, Serialize};
use std::fmt;

pub const SHADER: Shader = shader!("dropout");

/// The layer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// Probability of zeroing an element in training, in [0, 1).
    pub p: f32,
}

impl fmt::Display for Settings {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "Dropout({})", self.p)
    }
}

impl Spoken for Settings {
    const NAMES: &'static [&'static str] = &["dropout"];
    const USAGE: &'static str = "dropout [P]";

    fn words(&self) -> String {
        format!("dropout {}", self.p)
    }

    fn parse(words: &mut Words) -> Result<Self, TextError> {
        Ok(Self { p: words.number_or(0.5) })
    }
}

impl Definition for Settings {
    fn output(&self, input: &Shape) -> Result<Shape, Misfit> {
        match (0.0..1.0).contains(&self.p) {
            true => Ok(input.clone()),
            false => Err(Misfit::Setting("the probability must be in [0, 1)")),
        }
    }

    fn op(&self, input: &Shape, place: Place) -> Option<Box<dyn LayerOp>> {
        (self.p > 0.0).then(|| -> Box<dyn LayerOp> { Box::new(Dropout::new(input.len(), self.p, place.seed, place.layer)) })
    }

    fn onnx(&self) -> Option<Operator> {
        None
    }
}

/// What keys the random numbers of layer `layer` of a network trained with `seed`.
pub fn key(seed: u64, layer: u32) -> u32 {
    cpu::hash(cpu::hash(seed as u32).wrapping_add(cpu::hash((seed >> 32) as u32 ^ 0x9e37_79b9)).wrapping_add(layer))
}

/// Dropout over samples of `len` elements.
#[derive(Clone, Debug)]
pub struct Dropout {
    pub len: usize,
    pub key: u32,
    /// Probability of dropping an element, in [0, 1).
    pub p: f32,
}

impl Dropout {
    /// Dropout of layer number `layer` of a network trained with `seed`.
    pub fn new(len: usize, p: f32, seed: u64, layer: u32) -> Self {
        Self { len, key: key(seed, layer), p }
    }

    /// An element is kept when its hash is at least this: `p` as a fraction of 2^32.
    pub fn threshold(&self) -> u32 {
        (f64::from(self.p) * 4_294_967_296.0) as u32
    }

    /// What a kept element is multiplied by.
    pub fn scale(&self) -> f32 {
        1.0 / (1.0 - self.p)
    }

    /// What a shader has to know of it.
    pub fn constants(&self) -> [(&'static str, f64); 3] {
        let (key, threshold) = (f64::from(self.key), f64::from(self.threshold()));
        [("KEY", key), ("THRESHOLD", threshold), ("SCALE", f64::from(self.scale()))]
    }

    /// `y = x * mask`; the backward pass is the same product with the gradient.
    fn plan(&self, planner: &mut Planner, n: usize, x: &Tensor, y: &Tensor) -> Result<(), GpuError> {
        let total = n * self.len;
        planner.dispatch(Dispatch {
            shader: &SHADER,
            entry: "apply",
            constants: &[&[("LENGTH", total as f64)][..], &self.constants()].concat(),
            buffers: &[("x", x, total), ("y", y, total)],
            invocations: strided(total),
            flops: 0,
        })
    }
}

impl Op for Dropout {
    fn name(&self) -> &'static str {
        SHADER.op
    }

    fn input_len(&self) -> usize {
        self.len
    }

    fn output_len(&self) -> usize {
        self.len
    }

    fn training_only(&self) -> bool {
        true
    }
}

impl OnGpu for Dropout {
    fn plan_forward(&self, planner: &mut Planner, t: &ForwardTensors) -> Result<(), GpuError> {
        self.plan(planner, t.n, t.x, t.y)
    }

    fn plan_backward(&self, planner: &mut Planner, t: &BackwardTensors) -> Result<(), GpuError> {
        t.d_x.map_or(Ok(()), |d_x| self.plan(planner, t.n, t.d_y, d_x))
    }
}

impl OnCpu for Dropout {
    fn forward(&self, s: ForwardSlices) {
        s.y.copy_from_slice(s.x);
        cpu::apply(self, s.step, s.y);
    }

    fn backward(&self, s: BackwardSlices) {
        if let Some(d_x) = s.d_x {
            d_x.copy_from_slice(s.d_y);
            cpu::apply(self, s.step, d_x);
        }
    }
}

pub mod cpu {
    use super::Dropout;
    use crate::ops::Real;
    use crate::ops::lanes::widest;

    /// A 32-bit integer hash with low bias, lowbias32 (C. Wellons, "Prospecting for Hash Functions", 2018).
    #[inline(always)]
    pub fn hash(x: u32) -> u32 {
        let x = (x ^ (x >> 16)).wrapping_mul(0x7feb_352d);
        let x = (x ^ (x >> 15)).wrapping_mul(0x846c_a68b);
        x ^ (x >> 16)
    }

    /// Whether element `index` of the batch is kept in training step `step`.
    #[inline(always)]
    pub fn keep(op: &Dropout, step: u32, index: u32) -> bool {
        hash(index ^ hash(step.wrapping_add(op.key))) >= op.threshold()
    }

    /// `x = x * scale` where kept, else 0
    pub fn apply<T: Real>(op: &Dropout, step: u32, x: &mut [T]) {
        let scale = T::of(f64::from(op.scale()));
        widest(
            #[inline(always)]
            || {
                for (i, x) in (0..).zip(x) {
                    *x = if keep(op, step, i) { *x * scale } else { T::zero() };
                }
            },
        );
    }
}
