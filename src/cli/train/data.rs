//! What `train` and `lr-find` learn from.

use super::super::dataset::DataArguments;
use super::super::{Failure, values};
use super::Predecessor;
use mnist_wgpu::sources::{Found, pictures};

#[derive(clap::Args)]
pub struct TrainingData {
    #[command(flatten)]
    pub set: DataArguments,

    /// Make the pictures of a folder N x N pixels, or ROWSxCOLUMNS, from 10 to 256 each [default: what most of them
    /// have, at most 64]
    #[arg(long, value_name = "N|HxW", value_parser = values::size, conflicts_with = "dataset")]
    size: Option<[usize; 2]>,
}

impl TrainingData {
    /// The data set; pictures of one folder are split by `seed`, and read as `predecessor` takes them.
    pub fn load(&self, seed: u64, predecessor: Option<&Predecessor>) -> Result<Found, Failure> {
        let settings = pictures::Settings { size: self.size, ..Predecessor::pictures(predecessor, seed) };
        let mut found = self.set.load(settings)?;
        if let Some(predecessor) = predecessor {
            predecessor.number(&mut found)?;
        }
        let problem = match found.name.as_str() {
            pictures::NAME => return Ok(found),
            pictures::STROKES => "expected none, since the network of `--from` takes strokes on 28x28 pixels; leave it out",
            _ => "expected a folder of pictures by `--data-dir`, found IDX files",
        };
        match self.size {
            Some(_) => Err(Failure::Usage(format!("`--size`: {problem}"))),
            None => Ok(found),
        }
    }
}
