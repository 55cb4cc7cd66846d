//! Draws the first synthetic digits as one picture: `cargo run --release --example contact_sheet -- digits.png`.

use mnist_wgpu::data::synthetic;
use std::error::Error;
use std::fs::File;

/// Digits side by side, and rows of them.
const SHEET: (usize, usize) = (30, 10);

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args().nth(1).ok_or("usage: contact_sheet FILE.png")?;
    let (across, down) = SHEET;
    let digits = synthetic(across * down, 0, 0);
    let [_, rows, columns] = digits.shape;
    let mut sheet = vec![0; across * columns * down * rows];
    for (index, digit) in digits.train.pixels.chunks_exact(rows * columns).enumerate() {
        for (row, pixels) in digit.chunks_exact(columns).enumerate() {
            let at = ((index / across * rows + row) * across + index % across) * columns;
            sheet[at..at + columns].copy_from_slice(pixels);
        }
    }
    let mut encoder = png::Encoder::new(File::create(path)?, (across * columns) as u32, (down * rows) as u32);
    encoder.set_color(png::ColorType::Grayscale);
    encoder.write_header()?.write_image_data(&sheet)?;
    Ok(())
}
