//! From ink to MNIST's form: the digit fitted into 20x20, its centre of mass in the middle of 28x28.

use super::{COLS, PIXELS, Plane, ROWS, strength};

/// The longer side of a digit, in pixels.
const SIDE: usize = 20;
/// Until the last step each pixel is this many across, so that lines keep soft edges.
const FINE: usize = 8;
/// Pixels that a stroke is wide at least. MNIST's median is 1.9; a hair line would become so faint that the network
/// hardly sees it.
const THINNEST: f32 = 1.8;
/// A pixel with more ink than this belongs to the digit; with less, to its soft edge.
const INKED: f32 = 0.35;
/// Where the centre of mass is put: MNIST's own lies within half a pixel of it, counted from the first pixel's centre.
const MIDDLE: f32 = 14.0;

/// Fits the digit; none where there is no ink.
pub(super) fn fit(ink: &Plane) -> Option<[u8; PIXELS]> {
    let frame = bounds(ink)?;
    let mut fine = scale(ink, frame, 0);
    let lacking = THINNEST * FINE as f32 - stroke_width(&fine);
    if lacking > 0.0 {
        let grow = (lacking / 2.0).round() as usize;
        fine = thicken(&scale(ink, frame, grow), grow);
    }
    Some(centre(&fine))
}

/// Whether the digit has the form that [`fit`] gives.
pub(super) fn is_fitted(digit: &[u8; PIXELS]) -> bool {
    let inked = |&i: &usize| digit[i] > 0;
    let extent = |place: fn(usize) -> usize| {
        let places = || (0..PIXELS).filter(inked).map(place);
        places().max().zip(places().min()).map(|(last, first)| last + 1 - first)
    };
    let (Some(width), Some(height)) = (extent(|i| i % COLS), extent(|i| i / COLS)) else { return false };
    let values: Vec<f32> = digit.iter().map(|&value| f32::from(value)).collect();
    let (x, y) = centre_of_mass(&values, COLS);
    let centred = |at: f32| (at - MIDDLE).abs() <= 0.501;
    width.max(height) <= SIDE && width.max(height) + 2 >= SIDE && centred(x) && centred(y)
}

/// Left, top, right, bottom of what is inked; right and bottom lie outside.
fn bounds(ink: &Plane) -> Option<[usize; 4]> {
    let inked = ink.values.iter().enumerate().filter(|(_, value)| **value > INKED);
    let places = inked.map(|(place, _)| (place % ink.width, place / ink.width));
    let frames = places.map(|(x, y)| [x, y, x + 1, y + 1]);
    frames.reduce(|[a, b, c, d], [x, y, z, w]| [a.min(x), b.min(y), c.max(z), d.max(w)])
}

/// The ink in `frame`, its longer side made 20 pixels less a margin of `margin` fine ones on either side, each fine
/// pixel the mean of the area it covers.
fn scale(ink: &Plane, [left, top, right, bottom]: [usize; 4], margin: usize) -> Plane {
    let (width, height) = (right - left, bottom - top);
    let side = SIDE * FINE - 2 * margin;
    let scaled = |size: usize| ((size * side) as f32 / width.max(height) as f32).round().max(1.0) as usize;
    let (columns, rows) = (spans(left, width, scaled(width)), spans(top, height, scaled(height)));
    // First across, then down.
    let narrow: Vec<f32> = (top..bottom)
        .flat_map(|y| {
            let row = &ink.values[y * ink.width..][..ink.width];
            columns.iter().map(move |span| span.iter().map(|&(x, share)| share * row[x]).sum::<f32>())
        })
        .collect();
    let mut scaled = Plane { width: columns.len() + 2 * margin, height: rows.len() + 2 * margin, values: Vec::new() };
    scaled.values = vec![0.0; scaled.width * scaled.height];
    for (row, span) in rows.iter().enumerate() {
        for column in 0..columns.len() {
            let mean = span.iter().map(|&(y, share)| share * narrow[(y - top) * columns.len() + column]).sum();
            scaled.values[(row + margin) * scaled.width + column + margin] = mean;
        }
    }
    scaled
}

