//! Draws the 26 capitals in the fonts of a system, as a folder of pictures to train on:
//! `cargo run --release --example draw_letters -- letters /usr/share/fonts`.
//!
//! Every fourth family of fonts is kept for `letters/test`: the network is tested on fonts that it has never seen.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use resvg::tiny_skia::{Pixmap, Transform};
use resvg::usvg::{Options, Tree, fontdb::Database};
use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Pixels a side, and pictures of a letter in each font.
const SIDE: u32 = 40;
const VARIANTS: usize = 8;
const TEST_ONE_OF: usize = 4;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let [out, fonts] = &arguments[..] else { return Err("expected: draw_letters FOLDER FONTS".into()) };
    let mut files = Vec::new();
    collect(fonts, &mut files)?;
    files.sort();
    let mut families: BTreeMap<String, Vec<Arc<Database>>> = BTreeMap::new();
    for file in &files {
        let mut fonts = Database::new();
        fonts.load_font_data(fs::read(file)?);
        let family = fonts.faces().next().and_then(|face| Some(face.families.first()?.0.clone()));
        families.entry(family.unwrap_or_default()).or_default().push(Arc::new(fonts));
    }
    let mut random = ChaCha8Rng::seed_from_u64(0);
    let mut counts = BTreeMap::new();
    for (index, (family, fonts)) in families.iter().enumerate() {
        let set = if index % TEST_ONE_OF == TEST_ONE_OF - 1 { "test" } else { "train" };
        for letter in 'A'..='Z' {
            let folder = out.join(set).join(letter.to_string());
            fs::create_dir_all(&folder)?;
            for (number, font) in fonts.iter().enumerate() {
                for variant in 0..VARIANTS {
                    if let Some(picture) = draw(letter, family, font, &mut random)? {
                        let name = format!("{}-{number}-{variant}.png", family.replace(|c: char| !c.is_alphanumeric(), ""));
                        fs::write(folder.join(name), picture.encode_png()?)?;
                        *counts.entry(set).or_insert(0) += 1;
                    }
                }
            }
        }
        println!("{set}: {family}, {} fonts", fonts.len());
    }
    println!("{counts:?} pictures in {}", out.display());
    Ok(())
}

/// A letter in ink on paper, turned, moved and sized a little at random; none where the font lacks it.
fn draw(
    letter: char,
    family: &str,
    font: &Arc<Database>,
    random: &mut ChaCha8Rng,
) -> Result<Option<Pixmap>, Box<dyn Error>> {
    let mut between = |low: f32, high: f32| low + (high - low) * random.random::<f32>();
    let (size, turn) = (between(20.0, 34.0), between(-12.0, 12.0));
    let (x, y) = (between(17.0, 23.0), between(17.0, 23.0) + 0.36 * size);
    let [paper, ink] = [between(200.0, 255.0), between(0.0, 90.0)].map(|grey| grey as u8);
    let of_face = font.faces().next().map(|face| (face.weight.0, face.style == resvg::usvg::fontdb::Style::Italic));
    let (weight, italic) = of_face.unwrap_or((400, false));
    let style = if italic { "italic" } else { "normal" };
    let svg = format!(
        "<svg xmlns='http://www.w3.org/2000/svg' width='{SIDE}' height='{SIDE}'><rect width='100%' height='100%' \
         fill='rgb({paper},{paper},{paper})'/><text x='{x}' y='{y}' font-size='{size}' font-weight='{weight}' \
         font-style='{style}' text-anchor='middle' transform='rotate({turn} 20 20)' fill='rgb({ink},{ink},{ink})'>{letter}\
         </text></svg>"
    );
    let options = Options { font_family: family.into(), fontdb: font.clone(), ..Options::default() };
    let mut pixels = Pixmap::new(SIDE, SIDE).ok_or("no pixels")?;
    resvg::render(&Tree::from_str(&svg, &options)?, Transform::default(), &mut pixels.as_mut());
    let drawn = pixels.pixels().iter().any(|pixel| pixel.red() < paper);
    Ok(drawn.then_some(pixels))
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in folder.read_dir()? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "ttf" || extension == "otf") {
            files.push(path);
        }
    }
    Ok(())
}
