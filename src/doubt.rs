//! Whether to believe a reading. A network of ten digits calls everything a digit, most things with much confidence: a
//! letter, a face, a wall. So of each sample a second, small network is asked, one that has also seen other things.
//!
//! ```text
//! sample -> network of ten digits -> its guess
//!        -> network of eleven, ten digits and "none" -> how likely that guess is, or else what it takes it for
//! ```
//!
//! `examples/train_doubt` made the second network and says where its threshold comes from. `tests/doubt.rs` counts how
//! much of MNIST is doubted, and how much that is no digit is not.

use crate::checkpoint::{self, CheckpointError};
use crate::data::{self, Dataset, Images};
use crate::engine::{CpuEngine, Engine, Set, Settings};
use crate::evaluation::{judge, softmax, verdict};
use crate::train::TrainError;
use std::fmt;

/// Eleven classes: the ten digits, and what is none.
const NETWORK: &[u8] = include_bytes!("../assets/doubt.safetensors");
/// The samples that it takes, (C, H, W).
const SHAPE: [usize; 3] = [1, 28, 28];
/// The class of what is no digit.
const NONE: usize = 10;
/// A guess to which the second network gives less than this is doubted. 1.5% of MNIST's validation images are, together
/// with those of too little confidence.
const LIKELY: f64 = 0.41;
/// A guess of less confidence than this is doubted: another class is near.
pub const CONFIDENT: f64 = 0.6;
/// Samples that the second network takes at once.
const BATCH_SIZE: usize = 200;

/// Why a reading is not to be believed. Its text ends a sentence such as "in doubt: ...".
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// The sample is like nothing that the network knows.
    NoDigit,
    /// It can be read as either of two classes, which are named: the guess first.
    Near(String, String),
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Doubt::NoDigit => f.write_str("not like the digits the network knows"),
            Doubt::Near(guess, other) => write!(f, "{guess} and {other} are near"),
        }
    }
}

/// Why nothing can be said of a reading.
#[derive(Debug, thiserror::Error)]
pub enum DoubtError {
    #[error("{samples} bytes and {logits} logits are not one sample of shape {shape:?} and {classes} logits each")]
    Count { samples: usize, logits: usize, shape: [usize; 3], classes: usize },

    #[error("the network that tells digits from other things: {0}")]
    Network(#[from] CheckpointError),

    #[error("the network that tells digits from other things: {0}")]
    Run(#[from] TrainError),
}

/// The doubt about each of `samples`, (N, C, H, W) with `shape` (C, H, W), of which a network of `classes` said
/// `logits`, (N, classes). Where the classes are the ten digits and the samples 28x28, the second network is asked, on
/// the CPU; of other networks only little confidence is doubted.
///
/// # Errors
///
/// Samples and logits of different numbers.
pub async fn doubts(
    samples: &[u8],
    shape: [usize; 3],
    logits: &[f32],
    classes: &[String],
) -> Result<Vec<Option<Doubt>>, DoubtError> {
    let (len, outputs) = (shape.iter().product::<usize>().max(1), classes.len().max(1));
    if !samples.len().is_multiple_of(len)
        || !logits.len().is_multiple_of(outputs)
        || samples.len() / len != logits.len() / outputs
    {
        return Err(DoubtError::Count { samples: samples.len(), logits: logits.len(), shape, classes: classes.len() });
    }
    let rows = logits.chunks_exact(outputs);
    if shape != SHAPE || classes != data::digits() {
        return Ok(rows.map(|row| unsure(row, classes)).collect());
    }
    let second = ask(samples).await?;
    let both = rows.zip(second.chunks_exact(NONE + 1));
    Ok(both.map(|(row, second)| unsure(row, classes).or_else(|| unlikely(row, second, classes))).collect())
}

/// The doubt that a network's own logits raise, (N, classes), whatever its samples are.
pub fn own_doubts(logits: &[f32], classes: &[String]) -> Vec<Option<Doubt>> {
    logits.chunks_exact(classes.len().max(1)).map(|row| unsure(row, classes)).collect()
}

fn unsure(logits: &[f32], classes: &[String]) -> Option<Doubt> {
    let verdict = verdict(logits);
    let (other, _) = verdict.runner_up.filter(|_| verdict.confidence < CONFIDENT)?;
    Some(Doubt::Near(classes[usize::from(verdict.guess)].clone(), classes[usize::from(other)].clone()))
}

/// The doubt of the second network about the first one's guess.
fn unlikely(logits: &[f32], second: &[f32], classes: &[String]) -> Option<Doubt> {
    let guess = usize::from(verdict(logits).guess);
    if softmax(second)[guess] >= LIKELY {
        return None;
    }
    match usize::from(verdict(second).guess) {
        other if other != NONE && other != guess => Some(Doubt::Near(classes[guess].clone(), classes[other].clone())),
        _ => Some(Doubt::NoDigit),
    }
}

/// What the second network says of each sample: (N, 11).
async fn ask(samples: &[u8]) -> Result<Vec<f32>, DoubtError> {
    let network = checkpoint::read(NETWORK)?;
    let count = samples.len() / SHAPE.iter().product::<usize>();
    if count == 0 {
        return Ok(Vec::new());
    }
    let test = Images { pixels: samples.to_vec(), labels: vec![0; count] }; // what it is nobody knows
    let data = Dataset { shape: SHAPE, classes: network.classes(), train: Images::default(), test };
    let batch_size = count.min(BATCH_SIZE);
    let settings = Settings { batch_size, ..Settings::default() };
    let mut engine = CpuEngine::new(&network.model, &data, settings).map_err(TrainError::from)?;
    engine.set_state(&network.state.network()).map_err(TrainError::from)?;
    let order: Vec<u32> = (0..count as u32).collect();
    Ok(judge(&mut engine, Set::Test, &order, batch_size, &mut ()).await?.logits)
}
