//! What the loop promises of itself, held against an engine that only takes notes.

use mnist_wgpu::data::{Split, epoch_order};
use mnist_wgpu::engine::{Engine, EngineError, Pass, Set, Work};
use mnist_wgpu::metrics::BatchMetrics;
use mnist_wgpu::schedule::Schedule;
use mnist_wgpu::state::State;
use mnist_wgpu::train::{EpochReport, Observer, Options, Position, Progress, TrainError, evaluate, fit};
use std::cell::Cell;
use std::collections::VecDeque;
use std::error::Error;
use std::ops::Range;
use std::time::Duration;

const BATCH: usize = 4;

/// One call of [`Engine::begin`] and the batches submitted after it.
#[derive(Debug, PartialEq)]
struct Begun {
    set: Set,
    work: Work,
    order: Vec<u32>,
    first_step: u32,
    batches: Vec<Range<usize>>,
}

/// An engine that computes nothing. Each sample counts a loss of 1; every training sample is judged right, of the
/// others the even ones.
#[derive(Default)]
struct Notes {
    begun: Vec<Begun>,
    finished: VecDeque<Vec<BatchMetrics>>,
    most_in_flight: usize,
    /// In which `begin` and batch something goes wrong, and what.
    fault: Option<(usize, usize, BatchMetrics)>,
}

impl Engine for Notes {
    fn begin(&mut self, pass: &Pass) -> Result<(), EngineError> {
        assert!(self.finished.is_empty(), "metrics of the last order are still in flight");
        let &Pass { set, work, order, first_step, learning_rate } = pass;
        assert_eq!(learning_rate(3), if work == Work::Train { OPTIONS.schedule.rate as f32 } else { 0.0 });
        self.begun.push(Begun { set, work, order: order.to_vec(), first_step, batches: Vec::new() });
        Ok(())
    }

    fn submit(&mut self, batches: Range<usize>) -> Result<(), EngineError> {
        let pass = self.begun.len() - 1;
        let begun = self.begun.last_mut().expect("begin comes before submit");
        assert!(!batches.is_empty() && batches.end <= begun.work.batches(begun.order.len(), BATCH), "{batches:?}");
        let metrics = |batch: usize| {
            if let Some((at, fault_batch, fault)) = self.fault
                && (at, fault_batch) == (pass, batch)
            {
                return fault;
            }
            let samples = &begun.order[batch * BATCH..begun.order.len().min((batch + 1) * BATCH)];
            let correct = samples.iter().filter(|&&sample| begun.work == Work::Train || sample % 2 == 0).count() as u32;
            BatchMetrics { loss_sum: samples.len() as f32, correct, count: samples.len() as u32, non_finite: 0 }
        };
        self.finished.push_back(batches.clone().map(metrics).collect());
        begun.batches.push(batches);
        self.most_in_flight = self.most_in_flight.max(self.finished.len());
        Ok(())
    }

    fn in_flight(&self) -> usize {
        self.finished.len()
    }

    async fn collect(&mut self) -> Result<Option<Vec<BatchMetrics>>, EngineError> {
        Ok(self.finished.pop_front())
    }

    async fn logits(&mut self) -> Result<Vec<f32>, EngineError> {
        Ok(Vec::new()) // no test of the loop looks at them
    }

    async fn state(&mut self) -> Result<State, EngineError> {
        Ok(State::from(vec![self.begun.len() as f32]))
    }

    fn set_state(&mut self, _: &State) -> Result<(), EngineError> {
        unreachable!("the loop trains what it is given")
    }
}

/// Collects reports and checkpoints; stops after some calls of `progress`; fails on some epoch.
#[derive(Default)]
struct Watcher {
    checkpoints: Vec<Position>,
    reports: Vec<(EpochReport, State)>,
    progress: Vec<Progress>,
    stop_after: Option<usize>,
    fail_in: Option<u32>,
}

impl Observer for Watcher {
    fn progress(&mut self, progress: &Progress) {
        self.progress.push(*progress);
    }

    fn epoch(&mut self, report: &EpochReport, state: &State) -> Result<(), Box<dyn Error + Send + Sync>> {
        self.reports.push((*report, state.clone()));
        if self.fail_in == Some(report.epoch) { Err("the disk is full".into()) } else { Ok(()) }
    }

