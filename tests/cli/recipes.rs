//! Recipes: presets are spelled out, schedules move the learning rate, and a resumed run keeps to them.

use crate::harness::*;
use mnist_wgpu::run::{Run, Training, load_network};
use mnist_wgpu::schedule::Kind;
use std::fs;
use std::path::Path;
use std::process::Command;
use tempfile::tempdir;

/// As short as can be: a twentieth of the images train.
fn begin(folder: &Path, out: &str) -> Command {
    let mut command = program(folder);
    command
        .args(["train", "--device", "cpu", "--val-fraction", "0.95", "--out", out, "--force", "--data-dir"])
        .arg(data_folder());
    command
}

/// What a run with `arguments` says of its settings, the validation's share but for.
fn training(folder: &Path, arguments: &[&str]) -> Training {
    run(begin(folder, "run").args(arguments)).expect(0, &[]);
    let training = Run { folder: folder.join("run") }.config().unwrap().training;
    Training { val_fraction: Training::NOTEBOOK.val_fraction, ..training }
}

#[test]
fn a_preset_is_spelled_out_and_what_is_given_beside_it_replaces_its_own() {
    let folder = tempdir().unwrap();
    assert_eq!(training(folder.path(), &["--epochs", "1"]), Training { epochs: 1, ..Training::NOTEBOOK });
    assert_eq!(training(folder.path(), &["--preset", "fast"]), Training::FAST);
    let text = fs::read_to_string(folder.path().join("run/config.toml")).unwrap();
    assert!(text.contains("schedule = \"one-cycle\"") && text.contains("learning_rate = 0.1"), "{text}");
    let own = ["--preset", "fast", "--lr", "0.05", "--schedule", "cosine", "--warmup", "0.5", "--weight-decay", "5e-4"];
    let (schedule, warmup, weight_decay) = (Kind::Cosine, 0.5, 5e-4);
    let expected = Training { learning_rate: 0.05, schedule, warmup, weight_decay, ..Training::FAST };
    assert_eq!(training(folder.path(), &own), expected);
    let page = fs::read_to_string(folder.path().join("run/report.html")).unwrap();
    assert!(page.contains("cosine, 0.5 epochs of warm-up") && page.contains("weight decay 0.0005"), "the page tells of it");
}

#[test]
fn the_figures_tell_the_learning_rate_that_each_epoch_ended_with() {
    let folder = tempdir().unwrap();
    let rates = |arguments: &[&str]| -> Vec<f64> {
        let epochs = training(folder.path(), arguments).epochs;
        let rows = Run { folder: folder.path().join("run") }.history(epochs, &[]).unwrap();
        rows.iter().map(|row| row.learning_rate).collect()
    };
    assert_eq!(rates(&["--epochs", "2"]), [0.01, 0.01]);
    let steps = rates(&["--epochs", "3", "--lr", "0.02", "--schedule", "step"]);
    assert!(steps.iter().zip([0.02, 0.002, 0.0002]).all(|(got, want)| (got - want).abs() < 1e-12), "{steps:?}");
    let [half, end] = rates(&["--epochs", "2", "--schedule", "cosine"])[..] else { panic!("two epochs") };
    assert!((0.005..0.0055).contains(&half) && end > 0.0 && end < 1e-4, "{half}, {end}");
}

#[cfg(unix)]
#[test]
fn a_run_taken_up_again_keeps_to_its_schedule_to_the_same_bits() {
    let folder = tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).join("last.safetensors");
    let settings = ["--preset", "fast", "--batch-size", "16", "--weight-decay", "1e-3"];
    run(begin(folder.path(), "whole").args(settings)).expect(0, &[]);
    let mut running = Running::spawn(begin(folder.path(), "killed").args(settings).args(["--checkpoint-every", "7"]));
    wait_until(|| at("killed").exists().then_some(()));
    running.child.kill().unwrap();
    running.child.wait().unwrap();
    assert!(load_network(&at("killed")).unwrap().position.unwrap().batches > 0, "killed in the middle of an epoch");
    run(program(folder.path()).args(["train", "--resume", "killed"])).expect(0, &[]);
    assert!(fs::read(at("whole")).unwrap() == fs::read(at("killed")).unwrap());
}

#[test]
fn a_run_ends_when_its_patience_does_and_is_tested_as_any_other() {
    let folder = tempdir().unwrap();
    // Such a rate makes a network that is no better than guessing, and does not improve.
    let ended = run(begin(folder.path(), "run").args(["--epochs", "30", "--lr", "1", "--momentum", "0", "--patience", "2"]));
    let ended = ended.expect(0, &["Validation has not improved for 2 epochs", "its network is kept and tested"]);
    assert!(ended.last_line().starts_with("Loss on test set:"), "{}", ended.stdout);
    let rows = || fs::read_to_string(folder.path().join("run/metrics.csv")).unwrap();
    let before = rows();
    assert!(before.lines().count() < 30, "{before}");
    let again = run(program(folder.path()).args(["train", "--resume", "run"])).expect(0, &[]);
    assert_eq!((rows(), again.last_line()), (before, ended.last_line()), "it ends where it ended");
}

#[test]
fn settings_of_a_recipe_that_cannot_be_are_refused_in_words() {
    let folder = tempdir().unwrap();
    for (arguments, words) in [
        (&["--schedule", "linear"][..], &["--schedule", "constant, step, cosine, one-cycle"][..]),
        (&["--preset", "slow"], &["--preset", "notebook, fast"]),
        (&["--warmup", "-1"], &["--warmup", "from 0 on"]),
        (&["--warmup", "3", "--epochs", "2"], &["--warmup 3", "at most the 2 epochs"]),
        (&["--weight-decay", "1e60"], &["--weight-decay", "from 0 on"]),
        (&["--resume", "run", "--schedule", "cosine"], &["--resume", "--schedule"]),
        (&["--resume", "run", "--preset", "fast"], &["--resume", "--preset"]),
    ] {
        run(program(folder.path()).arg("train").args(arguments)).expect(2, words);
    }
}
