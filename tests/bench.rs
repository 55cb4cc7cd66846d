//! The measuring tools' promises, kept by the program itself: complete, consistent figures in a form that programs can
//! read.

mod common;

use mnist_wgpu::data::{Dataset, synthetic};
use mnist_wgpu::engine::{GpuEngine, Settings};
use mnist_wgpu::gpu::{Adapters, Options};
use mnist_wgpu::model::Model;
use mnist_wgpu::ops::{lanes, maxpool2d};
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use tempfile::tempdir;

/// A program that measures as shortly as it can.
fn bench<S: AsRef<std::ffi::OsStr>>(arguments: &[S]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mnist-wgpu"));
    command.env_remove("RUST_LOG").args(["bench", "--seconds", "1"]).args(arguments).output().expect("the program starts")
}

#[track_caller]
fn json<S: AsRef<std::ffi::OsStr>>(arguments: &[S]) -> Value {
    let output = bench(arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("stdout is JSON and nothing else")
}

/// A figure of `value`, which must be a positive one.
#[track_caller]
fn positive(value: &Value, path: &str) -> f64 {
    let found = value.pointer(path).unwrap_or_else(|| panic!("no {path} in {value}"));
    let number = found.as_f64().unwrap_or_else(|| panic!("{path} is {found}"));
    assert!(number.is_finite() && number > 0.0, "{path} is {number}");
    number
}

#[track_caller]
fn about(got: f64, want: f64) {
    assert!((got - want).abs() <= 1e-6 * want.abs(), "{got} instead of {want}");
}

/// A few digits.
fn digits() -> Dataset {
    synthetic(100, 10, 0)
}

/// The classic network, planned for a batch of 32 on the first adapter: what its dispatches are, to hold figures
/// against.
fn dispatches() -> Vec<(String, u64, u64)> {
    let context = &common::contexts(&common::BOTH[1..])[0];
    let model = Model::classic([1, 28, 28], 10, 0.5).expect("the classic network");
    let data = digits();
    let engine = GpuEngine::new(context, &model, &data, Settings::default()).expect("an engine");
    engine.training_steps().map(|step| (step.label.clone(), step.flops, step.bytes)).collect()
}

#[test]
fn the_flops_of_a_steps_dispatches_add_up_to_the_models_in_any_plan() {
    let adapters = pollster::block_on(Adapters::noop());
    let context = pollster::block_on(adapters.open(0, Options::default())).expect("the no-op device opens");
    let layers = Model::classic_layers(10, 0.5);
    let pool_first = [&[maxpool2d::Settings { size: 2 }.into()], &layers[..1], &layers[6..]].concat();
    for (layers, per_sample) in [(layers, Some(15_396_864)), (pool_first, None)] {
        let model = Model::new([1, 28, 28], layers, 10).expect("a network");
        let data = digits();
        for fuse in [true, false] {
            let settings = Settings { batch_size: 7, fuse, ..Settings::default() };
            let engine = GpuEngine::new(&context, &model, &data, settings).expect("an engine");
            assert_eq!(engine.training_steps().map(|step| step.flops).sum::<u64>(), model.training_flops(7), "fuse {fuse}");
        }
        assert!(per_sample.is_none_or(|flops| model.training_flops(7) == 7 * flops));
    }
}

/// What must hold of every result.
fn check_result(result: &Value, batch_size: f64) {
    assert_eq!(result["batch_size"], batch_size);
    let ms = |part: &str| positive(result, &format!("/ms_per_step/{part}"));
    assert!(ms("min") <= ms("lower_quartile") && ms("lower_quartile") <= ms("median"));
    assert!(ms("median") <= ms("upper_quartile") && ms("upper_quartile") <= ms("max"));
    assert!(ms("samples") >= 3.0);
    about(positive(result, "/images_per_second"), batch_size * 1e3 / ms("median"));
    about(positive(result, "/flops_per_step"), 15_396_864.0 * batch_size);
    about(positive(result, "/gflops_per_second"), 15_396_864.0 * batch_size / ms("median") / 1e6);
    // A step that comes first is none that is faster than all others.
    assert!(positive(result, "/first_step_seconds") * 1e3 > ms("min"));
    if cfg!(target_os = "linux") {
        let memory = positive(result, "/peak_memory_bytes");
        assert!(memory > 60_000.0 * 784.0, "less than the images alone: {memory}");
    }
}

#[test]
fn json_of_all_devices_has_every_figure_of_each_batch_size() {
    let report = json(&["--device", "all", "--batch-size", "1,33", "--json"]);
    assert_eq!(report["version"], env!("CARGO_PKG_VERSION"));
    let results = report["results"].as_array().expect("results");
    assert_eq!(results.len() % 2, 0);
    for pair in results.chunks(2) {
        check_result(&pair[0], 1.0);
        check_result(&pair[1], 33.0);
        assert_eq!(pair[0]["device"], pair[1]["device"]);
        assert_eq!(pair[0]["kernels"], Value::Null, "not asked for");
    }
    let (gpu, cpu) = (&results[0], &results[results.len() - 1]);
    assert!(positive(gpu, "/dispatches_per_step") >= 8.0);
    assert_eq!(cpu["device"]["kind"], "CPU path");
    assert_eq!(cpu["dispatches_per_step"], Value::Null);
    positive(cpu, "/device/threads");
    assert_eq!(
        (&cpu["device"]["instructions"], &gpu["device"]["instructions"]),
        (&lanes::instructions().into(), &Value::Null)
    );

    let us = positive(&report, "/host/microseconds_per_step");
    let batchings = report["host"]["batchings"].as_array().expect("batchings");
    let all = batchings.iter().map(|batching| positive(batching, "/microseconds_per_step/median"));
    assert_eq!(us, all.fold(f64::INFINITY, f64::min), "the best batching's");
    assert!(us < 1e4, "{us} us to encode a step");
}

#[test]
fn kernels_and_trace_show_every_dispatch_of_a_step() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("new folder").join("trace.json");
    let trace_to = path.to_str().unwrap();
    let report = json(&["--device", "gpu", "--kernels", "--trace", trace_to, "--json"]);
    let expected = dispatches();
    let kernels = &report["results"][0]["kernels"];
    let found: Vec<_> = kernels["dispatches"].as_array().expect("dispatches").iter().collect();
    assert_eq!(found.len(), expected.len());
    let mut share = 0.0;
    for (found, (name, flops, bytes)) in found.iter().zip(&expected) {
        assert_eq!((&found["name"], &found["flops"]), (&Value::from(name.as_str()), &Value::from(*flops)));
        if !name.starts_with("gather") {
            assert_eq!(found["bytes"], *bytes, "{name}");
        }
        let ms = positive(found, "/ms");
        about(positive(found, "/gbytes_per_second"), found["bytes"].as_f64().unwrap() / ms / 1e6);
        share += positive(found, "/share");
    }
    about(share, 1.0);
    positive(kernels, "/peak_gflops_per_second");
    let of_peak = positive(kernels, "/convolutions_share_of_peak");
    assert!(of_peak < 2.25, "{of_peak}: Winograd saves no more than that, and nothing exceeds the peak");

    let trace: Value = serde_json::from_slice(&fs::read(&path).expect("a trace")).expect("JSON");
    let events = trace["traceEvents"].as_array().expect("events");
    let (meta, complete): (Vec<_>, Vec<_>) = events.iter().partition(|event| event["ph"] == "M");
    let named: Vec<_> = meta.iter().map(|event| event["name"].as_str().unwrap()).collect();
    assert_eq!(named, ["process_name", "thread_name"]);
    assert!(complete.iter().all(|event| event["ph"] == "X") && !complete.is_empty());
    assert_eq!(complete.len() % expected.len(), 0);
    for step in complete.chunks(expected.len()) {
        let mut end = 0.0;
        for (event, (name, flops, _)) in step.iter().zip(&expected) {
            assert_eq!((&event["name"], &event["args"]["flops"]), (&Value::from(name.as_str()), &Value::from(*flops)));
            let (ts, dur) = (event["ts"].as_f64().unwrap(), event["dur"].as_f64().unwrap());
            assert!(ts >= end - 1.0 && dur > 0.0, "{name} at {ts} for {dur} us, but the one before ended at {end}");
            end = ts + dur;
        }
    }
}

