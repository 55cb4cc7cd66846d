//! A kernel in six steps, from its definition to the one that the net uses, each checked and timed on your device:
//! `cargo run --release --example ladder`.
//!
//! The kernel is the net's second layer: 3x3 convolution, bias, ReLU and 2x2 max pooling. Each step is a WGSL file
//! beside this one, a rung of the ladder; `docs/kernels.md` says what each changes and why that helps.

use clap::Parser;
use mnist_wgpu::gpu::plan::{self, Dispatch};
use mnist_wgpu::gpu::{Adapters, Context, GpuError, Options, Planner, Shader, Step, Tensor, drive, peak};
use mnist_wgpu::ops::conv2d_relu_maxpool2d::{self as shipped, Conv2dReluMaxPool2d, cpu};
use mnist_wgpu::ops::{Batch, ForwardTensors, OnGpu, Op};
use mnist_wgpu::parity::compare::{close, f64s, magnitudes};
use mnist_wgpu::parity::{Fault, Gpu, Kind};
use std::error::Error;
use std::process::ExitCode;
use std::time::Instant;

/// The net's second layer: 32 channels of 13x13 to 64 channels, which pooling leaves 5x5.
const LAYER: Conv2dReluMaxPool2d = Conv2dReluMaxPool2d { channels: 32, height: 13, width: 13, out: 64, padding: 0 };

/// Samples in a batch.
const N: usize = 32;

struct Rung {
    /// Its file.
    shader: Shader,
    about: &'static str,
    loads_per_multiply_add: f64,
    /// Invocations along x and y; none where the net's own op says how many.
    invocations: Option<[usize; 2]>,
}

macro_rules! wgsl {
    ($stem:literal) => {
        Shader { op: $stem, source: include_str!(concat!($stem, ".wgsl")) }
    };
}

fn rungs() -> [Rung; 6] {
    let (windows, out) = (N * LAYER.windows(), LAYER.out);
    let tile = wgsl!("5_channels").constant("TILE");
    let rung = |shader, about, loads: usize, multiply_adds: usize, invocations| {
        let loads_per_multiply_add = loads as f64 / multiply_adds as f64;
        Rung { shader, about, loads_per_multiply_add, invocations }
    };
    // Loads and multiply-adds of an invocation, for each input channel.
    [
        rung(wgsl!("1_naive"), "every factor loaded, every time", 2 * 36, 36, Some([windows * out, 1])),
        rung(wgsl!("2_field"), "a window's 4x4 field loaded once", 16 + 9, 36, Some([windows * out, 1])),
        rung(wgsl!("3_names"), "names, not indices", 16 + 9, 36, Some([windows * out, 1])),
        rung(wgsl!("4_together"), "a workgroup shares its taps", 16 + 9, 36, Some([windows, out])),
        rung(wgsl!("5_channels"), "four output channels each", 16 + 4 * 9, 4 * 36, Some([windows, out / tile])),
        rung(shipped::SHADER, "two windows each: the net's own", 24 + 4 * 9, 2 * 4 * 36, None),
    ]
}

/// What the rungs read and write on a device.
struct Tensors {
    x: Tensor,           // (N, C, H, W)
    params: [Tensor; 2], // weight (O, C, 3, 3), bias (O)
    y: Tensor,           // (N, O, PH, PW)
    winner: Tensor,      // which element of each window won: only the net's kernel keeps it, for the backward pass
}

impl Rung {
    /// Appends the dispatch that computes y.
    fn plan(&self, planner: &mut Planner, t: &Tensors) -> Result<(), GpuError> {
        let Some([along_x, along_y]) = self.invocations else {
            let tensors =
                ForwardTensors { n: N, training: true, x: &t.x, params: &t.params, buffers: &[], y: &t.y, saved: &t.winner };
            return LAYER.plan_forward(planner, &tensors);
        };
        planner.dispatch(Dispatch {
            shader: &self.shader,
            entry: "forward",
            constants: &[
                ("BATCH", N as f64),
                ("CHANNELS", LAYER.channels as f64),
                ("HEIGHT", LAYER.height as f64),
                ("WIDTH", LAYER.width as f64),
                ("OUT_CHANNELS", LAYER.out as f64),
            ],
            buffers: &[
                ("x", &t.x, N * LAYER.input_len()),
                ("weight", &t.params[0], LAYER.weight_len()),
                ("bias", &t.params[1], LAYER.out),
                ("y", &t.y, N * LAYER.output_len()),
            ],
            invocations: [along_x, along_y, 1],
            flops: flops(),
        })
    }
}

