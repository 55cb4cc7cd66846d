//! The network: a list of layers, the shapes between them, the parameters they need, and the ops they become.

use crate::gpu::tensor::ALIGNMENT;
use crate::ops::{self, Op};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::ops::Range;

/// One layer, with PyTorch's meaning of its settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Layer {
    /// Stride 1, square kernel, zero padding.
    Conv2d {
        out: usize,
        kernel: usize,
        padding: usize,
    },
    Relu,
    /// Windows of `size` x `size` that do not overlap.
    MaxPool2d {
        size: usize,
    },
    Flatten,
    Linear {
        out: usize,
    },
    /// Zeroes elements with probability `p` in training.
    Dropout {
        p: f32,
    },
}

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Layer::Conv2d { out, kernel, padding: 0 } => write!(f, "Conv2d({out}, {kernel}x{kernel})"),
            Layer::Conv2d { out, kernel, padding } => write!(f, "Conv2d({out}, {kernel}x{kernel}, padding {padding})"),
            Layer::Relu => f.write_str("ReLU"),
            Layer::MaxPool2d { size } => write!(f, "MaxPool2d({size})"),
            Layer::Flatten => f.write_str("Flatten"),
            Layer::Linear { out } => write!(f, "Linear({out})"),
            Layer::Dropout { p } => write!(f, "Dropout({p})"),
        }
    }
}

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

    /// [`Shape::len`] of a tensor that may be built. `what` has this shape.
    fn checked_len(&self, what: impl FnOnce() -> String) -> Result<usize, ModelError> {
        let len = self.0.iter().try_fold(1usize, |len, &size| len.checked_mul(size));
        let size = || ModelError::Size { what: what(), shape: self.clone() };
        len.filter(|len| (1..=MOST).contains(len)).ok_or_else(size)
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let sizes: Vec<_> = self.0.iter().map(usize::to_string).collect();
        write!(f, "({})", sizes.join(", "))
    }
}

/// A stack of layers that cannot be built.
#[derive(Debug, thiserror::Error, PartialEq)]
pub enum ModelError {
    #[error("layer {index}, {layer}, cannot take an input of shape {found}: it needs {needed}")]
    Input { index: usize, layer: Layer, found: Shape, needed: String },

    #[error("layer {index}, {layer}: {problem}")]
    Setting { index: usize, layer: Layer, problem: &'static str },

    #[error("{what} has shape {shape}: it needs from 1 to {MOST} elements")]
    Size { what: String, shape: Shape },

    #[error("the last layer's output has shape {found}, but the {classes} classes need ({classes})")]
    Output { found: Shape, classes: usize },
}

/// Elements of the largest tensor: far more than a device can bind, and far from any overflow.
const MOST: usize = 1 << 28;

/// A parameter tensor and its place in the arena.
#[derive(Clone, Debug, PartialEq)]
pub struct Parameter {
    /// Index of the layer it belongs to.
    pub layer: usize,
    /// As PyTorch's `nn.Sequential` names it: `"0.weight"`, `"3.bias"`, ...
    pub name: String,
    /// As PyTorch lays it out, row-major.
    pub shape: Vec<usize>,
    /// Terms in one output of its layer, which set the scale of its initial values.
    pub fan_in: usize,
    /// Its elements in the arena; the start is a multiple of [`ALIGNMENT`].
    pub range: Range<usize>,
}

/// One op of a network, made from one layer or from several that are fused.
pub struct Stage {
    /// The layers it stands for.
    pub layers: Range<usize>,
    pub op: Box<dyn Op>,
    /// Which of [`Model::parameters`] it uses.
    pub parameters: Range<usize>,
}

/// A network whose shapes have been checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Model {
    layers: Vec<Layer>,
    /// One more than layers: the input's, then each layer's output's.
    shapes: Vec<Shape>,
    parameters: Vec<Parameter>,
}

