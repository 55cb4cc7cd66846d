//! Files of IDX data, right and forged, and what becomes of them.

#![allow(dead_code)] // each test file uses its own part

use flate2::{Compression, write::GzEncoder};
use mnist_wgpu::sources::{Event, Found, Named, SourceError, Sources, load};
use std::fs;
use std::io::Write;
use std::path::Path;
use tempfile::{TempDir, tempdir};

pub const TRAIN_IMAGES: &str = "train-images-idx3-ubyte";
pub const TRAIN_LABELS: &str = "train-labels-idx1-ubyte";
pub const TEST_IMAGES: &str = "t10k-images-idx3-ubyte";
pub const TEST_LABELS: &str = "t10k-labels-idx1-ubyte";
pub const PIXELS: usize = 28 * 28;
pub const FILES: [&str; 4] = [TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES, TEST_LABELS];

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A valid header, with `count` items and, for images, `size` by `size` pixels.
pub fn header(name: &str, count: u32, size: u32) -> Vec<u8> {
    let fields = match name.contains("images") {
        true => vec![0x803, count, size, size],
        false => vec![0x801, count],
    };
    fields.into_iter().flat_map(u32::to_be_bytes).collect()
}

pub fn count(name: &str) -> u32 {
    if name.starts_with("train") { 60_000 } else { 10_000 }
}

/// A valid file of constant bytes, in one gzip member per thousand items, so that it is made quickly.
pub fn valid_gz(name: &str, fill: u8) -> Vec<u8> {
    let item = if name.contains("images") { PIXELS } else { 1 };
    let mut bytes = gzip(&header(name, count(name), 28));
    bytes.extend(gzip(&vec![fill; 1000 * item]).repeat(count(name) as usize / 1000));
    bytes
}

/// A folder with the four files, every label and pixel of which is `fill`.
pub fn valid_folder(fill: u8) -> TempDir {
    let folder = tempdir().unwrap();
    for name in FILES {
        let path = folder.path().join(format!("{name}.gz"));
        fs::write(path, valid_gz(name, fill)).unwrap();
    }
    folder
}

pub fn named(folder: &Path) -> Sources {
    named_by("--data-dir", folder)
}

pub fn named_by(by: &str, folder: &Path) -> Sources {
    Sources { folder: Some(Named { by: by.into(), path: folder.to_owned() }), ..Sources::default() }
}

/// Loads, gathering the messages.
pub fn load_telling(sources: &Sources) -> (Result<Found, SourceError>, Vec<String>) {
    let mut messages = Vec::new();
    let result = load(sources, &mut |event| {
        if let Event::Message(text) = event {
            messages.push(text.to_owned());
        }
    });
    (result, messages)
}

/// A folder of IDX files of bytes: images of `sizes`, all pixels 9, and as many labels as `sizes` and `labels` say, 0,
/// 1, 2, 3 and so on below `labels`.
pub fn idx_folder(sizes: &[u32], labels: &[u32]) -> TempDir {
    let folder = tempdir().unwrap();
    for name in FILES {
        let sizes = if name.contains("images") { sizes } else { &[&sizes[..1], &labels[1..]].concat() };
        let len = sizes.iter().product::<u32>();
        let mut bytes = vec![0, 0, 8, sizes.len() as u8];
        bytes.extend(sizes.iter().flat_map(|size| size.to_be_bytes()));
        bytes.extend((0..len).map(|i| if name.contains("images") { 9 } else { (i % labels[0]) as u8 }));
        fs::write(folder.path().join(name), bytes).unwrap();
    }
    folder
}
