//! Gather: picks a batch from the data set on the device, turning bytes into f32 in [0, 1].

use super::Real;
use crate::gpu::plan::Dispatch;
use crate::gpu::{GpuError, Planner, Shader, Tensor};
use crate::shader;

pub const SHADER: Shader = shader!("gather");

/// Samples of `len` bytes.
#[derive(Clone, Debug)]
pub struct Gather {
    pub len: usize,
}

/// The tensors of [`Gather::plan`].
pub struct GatherTensors<'a> {
    /// Batch size N.
    pub n: usize,
    /// Samples in the data set.
    pub samples: usize,
    /// (samples, `len`) bytes, each sample padded to whole words.
    pub images: &'a Tensor,
    /// (samples) u32
    pub labels: &'a Tensor,
    /// The epoch's order: indices of samples, u32.
    pub order: &'a Tensor,
    /// (N, `len`) out
    pub x: &'a Tensor,
    /// (N) u32 out
    pub targets: &'a Tensor,
}

impl Gather {
    /// Words of 4 bytes that one sample takes.
    pub fn words(&self) -> usize {
        self.len.div_ceil(4)
    }

    /// One dispatch, which writes `x` and `targets`. Errors as [`Planner::dispatch`]'s.
    pub fn plan(&self, planner: &mut Planner, t: &GatherTensors) -> Result<(), GpuError> {
        planner.dispatch(Dispatch {
            shader: &SHADER,
            entry: "forward",
            constants: &[("BATCH", t.n as f64), ("LENGTH", self.len as f64)],
            buffers: &[
                ("images", t.images, t.samples * self.words()),
                ("labels", t.labels, t.samples),
                ("order", t.order, t.n),
                ("x", t.x, t.n * self.len),
                ("targets", t.targets, t.n),
            ],
            invocations: [self.words(), t.n, 1],
            flops: 0,
        })?;
        if let Some(step) = planner.steps.last_mut() {
            // Any image may be in the batch, but only n of them are.
            step.bytes = 4 * (t.n * (self.words() + self.len + 3)) as u64;
        }
        Ok(())
    }

    /// `bytes` (samples, `len`) with each sample padded to whole words, as the shader reads them.
    pub fn pad<'a>(&self, bytes: &'a [u8]) -> std::borrow::Cow<'a, [u8]> {
        if self.len.is_multiple_of(4) {
            return bytes.into();
        }
        let mut padded = Vec::with_capacity(bytes.len() / self.len * self.words() * 4);
        for sample in bytes.chunks_exact(self.len) {
            padded.extend_from_slice(sample);
            padded.resize(padded.len().next_multiple_of(4), 0);
        }
        padded.into()
    }
}

pub mod cpu {
    use super::{Gather, Real};

    /// `x[i] = images[order[i]] / 255`, `targets[i] = labels[order[i]]`
    pub fn forward<T: Real>(op: &Gather, images: &[u8], labels: &[u16], order: &[u32], x: &mut [T], targets: &mut [u32]) {
        for ((&sample, x), target) in order.iter().zip(x.chunks_exact_mut(op.len)).zip(targets) {
            let at = sample as usize * op.len;
            for (x, &byte) in x.iter_mut().zip(&images[at..at + op.len]) {
                *x = T::of(f64::from(f32::from(byte) / 255.0));
            }
            *target = u32::from(labels[sample as usize]);
        }
    }
}
