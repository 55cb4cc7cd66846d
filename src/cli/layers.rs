//! The text of a network, as `--model` has it.

use super::{Failure, values};
use mnist_wgpu::files;
use mnist_wgpu::layers::{from_toml, parse};
use mnist_wgpu::ops::TextError;
use std::ops::Range;

/// The text of a network, from an option that is it or names a file with it.
pub fn text(text: &str) -> Result<String, String> {
    if !text.ends_with(".toml") {
        return parse(text, 1).map(|_| text.to_owned()).map_err(|error| pointed(text, &error));
    }
    let path = values::expanded(text.into())?;
    let file = files::read_text(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let expected = "expected `layers`, a list of layers such as [\"conv 32 3\", \"relu\", \"linear\"]";
    let text = from_toml(&file).map_err(|error| format!("{}: {expected}: {error}", path.display()))?;
    parse(&text, 1).map_err(|error| pointed(&text, &error))?;
    Ok(text)
}

/// A fault in the text of a network, with a mark under its place.
fn pointed(text: &str, error: &TextError) -> String {
    let count = |range: Range<usize>| text[range].chars().count();
    let start = text[..error.at.start].rfind('\n').map_or(0, |at| at + 1);
    let line = text[start..].lines().next().unwrap_or_default();
    let (before, len) = (count(start..error.at.start), count(error.at.clone()).max(1));
    let at = count(0..error.at.start) + 1;
    format!("at character {at}, {error}\n  {line}\n  {}{}", " ".repeat(before), "^".repeat(len))
}

/// The error that `text`, of a run's own settings, is no network.
pub fn bad(text: Option<&str>, error: &TextError) -> Failure {
    Failure::Usage(format!("`--model`: {}", pointed(text.unwrap_or_default(), error)))
}
