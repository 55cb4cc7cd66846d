//! Whatever goes wrong costs nobody a model: closed pipes, full disks, Ctrl-C.

use crate::harness::*;
use mnist_wgpu::run::load_network;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;
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

/// No file may grow beyond a part of the network's 900 kB; whoever tries gets SIGXFSZ.
#[cfg(unix)]
const SMALL_FILES: &str = "ulimit -f 200; exec \"$0\" \"$@\"";

#[cfg(unix)]
#[test]
fn a_save_that_fails_is_told_and_leaves_no_part_of_a_network() {
    let folder = tempdir().unwrap();
    let mut limited = in_shell(SMALL_FILES, program(folder.path()).args(SHORT).args(["--epochs", "2", "--out", "run"]));
    let ended = run(&mut limited).expect(1, &["cannot write the checkpoint run/last.safetensors", "nothing was saved"]);
    // The figures of the epoch are told, and training ends with it.
    assert_eq!(ended.stdout.matches("Epoch ").count(), 1, "{}", ended.stdout);
    assert_eq!(files(&folder.path().join("run")), ["config.toml", "metrics.csv"], "a part of a network was left");
}

#[cfg(unix)]
#[test]
fn where_files_cannot_grow_the_old_ones_stay_whole() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("run");
    std::fs::create_dir(&path).unwrap();
    for name in files(&trained().0) {
        std::fs::copy(trained().0.join(&name), path.join(&name)).unwrap();
    }
    let networks = || ["model.safetensors", "last.safetensors"].map(|name| std::fs::read(path.join(name)).unwrap());
    let (before, names) = (networks(), files(&path));
    let resume = ["train", "--resume", "run", "--epochs", "3"];
    run(&mut in_shell(SMALL_FILES, program(folder.path()).args(resume))).expect(1, &["cannot write", "File too large"]);
    let mut export = program(folder.path());
    export.args(["export", "run", "--onnx", "run/digits.onnx"]);
    run(&mut in_shell(SMALL_FILES, &export)).expect(1, &["digits.onnx", "File too large"]);
    assert!(networks() == before, "a network was changed");
    assert_eq!(files(&path), names, "something was left behind");
    run(program(folder.path()).args(resume)).expect(0, &["after epoch 2"]);
}

/// A software device's memory is the process's own, of which the shell leaves too little.
#[cfg(target_os = "linux")]
#[test]
fn a_gpu_without_enough_memory_is_told_before_anything_is_written() {
    let folder = tempdir().unwrap();
    let mut command = program(folder.path());
    let layers = "conv 4 3, relu, ".repeat(12) + "linear";
    command.args(["train", "--device", "gpu", "--batch-size", "4096", "--model", &layers, "--out", "run", "--data-dir"]);
    let mut limited = in_shell("ulimit -v 1500000; exec \"$0\" \"$@\"", command.arg(data_folder()));
    run(&mut limited).expect(1, &["out of memory", "smaller batch"]);
    assert!(files(folder.path()).is_empty(), "something was left behind");
}

/// Whether namespaces can be made here, which takes root; a test that needs them says so where not.
#[cfg(target_os = "linux")]
fn can_unshare(what: &[&str]) -> bool {
    let can = Command::new("unshare").args(what).arg("true").output().is_ok_and(|made| made.status.success());
    if !can {
        eprintln!("NOT TESTED: `unshare {}` does not work here", what.join(" "));
    }
    can
}

