//! Loops over neighbouring elements in the processor's widest vector registers. No code here names an instruction set.

use super::Real;
use std::ops::{Add, Mul, Sub};

/// Runs `work`, compiled once for each set of vector instructions, with the widest that this processor has.
///
/// Otherwise the compiler uses only instructions that every processor of the target has. `work` and all that it calls
/// must be inlined: `#[inline(always)]`. No result depends on the width: the order of additions stays the same, and no
/// multiplication and addition are fused.
#[inline(always)]
pub fn widest<R>(work: impl FnOnce() -> R) -> R {
    pulp::Arch::new().dispatch(work)
}

/// Of [`instructions`] those with fused multiply-add: with any of them the CPU path comes to the same bits.
pub const FUSED: [&str; 3] = ["AVX-512", "AVX2 and FMA", "aarch64"];

/// The vector instructions that [`widest`] and the matrix products use.
pub fn instructions() -> &'static str {
    #[cfg(target_arch = "x86_64")]
    return match () {
        () if pulp::x86::V4::is_available() => FUSED[0],
        () if pulp::x86::V3::is_available() => FUSED[1],
        () => "SSE2",
    };
    #[cfg(not(target_arch = "x86_64"))]
    std::env::consts::ARCH
}

/// `L` neighbouring elements, as one value.
#[derive(Clone, Copy)]
pub struct Lanes<T, const L: usize>(pub [T; L]);

impl<T: Real, const L: usize> Lanes<T, L> {
    /// All of them 0.
    #[inline(always)]
    pub fn zero() -> Self {
        Self([T::zero(); L])
    }

    /// The first `L` elements of `from`.
    #[inline(always)]
    pub fn load(from: &[T]) -> Self {
        let mut lanes = [T::zero(); L];
        lanes.copy_from_slice(&from[..L]);
        Self(lanes)
    }

    /// Those of `a` where the mask is set, those of `b` elsewhere.
    #[inline(always)]
    pub fn choose(mask: [bool; L], a: Self, mut b: Self) -> Self {
        for (l, choice) in mask.into_iter().enumerate() {
            b.0[l] = if choice { a.0[l] } else { b.0[l] };
        }
        b
    }

    /// Writes them to the first `L` elements of `to`.
    #[inline(always)]
    pub fn store(self, to: &mut [T]) {
        to[..L].copy_from_slice(&self.0);
    }
}

impl<T: Real, const L: usize> Add for Lanes<T, L> {
    type Output = Self;
    #[inline(always)]
    fn add(mut self, other: Self) -> Self {
        for l in 0..L {
            self.0[l] += other.0[l];
        }
        self
    }
}

impl<T: Real, const L: usize> Sub for Lanes<T, L> {
    type Output = Self;
    #[inline(always)]
    fn sub(mut self, other: Self) -> Self {
        for l in 0..L {
            self.0[l] -= other.0[l];
        }
        self
    }
}

impl<T: Real, const L: usize> Mul for Lanes<T, L> {
    type Output = Self;
    #[inline(always)]
    fn mul(mut self, other: Self) -> Self {
        for l in 0..L {
            self.0[l] *= other.0[l];
        }
        self
    }
}

impl<T: Real, const L: usize> Mul<T> for Lanes<T, L> {
    type Output = Self;
    #[inline(always)]
    fn mul(mut self, factor: T) -> Self {
        for l in 0..L {
            self.0[l] *= factor;
        }
        self
    }
}
