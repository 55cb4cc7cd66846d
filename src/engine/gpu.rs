//! A model on a GPU: every buffer allocated, every kernel compiled and bound once; per batch the same commands again.

mod network;

use super::{Engine, EngineError, Pass, Set, Settings, Work, arenas, check_data, check_pass, expect};
use crate::data::{Dataset, Images};
use crate::gpu::tensor::Mapping;
use crate::gpu::{Context, GpuError, Planner, Slots, Step, Tensor, plan, profile};
use crate::metrics::BatchMetrics;
use crate::model::Model;
use crate::ops::Batch;
use crate::ops::augment::Augment;
use crate::ops::average::Average;
use crate::ops::cross_entropy::{CrossEntropy, LossTensors};
use crate::ops::gather::{Gather, GatherTensors};
use crate::state::{Role, State};
use network::Network;
use std::collections::VecDeque;
use std::ops::Range;
use std::time::Duration;

/// See [`Engine`].
pub struct GpuEngine<'a> {
    context: &'a Context,
    settings: Settings,
    network: Network,
    /// Of each work: from a batch of each set to the network's input.
    input: [[Vec<Step>; 2]; 2],
    /// Of each work: from the network's input to its end.
    work: [Vec<Step>; 2],
    /// Of an evaluation, (N, classes).
    logits: Tensor,
    order: Tensor,
    metrics: Tensor,
    slots: Slots,
    /// Training and test images.
    samples: [usize; 2],
    /// What the current pass is, and its batches.
    pass: (Set, Work, usize),
    in_flight: VecDeque<Mapping>,
}

/// What all passes share beside the network.
struct Shared<'a> {
    context: &'a Context,
    /// Samples per batch.
    n: usize,
    model: &'a Model,
    network: &'a Network,
    loss: CrossEntropy,
    order: &'a Tensor,
    targets: &'a Tensor,
    metrics: &'a Tensor,
}

impl Shared<'_> {
    /// The input of a pass: picks the images of a batch out of a set, and moves them where it is so wanted.
    fn plan_input(&self, augment: Option<&Augment>, (images, labels): &(Tensor, Tensor)) -> Result<Vec<Step>, GpuError> {
        let mut planner = Planner::new(self.context);
        let tensors = GatherTensors {
            n: self.n,
            samples: labels.len(),
            images,
            labels,
            order: self.order,
            x: &self.network.input,
            targets: self.targets,
        };
        match augment {
            Some(augment) => augment.plan(&mut planner, &tensors)?,
            None => Gather { len: self.network.input.len() / self.n }.plan(&mut planner, &tensors)?,
        }
        Ok(planner.steps)
    }

    /// The rest of a pass: network and loss, and in training the backward pass and the optimizer.
    fn plan_work(&self, work: Work, settings: &Settings) -> Result<(Vec<Step>, Tensor), GpuError> {
        let Self { context, n, network, loss, targets, metrics, .. } = self;
        let mut planner = Planner::new(context);
        let logits = network.plan_forward(&mut planner, work)?;
        let tensors = LossTensors { n: *n, logits, targets, metrics };
        match work {
            Work::Evaluate => loss.plan_evaluate(&mut planner, &tensors)?,
            Work::Train => {
                let d_logits = Tensor::zeros(context, "d_logits", n * loss.classes)?;
                loss.plan_train(&mut planner, &tensors, &d_logits)?;
                network.plan_backward(&mut planner, d_logits)?;
                let slots = settings.optimizer.slots().iter().map(|&slot| network.arena(Role::Slot(slot)));
                let (parameters, slots) = (network.arena(Role::Parameters), Vec::from_iter(slots));
                let trained = network.stages.trained(self.model);
                let part = |arena: &Tensor| arena.slice(arena.label.clone(), trained.clone());
                let parts: Vec<Tensor> = slots.into_iter().map(part).collect();
                let (moved, gradients) = (part(parameters), part(&network.gradients));
                settings.optimizer.plan(&mut planner, &moved, &Vec::from_iter(&parts), &gradients)?;
                if let Some(decay) = settings.average {
                    let average = Average { decay };
                    average.plan(&mut planner, parameters, network.arena(Role::Average))?;
                    average.plan(&mut planner, network.arena(Role::Buffers), network.arena(Role::AverageBuffers))?;
                }
            }
        }
        Ok((planner.steps, logits.clone()))
    }
}

