//! The page of several runs, laid over each other. Its form stands in `templates/report/compare.html`.

use super::picture::{Drawing, printable};
use super::{ReportError, confusion, curves, percent, theme};
use crate::comparison::{Comparison, Group, Remark, told};
use crate::history::Row;
use askama::Template;

/// So many confusion matrices are shown.
const MATRICES: usize = 12;
/// Up to so many classes have a line in the table of recalls.
const CLASSES: usize = 100;
/// Colours and dashes of lines in the style sheet.
const COLOURS: usize = 6;
const DASHES: usize = 4;
/// Learning rates that differ by a larger ratio are drawn on a logarithmic axis.
const LOG_FROM: f64 = 30.0;

/// The page.
pub fn html(title: &str, warning: Option<&str>, comparison: &Comparison) -> Result<String, ReportError> {
    let groups = &comparison.groups;
    let (head, rows, words) = comparison.table();
    let rows = rows.into_iter().enumerate().map(|(index, cells)| Line { class: class(index), cells });
    let (mut matrices, mut left_out, mut judged) = (Vec::new(), 0, Vec::new());
    for (index, group) in groups.iter().enumerate() {
        let Some((classes, counts)) = group.confusion() else { continue };
        if matrices.len() == MATRICES {
            left_out += 1;
            continue;
        }
        matrices.push(Matrix {
            class: class(index),
            name: printable(&group.name),
            drawing: confusion::matrix(&counts, classes)?,
        });
        judged.push((classes, counts));
    }
    let page = Page {
        title,
        warning,
        styles: theme::page_styles(),
        means: groups.iter().any(|group| group.members.len() > 1),
        head,
        words,
        rows: rows.collect(),
        same: same(comparison),
        curves: [
            ("Validation loss", curve("Validation loss", groups, |row| row.val_loss, curves::loss_axis, "")?),
            (
                "Validation accuracy",
                curve("Validation accuracy", groups, |row| 100.0 * row.val_accuracy, curves::accuracy_axis, "%")?,
            ),
            ("Training loss", curve("Training loss", groups, |row| row.train_loss, curves::loss_axis, "")?),
            ("Learning rate", rates(groups)?),
        ],
        recalls: recalls(&judged),
        matrices,
        left_out,
        remarks: comparison.remarks.iter().map(|Remark { path, what }| (path.display().to_string(), what)).collect(),
        folders: groups
            .iter()
            .map(|group| {
                let folders = group.members.iter().map(|member| member.folder.display().to_string());
                (group.name.as_str(), folders.collect::<Vec<_>>().join(", "))
            })
            .collect(),
    };
    Ok(page.render()?)
}

#[derive(Template)]
#[template(path = "report/compare.html")]
struct Page<'a> {
    title: &'a str,
    warning: Option<&'a str>,
    styles: String,
    /// Whether some line is of several runs.
    means: bool,
    head: Vec<String>,
    /// How many of the columns are words.
    words: usize,
    rows: Vec<Line>,
    same: String,
    curves: [(&'static str, Drawing); 4],
    matrices: Vec<Matrix>,
    left_out: usize,
    /// Names of classes and a share for each matrix; none where they are of other classes.
    recalls: Vec<(String, Vec<String>)>,
    remarks: Vec<(String, &'a String)>,
    folders: Vec<(&'a str, String)>,
}

struct Line {
    class: String,
    cells: Vec<String>,
}

struct Matrix {
    class: String,
    name: String,
    drawing: Drawing,
}

/// How the line of the group `index` looks.
fn class(index: usize) -> String {
    format!("line line-{} dash-{}", index % COLOURS, index / COLOURS % DASHES)
}

/// The settings that are the same everywhere.
fn same(comparison: &Comparison) -> String {
    let settings = &comparison.groups[0].first().settings;
    let same = settings.iter().filter(|(name, _)| !comparison.differing.contains(name));
    same.map(|(name, value)| format!("{name} {}", told(name, Some(value)))).collect::<Vec<_>>().join(", ")
}

/// A line for each group.
fn series(groups: &[Group], value: impl Fn(&Row) -> f64) -> Vec<curves::Series> {
    let line = |(index, group): (usize, &Group)| {
        let curve = group.curve(&value);

        curves::Series {
            class: class(index),
            points: curve.iter().map(|(epoch, figure)| (f64::from(*epoch), figure.mean)).collect(),
            spread: curve.iter().map_while(|(_, figure)| figure.sd).collect(),
        }
    };
    groups.iter().enumerate().map(line).collect()
}

fn curve(
    name: &str,
    groups: &[Group],
    value: impl Fn(&Row) -> f64,
    axis: impl Fn(f64, f64) -> (super::axis::Axis, bool),
    unit: &str,
) -> Result<Drawing, ReportError> {
    curves::epochs(name, &series(groups, value), axis, unit)
}

/// The learning rate that each epoch ended with.
fn rates(groups: &[Group]) -> Result<Drawing, ReportError> {
    let mut series = series(groups, |row| row.learning_rate);
    series.iter_mut().for_each(|series| series.spread.clear()); // the same in all runs of a group
    let highest = |series: &curves::Series| curves::extremes(series.points.iter().map(|(_, rate)| *rate)).1;
    let (low, high) = curves::extremes(series.iter().map(highest));
    let name = "Learning rate at each epoch's end";
    match low > 0.0 && high / low > LOG_FROM {
        true => curves::epochs(name, &series, curves::loss_axis, ""),
        false => curves::epochs(name, &series, curves::from_zero, ""),
    }
}

/// Where all matrices are of the same classes.
fn recalls(judged: &[(&[String], crate::evaluation::Confusion)]) -> Vec<(String, Vec<String>)> {
    let Some((classes, _)) = judged.first() else { return Vec::new() };
    if judged.len() < 2 || classes.len() > CLASSES || judged.iter().any(|(others, _)| others != classes) {
        return Vec::new();
    }
    let shares = |class: usize| judged.iter().map(|(_, counts)| percent(counts.recall(class), 2)).collect();
    classes.iter().enumerate().map(|(class, name)| (printable(name), shares(class))).collect()
}