    fn checkpoint(&mut self, position: &Position, _: &State) -> Result<(), Box<dyn Error + Send + Sync>> {
        self.checkpoints.push(*position);
        Ok(())
    }

    fn stop(&self) -> bool {
        self.stop_after.is_some_and(|calls| self.progress.len() >= calls)
    }
}

/// 4 * 25 + 3 training images, 4 * 2 + 3 to validate.
fn parts() -> Split {
    Split { train: (0..103).collect(), val: (103..114).collect() }
}

const OPTIONS: Options =
    Options { batch_size: BATCH, epochs: 3, seed: 5, schedule: Schedule::constant(0.25), checkpoint_every: None };

/// Trains with a clock on which every look takes `tick`.
fn run(engine: &mut Notes, parts: &Split, watcher: &mut Watcher, tick: Duration) -> Result<(), TrainError> {
    run_from(&Position::default(), &OPTIONS, engine, parts, watcher, tick)
}

fn run_from(
    start: &Position,
    options: &Options,
    engine: &mut Notes,
    parts: &Split,
    watcher: &mut Watcher,
    tick: Duration,
) -> Result<(), TrainError> {
    let looks = Cell::new(0);
    let clock = || {
        looks.set(looks.get() + 1);
        tick * looks.get()
    };
    pollster::block_on(fit(engine, parts, options, start, &clock, watcher))
}

const QUICK: Duration = Duration::from_micros(10);

#[test]
fn training_drops_the_remainder_and_validation_counts_every_image() {
    let (mut engine, mut watcher) = (Notes::default(), Watcher::default());
    run(&mut engine, &parts(), &mut watcher, QUICK).expect("all epochs");

    assert_eq!(watcher.reports.len(), 3);
    for (epoch, (report, state)) in (1..).zip(&watcher.reports) {
        assert_eq!((report.epoch, report.train.count(), report.val.count()), (epoch, 100, 11));
        assert_eq!((report.train.loss(), report.train.accuracy()), (1.0, 1.0));
        // 104, 106, ... 112: 5 of 11.
        assert_eq!((report.val.loss(), report.val.accuracy()), (1.0, 5.0 / 11.0));
        assert_eq!(state.parameters(), [2.0 * epoch as f32], "the state after the epoch's validation");
    }
    assert_eq!(engine.begun.len(), 6, "training and validation in each epoch");
    for (epoch, passes) in (1u32..).zip(engine.begun.chunks_exact(2)) {
        let [train, val] = passes else { unreachable!() };
        assert_eq!((train.set, train.work, train.first_step), (Set::Train, Work::Train, 25 * (epoch - 1)), "epoch {epoch}");
        assert_eq!(train.order, epoch_order(&parts().train, OPTIONS.seed, epoch), "epoch {epoch}");
        assert_eq!((val.set, val.work, &val.order), (Set::Train, Work::Evaluate, &parts().val), "epoch {epoch}");
        for (pass, count) in [(train, 25), (val, 3)] {
            let batches: Vec<usize> = pass.batches.iter().cloned().flatten().collect();
            assert_eq!(batches, Vec::from_iter(0..count), "every batch once, in order");
        }
    }
}

#[test]
fn progress_ends_with_all_batches_of_each_pass() {
    let (mut engine, mut watcher) = (Notes::default(), Watcher::default());
    run(&mut engine, &parts(), &mut watcher, QUICK).expect("all epochs");
    let last: Vec<_> = watcher.progress.iter().filter(|p| p.batches.0 == p.batches.1).collect();
    let want: Vec<_> = (1..=3).flat_map(|epoch| [(epoch, Work::Train, 25, 100), (epoch, Work::Evaluate, 3, 11)]).collect();
    assert_eq!(Vec::from_iter(last.iter().map(|p| (p.epoch, p.work, p.batches.1, p.totals.count()))), want);
}

