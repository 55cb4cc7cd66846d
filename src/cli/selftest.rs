//! `selftest`: whether this machine's device computes rightly.

use super::device::{Choice, DeviceChoice, choose, driver};
use super::{Failure, print, tell};
use mnist_wgpu::gpu::context::kind;
use mnist_wgpu::gpu::{Adapters, Context, GpuError, Options};
use mnist_wgpu::parity::selftest::{Check, Outcome, checks};
use mnist_wgpu::parity::{Compared, Fault, Gpu, Mismatch};
use serde::Serialize;
use std::time::Instant;
use wgpu::AdapterInfo;

const EXAMPLES: &str = "\
Examples:
  mnist-wgpu selftest                 the first GPU
  mnist-wgpu selftest --device all    every adapter";

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// gpu (the first), auto, a number of `devices`, a part of a device's name, or all
    #[arg(long, default_value = "gpu")]
    device: DeviceChoice,

    /// Print the results as JSON
    #[arg(long)]
    json: bool,
}

/// What `--json` prints for each device.
#[derive(Serialize)]
struct DeviceReport {
    device: String,
    backend: String,
    driver: String,
    /// Why the device could not be opened, if so.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    passed: bool,
    seconds: f64,
    checks: Vec<CheckReport>,
}

#[derive(Serialize)]
struct CheckReport {
    name: &'static str,
    case: String,
    passed: bool,
    /// The entry points that ran, `op.entry`.
    entry_points: Vec<String>,
    /// Of each result, its largest error as a share of what it may be.
    shares: Vec<Share>,
    seconds: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<FailureReport>,
}

#[derive(Serialize)]
struct Share {
    result: String,
    share: f64,
}

#[derive(Serialize)]
struct FailureReport {
    /// The entry points that write the wrong result.
    entry_points: Vec<String>,
    /// Op, sizes, batch and kind of input.
    case: String,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    element: Option<usize>,
}

pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let adapters = match arguments.device {
        DeviceChoice::Cpu => return Err(cpu_is_the_measure()),
        _ => pollster::block_on(Adapters::find()),
    };
    let infos: Vec<_> = adapters.infos().collect();
    let all = arguments.device == DeviceChoice::Name("all".into());
    let indices: Vec<usize> = match all {
        true if infos.is_empty() => return Err(Failure::saying(format!("no GPU: {}", Adapters::none_found()))),
        true => (0..infos.len()).collect(),
        false => match choose(&arguments.device, &infos).map_err(Failure::saying)?.0 {
            Choice::Cpu => return Err(cpu_is_the_measure()),
            Choice::Adapter(index) => vec![index],
        },
    };
    let mut reports = Vec::new();
    for index in indices {
        match pollster::block_on(adapters.open(index, Options::default())) {
            Ok(context) => reports.push(examine(context, arguments.json)?),
            // The others are asked all the same.
            Err(error) if all => {
                tell(format_args!("{error}"));
                reports.push(unopened(&infos[index], error.to_string()));
            }
            Err(error) => return Err(error.into()),
        }
    }
    if arguments.json {
        print(&format!("{}\n", serde_json::to_string_pretty(&reports)?))?;
    }
    let wrong: Vec<_> = reports.iter().filter(|report| !report.passed).map(|report| report.device.as_str()).collect();
    if wrong.is_empty() {
        return Ok(());
    }
    Err(Failure::saying(format!(
        "{} failed: its driver, or a kernel of this program on it, cannot be trusted. Update the driver; train with \
         --device cpu meanwhile; and please report this output with that of `mnist-wgpu devices`",
        wrong.join(" and ")
    )))
}

fn cpu_is_the_measure() -> Failure {
    let message = "the CPU path is what a GPU is held against here, so that there is nothing to hold it against: \
                   tests/gradients.rs and tests/golden check it in the source's `cargo test --release`. Name a GPU with --device; \
                   `mnist-wgpu devices` lists them";
    Failure::saying(message)
}

fn unopened(info: &AdapterInfo, error: String) -> DeviceReport {
    DeviceReport {
        device: info.name.clone(),
        backend: info.backend.to_string(),
        driver: driver(info),
        error: Some(error),
        passed: false,
        seconds: 0.0,
        checks: Vec::new(),
    }
}

/// Runs every check on one device, printing a line for each as it ends unless `quiet`.
fn examine(context: Context, quiet: bool) -> Result<DeviceReport, Failure> {
    let info = context.info.clone();
    tell(format_args!("Device: {} ({}, {})", info.name, kind(&info), info.backend));
    let gpu = Gpu::new(context);
    let start = Instant::now();
    let mut reports = Vec::new();
    for check in checks() {
        let check_start = Instant::now();
        let outcome = pollster::block_on(check.run(&gpu));
        let report = report(check, &outcome, check_start.elapsed().as_secs_f64());
        if !quiet {
            print(&line(&report))?;
        }
        reports.push(report);
        let lost =
            outcome.failure.as_ref().is_some_and(|failure| matches!(*failure.failed.fault, Fault::Gpu(GpuError::Device(_))));
        if lost {
            tell("The device reported an error: the other checks are left out.");
            break;
        }
    }
    let (right, total, seconds) =
        (reports.iter().filter(|report| report.passed).count(), reports.len(), start.elapsed().as_secs_f64());
    if !quiet {
        let share = reports.iter().flat_map(|report| &report.shares).map(|share| share.share).fold(0.0, f64::max);
        let within = format!("; the largest error is {:.0} % of what is allowed", 100.0 * share);
        print(&format!(
            "{right} of {total} checks passed in {seconds:.1} s{}\n",
            if right == total { &within } else { "" }
        ))?;
    }
    Ok(DeviceReport {
        device: info.name.clone(),
        backend: info.backend.to_string(),
        driver: driver(&info),
        error: None,
        passed: right == total,
        seconds,
        checks: reports,
    })
}

fn report(check: Check, outcome: &Outcome, seconds: f64) -> CheckReport {
    let share = |compared: &Compared| Share { result: compared.what.clone(), share: compared.share };
    let failure = outcome.failure.as_ref().map(|failure| FailureReport {
        entry_points: failure.suspects.clone(),
        case: failure.failed.case.clone(),
        message: failure.failed.fault.to_string(),
        element: match &*failure.failed.fault {
            Fault::Mismatch(
                Mismatch::Far { element, .. } | Mismatch::Inexact { element, .. } | Mismatch::Unwritten { element, .. },
            ) => Some(*element),
            _ => None,
        },
    });
    CheckReport {
        name: check.name,
        case: check.case,
        passed: failure.is_none(),
        entry_points: outcome.entries.clone(),
        shares: outcome.compared.iter().map(share).collect(),
        seconds,
        failure,
    }
}

fn line(report: &CheckReport) -> String {
    let head = format!("{}  {}", report.name, report.case);
    if let Some(failure) = &report.failure {
        let (entries, case, message) = (failure.entry_points.join(", "), &failure.case, &failure.message);
        return format!("{head:<70}  WRONG\n  in {entries}\n  {case}\n  {message}\n");
    }
    let worst = report.shares.iter().max_by(|a, b| a.share.total_cmp(&b.share)).filter(|worst| worst.share > 0.0);
    let found = match worst {
        Some(worst) => format!("ok, at most {:.0} % of what is allowed ({})", 100.0 * worst.share, worst.result),
        None => "ok, exact".into(),
    };
    format!("{head:<70}  {found}\n")
}
