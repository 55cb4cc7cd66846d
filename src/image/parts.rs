//! Inked pixels that touch, and their shape.

use super::Plane;
use std::ops::RangeInclusive;

/// A rectangle of pixels; right and bottom lie outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    pub left: usize,
    pub top: usize,
    pub right: usize,
    pub bottom: usize,
}

impl Frame {
    pub fn width(&self) -> usize {
        self.right - self.left
    }

    pub fn height(&self) -> usize {
        self.bottom - self.top
    }

    pub fn longer(&self) -> usize {
        self.width().max(self.height())
    }

    pub fn area(&self) -> usize {
        self.width() * self.height()
    }

    /// Around both.
    pub fn with(&self, other: &Self) -> Self {
        Self {
            left: self.left.min(other.left),
            top: self.top.min(other.top),
            right: self.right.max(other.right),
            bottom: self.bottom.max(other.bottom),
        }
    }

    /// `margin` larger on each side, within a picture of `width` x `height`.
    pub fn grown(&self, margin: usize, [width, height]: [usize; 2]) -> Self {
        Self {
            left: self.left.saturating_sub(margin),
            top: self.top.saturating_sub(margin),
            right: (self.right + margin).min(width),
            bottom: (self.bottom + margin).min(height),
        }
    }

    /// Whether `other` lies within, and touches no side.
    pub fn holds(&self, other: &Self) -> bool {
        self.left < other.left && other.right < self.right && self.top < other.top && other.bottom < self.bottom
    }

    /// Columns and rows of what both cover; negative: how far they are apart.
    pub fn overlap(&self, other: &Self) -> [isize; 2] {
        let along = |from: usize, to: usize| to as isize - from as isize;
        [
            along(self.left.max(other.left), self.right.min(other.right)),
            along(self.top.max(other.top), self.bottom.min(other.bottom)),
        ]
    }
}

/// Pixels that touch, be it at a corner, and that are all inked more than `level`.
pub(super) struct Part {
    pub frame: Frame,
    /// Indices into the plane.
    pub places: Vec<usize>,
    pub level: f32,
    /// Whether the ink that touches at a lower level is more than these.
    pub raised: bool,
}

/// Divides a plane into its parts, and parts into those of a higher level.
pub(super) struct Divider<'a> {
    plane: &'a Plane,
    /// For each pixel the number of the part that it was last found in, 0 at first.
    part_of: Vec<u32>,
    parts: u32,
}

impl<'a> Divider<'a> {
    pub fn new(plane: &'a Plane) -> Self {
        Self { plane, part_of: vec![0; plane.values.len()], parts: 0 }
    }

    /// The parts of the pixels `places` that are inked more than `level`. Those pixels are the latest part that each of
    /// them was found in.
    pub fn divide(&mut self, places: &[usize], level: f32) -> Vec<Part> {
        let Some(&first) = places.first() else { return Vec::new() };
        let (Plane { width, height, values }, whole) = (self.plane, self.part_of[first]);
        let mut parts = Vec::new();
        for &start in places {
            if self.part_of[start] != whole || values[start] <= level {
                continue;
            }
            self.parts += 1;
            self.part_of[start] = self.parts;
            let (mut found, mut done) = (vec![start], 0);
            let mut frame = Frame { left: *width, top: *height, right: 0, bottom: 0 };
            while let Some(&place) = found.get(done) {
                done += 1;
                let (x, y) = (place % width, place / width);
                frame = frame.with(&Frame { left: x, top: y, right: x + 1, bottom: y + 1 });
                for y in y.saturating_sub(1)..(y + 2).min(*height) {
                    for x in x.saturating_sub(1)..(x + 2).min(*width) {
                        let near = y * width + x;
                        if self.part_of[near] == whole && values[near] > level {
                            self.part_of[near] = self.parts;
                            found.push(near);
                        }
                    }
                }
            }
            parts.push(Part { frame, places: found, level, raised: false });
        }
        parts
    }
}

/// Which pixels of a frame and a margin around it belong to a part.
pub(super) struct Mask {
    pub frame: Frame,
    /// Pixels around the part's frame, beyond the picture as well.
    margin: usize,
    width: usize,
    height: usize,
    bits: Vec<bool>,
}