impl<'a> GpuEngine<'a> {
    /// Uploads `data` and plans training and evaluation of `model`, with zero parameters: [`Engine::set_state`] gives
    /// it some.
    ///
    /// # Errors
    ///
    /// If the data are not of the model's shape and classes, or the device cannot hold or compile what they need.
    pub fn new(context: &'a Context, model: &Model, data: &Dataset, settings: Settings) -> Result<Self, EngineError> {
        check_data(model, data)?;
        let n = settings.batch_size;
        let samples = Set::ALL.map(|set| set.of(data).len());
        let most = samples[0].max(samples[1]);
        let batches = Work::Evaluate.batches(most, n);
        let network = Network::new(context, model, &settings)?;
        let order = Tensor::zeros(context, "order", most.max(n))?;
        let metrics = Tensor::zeros(context, "metrics", batches * CrossEntropy::METRICS_LEN)?;
        let targets = Tensor::zeros(context, "targets", n)?;

        let upload = |name: &str, images: &Images| -> Result<(Tensor, Tensor), GpuError> {
            let gather = Gather { len: model.shapes()[0].len() };
            let labels: Vec<u32> = images.labels.iter().map(|&label| label.into()).collect();
            let pixels = Tensor::from_slice(context, format!("{name} images"), &gather.pad(&images.pixels))?;
            Ok((pixels, Tensor::from_slice(context, format!("{name} labels"), &labels)?))
        };
        let sets = [upload("training", &data.train)?, upload("test", &data.test)?];

        let loss = CrossEntropy { classes: model.classes(), smoothing: settings.smoothing };
        let shared =
            Shared { context, n, model, network: &network, loss, order: &order, targets: &targets, metrics: &metrics };
        let mut input = [const { [const { Vec::new() }; 2] }; 2];
        let augment = settings.augment.map(|amounts| Augment::new(data.shape, amounts, settings.seed));
        for (work, set) in Work::ALL.into_iter().flat_map(|work| Set::ALL.map(|set| (work, set as usize))) {
            let augment = augment.as_ref().filter(|_| work == Work::Train);
            input[work as usize][set] = shared.plan_input(augment, &sets[set])?;
        }
        let (train, _) = shared.plan_work(Work::Train, &settings)?;
        let (evaluate, logits) = shared.plan_work(Work::Evaluate, &settings)?;
        let slots = Slots::new(context, batches);
        context.check()?;
        Ok(Self {
            context,
            settings,
            network,
            input,
            work: [train, evaluate],
            logits,
            order,
            metrics,
            slots,
            samples,
            pass: (Set::Train, Work::Train, 0),
            in_flight: VecDeque::new(),
        })
    }

    /// The dispatches of `work` on a batch of `set`, in order.
    fn steps(&self, set: Set, work: Work) -> impl Iterator<Item = &Step> {
        self.input[work as usize][set as usize].iter().chain(&self.work[work as usize])
    }

    /// A training step's dispatches, in order.
    pub fn training_steps(&self) -> impl Iterator<Item = &Step> {
        self.steps(Set::Train, Work::Train)
    }

    /// An evaluation's dispatches for a batch of test images, in order.
    pub fn evaluation_steps(&self) -> impl Iterator<Item = &Step> {
        self.steps(Set::Test, Work::Evaluate)
    }

    /// Start and end of each dispatch of one training step, in order, on the device's clock. None where the device has
    /// no timestamps. It trains on batch `batch` of the current pass, which must be one over training images.
    pub async fn time_dispatches(&mut self, batch: usize) -> Result<Option<Vec<Range<Duration>>>, GpuError> {
        let steps: Vec<&Step> = self.training_steps().collect();
        profile::time(self.context, &steps, &self.slots, batch as u32).await
    }

    /// The layers that each stage stands for.
    pub fn stages(&self) -> Vec<Range<usize>> {
        self.network.stages.train().iter().map(|stage| stage.layers.clone()).collect()
    }

    /// What stage `stage` put out for the last batch, (N, ...).
    pub async fn output(&self, stage: usize) -> Result<Vec<f32>, GpuError> {
        self.network.outputs[stage].read(self.context).await
    }

    /// The last batch's gradients, an arena.
    pub async fn gradients(&self) -> Result<Vec<f32>, GpuError> {
        self.network.gradients.read(self.context).await
    }
}

impl Engine for GpuEngine<'_> {
    fn begin(&mut self, pass: &Pass) -> Result<(), EngineError> {
        check_pass(pass, self.samples[pass.set as usize], self.order.len())?;
        self.in_flight.clear();
        let batches: Vec<Batch> = pass.batches(&self.settings).collect();
        self.pass = (pass.set, pass.work, batches.len());
        self.slots.write(self.context, &batches);
        self.order.write(self.context, bytemuck::cast_slice(pass.order));
        Ok(self.context.check()?)
    }

    fn submit(&mut self, batches: Range<usize>) -> Result<(), EngineError> {
        let (set, work, all) = self.pass;
        expect("the end of a range of batches", batches.end, all + 1)?;
        let mut encoder =
            self.context.device.create_command_encoder(&wgpu::CommandEncoderDescriptor { label: Some("batches") });
        let steps = batches.clone().flat_map(|batch| self.steps(set, work).map(move |step| (step, batch as u32)));
        plan::record(&mut encoder, steps, &self.slots);
        let len = CrossEntropy::METRICS_LEN;
        let staging = self.metrics.stage(self.context, &mut encoder, batches.start * len..batches.end * len);
        self.context.queue.submit([encoder.finish()]);
        self.in_flight.push_back(Mapping::request(staging));
        Ok(self.context.check()?)
    }

    fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    async fn collect(&mut self) -> Result<Option<Vec<BatchMetrics>>, EngineError> {
        match self.in_flight.pop_front() {
            Some(mapping) => Ok(Some(mapping.read(self.context).await?)),
            None => Ok(None),
        }
    }

    async fn logits(&mut self) -> Result<Vec<f32>, EngineError> {
        Ok(self.logits.read(self.context).await?)
    }

    async fn state(&mut self) -> Result<State, EngineError> {
        let mut state = State { arenas: Vec::new() };
        for (role, arena) in &self.network.arenas {
            let values = if arena.is_empty() { Vec::new() } else { arena.read(self.context).await? };
            state.arenas.push((*role, values));
        }
        Ok(state)
    }

    fn set_state(&mut self, state: &State) -> Result<(), EngineError> {
        let own = &self.network.arenas;
        let values = arenas(state, own.iter().map(|(role, arena)| (*role, arena.len())))?;
        for ((_, arena), values) in own.iter().zip(values) {
            match values {
                Some(values) => arena.write(self.context, bytemuck::cast_slice(values)),
                None => arena.write(self.context, &vec![0; 4 * arena.len()]),
            }
        }
        Ok(self.context.check()?)
    }
}
