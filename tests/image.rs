//! The same digit gives the same bytes, wherever, however large and in whatever colours it was drawn.

use image::{DynamicImage, GrayImage, ImageFormat, Luma, Rgb, RgbImage, Rgba, RgbaImage};
use mnist_wgpu::image::{Digit, Fault, Picture, digits};
use std::io::Cursor;

const ROWS: usize = 28;
const COLS: usize = 28;
const PIXELS: usize = ROWS * COLS;

/// A seven of width `size`, drawn black on white into a page, its top left at `left`, `top`.
fn seven((width, height): (u32, u32), (left, top): (u32, u32), size: u32) -> GrayImage {
    GrayImage::from_fn(width, height, |x, y| {
        let (x, y) = ((f64::from(x) - f64::from(left)) / f64::from(size), (f64::from(y) - f64::from(top)) / f64::from(size));
        let bar = (0.0..1.0).contains(&x) && (0.0..0.18).contains(&y);
        let stem = (0.0..1.4).contains(&y) && (x - (0.85 - 0.4 * y)).abs() < 0.1;
        Luma([if bar || stem { 0 } else { 255 }])
    })
}

fn found_in(picture: &DynamicImage) -> Result<Vec<Digit>, Fault> {
    digits(&Picture::of(picture)?)
}

#[track_caller]
fn digit_in(picture: impl Into<DynamicImage>) -> [u8; PIXELS] {
    let found = found_in(&picture.into()).unwrap_or_else(|fault| panic!("{fault}"));
    let [digit] = &found[..] else { panic!("{} digits", found.len()) };
    digit.sample
}

/// Of the PNG or JPEG file `bytes`.
fn read(bytes: &[u8]) -> Result<Vec<Digit>, Fault> {
    digits(&Picture::decode(bytes)?)
}

/// Checks that two digits differ in no more than a `share` of the first's ink, where one may lie a pixel beside the
/// other: the centre of mass falls now just on one side, now on the other of a pixel's edge.
#[track_caller]
fn alike(a: &[u8; PIXELS], b: &[u8; PIXELS], share: f64) {
    let at = |x: usize, y: usize| if x < COLS && y < ROWS { a[y * COLS + x] } else { 0 };
    let apart = |dx: usize, dy: usize| -> f64 {
        let places = (0..PIXELS).map(|i| (at((i % COLS + dx).wrapping_sub(1), (i / COLS + dy).wrapping_sub(1)), b[i]));
        places.map(|(a, b)| f64::from(a.abs_diff(b))).sum()
    };
    let least = (0..9).map(|i| apart(i % 3, i / 3)).fold(f64::INFINITY, f64::min);
    let ink: f64 = a.iter().map(|&value| f64::from(value)).sum();
    assert!(least <= share * ink, "{:.3} of the ink differs", least / ink);
}

#[test]
fn ink_and_paper_may_change_places() {
    let black = seven((200, 240), (40, 30), 90);
    let mut white = DynamicImage::from(black.clone());
    white.invert();
    assert_eq!(digit_in(black), digit_in(white));
}

#[test]
fn neither_place_nor_size_matters() {
    let one = digit_in(seven((200, 240), (40, 30), 90));
    assert_eq!(one, digit_in(seven((640, 480), (7, 301), 90)));
    for size in [60, 150, 301, 700] {
        alike(&one, &digit_in(seven((1000, 1300), (60, 80), size)), 0.1);
    }
}

#[test]
fn the_digit_is_twenty_high_and_its_mass_in_the_middle() {
    let digit = digit_in(seven((300, 300), (5, 9), 90));
    let rows: Vec<usize> = (0..ROWS).filter(|row| digit[row * COLS..][..COLS].iter().any(|&v| v > 0)).collect();
    assert_eq!(rows.last().unwrap() + 1 - rows[0], 20);
    let mass: f64 = digit.iter().map(|&value| f64::from(value)).sum();
    let middle = |place: fn(usize) -> usize| {
        digit.iter().enumerate().map(|(i, &value)| place(i) as f64 * f64::from(value)).sum::<f64>() / mass
    };
    let (x, y) = (middle(|i| i % COLS), middle(|i| i / COLS));
    assert!((x - 14.0).abs() <= 0.501 && (y - 14.0).abs() <= 0.501, "{x}, {y}");
}

#[test]
fn what_has_mnists_form_stays_as_it_is() {
    let digit = digit_in(seven((300, 300), (5, 9), 90));
    assert_eq!(digit_in(GrayImage::from_raw(28, 28, digit.to_vec()).unwrap()), digit);
}