#[cfg(target_os = "linux")]
#[test]
fn process_1_of_a_container_ends_when_asked_to() {
    let container = ["--pid", "--fork", "--mount-proc", "--kill-child"];
    if !can_unshare(&container) {
        return;
    }
    let folder = tempdir().unwrap();
    let mut command = program(folder.path());
    command.args(["train", "--device", "cpu", "--epochs", "1000", "--out", "run", "--data-dir"]).arg(data_folder());
    let script = format!("exec unshare {} \"$0\" \"$@\"", container.join(" "));
    let mut running = Running::spawn(&mut in_shell(&script, &command));
    running.wait_for("Run: ");
    let unshare = running.child.id();
    let children = std::fs::read_to_string(format!("/proc/{unshare}/task/{unshare}/children")).unwrap();
    signal("TERM", children.trim().parse().unwrap());
    let asked = Instant::now();
    running.end().expect(130, &["Stopping", "train --resume run"]);
    assert!(asked.elapsed().as_secs_f64() < 2.0, "it took {:?}", asked.elapsed());
    assert!(load_network(&folder.path().join("run/last.safetensors")).unwrap().position.is_some());
}

#[cfg(target_os = "linux")]
#[test]
fn only_the_folder_of_the_run_need_be_writable() {
    if !can_unshare(&["--mount"]) {
        return;
    }
    let folder = tempdir().unwrap();
    std::fs::create_dir(folder.path().join("out")).unwrap();
    let read_only = "mount -t tmpfs none out && mount -t tmpfs -o ro none /dev/shm && mount -o remount,bind,ro / \
                     && ! touch file 2>/dev/null && \"$0\" \"$@\" && ls -A out/run";
    let mut command = program(folder.path());
    command.args(SHORT).args(["--epochs", "1", "--out", "out/run", "--data-dir"]).arg(data_folder());
    let script = format!("exec unshare --mount sh -c '{read_only}' \"$0\" \"$@\"");
    let ended = run(&mut in_shell(&script, &command)).expect(0, &["Saved as out/run"]);
    assert!(ended.stdout.contains("last.safetensors") && ended.stdout.contains("report.html"), "{}", ended.stdout);
    assert!(!ended.stdout.contains(".mnist-wgpu-"), "{}", ended.stdout);
}

#[cfg(unix)]
#[test]
fn a_run_under_nohup_goes_on_when_the_terminal_is_closed() {
    let folder = tempdir().unwrap();
    let mut command = program(folder.path());
    command.args(SHORT).args(["--epochs", "3", "--out", "run", "--data-dir"]).arg(data_folder());
    let mut running = Running::spawn(&mut in_shell("trap '' HUP; exec \"$0\" \"$@\"", &command));
    running.wait_for("Run: ");
    signal("HUP", running.child.id());
    let ended = running.end().expect(0, &["Saved as run"]);
    assert!(!ended.stderr.contains("Stopping"), "{}", ended.stderr);
}

/// A run whose steps take long: what it does at once, it does before the first ends.
#[cfg(unix)]
fn slow_steps(folder: &Path) -> Command {
    let mut command = program(folder);
    command.args(["train", "--device", "cpu", "--batch-size", "4096", "--out", "run", "--data-dir"]).arg(data_folder());
    command.env("RAYON_NUM_THREADS", "1");
    command
}

#[cfg(unix)]
#[test]
fn a_sigterm_that_comes_twice_is_one_wish() {
    let folder = tempdir().unwrap();
    let mut running = Running::spawn(&mut slow_steps(folder.path()));
    running.wait_for("Run: ");
    signal("TERM", running.child.id());
    running.wait_for("Stopping");
    signal("TERM", running.child.id()); // as `timeout` does
    running.end().expect(130, &["interrupted in epoch 1", "train --resume run"]);
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
    // It is the only network of the run, and of what may be the latest.
    run(program(folder.path()).args(["export", "run", "--onnx", "digits.onnx"])).expect(0, &["run/last.safetensors"]);
}

#[cfg(unix)]
#[test]
fn ctrl_c_ends_at_once_what_has_nothing_to_keep() {
    let (folder, _) = folder_with_run();
    let mut running = Running::start(folder.path(), &["train", "--device", "cpu"]);
    running.wait_for("Device:"); // The digits are being drawn now, which takes a while.
    running.interrupt();
    let ended = running.end().expect(130, &["error: interrupted; nothing was saved yet"]);
    assert!(!ended.stderr.contains("Run:"), "it went on: {}", ended.stderr);
    untouched(&folder);
}

