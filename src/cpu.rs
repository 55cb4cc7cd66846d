//! The CPU path: a whole training step from the ops' mirrors. What a machine without a GPU trains on, and what the
//! shaders are held against.

use crate::data::{CLASSES, Dataset};
use crate::engine::{Engine, Set, Settings, State, Work};
use crate::gpu::GpuError;
use crate::metrics::BatchMetrics;
use crate::model::{Model, Stage};
use crate::ops::conv2d_relu_maxpool2d::{self as fused, Conv2dReluMaxPool2d};
use crate::ops::cross_entropy::{self, CrossEntropy};
use crate::ops::gather::{self, Gather};
use crate::ops::{BackwardSlices, ForwardSlices, Op, sgd};
use std::collections::VecDeque;
use std::iter;
use std::ops::Range;

/// See [`Engine`]; work is done at once, when it is submitted.
pub struct CpuEngine<'a> {
    data: &'a Dataset,
    settings: Settings,
    stages: Vec<Stage>,
    /// Where each parameter lies in the arenas.
    ranges: Vec<Range<usize>>,
    state: State,
    gradients: Vec<f32>,
    input: Vec<f32>,
    targets: Vec<u32>,
    /// Per stage: output, what it saved, gradient of its output, empty between stages that take a sample together.
    tensors: Vec<Tensors>,
    /// The stage that put out the logits of the last batch.
    last: usize,
    set: Set,
    work: Work,
    order: Vec<u32>,
    first_step: u32,
    finished: VecDeque<Vec<BatchMetrics>>,
}

#[derive(Default)]
struct Tensors {
    y: Vec<f32>,
    saved: Vec<u32>,
    d_y: Vec<f32>,
}

impl<'a> CpuEngine<'a> {
    /// Zero parameters: [`Engine::set_state`] gives it some.
    pub fn new(model: &Model, data: &'a Dataset, settings: Settings) -> Self {
        let n = settings.batch_size;
        let stages = model.stages(settings.fuse, settings.seed);
        let together = Self::together(&stages).len();
        let tensors = |(index, stage): (usize, &Stage)| Tensors {
            y: vec![0.0; n * stage.op.output_len()],
            saved: vec![0; n * stage.op.saved_len()],
            d_y: vec![0.0; if index + 1 < together { 0 } else { n * stage.op.output_len() }],
        };
        Self {
            tensors: stages.iter().enumerate().map(tensors).collect(),
            ranges: model.parameters().iter().map(|p| p.range.clone()).collect(),
            state: State { parameters: vec![0.0; model.arena_len()], velocity: vec![0.0; model.arena_len()] },
            gradients: vec![0.0; model.arena_len()],
            input: vec![0.0; n * model.shapes()[0].len()],
            targets: vec![0; n],
            last: 0,
            set: Set::Train,
            work: Work::Train,
            order: Vec::new(),
            first_step: 0,
            finished: VecDeque::new(),
            data,
            settings,
            stages,
        }
    }

    /// What stage `stage` put out for the last batch, (N, ...).
    pub fn output(&self, stage: usize) -> &[f32] {
        &self.tensors[stage].y
    }

    /// The last batch's gradients, an arena.
    pub fn gradients(&self) -> &[f32] {
        &self.gradients
    }

    fn batch(&mut self, index: usize) -> BatchMetrics {
        let n = self.settings.batch_size;
        let order = &self.order[index * n..self.order.len().min((index + 1) * n)];
        let count = order.len();
        let images = match self.set {
            Set::Train => &self.data.train,
            Set::Test => &self.data.test,
        };
        let gather = Gather { len: self.input.len() / n };
        gather::cpu::forward(&gather, &images.pixels, &images.labels, order, &mut self.input, &mut self.targets);

        let step = self.first_step.wrapping_add(index as u32);
        let last = self.forward(count, step);
        self.last = last;
        let loss = CrossEntropy { classes: CLASSES };
        let (logits, targets) = (&self.tensors[last].y[..count * CLASSES], &self.targets[..count]);
        let metrics = cross_entropy::cpu::metrics(&loss, logits, targets);
        if self.work == Work::Train {
            let last = &mut self.tensors[last];
            cross_entropy::cpu::backward(&loss, &last.y, &self.targets, &mut last.d_y);
            self.backward(step);
            sgd::cpu::update(&self.settings.sgd, &mut self.state.parameters, &mut self.state.velocity, &self.gradients);
        }
        metrics
    }

