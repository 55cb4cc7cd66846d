//! mnist-wgpu trains a convolutional network on whatever GPU a machine has, through WGSL compute shaders, and on the CPU.
//!
//! The data flows one way, and the modules are its stations:
//!
//! ```text
//! data       the images, as bytes; which of them train, and in which order
//!   |
//! engine     what the loop asks of a device: queue batches, collect their metrics
//!   |        answered by gpu::GpuEngine and by cpu::CpuEngine
//!   |
//! ops        gather -> convolution, ReLU, pooling, linear, dropout -> cross-entropy
//!   |        -> the same backwards -> SGD; each op a shader, its host side and its CPU mirror
//!   |
//! metrics    loss and accuracy of batches and epochs
//!   |
//! train      the loop itself      checkpoint    what is kept
//! ```
//!
//! [`model`] turns a list of layers into shapes, parameters and ops. [`train::fit`] is the place to start reading; the file
//! `ARCHITECTURE.md` walks through the house and says how to add an op.
//!
//! ```no_run
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use mnist_wgpu::{cpu::CpuEngine, data, engine::*, model::Model};
//!
//! let dataset = data::load(&data::Sources::from_environment(None), &mut |_| ())?;
//! let model = Model::new([1, 28, 28], Model::classic_layers(0.5), data::CLASSES)?;
//! let mut engine = CpuEngine::new(&model, &dataset, Settings::default());
//! engine.set_state(&State { parameters: model.init(0), velocity: vec![0.0; model.arena_len()] })?;
//!
//! let order: Vec<u32> = (0..dataset.train.len() as u32).collect();
//! engine.begin(Set::Train, Work::Train, &order, 0)?;
//! engine.submit(0..100)?; // a hundred training steps
//! # Ok(()) }
//! ```

pub mod checkpoint;
pub mod cpu;
pub mod data;
pub mod engine;
pub mod evaluation;
pub mod files;
pub mod gpu;
pub mod history;
pub mod image;
pub mod metrics;
pub mod model;
pub mod onnx;
pub mod ops;
pub mod parity;
pub mod report;
pub mod run;
pub mod tensorboard;
pub mod train;
