//! `compare`, and `train --seeds`, which ends with its table.

use crate::folders::write_idx;
use crate::harness::*;
use mnist_wgpu::data::synthetic;
use mnist_wgpu::run::Run;
use std::fs;
use std::path::Path;
use std::process::Command;
use tempfile::{TempDir, tempdir};

/// A folder with few images.
fn folder() -> TempDir {
    let folder = tempdir().unwrap();
    write_idx(&folder.path().join("data"), "", &synthetic(300, 100, 3));
    folder
}

fn train(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = program(folder);
    command.args(["train", "--device", "cpu", "--data-dir", "data", "--batch-size", "10", "--epochs", "2"]).args(arguments);
    command
}

fn compare(folder: &Path, arguments: &[&str]) -> Ended {
    run(program(folder).arg("compare").args(arguments))
}

#[test]
fn seeds_are_runs_in_a_folder_and_the_same_command_makes_only_what_is_missing() {
    let folder = folder();
    let at = |name: &str| folder.path().join(name);
    let first = run(&mut train(folder.path(), &["--seeds", "2", "--seed", "3", "--out", "sweep"])).expect(0, &["2 of 2"]);
    assert_eq!(files(&at("sweep")), ["seed-3", "seed-4"]);
    assert_eq!(Run { folder: at("sweep/seed-4") }.config().unwrap().training.seed, 4);
    let table =
        |ended: &Ended| ended.stdout.lines().skip_while(|line| !line.starts_with("run ")).collect::<Vec<_>>().join("\n");
    assert!(table(&first).contains("sweep  3–4") && table(&first).contains(" ± "), "{}", first.stdout);
    assert_eq!(first.stdout.matches("Loss on test set").count(), 2, "each run tells what runs tell");

    let before = fs::read(at("sweep/seed-3/config.toml")).unwrap();
    let again = run(&mut train(folder.path(), &["--seeds", "3", "--seed", "3", "--out", "sweep"]));
    let again = again.expect(0, &["seed-3 is at its end", "seed-4 is at its end", "Seed 5, 3 of 3"]);
    assert_eq!((again.stdout.matches("Loss on test set").count(), files(&at("sweep")).len()), (1, 3));
    assert!(fs::read(at("sweep/seed-3/config.toml")).unwrap() == before, "it was touched");
    // A run of them is the one that its seed makes.
    run(&mut train(folder.path(), &["--seed", "5", "--out", "alone"])).expect(0, &[]);
    let network = |name: &str| fs::read(at(name).join("model.safetensors")).unwrap();
    assert!(network("alone") == network("sweep/seed-5"));

    // With other settings or images it is refused, before anything is done, and with --force made anew.
    let other = ["--seeds", "4", "--seed", "3", "--out", "sweep", "--lr", "0.1"];
    run(&mut train(folder.path(), &other)).expect(1, &["sweep/seed-3", "`learning_rate`", "--out", "--force"]);
    write_idx(&at("data"), "", &synthetic(300, 100, 4));
    let images = run(&mut train(folder.path(), &["--seeds", "3", "--seed", "3", "--out", "sweep"]));
    images.expect(1, &["sweep/seed-3", "other images", "--force"]);
    assert_eq!(files(&at("sweep")).len(), 3);
    run(&mut train(folder.path(), &["--seeds", "1", "--out", "alone"])).expect(1, &["alone holds a run already"]);
    run(&mut train(folder.path(), &[&other[2..], &["--seeds", "1", "--force"]].concat())).expect(0, &["1 of 1"]);
    assert_eq!(Run { folder: at("sweep/seed-3") }.config().unwrap().training.learning_rate, 0.1);
}

#[test]
fn seeds_without_a_folder_get_one_and_latest_is_the_newest_of_them() {
    let folder = folder();
    run(&mut train(folder.path(), &["--seeds", "2"])).expect(0, &[]);
    let names = files(&folder.path().join("runs"));
    let [name, latest] = &names[..] else { panic!("{names:?}") };
    assert!(name.starts_with("20") && latest == "latest", "{names:?}");
    let test = Run { folder: folder.path().join("runs").join(name).join("seed-1") }.tested().unwrap().unwrap();
    let resumed = run(program(folder.path()).args(["train", "--resume", "runs/latest"])).expect(0, &["after epoch 2"]);
    assert!(resumed.last_line().ends_with(&format!("{:.6}", test.accuracy)), "{}", resumed.stdout);
    let all = compare(folder.path(), &[&format!("runs/{name}"), "runs/latest", "--json"]).expect(0, &[]);
    let all: serde_json::Value = serde_json::from_str(&all.stdout).unwrap();
    assert_eq!((all["groups"][0]["n"].as_u64(), all["passed_over"].as_array().map(Vec::len)), (Some(2), Some(0)));
}

