//! The optimizers, behind one type.

use super::Batch;
use super::adamw::{self, AdamW};
use super::sgd::{self, Sgd};
use crate::gpu::{GpuError, Planner, Tensor};

/// How parameters follow their gradients. The learning rate comes with each batch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Optimizer {
    Sgd(Sgd),
    AdamW(AdamW),
}

impl Default for Optimizer {
    fn default() -> Self {
        Optimizer::Sgd(Sgd::default())
    }
}

impl Optimizer {
    /// The slots of each optimizer, by which a file's is known.
    pub const SLOTS: [&[&str]; 2] = [SGD_SLOTS, ADAMW_SLOTS];

    /// Names of the arenas it keeps beside the parameters, each as long as theirs and 0 at the start.
    pub fn slots(&self) -> &'static [&'static str] {
        match self {
            Optimizer::Sgd(_) => SGD_SLOTS,
            Optimizer::AdamW(_) => ADAMW_SLOTS,
        }
    }

    /// What [`Batch::correction1`] and [`Batch::correction2`] are in training step `step`, counted from 0.
    pub fn corrections(&self, step: u32) -> [f32; 2] {
        match self {
            Optimizer::Sgd(_) => [1.0; 2],
            Optimizer::AdamW(adamw) => adamw.corrections(u64::from(step) + 1),
        }
    }

    /// Updates the arena of parameters; `slots` are in the order of [`Optimizer::slots`].
    pub fn plan(
        &self,
        planner: &mut Planner,
        parameters: &Tensor,
        slots: &[&Tensor],
        gradients: &Tensor,
    ) -> Result<(), GpuError> {
        match self {
            Optimizer::Sgd(sgd) => sgd.plan(planner, parameters, slots[0], gradients),
            Optimizer::AdamW(adamw) => adamw.plan(planner, parameters, [slots[0], slots[1]], gradients),
        }
    }

    /// The same on the CPU.
    pub fn update(&self, batch: &Batch, parameters: &mut [f32], slots: &mut [&mut [f32]], gradients: &[f32]) {
        let lr = batch.learning_rate;
        match (self, slots) {
            (Optimizer::Sgd(sgd), [velocity]) => sgd::cpu::update(sgd, lr, parameters, velocity, gradients),
            (Optimizer::AdamW(adamw), [mean, square]) => {
                let corrections = [batch.correction1, batch.correction2];
                adamw::cpu::update(adamw, lr, corrections, parameters, [mean, square], gradients);
            }
            (_, slots) => unreachable!("{} slots of {self:?}", slots.len()),
        }
    }
}

const SGD_SLOTS: &[&str] = &["velocity"];
/// PyTorch's names.
const ADAMW_SLOTS: &[&str] = &["exp_avg", "exp_avg_sq"];
