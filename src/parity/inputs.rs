//! Inputs that hurt, the same on every machine.

use super::compare::{Compared, Mismatch, SENTINEL, close, exact, f64s};

/// Three kinds of input, each of which finds what the others miss.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// Small integers: every sum is exact in f32 in whatever order, so results are compared exactly, and ties are
    /// certain.
    Integers,
    /// All of about the same size: the tightest bounds.
    Even,
    /// Zeros, ties and large values: where absorption and cancellation happen.
    Mixed,
}

pub const KINDS: [Kind; 3] = [Kind::Integers, Kind::Even, Kind::Mixed];

impl Kind {
    pub fn draw(self, stream: u32, len: usize) -> Vec<f32> {
        match self {
            Kind::Integers => (0..len as u32).map(|i| (7.0 * uniform(stream, i)).floor() - 3.0).collect(),
            Kind::Even => (0..len as u32).map(|i| 2.0 * uniform(stream, i) - 1.0).collect(),
            Kind::Mixed => values(stream, len),
        }
    }

    /// Compares sums of `terms` terms of this kind: exactly for integers, else within the bound.
    pub fn compare(
        self,
        what: &str,
        got: &[f32],
        want: &[f64],
        magnitude: &[f64],
        terms: usize,
    ) -> Result<Compared, Mismatch> {
        if self == Kind::Integers {
            let exact_below = f64::from(1 << 24);
            assert!(magnitude.iter().all(|&m| m < exact_below), "{what}: not exact in f32, the check needs smaller inputs");
            if let Some(element) = got.iter().position(|x| x.to_bits() == SENTINEL.to_bits()) {
                return Err(Mismatch::Unwritten { what: what.into(), element });
            }
            return exact(what, &f64s(got), want);
        }
        close(what, got, want, magnitude, terms)
    }
}

/// The hash that `tests/golden/make.py` draws its inputs with, lowbias32.
pub fn hash(x: u32) -> u32 {
    crate::ops::dropout::cpu::hash(x)
}

/// Number `i` of stream `stream`, in [0, 1): the same as in `tests/golden/make.py`.
pub fn uniform(stream: u32, i: u32) -> f32 {
    (hash(i.wrapping_add(hash(stream))) >> 8) as f32 / (1 << 24) as f32
}

/// `start`, each number moved to the next float above or below it: one rounding away. Each `number` is another twin.
pub fn twin(start: &[f32], number: u32) -> Vec<f32> {
    let up = |i: usize| hash(i as u32 ^ hash(number)) & 1 == 0;
    start.iter().enumerate().map(|(i, x)| if up(i) { x.next_up() } else { x.next_down() }).collect()
}

/// `len` values in [-1, 1), with zeros, ties and a few large ones among them.
pub fn values(stream: u32, len: usize) -> Vec<f32> {
    let value = |i: u32| {
        let x = 2.0 * uniform(stream, i) - 1.0;
        match hash(i ^ hash(stream ^ 0x5eed)) % 16 {
            0 => 0.0,
            1..=3 => (x * 4.0).round() / 4.0,
            4 => x * 1e3,
            _ => x,
        }
    };
    (0..len as u32).map(value).collect()
}
