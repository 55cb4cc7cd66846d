//! One picture of what `predict` was given, what the network saw of it and what it said:
//! `mnist-wgpu predict --json scenes | cargo run --release --example predicted_sheet -- assets/scenes.png`.

use image::imageops::{FilterType, overlay, resize};
use image::{DynamicImage, GrayImage, Rgb, RgbImage};
use mnist_wgpu::image::{Picture, digits};
use std::error::Error;
use std::fs;

/// Side of a page and of what the network saw, in pixels; the numeral beside them is half as wide.
const SIDE: u32 = 112;
const GAP: u32 = 8;
/// Of the sheet, about.
const WIDTH: u32 = 1220;

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
    let cells = entries.iter().map(cell).collect::<Result<Vec<RgbImage>, Box<dyn Error>>>()?;
    // In rows of equal width, as full as they get.
    let mut rows: Vec<(u32, Vec<RgbImage>)> = Vec::new();
    for cell in cells {
        match rows.last_mut().filter(|(used, _)| used + cell.width() + GAP <= WIDTH) {
            Some((used, row)) => {
                *used += cell.width() + 2 * GAP;
                row.push(cell);
            }
            None => rows.push((cell.width() + 2 * GAP, vec![cell])),
        }
    }
    let widest = rows.iter().map(|(used, _)| *used).max().unwrap_or(WIDTH);
    let mut sheet = RgbImage::from_pixel(widest, rows.len() as u32 * (SIDE + GAP) + GAP, Rgb([96; 3]));
    for (y, (_, row)) in (0..).zip(&rows) {
        let mut x = GAP;
        for cell in row {
            overlay(&mut sheet, cell, i64::from(x), i64::from(y * (SIDE + GAP) + GAP));
            x += cell.width() + 2 * GAP;
        }
    }
    sheet.save(path)?;
    Ok(())
}

/// A picture, and beside it what the network saw of each digit and said.
fn cell(entry: &serde_json::Value) -> Result<RgbImage, Box<dyn Error>> {
    let bytes = fs::read(entry["path"].as_str().ok_or("an entry without a path")?)?;
    let page = image::load_from_memory(&bytes)?.resize(2 * SIDE, SIDE, FilterType::Triangle).to_rgb8();
    let picture = Picture::decode(&bytes)?;
    let found = digits(&picture)?;
    let said = entry["digits"].as_array().ok_or("an entry without digits")?;
    // Few digits stand beside each other, many in rows.
    let (side, down) = if said.len() > 2 { (SIDE / 3 - GAP / 2, 3) } else { (SIDE, 1) };
    let (wide, high) = (side + side / 2 + GAP, side + GAP / 2);
    let width = page.width().max(SIDE) + GAP + (said.len() as u32).div_ceil(down) * (wide + GAP) - GAP;
    let mut cell = RgbImage::from_pixel(width, SIDE, Rgb([96; 3]));
    let (left, top) = ((page.width().max(SIDE) - page.width()) / 2, (SIDE - page.height()) / 2);
    overlay(&mut cell, &page, i64::from(left), i64::from(top));
    for (index, said) in (0..).zip(said) {
        let seen = found.get(index as usize).ok_or("other digits than were read")?;
        let seen = GrayImage::from_raw(28, 28, seen.sample.to_vec()).ok_or("not 28x28")?;
        let seen = DynamicImage::from(resize(&seen, side, side, FilterType::Nearest)).to_rgb8();
        let (x, y) = (page.width().max(SIDE) + GAP + index / down * (wide + GAP), index % down * high);
        overlay(&mut cell, &seen, i64::from(x), i64::from(y));
        let said = said["digit"].as_u64().ok_or("an entry without a digit")?;
        numeral(&mut cell, said as usize, (x + side + GAP, y + side / 4), side / 10);
    }
    Ok(cell)
}

fn numeral(sheet: &mut RgbImage, digit: usize, (left, top): (u32, u32), dot: u32) {
    for (y, x) in (0..5 * dot).flat_map(|y| (0..3 * dot).map(move |x| (y, x))) {
        if NUMERALS[digit][(y / dot) as usize] >> (2 - x / dot) & 1 == 1 {
            sheet.put_pixel(left + x, top + y, Rgb([255, 214, 80]));
        }
    }
}
