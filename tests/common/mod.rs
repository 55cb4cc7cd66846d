//! What the test files share: devices, comparisons with derived bounds, and inputs that hurt.

#![allow(dead_code)] // each test file uses its own part

use mnist_wgpu::gpu::{Adapters, Context, Options, Shader};

pub mod engines;

#[allow(unused_imports)]
pub use mnist_wgpu::parity::{compare::*, inputs::*};

/// Every adapter of this machine, opened with each of `options`.
///
/// # Panics
/// Where there is no adapter: a test without a device fails, it does not pass.
pub fn contexts(options: &[Options]) -> Vec<Context> {
    let adapters = pollster::block_on(Adapters::find());
    assert!(!adapters.is_empty(), "no GPU to test on: {}; or run ./scripts/test", Adapters::none_found());
    let all = (0..adapters.len()).flat_map(|index| options.iter().map(move |&options| (index, options)));
    all.map(|(index, options)| pollster::block_on(adapters.open(index, options)).expect("the device opens")).collect()
}

/// With wgpu's run-time checks and WebGPU's default limits.
const CHECKED: Options =
    Options { runtime_checks: true, limits: Some(wgpu::Limits::default), interfaces: Shader::interfaces };
/// As a release run has it.
const RELEASE: Options = Options { runtime_checks: false, limits: None, interfaces: Shader::interfaces };

pub const BOTH: [Options; 2] = [CHECKED, RELEASE];
