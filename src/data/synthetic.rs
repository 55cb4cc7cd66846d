//! Digits drawn by the program, for a machine without MNIST and without a network.
//!
//! A digit is a style's strokes, bent, slanted, stretched and turned as hands do, then drawn with a round pen and
//! centred as MNIST's are: within about 20x20 pixels, the centre of mass in the middle. Only operations that IEEE 754
//! rounds exactly are used (no `sin`, no `exp`), so that every machine draws the same bytes.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use super::glyphs::{STYLES, Stroke, Style};
use super::pen::{COLS, Ink, Point, ROWS, Segment, draw};
use super::{Dataset, Images, digits};

const PIXELS: usize = ROWS * COLS;
const CLASSES: usize = STYLES.len();

/// Streams of the generator, one per image and one per ten labels, far enough apart never to meet.
const TRAIN_STREAMS: u64 = 1 << 40;
const TEST_STREAMS: u64 = 2 << 40;
const LABEL_STREAMS: u64 = 1 << 39;

/// Line segments per stretch between two points of a stroke.
const STEPS: usize = 6;

/// Draws `train` and `test` digits of (1, 28, 28).
///
/// An image and its label depend on `seed`, its set and its index only: not on the counts, nor on the number of
/// threads. Every ten images hold each digit once, in an order of their own.
pub fn synthetic(train: usize, test: usize, seed: u64) -> Dataset {
    let (train, test) = (images(train, seed, TRAIN_STREAMS), images(test, seed, TEST_STREAMS));
    Dataset { shape: [1, ROWS, COLS], classes: digits(), train, test }
}

fn images(count: usize, seed: u64, streams: u64) -> Images {
    let labels: Vec<u16> = (0..count.div_ceil(CLASSES) as u64)
        .flat_map(|block| shuffled_digits(&mut generator(seed, streams + LABEL_STREAMS + block)))
        .take(count)
        .collect();
    let mut pixels = vec![0; count * PIXELS];
    pixels.par_chunks_exact_mut(PIXELS).zip(&labels).enumerate().for_each(|(index, (image, &label))| {
        let mut rng = generator(seed, streams + index as u64);
        let segments = write(label, &mut rng);
        let ink = Ink {
            offset: [bell(&mut rng, 0.75), bell(&mut rng, 0.75)],
            softness: uniform(&mut rng, 1.0, 1.6),
            darkest: 255.0 - 50.0 * rng.random::<f32>() * rng.random::<f32>(),
        };
        draw(image, &segments, &ink);
    });
    Images { pixels, labels }
}

fn generator(seed: u64, stream: u64) -> ChaCha8Rng {
    let mut generator = ChaCha8Rng::seed_from_u64(seed);
    generator.set_stream(stream);
    generator
}

/// Fisher-Yates, spelled out: the data must not change with a version of `rand`.
fn shuffled_digits(rng: &mut ChaCha8Rng) -> [u16; CLASSES] {
    let mut digits = std::array::from_fn(|digit| digit as u16);
    for last in (1..CLASSES).rev() {
        digits.swap(last, (uniform(rng, 0.0, 1.0) * (last + 1) as f32) as usize);
    }
    digits
}

fn uniform(rng: &mut ChaCha8Rng, low: f32, high: f32) -> f32 {
    low + (high - low) * rng.random::<f32>()
}

/// A bell curve of standard deviation `sigma`, never beyond 2.5 of them: the sum of four uniform draws, scaled.
fn bell(rng: &mut ChaCha8Rng, sigma: f32) -> f32 {
    let sum: f32 = (0..4).map(|_| uniform(rng, -1.0, 1.0)).sum();
    (sum * 0.866).clamp(-2.5, 2.5) * sigma
}

fn chance(rng: &mut ChaCha8Rng, probability: f32) -> bool {
    rng.random::<f32>() < probability
}

