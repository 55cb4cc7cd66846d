//! `--report`: a page in Markdown that says of a machine's GPUs whether they compute rightly and how fast they train,
//! to be pasted where people who have other GPUs can read it.

use super::kernels;
use super::report::{Host, Measured};
use crate::cli::clock::now;
use crate::cli::version::version;
use serde_json::Value;
use std::fmt::Write;
use std::process::{Command, Stdio};

/// Where it is written, if no other place is named.
pub const FILE: &str = "mnist-wgpu-report.md";
/// The batch sizes that it measures, if no others are named.
pub const BATCH_SIZES: [u32; 3] = [32, 128, 512];

/// What `selftest` finds out of a device, as its `--json` says it; or why it found nothing.
pub struct Selftest {
    pub device: String,
    pub report: Result<Value, String>,
}

/// Asks device number `device`, in a process of its own: a driver may take it along.
pub fn selftest(device: &str) -> Selftest {
    let asked = json(&["selftest", "--device", device, "--json"]);
    let report = asked.and_then(|mut all| Ok(all.get_mut(0).ok_or("it said nothing")?.take()));
    Selftest { device: device.into(), report }
}

/// What this program says with `arguments`, whether it is content or not.
pub fn json(arguments: &[&str]) -> Result<Value, String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).stderr(Stdio::inherit()).output();
    let output = output.map_err(|error| error.to_string())?;
    serde_json::from_slice(&output.stdout).map_err(|_| format!("it ended without a result ({})", output.status))
}

/// The page. `devices` is what `devices --json` says.
pub fn markdown(devices: &Value, selftests: &[Selftest], results: &[Measured], network: &str, host: &Host) -> String {
    let mut page = String::new();
    let mut names: Vec<&str> =
        results.iter().map(|result| result.device.name.as_str()).filter(|&name| name != "cpu").collect();
    names.dedup();
    let title = if names.is_empty() { "the CPU alone".into() } else { names.join(", ") };
    let (os, arch, date) = (std::env::consts::OS, std::env::consts::ARCH, now().date());
    let program = version();
    _ = write!(page, "# mnist-wgpu on {title}\n\n{program}, {os} on {arch}, {date}; by `mnist-wgpu bench --report`.\n\n");
    page += &told_devices(devices, results);
    page += &told_selftests(devices, selftests);
    page += &told_training(results, network);
    let first = results.first().map(|result| result.batch_size);
    for result in results.iter().filter(|result| Some(result.batch_size) == first) {
        let Some(measured) = &result.kernels else { continue };
        let (name, batch_size) = (&result.device.name, result.batch_size);
        _ = write!(page, "## Kernels: {name}, batch {batch_size}\n\n```\n{}```\n\n", kernels::table(measured));
    }
    page + &super::host_line(host)
}

fn told_devices(devices: &Value, results: &[Measured]) -> String {
    let mut page =
        "## Devices\n\n| | kind | backend | driver | bound up to | subgroups | f16 |\n|---|---|---|---|---|---|---|\n"
            .to_string();
    for device in devices["adapters"].as_array().into_iter().flatten() {
        let text = |key: &str| device[key].as_str().unwrap_or_default();
        let subgroups = device["subgroup_sizes"].as_array().map(|sizes| {
            let sizes: Vec<String> = sizes.iter().map(Value::to_string).collect();
            sizes.join(" to ")
        });
        let mebibytes = device["max_binding_bytes"].as_u64().unwrap_or_default() >> 20;
        let f16 = if device["f16"] == true { "yes" } else { "no" };
        _ = writeln!(
            page,
            "| {} {} | {} | {} | {} | {mebibytes} MiB | {} | {f16} |",
            device["index"],
            text("name"),
            text("kind"),
            text("backend"),
            text("driver"),
            subgroups.unwrap_or("none".into())
        );
    }
    let cpu = results.iter().find(|result| result.device.backend.is_none());
    let instructions = cpu.and_then(|cpu| cpu.device.instructions.as_deref()).unwrap_or("");
    _ = writeln!(page, "| CPU path | {} threads | | {instructions} | | | |", devices["cpu"]["threads"]);
    let auto = &devices["auto"];
    let (device, why) = (auto["device"].as_str().unwrap_or_default(), auto["why"].as_str().unwrap_or_default());
    page + &format!("\n`--device auto` takes {device}: {why}.\n\n")
}

fn told_selftests(devices: &Value, selftests: &[Selftest]) -> String {
    let mut page = "## Selftest\n\nOp by op against the CPU path, within derived bounds; exact where it has to be.\n\n\
                    | device | checks passed | largest error, of what is allowed | s |\n|---|---|---|---|\n"
        .to_string();
    let mut wrong = String::new();
    for Selftest { device, report } in selftests {
        let name =
            device.parse().ok().and_then(|index: usize| devices["adapters"][index]["name"].as_str()).unwrap_or(device);
        let report = match report {
            Ok(report) => report,
            Err(problem) => {
                _ = writeln!(page, "| {name} | **none: {problem}** | | |");
                continue;
            }
        };
        let checks: Vec<&Value> = report["checks"].as_array().into_iter().flatten().collect();
        let passed = checks.iter().filter(|check| check["passed"] == true).count();
        let shares = checks.iter().flat_map(|check| check["shares"].as_array()).flatten();
        let largest = shares.filter_map(|share| share["share"].as_f64()).fold(0.0, f64::max);
        let seconds = report["seconds"].as_f64().unwrap_or_default();
        let mark = if passed == checks.len() && passed > 0 { "" } else { "**" };
        _ = writeln!(page, "| {name} | {mark}{passed} of {}{mark} | {:.0}% | {seconds:.1} |", checks.len(), 100.0 * largest);
        for failure in checks.iter().map(|check| &check["failure"]).filter(|failure| !failure.is_null()) {
            let text = |key: &str| failure[key].as_str().unwrap_or_default();
            _ = writeln!(wrong, "- {name}: {}: {}", text("case"), text("message"));
        }
        if let Some(error) = report["error"].as_str() {
            _ = writeln!(wrong, "- {name}: {error}");
        }
    }
    if selftests.is_empty() {
        page += "| no GPU | | | |\n";
    }
    page + "\n" + &wrong + if wrong.is_empty() { "" } else { "\n" }
}

fn told_training(results: &[Measured], network: &str) -> String {
    let mut page = format!(
        "## Training\n\n{network} \"Over the CPU\" is the CPU path's time for a step of the same size over the \
         device's.\n\n| device | batch | ms a step | least to most | images/s | GFLOP/s | over the CPU | first step, s |\n\
         |---|---|---|---|---|---|---|---|\n"
    );
    for result in results {
        let on_cpu = results.iter().find(|other| other.device.backend.is_none() && other.batch_size == result.batch_size);
        let over = on_cpu.map_or("".into(), |cpu| format!("{:.2}", cpu.ms_per_step.median / result.ms_per_step.median));
        let (ms, name) =
            (&result.ms_per_step, if result.device.backend.is_none() { "CPU path" } else { &result.device.name });
        _ = writeln!(
            page,
            "| {name} | {} | {:.3} | {:.3} to {:.3} | {:.0} | {:.1} | {over} | {:.2} |",
            result.batch_size,
            ms.median,
            ms.min,
            ms.max,
            result.images_per_second,
            result.gflops_per_second,
            result.first_step_seconds
        );
    }
    page + "\n"
}