#[cfg(unix)]
#[test]
fn ctrl_c_ends_all_seeds_and_the_same_command_goes_on_to_the_same_bits() {
    let folder = folder();
    let command = |out| {
        let mut command = program(folder.path());
        command.args(["train", "--device", "cpu", "--data-dir", "data", "--seeds", "2", "--batch-size", "1", "--out", out]);
        command.args(["--epochs", "2"]);
        command
    };
    let mut running = Running::spawn(command("stopped").args(["--checkpoint-every", "5"]));
    running.wait_for("Run: ");
    let last = folder.path().join("stopped/seed-0/last.safetensors");
    wait_until(|| last.exists().then_some(()));
    running.interrupt();
    let ended = running.end().expect(130, &["interrupted", "train --resume stopped/seed-0", "the same command again"]);
    assert!(!ended.stdout.contains("run ") && !folder.path().join("stopped/seed-1").exists(), "{}", ended.stdout);
    run(&mut command("stopped")).expect(0, &["2 of 2"]);
    run(&mut command("whole")).expect(0, &[]);
    for seed in ["seed-0", "seed-1"] {
        let network = |out: &str| fs::read(folder.path().join(out).join(seed).join("last.safetensors")).unwrap();
        assert!(network("stopped") == network("whole"), "{seed}");
    }
}

#[test]
fn a_seed_that_fails_is_told_and_the_others_are_made() {
    let folder = folder();
    fs::create_dir_all(folder.path().join("sweep/seed-0/model.safetensors/in the way")).unwrap();
    run(&mut train(folder.path(), &["--seeds", "2", "--out", "sweep"])).expect(1, &["sweep/seed-0", "--out"]);
    assert!(!folder.path().join("sweep/seed-1").exists(), "known before anything takes long");
    let ended = run(&mut train(folder.path(), &["--seeds", "2", "--lr", "1e30", "--out", "diverged"]));
    ended.expect(1, &["error: seed 0: ", "error: seed 1: ", "2 of 2 runs failed: those with seed 0, 1"]);
    run(&mut train(folder.path(), &["--seeds", "2", "--resume", "sweep"])).expect(2, &["--resume", "--seeds"]);
    run(&mut train(folder.path(), &["--seeds", "0"])).expect(2, &["--seeds", "a whole number from 1 to 10000"]);
    run(&mut train(folder.path(), &["--seeds", "2", "--seed", "9223372036854775807"])).expect(2, &["too large"]);
}

#[test]
fn a_run_whose_settings_cannot_be_compared_is_passed_over() {
    let folder = folder();
    for name in ["one", "two"] {
        run(&mut train(folder.path(), &["--out", name])).expect(0, &[]);
    }
    // More than TOML's whole numbers, as other programs read them.
    let path = folder.path().join("two/config.toml");
    let config = fs::read_to_string(&path).unwrap();
    fs::write(&path, config.replace("seed = 0", "seed = 9223372036854775808")).unwrap();
    let ended = run(program(folder.path()).args(["compare", "one", "two"])).expect(0, &["two", "config.toml"]);
    assert_eq!(ended.stdout.lines().count(), 2, "{}", ended.stdout);
}

#[cfg(target_os = "linux")]
#[test]
fn names_that_are_no_utf8_are_told_as_well_as_can_be() {
    use std::os::unix::ffi::OsStrExt;
    let folder = folder();
    let odd = std::ffi::OsStr::from_bytes(b"odd\xff");
    run(train(folder.path(), &["--out"]).arg(odd)).expect(0, &["Saved as odd\u{fffd}"]);
    let ended = run(program(folder.path()).args(["compare", "--json"]).arg(odd)).expect(0, &[]);
    let report: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(report["groups"][0]["runs"][0]["folder"], "odd\u{fffd}");
    fs::rename(folder.path().join("data"), folder.path().join(odd).join("data")).unwrap();
    let mut data = program(folder.path());
    data.args(["train", "--device", "cpu", "--data-dir"]).arg(Path::new(odd).join("data"));
    run(&mut data).expect(2, &["`--data-dir odd", "expected a path in UTF-8"]);
}

