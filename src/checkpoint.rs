//! Checkpoints, as bytes: safetensors files that PyTorch's `load_state_dict` takes as they are, and that files saved
//! from PyTorch can stand in for.

use crate::data::{self, DataError, Dataset};
use crate::foreign::{self, Foreign};
use crate::history::Row;
use crate::model::{Model, ModelError};
use crate::normalisation::{Normalisation, NormalisationError};
use crate::ops::Layer;
use crate::ops::optimizer::Optimizer;
use crate::state::{Role, State};
use crate::train::Position;
use safetensors::tensor::{Dtype, TensorView};
use safetensors::{SafeTensorError, SafeTensors};
use serde::{Deserialize, Serialize};
use std::collections::{HashMap, HashSet};

/// What a checkpoint tells about itself: everything needed to use it again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Info {
    /// Shape of a sample, (C, H, W).
    pub input: [usize; 3],
    pub layers: Vec<Layer>,
    /// The classes' names, in the order of the outputs. Earlier versions knew digits alone, and did not write them.
    #[serde(default = "data::digits")]
    pub classes: Vec<String>,
    /// What was done to the pixels before the first layer: [`NORMALISATION`].
    pub normalisation: String,
    /// The data set it was trained on: `mnist`, `fashion-mnist`, `kmnist`, `synthetic`, `pictures` of a folder,
    /// `strokes` found in them, or `custom`.
    pub dataset: String,
    /// Epochs trained.
    pub epoch: u32,
    pub seed: u64,
    /// Share of the training images held out for validation.
    pub val_fraction: f64,
    /// Version of this program.
    pub version: String,
}

/// The only one that we write. Another [`Normalisation`] is folded into the network when it is read.
pub const NORMALISATION: &str = "pixels / 255";

/// The metadata key under which [`Info`] lies, as JSON.
const KEY: &str = "mnist-wgpu";

/// The metadata keys under which [`Position`] and [`Checkpoint::history`] lie, as JSON.
const POSITION: &str = "mnist-wgpu.position";
const HISTORY: &str = "mnist-wgpu.history";

/// The metadata keys under which other programs can say their [`Normalisation`].
const MEAN: &str = "mean";
const STD: &str = "std";

/// A checkpoint read back.
#[derive(Debug)]
pub struct Checkpoint {
    pub model: Model,
    /// The network's arenas and, where there is a position, the optimizer's.
    pub state: State,
    /// Absent in a file that PyTorch saved.
    pub info: Option<Info>,
    /// Where training stood. Present in the last checkpoint of a run.
    pub position: Option<Position>,
    /// How training went, where nothing else of the run could hold it.
    pub history: Vec<Row>,
    /// What was done to the pixels in training, if anything but [`NORMALISATION`]. It is part of `state` already, which
    /// takes pixels / 255.
    pub normalisation: Option<Normalisation>,
}

impl Checkpoint {
    /// The classes' names, a digit's where the file has none.
    pub fn classes(&self) -> Vec<String> {
        self.info.as_ref().map_or_else(data::digits, |info| info.classes.clone())
    }

    /// Whether it takes strokes as MNIST has them: white on black, 28x28.
    pub fn takes_strokes(&self) -> bool {
        self.model.shapes()[0].0 == [1, 28, 28] && !self.takes_whole()
    }

    /// Whether it takes pictures as they are, and not digits that were found in them: it has learned pictures of a
    /// folder, or clothes, which are no strokes.
    pub fn takes_whole(&self) -> bool {
        self.info.as_ref().is_some_and(|info| ["pictures", "fashion-mnist"].contains(&info.dataset.as_str()))
    }

    /// # Errors
    ///
    /// If a number of the network is not finite. Training saves none such, and what is computed with it means nothing.
    pub fn check_finite(&self) -> Result<(), CheckpointError> {
        for (role, arena) in &self.state.network().arenas {
            for tensor in role.tensors(&self.model) {
                if let Some(&found) = arena[tensor.range.clone()].iter().find(|x| !x.is_finite()) {
                    return Err(CheckpointError::NotFinite { name: role.name(tensor).into(), found });
                }
            }
        }
        Ok(())
    }
}

