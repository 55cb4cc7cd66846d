//! The ways out of the program, stdout and stderr. Every line goes through here: none is lost, none panics where a pipe
//! was closed, and none is written across the dashboard.

use std::fmt::Display;
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// stdout could not be written, because whatever read it has gone, or a disk is full.
#[derive(Debug, thiserror::Error)]
#[error("cannot write to stdout: {0}")]
pub struct StdoutError(io::Error);

static QUIET: AtomicBool = AtomicBool::new(false);

/// What has been said since [`hold`], in order; none where lines are written at once.
static HELD: Mutex<Option<Vec<Held>>> = Mutex::new(None);

enum Held {
    Stdout(String),
    Stderr(String),
}

fn held() -> MutexGuard<'static, Option<Vec<Held>>> {
    HELD.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Writes `text` to stdout at once. Unlike `print!` it does not panic when stdout has been closed.
pub fn print(text: &str) -> Result<(), StdoutError> {
    if let Some(lines) = &mut *held() {
        lines.push(Held::Stdout(text.into()));
        return Ok(());
    }
    print_bytes(text.as_bytes())
}

/// The same for what is no text.
pub fn print_bytes(bytes: &[u8]) -> Result<(), StdoutError> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(bytes).and_then(|()| stdout.flush()).map_err(StdoutError)
}

/// `text` without what would steer the terminal. A name out of a file may hold anything, and so may what quotes it.
pub fn inert(text: &str) -> String {
    text.chars().filter(|letter| !letter.is_control()).collect()
}

/// Lines, each of them [`inert`].
pub fn inert_lines(lines: impl Display) -> String {
    lines.to_string().split('\n').map(inert).collect::<Vec<_>>().join("\n")
}

/// Writes [`inert_lines`] to stderr. Unlike `eprintln!` it does not panic when stderr has been closed:
/// nobody is left to tell.
pub fn tell(lines: impl Display) {
    tell_coloured(inert_lines(lines));
}

/// The same for lines that may steer the terminal.
pub fn tell_coloured(line: String) {
    match &mut *held() {
        Some(lines) => lines.push(Held::Stderr(line)),
        None => drop(writeln!(io::stderr(), "{line}")),
    }
}

/// [`tell`]s what can be done without: nothing under `--quiet`. Warnings and errors are told.
pub fn note(line: impl Display) {
    if !quiet() {
        tell(line);
    }
}

/// From now on nothing is [`note`]d.
pub fn be_quiet() {
    QUIET.store(true, Ordering::Relaxed);
}

pub fn quiet() -> bool {
    QUIET.load(Ordering::Relaxed)
}

/// From now on keeps what is said, until [`release`], because something else has the screen.
pub fn hold() {
    held().get_or_insert_default();
}

/// Writes what was kept since [`hold`].
pub fn release() -> Result<(), StdoutError> {
    let lines = held().take().unwrap_or_default();
    let mut result = Ok(());
    for line in lines {
        match line {
            Held::Stdout(text) => result = result.and(print(&text)),
            Held::Stderr(line) => tell_coloured(line),
        }
    }
    result
}

/// The last `count` lines for stderr that are kept.
pub fn held_lines(count: usize) -> Vec<String> {
    let held = held();
    let lines = held.iter().flatten().rev().filter_map(|line| match line {
        Held::Stderr(line) => Some(line.clone()),
        Held::Stdout(_) => None,
    });
    let mut lines: Vec<_> = lines.take(count).collect();
    lines.reverse();
    lines
}

/// Whether stderr gets colours: where clap's errors have them, by NO_COLOR, CLICOLOR, CLICOLOR_FORCE, TERM and what
/// stderr is.
pub fn colour() -> bool {
    anstream::AutoStream::choice(&io::stderr()) != anstream::ColorChoice::Never
}
