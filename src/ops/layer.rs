//! The interface between a layer and a model: its shape rule, its tensors, the op it becomes, its ONNX operator.

use super::op::LayerOp;
use serde::{Deserialize, Serialize};
use std::fmt;

/// The shape of one sample between two layers: (C, H, W), or (features) after flattening.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Shape(pub Vec<usize>);

impl Shape {
    /// Elements of a sample.
    pub fn len(&self) -> usize {
        self.0.iter().product()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// (C, H, W).
    ///
    /// # Errors
    /// If it is no image.
    pub fn image(&self) -> Result<[usize; 3], Misfit> {
        let image = self.0[..].try_into();
        image.map_err(|_| Misfit::Input("an image (channels, height, width)".into()))
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let sizes: Vec<_> = self.0.iter().map(usize::to_string).collect();
        write!(f, "({})", sizes.join(", "))
    }
}

/// Why a layer cannot stand where it stands.
#[derive(Clone, Debug, PartialEq)]
pub enum Misfit {
    /// What is wrong with its own settings.
    Setting(&'static str),
    /// What input it needs.
    Input(String),
}

/// A tensor that a layer needs.
#[derive(Clone, Debug, PartialEq)]
pub struct Needed {
    /// As PyTorch's module names it: `weight`, `bias`, ...
    pub name: &'static str,
    /// As PyTorch lays it out, row-major.
    pub shape: Vec<usize>,
    pub init: Init,
}

/// What a tensor holds before training.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Init {
    /// PyTorch's default, `U(-1/sqrt(fan_in), 1/sqrt(fan_in))`.
    Uniform {
        fan_in: usize,
    },
    Constant(f32),
}

/// Weight (outputs, ...) and bias (outputs), as PyTorch initialises them: the terms of one output set the scale.
pub fn weight_and_bias(weight: Vec<usize>) -> Vec<Needed> {
    let fan_in = weight[1..].iter().fold(1, |product: usize, &size| product.saturating_mul(size));
    let (init, outputs) = (Init::Uniform { fan_in }, weight[0]);
    vec![Needed { name: "weight", shape: weight, init }, Needed { name: "bias", shape: vec![outputs], init }]
}

/// Where a layer stands, for an op that draws random numbers.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// Number of the layer in its model.
    pub layer: u32,
    pub seed: u64,
}

/// Attributes of an ONNX operator, as its definition has them.
pub enum Attribute {
    Float(&'static str, f32),
    Int(&'static str, usize),
    Ints(&'static str, Vec<usize>),
}

/// An ONNX operator, whose inputs are the layer's and then its tensors, in their order.
pub struct Operator {
    pub name: &'static str,
    pub attributes: Vec<Attribute>,
}

/// A layer's settings, and what follows from them. `input` is the shape of one sample going in.
pub trait Definition: fmt::Display {
    /// The shape of one sample coming out.
    fn output(&self, input: &Shape) -> Result<Shape, Misfit>;

    /// The tensors that are trained, for an input that [`Definition::output`] takes.
    fn parameters(&self, _input: &Shape) -> Vec<Needed> {
        Vec::new()
    }

    /// The tensors that belong to the network but are not trained, such as running statistics.
    fn buffers(&self, _input: &Shape) -> Vec<Needed> {
        Vec::new()
    }

    /// The op that it becomes, for an input that [`Definition::output`] takes; none where it changes no number.
    fn op(&self, input: &Shape, place: Place) -> Option<Box<dyn LayerOp>>;

    /// Its ONNX operator; none where it acts in training only.
    fn onnx(&self) -> Option<Operator>;
}
