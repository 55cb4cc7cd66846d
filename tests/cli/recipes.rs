//! Recipes: presets are spelled out, schedules move the learning rate, and a resumed run keeps to them.

use crate::harness::*;
use mnist_wgpu::ops::augment::Amounts;
use mnist_wgpu::run::{Optimizer, Run, Training, load_network};
use mnist_wgpu::schedule::Kind;
use mnist_wgpu::state::State;
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
    assert!(text.contains("schedule = \"one-cycle\"") && text.contains("optimizer = \"adamw\""), "{text}");
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
        (&["--warmup", "-1"], &["--warmup", "from 0 to 3e38"]),
        (&["--warmup", "3", "--epochs", "2"], &["--warmup 3", "at most the 2 epochs"]),
        (&["--weight-decay", "1e60"], &["--weight-decay", "from 0 to 3e38"]),
        (&["--resume", "run", "--schedule", "cosine"], &["--resume", "--schedule"]),
        (&["--resume", "run", "--preset", "fast"], &["--resume", "--preset"]),
    ] {
        run(program(folder.path()).arg("train").args(arguments)).expect(2, words);
    }
}

/// A small network, whose run takes a second.
const SMALL: &str = "conv 8 3 stride 2, bn, relu, pool 2, linear";

#[test]
fn every_setting_of_a_recipe_is_kept_and_a_run_taken_up_again_goes_on_to_the_same_bits() {
    let folder = tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).join("last.safetensors");
    let settings = [
        "--model",
        SMALL,
        "--optimizer",
        "adamw",
        "--label-smoothing",
        "0.1",
        "--ema",
        "0.9",
        "--augment",
        "--epochs",
        "2",
        "--batch-size",
        "16",
    ];
    run(begin(folder.path(), "whole").args(settings)).expect(0, &[]);
    let own = Run { folder: folder.path().join("whole") }.config().unwrap().training;
    let (optimizer, defaults) = (Optimizer::AdamW, Optimizer::AdamW.defaults());
    let expected = Training {
        epochs: 2,
        batch_size: 16,
        optimizer,
        learning_rate: defaults.0,
        weight_decay: defaults.1,
        label_smoothing: 0.1,
        ema: 0.9,
        model: Some(SMALL.into()),
        dropout: None,
        augment: Some(Amounts::USUAL),
        val_fraction: own.val_fraction,
        ..Training::NOTEBOOK
    };
    assert_eq!(own, expected);
    let text = fs::read_to_string(folder.path().join("whole/config.toml")).unwrap();
    assert!(text.contains("optimizer = \"adamw\"") && text.contains("[training.augment]"), "{text}");
    let page = fs::read_to_string(folder.path().join("whole/report.html")).unwrap();
    for words in
        ["AdamW, learning rate 0.001", "rotation 12, scale 0.1", "Augmentation</h2>", "BatchNorm2d", "of the weights, 0.9"]
    {
        assert!(page.contains(words), "the page tells of {words}");
    }

    let mut running = Running::spawn(begin(folder.path(), "killed").args(settings).args(["--checkpoint-every", "3"]));
    wait_until(|| at("killed").exists().then_some(()));
    running.child.kill().unwrap();
    running.child.wait().unwrap();
    run(program(folder.path()).args(["train", "--resume", "killed"])).expect(0, &[]);
    assert!(fs::read(at("whole")).unwrap() == fs::read(at("killed")).unwrap());
    let best = |name: &str| fs::read(folder.path().join(name).join("model.safetensors")).unwrap();
    assert!(best("whole") == best("killed"));

    // The network that is kept is the average, with its running statistics: eval and predict need nothing else.
    let tested = run(program(folder.path()).args(["eval", "whole", "--device", "cpu", "--data-dir"]).arg(data_folder()));
    let tested = tested.expect(0, &[]);
    let told = Run { folder: folder.path().join("whole") }.tested().unwrap().unwrap();
    assert!(tested.stdout.contains(&format!("{:.6}", told.accuracy)), "{}, {told:?}", tested.stdout);
}

