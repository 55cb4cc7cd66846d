//! Draws the first synthetic digits as one picture: `cargo run --release --example contact_sheet -- digits.png`.

use mnist_wgpu::data::{COLS, PIXELS, ROWS, synthetic};
use std::error::Error;
use std::fs::File;

/// Digits side by side, and rows of them.
const SHEET: (usize, usize) = (30, 10);

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args().nth(1).ok_or("usage: contact_sheet FILE.png")?;
    let (across, down) = SHEET;
    let (digits, _) = synthetic(across * down, 0, 0);
    let mut sheet = vec![0; across * COLS * down * ROWS];
    for (index, digit) in digits.pixels.chunks_exact(PIXELS).enumerate() {
        for (row, pixels) in digit.chunks_exact(COLS).enumerate() {
            let at = ((index / across * ROWS + row) * across + index % across) * COLS;
            sheet[at..at + COLS].copy_from_slice(pixels);
        }
    }
    let mut encoder = png::Encoder::new(File::create(path)?, (across * COLS) as u32, (down * ROWS) as u32);
    encoder.set_color(png::ColorType::Grayscale);
    encoder.write_header()?.write_image_data(&sheet)?;
    Ok(())
}
