//! The exponential moving average of the weights, which is evaluated and kept in their place: as
//! `torch.optim.swa_utils.AveragedModel` with `get_ema_multi_avg_fn` and `use_buffers` takes it.

use crate::gpu::plan::{Dispatch, strided};
use crate::gpu::{GpuError, Planner, Shader, Tensor};
use crate::shader;

pub const SHADER: Shader = shader!("average");

/// How much of the average is kept from step to step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Average {
    pub decay: f32,
}

impl Average {
    /// One dispatch over an arena, whose length is a multiple of 4, and its average. An empty one needs none.
    pub fn plan(&self, planner: &mut Planner, now: &Tensor, average: &Tensor) -> Result<(), GpuError> {
        let total = super::sgd::whole_vectors(&SHADER, now)?;
        if total == 0 {
            return Ok(());
        }
        planner.dispatch(Dispatch {
            shader: &SHADER,
            entry: "update",
            constants: &[("LENGTH", total as f64), ("DECAY", self.decay.into())],
            buffers: &[("now", now, total), ("average", average, total)],
            invocations: strided(total / 4),
            flops: 0,
        })
    }
}

pub mod cpu {
    use super::Average;
    use crate::ops::Real;

    /// `average += (1 - decay) * (now - average)`; in step 0 it becomes `now`.
    pub fn update<T: Real>(op: &Average, step: u32, now: &[T], average: &mut [T]) {
        if step == 0 {
            return average.copy_from_slice(now);
        }
        let share = T::one() - T::of(op.decay.into());
        average.iter_mut().zip(now).for_each(|(average, &now)| *average += share * (now - *average));
    }
}
