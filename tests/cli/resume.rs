//! `train --resume`: an interrupted run goes on to the very bits that an uninterrupted one reaches.

use crate::harness::*;
use mnist_wgpu::run::load_network;
use std::fs;
use std::path::Path;
use tempfile::tempdir;

/// A run as short as can be: 30 steps an epoch.
fn short<'a>(epochs: &'a str, out: &'a str) -> Vec<&'a str> {
    let settings = ["--seed", "3", "--data-dir", data_folder().to_str().unwrap()];
    [&SHORT[..], &settings, &["--epochs", epochs, "--out", out]].concat()
}

/// Names of the files whose content depends on nothing but the settings.
const SAME: [&str; 2] = ["model.safetensors", "last.safetensors"];

#[track_caller]
pub fn assert_same_run(folder: &Path, run: &str, other: &str) {
    for name in SAME {
        let read = |run: &str| fs::read(folder.join(run).join(name)).unwrap();
        assert!(read(run) == read(other), "{name} of {run} and {other} differ");
    }
    // The figures, too, but for the time they took.
    let figures = |run: &str| -> Vec<String> {
        let text = fs::read_to_string(folder.join(run).join("metrics.csv")).unwrap();
        text.lines().map(|line| line.split(',').take(5).collect::<Vec<_>>().join(",")).collect()
    };
    assert_eq!(figures(run), figures(other));
}

#[cfg(unix)]
#[test]
fn fewer_epochs_than_the_rate_rises_for_are_refused_and_the_run_is_as_it_was() {
    let folder = tempdir().unwrap();
    let rises = [&short("3", "run")[..], &["--schedule", "cosine", "--warmup", "2"]].concat();
    let mut running = Running::start(folder.path(), &rises);
    running.wait_for("Run: run");
    running.interrupt();
    running.end().expect(130, &["--resume run"]);
    let resume = |epochs: &str| run(program(folder.path()).args(["train", "--resume", "run", "--epochs", epochs]));
    resume("1").expect(2, &["`--epochs 1`", "rises for 2 epochs"]);
    resume("2").expect(0, &["Saved as run"]);
}

#[test]
fn a_run_of_one_epoch_resumed_for_two_more_is_a_run_of_three() {
    let folder = tempdir().unwrap();
    let whole = run(program(folder.path()).args(short("3", "whole"))).expect(0, &[]);
    run(program(folder.path()).args(short("1", "parts"))).expect(0, &[]);
    let rest = run(program(folder.path()).args(["train", "--resume", "parts", "--epochs", "3"]));
    let rest = rest.expect(0, &["Run: parts, after epoch 1", "Device: the CPU"]);
    assert!(whole.stdout.ends_with(&rest.stdout), "{}", rest.stdout);
    assert!(rest.stdout.starts_with("-------------\nEpoch 2:\n"), "{}", rest.stdout);
    assert_same_run(folder.path(), "whole", "parts");
    assert!(fs::read_to_string(folder.path().join("parts/config.toml")).unwrap().contains("epochs = 3"));

    // Nothing is left to train: it only tests again.
    let again = run(program(folder.path()).args(["train", "--resume", "parts"])).expect(0, &[]);
    assert_eq!(again.stdout.trim_end(), whole.last_line());
    assert_same_run(folder.path(), "whole", "parts");
}

#[cfg(unix)]
#[test]
fn a_run_asked_to_end_in_the_middle_of_an_epoch_goes_on_to_the_same_bits() {
    const STEPS: usize = 750;
    let arguments = |out| {
        let small = ["train", "--device", "cpu", "--val-fraction", "0.95", "--batch-size", "4", "--epochs", "1"];
        [&small[..], &["--data-dir", data_folder().to_str().unwrap(), "--out", out]].concat()
    };
    let folder = tempdir().unwrap();
    run(program(folder.path()).args(arguments("whole"))).expect(0, &[]);
    for name in ["INT", "TERM", "HUP"] {
        let mut command = program(folder.path());
        command.args(arguments(name)).args(["--checkpoint-every", "5"]);
        // Whoever runs the tests may ignore SIGHUP, which is inherited, and which only GNU's env can undo.
        let undo =
            "env --default-signal=HUP true 2>/dev/null && exec env --default-signal=HUP \"$0\" \"$@\"; exec \"$0\" \"$@\"";
        let mut running = Running::spawn(&mut in_shell(undo, &command));
        running.wait_for("Run: ");
        let last = folder.path().join(name).join("last.safetensors");
        wait_until(|| last.exists().then_some(()));
        signal(name, running.child.id());
        let asked = std::time::Instant::now();
        running.end().expect(130, &["Stopping", "interrupted in epoch 1", &format!("train --resume {name}")]);
        assert!(asked.elapsed().as_secs_f64() < 2.0, "{name}: it took {:?}", asked.elapsed());
        let position = load_network(&last).unwrap().position.unwrap();
        assert!(position.epochs == 0 && (1..STEPS).contains(&position.batches), "not in the middle: {position:?}");
        let resumed = run(program(folder.path()).args(["train", "--resume", name])).expect(0, &[]);
        assert!(!resumed.stderr.contains("another device"), "{}", resumed.stderr);
        assert_same_run(folder.path(), "whole", name);
    }
}