    /// The ops at the beginning that take a sample together.
    fn together(stages: &[Stage]) -> Vec<&Conv2dReluMaxPool2d> {
        stages.iter().map_while(|stage| stage.op.fused()).collect()
    }

    /// Runs the stages over the first `count` samples of the input and returns which stage's output is the logits.
    fn forward(&mut self, count: usize, step: u32) -> usize {
        let params = |stage: &Stage| views(&self.state.parameters, &self.ranges[stage.parameters.clone()]);
        let together = Self::together(&self.stages);
        let layers = together.iter().zip(&self.stages).zip(&mut self.tensors).map(|((op, stage), tensors)| {
            op.forward_layer(&params(stage), &mut tensors.y[..count * op.output_len()], &mut tensors.saved)
        });
        if let Some(first) = together.first() {
            fused::cpu::forward(&self.input[..count * first.input_len()], layers.collect());
        }
        let training = self.work == Work::Train;
        let mut from = together.len().checked_sub(1);
        for (index, stage) in self.stages.iter().enumerate().skip(together.len()) {
            if stage.op.training_only() && !training {
                continue;
            }
            let (before, after) = self.tensors.split_at_mut(index);
            let x = from.map_or(&self.input, |from: usize| &before[from].y);
            let tensors = &mut after[0];
            stage.op.forward(ForwardSlices {
                x: &x[..count * stage.op.input_len()],
                params: &params(stage),
                y: &mut tensors.y[..count * stage.op.output_len()],
                saved: &mut tensors.saved[..count * stage.op.saved_len()],
                training,
                step,
            });
            from = Some(index);
        }
        from.unwrap_or_default()
    }

    /// From the gradient of the logits down to the first stage's parameters, over a full batch.
    fn backward(&mut self, step: u32) {
        let params = |stage: &Stage| views(&self.state.parameters, &self.ranges[stage.parameters.clone()]);
        let together = Self::together(&self.stages);
        for (index, stage) in self.stages.iter().enumerate().skip(together.len()).rev() {
            let (before, after) = self.tensors.split_at_mut(index);
            let (x, d_x) = match before.last_mut() {
                Some(previous) => (&previous.y, Some(&mut previous.d_y[..])),
                None => (&self.input, None),
            };
            stage.op.backward(BackwardSlices {
                x,
                params: &params(stage),
                saved: &after[0].saved,
                d_y: &after[0].d_y,
                d_x,
                d_params: &mut views_mut(&mut self.gradients, &self.ranges[stage.parameters.clone()]),
                step,
            });
        }
        let Some(last) = together.len().checked_sub(1) else { return };
        let inputs = iter::once(&self.input).chain(self.tensors.iter().map(|tensors| &tensors.y));
        let mut gradients = views_mut(&mut self.gradients, &self.ranges[..self.stages[last].parameters.end]);
        let mut d_params = &mut gradients[..];
        let mut layers = Vec::new();
        for (((op, stage), tensors), x) in together.iter().zip(&self.stages).zip(&self.tensors).zip(inputs) {
            let (own, rest) = d_params.split_at_mut(stage.parameters.len());
            layers.push(op.backward_layer(x, &params(stage), &tensors.saved, own));
            d_params = rest;
        }
        fused::cpu::backward(layers, &self.tensors[last].d_y, None);
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
    fn begin(&mut self, set: Set, work: Work, order: &[u32], first_step: u32) -> Result<(), GpuError> {
        (self.set, self.work, self.first_step) = (set, work, first_step);
        self.finished.clear();
        self.order.clear();
        self.order.extend_from_slice(order);
        Ok(())
    }

    fn submit(&mut self, batches: Range<usize>) -> Result<(), GpuError> {
        // From within the pool: a parallel loop begun outside wakes a thread, and waits for it, once for each.
        let metrics = rayon::scope(|_| batches.map(|index| self.batch(index)).collect());
        self.finished.push_back(metrics);
        Ok(())
    }

    fn in_flight(&self) -> usize {
        self.finished.len()
    }

    async fn collect(&mut self) -> Result<Option<Vec<BatchMetrics>>, GpuError> {
        Ok(self.finished.pop_front())
    }

    async fn logits(&mut self) -> Result<Vec<f32>, GpuError> {
        Ok(self.tensors[self.last].y.clone())
    }

    async fn state(&mut self) -> Result<State, GpuError> {
        Ok(self.state.clone())
    }

    fn set_state(&mut self, state: &State) -> Result<(), GpuError> {
        self.state.clone_from(state);
        Ok(())
    }
}
