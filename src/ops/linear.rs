//! Fully connected layer: `y = x W^T + b`, with W (O, K) as PyTorch's `Linear` stores it, and the dropout of its input
//! that may come before it.

use super::Attribute::Int;
use super::dropout::{self, Dropout};
use super::{
    BackwardSlices, BackwardTensors, Definition, ForwardSlices, ForwardTensors, LayerOp, Misfit, Needed, OnCpu, OnGpu, Op,
    Operator, Place, Shape, Spoken, TextError, Words, weight_and_bias,
};
use crate::gpu::plan::Dispatch;
use crate::gpu::{GpuError, Planner, Shader};
use crate::shader;
use serde::{Deserialize, Serialize};
use std::any::Any;
use std::borrow::Cow;
use std::fmt;

pub const SHADER: Shader = shader!("linear");

/// The layer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    pub out: usize,
}

impl fmt::Display for Settings {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "Linear({})", self.out)
    }
}

impl Spoken for Settings {
    const NAMES: &'static [&'static str] = &["linear"];
    const USAGE: &'static str = "linear [OUTPUTS]";

    fn words(&self) -> String {
        format!("linear {}", self.out)
    }

    fn parse(words: &mut Words) -> Result<Self, TextError> {
        let classes = words.classes;
        Ok(Self { out: words.number_or(classes) })
    }
}

impl Definition for Settings {
    fn output(&self, input: &Shape) -> Result<Shape, Misfit> {
        match (self.out, input.0.len()) {
            (0, _) => Err(Misfit::Setting("needs at least one output")),
            (out, 1) => Ok(Shape(vec![out])),
            _ => Err(Misfit::Input(format!("one dimension, ({}): put a Flatten before it", input.len()))),
        }
    }

    fn parameters(&self, input: &Shape) -> Vec<Needed> {
        weight_and_bias(vec![self.out, input.len()])
    }

    fn op(&self, input: &Shape, _place: Place) -> Option<Box<dyn LayerOp>> {
        Some(Box::new(Linear::new(input.len(), self.out)))
    }

    fn onnx(&self) -> Option<Operator> {
        // The weight is (out, in), as PyTorch's.
        Some(Operator { name: "Gemm", attributes: vec![Int("transB", 1)] })
    }
}

/// Makes dropout and the linear layer after it one op.
pub fn with_dropout(ops: &[&dyn Any]) -> Option<(usize, Box<dyn LayerOp>)> {
    let [dropout, linear, ..] = ops else { return None };
    let (dropout, linear) = (dropout.downcast_ref::<Dropout>()?, linear.downcast_ref::<Linear>()?);
    Some((2, Box::new(Linear { dropout: Some(dropout.clone()), ..linear.clone() })))
}

/// From K `inputs` to O `outputs`.
#[derive(Clone, Debug)]
pub struct Linear {
    pub inputs: usize,
    pub outputs: usize,
    /// Of the input.
    pub dropout: Option<Dropout>,
}

impl Linear {
    /// The layer by itself.
    pub const fn new(inputs: usize, outputs: usize) -> Self {
        Self { inputs, outputs, dropout: None }
    }

    fn constants(&self, n: usize) -> Vec<(&'static str, f64)> {
        let mut constants = vec![("BATCH", n as f64), ("INPUTS", self.inputs as f64), ("OUTPUTS", self.outputs as f64)];
        if let Some(dropout) = &self.dropout {
            constants.extend(dropout.constants());
        }
        constants
    }

    /// The input `x` (N, K) after dropout in training step `step`.
    fn dropped<'a>(&self, x: &'a [f32], step: u32) -> Cow<'a, [f32]> {
        let mut x = Cow::Borrowed(x);
        if let Some(dropout) = &self.dropout {
            dropout::cpu::apply(dropout, step, x.to_mut());
        }
        x
    }
}

impl Op for Linear {
    fn name(&self) -> &'static str {
        SHADER.op
    }

    fn input_len(&self) -> usize {
        self.inputs
    }

    fn output_len(&self) -> usize {
        self.outputs
    }

    fn flops(&self) -> u64 {
        2 * (self.outputs * self.inputs) as u64
    }
}

impl OnGpu for Linear {
    fn plan_forward(&self, planner: &mut Planner, t: &ForwardTensors) -> Result<(), GpuError> {
        let blocks = |length: usize| length.div_ceil(SHADER.constant("BLOCK"));
        planner.dispatch(Dispatch {
            shader: &SHADER,
            entry: "forward",
            constants: &self.constants(t.n),
            buffers: &[
                ("x", t.x, t.n * self.inputs),
                ("weight", &t.params[0], self.outputs * self.inputs),
                ("bias", &t.params[1], self.outputs),
                ("y", t.y, t.n * self.outputs),
            ],
            invocations: [blocks(self.outputs) * SHADER.constant("GROUP"), blocks(t.n), 1],
            flops: t.n as u64 * self.flops(),
        })
    }

    fn plan_backward(&self, planner: &mut Planner, t: &BackwardTensors) -> Result<(), GpuError> {
        let columns = self.inputs.div_ceil(SHADER.constant("GROUP") * SHADER.constant("COLUMNS")) * SHADER.constant("GROUP");
        let rows = |length: usize| length.div_ceil(SHADER.constant("ROWS"));

        let mut buffers = vec![
            ("x", t.x, t.n * self.inputs),
            ("d_y", t.d_y, t.n * self.outputs),
            ("d_weight", &t.d_params[0], self.outputs * self.inputs),
            ("d_bias", &t.d_params[1], self.outputs),
        ];
        let (entry, blocks, passes) = match t.d_x {
            None => ("backward_params", rows(self.outputs), 1),
            Some(d_x) => {
                buffers.push(("weight", &t.params[0], self.outputs * self.inputs));
                buffers.push(("d_x", d_x, t.n * self.inputs));
                ("backward", rows(self.outputs) + rows(t.n), 2)
            }
        };
        planner.dispatch(Dispatch {
            shader: &SHADER,
            entry,
            constants: &self.constants(t.n),
            buffers: &buffers,
            invocations: [columns, blocks, 1],
            flops: passes * t.n as u64 * self.flops(),
        })
    }
}

