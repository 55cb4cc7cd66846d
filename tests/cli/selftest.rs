//! `selftest` runs every check on the device asked for, and says so in words, in JSON and in its exit code.

use crate::harness::*;
use mnist_wgpu::ops::SHADERS;
use std::collections::BTreeSet;

#[test]
fn every_check_passes_on_this_machines_device() {
    let ended = run_alone(&["selftest", "--json"]).expect(0, &["Device: "]);
    let devices: serde_json::Value = serde_json::from_str(&ended.stdout).expect("JSON on stdout");
    assert_eq!(devices[0]["passed"], true);
    let checks = devices[0]["checks"].as_array().expect("a list of checks");
    assert!(checks.iter().all(|check| check["passed"] == true));
    assert!(checks.iter().any(|check| check["name"] == "training step"));
    let ran = checks.iter().flat_map(|check| check["entry_points"].as_array().unwrap());
    let ran: BTreeSet<String> = ran.map(|entry| entry.as_str().unwrap().into()).collect();
    let entries = SHADERS.iter().flat_map(|shader| {
        let interfaces = shader.interfaces().unwrap();
        interfaces.into_iter().map(|interface| format!("{}.{}", shader.op, interface.entry))
    });
    assert_eq!(ran, entries.collect(), "left: entry points that were checked, right: all");
    let shares = checks.iter().flat_map(|check| check["shares"].as_array().unwrap());
    assert!(shares.clone().count() > 30 && shares.clone().all(|share| share["share"].as_f64().is_some_and(|s| s <= 1.0)));
}

#[test]
fn the_cpu_path_and_a_device_that_is_not_there_are_refused_with_what_to_do() {
    run_alone(&["selftest", "--device", "cpu"]).expect(1, &["the CPU path is what", "--device"]);
    run_alone(&["selftest", "--device", "no such device"]).expect(1, &["no such device"]);
}

#[cfg(target_os = "linux")]
#[test]
fn without_an_adapter_it_says_what_to_install() {
    for device in ["gpu", "all"] {
        let folder = tempfile::tempdir().unwrap();
        let ended = run(without_gpu(&mut program(folder.path())).args(["selftest", "--device", device]));
        ended.expect(1, &["no GPU", "no Vulkan driver was found"]);
    }
}
