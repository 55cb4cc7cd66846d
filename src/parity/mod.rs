//! The kernels of a device against their CPU mirrors, within derived bounds: the cases of each op, which
//! `tests/op_parity` runs at sizes that hurt and `selftest` at those of the default network on the user's own device.

pub mod adamw;
pub mod affine;
pub mod batchnorm;
pub mod compare;
pub mod fused;
pub mod gpu;
pub mod inputs;
pub mod loss;
pub mod pointwise;
pub mod selftest;
pub mod sgd;
pub mod step;

pub use compare::{Compared, Mismatch};
pub use gpu::{Gpu, Gradients};
pub use inputs::{KINDS, Kind};

use crate::engine::EngineError;
use crate::gpu::GpuError;

/// What a check found wrong.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    #[error(transparent)]
    Mismatch(#[from] Mismatch),

    #[error("something wrote past the end of {0}")]
    Overrun(String),

    #[error(transparent)]
    Gpu(#[from] GpuError),

    #[error(transparent)]
    Engine(#[from] EngineError),
}

/// A check that failed, and where.
#[derive(Debug, thiserror::Error)]
#[error("{gpu}: {case}: {fault}")]
pub struct Failed {
    /// The device and how it was used.
    pub gpu: String,
    /// Op, sizes, batch and kind of input.
    pub case: String,
    pub fault: Box<Fault>,
}

/// Every result that was compared, or the first that was wrong.
pub type Verdict = Result<Vec<Compared>, Failed>;

/// The comparisons of `case` on each of `gpus`.
async fn on_each(gpus: &[Gpu], case: &str, check: impl AsyncFn(&Gpu) -> Result<Vec<Compared>, Fault>) -> Verdict {
    let mut all = Vec::new();
    for gpu in gpus {
        all.extend(check(gpu).await.map_err(|fault| Failed {
            gpu: gpu.to_string(),
            case: case.into(),
            fault: Box::new(fault),
        })?);
    }
    Ok(all)
}
