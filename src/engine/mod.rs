//! A model on a device: what the training loop asks of it. [`GpuEngine`] and [`CpuEngine`] both answer.

mod cpu;
mod gpu;
pub mod rewrite;
mod stages;

pub use cpu::CpuEngine;
pub use gpu::GpuEngine;

use crate::data::{Dataset, Images};
use crate::gpu::GpuError;
use crate::metrics::BatchMetrics;
use crate::model::Model;
use crate::ops::Batch;
use crate::ops::augment::Amounts;
use crate::ops::optimizer::Optimizer;
use crate::state::{Role, State};
use stages::Stages;
use std::ops::Range;

/// Settings that are fixed when a model meets a device.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// Samples per batch.
    pub batch_size: usize,
    pub optimizer: Optimizer,
    /// Evaluate a moving average of the weights, with this decay.
    pub average: Option<f32>,
    /// Share of each target that is spread over all classes in training: PyTorch's `label_smoothing`.
    pub smoothing: f32,
    /// How images are moved in training.
    pub augment: Option<Amounts>,
    /// The first layers that training leaves as they are: they act as in an evaluation.
    pub freeze: usize,
    /// Keys the dropout masks, and how images are moved.
    pub seed: u64,
    /// Run layers that stand in the right order as one op.
    pub fuse: bool,
}

impl Default for Settings {
    fn default() -> Self {
        let optimizer = Optimizer::default();
        Self { batch_size: 32, optimizer, average: None, smoothing: 0.0, augment: None, freeze: 0, seed: 0, fuse: true }
    }
}

/// Which images an order refers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Set {
    /// The data set's training images, validation images among them.
    Train,
    Test,
}

impl Set {
    const ALL: [Set; 2] = [Set::Train, Set::Test];

    /// Its images in `data`.
    pub fn of(self, data: &Dataset) -> &Images {
        match self {
            Set::Train => &data.train,
            Set::Test => &data.test,
        }
    }
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
    const ALL: [Work; 2] = [Work::Train, Work::Evaluate];

    /// Batches that `samples` samples make.
    pub fn batches(self, samples: usize, batch_size: usize) -> usize {
        match self {
            Work::Train => samples / batch_size,
            Work::Evaluate => samples.div_ceil(batch_size),
        }
    }
}

/// One pass over images.
#[derive(Clone, Copy)]
pub struct Pass<'a> {
    pub set: Set,
    pub work: Work,
    /// The samples, as numbers of images of the set.
    pub order: &'a [u32],
    /// The training step of the first batch.
    pub first_step: u32,
    /// The learning rate of each batch, by its number.
    pub learning_rate: &'a dyn Fn(usize) -> f32,
}

impl<'a> Pass<'a> {
    /// Trains on `order`, at one learning rate.
    pub fn train(order: &'a [u32], first_step: u32, learning_rate: &'a dyn Fn(usize) -> f32) -> Self {
        Self { set: Set::Train, work: Work::Train, order, first_step, learning_rate }
    }

    /// Evaluates `order`.
    pub fn evaluate(set: Set, order: &'a [u32]) -> Self {
        Self { set, work: Work::Evaluate, order, first_step: 0, learning_rate: &|_| 0.0 }
    }

    /// Each batch, as the kernels hear of it.
    fn batches(&self, &Settings { batch_size, optimizer, .. }: &Settings) -> impl Iterator<Item = Batch> {
        (0..self.work.batches(self.order.len(), batch_size)).map(move |index| {
            let step = self.first_step.wrapping_add(index as u32);
            let [correction1, correction2] = optimizer.corrections(step);
            Batch {
                first: (index * batch_size) as u32,
                count: batch_size.min(self.order.len() - index * batch_size) as u32,
                index: index as u32,
                step,
                learning_rate: (self.learning_rate)(index),
                correction1,
                correction2,
            }
        })
    }
}

