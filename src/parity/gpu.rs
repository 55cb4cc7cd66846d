//! A device as the comparisons use it: guards around every tensor, and a record of what ran.

use super::Fault;
use super::compare::{SENTINEL, exact};
use crate::gpu::{Context, GpuError, Planner, Tensor, drive, plan};
use crate::ops::{BackwardTensors, Batch, ForwardTensors, OnGpu};
use bytemuck::Pod;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt;
use std::rc::Rc;

/// Elements behind every tensor: poison behind an input, so that reading past its end spoils the result, and the
/// sentinel behind an output, so that writing past its end shows.
const GUARD: usize = 256;

/// Another NaN than the sentinel: copied past the end of an output it has to show there.
const POISON: f32 = f32::from_bits(0x7fc0_beef);

/// A device and the entry points that ran on it.
pub struct Gpu {
    pub context: Rc<Context>,
    /// `op.entry_point` of each.
    pub ran: RefCell<BTreeSet<String>>,
}

/// What an op's forward pass left.
pub struct Forward {
    pub y: Vec<f32>,
    pub saved: Vec<u32>,
    pub buffers: Vec<Vec<f32>>,
}

/// Gradients as an op's backward pass left them.
pub struct Gradients {
    pub d_x: Vec<f32>,
    pub d_params: Vec<Vec<f32>>,
}

impl fmt::Display for Gpu {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let checks = if self.context.options.runtime_checks { "with" } else { "without" };
        write!(f, "{} {checks} run-time checks", self.context.info.name)
    }
}

impl Gpu {
    pub fn new(context: impl Into<Rc<Context>>) -> Self {
        Self { context: context.into(), ran: RefCell::default() }
    }

    fn guarded<T: Pod>(&self, label: &str, data: &[T], guard: f32) -> Result<Tensor, GpuError> {
        let mut bytes: Vec<u8> = bytemuck::cast_slice(data).to_vec();
        bytes.resize(bytes.len().next_multiple_of(4), 0xff);
        bytes.extend_from_slice(bytemuck::cast_slice(&[guard; GUARD]));
        Tensor::from_slice(&self.context, label, &bytes)
    }

    /// A tensor that holds `data`.
    pub fn input<T: Pod>(&self, label: &str, data: &[T]) -> Result<Tensor, GpuError> {
        self.guarded(label, data, POISON)
    }

    fn inputs(&self, label: &str, data: &[&[f32]]) -> Result<Vec<Tensor>, GpuError> {
        data.iter().map(|data| self.input(label, data)).collect()
    }

    /// A tensor that holds `data`, to be updated in place and read back.
    pub fn in_out<T: Pod>(&self, label: &str, data: &[T]) -> Result<Tensor, GpuError> {
        self.guarded(label, data, SENTINEL)
    }

    /// A tensor for `len` results, none of them written yet.
    pub fn output(&self, label: &str, len: usize) -> Result<Tensor, GpuError> {
        self.in_out(label, &vec![SENTINEL; len])
    }

    /// Plans, runs and waits.
    pub fn run(&self, batch: Batch, plan: impl FnOnce(&mut Planner) -> Result<(), GpuError>) -> Result<(), GpuError> {
        let mut planner = Planner::new(&self.context);
        plan(&mut planner)?;
        plan::run(&self.context, &planner.steps, &batch)?;
        self.ran.borrow_mut().extend(planner.steps.into_iter().map(|step| step.label));
        Ok(())
    }

    /// The first `len` elements of a tensor made here; an error if anything was written behind them.
    pub async fn read<T: Pod>(&self, tensor: &Tensor, len: usize) -> Result<Vec<T>, Fault> {
        let mut words: Vec<u32> = drive::wait(&self.context, tensor.read(&self.context)).await?;
        let untouched = words[len..].iter().take_while(|&&word| word == SENTINEL.to_bits()).count();
        if untouched != words.len() - len {
            return Err(Fault::Overrun(tensor.label.clone()));
        }
        words.truncate(len);
        Ok(bytemuck::cast_slice(&words).to_vec())
    }

    /// An op's forward pass in training: `y` and what it saves for the backward pass.
    pub async fn forward(
        &self,
        op: &dyn OnGpu,
        n: usize,
        x: &[f32],
        params: &[&[f32]],
        step: u32,
    ) -> Result<(Vec<f32>, Vec<u32>), Fault> {
        let Forward { y, saved, .. } = self.forward_with(op, n, x, params, &[], true, step).await?;
        Ok((y, saved))
    }

