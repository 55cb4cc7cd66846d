//! 3x3 convolution, ReLU and 2x2 max pooling as one op.
//!
//! Nothing between the convolution and the pooling is written to memory. Forward keeps one small number per window,
//! which of its four elements won; backward expands it again.

use super::conv2d::Conv2d;
use super::maxpool2d::MaxPool2d;
use super::relu::Relu;
use super::winograd::Layout;
use super::{BackwardSlices, BackwardTensors, ForwardSlices, ForwardTensors, LayerOp, OnCpu, OnGpu, Op};
use crate::gpu::plan::Dispatch;
use crate::gpu::{GpuError, Planner, Shader, Tensor};
use crate::shader;
use std::any::Any;

pub mod chain;
pub mod cpu;

pub const SHADER: Shader = shader!("conv2d_relu_maxpool2d");

/// The kernel size that this op is made for.
pub const KERNEL: usize = 3;
/// The pooling window that this op is made for.
pub const WINDOW: usize = 2;
/// The winner of a window that ReLU cut to 0: no gradient passes.
pub const DEAD: u8 = 4;

/// Makes a 3x3 convolution, ReLU and 2x2 pooling in a row one op.
pub fn fuse(ops: &[&dyn Any]) -> Option<(usize, Box<dyn LayerOp>)> {
    let [conv, relu, pool, ..] = ops else { return None };
    let &Conv2d { channels, height, width, out, kernel: KERNEL, padding, stride: 1 } = conv.downcast_ref()? else {
        return None;
    };
    let (_, MaxPool2d { size: WINDOW, .. }) = (relu.downcast_ref::<Relu>()?, pool.downcast_ref()?) else { return None };
    Some((3, Box::new(Conv2dReluMaxPool2d { channels, height, width, out, padding })))
}

/// Over (C, H, W) samples with `out` kernels of (C, 3, 3).
#[derive(Clone, Debug)]
pub struct Conv2dReluMaxPool2d {
    pub channels: usize,
    pub height: usize,
    pub width: usize,
    pub out: usize,
    pub padding: usize,
}

impl Conv2dReluMaxPool2d {
    /// (PH, PW)
    pub fn pooled(&self) -> (usize, usize) {
        ((self.height + 2 * self.padding - 2) / 2, (self.width + 2 * self.padding - 2) / 2)
    }

    /// How a sample lies in memory on the CPU.
    fn layout(&self) -> Layout {
        Layout::new([self.channels, self.height, self.width], self.padding, self.pooled())
    }

    /// Pooling windows of one output channel of one sample.
    pub fn windows(&self) -> usize {
        let (ph, pw) = self.pooled();
        ph * pw
    }

    /// C * 9, the terms of one output of the convolution.
    pub fn fan_in(&self) -> usize {
        self.channels * KERNEL * KERNEL
    }

    /// Elements of the weight (O, C, 3, 3).
    pub fn weight_len(&self) -> usize {
        self.out * self.fan_in()
    }

    fn dispatch(
        &self,
        planner: &mut Planner,
        n: usize,
        entry: &str,
        buffers: &[(&str, &Tensor, usize)],
        more: &[(&str, f64)],
        invocations: [usize; 3],
    ) -> Result<(), GpuError> {
        let shape = [
            ("BATCH", n as f64),
            ("CHANNELS", self.channels as f64),
            ("HEIGHT", self.height as f64),
            ("WIDTH", self.width as f64),
            ("OUT_CHANNELS", self.out as f64),
            ("PADDING", self.padding as f64),
        ];
        let (constants, flops) = (&[&shape, more].concat(), n as u64 * self.flops());
        planner.dispatch(Dispatch { shader: &SHADER, entry, constants, buffers, invocations, flops })
    }
}

impl Op for Conv2dReluMaxPool2d {
    fn name(&self) -> &'static str {
        SHADER.op
    }

    fn input_len(&self) -> usize {
        self.channels * self.height * self.width
    }

    fn output_len(&self) -> usize {
        self.out * self.windows()
    }

    /// A byte for each winner, as the shader packs them: words of as many channels as an invocation takes.
    fn saved_words(&self) -> usize {
        self.out.div_ceil(SHADER.constant("TILE")) * self.windows()
    }

    fn flops(&self) -> u64 {
        let (oh, ow) = (self.height + 2 * self.padding - 2, self.width + 2 * self.padding - 2);
        2 * (self.out * oh * ow * self.fan_in()) as u64
    }
}

