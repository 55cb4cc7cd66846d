//! Ctrl-C: the first asks the program to stop, the second ends it.

use super::tell;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// What has to be done before the program ends at once.
static BEFORE_EXIT: OnceLock<fn()> = OnceLock::new();

/// From now on the first Ctrl-C only sets [`interrupted`], and says so; a second ends the program at once.
pub fn catch_interrupts() -> Result<(), ctrlc::Error> {
    ctrlc::set_handler(interrupt)
}

/// From now on `give_back` is called before a second Ctrl-C ends the program.
pub fn before_exit(give_back: fn()) {
    let _ = BEFORE_EXIT.set(give_back); // there is one dashboard: it is the same function
}

/// What Ctrl-C does.
pub fn interrupt() {
    if INTERRUPTED.swap(true, Ordering::SeqCst) {
        if let Some(give_back) = BEFORE_EXIT.get() {
            give_back();
        }
        std::process::exit(130);
    }
    tell("Stopping. Ctrl-C again stops at once.");
}

pub fn interrupted() -> bool {
    INTERRUPTED.load(Ordering::SeqCst)
}
