//! 2-D convolution (cross-correlation, as PyTorch's `Conv2d`), zero padding, any kernel size and stride.
//!
//! The general form. Where ReLU and 2x2 pooling follow a 3x3 convolution, the plan takes
//! [`super::conv2d_relu_maxpool2d`] instead.

use super::Attribute::Ints;
use super::batchnorm2d::BatchNorm2d;
use super::{
    BackwardSlices, BackwardTensors, Definition, ForwardSlices, ForwardTensors, LayerOp, Misfit, Needed, OnCpu, OnGpu, Op,
    Operator, Place, Shape, Spoken, TextError, Words, weight_and_bias,
};
use crate::gpu::plan::Dispatch;
use crate::gpu::{GpuError, Planner, Shader, Tensor};
use crate::shader;
use serde::{Deserialize, Serialize};
use std::fmt;

pub mod cpu;
pub mod minimal;

pub const SHADER: Shader = shader!("conv2d");

/// The layer: square kernel, zero padding.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    pub out: usize,
    pub kernel: usize,
    pub padding: usize,
    /// 1 where it is not written, as files of earlier versions have it.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub stride: usize,
}

fn one() -> usize {
    1
}

fn is_one(stride: &usize) -> bool {
    *stride == 1
}

impl fmt::Display for Settings {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Self { out, kernel, padding, stride } = self;
        write!(f, "Conv2d({out}, {kernel}x{kernel}")?;
        if *stride != 1 {
            write!(f, ", stride {stride}")?;
        }
        if *padding != 0 {
            write!(f, ", padding {padding}")?;
        }
        f.write_str(")")
    }
}

impl Spoken for Settings {
    const NAMES: &'static [&'static str] = &["conv", "Conv2d"];
    const USAGE: &'static str = "conv OUTPUTS [KERNEL] [stride S] [padding P]";

    fn words(&self) -> String {
        let mut words = format!("conv {} {}", self.out, self.kernel);
        if self.stride != 1 {
            words += &format!(" stride {}", self.stride);
        }
        if self.padding != 0 {
            words += &format!(" padding {}", self.padding);
        }
        words
    }

    fn parse(words: &mut Words) -> Result<Self, TextError> {
        let out = words.number("a number of outputs")?;
        let kernel = words.number_or(3);
        let (mut stride, mut padding) = (None, None);
        // In either order.
        for _ in 0..2 {
            stride = words.named("stride")?.or(stride);
            padding = words.named("padding")?.or(padding);
        }
        Ok(Self { out, kernel, padding: padding.unwrap_or(0), stride: stride.unwrap_or(1) })
    }
}

impl Definition for Settings {
    fn output(&self, input: &Shape) -> Result<Shape, Misfit> {
        let &Self { out, kernel, padding, stride } = self;
        match (out, kernel) {
            (0, _) => return Err(Misfit::Setting("needs at least one output")),
            (_, 0) => return Err(Misfit::Setting("a kernel is at least 1x1")),
            (_, kernel) if padding >= kernel => {
                return Err(Misfit::Setting("the padding must be smaller than the kernel"));
            }
            _ if stride == 0 => return Err(Misfit::Setting("a stride is at least 1")),
            (_, kernel) if kernel.max(stride) > LARGEST => {
                return Err(Misfit::Setting("kernel or stride are too large"));
            }
            _ => {}
        }
        let [c, h, w] = input.image()?;
        if h + 2 * padding < kernel || w + 2 * padding < kernel {
            let least = kernel - 2 * padding;
            return Err(Misfit::Input(format!("at least ({c}, {least}, {least})")));
        }
        let (oh, ow) = ((h + 2 * padding - kernel) / stride + 1, (w + 2 * padding - kernel) / stride + 1);
        if [c, kernel, kernel, oh, ow].into_iter().fold(1, usize::saturating_mul) > MOST_UNFOLDED {
            return Err(Misfit::Setting("kernel and image are too large together"));
        }
        Ok(Shape(vec![out, oh, ow]))
    }

    fn parameters(&self, input: &Shape) -> Vec<Needed> {
        weight_and_bias(vec![self.out, input.0[0], self.kernel, self.kernel])
    }

    fn op(&self, input: &Shape, _place: Place) -> Option<Box<dyn LayerOp>> {
        let [channels, height, width] = input.image().ok()?;
        let &Self { out, kernel, padding, stride } = self;
        Some(Box::new(Conv2d { channels, height, width, out, kernel, padding, stride }))
    }

    fn onnx(&self) -> Option<Operator> {
        // Padding on four sides.
        let mut attributes = vec![Ints("kernel_shape", vec![self.kernel; 2]), Ints("pads", vec![self.padding; 4])];
        if self.stride != 1 {
            attributes.push(Ints("strides", vec![self.stride; 2]));
        }
        Some(Operator { name: "Conv", attributes })
    }
}

/// Beyond any image, and far from any overflow.
const LARGEST: usize = 1 << 28;
/// Elements of an unfolded sample, C * K * K * OH * OW: the mirror keeps one for each thread, and its places.
const MOST_UNFOLDED: usize = 1 << 25;

/// Convolution of (C, H, W) samples with `out` kernels of (C, K, K).
#[derive(Clone, Debug)]
pub struct Conv2d {
    pub channels: usize,
    pub height: usize,
    pub width: usize,
    pub out: usize,
    pub kernel: usize,
    pub padding: usize,
    pub stride: usize,
}

impl Conv2d {
    /// (OH, OW): `(H + 2P - K) / S + 1`, rounded down, and the same of W.
    pub fn output_size(&self) -> (usize, usize) {
        let size = |input: usize| (input + 2 * self.padding - self.kernel) / self.stride + 1;
        (size(self.height), size(self.width))
    }

