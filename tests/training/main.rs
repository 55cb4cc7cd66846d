//! Training as a whole: it learns, every path learns the same, and nothing but the seed decides what comes out.

#[path = "../common/mod.rs"]
mod common;

mod fit;
mod learning;
mod paths;
mod repeatable;

use common::engines::{dataset, pick};
use mnist_wgpu::data::{CLASSES, Dataset, Sources, load, synthetic};
use mnist_wgpu::model::Model;
use std::sync::OnceLock;

/// The default net.
fn net(dropout: f32) -> Model {
    Model::new([1, 28, 28], Model::classic_layers(dropout), CLASSES).expect("the default net")
}

/// Synthetic digits.
fn digits(train: usize, test: usize) -> Dataset {
    let (train, test) = synthetic(train, test, 1);
    dataset(train, test)
}

/// The first 3200 training images of MNIST where `MNIST_DIR` names it, else as many synthetic digits.
fn images() -> &'static Dataset {
    const COUNT: usize = 3200;
    static IMAGES: OnceLock<Dataset> = OnceLock::new();
    IMAGES.get_or_init(|| match Sources::from_environment(None) {
        sources @ Sources { mnist_dir: Some(_), .. } => {
            let data = load(&sources, &mut |_| {}).unwrap_or_else(|e| panic!("{e}"));
            dataset(pick(&data.train, 0..COUNT), pick(&data.test, 0..100))
        }
        _ => digits(COUNT, 100),
    })
}

/// 0, 1, ... `count - 1`
fn first(count: usize) -> Vec<u32> {
    (0..count as u32).collect()
}