impl OnGpu for Conv2dReluMaxPool2d {
    fn plan_forward(&self, planner: &mut Planner, t: &ForwardTensors) -> Result<(), GpuError> {
        let (ph, pw) = self.pooled();
        let buffers = [
            ("x", t.x, t.n * self.input_len()),
            ("weight", &t.params[0], self.weight_len()),
            ("bias", &t.params[1], self.out),
            ("y", t.y, t.n * self.output_len()),
            ("winner", t.saved, t.n * self.saved_words()),
        ];
        let invocations =
            [t.n * ph * pw.div_ceil(SHADER.constant("WINDOWS")), self.out.div_ceil(SHADER.constant("TILE")), 1];
        self.dispatch(planner, t.n, "forward", &buffers, &[], invocations)
    }

    fn plan_backward(&self, planner: &mut Planner, t: &BackwardTensors) -> Result<(), GpuError> {
        let (d_y, winner) = (("d_y", t.d_y, t.n * self.output_len()), ("winner", t.saved, t.n * self.saved_words()));
        let (d_weight, d_bias) = (("d_weight", &t.d_params[0], self.weight_len()), ("d_bias", &t.d_params[1], self.out));
        let buffers = [("x", t.x, t.n * self.input_len()), d_y, winner, d_weight, d_bias];
        // A workgroup takes a power of two of input channels, few where there are few.
        let lanes = self.channels.next_power_of_two().min(8);
        let invocations =
            [self.channels.div_ceil(lanes) * SHADER.constant("GROUP"), self.out.div_ceil(SHADER.constant("TILE")), 1];
        self.dispatch(planner, t.n, "backward_params", &buffers, &[("C_LANES", lanes as f64)], invocations)?;

        let Some(d_x) = t.d_x else { return Ok(()) };
        let (ph, pw) = self.pooled();
        let buffers = [d_y, winner, ("weight", &t.params[0], self.weight_len()), ("d_x", d_x, t.n * self.input_len())];
        let strips = t.n * (ph + 1) * (pw + 1).div_ceil(SHADER.constant("WINDOWS"));
        let invocations = [strips, self.channels.div_ceil(SHADER.constant("TILE")), 1];
        self.dispatch(planner, t.n, "backward_input", &buffers, &[], invocations)
    }
}

impl OnCpu for Conv2dReluMaxPool2d {
    fn forward(&self, s: ForwardSlices) {
        cpu::forward(s.x, vec![self.forward_layer(s.params, s.y, s.saved)]);
    }

    fn backward(&self, s: BackwardSlices) {
        cpu::backward(vec![self.backward_layer(s.x, s.params, s.saved, s.d_params)], s.d_y, s.d_x);
    }
}

impl Conv2dReluMaxPool2d {
    /// This op as a layer of a forward pass on the CPU: `params` are weight and bias, and the winners, a byte each, go
    /// to `saved`.
    ///
    /// # Panics
    /// If there are fewer parameters, or `saved` is too short.
    pub fn forward_layer<'a>(
        &'a self,
        params: &[&'a [f32]],
        y: &'a mut [f32],
        saved: &'a mut [u32],
    ) -> cpu::Forward<'a, f32> {
        let winner = &mut bytemuck::cast_slice_mut(saved)[..y.len()];
        cpu::Forward { op: self, weight: params[0], bias: params[1], y, winner }
    }

    /// The same in a backward pass: `saved` is as the forward pass left it, `d_params` are the gradients of weight and
    /// bias.
    ///
    /// # Panics
    /// Unless there are two of each, or if `saved` is too short.
    pub fn backward_layer<'a>(
        &'a self,
        x: &'a [f32],
        params: &[&'a [f32]],
        saved: &'a [u32],
        d_params: &'a mut [&mut [f32]],
    ) -> cpu::Backward<'a, f32> {
        let [d_weight, d_bias] = d_params else { unreachable!("two parameters: weight and bias") };
        let winner = &bytemuck::cast_slice(saved)[..x.len() / self.input_len() * self.output_len()];
        cpu::Backward { op: self, x, weight: params[0], winner, d_weight, d_bias }
    }
}
