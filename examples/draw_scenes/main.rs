//! Draws a picture of each kind that `predict` is tested with, and some with several digits:
//! `cargo run --release --example draw_scenes -- scenes`.

mod scenes;

use scenes::{BLUE, Page, SCENES, WHITE};
use std::error::Error;
use std::path::Path;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::args().nth(1).ok_or("usage: draw_scenes FOLDER")?;
    std::fs::create_dir_all(&folder)?;
    let save = |name: String, page: Page| page.0.save(Path::new(&folder).join(name));
    for (index, (name, scene)) in SCENES.iter().enumerate() {
        save(format!("{index:02} {name}.png"), scene((3 * index + 2) % 10))?;
    }
    let ruled = Page::new(760, 200, WHITE).fill([170, 190, 220], |_, y| y % 24 < 1);
    save("20 a number on ruled paper.png".into(), write(ruled, [24061998], (30, 50)))?;
    let boxes = Page::new(400, 400, WHITE).fill([0; 3], |x, y| {
        let (x, y) = (x - 20, y - 20);
        (0..363).contains(&x) && (0..363).contains(&y) && (x % 120 < 3 || y % 120 < 3)
    });
    save("21 boxes of a form.png".into(), write(boxes, [412, 307, 589], (50, 45)))?;
    Ok(())
}

/// Writes a number in each line.
fn write<const LINES: usize>(page: Page, lines: [u32; LINES], (left, top): (u32, u32)) -> Page {
    let (across, down) = if LINES > 1 { (120, 120) } else { (90, 0) };
    (0..).zip(lines).fold(page, |page, (line, number)| {
        let digits = number.to_string().into_bytes();
        (0..).zip(digits).fold(page, |page, (place, digit)| {
            page.write(usize::from(digit - b'0'), (left + across * place, top + down * line), 76, BLUE)
        })
    })
}
