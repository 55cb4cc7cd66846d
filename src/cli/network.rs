//! A network to use: a file, a run's folder, or the one that is built in; and asking it.

use super::Failure;
use mnist_wgpu::checkpoint::{self, Checkpoint};
use mnist_wgpu::data::Dataset;
use mnist_wgpu::engine::{CpuEngine, Engine, GpuEngine, Set, Settings};
use mnist_wgpu::evaluation::{Judged, judge};
use mnist_wgpu::gpu::{Context, drive};
use mnist_wgpu::run;
use mnist_wgpu::train::{Observer, TrainError};
use std::path::{Path, PathBuf};

/// Trained by this program on MNIST, with its default settings.
const BUILT_IN: &[u8] = include_bytes!("../../assets/mnist-cnn.safetensors");
/// Images per batch: many, since nothing waits for the result. Figures depend on it only by the rounding of f32 sums.
const BATCH_SIZE: usize = 200;
/// What names it as an argument.
const BUILT_IN_NAME: &str = "builtin";

/// A network and where it came from.
pub struct Network {
    pub checkpoint: Checkpoint,
    /// To be told: a path, or "the built-in network".
    pub name: String,
}

impl Network {
    /// The shape of a sample that it takes, (C, H, W).
    pub fn shape(&self) -> [usize; 3] {
        self.checkpoint.model.shapes()[0].image().unwrap_or_default() // a model begins with an image
    }

    /// Checks that the images of `data` are of its shape, and their classes as many as its own.
    pub fn check_fit(&self, data: &Dataset) -> Result<(), Failure> {
        let (name, [c, h, w], [channels, height, width]) = (&self.name, self.shape(), data.shape);
        let (outputs, classes) = (self.checkpoint.model.classes(), data.classes.len());
        if self.shape() != data.shape {
            return Err(Failure::saying(format!(
                "{name} takes images of shape ({c}, {h}, {w}), those of the data set are ({channels}, {height}, {width})"
            )));
        }
        if outputs < classes {
            return Err(Failure::saying(format!("{name} knows {outputs} classes, the data set has {classes}")));
        }
        Ok(())
    }

    /// Judges the images `order` of `set` on the device of `context`, on the CPU without one.
    pub fn judge(
        &self,
        context: Option<&Context>,
        data: &Dataset,
        set: Set,
        order: &[u32],
        observer: &mut dyn Observer,
    ) -> Result<Judged, Failure> {
        let model = &self.checkpoint.model;
        let settings = Settings { batch_size: order.len().clamp(1, BATCH_SIZE), ..Settings::default() };
        let judged = match context {
            Some(context) => {
                let engine = GpuEngine::new(context, model, data, settings)?;
                drive::block_on(context, self.judge_by(engine, set, order, settings.batch_size, observer))
            }
            None => {
                let engine = CpuEngine::new(model, data, settings)?;
                pollster::block_on(self.judge_by(engine, set, order, settings.batch_size, observer))
            }
        };
        judged.map_err(|error| match error {
            TrainError::Interrupted { .. } => Failure::Interrupted("interrupted".into()),
            TrainError::Diverged { .. } => {
                Failure::saying(format!("{}: its outputs are not finite numbers: it has diverged", self.name))
            }
            error => error.into(),
        })
    }

    async fn judge_by<E: Engine>(
        &self,
        mut engine: E,
        set: Set,
        order: &[u32],
        batch_size: usize,
        observer: &mut dyn Observer,
    ) -> Result<Judged, TrainError> {
        engine.set_state(&self.checkpoint.state.network())?;
        judge(&mut engine, set, order, batch_size, observer).await
    }

    /// One line: which network, and what it was trained on.
    pub fn line(&self) -> String {
        match &self.checkpoint.info {
            Some(info) => {
                let epochs = if info.epoch == 1 { "epoch" } else { "epochs" };
                format!("Network: {}, {} {epochs} on {}", self.name, info.epoch, info.dataset)
            }
            None => format!("Network: {}, without our metadata: taken as the classic layers", self.name),
        }
    }
}

/// Loads what `argument` names: `builtin`, a safetensors file, a folder that holds `model.safetensors`, or a file that
/// stands for a link to such a folder. Without an argument the built-in network.
///
/// # Errors
///
/// What cannot be read as a network.
pub fn load(argument: Option<&Path>) -> Result<Network, Failure> {
    let (checkpoint, name) = match argument.filter(|path| path.as_os_str() != BUILT_IN_NAME) {
        None => (checkpoint::read(BUILT_IN)?, "the built-in network".to_string()),
        Some(path) => {
            let file = in_folder(path).unwrap_or_else(|| path.to_path_buf());
            if file.is_dir() {
                let message =
                    format!("expected {} in the folder {}; name a run's folder or a file", run::MODEL, file.display());
                return Err(Failure::saying(message));
            }
            (run::load_network(&file)?, file.display().to_string())
        }
    };
    Ok(Network { checkpoint, name })
}

/// The network in the run's folder `path`.
fn in_folder(path: &Path) -> Option<PathBuf> {
    let folder = run::resolve(path);
    Some(folder.join(run::MODEL)).filter(|file| folder.is_dir() && file.is_file())
}
