//! Looking for a learning rate, as L. Smith does in "Cyclical Learning Rates for Training Neural Networks" (2015) and
//! fastai after him: the rate rises from nearly nothing from batch to batch, until the loss explodes. Where the loss
//! falls fastest on the way there, training goes well.

use crate::data::epoch_order;
use crate::engine::{Engine, Pass, Work};
use crate::metrics::Totals;
use crate::train::{Observer, Progress, TrainError};

/// The rate of each step: equal ratios between all of them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sweep {
    /// The rate of the first step, and that of the last; above 0.
    pub from: f64,
    pub to: f64,
    /// At least 2.
    pub steps: usize,
}

impl Default for Sweep {
    fn default() -> Self {
        Self { from: 1e-5, to: 10.0, steps: 150 }
    }
}

impl Sweep {
    /// The learning rate of step `step`, from 0 on.
    pub fn rate(&self, step: usize) -> f64 {
        self.from * libm::pow(self.to / self.from, step as f64 / (self.steps - 1) as f64)
    }
}

/// A search, step by step.
#[derive(Clone, Debug)]
pub struct Search {
    sweep: Sweep,
    losses: Vec<f64>,
    /// The mean of the losses so far, the last ones weighing most.
    recent: Average,
    /// The least of these, and the step after which it was.
    least: f64,
    least_at: usize,
    exploded: bool,
}

/// What a search found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Suggestion {
    /// Where the loss falls fastest.
    pub steepest: f64,
    /// A tenth of the rate at which the loss is least, as fastai has it.
    pub tenth: f64,
}

/// A search ends when the loss exceeds its least so many times.
const EXPLODED: f64 = 4.0;
/// What a mean keeps of itself from step to step: to see the end, and to draw the curve, there and back.
const KEPT: f64 = 0.9;
const KEPT_EACH_WAY: f64 = 0.85;
/// A loss has fallen where it has lost this share of what it was at first: less may be chance.
const FALLEN: f64 = 0.02;
/// Steps on either side that a slope is taken over.
const REACH: usize = 3;

/// An exponentially weighted mean.
#[derive(Clone, Copy, Debug)]
struct Average {
    kept: f64,
    sum: f64,
    weights: f64,
}

impl Average {
    fn new(kept: f64) -> Self {
        Self { kept, sum: 0.0, weights: 0.0 }
    }

    fn with(&mut self, value: f64) -> f64 {
        self.sum = self.kept * self.sum + value;
        self.weights = self.kept * self.weights + 1.0;
        self.sum / self.weights
    }
}

impl Search {
    pub fn new(sweep: Sweep) -> Self {
        let (recent, least) = (Average::new(KEPT), f64::INFINITY);
        Self { sweep, losses: Vec::new(), recent, least, least_at: 0, exploded: false }
    }

    /// Takes the loss of the next step's batch, as it was before the step.
    pub fn push(&mut self, loss: f64) {
        let recent = self.recent.with(loss);
        // Written so that a NaN ends it.
        if !(recent.is_finite() && recent <= EXPLODED * self.least.min(f64::MAX / EXPLODED)) {
            self.exploded = true;
            return;
        }
        if recent < self.least {
            (self.least, self.least_at) = (recent, self.losses.len());
        }
        self.losses.push(loss);
    }

    /// Whether there is a step to do.
    pub fn goes_on(&self) -> bool {
        !self.exploded && self.losses.len() < self.sweep.steps
    }

    /// The rate of each step done, and its loss.
    pub fn points(&self) -> impl Iterator<Item = (f64, f64)> {
        self.losses.iter().enumerate().map(|(step, &loss)| (self.sweep.rate(step), loss))
    }

    /// The losses of [`Self::points`], smoothed forwards and backwards, so that nothing comes late. A loss that
    /// explodes counts as one at which the search ends, or it would hide what comes before it.
    pub fn smoothed(&self) -> Vec<f64> {
        let most = |step| if step > self.least_at { EXPLODED * self.least } else { f64::INFINITY };
        let mut forward = Average::new(KEPT_EACH_WAY);
        let losses = self.losses.iter().enumerate();
        let mut smoothed: Vec<f64> = losses.map(|(step, loss)| forward.with(loss.min(most(step)))).collect();
        let mut backward = Average::new(KEPT_EACH_WAY);
        smoothed.iter_mut().rev().for_each(|loss| *loss = backward.with(*loss));
        smoothed
    }

    /// None where the loss did not fall.
    pub fn suggestion(&self) -> Option<Suggestion> {
        let smoothed = self.smoothed();
        let least = (0..smoothed.len()).min_by(|&a, &b| smoothed[a].total_cmp(&smoothed[b]))?;
        // Of the same reach everywhere, so that slopes are differences.
        let fall = |step: usize| smoothed[step - REACH] - smoothed[step + REACH];
        let steps = REACH..=least.min(smoothed.len().saturating_sub(REACH + 1));
        let steepest = steps.max_by(|&a, &b| fall(a).total_cmp(&fall(b)))?;
        let found = Suggestion { steepest: self.sweep.rate(steepest), tenth: self.sweep.rate(least) / 10.0 };
        (smoothed[least] < (1.0 - FALLEN) * smoothed[0]).then_some(found)
    }
}

