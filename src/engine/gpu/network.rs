//! A model's stages with the tensors between them, planned in either direction.

use crate::engine::{Settings, Stages, Work, roles};
use crate::gpu::{Context, GpuError, Planner, Tensor};
use crate::model::{Model, Parameter};
use crate::ops::{BackwardTensors, ForwardTensors};
use crate::state::Role;

/// A model's tensors: views of its arenas.
struct Weights {
    parameters: Vec<Tensor>,
    buffers: Vec<Tensor>,
}

pub struct Network {
    n: usize,
    pub stages: Stages,
    /// The state, one buffer for each arena.
    pub arenas: Vec<(Role, Tensor)>,
    /// Of the parameters, an arena.
    pub gradients: Tensor,
    /// Of the first stage, (N, ...).
    pub input: Tensor,
    /// At each place, (N, ...).
    pub outputs: Vec<Tensor>,
    /// At each place.
    saved: Vec<Tensor>,
    /// Of training, and of an evaluation.
    weights: [Weights; 2],
    d_parameters: Vec<Tensor>,
}

impl Network {
    pub fn new(context: &Context, model: &Model, settings: &Settings) -> Result<Self, GpuError> {
        let n = settings.batch_size;
        let arena = |role: Role| Ok((role, Tensor::zeros(context, format!("{role:?}"), role.len(model))?));
        let arenas = roles(settings).map(arena).collect::<Result<Vec<_>, GpuError>>()?;
        let gradients = Tensor::zeros(context, "gradients", model.arena_len())?;
        let input = Tensor::zeros(context, "input", n * model.shapes()[0].len())?;
        let stages = Stages::new(model, settings);
        let (mut outputs, mut saved) = (Vec::new(), Vec::new());
        for (stage, saved_words) in stages.train().iter().zip(stages.saved_words()) {
            let tensor = |what: &str, len: usize| {
                let label = format!("{what} of {} at layer {}", stage.op.name(), stage.layers.start);
                Tensor::zeros(context, label, n * len)
            };
            outputs.push(tensor("output", stage.op.output_len())?);
            saved.push(tensor("saved", saved_words)?);
        }
        let views = |arena: &Tensor, tensors: &[Parameter]| -> Vec<Tensor> {
            tensors.iter().map(|p| arena.slice(p.name.clone(), p.range.clone())).collect()
        };
        let d_parameters = views(&gradients, model.parameters());
        let weights = |roles: [Role; 2]| Weights {
            parameters: views(find(&arenas, roles[0]), model.parameters()),
            buffers: views(find(&arenas, roles[1]), model.buffers()),
        };
        let trained = [Role::Parameters, Role::Buffers];
        let evaluated = if settings.average.is_some() { [Role::Average, Role::AverageBuffers] } else { trained };
        let weights = [weights(trained), weights(evaluated)];
        Ok(Self { n, arenas, gradients, input, outputs, saved, weights, d_parameters, stages })
    }

    /// The arena of `role`, which is among those that training has.
    pub fn arena(&self, role: Role) -> &Tensor {
        find(&self.arenas, role)
    }

    /// Appends the forward pass and returns the logits.
    pub fn plan_forward(&self, planner: &mut Planner, work: Work) -> Result<&Tensor, GpuError> {
        let weights = &self.weights[work as usize];
        let mut x = &self.input;
        for (place, stage) in self.stages.of(work) {
            let training = work == Work::Train && place >= self.stages.frozen;
            let (y, saved) = (&self.outputs[place], &self.saved[place]);
            let params = &weights.parameters[stage.parameters.clone()];
            let buffers = &weights.buffers[stage.buffers.clone()];
            stage.op.plan_forward(planner, &ForwardTensors { n: self.n, training, x, params, buffers, y, saved })?;
            x = y;
        }
        Ok(x)
    }

    /// Appends the backward pass, from the gradient of the logits to those of the parameters.
    pub fn plan_backward(&self, planner: &mut Planner, d_logits: Tensor) -> Result<(), GpuError> {
        let mut d_y = d_logits;
        let frozen = self.stages.frozen;
        for (index, stage) in self.stages.train().iter().enumerate().skip(frozen).rev() {
            let d_x = match index == frozen {
                true => None,
                false => {
                    let label = format!("input gradient of {} at layer {}", stage.op.name(), stage.layers.start);
                    Some(Tensor::zeros(planner.context, label, self.n * stage.op.input_len())?)
                }
            };
            let tensors = BackwardTensors {
                n: self.n,
                x: index.checked_sub(1).map_or(&self.input, |before| &self.outputs[before]),
                params: &self.weights[Work::Train as usize].parameters[stage.parameters.clone()],
                saved: &self.saved[index],
                d_y: &d_y,
                d_x: d_x.as_ref(),
                d_params: &self.d_parameters[stage.parameters.clone()],
            };
            stage.op.plan_backward(planner, &tensors)?;
            if let Some(d_x) = d_x {
                d_y = d_x;
            }
        }
        Ok(())
    }
}

fn find(arenas: &[(Role, Tensor)], role: Role) -> &Tensor {
    let found = arenas.iter().find(|(found, _)| *found == role);
    found.map(|(_, arena)| arena).expect("an arena of each role in training")
}
