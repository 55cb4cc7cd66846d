//! The loss over the learning rate, and what it suggests.

use super::axis::Axis;
use super::curves::{ACROSS, Mark, Plot, Series, anchor, extremes, loss_axis};
use super::picture;
use super::{Heading, ReportError};
use crate::lr_find::{Search, Suggestion};

/// A picture of `search`, as a PNG file.
pub fn png(heading: Heading, search: &Search, suggestion: Option<Suggestion>) -> Result<Vec<u8>, ReportError> {
    let points: Vec<(f64, f64)> = search.points().collect();
    let smoothed: Vec<(f64, f64)> = points.iter().zip(search.smoothed()).map(|((rate, _), loss)| (*rate, loss)).collect();
    let (low, high) = extremes(points.iter().map(|(rate, _)| *rate));
    // What explodes at the end would leave no room for anything else.
    let (least, most) = extremes(smoothed.iter().map(|(_, loss)| *loss));
    let x = match low > 0.0 && high > low {
        true => Axis::logarithmic((low, high), ACROSS),
        false => Axis::linear((low, high), ACROSS),
    };
    let y = loss_axis(least, most);
    let mark = |rate: f64, ring: bool, above: f64, what: &str| {
        let at = smoothed.iter().min_by(|a, b| (a.0 / rate).ln().abs().total_cmp(&(b.0 / rate).ln().abs()));
        let place = x.at(rate);
        Mark {
            x: place,
            y: at.filter(|_| ring).map(|(_, loss)| y.0.at(*loss)),
            anchor: anchor(place),
            above,
            label: format!("{what}: {}", rounded(rate)),
        }
    };
    let marks = suggestion.map(|found| {
        let tenth = mark(found.tenth, false, 13.0, "a tenth of the least loss's");
        [mark(found.steepest, true, 0.0, "steepest"), tenth]
            .into_iter()
            .filter(|mark| mark.x >= ACROSS.0 && mark.x <= ACROSS.1)
    });
    let marks: Vec<Mark> = marks.into_iter().flatten().collect();
    let raw = points.into_iter().map(|(rate, loss)| (rate, loss.min(most))).collect();
    let series = [
        Series { class: "faint".into(), points: raw, spread: Vec::new() },
        Series { class: "train".into(), points: smoothed, spread: Vec::new() },
    ];
    let (name, x_ticks) = ("Loss", x.ticks(8, 0.0, ""));
    let plot =
        Plot { name, legend: false, x_name: "learning rate, logarithmic", x, x_ticks, y, unit: "", series: &series, marks };
    picture::png(heading, "Loss of each batch while the learning rate rises, and smoothed", &plot.drawing()?, &[], "")
}

/// A rate with two digits.
pub fn rounded(rate: f64) -> f64 {
    format!("{rate:.1e}").parse().unwrap_or(rate)
}
