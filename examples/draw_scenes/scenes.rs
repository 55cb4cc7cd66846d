//! Pictures as people bring them: the digits that we drew, laid into other pictures.

use image::{GrayImage, Luma, Rgb, RgbImage, imageops};
use std::path::Path;

/// One drawing of each digit.
const DRAWN: [&str; 10] = [
    "0-brush.png",
    "1-red.png",
    "2-brush.png",
    "3-blue.png",
    "4-brush.png",
    "5-night.png",
    "6-brush.png",
    "7-brush.png",
    "8-brush.png",
    "9-brush.png",
];
pub const WHITE: [u8; 3] = [250, 250, 246];
pub const BLUE: [u8; 3] = [30, 34, 90];

/// The ink of a digit alone, cut out to its edges: 0 to 255.
fn ink(digit: usize) -> GrayImage {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/digits").join(DRAWN[digit]);
    let page = image::open(path).unwrap().to_rgb8();
    let paper = page.get_pixel(0, 0).0;
    let apart = |pixel: &Rgb<u8>| pixel.0.iter().zip(paper).map(|(a, b)| a.abs_diff(b)).max().unwrap();
    let most = page.pixels().map(apart).max().unwrap();
    let ink = GrayImage::from_fn(page.width(), page.height(), |x, y| {
        Luma([(u32::from(apart(page.get_pixel(x, y))) * 255 / u32::from(most)) as u8])
    });
    let inked = || ink.enumerate_pixels().filter(|(_, _, pixel)| pixel.0[0] > 40);
    let (left, right) = (inked().map(|p| p.0).min().unwrap(), inked().map(|p| p.0).max().unwrap());
    let (top, bottom) = (inked().map(|p| p.1).min().unwrap(), inked().map(|p| p.1).max().unwrap());
    imageops::crop_imm(&ink, left, top, right + 1 - left, bottom + 1 - top).to_image()
}

/// A picture that is being made.
pub struct Page(pub RgbImage);

impl Page {
    pub fn new(width: u32, height: u32, colour: [u8; 3]) -> Self {
        Self(RgbImage::from_pixel(width, height, Rgb(colour)))
    }

    /// Colours all pixels for which `inside(x, y)`.
    pub fn fill(mut self, colour: [u8; 3], inside: impl Fn(i32, i32) -> bool) -> Self {
        for (x, y, pixel) in self.0.enumerate_pixels_mut() {
            if inside(x as i32, y as i32) {
                *pixel = Rgb(colour);
            }
        }
        self
    }

    /// Writes a digit of that height, its top left at (`left`, `top`).
    pub fn write(mut self, digit: usize, (left, top): (u32, u32), height: u32, colour: [u8; 3]) -> Self {
        let ink = ink(digit);
        let width = (ink.width() * height / ink.height()).max(1);
        let ink = imageops::resize(&ink, width, height, imageops::FilterType::Triangle);
        for (x, y, &Luma([cover])) in ink.enumerate_pixels() {
            for (value, pen) in self.0.get_pixel_mut(left + x, top + y).0.iter_mut().zip(colour) {
                let (paper, pen, cover) = (i32::from(*value), i32::from(pen), i32::from(cover));
                *value = (paper + (pen - paper) * cover / 255) as u8;
            }
        }
        self
    }

    /// A camera's grain, and light that falls off to the right.
    fn photographed(mut self) -> Self {
        let (width, mut noise) = (self.0.width() as f32, 7u32);
        for (x, _, Rgb(pixel)) in self.0.enumerate_pixels_mut() {
            noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let grain = (noise >> 24) as f32 / 255.0 * 14.0 - 7.0;
            pixel.iter_mut().for_each(|value| *value = (f32::from(*value) * (1.0 - 0.2 * x as f32 / width) + grain) as u8);
        }
        self
    }

    /// Half of the light is taken from all that lies to the right of a slanting line.
    fn shaded(mut self, from: f32) -> Self {
        for (x, y, Rgb(pixel)) in self.0.enumerate_pixels_mut() {
            let deep = ((x as f32 + 0.4 * y as f32 - from) / 14.0).clamp(0.0, 1.0);
            pixel.iter_mut().for_each(|value| *value = (f32::from(*value) * (1.0 - 0.5 * deep)) as u8);
        }
        self
    }
}