#[test]
fn a_network_is_told_in_a_line_or_a_file_and_a_fault_in_it_with_its_place() {
    let folder = tempdir().unwrap();
    let file = folder.path().join("net.toml");
    fs::write(&file, "# small\nlayers = [\"conv 8 3 stride 2\", \"bn\", \"relu\", \"pool 2\", \"linear\"]\n").unwrap();
    let own = training(folder.path(), &["--epochs", "1", "--model", file.to_str().unwrap()]);
    assert_eq!((own.model.as_deref(), own.dropout), (Some(SMALL), None));
    // A note hides nothing but itself, and a text may have several lines.
    let lines = "layers = ['conv 8 3 stride 2 # small', 'bn, # again', \"\"\"\nrelu\npool 2\n\"\"\", 'linear']\n";
    fs::write(&file, lines).unwrap();
    let own = training(folder.path(), &["--epochs", "1", "--model", file.to_str().unwrap()]);
    assert_eq!(own.model.as_deref(), Some(SMALL));
    fs::write(folder.path().join("bad.toml"), "layers = \"conv 8\"\n").unwrap();
    for (arguments, words) in [
        (
            &["--model", "conv 8 3, bm, linear"][..],
            &["at character 11, expected a layer", "  conv 8 3, bm, linear\n            ^^"][..],
        ),
        (&["--model", "relu # ä\nbm"], &["at character 10, expected a layer", "  bm\n  ^^"]),
        (&["--model", "conv, linear"], &["expected a number of outputs, found the end", "  conv, linear\n      ^"]),
        (&["--model", "bad.toml"], &["bad.toml: expected `layers`, a list"]),
        (&["--model", "none.toml"], &["none.toml: "]),
        (&["--model", "relu, linear", "--dropout", "0.1"], &["--model", "--dropout"]),
        (&["--preset", "accurate", "--dropout", "0.1"], &["give `--model`"]),
        (&["--optimizer", "adam"], &["--optimizer", "sgd, adamw"]),
        (&["--augment", "rotate 3"], &["--augment", "rotation 0 to 180", "found `rotate 3`"]),
        (&["--augment", "scale 2"], &["scale 0 to 0.9", "found `scale 2`"]),
        (&["--ema", "1"], &["--ema", "from 0 to below 1"]),
        (&["--freeze", "1"], &["--from"]),
        (&["--freeze", "1", "--dropout", "0.4"], &["`--freeze`", "`--from`"]),
        (&["--freeze", "1", "--model", "conv 8 3, relu, linear"], &["`--freeze`", "`--from`"]),
        (&["--resume", "run", "--augment"], &["--resume", "--augment"]),
    ] {
        run(program(folder.path()).arg("train").args(arguments)).expect(2, words);
    }
    // What fits no image of this size is found once they are there.
    run(begin(folder.path(), "run").args(["--model", "conv 8 29, linear"]))
        .expect(2, &["`--model`, for images of 28x28", "layer 0"]);
}

#[test]
fn a_run_begins_with_the_weights_of_another_and_leaves_its_first_layers() {
    let folder = tempdir().unwrap();
    run(begin(folder.path(), "first").args(["--epochs", "1", "--model", SMALL])).expect(0, &[]);
    let tensors = |name: &str| load_network(&folder.path().join(name).join("model.safetensors")).unwrap();
    let second =
        run(begin(folder.path(), "second").args(["--from", "first", "--freeze", "4", "--epochs", "1", "--lr", "0.02"]));
    second.expect(0, &["Begins with 2,986 of 2,986 parameters of"]);
    let (before, after) = (tensors("first"), tensors("second"));
    assert_eq!(before.model, after.model);
    for parameter in before.model.parameters() {
        let of = |state: &State| state.parameters()[parameter.range.clone()].to_vec();
        assert_eq!(of(&before.state) == of(&after.state), parameter.layer < 4, "{}", parameter.name);
    }
    // A run that began well is better after one epoch than it was.
    let accuracy = |name: &str| Run { folder: folder.path().join(name) }.tested().unwrap().unwrap().accuracy;
    assert!(accuracy("second") > accuracy("first"), "{} after {}", accuracy("second"), accuracy("first"));
    let own = Run { folder: folder.path().join("second") }.config().unwrap().training;
    assert_eq!((own.from.as_deref(), own.freeze), (Some("first"), 4));
    run(program(folder.path()).args(["train", "--resume", "second"])).expect(0, &[]);

    run(begin(folder.path(), "x").args(["--from", "first", "--freeze", "6"])).expect(2, &["--freeze 6", "at most 5"]);
    run(begin(folder.path(), "x").args(["--from", "nothing"])).expect(1, &["nothing", "expected a run's folder"]);
    run(begin(folder.path(), "x").args(["--from", "first", "--model", "linear"])).expect(2, &["--from", "--model"]);
}