impl OnCpu for Linear {
    fn forward(&self, s: ForwardSlices) {
        cpu::forward(self, &self.dropped(s.x, s.step), s.params[0], s.params[1], s.y);
    }

    fn backward(&self, s: BackwardSlices) {
        let [d_weight, d_bias] = s.d_params else { unreachable!("two parameters: weight and bias") };
        let x = self.dropped(s.x, s.step);
        // Together: the threads wait for each other once instead of twice.
        rayon::join(
            || cpu::backward_params(self, &x, s.d_y, d_weight, d_bias),
            || {
                if let Some(d_x) = s.d_x {
                    cpu::backward_input(self, s.params[0], s.d_y, d_x);
                    if let Some(dropout) = &self.dropout {
                        dropout::cpu::apply(dropout, s.step, d_x);
                    }
                }
            },
        );
    }
}

/// Matrix products, cut into tasks along a side that does not enter a sum.
pub mod cpu {
    use super::Linear;
    use crate::ops::Real;
    use crate::ops::matrix::{Matrix, multiply};
    use rayon::prelude::*;

    /// Outputs that one task takes.
    const PER_TASK: usize = 32;

    /// Samples that one task takes, where there are many.
    const SAMPLES_PER_TASK: usize = 32;

    /// `y[n,o] = bias[o] + sum_k x[n,k] * weight[o,k]`
    pub fn forward<T: Real>(op: &Linear, x: &[T], weight: &[T], bias: &[T], y: &mut [T]) {
        let n = x.len() / op.inputs;
        let tasks = weight.par_chunks(PER_TASK * op.inputs).zip(bias.par_chunks(PER_TASK));
        let blocks: Vec<Vec<T>> = tasks
            .map(|(weight, bias)| {
                let mut y = bias.repeat(n);
                multiply(
                    &mut y,
                    bias.len(),
                    Matrix::new(x, n, op.inputs),
                    Matrix::new(weight, bias.len(), op.inputs).t(),
                    true,
                );
                y
            })
            .collect();
        copy_columns(&blocks, n, y, op.outputs, PER_TASK);
    }

    /// `d_x[n,k] = sum_o d_y[n,o] * weight[o,k]`
    pub fn backward_input<T: Real>(op: &Linear, weight: &[T], d_y: &[T], d_x: &mut [T]) {
        let n = d_x.len() / op.inputs;
        if n >= 2 * SAMPLES_PER_TASK {
            // Enough samples for tasks that write where the results belong.
            let tasks = d_x.par_chunks_mut(SAMPLES_PER_TASK * op.inputs).zip(d_y.par_chunks(SAMPLES_PER_TASK * op.outputs));
            tasks.for_each(|(d_x, d_y)| {
                let d_y = Matrix::new(d_y, d_x.len() / op.inputs, op.outputs);
                multiply(d_x, op.inputs, d_y, Matrix::new(weight, op.outputs, op.inputs), false);
            });
            return;
        }
        let width = 256; // so that a task's rows of the weight are read in long runs
        let blocks: Vec<Vec<T>> = (0..op.inputs.div_ceil(width))
            .into_par_iter()
            .map(|block| {
                let columns = width.min(op.inputs - block * width);
                let mut d_x = vec![T::zero(); n * columns];
                let weight = Matrix::strided(&weight[block * width..], op.outputs, columns, op.inputs);
                multiply(&mut d_x, columns, Matrix::new(d_y, n, op.outputs), weight, false);
                d_x
            })
            .collect();
        copy_columns(&blocks, n, d_x, op.inputs, width);
    }

    /// `d_weight[o,k] = sum_n d_y[n,o] * x[n,k]`, `d_bias[o] = sum_n d_y[n,o]`
    pub fn backward_params<T: Real>(op: &Linear, x: &[T], d_y: &[T], d_weight: &mut [T], d_bias: &mut [T]) {
        let n = x.len() / op.inputs;
        d_weight.par_chunks_mut(PER_TASK * op.inputs).enumerate().for_each(|(block, d_weight)| {
            let rows = d_weight.len() / op.inputs;
            let d_y = Matrix::strided(&d_y[block * PER_TASK..], n, rows, op.outputs);
            multiply(d_weight, op.inputs, d_y.t(), Matrix::new(x, n, op.inputs), false);
        });
        d_bias.fill(T::zero());
        for d_y in d_y.chunks_exact(op.outputs) {
            d_bias.iter_mut().zip(d_y).for_each(|(sum, &d)| *sum += d);
        }
    }

    /// Puts the tasks' blocks (n, up to `width`) side by side into `out` (n, `columns`).
    fn copy_columns<T: Real>(blocks: &[Vec<T>], n: usize, out: &mut [T], columns: usize, width: usize) {
        for (block, data) in blocks.iter().enumerate() {
            let wide = width.min(columns - block * width);
            for row in 0..n {
                out[row * columns + block * width..][..wide].copy_from_slice(&data[row * wide..][..wide]);
            }
        }
    }
}
