//! `compare`: several runs beside each other, as a table, as JSON, and as a page.

use super::dataset::NOT_MNIST;
use super::output::{inert, note};
use super::{Failure, print, target, tell, values};
use mnist_wgpu::comparison::{Comparison, Figure, Group, Remark, Settings, as_text};
use mnist_wgpu::report::comparison;
use serde::Serialize;
use std::path::{Path, PathBuf};

const EXAMPLES: &str = "\
Examples:
  mnist-wgpu compare runs/*                        every run there
  mnist-wgpu compare sweep --out sweep.html        those in a folder, and a page of their curves
  mnist-wgpu compare runs/a runs/b --json          for programs

A run is read from its folder alone, wherever that was made. What is no run, or has no complete epoch, is told on stderr \
and passed over.";

/// What is written.
const PAGE: &str = "the page";

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// Folders of runs, or folders with runs in them
    #[arg(value_name = "RUN", required = true, value_parser = values::path())]
    runs: Vec<PathBuf>,

    /// Page to write, in one file that needs nothing else: settings, curves over each other, confusion
    #[arg(long, value_name = "FILE.html", value_parser = values::path())]
    out: Option<PathBuf>,

    /// Overwrite a page that exists
    #[arg(long, requires = "out")]
    force: bool,

    /// Print JSON for programs instead of the table
    #[arg(long)]
    json: bool,
}

/// What `--json` prints. Fields keep their names and units from version to version; new ones may come.
#[derive(Serialize)]
struct Report<'a> {
    /// Names of the settings in which the groups differ.
    differing: &'a [String],
    groups: Vec<OfGroup<'a>>,
    /// Runs that are among the groups, but have no end, or no test.
    remarks: &'a [Remark],
    passed_over: &'a [Remark],
}

/// Runs that differ in nothing but the seed.
#[derive(Serialize)]
struct OfGroup<'a> {
    name: &'a str,
    settings: &'a Settings,
    n: usize,
    best_epoch: Option<Figure>,
    /// Of the best epoch; mean cross-entropy, and shares in [0, 1].
    val_loss: Option<Figure>,
    val_accuracy: Option<Figure>,
    /// None where some run was not tested.
    test_loss: Option<Figure>,
    test_accuracy: Option<Figure>,
    /// Training and validation.
    seconds: Option<Figure>,
    runs: Vec<OfRun<'a>>,
}

#[derive(Serialize)]
struct OfRun<'a> {
    #[serde(serialize_with = "as_text")]
    folder: &'a Path,
    seed: u64,
    /// Epochs that are done, and whether these are all.
    epochs: usize,
    complete: bool,
    best_epoch: u32,
    val_loss: f64,
    val_accuracy: f64,
    test_loss: Option<f64>,
    test_accuracy: Option<f64>,
    seconds: f64,
}

pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    if let Some(path) = &arguments.out {
        target::check(PAGE, path, arguments.force, &[])?;
    }
    let comparison = Comparison::read(&arguments.runs)?;
    tell_of(&comparison);
    if let Some(path) = &arguments.out {
        let title = title(&arguments.runs, &comparison);
        let warning = comparison.has_synthetic().then(synthetic);
        let page = comparison::html(&title, warning.as_deref(), &comparison)?;
        target::write(PAGE, path, page.as_bytes())?;
    }
    match arguments.json {
        true => print(&(serde_json::to_string_pretty(&report(&comparison))? + "\n"))?,
        false => print(&text(&comparison))?,
    }
    if let Some(path) = &arguments.out {
        note(format_args!("Wrote {}.", path.display()));
    }
    Ok(())
}

/// Says what there is to know beside the table.
pub fn tell_of(comparison: &Comparison) {
    for Remark { path, what } in &comparison.passed_over {
        tell(format_args!("Passed over: {}: {what}", path.display()));
    }
    for Remark { path, what } in &comparison.remarks {
        tell(format_args!("Note: {}: {what}", path.display()));
    }
    if comparison.has_synthetic() {
        tell(synthetic());
    }
}

fn synthetic() -> String {
    format!("Some runs are on SYNTHETIC digits. {NOT_MNIST}")
}

fn title(paths: &[PathBuf], comparison: &Comparison) -> String {
    match (paths, &comparison.groups[..]) {
        ([_], [group]) => group.name.clone(),
        ([path], _) => path.file_name().map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into()),
        (_, groups) => {
            let runs: usize = groups.iter().map(|group| group.members.len()).sum();
            format!("{runs} runs")
        }
    }
}

fn report(comparison: &Comparison) -> Report<'_> {
    Report {
        differing: &comparison.differing,
        groups: comparison.groups.iter().map(OfGroup::of).collect(),
        remarks: &comparison.remarks,
        passed_over: &comparison.passed_over,
    }
}

impl<'a> OfGroup<'a> {
    fn of(group: &'a Group) -> Self {
        let runs = group.members.iter().map(|member| {
            let (best, tested) = (member.best(), member.tested.as_ref());
            OfRun {
                folder: &member.folder,
                seed: member.seed,
                epochs: member.rows.len(),
                complete: member.complete,
                best_epoch: best.epoch,
                val_loss: best.val_loss,
                val_accuracy: best.val_accuracy,
                test_loss: tested.map(|tested| tested.loss),
                test_accuracy: tested.map(|tested| tested.accuracy),
                seconds: member.seconds(),
            }
        });
        Self {
            name: &group.name,
            settings: &group.first().settings,
            n: group.members.len(),
            best_epoch: group.best_epoch(),
            val_loss: group.val_loss(),
            val_accuracy: group.val_accuracy(),
            test_loss: group.test_loss(),
            test_accuracy: group.test_accuracy(),
            seconds: group.seconds(),
            runs: runs.collect(),
        }
    }
}

/// The table: words to the left, figures to the right.
pub fn text(comparison: &Comparison) -> String {
    let (head, rows, words) = comparison.table();
    let clean = |row: &Vec<String>| row.iter().map(|cell| inert(cell)).collect();
    let lines: Vec<Vec<String>> = std::iter::once(&head).chain(&rows).map(clean).collect();
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or_default();
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let mut text = String::new();
    for line in &lines {
        let cells = line.iter().zip(&widths).enumerate().map(|(column, (cell, &width))| match column < words {
            true => format!("{cell:<width$}"),
            false => format!("{cell:>width$}"),
        });
        text += cells.collect::<Vec<_>>().join("  ").trim_end();
        text.push('\n');
    }
    text
}
