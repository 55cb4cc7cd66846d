//! AdamW, as `torch.optim.AdamW` defines it (I. Loshchilov, F. Hutter, Decoupled Weight Decay Regularization, 2017,
//! arXiv:1711.05101).

use crate::gpu::plan::{Dispatch, strided};
use crate::gpu::{GpuError, Planner, Shader, Tensor};
use crate::shader;

pub const SHADER: Shader = shader!("adamw");

/// The optimizer's settings.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamW {
    /// How much of the mean of the gradients, and of the mean of their squares, is kept from step to step.
    pub betas: [f32; 2],
    /// Added to the square root that divides.
    pub epsilon: f32,
    /// Times the learning rate: the share of a parameter that each step takes away.
    pub weight_decay: f32,
}

impl Default for AdamW {
    fn default() -> Self {
        Self { betas: [0.9, 0.999], epsilon: 1e-8, weight_decay: 0.01 }
    }
}

impl AdamW {
    /// `1 / (1 - beta1^t)` and `1 / sqrt(1 - beta2^t)`, by which the means of step `t`, counted from 1, are too small:
    /// they began at 0.
    pub fn corrections(&self, t: u64) -> [f32; 2] {
        let [bias1, bias2] = self.betas.map(|beta| 1.0 - libm::pow(beta.into(), t as f64));
        [(1.0 / bias1) as f32, (1.0 / bias2.sqrt()) as f32]
    }

    /// One dispatch over the whole arena of parameters, whose length is a multiple of 4.
    pub fn plan(
        &self,
        planner: &mut Planner,
        param: &Tensor,
        [mean, square]: [&Tensor; 2],
        gradient: &Tensor,
    ) -> Result<(), GpuError> {
        let total = super::sgd::whole_vectors(&SHADER, param)?;
        planner.dispatch(Dispatch {
            shader: &SHADER,
            entry: "update",
            constants: &[
                ("LENGTH", total as f64),
                ("BETA1", self.betas[0].into()),
                ("BETA2", self.betas[1].into()),
                ("EPSILON", self.epsilon.into()),
                ("WEIGHT_DECAY", self.weight_decay.into()),
            ],
            buffers: &[
                ("param", param, total),
                ("exp_avg", mean, total),
                ("exp_avg_sq", square, total),
                ("gradient", gradient, total),
            ],
            invocations: strided(total / 4),
            flops: 0,
        })
    }
}

pub mod cpu {
    use super::AdamW;
    use crate::ops::lanes::widest;
    use crate::ops::{PER_TASK, Real};
    use rayon::prelude::*;

    /// `p -= lr * weight_decay * p`, `m = beta1 * m + (1 - beta1) * g`, `v = beta2 * v + (1 - beta2) * g^2`, then
    /// `p -= lr * correction1 * m / (sqrt(v) * correction2 + epsilon)`; see [`AdamW::corrections`].
    pub fn update<T: Real>(
        op: &AdamW,
        lr: T,
        corrections: [T; 2],
        param: &mut [T],
        [mean, square]: [&mut [T]; 2],
        gradient: &[T],
    ) {
        let [beta1, beta2] = op.betas.map(|beta| T::of(beta.into()));
        let (epsilon, decay) = (T::of(op.epsilon.into()), T::of(op.weight_decay.into()));
        let arenas = param.par_chunks_mut(PER_TASK).zip(mean.par_chunks_mut(PER_TASK));
        let arenas = arenas.zip(square.par_chunks_mut(PER_TASK)).zip(gradient.par_chunks(PER_TASK));
        arenas.for_each(|(((param, mean), square), gradient)| {
            widest(
                #[inline(always)]
                || {
                    for (((p, m), v), &g) in param.iter_mut().zip(mean).zip(square).zip(gradient) {
                        *m = beta1 * *m + (T::one() - beta1) * g;
                        *v = beta2 * *v + (T::one() - beta2) * g * g;
                        let size = v.sqrt() * corrections[1] + epsilon;
                        *p = *p * (T::one() - lr * decay) - lr * corrections[0] * *m / size;
                    }
                },
            );
        });
    }
}
