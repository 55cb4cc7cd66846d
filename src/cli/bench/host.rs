//! What a step costs the host, whatever the device.

use super::measure::digits;
use super::report::{Batching, Host, Spread};
use crate::cli::Failure;
use crate::cli::clock::clock;
use crate::cli::stopwatch::begin;
use mnist_wgpu::engine::{Engine, GpuEngine, Settings};
use mnist_wgpu::gpu::{Adapters, Options, drive};
use mnist_wgpu::model::Model;
use std::time::Duration;

/// Steps per submit that are tried; training takes at most the last.
const BATCHINGS: [usize; 3] = [1, 8, 32];
/// How long each is tried.
const LENGTH: Duration = Duration::from_millis(300);

/// Times [`Engine::submit`] on wgpu's no-op backend, which validates a step's commands as for any other and runs
/// nothing. What was submitted is collected outside the time: that the host does while a device works.
pub fn measure(model: &Model) -> Result<Host, Failure> {
    let settings = Settings::default();
    let images = BATCHINGS[BATCHINGS.len() - 1] * settings.batch_size;
    let data = digits(images);
    let context = pollster::block_on(pollster::block_on(Adapters::noop()).open(0, Options::default()))?;
    let mut engine = GpuEngine::new(&context, model, &data, settings)?;
    begin(&mut engine, model, images)?;

    let mut batchings = Vec::new();
    for steps in BATCHINGS {
        let mut us = Vec::new();
        let begun = clock();
        while us.len() < 100 || clock() - begun < LENGTH {
            let from = clock();
            engine.submit(0..steps)?;
            us.push((clock() - from).as_secs_f64() * 1e6 / steps as f64);
            drive::block_on(&context, engine.collect())?;
        }
        batchings.push(Batching { steps_per_submit: steps, microseconds_per_step: Spread::of(us) });
    }
    let least = |best: Batching, b: &Batching| {
        if b.microseconds_per_step.median < best.microseconds_per_step.median { b.clone() } else { best }
    };
    let best = batchings.iter().fold(batchings[0].clone(), least);
    Ok(Host { microseconds_per_step: best.microseconds_per_step.median, steps_per_submit: best.steps_per_submit, batchings })
}
