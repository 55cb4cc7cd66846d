//! Training, as a page follows it.

use crate::data::Dataset;
use crate::device::Device;
use crate::js::{clock, error, object, others, property, shown};
use js_sys::{Array, Float64Array, Function, Promise, Uint8Array};
use mnist_wgpu::checkpoint::{self, CheckpointError, Info};
use mnist_wgpu::data::{Split, split};
use mnist_wgpu::engine::{CpuEngine, Engine, EngineError, GpuEngine, Pass, Set, Settings, Work};
use mnist_wgpu::evaluation::{Confusion, Judged, judge, worst_mistakes};
use mnist_wgpu::metrics::{BatchMetrics, Totals};
use mnist_wgpu::model::Model;
use mnist_wgpu::schedule::Schedule;
use mnist_wgpu::state::State;
use mnist_wgpu::train::{self, EpochReport, Observer, Options, Position, Progress, TrainError};
use std::cell::{Cell, RefCell};
use std::error::Error;
use std::ops::Range;
use std::rc::Rc;
use std::time::Duration;
use wasm_bindgen::prelude::{JsError, JsValue, wasm_bindgen};
use wasm_bindgen_futures::JsFuture;

#[wasm_bindgen(typescript_custom_section)]
const TYPES: &str = "
/** What is left out is as in the command line: the notebook's settings. */
export interface Settings {
    /** 10 */
    epochs?: number;
    /** 32, at most 4096 */
    batchSize?: number;
    /** 0.01 */
    learningRate?: number;
    /** Probability of zeroing a feature before the last layer, 0.5 */
    dropout?: number;
    /** Drives initialisation, split, shuffles and dropout: 0 */
    seed?: number;
    /** A .safetensors file to go on from, of the same network; without one training begins from scratch. */
    from?: Uint8Array;
    /** Milliseconds between two `weights` events: 500 */
    pulse?: number;
}

/** What a run tells. Shares are in [0, 1]; loss is the mean cross-entropy of an image. */
export type Event =
    | {
          /** After every few batches; loss and accuracy are of these. */
          type: \"progress\";
          work: \"train\" | \"validate\" | \"test\";
          epoch: number;
          done: number;
          batches: number;
          images: number;
          loss: number;
          accuracy: number;
      }
    | {
          /** Now and then: the network as it is, a .safetensors file. */
          type: \"weights\";
          epoch: number;
          bytes: Uint8Array;
      }
    | {
          /** After every epoch. */
          type: \"epoch\";
          epoch: number;
          train: { loss: number; accuracy: number };
          val: { loss: number; accuracy: number };
          test: { loss: number; accuracy: number };
          /** Seconds that training and validation took. */
          seconds: number;
          /** Images of each class (row) taken for each (column), of the test images. */
          confusion: Float64Array;
          /** The test images with the largest loss among those judged wrong. */
          mistakes: { sample: Uint8Array; truth: number; guess: number; confidence: number }[];
      };
";

/// Images of which an epoch's event shows the mistakes, at most.
const MISTAKES: usize = 24;
/// The command line's share of images held out for validation.
const VAL_FRACTION: f64 = 0.1;

/// One run of training.
#[wasm_bindgen]
pub struct Trainer {
    device: Option<Rc<mnist_wgpu::gpu::Context>>,
    data: Rc<mnist_wgpu::data::Dataset>,
    dataset: &'static str,
    model: Model,
    settings: Settings,
    epochs: u32,
    pulse: Duration,
    wishes: Wishes,
    /// The network as it was last told.
    state: RefCell<State>,
    position: Cell<Position>,
}

/// What the page wants, looked at between batches.
#[derive(Default)]
struct Wishes {
    learning_rate: Cell<f32>,
    pause: Cell<bool>,
    stop: Cell<bool>,
    /// Something changed.
    heard: Cell<bool>,
    /// Ends a pause.
    go_on: RefCell<Option<Function>>,
}

impl Wishes {
    fn hear(&self) {
        self.heard.set(true);
        if let Some(go_on) = self.go_on.take() {
            let _ = go_on.call0(&JsValue::NULL); // resolving a promise does not fail
        }
    }

