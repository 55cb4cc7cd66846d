//! Drawings of what is no digit, 28x28 as the program makes pictures: the longer side 20 pixels, centred by mass.
//!
//! Each kind leaves out what a person might still read as a digit, such as an S (5), a Z (2) or a 7 seen in a mirror
//! with a bar. A few that slip through do no harm: beside them stand thousands of real digits.

use mnist_wgpu::data::Images;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use std::f32::consts::{PI, TAU};

pub const PIXELS: usize = 28 * 28;
/// Side of the page on which strokes are drawn, and of what is drawn there, before both are scaled down.
const PAGE: usize = 112;
const DRAWN: f32 = 76.0;

type Point = [f32; 2];
type Line = Vec<Point>;

/// Letters and signs, which are turned a little: strokes between commas, through points of a grid from 00 to 88 (x to
/// the right, y down); `~` makes a curve. Left out are the letters like digits: B D G I O Q S Z b g i j l o q s y z.
#[rustfmt::skip]
const LETTERS: &[&str] = &[
    "08 40 88,25 65", "~73 41 04 27 57 74,71 78", "~73 41 04 27 57 74,~71 76 88", "~72 40 11 04 17 48 76",
    "~76 44 14 06 28 66,70 78", "80 00 08 88,04 64", "~82 40 11 34 54,~34 06 27 48 87", "~04 84 60 20 04 28 78",
    "80 00 08,04 64", "~80 50 32 38,14 64", "00 08,80 88,04 84", "00 08,~05 33 74 78", "20 80,~50 56 38 06",
    "00 08,80 04 88", "10 18,73 15 78", "00 08 78", "08 10 45 70 88", "02 08,~04 23 44 48,~44 63 84 88",
    "08 00 88 80", "02 08,~04 43 74 78", "08 00,~00 70 82 64 04", "00 08,~01 50 72 54 04",
    "08 00,~00 60 72 54 04,34 88", "02 08,~04 32 73", "00 80,40 48", "~40 46 58 77,13 73",
    "~00 05 27 48 77 85 80", "~02 06 38 75 72,72 78", "00 48 80", "00 28 43 68 80", "~01 18 44,~44 68 81",
    "00 88,80 08", "00 44 80,44 48", "~03 20 45 68 83", "02 26 42 66 82", "02 24 42 64 82", "~44 22 04 26 44 62 84 66 44",
    "~88 22 20 40 43 05 17 48 85", "~72 40 12 44 75 48 06,40 48", "~82 50 14 58 86,03 63,05 65",
    "~72 50 33 38 08,08 88,14 64", "00 44 80,44 48,14 74,16 76", "~36 15 07 28 36,36 30 70 72",
    "~36 15 07 28 36,36 30 80 86,~86 65 57 78 86", "~12 30 62 44 45,47 48", "80 08,~11 20 31 22 11,~57 66 77 68 57",
    "~55 43 34 46 55 63 82 60 30 04 38 78", "08 04 40 84 88 08,38 35 55 58", "08 04 40 84 88 08",
    "~40 31 42 51 40,42 45,13 73,45 18,45 78", "04 38 80", "~60 41 43 24 45 47 68", "40 41,43 48,28 68",
    "02 82,06 86", "~03 21 43 62 83,~06 24 46 65 86", "04 84,41 42,46 47", "41 42,46 47 38",
];
/// Shapes, which are turned any way.
#[rustfmt::skip]
const SHAPES: &[&str] = &[
    "40 08 88 40", "00 80 88 08 00", "01 81 87 07 01", "40 84 48 04 40", "18 40 78 03 83 18", "~42 20 03 48,~42 60 83 48",
    "04 84,51 84 57", "04 84,51 84 57,31 04 37", "40 48,04 84", "20 28,60 68,02 82,06 86", "40 48,12 76,72 16",
    "80 04 88", "~40 11 04 17 48 77 84 71 40,22 23,62 63,~26 47 66", "~40 11 04 17 48 77 84 71 40,22 23,62 63,~27 46 67",
    "01 81 87 07 01 45 81", "00 80 88 08 00 88,80 08", "~40 11 04 17 48 77 84 71 40,~42 33 24 46 64 42",
    "~40 11 04 17 48 77 84 71 40,11 77,71 17", "~40 11 04 17 48 77 84 71 40,40 48,04 84", "20 60 84 68 28 04 20",
    "~04 31 64 87,~04 37 64 81", "00 80 88 08 00,40 48,04 84", "00 80 88 08 00,22 62 66 26 22", "40 60 61 41 40,08 48 43 83",
    "30 50 53 83 85 55 58 38 35 05 03 33 30", "00 80 88 08 00,30 38,60 68,03 83,06 86", "~04 22 62 84 66 26 04,44 45",
    "00 08 88", "00 88,04 48,40 84", "40 08 88 40,40 45,46 47", "00 80 48 00,~24 44 64",
];

