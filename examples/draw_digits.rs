//! Draws the twenty digits in `assets/digits`, as somebody with a mouse would:
//! `cargo run --release --example draw_digits -- assets/digits`.
//!
//! Each is a few movements of the hand, in a page's pixels. None was changed after a network had seen it.

use image::{DynamicImage, ImageFormat, Rgb, RgbImage};
use std::error::Error;
use std::path::Path;

/// One movement of the mouse: the points it passes through.
type Stroke = &'static [(f32, f32)];

/// A page, what is drawn on it, and with what.
struct Drawing {
    name: &'static str,
    size: (u32, u32),
    paper: [u8; 3],
    pen: [u8; 3],
    /// Half of the line's width, in pixels.
    radius: f32,
    /// How far the hand trembles, in pixels.
    wobble: f32,
    strokes: &'static [Stroke],
}

const WHITE: [u8; 3] = [255; 3];
const BLACK: [u8; 3] = [0; 3];

#[rustfmt::skip] // a point per line would be four hundred lines
const DRAWINGS: [Drawing; 20] = [
    Drawing { name: "0-brush.png", size: (280, 280), paper: WHITE, pen: BLACK, radius: 11.0, wobble: 2.0, strokes: &[
        &[(150.0, 48.0), (104.0, 60.0), (76.0, 112.0), (72.0, 168.0), (94.0, 222.0), (138.0, 236.0), (182.0, 214.0),
          (204.0, 160.0),
          (198.0, 98.0), (176.0, 60.0), (146.0, 47.0)]] },
    Drawing { name: "0-chalk.png", size: (400, 300), paper: [38, 70, 54], pen: [238, 238, 226], radius: 6.0, wobble: 1.5,
      strokes: &[
        &[(262.0, 60.0), (226.0, 84.0), (208.0, 140.0), (214.0, 200.0), (244.0, 232.0), (284.0, 218.0),
          (308.0, 162.0), (304.0, 100.0),
          (280.0, 64.0), (250.0, 66.0)]] },
    Drawing { name: "1-pencil.png", size: (640, 480), paper: WHITE, pen: [60, 60, 60], radius: 1.5, wobble: 1.5,
      strokes: &[
        &[(182.0, 90.0), (178.0, 180.0), (172.0, 270.0), (166.0, 352.0)]] },
    Drawing { name: "1-red.png", size: (200, 200), paper: WHITE, pen: [214, 30, 34], radius: 5.0, wobble: 1.0,
      strokes: &[
        &[(84.0, 66.0), (98.0, 52.0), (112.0, 34.0)], &[(112.0, 34.0), (110.0, 90.0), (106.0, 162.0)]] },
    Drawing { name: "2-brush.png", size: (300, 300), paper: WHITE, pen: BLACK, radius: 9.0, wobble: 2.0, strokes: &[
        &[(84.0, 96.0), (98.0, 62.0), (142.0, 44.0), (186.0, 62.0), (196.0, 104.0), (170.0, 150.0), (124.0, 196.0),
          (82.0, 240.0)],
        &[(82.0, 240.0), (136.0, 236.0), (186.0, 238.0), (224.0, 232.0)]] },
    Drawing { name: "2-night.png", size: (320, 240), paper: BLACK, pen: WHITE, radius: 5.0, wobble: 1.0, strokes: &[
        &[(52.0, 62.0), (72.0, 40.0), (104.0, 36.0), (124.0, 58.0), (118.0, 92.0), (92.0, 128.0), (62.0, 160.0),
          (46.0, 168.0),
          (50.0, 148.0), (72.0, 148.0), (98.0, 164.0), (122.0, 172.0), (144.0, 160.0)]] },
    Drawing { name: "3-photo.jpg", size: (480, 360), paper: WHITE, pen: [28, 32, 70], radius: 5.0, wobble: 1.5,
      strokes: &[
        &[(180.0, 88.0), (210.0, 66.0), (254.0, 70.0), (272.0, 106.0), (252.0, 146.0), (214.0, 160.0)],
        &[(214.0, 160.0), (258.0, 168.0), (284.0, 206.0), (272.0, 254.0), (226.0, 278.0), (176.0, 260.0)]] },
    Drawing { name: "3-blue.png", size: (256, 256), paper: WHITE, pen: [30, 70, 220], radius: 7.0, wobble: 1.5,
      strokes: &[
        &[(96.0, 52.0), (134.0, 50.0), (172.0, 48.0)], &[(172.0, 48.0), (150.0, 78.0), (124.0, 112.0)],
        &[(124.0, 112.0), (160.0, 118.0), (180.0, 150.0), (168.0, 190.0), (130.0, 206.0), (90.0, 192.0)]] },
    Drawing { name: "4-brush.png", size: (360, 360), paper: WHITE, pen: BLACK, radius: 10.0, wobble: 2.0, strokes: &[
        &[(140.0, 70.0), (124.0, 130.0), (106.0, 196.0)], &[(106.0, 196.0), (170.0, 200.0), (252.0, 190.0)],
        &[(216.0, 86.0), (210.0, 180.0), (202.0, 296.0)]] },
    Drawing { name: "4-pencil.png", size: (500, 400), paper: [250, 250, 245], pen: [70, 70, 74], radius: 2.0, wobble: 1.5,
      strokes: &[
        &[(352.0, 92.0), (310.0, 150.0), (262.0, 220.0)], &[(262.0, 220.0), (330.0, 222.0), (408.0, 216.0)],
        &[(352.0, 92.0), (354.0, 190.0), (350.0, 306.0)]] },
    Drawing { name: "5-marker.jpg", size: (300, 400), paper: WHITE, pen: [20, 120, 60], radius: 11.0, wobble: 2.0,
      strokes: &[
        &[(206.0, 90.0), (160.0, 92.0), (110.0, 94.0)], &[(110.0, 94.0), (104.0, 140.0), (98.0, 186.0)],
        &[(98.0, 186.0), (140.0, 172.0), (188.0, 190.0), (206.0, 240.0), (184.0, 292.0), (132.0, 308.0),
          (86.0, 290.0)]] },
    Drawing { name: "5-night.png", size: (240, 240), paper: [16, 16, 24], pen: [250, 210, 80], radius: 5.0, wobble: 1.0,
      strokes: &[
        &[(96.0, 58.0), (90.0, 88.0), (86.0, 112.0)],
        &[(86.0, 112.0), (116.0, 104.0), (144.0, 122.0), (148.0, 156.0), (124.0, 182.0), (84.0, 176.0)],
        &[(96.0, 58.0), (124.0, 58.0), (156.0, 52.0)]] },
    Drawing { name: "6-brush.png", size: (280, 280), paper: WHITE, pen: BLACK, radius: 9.0, wobble: 2.0, strokes: &[
        &[(178.0, 44.0), (136.0, 76.0), (104.0, 126.0), (92.0, 182.0), (108.0, 226.0), (150.0, 238.0),
          (186.0, 212.0), (184.0, 170.0),
          (148.0, 152.0), (112.0, 170.0), (96.0, 196.0)]] },
    Drawing { name: "6-orange.png", size: (200, 260), paper: WHITE, pen: [240, 140, 20], radius: 5.0, wobble: 1.0,
      strokes: &[
        &[(92.0, 40.0), (74.0, 88.0), (62.0, 144.0), (66.0, 190.0), (94.0, 212.0), (126.0, 196.0), (132.0, 162.0),
          (106.0, 140.0),
          (76.0, 154.0), (64.0, 178.0)]] },
    Drawing { name: "7-pen.png", size: (320, 320), paper: WHITE, pen: [24, 24, 120], radius: 4.0, wobble: 1.5,
      strokes: &[
        &[(92.0, 74.0), (146.0, 72.0), (212.0, 66.0)], &[(212.0, 66.0), (176.0, 140.0), (150.0, 200.0),
          (138.0, 262.0)]] },
    Drawing { name: "7-brush.png", size: (240, 320), paper: WHITE, pen: BLACK, radius: 10.0, wobble: 2.0, strokes: &[
        &[(54.0, 76.0), (106.0, 78.0), (172.0, 70.0)], &[(172.0, 70.0), (140.0, 140.0), (114.0, 196.0), (94.0, 258.0)],
        &[(84.0, 160.0), (128.0, 158.0), (166.0, 152.0)]] },
    Drawing { name: "8-brush.png", size: (300, 300), paper: WHITE, pen: BLACK, radius: 8.0, wobble: 2.0, strokes: &[
        &[(186.0, 82.0), (150.0, 54.0), (112.0, 78.0), (122.0, 122.0), (160.0, 150.0), (194.0, 190.0),
          (182.0, 236.0), (140.0, 250.0),
          (104.0, 224.0), (110.0, 180.0), (146.0, 146.0), (182.0, 114.0), (186.0, 80.0)]] },
    Drawing { name: "8-night.png", size: (360, 240), paper: BLACK, pen: [230, 230, 230], radius: 4.0, wobble: 1.0,
      strokes: &[
        &[(230.0, 34.0), (202.0, 46.0), (200.0, 84.0), (228.0, 104.0), (258.0, 86.0), (258.0, 48.0), (230.0, 34.0)],
        &[(228.0, 104.0), (194.0, 126.0), (190.0, 172.0), (224.0, 200.0), (262.0, 180.0), (264.0, 132.0),
          (230.0, 104.0)]] },
    Drawing { name: "9-brush.png", size: (280, 320), paper: WHITE, pen: BLACK, radius: 9.0, wobble: 2.0, strokes: &[
        &[(184.0, 98.0), (152.0, 66.0), (106.0, 82.0), (92.0, 126.0), (116.0, 160.0), (160.0, 148.0), (184.0, 98.0)],
        &[(184.0, 98.0), (182.0, 170.0), (172.0, 262.0)]] },
    Drawing { name: "9-violet.png", size: (640, 400), paper: WHITE, pen: [130, 40, 170], radius: 6.0, wobble: 2.0,
      strokes: &[
        &[(506.0, 100.0), (470.0, 76.0), (430.0, 98.0), (424.0, 146.0), (456.0, 172.0), (496.0, 150.0),
          (510.0, 104.0), (512.0, 170.0),
          (496.0, 240.0), (460.0, 290.0), (422.0, 300.0)]] },
];

fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::args().nth(1).ok_or("usage: draw_digits FOLDER")?;
    std::fs::create_dir_all(&folder)?;
    for (index, drawing) in DRAWINGS.iter().enumerate() {
        let format = if drawing.name.ends_with(".jpg") { ImageFormat::Jpeg } else { ImageFormat::Png };
        let mut page = draw(drawing, index as u32);
        if drawing.name.contains("photo") {
            photograph(&mut page);
        }
        DynamicImage::from(page).save_with_format(Path::new(&folder).join(drawing.name), format)?;
    }
    Ok(())
}

fn draw(drawing: &Drawing, seed: u32) -> RgbImage {
    let mut page = RgbImage::from_pixel(drawing.size.0, drawing.size.1, Rgb(drawing.paper));
    for (index, stroke) in drawing.strokes.iter().enumerate() {
        let points = curve(stroke, drawing.wobble, seed * 10 + index as u32);
        let near = |x: f32, y: f32| {
            let distance = points.iter().map(|&(px, py)| (px - x).hypot(py - y)).fold(f32::INFINITY, f32::min);
            (drawing.radius - distance + 0.5).clamp(0.0, 1.0)
        };
        for (x, y, Rgb(pixel)) in page.enumerate_pixels_mut() {
            let cover = near(x as f32, y as f32);
            for (value, pen) in pixel.iter_mut().zip(drawing.pen) {
                *value = (f32::from(*value) + cover * (f32::from(pen) - f32::from(*value))).round() as u8;
            }
        }
    }
    page
}

