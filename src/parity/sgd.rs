//! sgd: ten steps in a row.

use super::compare::{close, exact, f64s, magnitudes};
use super::gpu::Arena;
use super::{Fault, Gpu, Kind, Verdict, on_each};
use crate::ops::Batch;
use crate::ops::sgd::{Sgd, cpu};

const STEPS: usize = 10;

/// Products and additions that one step makes of a parameter, so that after k steps no term has been rounded more than
/// k times as often.
fn terms(op: &Sgd) -> usize {
    5 + 2 * usize::from(op.weight_decay != 0.0)
}

/// Ten steps in a row, each within its bound.
pub async fn check(gpus: &[Gpu], op: &Sgd, lr: f32, kind: Kind, len: usize) -> Verdict {
    on_each(gpus, &format!("{op:?}, rate {lr}, {len} parameters, {kind:?}"), async |gpu| {
        let start = kind.draw(1, len);
        let (mut param, mut velocity) = (f64s(&start), vec![0.0; len]);
        let (mut param_size, mut velocity_size) = (magnitudes(&start), vec![0.0; len]);
        let mut compared = Vec::new();
        steps(gpu, op, lr, kind, len, |step, gradient, got_param, got_velocity| {
            cpu::update(op, lr, &mut param, &mut velocity, &f64s(gradient));
            // The sum of the absolute terms: the mirror on absolute values, with a learning rate that adds.
            cpu::update(op, -lr, &mut param_size, &mut velocity_size, &magnitudes(gradient));
            compared.push(close("velocity", got_velocity, &velocity, &velocity_size, terms(op) * step)?);
            compared.push(close("param", got_param, &param, &param_size, terms(op) * step)?);
            Ok(())
        })
        .await?;
        Ok(compared)
    })
    .await
}

/// Where learning rate and momentum are powers of two and gradients small integers, ten steps are exact in f32.
pub async fn check_exactly(gpus: &[Gpu], op: &Sgd, lr: f32, len: usize) -> Verdict {
    on_each(gpus, &format!("{op:?}, rate {lr}, {len} parameters"), async |gpu| {
        let (mut param, mut velocity) = (f64s(&Kind::Integers.draw(1, len)), vec![0.0; len]);
        let mut compared = Vec::new();
        steps(gpu, op, lr, Kind::Integers, len, |_, gradient, got_param, got_velocity| {
            cpu::update(op, lr, &mut param, &mut velocity, &f64s(gradient));
            compared.push(exact("velocity", &f64s(got_velocity), &velocity)?);
            compared.push(exact("param", &f64s(got_param), &param)?);
            Ok(())
        })
        .await?;
        Ok(compared)
    })
    .await
}

/// The least that runs every entry point.
pub async fn smallest(gpus: &[Gpu]) -> Verdict {
    check(gpus, &Sgd::default(), 0.01, Kind::Even, 4).await
}

/// Runs `STEPS` steps and hands parameters and velocity after each to `compare`, with the number of steps.
async fn steps(
    gpu: &Gpu,
    op: &Sgd,
    lr: f32,
    kind: Kind,
    len: usize,
    mut compare: impl FnMut(usize, &[f32], &[f32], &[f32]) -> Result<(), Fault>,
) -> Result<(), Fault> {
    let [param, velocity] = [Arena::new(gpu, kind.draw(1, len))?, Arena::new(gpu, vec![0.0; len])?];
    for step in 0..STEPS {
        let gradient = kind.draw(100 + step as u32, len);
        let gradient_tensor = gpu.input("gradient", &gradient)?;
        let batch = Batch { learning_rate: lr, ..Batch::default() };
        gpu.run(batch, |planner| op.plan(planner, &param.part, &velocity.part, &gradient_tensor))?;
        compare(step + 1, &gradient, &param.read(gpu).await?, &velocity.read(gpu).await?)?;
    }
    Ok(())
}