#[test]
fn submits_grow_on_a_fast_device_and_stay_single_on_a_slow_one() {
    for (tick, longest) in [(QUICK, 8), (Duration::from_secs(1), 1)] {
        let (mut engine, mut watcher) = (Notes::default(), Watcher::default());
        run(&mut engine, &parts(), &mut watcher, tick).expect("all epochs");
        let most = engine.begun[0].batches.iter().map(|batches| batches.len()).max();
        assert!(
            if longest == 1 { most == Some(1) } else { most >= Some(longest) },
            "{tick:?}: {:?}",
            engine.begun[0].batches
        );
        assert!((2..=3).contains(&engine.most_in_flight), "{} submits in flight", engine.most_in_flight);
    }
}

#[test]
fn a_loss_that_is_not_finite_ends_training_and_names_epoch_and_batches() {
    let fine = BatchMetrics { loss_sum: 4.0, correct: 4, count: 4, non_finite: 0 };
    let faults = [
        BatchMetrics { loss_sum: f32::NAN, ..fine },
        BatchMetrics { loss_sum: f32::INFINITY, ..fine },
        BatchMetrics { non_finite: 1, ..fine },
    ];
    for (batch, fault) in [0, 13, 24].into_iter().flat_map(|batch| faults.map(|fault| (batch, fault))) {
        // `begin` number 2 is the training of epoch 2.
        let (mut engine, mut watcher) = (Notes { fault: Some((2, batch, fault)), ..Notes::default() }, Watcher::default());
        let error = run(&mut engine, &parts(), &mut watcher, QUICK).expect_err("training has diverged");
        let message = error.to_string();
        let TrainError::Diverged { epoch, work, from, to } = error else { panic!("{error}") };
        assert_eq!((epoch, work), (2, Work::Train));
        assert!((from..=to).contains(&(batch + 1)), "batch {} of 25 is not in {from} to {to}", batch + 1);
        let told = engine.begun[2].batches.iter().map(|batches| (batches.start + 1, batches.end));
        assert!(told.into_iter().any(|batches| batches == (from, to)), "{from} to {to} is one submit");
        assert!(to <= 25 && watcher.reports.len() == 1, "epoch 1 was reported, epoch 2 was not");
        assert!(
            message.starts_with("training diverged in epoch 2")
                && message.contains(&format!("in one of the batches {from} to {to}")),
            "{message}"
        );
    }
    // In a validation, too.
    let mut engine = Notes { fault: Some((1, 2, faults[0])), ..Notes::default() };
    let error = run(&mut engine, &parts(), &mut Watcher::default(), QUICK).expect_err("training has diverged");
    assert!(matches!(error, TrainError::Diverged { epoch: 1, work: Work::Evaluate, to: 3, .. }), "{error}");
    assert!(error.to_string().starts_with("validation shows that training has diverged in epoch 1"), "{error}");
}

#[test]
fn an_interrupt_ends_training_in_the_epoch_it_came_in() {
    let mut uninterrupted = Watcher::default();
    run(&mut Notes::default(), &parts(), &mut uninterrupted, QUICK).expect("all epochs");
    for stop_after in [1, uninterrupted.progress.len() / 2, uninterrupted.progress.len()] {
        let mut watcher = Watcher { stop_after: Some(stop_after), ..Watcher::default() };
        let error = run(&mut Notes::default(), &parts(), &mut watcher, QUICK).expect_err("interrupted");
        let want = uninterrupted.progress[stop_after - 1].epoch;
        assert!(matches!(error, TrainError::Interrupted { epoch } if epoch == want), "{error}");
        assert_eq!((watcher.progress.len(), watcher.reports.len()), (stop_after, want as usize - 1), "nothing after it");
    }
}

/// Batches of training that were submitted, over all passes, as (epoch's first step, batch).
fn trained(engine: &Notes) -> Vec<(u32, usize)> {
    let passes = engine.begun.iter().filter(|begun| begun.work == Work::Train);
    passes.flat_map(|pass| pass.batches.iter().cloned().flatten().map(|batch| (pass.first_step, batch))).collect()
}

