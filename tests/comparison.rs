//! Runs beside each other: what differs is told, seeds become mean and standard deviation, folders are read wherever
//! and by whichever version they were made, and what is no run costs nobody the others.

use mnist_wgpu::comparison::{CompareError, Comparison, Figure};
use mnist_wgpu::data::digits;
use mnist_wgpu::history::Row;
use mnist_wgpu::report::comparison::html;
use mnist_wgpu::run::{Config, Data, Device, Program, Run, Tested, Training};
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::{TempDir, tempdir};

fn row(epoch: u32, accuracy: f64) -> Row {
    Row {
        epoch,
        train_loss: 0.3,
        train_accuracy: 0.9,
        val_loss: 0.2,
        val_accuracy: accuracy,
        seconds: 2.0,
        images_per_second: 1e4,
        learning_rate: 0.01 / f64::from(epoch),
    }
}

fn training(seed: u64) -> Training {
    Training { seed, epochs: 2, ..Training::NOTEBOOK }
}

fn config(training: Training) -> Config {
    Config {
        training,
        data: Data {
            name: "mnist".into(),
            folder: Some("/somewhere".into()),
            training_images: 60_000,
            test_images: 10_000,
            shape: [1, 28, 28],
            classes: 10,
            sha256: "0123456789abcdef".into(),
        },
        device: Device { name: "cpu".into(), backend: None, driver: None, instructions: Some("AVX2".into()) },
        program: Program { version: "0.1.0".into(), started: "2026-01-01T00:00:00Z".into() },
        resumed: Vec::new(),
    }
}

fn tested(epochs: u32, loss: f64) -> Tested {
    let confusion = (0..10).map(|truth| (0..10).map(|guess| u64::from(truth == guess) * 99 + 1).collect()).collect();
    Tested { epochs, epoch: 2, images: 1090, loss, accuracy: 0.9174, classes: digits(), confusion }
}

/// A run that is at its end, with these validation accuracies.
fn make(folder: &Path, training: Training, accuracies: &[f64]) -> Run {
    fs::create_dir_all(folder).unwrap();
    let run = Run { folder: folder.into() };
    let rows: Vec<Row> = (1..).zip(accuracies).map(|(epoch, accuracy)| row(epoch, *accuracy)).collect();
    run.write_config(&config(training)).unwrap();
    run.write_history(&rows).unwrap();
    run.write_tested(&tested(rows.len() as u32, 0.1)).unwrap();
    run
}

/// Three seeds of one setting, and one run of another.
fn sweep() -> TempDir {
    let folder = tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    for (seed, accuracy) in [(0, 0.90), (1, 0.92), (10, 0.97)] {
        make(&at(&format!("slow-seed-{seed}")), training(seed), &[0.5, accuracy]);
    }
    make(&at("fast"), Training { learning_rate: 0.1, ..training(0) }, &[0.95, 0.94]);
    folder
}

fn read(folder: &Path, names: &[&str]) -> Result<Comparison, CompareError> {
    Comparison::read(&names.iter().map(|name| folder.join(name)).collect::<Vec<PathBuf>>())
}

#[test]
fn seeds_become_mean_and_sample_standard_deviation() {
    let folder = sweep();
    let comparison = read(folder.path(), &["slow-seed-10", "fast", "slow-seed-0", "slow-seed-1"]).unwrap();
    let [slow, fast] = &comparison.groups[..] else { panic!("{:?}", comparison.groups) };
    assert_eq!((slow.name.as_str(), fast.name.as_str(), slow.seeds().as_str()), ("slow", "fast", "0–1, 10"));
    let Figure { mean, sd, n } = slow.val_accuracy().unwrap();
    // Deviations -0.03, -0.01, 0.04: squares 0.0026, over n - 1 = 2.
    assert!((mean - 0.93).abs() < 1e-12 && (sd.unwrap() - 0.0013f64.sqrt()).abs() < 1e-12 && n == 3);
    assert_eq!(fast.val_accuracy(), Some(Figure { mean: 0.95, sd: None, n: 1 }), "the best epoch is the first");
    assert!((slow.test_loss().unwrap().mean - 0.1).abs() < 1e-12);
    assert_eq!((slow.seconds().unwrap().mean, comparison.differing), (4.0, vec!["learning_rate".to_string()]));
    assert_eq!(slow.confusion().unwrap().1.count(3, 3), 300, "the sum of three");
    let (head, rows, words) = read(folder.path(), &["."]).unwrap().table();
    let figures = ["n", "best epoch", "val loss", "val accuracy", "test loss", "test accuracy", "seconds"];
    assert_eq!(head, [&["run", "learning_rate", "seed"][..], &figures].concat());
    assert_eq!(rows[0], ["fast", "0.1", "0", "1", "1", "0.2000", "0.9500", "0.1000", "0.9174", "4.0"]);
    let slow = ["slow", "0.01", "0–1, 10", "3", "2.0 ± 0.0", "0.2000 ± 0.0000", "0.9300 ± 0.0361"];
    assert_eq!((&rows[1][..7], words), (&slow.map(String::from)[..], 3));
}