/// Draws `count` things, (count, 28, 28); some are made of the digits `digits`. Each depends on `seed` and its place
/// alone; see [`kind`].
pub fn draw(digits: &Images, among: &[u32], count: usize, seed: u64) -> Vec<u8> {
    let mut pixels = vec![0; count * PIXELS];
    pixels.par_chunks_exact_mut(PIXELS).enumerate().for_each(|(place, image)| {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(place as u64);
        // What came out blank is drawn again.
        while !image.iter().any(|&value| value > 100) {
            let page = match kind(place) {
                Kind::Scribble => pen(scribble(&mut rng), TAU, &mut rng),
                Kind::Letter => pen(glyph(LETTERS, &mut rng), 0.25, &mut rng),
                Kind::Shape => pen(glyph(SHAPES, &mut rng), TAU, &mut rng),
                Kind::Texture => texture(&mut rng),
                Kind::Spoilt => spoilt(digits, among, &mut rng),
            };
            image.copy_from_slice(&page.fitted(uniform(&mut rng, 200.0, 255.0)));
        }
    });
    pixels
}

/// Digits of `digits` as other hands, pens and cameras make them, with their labels: turned and slanted a little,
/// stretched, thinner or thicker, and scaled anew.
pub fn vary(digits: &Images, among: &[u32], count: usize, seed: u64) -> Images {
    let of = |place: usize| among[place % among.len()] as usize;
    let mut pixels = vec![0; count * PIXELS];
    pixels.par_chunks_exact_mut(PIXELS).enumerate().for_each(|(place, image)| {
        let rng = &mut ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(place as u64);
        let digit = Page::new(28, |x, y| f32::from(digits.pixels[of(place) * PIXELS + y * 28 + x]) / 255.0);
        let ((sin, cos), slant) = (uniform(rng, -0.3, 0.3).sin_cos(), uniform(rng, -0.3, 0.3));
        let [wide, high] = [0, 1].map(|_| uniform(rng, 0.8, 1.3) / 4.0);
        let page = Page::new(PAGE, |x, y| {
            let (x, y) = ((x as f32 - 56.0) * wide, (y as f32 - 56.0) * high);
            digit.between(14.0 + cos * (x + slant * y) - sin * y, 14.0 + sin * (x + slant * y) + cos * y)
        });
        let page = match number(rng, 0, 3) {
            0 => page.spread(number(rng, 1, 5), f32::max),
            1 => page.spread(number(rng, 1, 3), f32::min),
            _ => page,
        };
        image.copy_from_slice(&page.fitted(uniform(rng, 200.0, 255.0)));
    });
    Images { pixels, labels: (0..count).map(|place| digits.labels[of(place)]).collect() }
}

/// Kinds of drawings.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    Scribble,
    Letter,
    Shape,
    Texture,
    /// A digit that is none any more.
    Spoilt,
}

impl Kind {
    pub const ALL: [Kind; 5] = [Kind::Scribble, Kind::Letter, Kind::Shape, Kind::Texture, Kind::Spoilt];
}

