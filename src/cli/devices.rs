//! `devices`: what --device can choose, and what it takes by itself.

use super::device::{auto_reason, driver, hardware};
use super::fastest::{self, Job, Speed};
use super::version::version;
use super::{Failure, print, tell};
use mnist_wgpu::engine::Settings;
use mnist_wgpu::gpu::Adapters;
use mnist_wgpu::gpu::context::kind;
use mnist_wgpu::model::Model;
use serde::Serialize;
use wgpu::{Adapter, AdapterInfo, Features};

const EXAMPLES: &str = "\
Examples:
  mnist-wgpu devices
  mnist-wgpu devices --json | jq '.adapters[].name'";

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// Measure again which is the fastest
    #[arg(long)]
    remeasure: bool,

    /// Print JSON for programs instead of a list
    #[arg(long)]
    json: bool,
}

/// All that `devices --json` prints. Fields keep their names and units from version to version; new ones may come.
#[derive(Serialize)]
struct Report {
    /// Of this program.
    version: &'static str,
    auto: Auto,
    /// In the order of their numbers; software rasterisers last.
    adapters: Vec<Device>,
    cpu: Cpu,
}

/// What `--device auto` takes.
#[derive(Serialize)]
struct Auto {
    /// As `--device` would have it: a number, or `cpu`.
    device: String,
    why: String,
    /// A training step of the classic network, batch 32, on each device that it may take; empty where there is no
    /// choice.
    measured: Vec<Measured>,
}

#[derive(Serialize)]
struct Measured {
    /// As `--device` would have it.
    device: String,
    /// None if it cannot train.
    ms_per_step: Option<f64>,
}

#[derive(Serialize)]
struct Device {
    /// The number that `--device` takes.
    index: usize,
    name: String,
    /// `discrete GPU`, `integrated GPU`, ..., `software rasteriser`.
    kind: &'static str,
    /// `vulkan`, `metal`, `dx12`
    backend: String,
    driver: String,
    /// The largest buffer, and how much of one a kernel can be given.
    max_buffer_bytes: u64,
    max_binding_bytes: u64,
    /// Whether dispatches can be timed, as `bench --kernels` does.
    timestamps: bool,
    /// Least and greatest number of invocations in a subgroup; none without subgroups.
    subgroup_sizes: Option<[u32; 2]>,
    /// Whether shaders can compute in 16-bit floats. No kernel does yet.
    f16: bool,
}

#[derive(Serialize)]
struct Cpu {
    threads: usize,
}

pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let adapters = pollster::block_on(Adapters::find());
    let infos: Vec<_> = adapters.infos().collect();
    let model = Model::classic([1, 28, 28], 10, 0.5)?;
    let job = Job { model: &model, settings: Settings::default() };
    let speeds = fastest::speeds(&adapters, hardware(&infos), &job, arguments.remeasure);
    let as_option = |adapter: Option<usize>| adapter.map_or("cpu".to_string(), |index| index.to_string());
    let why = match speeds.is_empty() {
        true => auto_reason(&infos).to_string(),
        false => format!("the fastest with the classic network: {}", fastest::line(&speeds)),
    };
    let measured = |speed: &Speed| Measured { device: as_option(speed.adapter), ms_per_step: speed.ms_per_step };
    let measured = speeds.iter().map(measured).collect();
    let described = infos.iter().enumerate().filter_map(|(index, info)| Some(describe(index, info, adapters.get(index)?)));
    let report = Report {
        version: version(),
        auto: Auto { device: as_option(fastest::fastest(&speeds)), why, measured },
        adapters: described.collect(),
        cpu: Cpu { threads: rayon::current_num_threads() },
    };
    if arguments.json {
        print(&(serde_json::to_string_pretty(&report)? + "\n"))?;
    } else {
        print(&text(&report))?;
    }
    if infos.is_empty() {
        tell(format_args!("No GPU: {}, or use `--device cpu`.", Adapters::none_found()));
    }
    Ok(())
}

fn describe(index: usize, info: &AdapterInfo, adapter: &Adapter) -> Device {
    let (limits, features) = (adapter.limits(), adapter.features());
    let subgroups = features.contains(Features::SUBGROUP);
    Device {
        index,
        name: info.name.clone(),
        kind: kind(info),
        backend: info.backend.to_string(),
        driver: driver(info),
        max_buffer_bytes: limits.max_buffer_size,
        max_binding_bytes: limits.max_storage_buffer_binding_size,
        timestamps: features.contains(Features::TIMESTAMP_QUERY),
        subgroup_sizes: subgroups.then_some([info.subgroup_min_size, info.subgroup_max_size]),
        f16: features.contains(Features::SHADER_F16),
    }
}

/// The report for people.
fn text(report: &Report) -> String {
    let mut text = String::new();
    let mark = |device: &str| if report.auto.device == device { "  <- auto" } else { "" };
    for device in &report.adapters {
        let Device { index, name, kind, backend, driver, .. } = device;
        let (buffer, binding) = (bytes(device.max_buffer_bytes), bytes(device.max_binding_bytes));
        let subgroups = match device.subgroup_sizes {
            None => "no subgroups".into(),
            Some([least, greatest]) if least == greatest => format!("subgroups of {least}"),
            Some([least, greatest]) => format!("subgroups of {least} to {greatest}"),
        };
        let has = |has: bool, what: &str| if has { what.to_string() } else { format!("no {what}") };
        let features = [has(device.timestamps, "timestamps"), subgroups, has(device.f16, "f16")].join(", ");
        text += &format!("{index:>3}  {name}\n");
        text += &format!("     kind      {kind}, {backend}, {driver}{}\n", mark(&index.to_string()));
        text += &format!("     memory    buffers of up to {buffer}, bound up to {binding}\n");
        text += &format!("     features  {features}\n");
    }
    text += &format!("cpu  this program's CPU path, {} threads{}\n", report.cpu.threads, mark("cpu"));
    text + &format!("\n--device auto takes {}: {}.\n", report.auto.device, report.auto.why)
}

/// `1.5 GiB`
fn bytes(count: u64) -> String {
    let units = ["bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let power = if count == 0 { 0 } else { count.ilog2() / 10 };
    let value = count as f64 / 1024f64.powi(power as i32);
    // As few digits as say it: 128 MiB, but 1.5 GiB.
    let tenths = (value * 10.0).round() / 10.0;
    format!("{tenths} {}", units[power as usize])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_told_in_the_largest_unit_that_it_fills() {
        let texts = [0, 1023, 1024, 128 << 20, 3 << 29, u64::MAX].map(bytes);
        assert_eq!(texts, ["0 bytes", "1023 bytes", "1 KiB", "128 MiB", "1.5 GiB", "16 EiB"]);
    }
}
