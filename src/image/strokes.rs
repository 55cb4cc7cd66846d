//! What of a picture is strokes: what is thinner than its surroundings and of another colour, be it darker or lighter.
//! Sheets, desks and shadows are wide, and so none.

use super::Plane;
use ::image::RgbImage;

/// A picture whose shorter side has fewer pixels is taken as it is; of others the grain is smoothed first.
const GRAINY: u32 = 200;

/// The picture as one value a pixel: the mixture of red, green and blue in which neighbouring things differ most. Red
/// on blue of the same lightness is as far apart as black on white.
pub(super) fn contrast(picture: &RgbImage) -> Plane {
    let (width, height) = (picture.width() as usize, picture.height() as usize);
    let channel = |c: usize| -> Vec<f32> { picture.pixels().map(|pixel| f32::from(pixel.0[c]) / 255.0).collect() };
    let channels = [0, 1, 2].map(channel);
    let reach = width.max(height) / 10;
    let apart = channels.each_ref().map(|values| {
        let around = mean_around(values, width, reach);
        values.iter().zip(around).map(|(value, mean)| value - mean).collect::<Vec<f32>>()
    });
    let covariance = apart.each_ref().map(|a| {
        apart.each_ref().map(|b| a.iter().zip(b).map(|(a, b)| f64::from(a * b)).sum::<f64>()) //
    });
    let mixture = first_axis(covariance);
    let mix = |at: usize| (0..3).map(|c| mixture[c] * channels[c][at]).sum();
    let values: Vec<f32> = (0..width * height).map(mix).collect();
    let values = if picture.width().min(picture.height()) < GRAINY { values } else { mean_around(&values, width, 1) };
    Plane { width, height, values }
}

/// The direction in which values of this covariance vary most, its parts' sizes adding up to 1.
fn first_axis(covariance: [[f64; 3]; 3]) -> [f32; 3] {
    const ROUNDS: usize = 50;
    let widest = (0..3).max_by(|&a, &b| covariance[a][a].total_cmp(&covariance[b][b])).unwrap_or_default();
    let mut axis = covariance[widest];
    for _ in 0..ROUNDS {
        let size: f64 = axis.iter().map(|part| part.abs()).sum();
        if size == 0.0 {
            return [1.0 / 3.0; 3]; // of one colour
        }
        axis = axis.map(|part| part / size);
        axis = covariance.map(|row| row.iter().zip(axis).map(|(factor, part)| factor * part).sum());
    }
    let size: f64 = axis.iter().map(|part| part.abs()).sum();
    axis.map(|part| if size > 0.0 { (part / size) as f32 } else { 1.0 / 3.0 })
}

/// The mean of the square of `2 * reach + 1` pixels a side around each pixel, of those in the picture.
fn mean_around(values: &[f32], width: usize, reach: usize) -> Vec<f32> {
    let mut means = values.to_vec();
    let mut sums = Vec::new();
    each_line(&mut means, width, |line| {
        sums.clear();
        sums.push(0.0);
        for value in &*line {
            sums.push(sums[sums.len() - 1] + f64::from(*value));
        }
        let last = line.len();
        for (at, mean) in line.iter_mut().enumerate() {
            let (from, to) = (at.saturating_sub(reach), (at + reach + 1).min(last));
            *mean = ((sums[to] - sums[from]) / (to - from) as f64) as f32;
        }
    });
    means
}

/// What is darker than the values around, by how much, where it is thinner than `2 * reach + 1` pixels: the black-hat
/// transform, a closing by a square less the values themselves (Serra, Image Analysis and Mathematical Morphology,
/// 1982).
pub(super) fn darker(plane: &Plane, reach: usize) -> Plane {
    let mut closed = plane.values.clone();
    slide(&mut closed, plane.width, reach, f32::NEG_INFINITY, f32::max);
    slide(&mut closed, plane.width, reach, f32::INFINITY, f32::min);
    let values = closed.iter().zip(&plane.values).map(|(closed, value)| closed - value).collect();
    Plane { values, ..*plane }
}

/// The extreme of the square of `2 * reach + 1` pixels a side around each pixel, of those in the picture. Each line is
/// cut into pieces as long as the window, so that a window is the end of one piece and the beginning of the next (van
/// Herk, 1992): three comparisons a pixel, whatever the reach.
fn slide(values: &mut [f32], width: usize, reach: usize, none: f32, extreme: fn(f32, f32) -> f32) {
    let window = 2 * reach + 1;
    let (mut begun, mut ended) = (Vec::new(), Vec::new());
    each_line(values, width, |line| {
        begun.clear();
        begun.resize(reach, none);
        begun.extend_from_slice(line);
        begun.resize(line.len() + 2 * reach, none);
        ended.clone_from(&begun);
        for (piece, ends) in begun.chunks_mut(window).zip(ended.chunks_mut(window)) {
            for at in 1..piece.len() {
                piece[at] = extreme(piece[at - 1], piece[at]);
                let back = ends.len() - 1 - at;
                ends[back] = extreme(ends[back], ends[back + 1]);
            }
        }
        for (at, value) in line.iter_mut().enumerate() {
            *value = extreme(ended[at], begun[at + 2 * reach]);
        }
    });
}

/// Calls `change` with each row, and then with each column.
fn each_line(values: &mut [f32], width: usize, mut change: impl FnMut(&mut [f32])) {
    values.chunks_exact_mut(width).for_each(&mut change);
    let mut column = Vec::new();
    for x in 0..width {
        column.clear();
        column.extend(values.iter().skip(x).step_by(width));
        change(&mut column);
        values.iter_mut().skip(x).step_by(width).zip(&column).for_each(|(value, changed)| *value = *changed);
    }
}
