//! The operations of the network. Most are one file here and one shader of the same stem in `shaders/`; some use
//! another op's shader, or none. The file holds the op's sizes, its dispatches on the GPU, and `mod cpu`, the same
//! arithmetic in plain Rust. A layer's file also holds its settings: the rule of its shapes, the tensors it needs, its
//! text and its ONNX operator. `lanes`, `matrix`, `winograd` and `words` are what they share.
//!
//! `ARCHITECTURE.md` has the recipe for a new one.

pub mod adamw;
pub mod augment;
pub mod average;
pub mod avgpool2d;
pub mod batchnorm2d;
pub mod conv2d;
pub mod conv2d_batchnorm2d;
pub mod conv2d_relu_maxpool2d;
pub mod cross_entropy;
pub mod dropout;
pub mod flatten;
pub mod gather;
pub mod global_avgpool2d;
pub mod lanes;
mod layer;
pub mod leaky_relu;
pub mod linear;
pub mod matrix;
pub mod maxpool2d;
mod op;
pub mod optimizer;
mod real;
pub mod relu;
pub mod sgd;
pub mod winograd;
mod words;

pub use layer::*;
pub use op::*;
pub use real::{PER_TASK, Real, samples_per_task};
pub use words::{Spoken, TextError, Words};

use crate::gpu::Shader;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Declares [`Layer`] and [`SHADERS`].
macro_rules! table {
    (
        layers with settings: { $($set:ident = $set_mod:ident [$($set_shader:ident)?];)* }
        layers without: { $($bare:ident = $bare_mod:ident [$($bare_shader:ident)?];)* }
        other ops: { $($other:ident;)* }
    ) => {
        /// One layer, with PyTorch's meaning of its settings.
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum Layer {
            $($set($set_mod::Settings),)*
            $($bare,)*
        }

        impl Layer {
            /// The words of each layer, with what may be left out in brackets.
            pub const USAGES: &[&str] = &[
                $(<$set_mod::Settings as Spoken>::USAGE,)*
                $(<$bare_mod::Settings as Spoken>::USAGE,)*
            ];

            /// The layer that `words` name, all of them.
            pub(crate) fn parse(words: &mut Words) -> Result<Self, TextError> {
                let before = words.clone();
                let name = words.word().unwrap_or_default();
                let is = |names: &[&str]| names.iter().any(|known| known.eq_ignore_ascii_case(name));
                $(if is(<$set_mod::Settings as Spoken>::NAMES) {
                    let settings = <$set_mod::Settings as Spoken>::parse(words)?;
                    words.finish(<$set_mod::Settings as Spoken>::USAGE)?;
                    return Ok(Layer::$set(settings));
                })*
                $(if is(<$bare_mod::Settings as Spoken>::NAMES) {
                    words.finish(<$bare_mod::Settings as Spoken>::USAGE)?;
                    return Ok(Layer::$bare);
                })*
                Err(before.expected(format!("a layer, one of: {}", Self::USAGES.join(", "))))
            }

            /// Its words.
            pub fn words(&self) -> String {
                match self {
                    $(Layer::$set(settings) => settings.words(),)*
                    $(Layer::$bare => $bare_mod::Settings.words(),)*
                }
            }

            /// What follows from it.
            pub fn definition(&self) -> &dyn Definition {
                match self {
                    $(Layer::$set(settings) => settings,)*
                    $(Layer::$bare => &$bare_mod::Settings,)*
                }
            }
        }

        $(impl From<$set_mod::Settings> for Layer {
            fn from(settings: $set_mod::Settings) -> Self {
                Layer::$set(settings)
            }
        })*

        /// Every shader of the ops.
        pub const SHADERS: &[Shader] = &[
            $($($set_mod::$set_shader,)?)*
            $($($bare_mod::$bare_shader,)?)*
            $($other::SHADER,)*
        ];
    };
}

table! {
    layers with settings: {
        Conv2d = conv2d [SHADER];
        MaxPool2d = maxpool2d [SHADER];
        AvgPool2d = avgpool2d [SHADER];
        LeakyRelu = leaky_relu [SHADER];
        Linear = linear [SHADER];
        Dropout = dropout [SHADER];
    }
    layers without: {
        Relu = relu [SHADER];
        BatchNorm2d = batchnorm2d [SHADER];
        GlobalAvgPool2d = global_avgpool2d [];
        Flatten = flatten [];
    }
    other ops: {
        gather;
        augment;
        conv2d_relu_maxpool2d;
        cross_entropy;
        sgd;
        adamw;
        average;
    }
}

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        self.definition().fmt(f)
    }
}
