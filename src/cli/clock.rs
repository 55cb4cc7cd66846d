//! The program's clock.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// Time since the first call.
pub fn clock() -> Duration {
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed()
}

/// The date and the time; the first of 1970 where the system's clock stands outside of the calendar.
pub fn now() -> jiff::Zoned {
    let now = jiff::Timestamp::try_from(std::time::SystemTime::now()).unwrap_or_default();
    now.to_zoned(jiff::tz::TimeZone::system())
}