pub type Scene = fn(usize) -> Page;

/// What people put before the program, each with a digit in it.
#[rustfmt::skip]
pub const SCENES: [(&str, Scene); 13] = [
    ("a sheet on a desk", |d| Page::new(640, 480, [96, 66, 44]).fill(WHITE, |x, y| (120..540).contains(&x) && (60..430).contains(&y))
        .write(d, (270, 130), 200, BLUE).photographed()),
    ("a sheet that lies askew on boards", |d| Page::new(700, 560, [140, 98, 62])
        .fill([118, 80, 50], |x, y| (y + x / 20) % 37 < 9)
        .fill(WHITE, |x, y| (60..500).contains(&(x - y / 7)) && (50..480).contains(&(y + x / 7)))
        .write(d, (250, 120), 200, BLUE).photographed()),
    ("a box around it", |d| Page::new(140, 140, WHITE).fill([0; 3], |x, y| (6..134).contains(&x) && (6..134).contains(&y)
        && !((9..131).contains(&x) && (9..131).contains(&y))).write(d, (48, 34), 70, [0; 3])),
    ("lines of a form at two sides", |d| Page::new(120, 120, WHITE).fill([0; 3], |x, y| x >= 116 || y >= 116)
        .write(d, (38, 24), 66, [0; 3])),
    ("ruled paper with a margin and holes", |d| Page::new(400, 400, WHITE)
        .fill([170, 195, 225], |_, y| y > 40 && y % 34 < 2).fill([230, 120, 120], |x, _| (48..50).contains(&x))
        .fill([60, 50, 45], |x, y| (x - 18).pow(2) + (y % 60 - 30).pow(2) < 81).write(d, (160, 100), 200, BLUE)),
    ("squared paper", |d| Page::new(500, 500, WHITE).fill([140, 160, 200], |x, y| x % 25 < 2 || y % 25 < 2)
        .write(d, (170, 120), 220, BLUE)),
    ("a spiral and its punched holes", |d| Page::new(420, 480, WHITE).fill([40; 3], |x, y| (x - 22).pow(2) + (y % 30 - 15).pow(2) < 50)
        .fill([120; 3], |x, y| x < 22 && (12..15).contains(&(y % 30))).write(d, (150, 130), 200, BLUE)),
    ("a tool bar above the board", |d| Page::new(800, 600, [255; 3]).fill([60, 63, 70], |_, y| y < 64)
        .fill([220; 3], |x, y| (16..46).contains(&y) && x < 600 && (20..50).contains(&(x % 55)) && ((x + y) % 9 < 3))
        .fill([120; 3], |x, y| !(3..797).contains(&x) || y > 596).write(d, (300, 180), 280, [0; 3])),
    ("a circle around it", |d| Page::new(300, 300, WHITE).fill([0; 3], |x, y| {
        let square = (x - 150).pow(2) + (y - 150).pow(2);
        (112 * 112..118 * 118).contains(&square) }).write(d, (115, 92), 116, [0; 3])),
    ("a shadow across it", |d| Page::new(640, 480, WHITE).write(d, (230, 120), 230, [40, 40, 44]).shaded(420.0).photographed()),
    ("specks", |d| Page::new(300, 300, WHITE).fill([0; 3], |x, y| (x * 7919 + y * 104_729 + x * y * 31) % 499 == 0)
        .fill([0; 3], |x, y| (x % 61 - 9).pow(2) + (y % 53 - 5).pow(2) < 7).write(d, (100, 70), 160, [0; 3])),
    ("a dark board in a window", |d| Page::new(800, 600, [32, 34, 40]).fill([0; 3], |x, y| (40..560).contains(&x) && (110..560).contains(&y))
        .fill([40, 110, 220], |x, y| (600..760).contains(&x) && (120..170).contains(&y)).write(d, (200, 190), 280, [255; 3])),
    ("a clean page", |d| Page::new(280, 320, WHITE).write(d, (70, 60), 190, [0; 3])),
];
