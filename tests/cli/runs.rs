//! A run's folder: whatever stops the program, what lies there is a state that the run was in; two processes never
//! share it; and a run that led nowhere stands in nobody's way.

use crate::harness::*;
use mnist_wgpu::run::{Run, load_network, save_network};
use mnist_wgpu::state::State;
use mnist_wgpu::train::Position;
use std::fs;
#[cfg(unix)]
use std::io::{BufRead, BufReader};
use std::path::Path;
use tempfile::{TempDir, tempdir};

/// A run as short as can be: 30 steps an epoch.
fn short<'a>(epochs: &'a str, out: &'a str) -> Vec<&'a str> {
    let settings = ["--seed", "3", "--data-dir", data_folder().to_str().unwrap()];
    [&SHORT[..], &settings, &["--epochs", epochs, "--out", out]].concat()
}

fn copy(from: &Path, to: &Path, names: &[&str]) {
    fs::create_dir_all(to).unwrap();
    for name in names {
        fs::copy(from.join(name), to.join(name)).unwrap();
    }
}

/// A folder with a run of three epochs, `whole`, and what it was after one and two.
fn epochs() -> TempDir {
    let folder = tempdir().unwrap();
    for (epochs, out) in [("1", "one"), ("2", "two"), ("3", "whole")] {
        run(program(folder.path()).args(short(epochs, out))).expect(0, &[]);
    }
    folder
}

const MODEL: &str = "model.safetensors";
const LAST: &str = "last.safetensors";
const METRICS: &str = "metrics.csv";

#[test]
fn a_run_killed_between_two_writes_of_an_epoch_goes_on_to_the_same_bits() {
    let folder = epochs();
    let at = |name: &str| folder.path().join(name);
    let same = |run: &str, name: &str| fs::read(at(run).join(name)).unwrap() == fs::read(at("whole").join(name)).unwrap();
    let best = |run: &str| load_network(&at(run).join(MODEL)).unwrap().info.unwrap().epoch;
    assert_eq!((best("one"), best("two")), (1, 2), "each epoch was the best: its network is saved");
    // In the order in which they are written; each is there or not, but whole.
    let written = [METRICS, LAST, MODEL];
    for count in 0..=written.len() {
        let killed = at(&format!("killed after {count}"));
        copy(&at("one"), &killed, &["config.toml", METRICS, LAST, MODEL]);
        copy(&at("two"), &killed, &written[..count]);
        run(program(folder.path()).args(["train", "--epochs", "3", "--resume"]).arg(&killed)).expect(0, &[]);
        let name = killed.file_name().unwrap().to_str().unwrap();
        assert!(same(name, MODEL) && same(name, LAST), "{name}");
    }
    // Of the first epoch there may be no network yet.
    copy(&at("two"), &at("no model"), &["config.toml", METRICS, LAST]);
    run(program(folder.path()).args(["train", "--epochs", "3", "--resume", "no model"])).expect(0, &[]);
    assert!(same("no model", MODEL) && same("no model", LAST));
}

#[test]
fn the_best_network_is_written_after_the_checkpoint_that_it_can_be_made_from() {
    let folder = tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    run(program(folder.path()).args(short("1", "whole"))).expect(0, &[]);
    // A run that has not begun its first epoch; in the place of its network lies what no file replaces.
    copy(&at("whole"), &at("run"), &["config.toml", LAST]);
    let last = load_network(&at("run").join(LAST)).unwrap();
    let (fresh, info) = (State::new(&last.model, 3), last.info.unwrap());
    let mut start = last.state;
    for (role, arena) in &mut start.arenas {
        match fresh.arenas.iter().find(|(other, _)| other == role) {
            Some((_, values)) => arena.clone_from(values),
            None => arena.fill(0.0), // the momentum
        }
    }
    save_network(&at("run").join(LAST), &last.model, &start, &info, Some(&Position::default()), &[]).unwrap();
    fs::create_dir_all(at("run").join(MODEL).join("in the way")).unwrap();
    let resumed = run(program(folder.path()).args(["train", "--resume", "run"]));
    resumed.expect(1, &["cannot write the checkpoint run/model.safetensors"]);
    assert_eq!(load_network(&at("run").join(LAST)).unwrap().position.unwrap().epochs, 1);
    fs::remove_dir_all(at("run").join(MODEL)).unwrap();
    run(program(folder.path()).args(["train", "--resume", "run"])).expect(0, &[]);
    assert!(fs::read(at("run").join(MODEL)).unwrap() == fs::read(at("whole").join(MODEL)).unwrap());
}

