//! It learns: one batch by heart, and from many batches what holds for others.

use crate::common::engines::Any;
use crate::common::{BOTH, contexts};
use crate::{digits, first, images, net};
use mnist_wgpu::data::{Dataset, split};
use mnist_wgpu::engine::{Set, Settings};
use mnist_wgpu::metrics::{BatchMetrics, Totals};
use mnist_wgpu::schedule::Schedule;
use mnist_wgpu::state::State;
use mnist_wgpu::train::{EpochReport, Observer, Options, Position, TrainError, fit};
use std::error::Error;
use std::time::Duration;

fn totals(metrics: &[BatchMetrics]) -> Totals {
    let mut totals = Totals::default();
    metrics.iter().for_each(|batch| totals.add(batch));
    totals
}

/// Without dropout, sixteen images are no match for 225,034 parameters.
fn learns_one_batch_by_heart(engine: &mut Any) {
    engine.start(&net(0.0).init(1));
    engine.learning_rate = 0.02; // more than the default, so that it takes fewer steps
    let batch = first(16);
    let mut losses = Vec::new();
    for step in 0..120 {
        losses.push(totals(&engine.train(&batch, step, 1)).loss());
    }
    let after = totals(&engine.evaluate(Set::Train, &batch));
    println!("{}: loss {:.4} at first, {:.6} after {} steps", engine.name, losses[0], after.loss(), losses.len());
    // An untrained net's loss is near ln(10) = 2.303.
    assert!((2.2..2.5).contains(&losses[0]), "{}: an untrained loss of {}", engine.name, losses[0]);
    assert!(after.loss() < 0.01 && after.accuracy() == 1.0, "{}: {after:?}, {losses:?}", engine.name);
}

fn by_heart() -> Settings {
    Settings { batch_size: 16, ..Settings::default() }
}

#[test]
fn the_cpu_learns_one_batch_by_heart() {
    learns_one_batch_by_heart(&mut Any::cpu(&net(0.0), images(), by_heart()));
}

#[test]
fn every_gpu_learns_one_batch_by_heart() {
    for context in &contexts(&BOTH[1..]) {
        learns_one_batch_by_heart(&mut Any::gpu(context, &net(0.0), images(), by_heart()));
    }
}

/// Keeps the reports.
#[derive(Default)]
struct Reports(Vec<EpochReport>);

impl Observer for Reports {
    fn epoch(&mut self, report: &EpochReport, _: &State) -> Result<(), Box<dyn Error + Send + Sync>> {
        self.0.push(*report);
        Ok(())
    }
}

const EPOCHS: u32 = 2;
const HELD_OUT: usize = 500;

/// A run of the default net with its default settings, as the command line makes it, and its accuracy on images that it
/// never saw.
fn learns_digits(engine: &mut Any, data: &Dataset) {
    let settings = Settings::default();
    engine.start(&net(0.5).init(settings.seed));
    let untrained = totals(&engine.evaluate(Set::Test, &first(HELD_OUT)));

    let parts = split(data.train.len(), 0.1, settings.seed);
    let Settings { batch_size, seed, .. } = settings;
    let options = Options { batch_size, epochs: EPOCHS, seed, schedule: Schedule::constant(0.01), checkpoint_every: None };
    let mut reports = Reports::default();
    engine
        .wait(async |engine| fit(engine, &parts, &options, &Position::default(), &|| Duration::ZERO, &mut reports).await)
        .unwrap_or_else(|e| panic!("{e}"));
    let trained = totals(&engine.evaluate(Set::Test, &first(HELD_OUT)));

    let name = &engine.name;
    println!("{name}: untrained {:.3}, trained {:.3}; {:?}", untrained.accuracy(), trained.accuracy(), reports.0);
    let [first, .., last] = &reports.0[..] else { panic!("{name}: {EPOCHS} epochs, {} reports", reports.0.len()) };
    assert_eq!((last.epoch, last.train.count() as usize), (EPOCHS, parts.train.len() / 32 * 32));
    assert_eq!(last.val.count() as usize, parts.val.len());
    let fell = last.train.loss() < first.train.loss() && last.val.loss() < first.train.loss();
    assert!(fell, "{name}: {:?}", reports.0);
    // Far above chance; and no net of this size, after so little, is never wrong. One that is has seen the answers.
    assert!((0.7..1.0).contains(&trained.accuracy()), "{name}: {:.4} on held-out digits", trained.accuracy());
    // The classes are as frequent as each other, and an untrained net hardly tells images apart.
    assert!((0.05..0.2).contains(&untrained.accuracy()), "{name}: {:.4} untrained", untrained.accuracy());
}

