//! Loss and accuracy over the epochs.

use super::axis::{Axis, Tick};
use super::picture::{self, Drawing};
use super::{Heading, ReportError, number};
use crate::history::{Row, best};
use askama::Template;

const WIDTH: u32 = 400;
const HEIGHT: u32 = 264;
/// The plot's edges, in units of the drawing.
const LEFT: f64 = 46.0;
const RIGHT: f64 = 392.0;
const TOP: f64 = 48.0;
const BOTTOM: f64 = 224.0;
/// Free at both ends of the epochs.
const INSET: f64 = 10.0;
/// Up to so many epochs, each has its dot.
const DOTS: usize = 25;
/// A loss that spans a larger ratio is drawn on a logarithmic axis.
const LOG_FROM: f64 = 100.0;

/// `curves.png`: both charts side by side.
pub fn png(heading: Heading, history: &[Row]) -> Result<Vec<u8>, ReportError> {
    let both = loss(history)?.beside(accuracy(history)?, 32);
    picture::png(heading, "Loss and accuracy after each epoch", &both, &[], "")
}

/// The loss of training and validation.
pub(super) fn loss(history: &[Row]) -> Result<Drawing, ReportError> {
    chart("Loss", history, |row| (row.train_loss, row.val_loss), loss_axis, |loss| number(loss, 4), "")
}

/// The accuracy of training and validation, in percent.
pub(super) fn accuracy(history: &[Row]) -> Result<Drawing, ReportError> {
    let values = |row: &Row| (100.0 * row.train_accuracy, 100.0 * row.val_accuracy);
    chart("Accuracy", history, values, accuracy_axis, |percent| format!("{percent:.2}%"), "%")
}

#[derive(Template)]
#[template(path = "report/chart.svg")]
struct Chart<'a> {
    name: &'a str,
    log: bool,
    left: f64,
    right: f64,
    top: f64,
    bottom: f64,
    x_ticks: Vec<Tick>,
    y_ticks: Vec<Tick>,
    lines: [Line; 2],
    best: Option<Best>,
}

struct Line {
    class: &'static str,
    path: String,
    dots: Vec<(f64, f64)>,
}

struct Best {
    x: f64,
    y: Option<f64>,
    anchor: &'static str,
    label: String,
}

/// `values` gives a row's value in training and in validation.
fn chart(
    name: &str,
    history: &[Row],
    values: impl Fn(&Row) -> (f64, f64),
    axis: impl Fn(f64, f64) -> (Axis, bool),
    told: impl Fn(f64) -> String,
    unit: &str,
) -> Result<Drawing, ReportError> {
    let (least, most) = extremes(history.iter().flat_map(|row| <[f64; 2]>::from(values(row))));
    let (y, log) = axis(least, most);
    let (first, last) = extremes(history.iter().map(|row| f64::from(row.epoch)));
    let x = Axis::linear((first, last), (LEFT + INSET, RIGHT - INSET));
    let line = |class, value: &dyn Fn(&Row) -> f64| {
        let points: Vec<_> = history.iter().map(|row| (x.at(row.epoch.into()), value(row))).collect();
        Line::through(class, points.into_iter().map(|(x, value)| value.is_finite().then(|| (x, y.at(value)))))
    };
    let best = best(history).map(|row| {
        let (x, value) = (x.at(row.epoch.into()), values(row).1);
        let label = format!("best, epoch {}: {}", row.epoch, told(value));
        Best { x, y: value.is_finite().then(|| y.at(value)), anchor: anchor(x), label }
    });
    let chart = Chart {
        name,
        log,
        left: LEFT,
        right: RIGHT,
        top: TOP,
        bottom: BOTTOM,
        x_ticks: x.ticks(10, 1.0, ""),
        y_ticks: y.ticks(6, 0.0, unit),
        lines: [line("train", &|row| values(row).0), line("val", &|row| values(row).1)],
        best,
    };
    Ok(Drawing { width: WIDTH, height: HEIGHT, body: chart.render()? })
}

impl Line {
    /// A missing point breaks the line.
    fn through(class: &'static str, points: impl ExactSizeIterator<Item = Option<(f64, f64)>>) -> Self {
        let few = points.len() <= DOTS;
        let (mut path, mut dots, mut pen_down) = (String::new(), Vec::new(), false);
        for point in points {
            if let Some((x, y)) = point {
                path += &format!("{}{x:.1},{y:.1}", if pen_down { 'L' } else { 'M' });
                dots.extend(few.then_some((x, y)));
            }
            pen_down = point.is_some();
        }
        Self { class, path, dots }
    }
}

/// From 0, or, where the losses are too far apart for that, logarithmic.
fn loss_axis(least: f64, most: f64) -> (Axis, bool) {
    if least > 0.0 && most / least > LOG_FROM {
        let pad = ((most.ln() - least.ln()) * 0.05).exp();
        return (Axis::logarithmic((least / pad, (most * pad).min(f64::MAX)), (BOTTOM, TOP)), true);
    }
    let most = if most > 0.0 { most } else { 1.0 };
    (Axis::linear((0.0, most * 1.06), (BOTTOM, TOP)), false)
}

/// As wide as the values ask for, within 0 to 100 percent.
fn accuracy_axis(least: f64, most: f64) -> (Axis, bool) {
    let pad = ((most - least) * 0.08).max(0.5);
    (Axis::linear(((least - pad).max(0.0), (most + pad).min(100.0)), (BOTTOM, TOP)), false)
}

/// Of the finite ones; 0 and 0 where there is none.
fn extremes(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let range = |(least, most): (f64, f64), value: f64| (least.min(value), most.max(value));
    let found = values.filter(|value| value.is_finite()).fold((f64::INFINITY, f64::NEG_INFINITY), range);
    if found.0.is_finite() { found } else { (0.0, 0.0) }
}

/// How a label at `x` stays within the plot.
fn anchor(x: f64) -> &'static str {
    let share = (x - LEFT) / (RIGHT - LEFT);
    if share < 0.25 {
        "start"
    } else if share > 0.75 {
        "end"
    } else {
        "middle"
    }
}