#[test]
fn a_folder_may_be_moved_named_twice_or_hold_the_runs() {
    let (folder, other) = (sweep(), tempdir().unwrap());
    fs::rename(folder.path().join("fast"), other.path().join("elsewhere")).unwrap();
    let deep = other.path().join("grid/high");
    for seed in 0..2 {
        make(&deep.join(format!("seed-{seed}")), Training { momentum: 0.99, ..training(seed) }, &[0.5, 0.6]);
    }
    let inside = other.path().join("grid");
    let paths = [folder.path().into(), other.path().join("elsewhere"), folder.path().join("slow-seed-1"), inside];
    let groups = Comparison::read(&paths).unwrap().groups;
    let sizes: Vec<_> = groups.iter().map(|group| (group.name.as_str(), group.members.len())).collect();
    assert_eq!(sizes, [("slow", 3), ("elsewhere", 1), ("high", 2)]);
}

#[test]
fn what_is_no_run_is_told_and_passed_over() {
    let folder = sweep();
    let at = |name: &str| folder.path().join(name);
    fs::write(at("notes.txt"), "mine").unwrap();
    fs::create_dir_all(at("empty/deeper")).unwrap();
    make(&at("no epoch"), training(5), &[]);
    fs::remove_file(make(&at("no file"), training(6), &[0.5]).path("metrics.csv")).unwrap();
    fs::write(make(&at("broken"), training(7), &[0.5]).path("config.toml"), "[training]\nepochs = \"many\"").unwrap();
    fs::write(make(&at("garbled"), training(8), &[0.5]).path("metrics.csv"), "epoch\nx\n").unwrap();
    fs::write(make(&at("test"), training(9), &[0.5, 0.5]).path("test.json"), "{").unwrap();
    let names = ["notes.txt", "empty", "no epoch", "no file", "broken", "garbled", "test"];
    let comparison = read(folder.path(), &[&names[..], &["fast"]].concat()).unwrap();
    let told = ["a file", "without config.toml", "no epoch", "no epoch", "config.toml", "metrics.csv", "test.json"];
    assert_eq!(comparison.passed_over.len(), names.len(), "{:?}", comparison.passed_over);
    for ((name, part), remark) in names.iter().zip(told).zip(&comparison.passed_over) {
        assert!(remark.path == at(name) && remark.what.contains(part), "{name}: {remark:?}");
    }
    assert_eq!(comparison.groups.len(), 1);
    let error = read(folder.path(), &["notes.txt"]).unwrap_err().to_string();
    assert!(error.contains("notes.txt: a file") && error.contains("mnist-wgpu train"), "{error}");
    let error = read(folder.path(), &["fast", "fats"]).unwrap_err().to_string();
    assert!(error.contains("fats") && error.contains("spelled"), "{error}");
}

#[test]
fn runs_without_an_end_or_a_test_are_lines_of_their_own_or_without_its_figures() {
    let folder = sweep();
    let at = |name: &str| folder.path().join(name);
    // One that is under way, one of an earlier version, and one that goes on after its test.
    make(&at("under way"), training(3), &[0.9]);
    fs::remove_file(make(&at("old"), training(4), &[0.9, 0.9]).path("test.json")).unwrap();
    let longer = make(&at("longer"), Training { epochs: 4, ..training(0) }, &[0.9, 0.9, 0.9, 0.9]);
    longer.write_tested(&tested(2, 0.1)).unwrap();
    let comparison = read(folder.path(), &["under way", "longer", "slow-seed-0", "old"]).unwrap();
    let [under_way, longer, slow] = &comparison.groups[..] else { panic!("{:?}", comparison.groups) };
    assert!(!under_way.first().complete && under_way.test_loss().is_none());
    assert!(longer.first().complete && longer.test_loss().is_none(), "what was tested is not its end");
    assert_eq!((slow.members.len(), slow.test_accuracy(), slow.confusion().is_none()), (2, None, true));
    let told: Vec<_> = comparison.remarks.iter().map(|remark| remark.what.as_str()).collect();
    assert!(told[0].contains("1 of 2 epochs") && told[1].contains("--resume") && told[2].contains("--resume"), "{told:?}");
    // The same run twice, at two places, is no second seed.
    make(&at("again"), training(0), &[0.9, 0.9]);
    assert_eq!(read(folder.path(), &["slow-seed-0", "again", "slow-seed-1"]).unwrap().groups.len(), 2);
    // A run that had enough is at its end.
    make(&at("patient"), Training { epochs: 9, patience: Some(1), ..training(0) }, &[0.9, 0.8]);
    assert!(read(folder.path(), &["patient"]).unwrap().groups[0].first().tested.is_some());
}

