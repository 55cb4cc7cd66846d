//! What is particular to EMNIST's files, as they are published: images that lie on their side, letters that are counted
//! from 1, and names of the classes in a file of their own.

use super::SourceError;
use super::folder::{Names, text};
use std::path::Path;

/// What the names of its files begin with; the split's own name follows.
const PREFIX: &str = "emnist-";

/// The classes beyond digits and capitals in the splits `balanced` and `bymerge`: small letters unlike their capitals.
const UNLIKE: &str = "abdefghnqrt";

pub fn is(prefix: &str) -> bool {
    prefix.starts_with(PREFIX)
}

/// Rows become columns, in place.
pub fn set_upright([channels, height, width]: [usize; 3], pixels: &mut [u8]) -> [usize; 3] {
    let plane = (height * width).max(1);
    let mut lying = vec![0; plane];
    for upright in pixels.chunks_exact_mut(plane) {
        lying.copy_from_slice(upright);
        for (place, value) in upright.iter_mut().enumerate() {
            *value = lying[place % height * width + place / height];
        }
    }
    [channels, width, height]
}

/// The names of the classes of the split that `prefix` stands for: from its file `emnist-SPLIT-mapping.txt` in
/// `folder`, or else as they are known to be.
pub fn names(folder: &Path, prefix: &str) -> Result<Option<Names>, SourceError> {
    let path = folder.join(format!("{prefix}mapping.txt"));
    if let Some(text) = text(&path)? {
        return mapped(&path, &text).map(Some);
    }
    let capitals = 'A'..='Z';
    let (first, names): (u16, Vec<char>) = match prefix[PREFIX.len()..].trim_end_matches(['-', '_', '.']) {
        "letters" => (1, capitals.collect()),
        "byclass" => (0, ('0'..='9').chain(capitals).chain('a'..='z').collect()),
        "balanced" | "bymerge" => (0, ('0'..='9').chain(capitals).chain(UNLIKE.chars()).collect()),
        "digits" | "mnist" => (0, ('0'..='9').collect()),
        _ => return Ok(None),
    };
    Ok(Some(Names { first, names: names.into_iter().map(String::from).collect() }))
}

/// Lines of a label and the code of its character; a second code, of its small letter, is passed over.
fn mapped(path: &Path, text: &str) -> Result<Names, SourceError> {
    let (mut first, mut names) = (0, Vec::new());
    for (number, line) in (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty()) {
        let mut fields = line.split_whitespace();
        let mut field = || fields.next()?.parse::<u16>().ok();
        let next = |label: &u16| names.is_empty() || usize::from(*label) == usize::from(first) + names.len();
        let label = field().filter(next);
        let name = field().and_then(|code| char::from_u32(code.into())).filter(|name| !name.is_control());
        let (Some(label), Some(name)) = (label, name) else {
            let problem = format!("expected the next label and the code of its character, as in `10 65`, found `{line}`");
            return Err(SourceError::Classes { path: path.into(), line: number, problem });
        };
        first = if names.is_empty() { label } else { first };
        names.push(name.to_string());
    }
    Ok(Names { first, names })
}
