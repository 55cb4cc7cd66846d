//! Values of options: what they may be, and what is said of others.

use mnist_wgpu::run::Training;
use std::ops::RangeInclusive;

pub fn whole<T: TryFrom<u64>>(text: &str, range: RangeInclusive<u64>) -> Result<T, String> {
    let number = text.parse().ok().filter(|number| range.contains(number));
    let expected = || format!("expected a whole number from {} to {}", range.start(), range.end());
    number.and_then(|number| number.try_into().ok()).ok_or_else(expected)
}

pub fn epochs(text: &str) -> Result<u32, String> {
    whole(text, 1..=Training::MOST_EPOCHS.into())
}

pub fn batch_size(text: &str) -> Result<u32, String> {
    whole(text, 1..=Training::LARGEST_BATCH.into())
}

pub fn seed(text: &str) -> Result<u64, String> {
    whole(text, 0..=u64::MAX)
}

pub fn steps(text: &str) -> Result<usize, String> {
    whole(text, 1..=1_000_000_000)
}

pub fn seconds(text: &str) -> Result<u64, String> {
    whole(text, 1..=3600)
}

fn number(text: &str, fits: impl Fn(f64) -> bool, expected: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|&number| fits(number));
    number.ok_or_else(|| format!("expected a number {expected}"))
}

/// Also once it is an f32.
pub fn positive(text: &str) -> Result<f64, String> {
    number(text, |x| x > 0.0 && (x as f32).is_finite() && x as f32 > 0.0, "above 0")
}

/// Also once it is an f32.
pub fn below_one(text: &str) -> Result<f64, String> {
    number(text, |x| x >= 0.0 && (x as f32) < 1.0, "from 0 to below 1")
}

pub fn fraction(text: &str) -> Result<f64, String> {
    number(text, |x| x > 0.0 && x < 1.0, "between 0 and 1")
}
