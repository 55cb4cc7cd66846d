//! Beginning with another network's weights (`--from`).

use crate::cli::dataset::number_as;
use crate::cli::network::{self, Network, PixelArguments};
use crate::cli::output::note;
use crate::cli::{Failure, thousands};
use mnist_wgpu::data::Dataset;
use mnist_wgpu::layers;
use mnist_wgpu::model::Model;
use mnist_wgpu::ops::Layer;
use mnist_wgpu::sources::{Found, pictures};
use mnist_wgpu::state::{Role, State};
use std::path::Path;

/// The network that a run begins with.
pub struct Predecessor(Network);

impl Predecessor {
    pub fn load(path: &Path) -> Result<Self, Failure> {
        Ok(Self(network::load(Some(path), &PixelArguments::default())?))
    }

    /// Its layers as text; the last has as many outputs as there will be classes.
    pub fn layers(&self) -> String {
        let layers = self.0.checkpoint.model.layers();
        match layers.split_last() {
            Some((Layer::Linear(_), others)) => layers::text(others) + ", linear",
            _ => layers::text(layers),
        }
    }

    /// How the pictures of a folder are read: as strokes if the network takes such, else as they are.
    pub fn pictures(predecessor: Option<&Self>, seed: u64) -> pictures::Settings {
        let strokes = predecessor.is_some_and(|predecessor| predecessor.0.checkpoint.takes_strokes());
        pictures::Settings { seed, strokes, ..pictures::Settings::default() }
    }

    /// Numbers the classes of a data set as the network does, if it knows all of them by name.
    pub fn number(&self, found: &mut Found) -> Result<(), Failure> {
        let classes = self.0.checkpoint.classes();
        let known = found.dataset.classes.iter().all(|name| classes.contains(name));
        if known { number_as(&classes, found) } else { Ok(()) }
    }

    /// Its numbers in `model`, for the classes of `data`. Where the classes are others the last layer begins anew.
    pub fn state(&self, model: &Model, data: &Dataset, seed: u64) -> Result<State, Failure> {
        let Network { checkpoint, name } = &self.0;
        let ([c, h, w], [channels, height, width]) = (self.0.shape(), data.shape);
        if self.0.shape() != data.shape {
            return Err(Failure::saying(format!(
                "`--from`: {name} takes images of shape ({c}, {h}, {w}), those of the data set are ({channels}, {height}, \
                 {width}); begin with another network"
            )));
        }
        let same_classes = checkpoint.classes() == data.classes;
        let last = model.parameters().iter().map(|parameter| parameter.layer).max();
        let (mut state, from) = (State::new(model, seed), checkpoint.state.network());
        let mut taken = 0;
        for (role, arena) in &mut state.arenas {
            let Some(values) = from.get(*role) else { continue };
            for tensor in role.tensors(model).iter().filter(|tensor| same_classes || Some(tensor.layer) != last) {
                let theirs = role.tensors(&checkpoint.model).iter().find(|theirs| theirs.name == tensor.name);
                let Some(theirs) = theirs.filter(|theirs| theirs.shape == tensor.shape) else { continue };
                arena[tensor.range.clone()].copy_from_slice(&values[theirs.range.clone()]);
                taken += if *role == Role::Parameters { tensor.range.len() } else { 0 };
            }
        }
        let all = thousands(model.parameter_count());
        let anew = if same_classes { "" } else { "; its last layer begins anew, since the classes are others" };
        note(format_args!("Begins with {} of {all} parameters of {name}{anew}.", thousands(taken)));
        Ok(state)
    }
}

/// Refuses to freeze all layers that could be trained.
pub fn check_freeze(model: &Model, freeze: u32) -> Result<(), Failure> {
    let last = model.parameters().iter().map(|parameter| parameter.layer).max().unwrap_or_default();
    match freeze as usize <= last {
        true => Ok(()),
        false => Err(Failure::Usage(format!("`--freeze {freeze}`: expected at most {last}, or nothing is left to train"))),
    }
}
