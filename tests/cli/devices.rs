//! Choosing a device, and machines without one.

use crate::harness::*;
use tempfile::tempdir;

#[test]
fn an_unknown_device_gets_the_list_of_those_there_are() {
    let devices = run_alone(&["devices"]).expect(0, &[]).stdout;
    // A device's line begins with its number.
    let names =
        devices.lines().filter_map(|line| line.trim_start().split_once("  ").filter(|(n, _)| n.parse::<u32>().is_ok()));
    let names: Vec<&str> = names.map(|(_, name)| name).collect();
    for asked in ["99", "no such device"] {
        let (folder, _) = folder_with_run();
        let ended = run(program(folder.path()).args(["train", "--device", asked])).expect(1, &[asked, "\n  cpu"]);
        for name in &names {
            assert!(ended.stderr.contains(name), "{name:?} is not in {}", ended.stderr);
        }
        assert!(!ended.stderr.contains("Data:"), "data was loaded for nothing: {}", ended.stderr);
        untouched(&folder);
    }
}

#[test]
fn devices_marks_what_auto_takes() {
    let devices = run_alone(&["devices"]).expect(0, &[]).stdout;
    // Each adapter has four lines, the second of them its kind; then come the CPU, an empty line, and what auto takes
    // and why.
    let lines: Vec<&str> = devices.lines().collect();
    let (adapters, [cpu, "", auto]) = lines.split_at(lines.len() - 3) else { panic!("{devices}") };
    assert!(cpu.starts_with("cpu  ") && adapters.len() % 4 == 0, "{devices}");
    let taken = adapters.chunks(4).position(|adapter| !adapter[1].contains("software rasteriser"));
    for (index, adapter) in adapters.chunks(4).enumerate() {
        assert_eq!(adapter[1].ends_with("  <- auto"), taken == Some(index), "{devices}");
    }
    assert_eq!(cpu.ends_with("  <- auto"), taken.is_none(), "{devices}");
    let name = taken.map_or("cpu".into(), |index| index.to_string());
    assert!(auto.starts_with(&format!("--device auto takes {name}: ")), "{devices}");
}

#[cfg(target_os = "linux")]
#[test]
fn without_any_gpu_devices_says_what_to_install() {
    let folder = tempdir().unwrap();
    let ended = run(without_gpu(&mut program(folder.path())).arg("devices")).expect(0, &["Vulkan", "install"]);
    let (cpu, auto) = ended.stdout.split_once("\n\n").unwrap();
    assert!(cpu.starts_with("cpu ") && cpu.lines().count() == 1 && cpu.ends_with("<- auto"), "{cpu}");
    assert_eq!(auto, "--device auto takes cpu: no GPU found.\n");
}

#[cfg(target_os = "linux")]
#[test]
fn without_any_gpu_asking_for_one_fails_and_auto_takes_the_cpu() {
    let (folder, _) = folder_with_run();
    let ended = run(without_gpu(&mut program(folder.path())).args(["train", "--device", "gpu"]));
    ended.expect(1, &["no GPU", "install", "--device cpu"]);
    let ended = run(without_gpu(&mut program(folder.path())).args(["train", "--device", "0"]));
    ended.expect(1, &["no device number 0", "\n  cpu"]);
    untouched(&folder);
    let ended = run(without_gpu(&mut program(folder.path())).arg("eval").arg(&trained().0).args(["--device", "auto"]));
    let ended = ended.expect(0, &["Device: the CPU", "no GPU found"]);
    assert_eq!(masked(ended.first_line()), TEST);
}

#[cfg(target_os = "linux")]
#[test]
fn the_variable_that_hides_a_gpu_is_named() {
    let (folder, _) = folder_with_run();
    for (name, value) in [("WGPU_BACKEND", "gl"), ("VK_DRIVER_FILES", "/no/driver.json"), ("VK_ICD_FILENAMES", "/nowhere")] {
        let with = |arguments: &[&str]| {
            let mut command = program(folder.path());
            command.env_remove("VK_DRIVER_FILES").env_remove("VK_ICD_FILENAMES").env(name, value);
            run(command.args(arguments))
        };
        let told = format!("no Vulkan driver was found, perhaps because of {name}={value}: try it without");
        with(&["devices"]).expect(0, &[&told, "install"]);
        with(&["train", "--device", "gpu"]).expect(1, &[&told, "--device cpu"]);
        with(&["selftest"]).expect(1, &[&told]);
    }
    untouched(&folder);
}

#[cfg(target_os = "linux")]
#[test]
fn a_machine_without_a_display_gets_no_error_of_a_librarys() {
    let folder = tempdir().unwrap();
    for value in [None, Some(""), Some("relative")] {
        let mut command = program(folder.path());
        value.map(|value| command.env("XDG_RUNTIME_DIR", value));
        let ended = run(command.arg("devices")).expect(0, &[]);
        assert!(!ended.stderr.contains("error"), "XDG_RUNTIME_DIR {value:?}: {}", ended.stderr);
    }
}