/// Writes a digit by hand: segments in pixels, not yet centred.
fn write(label: u16, rng: &mut ChaCha8Rng) -> Vec<Segment> {
    let style = choose(STYLES[label as usize], rng);
    let warp = Warp::new(rng);
    let mut lines: Vec<Vec<Point>> = Vec::with_capacity(style.strokes.len());
    for stroke in style.strokes {
        let mut points = jittered(stroke, rng);
        slip(&mut points, rng);
        let mut line = curve(&points);
        for point in &mut line {
            *point = warp.apply(*point);
        }
        lines.push(line);
    }
    if label != 1 && chance(rng, 0.04) {
        lift_pen(&mut lines, rng);
    }

    let (mut low, mut high) = ([f32::MAX; 2], [f32::MIN; 2]);
    for point in lines.iter().flatten() {
        for axis in 0..2 {
            low[axis] = low[axis].min(point[axis]);
            high[axis] = high[axis].max(point[axis]);
        }
    }
    let radius = (1.25 + bell(rng, 0.34)).max(0.65);
    let extent = (high[0] - low[0]).max(high[1] - low[1]).max(0.1);
    let scale = (19.8 + bell(rng, 1.0) - 2.0 * radius) / extent;
    let pressure = bell(rng, 0.12); // grows or fades along a stroke

    let mut segments = Vec::new();
    for line in &lines {
        for (i, pair) in line.windows(2).enumerate() {
            let along = (i as f32 + 0.5) / (line.len() - 1) as f32;
            segments.push(Segment {
                from: pair[0].map(|v| v * scale),
                to: pair[1].map(|v| v * scale),
                radius: radius * (1.0 + pressure * (2.0 * along - 1.0)),
            });
        }
    }
    segments
}

