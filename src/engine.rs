//! What the training loop asks of a device. [`crate::gpu::GpuEngine`] and [`crate::cpu::CpuEngine`] both answer it.

use crate::gpu::GpuError;
use crate::metrics::BatchMetrics;
use crate::ops::sgd::Sgd;
use std::ops::Range;

/// Settings that are fixed when a model meets a device.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// Samples per batch.
    pub batch_size: usize,
    pub sgd: Sgd,
    /// Keys the dropout masks.
    pub seed: u64,
    /// Run layers that stand in the right order as one op.
    pub fuse: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self { batch_size: 32, sgd: Sgd::default(), seed: 0, fuse: true }
    }
}

/// Which images an order refers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Set {
    /// The data set's training images, validation images among them.
    Train,
    Test,
}

/// What is done with a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// Forward, loss, backward, update; a last incomplete batch is dropped.
    Train,
    /// Forward and loss, without dropout; every sample counts.
    Evaluate,
}

impl Work {
    /// Batches that `samples` samples make.
    pub fn batches(self, samples: usize, batch_size: usize) -> usize {
        match self {
            Work::Train => samples / batch_size,
            Work::Evaluate => samples.div_ceil(batch_size),
        }
    }
}

/// The numbers that training changes, as two arenas ([`crate::model::Model::arena_len`]).
#[derive(Clone, Debug, PartialEq)]
pub struct State {
    pub parameters: Vec<f32>,
    /// The optimizer's momentum buffers.
    pub velocity: Vec<f32>,
}

/// A model on a device with a data set. Work is queued in ranges of batches; their metrics come back in the same order.
#[allow(async_fn_in_trait)] // an engine belongs to one thread: its futures need not be Send
pub trait Engine {
    /// Makes `order` the samples that batches count from now on; `first_step` is the training step of batch 0. Metrics that
    /// were not collected are dropped.
    fn begin(&mut self, set: Set, work: Work, order: &[u32], first_step: u32) -> Result<(), GpuError>;

    /// Queues the batches `batches` of the current order.
    fn submit(&mut self, batches: Range<usize>) -> Result<(), GpuError>;

    /// Ranges queued whose metrics have not been collected.
    fn in_flight(&self) -> usize;

    /// The metrics of the oldest range queued, once they are there; nothing when none is in flight.
    async fn collect(&mut self) -> Result<Option<Vec<BatchMetrics>>, GpuError>;

    /// The logits of the last batch evaluated, (batch size, classes), after everything queued. Rows beyond an incomplete batch
    /// mean nothing.
    async fn logits(&mut self) -> Result<Vec<f32>, GpuError>;

    /// Reads the current state, after everything queued.
    async fn state(&mut self) -> Result<State, GpuError>;

    /// Overwrites the state.
    fn set_state(&mut self, state: &State) -> Result<(), GpuError>;
}