/// As a spreadsheet on Windows does, which lets nobody else write the file that it shows.
#[test]
fn figures_that_cannot_be_written_are_written_later() {
    let folder = tempdir().unwrap();
    let at = |name: &str| folder.path().join("run").join(name);
    run(program(folder.path()).args(short("1", "run"))).expect(0, &[]);
    let figures = || fs::read_to_string(at(METRICS)).unwrap();
    let first = figures();
    // The checkpoint as it is where the figures of the first epoch could not be written; a folder is in their place.
    let rows = Run { folder: folder.path().join("run") }.history(1, &[]).unwrap();
    let last = load_network(&at(LAST)).unwrap();
    let info = last.info.unwrap();
    save_network(&at(LAST), &last.model, &last.state, &info, last.position.as_ref(), &rows).unwrap();
    fs::remove_file(at(METRICS)).unwrap();
    fs::create_dir_all(at(METRICS).join("in the way")).unwrap();

    let ended = run(program(folder.path()).args(["train", "--epochs", "3", "--resume", "run"])).expect(0, &[]);
    assert_eq!(ended.stderr.matches("cannot write run/metrics.csv").count(), 1, "{}", ended.stderr);
    assert_eq!(load_network(&at(LAST)).unwrap().history.len(), 3);
    fs::remove_dir_all(at(METRICS)).unwrap();
    run(program(folder.path()).args(["train", "--resume", "run"])).expect(0, &[]);
    assert!(figures().starts_with(&first) && figures().lines().count() == 4, "{}", figures());
    // Where nothing holds them the run cannot go on.
    run(program(folder.path()).args(["train", "--resume", "run", "--epochs", "4"])).expect(0, &[]);
    fs::remove_file(at(METRICS)).unwrap();
    run(program(folder.path()).args(["train", "--resume", "run", "--epochs", "5"])).expect(1, &["metrics.csv"]);
}

#[test]
fn a_folder_in_use_is_refused_and_free_again_when_its_process_ends() {
    let folder = tempdir().unwrap();
    #[cfg(unix)]
    {
        let mut running = Running::start(folder.path(), &[&SHORT[..], &["--epochs", "1000", "--out", "run"]].concat());
        running.wait_for("Run: run");
        for arguments in [&["--out", "run"][..], &["--out", "run", "--force"]] {
            let ended = run(program(folder.path()).args(SHORT).args(arguments));
            ended.expect(1, &["run is in use"]);
        }
        run(program(folder.path()).args(["train", "--resume", "run"])).expect(1, &["run is in use"]);
        running.child.kill().unwrap();
    }
    run(program(folder.path()).args(short("1", "run")).arg("--force")).expect(0, &[]);
}

#[test]
fn latest_is_a_run_with_a_network_and_a_dead_one_can_be_begun_again() {
    let folder = tempdir().unwrap();
    let train = |out: &str, more: &[&str]| run(program(folder.path()).args(short("1", out)).args(more));
    train("runs/good", &[]).expect(0, &[]);
    train("runs/dead", &["--lr", "1e30"]).expect(1, &["--lr"]);
    train("runs/half", &["--lr", "10", "--checkpoint-every", "1"]).expect(1, &["--lr"]);
    let resolved = |path: &str| mnist_wgpu::run::resolve(&folder.path().join(path)).canonicalize().unwrap();
    assert_eq!(resolved("runs/latest"), resolved("runs/good"));
    assert_eq!(files(&folder.path().join("runs/dead")), ["config.toml"]);
    train("runs/dead", &[]).expect(0, &[]);
    assert_eq!(resolved("runs/latest"), resolved("runs/dead"));
    // Now it has a network; and a folder with anything else in it is not taken.
    train("runs/dead", &[]).expect(1, &["--resume", "--force"]);
    train("runs/other", &["--lr", "1e30"]).expect(1, &[]);
    fs::write(folder.path().join("runs/other/notes.txt"), "mine").unwrap();
    train("runs/other", &[]).expect(1, &["not empty"]);
}

