//! mnist-wgpu trains a convolutional network on whatever GPU a machine has, through WGSL compute shaders, and on the
//! CPU. This program trains the classic one on digits that it draws itself:
//!
//! ```no_run
#![doc = include_str!("../examples/train.rs")]
//! ```
//!
//! The data flows one way, and the modules are its stations:
//!
//! ```text
//! data       images as bytes, their labels and the classes' names; which of them train, and in which order
//!   |
//! engine     a model on a device: queue batches, collect their metrics
//!   |
//! ops        gather -> convolution, ReLU, pooling, linear, dropout -> cross-entropy
//!   |        -> the same backwards -> SGD; each op a shader, its host side and its CPU mirror
//!   |
//! metrics    loss and accuracy of batches and epochs
//!   |
//! train      the loop itself      checkpoint    what is kept
//! ```
//!
//! [`model`] turns a list of layers into shapes, parameters and ops. [`train::fit`] is the place to start reading. The
//! file `ARCHITECTURE.md` walks through the house and says how to add an op.
//!
//! The library takes and gives bytes. It knows no file, clock or flag. Modules that do, for the command line, come with
//! the feature `cli`.

pub mod checkpoint;
pub mod data;
pub mod doubt;
pub mod engine;
pub mod evaluation;
pub mod foreign;
pub mod gpu;
pub mod history;
pub mod image;
pub mod layers;
pub mod lr_find;
pub mod metrics;
pub mod model;
pub mod normalisation;
pub mod onnx;
pub mod ops;
pub mod parity;
pub mod reading;
pub mod schedule;
pub mod state;
pub mod train;

#[cfg(feature = "cli")]
pub mod comparison;
#[cfg(feature = "cli")]
pub mod files;
#[cfg(feature = "cli")]
pub mod report;
#[cfg(feature = "cli")]
pub mod run;
#[cfg(feature = "cli")]
pub mod sources;
#[cfg(feature = "cli")]
pub mod tensorboard;
