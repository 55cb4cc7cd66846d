//! How a run went, a row per epoch: what `metrics.csv` holds and the curves are drawn from.

use serde::{Deserialize, Serialize};

/// One epoch. Training figures are means over its full batches, with dropout; validation figures count every image.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// From 1.
    pub epoch: u32,
    pub train_loss: f64,
    /// In [0, 1], as all accuracies.
    pub train_accuracy: f64,
    pub val_loss: f64,
    pub val_accuracy: f64,
    /// Training and validation together.
    pub seconds: f64,
    /// Training images over the time that training alone took.
    pub images_per_second: f64,
    /// Of its last step.
    pub learning_rate: f64,
}

/// The row of the best epoch by validation: the highest accuracy, of equal ones the lowest loss, of those the first.
pub fn best(rows: &[Row]) -> Option<&Row> {
    rows.iter().reduce(|best, row| if better(row, best) { row } else { best })
}

/// Epochs after the best.
pub fn since_best(rows: &[Row]) -> u32 {
    best(rows).zip(rows.last()).map_or(0, |(best, last)| last.epoch - best.epoch)
}

/// Whether `row` beats `than` by validation.
pub fn better(row: &Row, than: &Row) -> bool {
    row.val_accuracy.total_cmp(&than.val_accuracy).then(than.val_loss.total_cmp(&row.val_loss)).is_gt()
}