/// A checkpoint that cannot be written or read. The texts do not say which file it was.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    #[error("the network cannot be written as safetensors: {0}")]
    Serialize(SafeTensorError),

    #[error("the network's description cannot be written: {0}")]
    Metadata(serde_json::Error),

    #[error("not a safetensors file ({0}); a PyTorch .pt file can be saved again with safetensors.torch.save_file")]
    Format(SafeTensorError),

    #[error("not a safetensors file: it is {0}")]
    Foreign(Foreign),

    #[error("the metadata `mnist-wgpu` cannot be understood ({0}); was it written by a newer version?")]
    Info(serde_json::Error),

    #[error(transparent)]
    Model(#[from] ModelError),

    #[error("the metadata `mnist-wgpu` tell of a network for other samples than are read: {0}")]
    Samples(#[from] DataError),

    #[error(
        "normalisation `{found}` is not known; expected `{NORMALISATION}`, and beside it the metadata `{MEAN}` and `{STD}`"
    )]
    Unknown { found: String },

    #[error(transparent)]
    Normalisation(#[from] NormalisationError),

    #[error("tensor `{name}` holds {found}: the network is broken; did its training diverge?")]
    NotFinite { name: String, found: f32 },

    #[error("tensor `{name}` is missing; the file has: {found}")]
    Missing { name: String, found: String },

    #[error("tensor `{name}` belongs to no layer of the network; it has: {expected}")]
    Superfluous { name: String, expected: String },

    #[error("tensor `{name}` is {found}, expected {expected}")]
    Tensor { name: String, expected: String, found: String },
}

/// The file of a network: `state` of `model`. With `position`, to which it belongs, training can go on from it.
/// `history` is what no other file of the run holds of how training went; mostly nothing.
///
/// # Errors
///
/// If the file's format cannot hold it.
pub fn write(
    model: &Model,
    state: &State,
    info: &Info,
    position: Option<&Position>,
    history: &[Row],
) -> Result<Vec<u8>, CheckpointError> {
    let json = serde_json::to_string(info).map_err(CheckpointError::Metadata)?;
    // PyTorch's loaders look for "format".
    let mut metadata = HashMap::from([("format".to_string(), "pt".to_string()), (KEY.to_string(), json)]);
    if let Some(position) = position {
        metadata.insert(POSITION.into(), serde_json::to_string(position).map_err(CheckpointError::Metadata)?);
    }
    if !history.is_empty() {
        metadata.insert(HISTORY.into(), serde_json::to_string(history).map_err(CheckpointError::Metadata)?);
    }
    let mut tensors = Vec::new();
    for (role, arena) in &state.arenas {
        for tensor in role.tensors(model) {
            let bytes = bytemuck::cast_slice(&arena[tensor.range.clone()]);
            let view = TensorView::new(Dtype::F32, tensor.shape.clone(), bytes).map_err(CheckpointError::Serialize)?;
            tensors.push((role.name(tensor), view));
        }
    }
    let mut bytes = safetensors::serialize(tensors, Some(metadata)).map_err(CheckpointError::Serialize)?;
    sort_header(&mut bytes).map_err(CheckpointError::Metadata)?;
    Ok(bytes)
}

/// Sorts the keys of a safetensors file's JSON header. The metadata's come in the random order of a hash map, so that
/// the same network would make another file each time.
fn sort_header(file: &mut [u8]) -> Result<(), serde_json::Error> {
    let Some((len, rest)) = file.split_first_chunk_mut() else { return Ok(()) };
    let Some(header) = rest.get_mut(..u64::from_le_bytes(*len) as usize) else { return Ok(()) };
    let sorted = serde_json::from_slice::<serde_json::Value>(header)?.to_string();
    // Only the order differs, so it has the same length. Spaces follow it up to the header's end.
    if let Some(place) = header.get_mut(..sorted.len()) {
        place.copy_from_slice(sorted.as_bytes());
    }
    Ok(())
}

