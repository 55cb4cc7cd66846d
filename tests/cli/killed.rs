//! `kill -9` at any moment: what lies in the folder goes on to the bits of the run that was not killed. The short form
//! takes some of the moments; with `THOROUGH=1` each of them, and two hundred at random.

use crate::harness::*;
use crate::resume::assert_same_run;
use mnist_wgpu::run::load_network;
use rand::{RngExt, SeedableRng};
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::tempdir;

const KILL: i32 = 9;

/// Whether all moments are wanted, and not some of each kind.
fn thorough() -> bool {
    std::env::var_os("THOROUGH").is_some()
}

/// A run of `epochs` of nine steps, with two checkpoints in each.
fn small(folder: &Path, device: &str, epochs: &str, out: &str) -> Command {
    let mut command = program(folder);
    command.args(["train", "--device", device, "--batch-size", "30", "--checkpoint-every", "4", "--lr", "0.05"]);
    command.args(["--epochs", epochs, "--out", out, "--data-dir"]).arg(small_data_folder());
    command
}

/// What brings a killed run further: its checkpoint, or where it kept none, a new beginning in the same folder.
fn further(folder: &Path, device: &str, epochs: &str) -> Command {
    if !folder.join("run/last.safetensors").exists() {
        return small(folder, device, epochs, "run");
    }
    let mut command = program(folder);
    command.args(["train", "--resume", "run", "--checkpoint-every", "4"]);
    command
}

/// Checks that the folder of a run that was killed, and then came to its end, is that of the run that was not.
#[track_caller]
fn assert_came_to_the_end(folder: &Path) {
    assert_same_run(folder, "whole", "run");
    assert_eq!(files(&folder.join("run")), files(&folder.join("whole")));
    let tested = |run: &str| fs::read_to_string(folder.join(run).join("test.json")).unwrap();
    assert_eq!(tested("whole"), tested("run"));
}

/// The calls to the system that change a file or a folder. Those with `?` are not known to every processor's Linux.
#[cfg(target_os = "linux")]
const CHANGES: &str = "write,fsync,?rename,renameat,renameat2,?unlink,unlinkat,?mkdir,mkdirat,?symlink,symlinkat";

/// `command` under strace, which watches the thread that writes, and does with its calls what `inject` says.
#[cfg(target_os = "linux")]
fn traced(command: &Command, trace: &Path, inject: Option<String>) -> Command {
    let mut strace = in_shell("exec strace -qq -o \"$TRACE\" -e trace=$CALLS $INJECT \"$0\" \"$@\"", command);
    let inject = inject.map(|what| format!("-e inject={what}")).unwrap_or_default();
    strace.env("TRACE", trace).env("CALLS", CHANGES).env("INJECT", inject);
    strace
}

#[cfg(target_os = "linux")]
#[test]
fn a_run_killed_between_any_two_changes_to_its_files_goes_on_to_the_same_bits() {
    let folder = tempdir().unwrap();
    let trace = folder.path().join("no-home.trace");
    let made = traced(&small(folder.path(), "cpu", "2", "whole"), &trace, None).output().unwrap();
    let said = String::from_utf8_lossy(&made.stderr);
    assert!(made.status.success(), "no strace, or it may not trace here; `./scripts/test` installs it: {said}");
    let calls = fs::read_to_string(&trace).unwrap();
    fs::remove_file(&trace).unwrap();
    let calls: Vec<&str> = calls.lines().collect();
    let begin = calls.iter().position(|call| call.starts_with("mkdir") && call.contains("\"whole\"")).unwrap();
    // Five is no divisor of the calls of one save: each place in it gets its turn.
    let step = if thorough() { 1 } else { 5 };
    let places: Vec<usize> = (begin..calls.len()).step_by(step).collect();
    for &place in &places {
        let call = calls[place];
        // strace counts each kind of call by itself.
        let name = &call[..=call.find('(').unwrap()];
        let nth = calls[..=place].iter().filter(|call| call.starts_with(name)).count();
        let kill = format!("{}:signal=KILL:when={nth}", name.trim_end_matches('('));
        let mut killed = traced(&small(folder.path(), "cpu", "2", "run"), &trace, Some(kill));
        let status = killed.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
        let _ = fs::remove_file(&trace);
        assert_eq!(status.signal(), Some(KILL), "it was not killed at {call}");
        let ended = run(&mut further(folder.path(), "cpu", "2"));
        assert_eq!(ended.code, Some(0), "killed at {call}: {}", ended.stderr);
        assert_came_to_the_end(folder.path());
        fs::remove_dir_all(folder.path().join("run")).unwrap();
    }
    eprintln!("killed at {} of {} changes", places.len(), calls.len() - begin);
}

/// Kills runs on `device` at random moments, and takes them up again, until it was done so many times, and once in the
/// middle of an epoch.
fn killed_at_random(device: &str, epochs: &str, kills: usize) {
    let folder = tempdir().unwrap();
    let begun = Instant::now();
    run(&mut small(folder.path(), device, epochs, "whole")).expect(0, &[]);
    let longest = begun.elapsed();
    let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(kills as u64);
    let (mut done, mut ended, mut in_training) = (0, 0, 0);
    let last = folder.path().join("run/last.safetensors");
    // Chance may put a few kills all before the first checkpoint.
    while done < kills || (in_training == 0 && done < 20 * kills) {
        let mut child = further(folder.path(), device, epochs).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        std::thread::sleep(longest.mul_f64(random.random::<f64>()) + Duration::from_millis(1));
        child.kill().unwrap();
        let out = child.wait_with_output().unwrap();
        if out.status.signal() == Some(KILL) {
            done += 1;
            if last.exists() {
                let position = load_network(&last).unwrap().position.unwrap();
                in_training += usize::from(position.batches > 0);
            }
            continue;
        }
        assert!(out.status.success(), "after {done} kills: {}", String::from_utf8_lossy(&out.stderr));
        assert_came_to_the_end(folder.path());
        fs::remove_dir_all(folder.path().join("run")).unwrap();
        ended += 1;
    }
    run(&mut further(folder.path(), device, epochs)).expect(0, &[]);
    assert_came_to_the_end(folder.path());
    eprintln!("{device}: {done} kills, {in_training} in the middle of an epoch; {} runs came to their end", ended + 1);
    assert!(in_training > 0, "no kill came between a checkpoint and the end of its epoch");
}

#[test]
fn a_run_killed_at_random_moments_ends_in_the_same_bits_on_the_cpu() {
    killed_at_random("cpu", "4", if thorough() { 100 } else { 10 });
}

#[test]
fn a_run_killed_at_random_moments_ends_in_the_same_bits_on_the_gpu() {
    killed_at_random("gpu", "2", if thorough() { 100 } else { 4 });
}
