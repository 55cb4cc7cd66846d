//! Every entry point of every shader against its CPU mirror, which runs in f64 where it computes anything: on every adapter,
//! with wgpu's run-time checks and without. Sizes hurt: one, odd, prime, one more than a workgroup or a tile, and the
//! network's own.

#[path = "../common/mod.rs"]
mod common;

mod affine;
mod fused;
mod loss;
mod pointwise;
mod sgd;

use bytemuck::Pod;
use common::SENTINEL;
use mnist_wgpu::gpu::{Batch, Context, GpuError, Planner, Tensor, drive, plan};
use mnist_wgpu::ops::{BackwardTensors, ForwardTensors, Op, SHADERS};
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt;

/// Elements behind every tensor: poison behind an input, so that reading past its end spoils the result, and the sentinel
/// behind an output, so that writing past its end shows.
const GUARD: usize = 256;

/// Another NaN than the sentinel: copied past the end of an output it has to show there.
const POISON: f32 = f32::from_bits(0x7fc0_beef);

/// A device and the entry points that ran on it.
pub struct Gpu {
    context: Context,
    ran: RefCell<BTreeSet<String>>,
}

/// Gradients as an op's backward pass left them.
pub struct Gradients {
    pub d_x: Vec<f32>,
    pub d_params: Vec<Vec<f32>>,
}

impl fmt::Display for Gpu {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let checks = if self.context.options.runtime_checks { "with" } else { "without" };
        write!(f, "{} {checks} run-time checks, {} kernels", self.context.info.name, self.context.variant)
    }
}

impl Gpu {
    pub fn all() -> Vec<Self> {
        let gpu = |context| Self { context, ran: RefCell::default() };
        common::contexts(&common::VARIANTS).into_iter().map(gpu).collect()
    }

    fn guarded<T: Pod>(&self, label: &str, data: &[T], guard: f32) -> Tensor {
        let mut bytes: Vec<u8> = bytemuck::cast_slice(data).to_vec();
        bytes.resize(bytes.len().next_multiple_of(4), 0xff);
        bytes.extend_from_slice(bytemuck::cast_slice(&[guard; GUARD]));
        Tensor::from_slice(&self.context, label, &bytes).expect("it fits")
    }

    /// A tensor that holds `data`.
    pub fn input<T: Pod>(&self, label: &str, data: &[T]) -> Tensor {
        self.guarded(label, data, POISON)
    }

    /// A tensor that holds `data`, to be updated in place and read back.
    pub fn in_out<T: Pod>(&self, label: &str, data: &[T]) -> Tensor {
        self.guarded(label, data, SENTINEL)
    }

    /// A tensor for `len` results, none of them written yet.
    pub fn output(&self, label: &str, len: usize) -> Tensor {
        self.in_out(label, &vec![SENTINEL; len])
    }

    /// Only plans.
    pub fn plan(&self, plan: impl FnOnce(&mut Planner) -> Result<(), GpuError>) -> Result<(), GpuError> {
        plan(&mut Planner::new(&self.context))
    }

    /// Plans, runs and waits.
    pub fn run(&self, batch: Batch, plan: impl FnOnce(&mut Planner) -> Result<(), GpuError>) {
        let mut planner = Planner::new(&self.context);
        plan(&mut planner).unwrap_or_else(|e| panic!("{self}: {e}"));
        plan::run(&self.context, &planner.steps, &batch).unwrap_or_else(|e| panic!("{self}: {e}"));
        self.ran.borrow_mut().extend(planner.steps.into_iter().map(|step| step.label));
    }

    /// The first `len` elements of a tensor made here.
    ///
    /// # Panics
    /// If anything was written behind them.
    pub fn read<T: Pod>(&self, tensor: &Tensor, len: usize) -> Vec<T> {
        let mut words: Vec<u32> =
            drive::block_on(&self.context, tensor.read(&self.context)).unwrap_or_else(|e| panic!("{self}: {e}"));
        let untouched = words[len..].iter().take_while(|&&word| word == SENTINEL.to_bits()).count();
        assert_eq!(untouched, words.len() - len, "{self}: something wrote past the end of {}", tensor.label);
        words.truncate(len);
        bytemuck::cast_slice(&words).to_vec()
    }

