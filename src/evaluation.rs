//! What a network says of each image of a set, and what follows from it: the confusion matrix, precision and recall,
//! and the worst mistakes.

use crate::engine::{Engine, Pass, Set, Work};
use crate::metrics::Totals;
use crate::ops::Real;
use crate::train::{Observer, Progress, TrainError};

/// A set as a network judged it.
#[derive(Clone, Debug, PartialEq)]
pub struct Judged {
    /// Loss and accuracy, from the same kernels as [`crate::train::evaluate`]'s.
    pub totals: Totals,
    /// (images, classes), in the order asked for.
    pub logits: Vec<f32>,
    /// Numbers per image.
    pub classes: usize,
}

/// What the logits of one image say.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Verdict {
    /// The class of the largest logit; the first of equal ones, as `torch.argmax`.
    pub guess: u16,
    /// Its softmax probability.
    pub confidence: f64,
    /// The class of the second largest logit, and its probability; none where there is but one class.
    pub runner_up: Option<(u16, f64)>,
}

/// An image that was taken for something else.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mistake {
    /// Place of the image in the labels that were judged.
    pub place: usize,
    pub truth: u16,
    pub verdict: Verdict,
    /// Cross-entropy of this image: how surprised the network is at the truth.
    pub loss: f64,
}

/// How often each class was taken for each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Confusion {
    classes: usize,
    /// (truth, guess)
    counts: Vec<u64>,
}

/// Judges the images `order` of `set`, every one of them, without dropout. Unlike [`crate::train::evaluate`] it reads
/// the logits of each batch back.
pub async fn judge<E: Engine>(
    engine: &mut E,
    set: Set,
    order: &[u32],
    batch_size: usize,
    observer: &mut dyn Observer,
) -> Result<Judged, TrainError> {
    engine.begin(&Pass::evaluate(set, order))?;
    let batches = Work::Evaluate.batches(order.len(), batch_size);
    let mut totals = Totals::default();
    let (mut logits, mut classes) = (Vec::new(), 0);
    for batch in 0..batches {
        engine.submit(batch..batch + 1)?;
        for metrics in engine.collect().await?.iter().flatten() {
            if metrics.diverged() {
                return Err(TrainError::Diverged { epoch: 0, work: Work::Evaluate, from: batch + 1, to: batch + 1 });
            }
            totals.add(metrics);
        }
        let here = batch_size.min(order.len() - batch * batch_size);
        let rows = engine.logits().await?;
        classes = rows.len() / batch_size;
        logits.extend_from_slice(&rows[..here * classes]);
        observer.progress(&Progress { epoch: 0, work: Work::Evaluate, batches: (batch + 1, batches), totals });
        if observer.stop() {
            return Err(TrainError::Interrupted { epoch: 0 });
        }
    }
    Ok(Judged { totals, logits, classes })
}

/// Softmax probabilities of one image's logits.
pub fn softmax(logits: &[f32]) -> Vec<f64> {
    let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let terms: Vec<f64> = logits.iter().map(|&logit| f64::from(logit - most).exponential()).collect();
    let sum: f64 = terms.iter().sum();
    terms.into_iter().map(|term| term / sum).collect()
}

/// What the logits of one image, at least one, say.
pub fn verdict(logits: &[f32]) -> Verdict {
    let largest = |without: Option<usize>| {
        let others = (0..logits.len()).filter(|&class| Some(class) != without);
        others.reduce(|best, class| if logits[class] > logits[best] { class } else { best })
    };
    let (guess, probabilities) = (largest(None).unwrap_or_default(), softmax(logits));
    let runner_up = largest(Some(guess)).map(|class| (class as u16, probabilities[class]));
    Verdict { guess: guess as u16, confidence: probabilities[guess], runner_up }
}