/// The kind of drawing number `place`.
pub fn kind(place: usize) -> Kind {
    use Kind::*;
    [Scribble, Letter, Shape, Texture, Spoilt, Scribble, Letter, Spoilt, Shape, Spoilt][place % 10]
}

fn uniform(rng: &mut ChaCha8Rng, low: f32, high: f32) -> f32 {
    low + (high - low) * rng.random::<f32>()
}

fn chance(rng: &mut ChaCha8Rng, probability: f32) -> bool {
    rng.random::<f32>() < probability
}

/// A number from `low` to `high`, both among them.
fn number(rng: &mut ChaCha8Rng, low: usize, high: usize) -> usize {
    low + (rng.random::<f32>() * (high + 1 - low) as f32) as usize
}

/// Values from 0 for paper to 1 for ink, row by row.
struct Page {
    side: usize,
    values: Vec<f32>,
}

impl Page {
    fn new(side: usize, value: impl FnMut(usize, usize) -> f32) -> Self {
        let mut value = value;
        Self { side, values: (0..side * side).map(|i| value(i % side, i / side)).collect() }
    }

    fn blank(side: usize) -> Self {
        Self::new(side, |_, _| 0.0)
    }

    fn at(&self, x: isize, y: isize) -> f32 {
        let inside = |k: isize| (0..self.side as isize).contains(&k);
        if inside(x) && inside(y) { self.values[y as usize * self.side + x as usize] } else { 0.0 }
    }

    /// The value at a place between pixels, of which those around have their shares.
    fn between(&self, x: f32, y: f32) -> f32 {
        let (left, top) = (x.floor(), y.floor());
        let value = |dx: isize, dy: isize| self.at(left as isize + dx, top as isize + dy);
        let row = |dy| value(0, dy) + (x - left) * (value(1, dy) - value(0, dy));
        row(0) + (y - top) * (row(1) - row(0))
    }

    /// Each pixel becomes the most, or the least, of it and its neighbours; this `times` times.
    fn spread(self, times: usize, of: fn(f32, f32) -> f32) -> Self {
        (0..times).fold(self, |page, _| {
            Self::new(page.side, |x, y| {
                let (x, y) = (x as isize, y as isize);
                let beside = [(x - 1, y), (x + 1, y), (x, y - 1), (x, y + 1)];
                beside.into_iter().map(|(x, y)| page.at(x, y)).fold(page.at(x, y), of)
            })
        })
    }

    /// Draws a line with a round pen.
    fn line(&mut self, line: &[Point], radius: f32, softness: f32) {
        for pair in line.windows(2) {
            let [from, to] = [pair[0], pair[1]];
            let along = [to[0] - from[0], to[1] - from[1]];
            let square = (along[0] * along[0] + along[1] * along[1]).max(1e-9);
            let reach = radius + softness;
            let range = |k: usize| {
                let (low, high) = (from[k].min(to[k]) - reach, from[k].max(to[k]) + reach + 1.0);
                low as usize..(high as usize).min(self.side) // a cast from a negative float is 0
            };
            for (x, y) in range(1).flat_map(|y| range(0).map(move |x| (x, y))) {
                let off = [x as f32 - from[0], y as f32 - from[1]];
                let t = ((off[0] * along[0] + off[1] * along[1]) / square).clamp(0.0, 1.0);
                let distance = (off[0] - t * along[0]).hypot(off[1] - t * along[1]);
                let value = &mut self.values[y * self.side + x];
                *value = value.max(((radius - distance) / softness + 0.5).clamp(0.0, 1.0));
            }
        }
    }

