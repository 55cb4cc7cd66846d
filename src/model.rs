//! The network: a list of layers, the shapes between them, the parameters they need, and the ops they become.

use crate::gpu::tensor::ALIGNMENT;
use crate::ops::{Init, Layer, LayerOp, Misfit, Needed, Place, Shape, conv2d, dropout, linear, maxpool2d};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::ops::Range;

/// A stack of layers that cannot be built.
#[derive(Debug, thiserror::Error, PartialEq)]
pub enum ModelError {
    #[error("layer {index}, {layer}, cannot take an input of shape {found}: it needs {needed}")]
    Input { index: usize, layer: Layer, found: Shape, needed: String },

    #[error("layer {index}, {layer}: {problem}")]
    Setting { index: usize, layer: Layer, problem: &'static str },

    #[error("{what} has shape {shape}: it needs from 1 to {MOST} elements")]
    Size { what: String, shape: Shape },

    #[error("{found} layers: at most {MOST_LAYERS} can be built")]
    Layers { found: usize },

    #[error("the outputs of all layers are {found} numbers for one sample: at most {MOST_ACTIVATIONS} can be kept")]
    Activations { found: usize },

    #[error("the last layer's output has shape {found}, but the {classes} classes need ({classes})")]
    Output { found: Shape, classes: usize },
}

/// Elements of the largest tensor: far more than a device can bind, and far from any overflow.
const MOST: usize = 1 << 28;

/// Files are read whose layers cost a few bytes each; what they ask for must have bounds.
const MOST_LAYERS: usize = 1000;

/// Elements between the layers, of one sample: the classic network over the largest images has 8 million.
const MOST_ACTIVATIONS: usize = 1 << 25;

/// A tensor of a network and its place in its arena.
#[derive(Clone, Debug, PartialEq)]
pub struct Parameter {
    /// Index of the layer it belongs to.
    pub layer: usize,
    /// As PyTorch's `nn.Sequential` names it: `"0.weight"`, `"3.bias"`, ...
    pub name: String,
    /// As PyTorch lays it out, row-major.
    pub shape: Vec<usize>,
    pub init: Init,
    /// Its elements in the arena; the start is a multiple of [`ALIGNMENT`].
    pub range: Range<usize>,
}

/// One op of a network, made from one layer or from several in a row.
pub struct Stage<O: ?Sized = dyn LayerOp> {
    /// The layers it stands for.
    pub layers: Range<usize>,
    pub op: Box<O>,
    /// Which of [`Model::parameters`] it uses.
    pub parameters: Range<usize>,
    /// Which of [`Model::buffers`] it uses.
    pub buffers: Range<usize>,
}

/// A network whose shapes have been checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Model {
    layers: Vec<Layer>,
    /// One more than layers: the input's, then each layer's output's.
    shapes: Vec<Shape>,
    parameters: Vec<Parameter>,
    buffers: Vec<Parameter>,
}

impl Model {
    /// Checks a stack of layers over samples of shape `input` (C, H, W) that must end in `classes` numbers per sample.
    pub fn new(input: [usize; 3], layers: Vec<Layer>, classes: usize) -> Result<Self, ModelError> {
        if layers.len() > MOST_LAYERS {
            return Err(ModelError::Layers { found: layers.len() });
        }
        let mut shapes = vec![Shape(input.to_vec())];
        check_len(&shapes[0], || "the input".into())?;
        let (mut parameters, mut buffers) = (Vec::new(), Vec::new());
        for (index, layer) in layers.iter().enumerate() {
            let (input, definition) = (&shapes[index], layer.definition());
            let shape = definition.output(input).map_err(|misfit| match misfit {
                Misfit::Setting(problem) => ModelError::Setting { index, layer: layer.clone(), problem },
                Misfit::Input(needed) => ModelError::Input { index, layer: layer.clone(), found: input.clone(), needed },
            })?;
            check_len(&shape, || format!("the output of layer {index}, {layer},"))?;
            place(&mut parameters, index, layer, definition.parameters(input))?;
            place(&mut buffers, index, layer, definition.buffers(input))?;
            shapes.push(shape);
        }
        let found = activations(&shapes);
        if found > MOST_ACTIVATIONS {
            return Err(ModelError::Activations { found });
        }
        match shapes.last() {
            Some(shape) if shape.0 == [classes] => Ok(Self { layers, shapes, parameters, buffers }),
            last => Err(ModelError::Output { found: last.cloned().unwrap_or(Shape(vec![])), classes }),
        }
    }

    /// The classic MNIST network over samples of shape `input` (C, H, W): 225,034 parameters for (1, 28, 28) and 10
    /// classes.
    ///
    /// # Errors
    ///
    /// If an image is smaller than 10x10: its convolutions and poolings would leave nothing.
    pub fn classic(input: [usize; 3], classes: usize, dropout: f32) -> Result<Self, ModelError> {
        Self::new(input, Self::classic_layers(classes, dropout), classes)
    }

    /// The layers of [`Model::classic`].
    pub fn classic_layers(classes: usize, dropout: f32) -> Vec<Layer> {
        let conv = |out| Layer::Conv2d(conv2d::Settings { out, kernel: 3, padding: 0, stride: 1 });
        let pool = || Layer::MaxPool2d(maxpool2d::Settings { size: 2 });
        let linear = |out| Layer::Linear(linear::Settings { out });
        let mut layers = vec![conv(32), Layer::Relu, pool(), conv(64), Layer::Relu, pool(), Layer::Flatten];
        layers.extend([linear(128), Layer::Dropout(dropout::Settings { p: dropout }), linear(classes)]);
        layers
    }