/// The images judged wrong, the largest loss first, at most `count` of them. `labels` are the truth of each image
/// judged.
///
/// # Panics
/// Where a label is of no class.
pub fn worst_mistakes(judged: &Judged, labels: &[u16], count: usize) -> Vec<Mistake> {
    let rows = judged.logits.chunks_exact(judged.classes.max(1)).zip(labels).enumerate();
    let mut mistakes: Vec<Mistake> = rows
        .map(|(place, (logits, &truth))| {
            let loss = -softmax(logits)[usize::from(truth)].logarithm();
            Mistake { place, truth, verdict: verdict(logits), loss }
        })
        .filter(|mistake| mistake.verdict.guess != mistake.truth)
        .collect();
    mistakes.sort_by(|a, b| b.loss.total_cmp(&a.loss)); // stable: equals stay in order
    mistakes.truncate(count);
    mistakes
}

impl Confusion {
    /// From `counts` (truth, guess).
    ///
    /// # Panics
    /// Unless there are as many counts as pairs of classes.
    pub fn new(classes: usize, counts: Vec<u64>) -> Self {
        assert_eq!(counts.len(), classes * classes, "a count for each pair of {classes} classes");
        Self { classes, counts }
    }

    /// `labels` are the truth of each image judged.
    ///
    /// # Panics
    /// Where a label is of no class.
    pub fn of(judged: &Judged, labels: &[u16]) -> Self {
        let classes = judged.classes;
        let mut counts = vec![0; classes * classes];
        for (logits, &truth) in judged.logits.chunks_exact(classes.max(1)).zip(labels) {
            counts[usize::from(truth) * classes + usize::from(verdict(logits).guess)] += 1;
        }
        Self { classes, counts }
    }

    pub fn classes(&self) -> usize {
        self.classes
    }

    /// How often each class was taken for each: a row for each truth, in it a number for each guess.
    pub fn rows(&self) -> impl Iterator<Item = &[u64]> {
        self.counts.chunks_exact(self.classes.max(1))
    }

    /// Images of class `truth` that were taken for `guess`.
    pub fn count(&self, truth: usize, guess: usize) -> u64 {
        self.counts[truth * self.classes + guess]
    }

