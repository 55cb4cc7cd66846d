//! What a network says of each image of a set, and what follows from it: the confusion matrix, precision and recall, and the
//! worst mistakes.

use crate::data::CLASSES;
use crate::engine::{Engine, Set, Work};
use crate::metrics::Totals;
use crate::train::{Observer, Progress, TrainError};

/// A set as a network judged it.
#[derive(Clone, Debug, PartialEq)]
pub struct Judged {
    /// Loss and accuracy, from the same kernels as [`crate::train::evaluate`]'s.
    pub totals: Totals,
    /// (images, CLASSES), in the order asked for.
    pub logits: Vec<f32>,
}

/// What the logits of one image say.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Verdict {
    /// The class of the largest logit; the first of equal ones, as `torch.argmax`.
    pub guess: u8,
    /// Its softmax probability.
    pub confidence: f64,
    /// The class of the second largest logit, and its probability.
    pub runner_up: u8,
    pub runner_up_confidence: f64,
}

/// An image that was taken for something else.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mistake {
    /// Place of the image in the labels that were judged.
    pub place: usize,
    pub truth: u8,
    pub verdict: Verdict,
    /// Cross-entropy of this image: how surprised the network is at the truth.
    pub loss: f64,
}

/// How often each class was taken for each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Confusion {
    /// `counts[truth][guess]`
    pub counts: [[u64; CLASSES]; CLASSES],
}

/// Judges the images `order` of `set`, every one of them, without dropout. Unlike [`crate::train::evaluate`] it reads the logits
/// of each batch back.
pub async fn judge<E: Engine>(
    engine: &mut E,
    set: Set,
    order: &[u32],
    batch_size: usize,
    observer: &mut dyn Observer,
) -> Result<Judged, TrainError> {
    engine.begin(set, Work::Evaluate, order, 0)?;
    let batches = Work::Evaluate.batches(order.len(), batch_size);
    let mut totals = Totals::default();
    let mut logits = Vec::with_capacity(order.len() * CLASSES);
    for batch in 0..batches {
        engine.submit(batch..batch + 1)?;
        for metrics in engine.collect().await?.iter().flatten() {
            if metrics.diverged() {
                return Err(TrainError::Diverged { epoch: 0, from: batch + 1, to: batch + 1 });
            }
            totals.add(metrics);
        }
        let here = batch_size.min(order.len() - batch * batch_size);
        logits.extend_from_slice(&engine.logits().await?[..here * CLASSES]);
        observer.progress(&Progress { epoch: 0, work: Work::Evaluate, batches: (batch + 1, batches), totals });
        if observer.stop() {
            return Err(TrainError::Interrupted { epoch: 0 });
        }
    }
    Ok(Judged { totals, logits })
}

/// Softmax probabilities of one image's logits.
pub fn softmax(logits: &[f32]) -> Vec<f64> {
    let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let terms: Vec<f64> = logits.iter().map(|&logit| f64::from(logit - most).exp()).collect();
    let sum: f64 = terms.iter().sum();
    terms.into_iter().map(|term| term / sum).collect()
}

/// What the logits of one image, at least two, say.
pub fn verdict(logits: &[f32]) -> Verdict {
    let largest = |without: Option<usize>| {
        let others = (0..logits.len()).filter(|&class| Some(class) != without);
        others.reduce(|best, class| if logits[class] > logits[best] { class } else { best }).unwrap_or_default()
    };
    let (guess, probabilities) = (largest(None), softmax(logits));
    let runner_up = largest(Some(guess));
    Verdict {
        guess: guess as u8,
        confidence: probabilities[guess],
        runner_up: runner_up as u8,
        runner_up_confidence: probabilities[runner_up],
    }
}

/// The images judged wrong, the largest loss first, at most `count` of them. `logits` is (labels, CLASSES).
pub fn worst_mistakes(logits: &[f32], labels: &[u8], count: usize) -> Vec<Mistake> {
    let rows = logits.chunks_exact(CLASSES).zip(labels).enumerate();
    let mut mistakes: Vec<Mistake> = rows
        .map(|(place, (logits, &truth))| {
            let loss = -softmax(logits)[usize::from(truth)].ln();
            Mistake { place, truth, verdict: verdict(logits), loss }
        })
        .filter(|mistake| mistake.verdict.guess != mistake.truth)
        .collect();
    mistakes.sort_by(|a, b| b.loss.total_cmp(&a.loss)); // stable: equals stay in order
    mistakes.truncate(count);
    mistakes
}

