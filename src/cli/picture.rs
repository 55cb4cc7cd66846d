//! A picture as the network sees it, drawn with characters.

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

/// Columns that a picture takes: larger ones are drawn smaller, by leaving out pixels.
const WIDEST: usize = 64;

/// Pixels of an image from one that is drawn to the next.
fn step([_, height, width]: [usize; 3]) -> usize {
    width.max(height).div_ceil(WIDEST)
}

/// Characters of each line of [`draw`].
pub fn width(shape: [usize; 3]) -> usize {
    shape[2].div_ceil(step(shape))
}

/// The image (C, H, W) as lines of characters, each of which shows two pixels, one above the other.
pub fn draw(image: &[u8], shape: [usize; 3], palette: Palette) -> Vec<String> {
    let ([channels, height, columns], step) = (shape, step(shape));
    // Red, green, blue; black below the last row.
    let pixel = |y: usize, x: usize| -> [u8; 3] {
        let value = |c: usize| image[((c % channels) * height + y) * columns + x];
        if y < height { [0, 1, 2].map(value) } else { [0; 3] }
    };
    let line = |y: usize| {
        let pairs = (0..columns).step_by(step).map(|x| (pixel(y, x), pixel(y + step, x)));
        match palette {
            Palette::Shades => pairs.map(|(above, below)| shade(grey(above), grey(below))).collect(),
            _ => pairs.map(|(above, below)| halves(above, below, palette)).collect::<String>() + "\x1b[0m",
        }
    };
    (0..height).step_by(2 * step).map(line).collect()
}

fn grey([red, green, blue]: [u8; 3]) -> u8 {
    ((u32::from(red) * 299 + u32::from(green) * 587 + u32::from(blue) * 114) / 1000) as u8
}

fn shade(above: u8, below: u8) -> char {
    const SHADES: [char; 10] = [' ', '.', ':', '-', '=', '+', '*', '#', '%', '@'];
    SHADES[(usize::from(above) + usize::from(below)) * (SHADES.len() - 1) / 510]
}

/// The upper half of a block, in the colour of the pixel above on that of the pixel below.
fn halves(above: [u8; 3], below: [u8; 3], palette: Palette) -> String {
    let colour = |[red, green, blue]: [u8; 3]| match palette {
        Palette::True => format!("2;{red};{green};{blue}"),
        _ if red == green && green == blue => format!("5;{}", index(red)),
        _ => {
            // The 6 x 6 x 6 colours from 16 on.
            let [red, green, blue] = [red, green, blue].map(|value| (u32::from(value) * 5 + 127) / 255);
            format!("5;{}", 16 + 36 * red + 6 * green + blue)
        }
    };
    format!("\x1b[38;{};48;{}m▀", colour(above), colour(below))
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

    const SHAPE: [usize; 3] = [1, 28, 28];

    #[test]
    fn two_rows_of_pixels_are_one_line() {
        let mut digit = [0; 28 * 28];
        digit[0] = 255;
        digit[28] = 255;
        digit[28 * 28 - 1] = 255;
        let lines = draw(&digit, SHAPE, Palette::Shades);
        assert_eq!((lines.len(), lines[0].as_str()), (14, format!("@{}", " ".repeat(27)).as_str()));
        assert_eq!(lines[13].trim_start(), "=");
        assert!(draw(&digit, SHAPE, Palette::True)[0].starts_with("\x1b[38;2;255;255;255;48;2;255;255;255m▀"));
        assert!(draw(&digit, SHAPE, Palette::Indexed)[13].ends_with("\x1b[38;5;16;48;5;231m▀\x1b[0m"));
    }

    #[test]
    fn any_size_is_drawn_and_colours_stay_colours() {
        // Red above green, in planes, and an odd row.
        let image = [255, 0, 9, 0, 255, 9, 0, 0, 9];
        let lines = draw(&image, [3, 3, 1], Palette::True);
        assert_eq!(lines[0], "\x1b[38;2;255;0;0;48;2;0;255;0m▀\x1b[0m");
        assert_eq!(lines[1], "\x1b[38;2;9;9;9;48;2;0;0;0m▀\x1b[0m");
        assert_eq!(draw(&image, [3, 3, 1], Palette::Indexed)[0], "\x1b[38;5;196;48;5;46m▀\x1b[0m");
        let large = draw(&[0; 256 * 255], [1, 256, 255], Palette::Shades);
        assert_eq!((large.len(), large[0].len()), (32, width([1, 256, 255])));
    }
}
