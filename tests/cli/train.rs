//! `train`: what it prints, what it makes, and what it refuses.

use crate::harness::*;
use mnist_wgpu::run::load_network;
use std::fs;
use tempfile::tempdir;

#[test]
fn training_prints_the_notebooks_lines_to_stdout_and_nothing_else() {
    let (_, ended) = trained();
    assert_eq!(masked(&ended.stdout), [EPOCH, EPOCH, TEST, "\n"].concat());
    let epochs: Vec<_> = ended.stdout.lines().filter(|line| line.starts_with("Epoch")).collect();
    assert_eq!(epochs, ["Epoch 1:", "Epoch 2:"]);
}

#[test]
fn a_run_leaves_its_network_settings_figures_and_report() {
    let (path, _) = trained();
    let (pictures, tables) =
        (["confusion.png", "curves.png", "filters.png", "mistakes.png"], ["config.toml", "metrics.csv", "test.json"]);
    let networks = ["last.safetensors", "model.safetensors"];
    let mut expected = [&pictures[..], &tables, &networks, &["report.html"]].concat();
    expected.sort();
    assert_eq!(files(path), expected);
    for picture in pictures {
        assert!(fs::read(path.join(picture)).unwrap().starts_with(b"\x89PNG"), "{picture}");
    }
    let read = |name: &str| fs::read_to_string(path.join(name)).unwrap();
    assert!(read("report.html").contains(NOT_MNIST) && read("report.html").contains("two epochs"));
    assert_eq!(read("metrics.csv").lines().count(), 3);
    for part in ["epochs = 2", "batch_size = 100", "name = \"synthetic\"", "sha256 = ", "name = \"cpu\"", "wgpu 30."] {
        assert!(read("config.toml").contains(part), "{part}: {}", read("config.toml"));
    }
}

#[test]
fn force_replaces_a_run_whole_and_nothing_that_is_not_a_runs() {
    let folder = tempdir().unwrap();
    let train = |arguments: &[&str]| {
        let data = data_folder().to_str().unwrap();
        run(program(folder.path()).args(SHORT).args(["--epochs", "1", "--data-dir", data, "--out", "run"]).args(arguments))
    };
    train(&["--tensorboard"]).expect(0, &[]);
    let events = |folder: &std::path::Path| files(folder).into_iter().filter(|name| name.contains("tfevents")).count();
    let path = folder.path().join("run");
    assert_eq!(events(&path), 1);
    fs::write(path.join("notes.txt"), "mine").unwrap();
    train(&[]).expect(1, &["holds a run already", "--resume", "--force"]);
    let ended = train(&["--force", "--quiet"]).expect(0, &[]);
    assert!(ended.stderr.is_empty(), "--quiet: {}", ended.stderr);
    assert_eq!(masked(&ended.stdout), [EPOCH, TEST, "\n"].concat());
    assert_eq!(events(&path), 0, "an older run's curves were left");
    assert_eq!(fs::read_to_string(path.join("notes.txt")).unwrap(), "mine");

    let other = folder.path().join("other");
    fs::create_dir(&other).unwrap();
    fs::write(other.join("config.toml"), "[server]\nport = 80\n").unwrap();
    let ended = run(program(folder.path()).args(SHORT).args(["--out", "other", "--force"]));
    ended.expect(1, &["other", "config.toml that is no run's"]);
    assert_eq!(files(&other), ["config.toml"]);
}

#[test]
fn a_dashboard_without_a_terminal_is_refused() {
    run_alone(&["train", "--tui"]).expect(2, &["--tui", "terminal"]);
}

#[test]
fn figures_are_those_of_a_network_that_learns() {
    let (_, ended) = trained();
    let all: Vec<f64> =
        ended.stdout.split([' ', '\n', ':']).filter(|w| w.contains('.')).map(|w| w.parse().unwrap()).collect();
    let [first_loss, _, first_val_loss, _, loss, accuracy, val_loss, val_accuracy, test_loss, test_accuracy] = all[..]
    else {
        panic!("{all:?}")
    };
    assert!(loss < first_loss && val_loss < first_val_loss, "{all:?}");
    assert!(first_loss < 2.4, "before it learns, ten classes cost ln 10 = 2.3: {all:?}");
    assert!([accuracy, val_accuracy, test_accuracy].iter().all(|x| (0.11..=1.0).contains(x)), "{all:?}");
    assert!((val_loss - test_loss).abs() < 0.1, "{all:?}");
}

