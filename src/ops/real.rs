//! The element types of the CPU mirror.

/// f32 to train, f64 to check gradients.
pub trait Real:
    num_traits::Float + num_traits::NumAssign + std::iter::Sum + std::fmt::Debug + Send + Sync + 'static
{
    fn of(value: f64) -> Self;

    /// e to this power. [`num_traits::Float::exp`] is the system's, and each system's rounds otherwise.
    fn exponential(self) -> Self;

    /// The natural logarithm, for the same reason.
    fn logarithm(self) -> Self;
}

impl Real for f32 {
    fn of(value: f64) -> Self {
        value as f32
    }

    fn exponential(self) -> Self {
        libm::expf(self)
    }

    fn logarithm(self) -> Self {
        libm::logf(self)
    }
}

impl Real for f64 {
    fn of(value: f64) -> Self {
        value
    }

    fn exponential(self) -> Self {
        libm::exp(self)
    }

    fn logarithm(self) -> Self {
        libm::log(self)
    }
}

/// Elements that one task of an op takes that computes each by itself.
pub const PER_TASK: usize = 32 * 1024;

/// How many samples of a batch of `n` one task of the CPU path takes. It depends on nothing else, so that sums over
/// samples do not depend on the number of threads. A task brings along buffers and a gradient of its own: large batches
/// have larger tasks, not more of them.
pub fn samples_per_task(n: usize) -> usize {
    (n / 16).max(4)
}
