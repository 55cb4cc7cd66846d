//! Files that commands write for the user: what is there already is not lost, and what cannot be written is found out
//! before the work.

use crate::harness::*;
use std::fs;
use std::path::Path;
use std::process::Command;
use tempfile::tempdir;

const DIGIT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/assets/digits/3-blue.png");

/// Each command that writes a file, with the option that names it.
fn commands(at: &Path) -> Vec<(Command, &'static str)> {
    let command = |arguments: &[&str]| {
        let mut command = program(at);
        command.args(arguments);
        command
    };
    let search = ["lr-find", "--device", "cpu", "--batch-size", "30", "--data-dir", small_data_folder().to_str().unwrap()];
    vec![
        (command(&["predict", DIGIT]), "--show"),
        (command(&search), "--out"),
        (command(&["export", "builtin"]), "--onnx"),
        (command(&["bench", "--device", "cpu", "--seconds", "1", "--model", "pool 2, linear"]), "--report"),
    ]
}

#[test]
fn what_is_there_is_kept_unless_it_may_be_overwritten() {
    let at = tempdir().unwrap();
    let path = at.path().join("letter.txt");
    for force in [false, true] {
        for (mut command, option) in commands(at.path()) {
            fs::write(&path, "dear").unwrap();
            command.args([option, "letter.txt"]).args(force.then_some("--force"));
            let ended = run(&mut command);
            match force {
                false => drop(ended.expect(1, &["letter.txt exists", "--force overwrites it"])),
                true => drop(ended.expect(0, &[])),
            }
            assert_eq!(fs::read(&path).unwrap() == b"dear", !force, "{option}");
        }
    }
}

#[test]
fn a_picture_is_not_written_over_itself() {
    let at = tempdir().unwrap();
    fs::copy(DIGIT, at.path().join("it.png")).unwrap();
    let mut show = program(at.path());
    run(show.args(["predict", "it.png", "--show", "./it.png", "--force"])).expect(1, &["it.png", "is made from it"]);
    assert_eq!(fs::read(at.path().join("it.png")).unwrap(), fs::read(DIGIT).unwrap());
    let mut two = program(at.path());
    run(two.args(["bench", "--trace", "one", "--report", "one"])).expect(2, &["`--trace`, `--report`", "two files"]);
}

#[cfg(unix)]
#[test]
fn pipes_and_devices_are_no_files_to_write() {
    let at = tempdir().unwrap();
    assert!(Command::new("mkfifo").arg(at.path().join("pipe")).status().unwrap().success());
    for (mut command, option) in commands(at.path()) {
        run(command.args([option, "pipe", "--force"])).expect(1, &["cannot write", "pipe", "a device or a pipe"]);
    }
    assert_eq!(files(at.path()), ["pipe"]);
}

/// As `kill` does, or a job's time limit.
#[cfg(target_os = "linux")]
#[test]
fn what_measures_ends_with_whoever_asked_for_it() {
    let at = tempdir().unwrap();
    let mut bench = program(at.path());
    let mut bench = bench.args(["bench", "--device", "cpu", "--seconds", "60"]).spawn().unwrap();
    let children = format!("/proc/{0}/task/{0}/children", bench.id());
    let child = loop {
        match fs::read_to_string(&children).unwrap().trim() {
            "" => std::thread::sleep(std::time::Duration::from_millis(20)),
            child => break child.to_string(),
        }
    };
    bench.kill().unwrap();
    bench.wait().unwrap();
    let lives = || fs::read_to_string(format!("/proc/{child}/stat")).is_ok_and(|stat| !stat.contains(") Z"));
    let begun = std::time::Instant::now();
    while lives() {
        assert!(begun.elapsed().as_secs() < 20, "process {child} goes on");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}
