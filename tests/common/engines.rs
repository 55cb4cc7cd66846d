//! Both engines behind one type, so that a test body is written once and run on every device.

use mnist_wgpu::data::{Dataset, Images, digits};
use mnist_wgpu::engine::{CpuEngine, Engine, EngineError, GpuEngine, Pass, Set, Settings, Work};
use mnist_wgpu::gpu::{Context, drive};
use mnist_wgpu::metrics::BatchMetrics;
use mnist_wgpu::model::Model;
use mnist_wgpu::state::State;
use std::ops::Range;

/// An engine of either path.
pub struct Any<'a> {
    /// Which device, for failures.
    pub name: String,
    /// What [`Any::train`] trains at.
    pub learning_rate: f32,
    batch_size: usize,
    engine: Path<'a>,
}

#[allow(clippy::large_enum_variant)] // a few of them, for a test
enum Path<'a> {
    Cpu(CpuEngine<'a>),
    Gpu(&'a Context, GpuEngine<'a>),
}

/// Delegates a call to the engine of either path.
macro_rules! either {
    ($any:expr, $engine:ident => $call:expr) => {
        match &mut $any.engine {
            Path::Cpu($engine) => $call,
            Path::Gpu(_, $engine) => $call,
        }
    };
}

impl<'a> Any<'a> {
    pub fn cpu(model: &Model, data: &'a Dataset, settings: Settings) -> Self {
        let engine = Path::Cpu(CpuEngine::new(model, data, settings).expect("the engine is made"));
        let (name, batch_size) = (format!("CPU, fuse {}", settings.fuse), settings.batch_size);
        Self { name, learning_rate: 0.01, batch_size, engine }
    }

    pub fn gpu(context: &'a Context, model: &Model, data: &Dataset, settings: Settings) -> Self {
        let engine = GpuEngine::new(context, model, data, settings).expect("the engine is made");
        let name = format!("{}, {:?}, fuse {}", context.info.name, context.options, settings.fuse);
        Self { name, learning_rate: 0.01, batch_size: settings.batch_size, engine: Path::Gpu(context, engine) }
    }

    /// Starts a run: `parameters`, no momentum.
    pub fn start(&mut self, parameters: &[f32]) {
        self.set_state(&State::from(parameters.to_vec())).expect("the state is set");
    }

    /// Waits for a future of this engine, as the command line does.
    pub fn wait<T>(&mut self, ask: impl AsyncFnOnce(&mut Self) -> T) -> T {
        match self.engine {
            Path::Cpu(_) => pollster::block_on(ask(self)),
            Path::Gpu(context, _) => drive::block_on(context, ask(self)),
        }
    }

    /// Queues `batches` of the current order in submits of `per_submit` batches and waits for their metrics.
    pub fn run(&mut self, batches: Range<usize>, per_submit: usize) -> Vec<BatchMetrics> {
        let mut metrics = Vec::new();
        for from in batches.clone().step_by(per_submit) {
            self.submit(from..batches.end.min(from + per_submit)).expect("the batches are queued");
            if self.in_flight() > 1 {
                metrics.extend(self.next_metrics().expect("something is in flight"));
            }
        }
        while let Some(finished) = self.next_metrics() {
            metrics.extend(finished);
        }
        assert_eq!(metrics.len(), batches.len(), "{}: one entry of metrics per batch", self.name);
        metrics
    }

    fn next_metrics(&mut self) -> Option<Vec<BatchMetrics>> {
        self.wait(Self::collect).expect("the metrics arrive")
    }

    /// Trains on all full batches of the training images `order`, `per_submit` at a time.
    pub fn train(&mut self, order: &[u32], first_step: u32, per_submit: usize) -> Vec<BatchMetrics> {
        let learning_rate = self.learning_rate;
        self.begin(&Pass::train(order, first_step, &|_| learning_rate)).expect("training begins");
        self.run(0..Work::Train.batches(order.len(), self.batch_size), per_submit)
    }

    /// The metrics of the images `order` of `set`.
    pub fn evaluate(&mut self, set: Set, order: &[u32]) -> Vec<BatchMetrics> {
        self.begin(&Pass::evaluate(set, order)).expect("the evaluation begins");
        self.run(0..Work::Evaluate.batches(order.len(), self.batch_size), 3)
    }

    pub fn now(&mut self) -> State {
        self.wait(Self::state).expect("the state arrives")
    }

    /// The layers that each stage stands for.
    pub fn stages(&self) -> Vec<Range<usize>> {
        match &self.engine {
            Path::Cpu(engine) => engine.stages(),
            Path::Gpu(_, engine) => engine.stages(),
        }
    }

    /// What stage `stage` put out for the last batch.
    pub fn output(&mut self, stage: usize) -> Vec<f32> {
        let output = self.wait(async |any| match &any.engine {
            Path::Cpu(engine) => Ok(engine.output(stage).to_vec()),
            Path::Gpu(_, engine) => engine.output(stage).await,
        });
        output.expect("the output arrives")
    }

    /// The last batch's gradients, an arena.
    pub fn gradients(&mut self) -> Vec<f32> {
        let gradients = self.wait(async |any| match &any.engine {
            Path::Cpu(engine) => Ok(engine.gradients().to_vec()),
            Path::Gpu(_, engine) => engine.gradients().await,
        });
        gradients.expect("the gradients arrive")
    }
}

impl Engine for Any<'_> {
    fn begin(&mut self, pass: &Pass) -> Result<(), EngineError> {
        either!(self, engine => engine.begin(pass))
    }

    fn submit(&mut self, batches: Range<usize>) -> Result<(), EngineError> {
        either!(self, engine => engine.submit(batches))
    }

    fn in_flight(&self) -> usize {
        match &self.engine {
            Path::Cpu(engine) => engine.in_flight(),
            Path::Gpu(_, engine) => engine.in_flight(),
        }
    }

    async fn collect(&mut self) -> Result<Option<Vec<BatchMetrics>>, EngineError> {
        either!(self, engine => engine.collect().await)
    }

    async fn logits(&mut self) -> Result<Vec<f32>, EngineError> {
        either!(self, engine => engine.logits().await)
    }

    async fn state(&mut self) -> Result<State, EngineError> {
        either!(self, engine => engine.state().await)
    }

    fn set_state(&mut self, state: &State) -> Result<(), EngineError> {
        either!(self, engine => engine.set_state(state))
    }
}

/// A data set of the test's own images.
pub fn dataset(train: Images, test: Images) -> Dataset {
    Dataset { shape: [1, 28, 28], classes: digits(), train, test }
}

/// The images `which` of `images`.
pub fn pick(images: &Images, which: Range<usize>) -> Images {
    let pixels = images.pixels.len() / images.len();
    Images {
        pixels: images.pixels[which.start * pixels..which.end * pixels].to_vec(),
        labels: images.labels[which].to_vec(),
    }
}

/// The bits of floats: what "the same" means where a run is repeated.
pub fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|x| x.to_bits()).collect()
}
