//! `bench`: how fast a device trains a network, on digits that repeat.
//!
//! Each device and batch size is measured in a process of its own, so that memory and the cold start are those of one.

mod host;
mod kernels;
mod measure;
mod owner;
mod report;

use super::device::{self, Choice, DeviceChoice};
use super::{Failure, layers, print, target, tell, values};
use mnist_wgpu::gpu::Adapters;
use report::{Host, Measured, Report};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::str::FromStr;
use std::time::Duration;

const EXAMPLES: &str = "\
Examples:
  mnist-wgpu bench --device all --batch-size 32,256   every device, two batch sizes
  mnist-wgpu bench --kernels --trace trace.json       each dispatch, also for ui.perfetto.dev
  mnist-wgpu bench --report                           a page on this machine's GPUs, to be shared";

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// auto (a GPU if there is one), cpu, gpu, a number of `devices`, a part of a device's name, or all [default: auto,
    /// with --report all]
    #[arg(long)]
    device: Option<Devices>,

    /// Images per training step, several with commas between them [default: 32, with --report 32,128,512]
    #[arg(long, value_name = "N", value_delimiter = ',', value_parser = values::batch_size, allow_negative_numbers = true)]
    batch_size: Vec<u32>,

    /// The network, as `train` takes it: layers with commas between them, or a TOML file [default: the classic one]
    #[arg(long, value_name = "LAYERS", value_parser = layers::text)]
    model: Option<String>,

    /// How long to measure each batch size
    #[arg(long, default_value_t = 5, value_parser = values::seconds, allow_negative_numbers = true)]
    seconds: u64,

    /// Also the time of each dispatch, where the GPU has timestamps
    #[arg(long)]
    kernels: bool,

    /// Also the dispatches as a trace for Perfetto or chrome://tracing
    #[arg(long, value_name = "FILE", value_parser = values::path())]
    trace: Option<PathBuf>,

    /// Also a page in Markdown, to be shared: the devices, their selftest, steps and kernels, beside the CPU path
    /// [default file: mnist-wgpu-report.md]
    #[arg(long, value_name = "FILE", num_args = 0..=1, default_missing_value = owner::FILE, value_parser = values::path())]
    report: Option<PathBuf>,

    /// Overwrite files that exist
    #[arg(long)]
    force: bool,

    /// Print JSON for programs instead of a table
    #[arg(long)]
    json: bool,

    /// Measure in this process, and print what the process that started it reads.
    #[arg(long, hide = true)]
    here: bool,
}

/// What `--device` says here.
#[derive(Clone)]
enum Devices {
    All,
    One(DeviceChoice),
}

impl FromStr for Devices {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.trim().eq_ignore_ascii_case("all") { Ok(Devices::All) } else { text.parse().map(Devices::One) }
    }
}

/// Why there is no result.
#[derive(Debug, thiserror::Error)]
enum Unmeasured {
    #[error("there is nothing to trace: dispatches can only be timed on a GPU that has timestamps")]
    NoTimestamps,

    #[error("the measurement of device {device} at batch size {batch_size} could not be {problem}")]
    Process { device: String, batch_size: u32, problem: String },
}

pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    if let (true, Some(Devices::One(device)), [batch_size]) = (arguments.here, &arguments.device, &arguments.batch_size[..])
    {
        end_with_parent();
        let length = Duration::from_secs(arguments.seconds);
        let model = measure::model(arguments.model.as_deref())?;
        let measured = measure::run(device, &model, *batch_size, length, arguments.kernels)?;
        return Ok(print(&serde_json::to_string(&measured)?)?);
    }
    // What can be wrong is found out before anything takes long.
    let files = [(TRACE, &arguments.trace), (REPORT, &arguments.report)];
    for (what, path) in files.into_iter().filter_map(|(what, path)| Some((what, path.as_ref()?))) {
        target::check(what, path, arguments.force, &[])?;
    }
    if arguments.trace.is_some() && arguments.trace == arguments.report {
        return Err(Failure::Usage("`--trace`, `--report`: expected two files, found one".into()));
    }
    let model = measure::model(arguments.model.as_deref())?;
    let devices = devices(arguments)?;
    let batch_sizes = match (&arguments.batch_size[..], &arguments.report) {
        ([], None) => &[32],
        ([], Some(_)) => &owner::BATCH_SIZES[..],
        (named, _) => named,
    };

    let network = match &arguments.model {
        Some(layers) => format!("{layers}; on synthetic digits."),
        None => "The classic network, dropout 0.5, on synthetic digits.".into(),
    };
    tell(&network);
    let mut results = Vec::new();
    for device in &devices {
        for &batch_size in batch_sizes {
            let measured = in_a_process(arguments, device, batch_size)?;
            if !arguments.json {
                let new = results.last().is_none_or(|last: &Measured| last.device.name != measured.device.name);
                print(&if new { format!("{}\n{HEAD}", measured.device.name) } else { String::new() })?;
                print(&row(&measured))?;
                print(&measured.kernels.as_ref().map(kernels::table).unwrap_or_default())?;
            }
            if arguments.kernels && measured.kernels.is_none() {
                tell("Its dispatches cannot be timed: that takes a GPU with timestamps.");
            }
            results.push(measured);
        }
    }
    let host = host::measure(&model)?;
    if let Some(path) = &arguments.trace {
        target::write(TRACE, path, kernels::trace(&results).as_bytes())?;
    }
    if let Some(path) = &arguments.report {
        tell("Asking each GPU whether it computes rightly.");
        let selftests: Vec<_> =
            devices.iter().filter(|&device| device != CPU).map(|device| owner::selftest(device)).collect();
        let listed =
            owner::json(&["devices", "--json"]).map_err(|problem| Failure::saying(format!("devices: {problem}")))?;
        let page = owner::markdown(&listed, &selftests, &results, &network, &host);
        target::write(REPORT, path, page.as_bytes())?;
        tell(format_args!("{} is the report: have a look, and share it where you like.", path.display()));
    }
    if arguments.json {
        results.iter_mut().flat_map(|r| &mut r.kernels).flat_map(|k| &mut k.dispatches).for_each(|k| k.spans.clear());
        let report = Report { version: env!("CARGO_PKG_VERSION").into(), results, host };
        print(&(serde_json::to_string_pretty(&report)? + "\n"))?;
    } else {
        print(&host_line(&host))?;
    }
    Ok(())
}