#[test]
fn the_table_is_for_people() {
    let output = bench(&["--device", "gpu", "--kernels"]);
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    for part in ["ms/step", "images/s", "first step", "memory", "GB/s", "in registers", "The host encodes"] {
        assert!(text.contains(part), "{part:?} is not in {text}");
    }
    for (name, ..) in dispatches() {
        assert!(text.contains(&name), "{name} is not in {text}");
    }
}

#[test]
fn the_report_has_every_device_its_selftest_and_the_figures_that_were_measured() {
    let folder = tempdir().unwrap();
    let page = folder.path().join("report.md");
    let layers = "conv 8 3, bn, relu, pool 2, linear";
    let report = ["--report", page.to_str().unwrap(), "--batch-size", "8,16", "--model", layers, "--json"];
    let found = json(&report);
    let page = fs::read_to_string(&page).unwrap();
    let results = found["results"].as_array().unwrap();
    let adapters = pollster::block_on(Adapters::find());
    assert_eq!(results.len(), 2 * (adapters.len() + 1), "each device at both batch sizes");
    let has = |part: &str| assert!(page.contains(part), "{part:?} is not in {page}");
    for (index, info) in adapters.infos().enumerate() {
        has(&format!("| {index} {} | ", info.name));
        has(&format!("## Kernels: {}, batch 8", info.name));
    }
    for result in results {
        let ms = positive(result, "/ms_per_step/median");
        has(&format!(" | {} | {ms:.3} | ", result["batch_size"]));
    }
    assert_eq!(page.matches("## Kernels").count(), adapters.len(), "of the first batch size alone");
    for part in [layers, "CPU path", "`--device auto` takes", " of 2", "conv2d.backward_params", "The host encodes"] {
        has(part);
    }
    assert!(!page.contains("**"), "something failed: {page}");
}