    /// The longer side of what is inked made 20 pixels, each the mean of what it covers, and centred by mass.
    fn fitted(&self, darkest: f32) -> [u8; PIXELS] {
        let inked = || (0..self.values.len()).filter(|&i| self.values[i] > 0.2).map(|i| [i % self.side, i / self.side]);
        let (mut low, mut high) = ([self.side; 2], [0; 2]);
        for at in inked() {
            (low, high) = ([0, 1].map(|k| low[k].min(at[k])), [0, 1].map(|k| high[k].max(at[k] + 1)));
        }
        let size = [0, 1].map(|k| high[k].saturating_sub(low[k]) as f32);
        let scale = size[0].max(size[1]).max(1.0) / 20.0;
        let [width, height] = size.map(|size| ((size / scale).round() as usize).max(1));
        const SAMPLES: usize = 5;
        let (mut values, mut mass, mut centre) = (vec![0.0; width * height], 1e-6, [0.0; 2]);
        for (i, value) in values.iter_mut().enumerate() {
            let within = |k: usize, pixel: usize, step: usize| {
                low[k] as f32 - 0.5 + (pixel as f32 + (step as f32 + 0.5) / SAMPLES as f32) * scale
            };
            let all = (0..SAMPLES * SAMPLES)
                .map(|s| self.between(within(0, i % width, s % SAMPLES), within(1, i / width, s / SAMPLES)));
            *value = all.sum::<f32>() / (SAMPLES * SAMPLES) as f32;
            mass += *value;
            centre = [centre[0] + *value * (i % width) as f32, centre[1] + *value * (i / width) as f32];
        }
        let before = [(centre[0], width), (centre[1], height)]
            .map(|(sum, size)| ((14.0 - sum / mass).round() as usize).min(28 - size));
        let mut image = [0; PIXELS];
        for (i, value) in values.iter().enumerate() {
            image[(before[1] + i / width) * 28 + before[0] + i % width] = (value.min(1.0) * darkest).round() as u8;
        }
        image
    }
}

/// Draws the lines, turned by up to `turn`, slanted and stretched, with a pen of any width.
fn pen(lines: Vec<Line>, turn: f32, rng: &mut ChaCha8Rng) -> Page {
    let ((sin, cos), slant) = (uniform(rng, -turn, turn).sin_cos(), uniform(rng, -0.35, 0.35));
    let (wide, high) = (uniform(rng, 0.55, 1.1), uniform(rng, 0.8, 1.1));
    let warp = |[x, y]: Point| [wide * (x + slant * y), high * y];
    let turned = |[x, y]: Point| [cos * x - sin * y, sin * x + cos * y];
    let mut lines: Vec<Line> = lines.iter().map(|line| line.iter().map(|&point| turned(warp(point))).collect()).collect();
    let (mut low, mut high) = ([f32::MAX; 2], [f32::MIN; 2]);
    for point in lines.iter().flatten() {
        (low, high) = ([0, 1].map(|k| low[k].min(point[k])), [0, 1].map(|k| high[k].max(point[k])));
    }
    let scale = DRAWN / (high[0] - low[0]).max(high[1] - low[1]).max(1e-3);
    let room = (PAGE as f32 - DRAWN) / 2.0;
    lines.iter_mut().flatten().for_each(|point| *point = [0, 1].map(|k| (point[k] - low[k]) * scale + room));
    let mut page = Page::blank(PAGE);
    let fine = DRAWN / 20.0;
    let (radius, softness) = (fine * uniform(rng, 0.8, 2.2).min(uniform(rng, 0.8, 2.2)), fine * uniform(rng, 0.3, 1.4));
    if turn == TAU && chance(rng, 0.12) {
        fill(&mut page, &lines[0]);
    }
    lines.iter().for_each(|line| page.line(line, radius, softness));
    page
}

/// Fills what lies within a line, by the even-odd rule.
fn fill(page: &mut Page, line: &[Point]) {
    for i in 0..page.values.len() {
        let (x, y) = ((i % PAGE) as f32, (i / PAGE) as f32);
        let crossed = (0..line.len()).filter(|&k| {
            let (a, b) = (line[k], line[(k + 1) % line.len()]);
            (a[1] > y) != (b[1] > y) && x < a[0] + (y - a[1]) / (b[1] - a[1]) * (b[0] - a[0])
        });
        if crossed.count() % 2 == 1 {
            page.values[i] = 1.0;
        }
    }
}

