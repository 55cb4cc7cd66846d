//! The device layer: an open device, kernels made from WGSL, labelled buffers, and a plan of dispatches that is made
//! once and replayed for every batch. It knows no op, no model and no data set.
//!
//! Everything here is `async` or immediate and never blocks; [`drive::block_on`] is where a native program waits.

pub mod context;
pub mod drive;
pub mod interface;
pub mod kernel;
pub mod peak;
pub mod plan;
pub mod profile;
#[cfg(feature = "naga")]
pub mod reflect;
pub mod shader;
pub mod tensor;

pub use context::{Adapters, Context, Options};
pub use plan::{Planner, Slots, Step};
pub use shader::Shader;
pub use tensor::Tensor;

/// What can go wrong between this program and a GPU.
#[derive(Debug, thiserror::Error)]
pub enum GpuError {
    #[error("the device \"{name}\" could not be opened: {reason}")]
    RequestDevice { name: String, reason: String },

    #[error(
        "\"{device}\" cannot run the shaders: its {limit} is {found}, and they need {needed}, which nearly every GPU has; \
         a newer driver may help, and another device or the CPU will"
    )]
    Limit { device: String, limit: &'static str, needed: u64, found: u64 },

    #[error("shaders/{op}.wgsl: {message}")]
    Shader { op: &'static str, message: String },

    #[error("shaders/{op}.wgsl has no compute entry point `{entry}`; it has: {known}")]
    EntryPoint { op: &'static str, entry: String, known: String },

    #[error("op {op}, entry point {entry}, binding `{binding}`: {problem}")]
    Binding { op: &'static str, entry: String, binding: String, problem: String },

    #[error(
        "op {op}, entry point {entry}: {found} workgroups along {axis}, more than the {limit} that this device allows; use a \
         smaller batch"
    )]
    TooManyWorkgroups { op: &'static str, entry: String, axis: char, found: u32, limit: u32 },

    #[error(
        "{what} needs {needed} bytes in one buffer, but \"{device}\" binds at most {limit}; use a smaller batch, data set or network"
    )]
    BufferTooLarge { what: String, needed: u64, device: String, limit: u64 },

    #[error("the GPU reported an error: {0}")]
    Device(String),

    #[error("reading results back from the GPU failed: {0}")]
    Readback(String),
}
