//! The device's ceiling, for kernels to be held against.

use super::plan::{self, Dispatch};
use super::{Context, GpuError, Planner, Shader, Tensor};
use std::time::Duration;

const SHADER: Shader = Shader { op: "peak", source: include_str!("peak.wgsl") };

/// Enough for any GPU: 1,024 for each core of the largest.
const INVOCATIONS: usize = 1 << 18;

/// GFLOP/s of multiply-adds in registers: the best of a few runs that each take long enough for `clock`, the host's.
pub async fn measure(context: &Context, clock: impl Fn() -> Duration) -> Result<f64, GpuError> {
    let rounds = Tensor::zeros(context, "rounds", 1)?;
    let sums = Tensor::zeros(context, "sums", INVOCATIONS)?;
    let per_round = 2 * SHADER.constant("CHAINS") * SHADER.constant("LENGTH") * INVOCATIONS;
    let mut planner = Planner::new(context);
    planner.dispatch(Dispatch {
        shader: &SHADER,
        entry: "multiply_add",
        constants: &[],
        buffers: &[("rounds", &rounds, 1), ("sums", &sums, INVOCATIONS)],
        invocations: [INVOCATIONS, 1, 1],
        flops: per_round as u64,
    })?;
    let time = async |count: u32| -> Result<f64, GpuError> {
        rounds.write(context, bytemuck::bytes_of(&count));
        let from = clock();
        plan::run(context, &planner.steps, &0u32)?; // it reads no slot
        rounds.read::<u32>(context).await?; // after the dispatch
        Ok((clock() - from).as_secs_f64())
    };
    time(1).await?; // compiles
    let mut count = 1;
    while time(count).await? < 0.05 && count < 1 << 20 {
        count *= 2;
    }
    let mut best = f64::INFINITY;
    for _ in 0..5 {
        best = best.min(time(count).await?);
    }
    Ok(f64::from(count) * per_round as f64 / best / 1e9)
}
