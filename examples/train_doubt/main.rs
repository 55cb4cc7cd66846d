//! Trains the small network by which `doubt` tells digits from other things: eleven classes, the ten digits and "none".
//! `cargo run --release --example train_doubt -- assets/doubt.safetensors`, with MNIST where the program finds it. A
//! file that is there already is only measured.
//!
//! It learns from MNIST's training images, from synthetic digits (so that "drawn by a program" does not come to mean
//! "no digit") and from drawings of other things. The validation images are those of the built-in network: neither has
//! seen them, so the threshold can be read off them. MNIST's test images are only measured.

mod outliers;

use mnist_wgpu::checkpoint::{self, Checkpoint, Info};
use mnist_wgpu::data::{self, Dataset, Images, Split, split, synthetic};
use mnist_wgpu::doubt::CONFIDENT;
use mnist_wgpu::engine::{CpuEngine, Engine, Set, Settings};
use mnist_wgpu::evaluation::{judge, softmax, verdict};
use mnist_wgpu::model::Model;
use mnist_wgpu::ops::{Layer, conv2d, linear, maxpool2d};
use mnist_wgpu::schedule::Schedule;
use mnist_wgpu::sources::{Named, Sources, load};
use mnist_wgpu::state::State;
use mnist_wgpu::train::{self, EpochReport, Observer, Options, Position};
use std::error::Error;
use std::time::Instant;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const SEED: u64 = 19;
/// What is added to train with: digits varied, digits drawn, and other things.
const VARIED: usize = 108_000;
const SYNTHETIC: usize = 20_000;
const OUTLIERS: usize = 120_000;
/// Up to which epoch to train at which learning rate.
const SCHEDULE: [(u32, f64); 3] = [(7, 0.02), (10, 0.005), (12, 0.001)];
/// Share of the validation images that may be doubted.
const DOUBTED: f64 = 0.015;
const BATCH_SIZE: usize = 64;

fn main() -> Result<()> {
    let path = std::env::args().nth(1).ok_or("usage: train_doubt FILE.safetensors")?;
    let folder = std::env::var_os("MNIST_DIR").map(|path| Named { by: "MNIST_DIR".into(), path: path.into() });
    let found = load(&Sources::of_user(folder), &mut |_| ())?;
    if found.name != "mnist" {
        return Err("expected MNIST, found another data set; set MNIST_DIR to a folder with it".into());
    }
    let mnist = found.dataset;
    let main = checkpoint::read(include_bytes!("../../assets/mnist-cnn.safetensors"))?;
    let Info { seed, val_fraction, .. } = *main.info.as_ref().ok_or("the built-in network does not tell its split")?;
    let parts = split(mnist.train.len(), val_fraction, seed);

    if !std::fs::exists(&path)? {
        let began = Instant::now();
        let file = train(&mnist, &parts, val_fraction)?;
        println!("drawn and trained in {:.0?}", began.elapsed());
        std::fs::write(&path, file)?;
    }
    let doubt = checkpoint::read(&std::fs::read(&path)?)?;

    // What the second network gives to the first one's guess, and 0 where the first is unsure itself.
    let trust = |images: Images| -> Result<Vec<f64>> {
        let (first, second) = (logits(&main, &images)?, logits(&doubt, &images)?);
        let trust = |(first, second)| match verdict(first) {
            sure if sure.confidence >= CONFIDENT => softmax(second)[usize::from(sure.guess)],
            _ => 0.0,
        };
        Ok(first.chunks_exact(10).zip(second.chunks_exact(11)).map(trust).collect())
    };
    let mut validated = trust(chosen(&mnist.train, &parts.val))?;
    validated.sort_by(f64::total_cmp);
    let tau = validated[(validated.len() as f64 * DOUBTED) as usize];
    let doubted = |trust: &[f64]| trust.iter().filter(|&&trust| trust < tau).count() as f64 / trust.len() as f64;
    println!("threshold {tau:.4}: doubts {:.2}% of the validation images", 100.0 * doubted(&validated));
    println!("{:.2}% of the test images", 100.0 * doubted(&trust(mnist.test.clone())?));
    let varied = outliers::vary(&mnist.train, &parts.val, parts.val.len(), SEED + 4);
    println!("{:.2}% of the validation images, varied", 100.0 * doubted(&trust(varied)?));
    let synthetic = synthetic(0, 2_000, SEED + 1).test;
    println!("{:.2}% of the synthetic digits", 100.0 * doubted(&trust(synthetic)?));
    let others = trust(others(&mnist, &parts, 5_000, SEED + 1))?;
    for kind in outliers::Kind::ALL {
        let of_kind = others.iter().enumerate().filter(|(place, _)| outliers::kind(*place) == kind);
        println!("{:.2}% of {kind:?}", 100.0 * doubted(&of_kind.map(|(_, &trust)| trust).collect::<Vec<_>>()));
    }
    Ok(())
}