    /// Images in all.
    pub fn images(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// All mistakes as (truth, guess, count), the most frequent first.
    pub fn mistakes(&self) -> Vec<(usize, usize, u64)> {
        let places = (0..self.counts.len()).map(|place| (place / self.classes, place % self.classes));
        let all = places.map(|(truth, guess)| (truth, guess, self.count(truth, guess)));
        let mut mistakes: Vec<_> = all.filter(|(truth, guess, count)| truth != guess && *count > 0).collect();
        mistakes.sort_by_key(|&(.., count)| std::cmp::Reverse(count)); // stable: equals stay in order
        mistakes
    }

    /// Images that were taken for `class`.
    fn guessed(&self, class: usize) -> u64 {
        self.rows().map(|guesses| guesses[class]).sum()
    }

    /// Images of class `class`.
    pub fn support(&self, class: usize) -> u64 {
        self.counts[class * self.classes..][..self.classes].iter().sum()
    }

    /// The share of all images that were judged right; none where there is no image.
    pub fn accuracy(&self) -> Option<f64> {
        share((0..self.classes).map(|class| self.count(class, class)).sum(), self.images())
    }

    /// Of the images judged as `class`, the share that is of it; none where no image was judged so.
    pub fn precision(&self, class: usize) -> Option<f64> {
        share(self.count(class, class), self.guessed(class))
    }

    /// Of the images of `class`, the share that was judged so; none where there is no such image.
    pub fn recall(&self, class: usize) -> Option<f64> {
        share(self.count(class, class), self.support(class))
    }

    /// The harmonic mean of precision and recall; none where the class occurs neither as truth nor as guess.
    pub fn f1(&self, class: usize) -> Option<f64> {
        share(2 * self.count(class, class), self.guessed(class) + self.support(class))
    }
}

fn share(part: u64, of: u64) -> Option<f64> {
    (of > 0).then(|| part as f64 / of as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLASSES: usize = 12;

    /// Logits that say each guess with the given certainty.
    fn saying(guesses: &[(usize, f32)]) -> Judged {
        let mut logits = vec![0.0; guesses.len() * CLASSES];
        for (row, &(guess, certainty)) in logits.chunks_exact_mut(CLASSES).zip(guesses) {
            row[guess] = certainty;
        }
        Judged { totals: Totals::default(), logits, classes: CLASSES }
    }

    #[test]
    fn the_first_of_equal_logits_is_the_guess_and_the_next_the_runner_up() {
        let found = verdict(&[1.0, 3.0, 3.0, 0.0]);
        assert_eq!((found.guess, found.runner_up), (1, Some((2, found.confidence))));
        let huge = verdict(&[1e30, -1e30]);
        assert_eq!((huge.guess, huge.confidence, huge.runner_up), (0, 1.0, Some((1, 0.0))));
        assert_eq!(verdict(&[-3.0]), Verdict { guess: 0, confidence: 1.0, runner_up: None }, "one class alone");
    }

    #[test]
    fn precision_recall_and_f1_follow_their_definitions() {
        // Truth 0: twice right, once taken for 1. Truth 1: once right, twice taken for 0.
        let said = saying(&[0, 0, 1, 1, 0, 0].map(|guess| (guess, 2.0)));
        let confusion = Confusion::of(&said, &[0, 0, 0, 1, 1, 1]);
        assert!(confusion.rows().take(2).all(|row| row[..2] == [2, 1]));
        assert_eq!((confusion.images(), confusion.mistakes()), (6, vec![(1, 0, 2), (0, 1, 1)]));
        assert_eq!((confusion.precision(0), confusion.recall(0)), (Some(0.5), Some(2.0 / 3.0)));
        assert_eq!(confusion.f1(0), Some(4.0 / 7.0));
        assert_eq!(confusion.accuracy(), Some(0.5));
        assert_eq!((confusion.precision(11), confusion.recall(11), confusion.f1(11)), (None, None, None));
    }

    #[test]
    fn one_class_alone_is_always_right_and_of_a_thousand_none_is_taken_for_another() {
        let one = Judged { totals: Totals::default(), logits: vec![-3.0; 4], classes: 1 };
        let confusion = Confusion::of(&one, &[0; 4]);
        assert_eq!((confusion.count(0, 0), confusion.accuracy(), confusion.f1(0)), (4, Some(1.0), Some(1.0)));
        assert!(confusion.mistakes().is_empty() && worst_mistakes(&one, &[0; 4], 9).is_empty());

        // Each is taken for the next.
        let (labels, classes): (Vec<u16>, usize) = ((0..1000).collect(), 1000);
        let logits = (0..classes * classes).map(|at| f32::from(at % classes == (at / classes + 1) % classes)).collect();
        let many = Judged { totals: Totals::default(), logits, classes };
        let (confusion, worst) = (Confusion::of(&many, &labels), worst_mistakes(&many, &labels, 2000));
        assert_eq!((confusion.count(999, 0), confusion.count(300, 301), confusion.images()), (1, 1, 1000));
        assert_eq!((confusion.mistakes().len(), worst.len()), (1000, 1000));
        assert!(worst.iter().any(|mistake| (mistake.truth, mistake.verdict.guess) == (998, 999)));
    }

    #[test]
    fn the_worst_mistakes_come_first_and_no_right_guess_is_among_them() {
        let said = saying(&[(3, 1.0), (11, 9.0), (5, 5.0)]);
        let mistakes = worst_mistakes(&said, &[0, 11, 1], 9);
        assert_eq!(mistakes.iter().map(|m| m.place).collect::<Vec<_>>(), [2, 0]);
        assert_eq!((mistakes[0].truth, mistakes[0].verdict.guess), (1, 5));
        assert_eq!(worst_mistakes(&said, &[0, 11, 1], 1).len(), 1);
    }
}
