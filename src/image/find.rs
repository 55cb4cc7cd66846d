//! The digits on a page: strokes that hang together, of one pen and about one size, read line by line.
//!
//! ```text
//! picture -> contrast -> strokes, darker and lighter -> parts -> without lines, frames, blots and specks
//!         -> digits, each of one part or of several -> in the order in which they are read
//! ```

use super::parts::{Divider, Frame, Mask, Part};
use super::{Plane, median, strength, strokes};
use ::image::RgbImage;

/// How wide strokes may be that are looked for, as shares of the picture's longer side: the wider, the more of what
/// lies around digits counts as strokes, too.
const WIDEST_STROKES: [f32; 3] = [0.07, 0.14, 0.28];
/// Strokes that stand out less than this, or less than that many times the paper's own unevenness, are none.
const FAINTEST: f32 = 0.08;
const OVER_NOISE: f32 = 5.0;
/// Shares of the strength of the ink. Where parts at one level are no digits, those at the next are tried: the pale
/// lines of ruled paper are left behind.
const LEVELS: [f32; 5] = [0.22, 0.33, 0.45, 0.6, 0.75];
/// A part that is smaller, in pixels and as a share of the longer side, is a speck.
const SMALLEST: usize = 5;
const SPECK: f32 = 0.02;
/// Half of a stroke's width is at most this share of the part's longer side; else it is a blot.
const BLOT: f32 = 0.23;
/// A digit has two holes at most, a careless one three; a grid more.
const MOST_HOLES: usize = 3;
/// Share of the pixels around a part that must look different. The gap between two strokes is open at its ends.
const CLOSED: f32 = 0.85;
/// Heights, in those of the tallest: of what is a digit beside it, and of what makes a frame if it lies within.
const OF_TALLEST: f32 = 0.45;
const OF_FRAME: f32 = 0.3;
/// Width in heights: of a digit, and from where on it may be two that touch.
const WIDEST: f32 = 1.6;
const WIDE: f32 = 1.05;
/// Share of the ink's strength below which a difference counts as paper: JPEG's ripples beside an edge.
const RIPPLE: f32 = 0.06;
/// Beyond so many the picture is a texture: the largest are looked at.
const MOST_PARTS: usize = 400;
/// How often the frames of all parts together cover the picture, at most. Digits stand beside each other; the lines of
/// a hatching or the rings of a target, hundreds in the same place, would take minutes.
const MOST_COVERED: usize = 4;

/// A digit as it stands on the page.
pub(super) struct Glyph {
    pub frame: Frame,
    /// From 0.
    pub line: usize,
    /// Its ink alone, with a margin: 0 for paper to 1 for ink.
    pub ink: Plane,
}

impl Glyph {
    /// The two digits that it may be, cut apart where there is least ink; of a narrow one none.
    pub fn halves(&self) -> Option<[Self; 2]> {
        let Plane { width, height, values } = &self.ink;
        if self.frame.width() as f32 <= WIDE * self.frame.height() as f32 {
            return None;
        }
        let inked = |x: usize| values.iter().skip(x).step_by(*width).sum::<f32>();
        let middle = width / 2;
        let cut = (width / 4..3 * width / 4).min_by(|&a, &b| {
            inked(a).total_cmp(&inked(b)).then(a.abs_diff(middle).cmp(&b.abs_diff(middle))) //
        })?;
        let half = |from: usize, to: usize| {
            let rows = values.chunks_exact(*width).flat_map(|row| &row[from..to]);
            let ink = Plane { width: to - from, height: *height, values: rows.copied().collect() };
            let left = (self.frame.left + from).clamp(self.frame.left, self.frame.right - 1);
            let right = (self.frame.left + to).clamp(left + 1, self.frame.right);
            Self { frame: Frame { left, right, ..self.frame }, line: self.line, ink }
        };
        Some([half(0, cut), half(cut, *width)])
    }
}

