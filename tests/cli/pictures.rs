//! What `predict` finds in the pictures that people bring: digits among whatever else there is, several of them, files
//! of other kinds, and very large ones. The digits are those that we drew, laid into other pictures.

#[path = "../../examples/draw_scenes/scenes.rs"]
mod scenes;

use crate::harness::{self, program};
use image::{DynamicImage, GrayImage, imageops};
use scenes::{BLUE, Page, SCENES, WHITE};
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::Command;
use tempfile::{TempDir, tempdir};

fn predict() -> Command {
    let mut command = program(Path::new(env!("CARGO_TARGET_TMPDIR")));
    command.arg("predict").env("NO_COLOR", "1");
    command
}

/// The entries of `predict --json` for a folder or file.
#[track_caller]
fn entries(path: &Path) -> Vec<Value> {
    serde_json::from_str(&harness::run(predict().arg("--json").arg(path)).expect(0, &[]).stdout).unwrap()
}

#[test]
fn a_digit_is_found_whatever_is_around_it() {
    for (name, scene) in SCENES {
        let folder = tempdir().unwrap();
        for digit in 0..10 {
            scene(digit).0.save(folder.path().join(format!("{digit}.png"))).unwrap();
        }
        let entries = entries(folder.path());
        let right = entries.iter().enumerate().filter(|(digit, entry)| {
            let right = entry["text"].as_str() == Some(&*digit.to_string());
            if !right {
                println!("{name}: {digit} read as {} ({})", entry["text"], entry["digits"][0]["confidence"]);
            }
            right
        });
        let right = right.count();
        println!("{name}: {right} of 10");
        assert!(entries.len() == 10 && right >= 9, "{name}: {right} of 10");
    }
}

fn saved(page: Page, name: &str) -> (TempDir, std::path::PathBuf) {
    let folder = tempdir().unwrap();
    let path = folder.path().join(name);
    page.0.save(&path).unwrap();
    (folder, path)
}

#[test]
fn all_digits_of_a_row_are_read_each_with_its_place() {
    for (number, lined) in [("0612345789", false), ("1998", true), ("10", false), ("77", true)] {
        let mut page = Page::new(90 * number.len() as u32 + 60, 200, WHITE);
        if lined {
            page = page.fill([170, 190, 220], |_, y| y % 24 < 1);
        }
        for (place, digit) in (0..).zip(number.bytes()) {
            page = page.write(usize::from(digit - b'0'), (30 + 90 * place, 40 + 7 * (place % 3)), 90, BLUE);
        }
        let (_folder, path) = saved(page, "row.png");
        let entries = entries(&path);
        assert_eq!(entries[0]["text"], number);
        assert_eq!(entries[0]["count"], number.len());
        for (place, digit) in (0..).zip(entries[0]["digits"].as_array().unwrap()) {
            let found = &digit["place"];
            let [left, top, height] = ["left", "top", "height"].map(|side| found[side].as_i64().unwrap());
            let off = [left - (30 + 90 * place), top - (40 + 7 * (place % 3)), height - 90];
            assert!(off.iter().all(|off| off.abs() <= 4) && found["line"] == 0, "{number}, {place}: {found}");
        }
        let told = harness::run(predict().arg(&path)).expect(0, &[]).stdout;
        let first = told.lines().next().unwrap();
        assert!(first.ends_with(&format!("{} digits: {number}", number.len())), "{told}");
        assert_eq!(told.lines().count(), number.len() + 1, "{told}");
    }
}

#[test]
fn lines_are_read_one_after_the_other_and_marks_between_digits_are_none() {
    // A date, and below it a column of a form.
    let mut page = Page::new(640, 420, WHITE);
    let date = [(30, 2), (100, 4), (200, 1), (250, 2), (350, 9), (420, 8)];
    for (left, digit) in date {
        page = page.write(digit, (left, 30), 76, BLUE);
    }
    page = page.fill(BLUE, |x, y| (66..73).contains(&y) && ((168..190).contains(&x) || (318..340).contains(&x)));
    for (line, digits) in [(0, [3, 5]), (1, [7, 0])] {
        for (place, digit) in (0..).zip(digits) {
            page = page.write(digit, (60 + 90 * place, 160 + 120 * line), 76, BLUE);
        }
    }
    let (_folder, path) = saved(page, "form.png");
    let entries = entries(&path);
    assert_eq!(entries[0]["text"], "241298 35 70");
    let lines: Vec<i64> =
        entries[0]["digits"].as_array().unwrap().iter().map(|d| d["place"]["line"].as_i64().unwrap()).collect();
    assert_eq!(lines, [0, 0, 0, 0, 0, 0, 1, 1, 2, 2]);
}

#[test]
fn what_was_found_can_be_looked_at() {
    let (folder, path) =
        saved(Page::new(300, 200, WHITE).write(4, (40, 40), 110, BLUE).write(2, (160, 40), 110, BLUE), "42.png");
    let show = folder.path().join("show.png");
    harness::run(predict().arg(&path).arg("--show").arg(&show)).expect(0, &[]);
    let shown = image::open(&show).unwrap().to_rgb8();
    let blue = shown.pixels().filter(|pixel| pixel.0 == [0, 0x72, 0xb2]).count();
    assert!(shown.width() > 600 && blue > 1000, "{} wide, {blue} pixels of frames", shown.width());
    let ended = harness::run(predict().args([&path, &path]).arg("--show").arg(&show)).expect(2, &["--show"]);
    assert_eq!(ended.stdout, "");
    let nowhere = path.join("show.png"); // in a file
    harness::run(predict().arg(&path).arg("--show").arg(&nowhere)).expect(1, &["cannot write the picture", "show.png"]);
}

