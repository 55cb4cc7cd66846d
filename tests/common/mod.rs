//! What the test files share: devices, comparisons with derived bounds, and inputs that hurt.

#![allow(dead_code)] // each test file uses its own part

use mnist_wgpu::gpu::{Adapters, Context, Options, Variant};
use mnist_wgpu::ops::conv2d_relu_maxpool2d::Conv2dReluMaxPool2d;
use std::fmt::Debug;

pub mod engines;

/// Rounding of f32: half a unit in the last place of 1.
pub const EPS: f64 = f32::EPSILON as f64 / 2.0;

/// A sum of n products rounds each product once and each addition once, so that its error is at most about
/// `2 n EPS sum|terms|` in any order of addition (N. Higham, Accuracy and Stability of Numerical Algorithms, 3.1). One of the
/// two sides compared may itself be f32, which doubles that.
pub const C: f64 = 4.0;

/// Fills every output before a kernel runs, so that "wrote 0" and "never wrote" differ.
pub const SENTINEL: f32 = f32::from_bits(0x7fc0_dead);

/// How far a sum of `terms` terms, whose absolute values add up to `magnitude`, may be off.
pub fn bound(terms: usize, magnitude: f64) -> f64 {
    // The smallest normal number: what a device that flushes denormals to zero may lose.
    C * terms as f64 * EPS * magnitude + f64::from(f32::MIN_POSITIVE)
}

/// Compares floating-point results: element i may be off by `bound(terms, magnitude[i])`, where `magnitude` is the sum of the
/// absolute terms it was made of. NaN, an untouched output and a wrong length are errors.
pub fn close(what: &str, got: &[f32], want: &[f64], magnitude: &[f64], terms: usize) -> Result<(), String> {
    let bounds: Vec<f64> = magnitude.iter().map(|&magnitude| bound(terms, magnitude)).collect();
    within(what, got, want, &bounds)
}

/// The same with a bound of its own for each element.
pub fn within(what: &str, got: &[f32], want: &[f64], bounds: &[f64]) -> Result<(), String> {
    if got.len() != want.len() || want.len() != bounds.len() {
        return Err(format!("{what}: {} elements, expected {} (bounds for {})", got.len(), want.len(), bounds.len()));
    }
    for (i, ((&got, &want), &bound)) in got.iter().zip(want).zip(bounds).enumerate() {
        if got.to_bits() == SENTINEL.to_bits() {
            return Err(format!("{what}: element {i} was never written"));
        }
        let error = (f64::from(got) - want).abs();
        // Written so that a NaN on either side fails.
        if !(error <= bound) {
            return Err(format!("{what}: element {i} is {got:e}, expected {want:e}: off by {error:e}, allowed {bound:e}"));
        }
    }
    Ok(())
}

/// Compares what must be exact: copies, masks, indices, labels, ReLU. +0 and -0 count as equal.
pub fn exact<T: PartialEq + Debug>(what: &str, got: &[T], want: &[T]) -> Result<(), String> {
    if got.len() != want.len() {
        return Err(format!("{what}: {} elements, expected {}", got.len(), want.len()));
    }
    match got.iter().zip(want).position(|(got, want)| got != want) {
        Some(i) => Err(format!("{what}: element {i} is {:?}, expected exactly {:?}", got[i], want[i])),
        None => Ok(()),
    }
}

/// Every adapter of this machine, opened with each of `options` but for variants of the kernels that it cannot run.
///
/// # Panics
/// Where there is no adapter: a test without a device fails, it does not pass.
pub fn contexts(options: &[Options]) -> Vec<Context> {
    let adapters = pollster::block_on(Adapters::find());
    assert!(!adapters.is_empty(), "no GPU to test on: {}; or run ./scripts/test", Adapters::none_found());
    let all = (0..adapters.len()).flat_map(|index| options.iter().map(move |&options| (index, options)));
    let able = |&(index, options): &(usize, Options)| options.variant.is_none_or(|v| adapters.variants(index).contains(&v));
    all.filter(able)
        .map(|(index, options)| pollster::block_on(adapters.open(index, options)).expect("the device opens"))
        .collect()
}

/// With wgpu's run-time checks, WebGPU's default limits and the kernels for GPUs.
const CHECKED: Options = Options { runtime_checks: true, default_limits: true, variant: Some(Variant::Narrow) };
/// As a release run has it.
const RELEASE: Options = Options { runtime_checks: false, default_limits: false, variant: None };

pub const BOTH: [Options; 2] = [CHECKED, RELEASE];

/// Every variant of the kernels.
pub const VARIANTS: [Options; 4] = [
    CHECKED,
    Options { variant: Some(Variant::Narrow), ..RELEASE },
    Options { variant: Some(Variant::Wide), ..RELEASE },
    Options { variant: Some(Variant::Shared), ..RELEASE },
];

/// The winners (N, O, PH, PW) that the kernel packed into `words`.
pub fn unpack_winners(op: &Conv2dReluMaxPool2d, n: usize, words: &[u32]) -> Vec<u32> {
    let winner = |i: usize| {
        let (sample, o, window) = (i / op.windows() / op.out, i / op.windows() % op.out, i % op.windows());
        let word = words[(sample * op.out.div_ceil(8) + o / 8) * op.windows() + window];
        (word >> (4 * (o % 8))) & 15
    };
    (0..n * op.out * op.windows()).map(winner).collect()
}

/// `winner` (N, O, PH, PW) as the kernel packs it; junk where the last word has no channels.
pub fn pack_winners(op: &Conv2dReluMaxPool2d, winner: &[u32]) -> Vec<u32> {
    let (windows, groups) = (op.windows(), op.out.div_ceil(8));
    let n = winner.len() / op.out / windows;
    let word = |i: usize| {
        let (sample, group, window) = (i / windows / groups, i / windows % groups, i % windows);
        let channel = |k: usize| match group * 8 + k {
            o if o < op.out => winner[(sample * op.out + o) * windows + window],
            _ => 2,
        };
        (0..8).map(|k| channel(k) << (4 * k)).sum()
    };
    (0..n * groups * windows).map(word).collect()
}

/// The hash that `tests/golden/make.py` draws its inputs with, lowbias32.
pub fn hash(x: u32) -> u32 {
    mnist_wgpu::ops::dropout::cpu::hash(x)
}

/// Number `i` of stream `stream`, in [0, 1): the same as in `tests/golden/make.py`.
pub fn uniform(stream: u32, i: u32) -> f32 {
    (hash(i.wrapping_add(hash(stream))) >> 8) as f32 / (1 << 24) as f32
}

/// `len` values in [-1, 1), with zeros, ties and a few large ones among them.
pub fn values(stream: u32, len: usize) -> Vec<f32> {
    let value = |i: u32| {
        let x = 2.0 * uniform(stream, i) - 1.0;
        match hash(i ^ hash(stream ^ 0x5eed)) % 16 {
            0 => 0.0,
            1..=3 => (x * 4.0).round() / 4.0,
            4 => x * 1e3,
            _ => x,
        }
    };
    (0..len as u32).map(value).collect()
}

pub fn f64s(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&x| x.into()).collect()
}

pub fn magnitudes(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&x| f64::from(x).abs()).collect()
}
