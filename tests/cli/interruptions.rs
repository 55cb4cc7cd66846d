//! Whatever goes wrong costs nobody a model: closed pipes, full disks, Ctrl-C.

use crate::harness::*;
use mnist_wgpu::run::load_network;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};
use tempfile::tempdir;

#[test]
fn a_closed_stdout_is_an_error_and_the_model_saved_is_whole() {
    let folder = tempdir().unwrap();
    let ended = with_closed_stdout(program(folder.path()).args(SHORT).args(["--epochs", "3", "--out", "run"]));
    ended.expect(1, &["error: cannot write to stdout", "run holds the network after epoch 1"]);
    let path = folder.path().join("run/model.safetensors");
    assert_eq!(load_network(&path).unwrap().info.unwrap().epoch, 1);
    assert_eq!(files(&folder.path().join("run")), ["config.toml", "last.safetensors", "metrics.csv", "model.safetensors"]);

    with_closed_stdout(program(folder.path()).args(["eval", "run", "--device", "cpu"]))
        .expect(1, &["error: cannot write to stdout"]);
    with_closed_stdout(program(folder.path()).arg("devices")).expect(1, &["error: cannot write to stdout"]);
    let help = with_closed_stdout(program(folder.path()).args(["train", "--help"]));
    assert!(!help.stderr.contains("panicked"), "{}", help.stderr);
}

#[test]
fn a_closed_stderr_costs_the_messages_and_nothing_else() {
    let folder = tempdir().unwrap();
    let mut eval = program(folder.path());
    let mut child = eval.arg("eval").arg(&trained().0).args(["--device", "cpu"]);
    let mut spawned = child.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(spawned.stderr.take());
    let ended: Ended = spawned.wait_with_output().unwrap().into();
    assert_eq!((ended.code, masked(ended.first_line()).as_str()), (Some(0), TEST));

    child = eval.arg("--data-dir").arg("missing");
    spawned = child.stderr(Stdio::piped()).spawn().unwrap();
    drop(spawned.stderr.take());
    assert_eq!(spawned.wait().unwrap().code(), Some(1));
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_under_stdout_is_an_error() {
    let full = || File::options().write(true).open("/dev/full").unwrap();
    let folder = tempdir().unwrap();
    let run_full = |command: &mut Command| Ended::from(command.stdout(full()).stderr(Stdio::piped()).output().unwrap());
    let told = ["error: cannot write to stdout", "No space left"];
    run_full(program(folder.path()).arg("devices")).expect(1, &told);
    run_full(program(folder.path()).arg("eval").arg(&trained().0).args(["--device", "cpu"])).expect(1, &told);
}

#[cfg(unix)]
#[test]
fn a_save_that_fails_is_told_and_leaves_no_part_of_a_network() {
    let folder = tempdir().unwrap();
    // No file may grow beyond a part of the network's 900 kB.
    let limited = program(folder.path());
    let mut shell = Command::new("sh");
    shell.args(["-c", "trap '' XFSZ; ulimit -f 200; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_mnist-wgpu")]);
    shell.args(SHORT).args(["--epochs", "2", "--out", "run"]).current_dir(folder.path());
    for (name, value) in limited.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    let ended = run(&mut shell).expect(1, &["cannot write the checkpoint run/last.safetensors", "nothing was saved"]);
    // The figures of the epoch are told, and training ends with it.
    assert_eq!(ended.stdout.matches("Epoch ").count(), 1, "{}", ended.stdout);
    assert_eq!(files(&folder.path().join("run")), ["config.toml", "metrics.csv"], "a part of a network was left");
}

#[cfg(unix)]
#[test]
fn ctrl_c_during_training_ends_it_and_says_what_is_saved() {
    let folder = tempdir().unwrap();
    let mut running = Running::start(folder.path(), &[&SHORT[..], &["--epochs", "1000", "--out", "run"]].concat());
    let mut stdout = BufReader::new(running.child.stdout.take().unwrap());
    let mut line = String::new();
    while !line.starts_with("Val loss") {
        line.clear();
        assert!(stdout.read_line(&mut line).unwrap() > 0, "training ended by itself");
    }
    running.interrupt();
    let mut rest = String::new();
    stdout.read_to_string(&mut rest).unwrap();
    let ended = running.end().expect(130, &["Stopping", "interrupted in epoch"]);
    // Wherever it was, that is what was saved.
    let last = load_network(&folder.path().join("run/last.safetensors")).unwrap().position.unwrap();
    let kept = match (last.epochs, last.batches) {
        (epochs, 0) => format!("run holds the network after epoch {epochs}."),
        (epochs, batches) => format!("run holds the network after {batches} batches of epoch {}.", epochs + 1),
    };
    assert!(ended.stderr.contains(&kept), "{kept:?}: {}", ended.stderr);
    assert!(ended.stderr.ends_with("mnist-wgpu train --resume run\n"), "{}", ended.stderr);
    assert!(!rest.contains("Loss on test set"), "{rest}");
    assert_eq!(files(&folder.path().join("run")), ["config.toml", "last.safetensors", "metrics.csv", "model.safetensors"]);
}

#[cfg(unix)]
#[test]
fn ctrl_c_in_the_middle_of_the_first_epoch_saves_it() {
    let folder = tempdir().unwrap();
    let mut running = Running::start(folder.path(), &["train", "--device", "cpu", "--val-fraction", "0.01", "--out", "run"]);
    running.wait_for("Run: ");
    running.interrupt();
    let ended = running.end().expect(130, &["interrupted in epoch 1; ", "mnist-wgpu train --resume run"]);
    assert_eq!(ended.stdout, "");
    let position = load_network(&folder.path().join("run/last.safetensors")).unwrap().position.unwrap();
    assert_eq!(position.epochs, 0);
    assert!(position.batches < 1856, "{position:?}");
}

#[cfg(unix)]
#[test]
fn a_second_ctrl_c_ends_the_program_at_once() {
    let (folder, _) = folder_with_run();
    let mut running = Running::start(folder.path(), &["train", "--device", "cpu"]);
    running.wait_for("Device:"); // The digits are being drawn now, which takes a while.
    running.interrupt();
    running.wait_for("Ctrl-C again");
    running.interrupt();
    let ended = running.end().expect(130, &[]);
    assert!(!ended.stderr.contains("interrupted in epoch"), "it went on to the end: {}", ended.stderr);
    untouched(&folder);
}
