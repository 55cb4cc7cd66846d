//! The command line's manners: help, version, manual, completions, the list of devices, and what it says to a slip of
//! the finger.

use crate::harness::*;
use std::fs;
use std::process::Command;
use tempfile::tempdir;

/// Every subcommand that is not hidden.
const SUBCOMMANDS: [&str; 11] =
    ["train", "eval", "compare", "lr-find", "predict", "export", "selftest", "devices", "bench", "completions", "man"];
const ESCAPE: char = '\u{1b}';

#[track_caller]
fn stdout(arguments: &[&str]) -> String {
    run_alone(arguments).expect(0, &[]).stdout
}

#[test]
fn version_names_the_revision_and_wgpu() {
    let version = stdout(&["--version"]);
    assert!(version.starts_with(concat!("mnist-wgpu ", env!("CARGO_PKG_VERSION"))), "{version}");
    assert_eq!(version.lines().count(), 1);
    let lock = include_str!("../../Cargo.lock").replace("\r\n", "\n");
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
    run_alone(&["man", file.to_str().unwrap()]).expect(1, &["a file", "name a folder"]);
    assert_eq!(fs::read_to_string(&file).unwrap(), "kept");
}

#[test]
fn devices_as_json_say_what_auto_takes_and_why() {
    let report: serde_json::Value = serde_json::from_str(&stdout(&["devices", "--json"])).unwrap();
    let adapters = report["adapters"].as_array().unwrap();
    for (index, adapter) in adapters.iter().enumerate() {
        assert_eq!(adapter["index"], index);
        for key in ["name", "kind", "backend", "driver"] {
            assert!(adapter[key].as_str().is_some_and(|text| !text.is_empty()), "{key} in {adapter}");
        }
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
    let cases: [(&[&str], &str, &str); 7] = [
        (&["trian"], "'trian'", "'train'"),
        (&["train", "--epoch", "3"], "'--epoch'", "'--epochs'"),
        (&["train", "--batchsize", "3"], "'--batchsize'", "'--batch-size'"),
        (&["train", "--resmue", "run"], "'--resmue'", "'--resume'"),
        (&["eval", "--devcie", "cpu", "model"], "'--devcie'", "'--device'"),
        (&["devices", "--jsno"], "'--jsno'", "'--json'"),
        (&["completions", "fsh"], "'fsh'", "'fish'"),
    ];
    for (arguments, said, meant) in cases {
        let ended = run_alone(arguments).expect(2, &["similar", said, meant]);
        assert!(ended.stdout.is_empty(), "{arguments:?}: {}", ended.stdout);
    }
}

#[test]
fn a_slip_in_a_device_is_told_the_right_word_and_what_there_is() {
    let (folder, _) = folder_with_run();
    let ended = run(program(folder.path()).args(["train", "--device", "gup"]));
    ended.expect(1, &["did you mean `gpu`?", "\n  cpu"]);
    untouched(&folder);
}

#[test]
fn colour_obeys_no_color_and_is_not_written_to_a_pipe() {
    let folder = tempdir().unwrap();
    let coloured = |arguments: &[&str], variables: &[(&str, &str)]| {
        let mut command = program(folder.path());
        for variable in ["NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE"] {
            command.env_remove(variable);
        }
        run(command.args(arguments).envs(variables.iter().copied())).stderr.contains(ESCAPE)
    };
    assert!(!coloured(&["trian"], &[]), "a pipe got colours");
    assert!(coloured(&["trian"], &[("CLICOLOR_FORCE", "1")]), "colours that were forced are missing");
    assert!(!coloured(&["trian"], &[("CLICOLOR_FORCE", "0"), ("NO_COLOR", "1")]));
    // The logger, whose lines go the same way.
    let log = ("RUST_LOG", "debug");
    assert!(!coloured(&["devices"], &[log]), "a pipe got the logger's colours");
    assert!(!coloured(&["devices"], &[log, ("NO_COLOR", "1")]));
}