#[cfg(unix)]
#[test]
fn a_second_signal_ends_the_program_at_once() {
    let folder = tempdir().unwrap();
    let mut running = Running::spawn(&mut slow_steps(folder.path()));
    running.wait_for("Run: ");
    // Both come while a step is at work, and not after it.
    for name in ["STOP", "INT", "TERM", "CONT"] {
        signal(name, running.child.id());
    }
    let ended = running.end().expect(130, &["Ctrl-C again stops at once"]);
    assert!(!ended.stderr.contains("interrupted in epoch"), "it went on to the end: {}", ended.stderr);
}

/// The dashboard, on a terminal that `script` makes. What a device that hangs is to it, a step that takes long is here.
#[cfg(target_os = "linux")]
mod dashboard {
    use super::*;
    use std::io::Write;

    /// Runs it, does `act` once it is up, with the keyboard and the program's process; gives what came to the screen,
    /// and after the program's end the terminal's settings.
    fn on_a_terminal(act: impl FnOnce(&mut dyn Write, &mut dyn FnMut(&str), u32)) -> (String, String) {
        let folder = tempdir().unwrap();
        let mut command = slow_steps(folder.path());
        command.arg("--tui").env("TERM", "xterm");
        let inner = "stty cols 100 rows 30; sh -c 'echo $$ >process; exec \"$0\" \"$@\"' \"$0\" \"$@\"; code=$?; echo; echo ended $code; stty -a";
        let words: Vec<_> = command.get_args().map(|word| format!("'{}'", word.to_str().unwrap())).collect();
        std::fs::write(folder.path().join("inner"), inner).unwrap();
        let inner = format!("sh -c \"$(cat inner)\" {} {}", env!("CARGO_BIN_EXE_mnist-wgpu"), words.join(" "));
        let mut script = in_shell("exec script -qfec \"$INNER\" /dev/null", &command);
        script.env("INNER", inner).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = script.spawn().unwrap();
        let (mut keys, mut screen) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let mut seen = String::new();
        let mut wait_for = |part: &str| {
            let mut bytes = [0; 4096];
            while !seen.contains(part) {
                let read = screen.read(&mut bytes).unwrap();
                assert!(read > 0, "ended before {part:?}: {seen}");
                seen += &String::from_utf8_lossy(&bytes[..read]);
            }
        };
        wait_for("Epoch");
        let process = std::fs::read_to_string(folder.path().join("process")).unwrap().trim().parse().unwrap();
        act(&mut keys, &mut wait_for, process);
        wait_for("ended ");
        wait_for("icanon");
        child.kill().unwrap();
        child.wait().unwrap();
        let (shown, settings) = seen.split_once("ended ").unwrap();
        (shown.into(), settings.into())
    }

    #[track_caller]
    fn assert_left_at_once((shown, settings): (String, String)) {
        assert!(settings.starts_with("130"), "{settings}");
        assert!(!shown.contains("interrupted in epoch"), "it went on to the end: {shown}");
        assert!(shown.contains("\x1b[?1049l"), "the screen was not given back: {shown:?}");
        assert!(!settings.contains("-icanon"), "the terminal was left raw: {settings}");
    }

    #[test]
    fn keys_are_heard_while_a_step_takes_long() {
        assert_left_at_once(on_a_terminal(|keys, wait_for, _| {
            keys.write_all(b"q").unwrap();
            wait_for("Stopping");
            keys.write_all(b"\x03").unwrap();
        }));
    }

    #[test]
    fn a_second_signal_gives_the_terminal_back() {
        assert_left_at_once(on_a_terminal(|_, _, process| {
            // Both come while the step is at work, and not after it.
            for name in ["STOP", "TERM", "INT", "CONT"] {
                signal(name, process);
            }
        }));
    }
}
