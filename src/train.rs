//! The training loop. It reads in the order in which the data flows, and is the same for every [`Engine`].

use crate::data::{Split, epoch_order};
use crate::engine::{Engine, EngineError, Pass, Set, Work};
use crate::metrics::Totals;
use crate::schedule::Schedule;
use crate::state::State;
use serde::{Deserialize, Serialize};
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
    pub schedule: Schedule,
    /// Training steps between two checkpoints in the middle of an epoch; the end of an epoch is always one.
    pub checkpoint_every: Option<usize>,
}

/// How far training has come. With the [`State`] at this point, seed and data it determines everything that follows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Position {
    /// Epochs that are complete, validation included.
    pub epochs: u32,
    /// Batches done of the epoch after those.
    pub batches: usize,
    /// The metrics of these batches.
    pub totals: Totals,
    /// The time they took.
    pub seconds: f64,
}

/// How an epoch went. Training figures are means over the epoch's full batches, taken while the parameters changed and
/// with dropout; validation figures count every image, after the epoch, without dropout.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EpochReport {
    /// From 1.
    pub epoch: u32,
    pub train: Totals,
    pub val: Totals,
    /// Of its last step.
    pub learning_rate: f64,
    /// What training took, and what validation took.
    pub train_seconds: f64,
    pub val_seconds: f64,
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
    fn epoch(&mut self, _report: &EpochReport, _state: &State) -> Result<(), Box<dyn Error + Send + Sync>> {
        Ok(())
    }

    /// Called in the middle of an epoch, every [`Options::checkpoint_every`] steps and before the loop stops early.
    fn checkpoint(&mut self, _position: &Position, _state: &State) -> Result<(), Box<dyn Error + Send + Sync>> {
        Ok(())
    }

    /// Asked before every epoch; `true` ends the loop as if it had been the last.
    fn enough(&self) -> bool {
        false
    }

    /// Asked after every few batches; `true` ends the loop with [`TrainError::Interrupted`], after a checkpoint.
    fn stop(&self) -> bool {
        false
    }
}

/// Nobody.
impl Observer for () {}

/// Why training ended early.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    #[error(transparent)]
    Engine(#[from] EngineError),

    #[error(
        "{} in epoch {epoch}, in one of the batches {from} to {to}: the loss is no longer a finite number. Try a lower learning rate",
        match work { Work::Train => "training diverged", Work::Evaluate => "validation shows that training has diverged" }
    )]
    Diverged { epoch: u32, work: Work, from: usize, to: usize },

    #[error("interrupted in epoch {epoch}")]
    Interrupted { epoch: u32 },

    #[error("{training} training images do not fill one batch of {batch_size}")]
    TooFewImages { training: usize, batch_size: usize },

    #[error(transparent)]
    Observer(Box<dyn Error + Send + Sync>),
}

/// How many batches one submit takes: as many as keep it below a twentieth of a second, at most [`Pace::MOST`]. So the
/// host seldom has to act, and no driver's watchdog fires on a slow GPU. It is a power of two: drivers keep the memory
/// of the largest submit, and a step that takes a little less than usual must not ask for more.
pub struct Pace {
    batches: usize,
    last: Duration,
}

impl Pace {
    /// What a submit is to take at most.
    pub const TARGET: Duration = Duration::from_millis(50);
    /// Batches of one submit at most.
    pub const MOST: usize = 32;
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
        self.batches = 1 << fit.clamp(1, Self::MOST.min(2 * self.batches)).ilog2();
    }
}

/// How far a pass over the data is.
struct Progression<'a> {
    epoch: u32,
    work: Work,
    /// Batches in all, and how many of them are done.
    batches: usize,
    done: usize,
    totals: Totals,
    pace: Pace,
    clock: &'a dyn Fn() -> Duration,
}

impl<'a> Progression<'a> {
    fn new(epoch: u32, work: Work, batches: usize, clock: &'a dyn Fn() -> Duration) -> Self {
        Self { epoch, work, batches, done: 0, totals: Totals::default(), pace: Pace::new(clock()), clock }
    }

    /// Runs the batches before `end` and adds up their metrics. Nothing is in flight afterwards, also where the
    /// observer asked to stop before.
    async fn run_to<E: Engine>(
        &mut self,
        end: usize,
        engine: &mut E,
        observer: &mut dyn Observer,
    ) -> Result<(), TrainError> {
        let mut queued = self.done;
        self.pace.last = (self.clock)();
        while self.done < end {
            let stop = observer.stop();
            if !stop && queued < end && engine.in_flight() < Pace::IN_FLIGHT {
                let next = end.min(queued + self.pace.batches);
                engine.submit(queued..next)?;
                queued = next;
                continue;
            }
            let Some(finished) = engine.collect().await? else { break };
            self.pace.finished((self.clock)(), finished.len());
            let from = self.done + 1;
            self.done += finished.len();
            if finished.iter().any(|batch| batch.diverged()) {
                let (epoch, work, to) = (self.epoch, self.work, self.done);
                return Err(TrainError::Diverged { epoch, work, from, to });
            }
            finished.iter().for_each(|batch| self.totals.add(batch));
            if !stop {
                let batches = (self.done, self.batches);
                observer.progress(&Progress { epoch: self.epoch, work: self.work, batches, totals: self.totals });
            }
        }
        Ok(())
    }
}