/// Checks that the program refuses `arguments` before it measures, naming `parts`.
#[track_caller]
fn refused<S: AsRef<std::ffi::OsStr>>(code: i32, arguments: &[S], parts: &[&str]) {
    let output = bench(arguments);
    let stderr = String::from_utf8(output.stderr).expect("UTF-8");
    assert_eq!(output.status.code(), Some(code), "{stderr}");
    assert!(output.stdout.is_empty(), "{:?}", output.stdout);
    for part in parts {
        assert!(stderr.contains(part), "{part:?} is not in {stderr:?}");
    }
}

#[test]
fn what_cannot_be_measured_or_written_is_refused_and_named() {
    for batch_size in ["0", "4097", "32,,64", "many"] {
        refused(2, &["--batch-size", batch_size], &["--batch-size"]);
    }
    refused(1, &["--device", "no such device"], &["no such device"]);
    refused(1, &["--device", "cpu", "--trace", "unwritten.json"], &["timestamps"]);
    assert!(!Path::new("unwritten.json").exists());

    let folder = tempdir().unwrap();
    let old = folder.path().join("a file");
    fs::write(&old, "old").unwrap();
    for unwritable in [folder.path().to_path_buf(), old.join("trace.json")] {
        let trace = unwritable.to_str().unwrap();
        refused(1, &["--device", "gpu", "--trace", trace], &["cannot write the trace", trace]);
        refused(1, &["--device", "gpu", "--report", trace], &["cannot write the report", trace]);
    }
    // What is there stays until there is something to take its place.
    refused(1, &["--device", "cpu", "--trace", old.to_str().unwrap()], &["exists; --force overwrites it"]);
    refused(1, &["--device", "cpu", "--force", "--trace", old.to_str().unwrap()], &["timestamps"]);
    assert_eq!(fs::read_to_string(&old).unwrap(), "old");
}

#[test]
fn no_temporary_folder_is_needed() {
    let folder = tempdir().expect("a temporary folder");
    let missing = folder.path().join("missing");
    let mut command = Command::new(env!("CARGO_BIN_EXE_mnist-wgpu"));
    command.args(["bench", "--seconds", "1", "--device", "cpu", "--batch-size", "8", "--json"]);
    let output = command.envs(["TMPDIR", "TMP", "TEMP"].map(|name| (name, &missing))).output().expect("the program starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