/// All digits in a picture, line by line from left to right.
pub(super) fn find(picture: &RgbImage) -> Vec<Glyph> {
    let grey = strokes::contrast(picture);
    let opposite = Plane { values: grey.values.iter().map(|value| -value).collect(), ..grey };
    let pages = [&grey, &opposite].map(|grey| {
        WIDEST_STROKES.map(|share| {
            let reach = ((grey.width.max(grey.height) as f32 * share) as usize / 2).max(2);
            Page::new(grey, strokes::darker(grey, reach))
        })
    });
    let votes = pages.each_ref().map(|scales| scales.iter().map(|page| page.score).sum::<f32>());
    let [darker, lighter] = pages;
    let scales = if votes[0] >= votes[1] { darker } else { lighter };
    let best = scales.iter().map(|page| page.score).fold(0.0, f32::max);
    let Some(page) = scales.into_iter().rev().find(|page| page.score > 0.0 && page.score >= 0.9 * best) else {
        return Vec::new();
    };
    let Page { ink, digits, .. } = page;
    in_reading_order(digits).into_iter().map(|(line, digit)| digit.cut_out(&ink, line)).collect()
}

/// Everything that stands out in a picture in which there are no digits, as one.
pub(super) fn everything(picture: &RgbImage) -> Option<Glyph> {
    let grey = strokes::contrast(picture);
    let opposite = Plane { values: grey.values.iter().map(|value| -value).collect(), ..grey };
    let reach = (grey.width.max(grey.height) / 2).max(2);
    let [darker, lighter] = [&grey, &opposite].map(|grey| strokes::darker(grey, reach));
    let ink = if least(&darker).1 >= least(&lighter).1 { darker } else { lighter };
    let (level, strength) = least(&ink);
    let places: Vec<usize> = (0..ink.values.len()).collect();
    let mut parts = Divider::new(&ink).divide(&places, level);
    let largest = parts.iter().map(|part| part.places.len()).max().filter(|_| strength > 0.0)?;
    parts.retain(|part| part.places.len() * 50 >= largest);
    let digits = parts.into_iter().map(|part| Digit::of((part, Stroke { half: 0, contrast: 0.0 })));
    let digits = digits.reduce(|mut all, digit| {
        all.join(digit);
        all
    })?;
    Some(digits.cut_out(&ink, 0))
}

/// The level above which there is ink, and how strong the ink is; 0 where there is none.
fn least(ink: &Plane) -> (f32, f32) {
    let noise = median(ink.values.clone());
    let most = ink.values.iter().copied().fold(0.0, f32::max);
    if most < FAINTEST.max(OVER_NOISE * noise) {
        return (most, 0.0);
    }
    let strength = strength(&ink.values);
    ((LEVELS[0] * strength).max(4.0 * noise), strength)
}

/// The digits among strokes of at most one width that are darker than what is around them.
struct Page {
    ink: Plane,
    digits: Vec<Digit>,
    /// The height of the tallest, times how much they stand out.
    score: f32,
}

impl Page {
    fn new(grey: &Plane, ink: Plane) -> Self {
        let mut parts = parts(&ink);
        parts.sort_by_key(|part| std::cmp::Reverse(part.frame.longer()));
        parts.truncate(MOST_PARTS);
        // From the smallest on: rather a frame too few than a digit.
        let mut room = MOST_COVERED * ink.values.len();
        let fits = |part: &&Part| room.checked_sub(part.frame.area()).map(|left| room = left).is_some();
        let fitting = parts.iter().rev().take_while(fits).count();
        parts.drain(..parts.len() - fitting);
        let mut strokes: Vec<(Part, Stroke)> = parts.into_iter().filter_map(|part| Stroke::of(grey, &ink, part)).collect();
        let framed: Vec<bool> = strokes.iter().map(|(part, _)| is_frame(part, &strokes)).collect();
        let mut framed = framed.into_iter();
        strokes.retain(|_| !framed.next().unwrap_or_default());
        // One pen wrote all.
        let weight = |(part, stroke): &&(Part, Stroke)| part.frame.height() as f32 * stroke.contrast;
        let pen = strokes.iter().max_by(|a, b| weight(a).total_cmp(&weight(b))).map(|(_, stroke)| *stroke);
        strokes.retain(|(_, stroke)| pen.is_some_and(|pen| stroke.is_by(&pen)));

        let mut digits = join(strokes);
        digits.retain(|digit| {
            let (width, height) = (digit.frame.width() as f32, digit.frame.height() as f32);
            width <= WIDEST * height && height >= 8.0
        });
        let height = digits.iter().map(|digit| digit.frame.height()).max().unwrap_or_default() as f32;
        digits.retain(|digit| digit.frame.height() as f32 >= OF_TALLEST * height);
        let contrast = digits.iter().map(|digit| digit.contrast).sum::<f32>() / digits.len().max(1) as f32;
        Self { ink, digits, score: height * contrast }
    }
}

