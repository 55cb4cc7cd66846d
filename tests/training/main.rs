//! Training as a whole: it learns, every path learns the same, and nothing but the seed decides what comes out.

#[path = "../common/mod.rs"]
mod common;

mod faults;
mod fit;
mod learning;
mod paths;
mod recipes;
mod refusals;
mod repeatable;

use common::engines::{dataset, pick};
use mnist_wgpu::data::{Dataset, synthetic};
use mnist_wgpu::model::Model;
use mnist_wgpu::sources::{Named, Sources, load};
use std::sync::OnceLock;

/// The default net.
fn net(dropout: f32) -> Model {
    Model::classic([1, 28, 28], 10, dropout).expect("the default net")
}

/// Synthetic digits.
fn digits(train: usize, test: usize) -> Dataset {
    synthetic(train, test, 1)
}

/// The first 3200 training images of MNIST where `MNIST_DIR` names it, else as many synthetic digits.
fn images() -> &'static Dataset {
    const COUNT: usize = 3200;
    static IMAGES: OnceLock<Dataset> = OnceLock::new();
    IMAGES.get_or_init(|| match std::env::var_os("MNIST_DIR").filter(|folder| !folder.is_empty()) {
        Some(folder) => {
            let folder = Some(Named { by: "MNIST_DIR".into(), path: folder.into() });
            let found = load(&Sources { folder, ..Sources::default() }, &mut |_| {});
            let data = found.unwrap_or_else(|e| panic!("{e}")).dataset;
            dataset(pick(&data.train, 0..COUNT), pick(&data.test, 0..100))
        }
        None => digits(COUNT, 100),
    })
}

/// 0, 1, ... `count - 1`
fn first(count: usize) -> Vec<u32> {
    (0..count as u32).collect()
}
