//! Every entry point of every shader against its CPU mirror, which runs in f64 where it computes anything: on every
//! adapter, with wgpu's run-time checks and without. Sizes hurt: one, odd, prime, one more than a workgroup or a tile,
//! and the network's own.

#[path = "../common/mod.rs"]
mod common;

mod affine;
mod fused;
mod loss;
mod pointwise;
mod sgd;

use mnist_wgpu::ops::SHADERS;
use mnist_wgpu::parity::{self, Gpu, Verdict};
use std::collections::BTreeSet;

/// Every adapter, with run-time checks and without.
fn gpus() -> Vec<Gpu> {
    common::contexts(&common::BOTH).into_iter().map(Gpu::new).collect()
}

/// Fails the test where a comparison failed.
#[track_caller]
fn demand(verdict: Verdict) {
    if let Err(failed) = verdict {
        panic!("{failed}");
    }
}

/// Every entry point that naga finds has to be run by some comparison: those that the subjects' `smallest` cases make.
#[test]
fn every_entry_point_is_compared_with_its_mirror() {
    let gpus = gpus();
    for smallest in [
        parity::affine::smallest,
        parity::fused::smallest,
        parity::loss::smallest,
        parity::pointwise::smallest,
        parity::sgd::smallest,
    ] {
        demand(smallest(&gpus));
    }
    let mut known = BTreeSet::new();
    for shader in SHADERS {
        let (module, _) = shader.parse().expect("it is valid");
        known.extend(module.entry_points.iter().map(|entry| format!("{}.{}", shader.op, entry.name)));
    }
    for gpu in &gpus {
        let ran = gpu.ran.borrow();
        let missing: Vec<_> = known.difference(&ran).collect();
        assert!(missing.is_empty(), "{gpu}: never run against a mirror: {missing:?}");
    }
}
