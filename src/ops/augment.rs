//! Augmentation: gathers a batch as [`super::gather`] does, each image turned, scaled, sheared and shifted a little, at
//! random. It stands in training where `gather` stands in an evaluation.

use super::dropout;
use super::gather::{Gather, GatherTensors};
use crate::gpu::plan::Dispatch;
use crate::gpu::{GpuError, Planner, Shader};
use crate::shader;
use serde::{Deserialize, Serialize};

pub const SHADER: Shader = shader!("augment");

/// How far images are moved at most, in either direction. Each number is drawn evenly.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Amounts {
    /// In degrees.
    pub rotation: f32,
    /// Share by which a size grows or shrinks.
    pub scale: f32,
    /// Tangent of the angle by which a column leans.
    pub shear: f32,
    /// Share of a side.
    pub shift: f32,
}

impl Default for Amounts {
    fn default() -> Self {
        Self::NONE
    }
}

impl Amounts {
    pub const NONE: Self = Self { rotation: 0.0, scale: 0.0, shear: 0.0, shift: 0.0 };
    /// What handwriting bears.
    pub const USUAL: Self = Self { rotation: 12.0, scale: 0.1, shear: 0.15, shift: 0.1 };

    /// Each amount, its name and the most that it can be.
    pub fn named(&mut self) -> [(&'static str, &mut f32, f32); 4] {
        let Self { rotation, scale, shear, shift } = self;
        [("rotation", rotation, 180.0), ("scale", scale, 0.9), ("shear", shear, 2.0), ("shift", shift, 1.0)]
    }

    /// Whether each is within its bounds.
    pub fn are_sound(mut self) -> bool {
        self.named().into_iter().all(|(_, amount, most)| (0.0..=most).contains(amount))
    }
}

/// Augmentation of (C, H, W) samples.
#[derive(Clone, Debug)]
pub struct Augment {
    pub shape: [usize; 3],
    pub amounts: Amounts,
    pub key: u32,
}

impl Augment {
    /// That of a network trained with `seed`.
    pub fn new(shape: [usize; 3], amounts: Amounts, seed: u64) -> Self {
        Self { shape, amounts, key: dropout::key(seed, u32::MAX) } // as if it were a layer of its own
    }

    /// What is gathered.
    pub fn gather(&self) -> Gather {
        Gather { len: self.shape.iter().product() }
    }

    /// One dispatch, which writes `x` and `targets`. Errors as [`Planner::dispatch`]'s.
    pub fn plan(&self, planner: &mut Planner, t: &GatherTensors) -> Result<(), GpuError> {
        let [channels, height, width] = self.shape;
        let Gather { len } = self.gather();
        let Amounts { rotation, scale, shear, shift } = self.amounts;
        planner.dispatch(Dispatch {
            shader: &SHADER,
            entry: "forward",
            constants: &[
                ("BATCH", t.n as f64),
                ("CHANNELS", channels as f64),
                ("HEIGHT", height as f64),
                ("WIDTH", width as f64),
                ("KEY", self.key.into()),
                ("ROTATION", f64::from(rotation.to_radians())),
                ("SCALE", scale.into()),
                ("SHEAR", shear.into()),
                ("SHIFT", shift.into()),
            ],
            buffers: &[
                ("images", t.images, t.samples * self.gather().words()),
                ("labels", t.labels, t.samples),
                ("order", t.order, t.n),
                ("x", t.x, t.n * len),
                ("targets", t.targets, t.n),
            ],
            invocations: [height * width, t.n, 1],
            flops: 0,
        })?;
        if let Some(step) = planner.steps.last_mut() {
            // Any image may be in the batch, but only n of them are.
            step.bytes = 4 * (t.n * (self.gather().words() + len + 3)) as u64;
        }
        Ok(())
    }
}

pub mod cpu {
    use super::{Amounts, Augment};
    use crate::ops::Real;
    use crate::ops::dropout::cpu::hash;
    use rayon::prelude::*;

    /// Number `which` of a sample in this step, in [-1, 1).
    fn draw<T: Real>(op: &Augment, step: u32, sample: u32, which: u32) -> T {
        let h = hash((sample.wrapping_mul(8).wrapping_add(which)) ^ hash(step.wrapping_add(op.key)));
        T::of(f64::from(h >> 8) / f64::from(1 << 23)) - T::one()
    }