#[test]
fn settings_of_earlier_and_later_versions_are_compared() {
    let folder = sweep();
    let at = |name: &str| folder.path().join(name);
    let text = fs::read_to_string(at("slow-seed-0").join("config.toml")).unwrap();
    let without = ["schedule", "warmup", "weight_decay", "shape", "classes"];
    let earlier: Vec<&str> =
        text.lines().filter(|line| !without.iter().any(|name| line.starts_with(&format!("{name} =")))).collect();
    assert_eq!(earlier.len() + without.len(), text.lines().count(), "{text}");
    fs::write(at("slow-seed-0").join("config.toml"), earlier.join("\n").replace("instructions", "variant")).unwrap();
    assert_eq!(read(folder.path(), &["slow-seed-0", "slow-seed-1"]).unwrap().groups.len(), 1);
    let later = text.replace("momentum =", "something = \"new\"\nmomentum =") + "\n[training.inner]\nx = 1.5\n";
    fs::write(at("slow-seed-0").join("config.toml"), later).unwrap();
    let comparison = read(folder.path(), &["slow-seed-0", "slow-seed-1"]).unwrap();
    assert_eq!(comparison.differing, ["something", "inner.x"]);
    assert_eq!(comparison.table().1[1][1..3], ["–", "–"]);
    // Data and device are settings, too; folder, driver and date are none.
    for (good, bad, name) in [
        ("0123456789abcdef", "fedcba9876543210", Some("data.sha256")),
        ("AVX2", "AVX-512", Some("device.instructions")),
        ("0.1.0", "0.2.0", Some("program.version")),
        ("/somewhere", "/elsewhere", None),
        ("2026-01-01", "2026-02-01", None),
    ] {
        fs::write(at("slow-seed-0").join("config.toml"), text.replace(good, bad)).unwrap();
        let differing = read(folder.path(), &["slow-seed-0", "slow-seed-1"]).unwrap().differing;
        assert_eq!(differing, name.into_iter().collect::<Vec<_>>(), "{good}");
    }
}

#[test]
fn the_page_lays_runs_over_each_other_and_needs_nothing_but_itself() {
    let folder = sweep();
    make(&folder.path().join("<script>&"), Training { dropout: Some(0.25), ..training(0) }, &[f64::NAN, 0.5]);
    let page = html("a <title>", Some("warned"), &read(folder.path(), &["."]).unwrap()).unwrap();
    for part in ["0.9300 ± 0.0361", "learning_rate", "a &#60;title&#62;", "warned", "batch_size 32", "Recall of each class"]
    {
        assert!(page.contains(part), "{part} is missing");
    }
    for name in ["Validation loss", "Validation accuracy", "Training loss", "Learning rate at each epoch&#39;s end"] {
        assert!(page.contains(name), "{name} is missing");
    }
    assert_eq!(page.matches("Confusion matrix").count(), 3, "a matrix for each line");
    let bands = page.matches("<path class=\"band").count();
    assert_eq!(bands, 3, "of the group of three, but for the learning rate, which is the same");
    for outside in ["http", "url(", "@import", "<script", "src="] {
        assert!(!page.contains(outside), "the page has {outside}");
    }
    assert!(page.ends_with("</html>"));
}

#[test]
fn any_number_of_runs_and_any_figures_are_drawn() {
    let folder = tempdir().unwrap();
    for (index, accuracies) in
        [&[0.1][..], &[f64::NAN; 3], &[0.0, 1.0], &[1.0; 300], &[f64::INFINITY, 0.2]].iter().cycle().take(40).enumerate()
    {
        let settings = Training { epochs: accuracies.len() as u32, momentum: index as f64 / 100.0, ..training(0) };
        make(&folder.path().join(format!("run {index}")), settings, accuracies);
    }
    let comparison = read(folder.path(), &["."]).unwrap();
    assert_eq!((comparison.groups.len(), comparison.passed_over.len()), (40, 0));
    let page = html("many", None, &comparison).unwrap();
    let paths: Vec<&str> = page.split(" d=\"").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
    assert!(paths.iter().all(|path| !path.contains("NaN") && !path.contains("inf")), "a place that is no number");
    assert!(page.contains("28 more are not shown") && page.len() < 1_500_000, "{} bytes", page.len());
}
