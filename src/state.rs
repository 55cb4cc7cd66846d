//! The numbers that training changes, as named arenas. Whoever saves, loads, copies or compares goes through the names.

use crate::model::{self, Model, Parameter};
use std::borrow::Cow;

/// What an arena holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The network's parameters.
    Parameters,
    /// The network's tensors that are not trained.
    Buffers,
    /// A number for each parameter, which the optimizer keeps under this name.
    Slot(&'static str),
    /// The moving average of the parameters, and that of the buffers.
    Average,
    AverageBuffers,
}

impl Role {
    /// The tensors in the arena.
    pub fn tensors(self, model: &Model) -> &[Parameter] {
        match self {
            Role::Parameters | Role::Slot(_) | Role::Average => model.parameters(),
            Role::Buffers | Role::AverageBuffers => model.buffers(),
        }
    }

    /// A tensor's name among those of all arenas: the network's own are PyTorch's.
    pub fn name(self, tensor: &Parameter) -> Cow<'_, str> {
        match self {
            Role::Parameters | Role::Buffers => tensor.name.as_str().into(),
            Role::Slot(slot) => format!("{slot}.{}", tensor.name).into(),
            Role::Average | Role::AverageBuffers => format!("average.{}", tensor.name).into(),
        }
    }

    /// The arena that holds its average, if there can be one.
    pub fn average(self) -> Option<Role> {
        match self {
            Role::Parameters => Some(Role::Average),
            Role::Buffers => Some(Role::AverageBuffers),
            _ => None,
        }
    }

    /// Elements of the arena.
    pub fn len(self, model: &Model) -> usize {
        model::arena_len(self.tensors(model))
    }
}

/// A network's numbers, and in training those of its optimizer.
#[derive(Clone, Debug, PartialEq)]
pub struct State {
    /// Each role once.
    pub arenas: Vec<(Role, Vec<f32>)>,
}

impl State {
    /// A network before training.
    pub fn new(model: &Model, seed: u64) -> Self {
        Self { arenas: vec![(Role::Parameters, model.init(seed)), (Role::Buffers, model.init_buffers())] }
    }

    /// The arena of `role`, if there is one.
    pub fn get(&self, role: Role) -> Option<&[f32]> {
        self.arenas.iter().find(|(found, _)| *found == role).map(|(_, values)| &values[..])
    }

    /// An arena of [`Model::arena_len`] elements; empty where there is none.
    pub fn parameters(&self) -> &[f32] {
        self.get(Role::Parameters).unwrap_or_default()
    }

    /// The network alone, as it is evaluated: of what is averaged, the average.
    pub fn network(&self) -> Self {
        let arena = |role: Role| {
            let average = role.average().and_then(|average| self.get(average));
            Some((role, average.or_else(|| self.get(role))?.to_vec()))
        };
        Self { arenas: [Role::Parameters, Role::Buffers].into_iter().filter_map(arena).collect() }
    }
}

/// A network's parameters, where it has nothing else.
impl From<Vec<f32>> for State {
    fn from(parameters: Vec<f32>) -> Self {
        Self { arenas: vec![(Role::Parameters, parameters)] }
    }
}
