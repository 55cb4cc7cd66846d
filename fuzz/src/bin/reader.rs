//! libFuzzer over the reader that the variable `READER` names.

#![no_main]

use mnist_wgpu_fuzz::libfuzzer_sys::fuzz_target;
use mnist_wgpu_fuzz::readers::Reader;
use std::sync::LazyLock;

static READER: LazyLock<&Reader> = LazyLock::new(|| Reader::named(&std::env::var("READER").expect("READER names a reader")));

fuzz_target!(|bytes: &[u8]| READER.check(bytes));