/// Reads a checkpoint. Where the metadata is missing, as in a file that PyTorch saved, the network is the classic one
/// for MNIST. Numbers of 16 and 64 bits become f32; a prefix that all tensors share, such as `module.`, is passed over.
///
/// # Errors
///
/// What is no safetensors file, or whose tensors are not those of the network that it describes.
pub fn read(bytes: &[u8]) -> Result<Checkpoint, CheckpointError> {
    read_normalised(bytes, None)
}

/// Whether a safetensors file may begin so: with the length of its header, 8 bytes, as long as that format allows.
pub fn may_begin(bytes: &[u8]) -> bool {
    const LONGEST_HEADER: u64 = 100_000_000;
    bytes.first_chunk().is_some_and(|len| (1..=LONGEST_HEADER).contains(&u64::from_le_bytes(*len)))
}

/// As [`read`], for a network that was trained on pixels to which `normalisation` was done, whatever the file says.
///
/// # Errors
///
/// As [`read`], and where the normalisation does not fit the network.
pub fn read_normalised(bytes: &[u8], normalisation: Option<Normalisation>) -> Result<Checkpoint, CheckpointError> {
    let format = |error| foreign::known(bytes).map_or(CheckpointError::Format(error), CheckpointError::Foreign);
    let tensors = SafeTensors::deserialize(bytes).map_err(format)?;
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(CheckpointError::Format)?;
    let metadata = |key: &str| header.metadata().as_ref().and_then(|metadata| metadata.get(key)).map(String::as_str);

    let info = metadata(KEY).map(serde_json::from_str::<Info>).transpose().map_err(CheckpointError::Info)?;
    if let Some(found) = info.as_ref().map(|info| &info.normalisation).filter(|found| *found != NORMALISATION) {
        return Err(CheckpointError::Unknown { found: found.clone() });
    }
    let normalisation = match normalisation {
        None => Normalisation::parse(metadata(MEAN), metadata(STD))?,
        said => said,
    };
    if let Some(info) = &info {
        Dataset::check_shape(info.input)?;
        Dataset::check_classes(info.classes.len())?;
    }
    let model = match &info {
        Some(info) => Model::new(info.input, info.layers.clone(), info.classes.len())?,
        None => Model::classic([1, 28, 28], data::digits().len(), 0.5)?,
    };
    let position = metadata(POSITION).map(serde_json::from_str::<Position>).transpose().map_err(CheckpointError::Info)?;
    let history = metadata(HISTORY).map(serde_json::from_str::<Vec<Row>>).transpose().map_err(CheckpointError::Info)?;

    let roles = roles(&tensors, position.is_some());
    let prefix = prefix(&tensors, &model);
    // Names are looked up, not searched for: a file may have a thousand layers, and an optimizer's numbers for each.
    let of_role = |role: &Role| role.tensors(&model).iter().map(|tensor| role.name(tensor).into_owned()).collect::<Vec<_>>();
    let known: HashSet<String> = roles.iter().flat_map(of_role).collect();
    // A count of PyTorch's that nothing here goes by.
    let counts = |name: &str| name.ends_with(".num_batches_tracked");
    if let Some(name) =
        sorted_names(&tensors).into_iter().find(|name| !known.contains(&name[prefix.len()..]) && !counts(name))
    {
        let expected = listed(model.parameters().iter().chain(model.buffers()).map(|p| p.name.as_str()).collect());
        return Err(CheckpointError::Superfluous { name: name.into(), expected });
    }
    let mut state = State { arenas: Vec::new() };
    for role in roles {
        state.arenas.push((role, arena(&tensors, prefix, &model, role)?));
    }
    if let Some(normalisation) = &normalisation {
        normalisation.fold(&model, &mut state)?;
    }
    Ok(Checkpoint { model, state, info, position, history: history.unwrap_or_default(), normalisation })
}

