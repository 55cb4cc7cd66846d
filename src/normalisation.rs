//! What was done to the pixels before a network's first layer, and undoing it within that layer, so that engines and
//! ONNX models know pixels / 255 alone.

use crate::model::Model;
use crate::ops::Layer;
use crate::state::{Role, State};
use std::fmt;

/// `(pixels / 255 - mean) / std`, with a number for all channels or one for each.
#[derive(Clone, Debug, PartialEq)]
pub struct Normalisation {
    mean: Vec<f64>,
    std: Vec<f64>,
}

/// A normalisation that is none, or that a network cannot be freed of.
#[derive(Debug, PartialEq, thiserror::Error)]
pub enum NormalisationError {
    #[error("expected a mean and a standard deviation, found {found} alone")]
    Alone { found: &'static str },

    #[error(
        "expected {expected} as the {name} of the pixels / 255 (one for all channels, or one for each), found `{found}`"
    )]
    Number { name: &'static str, expected: &'static str, found: String },

    #[error("expected one {name} or {channels}, one for each channel, found {found}")]
    Channels { name: &'static str, channels: usize, found: usize },

    #[error(
        "mean and standard deviation can be put into a linear layer or a convolution without padding, found {found} as the first layer"
    )]
    Layer { found: String },
}

impl Normalisation {
    /// # Errors
    ///
    /// Numbers that are not finite, and deviations that are not above 0.
    pub fn new(mean: Vec<f64>, std: Vec<f64>) -> Result<Self, NormalisationError> {
        let number = |name, expected, found: &f64| NormalisationError::Number { name, expected, found: found.to_string() };
        if let Some(found) = mean.iter().find(|mean| !mean.is_finite()) {
            return Err(number("mean", "finite numbers", found));
        }
        match std.iter().find(|&&std| !(std > 0.0 && std.is_finite())) {
            Some(found) => Err(number("std", "finite numbers above 0", found)),
            None => Ok(Self { mean, std }),
        }
    }

    /// From texts such as `0.1307`, `0.5,0.4,0.6` or `(0.5, 0.4, 0.6)`; none where there are none.
    ///
    /// # Errors
    ///
    /// One without the other, and what is no number.
    pub fn parse(mean: Option<&str>, std: Option<&str>) -> Result<Option<Self>, NormalisationError> {
        let numbers = |name, text: &str| -> Result<Vec<f64>, NormalisationError> {
            let wrong = || NormalisationError::Number { name, expected: "numbers", found: text.into() };
            let words =
                text.trim_matches(|c: char| c.is_whitespace() || "()[]".contains(c)).trim_end_matches(',').split(',');
            words.map(|word| word.trim().parse().map_err(|_| wrong())).collect()
        };
        match (mean, std) {
            (None, None) => Ok(None),
            (Some(mean), Some(std)) => Self::new(numbers("mean", mean)?, numbers("std", std)?).map(Some),
            (Some(_), None) => Err(NormalisationError::Alone { found: "a mean" }),
            (None, Some(_)) => Err(NormalisationError::Alone { found: "a standard deviation" }),
        }
    }

    /// Makes of a network over normalised pixels the same over pixels / 255: `w' = w / std`, and from the bias goes the
    /// sum of `w' * mean`.
    ///
    /// # Errors
    ///
    /// If numbers and channels do not fit, or nothing that multiplies comes first. A padding's zeros would be the mean
    /// pixel, which no weight makes of a 0.
    pub(crate) fn fold(&self, model: &Model, state: &mut State) -> Result<(), NormalisationError> {
        let channels = model.shapes()[0].0[0];
        for (name, numbers) in [("mean", &self.mean), ("std", &self.std)] {
            if ![1, channels].contains(&numbers.len()) {
                return Err(NormalisationError::Channels { name, channels, found: numbers.len() });
            }
        }
        // What keeps channels and order passes a normalisation on as it is.
        let passes_on = |layer: &Layer| matches!(layer, Layer::Flatten | Layer::MaxPool2d(_));
        let first = model.layers().iter().position(|layer| !passes_on(layer)).unwrap_or_default();
        match &model.layers()[first] {
            Layer::Linear(_) => {}
            Layer::Conv2d(settings) if settings.padding == 0 => {}
            layer => return Err(NormalisationError::Layer { found: layer.to_string() }),
        }
        let ranges: Vec<_> = model.parameters().iter().filter(|p| p.layer == first).map(|p| p.range.clone()).collect();
        let arena = state.arenas.iter_mut().find(|(role, _)| *role == Role::Parameters);
        let ([weight, bias], Some((_, arena))) = (&ranges[..], arena) else { return Ok(()) };
        let outputs = bias.len();
        let per_output = weight.len() / outputs; // (O, C, ...): an output's weights, channel by channel
        for output in 0..outputs {
            let mut sum = 0.0;
            for place in 0..per_output {
                let channel = place * channels / per_output;
                let of = |numbers: &[f64]| numbers[channel.min(numbers.len() - 1)];
                let weight = &mut arena[weight.start + output * per_output + place];
                let scaled = f64::from(*weight) / of(&self.std);
                sum += scaled * of(&self.mean);
                *weight = scaled as f32;
            }
            let bias = &mut arena[bias.start + output];
            *bias = (f64::from(*bias) - sum) as f32;
        }
        Ok(())
    }
}

impl fmt::Display for Normalisation {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let list = |numbers: &[f64]| numbers.iter().map(f64::to_string).collect::<Vec<_>>().join(", ");
        write!(f, "(pixels / 255 - {}) / {}", list(&self.mean), list(&self.std))
    }
}
