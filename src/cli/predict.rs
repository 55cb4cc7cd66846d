//! `predict`: what a picture shows.

use super::device::{self, DeviceArguments};
use super::network::{self, Network};
use super::picture::{self, Palette};
use super::{Failure, print, tell};
use mnist_wgpu::data::{Dataset, Images};
use mnist_wgpu::engine::Set;
use mnist_wgpu::evaluation::{Verdict, softmax, verdict};
use mnist_wgpu::image::{self, Fault};
use serde::Serialize;
use std::fmt::Write;
use std::io::{self, IsTerminal, Read};
use std::path::{Path, PathBuf};

/// More pictures than this are told in a line each unless the user wants to see them.
const MOST_DRAWN: usize = 20;
/// A larger file is refused.
const MOST_BYTES: u64 = 256 << 20;
/// What its help says of `--device`: one picture takes less time than opening a GPU.
const DEVICE: &str = "cpu, auto (a GPU if there is one), gpu, a number of `devices`, or a part of a device's name";
/// Stands for stdin.
const STDIN: &str = "-";

const EXAMPLES: &str = "\
Examples:
  mnist-wgpu predict seven.png              by the network that comes with the program
  mnist-wgpu predict runs/latest drawings   every picture in a folder, by the newest run's best network
  cat seven.jpg | mnist-wgpu predict -";

#[derive(clap::Args)]
#[command(override_usage = "mnist-wgpu predict [OPTIONS] [MODEL] <IMAGE>...")]
#[command(mut_arg("device", |device| device.default_value("cpu").help(DEVICE)))]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// PNG or JPEG pictures of one digit each, folders of them, or - for stdin; before them, if it is not to be the
    /// built-in network, a run's folder or a safetensors file
    #[arg(required = true, value_name = "IMAGE")]
    paths: Vec<PathBuf>,

    /// Print what was found for programs
    #[arg(long)]
    json: bool,

    /// Show what the network sees: auto (in a terminal, up to 20 pictures), always or never
    #[arg(long, value_enum, hide_possible_values = true, default_value = "auto")]
    picture: When,

    #[command(flatten)]
    device: DeviceArguments,
}

#[derive(Clone, Copy, PartialEq, clap::ValueEnum)]
enum When {
    Auto,
    Always,
    Never,
}

pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let (model, paths) = match arguments.paths.split_first() {
        Some((first, rest)) if network::is_network(first) => (Some(first.as_path()), rest),
        _ => (None, &arguments.paths[..]),
    };
    if paths.is_empty() {
        let message =
            "no picture to look at; expected predict [MODEL] IMAGE..., with PNG or JPEG files, a folder or - for stdin";
        return Err(Failure::Usage(message.into()));
    }
    let network = network::load(model)?;
    let note =
        if model.is_none() { " (a run's folder or a .safetensors file before the pictures names another)" } else { "" };
    tell(format_args!("{}{note}", network.line()));

    let (shape, classes) = (network.shape(), network.checkpoint.classes());
    let pictures: Vec<Picture> = paths.iter().flat_map(|path| pictures(path, shape)).collect();
    let samples: Vec<u8> = pictures.iter().flat_map(|picture| picture.sample.iter().flatten()).copied().collect();
    let logits = if samples.is_empty() { Vec::new() } else { logits(&network, samples, &arguments.device)? };
    let mut rows = logits.chunks_exact(classes.len());
    let found: Vec<Found> = pictures
        .into_iter()
        .filter_map(|Picture { path, sample }| {
            let result = match sample {
                Ok(sample) => Ok((sample, rows.next()?)),
                Err(fault) => Err(fault),
            };
            Some(Found { path, result })
        })
        .collect();

    match arguments.json {
        true => print(&json(&found, &classes)?)?,
        false => show(&found, shape, &classes, arguments.picture)?,
    }
    let failed = found.iter().filter(|found| found.result.is_err()).count();
    match (failed, found.len()) {
        (0, _) => Ok(()),
        (1, 1) => Err(Failure::saying("nothing was predicted")),
        (failed, all) => Err(Failure::saying(format!("nothing was predicted for {failed} of {all} pictures"))),
    }
}