#[test]
fn what_a_killed_process_left_unfinished_is_in_nobodys_way() {
    let folder = tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let unfinished = ".mnist-wgpu-killed";
    // Killed over its very first file; over that of the first network; in a later epoch.
    fs::create_dir(at("run")).unwrap();
    fs::write(at("run").join(unfinished), "half").unwrap();
    run(program(folder.path()).args(short("1", "run")).args(["--lr", "1e30"])).expect(1, &["nothing was saved"]);
    assert_eq!(files(&at("run")), ["config.toml"]);
    fs::write(at("run").join(unfinished), "half").unwrap();
    run(program(folder.path()).args(short("1", "run"))).expect(0, &[]);
    fs::write(at("run").join(unfinished), "half").unwrap();
    run(program(folder.path()).args(["train", "--resume", "run"])).expect(0, &[]);
    assert!(!at("run").join(unfinished).exists(), "it is left for ever");
}

#[test]
fn settings_that_were_cut_short_can_be_written_over() {
    let folder = tempdir().unwrap();
    for (index, text) in ["", "[training]\nepochs = 1"].iter().enumerate() {
        let out = format!("run {index}");
        fs::create_dir(folder.path().join(&out)).unwrap();
        fs::write(folder.path().join(&out).join("config.toml"), text).unwrap();
        run(program(folder.path()).args(short("1", &out)).arg("--force")).expect(0, &[]);
    }
    let other = "[package]\nname = \"somebody's\"\n";
    fs::create_dir(folder.path().join("other")).unwrap();
    fs::write(folder.path().join("other/config.toml"), other).unwrap();
    run(program(folder.path()).args(short("1", "other")).arg("--force")).expect(1, &["no run's"]);
    assert_eq!(fs::read_to_string(folder.path().join("other/config.toml")).unwrap(), other);
}

#[test]
fn others_files_are_kept_though_they_are_called_as_a_runs() {
    let folder = tempdir().unwrap();
    let other = folder.path().join("other");
    fs::create_dir(&other).unwrap();
    for name in [METRICS, "report.html", "filters.png"] {
        fs::write(other.join(name), "mine").unwrap();
        run(program(folder.path()).args(short("1", "other"))).expect(1, &["other exists and is not empty", "--force"]);
        assert_eq!((files(&other), fs::read(other.join(name)).unwrap()), (vec![name.to_string()], b"mine".to_vec()));
        fs::remove_file(other.join(name)).unwrap();
    }
}

/// Windows moves no folder in which a file is open.
#[cfg(unix)]
#[test]
fn a_run_whose_folder_is_moved_ends_there_and_writes_into_no_other() {
    let folder = tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let mut running = Running::spawn(program(folder.path()).args(short("10000", "run")));
    let mut said = BufReader::new(running.child.stdout.take().unwrap()).lines().map_while(Result::ok);
    said.find(|line| line.starts_with("Epoch 1:")).expect("an epoch");
    fs::rename(at("run"), at("moved")).unwrap();
    // Another one in its place.
    run(program(folder.path()).args(short("1", "run"))).expect(0, &[]);
    let whole = fs::read(at("run").join(LAST)).unwrap();
    said.for_each(drop);
    running.end().expect(1, &["run is not the folder any more", "`train --resume`"]);
    assert!(fs::read(at("run").join(LAST)).unwrap() == whole);
    let done = fs::read_to_string(at("moved").join(METRICS)).unwrap().lines().count() - 1;
    let more = (done + 1).to_string();
    run(program(folder.path()).args(["train", "--resume", "moved", "--epochs", &more])).expect(0, &["Saved as moved"]);
}

#[test]
fn a_run_that_led_nowhere_ends_with_a_word_on_it() {
    let folder = tempdir().unwrap();
    let train = |out: &str, lr: &str, epochs: &str| {
        run(program(folder.path()).args(short(epochs, out)).args(["--lr", lr])).expect(0, &[]).stderr
    };
    let chance = train("chance", "1e-12", "1");
    assert!(chance.contains("no better than guessing") && chance.contains("try another `--lr` than 1e-12"), "{chance}");
    assert!(!train("good", "0.01", "2").contains("Note"), "a run that learns has no word");
}
