//! Stochastic gradient descent with momentum, as `torch.optim.SGD` defines it.

use crate::gpu::plan::{Dispatch, strided};
use crate::gpu::{GpuError, Planner, Shader, Tensor};
use crate::shader;

pub const SHADER: Shader = shader!("sgd");

/// The optimizer's settings; dampening is 0.
///
/// PyTorch starts the momentum buffer as the first gradient. With dampening 0 a buffer that starts at zero gives the
/// same.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sgd {
    pub momentum: f32,
    pub nesterov: bool,
    /// Added to the gradient, times the parameter. PyTorch's, which is not decoupled.
    pub weight_decay: f32,
}

impl Default for Sgd {
    fn default() -> Self {
        Self { momentum: 0.9, nesterov: true, weight_decay: 0.0 }
    }
}

impl Sgd {
    /// One dispatch over the whole arena of parameters, whose length is a multiple of 4.
    pub fn plan(&self, planner: &mut Planner, param: &Tensor, momentum: &Tensor, gradient: &Tensor) -> Result<(), GpuError> {
        let total = whole_vectors(&SHADER, param)?;
        planner.dispatch(Dispatch {
            shader: &SHADER,
            entry: "update",
            constants: &[
                ("LENGTH", total as f64),
                ("MOMENTUM", f64::from(self.momentum)),
                ("NESTEROV", f64::from(u8::from(self.nesterov))),
                ("WEIGHT_DECAY", f64::from(self.weight_decay)),
            ],
            buffers: &[("param", param, total), ("velocity", momentum, total), ("gradient", gradient, total)],
            invocations: strided(total / 4),
            flops: 0,
        })
    }
}

/// The length of an arena that the kernel `update` of `shader` takes four numbers at a time.
pub fn whole_vectors(shader: &Shader, arena: &Tensor) -> Result<usize, GpuError> {
    let total = arena.len();
    if total.is_multiple_of(4) {
        return Ok(total);
    }
    let (entry, binding) = ("update".into(), "param".into());
    let problem = format!("needs a multiple of 4 elements, found {total}");
    Err(GpuError::Binding { op: shader.op, entry, binding, problem })
}

pub mod cpu {
    use super::Sgd;
    use crate::ops::lanes::widest;
    use crate::ops::{PER_TASK, Real};
    use rayon::prelude::*;

    /// `g += weight_decay * p`, `v = momentum * v + g`, then `p -= lr * (g + momentum * v)` with Nesterov,
    /// `p -= lr * v` without.
    pub fn update<T: Real>(op: &Sgd, lr: f32, param: &mut [T], velocity: &mut [T], gradient: &[T]) {
        let [lr, momentum, weight_decay] = [lr, op.momentum, op.weight_decay].map(|x| T::of(f64::from(x)));
        let params = param.par_chunks_mut(PER_TASK).zip(velocity.par_chunks_mut(PER_TASK));
        params.zip(gradient.par_chunks(PER_TASK)).for_each(|((param, velocity), gradient)| {
            widest(
                #[inline(always)]
                || {
                    for ((p, v), &g) in param.iter_mut().zip(velocity).zip(gradient) {
                        let g = if op.weight_decay == 0.0 { g } else { g + weight_decay * *p };
                        *v = momentum * *v + g;
                        let direction = if op.nesterov { g + momentum * *v } else { *v };
                        *p -= lr * direction;
                    }
                },
            );
        });
    }
}
