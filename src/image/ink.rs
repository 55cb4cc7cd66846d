//! What of a picture is ink: what differs from the paper, be it darker, lighter or of another colour.

use super::{Plane, median, strength};
use ::image::RgbImage;

/// A border whose values differ by less than this was made by a program; else a camera's light fell on it, evenly or
/// not.
const FLAT: f32 = 3.0 / 255.0;
/// Ink that stands out less than this, or less than that many times the paper's own unevenness, is none.
const FAINTEST: f32 = 0.08;
const OVER_NOISE: f32 = 5.0;
/// Share of the ink's strength below which a difference counts as paper: JPEG's ripples beside an edge.
const RIPPLE: f32 = 0.06;

/// How much ink each pixel of the picture holds; none where there is no ink at all.
pub(super) fn ink(picture: &RgbImage) -> Option<Plane> {
    let (width, height) = picture.dimensions();
    let border = border(width, height);
    let mut paper = Paper::even(picture, &border);
    if median(border.iter().map(|&at| paper.distance(picture, at)).collect()) > FLAT {
        paper = Paper::uneven(picture, paper);
    }
    let noise = median(border.iter().map(|&at| paper.distance(picture, at)).collect());
    let all = (0..height).flat_map(|y| (0..width).map(move |x| (x, y)));
    let mut values: Vec<f32> = all.map(|at| paper.distance(picture, at)).collect();

    let most = values.iter().copied().fold(0.0, f32::max);
    if most < FAINTEST.max(OVER_NOISE * noise) {
        return None;
    }
    let strength = strength(&values);
    let least = (OVER_NOISE * noise).max(RIPPLE * strength).min(0.4 * strength);
    for value in &mut values {
        *value = ((*value - least) / (strength - least)).clamp(0.0, 1.0);
    }
    Some(Plane { width: width as usize, height: height as usize, values })
}

type Place = (u32, u32);

/// The pixels along the border: most of them show paper.
fn border(width: u32, height: u32) -> Vec<Place> {
    let thick = (width.min(height) / 50).max(1);
    let near = move |k: u32, size: u32| k < thick || k + thick >= size;
    let all = (0..height).flat_map(|y| (0..width).map(move |x| (x, y)));
    all.filter(|&(x, y)| near(x, width) || near(y, height)).collect()
}

/// Terms of a quadratic surface: 1, x, y, x^2, xy, y^2.
const TERMS: usize = 6;

/// The paper's colour at each place: a quadratic surface per channel, which follows a lamp's light but not a pen's
/// stroke.
struct Paper([[f32; TERMS]; 3]);

impl Paper {
    /// Of one colour, the border's.
    fn even(picture: &RgbImage, border: &[Place]) -> Self {
        Self([0, 1, 2].map(|channel| {
            let values = border.iter().map(|&(x, y)| f32::from(picture.get_pixel(x, y).0[channel]) / 255.0);
            [median(values.collect()), 0.0, 0.0, 0.0, 0.0, 0.0]
        }))
    }

    /// The surface from which the picture's pixels differ least, in the sum of distances and not of their squares: so
    /// that ink, which is far away but not much, hardly moves it. Found by weighted least squares, the first weights
    /// from `paper`.
    fn uneven(picture: &RgbImage, mut paper: Self) -> Self {
        const ROUNDS: usize = 20;
        const SAMPLES_ACROSS: u32 = 64;
        let (width, height) = picture.dimensions();
        let step = (width.max(height) / SAMPLES_ACROSS).max(1) as usize;
        let rows = (0..height).step_by(step);
        let samples: Vec<Place> = rows.flat_map(|y| (0..width).step_by(step).map(move |x| (x, y))).collect();
        for _ in 0..ROUNDS {
            // The normal equations; the right-hand sides of the three channels side by side.
            let mut system = [[0.0f64; TERMS + 3]; TERMS];
            for &at in &samples {
                let weight = 1.0 / f64::from(paper.distance(picture, at).max(0.005));
                let terms = terms(picture, at).map(f64::from);
                let colour = picture.get_pixel(at.0, at.1).0.map(|value| f64::from(value) / 255.0);
                for (row, term) in system.iter_mut().zip(terms) {
                    for (sum, factor) in row.iter_mut().zip(terms.iter().chain(&colour)) {
                        *sum += weight * term * factor;
                    }
                }
            }
            paper = Self(solve(system));
        }
        paper
    }

    /// How far the picture's pixel is from the paper, in the channel in which it is farthest: a yellow pen differs from
    /// white only in blue.
    fn distance(&self, picture: &RgbImage, at: Place) -> f32 {
        let terms = terms(picture, at);
        let colour = picture.get_pixel(at.0, at.1).0.map(|value| f32::from(value) / 255.0);
        let paper = self.0.map(|surface| surface.iter().zip(terms).map(|(factor, term)| factor * term).sum::<f32>());
        (0..3).map(|channel| (colour[channel] - paper[channel].clamp(0.0, 1.0)).abs()).fold(0.0, f32::max)
    }
}

fn terms(picture: &RgbImage, (x, y): Place) -> [f32; TERMS] {
    let scaled = |k: u32, size: u32| 2.0 * (k as f32 + 0.5) / size as f32 - 1.0;
    let (x, y) = (scaled(x, picture.width()), scaled(y, picture.height()));
    [1.0, x, y, x * x, x * y, y * y]
}

/// Solves the symmetric system by elimination. A picture one pixel wide leaves terms undetermined: they become 0.
fn solve(mut system: [[f64; TERMS + 3]; TERMS]) -> [[f32; TERMS]; 3] {
    let ridge = 1e-9 * (0..TERMS).map(|i| system[i][i]).sum::<f64>();
    system.iter_mut().enumerate().for_each(|(i, row)| row[i] += ridge);
    for pivot in 0..TERMS {
        let pivot_row = system[pivot];
        for row in system.iter_mut().enumerate().filter(|(i, _)| *i != pivot).map(|(_, row)| row) {
            let factor = row[pivot] / pivot_row[pivot];
            row.iter_mut().zip(pivot_row).for_each(|(value, above)| *value -= factor * above);
        }
    }
    [0, 1, 2].map(|channel| std::array::from_fn(|i| (system[i][TERMS + channel] / system[i][i]) as f32))
}