#[test]
fn an_interrupted_run_taken_up_where_it_stopped_does_every_batch_once_and_reports_the_same() {
    let (mut engine, mut unbroken) = (Notes::default(), Watcher::default());
    run(&mut engine, &parts(), &mut unbroken, QUICK).expect("all epochs");
    let all = trained(&engine);
    for stop_after in 1..=unbroken.progress.len() {
        let mut before = Watcher { stop_after: Some(stop_after), ..Watcher::default() };
        let mut engine = Notes::default();
        run(&mut engine, &parts(), &mut before, QUICK).expect_err("interrupted");
        assert!(engine.finished.is_empty(), "the state was read while batches were in flight");
        let position = *before.checkpoints.last().expect("a checkpoint before it stops");
        let (mut rest, mut after) = (Notes::default(), Watcher::default());
        run_from(&position, &OPTIONS, &mut rest, &parts(), &mut after, QUICK).expect("the other epochs");
        assert_eq!([trained(&engine), trained(&rest)].concat(), all, "stopped at {position:?}");
        let reports =
            |watcher: &Watcher| -> Vec<_> { watcher.reports.iter().map(|(r, _)| (r.epoch, r.train, r.val)).collect() };
        assert_eq!([reports(&before), reports(&after)].concat(), reports(&unbroken), "stopped at {position:?}");
    }
}

#[test]
fn checkpoints_come_every_so_many_steps_of_training_as_a_whole() {
    let (mut engine, mut watcher) = (Notes::default(), Watcher::default());
    let options = Options { checkpoint_every: Some(10), ..OPTIONS };
    run_from(&Position::default(), &options, &mut engine, &parts(), &mut watcher, QUICK).expect("all epochs");
    // 25 batches an epoch; what falls on the end of an epoch is its report.
    let steps: Vec<_> = watcher.checkpoints.iter().map(|p| p.epochs as usize * 25 + p.batches).collect();
    assert_eq!(steps, [10, 20, 30, 40, 60, 70]);
    for position in &watcher.checkpoints {
        assert_eq!(position.totals.count() as usize, position.batches * BATCH);
    }
}

#[test]
fn the_time_of_an_interrupted_epoch_counts_both_parts() {
    let start = Position { epochs: 1, batches: 5, seconds: 1000.0, ..Position::default() };
    let mut watcher = Watcher::default();
    run_from(&start, &OPTIONS, &mut Notes::default(), &parts(), &mut watcher, QUICK).expect("the other epochs");
    let seconds: Vec<_> = watcher.reports.iter().map(|(report, _)| report.train_seconds).collect();
    assert!((1000.0..1001.0).contains(&seconds[0]) && (0.0..1.0).contains(&seconds[1]), "{seconds:?}");
}

#[test]
fn an_observer_that_fails_ends_training_with_its_own_words() {
    let mut watcher = Watcher { fail_in: Some(2), ..Watcher::default() };
    let error = run(&mut Notes::default(), &parts(), &mut watcher, QUICK).expect_err("the observer failed");
    assert!(matches!(&error, TrainError::Observer(_)) && error.to_string() == "the disk is full", "{error}");
    assert_eq!(watcher.reports.len(), 2);
}

#[test]
fn too_few_images_for_one_batch_are_an_error() {
    let few = Split { train: vec![0, 1, 2], val: vec![3] };
    let mut engine = Notes::default();
    let error = run(&mut engine, &few, &mut Watcher::default(), QUICK).expect_err("no batch");
    assert!(matches!(error, TrainError::TooFewImages { training: 3, batch_size: BATCH }), "{error}");
    assert!(engine.begun.is_empty());
}

#[test]
fn no_validation_images_are_no_error() {
    let (mut engine, mut watcher) = (Notes::default(), Watcher::default());
    let all = Split { train: (0..8).collect(), val: Vec::new() };
    run(&mut engine, &all, &mut watcher, QUICK).expect("all epochs");
    assert_eq!(watcher.reports[0].0.val.count(), 0);
}

#[test]
fn evaluation_asks_for_the_set_it_is_given() {
    let mut engine = Notes::default();
    let order = [7, 2, 4, 9, 1];
    let (clock, mut watcher) = (|| Duration::ZERO, Watcher::default());
    let totals = evaluate(&mut engine, Set::Test, &order, BATCH, 0, &clock, &mut watcher);
    let totals = pollster::block_on(totals).expect("an evaluation");
    assert_eq!((totals.count(), totals.accuracy()), (5, 0.4));
    assert_eq!(
        (engine.begun[0].set, engine.begun[0].work, &engine.begun[0].order[..]),
        (Set::Test, Work::Evaluate, &order[..])
    );
}