/// A picture, and what the network takes of it: (C, H, W).
struct Picture {
    path: String,
    sample: Result<Vec<u8>, Trouble>,
}

/// A picture, and what the network said of it: a row of logits.
struct Found<'a> {
    path: String,
    result: Result<(Vec<u8>, &'a [f32]), Trouble>,
}

/// Why there is nothing to judge.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error("cannot read it ({0}); check the path")]
    Read(#[from] io::Error),
    #[error("expected a picture of at most {} MB, found a larger file; scale it down", MOST_BYTES >> 20)]
    Large,
    #[error("expected .png or .jpg files in this folder (or a model.safetensors), found none; name another")]
    Empty,
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// The pictures that `path` names, one or a folder's, in the order of their names.
fn pictures(path: &Path, shape: [usize; 3]) -> Vec<Picture> {
    let files = match path.is_dir() {
        true => in_folder(path),
        false => Ok(vec![path.to_path_buf()]),
    };
    match files {
        Ok(files) => {
            let picture = |file: &PathBuf| Picture { path: file.display().to_string(), sample: sample(file, shape) };
            files.iter().map(picture).collect()
        }
        Err(trouble) => vec![Picture { path: path.display().to_string(), sample: Err(trouble) }],
    }
}

fn in_folder(folder: &Path) -> Result<Vec<PathBuf>, Trouble> {
    let is_picture = |file: &PathBuf| {
        let extension = file.extension().unwrap_or_default().to_ascii_lowercase();
        ["png", "jpg", "jpeg"].iter().any(|known| extension == *known)
    };
    let files: io::Result<Vec<PathBuf>> = folder.read_dir()?.map(|entry| entry.map(|entry| entry.path())).collect();
    let mut files: Vec<PathBuf> = files?.into_iter().filter(is_picture).collect();
    files.sort();
    if files.is_empty() { Err(Trouble::Empty) } else { Ok(files) }
}

fn sample(path: &Path, shape: [usize; 3]) -> Result<Vec<u8>, Trouble> {
    let mut bytes = Vec::new();
    let source: &mut dyn Read = match path.as_os_str() == STDIN {
        true => &mut io::stdin().lock(),
        false => &mut std::fs::File::open(path)?,
    };
    if source.take(MOST_BYTES + 1).read_to_end(&mut bytes)? as u64 > MOST_BYTES {
        return Err(Trouble::Large);
    }
    Ok(image::sample(&bytes, shape)?)
}

/// What the network says of each of the samples, (N, C, H, W): logits, (N, classes).
fn logits(network: &Network, samples: Vec<u8>, device: &DeviceArguments) -> Result<Vec<f32>, Failure> {
    let shape = network.shape();
    let count = samples.len() / shape.iter().product::<usize>();
    let test = Images { pixels: samples, labels: vec![0; count] }; // what it is nobody knows
    let data = Dataset { shape, classes: network.checkpoint.classes(), train: Images::default(), test };
    let context = if device.is_cpu() { None } else { device::open(device)? };
    let order: Vec<u32> = (0..count as u32).collect();
    Ok(network.judge(context.as_ref(), &data, Set::Test, &order, &mut ())?.logits)
}

/// Prints a line, or a picture and bars, for each; troubles go to stderr.
fn show(found: &[Found], shape: [usize; 3], classes: &[String], when: When) -> Result<(), Failure> {
    let draw = match when {
        When::Always => true,
        When::Never => false,
        When::Auto => io::stdout().is_terminal() && found.len() <= MOST_DRAWN,
    };
    let palette = Palette::from_environment();
    for Found { path, result } in found {
        match result {
            Ok((sample, logits)) if draw => print(&portrait(path, sample, shape, logits, classes, palette))?,
            Ok((_, logits)) => print(&format!("{path}: {}\n", sentence(&verdict(logits), classes)))?,
            Err(trouble) => tell(format_args!("{path}: {trouble}")),
        }
    }
    Ok(())
}

/// `7  99.8%  (then 1, 0.1%)`
fn sentence(verdict: &Verdict, classes: &[String]) -> String {
    let name = |class: u16| &classes[usize::from(class)];
    let doubt = if verdict.confidence < 0.5 { "  a guess: no class has half of the votes" } else { "" };
    let next = verdict.runner_up.map(|(class, share)| format!("  (then {}, {:.1}%)", name(class), 100.0 * share));
    format!("{}  {:.1}%{}{doubt}", name(verdict.guess), 100.0 * verdict.confidence, next.unwrap_or_default())
}

/// What the network sees, and beside it the verdict and a bar for each class: for the likeliest, where there are many.
fn portrait(path: &str, sample: &[u8], shape: [usize; 3], logits: &[f32], classes: &[String], palette: Palette) -> String {
    const LONGEST_BAR: f64 = 20.0;
    const MOST_BARS: usize = 11;
    let (bar, verdict) = (if palette == Palette::Shades { "#" } else { "■" }, verdict(logits));
    let mut shares: Vec<(usize, f64)> = softmax(logits).into_iter().enumerate().collect();
    if shares.len() > MOST_BARS {
        shares.sort_by(|a, b| b.1.total_cmp(&a.1)); // stable: equals stay in order
        shares.truncate(MOST_BARS);
    }
    let widest = shares.iter().map(|&(class, _)| classes[class].chars().count()).max().unwrap_or_default();
    let mut beside = vec![path.to_string(), sentence(&verdict, classes), String::new()];
    beside.extend(shares.into_iter().map(|(class, share)| {
        let mark = if class == usize::from(verdict.guess) { '>' } else { ' ' };
        let bar = bar.repeat((share * LONGEST_BAR).round() as usize);
        format!("{mark} {:<widest$} {:5.1}% {bar}", classes[class], 100.0 * share)
    }));
    let mut lines = picture::draw(sample, shape, palette);
    let width = picture::width(shape);
    lines.resize_with(lines.len().max(beside.len()), || " ".repeat(width));
    beside.resize(lines.len(), String::new());
    let mut text = String::new();
    for (line, beside) in lines.iter().zip(beside) {
        let _ = writeln!(text, "{}", format!("{line}  {beside}").trim_end()); // a String takes everything
    }
    text + "\n"
}

/// What is printed for programs: an array with one of these for each picture.
#[derive(Serialize)]
#[serde(untagged)]
enum Entry<'a> {
    Said {
        path: &'a str,
        /// Number of the class, and its name. (The field is older than classes other than digits.)
        digit: u16,
        class: &'a str,
        confidence: f64,
        /// None where there is but one class.
        runner_up: Option<u16>,
        runner_up_confidence: Option<f64>,
        /// Of each class, in the order of their numbers.
        probabilities: Vec<f64>,
    },
    Failed {
        path: &'a str,
        error: String,
    },
}

fn json(found: &[Found], classes: &[String]) -> Result<String, serde_json::Error> {
    let entries: Vec<Entry> = found.iter().map(|Found { path, result }| entry(path, result, classes)).collect();
    Ok(serde_json::to_string_pretty(&entries)? + "\n")
}

fn entry<'a>(path: &'a str, result: &Result<(Vec<u8>, &[f32]), Trouble>, classes: &'a [String]) -> Entry<'a> {
    match result {
        Ok((_, logits)) => {
            let Verdict { guess, confidence, runner_up } = verdict(logits);
            let (runner_up, runner_up_confidence) = runner_up.unzip();
            let (class, probabilities) = (&classes[usize::from(guess)], softmax(logits));
            Entry::Said { path, digit: guess, class, confidence, runner_up, runner_up_confidence, probabilities }
        }
        Err(trouble) => Entry::Failed { path, error: trouble.to_string() },
    }
}