    /// `1 - s / divisors[0] * (1 - s / divisors[1] * (...))`
    fn series<T: Real>(s: T, divisors: &[u32]) -> T {
        divisors.iter().rev().fold(T::one(), |sum, &divisor| T::one() - s / T::of(divisor.into()) * sum)
    }

    /// Where a sample's pixels come from.
    #[derive(Clone, Copy, Debug)]
    pub struct Move<T> {
        /// Cosine and sine of the rotation.
        turned: [T; 2],
        smaller: T,
        shear: T,
        shift: [T; 2],
        middle: [T; 2],
    }

    impl<T: Real> Move<T> {
        /// That of image `sample` in training step `step`.
        pub fn new(op: &Augment, step: u32, sample: u32) -> Self {
            let Amounts { rotation, scale, shear, shift } = op.amounts;
            let [_, height, width] = op.shape.map(|size| T::of(size as f64));
            let of = |amount: f32, which| T::of(amount.into()) * draw::<T>(op, step, sample, which);
            let (half, one) = (T::of(0.5), T::one());
            let angle = half * of(rotation.to_radians(), 0);
            let s = angle * series(angle * angle, &[6, 20, 42, 72, 110]);
            let c = series(angle * angle, &[2, 12, 30, 56, 90, 132]);
            Self {
                turned: [c * c - s * s, (s + s) * c],
                smaller: one / (one + of(scale, 1)),
                shear: of(shear, 2),
                shift: [width * of(shift, 3), height * of(shift, 4)],
                middle: [half * (width - one), half * (height - one)],
            }
        }

        /// The place (x, y) in the image that comes to lie at `row` and `column`, which may be outside.
        pub fn place(&self, row: usize, column: usize) -> [T; 2] {
            let [dx, dy] = [T::of(column as f64) - self.middle[0], T::of(row as f64) - self.middle[1]];
            let (dx, dy) = ((dx + self.shear * dy) * self.smaller, dy * self.smaller);
            let [c, s] = self.turned;
            [c * dx - s * dy + self.middle[0] + self.shift[0], s * dx + c * dy + self.middle[1] + self.shift[1]]
        }
    }

    /// The image `bytes` (C, H, W) as it is seen in training step `step`, of 0 to 1.
    pub fn image<T: Real>(op: &Augment, step: u32, sample: u32, bytes: &[u8], x: &mut [T]) {
        let [_, height, width] = op.shape;
        let moved = Move::<T>::new(op, step, sample);
        let most = [width, height].map(|size| T::of((size - 1) as f64));
        for at in 0..height * width {
            let place = moved.place(at / width, at % width);
            let [px, py] = [0, 1].map(|axis| place[axis].max(T::zero()).min(most[axis]));
            let [left, top] = [px, py].map(|place| place.to_usize().unwrap_or_default());
            let (right, bottom) = ((left + 1).min(width - 1), (top + 1).min(height - 1));
            let (across, down) = (px - T::of(left as f64), py - T::of(top as f64));
            let planes = bytes.chunks_exact(height * width).zip(x.chunks_exact_mut(height * width));
            for (bytes, x) in planes {
                let mixed = |row: usize| {
                    let [left, right] = [left, right].map(|column| T::of(bytes[row * width + column].into()));
                    left + across * (right - left)
                };
                let (upper, lower) = (mixed(top), mixed(bottom));
                x[at] = (upper + down * (lower - upper)) / T::of(255.0);
            }
        }
    }

    /// `x[i]` is image `order[i]`, moved; `targets[i] = labels[order[i]]`
    pub fn forward<T: Real>(
        op: &Augment,
        step: u32,
        images: &[u8],
        labels: &[u16],
        order: &[u32],
        x: &mut [T],
        targets: &mut [u32],
    ) {
        let len = op.gather().len;
        order.par_iter().zip(x.par_chunks_exact_mut(len)).for_each(|(&sample, x)| {
            image(op, step, sample, &images[sample as usize * len..][..len], x);
        });
        order.iter().zip(targets).for_each(|(&sample, target)| *target = labels[sample as usize].into());
    }
}