#[test]
fn synthetic_digits_are_announced_before_and_after() {
    let (path, ended) = trained();
    let stderr = &ended.stderr;
    let saved = stderr.find("Saved as two epochs").expect(stderr);
    let (before, after) = stderr.split_at(saved);
    for part in ["SYNTHETIC", NOT_MNIST] {
        assert!(before.contains(part) && after.contains(part), "{part:?} is not said twice: {stderr}");
    }
    assert!(before.contains("--data-dir") && before.contains("MNIST_DIR"), "{before}");
    assert_eq!(load_network(&path.join("model.safetensors")).unwrap().info.unwrap().dataset, "synthetic");
}

#[test]
fn the_saved_network_knows_how_it_was_trained() {
    let (path, _) = trained();
    let info = load_network(&path.join("model.safetensors")).unwrap().info.unwrap();
    assert_eq!((info.epoch, info.seed, info.val_fraction, info.input), (2, 0, 0.95, [1, 28, 28]));
    assert_eq!(info.version, env!("CARGO_PKG_VERSION"));
}

#[test]
fn the_same_seed_trains_the_same_network_and_another_seed_another() {
    let folder = tempdir().unwrap();
    let train = |seed, out: &str| {
        let arguments =
            ["train", "--device", "cpu", "--epochs", "1", "--val-fraction", "0.99", "--seed", seed, "--out", out];
        let ended = run(program(folder.path()).args(arguments)).expect(0, &[]);
        (load_network(&folder.path().join(out).join("model.safetensors")).unwrap().state, ended.stdout)
    };
    let (one, again, other) = (train("5", "one"), train("5", "again"), train("6", "other"));
    assert!(one == again, "{} {}", one.1, again.1);
    assert!(one.0 != other.0 && one.1 != other.1);
}

#[test]
fn a_share_that_leaves_no_batch_or_no_validation_is_bad_usage() {
    let (folder, _) = folder_with_run();
    let train =
        |share| run(program(folder.path()).args(["train", "--device", "cpu", "--val-fraction", share, "--out", "runs/new"]));
    train("0.9999").expect(2, &["6 training images", "one batch of 32", "--batch-size", "--val-fraction"]);
    train("0.000001").expect(2, &["validation", "--val-fraction"]);
    untouched(&folder);
}

#[test]
fn a_data_folder_that_cannot_be_used_is_named_and_the_old_model_stays() {
    let data = tempdir().unwrap();
    let at = |name: &str| data.path().join(name);
    fs::create_dir(at("empty")).unwrap();
    fs::write(at("file"), "text").unwrap();
    fs::create_dir(at("bad")).unwrap();
    for name in ["train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"] {
        fs::write(at("bad").join(name), "not IDX at all").unwrap();
    }
    let bad = at("bad").join("train-labels-idx1-ubyte").display().to_string();
    let named = |name: &str| at(name).display().to_string();
    let cases = [
        ("missing", named("missing")),
        ("empty", "t10k-labels-idx1-ubyte".into()),
        ("empty", named("empty")),
        ("file", named("file")),
        ("bad", bad),
    ];
    let (folder, old) = folder_with_run();
    for (name, part) in &cases {
        let path = at(name);
        let mut train = program(folder.path());
        train.args(["train", "--device", "cpu", "--force", "--out"]).arg(&old);
        run(train.arg("--data-dir").arg(&path)).expect(1, &[part]);

        let mut eval = program(folder.path());
        eval.arg("eval").arg(&trained().0).args(["--device", "cpu"]);
        let ended = run(eval.env("MNIST_DIR", &path)).expect(1, &[part]);
        assert_eq!(ended.stdout, "");
        if *name != "bad" {
            assert!(ended.stderr.contains("MNIST_DIR"), "{}", ended.stderr);
        }
    }
    untouched(&folder);
}

#[test]
fn a_place_that_cannot_be_written_is_refused_before_anything_else() {
    let (folder, _) = folder_with_run();
    fs::write(folder.path().join("no-home"), "a file").unwrap();
    for (out, problem) in [
        (".", "not empty"),
        ("runs/old", "--force"),
        ("no-home", "is a file"),
        ("no-home/below", "cannot write"),
        ("/proc/below", "cannot write"),
    ] {
        let ended = run(program(folder.path()).args(SHORT).args(["--out", out])).expect(1, &[problem, out]);
        assert!(!ended.stderr.contains("Device:") && ended.stdout.is_empty(), "{}", ended.stderr);
    }
    untouched(&folder);
}
