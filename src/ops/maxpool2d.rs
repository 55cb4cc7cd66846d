//! Max pooling over windows that do not overlap; rows and columns that fill no whole window are left out.
//!
//! Tie rule, as PyTorch's: of equal values the first in row-major order wins, and receives the whole gradient. A NaN wins over
//! everything, so that it reaches the loss.

use super::{BackwardSlices, BackwardTensors, ForwardSlices, ForwardTensors, Op};
use crate::gpu::plan::{Dispatch, in_turns};
use crate::gpu::{GpuError, Planner, Shader, Tensor};
use crate::shader;

pub const SHADER: Shader = shader!("maxpool2d");

/// Pooling of (C, H, W) samples over windows of `size` x `size`.
#[derive(Clone, Debug)]
pub struct MaxPool2d {
    pub channels: usize,
    pub height: usize,
    pub width: usize,
    pub size: usize,
}

impl MaxPool2d {
    /// (PH, PW)
    pub fn pooled(&self) -> (usize, usize) {
        (self.height / self.size, self.width / self.size)
    }

    /// One invocation for each of the `elements` of a plane, which takes planes in turns.
    fn dispatch(
        &self,
        planner: &mut Planner,
        n: usize,
        entry: &str,
        buffers: &[(&str, &Tensor, usize)],
        elements: usize,
    ) -> Result<(), GpuError> {
        let constants = &[
            ("PLANES", (n * self.channels) as f64),
            ("HEIGHT", self.height as f64),
            ("WIDTH", self.width as f64),
            ("SIZE", self.size as f64),
        ];
        let invocations = [elements, in_turns(n * self.channels), 1];
        planner.dispatch(Dispatch { shader: &SHADER, entry, constants, buffers, invocations, flops: 0 })
    }
}

impl Op for MaxPool2d {
    fn name(&self) -> &'static str {
        SHADER.op
    }

    fn input_len(&self) -> usize {
        self.channels * self.height * self.width
    }

    fn output_len(&self) -> usize {
        let (ph, pw) = self.pooled();
        self.channels * ph * pw
    }

    fn saved_len(&self) -> usize {
        self.output_len()
    }

    fn plan_forward(&self, planner: &mut Planner, t: &ForwardTensors) -> Result<(), GpuError> {
        let (inputs, outputs) = (t.n * self.input_len(), t.n * self.output_len());
        let buffers = [("x", t.x, inputs), ("y", t.y, outputs), ("winner", t.saved, outputs)];
        self.dispatch(planner, t.n, "forward", &buffers, self.output_len() / self.channels)
    }

    fn plan_backward(&self, planner: &mut Planner, t: &BackwardTensors) -> Result<(), GpuError> {
        let Some(d_x) = t.d_x else { return Ok(()) };
        let (inputs, outputs) = (t.n * self.input_len(), t.n * self.output_len());
        let buffers = [("d_y", t.d_y, outputs), ("winner", t.saved, outputs), ("d_x", d_x, inputs)];
        self.dispatch(planner, t.n, "backward", &buffers, self.height * self.width)
    }

    fn forward(&self, s: ForwardSlices) {
        cpu::forward(self, s.x, s.y, s.saved);
    }

    fn backward(&self, s: BackwardSlices) {
        if let Some(d_x) = s.d_x {
            cpu::backward(self, s.saved, s.d_y, d_x);
        }
    }
}

pub mod cpu {
    use super::MaxPool2d;
    use crate::ops::Real;

    /// `y[p] = max` over window `p`; `winner[p]` is the position in the plane (`row * W + column`) that held it.
    pub fn forward<T: Real>(op: &MaxPool2d, x: &[T], y: &mut [T], winner: &mut [u32]) {
        let (ph, pw) = op.pooled();
        let windows = ph * pw;
        if windows == 0 {
            return;
        }
        let planes =
            x.chunks_exact(op.height * op.width).zip(y.chunks_exact_mut(windows).zip(winner.chunks_exact_mut(windows)));
        for (x, (y, winner)) in planes {
            for p in 0..windows {
                let corner = p / pw * op.size * op.width + p % pw * op.size;
                let mut best = corner;
                for row in 0..op.size {
                    for at in corner + row * op.width..corner + row * op.width + op.size {
                        if x[at] > x[best] || x[at].is_nan() {
                            best = at;
                        }
                    }
                }
                y[p] = x[best];
                winner[p] = best as u32;
            }
        }
    }

    /// `d_x` is `d_y` at each window's winner, 0 elsewhere.
    pub fn backward<T: Real>(op: &MaxPool2d, winner: &[u32], d_y: &[T], d_x: &mut [T]) {
        let (ph, pw) = op.pooled();
        d_x.fill(T::zero());
        if ph * pw == 0 {
            return;
        }
        let planes =
            d_x.chunks_exact_mut(op.height * op.width).zip(winner.chunks_exact(ph * pw).zip(d_y.chunks_exact(ph * pw)));
        for (d_x, (winner, d_y)) in planes {
            for (&at, &d) in winner.iter().zip(d_y) {
                d_x[at as usize] = d;
            }
        }
    }
}
