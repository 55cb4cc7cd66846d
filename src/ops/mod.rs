//! The operations of the network. Each op is one file here and one shader of the same stem in `shaders/`: its sizes, how it
//! plans its dispatches on the GPU, and `mod cpu`, the same arithmetic in plain Rust.
//!
//! How to add one stands in `ARCHITECTURE.md`.

pub mod conv2d;
pub mod conv2d_relu_maxpool2d;
pub mod cross_entropy;
pub mod dropout;
pub mod gather;
pub mod lanes;
pub mod linear;
pub mod matrix;
pub mod maxpool2d;
pub mod relu;
pub mod sgd;

use crate::gpu::{GpuError, Planner, Shader, Tensor};
use wide::f32x4;

/// Every shader of the project: the op table.
pub const SHADERS: &[Shader] = &[
    gather::SHADER,
    conv2d::SHADER,
    relu::SHADER,
    maxpool2d::SHADER,
    conv2d_relu_maxpool2d::SHADER,
    linear::SHADER,
    dropout::SHADER,
    cross_entropy::SHADER,
    sgd::SHADER,
];

/// The element types of the CPU mirror: f32 to train, f64 to check gradients.
pub trait Real:
    num_traits::Float + num_traits::NumAssign + std::iter::Sum + std::fmt::Debug + Send + Sync + 'static
{
    fn of(value: f64) -> Self;

    /// Rows become columns.
    fn transpose(block: [[Self; 4]; 4]) -> [[Self; 4]; 4];
}

impl Real for f32 {
    fn of(value: f64) -> Self {
        value as f32
    }

    /// Within registers, which no compiler finds by itself.
    #[inline(always)]
    fn transpose(block: [[f32; 4]; 4]) -> [[f32; 4]; 4] {
        let [a, b, c, d] = block;
        let [a, b, c, d] = f32x4::transpose([f32x4::new(a), f32x4::new(b), f32x4::new(c), f32x4::new(d)]);
        [a.to_array(), b.to_array(), c.to_array(), d.to_array()]
    }
}

impl Real for f64 {
    fn of(value: f64) -> Self {
        value
    }

    fn transpose(block: [[f64; 4]; 4]) -> [[f64; 4]; 4] {
        std::array::from_fn(|i| block.map(|row| row[i]))
    }
}

/// How many samples of a batch of `n` one task of the CPU path takes. It depends on nothing else, so that sums over samples do
/// not depend on the number of threads. A task brings along buffers and a gradient of its own: large batches have larger
/// tasks, not more of them.
pub fn samples_per_task(n: usize) -> usize {
    (n / 16).max(4)
}

/// What an op reads and writes on the GPU in a forward pass over a batch of `n` samples.
pub struct ForwardTensors<'a> {
    pub n: usize,
    /// Training, not evaluation: whether dropout drops anything.
    pub training: bool,
    /// (N, `input_len`)
    pub x: &'a Tensor,
    /// Weight and bias, or nothing.
    pub params: &'a [Tensor],
    /// (N, `output_len`)
    pub y: &'a Tensor,
    /// (N, `saved_len`) as u32
    pub saved: &'a Tensor,
}

/// What an op reads and writes on the GPU in a backward pass. `d_y` is the gradient of the loss with respect to `y`.
pub struct BackwardTensors<'a> {
    pub n: usize,
    pub x: &'a Tensor,
    pub params: &'a [Tensor],
    pub saved: &'a Tensor,
    pub d_y: &'a Tensor,
    /// Absent in the first op of a network: nobody needs the gradient of the images.
    pub d_x: Option<&'a Tensor>,
    /// Gradients of `params`, overwritten.
    pub d_params: &'a [Tensor],
}

/// The same on the CPU.
pub struct ForwardSlices<'a> {
    pub x: &'a [f32],
    pub params: &'a [&'a [f32]],
    pub y: &'a mut [f32],
    pub saved: &'a mut [u32],
    pub training: bool,
    /// Training steps so far: the dropout counter.
    pub step: u32,
}

/// The same on the CPU.
pub struct BackwardSlices<'a> {
    pub x: &'a [f32],
    pub params: &'a [&'a [f32]],
    pub saved: &'a [u32],
    pub d_y: &'a [f32],
    pub d_x: Option<&'a mut [f32]>,
    pub d_params: &'a mut [&'a mut [f32]],
    pub step: u32,
}

/// One stage of a network, on both paths.
pub trait Op: Send + Sync {
    /// The stem of its files.
    fn name(&self) -> &'static str;
    /// Elements of one sample going in.
    fn input_len(&self) -> usize;
    /// Elements of one sample coming out.
    fn output_len(&self) -> usize;
    /// u32 elements per sample that the forward pass saves for the backward pass. The two paths may fill them differently.
    fn saved_len(&self) -> usize {
        0
    }
    /// Dense FLOPs of one sample's forward pass: two for each multiply-add of a convolution or a linear layer, as its definition
    /// has them, outputs that pooling drops included. All else counts as none. Each backward pass, to the input and to the
    /// parameters, has as many again. A kernel that gets by with fewer is credited with these.
    fn flops(&self) -> u64 {
        0
    }
    /// Whether it only acts in training, and is left out of an evaluation.
    fn training_only(&self) -> bool {
        false
    }
    /// This op, if it is one of those that the CPU path takes several of at once.
    fn fused(&self) -> Option<&conv2d_relu_maxpool2d::Conv2dReluMaxPool2d> {
        None
    }
    fn plan_forward(&self, planner: &mut Planner, t: &ForwardTensors) -> Result<(), GpuError>;
    fn plan_backward(&self, planner: &mut Planner, t: &BackwardTensors) -> Result<(), GpuError>;
    fn forward(&self, s: ForwardSlices);
    fn backward(&self, s: BackwardSlices);
}
