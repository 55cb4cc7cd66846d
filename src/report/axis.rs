//! Where the values of a chart lie, and the round numbers beside its axes.

use super::number;

/// A scale from values to places.
#[derive(Clone, Copy, Debug)]
pub struct Axis {
    low: f64,
    high: f64,
    log: bool,
    /// The places of `low` and `high`.
    from: f64,
    to: f64,
}

/// A labelled place on an axis.
#[derive(Debug, PartialEq)]
pub struct Tick {
    pub at: f64,
    pub label: String,
}

impl Axis {
    /// An axis from `low` to `high`, which lie at the places `from` and `to`.
    pub fn linear((low, high): (f64, f64), (from, to): (f64, f64)) -> Self {
        Self { low, high, log: false, from, to }
    }

    /// The same with equal room for equal ratios; `low` is positive.
    pub fn logarithmic((low, high): (f64, f64), (from, to): (f64, f64)) -> Self {
        Self { low, high, log: true, from, to }
    }

    /// The place of `value`: halfway, on an axis without extent.
    pub fn at(&self, value: f64) -> f64 {
        let share = if self.log {
            (value.ln() - self.low.ln()) / (self.high.ln() - self.low.ln())
        } else {
            (value - self.low) / (self.high - self.low)
        };
        self.from + (self.to - self.from) * if share.is_finite() { share } else { 0.5 }
    }

    /// About `count` round values with their places; on a short axis of whole numbers (`least` 1) fewer.
    pub fn ticks(&self, count: usize, least: f64, unit: &str) -> Vec<Tick> {
        let tick = |value: f64, decimals: usize| Tick { at: self.at(value), label: label(value, decimals) + unit };
        if self.log {
            let (first, last) = (self.low.log10().ceil() as i32, self.high.log10().floor() as i32);
            let step = ((last - first) as usize / count + 1).max(1);
            return (first..=last).step_by(step).map(|power| tick(10f64.powi(power), (-power).max(0) as usize)).collect();
        }
        let step = round_step((self.high - self.low) / count as f64).max(least);
        let decimals = (-step.log10().floor()).clamp(0.0, 12.0) as usize;
        let first = (self.low / step - 1e-6).ceil();
        // Bounded, whatever the rounding of huge values does.
        let values = (0..=2 * count).map(|index| (first + index as f64) * step);
        values.take_while(|value| *value <= self.high + step * 1e-6).map(|value| tick(value, decimals)).collect()
    }
}

/// The smallest of 1, 2 and 5 times a power of ten that is no less than `step`.
fn round_step(step: f64) -> f64 {
    if !(step > 0.0 && step.is_finite()) {
        return 1.0;
    }
    let power = 10f64.powf(step.log10().floor());
    [1.0, 2.0, 5.0]
        .map(|factor| factor * power)
        .into_iter()
        .find(|round| *round >= step * (1.0 - 1e-9))
        .unwrap_or(10.0 * power)
}

fn label(value: f64, decimals: usize) -> String {
    if decimals > 4 && value != 0.0 { format!("{value:.1e}").replace(".0e", "e") } else { number(value, decimals) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(axis: &Axis, least: f64) -> Vec<String> {
        axis.ticks(5, least, "").into_iter().map(|tick| tick.label).collect()
    }

    #[test]
    fn ticks_are_round_and_within_the_axis() {
        assert_eq!(labels(&Axis::linear((0.0, 0.26), (0.0, 1.0)), 0.0), ["0.0", "0.1", "0.2"]);
        assert_eq!(labels(&Axis::linear((97.1, 99.9), (0.0, 1.0)), 0.0), ["98", "99"]);
        assert_eq!(labels(&Axis::linear((0.0, 3e30), (0.0, 1.0)), 0.0), ["0", "1e30", "2e30", "3e30"]);
        assert_eq!(labels(&Axis::logarithmic((0.0009, 2.0), (0.0, 1.0)), 0.0), ["0.001", "0.01", "0.1", "1"]);
    }

    #[test]
    fn epochs_are_whole_numbers() {
        assert_eq!(labels(&Axis::linear((1.0, 1.0), (0.0, 1.0)), 1.0), ["1"]);
        assert_eq!(labels(&Axis::linear((1.0, 2.0), (0.0, 1.0)), 1.0), ["1", "2"]);
        assert_eq!(labels(&Axis::linear((1.0, 1000.0), (0.0, 1.0)), 1.0), ["200", "400", "600", "800", "1000"]);
    }

    #[test]
    fn an_axis_without_extent_or_with_the_largest_numbers_has_finitely_many_ticks() {
        for range in [(0.0, 0.0), (0.0, f64::MAX), (5.0, 5.0), (1e300, 1e300), (0.0, f64::MIN_POSITIVE)] {
            let ticks = Axis::linear(range, (0.0, 1.0)).ticks(5, 0.0, "");
            assert!(ticks.len() <= 11 && ticks.iter().all(|tick| tick.at.is_finite()), "{range:?}: {ticks:?}");
        }
    }
}
