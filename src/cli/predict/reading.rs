//! From what was seen to what is read: one reading for each digit, or for a picture that is taken as a whole.

use super::pictures::{Content, Seen, Trouble};
use mnist_wgpu::doubt::Doubt;
use mnist_wgpu::evaluation::{Verdict, softmax, verdict};
use mnist_wgpu::image::Digit;

/// What the network says of a digit or of a whole picture.
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

/// A picture, and what was read.
pub struct Found {
    pub path: String,
    pub result: Result<Vec<Reading>, Trouble>,
}

/// All samples that the network has to judge, in the order in which [`read`] takes its answers.
pub fn samples(seen: &[Seen]) -> Vec<u8> {
    let mut samples = Vec::new();
    for content in seen.iter().flat_map(|seen| &seen.content) {
        match content {
            Content::Whole(sample) => samples.extend(sample),
            Content::Digits(digits) => {
                let all = digits.iter().flat_map(|digit| std::iter::once(digit).chain(&digit.halves));
                all.for_each(|digit| samples.extend(digit.sample));
            }
        }
    }
    samples
}

/// What was read, by the rows of `logits`, (N, classes), and the doubts about each of them.
pub fn read(seen: Vec<Seen>, logits: &[f32], classes: usize, doubts: Vec<Option<Doubt>>) -> Vec<Found> {
    let mut rows = logits.chunks_exact(classes).zip(doubts);
    let mut next = || rows.next().unwrap_or_default();
    let found = |Seen { path, content }| Found { path, result: content.map(|content| readings(content, &mut next)) };
    seen.into_iter().map(found).collect()
}

/// A row of logits, and the doubt about it.
type Answer<'a> = (&'a [f32], Option<Doubt>);

fn readings<'a>(content: Content, next: &mut impl FnMut() -> Answer<'a>) -> Vec<Reading> {
    let digits = match content {
        Content::Whole(sample) => return vec![Reading::new(sample, None, true, next())],
        Content::Digits(digits) => digits,
    };
    let mut readings = Vec::new();
    for digit in digits {
        let mut of = |digit: &Digit| {
            Reading::new(digit.sample.to_vec(), Some((digit.place, digit.line)), digit.apart, next()) //
        };
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

impl Reading {
    fn new(sample: Vec<u8>, place: Option<([u32; 4], usize)>, apart: bool, (logits, doubt): Answer) -> Self {
        let doubt = match apart {
            true => doubt.map(|doubt| doubt.to_string()),
            false => Some("nothing stands apart as a digit does".into()),
        };
        Self { sample, probabilities: softmax(logits), verdict: verdict(logits), place, doubt }
    }
}
