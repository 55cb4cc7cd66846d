//! From drawings to picture files. Everything is drawn as SVG, so that the page can hold it inline and a file holds the
//! same, rasterised; what consists of pixels is laid over it, enlarged without blur.

use super::{Heading, ReportError, theme};
use askama::Template;
use resvg::tiny_skia::{FilterQuality, Pixmap, PixmapPaint, Transform};
use resvg::usvg::{Options, Tree, fontdb};
use std::sync::Arc;

/// SVG elements, without the `<svg>` around them, and the room they take.
pub struct Drawing {
    pub width: u32,
    pub height: u32,
    pub body: String,
}

/// Pixels laid over a drawing at (`x`, `y`), in the drawing's units.
pub struct Overlay<'a> {
    pub x: u32,
    pub y: u32,
    /// Pixels of the file that a pixel takes, both ways.
    pub enlarged: u32,
    pub pixels: &'a Pixmap,
}

/// Pixels of a file to a unit of a drawing, so that text is sharp on today's displays.
pub const DENSITY: u32 = 2;

/// Around a picture, in units.
const MARGIN: u32 = 24;
/// A little more than the mean width of a letter over its size.
const LETTER: f64 = 0.52;
const ELLIPSIS: char = '…';

impl Drawing {
    /// Both, side by side, `gap` apart.
    pub fn beside(self, other: Self, gap: u32) -> Self {
        let x = self.width + gap;
        let body = format!(r#"{}<g transform="translate({x},0)">{}</g>"#, self.body, other.body);
        Self { width: x + other.width, height: self.height.max(other.height), body }
    }

    /// Both, one under the other, `gap` apart.
    pub fn above(self, other: Self, gap: u32) -> Self {
        let y = self.height + gap;
        let body = format!(r#"{}<g transform="translate(0,{y})">{}</g>"#, self.body, other.body);
        Self { width: self.width.max(other.width), height: y + other.height, body }
    }
}

#[derive(Template)]
#[template(path = "report/picture.svg")]
struct File<'a> {
    width: u32,
    height: u32,
    margin: u32,
    content_y: u32,
    title: String,
    what: &'a str,
    /// Lines and their places in the box.
    warning: Vec<(u32, String)>,
    warning_height: u32,
    body: &'a str,
}

/// The PNG file of a drawing and what lies over it, under a heading; `what` says what one sees. `above` are SVG
/// elements that lie over the pixels.
pub fn png(
    heading: Heading,
    what: &str,
    drawing: &Drawing,
    overlays: &[Overlay],
    above: &str,
) -> Result<Vec<u8>, ReportError> {
    let letters = (f64::from(drawing.width) / (12.0 * LETTER)) as usize;
    let warning = warning_lines(heading.warning.unwrap_or_default(), letters.saturating_sub(4));
    let warning_height = warning.last().map_or(0, |(y, _)| y + 12);
    let content_y = MARGIN + 56 + if warning.is_empty() { 0 } else { warning_height + 12 };
    let (width, height) = (drawing.width + 2 * MARGIN, content_y + drawing.height + MARGIN);
    let title = shortened(&printable(heading.title), drawing.width, 18.0);
    let body = &drawing.body;
    let svg = File { width, height, margin: MARGIN, content_y, title, what, warning, warning_height, body }.render()?;

    let tree = Tree::from_str(&svg, &options())?;
    let mut pixmap = Pixmap::new(width * DENSITY, height * DENSITY).ok_or(ReportError::TooLarge { width, height })?;
    resvg::render(&tree, Transform::from_scale(DENSITY as f32, DENSITY as f32), &mut pixmap.as_mut());
    let sharp = PixmapPaint { quality: FilterQuality::Nearest, ..PixmapPaint::default() };
    for Overlay { x, y, enlarged, pixels } in overlays {
        let (left, top) = ((MARGIN + x) * DENSITY, (content_y + y) * DENSITY);
        let place = Transform::from_scale(*enlarged as f32, *enlarged as f32).post_translate(left as f32, top as f32);
        pixmap.draw_pixmap(0, 0, pixels.as_ref(), &sharp, place, None);
    }
    if !above.is_empty() {
        let (wide, high) = (drawing.width + MARGIN, drawing.height + MARGIN);
        let svg = format!(r#"<svg xmlns="http://www.w3.org/2000/svg" width="{wide}" height="{high}">{above}</svg>"#);
        let tree = Tree::from_str(&svg, &options())?;
        let place = Transform::from_translate(MARGIN as f32, content_y as f32).post_scale(DENSITY as f32, DENSITY as f32);
        resvg::render(&tree, place, &mut pixmap.as_mut());
    }
    encode(&pixmap)
}

/// The PNG file of pixels as they are.
pub fn encode(pixels: &Pixmap) -> Result<Vec<u8>, ReportError> {
    pixels.encode_png().map_err(|error| ReportError::Encode(error.to_string()))
}

/// How SVG is read: with our style sheet, and with a font of our own, so that a picture is the same on every machine.
fn options() -> Options<'static> {
    let mut fonts = fontdb::Database::new();
    fonts.load_font_source(fontdb::Source::Binary(Arc::new(epaint_default_fonts::UBUNTU_LIGHT)));
    let style_sheet = Some(theme::picture_styles());
    Options { font_family: "Ubuntu".into(), fontdb: Arc::new(fonts), style_sheet, ..Options::default() }
}

/// In lines of so many letters, each with its place in the box.
fn warning_lines(warning: &str, letters: usize) -> Vec<(u32, String)> {
    let warning = printable(warning);
    let lines = textwrap::wrap(&warning, letters).into_iter().filter(|line| !line.is_empty());
    lines.zip(0..).map(|(line, index)| (20 + 17 * index, line.into_owned())).collect()
}

/// About how wide `text` is in letters of `size`, in units; rather too wide, as a page's reader has other fonts.
pub fn text_width(text: &str, size: f64) -> u32 {
    (text.chars().map(advance).sum::<f64>() * size).round() as u32
}

/// About how far a letter moves the next one, over its size.
fn advance(letter: char) -> f64 {
    match letter {
        _ if " fijlrtI.,:;'!()-/[]|".contains(letter) => 0.4,
        '%' | '@' | 'M' | 'W' | 'm' | 'w' => 1.0,
        'A'..='Z' => 0.72,
        '\0'..='\u{2ff}' => 0.57,
        _ => 1.0, // of other scripts, or the sign for a letter that the font lacks
    }
}

/// Without the code points that XML cannot hold, control characters, and those that turn what follows round.
pub fn printable(text: &str) -> String {
    let turns = |c| matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.chars().filter(|&c| !c.is_control() && !turns(c) && !matches!(c, '\u{fffe}' | '\u{ffff}')).collect()
}

/// To fit into `room` units, an ellipsis for what is left out.
pub fn shortened(text: &str, room: u32, size: f64) -> String {
    if text_width(text, size) <= room {
        return text.to_owned();
    }
    let mut rest = f64::from(room) / size - advance(ELLIPSIS);
    let fitting = text.chars().take_while(|&letter| {
        rest -= advance(letter);
        rest >= 0.0
    });
    fitting.collect::<String>().trim_end().chars().chain([ELLIPSIS]).collect()
}

/// Checks that all text of a drawing lies within it, and no two pieces over each other.
#[cfg(test)]
pub fn check_text(what: &str, drawing: &Drawing) {
    use resvg::tiny_skia::Rect;
    use resvg::usvg::{Group, Node};
    fn collect(group: &Group, found: &mut Vec<(String, Rect)>) {
        for node in group.children() {
            match node {
                Node::Group(group) => collect(group, found),
                Node::Text(text) => {
                    let letters = text.chunks().iter().map(|chunk| chunk.text()).collect();
                    found.push((letters, text.abs_bounding_box()));
                }
                _ => {}
            }
        }
    }
    let Drawing { width, height, body } = drawing;
    let svg = format!(r#"<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}">{body}</svg>"#);
    let mut found = Vec::new();
    collect(Tree::from_str(&svg, &options()).unwrap().root(), &mut found);
    assert!(!found.is_empty(), "{what}: no text");
    for (place, (text, at)) in found.iter().enumerate() {
        let inside = at.left() > -1.0 && at.top() > -1.0 && at.right() < *width as f32 + 1.0;
        assert!(inside && at.bottom() < *height as f32 + 1.0, "{what}: {text:?} at {at:?} leaves {width} x {height}");
        for (other, there) in &found[..place] {
            let across = at.right().min(there.right()) - at.left().max(there.left());
            let down = at.bottom().min(there.bottom()) - at.top().max(there.top());
            assert!(across < 0.5 || down < 1.0, "{what}: {text:?} lies over {other:?}");
        }
    }
}
