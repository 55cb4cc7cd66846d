//! mnist-wgpu trains a convolutional network on whatever GPU a machine has, in WGSL compute shaders, and on the CPU.
pub mod checkpoint;
pub mod cpu;
pub mod data;
pub mod engine;
pub mod gpu;
pub mod metrics;
pub mod model;
pub mod ops;
pub mod train;