    /// Waits for the next wish.
    async fn next(&self) {
        let wish = Promise::new(&mut |resolve, _| *self.go_on.borrow_mut() = Some(resolve));
        let _ = JsFuture::from(wish).await;
    }
}

#[wasm_bindgen]
impl Trainer {
    /// The classic network for the images and classes of `data`, on `device`.
    #[wasm_bindgen(constructor)]
    pub fn new(
        device: &Device,
        data: &Dataset,
        #[wasm_bindgen(unchecked_param_type = "Settings")] settings: JsValue,
    ) -> Result<Trainer, JsError> {
        let number = |name: &str, default: f64, range: Range<f64>| -> Result<f64, JsError> {
            let Some(value) = property(&settings, name) else { return Ok(default) };
            let found = value.as_f64().filter(|found| range.contains(found));
            let expected =
                || format!("{name}: expected a number from {} to below {}, found {}", range.start, range.end, shown(&value));
            found.ok_or_else(|| error(expected()))
        };
        let seed = number("seed", 0.0, 0.0..9.0e15)? as u64;
        let settings_of_engine =
            Settings { batch_size: number("batchSize", 32.0, 1.0..4097.0)? as usize, seed, ..Settings::default() };
        let dropout = number("dropout", 0.5, 0.0..1.0)? as f32;
        let model = Model::classic(data.data.shape, data.data.classes.len(), dropout).map_err(error)?;
        let state = match property(&settings, "from") {
            Some(from) => {
                let read = checkpoint::read(&Uint8Array::new(&from).to_vec()).map_err(error)?;
                if read.model.parameters() != model.parameters() {
                    return Err(error("from: expected the classic network for these images and classes, found another"));
                }
                read.state.network()
            }
            None => State::new(&model, seed),
        };
        let learning_rate = number("learningRate", 0.01, f64::MIN_POSITIVE..f64::from(f32::MAX))? as f32;
        Ok(Self {
            device: device.context.clone(),
            data: data.data.clone(),
            dataset: data.name,
            model,
            settings: settings_of_engine,
            epochs: number("epochs", 10.0, 1.0..1e6)? as u32,
            pulse: Duration::from_secs_f64(number("pulse", 500.0, 0.0..1e12)? / 1000.0),
            wishes: Wishes { learning_rate: Cell::new(learning_rate), ..Wishes::default() },
            state: RefCell::new(state),
            position: Cell::default(),
        })
    }

    /// Trains to the last epoch, or until it is stopped; which of the two, the promise says: `"done"` or `"stopped"`.
    /// `listener` hears of all that happens.
    #[wasm_bindgen(unchecked_return_type = "\"done\" | \"stopped\"")]
    pub async fn run(
        &self,
        #[wasm_bindgen(unchecked_param_type = "(event: Event) => void")] listener: Function,
    ) -> Result<String, JsError> {
        let end = match &self.device {
            Some(context) => {
                let engine = GpuEngine::new(context, &self.model, &self.data, self.settings).map_err(error)?;
                context.compiled().await.map_err(error)?;
                self.drive(engine, &listener).await
            }
            None => {
                let engine = CpuEngine::new(&self.model, &self.data, self.settings).map_err(error)?;
                self.drive(engine, &listener).await
            }
        };
        end.map_err(error).map(String::from)
    }

    /// Waits after the batches that are at work.
    pub fn pause(&self) {
        self.wishes.pause.set(true);
        self.wishes.hear();
    }

    /// Goes on after a pause.
    pub fn resume(&self) {
        self.wishes.pause.set(false);
        self.wishes.hear();
    }

    /// Ends the run after the batches that are at work.
    pub fn stop(&self) {
        self.wishes.stop.set(true);
        self.wishes.hear();
    }

    /// Another learning rate, from the next batches on.
    pub fn set_learning_rate(&self, rate: f32) {
        self.wishes.learning_rate.set(rate);
        self.wishes.hear();
    }

    /// The network as it was last told of, a `.safetensors` file that the command line and PyTorch take.
    pub fn file(&self) -> Result<Vec<u8>, JsError> {
        self.bytes().map_err(error)
    }