fn classes() -> Vec<String> {
    data::digits().into_iter().chain(["none".into()]).collect()
}

fn chosen(images: &Images, order: &[u32]) -> Images {
    let pixels = order.iter().flat_map(|&index| &images.pixels[index as usize * outliers::PIXELS..][..outliers::PIXELS]);
    let labels = order.iter().map(|&index| images.labels[index as usize]);
    Images { pixels: pixels.copied().collect(), labels: labels.collect() }
}

/// `count` drawings of other things, some made of the training images.
fn others(mnist: &Dataset, parts: &Split, count: usize, seed: u64) -> Images {
    Images { pixels: outliers::draw(&mnist.train, &parts.train, count, seed), labels: vec![10; count] }
}

/// The file of the network, trained.
fn train(mnist: &Dataset, parts: &Split, val_fraction: f64) -> Result<Vec<u8>> {
    // Those to validate with lie at the end.
    let (val, val_others) = (chosen(&mnist.train, &parts.val), others(mnist, parts, 5_000, SEED + 2));
    let varied = outliers::vary(&mnist.train, &parts.train, VARIED, SEED + 3);
    let drawn = [varied, synthetic(SYNTHETIC, 0, SEED).train, others(mnist, parts, OUTLIERS, SEED), val, val_others];
    let mut images = chosen(&mnist.train, &parts.train);
    for more in &drawn {
        images.pixels.extend_from_slice(&more.pixels);
        images.labels.extend_from_slice(&more.labels);
    }
    let all: Vec<u32> = (0..images.len() as u32).collect();
    let (train, val) = all.split_at(all.len() - drawn[3].len() - drawn[4].len());
    let parts = Split { train: train.to_vec(), val: val.to_vec() };
    let data = Dataset::new(mnist.shape, classes(), images, Images::default())?;

    let conv = |out| Layer::Conv2d(conv2d::Settings { out, kernel: 3, padding: 0, stride: 1 });
    let pool = || Layer::MaxPool2d(maxpool2d::Settings { size: 2 });
    let linear = |out| Layer::Linear(linear::Settings { out });
    let mut layers = vec![conv(16), Layer::Relu, pool(), conv(32), Layer::Relu, pool(), conv(32), Layer::Relu];
    layers.extend([Layer::Flatten, linear(40), Layer::Relu, linear(11)]);
    let model = Model::new(mnist.shape, layers, 11)?;

    let mut engine = CpuEngine::new(&model, &data, Settings { batch_size: BATCH_SIZE, ..Settings::default() })?;
    engine.set_state(&State::new(&model, SEED))?;
    let (start, mut position) = (Instant::now(), Position::default());
    for (epochs, learning_rate) in SCHEDULE {
        let options = Options {
            batch_size: BATCH_SIZE,
            epochs,
            seed: SEED,
            schedule: Schedule::constant(learning_rate),
            checkpoint_every: None,
        };
        let clock = || start.elapsed();
        pollster::block_on(train::fit(&mut engine, &parts, &options, &position, &clock, &mut Print))?;
        position.epochs = epochs;
    }
    let info = Info {
        input: mnist.shape,
        layers: model.layers().to_vec(),
        classes: classes(),
        normalisation: checkpoint::NORMALISATION.into(),
        dataset: "mnist and drawings".into(),
        epoch: position.epochs,
        seed: SEED,
        val_fraction,
        version: env!("CARGO_PKG_VERSION").into(),
    };
    let state = pollster::block_on(engine.state())?.network();
    Ok(checkpoint::write(&model, &state, &info, None, &[])?)
}

/// Prints a line for each epoch.
struct Print;

impl Observer for Print {
    fn epoch(&mut self, report: &EpochReport, _: &State) -> std::result::Result<(), Box<dyn Error + Send + Sync>> {
        let EpochReport { epoch, train, val, train_seconds, .. } = report;
        println!("epoch {epoch}: {:.4} / {:.4}, {train_seconds:.0} s", train.accuracy(), val.accuracy());
        Ok(())
    }
}

/// What a network says of each image: (N, classes).
fn logits(network: &Checkpoint, images: &Images) -> Result<Vec<f32>> {
    let test = Images { pixels: images.pixels.clone(), labels: vec![0; images.len()] };
    let classes = (0..network.model.classes()).map(|class| class.to_string()).collect();
    let data = Dataset::new([1, 28, 28], classes, Images::default(), test)?;
    let mut engine = CpuEngine::new(&network.model, &data, Settings { batch_size: 200, ..Settings::default() })?;
    engine.set_state(&network.state.network())?;
    let all: Vec<u32> = (0..images.len() as u32).collect();
    Ok(pollster::block_on(judge(&mut engine, Set::Test, &all, 200, &mut ()))?.logits)
}
