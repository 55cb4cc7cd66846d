//! Loss and accuracy over the epochs, and the chart that all curves are drawn on.

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

/// The learning rate that each epoch ended with; none where it is always the same.
pub(super) fn learning_rate(history: &[Row]) -> Result<Option<Drawing>, ReportError> {
    if history.iter().all(|row| row.learning_rate == history[0].learning_rate) {
        return Ok(None);
    }
    let points = history.iter().map(|row| (row.epoch.into(), row.learning_rate)).collect();
    let series = Series { class: "train".into(), points, spread: Vec::new() };
    Ok(Some(epochs("Learning rate at each epoch's end", &[series], from_zero, "")?))
}

#[derive(Template)]
#[template(path = "report/chart.svg")]
struct Chart<'a> {
    name: &'a str,
    log: bool,
    /// Whether to say which line is which, of training and validation.
    legend: bool,
    left: f64,
    right: f64,
    top: f64,
    bottom: f64,
    x_name: &'a str,
    x_ticks: Vec<Tick>,
    y_ticks: Vec<Tick>,
    /// Classes and outlines.
    bands: Vec<(&'a str, String)>,
    lines: Vec<Line<'a>>,
    marks: Vec<Mark>,
}

struct Line<'a> {
    class: &'a str,
    path: String,
    dots: Vec<(f64, f64)>,
}

/// A place on the x axis with something to say of it.
pub(super) struct Mark {
    pub x: f64,
    /// Of the ring, if there is one.
    pub y: Option<f64>,
    pub anchor: &'static str,
    /// How much higher than others the label stands.
    pub above: f64,
    pub label: String,
}

/// A line of a chart.
pub(super) struct Series {
    /// Of the style sheet.
    pub class: String,
    pub points: Vec<(f64, f64)>,
    /// How far the values of each point lie from it; empty where that is not known.
    pub spread: Vec<f64>,
}

/// Axes and what is on them.
pub(super) struct Plot<'a> {
    pub name: &'a str,
    pub legend: bool,
    pub x_name: &'a str,
    pub x: Axis,
    pub x_ticks: Vec<Tick>,
    /// And whether it is logarithmic.
    pub y: (Axis, bool),
    pub unit: &'a str,
    pub series: &'a [Series],
    pub marks: Vec<Mark>,
}

/// The places of the lowest and the highest x.
pub(super) const ACROSS: (f64, f64) = (LEFT + INSET, RIGHT - INSET);

impl Plot<'_> {
    pub fn drawing(self) -> Result<Drawing, ReportError> {
        let Self { name, legend, x_name, x, x_ticks, y: (y, log), unit, series, marks } = self;
        let place = |&(at, value): &(f64, f64)| value.is_finite().then(|| (x.at(at), y.at(value)));
        let band = |series: &Series| {
            let edge = |sign: f64| {
                let places =
                    series.points.iter().zip(&series.spread).filter(|((_, value), spread)| (value + *spread).is_finite());
                // A logarithmic axis knows no 0.
                let end = |value: f64, spread: f64| y.at((value + sign * spread).max(f64::MIN_POSITIVE)).clamp(TOP, BOTTOM);
                places.map(|(&(at, value), spread)| (x.at(at), end(value, *spread))).collect::<Vec<_>>()
            };
            let outline = edge(1.0).into_iter().chain(edge(-1.0).into_iter().rev());
            let path = outline.enumerate().map(|(at, (x, y))| format!("{}{x:.1},{y:.1}", if at == 0 { 'M' } else { 'L' }));
            path.collect::<String>()
        };
        let chart = Chart {
            name,
            log,
            legend,
            left: LEFT,
            right: RIGHT,
            top: TOP,
            bottom: BOTTOM,
            x_name,
            x_ticks,
            y_ticks: y.ticks(6, 0.0, unit),
            bands: series
                .iter()
                .map(|series| (series.class.as_str(), band(series)))
                .filter(|(_, path)| !path.is_empty())
                .collect(),
            lines: series.iter().map(|series| Line::through(&series.class, series.points.iter().map(place))).collect(),
            marks,
        };
        Ok(Drawing { width: WIDTH, height: HEIGHT, body: chart.render()? })
    }
}

/// Lines over the epochs.
pub(super) fn epochs(
    name: &str,
    series: &[Series],
    axis: impl Fn(f64, f64) -> (Axis, bool),
    unit: &str,
) -> Result<Drawing, ReportError> {
    let all = || series.iter().flat_map(|series| series.points.iter().copied());
    let (least, most) = extremes(all().map(|(_, value)| value));
    let x = Axis::linear(extremes(all().map(|(epoch, _)| epoch)), ACROSS);
    let (y, x_ticks) = (axis(least, most), x.ticks(10, 1.0, ""));
    Plot { name, legend: false, x_name: "epoch", x, x_ticks, y, unit, series, marks: Vec::new() }.drawing()
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
    let y = axis(least, most);
    let x = Axis::linear(extremes(history.iter().map(|row| f64::from(row.epoch))), ACROSS);
    let line = |class: &str, value: &dyn Fn(&Row) -> f64| {
        let points = history.iter().map(|row| (row.epoch.into(), value(row))).collect();
        Series { class: class.into(), points, spread: Vec::new() }
    };
    let best = best(history).map(|row| {
        let (x, value) = (x.at(row.epoch.into()), values(row).1);
        let label = format!("best, epoch {}: {}", row.epoch, told(value));
        Mark { x, y: value.is_finite().then(|| y.0.at(value)), anchor: anchor(x), above: 0.0, label }
    });
    let series = [line("train", &|row| values(row).0), line("val", &|row| values(row).1)];
    let (x_ticks, marks) = (x.ticks(10, 1.0, ""), best.into_iter().collect());
    Plot { name, legend: true, x_name: "epoch", x, x_ticks, y, unit, series: &series, marks }.drawing()
}

impl<'a> Line<'a> {
    /// A missing point breaks the line.
    fn through(class: &'a str, points: impl ExactSizeIterator<Item = Option<(f64, f64)>>) -> Self {
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
pub(super) fn loss_axis(least: f64, most: f64) -> (Axis, bool) {
    if least > 0.0 && most / least > LOG_FROM {
        let pad = ((most.ln() - least.ln()) * 0.05).exp();
        return (Axis::logarithmic((least / pad, (most * pad).min(f64::MAX)), (BOTTOM, TOP)), true);
    }
    from_zero(least, most)
}

pub(super) fn from_zero(_: f64, most: f64) -> (Axis, bool) {
    let most = if most > 0.0 { most } else { 1.0 };
    (Axis::linear((0.0, most * 1.06), (BOTTOM, TOP)), false)
}

/// As wide as the values ask for, within 0 to 100 percent.
pub(super) fn accuracy_axis(least: f64, most: f64) -> (Axis, bool) {
    let pad = ((most - least) * 0.08).max(0.5);
    (Axis::linear(((least - pad).max(0.0), (most + pad).min(100.0)), (BOTTOM, TOP)), false)
}

/// Of the finite ones; 0 and 0 where there is none.
pub(super) fn extremes(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let range = |(least, most): (f64, f64), value: f64| (least.min(value), most.max(value));
    let found = values.filter(|value| value.is_finite()).fold((f64::INFINITY, f64::NEG_INFINITY), range);
    if found.0.is_finite() { found } else { (0.0, 0.0) }
}

/// How a label at `x` stays within the plot.
pub(super) fn anchor(x: f64) -> &'static str {
    let share = (x - LEFT) / (RIGHT - LEFT);
    if share < 0.25 {
        "start"
    } else if share > 0.75 {
        "end"
    } else {
        "middle"
    }
}
