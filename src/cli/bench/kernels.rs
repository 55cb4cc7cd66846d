//! The time of each dispatch of a training step, as figures and as a trace.

use super::report::{Kernel, Kernels, Measured, Spread};
use crate::cli::clock::clock;
use mnist_wgpu::engine::GpuEngine;
use mnist_wgpu::gpu::{Context, GpuError, drive, peak};
use serde_json::{Value, json};
use std::time::Duration;

/// Steps that are timed.
const STEPS: usize = 16;

/// Times the dispatches of the engine's training step; nothing where the device has no timestamps.
pub fn measure(context: &Context, engine: &mut GpuEngine) -> Result<Option<Kernels>, GpuError> {
    let mut steps = Vec::new();
    for _ in 0..STEPS {
        match drive::block_on(context, engine.time_dispatches(0))? {
            Some(spans) => steps.push(spans),
            None => return Ok(None),
        }
    }
    let us = |time: Duration| time.as_secs_f64() * 1e6;
    let first = steps[0].iter().map(|span| span.start).min().unwrap_or_default();
    let kernel = |(index, step): (usize, &mnist_wgpu::gpu::Step)| {
        let spans = steps.iter().map(|spans| &spans[index]);
        let spans: Vec<_> = spans.map(|s| (us(s.start.saturating_sub(first)), us(s.end - s.start))).collect();
        let ms = Spread::of(spans.iter().map(|(_, us)| us / 1e3).collect()).median;
        Kernel {
            name: step.label.clone(),
            ms,
            share: 0.0, // until all are known
            flops: step.flops,
            bytes: step.bytes,
            gflops_per_second: rate(step.flops, ms),
            gbytes_per_second: rate(step.bytes, ms),
            spans,
        }
    };
    let mut dispatches: Vec<_> = engine.training_steps().enumerate().map(kernel).collect();
    let total: f64 = dispatches.iter().map(|kernel| kernel.ms).sum();
    dispatches.iter_mut().for_each(|kernel| kernel.share = kernel.ms / total);

    let peak_gflops_per_second = drive::block_on(context, peak::measure(context, clock))?;
    let convolutions: Vec<_> = dispatches.iter().filter(|kernel| kernel.name.starts_with("conv2d")).collect();
    let flops = convolutions.iter().map(|kernel| kernel.flops).sum();
    let ms = convolutions.iter().map(|kernel| kernel.ms).sum();
    let convolutions_share_of_peak = rate(flops, ms) / peak_gflops_per_second;
    Ok(Some(Kernels { peak_gflops_per_second, convolutions_share_of_peak, dispatches }))
}

/// `count` per `ms` milliseconds, in 1e9 per second; 0 where the clock saw no time pass.
fn rate(count: u64, ms: f64) -> f64 {
    if ms > 0.0 { count as f64 / ms / 1e6 } else { 0.0 }
}

pub fn table(kernels: &Kernels) -> String {
    let mut table = String::from("           ms  share  GFLOP/s   GB/s  dispatch\n");
    for kernel in &kernels.dispatches {
        let Kernel { name, ms, share, gflops_per_second: gflops, gbytes_per_second: gbytes, .. } = kernel;
        let gflops = if kernel.flops > 0 { format!("{gflops:.1}") } else { String::new() };
        table += &format!("     {ms:>8.3} {:>5.1}% {gflops:>8} {gbytes:>6.1}  {name}\n", share * 100.0);
    }
    let total: f64 = kernels.dispatches.iter().map(|kernel| kernel.ms).sum();
    let (count, peak) = (kernels.dispatches.len(), kernels.peak_gflops_per_second);
    table += &format!("     {total:>8.3}  all {count} dispatches, each timed in a pass of its own\n");
    table
        + &format!(
            "     The convolutions reach {:.0}% of the {peak:.0} GFLOP/s of multiply-adds in registers.\n",
            kernels.convolutions_share_of_peak * 100.0
        )
}

/// The kernel times of `results` in the Trace Event Format, which Perfetto (https://ui.perfetto.dev) and
/// chrome://tracing show: one process per device and batch size, one event per dispatch of each step timed.
pub fn trace(results: &[Measured]) -> String {
    let mut events = Vec::new();
    for (pid, result) in (1..).zip(results) {
        let Some(kernels) = &result.kernels else { continue };
        let named =
            |kind: &str, name: String| json!({"ph": "M", "pid": pid, "tid": 1, "name": kind, "args": {"name": name}});
        events.push(named("process_name", format!("{}, batch size {}", result.device.name, result.batch_size)));
        events.push(named("thread_name", "dispatches, each in a pass of its own".into()));
        for step in 0..STEPS {
            for kernel in &kernels.dispatches {
                events.push(event(pid, step, kernel));
            }
        }
    }
    json!({"displayTimeUnit": "ms", "traceEvents": events}).to_string()
}

/// `ts` and `dur` in microseconds, as the format has it.
fn event(pid: usize, step: usize, kernel: &Kernel) -> Value {
    let (ts, dur) = kernel.spans[step];
    let args = json!({"step": step, "flops": kernel.flops, "bytes": kernel.bytes});
    json!({"ph": "X", "pid": pid, "tid": 1, "ts": ts, "dur": dur, "name": kernel.name, "cat": "dispatch", "args": args})
}