/// Two for each multiply-add. Each y has four outputs of the convolution behind it, with C * 9 terms each.
fn flops() -> u64 {
    (2 * N * LAYER.output_len() * 4 * LAYER.fan_in()) as u64
}

/// A device, numbers to compute with, and what has to come out.
struct Ladder {
    gpu: Gpu,
    x: Vec<f32>,
    weight: Vec<f32>,
    bias: Vec<f32>,
    /// y of the CPU mirror, in f64.
    want: Vec<f64>,
    /// The absolute values of the terms of each y, added up.
    magnitude: Vec<f64>,
}

impl Ladder {
    fn new(context: Context) -> Self {
        let draw = |stream, len| Kind::Even.draw(stream, len);
        let (x, weight, bias) = (draw(1, N * LAYER.input_len()), draw(2, LAYER.weight_len()), draw(3, LAYER.out));
        let mirror = |values: fn(&[f32]) -> Vec<f64>| {
            let (mut y, mut winner) = (vec![f64::NAN; N * LAYER.output_len()], vec![0; N * LAYER.output_len()]);
            let (weight, bias) = (values(&weight), values(&bias));
            let layer = cpu::Forward { op: &LAYER, weight: &weight, bias: &bias, y: &mut y, winner: &mut winner };
            cpu::forward(&values(&x), vec![layer]);
            y
        };
        let (want, magnitude) = (mirror(f64s), mirror(magnitudes));
        Self { gpu: Gpu::new(context), x, weight, bias, want, magnitude }
    }

    /// Outputs are filled with a NaN of their own, so that what a rung does not write is found.
    fn tensors(&self) -> Result<Tensors, GpuError> {
        Ok(Tensors {
            x: self.gpu.input("x", &self.x)?,
            params: [self.gpu.input("weight", &self.weight)?, self.gpu.input("bias", &self.bias)?],
            y: self.gpu.output("y", N * LAYER.output_len())?,
            winner: self.gpu.output("winner", N * LAYER.saved_words())?,
        })
    }

    /// Whether the rung computes what the mirror does, but for the rounding of its sums.
    fn check(&self, rung: &Rung) -> Result<(), Fault> {
        let tensors = self.tensors()?;
        self.gpu.run(Batch::default(), |planner| rung.plan(planner, &tensors))?;
        let y = pollster::block_on(self.gpu.read(&tensors.y, N * LAYER.output_len()))?;
        close("y", &y, &self.want, &self.magnitude, LAYER.fan_in() + 1)?;
        Ok(())
    }

    /// Seconds that each rung takes, by the host's clock: the median of five rounds. In a round all run in turn, each
    /// in one submit of as many dispatches as take 20 ms.
    fn time(&self, rungs: &[Rung]) -> Result<Vec<f64>, GpuError> {
        let (context, tensors) = (&self.gpu.context, self.tensors()?);
        let run = |steps: &[Step]| -> Result<f64, GpuError> {
            let from = Instant::now();
            plan::run(context, steps, &Batch::default())?;
            drive::block_on(context, tensors.y.read::<u32>(context))?; // waits for the dispatches
            Ok(from.elapsed().as_secs_f64())
        };
        let mut plans = Vec::new();
        for rung in rungs {
            let mut planner = Planner::new(context);
            rung.plan(&mut planner, &tensors)?;
            while run(&planner.steps)? < 0.02 {
                for _ in 0..planner.steps.len() {
                    rung.plan(&mut planner, &tensors)?;
                }
            }
            plans.push(planner.steps);
        }
        let mut seconds = vec![Vec::new(); rungs.len()];
        for _ in 0..5 {
            for (seconds, steps) in seconds.iter_mut().zip(&plans) {
                seconds.push(run(steps)? / steps.len() as f64);
            }
        }
        seconds.iter_mut().for_each(|seconds| seconds.sort_by(f64::total_cmp));
        Ok(seconds.iter().map(|seconds| seconds[seconds.len() / 2]).collect())
    }