#[test]
fn the_cpu_learns_digits_it_has_not_seen() {
    let data = digits(3600, HELD_OUT);
    learns_digits(&mut Any::cpu(&net(0.5), &data, Settings::default()), &data);
}

#[test]
fn every_gpu_learns_digits_it_has_not_seen() {
    let data = digits(3600, HELD_OUT);
    for context in &contexts(&BOTH[1..]) {
        learns_digits(&mut Any::gpu(context, &net(0.5), &data, Settings::default()), &data);
    }
}

/// Wherever a weight stops being a number, the next batch's loss tells.
fn a_nan_reaches_the_loss(engine: &mut Any) {
    let net = net(0.5);
    for parameter in net.parameters() {
        let mut parameters = net.init(0);
        parameters[parameter.range.start] = f32::NAN;
        engine.start(&parameters);
        for metrics in [engine.evaluate(Set::Test, &first(32)), engine.train(&first(32), 0, 1)] {
            assert!(metrics.iter().all(BatchMetrics::diverged), "{}, {}: {metrics:?}", engine.name, parameter.name);
        }
    }
}

#[test]
fn a_nan_in_any_parameter_reaches_the_loss_on_the_cpu() {
    for fuse in [true, false] {
        a_nan_reaches_the_loss(&mut Any::cpu(&net(0.5), images(), Settings { fuse, ..Settings::default() }));
    }
}

#[test]
fn a_nan_in_any_parameter_reaches_the_loss_on_every_gpu() {
    for context in &contexts(&BOTH) {
        for fuse in [true, false] {
            let settings = Settings { fuse, ..Settings::default() };
            a_nan_reaches_the_loss(&mut Any::gpu(context, &net(0.5), images(), settings));
        }
    }
}

/// A learning rate with which weights, then outputs, soon are no finite numbers.
fn diverges(engine: &mut Any) {
    engine.start(&net(0.5).init(0));
    let parts = split(images().train.len(), 0.1, 0);
    let options = Options { batch_size: 32, epochs: 1, seed: 0, schedule: Schedule::constant(1e6), checkpoint_every: None };
    let mut reports = Reports::default();
    let result = engine
        .wait(async |engine| fit(engine, &parts, &options, &Position::default(), &|| Duration::ZERO, &mut reports).await);
    assert!(matches!(result, Err(TrainError::Diverged { epoch: 1, .. })), "{}: {result:?}", engine.name);
}

fn fused(fuse: bool) -> Settings {
    Settings { fuse, ..Settings::default() }
}

#[test]
fn a_run_that_diverges_ends_as_diverged_on_the_cpu() {
    for fuse in [true, false] {
        diverges(&mut Any::cpu(&net(0.5), images(), fused(fuse)));
    }
}

#[test]
fn a_run_that_diverges_ends_as_diverged_on_every_gpu() {
    for context in &contexts(&BOTH) {
        for fuse in [true, false] {
            diverges(&mut Any::gpu(context, &net(0.5), images(), fused(fuse)));
        }
    }
}

/// Over several initialisations, so that one lucky one proves nothing.
#[test]
fn untrained_nets_guess() {
    let data = digits(32, 1000);
    let mut engine = Any::cpu(&net(0.5), &data, Settings::default());
    let mut accuracies = Vec::new();
    for seed in 0..8 {
        engine.start(&net(0.5).init(seed));
        accuracies.push(totals(&engine.evaluate(Set::Test, &first(1000))).accuracy());
    }
    let mean = accuracies.iter().sum::<f64>() / accuracies.len() as f64;
    assert!((0.07..0.13).contains(&mean) && accuracies.iter().all(|a| (0.03..0.25).contains(a)), "{accuracies:?}");
}
