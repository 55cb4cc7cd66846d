//! What stands between the training loop and a page: it tells the page what happens, and the loop what the page wants.

use crate::js::{clock, object};
use crate::trainer::Trainer;
use js_sys::{Array, Float64Array, Function, Uint8Array};
use mnist_wgpu::engine::Work;
use mnist_wgpu::evaluation::{Confusion, Judged, worst_mistakes};
use mnist_wgpu::metrics::Totals;
use mnist_wgpu::state::State;
use mnist_wgpu::train::{EpochReport, Observer, Position, Progress, TrainError};
use std::error::Error;
use std::time::Duration;
use wasm_bindgen::prelude::{JsValue, wasm_bindgen};

#[wasm_bindgen(typescript_custom_section)]
const TYPES: &str = "
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

/// What the loop is at.
#[derive(Clone, Copy, PartialEq)]
pub enum Phase {
    Train,
    Validate,
    Test,
}

/// Stands between the loop and the page.
pub struct Listener<'a> {
    trainer: &'a Trainer,
    listener: &'a Function,
    batches: usize,
    pub phase: Phase,
    /// When the stretch began.
    pub since: Duration,
    /// Which pass was told of last, by what it does and its epoch.
    pass: (&'static str, u32),
    /// Of that pass as it was told: images, their losses together, those judged right.
    told: [f64; 3],
    report: Option<EpochReport>,
}

impl<'a> Listener<'a> {
    /// `batches` are those of an epoch.
    pub fn new(trainer: &'a Trainer, listener: &'a Function, batches: usize) -> Self {
        Self { trainer, listener, batches, phase: Phase::Train, since: clock(), pass: ("", 0), told: [0.0; 3], report: None }
    }

    fn tell<const N: usize>(&self, event: [(&str, JsValue); N]) {
        if let Err(thrown) = self.listener.call1(&JsValue::NULL, &object(event)) {
            wasm_bindgen::throw_val(thrown); // it is the page's own
        }
    }

    pub fn tell_weights(&self) -> Result<(), TrainError> {
        let bytes = self.trainer.bytes().map_err(|error| TrainError::Observer(error.into()))?;
        let epoch = self.trainer.position.get().epochs;
        self.tell([("type", "weights".into()), ("epoch", epoch.into()), ("bytes", Uint8Array::from(&bytes[..]).into())]);
        Ok(())
    }

    /// Tells of the batches since it was told last, if there are any.
    fn tell_batches(&mut self, progress: &Progress) {
        let work = match (self.phase, progress.work) {
            (Phase::Test, _) => "test",
            (_, Work::Train) => "train",
            (_, Work::Evaluate) => "validate",
        };
        let (totals, (done, batches)) = (progress.totals, progress.batches);
        let (pass, count) = ((work, progress.epoch), totals.count() as f64);
        let before = if pass == self.pass { self.told } else { [0.0; 3] };
        if count == before[0] {
            return;
        }
        let sums = [count, totals.loss() * count, totals.accuracy() * count];
        (self.pass, self.told) = (pass, sums);
        let [images, loss, correct] = [0, 1, 2].map(|i| sums[i] - before[i]);
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
    }

    /// Keeps what the trainer goes on from.
    fn keep(&self, position: &Position, state: &State) {
        self.trainer.position.set(*position);
        self.trainer.state.replace(state.clone());
    }

    pub fn tell_epoch(&mut self, judged: &Judged) {
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
        self.tell_batches(progress);
        if self.phase != Phase::Test {
            let is_training = progress.work == Work::Train && progress.batches.0 < progress.batches.1;
            self.phase = if is_training { Phase::Train } else { Phase::Validate };
        }
    }

    fn epoch(&mut self, report: &EpochReport, state: &State) -> Result<(), Box<dyn Error + Send + Sync>> {
        self.report = Some(*report);
        self.keep(&Position { epochs: report.epoch, ..Position::default() }, state);
        Ok(())
    }

    fn checkpoint(&mut self, position: &Position, state: &State) -> Result<(), Box<dyn Error + Send + Sync>> {
        // The loop does not tell of what it still waited for when it was asked to stop.
        let batches = (position.batches, self.batches);
        let (epoch, totals) = (position.epochs + 1, position.totals);
        self.tell_batches(&Progress { epoch, work: Work::Train, batches, totals });
        self.keep(position, state);
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