/// Whether another part lies within that is no speck.
fn is_frame(outer: &Part, strokes: &[(Part, Stroke)]) -> bool {
    strokes.iter().any(|(inner, _)| {
        let tall = inner.frame.height() as f32 >= OF_FRAME * outer.frame.height() as f32;
        tall && outer.frame.holds(&inner.frame) && inner.places.len() * 10 > outer.places.len()
    })
}

/// The parts that may be strokes of digits, by their place and shape.
fn parts(ink: &Plane) -> Vec<Part> {
    let (lowest, strength) = least(ink);
    if strength == 0.0 {
        return Vec::new();
    }
    let mut levels = LEVELS.map(|share| share * strength);
    levels[0] = lowest;
    let mut found = Vec::new();
    let places: Vec<usize> = (0..ink.values.len()).collect();
    descend(&mut Divider::new(ink), ink, &places, &levels, &mut found);
    found
}

/// Adds the parts of `places` at the first level; of those that are no strokes, and of those that are wide and fall
/// apart, the parts at the next.
fn descend(divider: &mut Divider, ink: &Plane, places: &[usize], levels: &[f32], found: &mut Vec<Part>) {
    let Some((&level, higher)) = levels.split_first() else { return };
    let smallest = SMALLEST.max((SPECK * ink.width.max(ink.height) as f32) as usize);
    for mut part in divider.divide(places, level) {
        let frame = part.frame;
        if frame.longer() < smallest {
            continue;
        }
        part.raised = levels.len() < LEVELS.len();
        let before = found.len();
        let stroke = may_be_stroke(&part, ink);
        if !stroke || frame.width() as f32 > WIDE * frame.height() as f32 {
            descend(divider, ink, &part.places, higher, found);
        }
        let tall = |inner: &&Part| inner.frame.height() as f32 >= 0.6 * frame.height() as f32;
        if stroke && found[before..].iter().filter(tall).count() < 2 {
            found.truncate(before);
            found.push(part);
        }
    }
}

/// By its place: a line runs from one side of the picture to the other, or along one.
fn may_be_stroke(part: &Part, ink: &Plane) -> bool {
    let frame = part.frame;
    let [width, height] = [ink.width, ink.height].map(|side| side as f32);
    let (wide, high) = (frame.width() as f32, frame.height() as f32);
    let (left, right) = (frame.left <= 1, frame.right + 1 >= ink.width);
    let (top, bottom) = (frame.top <= 1, frame.bottom + 1 >= ink.height);
    let across = left && right;
    let down = top && bottom && (left || right || wide < 0.15 * width);
    let beside = (left || right) && wide < 0.06 * width && high > 0.5 * height;
    let along = (top || bottom) && high < 0.06 * height;
    !(across || down || beside || along)
}

/// What a part of a digit looks like.
#[derive(Clone, Copy)]
struct Stroke {
    /// Half of its width, in pixels.
    half: usize,
    /// The median of how much it stands out.
    contrast: f32,
}

impl Stroke {
    /// Whether it may be of the same pen.
    fn is_by(&self, pen: &Self) -> bool {
        let wide = self.half + 1 >= pen.half || self.half as f32 >= 0.4 * pen.half as f32;
        wide && self.contrast >= 0.4 * pen.contrast
    }

    /// None of what is a blot, a grid, or open: the gap between two strokes of the other kind.
    fn of(grey: &Plane, ink: &Plane, part: Part) -> Option<(Part, Self)> {
        const STEPS: u32 = 3;
        const REACH: usize = 4;
        let mask = Mask::new(part.frame, &part.places, ink, STEPS as usize);
        let half = mask.half_stroke();
        if half as f32 > BLOT * part.frame.longer() as f32 || mask.holes() > MOST_HOLES {
            return None;
        }
        let ring = mask.around(STEPS..=STEPS, [ink.width, ink.height]);
        let differs = |&&(x, y): &&(usize, usize)| {
            let (mut darkest, mut contrast) = (f32::INFINITY, 0.0f32);
            for y in y.saturating_sub(REACH)..(y + REACH + 1).min(ink.height) {
                for x in x.saturating_sub(REACH)..(x + REACH + 1).min(ink.width) {
                    if mask.covers(x, y) {
                        darkest = darkest.min(grey.values[y * ink.width + x]);
                        contrast = contrast.max(ink.values[y * ink.width + x]);
                    }
                }
            }
            grey.values[y * ink.width + x] - darkest > 0.5 * contrast
        };
        let different = ring.iter().filter(differs).count();
        let contrast = median(part.places.iter().map(|&place| ink.values[place]).collect());
        (different as f32 >= CLOSED * ring.len() as f32).then_some((part, Self { half, contrast }))
    }
}