    /// An op's forward pass: `y` and what it saves for the backward pass.
    pub fn forward(&self, op: &dyn Op, n: usize, x: &[f32], params: &[&[f32]], step: u32) -> (Vec<f32>, Vec<u32>) {
        let (y_len, saved_len) = (n * op.output_len(), n * op.kept_len());
        let (y, saved) = (self.output("y", y_len), self.output("saved", saved_len));
        let params: Vec<_> = params.iter().map(|p| self.input("parameter", p)).collect();
        let tensors = ForwardTensors { n, x: &self.input("x", x), params: &params, y: &y, saved: &saved };
        self.run(Batch { step, ..Batch::default() }, |planner| op.plan_forward(planner, &tensors));
        (self.read(&y, y_len), self.read(&saved, saved_len))
    }

    /// An op's backward pass from the gradient `d_y`.
    pub fn backward(&self, op: &dyn Op, x: &[f32], params: &[&[f32]], saved: &[u32], d_y: &[f32], step: u32) -> Gradients {
        let d_x = self.output("d_x", x.len());
        let d_params = self.plan_backward(op, x, params, saved, d_y, step, Some(&d_x));
        Gradients { d_x: self.read(&d_x, x.len()), d_params }
    }

    /// The same for the first op of a network, which is asked for no gradient of its input.
    pub fn backward_params(&self, op: &dyn Op, x: &[f32], params: &[&[f32]], saved: &[u32], d_y: &[f32]) -> Vec<Vec<f32>> {
        self.plan_backward(op, x, params, saved, d_y, 0, None)
    }

    #[allow(clippy::too_many_arguments)] // what a backward pass takes
    fn plan_backward(
        &self,
        op: &dyn Op,
        x: &[f32],
        params: &[&[f32]],
        saved: &[u32],
        d_y: &[f32],
        step: u32,
        d_x: Option<&Tensor>,
    ) -> Vec<Vec<f32>> {
        let d_params: Vec<_> = params.iter().map(|p| self.output("parameter gradient", p.len())).collect();
        let param_tensors: Vec<_> = params.iter().map(|p| self.input("parameter", p)).collect();
        let tensors = BackwardTensors {
            n: d_y.len() / op.output_len(),
            x: &self.input("x", x),
            params: &param_tensors,
            saved: &self.input("saved", saved),
            d_y: &self.input("d_y", d_y),
            d_x,
            d_params: &d_params,
        };
        self.run(Batch { step, ..Batch::default() }, |planner| op.plan_backward(planner, &tensors));
        d_params.iter().zip(params).map(|(d, p)| self.read(d, p.len())).collect()
    }
}

/// Three kinds of input, each of which finds what the others miss.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// Small integers: every sum is exact in f32 in whatever order, so results are compared exactly, and ties are certain.
    Integers,
    /// All of about the same size: the tightest bounds.
    Even,
    /// Zeros, ties and large values: where absorption and cancellation happen.
    Mixed,
}

pub const KINDS: [Kind; 3] = [Kind::Integers, Kind::Even, Kind::Mixed];

impl Kind {
    pub fn draw(self, stream: u32, len: usize) -> Vec<f32> {
        match self {
            Kind::Integers => (0..len as u32).map(|i| (7.0 * common::uniform(stream, i)).floor() - 3.0).collect(),
            Kind::Even => (0..len as u32).map(|i| 2.0 * common::uniform(stream, i) - 1.0).collect(),
            Kind::Mixed => common::values(stream, len),
        }
    }

    /// Compares sums of `terms` terms of this kind: exactly for integers, else within the bound.
    pub fn compare(self, what: &str, got: &[f32], want: &[f64], magnitude: &[f64], terms: usize) -> Result<(), String> {
        if self == Kind::Integers {
            let exact_below = f64::from(1 << 24);
            assert!(magnitude.iter().all(|&m| m < exact_below), "{what}: not exact in f32, the test needs smaller inputs");
            return common::exact(what, &common::f64s(got), want);
        }
        common::close(what, got, want, magnitude, terms)
    }
}

/// Every entry point that naga finds has to be run by some comparison: those that the subjects' `smallest` cases make.
#[test]
fn every_entry_point_is_compared_with_its_mirror() {
    let gpus = Gpu::all();
    for smallest in [affine::smallest, fused::smallest, loss::smallest, pointwise::smallest, sgd::smallest] {
        smallest(&gpus);
    }
    let mut known = BTreeSet::new();
    for shader in SHADERS {
        let (module, _) = shader.parse(&[]).expect("it is valid");
        known.extend(module.entry_points.iter().map(|entry| format!("{}.{}", shader.op, entry.name)));
    }
    for gpu in &gpus {
        let ran = gpu.ran.borrow();
        let missing: Vec<_> = known.difference(&ran).collect();
        assert!(missing.is_empty(), "{gpu}: never run against a mirror: {missing:?}");
    }
}