    /// Elements of the weight (O, C, K, K).
    pub fn weight_len(&self) -> usize {
        self.out * self.fan_in()
    }

    /// Whether the CPU takes the algorithm that is made for 3x3 kernels over several channels, which are its vectors.
    fn is_minimal(&self) -> bool {
        const CHANNELS: usize = 8;
        self.kernel == 3 && self.stride == 1 && self.channels >= CHANNELS && self.out >= CHANNELS
    }

    /// C * K * K, the terms of one output.
    pub fn fan_in(&self) -> usize {
        self.channels * self.kernel * self.kernel
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
            ("KERNEL", self.kernel as f64),
            ("PADDING", self.padding as f64),
            ("STRIDE", self.stride as f64),
        ];
        let (constants, flops) = (&[&shape, more].concat(), n as u64 * self.flops());
        planner.dispatch(Dispatch { shader: &SHADER, entry, constants, buffers, invocations, flops })
    }

    fn dispatch_forward(
        &self,
        planner: &mut Planner,
        t: &ForwardTensors,
        entry: &str,
        more: &[(&str, &Tensor, usize)],
        constants: &[(&str, f64)],
    ) -> Result<(), GpuError> {
        let (oh, ow) = self.output_size();
        let own = [
            ("x", t.x, t.n * self.input_len()),
            ("weight", &t.params[0], self.weight_len()),
            ("bias", &t.params[1], self.out),
            ("y", t.y, t.n * self.output_len()),
        ];
        self.dispatch(planner, t.n, entry, &[&own, more].concat(), constants, tiles(t.n, [oh, ow], self.out))
    }

    /// A forward pass whose outputs are normalised by the channels in `saved`, and go through ReLU where `relu` is set.
    pub(super) fn plan_normalised(&self, planner: &mut Planner, t: &ForwardTensors, relu: bool) -> Result<(), GpuError> {
        let channels = ("channels", t.saved, BatchNorm2d::SAVED * self.out);
        let relu = ("RELU", f64::from(u8::from(relu)));
        self.dispatch_forward(planner, t, "forward_normalised", &[channels], &[relu])
    }
}

/// Invocations for `n` samples of `channels` channels: each computes a patch in a tile of them.
fn tiles(n: usize, [height, width]: [usize; 2], channels: usize) -> [usize; 3] {
    let (down, across) = (height.div_ceil(SHADER.constant("ROWS")), width.div_ceil(SHADER.constant("COLUMNS")));
    [n * down * across, channels.div_ceil(SHADER.constant("TILE")), 1]
}

/// `y[n,o,r,k] = bias[o] + sum_{c,i,j} weight[o,c,i,j] * x[n, c, S*r+i-P, S*k+j-P]` on the CPU, each sample finished by
/// `finish` while it is in the cache.
pub fn forward(conv: &Conv2d, x: &[f32], weight: &[f32], bias: &[f32], y: &mut [f32], finish: impl Fn(&mut [f32]) + Sync) {
    match conv.is_minimal() {
        true => minimal::forward(conv, x, weight, bias, y, finish),
        false => cpu::forward(conv, x, weight, bias, y, finish),
    }
}

impl Op for Conv2d {
    fn name(&self) -> &'static str {
        SHADER.op
    }

    fn input_len(&self) -> usize {
        self.channels * self.height * self.width
    }

    fn output_len(&self) -> usize {
        let (oh, ow) = self.output_size();
        self.out * oh * ow
    }

    fn flops(&self) -> u64 {
        2 * (self.output_len() * self.fan_in()) as u64
    }
}

impl OnGpu for Conv2d {
    fn plan_forward(&self, planner: &mut Planner, t: &ForwardTensors) -> Result<(), GpuError> {
        self.dispatch_forward(planner, t, "forward", &[], &[])
    }

    fn plan_backward(&self, planner: &mut Planner, t: &BackwardTensors) -> Result<(), GpuError> {
        let d_y = ("d_y", t.d_y, t.n * self.output_len());
        let (d_weight, d_bias) = (("d_weight", &t.d_params[0], self.weight_len()), ("d_bias", &t.d_params[1], self.out));
        let buffers = [("x", t.x, t.n * self.input_len()), d_y, d_weight, d_bias];
        // Beside the taps there is the bias.
        let (taps, outputs) = (SHADER.constant("TAPS"), SHADER.constant("OUTPUTS"));
        let workgroups = [(self.fan_in() + 1).div_ceil(taps), self.out.div_ceil(outputs)];
        let invocations = [workgroups[0] * SHADER.constant("GROUP"), workgroups[1], 1];
        self.dispatch(planner, t.n, "backward_params", &buffers, &[], invocations)?;

        let Some(d_x) = t.d_x else { return Ok(()) };
        let buffers = [("weight", &t.params[0], self.weight_len()), d_y, ("d_x", d_x, t.n * self.input_len())];
        self.dispatch(planner, t.n, "backward_input", &buffers, &[], tiles(t.n, [self.height, self.width], self.channels))
    }
}

impl OnCpu for Conv2d {
    fn forward(&self, s: ForwardSlices) {
        forward(self, s.x, s.params[0], s.params[1], s.y, |_| {});
    }

    fn backward(&self, s: BackwardSlices) {
        let [d_weight, d_bias] = s.d_params else { unreachable!("two parameters: weight and bias") };
        match self.is_minimal() {
            true => minimal::backward_params(self, s.x, s.d_y, d_weight, d_bias),
            false => cpu::backward_params(self, s.x, s.d_y, d_weight, d_bias),
        }
        match s.d_x {
            Some(d_x) if self.is_minimal() => minimal::backward_input(self, s.params[0], s.d_y, d_x),
            Some(d_x) => cpu::backward_input(self, s.params[0], s.d_y, d_x),
            None => {}
        }
    }
}
