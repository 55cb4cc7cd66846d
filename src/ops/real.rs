//! The element types of the CPU mirror.

use wide::f32x4;

/// f32 to train, f64 to check gradients.
pub trait Real:
    num_traits::Float + num_traits::NumAssign + std::iter::Sum + std::fmt::Debug + Send + Sync + 'static
{
    fn of(value: f64) -> Self;

    /// Rows become columns.
    fn transpose(block: [[Self; 4]; 4]) -> [[Self; 4]; 4];
}

impl Real for f32 {
    fn of(value: f64) -> Self {
        value as f32
    }

    /// Within registers, which no compiler finds by itself.
    #[inline(always)]
    fn transpose(block: [[f32; 4]; 4]) -> [[f32; 4]; 4] {
        let [a, b, c, d] = block;
        let [a, b, c, d] = f32x4::transpose([f32x4::new(a), f32x4::new(b), f32x4::new(c), f32x4::new(d)]);
        [a.to_array(), b.to_array(), c.to_array(), d.to_array()]
    }
}

impl Real for f64 {
    fn of(value: f64) -> Self {
        value
    }

    fn transpose(block: [[f64; 4]; 4]) -> [[f64; 4]; 4] {
        std::array::from_fn(|i| block.map(|row| row[i]))
    }
}

/// How many samples of a batch of `n` one task of the CPU path takes. It depends on nothing else, so that sums over samples do
/// not depend on the number of threads. A task brings along buffers and a gradient of its own: large batches have larger
/// tasks, not more of them.
pub fn samples_per_task(n: usize) -> usize {
    (n / 16).max(4)
}