#[test]
fn compare_reads_folders_alone_and_passes_over_what_is_none() {
    let folder = folder();
    let at = |name: &str| folder.path().join(name);
    run(&mut train(folder.path(), &["--out", "runs/slow"])).expect(0, &[]);
    run(&mut train(folder.path(), &["--out", "runs/fast", "--lr", "0.1", "--schedule", "one-cycle"])).expect(0, &[]);
    fs::remove_dir_all(at("data")).unwrap();
    fs::write(at("runs/notes.txt"), "mine").unwrap();
    fs::rename(at("runs/fast"), at("runs/moved")).unwrap();
    let all = ["runs/latest", "runs/moved", "runs/notes.txt", "runs/slow"]; // as a shell expands runs/*
    // Which of the two `latest` points at is gone: it is passed over as well.
    let ended = compare(folder.path(), &all).expect(0, &["Passed over: runs/notes.txt: a file", "Passed over: runs/latest"]);
    let lines: Vec<Vec<&str>> = ended.stdout.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0][..3], ["run", "learning_rate", "schedule"], "{}", ended.stdout);
    assert_eq!((&lines[1][..3], &lines[2][..3]), (&["moved", "0.1", "one-cycle"][..], &["slow", "0.01", "constant"][..]));
    let test = Run { folder: at("runs/slow") }.tested().unwrap().unwrap();
    assert!(ended.stdout.contains(&format!("{:.4}", test.loss)), "{}", ended.stdout);

    let json = compare(folder.path(), &[&all[1..], &["--json", "--out", "page.html"]].concat()).expect(0, &["page.html"]);
    let report: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
    let slow = &report["groups"][1];
    assert_eq!(report["differing"].to_string(), r#"["learning_rate","schedule"]"#);
    assert_eq!((slow["test_accuracy"]["mean"].as_f64(), slow["test_accuracy"]["sd"].as_f64()), (Some(test.accuracy), None));
    assert_eq!((slow["settings"]["batch_size"].as_u64(), slow["runs"][0]["epochs"].as_u64()), (Some(10), Some(2)));
    let page = fs::read_to_string(at("page.html")).unwrap();
    assert!(page.contains("one-cycle") && page.ends_with("</html>"));
    compare(folder.path(), &["runs", "--out", "page.html"]).expect(1, &["page.html exists", "--force"]);
    compare(folder.path(), &["runs", "--out", "page.html", "--force"]).expect(0, &["Wrote page.html"]);
    compare(folder.path(), &["runs", "--out", "no-home/page.html"]).expect(1, &["no-home"]);
    compare(folder.path(), &["nothing"]).expect(1, &["nothing", "run's folder"]);
    compare(folder.path(), &["runs/notes.txt"]).expect(1, &["runs/notes.txt: a file"]);
    compare(folder.path(), &[]).expect(2, &["<RUN>"]);
    // The page of the run shows the rate, where it changes.
    let report = |name: &str| fs::read_to_string(at(name).join("report.html")).unwrap();
    assert!(report("runs/moved").contains("Learning rate at") && !report("runs/slow").contains("Learning rate at"));
}

#[test]
fn a_run_keeps_what_its_test_said() {
    let (path, ended) = trained();
    let test = Run { folder: path.clone() }.tested().unwrap().unwrap();
    let told = format!("Loss on test set:{:.6} Accuracy on test set: {:.6}", test.loss, test.accuracy);
    assert_eq!(told, ended.last_line());
    let right: u64 = (0..10).map(|class| test.confusion().count(class, class)).sum();
    assert_eq!((test.epochs, test.images, right), (2, 10_000, (test.accuracy * 1e4).round() as u64));
    let ended = compare(tempdir().unwrap().path(), &[path.to_str().unwrap()]).expect(0, &["SYNTHETIC", NOT_MNIST]);
    assert!(ended.stdout.contains("two epochs"), "{}", ended.stdout);
}
