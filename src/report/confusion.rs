//! The confusion matrix: truth down, guess across. What is right is shaded by its share of the row, and mistakes, in
//! another colour, by the logarithm of theirs: one in a thousand must be seen beside 990.

use super::picture::{self, Drawing, printable, shortened, text_width};
use super::{Heading, Material, ReportError, percent};
use crate::evaluation::Confusion;
use askama::Template;

/// Up to so many classes are shown; of more, those with the most mistakes.
const MOST: usize = 60;
/// Of more classes than [`MOST`].
const SELECTED: usize = 40;
/// Room for a class's name, over the size of its letters.
const NAME: f64 = 9.0;
/// Room at the right for the recalls.
const RIGHT: u32 = 44;
/// How wide the legend is.
const LEGEND: u32 = 290;
/// From this shade on, figures are written in the colour for coloured ground.
const DARK: f64 = 0.65;

/// `confusion.png`.
pub fn png(heading: Heading, material: &Material) -> Result<Vec<u8>, ReportError> {
    picture::png(heading, &what(material.confusion), &drawing(material)?, &[], "")
}

/// What is shown, and what is left out.
pub(super) fn what(confusion: &Confusion) -> String {
    let classes = confusion.classes();
    match classes > MOST {
        true => format!("Confusion: what was taken for what, of {classes} classes the {SELECTED} with the most mistakes"),
        false => "Confusion: what each class was taken for".to_owned(),
    }
}

/// Whether the matrix takes the whole width of the page.
pub(super) fn is_wide(confusion: &Confusion) -> bool {
    pitch(confusion.classes().min(SELECTED)) < ROOMY
}

/// From a cell to the next, of `count` in a row.
fn pitch(count: usize) -> u32 {
    match count {
        0..=12 => ROOMY,
        13..=24 => 22,
        _ => 15,
    }
}

/// Cells of this pitch have room for figures as large as anywhere.
const ROOMY: u32 = 30;

/// The classes that are shown, in their own order.
fn shown(confusion: &Confusion) -> Vec<usize> {
    let mut classes: Vec<usize> = (0..confusion.classes()).collect();
    if classes.len() > MOST {
        let mut mistakes = vec![0; classes.len()];
        for (truth, guess, count) in confusion.mistakes() {
            mistakes[truth] += count;
            mistakes[guess] += count;
        }
        classes.sort_by_key(|&class| std::cmp::Reverse(mistakes[class])); // stable
        classes.truncate(SELECTED);
        classes.sort_unstable();
    }
    classes
}

/// The matrix and its margins.
pub(super) fn drawing(material: &Material) -> Result<Drawing, ReportError> {
    matrix(material.confusion, material.classes)
}

/// The same of a matrix alone.
pub(super) fn matrix(confusion: &Confusion, classes: &[String]) -> Result<Drawing, ReportError> {
    let shown = shown(confusion);
    let pitch = pitch(shown.len());
    let (square, side) = (pitch - 1, pitch * shown.len() as u32);
    let size = if pitch < 20 { 9.0 } else { 12.0 };
    let short = |&class: &usize| shortened(&printable(&classes[class]), (NAME * size) as u32, size);
    let names: Vec<String> = shown.iter().map(short).collect();
    let longest = names.iter().map(|name| text_width(name, size)).max().unwrap_or_default();
    // Names of columns stand upright where they fit, and are turned where they do not.
    let turned = longest > square;
    let room = longest * 9 / 8; // a page's reader may have wider letters
    let (left, top) = (70.max(room + 14), if turned { room + 26 } else { 36 });
    let margins = shown.iter().zip(&names).zip(0..).map(|((&class, name), index)| Margin {
        at: index * pitch + square / 2,
        name,
        recall: figure(confusion.recall(class)),
        precision: figure(confusion.precision(class)),
    });
    let places = || (0..).zip(shown.iter().copied().zip(&names));
    let cells = places().flat_map(|(y, truth)| {
        places().map(move |(x, guess)| cell(confusion, truth, guess, (x * pitch, y * pitch), square))
    });
    let below = if pitch < ROOMY { 34 } else { 18 };
    let matrix = Matrix {
        width: (left + side + RIGHT).max(left + LEGEND),
        right: left + side + RIGHT,
        left,
        top,
        side,
        square,
        below,
        turned,
        fine: size < 12.0,
        margins: margins.collect(),
        cells: cells.collect(),
        accuracy: percent(confusion.accuracy(), 2),
        legend: [(138, "0.1%", 0.001), (196, "1%", 0.01), (242, "10%", 0.1)]
            .map(|(x, text, share)| (x, text, of_mistakes(share))),
    };
    Ok(Drawing { width: matrix.width, height: top + side + below + 34, body: matrix.render()? })
}

