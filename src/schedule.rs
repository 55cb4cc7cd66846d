//! How the learning rate changes from step to step, as PyTorch's schedulers of these names define it.

use serde::{Deserialize, Serialize};
use std::f64::consts::PI;

/// What becomes of the learning rate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// It stays.
    #[default]
    Constant,
    /// A tenth after each third of the epochs, as `StepLR` with `gamma=0.1`.
    Step,
    /// It falls to 0 along half a cosine, as `CosineAnnealingLR`, step by step.
    Cosine,
    /// It rises from a 25th along half a cosine, and falls to nearly nothing along another, as `OneCycleLR` with
    /// `cycle_momentum=False`.
    OneCycle,
}

impl Kind {
    pub const ALL: [Kind; 4] = [Kind::Constant, Kind::Step, Kind::Cosine, Kind::OneCycle];

    /// As options and files call it.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Constant => "constant",
            Kind::Step => "step",
            Kind::Cosine => "cosine",
            Kind::OneCycle => "one-cycle",
        }
    }
}

/// The learning rate of each step of a run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Schedule {
    pub kind: Kind,
    /// The highest rate.
    pub rate: f64,
    /// Epochs in all.
    pub epochs: u32,
    /// Epochs in which the rate rises: of one-cycle that is a part of it, three tenths if this is 0. Before all others
    /// it is a line from nearly nothing, as `LinearLR` with `start_factor=0.01` before them in a `SequentialLR`.
    pub warmup: f64,
}

/// The share of a one-cycle in which the rate rises, where nothing else is said: PyTorch's `pct_start`.
const RISE: f64 = 0.3;
/// PyTorch's `gamma` of `StepLR`.
const GAMMA: f64 = 0.1;
/// By how much one-cycle begins and ends lower: PyTorch's `div_factor` and `final_div_factor`.
const BEGIN: f64 = 25.0;
const END: f64 = 1e4;
/// Of the rate, at the begin of a warm-up.
const COLD: f64 = 0.01;

impl Schedule {
    /// The same rate in every step.
    pub const fn constant(rate: f64) -> Self {
        Self { kind: Kind::Constant, rate, epochs: 1, warmup: 0.0 }
    }

    /// The learning rate of step `step`, counted from 0 over all epochs of `steps_per_epoch` steps.
    pub fn at(&self, step: usize, steps_per_epoch: usize) -> f64 {
        let (step, per_epoch) = (step as f64, steps_per_epoch as f64);
        let steps = f64::from(self.epochs) * per_epoch;
        if self.kind == Kind::OneCycle {
            let rise = if self.warmup > 0.0 { self.warmup * per_epoch } else { RISE * steps };
            return self.one_cycle(step, rise - 1.0, steps - 1.0);
        }
        let warmup = (self.warmup * per_epoch).round();
        if step < warmup {
            return self.rate * (COLD + (1.0 - COLD) * step / warmup);
        }
        let (step, steps) = (step - warmup, steps - warmup);
        match self.kind {
            Kind::Constant | Kind::OneCycle => self.rate,
            Kind::Step => self.rate * libm::pow(GAMMA, (step / (steps / 3.0).ceil()).floor()),
            Kind::Cosine => self.rate * (1.0 + libm::cos(PI * step / steps)) / 2.0,
        }
    }

    /// As `OneCycleLR`, with the highest rate at step `top`, which need not be a whole number, and `last` the last
    /// step.
    fn one_cycle(&self, step: f64, top: f64, last: f64) -> f64 {
        let (begin, end) = (self.rate / BEGIN, self.rate / BEGIN / END);
        let along = |from: f64, to: f64, share: f64| to + (from - to) / 2.0 * (1.0 + libm::cos(PI * share));
        match step <= top {
            true if top > 0.0 => along(begin, self.rate, step / top),
            true => self.rate,
            false => along(self.rate, end, ((step - top) / (last - top)).min(1.0)),
        }
    }
}
