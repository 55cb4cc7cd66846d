//! What was read, told to people and to programs.

use super::super::picture::{self, Palette};
use super::{Found, Reading};
use mnist_wgpu::evaluation::Verdict;
use serde::Serialize;
use std::fmt::Write;

/// A picture with one reading in a line; with several a line that says how many and what they are together, and a line
/// for each. With a palette each reading is drawn.
pub fn text(path: &str, readings: &[Reading], shape: [usize; 3], classes: &[String], palette: Option<Palette>) -> String {
    let (mut text, count) = (String::new(), readings.len());
    if count > 1 {
        let _ = writeln!(text, "{path}: {count} digits: {}", together(readings, classes)); // a String takes everything
    }
    for (number, reading) in (1..).zip(readings) {
        let title = if count > 1 { format!("{path}, digit {number} of {count}") } else { path.to_string() };
        let _ = match palette {
            Some(palette) => writeln!(text, "{}", portrait(&title, reading, shape, classes, palette)),
            None if count > 1 => writeln!(text, "  {}", sentence(reading, classes, true)),
            None => writeln!(text, "{path}: {}", sentence(reading, classes, false)),
        };
    }
    text
}

/// All that was read: the names of a line's classes, letters one after the other and longer names apart, and a space
/// between lines.
fn together(readings: &[Reading], classes: &[String]) -> String {
    let letters = classes.iter().all(|name| name.chars().count() == 1);
    let mut text = String::new();
    for (index, reading) in readings.iter().enumerate() {
        let same_line = index == 0 || reading.place.map(|place| place.1) == readings[index - 1].place.map(|place| place.1);
        text += if index > 0 && !(letters && same_line) { " " } else { "" };
        text += &classes[usize::from(reading.verdict.guess)];
    }
    text
}

/// A line for each reading that is in doubt.
pub fn doubts(path: &str, readings: &[Reading], classes: &[String]) -> Vec<String> {
    let line = |(number, reading): (usize, &Reading)| {
        let doubt = reading.doubt.as_ref()?;
        let which = if readings.len() > 1 { format!(", digit {number} of {}", readings.len()) } else { String::new() };
        Some(format!("{path}{which}: {} is in doubt: {doubt}", classes[usize::from(reading.verdict.guess)]))
    };
    (1..).zip(readings).filter_map(line).collect()
}

/// `7  99.8%  (then 1, 0.1%)`, with a question mark where it is in doubt.
fn sentence(Reading { verdict, place, doubt, .. }: &Reading, classes: &[String], with_place: bool) -> String {
    let Verdict { guess, confidence, runner_up } = verdict;
    let name = |class: u16| &classes[usize::from(class)];
    let mark = if doubt.is_some() { "?" } else { "" };
    let next = runner_up.map(|(class, share)| format!("  (then {}, {:.1}%)", name(class), 100.0 * share));
    let place = place.filter(|_| with_place).map(|([left, top, width, height], _)| {
        format!("  at {left},{top}, {width}x{height}") //
    });
    let (next, place) = (next.unwrap_or_default(), place.unwrap_or_default());
    format!("{}{mark}  {:.1}%{next}{place}", name(*guess), 100.0 * confidence)
}

/// What the network sees, and beside it the verdict and a bar for each class: for the likeliest, where there are many.
fn portrait(title: &str, reading: &Reading, shape: [usize; 3], classes: &[String], palette: Palette) -> String {
    const LONGEST_BAR: f64 = 20.0;
    const MOST_BARS: usize = 11;
    let bar = if palette == Palette::Shades { "#" } else { "■" };
    let mut shares: Vec<(usize, f64)> = reading.probabilities.iter().copied().enumerate().collect();
    if shares.len() > MOST_BARS {
        shares.sort_by(|a, b| b.1.total_cmp(&a.1)); // stable: equals stay in order
        shares.truncate(MOST_BARS);
    }
    let widest = shares.iter().map(|&(class, _)| classes[class].chars().count()).max().unwrap_or_default();
    let mut beside = vec![title.to_string(), sentence(reading, classes, false), String::new()];
    beside.extend(shares.into_iter().map(|(class, share)| {
        let mark = if class == usize::from(reading.verdict.guess) { '>' } else { ' ' };
        let bar = bar.repeat((share * LONGEST_BAR).round() as usize);
        format!("{mark} {:<widest$} {:5.1}% {bar}", classes[class], 100.0 * share)
    }));
    let mut lines = picture::draw(&reading.sample, shape, palette);
    let width = picture::width(shape);
    lines.resize_with(lines.len().max(beside.len()), || " ".repeat(width));
    beside.resize(lines.len(), String::new());
    let mut text = String::new();
    for (line, beside) in lines.iter().zip(beside) {
        let _ = writeln!(text, "{}", format!("{line}  {beside}").trim_end());
    }
    text
}

/// What is printed for programs: an array with one of these for each picture.
#[derive(Serialize)]
#[serde(untagged)]
enum Entry<'a> {
    Read {
        path: &'a str,
        /// How many digits were found, and what they are together.
        count: usize,
        text: String,
        /// Of a picture with one digit the same as in `digits`.
        #[serde(flatten)]
        only: Option<Said<'a>>,
        digits: Vec<Said<'a>>,
    },
    Failed {
        path: &'a str,
        error: String,
    },
}

#[derive(Serialize)]
struct Said<'a> {
    /// Number of the class, and its name. (The field is older than classes other than digits.)
    digit: u16,
    class: &'a str,
    confidence: f64,
    /// None where there is but one class.
    runner_up: Option<u16>,
    runner_up_confidence: Option<f64>,
    /// Of each class, in the order of their numbers.
    probabilities: &'a [f64],
    /// Why it should not be believed; none where it can be.
    doubt: Option<&'a str>,
    /// In the picture's pixels; none of a whole picture.
    place: Option<Place>,
}

#[derive(Serialize)]
struct Place {
    left: u32,
    top: u32,
    width: u32,
    height: u32,
    /// From 0.
    line: usize,
}

pub fn json(found: &[Found], classes: &[String]) -> Result<String, serde_json::Error> {
    let entries: Vec<Entry> = found.iter().map(|found| entry(found, classes)).collect();
    Ok(serde_json::to_string_pretty(&entries)? + "\n")
}

fn entry<'a>(Found { path, result, .. }: &'a Found, classes: &'a [String]) -> Entry<'a> {
    match result {
        Ok(readings) => {
            let said = |reading| said(reading, classes);
            let only = if let [only] = &readings[..] { Some(said(only)) } else { None };
            let (count, text) = (readings.len(), together(readings, classes));
            Entry::Read { path, count, text, only, digits: readings.iter().map(said).collect() }
        }
        Err(trouble) => Entry::Failed { path, error: trouble.to_string() },
    }
}

fn said<'a>(Reading { verdict, probabilities, doubt, place, .. }: &'a Reading, classes: &'a [String]) -> Said<'a> {
    let Verdict { guess, confidence, runner_up } = *verdict;
    let (runner_up, runner_up_confidence) = runner_up.unzip();
    let place = place.map(|([left, top, width, height], line)| Place { left, top, width, height, line });
    let (class, doubt) = (&classes[usize::from(guess)], doubt.as_deref());
    Said { digit: guess, class, confidence, runner_up, runner_up_confidence, probabilities, doubt, place }
}
