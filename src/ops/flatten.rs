//! Flatten: an image becomes a row of features. No number changes, so there is no op.

use super::Attribute::Int;
use super::{Definition, LayerOp, Misfit, Operator, Place, Shape, Spoken, TextError, Words};
use std::fmt;

/// The layer: (C, H, W) becomes (C * H * W).
pub struct Settings;

impl fmt::Display for Settings {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("Flatten")
    }
}

impl Spoken for Settings {
    const NAMES: &'static [&'static str] = &["flatten"];
    const USAGE: &'static str = "flatten";

    fn words(&self) -> String {
        Self::USAGE.into()
    }

    fn parse(_words: &mut Words) -> Result<Self, TextError> {
        Ok(Self)
    }
}

impl Definition for Settings {
    fn output(&self, input: &Shape) -> Result<Shape, Misfit> {
        Ok(Shape(vec![input.len()]))
    }

    fn op(&self, _input: &Shape, _place: Place) -> Option<Box<dyn LayerOp>> {
        None
    }

    fn onnx(&self) -> Option<Operator> {
        Some(Operator { name: "Flatten", attributes: vec![Int("axis", 1)] })
    }
}
