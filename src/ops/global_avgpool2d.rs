//! Global average pooling, PyTorch's `AdaptiveAvgPool2d(1)`: each channel becomes its mean. The op is
//! [`super::avgpool2d`]'s, with one window.

use super::avgpool2d::AvgPool2d;
use super::{Definition, LayerOp, Misfit, Operator, Place, Shape, Spoken, TextError, Words};
use std::fmt;

/// The layer: (C, H, W) becomes (C, 1, 1).
pub struct Settings;

impl fmt::Display for Settings {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("AdaptiveAvgPool2d(1)")
    }
}

impl Spoken for Settings {
    const NAMES: &'static [&'static str] = &["globalpool", "AdaptiveAvgPool2d"];
    const USAGE: &'static str = "globalpool";

    fn words(&self) -> String {
        Self::USAGE.into()
    }

    fn parse(_words: &mut Words) -> Result<Self, TextError> {
        Ok(Self)
    }
}

impl Definition for Settings {
    fn output(&self, input: &Shape) -> Result<Shape, Misfit> {
        let [channels, _, _] = input.image()?;
        Ok(Shape(vec![channels, 1, 1]))
    }

    fn op(&self, input: &Shape, _place: Place) -> Option<Box<dyn LayerOp>> {
        let [channels, height, width] = input.image().ok()?;
        Some(Box::new(AvgPool2d { channels, height, width, rows: height, columns: width }))
    }

    fn onnx(&self) -> Option<Operator> {
        Some(Operator { name: "GlobalAveragePool", attributes: vec![] })
    }
}