/// Strokes that make one digit.
struct Digit {
    frame: Frame,
    parts: Vec<Part>,
    /// Of its strokes, the most.
    contrast: f32,
}

impl Digit {
    fn of((part, stroke): (Part, Stroke)) -> Self {
        Self { frame: part.frame, parts: vec![part], contrast: stroke.contrast }
    }

    fn join(&mut self, other: Self) {
        self.frame = self.frame.with(&other.frame);
        self.parts.extend(other.parts);
        self.contrast = self.contrast.max(other.contrast);
    }

    fn cut_out(&self, page: &Plane, line: usize) -> Glyph {
        const EDGE: u32 = 2;
        let frame = self.frame.grown(EDGE as usize + 1, [page.width, page.height]);
        let mut ink = Plane { width: frame.width(), height: frame.height(), values: vec![0.0; frame.area()] };
        let places = self.parts.iter().flat_map(|part| &part.places);
        for (x, y) in Mask::new(self.frame, places, page, EDGE as usize).around(0..=EDGE, [page.width, page.height]) {
            ink.values[(y - frame.top) * ink.width + x - frame.left] = page.values[y * page.width + x];
        }
        let strength = strength(&ink.values);
        let raised = self.parts.iter().filter(|part| part.raised).map(|part| 0.8 * part.level).fold(0.0, f32::max);
        let least = (RIPPLE * strength).max(raised).min(0.5 * strength);
        for value in &mut ink.values {
            *value = ((*value - least) / (strength - least)).clamp(0.0, 1.0);
        }
        Glyph { frame: self.frame, line, ink }
    }
}

/// Joins strokes to digits: those whose frames lie over each other, and those that are no digit alone and near.
fn join(strokes: Vec<(Part, Stroke)>) -> Vec<Digit> {
    let mut digits: Vec<Digit> = strokes.into_iter().map(Digit::of).collect();
    let mut at = 0;
    while at < digits.len() {
        match (at + 1..digits.len()).find(|&other| belong(&digits[at].frame, &digits[other].frame)) {
            Some(other) => {
                let other = digits.swap_remove(other);
                digits[at].join(other);
                at = 0; // what is larger now may be near to others
            }
            None => at += 1,
        }
    }
    digits
}

fn belong(a: &Frame, b: &Frame) -> bool {
    let [across, down] = a.overlap(b);
    let (large, small) = if a.area() >= b.area() { (a, b) } else { (b, a) };
    if (across.max(0) * down.max(0)) as f32 > 0.3 * small.area() as f32 {
        return true;
    }
    let both = a.with(b);
    let size = large.longer() as f32;
    if both.width() as f32 > 1.15 * both.height() as f32 || (small.longer() as f32) < 0.18 * size {
        return false;
    }
    let flat = |frame: &Frame| frame.width() as f32 > 1.3 * frame.height() as f32;
    let short = (small.height() as f32) < 0.6 * large.height() as f32;
    let gap = -across.min(down).min(0) as f32;
    let beneath = across as f32 >= 0.5 * a.width().min(b.width()) as f32;
    let near = gap <= if flat(large) { 0.4 } else { 0.25 } * size;
    (short || flat(small) || flat(large)) && near && (beneath || gap <= 0.1 * size)
}

/// Line by line, from left to right. A digit stands in a line if its middle is as high as one of the line's digits.
fn in_reading_order(mut digits: Vec<Digit>) -> Vec<(usize, Digit)> {
    digits.sort_by_key(|digit| (digit.frame.top, digit.frame.left));
    let mut lines: Vec<Vec<Digit>> = Vec::new();
    for digit in digits {
        let middle = (digit.frame.top + digit.frame.bottom) / 2;
        let stands = |other: &Digit| (other.frame.top..other.frame.bottom).contains(&middle);
        match lines.iter_mut().find(|line| line.iter().any(stands)) {
            Some(line) => line.push(digit),
            None => lines.push(vec![digit]),
        }
    }
    lines.iter_mut().for_each(|line| line.sort_by_key(|digit| digit.frame.left));
    (0..).zip(lines).flat_map(|(number, line)| line.into_iter().map(move |digit| (number, digit))).collect()
}
