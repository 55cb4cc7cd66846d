//! Training steps, timed.

use super::clock::clock;
use mnist_wgpu::engine::{Engine, EngineError, Pass};
use mnist_wgpu::model::Model;
use mnist_wgpu::state::State;
use mnist_wgpu::train::Pace;
use std::time::Duration;

pub struct Timed {
    /// When the first step was done, by the [`clock`].
    pub first_step: Duration,
    /// Of each submit, the mean of its steps.
    pub ms_per_step: Vec<f64>,
}

/// Gives `engine` a network and all images, in order.
pub fn begin<E: Engine>(engine: &mut E, model: &Model, images: usize) -> Result<(), EngineError> {
    engine.set_state(&State::new(model, 0))?;
    let order: Vec<u32> = (0..images as u32).collect();
    engine.begin(&Pass::train(&order, 0, &|_| 0.01))
}

/// Trains for `length`, and for three submits at least.
pub async fn time<E: Engine>(
    engine: &mut E,
    model: &Model,
    images: usize,
    batch_size: usize,
    length: Duration,
) -> Result<Timed, EngineError> {
    begin(engine, model, images)?;
    engine.submit(0..1)?;
    engine.collect().await?;
    let first_step = clock();

    // The second step is the first that compiles nothing.
    let batches = images / batch_size;
    let second = if batches > 1 { 1..2 } else { 0..1 };
    engine.submit(second)?;
    engine.collect().await?;
    let step = (clock() - first_step).as_secs_f64();
    // As many steps in a submit as in training.
    let steps = ((Pace::TARGET.min(length / 4).as_secs_f64() / step) as usize).clamp(1, Pace::MOST.min(batches));

    // One submit is always queued while another is waited for, as in training: the device never runs dry.
    let mut ms_per_step = Vec::new();
    let begun = clock();
    engine.submit(0..steps)?;
    engine.submit(0..steps)?;
    engine.collect().await?;
    let mut from = clock();
    while ms_per_step.len() < 3 || clock() - begun < length {
        engine.submit(0..steps)?;
        engine.collect().await?;
        let now = clock();
        ms_per_step.push((now - from).as_secs_f64() * 1e3 / steps as f64);
        from = now;
    }
    engine.collect().await?;
    Ok(Timed { first_step, ms_per_step })
}
