//! A digit as the network sees it, drawn with characters.

use mnist_wgpu::data::{COLS, PIXELS};
use std::env;

/// What a terminal can show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Palette {
    /// 24 bits.
    True,
    /// xterm's 256 colours, of which 24 are greys.
    Indexed,
    /// Characters of different darkness.
    Shades,
}

impl Palette {
    /// By the variables that users and terminals set.
    pub fn from_environment() -> Self {
        let set = |name: &str| env::var(name).unwrap_or_default();
        let (term, colours) = (set("TERM"), set("COLORTERM"));
        // A Windows console shows escape sequences only where a newer terminal runs it.
        let plain = cfg!(windows) && term.is_empty() && set("WT_SESSION").is_empty();
        if !set("NO_COLOR").is_empty() || term == "dumb" || plain {
            Palette::Shades
        } else if ["truecolor", "24bit"].contains(&colours.as_str()) || !set("WT_SESSION").is_empty() {
            Palette::True
        } else {
            Palette::Indexed
        }
    }
}

/// The image as 14 lines of 28 characters, each of which shows two pixels, one above the other.
pub fn draw(digit: &[u8; PIXELS], palette: Palette) -> Vec<String> {
    let line = |rows: &[u8]| {
        let (above, below) = rows.split_at(COLS);
        let pairs = above.iter().zip(below).map(|(&above, &below)| (above, below));
        match palette {
            Palette::Shades => pairs.map(|(above, below)| shade(above, below)).collect(),
            _ => pairs.map(|(above, below)| halves(above, below, palette)).collect::<String>() + "\x1b[0m",
        }
    };
    digit.chunks_exact(2 * COLS).map(line).collect()
}

fn shade(above: u8, below: u8) -> char {
    const SHADES: [char; 10] = [' ', '.', ':', '-', '=', '+', '*', '#', '%', '@'];
    SHADES[(usize::from(above) + usize::from(below)) * (SHADES.len() - 1) / 510]
}

/// The upper half of a block, in the colour of the pixel above on that of the pixel below.
fn halves(above: u8, below: u8, palette: Palette) -> String {
    match palette {
        Palette::True => format!("\x1b[38;2;{above};{above};{above};48;2;{below};{below};{below}m▀"),
        _ => format!("\x1b[38;5;{};48;5;{}m▀", index(above), index(below)),
    }
}

/// The nearest of black (16), 24 greys (232 to 255: 8, 18, ... 238) and white (231).
fn index(value: u8) -> u8 {
    match value {
        0..=3 => 16,
        247.. => 231,
        _ => 232 + ((value.saturating_sub(3)) / 10).min(23),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_rows_of_pixels_are_one_line() {
        let mut digit = [0; PIXELS];
        digit[0] = 255;
        digit[COLS] = 255;
        digit[PIXELS - 1] = 255;
        let lines = draw(&digit, Palette::Shades);
        assert_eq!((lines.len(), lines[0].as_str()), (14, format!("@{}", " ".repeat(27)).as_str()));
        assert_eq!(lines[13].trim_start(), "=");
        assert!(draw(&digit, Palette::True)[0].starts_with("\x1b[38;2;255;255;255;48;2;255;255;255m▀"));
        assert!(draw(&digit, Palette::Indexed)[13].ends_with("\x1b[38;5;16;48;5;231m▀\x1b[0m"));
    }
}
