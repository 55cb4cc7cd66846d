//! `eval`: loss and accuracy of a saved network.

use super::dataset::{load, warn_if_synthetic};
use super::device::{self, DeviceArguments};
use super::watch::{self, Bar};
use super::{Failure, print, tell};
use mnist_wgpu::checkpoint::{self, Checkpoint};
use mnist_wgpu::cpu::CpuEngine;
use mnist_wgpu::data::{COLS, Dataset, ROWS};
use mnist_wgpu::engine::{Engine, Set, Settings, State};
use mnist_wgpu::gpu::{GpuEngine, drive};
use mnist_wgpu::metrics::Totals;
use mnist_wgpu::train::{EpochReport, Observer, Progress, TrainError, evaluate};
use std::error::Error;
use std::path::PathBuf;

/// Images per batch: many, since nothing waits for the result. Figures depend on it only by the rounding of f32 sums.
const BATCH_SIZE: usize = 200;

#[derive(clap::Args)]
pub struct Arguments {
    /// A network that `train` saved, or a state_dict that PyTorch saved as safetensors
    checkpoint: PathBuf,

    #[command(flatten)]
    device: DeviceArguments,

    /// Folder with the four MNIST files, gzip or plain [default: $MNIST_DIR, the user's cache folder, a download]
    #[arg(long, value_name = "FOLDER")]
    data_dir: Option<PathBuf>,
}

pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let Checkpoint { model, parameters, info } = checkpoint::load(&arguments.checkpoint)?;
    if model.shapes()[0].0 != [1, ROWS, COLS] {
        let shape = &model.shapes()[0];
        let message = format!("{} takes images of shape {shape}, MNIST's are (1, 28, 28)", arguments.checkpoint.display());
        return Err(Failure::Failed(message.into()));
    }
    watch::catch_interrupts()?;
    let context = device::open(&arguments.device)?;
    let data = load(arguments.data_dir.clone())?;
    if watch::interrupted() {
        return Err(Failure::Interrupted("interrupted".into()));
    }
    match &info {
        Some(info) => {
            let epochs = if info.epoch == 1 { "epoch" } else { "epochs" };
            tell(format_args!("Network: {}, {} {epochs} on {}", arguments.checkpoint.display(), info.epoch, info.dataset));
            if info.dataset != data.name {
                tell(format_args!("         It was trained on {}, and is judged on {}.", info.dataset, data.name));
            }
        }
        None => tell(format_args!(
            "Network: {}, without our metadata: taken as the classic layers",
            arguments.checkpoint.display()
        )),
    }

    let settings = Settings { batch_size: BATCH_SIZE, ..Settings::default() };
    let state = State { velocity: vec![0.0; parameters.len()], parameters };
    let test = match &context {
        Some(context) => {
            let engine = GpuEngine::new(context, &model, &data, settings)?;
            drive::block_on(context, test(engine, &state, &data))
        }
        None => pollster::block_on(test(CpuEngine::new(&model, &data, settings), &state, &data)),
    };
    let test = test.map_err(|error| match error {
        TrainError::Interrupted { .. } => Failure::Interrupted("interrupted".into()),
        TrainError::Diverged { .. } => {
            Failure::Failed("the network's outputs are not finite numbers: it has diverged".into())
        }
        error => error.into(),
    })?;
    print(&format!("Loss on test set:{:.6} Accuracy on test set: {:.6}\n", test.loss(), test.accuracy()))?;
    warn_if_synthetic(&data);
    Ok(())
}

async fn test<E: Engine>(mut engine: E, state: &State, data: &Dataset) -> Result<Totals, TrainError> {
    engine.set_state(state)?;
    let order: Vec<u32> = (0..data.test.len() as u32).collect();
    let mut watcher = Watcher(Bar::new(""));
    let totals = evaluate(&mut engine, Set::Test, &order, BATCH_SIZE, 0, &watch::clock, &mut watcher).await;
    watcher.0.clear();
    totals
}

struct Watcher(Bar);

impl Observer for Watcher {
    fn progress(&mut self, progress: &Progress) {
        self.0.show(progress);
    }

    fn epoch(&mut self, _: &EpochReport, _: &State) -> Result<(), Box<dyn Error + Send + Sync>> {
        Ok(())
    }

    fn stop(&self) -> bool {
        watch::interrupted()
    }
}
