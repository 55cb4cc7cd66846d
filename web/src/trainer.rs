//! Training, as a page follows it.

use crate::data::Dataset;
use crate::device::Device;
use crate::js::{clock, error, others, property, shown};
use crate::listener::{Listener, Phase};
use js_sys::{Function, Promise, Uint8Array};
use mnist_wgpu::checkpoint::{self, CheckpointError, Info};
use mnist_wgpu::data::{Split, split};
use mnist_wgpu::engine::{CpuEngine, Engine, EngineError, GpuEngine, Pass, Set, Settings, Work};
use mnist_wgpu::evaluation::judge;
use mnist_wgpu::metrics::BatchMetrics;
use mnist_wgpu::model::Model;
use mnist_wgpu::schedule::Schedule;
use mnist_wgpu::state::State;
use mnist_wgpu::train::{self, Options, Position, TrainError};
use std::cell::{Cell, RefCell};
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
";

/// The command line's share of images held out for validation.
const VAL_FRACTION: f64 = 0.1;

/// One run of training.
#[wasm_bindgen]
pub struct Trainer {
    device: Option<Rc<mnist_wgpu::gpu::Context>>,
    pub(crate) data: Rc<mnist_wgpu::data::Dataset>,
    dataset: &'static str,
    model: Model,
    settings: Settings,
    epochs: u32,
    pub(crate) pulse: Duration,
    pub(crate) wishes: Wishes,
    /// The network as it was last told.
    pub(crate) state: RefCell<State>,
    pub(crate) position: Cell<Position>,
    is_running: Cell<bool>,
}

/// What the page wants, looked at between batches.
#[derive(Default)]
pub struct Wishes {
    learning_rate: Cell<f32>,
    pub pause: Cell<bool>,
    pub stop: Cell<bool>,
    /// Something changed.
    pub heard: Cell<bool>,
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
            is_running: Cell::default(),
        })
    }

    /// Trains to the last epoch, or until it is stopped; which of the two, the promise says: `"done"` or `"stopped"`.
    /// `listener` hears of all that happens. After a stop another run goes on where this one stood.
    #[wasm_bindgen(unchecked_return_type = "\"done\" | \"stopped\"")]
    pub async fn run(
        &self,
        #[wasm_bindgen(unchecked_param_type = "(event: Event) => void")] listener: Function,
    ) -> Result<String, JsError> {
        if self.is_running.replace(true) {
            return Err(error("the run is on already; wait for its end, or stop it"));
        }
        self.wishes.stop.set(false);
        self.wishes.pause.set(false);
        let end = self.run_on_device(&listener).await;
        self.is_running.set(false);
        end.map(String::from)
    }

    async fn run_on_device(&self, listener: &Function) -> Result<&'static str, JsError> {
        let end = match &self.device {
            Some(context) => {
                let engine = GpuEngine::new(context, &self.model, &self.data, self.settings).map_err(error)?;
                context.compiled().await.map_err(error)?;
                self.drive(engine, listener).await
            }
            None => {
                let engine = CpuEngine::new(&self.model, &self.data, self.settings).map_err(error)?;
                self.drive(engine, listener).await
            }
        };
        end.map_err(error)
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

    /// See [`Trainer::file`].
    pub(crate) fn bytes(&self) -> Result<Vec<u8>, CheckpointError> {
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
        let batches = Work::Train.batches(split.train.len(), self.settings.batch_size);
        let mut listener = Listener::new(self, listener, batches);
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
