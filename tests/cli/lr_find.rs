//! `lr-find`: it suggests a rate at which training learns, the same one each time.

use crate::folders::write_idx;
use crate::harness::*;
use mnist_wgpu::data::synthetic;
use mnist_wgpu::run::Run;
use std::fs;
use std::path::Path;
use std::process::Command;
use tempfile::tempdir;

fn find(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = program(folder);
    command.args(["lr-find", "--device", "cpu", "--data-dir", "data", "--batch-size", "16"]).args(arguments);
    command
}

#[test]
fn the_flags_that_are_suggested_train_a_network_that_learns() {
    let folder = tempdir().unwrap();
    write_idx(&folder.path().join("data"), "", &synthetic(1200, 200, 3));
    let found = run(&mut find(folder.path(), &["--out", "rates.png"])).expect(0, &["Wrote rates.png"]);
    assert!(fs::read(folder.path().join("rates.png")).unwrap().starts_with(b"\x89PNG"));
    let (flags, why) = found.stdout.split_once("    (").unwrap();
    assert!(flags.starts_with("--lr ") && flags.ends_with(" --schedule one-cycle"), "{flags}");
    assert!(why.contains("falls fastest") && why.contains("a tenth"), "{why}");
    let mut train = program(folder.path());
    train.args(["train", "--batch-size", "16"]).args(flags.split(' ')).args([
        "--device",
        "cpu",
        "--data-dir",
        "data",
        "--epochs",
        "3",
        "--out",
        "run",
    ]);
    run(&mut train).expect(0, &[]);
    let test = Run { folder: folder.path().join("run") }.tested().unwrap().unwrap();
    assert!(test.accuracy > 0.7, "{flags}: {}", test.accuracy);
    // More steps than an epoch has batches go on with the next one.
    assert_eq!(run(&mut find(folder.path(), &[])).expect(0, &[]).stdout, found.stdout, "the same seed, the same rate");
    let json = |seed: &str| -> serde_json::Value {
        serde_json::from_str(&run(&mut find(folder.path(), &["--json", "--seed", seed])).expect(0, &[]).stdout).unwrap()
    };
    let (first, other) = (json("0"), json("1"));
    let rate = first["steepest"].as_f64().unwrap();
    assert!(flags.contains(&format!("--lr {}", format!("{rate:.1e}").parse::<f64>().unwrap())), "{flags}, {rate}");
    assert!(first["losses"] != other["losses"]);
    let (rates, losses) = (first["rates"].as_array().unwrap(), first["losses"].as_array().unwrap());
    assert!(rates.len() == losses.len() && (67..=150).contains(&rates.len()), "{} steps", rates.len());
    assert!((losses[0].as_f64().unwrap() - 10f64.ln()).abs() < 0.3, "an untrained network");
}

#[test]
fn what_cannot_be_searched_is_told() {
    let folder = tempdir().unwrap();
    write_idx(&folder.path().join("data"), "", &synthetic(100, 50, 3));
    // So low a rate changes nothing.
    let tiny = ["--lowest", "1e-30", "--highest", "1e-29", "--dropout", "0", "--batch-size", "90"];
    let none = run(program(folder.path()).args(["lr-find", "--device", "cpu", "--data-dir", "data"]).args(tiny));
    assert!(none.expect(1, &["did not fall", "1e-30", "1e-29", "--lowest"]).stdout.is_empty());
    run(&mut find(folder.path(), &["--lowest", "1", "--highest", "0.1"]))
        .expect(2, &["--lowest 1 --highest 0.1", "below the last"]);
    run(&mut find(folder.path(), &["--steps", "19"])).expect(2, &["--steps", "a whole number from 20 to 10000"]);
    run(&mut find(folder.path(), &["--out", "no-home/x.png"])).expect(1, &["no-home/x.png"]);
    let many = run(program(folder.path()).args(["lr-find", "--device", "cpu", "--data-dir", "data", "--batch-size", "200"]));
    many.expect(2, &["do not fill one batch of 200", "--batch-size"]);
    run(&mut find(folder.path(), &["--from", "builtin", "--freeze", "100"])).expect(2, &["--freeze 100", "nothing is left"]);
    run(&mut find(folder.path(), &["--size", "28"])).expect(2, &["--size", "a folder of pictures"]);
}