    fn bytes(&self) -> Result<Vec<u8>, CheckpointError> {
        let info = Info {
            input: self.data.shape,
            layers: self.model.layers().to_vec(),
            classes: self.data.classes.clone(),
            normalisation: checkpoint::NORMALISATION.into(),
            dataset: self.dataset.into(),
            epoch: self.position.get().epochs,
            seed: self.settings.seed,
            val_fraction: VAL_FRACTION,
            version: env!("CARGO_PKG_VERSION").into(),
        };
        checkpoint::write(&self.model, &self.state.borrow().network(), &info, None, &[])
    }

    async fn drive(&self, engine: impl Engine, listener: &Function) -> Result<&'static str, TrainError> {
        let mut engine = Yielding(engine);
        let state = self.state.borrow().clone();
        engine.set_state(&state)?;
        let split = split(self.data.train.len(), VAL_FRACTION, self.settings.seed);
        let mut listener = Listener::new(self, listener);
        while self.position.get().epochs < self.epochs {
            if self.wishes.stop.get() {
                return Ok("stopped");
            }
            if self.wishes.pause.get() {
                self.wishes.next().await;
                continue;
            }
            self.stretch(&mut engine, &split, &mut listener).await?;
            listener.tell_weights()?;
        }
        Ok("done")
    }

    /// Trains until the epoch ends, the page wants something, or it is time to show the network. The position where it
    /// ends determines what follows, to the bit, as if nothing had come between.
    async fn stretch(&self, engine: &mut impl Engine, split: &Split, listener: &mut Listener<'_>) -> Result<(), TrainError> {
        let (position, batch_size) = (self.position.get(), self.settings.batch_size);
        let options = Options {
            batch_size,
            epochs: position.epochs + 1,
            seed: self.settings.seed,
            schedule: Schedule::constant(self.wishes.learning_rate.get().into()),
            checkpoint_every: None,
        };
        self.wishes.heard.set(false);
        listener.since = clock();
        match train::fit(engine, split, &options, &position, &clock, listener).await {
            Ok(()) => {}
            Err(TrainError::Interrupted { .. }) => return Ok(()),
            Err(error) => return Err(error),
        }
        let order: Vec<u32> = (0..self.data.test.len() as u32).collect();
        listener.phase = Phase::Test;
        match judge(engine, Set::Test, &order, batch_size, listener).await {
            Ok(judged) => listener.tell_epoch(&judged),
            Err(TrainError::Interrupted { .. }) => {} // the epoch is done all the same
            Err(error) => return Err(error),
        }
        listener.phase = Phase::Train;
        Ok(())
    }
}

/// An engine that lets the page have its turn after each range of batches.
struct Yielding<E>(E);

impl<E: Engine> Engine for Yielding<E> {
    fn begin(&mut self, pass: &Pass) -> Result<(), EngineError> {
        self.0.begin(pass)
    }

    fn submit(&mut self, batches: Range<usize>) -> Result<(), EngineError> {
        self.0.submit(batches)
    }

    fn in_flight(&self) -> usize {
        self.0.in_flight()
    }

    async fn collect(&mut self) -> Result<Option<Vec<BatchMetrics>>, EngineError> {
        let metrics = self.0.collect().await;
        others().await;
        metrics
    }

    async fn logits(&mut self) -> Result<Vec<f32>, EngineError> {
        self.0.logits().await
    }

    async fn state(&mut self) -> Result<State, EngineError> {
        self.0.state().await
    }

    fn set_state(&mut self, state: &State) -> Result<(), EngineError> {
        self.0.set_state(state)
    }
}

/// What the loop is at.
#[derive(Clone, Copy, PartialEq)]
enum Phase {
    Train,
    Validate,
    Test,
}

/// Stands between the loop and the page.
struct Listener<'a> {
    trainer: &'a Trainer,
    listener: &'a Function,
    phase: Phase,
    /// When the stretch began.
    since: Duration,
    /// Of the pass so far, as it was told last: images, their losses together, those judged right.
    told: [f64; 3],
    report: Option<EpochReport>,
}