/// Trains from where `start` stands to the end of epoch `options.epochs`, or until it is enough; the engine has the
/// state that belongs to `start`. `clock` tells the time since any fixed moment.
pub async fn fit<E: Engine>(
    engine: &mut E,
    split: &Split,
    options: &Options,
    start: &Position,
    clock: &dyn Fn() -> Duration,
    observer: &mut dyn Observer,
) -> Result<(), TrainError> {
    let batches = Work::Train.batches(split.train.len(), options.batch_size);
    if batches == 0 {
        return Err(TrainError::TooFewImages { training: split.train.len(), batch_size: options.batch_size });
    }
    let mut position = *start;
    while position.epochs < options.epochs && !(position.batches == 0 && observer.enough()) {
        let epoch = position.epochs + 1;
        let first_step = position.epochs as usize * batches;
        let order = epoch_order(&split.train, options.seed, epoch);
        let learning_rate = |batch| options.schedule.at(first_step + batch, batches) as f32;
        engine.begin(&Pass::train(&order, first_step as u32, &learning_rate))?; // the dropout counter may wrap

        let mut pass = Progression::new(epoch, Work::Train, batches, clock);
        (pass.done, pass.totals) = (position.batches, position.totals);
        let mut seconds = position.seconds;
        while pass.done < batches {
            let end = match options.checkpoint_every {
                Some(steps) => ((first_step + pass.done) / steps + 1) * steps - first_step,
                None => batches,
            };
            let began = clock();
            pass.run_to(end.min(batches), engine, observer).await?;
            seconds += (clock() - began).as_secs_f64(); // without what a checkpoint takes
            position = Position { epochs: position.epochs, batches: pass.done, totals: pass.totals, seconds };
            if observer.stop() {
                return Err(stop(engine, &position, observer).await);
            }
            if pass.done < batches {
                observer.checkpoint(&position, &engine.state().await?).map_err(TrainError::Observer)?;
            }
        }

        let began = clock();
        let val = match evaluate(engine, Set::Train, &split.val, options.batch_size, epoch, clock, observer).await {
            Err(TrainError::Interrupted { .. }) => return Err(stop(engine, &position, observer).await),
            other => other?,
        };
        let (train_seconds, val_seconds) = (position.seconds, (clock() - began).as_secs_f64());
        let learning_rate = options.schedule.at(first_step + batches - 1, batches);
        let report = EpochReport { epoch, train: position.totals, val, learning_rate, train_seconds, val_seconds };
        observer.epoch(&report, &engine.state().await?).map_err(TrainError::Observer)?;
        position = Position { epochs: epoch, ..Position::default() };
    }
    Ok(())
}

/// Lets the observer keep what there is, and says why the loop ends.
async fn stop<E: Engine>(engine: &mut E, position: &Position, observer: &mut dyn Observer) -> TrainError {
    match engine.state().await.map(|state| observer.checkpoint(position, &state)) {
        Err(error) => error.into(),
        Ok(Err(error)) => TrainError::Observer(error),
        Ok(Ok(())) => TrainError::Interrupted { epoch: position.epochs + 1 },
    }
}

/// Loss and accuracy over the images `order` of `set`, every one of them counted, without dropout. `epoch` only labels
/// the progress.
pub async fn evaluate<E: Engine>(
    engine: &mut E,
    set: Set,
    order: &[u32],
    batch_size: usize,
    epoch: u32,
    clock: &dyn Fn() -> Duration,
    observer: &mut dyn Observer,
) -> Result<Totals, TrainError> {
    engine.begin(&Pass::evaluate(set, order))?;
    let mut pass = Progression::new(epoch, Work::Evaluate, Work::Evaluate.batches(order.len(), batch_size), clock);
    pass.run_to(pass.batches, engine, observer).await?;
    if observer.stop() { Err(TrainError::Interrupted { epoch }) } else { Ok(pass.totals) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The sizes of submits where a batch takes as long as each of `milliseconds`.
    fn sizes(milliseconds: &[f64]) -> Vec<usize> {
        let mut now = Duration::ZERO;
        let mut pace = Pace::new(now);
        let next = |&milliseconds: &f64| {
            now += Duration::from_secs_f64(milliseconds / 1e3 * pace.batches as f64);
            pace.finished(now, pace.batches);
            pace.batches
        };
        milliseconds.iter().map(next).collect()
    }

    #[test]
    fn submits_double_up_to_the_most_where_batches_are_fast() {
        assert_eq!(sizes(&[0.3; 7]), [2, 4, 8, 16, 32, 32, 32]);
    }

    #[test]
    fn a_batch_that_takes_a_little_less_or_more_changes_no_submit() {
        assert_eq!(sizes(&[8.3, 8.3, 8.3, 6.5, 12.0, 8.3]), [2, 4, 4, 4, 4, 4]);
    }

    #[test]
    fn submits_shrink_at_once_where_batches_get_slow_but_not_below_one() {
        assert_eq!(sizes(&[3.0, 3.0, 3.0, 3.0, 30.0, 900.0]), [2, 4, 8, 16, 1, 1]);
    }
}
