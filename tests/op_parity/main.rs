//! Every entry point of every shader against its CPU mirror, which runs in f64 where it computes anything: on every
//! adapter, with wgpu's run-time checks and without. Sizes hurt: one, odd, prime, one more than a workgroup or a tile,
//! and the network's own.

#[path = "../common/mod.rs"]
mod common;

mod adamw;
mod affine;
mod batchnorm;
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
fn demand(verdict: impl Future<Output = Verdict>) {
    if let Err(failed) = pollster::block_on(verdict) {
        panic!("{failed}");
    }
}

/// Every entry point that naga finds has to be run by some comparison: those that the subjects' `smallest` cases make.
#[test]
fn every_entry_point_is_compared_with_its_mirror() {
    let gpus = gpus();
    demand(parity::affine::smallest(&gpus));
    demand(parity::batchnorm::smallest(&gpus));
    demand(parity::fused::smallest(&gpus));
    demand(parity::loss::smallest(&gpus));
    demand(parity::pointwise::smallest(&gpus));
    demand(parity::sgd::smallest(&gpus));
    demand(parity::adamw::smallest(&gpus));
    let mut known = BTreeSet::new();
    for shader in SHADERS {
        let interfaces = shader.interfaces().expect("it is valid");
        known.extend(interfaces.iter().map(|interface| format!("{}.{}", shader.op, interface.entry)));
    }
    for gpu in &gpus {
        let ran = gpu.ran.borrow();
        let missing: Vec<_> = known.difference(&ran).collect();
        assert!(missing.is_empty(), "{gpu}: never run against a mirror: {missing:?}");
    }
}
