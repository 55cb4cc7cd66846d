//! A network to use: a file, a run's folder, or the one that is built in; and asking it.

use super::{Failure, values};
use mnist_wgpu::checkpoint::{self, Checkpoint};
use mnist_wgpu::data::Dataset;
use mnist_wgpu::engine::{CpuEngine, Engine, GpuEngine, Set, Settings};
use mnist_wgpu::evaluation::{Judged, judge};
use mnist_wgpu::gpu::{Context, drive};
use mnist_wgpu::normalisation::Normalisation;
use mnist_wgpu::run::{self, RunError};
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
        let batch_size = model.batch_within_bounds(order.len().min(BATCH_SIZE));
        let settings = Settings { batch_size, ..Settings::default() };
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

    /// One line: which network, what it was trained on, and what is assumed of it.
    pub fn line(&self) -> String {
        let what = match &self.checkpoint.info {
            Some(info) => {
                let epochs = if info.epoch == 1 { "epoch" } else { "epochs" };
                format!("{} {epochs} on {}", info.epoch, info.dataset)
            }
            None => "without our metadata: taken as the classic layers".into(),
        };
        let takes = match (&self.checkpoint.normalisation, &self.checkpoint.info) {
            (Some(normalisation), _) => format!(", trained on {normalisation}"),
            (None, None) => format!(", trained on {}; if not, give --mean and --std", checkpoint::NORMALISATION),
            (None, Some(_)) => String::new(),
        };
        format!("Network: {}, {what}{takes}", self.name)
    }
}

/// What was done to the pixels that a network was trained on.
#[derive(clap::Args, Default)]
pub struct PixelArguments {
    /// Mean of the pixels / 255 that was subtracted in training, as torchvision's Normalize does: one number, or one
    /// for each channel (0.5,0.4,0.4) [default: what the file says, else 0]
    #[arg(long, requires = "std", value_delimiter = ',', value_parser = values::finite, allow_negative_numbers = true)]
    mean: Vec<f64>,

    /// Standard deviation by which they were divided then [default: what the file says, else 1]
    #[arg(long, requires = "mean", value_delimiter = ',', value_parser = values::positive, allow_negative_numbers = true)]
    std: Vec<f64>,
}

/// Loads what `argument` names: `builtin`, a safetensors file, a folder that holds `model.safetensors`, or in its place
/// `last.safetensors`, or a file that stands for a link to such a folder. Without an argument the built-in network.
///
/// # Errors
///
/// What cannot be read as a network, or is one whose numbers are broken.
pub fn load(argument: Option<&Path>, pixels: &PixelArguments) -> Result<Network, Failure> {
    let normalisation = match pixels.mean.is_empty() {
        true => None,
        false => Some(Normalisation::new(pixels.mean.clone(), pixels.std.clone())?),
    };
    let (checkpoint, name) = match argument.filter(|path| path.as_os_str() != BUILT_IN_NAME) {
        None => (checkpoint::read_normalised(BUILT_IN, normalisation)?, "the built-in network".to_string()),
        Some(path) => {
            let file = file(path)?;
            let advise = |error| match error {
                RunError::ReadNetwork { .. } => {
                    Failure::saying(format!("{error}; expected a run's folder, a safetensors file, or `{BUILT_IN_NAME}`"))
                }
                error => error.into(),
            };
            (run::load_normalised(&file, normalisation).map_err(advise)?, file.display().to_string())
        }
    };
    let by = if pixels.mean.is_empty() { "" } else { ", with this --mean and --std" };
    checkpoint.check_finite().map_err(|error| Failure::saying(format!("{name}{by}: {error}")))?;
    Ok(Network { checkpoint, name })
}

/// The file of the network that `path` names.
fn file(path: &Path) -> Result<PathBuf, Failure> {
    let target = run::resolve(path);
    let link = path.read_link().ok().or_else(|| (target != path).then(|| target.clone()));
    if let Some(link) = link.filter(|_| !target.exists()) {
        return Err(Failure::saying(format!(
            "{} points at {}, which is not there; name another run, or a safetensors file",
            path.display(),
            link.display()
        )));
    }
    if !target.is_dir() {
        return Ok(path.into());
    }
    // A run that was interrupted before the end of its first epoch has no best network yet.
    let files = [run::MODEL, run::LAST].map(|name| target.join(name));
    files.into_iter().find(|file| file.is_file()).ok_or_else(|| {
        let path = path.display();
        Failure::saying(format!("expected {} in the folder {path}; name a run's folder or a file", run::MODEL))
    })
}