impl Model {
    /// Checks a stack of layers over samples of shape `input` (C, H, W) that must end in `classes` numbers per sample.
    pub fn new(input: [usize; 3], layers: Vec<Layer>, classes: usize) -> Result<Self, ModelError> {
        let mut shapes = vec![Shape(input.to_vec())];
        shapes[0].checked_len(|| "the input".into())?;
        let mut parameters = Vec::new();
        for (index, layer) in layers.iter().enumerate() {
            let shape = output_shape(index, layer, &shapes[index])?;
            shape.checked_len(|| format!("the output of layer {index}, {layer},"))?;
            let weight = match layer {
                Layer::Conv2d { out, kernel, .. } => Some(vec![*out, shapes[index].0[0], *kernel, *kernel]),
                Layer::Linear { out } => Some(vec![*out, shapes[index].0[0]]),
                _ => None,
            };
            if let Some(weight) = weight {
                let bias = vec![weight[0]];
                let fan_in = Shape(weight[1..].to_vec()).checked_len(|| format!("a kernel of layer {index}, {layer},"))?;
                for (part, shape) in [("weight", weight), ("bias", bias)] {
                    let start = parameters.last().map_or(0, |p: &Parameter| p.range.end.next_multiple_of(ALIGNMENT));
                    let len = Shape(shape.clone()).checked_len(|| format!("the {part} of layer {index}, {layer},"))?;
                    let range = start..start + len;
                    parameters.push(Parameter { layer: index, name: format!("{index}.{part}"), shape, fan_in, range });
                }
            }
            shapes.push(shape);
        }
        match shapes.last() {
            Some(shape) if shape.0 == [classes] => Ok(Self { layers, shapes, parameters }),
            last => Err(ModelError::Output { found: last.cloned().unwrap_or(Shape(vec![])), classes }),
        }
    }

    /// The layers of the classic MNIST network, 225,034 parameters with its images of (1, 28, 28).
    pub fn classic_layers(dropout: f32) -> Vec<Layer> {
        let conv = |out| Layer::Conv2d { out, kernel: 3, padding: 0 };
        let pool = || Layer::MaxPool2d { size: 2 };
        let mut layers = vec![conv(32), Layer::Relu, pool(), conv(64), Layer::Relu, pool(), Layer::Flatten];
        layers.extend([Layer::Linear { out: 128 }, Layer::Dropout { p: dropout }, Layer::Linear { out: 10 }]);
        layers
    }

    pub fn layers(&self) -> &[Layer] {
        &self.layers
    }

    /// The shapes between the layers: the input's first, then each layer's output's.
    pub fn shapes(&self) -> &[Shape] {
        &self.shapes
    }

    pub fn parameters(&self) -> &[Parameter] {
        &self.parameters
    }

    /// Numbers that are trained.
    pub fn parameter_count(&self) -> usize {
        self.parameters.iter().map(|p| p.range.len()).sum()
    }

    /// Elements of the arena that holds all parameters, each aligned so that a GPU can bind it by itself. The gaps stay 0.
    pub fn arena_len(&self) -> usize {
        self.parameters.last().map_or(0, |p| p.range.end.next_multiple_of(ALIGNMENT))
    }

    /// PyTorch's default initialisation, `U(-1/sqrt(fan_in), 1/sqrt(fan_in))` for weights and biases: an arena of
    /// [`Model::arena_len`] elements, a pure function of `seed`.
    pub fn init(&self, seed: u64) -> Vec<f32> {
        let mut arena = vec![0.0; self.arena_len()];
        for (index, parameter) in self.parameters.iter().enumerate() {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            rng.set_stream(INIT_STREAM + index as u64);
            let bound = 1.0 / (parameter.fan_in as f32).sqrt();
            for value in &mut arena[parameter.range.clone()] {
                let unit = (rng.next_u32() >> 8) as f32 / (1 << 24) as f32; // [0, 1), exact
                *value = (2.0 * unit - 1.0) * bound;
            }
        }
        arena
    }

    /// The ops that the layers become, in order. `fuse` lets a 3x3 convolution, ReLU and 2x2 pooling in a row become one, as
    /// well as dropout and the linear layer after it; `seed` keys the dropout masks.
    pub fn stages(&self, fuse: bool, seed: u64) -> Vec<Stage> {
        let mut stages = Vec::new();
        let mut index = 0;
        while index < self.layers.len() {
            let (taken, op) = self.op(index, fuse, seed);
            let first = |layer| self.parameters.partition_point(|p| p.layer < layer);
            let parameters = first(index)..first(index + taken);
            if let Some(op) = op {
                stages.push(Stage { layers: index..index + taken, op, parameters });
            }
            index += taken;
        }
        stages
    }

    /// Dense FLOPs of one training step on `batch_size` samples; see [`Op::flops`]. Nobody asks the first op for the gradient
    /// of its input.
    pub fn training_flops(&self, batch_size: usize) -> u64 {
        let passes = |index| if index == 0 { 2 } else { 3 };
        let stages = self.stages(true, 0);
        batch_size as u64 * stages.iter().enumerate().map(|(index, stage)| passes(index) * stage.op.flops()).sum::<u64>()
    }

