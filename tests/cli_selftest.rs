//! `selftest` runs every check on the device asked for, and says so in words, in JSON and in its exit code.

use std::process::{Command, Output};

fn selftest(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mnist-wgpu"));
    command.env_remove("RUST_LOG").arg("selftest").args(arguments);
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[track_caller]
fn refuses(output: &Output, parts: &[&str]) {
    let message = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{message}");
    assert!(!message.contains("panicked"), "{message}");
    parts.iter().for_each(|part| assert!(message.contains(part), "{part:?} is not in {message:?}"));
}

#[test]
fn every_check_passes_on_this_machines_device() {
    let output = selftest(&["--json"]).output().expect("the program starts");
    assert!(output.status.success(), "{}\n{}", text(&output.stderr), text(&output.stdout));
    let devices: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON on stdout");
    assert_eq!(devices[0]["passed"], true);
    let checks = devices[0]["checks"].as_array().expect("a list of checks");
    for name in ["gather", "conv2d", "conv2d_relu_maxpool2d", "linear", "dropout", "cross_entropy", "sgd", "training step"] {
        let of_name: Vec<_> = checks.iter().filter(|check| check["name"] == name).collect();
        assert!(!of_name.is_empty(), "{name} was not checked");
        assert!(
            of_name.iter().all(|check| check["passed"] == true && !check["entry_points"].as_array().unwrap().is_empty())
        );
    }
    let shares = checks.iter().flat_map(|check| check["shares"].as_array().unwrap());
    assert!(shares.clone().count() > 30 && shares.clone().all(|share| share["share"].as_f64().is_some_and(|s| s <= 1.0)));
}

#[test]
fn the_cpu_path_and_a_device_that_is_not_there_are_refused_with_what_to_do() {
    refuses(&selftest(&["--device", "cpu"]).output().unwrap(), &["the CPU path is what", "--device"]);
    refuses(&selftest(&["--device", "no such device"]).output().unwrap(), &["no such device"]);
}

#[cfg(target_os = "linux")]
#[test]
fn without_an_adapter_it_says_what_to_install() {
    for device in ["gpu", "all"] {
        let mut command = selftest(&["--device", device]);
        command.env("VK_DRIVER_FILES", "/nonexistent").env("VK_ICD_FILENAMES", "/nonexistent");
        refuses(&command.output().unwrap(), &["no GPU", "no Vulkan driver was found"]);
    }
}