#[test]
fn colours_greys_and_transparency_are_all_ink() {
    let shape = seven((200, 240), (40, 30), 90);
    let want = digit_in(shape.clone());
    let coloured = |ink: [u8; 3], paper: [u8; 3]| {
        RgbImage::from_fn(200, 240, |x, y| Rgb(if shape.get_pixel(x, y).0 == [0] { ink } else { paper }))
    };
    // Yellow on white, red on blue of equal lightness, grey on grey.
    for (ink, paper) in [([255, 230, 0], [255; 3]), ([200, 0, 0], [0, 0, 250]), ([150; 3], [120; 3])] {
        assert_eq!(digit_in(coloured(ink, paper)), want, "{ink:?} on {paper:?}");
    }
    for value in [0, 255] {
        let on_nothing = RgbaImage::from_fn(200, 240, |x, y| {
            Rgba([value, value, value, 255 - shape.get_pixel(x, y).0[0]]) //
        });
        assert_eq!(digit_in(on_nothing), want, "{value} on nothing");
    }
}

#[test]
fn uneven_light_noise_and_dust_are_no_ink() {
    let shape = seven((400, 480), (90, 80), 190);
    let want = digit_in(shape.clone());
    let photo = GrayImage::from_fn(400, 480, |x, y| {
        let light = 230.0 - 0.15 * f64::from(x) - 0.12 * f64::from(y) - 0.0003 * f64::from(x * x);
        let noise = f64::from((x * 7919 + y * 104_729 + x * y * 31) % 13) - 6.0;
        let dust = (300..303).contains(&x) && (40..43).contains(&y);
        let reflected = if shape.get_pixel(x, y).0 == [0] || dust { 0.2 } else { 1.0 };
        Luma([(light * reflected + noise) as u8])
    });
    alike(&want, &digit_in(photo), 0.15);
}

#[test]
fn a_hair_line_is_drawn_as_thick_as_mnist_draws() {
    let line = GrayImage::from_fn(500, 500, |x, y| Luma([if x == y && (50..450).contains(&x) { 0 } else { 255 }]));
    let digit = digit_in(line);
    assert!(digit.iter().filter(|&&value| value > 150).count() >= 40, "{digit:?}");
}

#[test]
fn a_blank_page_is_an_error() {
    let noisy = GrayImage::from_fn(300, 200, |x, y| Luma([(120 + x / 10 + (x * 31 + y * 17) % 5) as u8]));
    let clear = RgbaImage::from_pixel(50, 50, Rgba([9, 9, 9, 0]));
    for blank in [GrayImage::from_pixel(300, 200, Luma([255])).into(), noisy.into(), DynamicImage::from(clear)] {
        let text = found_in(&blank).unwrap_err().to_string();
        assert!(text.contains("blank") && text.contains(&format!("{}x{}", blank.width(), blank.height())), "{text}");
    }
}

#[test]
fn pictures_of_any_shape_give_a_digit_or_an_error() {
    for (width, height) in [(1, 1), (1, 2), (2, 1), (1, 500), (3000, 1), (5, 4000), (28, 28), (1025, 1)] {
        for seed in 0..4 {
            let speckled = GrayImage::from_fn(width, height, |x, y| {
                let hash = (x.wrapping_mul(2_654_435) + y * 40_503 + seed * 97).wrapping_mul(2_246_822_519) >> 24;
                Luma([if seed == 0 { 255 * u8::from(hash > 240) } else { hash as u8 }])
            });
            let _ = found_in(&speckled.into());
        }
    }
    // Three pixels in a row fill the box from side to side.
    let bar = GrayImage::from_fn(9, 1, |x, _| Luma([255 * u8::from((3..6).contains(&x))]));
    assert_eq!(digit_in(bar).iter().filter(|&&value| value > 0).count() / 20, 7);
}

#[test]
fn what_is_no_picture_is_named() {
    let mut png = Vec::new();
    DynamicImage::from(seven((90, 90), (20, 20), 40)).write_to(&mut Cursor::new(&mut png), ImageFormat::Png).unwrap();
    assert!(read(&png).is_ok());
    for (bytes, part) in [
        (&b""[..], "nothing"),
        (b"hello, world", "something else"),
        (b"GIF89a........", "GIF"),
        (&png[..png.len() / 2], "damaged"),
        (&png[..20], "damaged"),
    ] {
        let text = read(bytes).unwrap_err().to_string();
        assert!(text.contains(part), "{part:?} is not in {text:?}");
    }
}

#[test]
fn a_picture_too_large_is_refused_before_it_is_decoded() {
    let mut png = Vec::new();
    GrayImage::from_pixel(9, 9, Luma([0])).write_to(&mut Cursor::new(&mut png), ImageFormat::Png).unwrap();
    png[16..24].copy_from_slice(&[0, 1, 0, 0, 0, 1, 0, 0]); // 65,536 by 65,536
    let checksum = crc32(&png[12..29]);
    png[29..33].copy_from_slice(&checksum.to_be_bytes());
    let text = read(&png).unwrap_err().to_string();
    assert!(text.contains("65536x65536"), "{text}");
}

/// PNG's checksum of a chunk.
fn crc32(bytes: &[u8]) -> u32 {
    let mut checksum = flate2::Crc::new();
    checksum.update(bytes);
    checksum.sum()
}
