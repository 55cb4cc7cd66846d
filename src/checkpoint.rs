//! Checkpoints: safetensors files that PyTorch's `load_state_dict` takes as they are, and that files saved from PyTorch
//! can stand in for.

use crate::engine::State;
use crate::files;
use crate::model::{Layer, Model, ModelError, Parameter};
use crate::train::Position;
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

/// Where training stood: what it takes to go on, beside the network and the settings.
#[derive(Clone, Debug, PartialEq)]
pub struct Resume {
    /// The optimizer's momentum, an arena of [`Model::arena_len`] elements.
    pub velocity: Vec<f32>,
    pub position: Position,
}

/// Tensors of the optimizer's momentum are named as their parameters, behind this.
const VELOCITY: &str = "velocity.";

/// The metadata key under which [`Position`] lies, as JSON.
const POSITION: &str = "mnist-wgpu.position";

/// A checkpoint read back.
#[derive(Debug)]
pub struct Checkpoint {
    pub model: Model,
    /// An arena of [`Model::arena_len`] elements.
    pub parameters: Vec<f32>,
    /// Absent in a file that PyTorch saved.
    pub info: Option<Info>,
    /// Present in the last checkpoint of a run.
    pub resume: Option<Resume>,
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
    write(path, model, arena, info, None)
}

/// The same with all that it takes to go on: `state`, which belongs to `position`.
pub fn save_state(
    path: &Path,
    model: &Model,
    state: &State,
    info: &Info,
    position: &Position,
) -> Result<(), CheckpointError> {
    write(path, model, &state.parameters, info, Some((position, &state.velocity)))
}

fn write(
    path: &Path,
    model: &Model,
    arena: &[f32],
    info: &Info,
    resume: Option<(&Position, &[f32])>,
) -> Result<(), CheckpointError> {
    let write = |source| CheckpointError::Write { path: path.into(), source };
    let serialize = |source| CheckpointError::Serialize { path: path.into(), source };
    let json = serde_json::to_string(info).map_err(|e| write(e.into()))?;
    // PyTorch's loaders look for "format".
    let mut metadata = HashMap::from([("format".to_string(), "pt".to_string()), (KEY.to_string(), json)]);
    let mut tensors = views(model, arena, "").map_err(serialize)?;
    if let Some((position, velocity)) = resume {
        metadata.insert(POSITION.into(), serde_json::to_string(position).map_err(|e| write(e.into()))?);
        tensors.extend(views(model, velocity, VELOCITY).map_err(serialize)?);
    }
    let mut bytes = safetensors::serialize(tensors, Some(metadata)).map_err(serialize)?;
    sort_header(&mut bytes).map_err(|e| write(e.into()))?;
    files::replace(path, &bytes).map_err(write)
}

/// Puts the keys of a safetensors file's JSON header in order. The metadata's come in that of a hash map, which would make another
/// file of the same network each time.
fn sort_header(file: &mut [u8]) -> Result<(), serde_json::Error> {
    let Some((len, rest)) = file.split_first_chunk_mut() else { return Ok(()) };
    let Some(header) = rest.get_mut(..u64::from_le_bytes(*len) as usize) else { return Ok(()) };
    let sorted = serde_json::from_slice::<serde_json::Value>(header)?.to_string();
    // The same text but for the order; behind it the header is filled up with spaces.
    if let Some(place) = header.get_mut(..sorted.len()) {
        place.copy_from_slice(sorted.as_bytes());
    }
    Ok(())
}

/// The pieces of `arena` that belong to the parameters, named `prefix` and the parameter's name.
fn views<'a>(model: &Model, arena: &'a [f32], prefix: &str) -> Result<Vec<(String, TensorView<'a>)>, SafeTensorError> {
    let view = |p: &Parameter| {
        let bytes = bytemuck::cast_slice(&arena[p.range.clone()]);
        TensorView::new(Dtype::F32, p.shape.clone(), bytes).map(|view| (format!("{prefix}{}", p.name), view))
    };
    model.parameters().iter().map(view).collect()
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

    let position: Option<Position> = header
        .metadata()
        .as_ref()
        .and_then(|metadata| metadata.get(POSITION))
        .map(|json| serde_json::from_str(json))
        .transpose()
        .map_err(|source| CheckpointError::Info { path: path_buf(), source })?;

    let known = |name: &str| {
        let of_parameter = |name: &str| model.parameters().iter().any(|p| p.name == name);
        of_parameter(name) || position.is_some() && name.strip_prefix(VELOCITY).is_some_and(of_parameter)
    };
    if let Some(name) = sorted_names(&tensors).into_iter().find(|name| !known(name)) {
        let expected = listed(model.parameters().iter().map(|p| p.name.as_str()).collect());
        return Err(CheckpointError::Superfluous { path: path_buf(), name: name.into(), expected });
    }
    let parameters = arena(path, &tensors, &model, "")?;
    let resume = match position {
        Some(position) => Some(Resume { velocity: arena(path, &tensors, &model, VELOCITY)?, position }),
        None => None,
    };
    Ok(Checkpoint { model, parameters, info, resume })
}

fn sorted_names<'a>(tensors: &'a SafeTensors) -> Vec<&'a str> {
    let mut names = tensors.names();
    names.sort_unstable();
    names
}

fn listed(names: Vec<&str>) -> String {
    if names.is_empty() { "no tensor".to_string() } else { names.join(", ") }
}

/// The tensors of `model`'s parameters, named with `prefix` before them, as an arena.
fn arena(path: &Path, tensors: &SafeTensors, model: &Model, prefix: &str) -> Result<Vec<f32>, CheckpointError> {
    let mut data = Vec::new();
    for parameter in model.parameters() {
        let name = format!("{prefix}{}", parameter.name);
        let Ok(tensor) = tensors.tensor(&name) else {
            return Err(CheckpointError::Missing { path: path.into(), name, found: listed(sorted_names(tensors)) });
        };
        if tensor.dtype() != Dtype::F32 || tensor.shape() != parameter.shape {
            return Err(CheckpointError::Tensor {
                path: path.into(),
                name,
                expected: format!("{:?} {:?}", Dtype::F32, parameter.shape),
                found: format!("{:?} {:?}", tensor.dtype(), tensor.shape()),
            });
        }
        data.push((parameter.range.clone(), tensor.data().to_vec()));
    }
    // Not before: now it is known to be no larger than the file, whatever sizes the metadata claims.
    let mut arena = vec![0.0; model.arena_len()];
    for (range, bytes) in data {
        arena[range].copy_from_slice(&bytemuck::pod_collect_to_vec(&bytes));
    }
    Ok(arena)
}