/// A curve through the points (Catmull-Rom).
fn curve(points: &[Point]) -> Line {
    let last = points.len() - 1;
    let mut line = Vec::new();
    for i in 0..last {
        let [a, b, c, d] = [i.saturating_sub(1), i, i + 1, (i + 2).min(last)].map(|i| points[i]);
        for t in (0..6).map(|step| step as f32 / 6.0) {
            line.push([0, 1].map(|k| {
                let bend = t * (2.0 * a[k] - 5.0 * b[k] + 4.0 * c[k] - d[k] + t * (3.0 * (b[k] - c[k]) + d[k] - a[k]));
                b[k] + 0.5 * t * (c[k] - a[k] + bend)
            }));
        }
    }
    line.push(points[last]);
    line
}

/// One of the glyphs, by an unsteady hand; sometimes two beside each other.
fn glyph(among: &[&str], rng: &mut ChaCha8Rng) -> Vec<Line> {
    let count = if chance(rng, 0.1) { 2 } else { 1 };
    let mut lines = Vec::new();
    for place in 0..count {
        let unsteady = uniform(rng, 0.1, 0.7);
        let text = among[number(rng, 0, among.len() - 1)];
        for stroke in text.split(',') {
            let mut points: Line = Vec::new();
            for pair in stroke.trim_start_matches('~').split(' ') {
                let at = |k: usize| f32::from(pair.as_bytes()[k] - b'0');
                let off = [0, 1].map(|_| uniform(rng, -unsteady, unsteady));
                points.push([at(0) + off[0] + 9.5 * place as f32, at(1) + off[1]]);
            }
            lines.push(if stroke.starts_with('~') { curve(&points) } else { points });
        }
    }
    lines
}

/// Strokes without a meaning.
fn scribble(rng: &mut ChaCha8Rng) -> Vec<Line> {
    let point = |rng: &mut ChaCha8Rng| [uniform(rng, 0.0, 8.0), uniform(rng, 0.0, 8.0)];
    let smooth = |points: Line, rng: &mut ChaCha8Rng| if chance(rng, 0.6) { curve(&points) } else { points };
    match number(rng, 0, 6) {
        // Through random places
        0 | 1 => {
            let count = number(rng, 1, 6);
            let lengths = if count == 1 { 6..=12 } else { 2..=6 };
            let mut stroke = |_| {
                let points = (0..number(rng, *lengths.start(), *lengths.end())).map(|_| point(rng)).collect();
                smooth(points, rng)
            };
            (0..count).map(&mut stroke).collect()
        }
        // Wandering, one to three times
        2 => {
            let mut wander = |_| {
                let (mut at, mut heading, mut bend) = (point(rng), uniform(rng, 0.0, TAU), 0.0);
                let mut line = vec![at];
                for _ in 0..number(rng, 30, 90) {
                    bend = 0.85 * bend + uniform(rng, -0.25, 0.25);
                    heading += bend;
                    at = [at[0] + 0.5 * heading.cos(), at[1] + 0.5 * heading.sin()];
                    line.push(at);
                }
                line
            };
            (0..3).map(&mut wander).collect()
        }
        // To and fro
        3 => {
            let (count, across) = (number(rng, 4, 12), uniform(rng, 2.0, 8.0));
            let turn = |k: usize, rng: &mut ChaCha8Rng| {
                [across * (k % 2) as f32 + uniform(rng, -0.8, 0.8), 8.0 * k as f32 / count as f32 + uniform(rng, -0.4, 0.4)]
            };
            let points = (0..=count).map(|k| turn(k, rng)).collect();
            vec![smooth(points, rng)]
        }
        // A spiral, or coils
        4 => {
            let (turns, grow, drift) = (uniform(rng, 1.8, 4.5), uniform(rng, 0.0, 1.0), uniform(rng, 0.0, 2.5));
            let drift = if grow < 0.4 { drift + 1.0 } else { 0.0 };
            let at = |k: usize| {
                let angle = k as f32 / 120.0 * turns * TAU;
                let radius = 2.0 * (1.0 - grow) + grow * angle / 4.0 + 0.4;
                [radius * angle.cos() + drift * angle / 3.0, radius * angle.sin()]
            };
            vec![(0..=120).map(at).collect()]
        }
        // Many short strokes, or dots
        5 => {
            let (count, length) = (number(rng, 4, 18), uniform(rng, 0.2, 3.0));
            let mut stroke = |_| {
                let (from, angle) = (point(rng), uniform(rng, 0.0, TAU));
                vec![from, [from[0] + length * angle.cos(), from[1] + length * angle.sin()]]
            };
            (0..count).map(&mut stroke).collect()
        }
        // A closed outline with corners or bulges, and something in it
        _ => {
            let (corners, rough) = (number(rng, 3, 9), uniform(rng, 0.2, 0.7));
            let at = |k: usize, rng: &mut ChaCha8Rng| {
                let (angle, radius) = (k as f32 / corners as f32 * TAU, 4.0 * (1.0 - rough * rng.random::<f32>()));
                [4.0 + radius * angle.cos(), 4.0 + radius * angle.sin()]
            };
            let mut points: Line = (0..corners).map(|k| at(k, rng)).collect();
            points.push(points[0]);
            let mut lines = vec![if chance(rng, 0.3) { curve(&points) } else { points }];
            for _ in 0..number(rng, 0, 3) {
                let points = (0..number(rng, 2, 4)).map(|_| point(rng)).collect();
                lines.push(smooth(points, rng));
            }
            lines
        }
    }
}

