//! What the tests of the page in `web/` hold it against: a data set of digits drawn here, as MNIST's four files, and
//! how the CPU path of a native program trains on it.
//!
//! `cargo run --release --example page_reference -- FOLDER` writes the files and `reference.json`.

use mnist_wgpu::data::{Dataset, Images, epoch_order, split, synthetic};
use mnist_wgpu::engine::{CpuEngine, Engine, EngineError, Pass, Settings};
use mnist_wgpu::model::Model;
use mnist_wgpu::parity::compare::EPS;
use mnist_wgpu::parity::inputs::twin;
use mnist_wgpu::state::State;
use serde_json::{Value, json};
use std::error::Error;
use std::path::Path;
use std::{fs, io};

/// As the page draws them: training images, test images, seed.
const DRAWN: (usize, usize, u64) = (6_000, 1_000, 0);
/// Of the training images, those that are written to files, and half as many test images.
const WRITTEN: usize = 640;

const SEED: u64 = 0;
const STEPS: usize = 168; // an epoch of the page
const TWINS: u32 = 32;
const ROUNDINGS: f64 = 48.0;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::args().nth(1).ok_or("expected FOLDER")?;
    let (folder, (train, test, seed)) = (Path::new(&folder), DRAWN);
    fs::create_dir_all(folder)?;
    let all = synthetic(train, test, seed);
    let few = Dataset { train: first(&all.train, WRITTEN), test: first(&all.test, WRITTEN / 2), ..all.clone() };
    write(folder, "train", &few.train)?;
    write(folder, "t10k", &few.test)?;
    Ok(fs::write(folder.join("reference.json"), steps(&all)?.to_string())?)
}

fn first(images: &Images, count: usize) -> Images {
    let len = images.pixels.len() / images.len() * count;
    Images { pixels: images.pixels[..len].to_vec(), labels: images.labels[..count].to_vec() }
}

/// Images and labels as IDX files.
fn write(folder: &Path, name: &str, images: &Images) -> io::Result<()> {
    let header = |code: &[u32]| code.iter().flat_map(|number| number.to_be_bytes()).collect::<Vec<u8>>();
    let count = images.len() as u32;
    let pixels = [header(&[0x803, count, 28, 28]), images.pixels.clone()].concat();
    let labels = [header(&[0x801, count]), images.labels.iter().map(|&label| label as u8).collect()].concat();
    fs::write(folder.join(format!("{name}-images-idx3-ubyte")), pixels)?;
    fs::write(folder.join(format!("{name}-labels-idx1-ubyte")), labels)
}

/// The mean loss of each of the first `STEPS` training steps with the default settings, and how far another path may be
/// from it: `tests/training/paths.rs` explains the bound.
fn steps(data: &Dataset) -> Result<Value, Box<dyn Error>> {
    let model = Model::classic(data.shape, data.classes.len(), 0.5)?;
    let start = model.init(SEED);
    let base = losses(&model, data, &start)?;
    let mut grown = vec![0.0; STEPS];
    for number in 0..TWINS {
        let twin = losses(&model, data, &twin(&start, number))?;
        for (grown, (a, b)) in grown.iter_mut().zip(twin.iter().zip(&base)) {
            *grown = f64::max(*grown, (a - b).abs());
        }
    }
    let mut most = 0.0;
    let bound = |(step, (grown, loss)): (usize, (&f64, &f64))| {
        most = f64::max(most, *grown);
        ROUNDINGS * EPS * loss + (step as f64).sqrt() * most
    };
    let bounds: Vec<f64> = grown.iter().zip(&base).enumerate().map(bound).collect();
    Ok(json!({ "losses": base, "bounds": bounds }))
}

fn losses(model: &Model, data: &Dataset, start: &[f32]) -> Result<Vec<f64>, EngineError> {
    let settings = Settings { seed: SEED, ..Settings::default() };
    let mut engine = CpuEngine::new(model, data, settings)?;
    let order = epoch_order(&split(data.train.len(), 0.1, SEED).train, SEED, 1);
    engine.set_state(&State::from(start.to_vec()))?;
    engine.begin(&Pass::train(&order, 0, &|_| 0.01))?;
    let mut losses = Vec::new();
    while losses.len() < STEPS {
        engine.submit(losses.len()..losses.len() + 1)?;
        let metrics = pollster::block_on(engine.collect())?.unwrap_or_default();
        losses.extend(metrics.iter().map(|batch| f64::from(batch.loss_sum) / f64::from(batch.count)));
    }
    Ok(losses)
}