    /// The op that begins at layer `index`, if that layer does anything, and how many layers it covers.
    fn op(&self, index: usize, fuse: bool, seed: u64) -> (usize, Option<Box<dyn Op>>) {
        use ops::conv2d_relu_maxpool2d::{Conv2dReluMaxPool2d, KERNEL, WINDOW};
        let len = self.shapes[index].len();
        let image = || match self.shapes[index].0[..] {
            [channels, height, width] => (channels, height, width),
            _ => unreachable!("Model::new lets only images into a layer that needs them"),
        };
        match self.layers[index..] {
            [Layer::Conv2d { out, kernel: KERNEL, padding }, Layer::Relu, Layer::MaxPool2d { size: WINDOW }, ..] if fuse => {
                let (channels, height, width) = image();
                (3, Some(Box::new(Conv2dReluMaxPool2d { channels, height, width, out, padding })))
            }
            [Layer::Conv2d { out, kernel, padding }, ..] => {
                let (channels, height, width) = image();
                (1, Some(Box::new(ops::conv2d::Conv2d { channels, height, width, out, kernel, padding })))
            }
            [Layer::MaxPool2d { size }, ..] => {
                let (channels, height, width) = image();
                (1, Some(Box::new(ops::maxpool2d::MaxPool2d { channels, height, width, size })))
            }
            [Layer::Relu, ..] => (1, Some(Box::new(ops::relu::Relu { len }))),
            [Layer::Dropout { p }, Layer::Linear { out }, ..] if fuse && p > 0.0 => {
                let dropout = Some(ops::dropout::Dropout::new(len, p, seed, index as u32));
                (2, Some(Box::new(ops::linear::Linear { inputs: len, outputs: out, dropout })))
            }
            [Layer::Linear { out }, ..] => (1, Some(Box::new(ops::linear::Linear::new(len, out)))),
            [Layer::Dropout { p }, ..] if p > 0.0 => {
                (1, Some(Box::new(ops::dropout::Dropout::new(len, p, seed, index as u32))))
            }
            // Flattening changes no number, and dropping nothing neither.
            _ => (1, None),
        }
    }
}

/// Streams of the seed's generator below this one belong to the data: its split and its shuffles.
const INIT_STREAM: u64 = 1 << 40;

fn output_shape(index: usize, layer: &Layer, input: &Shape) -> Result<Shape, ModelError> {
    let refuse = |needed: String| ModelError::Input { index, layer: layer.clone(), found: input.clone(), needed };
    let setting = |problem| Err(ModelError::Setting { index, layer: layer.clone(), problem });
    match (layer, &input.0[..]) {
        (Layer::Conv2d { out: 0, .. } | Layer::Linear { out: 0 }, _) => setting("needs at least one output"),
        (Layer::Conv2d { kernel: 0, .. }, _) => setting("a kernel is at least 1x1"),
        (Layer::Conv2d { kernel, padding, .. }, _) if padding >= kernel => {
            setting("the padding must be smaller than the kernel")
        }
        (Layer::Conv2d { kernel, .. }, _) if *kernel > MOST => setting("the kernel is too large"),
        (Layer::MaxPool2d { size: 0 }, _) => setting("a window is at least 1x1"),
        (Layer::Dropout { p }, _) if !(0.0..1.0).contains(p) => setting("the probability must be in [0, 1)"),

        (Layer::Conv2d { out, kernel, padding }, &[c, h, w]) => {
            if h + 2 * padding < *kernel || w + 2 * padding < *kernel {
                let least = kernel - 2 * padding;
                return Err(refuse(format!("at least ({c}, {least}, {least})")));
            }
            Ok(Shape(vec![*out, h + 2 * padding + 1 - kernel, w + 2 * padding + 1 - kernel]))
        }
        (Layer::MaxPool2d { size }, &[c, h, w]) => {
            if h < *size || w < *size {
                return Err(refuse(format!("at least ({c}, {size}, {size})")));
            }
            Ok(Shape(vec![c, h / size, w / size]))
        }
        (Layer::Conv2d { .. } | Layer::MaxPool2d { .. }, _) => Err(refuse("an image (channels, height, width)".into())),
        (Layer::Linear { out }, &[_]) => Ok(Shape(vec![*out])),
        (Layer::Linear { .. }, _) => Err(refuse(format!("one dimension, ({}): put a Flatten before it", input.len()))),
        (Layer::Flatten, _) => Ok(Shape(vec![input.len()])),
        (Layer::Relu | Layer::Dropout { .. }, _) => Ok(input.clone()),
    }
}
