//! Values of options: what they may be, and what is said of others.

use clap::builder::{PathBufValueParser, TypedValueParser};
use mnist_wgpu::data::Dataset;
use mnist_wgpu::run::{Optimizer, Training};
use mnist_wgpu::schedule::Kind;
use mnist_wgpu::sources::pictures;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

pub fn whole<T: TryFrom<u64>>(text: &str, range: RangeInclusive<u64>) -> Result<T, String> {
    let number = text.parse().ok().filter(|number| range.contains(number));
    let expected = || format!("expected a whole number from {} to {}", range.start(), range.end());
    number.and_then(|number| number.try_into().ok()).ok_or_else(expected)
}

pub fn epochs(text: &str) -> Result<u32, String> {
    whole(text, 1..=Training::MOST_EPOCHS.into())
}

pub fn batch_size(text: &str) -> Result<u32, String> {
    whole(text, 1..=Training::LARGEST_BATCH.into())
}

pub fn seed(text: &str) -> Result<u64, String> {
    whole(text, 0..=Training::LARGEST_SEED)
}

pub fn layers(text: &str) -> Result<u32, String> {
    whole(text, 1..=1000)
}

pub fn seeds(text: &str) -> Result<u32, String> {
    whole(text, 1..=10_000)
}

pub fn steps(text: &str) -> Result<usize, String> {
    whole(text, 1..=1_000_000_000)
}

pub fn seconds(text: &str) -> Result<u64, String> {
    whole(text, 1..=3600)
}

fn number(text: &str, fits: impl Fn(f64) -> bool, expected: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|&number| fits(number));
    number.ok_or_else(|| format!("expected a number {expected}"))
}

/// Also once it is an f32.
pub fn positive(text: &str) -> Result<f64, String> {
    number(text, |x| x > 0.0 && (x as f32).is_finite() && x as f32 > 0.0, "above 0, within 1e-45 and 3e38")
}

/// Also once it is an f32.
pub fn below_one(text: &str) -> Result<f64, String> {
    number(text, |x| x >= 0.0 && (x as f32) < 1.0, "from 0 to below 1")
}

/// Also once it is an f32.
pub fn not_negative(text: &str) -> Result<f64, String> {
    number(text, |x| x >= 0.0 && (x as f32).is_finite(), "from 0 to 3e38")
}

pub fn schedule(text: &str) -> Result<Kind, String> {
    let known = Kind::ALL.map(Kind::name).join(", ");
    Kind::ALL.into_iter().find(|kind| kind.name() == text).ok_or_else(|| format!("expected one of: {known}"))
}

pub fn optimizer(text: &str) -> Result<Optimizer, String> {
    let known = Optimizer::ALL.map(Optimizer::name).join(", ");
    Optimizer::ALL.into_iter().find(|kind| kind.name() == text).ok_or_else(|| format!("expected one of: {known}"))
}

pub fn fraction(text: &str) -> Result<f64, String> {
    number(text, |x| x > 0.0 && x < 1.0, "between 0 and 1")
}

/// `32`, or `24x32`, rows first.
pub fn size(text: &str) -> Result<[usize; 2], String> {
    let (rows, columns) = text.split_once(['x', 'X']).unwrap_or((text, text));
    let side = |text| whole(text, pictures::SMALLEST.into()..=Dataset::LARGEST_SIDE as u64);
    match (side(rows), side(columns)) {
        (Ok(rows), Ok(columns)) => Ok([rows, columns]),
        _ => Err("expected one side or rows x columns, from 10 to 256 each, such as 32 or 24x32".into()),
    }
}

pub fn finite(text: &str) -> Result<f64, String> {
    number(text, f64::is_finite, "that is finite")
}

/// A path that is not a `~` left over.
pub fn path() -> impl TypedValueParser<Value = PathBuf> {
    PathBufValueParser::new().try_map(expanded)
}

/// `path`, unless it begins with a `~` that a shell should have replaced, as it does not within quotes and after a `=`:
/// a file would be looked for, or a folder made, of that very name.
pub fn expanded(path: PathBuf) -> Result<PathBuf, String> {
    let first = path.iter().next().unwrap_or_default();
    if !first.to_string_lossy().starts_with('~') || Path::new(first).exists() || path.exists() {
        return Ok(path);
    }
    let meant =
        std::env::home_dir().filter(|_| first == "~").map(|home| home.join(path.iter().skip(1).collect::<PathBuf>()));
    let instead = meant.map_or("the whole path".into(), |path| path.display().to_string());
    Err(format!("the shell did not expand the `~` of {}: write {instead}", path.display()))
}
