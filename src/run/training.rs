//! What a run was told to do: its recipe, and the presets.

use crate::layers;
use crate::model::Model;
use crate::ops::adamw::AdamW;
use crate::ops::augment::Amounts;
use crate::ops::sgd::Sgd;
use crate::ops::{Layer, TextError, optimizer};
use crate::schedule::{self, Schedule};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// Settings of the training: together with data and device they determine every bit of the result.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Training {
    pub epochs: u32,
    pub batch_size: u32,
    pub learning_rate: f64,
    pub momentum: f64,
    pub nesterov: bool,
    /// Of the classic network; others say their own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dropout: Option<f64>,
    pub seed: u64,
    pub val_fraction: f64,
    /// Earlier versions knew neither this nor what follows.
    #[serde(default)]
    pub schedule: schedule::Kind,
    #[serde(default)]
    pub warmup: f64,
    #[serde(default)]
    pub optimizer: Optimizer,
    #[serde(default)]
    pub weight_decay: f64,
    #[serde(default)]
    pub label_smoothing: f64,
    /// Share of the weights' moving average that each step keeps; 0 where there is none.
    #[serde(default)]
    pub ema: f64,
    /// The run ends when validation has not improved for so many epochs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patience: Option<u32>,
    /// The layers, as [`layers::parse`] reads them; none for the classic network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<Cow<'static, str>>,
    /// The network that the run began with, if not with random numbers, and how many of its layers stay as they were.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    #[serde(default)]
    pub freeze: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub augment: Option<Amounts>,
}

/// What moves the parameters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Optimizer {
    #[default]
    Sgd,
    AdamW,
}

impl Optimizer {
    pub const ALL: [Self; 2] = [Self::Sgd, Self::AdamW];

    /// As options and files call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sgd => "sgd",
            Self::AdamW => "adamw",
        }
    }

    /// The learning rate and the weight decay where none are given.
    pub fn defaults(self) -> (f64, f64) {
        match self {
            Self::Sgd => (0.01, 0.0),
            Self::AdamW => (0.001, 0.01),
        }
    }
}

impl Training {
    /// The classic notebook's run, which is the default.
    pub const NOTEBOOK: Self = Self {
        epochs: 10,
        batch_size: 32,
        learning_rate: 0.01,
        momentum: 0.9,
        nesterov: true,
        dropout: Some(0.5),
        seed: 0,
        val_fraction: 0.1,
        schedule: schedule::Kind::Constant,
        warmup: 0.0,
        optimizer: Optimizer::Sgd,
        weight_decay: 0.0,
        label_smoothing: 0.0,
        ema: 0.0,
        patience: None,
        model: None,
        from: None,
        freeze: 0,
        augment: None,
    };

    /// 99% of MNIST in two epochs: one cycle of a high learning rate leaves no time for dropout.
    pub const FAST: Self = Self {
        epochs: 2,
        batch_size: 64,
        optimizer: Optimizer::AdamW,
        learning_rate: 0.004,
        weight_decay: 0.01,
        dropout: Some(0.0),
        schedule: schedule::Kind::OneCycle,
        warmup: 0.3,
        label_smoothing: 0.05,
        ..Self::NOTEBOOK
    };

    /// 99.6% of MNIST: four convolutions, each normalised, over images that are moved a little each time.
    pub const ACCURATE: Self = Self {
        epochs: 12,
        batch_size: 128,
        learning_rate: 0.1,
        dropout: None,
        schedule: schedule::Kind::OneCycle,
        weight_decay: 5e-4,
        ema: 0.995,
        model: Some(Cow::Borrowed(
            "conv 32 3, bn, relu, conv 32 3, bn, relu, pool 2, conv 64 3, bn, relu, conv 64 3, bn, relu, pool 2, linear 128, \
             relu, dropout 0.5, linear",
        )),
        augment: Some(Amounts::USUAL),
        ..Self::NOTEBOOK
    };

    /// The layers of the network, for so many classes.
    ///
    /// # Errors
    ///
    /// If the text of them is none.
    pub fn layers(&self, classes: usize) -> Result<Vec<Layer>, TextError> {
        match &self.model {
            Some(text) => layers::parse(text, classes),
            None => Ok(Model::classic_layers(classes, self.dropout.unwrap_or_default() as f32)),
        }
    }

    /// The optimizer with its settings.
    pub fn optimizer(&self) -> optimizer::Optimizer {
        let weight_decay = self.weight_decay as f32;
        match self.optimizer {
            Optimizer::Sgd => {
                let momentum = self.momentum as f32;
                optimizer::Optimizer::Sgd(Sgd { momentum, nesterov: self.nesterov, weight_decay })
            }
            Optimizer::AdamW => optimizer::Optimizer::AdamW(AdamW { weight_decay, ..AdamW::default() }),
        }
    }

    /// The learning rate of each step.
    pub fn schedule(&self) -> Schedule {
        Schedule { kind: self.schedule, rate: self.learning_rate, epochs: self.epochs, warmup: self.warmup }
    }

    /// TOML's whole numbers have a sign.
    pub const LARGEST_SEED: u64 = i64::MAX as u64;
    pub const MOST_EPOCHS: u32 = 100_000;
    pub const LARGEST_BATCH: u32 = 4096;

    /// What is out of bounds, if anything.
    pub(super) fn fault(&self) -> Option<&'static str> {
        let below_one = |x: f64| x >= 0.0 && (x as f32) < 1.0;
        let lr = self.learning_rate as f32;
        let bounds = [
            ("epochs", (1..=Self::MOST_EPOCHS).contains(&self.epochs)),
            ("batch_size", (1..=Self::LARGEST_BATCH).contains(&self.batch_size)),
            ("learning_rate", lr > 0.0 && lr.is_finite()),
            ("momentum", below_one(self.momentum)),
            ("dropout", self.dropout.is_none_or(below_one)),
            ("val_fraction", self.val_fraction > 0.0 && self.val_fraction < 1.0),
            ("patience", self.patience != Some(0)),
            ("label_smoothing", below_one(self.label_smoothing)),
            ("ema", below_one(self.ema)),
            ("model", self.layers(1).is_ok()),
            ("augment", self.augment.is_none_or(Amounts::are_sound)),
            ("warmup", (0.0..=f64::from(self.epochs)).contains(&self.warmup)),
            ("weight_decay", self.weight_decay >= 0.0 && (self.weight_decay as f32).is_finite()),
        ];
        bounds.into_iter().find(|(_, within)| !within).map(|(name, _)| name)
    }
}