    pub fn layers(&self) -> &[Layer] {
        &self.layers
    }

    /// The shapes between the layers: the input's first, then each layer's output's.
    pub fn shapes(&self) -> &[Shape] {
        &self.shapes
    }

    /// The largest batch, up to `most`, whose numbers between the layers are no more than one sample may have.
    pub fn batch_within_bounds(&self, most: usize) -> usize {
        (MOST_ACTIVATIONS / activations(&self.shapes)).clamp(1, most.max(1))
    }

    /// Numbers per sample that it puts out.
    pub fn classes(&self) -> usize {
        self.shapes[self.layers.len()].len()
    }

    /// The tensors that are trained.
    pub fn parameters(&self) -> &[Parameter] {
        &self.parameters
    }

    /// The tensors that belong to the network but are not trained.
    pub fn buffers(&self) -> &[Parameter] {
        &self.buffers
    }

    /// Numbers that are trained.
    pub fn parameter_count(&self) -> usize {
        self.parameters.iter().map(|p| p.range.len()).sum()
    }

    /// Elements of the arena that holds all parameters, each aligned so that a GPU can bind it by itself. The gaps stay
    /// 0.
    pub fn arena_len(&self) -> usize {
        arena_len(&self.parameters)
    }

    /// The parameters before training: an arena of [`Model::arena_len`] elements, a pure function of `seed`.
    pub fn init(&self, seed: u64) -> Vec<f32> {
        initial(&self.parameters, seed)
    }

    /// The buffers before training.
    pub fn init_buffers(&self) -> Vec<f32> {
        initial(&self.buffers, 0)
    }

    /// An op for each layer that changes a number, in order; `seed` keys the dropout masks.
    pub fn stages(&self, seed: u64) -> Vec<Stage> {
        let layers = self.layers.iter().zip(&self.shapes).enumerate();
        let stage = |(index, (layer, input)): (usize, (&Layer, &Shape))| {
            let op = layer.definition().op(input, Place { layer: index as u32, seed })?;
            let of_layer = |all: &[Parameter]| {
                let first = |layer| all.partition_point(|p| p.layer < layer);
                first(index)..first(index + 1)
            };
            let (parameters, buffers) = (of_layer(&self.parameters), of_layer(&self.buffers));
            Some(Stage { layers: index..index + 1, op, parameters, buffers })
        };
        layers.filter_map(stage).collect()
    }

    /// Dense FLOPs of one training step on `batch_size` samples; see [`crate::ops::Op::flops`]. Nobody asks the first
    /// op for the gradient of its input.
    pub fn training_flops(&self, batch_size: usize) -> u64 {
        let passes = |index| if index == 0 { 2 } else { 3 };
        let stages = self.stages(0);
        batch_size as u64 * stages.iter().enumerate().map(|(index, stage)| passes(index) * stage.op.flops()).sum::<u64>()
    }
}

/// Streams of the seed's generator below this one belong to the data: its split and its shuffles.
const INIT_STREAM: u64 = 1 << 40;

/// Elements of one sample between the layers.
fn activations(shapes: &[Shape]) -> usize {
    shapes.iter().map(Shape::len).sum()
}

/// The elements of a tensor of this shape, if it may be built. `what` has the shape.
fn check_len(shape: &Shape, what: impl FnOnce() -> String) -> Result<usize, ModelError> {
    let len = shape.0.iter().try_fold(1usize, |len, &size| len.checked_mul(size));
    let size = || ModelError::Size { what: what(), shape: shape.clone() };
    len.filter(|len| (1..=MOST).contains(len)).ok_or_else(size)
}

/// Gives what layer `index` needs a place behind what is there.
fn place(all: &mut Vec<Parameter>, index: usize, layer: &Layer, needed: Vec<Needed>) -> Result<(), ModelError> {
    for Needed { name, shape, init } in needed {
        let len = check_len(&Shape(shape.clone()), || format!("the {name} of layer {index}, {layer},"))?;
        let start = arena_len(all);
        all.push(Parameter { layer: index, name: format!("{index}.{name}"), shape, init, range: start..start + len });
    }
    Ok(())
}

/// Elements of the arena that holds `tensors`.
pub(crate) fn arena_len(tensors: &[Parameter]) -> usize {
    tensors.last().map_or(0, |tensor| tensor.range.end.next_multiple_of(ALIGNMENT))
}

fn initial(tensors: &[Parameter], seed: u64) -> Vec<f32> {
    let mut arena = vec![0.0; arena_len(tensors)];
    for (index, Parameter { init, range, .. }) in tensors.iter().enumerate() {
        let values = &mut arena[range.clone()];
        match *init {
            Init::Constant(value) => values.fill(value),
            Init::Uniform { fan_in } => {
                let mut rng = ChaCha8Rng::seed_from_u64(seed);
                rng.set_stream(INIT_STREAM + index as u64);
                let bound = 1.0 / (fan_in as f32).sqrt();
                for value in values {
                    let unit = (rng.next_u32() >> 8) as f32 / (1 << 24) as f32; // [0, 1), exact
                    *value = (2.0 * unit - 1.0) * bound;
                }
            }
        }
    }
    arena
}