impl Confusion {
    /// Of `logits` (labels, CLASSES).
    pub fn of(logits: &[f32], labels: &[u8]) -> Self {
        let mut counts = [[0; CLASSES]; CLASSES];
        for (logits, &truth) in logits.chunks_exact(CLASSES).zip(labels) {
            counts[usize::from(truth)][usize::from(verdict(logits).guess)] += 1;
        }
        Self { counts }
    }

    /// Images of class `class`.
    pub fn support(&self, class: usize) -> u64 {
        self.counts[class].iter().sum()
    }

    /// Of all images, the share that was taken for what it is; none where there is no image.
    pub fn accuracy(&self) -> Option<f64> {
        share((0..CLASSES).map(|class| self.counts[class][class]).sum(), self.counts.iter().flatten().sum())
    }

    /// Of the images taken for `class`, the share that was; none where nothing was taken for it.
    pub fn precision(&self, class: usize) -> Option<f64> {
        share(self.counts[class][class], self.counts.iter().map(|guesses| guesses[class]).sum())
    }

    /// Of the images of `class`, the share that was taken for it; none where there is no such image.
    pub fn recall(&self, class: usize) -> Option<f64> {
        share(self.counts[class][class], self.support(class))
    }

    /// The harmonic mean of precision and recall; none where the class occurs neither as truth nor as guess.
    pub fn f1(&self, class: usize) -> Option<f64> {
        let guessed: u64 = self.counts.iter().map(|guesses| guesses[class]).sum();
        share(2 * self.counts[class][class], guessed + self.support(class))
    }
}

fn share(part: u64, of: u64) -> Option<f64> {
    (of > 0).then(|| part as f64 / of as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Logits that say `guess` with the given certainty.
    fn saying(guess: usize, certainty: f32) -> [f32; CLASSES] {
        let mut logits = [0.0; CLASSES];
        logits[guess] = certainty;
        logits
    }

    #[test]
    fn the_first_of_equal_logits_is_the_guess_and_the_next_the_runner_up() {
        let found = verdict(&[1.0, 3.0, 3.0, 0.0]);
        assert_eq!((found.guess, found.runner_up), (1, 2));
        assert_eq!(found.confidence, found.runner_up_confidence);
        let huge = verdict(&[1e30, -1e30]);
        assert_eq!((huge.guess, huge.confidence, huge.runner_up_confidence), (0, 1.0, 0.0));
    }

    #[test]
    fn precision_recall_and_f1_follow_their_definitions() {
        // Truth 0: twice right, once taken for 1. Truth 1: once right, twice taken for 0.
        let said = [0, 0, 1, 1, 0, 0].map(|guess| saying(guess, 2.0)).concat();
        let confusion = Confusion::of(&said, &[0, 0, 0, 1, 1, 1]);
        assert_eq!(confusion.counts[0][..2], [2, 1]);
        assert_eq!(confusion.counts[1][..2], [2, 1]);
        assert_eq!((confusion.precision(0), confusion.recall(0)), (Some(0.5), Some(2.0 / 3.0)));
        assert_eq!(confusion.f1(0), Some(4.0 / 7.0));
        assert_eq!(confusion.accuracy(), Some(0.5));
        assert_eq!((confusion.precision(5), confusion.recall(5), confusion.f1(5)), (None, None, None));
    }

    #[test]
    fn the_worst_mistakes_come_first_and_no_right_guess_is_among_them() {
        let said = [saying(3, 1.0), saying(4, 9.0), saying(5, 5.0)].concat();
        let mistakes = worst_mistakes(&said, &[0, 4, 1], 9);
        assert_eq!(mistakes.iter().map(|m| m.place).collect::<Vec<_>>(), [2, 0]);
        assert_eq!((mistakes[0].truth, mistakes[0].verdict.guess), (1, 5));
        assert_eq!(worst_mistakes(&said, &[0, 4, 1], 1).len(), 1);
    }
}
