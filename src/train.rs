//! The training loop. It reads in the order in which the data flows, and is the same for every [`Engine`].

use crate::data::{Split, epoch_order};
use crate::engine::{Engine, Set, State, Work};
use crate::gpu::GpuError;
use crate::metrics::Totals;
use std::error::Error;
use std::time::Duration;

/// What the loop needs to know beside the engine's own settings.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    pub batch_size: usize,
    /// The last epoch to train.
    pub epochs: u32,
    /// Drives the shuffles.
    pub seed: u64,
}

/// How an epoch went. Training figures are means over the epoch's full batches, taken while the parameters changed and with
/// dropout; validation figures count every image, after the epoch, without dropout.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EpochReport {
    /// From 1.
    pub epoch: u32,
    pub train: Totals,
    pub val: Totals,
}

/// Where the loop is, told after every few batches.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    pub epoch: u32,
    pub work: Work,
    /// Batches done and in all, of this pass over the data.
    pub batches: (usize, usize),
    /// Of this pass so far.
    pub totals: Totals,
}

/// Who watches the loop: the command line, or a test.
pub trait Observer {
    /// Called after every few batches.
    fn progress(&mut self, _progress: &Progress) {}

    /// Called after every epoch, with everything a checkpoint holds.
    fn epoch(&mut self, report: &EpochReport, state: &State) -> Result<(), Box<dyn Error + Send + Sync>>;

    /// Asked after every few batches; `true` ends the loop with [`TrainError::Interrupted`].
    fn stop(&self) -> bool {
        false
    }
}

/// Why training ended early.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    #[error(transparent)]
    Gpu(#[from] GpuError),

    #[error(
        "training diverged in epoch {epoch}, between batch {from} and {to}: the loss is no longer a finite number. Try a lower \
         learning rate (`--lr`)"
    )]
    Diverged { epoch: u32, from: usize, to: usize },

    #[error("interrupted in epoch {epoch}")]
    Interrupted { epoch: u32 },

    #[error(
        "{training} training images do not fill one batch of {batch_size}; use a smaller `--batch-size` or `--val-fraction`"
    )]
    TooFewImages { training: usize, batch_size: usize },

    #[error(transparent)]
    Observer(Box<dyn Error + Send + Sync>),
}

/// How many batches one submit takes: as many as keep it at about a tenth of a second, at most [`Pace::MOST`], so that the host seldom has to act and
/// no driver's watchdog fires on a slow GPU.
struct Pace {
    batches: usize,
    last: Duration,
}

impl Pace {
    const TARGET: Duration = Duration::from_millis(100);
    const MOST: usize = 32;
    /// Submits queued before the loop waits for the oldest: enough that the device never runs dry.
    const IN_FLIGHT: usize = 2;

    fn new(now: Duration) -> Self {
        Self { batches: 1, last: now }
    }

    /// Takes note that a submit of `batches` batches has finished.
    fn finished(&mut self, now: Duration, batches: usize) {
        let took = now.saturating_sub(self.last).as_secs_f64();
        self.last = now;
        // A float-to-integer cast saturates.
        let fit = (Self::TARGET.as_secs_f64() * batches as f64 / took) as usize;
        self.batches = fit.clamp(1, Self::MOST.min(2 * self.batches));
    }
}

/// Runs all batches of one pass and adds up their metrics.
async fn pass<E: Engine>(
    engine: &mut E,
    epoch: u32,
    work: Work,
    batches: usize,
    clock: &dyn Fn() -> Duration,
    observer: &mut dyn Observer,
) -> Result<Totals, TrainError> {
    let mut totals = Totals::default();
    let mut pace = Pace::new(clock());
    let (mut queued, mut done) = (0, 0);
    while done < batches {
        if queued < batches && engine.in_flight() < Pace::IN_FLIGHT {
            let next = batches.min(queued + pace.batches);
            engine.submit(queued..next)?;
            queued = next;
            continue;
        }
        let finished = engine.collect().await?.unwrap_or_default();
        pace.finished(clock(), finished.len());
        let from = done + 1;
        done += finished.len();
        if finished.iter().any(|batch| batch.diverged()) {
            return Err(TrainError::Diverged { epoch, from, to: done });
        }
        finished.iter().for_each(|batch| totals.add(batch));
        observer.progress(&Progress { epoch, work, batches: (done, batches), totals });
        if observer.stop() {
            return Err(TrainError::Interrupted { epoch });
        }
    }
    Ok(totals)
}

/// Trains epochs 1 to `options.epochs`. `clock` tells the time since any fixed moment.
pub async fn fit<E: Engine>(
    engine: &mut E,
    split: &Split,
    options: &Options,
    clock: &dyn Fn() -> Duration,
    observer: &mut dyn Observer,
) -> Result<(), TrainError> {
    let batches = Work::Train.batches(split.train.len(), options.batch_size);
    if batches == 0 {
        return Err(TrainError::TooFewImages { training: split.train.len(), batch_size: options.batch_size });
    }
    for epoch in 1..=options.epochs {
        let order = epoch_order(&split.train, options.seed, epoch);
        engine.begin(Set::Train, Work::Train, &order, (epoch - 1).wrapping_mul(batches as u32))?;
        let train = pass(engine, epoch, Work::Train, batches, clock, observer).await?;

        let val = evaluate(engine, Set::Train, &split.val, options.batch_size, epoch, clock, observer).await?;

        let state = engine.state().await?;
        observer.epoch(&EpochReport { epoch, train, val }, &state).map_err(TrainError::Observer)?;
    }
    Ok(())
}

/// Loss and accuracy over the images `order` of `set`, every one of them counted, without dropout. `epoch` only labels the
/// progress.
pub async fn evaluate<E: Engine>(
    engine: &mut E,
    set: Set,
    order: &[u32],
    batch_size: usize,
    epoch: u32,
    clock: &dyn Fn() -> Duration,
    observer: &mut dyn Observer,
) -> Result<Totals, TrainError> {
    engine.begin(set, Work::Evaluate, order, 0)?;
    let batches = Work::Evaluate.batches(order.len(), batch_size);
    pass(engine, epoch, Work::Evaluate, batches, clock, observer).await
}
