//! 3x3 convolution, ReLU and 2x2 max pooling as one op: what the plan takes where the three layers stand in a row.
//!
//! Nothing between the convolution and the pooling is written to memory. Forward keeps one small number per window, which
//! of its four elements won; backward expands it again.

use super::{BackwardSlices, BackwardTensors, ForwardSlices, ForwardTensors, Op};
use crate::gpu::plan::{Dispatch, in_turns};
use crate::gpu::{GpuError, Planner, Shader, Tensor};
use crate::shader;

pub mod cpu;

pub const SHADER: Shader = shader!("conv2d_relu_maxpool2d");

/// The kernel size that this op is made for.
pub const KERNEL: usize = 3;
/// The pooling window that this op is made for.
pub const WINDOW: usize = 2;
/// The winner of a window that ReLU cut to 0: no gradient passes.
pub const DEAD: u32 = 4;

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

    /// Into how many parts the sum over the batch's windows is cut, so that a GPU has enough to do at once: some thousands of
    /// invocations, with at least a few windows each and a bounded buffer of parts.
    fn slices(&self, n: usize) -> usize {
        const INVOCATIONS: usize = 8192;
        let per_slice = self.channels * self.out.div_ceil(SHADER.constant("TILE") as usize);
        (INVOCATIONS / per_slice).clamp(1, 256).min((n * self.windows()).div_ceil(8))
    }

    fn constants(&self, n: usize) -> [(&'static str, f64); 7] {
        [
            ("BATCH", n as f64),
            ("CHANNELS", self.channels as f64),
            ("HEIGHT", self.height as f64),
            ("WIDTH", self.width as f64),
            ("OUT_CHANNELS", self.out as f64),
            ("PADDING", self.padding as f64),
            ("SLICES", self.slices(n) as f64),
        ]
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

    fn saved_len(&self) -> usize {
        self.output_len()
    }

    fn plan_forward(&self, planner: &mut Planner, t: &ForwardTensors) -> Result<(), GpuError> {
        let outputs = t.n * self.output_len();
        planner.dispatch(Dispatch {
            shader: &SHADER,
            entry: "forward",
            constants: &self.constants(t.n),
            buffers: &[
                ("x", t.x, t.n * self.input_len()),
                ("weight", &t.params[0], self.weight_len()),
                ("bias", &t.params[1], self.out),
                ("y", t.y, outputs),
                ("winner", t.saved, outputs),
            ],
            invocations: [
                (t.n * self.windows()).div_ceil(SHADER.constant("WINDOWS") as usize),
                self.out.div_ceil(SHADER.constant("TILE") as usize),
                1,
            ],
        })
    }

    fn plan_backward(&self, planner: &mut Planner, t: &BackwardTensors) -> Result<(), GpuError> {
        let outputs = t.n * self.output_len();
        let constants = &self.constants(t.n);
        let (d_y, winner) = (("d_y", t.d_y, outputs), ("winner", t.saved, outputs));

        let part = self.weight_len() + self.out;
        let slices = self.slices(t.n);
        let parts = Tensor::zeros(planner.context, "conv2d parts", slices * part)?;
        let tiles = self.out.div_ceil(SHADER.constant("TILE") as usize);
        planner.dispatch(Dispatch {
            shader: &SHADER,
            entry: "backward_params",
            constants,
            buffers: &[("x", t.x, t.n * self.input_len()), d_y, winner, ("parts", &parts, slices * part)],
            invocations: [slices * tiles * self.channels, 1, 1],
        })?;
        planner.dispatch(Dispatch {
            shader: &SHADER,
            entry: "sum_params",
            constants,
            buffers: &[
                ("parts", &parts, slices * part),
                ("d_weight", &t.d_params[0], self.weight_len()),
                ("d_bias", &t.d_params[1], self.out),
            ],
            invocations: [part, 1, 1],
        })?;

        let Some(d_x) = t.d_x else { return Ok(()) };
        let windows = t.n * self.windows();
        let fields = windows * self.channels * 16;
        let d_fields = Tensor::zeros(planner.context, "conv2d field gradients", fields)?;
        planner.dispatch(Dispatch {
            shader: &SHADER,
            entry: "backward_input",
            constants,
            buffers: &[d_y, winner, ("weight", &t.params[0], self.weight_len()), ("d_fields", &d_fields, fields)],
            invocations: [
                windows.div_ceil(SHADER.constant("WINDOWS") as usize),
                self.channels.div_ceil(SHADER.constant("IN_TILE") as usize),
                1,
            ],
        })?;
        planner.dispatch(Dispatch {
            shader: &SHADER,
            entry: "fold_input",
            constants,
            buffers: &[("d_fields", &d_fields, fields), ("d_x", d_x, t.n * self.input_len())],
            invocations: [self.height * self.width, in_turns(t.n * self.channels), 1],
        })
    }

    fn forward(&self, s: ForwardSlices) {
        cpu::forward(self, s.x, s.params[0], s.params[1], s.y, s.saved);
    }

    fn backward(&self, s: BackwardSlices) {
        let [d_weight, d_bias] = s.d_params else { unreachable!("two parameters: weight and bias") };
        cpu::backward(self, s.x, s.params[0], s.saved, s.d_y, s.d_x, d_weight, d_bias);
    }
}
