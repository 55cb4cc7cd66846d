//! The optimizers, behind one type.

use super::sgd::{self, Sgd};
use crate::gpu::{GpuError, Planner, Tensor};

/// How parameters follow their gradients. The learning rate comes with each batch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Optimizer {
    Sgd(Sgd),
}

impl Default for Optimizer {
    fn default() -> Self {
        Optimizer::Sgd(Sgd::default())
    }
}

impl Optimizer {
    /// Names of the arenas it keeps beside the parameters, each as long as theirs and 0 at the start.
    pub fn slots(&self) -> &'static [&'static str] {
        match self {
            Optimizer::Sgd(_) => &["velocity"],
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
        }
    }

    /// The same on the CPU.
    pub fn update(&self, learning_rate: f32, parameters: &mut [f32], slots: &mut [Vec<f32>], gradients: &[f32]) {
        match self {
            Optimizer::Sgd(sgd) => sgd::cpu::update(sgd, learning_rate, parameters, &mut slots[0], gradients),
        }
    }
}
