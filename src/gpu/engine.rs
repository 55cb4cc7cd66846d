//! A model on a GPU: every buffer allocated, every kernel compiled and bound once; per batch the same commands again.

use super::network::{Arenas, Network};
use super::plan::{self, batch_bytes, batch_slots};
use super::tensor::Mapping;
use super::{Batch, Context, GpuError, Planner, Step, Tensor};
use crate::data::{CLASSES, Dataset, Images};
use crate::engine::{Engine, Set, Settings, State, Work};
use crate::metrics::BatchMetrics;
use crate::model::Model;
use crate::ops::cross_entropy::{CrossEntropy, LossTensors};
use crate::ops::gather::{Gather, GatherTensors};
use std::collections::VecDeque;
use std::ops::Range;

/// See [`Engine`].
pub struct GpuEngine<'a> {
    pub(super) context: &'a Context,
    settings: Settings,
    arenas: Arenas,
    /// Output of each stage, (N, ...).
    outputs: Vec<Tensor>,
    /// Gathers a batch out of the training and of the test images.
    gather: [Vec<Step>; 2],
    train: Vec<Step>,
    evaluate: Vec<Step>,
    /// Of an evaluation, (N, classes).
    logits: Tensor,
    order: Tensor,
    metrics: Tensor,
    batch_buffer: wgpu::Buffer,
    pub(super) batch_group: wgpu::BindGroup,
    /// Training and test images.
    samples: [usize; 2],
    set: Set,
    work: Work,
    /// Batches of the current order.
    batches: usize,
    in_flight: VecDeque<Mapping>,
}

impl<'a> GpuEngine<'a> {
    /// Uploads `data` and plans training and evaluation of `model`, with zero parameters: [`Engine::set_state`] gives it some.
    pub fn new(context: &'a Context, model: &Model, data: &Dataset, settings: Settings) -> Result<Self, GpuError> {
        let n = settings.batch_size;
        for &label in data.train.labels.iter().chain(&data.test.labels) {
            expect("a label", usize::from(label), CLASSES)?;
        }
        let samples = data.train.len().max(data.test.len());
        let batches = Work::Evaluate.batches(samples, n);
        let zeros = |label: &str, len| Tensor::zeros(context, label, len);

        let network = Network::new(context, model, &settings)?;
        let arenas = &network.arenas;
        let order = zeros("order", samples.max(n))?;
        let metrics = zeros("metrics", batches * CrossEntropy::METRICS_LEN)?;
        let targets = zeros("targets", n)?;

        let upload = |name: &str, images: &Images| -> Result<Vec<Step>, GpuError> {
            let gather = Gather { len: model.shapes()[0].len() };
            let labels: Vec<u32> = images.labels.iter().map(|&label| label.into()).collect();
            let tensors = GatherTensors {
                n,
                samples: images.len(),
                images: &Tensor::from_slice(context, format!("{name} images"), &gather.pad(&images.pixels))?,
                labels: &Tensor::from_slice(context, format!("{name} labels"), &labels)?,
                order: &order,
                x: &network.input,
                targets: &targets,
            };
            let mut planner = Planner::new(context);
            gather.plan(&mut planner, &tensors)?;
            Ok(planner.steps)
        };
        let gather = [upload("training", &data.train)?, upload("test", &data.test)?];

        let loss = CrossEntropy { classes: CLASSES };
        let loss_tensors = |logits| LossTensors { n, logits, targets: &targets, metrics: &metrics };

        let mut train = Planner::new(context);
        let logits = network.plan_forward(&mut train, Work::Train)?;
        let d_logits = zeros("d_logits", n * CLASSES)?;
        loss.plan_train(&mut train, &loss_tensors(logits), &d_logits)?;
        network.plan_backward(&mut train, d_logits)?;
        settings.sgd.plan(&mut train, &arenas.parameters, &arenas.velocity, &arenas.gradients)?;

        let mut evaluate = Planner::new(context);
        let logits = network.plan_forward(&mut evaluate, Work::Evaluate)?;
        loss.plan_evaluate(&mut evaluate, &loss_tensors(logits))?;
        let logits = logits.clone();

        let (batch_buffer, batch_group) = batch_slots(context, batches);
        let (train, evaluate) = (train.steps, evaluate.steps);
        context.check()?;
        Ok(Self {
            context,
            settings,
            arenas: network.arenas,
            outputs: network.outputs,
            gather,
            train,
            evaluate,
            logits,
            order,
            metrics,
            batch_buffer,
            batch_group,
            samples: [data.train.len(), data.test.len()],
            set: Set::Train,
            work: Work::Train,
            batches: 0,
            in_flight: VecDeque::new(),
        })
    }

