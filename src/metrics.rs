//! What a batch and an epoch are judged by.

use serde::{Deserialize, Serialize};

/// The metrics of one batch, as the loss kernel writes them (`Metrics` in `shaders/cross_entropy.wgsl`).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
pub struct BatchMetrics {
    /// Sum of the samples' losses.
    pub loss_sum: f32,
    /// Samples judged right.
    pub correct: u32,
    /// Samples in the batch.
    pub count: u32,
    /// Logits that were infinite or not a number.
    pub non_finite: u32,
}

impl BatchMetrics {
    /// Whether training has diverged: some logit, or the loss itself, is not a finite number.
    pub fn diverged(&self) -> bool {
        self.non_finite > 0 || !self.loss_sum.is_finite()
    }
}

/// Running totals over batches. Batches of training are all of one size, so that the mean over samples is also the mean
/// over batches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Totals {
    loss_sum: f64,
    correct: u64,
    count: u64,
}

impl Totals {
    /// Adds a batch's sums.
    pub fn add(&mut self, batch: &BatchMetrics) {
        self.loss_sum += f64::from(batch.loss_sum);
        self.correct += u64::from(batch.correct);
        self.count += u64::from(batch.count);
    }

    /// Mean loss per sample; NaN before the first.
    pub fn loss(&self) -> f64 {
        self.loss_sum / self.count as f64
    }

    /// Share of samples judged right, in [0, 1]; NaN before the first.
    pub fn accuracy(&self) -> f64 {
        self.correct as f64 / self.count as f64
    }

    /// Samples counted so far.
    pub fn count(&self) -> u64 {
        self.count
    }
}