/// What is written.
const TRACE: &str = "the trace";
const REPORT: &str = "the report";

/// As `--device` names it.
const CPU: &str = "cpu";

/// The devices to measure, as `--device` names each of them, told on stderr.
fn devices(arguments: &Arguments) -> Result<Vec<String>, Failure> {
    let asked: Vec<DeviceChoice> = match &arguments.device {
        Some(Devices::One(choice)) => vec![choice.clone()],
        None if arguments.report.is_none() => vec![DeviceChoice::Auto],
        _ => {
            let adapters = (0..pollster::block_on(Adapters::find()).len()).map(DeviceChoice::Index);
            adapters.chain([DeviceChoice::Cpu]).collect()
        }
    };
    let (mut names, mut traceable) = (Vec::new(), false);
    for asked in &asked {
        let found = device::find(asked)?;
        tell(&found.line);
        names.push(match found.choice {
            Choice::Cpu => CPU.to_string(),
            Choice::Adapter(index) => index.to_string(),
        });
        traceable |= found.has_timestamps();
    }
    if arguments.trace.is_some() && !traceable {
        return Err(Unmeasured::NoTimestamps.into());
    }
    Ok(names)
}

/// Ends this process when the one that started it does, however that ends: nobody would read what it measures.
fn end_with_parent() {
    std::thread::spawn(|| {
        _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        std::process::exit(1);
    });
}

/// Starts this program again to measure one device at one batch size.
fn in_a_process(arguments: &Arguments, device: &str, batch_size: u32) -> Result<Measured, Failure> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["bench", "--here", "--device", device]);
    command.args(["--batch-size", &batch_size.to_string(), "--seconds", &arguments.seconds.to_string()]);
    if let Some(layers) = &arguments.model {
        command.args(["--model", layers]);
    }
    if arguments.kernels || arguments.trace.is_some() || arguments.report.is_some() {
        command.arg("--kernels");
    }
    // The first step is to be a cold one, as on a machine that has never run this.
    command.env("MESA_SHADER_CACHE_DISABLE", "true").env("__GL_SHADER_DISK_CACHE", "0");
    let failed = |problem: String| Unmeasured::Process { device: device.into(), batch_size, problem };
    // Its stdin is open as long as this process lives: see `end_with_parent`.
    let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let waited = child.and_then(|mut child| {
        let _open = child.stdin.take();
        child.wait_with_output()
    });
    let output = waited.map_err(|e| failed(format!("started: {e}")))?;
    if !output.status.success() {
        return Err(failed(format!("finished ({})", output.status)).into());
    }
    Ok(serde_json::from_slice(&output.stdout).map_err(|e| failed(format!("understood: {e}")))?)
}

const HEAD: &str = "batch  ms/step      min      max  images/s  GFLOP/s  dispatches  first step  memory\n";

fn row(measured: &Measured) -> String {
    let Measured { batch_size, ms_per_step: ms, images_per_second: rate, gflops_per_second: gflops, .. } = measured;
    let or_none = |text: Option<String>| text.unwrap_or_else(|| "-".into());
    let dispatches = or_none(measured.dispatches_per_step.map(|count| count.to_string()));
    let memory = or_none(measured.peak_memory_bytes.map(|bytes| format!("{} MB", bytes / 1_000_000)));
    let times = format!("{:>8.3} {:>8.3} {:>8.3}", ms.median, ms.min, ms.max);
    let first = measured.first_step_seconds;
    format!("{batch_size:>5} {times} {rate:>9.0} {gflops:>8.1} {dispatches:>11} {first:>9.2} s {memory:>7}\n")
}

fn host_line(host: &Host) -> String {
    let all = host.batchings.iter().map(|b| format!("{:.1} at {}", b.microseconds_per_step.median, b.steps_per_submit));
    let all: Vec<_> = all.collect();
    format!(
        "The host encodes and submits a step in {:.1} us (by steps per submit: {}; median, on the no-op backend).\n",
        host.microseconds_per_step,
        all.join(", ")
    )
}