/// Points half a pixel apart on a Catmull-Rom curve through those of the stroke, from an unsteady hand.
fn curve(stroke: &[(f32, f32)], wobble: f32, seed: u32) -> Vec<(f32, f32)> {
    let at = |index: isize| stroke[index.clamp(0, stroke.len() as isize - 1) as usize];
    let mut points = Vec::new();
    for index in 0..stroke.len() as isize - 1 {
        let [a, b, c, d] = [-1, 0, 1, 2].map(|offset| at(index + offset));
        let steps = ((c.0 - b.0).hypot(c.1 - b.1) * 2.0).ceil().max(1.0) as usize;
        for step in 0..=steps {
            let t = step as f32 / steps as f32;
            let between = |a: f32, b: f32, c: f32, d: f32| {
                b + 0.5 * t * (c - a + t * (2.0 * a - 5.0 * b + 4.0 * c - d + t * (3.0 * (b - c) + d - a)))
            };
            let way = (index as f32 + t) * 2.3 + seed as f32 * 1.7;
            let tremble = (wobble * (way * 1.9).sin() * 0.6, wobble * (way * 2.7 + 1.0).sin() * 0.6);
            points.push((between(a.0, b.0, c.0, d.0) + tremble.0, between(a.1, b.1, c.1, d.1) + tremble.1));
        }
    }
    points
}

/// As if the page lay under a lamp at its upper left, before a camera that is none too good.
fn photograph(page: &mut RgbImage) {
    let (width, height) = (page.width() as f32, page.height() as f32);
    let mut noise = 1u32;
    for (x, y, Rgb(pixel)) in page.enumerate_pixels_mut() {
        noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let grain = (noise >> 24) as f32 / 255.0 * 10.0 - 5.0;
        let far = (x as f32 / width - 0.2).hypot(y as f32 / height - 0.1);
        let light = 0.92 - 0.35 * far * far - 0.12 * far;
        for (value, tint) in pixel.iter_mut().zip([1.0, 0.97, 0.88]) {
            *value = (f32::from(*value) * light * tint + grain).clamp(0.0, 255.0) as u8;
        }
    }
}
