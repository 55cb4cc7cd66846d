//! What a run's network said of the test images: the end of a run, for programs.

use super::{Run, RunError};
use crate::evaluation::{Confusion, Judged};
use crate::files;
use serde::{Deserialize, Serialize};
use std::io::ErrorKind;

/// A [`Tested`], as JSON.
pub const TEST: &str = "test.json";

/// How the network that a run keeps judged the test images. Fields keep their names and units from version to version.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tested {
    /// Epochs that the run had by then.
    pub epochs: u32,
    /// The epoch whose network it is: the best by validation.
    pub epoch: u32,
    /// Test images.
    pub images: u64,
    /// Mean cross-entropy.
    pub loss: f64,
    /// Share judged right, in [0, 1].
    pub accuracy: f64,
    /// The classes' names.
    pub classes: Vec<String>,
    /// `confusion[truth][guess]`: images.
    pub confusion: Vec<Vec<u64>>,
}

impl Tested {
    /// Of the images with the given `labels`, after `epochs` epochs.
    ///
    /// # Panics
    /// Where a label is of no class.
    pub fn new(epochs: u32, epoch: u32, classes: &[String], judged: &Judged, labels: &[u16]) -> Self {
        Self {
            epochs,
            epoch,
            images: judged.totals.count(),
            loss: judged.totals.loss(),
            accuracy: judged.totals.accuracy(),
            classes: classes.to_vec(),
            confusion: Confusion::of(judged, labels).rows().map(<[u64]>::to_vec).collect(),
        }
    }

    pub fn confusion(&self) -> Confusion {
        Confusion::new(self.classes.len(), self.confusion.concat())
    }

    /// Whether there is a count for each pair of classes, and they are as many as the images, which no data set has
    /// 2^31 of.
    fn is_whole(&self) -> bool {
        let classes = self.classes.len();
        let mut counts = self.confusion.iter().flatten();
        self.confusion.len() == classes
            && self.confusion.iter().all(|row| row.len() == classes)
            && counts.try_fold(0u64, |sum, count| sum.checked_add(*count)) == Some(self.images)
            && self.images < 1 << 31
    }
}

impl Run {
    pub fn write_tested(&self, tested: &Tested) -> Result<(), RunError> {
        match serde_json::to_string(tested) {
            Ok(text) => self.write(TEST, (text + "\n").as_bytes()),
            Err(error) => Err(RunError::Content { path: self.path(TEST), problem: error.to_string() }),
        }
    }

    /// None where the run has not come to its end yet, or was made by a version that did not write it.
    pub fn tested(&self) -> Result<Option<Tested>, RunError> {
        let path = self.path(TEST);
        let text = match files::read(&path, files::LARGEST_TEXT) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            read => read.map_err(|source| RunError::Read { path: path.clone(), source })?,
        };
        let tested: Result<Tested, _> = serde_json::from_slice(&text);
        match tested.map_err(|error| error.to_string()) {
            Ok(tested) if tested.is_whole() => Ok(Some(tested)),
            Ok(Tested { images, .. }) => {
                let problem = format!("expected a count for each pair of classes, {images} in all");
                Err(RunError::Content { path, problem })
            }
            Err(problem) => Err(RunError::Content { path, problem }),
        }
    }
}
