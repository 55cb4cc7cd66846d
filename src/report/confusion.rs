//! The confusion matrix: truth down, guess across. What is right is shaded by its share of the row, and mistakes, in another
//! colour, by the logarithm of theirs: one in a thousand must be seen beside 990.

use super::picture::{self, Drawing};
use super::{Heading, ReportError, percent};
use crate::data::CLASSES;
use crate::evaluation::Confusion;
use askama::Template;

const WIDTH: u32 = LEFT + SIDE + 44;
const HEIGHT: u32 = TOP + SIDE + 52;
const LEFT: u32 = 70;
const TOP: u32 = 36;
/// From a cell to the next.
const PITCH: u32 = 30;
const SQUARE: u32 = PITCH - 1;
const SIDE: u32 = PITCH * CLASSES as u32;
/// From this shade on, figures are written in the colour for coloured ground.
const DARK: f64 = 0.65;

/// `confusion.png`.
pub fn png(heading: Heading, confusion: &Confusion) -> Result<Vec<u8>, ReportError> {
    picture::png(heading, "Confusion: what each digit was taken for", &drawing(confusion)?, &[])
}

/// The matrix and its margins.
pub(super) fn drawing(confusion: &Confusion) -> Result<Drawing, ReportError> {
    let margins = (0..CLASSES).map(|class| Margin {
        at: class as u32 * PITCH + SQUARE / 2,
        recall: figure(confusion.recall(class)),
        precision: figure(confusion.precision(class)),
    });
    let cells = (0..CLASSES).flat_map(|truth| (0..CLASSES).map(move |guess| cell(confusion, truth, guess)));
    let matrix = Matrix {
        width: WIDTH,
        left: LEFT,
        top: TOP,
        side: SIDE,
        square: SQUARE,
        margins: margins.collect(),
        cells: cells.collect(),
        accuracy: percent(confusion.accuracy(), 2),
        legend: [(138, "0.1%", 0.001), (196, "1%", 0.01), (242, "10%", 0.1)]
            .map(|(x, text, share)| (x, text, of_mistakes(share))),
    };
    Ok(Drawing { width: WIDTH, height: HEIGHT, body: matrix.render()? })
}

#[derive(Template)]
#[template(path = "report/confusion.svg")]
struct Matrix {
    width: u32,
    left: u32,
    top: u32,
    side: u32,
    square: u32,
    margins: Vec<Margin>,
    cells: Vec<Cell>,
    /// Of all images.
    accuracy: String,
    /// Place, share of the row, shade.
    legend: [(u32, &'static str, f64); 3],
}

/// What stands at the end of row and column.
struct Margin {
    at: u32,
    recall: String,
    precision: String,
}

struct Cell {
    x: u32,
    y: u32,
    class: &'static str,
    ink: &'static str,
    size: &'static str,
    /// None for an empty cell.
    shade: Option<f64>,
    count: String,
    what: String,
}

fn cell(confusion: &Confusion, truth: usize, guess: usize) -> Cell {
    let count = confusion.counts[truth][guess];
    let share = count as f64 / confusion.support(truth).max(1) as f64;
    let right = truth == guess;
    let shade = if right { share.max(0.1) } else { of_mistakes(share) };
    Cell {
        x: guess as u32 * PITCH,
        y: truth as u32 * PITCH,
        class: if right { "right" } else { "wrong" },
        ink: match (shade > DARK, right) {
            (false, _) => "",
            (true, true) => "on-blue",
            (true, false) => "on-orange",
        },
        size: if count < 1000 { "small" } else { "tiny" },
        shade: (count > 0).then_some(shade),
        count: if count < 10_000 { count.to_string() } else { format!("{}k", count / 1000) },
        what: format!("{truth} taken for {guess}: {count}, {} of its row", percent(Some(share), 2)),
    }
}

/// A share in percent, without the sign.
fn figure(share: Option<f64>) -> String {
    percent(share, 1).replace('%', "")
}

/// The shade of mistakes that make up `share` of their row: 0.1 for one in ten thousand, 1 for all.
fn of_mistakes(share: f64) -> f64 {
    (1.0 + share.log10() / 4.0 * 0.9).max(0.1)
}