#[derive(Template)]
#[template(path = "report/confusion.svg")]
struct Matrix<'a> {
    width: u32,
    /// Where the recalls end.
    right: u32,
    left: u32,
    top: u32,
    side: u32,
    square: u32,
    /// From the matrix to the last line of the figures below it.
    below: u32,
    /// Whether names of columns are turned.
    turned: bool,
    /// Whether names are written small.
    fine: bool,
    margins: Vec<Margin<'a>>,
    cells: Vec<Cell>,
    /// Of all images.
    accuracy: String,
    /// Place, share of the row, shade.
    legend: [(u32, &'static str, f64); 3],
}

/// What stands at both ends of row and column.
struct Margin<'a> {
    at: u32,
    name: &'a str,
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
    /// Empty where it has no room.
    count: String,
    what: String,
}

/// Of truth and guess their classes and names.
fn cell(
    confusion: &Confusion,
    (truth, from): (usize, &String),
    (guess, to): (usize, &String),
    (x, y): (u32, u32),
    square: u32,
) -> Cell {
    let count = confusion.count(truth, guess);
    let share = count as f64 / confusion.support(truth).max(1) as f64;
    let right = truth == guess;
    let shade = if right { share.max(0.1) } else { of_mistakes(share) };
    let text = if count < 10_000 { count.to_string() } else { format!("{}k", count / 1000) };
    let (size, height) = match (square, count) {
        (0..20, _) => ("fine", 8.0),
        (_, 0..1000) => ("small", 11.0),
        _ => ("tiny", 10.0),
    };
    Cell {
        x,
        y,
        class: if right { "right" } else { "wrong" },
        ink: match (shade > DARK, right) {
            (false, _) => "",
            (true, true) => "on-blue",
            (true, false) => "on-orange",
        },
        size,
        shade: (count > 0).then_some(shade),
        count: if text_width(&text, height) <= square { text } else { String::new() },
        what: format!("{from} taken for {to}: {count}, {} of its row", percent(Some(share), 2)),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::picture::check_text;

    #[test]
    fn no_text_lies_over_another_whatever_classes_are_named() {
        let odd = ["W".repeat(200), "\u{72ac}\u{1f415}".repeat(9), "\u{202e}turned".into(), "<&>".repeat(9), String::new()];
        let long = |class: usize| odd.get(class).cloned().unwrap_or(format!("a long name, {class}"));
        for (count, figure) in
            [1, 2, 10, 12, 13, 24, 25, 47, 60, 1000].into_iter().flat_map(|n| [(n, 3), (n, 999), (n, 54_321)])
        {
            let confusion = Confusion::new(count, vec![figure; count * count]);
            let short = |class: usize| ["m", "W", "i", "7"][class % 4].to_owned();
            let (long, short) = ((0..count).map(long).collect(), (0..count).map(short).collect());
            for classes in [long, short] as [Vec<String>; 2] {
                let material = Material {
                    title: "",
                    warning: None,
                    facts: &[],
                    history: &[],
                    test_loss: 0.0,
                    test_accuracy: 0.0,
                    classes: &classes,
                    confusion: &confusion,
                    shape: [1, 1, 1],
                    mistakes: &[],
                    augmented: &[],
                    filters: None,
                };
                check_text(&format!("{count} classes, {:?}", classes[0]), &drawing(&material).unwrap());
            }
        }
    }
}
