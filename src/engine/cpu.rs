//! The CPU path: a whole training step from the ops' mirrors. What a machine without a GPU trains on, and what the
//! shaders are held against.

use super::rewrite::Rule;
use super::{Engine, EngineError, Pass, Settings, Stages, Work, arenas, check_data, check_pass, expect, roles};
use crate::data::{Dataset, Images};
use crate::metrics::BatchMetrics;
use crate::model::{Model, Stage};
use crate::ops::augment::{self, Augment};
use crate::ops::average::{self, Average};
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
    augment: Option<Augment>,
    stages: Stages<dyn OnCpu>,
    /// What of the arena of parameters is trained.
    trained: Range<usize>,
    /// Where each parameter lies in the arenas, and each buffer in its own.
    ranges: Vec<Range<usize>>,
    buffer_ranges: Vec<Range<usize>>,
    loss: CrossEntropy,
    parameters: Vec<f32>,
    buffers: Vec<f32>,
    /// Of parameters and buffers, if they are wanted.
    averages: Option<[Vec<f32>; 2]>,
    /// In the order of the optimizer's slots.
    slots: Vec<Vec<f32>>,
    gradients: Vec<f32>,
    input: Vec<f32>,
    targets: Vec<u32>,
    /// At each place.
    tensors: Vec<Tensors>,
    /// The place of the last batch's logits.
    last: usize,
    images: &'a Images,
    work: Work,
    order: Vec<u32>,
    batches: Vec<Batch>,
    finished: VecDeque<Vec<BatchMetrics>>,
}

/// Of a batch: what a stage puts out, what it saves, the gradient of its output.
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
        let on_cpu = |Stage { layers, op, parameters, buffers }: Stage| -> Stage<dyn OnCpu> {
            Stage { layers, op, parameters, buffers }
        };
        let chains: &[Rule<dyn OnCpu>] = if settings.fuse { &[chain::chain] } else { &[] };
        let stages = Stages::new(model, &settings).map(on_cpu, chains);
        let tensors = |(stage, saved_words): (&Stage<dyn OnCpu>, usize)| Tensors {
            y: vec![0.0; n * stage.op.output_len()],
            saved: vec![0; n * saved_words],
            d_y: vec![0.0; n * stage.op.output_len()],
        };
        let arena = || vec![0.0; model.arena_len()];
        let buffers = || vec![0.0; Role::Buffers.len(model)];
        Ok(Self {
            tensors: stages.train().iter().zip(stages.saved_words()).map(tensors).collect(),
            ranges: model.parameters().iter().map(|p| p.range.clone()).collect(),
            buffer_ranges: model.buffers().iter().map(|b| b.range.clone()).collect(),
            loss: CrossEntropy { classes: model.classes(), smoothing: settings.smoothing },
            parameters: arena(),
            buffers: buffers(),
            averages: settings.average.map(|_| [arena(), buffers()]),
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
            augment: settings.augment.map(|amounts| Augment::new(data.shape, amounts, settings.seed)),
            data,
            settings,
            trained: stages.trained(model),
            stages,
        })
    }

    /// The layers that each stage stands for.
    pub fn stages(&self) -> Vec<Range<usize>> {
        self.stages.train().iter().map(|stage| stage.layers.clone()).collect()
    }

    /// What was put out where training has its stage `stage`, for the last batch, (N, ...).
    pub fn output(&self, stage: usize) -> &[f32] {
        &self.tensors[stage].y
    }

    /// The last batch's gradients, an arena.
    pub fn gradients(&self) -> &[f32] {
        &self.gradients
    }

    /// A pass over one batch: input, network and loss, and in training the backward pass and the optimizer.
    fn batch(&mut self, index: usize) -> BatchMetrics {
        let batch = self.batches[index];
        let Batch { first, count, step, .. } = batch;
        let (first, count) = (first as usize, count as usize);
        let order = &self.order[first..first + count];
        let (images, gather) = (self.images, Gather { len: self.input.len() / self.settings.batch_size });
        let (input, targets) = (&mut self.input, &mut self.targets);
        match &self.augment {
            Some(augment) if self.work == Work::Train => {
                augment::cpu::forward(augment, step, &images.pixels, &images.labels, order, input, targets);
            }
            _ => gather::cpu::forward(&gather, &images.pixels, &images.labels, order, input, targets),
        }

        let last = self.forward(count, step);
        self.last = last;
        let smoothing = if self.work == Work::Train { self.loss.smoothing } else { 0.0 };
        let loss = CrossEntropy { smoothing, ..self.loss };
        let (logits, targets) = (&self.tensors[last].y[..count * self.loss.classes], &self.targets[..count]);
        let metrics = cross_entropy::cpu::metrics(&loss, logits, targets);
        if self.work == Work::Train {
            let last = &mut self.tensors[last];
            cross_entropy::cpu::backward(&self.loss, &last.y, &self.targets, &mut last.d_y);
            self.backward(step);
            let trained = self.trained.clone();
            let mut slots = Vec::from_iter(self.slots.iter_mut().map(|slot| &mut slot[trained.clone()]));
            let (parameters, gradients) = (&mut self.parameters[trained.clone()], &self.gradients[trained]);
            self.settings.optimizer.update(&batch, parameters, &mut slots, gradients);
            if let (Some(decay), Some([parameters, buffers])) = (self.settings.average, &mut self.averages) {
                average::cpu::update(&Average { decay }, step, &self.parameters, parameters);
                average::cpu::update(&Average { decay }, step, &self.buffers, buffers);
            }
        }
        metrics
    }

    /// Runs the stages over the first `count` samples of the input and returns the place of the logits.
    fn forward(&mut self, count: usize, step: u32) -> usize {
        let in_training = self.work == Work::Train;
        let (parameters, buffers) = match &mut self.averages {
            Some([parameters, buffers]) if !in_training => (&*parameters, buffers),
            _ => (&self.parameters, &mut self.buffers),
        };
        let mut from = None;
        for (place, stage) in self.stages.of(self.work) {
            let (before, after) = self.tensors.split_at_mut(place);
            let x = from.map_or(&self.input, |from: usize| &before[from].y);
            let tensors = &mut after[0];
            stage.op.forward(ForwardSlices {
                x: &x[..count * stage.op.input_len()],
                params: &views(parameters, &self.ranges[stage.parameters.clone()]),
                buffers: &mut views_mut(buffers, &self.buffer_ranges[stage.buffers.clone()]),
                y: &mut tensors.y[..count * stage.op.output_len()],
                saved: &mut tensors.saved[..count * stage.op.saved_words()],
                training: in_training && place >= self.stages.frozen,
                step,
            });
            from = Some(place);
        }
        from.unwrap_or_default()
    }

    /// From the gradient of the logits down to the first stage's parameters, over a full batch.
    fn backward(&mut self, step: u32) {
        let frozen = self.stages.frozen;
        for (index, stage) in self.stages.train().iter().enumerate().skip(frozen).rev() {
            let (before, after) = self.tensors.split_at_mut(index);
            let (x, d_x) = match before.last_mut() {
                Some(previous) => (&previous.y, (index > frozen).then_some(&mut previous.d_y[..])),
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
        let own = [&mut self.parameters, &mut self.buffers].into_iter().chain(self.averages.iter_mut().flatten());
        roles(&self.settings).zip(own.chain(&mut self.slots))
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
        self.batches = pass.batches(&self.settings).collect();
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
