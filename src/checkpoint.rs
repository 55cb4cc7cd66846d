//! Checkpoints: safetensors files that PyTorch's `load_state_dict` takes as they are, and that files saved from PyTorch
//! can stand in for.

use crate::files;
use crate::model::{Layer, Model, ModelError};
use safetensors::tensor::{Dtype, TensorView};
use safetensors::{SafeTensorError, SafeTensors};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// What a checkpoint tells about itself: everything needed to use it again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Info {
    /// Shape of a sample, (C, H, W).
    pub input: [usize; 3],
    pub layers: Vec<Layer>,
    /// What was done to the pixels before the first layer.
    pub normalisation: String,
    /// The data set it was trained on: `mnist`, `synthetic` or `custom`.
    pub dataset: String,
    /// Epochs trained.
    pub epoch: u32,
    pub seed: u64,
    /// Share of the training images held out for validation.
    pub val_fraction: f64,
    /// Version of this program.
    pub version: String,
}

/// The only normalisation there is: pixels / 255.
pub const NORMALISATION: &str = "pixels / 255";

/// The metadata key under which [`Info`] lies, as JSON.
const KEY: &str = "mnist-wgpu";

/// A checkpoint read back.
#[derive(Debug)]
pub struct Checkpoint {
    pub model: Model,
    /// An arena of [`Model::arena_len`] elements.
    pub parameters: Vec<f32>,
    /// Absent in a file that PyTorch saved.
    pub info: Option<Info>,
}

/// A checkpoint that cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    #[error("cannot write the checkpoint {path}: {source}")]
    Write { path: PathBuf, source: std::io::Error },

    #[error("cannot write the checkpoint {path}: {source}")]
    Serialize { path: PathBuf, source: SafeTensorError },

    #[error("cannot read the checkpoint {path}: {source}")]
    Read { path: PathBuf, source: std::io::Error },

    #[error(
        "{path} is not a safetensors file ({source}); a PyTorch .pt file can be saved again with safetensors.torch.save_file"
    )]
    Format { path: PathBuf, source: SafeTensorError },

    #[error("{path}: the metadata `mnist-wgpu` cannot be understood ({source}); was it written by a newer version?")]
    Info { path: PathBuf, source: serde_json::Error },

    #[error("{path}: {source}")]
    Model { path: PathBuf, source: ModelError },

    #[error("{path}: normalisation `{found}` is not known; this version knows `{NORMALISATION}`")]
    Normalisation { path: PathBuf, found: String },

    #[error("{path}: tensor `{name}` is missing; the file has: {found}")]
    Missing { path: PathBuf, name: String, found: String },

    #[error("{path}: tensor `{name}` belongs to no layer of the network; it has: {expected}")]
    Superfluous { path: PathBuf, name: String, expected: String },

    #[error("{path}: tensor `{name}` is {found}, expected {expected}")]
    Tensor { path: PathBuf, name: String, expected: String, found: String },
}

/// Writes the parameters `arena` of `model` to `path`: beside it first, then renamed, so that `path` is at any time either
/// what it was or complete.
pub fn save(path: &Path, model: &Model, arena: &[f32], info: &Info) -> Result<(), CheckpointError> {
    let write = |source| CheckpointError::Write { path: path.into(), source };
    let json = serde_json::to_string(info).map_err(|e| write(e.into()))?;
    // PyTorch's loaders look for "format".
    let metadata = HashMap::from([("format".to_string(), "pt".to_string()), (KEY.to_string(), json)]);
    let tensors = model.parameters().iter().map(|p| {
        let bytes = bytemuck::cast_slice(&arena[p.range.clone()]);
        TensorView::new(Dtype::F32, p.shape.clone(), bytes).map(|view| (p.name.as_str(), view))
    });
    let serialize = |source| CheckpointError::Serialize { path: path.into(), source };
    let tensors: Vec<_> = tensors.collect::<Result<_, _>>().map_err(serialize)?;
    let bytes = safetensors::serialize(tensors, Some(metadata)).map_err(serialize)?;

    files::replace(path, &bytes).map_err(write)
}

/// Checks, before hours of training, that a checkpoint can be written to `path`; makes the folder it is to lie in.
pub fn check_writable(path: &Path) -> Result<(), CheckpointError> {
    files::check_writable(path).map_err(|source| CheckpointError::Write { path: path.into(), source })
}

/// Reads a checkpoint. Where the metadata is missing, as in a file that PyTorch saved, the network is the classic one.
pub fn load(path: &Path) -> Result<Checkpoint, CheckpointError> {
    let bytes = std::fs::read(path).map_err(|source| CheckpointError::Read { path: path.into(), source })?;
    read(&bytes, path)
}

/// The same of a checkpoint in memory; errors call it `path`.
pub fn read(bytes: &[u8], path: &Path) -> Result<Checkpoint, CheckpointError> {
    let path_buf = || path.to_path_buf();
    let format = |source| CheckpointError::Format { path: path_buf(), source };
    let tensors = SafeTensors::deserialize(bytes).map_err(format)?;
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(format)?;

    let json = header.metadata().as_ref().and_then(|metadata| metadata.get(KEY));
    let info: Option<Info> = json
        .map(|json| serde_json::from_str(json))
        .transpose()
        .map_err(|source| CheckpointError::Info { path: path_buf(), source })?;
    if let Some(found) = info.as_ref().map(|info| &info.normalisation).filter(|found| *found != NORMALISATION) {
        return Err(CheckpointError::Normalisation { path: path_buf(), found: found.clone() });
    }
    let (input, layers) = match &info {
        Some(info) => (info.input, info.layers.clone()),
        None => ([1, crate::data::ROWS, crate::data::COLS], Model::classic_layers(0.5)),
    };
    let model = Model::new(input, layers, crate::data::CLASSES)
        .map_err(|source| CheckpointError::Model { path: path_buf(), source })?;

    let names = |names: Vec<&str>| if names.is_empty() { "no tensor".to_string() } else { names.join(", ") };
    let mut found = tensors.names();
    found.sort_unstable();
    if let Some(name) = found.iter().copied().find(|name| model.parameters().iter().all(|p| p.name != *name)) {
        let expected = names(model.parameters().iter().map(|p| p.name.as_str()).collect());
        return Err(CheckpointError::Superfluous { path: path_buf(), name: name.into(), expected });
    }
    let mut data = Vec::new();
    for parameter in model.parameters() {
        let name = || parameter.name.clone();
        let tensor = tensors.tensor(&parameter.name).map_err(|_| CheckpointError::Missing {
            path: path_buf(),
            name: name(),
            found: names(found.clone()),
        })?;
        if tensor.dtype() != Dtype::F32 || tensor.shape() != parameter.shape {
            return Err(CheckpointError::Tensor {
                path: path_buf(),
                name: name(),
                expected: format!("{:?} {:?}", Dtype::F32, parameter.shape),
                found: format!("{:?} {:?}", tensor.dtype(), tensor.shape()),
            });
        }
        data.push((parameter.range.clone(), tensor.data()));
    }
    // Not before: now it is known to be no larger than the file, whatever sizes the metadata claims.
    let mut parameters = vec![0.0; model.arena_len()];
    for (range, bytes) in data {
        parameters[range].copy_from_slice(&bytemuck::pod_collect_to_vec(bytes));
    }
    Ok(Checkpoint { model, parameters, info })
}
