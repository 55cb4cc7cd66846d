//! The program's clock.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// Time since the first call.
pub fn clock() -> Duration {
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed()
}
