//! adamw and average: ten steps in a row.

use super::compare::{close, exact, f64s, magnitudes};
use super::gpu::Arena;
use super::{Compared, Gpu, Kind, Verdict, on_each};
use crate::ops::Batch;
use crate::ops::adamw::{AdamW, cpu};
use crate::ops::average::{self, Average};

const STEPS: usize = 10;

/// Ten steps of AdamW, each within its bound.
///
/// Means m and v round thrice in a step, beside their terms. A step's size is `lr * m / sqrt(v)`, corrected: what m may
/// be off by goes into it divided by the root, and relative to it the root's own roundings.
pub async fn check(gpus: &[Gpu], op: &AdamW, lr: f32, len: usize) -> Verdict {
    on_each(gpus, &format!("{op:?}, rate {lr}, {len} parameters"), async |gpu| {
        let start = Kind::Even.draw(1, len);
        let arenas = [Arena::new(gpu, start.clone())?, Arena::new(gpu, vec![0.0; len])?, Arena::new(gpu, vec![0.0; len])?];
        let (mut param, mut mean, mut square) = (f64s(&start), vec![0.0; len], vec![0.0; len]);
        let (mut param_size, mut mean_size) = (magnitudes(&start), vec![0.0; len]);
        let mut compared = Vec::new();
        for step in 0..STEPS {
            let gradient = Kind::Even.draw(100 + step as u32, len);
            let [correction1, correction2] = op.corrections(step as u64 + 1);
            let corrections = [correction1.into(), correction2.into()];
            cpu::update(op, lr.into(), corrections, &mut param, [&mut mean, &mut square], &f64s(&gradient));
            for (i, g) in magnitudes(&gradient).into_iter().enumerate() {
                mean_size[i] = f64::from(op.betas[0]) * mean_size[i] + (1.0 - f64::from(op.betas[0])) * g;
                let size = square[i].sqrt() * corrections[1] + f64::from(op.epsilon);
                param_size[i] += 2.0 * f64::from(lr) * corrections[0] * mean_size[i] / size;
            }
            let batch = Batch { learning_rate: lr, correction1, correction2, ..Batch::default() };
            let [p, m, v] = &arenas;
            let gradient = gpu.input("gradient", &gradient)?;
            gpu.run(batch, |planner| op.plan(planner, &p.part, [&m.part, &v.part], &gradient))?;
            let terms = 4 * (step + 1);
            compared.push(close("exp_avg", &m.read(gpu).await?, &mean, &mean_size, terms)?);
            compared.push(close("exp_avg_sq", &v.read(gpu).await?, &square, &square, terms)?);
            compared.push(close("param", &p.read(gpu).await?, &param, &param_size, terms + 4)?);
        }
        Ok(compared)
    })
    .await
}

/// Ten steps of the moving average: the first is a copy.
pub async fn check_average(gpus: &[Gpu], op: &Average, len: usize) -> Verdict {
    on_each(gpus, &format!("{op:?}, {len} parameters"), async |gpu| {
        let arena = Arena::new(gpu, Kind::Even.draw(1, len))?;
        let (mut want, mut size) = (vec![f64::NAN; len], vec![0.0; len]);
        let mut compared: Vec<Compared> = Vec::new();
        for step in 0..STEPS as u32 {
            let now = Kind::Mixed.draw(100 + step, len);
            average::cpu::update(op, step, &f64s(&now), &mut want);
            magnitudes(&now).iter().zip(&mut size).for_each(|(now, size)| *size += now);
            let now_tensor = gpu.input("now", &now)?;
            gpu.run(Batch { step, ..Batch::default() }, |planner| {
                op.plan(planner, &now_tensor.slice("now", 0..len), &arena.part)
            })?;
            let got = arena.read(gpu).await?;
            compared.push(match step {
                0 => exact("average", &got, &now)?,
                _ => close("average", &got, &want, &size, 3 * (step as usize + 1))?,
            });
        }
        Ok(compared)
    })
    .await
}

/// The least that runs every entry point.
pub async fn smallest(gpus: &[Gpu]) -> Verdict {
    let adamw = check(gpus, &AdamW::default(), 0.01, 4).await?;
    Ok([adamw, check_average(gpus, &Average { decay: 0.9 }, 4).await?].concat())
}