/// Noise, blobs, stripes, checkers, rings, filled boxes.
fn texture(rng: &mut ChaCha8Rng) -> Page {
    const SIDE: usize = 60;
    let (grain, angle) = (number(rng, 1, 12), uniform(rng, 0.0, PI));
    let noise: Vec<f32> = (0..SIDE * SIDE).map(|_| rng.random()).collect();
    let coarse = |x: usize, y: usize| noise[y / grain * SIDE + x / grain];
    let (period, share, phase) = (uniform(rng, 5.0, 30.0), uniform(rng, 0.25, 0.75), uniform(rng, 0.0, 60.0));
    let wave = |at: f32| f32::from(((at + phase) / period).rem_euclid(1.0) < share);
    let (sin, cos) = angle.sin_cos();
    let along = |x: usize, y: usize| cos * x as f32 + sin * y as f32;
    let across = |x: usize, y: usize| cos * y as f32 - sin * x as f32;
    let from_middle = |x: usize, y: usize| (x as f32 - 29.5).hypot(y as f32 - 29.5);
    let page = match number(rng, 0, 8) {
        0 => Page::new(SIDE, coarse),
        1 => Page::new(SIDE, |x, y| f32::from(coarse(x, y) < share)),
        2 => Page::new(SIDE, |x, y| wave(along(x, y))),
        3 => Page::new(SIDE, |x, y| f32::from(wave(along(x, y)) == wave(across(x, y)))),
        4 => Page::new(SIDE, |x, y| wave(along(x, y)).max(wave(across(x, y)))),
        5 => Page::new(SIDE, |x, y| wave(from_middle(x, y))),
        6 => Page::new(SIDE, |x, y| (along(x, y) / 80.0 + 0.5 * coarse(x, y)).clamp(0.0, 1.0)),
        // Blobs: smooth noise above a threshold; sometimes cut out by a disc
        _ => {
            let waves: Vec<[f32; 4]> = (0..8)
                .map(|_| [uniform(rng, -1.0, 1.0), uniform(rng, -1.0, 1.0), uniform(rng, 0.0, TAU), rng.random()])
                .collect();
            let (fine, sharp) = (uniform(rng, 0.08, 0.4), uniform(rng, 1.0, 8.0));
            let sum = |x: usize, y: usize| {
                waves
                    .iter()
                    .map(|&[a, b, phase, much]| much * (fine * (a * x as f32 + b * y as f32) + phase).sin())
                    .sum::<f32>()
            };
            Page::new(SIDE, |x, y| (sharp * sum(x, y) + share).clamp(0.0, 1.0))
        }
    };
    // A box or a disc of it, not too slim
    let (width, height, round) = (uniform(rng, 0.45, 1.0) * 30.0, uniform(rng, 0.7, 1.0) * 30.0, chance(rng, 0.3));
    let solid = chance(rng, 0.06);
    Page::new(SIDE, |x, y| {
        let (x_off, y_off) = ((x as f32 - 29.5).abs() / width, (y as f32 - 29.5).abs() / height);
        let inside = if round { x_off.hypot(y_off) < 1.0 } else { x_off.max(y_off) < 1.0 };
        if !inside {
            0.0
        } else if solid {
            1.0
        } else {
            page.values[y * SIDE + x]
        }
    })
}