#[cfg(unix)]
#[test]
fn a_killed_run_goes_on_from_its_last_checkpoint_to_the_same_bits() {
    let folder = tempdir().unwrap();
    run(program(folder.path()).args(short("2", "whole"))).expect(0, &[]);
    let mut running = Running::start(folder.path(), &[&short("2", "parts")[..], &["--checkpoint-every", "7"]].concat());
    running.wait_for("Run: parts");
    let last = folder.path().join("parts/last.safetensors");
    let saved = || load_network(&last).ok().and_then(|checkpoint| checkpoint.position);
    while saved().is_none() {
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    running.child.kill().unwrap();
    running.child.wait().unwrap();
    let position = saved().unwrap();
    assert_eq!((position.epochs as usize * 30 + position.batches) % 7, 0, "{position:?}");
    assert!(position.epochs == 0 && position.batches > 0, "it was killed too late: {position:?}");
    run(program(folder.path()).args(["train", "--resume", "parts"])).expect(0, &["batches of epoch 1"]);
    assert_same_run(folder.path(), "whole", "parts");
}

#[test]
fn what_cannot_be_resumed_is_named() {
    let (path, _) = trained();
    let folder = tempdir().unwrap();
    let resume = |name: &str| run(program(folder.path()).args(["train", "--device", "cpu", "--resume", name]));
    resume("missing").expect(1, &["missing/config.toml", "one that `train` made"]);

    let copy = |name: &str, without: &[&str]| {
        fs::create_dir(folder.path().join(name)).unwrap();
        for file in files(path).iter().filter(|file| !without.contains(&file.as_str())) {
            fs::copy(path.join(file), folder.path().join(name).join(file)).unwrap();
        }
        folder.path().join(name)
    };
    copy("no-last", &["last.safetensors"]);
    resume("no-last").expect(1, &["no-last/last.safetensors", "begin the run anew"]);

    let weights_only = copy("weights-only", &[]);
    fs::copy(path.join("model.safetensors"), weights_only.join("last.safetensors")).unwrap();
    resume("weights-only").expect(1, &["last.safetensors", "no optimizer's state"]);

    let gap = copy("gap", &[]);
    let rows = fs::read_to_string(path.join("metrics.csv")).unwrap();
    fs::write(gap.join("metrics.csv"), rows.lines().next().unwrap()).unwrap();
    resume("gap").expect(1, &["gap/metrics.csv", "a row for each of the epochs 1 to 2"]);

    let garbled = copy("garbled", &[]);
    fs::write(garbled.join("config.toml"), "epochs = many").unwrap();
    resume("garbled").expect(1, &["garbled/config.toml"]);

    copy("done", &[]);
    let fewer = run(program(folder.path()).args(["train", "--resume", "done", "--epochs", "1"]));
    fewer.expect(2, &["--epochs 1", "2 epochs already"]);
}

#[test]
fn a_run_whose_best_network_is_gone_is_told_before_it_trains() {
    let folder = tempdir().unwrap();
    let at = |name: &str| folder.path().join("run").join(name);
    run(program(folder.path()).args(short("2", "run"))).expect(0, &[]);
    // By its figures the first epoch was the best: no file has its network. (That of the last is in last.safetensors.)
    let figures = fs::read_to_string(at("metrics.csv")).unwrap();
    let mut lines: Vec<Vec<&str>> = figures.lines().map(|line| line.split(',').collect()).collect();
    assert_eq!(lines[0][4], "val_accuracy");
    lines[1][4] = "1.0";
    fs::write(at("metrics.csv"), lines.iter().map(|line| line.join(",") + "\n").collect::<String>()).unwrap();
    for there in [true, false] {
        if !there {
            fs::remove_file(at("model.safetensors")).unwrap();
        }
        let ended = run(program(folder.path()).args(["train", "--resume", "run", "--epochs", "3"]));
        assert_eq!(ended.expect(1, &["run/model.safetensors"]).stdout, "");
    }
}

#[test]
fn settings_out_of_bounds_in_a_config_are_named() {
    let folder = tempdir().unwrap();
    run(program(folder.path()).args(short("1", "run"))).expect(0, &[]);
    let config = folder.path().join("run/config.toml");
    let text = fs::read_to_string(&config).unwrap();
    for (good, bad) in
        [("batch_size = 100", "batch_size = 0"), ("dropout = 0.5", "dropout = 1.5"), ("epochs = 1", "epochs = 0")]
    {
        assert!(text.contains(good), "{text}");
        fs::write(&config, text.replace(good, bad)).unwrap();
        let name = good.split(' ').next().unwrap();
        run(program(folder.path()).args(["train", "--resume", "run"])).expect(1, &["config.toml", name, "out of bounds"]);
    }
}

#[test]
fn a_run_on_a_device_that_is_not_here_asks_for_another_and_remembers_it() {
    let folder = tempdir().unwrap();
    run(program(folder.path()).args(short("1", "run"))).expect(0, &[]);
    let config = folder.path().join("run/config.toml");
    let text = fs::read_to_string(&config).unwrap();
    // As an earlier version wrote it: with the name of its kernels.
    let (before, after) = text.split_once("name = \"cpu\"\ninstructions = ").unwrap();
    let (_, after) = after.split_once('\n').unwrap();
    let device = "name = \"GeForce 256\"\nbackend = \"vulkan\"\nvariant = \"narrow\"";
    fs::write(&config, format!("{before}{device}\n{after}")).unwrap();
    let ended = run(program(folder.path()).args(["train", "--resume", "run", "--epochs", "2"]));
    ended.expect(1, &["the run was on GeForce 256", "--device", "cpu"]);
    let ended = run(program(folder.path()).args(["train", "--resume", "run", "--epochs", "2", "--device", "cpu"]));
    ended.expect(0, &["another device"]);
    let page = fs::read_to_string(folder.path().join("run/report.html")).unwrap();
    assert!(page.contains("GeForce 256") && page.contains("Taken up again"), "both devices are on the page");
    let text = fs::read_to_string(&config).unwrap();
    assert!(!text.contains("narrow") && text.matches("\ninstructions = ").count() == 1, "a GPU has no such: {text}");
    run(program(folder.path()).args(["train", "--resume", "run"])).expect(0, &["Device: the CPU"]);
}

#[test]
fn settings_by_which_other_images_would_be_trained_on_are_refused() {
    let folder = tempdir().unwrap();
    run(program(folder.path()).args(short("1", "run"))).expect(0, &[]);
    let config = folder.path().join("run/config.toml");
    let text = fs::read_to_string(&config).unwrap();
    for (own, other) in [("seed = 3", "seed = 4"), ("val_fraction = 0.95", "val_fraction = 0.9")] {
        assert!(text.contains(own), "{text}");
        fs::write(&config, text.replace(own, other)).unwrap();
        let resumed = run(program(folder.path()).args(["train", "--resume", "run", "--epochs", "2"]));
        resumed.expect(1, &["run/config.toml", "does not describe the network", "edited by hand"]);
    }
}

/// Earlier versions called the CPU path's instructions `variant`.
#[test]
fn a_run_of_an_earlier_version_goes_on_to_the_same_bits() {
    let folder = tempdir().unwrap();
    run(program(folder.path()).args(short("2", "whole"))).expect(0, &[]);
    run(program(folder.path()).args(short("1", "parts"))).expect(0, &[]);
    let config = folder.path().join("parts/config.toml");
    let text = fs::read_to_string(&config).unwrap();
    assert_eq!(text.matches("\ninstructions = ").count(), 1, "{text}");
    fs::write(&config, text.replace("\ninstructions = ", "\nvariant = ")).unwrap();
    run(program(folder.path()).args(["eval", "parts"])).expect(0, &[]);
    let resumed = run(program(folder.path()).args(["train", "--resume", "parts", "--epochs", "2"])).expect(0, &[]);
    assert!(!resumed.stderr.contains("another device"), "{}", resumed.stderr);
    assert_same_run(folder.path(), "whole", "parts");
}

#[test]
fn other_images_than_the_runs_are_refused() {
    let folder = tempdir().unwrap();
    run(program(folder.path()).args(short("1", "run"))).expect(0, &[]);
    let config = folder.path().join("run/config.toml");
    let text = fs::read_to_string(&config).unwrap();
    let (before, after) = text.split_once("sha256 = \"").unwrap();
    fs::write(&config, format!("{before}sha256 = \"0{after}")).unwrap();
    let before = fs::read(folder.path().join("run/last.safetensors")).unwrap();
    let ended = run(program(folder.path()).args(["train", "--resume", "run", "--epochs", "2"]));
    ended.expect(1, &["other images", "custom", "cli-data", "--data-dir"]);
    assert!(fs::read(folder.path().join("run/last.safetensors")).unwrap() == before);
}

#[test]
fn a_run_without_a_name_gets_one_and_latest_points_at_it() {
    let folder = tempdir().unwrap();
    let unnamed: Vec<_> = short("1", "").into_iter().take_while(|argument| *argument != "--out").collect();
    let ended = run(program(folder.path()).args(unnamed)).expect(0, &["Run: runs/"]);
    let names = files(&folder.path().join("runs"));
    let [name, latest] = &names[..] else { panic!("{names:?}") };
    assert_eq!(latest, "latest");
    assert!(name.len() > "2026-01-01-a-b".len() && name.starts_with("20"), "{name}");
    assert!(ended.stderr.contains(&format!("Saved as runs/{name}")), "{}", ended.stderr);
    let resumed = run(program(folder.path()).args(["train", "--resume", "runs/latest"])).expect(0, &[]);
    assert_eq!(resumed.stdout.trim_end(), ended.last_line());
}