impl Mask {
    /// Of what is at `places` in `plane`, all of them in `frame`.
    pub fn new<'a>(frame: Frame, places: impl IntoIterator<Item = &'a usize>, plane: &Plane, margin: usize) -> Self {
        let (width, height) = (frame.width() + 2 * margin, frame.height() + 2 * margin);
        let mut bits = vec![false; width * height];
        for place in places {
            let (x, y) = (place % plane.width - frame.left + margin, place / plane.width - frame.top + margin);
            bits[y * width + x] = true;
        }
        Self { frame, margin, width, height, bits }
    }

    /// For each pixel that is `of` the part (or is not) the steps to the nearest that is not (or is), a step to a
    /// corner counting as one; 0 for all others.
    fn distances(&self, of: bool) -> Vec<u32> {
        let far = (self.width + self.height) as u32;
        let mut steps: Vec<u32> = self.bits.iter().map(|&bit| if bit == of { far } else { 0 }).collect();
        // From the first pixel to the last, and back.
        for _ in 0..2 {
            sweep(&mut steps, self.width);
            steps.reverse();
        }
        steps
    }

    /// Half of the widest stroke, in pixels.
    pub fn half_stroke(&self) -> usize {
        self.distances(true).into_iter().max().unwrap_or_default() as usize
    }

    /// How many places it encloses that are more than a hundredth of its frame.
    pub fn holes(&self) -> usize {
        let least = self.frame.area() / 100;
        let mut free: Vec<bool> = self.bits.iter().map(|bit| !bit).collect();
        let mut holes = 0;
        for start in 0..free.len() {
            if !std::mem::take(&mut free[start]) {
                continue;
            }
            let (mut found, mut done) = (vec![start], 0);
            while let Some(&place) = found.get(done) {
                done += 1;
                let (x, y) = (place % self.width, place / self.width);
                let beside = [(x > 0, place.wrapping_sub(1)), (x + 1 < self.width, place + 1)];
                let above = [(y > 0, place.wrapping_sub(self.width)), (y + 1 < self.height, place + self.width)];
                for (inside, near) in beside.into_iter().chain(above) {
                    if inside && std::mem::take(&mut free[near]) {
                        found.push(near);
                    }
                }
            }
            // The first pixel lies in the margin: what is found from there is all that lies outside.
            holes += usize::from(start > 0 && found.len() > least);
        }
        holes
    }

    /// The pixels of a picture of `width` x `height` whose way to the part is that many steps; of the part itself, 0.
    pub fn around(&self, steps: RangeInclusive<u32>, [width, height]: [usize; 2]) -> Vec<(usize, usize)> {
        let at = |place: usize| {
            let (x, y) = (place % self.width + self.frame.left, place / self.width + self.frame.top);
            let (x, y) = (x.checked_sub(self.margin)?, y.checked_sub(self.margin)?);
            (x < width && y < height).then_some((x, y))
        };
        let distances = self.distances(false).into_iter().enumerate();
        distances.filter(|(_, distance)| steps.contains(distance)).filter_map(|(place, _)| at(place)).collect()
    }

    /// Whether the picture's pixel is of the part.
    pub fn covers(&self, x: usize, y: usize) -> bool {
        let at = |value: usize, first: usize, count: usize| {
            (value + self.margin).checked_sub(first).filter(|&place| place < count) //
        };
        let place = at(x, self.frame.left, self.width).zip(at(y, self.frame.top, self.height));
        place.is_some_and(|(x, y)| self.bits[y * self.width + x])
    }
}

/// Row by row: no pixel is more than one step further than the one before it and the three above.
fn sweep(steps: &mut [u32], width: usize) {
    let mut above: &[u32] = &[];
    for row in steps.chunks_exact_mut(width) {
        for x in 0..width {
            if row[x] > 0 {
                let before = row[x.saturating_sub(1)..x].first();
                let near = above.iter().take(x + 2).skip(x.saturating_sub(1)).chain(before).min();
                row[x] = near.map_or(row[x], |near| row[x].min(near + 1));
            }
        }
        above = row;
    }
}
