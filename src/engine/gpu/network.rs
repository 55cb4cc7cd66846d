//! A model's stages with the tensors between them, planned in either direction.

use crate::engine::rewrite::{FUSE, rewrite};
use crate::engine::{Settings, Work, roles};
use crate::gpu::{Context, GpuError, Planner, Tensor};
use crate::model::{Model, Parameter, Stage};
use crate::ops::{BackwardTensors, ForwardTensors};
use crate::state::Role;

/// A model's tensors: views of its arenas.
struct Weights {
    parameters: Vec<Tensor>,
    buffers: Vec<Tensor>,
}

pub struct Network {
    n: usize,
    pub stages: Vec<Stage>,
    /// The state, one buffer for each arena.
    pub arenas: Vec<(Role, Tensor)>,
    /// Of the parameters, an arena.
    pub gradients: Tensor,
    /// Of the first stage, (N, ...).
    pub input: Tensor,
    /// Of each stage, (N, ...).
    pub outputs: Vec<Tensor>,
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
        let mut stages = model.stages(settings.seed);
        if settings.fuse {
            stages = rewrite(stages, FUSE);
        }
        let tensors = |what: &str, len: fn(&Stage) -> usize| -> Result<Vec<Tensor>, GpuError> {
            let tensor = |stage: &Stage| {
                let label = format!("{what} of {} at layer {}", stage.op.name(), stage.layers.start);
                Tensor::zeros(context, label, n * len(stage))
            };
            stages.iter().map(tensor).collect()
        };
        let (outputs, saved) = (tensors("output", |s| s.op.output_len())?, tensors("saved", |s| s.op.saved_words())?);
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
        let training = work == Work::Train;
        let weights = &self.weights[work as usize];
        let mut x = &self.input;
        for (index, stage) in self.stages.iter().enumerate() {
            if stage.op.training_only() && !training {
                continue;
            }
            let (y, saved) = (&self.outputs[index], &self.saved[index]);
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
        for (index, stage) in self.stages.iter().enumerate().rev() {
            let d_x = match index {
                0 => None,
                _ => {
                    let label = format!("input gradient of {} at layer {}", stage.op.name(), stage.layers.start);
                    Some(Tensor::zeros(planner.context, label, self.n * stage.op.input_len())?)
                }
            };
            let tensors = BackwardTensors {
                n: self.n,
                x: if index == 0 { &self.input } else { &self.outputs[index - 1] },
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
