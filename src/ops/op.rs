//! The interface between an op and an engine: sizes, dispatches on a GPU, arithmetic on the CPU.

use crate::gpu::{GpuError, Planner, Tensor};
use std::any::Any;

/// What differs from batch to batch, as every kernel's uniform `batch` holds it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
pub struct Batch {
    /// Position of the batch's first sample in the pass's order.
    pub first: u32,
    /// Samples in the batch; fewer than the plan's batch size only in the last batch of an evaluation.
    pub count: u32,
    /// Number of the batch in its pass: where its metrics go.
    pub index: u32,
    /// Training steps since the start of training: the dropout counter.
    pub step: u32,
    pub learning_rate: f32,
    /// What an optimizer multiplies its running means with: see [`super::adamw::AdamW::corrections`].
    pub correction1: f32,
    pub correction2: f32,
}

/// What an op reads and writes on the GPU in a forward pass over a batch of `n` samples.
pub struct ForwardTensors<'a> {
    pub n: usize,
    /// Training, not evaluation: whose statistics normalise.
    pub training: bool,
    /// (N, `input_len`)
    pub x: &'a Tensor,
    /// Weight and bias, or nothing.
    pub params: &'a [Tensor],
    /// What the op keeps from batch to batch without training it, such as running statistics. A pass in training
    /// updates them.
    pub buffers: &'a [Tensor],
    /// (N, `output_len`)
    pub y: &'a Tensor,
    /// (N, `saved_words`) as u32
    pub saved: &'a Tensor,
}

/// What an op reads and writes on the GPU in a backward pass. `d_y` is the gradient of the loss with respect to `y`.
pub struct BackwardTensors<'a> {
    pub n: usize,
    /// (N, `input_len`)
    pub x: &'a Tensor,
    pub params: &'a [Tensor],
    /// (N, `saved_words`) as u32
    pub saved: &'a Tensor,
    /// (N, `output_len`)
    pub d_y: &'a Tensor,
    /// (N, `input_len`). Absent in the first op that is trained: nobody needs the gradient of what goes in.
    pub d_x: Option<&'a Tensor>,
    /// Gradients of `params`, overwritten.
    pub d_params: &'a [Tensor],
}

/// [`ForwardTensors`] on the CPU, of the same shapes.
pub struct ForwardSlices<'a> {
    pub x: &'a [f32],
    pub params: &'a [&'a [f32]],
    pub buffers: &'a mut [&'a mut [f32]],
    pub y: &'a mut [f32],
    pub saved: &'a mut [u32],
    pub training: bool,
    /// Training steps so far: the dropout counter.
    pub step: u32,
}

/// [`BackwardTensors`] on the CPU, of the same shapes.
pub struct BackwardSlices<'a> {
    pub x: &'a [f32],
    pub params: &'a [&'a [f32]],
    pub saved: &'a [u32],
    pub d_y: &'a [f32],
    pub d_x: Option<&'a mut [f32]>,
    pub d_params: &'a mut [&'a mut [f32]],
    pub step: u32,
}

/// One stage of a network.
pub trait Op: AsAny + Send + Sync {
    /// The stem of its files.
    fn name(&self) -> &'static str;
    /// Elements of one sample going in.
    fn input_len(&self) -> usize;
    /// Elements of one sample coming out.
    fn output_len(&self) -> usize;
    /// Words of 32 bits per sample that the forward pass saves for the backward pass. The two paths may fill them
    /// differently.
    fn saved_words(&self) -> usize {
        0
    }
    /// Dense FLOPs of one sample's forward pass: two for each multiply-add of a convolution or a linear layer, as its
    /// definition has them, outputs that pooling drops included. All else counts as none. Each backward pass, to the
    /// input and to the parameters, has as many again. A kernel that gets by with fewer is credited with these.
    fn flops(&self) -> u64 {
        0
    }
    /// Whether it only acts in training, and is left out of an evaluation.
    fn training_only(&self) -> bool {
        false
    }
}

/// An op's dispatches.
pub trait OnGpu: Op {
    fn plan_forward(&self, planner: &mut Planner, t: &ForwardTensors) -> Result<(), GpuError>;
    fn plan_backward(&self, planner: &mut Planner, t: &BackwardTensors) -> Result<(), GpuError>;
}

/// An op's mirror.
pub trait OnCpu: Op {
    fn forward(&self, s: ForwardSlices);
    fn backward(&self, s: BackwardSlices);
}

/// An op of a layer, which runs on both paths.
pub trait LayerOp: OnGpu + OnCpu {}

impl<T: OnGpu + OnCpu> LayerOp for T {}

/// What lets a rewrite see which op it has before it.
pub trait AsAny: Any {
    fn as_any(&self) -> &dyn Any;
}

impl<T: Any> AsAny for T {
    fn as_any(&self) -> &dyn Any {
        self
    }
}