/// What can go wrong with a model on a device.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    #[error(transparent)]
    Gpu(#[from] GpuError),

    #[error("{what}: expected {expected}, found {found}")]
    Input { what: &'static str, expected: String, found: String },
}

/// Checks an index, which kernels do not look at again.
fn expect(what: &'static str, found: usize, below: usize) -> Result<(), EngineError> {
    if found < below {
        return Ok(());
    }
    Err(EngineError::Input { what, expected: format!("a number below {below}"), found: found.to_string() })
}

/// Checks that `model` takes the images of `data` and has an output for each class.
fn check_data(model: &Model, data: &Dataset) -> Result<(), EngineError> {
    let (input, classes) = (&model.shapes()[0], model.classes());
    if input.0 != data.shape {
        let (expected, found) = (format!("shape {input}"), format!("{:?}", data.shape));
        return Err(EngineError::Input { what: "the images", expected, found });
    }
    for images in Set::ALL.map(|set| set.of(data)) {
        let pixels = images.labels.len() * input.len();
        if images.pixels.len() != pixels {
            let (expected, found) = (format!("{pixels} bytes"), images.pixels.len().to_string());
            return Err(EngineError::Input { what: "the images", expected, found });
        }
        images.labels.iter().try_for_each(|&label| expect("a label", label.into(), classes))?;
    }
    Ok(())
}

/// Checks that `pass` names only images of `data`.
fn check_pass(pass: &Pass, data_len: usize, longest: usize) -> Result<(), EngineError> {
    expect("the length of an order", pass.order.len(), longest + 1)?;
    pass.order.iter().try_for_each(|&sample| expect("a sample in an order", sample as usize, data_len))
}

/// The arenas of a model in training.
fn roles(settings: &Settings) -> impl Iterator<Item = Role> {
    let averages = settings.average.map(|_| [Role::Average, Role::AverageBuffers]);
    let slots = settings.optimizer.slots().iter().map(|&slot| Role::Slot(slot));
    [Role::Parameters, Role::Buffers].into_iter().chain(averages.into_iter().flatten()).chain(slots)
}

/// The values that `state` has for each of an engine's `own` arenas, which are given with their lengths. None stands
/// for zeros. An average begins as what is averaged.
fn arenas(state: &State, own: impl Iterator<Item = (Role, usize)>) -> Result<Vec<Option<&[f32]>>, EngineError> {
    let own: Vec<_> = own.collect();
    if let Some((role, _)) = state.arenas.iter().find(|(role, _)| !own.iter().any(|(known, _)| known == role)) {
        let expected = format!("arenas of {:?}", own.iter().map(|(role, _)| role).collect::<Vec<_>>());
        return Err(EngineError::Input { what: "a state", expected, found: format!("{role:?}") });
    }
    let averaged = |role: Role| [Role::Parameters, Role::Buffers].into_iter().find(|of| of.average() == Some(role));
    let found = |role: Role| state.get(role).or_else(|| state.get(averaged(role)?));
    let arena = |(role, len): (Role, usize)| match found(role) {
        Some(values) if values.len() != len => {
            let expected = format!("{len} elements of {role:?}, as the model's arena");
            Err(EngineError::Input { what: "a state", expected, found: values.len().to_string() })
        }
        found => Ok(found),
    };
    own.into_iter().map(arena).collect()
}

/// A model on a device with a data set. Work is queued in ranges of batches; their metrics come back in the same order.
#[allow(async_fn_in_trait)] // an engine belongs to one thread: its futures need not be Send
pub trait Engine {
    /// Begins a pass: batches count in its order from now on. Metrics that were not collected are dropped.
    fn begin(&mut self, pass: &Pass) -> Result<(), EngineError>;

    /// Queues the batches `batches` of the pass.
    fn submit(&mut self, batches: Range<usize>) -> Result<(), EngineError>;

    /// Ranges queued whose metrics have not been collected.
    fn in_flight(&self) -> usize;

    /// The metrics of the oldest range queued, once they are there; nothing when none is in flight.
    async fn collect(&mut self) -> Result<Option<Vec<BatchMetrics>>, EngineError>;

    /// The logits of the last batch evaluated, (batch size, classes), after everything queued. Rows beyond an
    /// incomplete batch mean nothing.
    async fn logits(&mut self) -> Result<Vec<f32>, EngineError>;

    /// Reads the current state, after everything queued.
    async fn state(&mut self) -> Result<State, EngineError>;

    /// Overwrites the state. What `state` has no arena for becomes 0, but an average what it is the average of.
    fn set_state(&mut self, state: &State) -> Result<(), EngineError>;
}
