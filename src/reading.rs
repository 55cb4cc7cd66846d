//! What is read in a picture: its digits, one by one, or for networks of other samples the whole.
//!
//! ```text
//! picture -> Content (what a network takes of it) -> its logits and the doubts about them -> Readings
//! ```

use crate::doubt::Doubt;
use crate::evaluation::{Verdict, softmax, verdict};
use crate::image::{self, Digit, Fault, Picture};

/// What a network takes of a picture.
pub enum Content {
    /// For networks that take strokes on 28x28 pixels, digits or letters.
    Digits(Vec<Digit>),
    /// For all others: the whole picture, (C, H, W).
    Whole(Vec<u8>),
}

/// What a network says of a digit or of a whole picture.
pub struct Reading {
    /// What it saw: (C, H, W).
    pub sample: Vec<u8>,
    /// Of each class.
    pub probabilities: Vec<f64>,
    pub verdict: Verdict,
    /// Where in the picture, left, top, width and height in its pixels, and in which line; of a whole picture none.
    pub place: Option<([u32; 4], usize)>,
    /// Why the verdict should not be believed.
    pub doubt: Option<String>,
}

/// A row of logits, (classes), and the doubt about it.
pub type Answer<'a> = (&'a [f32], Option<Doubt>);

impl Content {
    /// What a network for samples of shape `shape`, (C, H, W), takes of `picture`: all of it if it takes them `whole`
    /// ([`crate::checkpoint::Checkpoint::takes_whole`]) or no digits of MNIST's shape.
    ///
    /// # Errors
    ///
    /// A picture in which nothing stands out, where the network takes digits.
    pub fn of(picture: &Picture, shape: [usize; 3], whole: bool) -> Result<Self, Fault> {
        Ok(match shape {
            [1, 28, 28] if !whole => Self::Digits(image::digits(picture)?),
            _ => Self::Whole(image::whole(picture, shape)),
        })
    }

    /// All samples that the network has to judge, (N, C, H, W), in the order in which [`Content::readings`] takes its
    /// answers: a wide digit and after it the two that it may be.
    pub fn samples(&self) -> Vec<u8> {
        match self {
            Self::Whole(sample) => sample.clone(),
            Self::Digits(digits) => {
                let all = digits.iter().flat_map(|digit| std::iter::once(digit).chain(&digit.halves));
                all.flat_map(|digit| digit.sample).collect()
            }
        }
    }

    /// What was read, by the network's answers to [`Content::samples`].
    pub fn readings<'a>(self, answers: &mut impl Iterator<Item = Answer<'a>>) -> Vec<Reading> {
        let mut next = || answers.next().unwrap_or_default();
        let digits = match self {
            Self::Whole(sample) => return vec![Reading::new(sample, None, true, next())],
            Self::Digits(digits) => digits,
        };
        let mut readings = Vec::new();
        for digit in digits {
            let mut of =
                |digit: &Digit| Reading::new(digit.sample.to_vec(), Some((digit.place, digit.line)), digit.apart, next());
            let whole = of(&digit);
            let halves: Vec<Reading> = digit.halves.iter().map(of).collect();
            // Two that touch: each is clear, and together they are not.
            let touch = !halves.is_empty() && whole.doubt.is_some() && halves.iter().all(|half| half.doubt.is_none());
            match touch {
                true => readings.extend(halves),
                false => readings.push(whole),
            }
        }
        readings
    }
}

impl Reading {
    fn new(sample: Vec<u8>, place: Option<([u32; 4], usize)>, apart: bool, (logits, doubt): Answer) -> Self {
        let doubt = match apart {
            true => doubt.map(|doubt| doubt.to_string()),
            false => Some("nothing stands apart as a digit does".into()),
        };
        Self { sample, probabilities: softmax(logits), verdict: verdict(logits), place, doubt }
    }
}