/// The arenas that a file holds: the network's and, if it is `in_training`, its averages and the slots of its
/// optimizer.
fn roles(tensors: &SafeTensors, in_training: bool) -> Vec<Role> {
    let mut roles = vec![Role::Parameters, Role::Buffers];
    if in_training {
        let has = |arena: &str| tensors.names().iter().any(|name| name.starts_with(&format!("{arena}.")));
        if has("average") {
            roles.extend([Role::Average, Role::AverageBuffers]);
        }
        let slots = Optimizer::SLOTS.into_iter().find(|slots| slots.iter().all(|slot| has(slot)));
        roles.extend(slots.unwrap_or_else(|| Optimizer::default().slots()).iter().map(|&slot| Role::Slot(slot)));
    }
    roles
}

/// What stands before each tensor's name where the network was saved as a part of another, as torch's `DataParallel`,
/// `compile` and programs with a module of their own around it do.
fn prefix<'a>(tensors: &'a SafeTensors, model: &Model) -> &'a str {
    let names = sorted_names(tensors);
    let Some(needed) = model.parameters().first() else { return "" };
    let mut prefixes = names.iter().filter_map(|name| name.strip_suffix(needed.name.as_str()));
    let is_common = |prefix: &&str| prefix.ends_with('.') && names.iter().all(|name| name.starts_with(prefix));
    prefixes.find(is_common).unwrap_or_default()
}

fn sorted_names<'a>(tensors: &'a SafeTensors) -> Vec<&'a str> {
    let mut names = tensors.names();
    names.sort_unstable();
    names
}

fn listed(names: Vec<&str>) -> String {
    if names.is_empty() { "no tensor".to_string() } else { names.join(", ") }
}

/// The arena of `role`.
fn arena(tensors: &SafeTensors, prefix: &str, model: &Model, role: Role) -> Result<Vec<f32>, CheckpointError> {
    let mut data = Vec::new();
    for needed in role.tensors(model) {
        let name = format!("{prefix}{}", role.name(needed));
        let Ok(tensor) = tensors.tensor(&name) else {
            return Err(CheckpointError::Missing { name, found: listed(sorted_names(tensors)) });
        };
        let values = values(&tensor).filter(|_| tensor.shape() == needed.shape);
        let Some(values) = values else {
            return Err(CheckpointError::Tensor {
                name,
                expected: format!("{:?} {:?} (or F16, BF16, F64)", Dtype::F32, needed.shape),
                found: format!("{:?} {:?}", tensor.dtype(), tensor.shape()),
            });
        };
        data.push((needed.range.clone(), values));
    }
    // Allocated only now. By now the tensors are known to be in the file, so no claim in the metadata can make this
    // large.
    let mut arena = vec![0.0; role.len(model)];
    for (range, values) in data {
        arena[range].copy_from_slice(&values);
    }
    Ok(arena)
}

/// The numbers of a tensor, rounded to f32; none where they are of no type that a network has.
fn values(tensor: &TensorView) -> Option<Vec<f32>> {
    fn each<const N: usize>(bytes: &[u8], value: impl Fn([u8; N]) -> f32) -> Vec<f32> {
        bytes.as_chunks().0.iter().map(|&bytes| value(bytes)).collect()
    }
    let bytes = tensor.data();
    match tensor.dtype() {
        Dtype::F16 => Some(each(bytes, |bytes| half::f16::from_le_bytes(bytes).to_f32())),
        Dtype::BF16 => Some(each(bytes, |bytes| half::bf16::from_le_bytes(bytes).to_f32())),
        Dtype::F32 => Some(each(bytes, f32::from_le_bytes)),
        Dtype::F64 => Some(each(bytes, |bytes| f64::from_le_bytes(bytes) as f32)),
        _ => None,
    }
}
