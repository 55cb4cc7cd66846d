//! The log: what the variable `RUST_LOG` asks for, on stderr.

use super::output::{colour, inert_lines, tell_coloured};
use log::{Level, LevelFilter};

/// Without the variable: warnings, but no complaints of libraries about what this program looks at itself.
const DEFAULT: &str = "warn,wgpu_hal=error,usvg=error";

/// From now on what is logged is told. `RUST_LOG` holds a level, or levels of modules as `wgpu_core=debug`, with commas
/// between them; what is neither counts for nothing.
pub fn start_log() {
    let asked = std::env::var("RUST_LOG").ok().filter(|asked| !asked.is_empty());
    let mut log = fern::Dispatch::new().level(LevelFilter::Off);
    for directive in asked.as_deref().unwrap_or(DEFAULT).split(',') {
        let (module, level) = directive.split_once('=').unwrap_or(("", directive));
        let Ok(level) = level.trim().parse() else { continue };
        log = if module.is_empty() { log.level(level) } else { log.level_for(module.trim().to_owned(), level) };
    }
    let colour = colour();
    let log = log.chain(fern::Output::call(move |record| {
        let level = match (colour, record.level()) {
            (true, Level::Error) => "\x1b[31mERROR\x1b[0m".to_owned(),
            (true, Level::Warn) => "\x1b[33mWARN\x1b[0m".to_owned(),
            (_, level) => level.to_string(),
        };
        tell_coloured(format!("[{level} {}] {}", record.target(), inert_lines(record.args())));
    }));
    let _ = log.apply(); // there is no other logger
}
