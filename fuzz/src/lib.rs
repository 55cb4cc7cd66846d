//! The readers of `tests/hostile`, as targets of libFuzzer.

#[path = "../../tests/hostile/readers.rs"]
pub mod readers;
#[path = "../../tests/hostile/seeds.rs"]
pub mod seeds;

pub use libfuzzer_sys;

/// The target of the reader with this name.
#[macro_export]
macro_rules! target {
    ($name:literal) => {
        static READER: std::sync::LazyLock<&'static $crate::readers::Reader> =
            std::sync::LazyLock::new(|| $crate::readers::Reader::named($name));
        $crate::libfuzzer_sys::fuzz_target!(|bytes: &[u8]| READER.check(bytes));
    };
}