impl<'a> Listener<'a> {
    fn new(trainer: &'a Trainer, listener: &'a Function) -> Self {
        Self { trainer, listener, phase: Phase::Train, since: clock(), told: [0.0; 3], report: None }
    }

    fn tell<const N: usize>(&self, event: [(&str, JsValue); N]) {
        if let Err(thrown) = self.listener.call1(&JsValue::NULL, &object(event)) {
            wasm_bindgen::throw_val(thrown); // it is the page's own
        }
    }

    fn tell_weights(&self) -> Result<(), TrainError> {
        let bytes = self.trainer.bytes().map_err(|error| TrainError::Observer(error.into()))?;
        let epoch = self.trainer.position.get().epochs;
        self.tell([("type", "weights".into()), ("epoch", epoch.into()), ("bytes", Uint8Array::from(&bytes[..]).into())]);
        Ok(())
    }

    fn tell_epoch(&mut self, judged: &Judged) {
        let Some(report) = self.report.take() else { return };
        let test = &self.trainer.data.test;
        let pixels = self.trainer.data.image_len();
        let confusion = Confusion::of(judged, &test.labels);
        let counts: Vec<f64> = confusion.rows().flatten().map(|&count| count as f64).collect();
        let mistakes = worst_mistakes(judged, &test.labels, MISTAKES).into_iter().map(|mistake| {
            object([
                ("sample", Uint8Array::from(&test.pixels[mistake.place * pixels..][..pixels]).into()),
                ("truth", mistake.truth.into()),
                ("guess", mistake.verdict.guess.into()),
                ("confidence", mistake.verdict.confidence.into()),
            ])
        });
        self.tell([
            ("type", "epoch".into()),
            ("epoch", report.epoch.into()),
            ("train", figures(&report.train)),
            ("val", figures(&report.val)),
            ("test", figures(&judged.totals)),
            ("seconds", (report.train_seconds + report.val_seconds).into()),
            ("confusion", Float64Array::from(&counts[..]).into()),
            ("mistakes", mistakes.collect::<Array>().into()),
        ]);
    }
}

fn figures(totals: &Totals) -> JsValue {
    object([("loss", totals.loss().into()), ("accuracy", totals.accuracy().into())]).into()
}

impl Observer for Listener<'_> {
    fn progress(&mut self, progress: &Progress) {
        let (totals, (done, batches)) = (progress.totals, progress.batches);
        let count = totals.count() as f64;
        let sums = [count, totals.loss() * count, totals.accuracy() * count];
        let before = if count > self.told[0] { self.told } else { [0.0; 3] };
        self.told = sums;
        let [images, loss, correct] = [0, 1, 2].map(|i| sums[i] - before[i]);
        let work = match (self.phase, progress.work) {
            (Phase::Test, _) => "test",
            (_, Work::Train) => "train",
            (_, Work::Evaluate) => "validate",
        };
        self.tell([
            ("type", "progress".into()),
            ("work", work.into()),
            ("epoch", progress.epoch.into()),
            ("done", done.into()),
            ("batches", batches.into()),
            ("images", images.into()),
            ("loss", (loss / images).into()),
            ("accuracy", (correct / images).into()),
        ]);
        if self.phase != Phase::Test {
            let is_training = progress.work == Work::Train && done < batches;
            self.phase = if is_training { Phase::Train } else { Phase::Validate };
        }
    }

    fn epoch(&mut self, report: &EpochReport, state: &State) -> Result<(), Box<dyn Error + Send + Sync>> {
        self.report = Some(*report);
        self.checkpoint(&Position { epochs: report.epoch, ..Position::default() }, state)
    }

    fn checkpoint(&mut self, position: &Position, state: &State) -> Result<(), Box<dyn Error + Send + Sync>> {
        self.trainer.position.set(*position);
        self.trainer.state.replace(state.clone());
        Ok(())
    }

    fn stop(&self) -> bool {
        let wishes = &self.trainer.wishes;
        match self.phase {
            // A pass that evaluates would begin anew.
            Phase::Validate | Phase::Test => wishes.stop.get() || wishes.pause.get(),
            Phase::Train => wishes.heard.get() || clock().saturating_sub(self.since) > self.trainer.pulse,
        }
    }
}