/// For each of `count` equal pieces of the `length` pixels from `first`: the pixels it covers, and their shares in it.
fn spans(first: usize, length: usize, count: usize) -> Vec<Vec<(usize, f32)>> {
    let piece = length as f64 / count as f64;
    let span = |index: usize| {
        let (from, to) = (index as f64 * piece, (index + 1) as f64 * piece);
        let pixels = from as usize..(to.ceil() as usize).min(length);
        let share = |pixel: usize| ((to.min((pixel + 1) as f64) - from.max(pixel as f64)) / piece).max(0.0);
        pixels.map(|pixel| (first + pixel, share(pixel) as f32)).collect()
    };
    (0..count).map(span).collect()
}

/// Mean width of the strokes, in the plane's pixels: twice the area over the length of the edge. That length is the sum
/// of gradients, which soft edges do not change.
fn stroke_width(ink: &Plane) -> f32 {
    let at = |x: usize, y: usize| {
        // One pixel of paper all around.
        let inside = (1..=ink.width).contains(&x) && (1..=ink.height).contains(&y);
        if inside { ink.values[(y - 1) * ink.width + x - 1] } else { 0.0 }
    };
    let places = (0..=ink.height).flat_map(|y| (0..=ink.width).map(move |x| (x, y)));
    let edge: f32 = places.map(|(x, y)| (at(x + 1, y) - at(x, y)).hypot(at(x, y + 1) - at(x, y))).sum();
    2.0 * ink.values.iter().sum::<f32>() / edge
}

/// Each pixel becomes the most inked one within `radius`; and what scaling down has paled becomes full ink again.
fn thicken(ink: &Plane, radius: usize) -> Plane {
    let reach = radius as isize;
    let disc = (-reach..=reach).flat_map(|dy| (-reach..=reach).map(move |dx| (dx, dy)));
    let disc: Vec<_> = disc.filter(|(dx, dy)| dx * dx + dy * dy <= reach * reach).collect();
    let value = |place: usize| {
        let (x, y) = (place % ink.width, place / ink.width);
        let near = disc.iter().filter_map(|&(dx, dy)| {
            let (x, y) = (x.checked_add_signed(dx)?, y.checked_add_signed(dy)?);
            (x < ink.width && y < ink.height).then(|| ink.values[y * ink.width + x])
        });
        near.fold(0.0, f32::max)
    };
    let mut values: Vec<f32> = (0..ink.values.len()).map(value).collect();
    let full = strength(&values);
    values.iter_mut().for_each(|value| *value = (*value / full).min(1.0));
    Plane { values, ..*ink }
}

/// Puts the digit, at most 20 pixels a side, into 28x28, its centre of mass as near the middle as whole pixels allow.
fn centre(fine: &Plane) -> [u8; PIXELS] {
    let (width, height) = (fine.width.div_ceil(FINE), fine.height.div_ceil(FINE));
    // Half of what is left of the last pixel goes before the first.
    let before = [(width * FINE - fine.width) / 2, (height * FINE - fine.height) / 2];
    let mut digit = vec![0.0; width * height];
    for (place, value) in fine.values.iter().enumerate() {
        let (x, y) = ((place % fine.width + before[0]) / FINE, (place / fine.width + before[1]) / FINE);
        digit[y * width + x] += value / (FINE * FINE) as f32;
    }
    let (x, y) = centre_of_mass(&digit, width);
    // A cast from a negative float is 0: no ink is lost beyond an edge.
    let [left, top] = [(x, COLS - width), (y, ROWS - height)].map(|(at, room)| ((MIDDLE - at).round() as usize).min(room));
    let mut framed = [0; PIXELS];
    for (place, value) in digit.iter().enumerate() {
        framed[(top + place / width) * COLS + left + place % width] = (value.min(1.0) * 255.0).round() as u8;
    }
    framed
}

/// x and y of the centre of mass, from the centre of the first pixel.
fn centre_of_mass(values: &[f32], width: usize) -> (f32, f32) {
    let mass: f32 = values.iter().sum();
    let mean = |place: fn(usize, usize) -> usize| {
        values.iter().enumerate().map(|(i, value)| place(i, width) as f32 * value).sum::<f32>() / mass
    };
    (mean(|i, width| i % width), mean(|i, width| i / width))
}