fn choose(styles: &'static [Style], rng: &mut ChaCha8Rng) -> &'static Style {
    let total: f32 = styles.iter().map(|style| style.weight).sum();
    let mut left = uniform(rng, 0.0, total);
    for style in styles {
        left -= style.weight;
        if left < 0.0 {
            return style;
        }
    }
    &styles[0]
}

/// The points of a stroke, each a little off, corners staying corners, and the whole stroke a little off too.
fn jittered(stroke: Stroke, rng: &mut ChaCha8Rng) -> Vec<Point> {
    let shift = [bell(rng, 0.022), bell(rng, 0.022)];
    let mut points: Vec<Point> = Vec::with_capacity(stroke.len());
    for (i, &(x, y)) in stroke.iter().enumerate() {
        let point = if i > 0 && stroke[i - 1] == (x, y) {
            points[i - 1]
        } else {
            let off = [bell(rng, 0.036), bell(rng, 0.036)];
            [x + shift[0] + off[0], y + shift[1] + off[1]]
        };
        points.push(point);
    }
    points
}

/// Sometimes the pen starts late, or runs on beyond the end.
fn slip(points: &mut [Point], rng: &mut ChaCha8Rng) {
    let last = points.len() - 1;
    for (end, inner) in [(0, 1), (last, last - 1)] {
        if chance(rng, 0.2) {
            let t = uniform(rng, -0.3, 0.45);
            let [a, b] = [points[end], points[inner]];
            points[end] = [0, 1].map(|k| a[k] + t * (a[k] - b[k]));
        }
    }
}

/// A line along the Catmull-Rom spline through `points`.
fn curve(points: &[Point]) -> Vec<Point> {
    let last = points.len() - 1;
    let mut line = Vec::with_capacity(last * STEPS + 1);
    for i in 0..last {
        let [a, b] = [points[i.saturating_sub(1)], points[i]];
        let [c, d] = [points[i + 1], points[(i + 2).min(last)]];
        if b == c {
            continue;
        }
        for step in 0..STEPS {
            let t = step as f32 / STEPS as f32;
            line.push([0, 1].map(|k| {
                let linear = c[k] - a[k];
                let square = 2.0 * a[k] - 5.0 * b[k] + 4.0 * c[k] - d[k];
                let cube = 3.0 * (b[k] - c[k]) + d[k] - a[k];
                b[k] + 0.5 * t * (linear + t * (square + t * cube))
            }));
        }
    }
    line.push(points[last]);
    line
}

/// Leaves a gap in the longest line.
fn lift_pen(lines: &mut Vec<Vec<Point>>, rng: &mut ChaCha8Rng) {
    let Some(longest) = (0..lines.len()).max_by_key(|&i| lines[i].len()) else {
        return;
    };
    let line = &mut lines[longest];
    let at = (line.len() as f32 * uniform(rng, 0.25, 0.75)) as usize;
    let rest = line.split_off((at + 3).min(line.len() - 1));
    line.truncate(at.max(2));
    lines.push(rest);
}

/// How one hand bends the whole digit: turned, slanted, stretched, and a smooth wobble on top.
struct Warp {
    matrix: [[f32; 2]; 2],
    /// Coefficients of x², xy, y², x²y, xy² in each direction.
    wobble: [[f32; 5]; 2],
}

impl Warp {
    fn new(rng: &mut ChaCha8Rng) -> Self {
        // The tangent of half the angle gives sine and cosine without calling either.
        let half = bell(rng, 0.06);
        let (cos, sin) = ((1.0 - half * half) / (1.0 + half * half), 2.0 * half / (1.0 + half * half));
        let slant = -0.12 + bell(rng, 0.22);
        let width = (0.82 + bell(rng, 0.14)).max(0.4);
        // rotation * slant * stretch
        let matrix = [[cos * width, cos * slant - sin], [sin * width, sin * slant + cos]];
        let wobble = [0, 1].map(|_| [0.2, 0.2, 0.2, 0.4, 0.4].map(|sigma| bell(rng, sigma)));
        Self { matrix, wobble }
    }

    fn apply(&self, point: Point) -> Point {
        let [x, y] = [point[0] - 0.5, point[1] - 0.5];
        let terms = [x * x, x * y, y * y, x * x * y, x * y * y];
        let bent = [0, 1].map(|k| {
            let wobble = self.wobble[k].iter().zip(terms);
            wobble.map(|(a, b)| a * b).sum::<f32>()
        });
        let [x, y] = [x + bent[0], y + bent[1]];
        self.matrix.map(|row| row[0] * x + row[1] * y)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn synthetic_digits_depend_on_seed_and_index_only() {
        let on_threads = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| synthetic(300, 100, 9))
        };
        let all = on_threads(1);
        assert!(all == on_threads(3));
        let Dataset { train, test, .. } = all;
        let Dataset { train: fewer, test: none, .. } = synthetic(123, 0, 9);
        assert_eq!((&fewer.pixels[..], &fewer.labels[..]), (&train.pixels[..123 * PIXELS], &train.labels[..123]));
        assert!(none.is_empty());
        assert_ne!(train.pixels[..100 * PIXELS], test.pixels[..]);
        assert_ne!(train.pixels, synthetic(300, 0, 10).train.pixels);
    }

    #[test]
    fn synthetic_digits_are_balanced_so_a_guess_is_worth_a_tenth() {
        let Dataset { train, test, .. } = synthetic(1000, 500, 1);
        for images in [&train, &test] {
            assert_eq!(images.pixels.len(), images.len() * PIXELS);
            for class in 0..CLASSES {
                let hits = images.labels.iter().filter(|&&label| label as usize == class).count();
                assert_eq!(hits * CLASSES, images.len());
            }
        }
        assert_ne!(train.labels[..10], train.labels[10..20], "in no fixed order");
        for image in train.pixels.chunks(PIXELS) {
            assert!(image.iter().any(|&v| v > 180), "ink");
            let background = image.iter().filter(|&&v| v == 0).count();
            assert!((400..760).contains(&background), "{background} pixels of background");
        }
    }

    #[test]
    fn nearest_class_mean_learns_much_of_the_synthetic_digits_but_not_all() {
        let Dataset { train, test, .. } = synthetic(4000, 1000, 1);
        let mut means = vec![[0f32; PIXELS]; CLASSES];
        for (image, &label) in train.pixels.chunks(PIXELS).zip(&train.labels) {
            for (mean, &pixel) in means[label as usize].iter_mut().zip(image) {
                *mean += f32::from(pixel) * CLASSES as f32 / train.len() as f32;
            }
        }
        let nearest = |image: &[u8]| {
            let distance =
                |mean: &[f32; PIXELS]| -> f32 { mean.iter().zip(image).map(|(m, &v)| (m - f32::from(v)).powi(2)).sum() };
            (0..CLASSES).min_by(|&a, &b| distance(&means[a]).total_cmp(&distance(&means[b])))
        };
        let right = |images: &Images| {
            let pairs = images.pixels.chunks(PIXELS).zip(&images.labels);
            pairs.filter(|(image, label)| nearest(image) == Some(**label as usize)).count()
        };
        let accuracy = right(&test) as f32 / test.len() as f32;
        assert!((0.6..0.85).contains(&accuracy), "accuracy {accuracy}");
    }

    #[test]
    fn synthetic_digits_are_the_same_bytes_on_every_machine() {
        let train = synthetic(1000, 0, 1).train;
        // FNV-1a over the pixels; changes only with the drawing itself.
        let hash = train
            .pixels
            .iter()
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        assert_eq!(format!("{hash:016x}"), "1362207abebe59e4");
    }
}
