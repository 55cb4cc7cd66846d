//! Long runs: what a process holds after fifty epochs is what it held after ten.

use crate::harness::*;
use std::io::{BufRead, BufReader};
use tempfile::tempdir;

/// What a process holds.
#[derive(Clone, Copy, Debug)]
struct Held {
    /// Memory in use, in kB. A software device's is a part of it.
    memory: usize,
    threads: usize,
    files: usize,
}

impl Held {
    fn by(process: u32) -> Self {
        let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
        let field = |name: &str| -> usize {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.trim_start_matches(':').trim().trim_end_matches(" kB").parse().unwrap()
        };
        let files = std::fs::read_dir(format!("/proc/{process}/fd")).unwrap().count();
        Self { memory: field("VmRSS"), threads: field("Threads"), files }
    }
}

/// Fifty epochs of nine steps on `device`, each of which writes the run's files, with a checkpoint in their middle. The
/// network is small: what is watched is the host.
fn holds_no_more_and_more(device: &str) {
    const EPOCHS: usize = 50;
    /// What an allocator may do with memory that was given back, in kB: a tenth of what each epoch reads back, forty
    /// times over, would be more.
    const SLACK: usize = 4 << 10;
    let folder = tempdir().unwrap();
    let mut command = program(folder.path());
    command.args(["train", "--device", device, "--batch-size", "30", "--checkpoint-every", "4", "--out", "run"]);
    command.args(["--model", "conv 8 3, relu, pool 2, linear 64, dropout 0.5, linear"]);
    command.args(["--epochs", &EPOCHS.to_string(), "--data-dir"]).arg(small_data_folder());
    let mut running = Running::spawn(&mut command);
    let (process, stdout) = (running.child.id(), BufReader::new(running.child.stdout.take().unwrap()));
    let mut held = Vec::new();
    for line in stdout.lines() {
        if line.unwrap().starts_with("Epoch ") {
            held.push(Held::by(process));
        }
    }
    running.end().expect(0, &["Saved as run"]);
    assert_eq!(held.len(), EPOCHS);
    let most = |part: &[Held], what: fn(&Held) -> usize| part.iter().map(what).max().unwrap();
    // While a file is written one more is open; what was not closed stays so at every moment.
    let least = |part: &[Held], what: fn(&Held) -> usize| part.iter().map(what).min().unwrap();
    let (early, late) = (&held[5..15], &held[EPOCHS - 10..]);
    eprintln!("{device}: after 10 epochs {:?}, after 50 {:?}", held[9], held[EPOCHS - 1]);
    assert!(most(late, |held| held.memory) <= most(early, |held| held.memory) + SLACK, "{held:?}");
    assert!(least(late, |held| held.threads) <= most(early, |held| held.threads), "{held:?}");
    assert!(least(late, |held| held.files) <= most(early, |held| held.files), "{held:?}");
}

#[test]
fn fifty_epochs_on_the_cpu_hold_no_more_than_ten() {
    holds_no_more_and_more("cpu");
}

#[test]
fn fifty_epochs_on_the_gpu_hold_no_more_than_ten() {
    holds_no_more_and_more("gpu");
}
