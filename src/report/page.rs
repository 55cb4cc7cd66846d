//! The page of a run: one file that needs nothing else, neither network nor script. Its form stands in
//! `templates/report/page.html`.

use super::picture::{Drawing, encode, printable};
use super::tiles::Tile;
use super::{Material, ReportError, augmented, confusion, curves, filters, mistakes, number, percent, theme};
use crate::history::{Row, best};
use askama::Template;
use base64::prelude::{BASE64_STANDARD, Engine};

/// The page.
pub fn html(material: &Material) -> Result<String, ReportError> {
    let Material { title, warning, facts, history, confusion, classes, test_loss, test_accuracy, .. } = *material;
    let kernels = match material.filters {
        Some(found) => Some(Kernels {
            what: filters::what(found),
            tiles: embed(filters::tiles(found)?)?,
            legend: filters::legend(found),
        }),
        None => None,
    };
    let page = Page {
        title,
        warning,
        facts,
        styles: theme::page_styles(),
        headlines: headlines(history, test_loss, test_accuracy, confusion.images()),
        curves: [("Loss", curves::loss(history)?), ("Accuracy", curves::accuracy(history)?)]
            .into_iter()
            .chain(curves::learning_rate(history)?.map(|drawing| ("Learning rate", drawing)))
            .collect(),
        confusion: confusion::drawing(material)?,
        what: confusion::what(confusion),
        wide: confusion::is_wide(confusion),
        classes: (0..confusion.classes())
            .map(|class| {
                let shares = [confusion.precision(class), confusion.recall(class), confusion.f1(class)];
                let shares = shares.map(|share| percent(share, 2));
                Class { name: printable(&classes[class]), shares, support: confusion.support(class) }
            })
            .collect(),
        mistakes: embed(mistakes::tiles(material)?)?,
        augmented: embed(augmented::tiles(material)?)?,
        kernels,
        history,
        best: best(history).map(|row| row.epoch),
    };
    Ok(page.render()?)
}

#[derive(Template)]
#[template(path = "report/page.html")]
struct Page<'a> {
    title: &'a str,
    warning: Option<&'a str>,
    facts: &'a [(String, String)],
    styles: String,
    headlines: Vec<Headline>,
    curves: Vec<(&'static str, Drawing)>,
    confusion: Drawing,
    what: String,
    /// Whether the matrix has no room beside the table.
    wide: bool,
    classes: Vec<Class>,
    mistakes: Vec<Embedded>,
    kernels: Option<Kernels>,
    augmented: Vec<Embedded>,
    history: &'a [Row],
    /// The best epoch by validation.
    best: Option<u32>,
}

impl Page<'_> {
    fn loss(&self, loss: &f64) -> String {
        number(*loss, 6)
    }

    fn is_best(&self, row: &Row) -> bool {
        self.best == Some(row.epoch)
    }
}

struct Headline {
    name: &'static str,
    value: String,
    note: String,
}

struct Class {
    name: String,
    /// Precision, recall, F1.
    shares: [String; 3],
    support: u64,
}

struct Kernels {
    what: String,
    tiles: Vec<Embedded>,
    legend: Drawing,
}

/// A tile, its pixels as a PNG file in base64.
struct Embedded {
    tile: Tile,
    png: String,
}

fn embed(tiles: Vec<Tile>) -> Result<Vec<Embedded>, ReportError> {
    let embed = |tile: Tile| Ok(Embedded { png: BASE64_STANDARD.encode(encode(&tile.pixels)?), tile });
    tiles.into_iter().map(embed).collect()
}

/// `images` is the number of test images.
fn headlines(history: &[Row], test_loss: f64, test_accuracy: f64, images: u64) -> Vec<Headline> {
    let wrong = ((1.0 - test_accuracy) * images as f64).round();
    let mut headlines = vec![
        Headline {
            name: "Test accuracy",
            value: percent(Some(test_accuracy), 2),
            note: format!("{wrong} of {images} wrong"),
        },
        Headline { name: "Test loss", value: number(test_loss, 4), note: "mean cross-entropy".into() },
    ];
    if let (Some(best), Some(last)) = (best(history), history.last()) {
        let seconds = history.iter().map(|row| row.seconds).sum();
        let value = percent(Some(best.val_accuracy), 2);
        headlines.push(Headline { name: "Best validation", value, note: format!("after epoch {}", best.epoch) });
        headlines.push(Headline {
            name: "Epochs",
            value: last.epoch.to_string(),
            note: format!("in {}", duration(seconds)),
        });
    }
    headlines
}

fn duration(seconds: f64) -> String {
    match seconds {
        short if short < 100.0 => format!("{short:.1} s"),
        medium if medium < 6000.0 => format!("{:.0} min", medium / 60.0),
        long => format!("{:.1} h", long / 3600.0),
    }
}
