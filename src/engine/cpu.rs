//! The CPU path: a whole training step from the ops' mirrors. What a machine without a GPU trains on, and what the
//! shaders are held against.

use super::rewrite::{FUSE, rewrite};
use super::{Engine, EngineError, Pass, Settings, Work, arenas, check_data, check_pass, expect, roles};
use crate::data::{Dataset, Images};
use crate::metrics::BatchMetrics;
use crate::model::{Model, Stage};
use crate::ops::conv2d_relu_maxpool2d::chain;
use crate::ops::cross_entropy::{self, CrossEntropy};
use crate::ops::gather::{self, Gather};
use crate::ops::{BackwardSlices, Batch, ForwardSlices, OnCpu};
use crate::state::{Role, State};
use std::collections::VecDeque;
use std::ops::Range;

/// See [`Engine`]; work is done at once, when it is submitted.
pub struct CpuEngine<'a> {
    data: &'a Dataset,
    settings: Settings,
    stages: Vec<Stage<dyn OnCpu>>,
    /// Where each parameter lies in the arenas.
    ranges: Vec<Range<usize>>,
    loss: CrossEntropy,
    parameters: Vec<f32>,
    buffers: Vec<f32>,
    /// In the order of the optimizer's slots.
    slots: Vec<Vec<f32>>,
    gradients: Vec<f32>,
    input: Vec<f32>,
    targets: Vec<u32>,
    /// Per stage: output, what it saved, gradient of its output.
    tensors: Vec<Tensors>,
    /// The stage that put out the logits of the last batch.
    last: usize,
    images: &'a Images,
    work: Work,
    order: Vec<u32>,
    batches: Vec<Batch>,
    finished: VecDeque<Vec<BatchMetrics>>,
}

struct Tensors {
    y: Vec<f32>,
    saved: Vec<u32>,
    d_y: Vec<f32>,
}

impl<'a> CpuEngine<'a> {
    /// Zero parameters: [`Engine::set_state`] gives it some.
    ///
    /// # Errors
    ///
    /// If the data are not of the model's shape and classes.
    pub fn new(model: &Model, data: &'a Dataset, settings: Settings) -> Result<Self, EngineError> {
        check_data(model, data)?;
        let n = settings.batch_size;
        let mut stages = model.stages(settings.seed);
        if settings.fuse {
            stages = rewrite(stages, FUSE);
        }
        let on_cpu = |Stage { layers, op, parameters }: Stage| -> Stage<dyn OnCpu> { Stage { layers, op, parameters } };
        let mut stages: Vec<_> = stages.into_iter().map(on_cpu).collect();
        if settings.fuse {
            stages = rewrite(stages, &[chain::chain]);
        }
        let tensors = |stage: &Stage<dyn OnCpu>| Tensors {
            y: vec![0.0; n * stage.op.output_len()],
            saved: vec![0; n * stage.op.saved_words()],
            d_y: vec![0.0; n * stage.op.output_len()],
        };
        let arena = || vec![0.0; model.arena_len()];
        Ok(Self {
            tensors: stages.iter().map(tensors).collect(),
            ranges: model.parameters().iter().map(|p| p.range.clone()).collect(),
            loss: CrossEntropy { classes: model.classes() },
            parameters: arena(),
            buffers: vec![0.0; Role::Buffers.len(model)],
            slots: settings.optimizer.slots().iter().map(|_| arena()).collect(),
            gradients: arena(),
            input: vec![0.0; n * model.shapes()[0].len()],
            targets: vec![0; n],
            last: 0,
            images: &data.train,
            work: Work::Train,
            order: Vec::new(),
            batches: Vec::new(),
            finished: VecDeque::new(),
            data,
            settings,
            stages,
        })
    }

    /// The layers that each stage stands for.
    pub fn stages(&self) -> Vec<Range<usize>> {
        self.stages.iter().map(|stage| stage.layers.clone()).collect()
    }

    /// What stage `stage` put out for the last batch, (N, ...).
    pub fn output(&self, stage: usize) -> &[f32] {
        &self.tensors[stage].y
    }

    /// The last batch's gradients, an arena.
    pub fn gradients(&self) -> &[f32] {
        &self.gradients
    }

    /// A pass over one batch: input, network and loss, and in training the backward pass and the optimizer.
    fn batch(&mut self, index: usize) -> BatchMetrics {
        let Batch { first, count, step, learning_rate, .. } = self.batches[index];
        let (first, count) = (first as usize, count as usize);
        let order = &self.order[first..first + count];
        let (images, gather) = (self.images, Gather { len: self.input.len() / self.settings.batch_size });
        gather::cpu::forward(&gather, &images.pixels, &images.labels, order, &mut self.input, &mut self.targets);

        let last = self.forward(count, step);
        self.last = last;
        let (logits, targets) = (&self.tensors[last].y[..count * self.loss.classes], &self.targets[..count]);
        let metrics = cross_entropy::cpu::metrics(&self.loss, logits, targets);
        if self.work == Work::Train {
            let last = &mut self.tensors[last];
            cross_entropy::cpu::backward(&self.loss, &last.y, &self.targets, &mut last.d_y);
            self.backward(step);
            self.settings.optimizer.update(learning_rate, &mut self.parameters, &mut self.slots, &self.gradients);
        }
        metrics
    }

