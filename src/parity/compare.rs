//! Comparisons with derived bounds, and how they fail.

use std::fmt::Debug;

/// How near a result came.
#[derive(Clone, Debug, PartialEq)]
pub struct Compared {
    /// Which result: `y`, `d_weight`, ...
    pub what: String,
    /// The largest error as a share of what it may be; 0 where exactness is asked for and found.
    pub share: f64,
}

/// A result that is not what it has to be.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Mismatch {
    #[error("{what}: {found} elements, expected {expected} (bounds for {bounds})")]
    Length { what: String, found: usize, expected: usize, bounds: usize },

    #[error("{what}: element {element} was never written")]
    Unwritten { what: String, element: usize },

    #[error("{what}: element {element} is {got:e}, expected {want:e}: off by {error:e}, allowed {bound:e}")]
    Far { what: String, element: usize, got: f32, want: f64, error: f64, bound: f64 },

    #[error("{what}: element {element} is {got}, expected exactly {want}")]
    Inexact { what: String, element: usize, got: String, want: String },

    #[error("{what}: {problem}")]
    Other { what: String, problem: String },
}

impl Mismatch {
    /// Which result.
    pub fn what(&self) -> &str {
        match self {
            Self::Length { what, .. } | Self::Unwritten { what, .. } | Self::Far { what, .. } => what,
            Self::Inexact { what, .. } | Self::Other { what, .. } => what,
        }
    }
}

/// Rounding of f32: half a unit in the last place of 1.
pub const EPS: f64 = f32::EPSILON as f64 / 2.0;

/// A sum of n products rounds each product once and each addition once, so that its error is at most about `2 n EPS
/// sum|terms|` in any order of addition (N. Higham, Accuracy and Stability of Numerical Algorithms, 3.1). One of the
/// two sides compared may itself be f32, which doubles that.
pub const C: f64 = 4.0;

/// Fills every output before a kernel runs, so that "wrote 0" and "never wrote" differ.
pub const SENTINEL: f32 = f32::from_bits(0x7fc0_dead);

/// How far a sum of `terms` terms, whose absolute values add up to `magnitude`, may be off.
pub fn bound(terms: usize, magnitude: f64) -> f64 {
    // The smallest normal number: what a device that flushes denormals to zero may lose.
    C * terms as f64 * EPS * magnitude + f64::from(f32::MIN_POSITIVE)
}

/// Compares floating-point results: element i may be off by `bound(terms, magnitude[i])`, where `magnitude` is the sum
/// of the absolute terms it was made of. NaN, an untouched output and a wrong length are errors.
pub fn close(what: &str, got: &[f32], want: &[f64], magnitude: &[f64], terms: usize) -> Result<Compared, Mismatch> {
    let bounds: Vec<f64> = magnitude.iter().map(|&magnitude| bound(terms, magnitude)).collect();
    within(what, got, want, &bounds)
}

/// The same with a bound of its own for each element.
pub fn within(what: &str, got: &[f32], want: &[f64], bounds: &[f64]) -> Result<Compared, Mismatch> {
    let what = what.to_string();
    if got.len() != want.len() || want.len() != bounds.len() {
        return Err(Mismatch::Length { what, found: got.len(), expected: want.len(), bounds: bounds.len() });
    }
    let mut share = 0.0;
    for (i, ((&got, &want), &bound)) in got.iter().zip(want).zip(bounds).enumerate() {
        if got.to_bits() == SENTINEL.to_bits() {
            return Err(Mismatch::Unwritten { what, element: i });
        }
        let error = (f64::from(got) - want).abs();
        // Written so that a NaN on either side fails.
        if !(error <= bound) {
            return Err(Mismatch::Far { what, element: i, got, want, error, bound });
        }
        if error > 0.0 {
            share = f64::max(share, error / bound);
        }
    }
    Ok(Compared { what, share })
}

/// Compares what must be exact: copies, masks, indices, labels, ReLU. +0 and -0 count as equal.
pub fn exact<T: PartialEq + Debug>(what: &str, got: &[T], want: &[T]) -> Result<Compared, Mismatch> {
    let what = what.to_string();
    if got.len() != want.len() {
        return Err(Mismatch::Length { what, found: got.len(), expected: want.len(), bounds: want.len() });
    }
    match got.iter().zip(want).position(|(got, want)| got != want) {
        Some(i) => {
            let (got, want) = (format!("{:?}", got[i]), format!("{:?}", want[i]));
            Err(Mismatch::Inexact { what, element: i, got, want })
        }
        None => Ok(Compared { what, share: 0.0 }),
    }
}

/// The values as f64.
pub fn f64s(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&x| x.into()).collect()
}

/// Their absolute values as f64.
pub fn magnitudes(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&x| f64::from(x).abs()).collect()
}
