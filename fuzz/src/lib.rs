//! The readers of `tests/hostile`, for libFuzzer.

#[path = "../../tests/hostile/readers.rs"]
pub mod readers;
#[path = "../../tests/hostile/seeds.rs"]
pub mod seeds;

pub use libfuzzer_sys;