/// A digit that is none any more.
fn spoilt(digits: &Images, among: &[u32], rng: &mut ChaCha8Rng) -> Page {
    let any = |but: &[u16], rng: &mut ChaCha8Rng| loop {
        let index = among[number(rng, 0, among.len() - 1)] as usize;
        if !but.contains(&digits.labels[index]) {
            let image = &digits.pixels[index * PIXELS..][..PIXELS];
            return Page::new(28, |x, y| f32::from(image[y * 28 + x]) / 255.0);
        }
    };
    let turned = |page: &Page| Page::new(28, |x, y| page.values[(27 - x) * 28 + y]);
    let of = |page: &Page, x: usize, y: usize| page.values[y * 28 + x];
    match number(rng, 0, 8) {
        // By a quarter, either way; upside down; in a mirror; in a pond
        0 => turned(&any(&[0], rng)),
        1 => turned(&turned(&turned(&any(&[0], rng)))),
        2 => turned(&turned(&any(&[0, 1, 2, 5, 6, 8, 9], rng))),
        3 => {
            let page = any(&[0, 1, 2, 5, 8], rng);
            Page::new(28, |x, y| of(&page, 27 - x, y))
        }
        4 => {
            let page = any(&[0, 1, 2, 3, 5, 8], rng);
            Page::new(28, |x, y| of(&page, x, 27 - y))
        }
        // Its quarters in another order
        5 => {
            let (page, order) =
                (any(&[1], rng), [[1, 0, 3, 2], [2, 3, 0, 1], [3, 2, 1, 0], [1, 2, 3, 0], [2, 0, 3, 1]][number(rng, 0, 4)]);
            Page::new(28, |x, y| {
                let from = order[y / 14 * 2 + x / 14];
                of(&page, from % 2 * 14 + x % 14, from / 2 * 14 + y % 14)
            })
        }
        // One over another that lies
        6 => {
            let (page, other) = (any(&[1], rng), turned(&any(&[0], rng)));
            Page::new(28, |x, y| of(&page, x, y).max(of(&other, x, y)))
        }
        // Two beside each other, or one above the other
        7 => {
            let (page, other, gap) = (any(&[1], rng), any(&[], rng), number(rng, 14, 20) as isize);
            let above = chance(rng, 0.25);
            Page::new(56, |x, y| {
                let (x, y) = (x as isize, y as isize);
                page.at(x, y).max(if above { other.at(x, y - gap) } else { other.at(x - gap, y) })
            })
        }
        // Crossed out
        _ => {
            let page = any(&[], rng);
            let mut page = Page::new(PAGE, |x, y| of(&page, x / 4, y / 4));
            for _ in 0..number(rng, 2, 5) {
                let [from, to] = [0, 1].map(|_| [uniform(rng, 16.0, 96.0), uniform(rng, 16.0, 96.0)]);
                page.line(&[from, to], uniform(rng, 3.0, 7.0), 4.0);
            }
            page
        }
    }
}
