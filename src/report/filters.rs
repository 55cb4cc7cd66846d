//! The first layer's kernels: red for negative weights, blue for positive ones, white for 0, one scale for all.

use super::picture::{self, Drawing};
use super::tiles::{self, Tile, sheet};
use super::{Filters, Heading, ReportError};
use colorous::RED_BLUE;

/// So many kernels are shown, and so many channels of each.
const MOST: usize = 64;
const MOST_CHANNELS: usize = 16;
/// Steps of the scale's bar.
const STEPS: usize = 51;

/// `filters.png`.
pub fn png(heading: Heading, filters: Option<Filters>) -> Result<Vec<u8>, ReportError> {
    let Some(filters) = filters else {
        let (drawing, _) = sheet(&[])?;
        return picture::png(heading, "No kernels: the network does not begin with a convolution", &drawing, &[], "");
    };
    let tiles = tiles(filters)?;
    let (drawing, overlays) = sheet(&tiles)?;
    picture::png(heading, &what(filters), &drawing.above(legend(filters), 8), &overlays, "")
}

/// What is shown, and what is left out.
pub(super) fn what(Filters { shape: [count, channels, height, width], .. }: Filters) -> String {
    let part = |most: usize, of: usize| if of > most { format!("{most} of {of}") } else { of.to_string() };
    let kernels = format!("{} kernels of the first layer, {height}×{width}", part(MOST, count));
    match channels {
        1 => kernels,
        _ => format!("{kernels}; of each, {} channels, row by row", part(MOST_CHANNELS, channels)),
    }
}

/// Each kernel as a tile; its channels, if several, side by side in a square.
pub(super) fn tiles(filters: Filters) -> Result<Vec<Tile>, ReportError> {
    let [count, channels, height, width] = filters.shape;
    let shown = channels.min(MOST_CHANNELS);
    let across = (shown as f64).sqrt().ceil() as usize;
    let down = shown.div_ceil(across.max(1));
    let largest = largest(filters.weights);
    let kernel = |index: usize| {
        // A column or row of nothing between two channels.
        let pixels = tiles::pixmap(across * (width + 1) - 1, down * (height + 1) - 1, |x, y| {
            let (channel, x, y) = (y / (height + 1) * across + x / (width + 1), x % (width + 1), y % (height + 1));
            let place = ((index * channels + channel) * height + y) * width + x;
            let inside = x < width && y < height && channel < shown;
            filters.weights.get(place).filter(|_| inside).map(|&weight| colour(weight, largest))
        })?;
        Ok(Tile { pixels, caption: index.to_string(), taken_for: None, note: String::new(), alt: format!("kernel {index}") })
    };
    if filters.shape.contains(&0) {
        return Ok(Vec::new());
    }
    (0..count.min(MOST)).map(kernel).collect()
}

/// The scale, and between which weights it was used.
pub(super) fn legend(filters: Filters) -> Drawing {
    let largest = largest(filters.weights);
    let weights = filters.weights.iter().copied().filter(|weight| weight.is_finite());
    let range = weights.fold(None, |range, weight| {
        let (least, most) = range.unwrap_or((weight, weight));
        Some((weight.min(least), weight.max(most)))
    });
    let (least, most) = range.unwrap_or_default();
    let end = 4 * STEPS;
    let bar = (0..STEPS).map(|step| {
        let [red, green, blue] = colour(largest * (2.0 * step as f32 / (STEPS - 1) as f32 - 1.0), largest);
        format!(r#"<rect x="{}" width="4" height="10" fill="rgb({red},{green},{blue})"/>"#, 4 * step)
    });
    let told = |weight: f32| format!("{weight:.3}").replace('-', "−");
    let words = format!(
        r#"<text class="small muted" y="25">{}</text><text class="small muted middle" x="{}" y="25">0</text>
<text class="small muted end" x="{end}" y="25">{}</text>
<text class="small" x="{}" y="10">weights from {} to {}</text>"#,
        told(-largest),
        end / 2,
        told(largest),
        end + 16,
        told(least),
        told(most),
    );
    Drawing {
        width: 400,
        height: 30,
        body: format!(r#"<g shape-rendering="crispEdges">{}</g>{words}"#, bar.collect::<String>()),
    }
}

/// The largest magnitude: where the scale ends.
fn largest(weights: &[f32]) -> f32 {
    weights.iter().map(|weight| weight.abs()).filter(|weight| weight.is_finite()).fold(0.0, f32::max)
}

/// What is not a number is grey.
fn colour(weight: f32, largest: f32) -> [u8; 3] {
    if !weight.is_finite() {
        return [128; 3];
    }
    let share = if largest > 0.0 { weight / largest } else { 0.0 };
    RED_BLUE.eval_continuous(0.5 + 0.5 * f64::from(share)).into_array()
}
