//! A GPU that fails: lost, or smaller than what it is asked for. Training ends in words, at once.

use crate::common::contexts;
use crate::{digits, net};
use mnist_wgpu::data::split;
use mnist_wgpu::engine::{Engine, GpuEngine, Settings};
use mnist_wgpu::gpu::{Adapters, Context, Options, drive};
use mnist_wgpu::state::State;
use mnist_wgpu::train::{self, EpochReport, Observer, Position, Progress, TrainError, fit};
use std::error::Error;
use std::time::{Duration, Instant};

/// What a device that is lost may take to be noticed, on a slow machine.
const AT_ONCE: Duration = Duration::from_secs(30);

/// When a device is lost.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Moment {
    Begin,
    Middle,
    Checkpoint,
    Epoch,
}

/// Destroys the device at a moment.
struct Destroyer<'a>(&'a Context, Moment);

impl Destroyer<'_> {
    fn now(&self, moment: Moment) {
        if moment == self.1 {
            self.0.device.destroy();
        }
    }
}

impl Observer for Destroyer<'_> {
    fn progress(&mut self, progress: &Progress) {
        if progress.batches.0 > 2 {
            self.now(Moment::Middle);
        }
    }

    fn checkpoint(&mut self, _: &Position, _: &State) -> Result<(), Box<dyn Error + Send + Sync>> {
        self.now(Moment::Checkpoint);
        Ok(())
    }

    fn epoch(&mut self, _: &EpochReport, _: &State) -> Result<(), Box<dyn Error + Send + Sync>> {
        self.now(Moment::Epoch);
        Ok(())
    }
}

/// Trains two epochs of five batches on `context`.
fn train(context: &Context, observer: &mut dyn Observer, begin: impl FnOnce()) -> Result<(), TrainError> {
    let (model, data) = (net(0.5), digits(120, 20));
    let settings = Settings { batch_size: 20, ..Settings::default() };
    let schedule = mnist_wgpu::run::Training::NOTEBOOK.schedule();
    let options = train::Options { batch_size: 20, epochs: 2, seed: 1, schedule, checkpoint_every: Some(4) };
    let mut engine = GpuEngine::new(context, &model, &data, settings)?;
    engine.set_state(&State::new(&model, 1))?;
    begin();
    let begun = Instant::now();
    let clock = || begun.elapsed();
    let split = split(120, 0.1, 1);
    drive::block_on(context, fit(&mut engine, &split, &options, &Position::default(), &clock, observer))
}

#[track_caller]
fn assert_told(result: Result<(), TrainError>, part: &str) {
    let error = result.expect_err("it went on").to_string();
    assert!(error.contains(part), "{part:?} is not in {error:?}");
}

#[test]
fn a_device_that_is_lost_at_any_moment_ends_training_in_words() {
    for moment in [Moment::Begin, Moment::Middle, Moment::Checkpoint, Moment::Epoch] {
        for context in &contexts(&[Options::default()]) {
            let begun = Instant::now();
            let mut destroyer = Destroyer(context, moment);
            let lose = || {
                if moment == Moment::Begin {
                    context.device.destroy()
                }
            };
            let result = train(context, &mut destroyer, lose);
            assert!(matches!(result, Err(TrainError::Engine(_))), "{moment:?}: {result:?}");
            assert!(begun.elapsed() < AT_ONCE, "{moment:?}: it took {:?}", begun.elapsed());
        }
    }
}

#[test]
fn limits_that_are_too_small_are_named() {
    type Change = fn() -> wgpu::Limits;
    macro_rules! with {
        ($($limit:ident: $value:expr),*) => {
            [$((stringify!($limit), (|| wgpu::Limits { $limit: $value, ..wgpu::Limits::default() }) as Change)),*]
        };
    }
    let too_small = with! {
        max_bind_groups: 1,
        max_storage_buffers_per_shader_stage: 2,
        max_uniform_buffers_per_shader_stage: 0,
        max_dynamic_uniform_buffers_per_pipeline_layout: 0,
        max_compute_workgroup_storage_size: 64,
        max_compute_invocations_per_workgroup: 16,
        max_compute_workgroup_size_x: 8
    };
    let adapters = pollster::block_on(Adapters::find());
    for (limit, limits) in too_small {
        let options = Options { limits: Some(limits), ..Options::default() };
        let error = pollster::block_on(adapters.open(0, options)).err().expect(limit).to_string();
        assert!(error.contains(limit) && error.contains("another device"), "{limit}: {error}");
    }
}

#[test]
fn what_a_device_cannot_hold_or_dispatch_is_named() {
    let small = || wgpu::Limits { max_buffer_size: 400_000, ..wgpu::Limits::default() };
    let narrow = || wgpu::Limits { max_compute_workgroups_per_dimension: 4, ..wgpu::Limits::default() };
    let told: [(fn() -> wgpu::Limits, _); 2] =
        [(small, "Parameters needs 900608 bytes in one buffer"), (narrow, "more than the 4 that this device allows")];
    for (limits, part) in told {
        for context in &contexts(&[Options { limits: Some(limits), ..Options::default() }]) {
            assert_told(train(context, &mut (), || ()), part);
        }
    }
}