    /// The dispatches of `work` on a batch of `set`, in order.
    fn steps(&self, set: Set, work: Work) -> impl Iterator<Item = &Step> {
        let steps = match work {
            Work::Train => &self.train,
            Work::Evaluate => &self.evaluate,
        };
        self.gather[set as usize].iter().chain(steps)
    }

    /// A training step's dispatches, in order.
    pub fn training_steps(&self) -> impl Iterator<Item = &Step> {
        self.steps(Set::Train, Work::Train)
    }

    /// An evaluation's dispatches for a batch of test images, in order.
    pub fn evaluation_steps(&self) -> impl Iterator<Item = &Step> {
        self.steps(Set::Test, Work::Evaluate)
    }

    /// What stage `stage` put out for the last batch, (N, ...).
    pub async fn output(&self, stage: usize) -> Result<Vec<f32>, GpuError> {
        self.outputs[stage].read(self.context).await
    }

    /// The last batch's gradients, an arena.
    pub async fn gradients(&self) -> Result<Vec<f32>, GpuError> {
        self.arenas.gradients.read(self.context).await
    }
}

impl Engine for GpuEngine<'_> {
    fn begin(&mut self, set: Set, work: Work, order: &[u32], first_step: u32) -> Result<(), GpuError> {
        expect("the length of an order", order.len(), self.order.len() + 1)?;
        for &sample in order {
            expect("a sample in an order", sample as usize, self.samples[set as usize])?;
        }
        (self.set, self.work) = (set, work);
        self.in_flight.clear();
        let n = self.settings.batch_size;
        let batches: Vec<Batch> = (0..work.batches(order.len(), n))
            .map(|index| Batch {
                first: (index * n) as u32,
                count: n.min(order.len() - index * n) as u32,
                index: index as u32,
                step: first_step.wrapping_add(index as u32),
            })
            .collect();
        self.batches = batches.len();
        self.context.queue.write_buffer(&self.batch_buffer, 0, &batch_bytes(&batches));
        self.order.write(self.context, bytemuck::cast_slice(order));
        self.context.check()
    }

    fn submit(&mut self, batches: Range<usize>) -> Result<(), GpuError> {
        expect("the end of a range of batches", batches.end, self.batches + 1)?;
        let mut encoder =
            self.context.device.create_command_encoder(&wgpu::CommandEncoderDescriptor { label: Some("batches") });
        let steps = batches.clone().flat_map(|batch| self.steps(self.set, self.work).map(move |step| (step, batch as u32)));
        plan::record(&mut encoder, steps, &self.batch_group);
        let len = CrossEntropy::METRICS_LEN;
        let staging = self.metrics.stage(self.context, &mut encoder, batches.start * len..batches.end * len);
        self.context.queue.submit([encoder.finish()]);
        self.in_flight.push_back(Mapping::request(staging));
        self.context.check()
    }

    fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    async fn collect(&mut self) -> Result<Option<Vec<BatchMetrics>>, GpuError> {
        match self.in_flight.pop_front() {
            Some(mapping) => mapping.read(self.context).await.map(Some),
            None => Ok(None),
        }
    }

    async fn logits(&mut self) -> Result<Vec<f32>, GpuError> {
        self.logits.read(self.context).await
    }

    async fn state(&mut self) -> Result<State, GpuError> {
        let parameters = self.arenas.parameters.read(self.context).await?;
        let velocity = self.arenas.velocity.read(self.context).await?;
        Ok(State { parameters, velocity })
    }

    fn set_state(&mut self, state: &State) -> Result<(), GpuError> {
        for arena in [&state.parameters, &state.velocity] {
            if arena.len() != self.arenas.parameters.len() {
                let expected = format!("{} elements, as the model's arena", self.arenas.parameters.len());
                return Err(GpuError::Input { what: "a state", expected, found: arena.len().to_string() });
            }
        }
        self.arenas.parameters.write(self.context, bytemuck::cast_slice(&state.parameters));
        self.arenas.velocity.write(self.context, bytemuck::cast_slice(&state.velocity));
        self.context.check()
    }
}

/// The kernels index by these numbers without looking, so that they are looked at here.
fn expect(what: &'static str, found: usize, below: usize) -> Result<(), GpuError> {
    if found < below {
        return Ok(());
    }
    Err(GpuError::Input { what, expected: format!("a number below {below}"), found: found.to_string() })
}