    /// Checks and times all rungs, and prints what came out.
    fn climb(&self) -> Result<(), Box<dyn Error>> {
        let rungs = rungs();
        for rung in &rungs {
            self.check(rung).map_err(|fault| format!("{}.wgsl: {fault}", rung.shader.op))?;
        }
        println!("All rungs compute what the CPU does, but for the rounding of sums.");
        let start = Instant::now();
        let peak = drive::block_on(&self.gpu.context, peak::measure(&self.gpu.context, || start.elapsed()))?;
        println!("Multiply-adds in registers, which no kernel exceeds: {peak:.0} GFLOP/s\n");
        let seconds = self.time(&rungs)?;

        println!("                                                  loads per                             times");
        println!("rung                                           multiply-add       ms  GFLOP/s  share   faster");
        for (rung, &time) in rungs.iter().zip(&seconds) {
            let name = if rung.invocations.is_some() { rung.shader.op } else { "6" };
            let (loads, gflops) = (rung.loads_per_multiply_add, flops() as f64 / time / 1e9);
            let (ms, share, faster) = (time * 1e3, 100.0 * gflops / peak, seconds[0] / time);
            println!("{name:<12} {:<33} {loads:>12.2} {ms:>8.3} {gflops:>8.1} {share:>5.1}% {faster:>8.1}", rung.about);
        }
        println!("\n6 is shaders/{}.wgsl. docs/kernels.md says what each rung changes, and why.", shipped::SHADER.op);
        Ok(())
    }
}

/// Checks and times the kernels of examples/ladder/, from the first form anyone would write to the one that the net
/// uses
#[derive(Parser)]
struct Arguments {
    /// A part of a GPU's name, as `mnist-wgpu devices` lists them [default: the first]
    #[arg(long, value_name = "NAME")]
    device: Option<String>,
}

fn open(name: Option<&str>) -> Result<Context, Box<dyn Error>> {
    let adapters = pollster::block_on(Adapters::find());
    if adapters.is_empty() {
        return Err(Adapters::none_found().into());
    }
    let names: Vec<_> = adapters.infos().map(|info| info.name).collect();
    let part = name.unwrap_or_default().to_lowercase();
    let index = names.iter().position(|name| name.to_lowercase().contains(&part));
    let index = index.ok_or_else(|| format!("no device has `{part}` in its name; there are: {}", names.join(", ")))?;
    Ok(pollster::block_on(adapters.open(index, Options::default()))?)
}

fn run(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let context = open(arguments.device.as_deref())?;
    println!("Device: {} ({} {})", context.info.name, context.info.driver, context.info.driver_info);
    Ladder::new(context).climb()
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
#[path = "../../tests/common/mod.rs"]
mod common;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rung_computes_what_the_mirror_does() {
        for context in common::contexts(&common::BOTH) {
            let ladder = Ladder::new(context);
            for rung in &rungs() {
                ladder.check(rung).unwrap_or_else(|fault| panic!("{}, {}: {fault}", ladder.gpu, rung.shader.op));
            }
        }
    }

    #[test]
    fn a_rung_that_computes_wrongly_is_told_with_the_element() {
        let ladder = Ladder::new(common::contexts(&common::BOTH).swap_remove(0));
        let wrongs = [
            ("let o = group.y;", "let o = group.y & 62u;", "y: element 25 was never written"), // no odd channels
            ("f.r2.xy, f.r3.xy", "f.r2.xy, f.r3.yz", "y: element 0 is "), // a tap meets its neighbour's numbers
        ];
        for (right, wrong, told) in wrongs {
            let mut rung = rungs().into_iter().find(|rung| rung.shader.op == "4_together").expect("it is there");
            assert!(rung.shader.source.contains(right), "the kernel no longer says {right}");
            rung.shader = Shader { op: wrong, source: rung.shader.source.replace(right, wrong).leak() };
            let fault = ladder.check(&rung).expect_err(wrong).to_string();
            assert!(fault.starts_with(told), "{fault}");
        }
    }
}
