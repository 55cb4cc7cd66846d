//! One picture of what `predict` was given, what the network saw of it and what it said:
//! `mnist-wgpu predict --json assets/digits | cargo run --release --example predicted_sheet -- assets/digits.png`.

use image::imageops::{FilterType, overlay, resize};
use image::{DynamicImage, GrayImage, Rgb, RgbImage};
use std::error::Error;
use std::fs;

/// Side of a page and of what the network saw, in pixels; the numeral beside them is half as wide.
const SIDE: u32 = 112;
const GAP: u32 = 8;
const ACROSS: u32 = 4;

/// The numerals 0 to 9, 3x5: each row three bits.
const NUMERALS: [[u8; 5]; 10] = [
    [7, 5, 5, 5, 7],
    [2, 6, 2, 2, 7],
    [7, 1, 7, 4, 7],
    [7, 1, 7, 1, 7],
    [5, 5, 7, 1, 1],
    [7, 4, 7, 1, 7],
    [7, 4, 7, 5, 7],
    [7, 1, 2, 2, 2],
    [7, 5, 7, 5, 7],
    [7, 5, 7, 1, 7],
];

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args().nth(1).ok_or("usage: mnist-wgpu predict --json FOLDER | predicted_sheet FILE.png")?;
    let entries: Vec<serde_json::Value> = serde_json::from_reader(std::io::stdin())?;
    let (width, height) = (2 * SIDE + SIDE / 2 + 3 * GAP, SIDE + GAP);
    let rows = (entries.len() as u32).div_ceil(ACROSS);
    let mut sheet = RgbImage::from_pixel(ACROSS * width + GAP, rows * height + GAP, Rgb([96; 3]));
    for (index, entry) in (0..).zip(&entries) {
        let (x, y) = (index % ACROSS * width + GAP, index / ACROSS * height + GAP);
        let bytes = fs::read(entry["path"].as_str().ok_or("an entry without a path")?)?;
        let page = image::load_from_memory(&bytes)?.resize(SIDE, SIDE, FilterType::Triangle).to_rgb8();
        let (left, top) = ((SIDE - page.width()) / 2, (SIDE - page.height()) / 2);
        overlay(&mut sheet, &page, i64::from(x + left), i64::from(y + top));

        let seen = mnist_wgpu::image::digit(&bytes)?;
        let seen = GrayImage::from_raw(28, 28, seen.to_vec()).ok_or("not 28x28")?;
        let seen = DynamicImage::from(resize(&seen, SIDE, SIDE, FilterType::Nearest)).to_rgb8();
        overlay(&mut sheet, &seen, i64::from(x + SIDE + GAP), i64::from(y));

        let said = entry["digit"].as_u64().ok_or("an entry without a digit")?;
        numeral(&mut sheet, said as usize, (x + 2 * (SIDE + GAP), y + SIDE / 4));
    }
    sheet.save(path)?;
    Ok(())
}

fn numeral(sheet: &mut RgbImage, digit: usize, (left, top): (u32, u32)) {
    const DOT: u32 = SIDE / 10;
    for (y, x) in (0..5 * DOT).flat_map(|y| (0..3 * DOT).map(move |x| (y, x))) {
        if NUMERALS[digit][(y / DOT) as usize] >> (2 - x / DOT) & 1 == 1 {
            sheet.put_pixel(left + x, top + y, Rgb([255, 214, 80]));
        }
    }
}