    /// An op's forward pass, in training or in an evaluation, over `buffers`, which it may update.
    #[allow(clippy::too_many_arguments)] // what a forward pass takes
    pub async fn forward_with(
        &self,
        op: &dyn OnGpu,
        n: usize,
        x: &[f32],
        params: &[&[f32]],
        buffers: &[&[f32]],
        training: bool,
        step: u32,
    ) -> Result<Forward, Fault> {
        let (y_len, saved_len) = (n * op.output_len(), n * op.saved_words());
        let (y, saved) = (self.output("y", y_len)?, self.output("winner", saved_len)?);
        let params = self.inputs("parameter", params)?;
        let kept = buffers.iter().map(|buffer| self.in_out("buffer", buffer)).collect::<Result<Vec<_>, _>>()?;
        let x = &self.input("x", x)?;
        let tensors = ForwardTensors { n, training, x, params: &params, buffers: &kept, y: &y, saved: &saved };
        self.run(Batch { step, ..Batch::default() }, |planner| op.plan_forward(planner, &tensors))?;
        let (y, saved) = (self.read(&y, y_len).await?, self.read(&saved, saved_len).await?);
        let mut forward = Forward { y, saved, buffers: Vec::new() };
        for (tensor, buffer) in kept.iter().zip(buffers) {
            forward.buffers.push(self.read(tensor, buffer.len()).await?);
        }
        Ok(forward)
    }

    /// An op's backward pass from the gradient `d_y`.
    pub async fn backward(
        &self,
        op: &dyn OnGpu,
        x: &[f32],
        params: &[&[f32]],
        saved: &[u32],
        d_y: &[f32],
        step: u32,
    ) -> Result<Gradients, Fault> {
        let d_x = self.output("d_x", x.len())?;
        let d_params = self.run_backward(op, x, params, saved, d_y, step, Some(&d_x)).await?;
        Ok(Gradients { d_x: self.read(&d_x, x.len()).await?, d_params })
    }

    /// The same for the first op of a network, which is asked for no gradient of its input.
    pub async fn backward_params(
        &self,
        op: &dyn OnGpu,
        x: &[f32],
        params: &[&[f32]],
        saved: &[u32],
        d_y: &[f32],
        step: u32,
    ) -> Result<Vec<Vec<f32>>, Fault> {
        self.run_backward(op, x, params, saved, d_y, step, None).await
    }

    #[allow(clippy::too_many_arguments)] // what a backward pass takes
    async fn run_backward(
        &self,
        op: &dyn OnGpu,
        x: &[f32],
        params: &[&[f32]],
        saved: &[u32],
        d_y: &[f32],
        step: u32,
        d_x: Option<&Tensor>,
    ) -> Result<Vec<Vec<f32>>, Fault> {
        let d_params = params.iter().map(|p| self.output("parameter gradient", p.len()));
        let d_params = d_params.collect::<Result<Vec<_>, _>>()?;
        let param_tensors = self.inputs("parameter", params)?;
        let tensors = BackwardTensors {
            n: d_y.len() / op.output_len(),
            x: &self.input("x", x)?,
            params: &param_tensors,
            saved: &self.input("winner", saved)?,
            d_y: &self.input("d_y", d_y)?,
            d_x,
            d_params: &d_params,
        };
        self.run(Batch { step, ..Batch::default() }, |planner| op.plan_backward(planner, &tensors))?;
        let mut gradients = Vec::new();
        for (d, p) in d_params.iter().zip(params) {
            gradients.push(self.read(d, p.len()).await?);
        }
        Ok(gradients)
    }
}

/// What lies behind an [`Arena`], which an update must leave as it is. No NaN, because an update would leave it one.
const BEHIND: f32 = 1.0;

/// Numbers that a kernel updates, all that its tensor has: one element more lies behind and has to stay as it is.
pub struct Arena {
    whole: Tensor,
    pub part: Tensor,
}

impl Arena {
    pub fn new(gpu: &Gpu, data: Vec<f32>) -> Result<Self, GpuError> {
        let len = data.len();
        let whole = gpu.in_out("arena", &[data, vec![BEHIND]].concat())?;
        Ok(Self { part: whole.slice("arena", 0..len), whole })
    }

    pub async fn read(&self, gpu: &Gpu) -> Result<Vec<f32>, Fault> {
        let mut data: Vec<f32> = gpu.read(&self.whole, self.part.len() + 1).await?;
        exact("an arena, the element behind", &[data.pop()], &[Some(BEHIND)])?;
        Ok(data)
    }
}