/// Trains on the images `train`, shuffled by `seed`, at the rates of `sweep`, until the loss explodes or the sweep
/// ends. The engine has a network's state before training, and another one afterwards.
pub async fn search<E: Engine>(
    engine: &mut E,
    train: &[u32],
    batch_size: usize,
    seed: u64,
    sweep: Sweep,
    observer: &mut dyn Observer,
) -> Result<Search, TrainError> {
    let batches = Work::Train.batches(train.len(), batch_size);
    if batches == 0 {
        return Err(TrainError::TooFewImages { training: train.len(), batch_size });
    }
    let mut search = Search::new(sweep);
    let (mut totals, mut epoch) = (Totals::default(), 0);
    while search.goes_on() {
        epoch += 1;
        let first = search.losses.len();
        let order = epoch_order(train, seed, epoch);
        engine.begin(&Pass::train(&order, first as u32, &|batch| sweep.rate(first + batch) as f32))?;
        for batch in 0..batches {
            if !search.goes_on() {
                break;
            }
            // One at a time: the next one may be one too many.
            engine.submit(batch..batch + 1)?;
            for metrics in engine.collect().await?.iter().flatten() {
                let loss = f64::from(metrics.loss_sum) / f64::from(metrics.count);
                search.push(if metrics.diverged() { f64::NAN } else { loss });
                totals.add(metrics);
            }
            let batches = (first + batch + 1, sweep.steps);
            observer.progress(&Progress { epoch: 1, work: Work::Train, batches, totals });
            if observer.stop() {
                return Err(TrainError::Interrupted { epoch });
            }
        }
    }
    Ok(search)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The search on a bowl, loss = 1 + a w^2 / 2, by plain gradient descent that noise keeps from the very bottom.
    fn in_a_bowl(a: f64, sweep: Sweep) -> Search {
        let (mut search, mut w) = (Search::new(sweep), 2.0);
        while search.goes_on() {
            let rate = sweep.rate(search.losses.len());
            search.push(0.5 * a * w * w + 1.0);
            w -= rate * a * w;
            w = w.abs().max(0.1 / a.sqrt()).copysign(w);
        }
        search
    }

    #[test]
    fn rates_rise_by_equal_ratios_from_the_first_to_the_last() {
        let sweep = Sweep { from: 1e-5, to: 10.0, steps: 7 };
        for step in 0..7 {
            let want = 10f64.powi(step as i32 - 5);
            assert!((sweep.rate(step) / want - 1.0).abs() < 1e-12, "{step}: {}", sweep.rate(step));
        }
    }

    #[test]
    fn in_a_bowl_it_is_the_rate_that_can_be_worked_out() {
        // With d = ln(rate of a step / that of the one before), w falls as exp(-a rate / d). So the loss over ln(rate)
        // is exp(-x) with x = 2 a rate / d, and falls fastest where x is 1.
        let sweep = Sweep::default();
        let d = (sweep.rate(1) / sweep.rate(0)).ln();
        for a in [0.5, 5.0, 50.0, 500.0] {
            let (want, search) = (d / (2.0 * a), in_a_bowl(a, sweep));
            let found = search.suggestion().unwrap();
            assert!((0.85..1.15).contains(&(found.steepest / want)), "{a}: {found:?}, want {want}");
            // Above 2 / a it explodes: the least loss is before, and the search is over soon after.
            assert!(found.tenth > 0.05 / a && found.tenth < 0.25 / a, "{a}: {found:?}");
            let last = search.points().last().unwrap().0;
            assert!(last > 2.0 / a && last < 5.0 / a, "{a}: ended at {last}");
        }
    }

    #[test]
    fn a_search_ends_where_the_loss_is_four_times_its_least_or_no_number() {
        let sweep = Sweep { from: 1.0, to: 2.0, steps: 1000 };
        let after = |loss: f64| {
            let mut search = Search::new(sweep);
            (0..50).for_each(|_| search.push(1.0));
            let mut more = 0;
            while search.goes_on() {
                search.push(loss);
                more += 1;
            }
            (more, search)
        };
        assert_eq!(after(3.9).0, 950, "never: it is below four times");
        let (more, search) = after(100.0);
        assert_eq!((more, search.losses.len()), (1, 50), "a tenth of 100 is enough at once");
        assert_eq!(after(f64::NAN).0, 1);
        assert_eq!(after(f64::INFINITY).0, 1);
        let mut nothing = Search::new(sweep);
        nothing.push(f64::NAN);
        assert!(!nothing.goes_on() && nothing.suggestion().is_none());
    }

    #[test]
    fn a_loss_that_does_not_fall_suggests_nothing() {
        let losses: [fn(u32) -> f64; 3] =
            [|_| 1.0, |step| 1.0 + 0.01 * f64::from(step), |step| 1.0 + 0.005 * f64::from(step * 7919 % 13)];
        for (index, loss) in losses.into_iter().enumerate() {
            let mut search = Search::new(Sweep::default());
            (0..150).for_each(|step| search.push(loss(step)));
            assert_eq!(search.suggestion(), None, "{index}");
        }
    }
}
