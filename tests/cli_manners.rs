//! The command line's manners: help, version, manual, completions, the list of devices, and what it says to a slip of the finger.

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use tempfile::tempdir;

/// Every subcommand that is not hidden.
const SUBCOMMANDS: [&str; 6] = ["train", "eval", "devices", "bench", "completions", "man"];
const ESCAPE: char = '\u{1b}';

fn program(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mnist-wgpu"));
    command.args(arguments).stdin(Stdio::null());
    for variable in ["NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "RUST_LOG"] {
        command.env_remove(variable);
    }
    command
}

/// Exit code, stdout and stderr.
fn ended(command: &mut Command) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = command.output().expect("the program starts");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8 output");
    let (stdout, stderr) = (text(stdout), text(stderr));
    assert!(!stderr.contains("panicked"), "{stderr}");
    (status.code(), stdout, stderr)
}

#[track_caller]
fn stdout(arguments: &[&str]) -> String {
    let (code, stdout, stderr) = ended(&mut program(arguments));
    assert_eq!(code, Some(0), "{stderr}");
    stdout
}

#[test]
fn version_names_the_revision_and_wgpu() {
    let version = stdout(&["--version"]);
    assert!(version.starts_with(concat!("mnist-wgpu ", env!("CARGO_PKG_VERSION"))), "{version}");
    assert_eq!(version.lines().count(), 1);
    let lock = include_str!("../Cargo.lock").replace("\r\n", "\n");
    let wgpu = lock.split_once("name = \"wgpu\"\nversion = \"").unwrap().1.split('"').next().unwrap();
    assert!(version.trim_end().ends_with(&format!("wgpu {wgpu})")), "{version}");
    let git = Command::new("git").args(["rev-parse", "--show-prefix"]).current_dir(env!("CARGO_MANIFEST_DIR")).output();
    if git.is_ok_and(|git| git.status.success() && git.stdout.trim_ascii().is_empty()) {
        let revision = version.split(['(', ',']).nth(1).unwrap().trim_end_matches('+');
        assert!(revision.len() >= 7 && revision.chars().all(|c| c.is_ascii_hexdigit()), "{version}");
    }
}

#[test]
fn help_gives_an_example_of_each_subcommand() {
    for subcommand in SUBCOMMANDS {
        let help = stdout(&[subcommand, "--help"]);
        assert!(help.contains("Example") && help.contains(&format!("  mnist-wgpu {subcommand}")), "{help}");
    }
}

#[test]
fn completions_of_each_shell_know_every_subcommand() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = stdout(&["completions", shell]);
        for word in SUBCOMMANDS.iter().chain(&["device"]) {
            assert!(script.contains(word), "{word} is not in the script for {shell}");
        }
    }
}

#[test]
fn man_prints_the_page_of_the_program_and_writes_those_of_all_subcommands() {
    assert!(stdout(&["man"]).contains(".TH mnist-wgpu 1"));
    let folder = tempdir().unwrap();
    let pages = folder.path().join("share/man1");
    stdout(&["man", pages.to_str().unwrap()]);
    let mut names: Vec<_> = fs::read_dir(&pages).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    let mut expected: Vec<_> = SUBCOMMANDS.iter().map(|name| format!("mnist-wgpu-{name}.1")).collect();
    expected.push("mnist-wgpu.1".into());
    expected.sort();
    assert_eq!(names, expected);
    let train = fs::read_to_string(pages.join("mnist-wgpu-train.1")).unwrap();
    assert!(train.contains("batch\\-size") && train.contains("Examples:"), "{train}");
}

#[test]
fn a_folder_for_man_that_is_a_file_is_named() {
    let folder = tempdir().unwrap();
    let file = folder.path().join("a file");
    fs::write(&file, "kept").unwrap();
    let (code, _, stderr) = ended(&mut program(&["man", file.to_str().unwrap()]));
    assert!(code == Some(1) && stderr.contains("a file") && stderr.contains("name a folder"), "{stderr}");
    assert_eq!(fs::read_to_string(&file).unwrap(), "kept");
}

#[test]
fn devices_as_json_say_what_auto_takes_and_why() {
    let report: serde_json::Value = serde_json::from_str(&stdout(&["devices", "--json"])).unwrap();
    let adapters = report["adapters"].as_array().unwrap();
    for (index, adapter) in adapters.iter().enumerate() {
        assert_eq!(adapter["index"], index);
        for key in ["name", "kind", "backend", "driver", "variant"] {
            assert!(adapter[key].as_str().is_some_and(|text| !text.is_empty()), "{key} in {adapter}");
        }
        assert!(adapter["variants"].as_array().unwrap().contains(&adapter["variant"]), "{adapter}");
        // WebGPU guarantees as much.
        assert!(adapter["max_buffer_bytes"].as_u64().unwrap() >= 256 << 20, "{adapter}");
        assert!(adapter["max_binding_bytes"].as_u64().unwrap() >= 128 << 20, "{adapter}");
        assert!(adapter["timestamps"].is_boolean() && adapter["f16"].is_boolean(), "{adapter}");
    }
    let hardware = adapters.iter().position(|adapter| adapter["kind"] != "software rasteriser");
    let auto = &report["auto"];
    assert_eq!(auto["device"], hardware.map_or("cpu".into(), |index| index.to_string()));
    assert!(auto["why"].as_str().unwrap().contains("GPU"), "{auto}");
    assert!(report["cpu"]["threads"].as_u64().unwrap() > 0);
}

#[test]
fn a_slip_of_the_finger_is_told_the_right_word() {
    let cases: [(&[&str], &str); 4] = [
        (&["trian"], "train"),
        (&["train", "--bath-size", "3"], "--batch-size"),
        (&["devices", "--jsno"], "--json"),
        (&["completions", "fsh"], "fish"),
    ];
    for (arguments, meant) in cases {
        let (code, stdout, stderr) = ended(&mut program(arguments));
        assert!(code == Some(2) && stdout.is_empty(), "{arguments:?} ends with {code:?}");
        assert!(stderr.contains("similar") && stderr.contains(meant), "{stderr}");
    }
}

#[test]
fn a_slip_in_a_device_is_told_the_right_word_and_what_there_is() {
    let folder = tempdir().unwrap();
    let (code, _, stderr) = ended(program(&["train", "--device", "gup"]).current_dir(folder.path()));
    assert_eq!(code, Some(1), "{stderr}");
    assert!(stderr.contains("did you mean `gpu`?") && stderr.contains("\n  cpu"), "{stderr}");
    assert_eq!(entries(folder.path()), 0, "something was left behind");
}

fn entries(folder: &Path) -> usize {
    fs::read_dir(folder).unwrap().count()
}

#[test]
fn colour_obeys_no_color_and_is_not_written_to_a_pipe() {
    let slip = || program(&["trian"]);
    assert!(!ended(&mut slip()).2.contains(ESCAPE), "a pipe got colours");
    assert!(ended(slip().env("CLICOLOR_FORCE", "1")).2.contains(ESCAPE), "colours that were forced are missing");
    assert!(!ended(slip().env("CLICOLOR_FORCE", "0").env("NO_COLOR", "1")).2.contains(ESCAPE));
    // The logger, whose lines go the same way. It has something to say wherever there is a Vulkan driver.
    let log = || {
        let mut command = program(&["devices"]);
        command.env("RUST_LOG", "debug");
        command
    };
    assert!(!ended(&mut log()).2.contains(ESCAPE), "a pipe got the logger's colours");
    let forced = ended(log().env("CLICOLOR_FORCE", "1")).2;
    assert_eq!(forced.contains(ESCAPE), forced.contains("DEBUG"), "{forced}");
}