#[test]
fn a_first_argument_that_is_neither_picture_nor_network_is_an_error() {
    let folder = tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::write(at("model.pt"), b"PK\x03\x04archive/data.pkl").unwrap();
    fs::write(at("net.onnx"), b"\x08\x08\x12\x07pytorch").unwrap();
    fs::write(at("notes"), "words").unwrap();
    fs::create_dir(at("empty")).unwrap();
    let (_other, seven) = saved(Page::new(200, 200, WHITE).write(7, (60, 40), 110, BLUE), "7.png");
    #[cfg(unix)]
    std::os::unix::fs::symlink("gone", at("latest")).unwrap();
    let names: &[&str] =
        if cfg!(unix) { &["model.pt", "net.onnx", "notes", "empty", "missing", "latest"] } else { &["model.pt", "notes"] };
    for name in names {
        for json in [&[][..], &["--json"]] {
            let ended = harness::run(predict().args(json).arg(at(name)).arg(&seven)).expect(1, &[name]);
            assert_eq!(ended.stdout, "", "{name}");
        }
    }
}

#[test]
fn folders_in_a_folder_are_looked_into_and_what_is_no_picture_is_passed_over() {
    let folder = tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    for (class, name) in [(3, "3/a.png"), (7, "7/deeper/b.PNG"), (5, "c.jpg")] {
        fs::create_dir_all(at(name).parent().unwrap()).unwrap();
        Page::new(200, 200, WHITE).write(class, (60, 40), 110, BLUE).0.save(at(name)).unwrap();
    }
    fs::write(at("3/._a.png"), b"\0\x05\x16\x07").unwrap(); // as macOS keeps notes on a file
    fs::write(at(".DS_Store"), b"Bud1").unwrap();
    fs::write(at("notes.txt"), "words").unwrap();
    fs::write(at("page.png"), "<!DOCTYPE html>").unwrap();
    fs::write(at("IMG_1.HEIC"), b"\0\0\0\x18ftypheic").unwrap();
    let ended = harness::run(predict().arg("--json").arg(folder.path())).expect(0, &["IMG_1.HEIC", "page.png"]);
    let found: Vec<Value> = serde_json::from_str(&ended.stdout).unwrap();
    let texts: Vec<&str> = found.iter().map(|entry| entry["text"].as_str().unwrap()).collect();
    assert_eq!(texts, ["3", "7", "5"], "{}", ended.stdout);
    assert!(!ended.stderr.contains("._a") && !ended.stderr.contains("notes"), "{}", ended.stderr);
    // By name they are errors, and say what they are.
    for (name, kind) in [("IMG_1.HEIC", "HEIC"), ("page.png", "web page")] {
        harness::run(predict().arg(at(name))).expect(1, &[name, kind]);
    }
}

/// Two hundred megapixels, as phones make them, in half a gigabyte.
#[cfg(target_os = "linux")]
#[test]
fn a_large_picture_takes_little_memory() {
    let folder = tempdir().unwrap();
    let small = DynamicImage::from(Page::new(1024, 768, WHITE).write(4, (300, 200), 300, BLUE).0);
    let enlarged = |times: u32, picture: &GrayImage| {
        GrayImage::from_fn(picture.width() * times, picture.height() * times, |x, y| {
            *picture.get_pixel(x / times, y / times)
        })
    };
    let (jpeg, deep) = (folder.path().join("phone.jpg"), folder.path().join("deep.png"));
    enlarged(16, &small.to_luma8()).save(&jpeg).unwrap();
    // Four channels of 16 bits: eight times as many bytes as pixels.
    let small = small.resize_exact(512, 384, imageops::FilterType::Triangle).to_rgba16();
    let file = std::io::BufWriter::new(fs::File::create(&deep).unwrap());
    let mut encoder = png::Encoder::new(file, 512 * 20, 384 * 20);
    encoder.set_color(png::ColorType::Rgba);
    encoder.set_depth(png::BitDepth::Sixteen);
    let mut picture = encoder.write_header().unwrap();
    let mut rows = picture.stream_writer().unwrap();
    for y in 0..384 * 20 {
        let row = (0..512 * 20).flat_map(|x| small.get_pixel(x / 20, y / 20).0).flat_map(u16::to_be_bytes);
        std::io::Write::write_all(&mut rows, &row.collect::<Vec<u8>>()).unwrap();
    }
    rows.finish().unwrap();
    picture.finish().unwrap();
    for path in [jpeg, deep] {
        let command = predict();
        let mut limited = Command::new("sh");
        limited.args(["-c", "ulimit -d 500000; exec \"$0\" \"$@\""]).arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            value.map(|value| limited.env(name, value));
        }
        let ended = harness::run(limited.arg(&path)).expect(0, &[]);
        assert!(ended.stdout.contains(": 4  "), "{}", ended.stdout);
    }
}