    /// Runs the stages over the first `count` samples of the input and returns which stage's output is the logits.
    fn forward(&mut self, count: usize, step: u32) -> usize {
        let training = self.work == Work::Train;
        let mut from = None;
        for (index, stage) in self.stages.iter().enumerate() {
            if stage.op.training_only() && !training {
                continue;
            }
            let (before, after) = self.tensors.split_at_mut(index);
            let x = from.map_or(&self.input, |from: usize| &before[from].y);
            let tensors = &mut after[0];
            stage.op.forward(ForwardSlices {
                x: &x[..count * stage.op.input_len()],
                params: &views(&self.parameters, &self.ranges[stage.parameters.clone()]),
                y: &mut tensors.y[..count * stage.op.output_len()],
                saved: &mut tensors.saved[..count * stage.op.saved_words()],
                training,
                step,
            });
            from = Some(index);
        }
        from.unwrap_or_default()
    }

    /// From the gradient of the logits down to the first stage's parameters, over a full batch.
    fn backward(&mut self, step: u32) {
        for (index, stage) in self.stages.iter().enumerate().rev() {
            let (before, after) = self.tensors.split_at_mut(index);
            let (x, d_x) = match before.last_mut() {
                Some(previous) => (&previous.y, Some(&mut previous.d_y[..])),
                None => (&self.input, None),
            };
            stage.op.backward(BackwardSlices {
                x,
                params: &views(&self.parameters, &self.ranges[stage.parameters.clone()]),
                saved: &after[0].saved,
                d_y: &after[0].d_y,
                d_x,
                d_params: &mut views_mut(&mut self.gradients, &self.ranges[stage.parameters.clone()]),
                step,
            });
        }
    }

    /// The state's arenas.
    fn arenas(&mut self) -> impl Iterator<Item = (Role, &mut Vec<f32>)> {
        let arenas = [&mut self.parameters, &mut self.buffers].into_iter().chain(&mut self.slots);
        roles(&self.settings.optimizer).zip(arenas)
    }
}

fn views<'a>(arena: &'a [f32], ranges: &[Range<usize>]) -> Vec<&'a [f32]> {
    ranges.iter().map(|range| &arena[range.clone()]).collect()
}

/// The same, mutable; `ranges` ascend.
fn views_mut<'a>(mut arena: &'a mut [f32], ranges: &[Range<usize>]) -> Vec<&'a mut [f32]> {
    let mut at = 0;
    let mut views = Vec::new();
    for range in ranges {
        let (_, rest) = arena.split_at_mut(range.start - at);
        let (view, rest) = rest.split_at_mut(range.len());
        views.push(view);
        (arena, at) = (rest, range.end);
    }
    views
}

impl Engine for CpuEngine<'_> {
    fn begin(&mut self, pass: &Pass) -> Result<(), EngineError> {
        let images = pass.set.of(self.data);
        check_pass(pass, images.len(), self.data.train.len().max(self.data.test.len()))?;
        (self.images, self.work) = (images, pass.work);
        self.batches = pass.batches(self.settings.batch_size).collect();
        self.finished.clear();
        self.order.clear();
        self.order.extend_from_slice(pass.order);
        Ok(())
    }

    fn submit(&mut self, batches: Range<usize>) -> Result<(), EngineError> {
        expect("the end of a range of batches", batches.end, self.batches.len() + 1)?;
        // Runs within the pool. From outside, each parallel loop would wake a thread and wait for it.
        let metrics = rayon::scope(|_| batches.map(|index| self.batch(index)).collect());
        self.finished.push_back(metrics);
        Ok(())
    }

    fn in_flight(&self) -> usize {
        self.finished.len()
    }

    async fn collect(&mut self) -> Result<Option<Vec<BatchMetrics>>, EngineError> {
        Ok(self.finished.pop_front())
    }

    async fn logits(&mut self) -> Result<Vec<f32>, EngineError> {
        Ok(self.tensors[self.last].y.clone())
    }

    async fn state(&mut self) -> Result<State, EngineError> {
        Ok(State { arenas: self.arenas().map(|(role, values)| (role, values.clone())).collect() })
    }

    fn set_state(&mut self, state: &State) -> Result<(), EngineError> {
        let lens: Vec<_> = self.arenas().map(|(role, arena)| (role, arena.len())).collect();
        for ((_, own), values) in self.arenas().zip(arenas(state, lens.into_iter())?) {
            match values {
                Some(values) => own.copy_from_slice(values),
                None => own.fill(0.0),
            }
        }
        Ok(())
    }
}
