//! What `predict` promises: it knows the digits that we drew, says so to people and to programs, and one bad picture
//! spoils nothing.

use crate::harness::{self, program};
use crate::mnist;
use image::{DynamicImage, GrayImage, ImageFormat, Luma, imageops};
use mnist_wgpu::image::{Picture, digits};
use mnist_wgpu::sources::{Named, Sources, load};
use serde_json::Value;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::tempdir;

/// The digits that we drew; the name of each begins with what it is.
const DIGITS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/assets/digits");

fn digit(name: &str) -> PathBuf {
    Path::new(DIGITS).join(name)
}

fn predict() -> Command {
    let mut command = program(Path::new(env!("CARGO_TARGET_TMPDIR")));
    command.arg("predict").env("NO_COLOR", "1");
    command
}

/// stdout and stderr, after checking the exit code and that nothing panicked.
#[track_caller]
fn run(command: &mut Command, code: i32) -> (String, String) {
    let ended = harness::run(command).expect(code, &[]);
    (ended.stdout, ended.stderr)
}

/// The entries that `--json` prints.
#[track_caller]
fn entries(command: &mut Command, code: i32) -> Vec<Value> {
    serde_json::from_str(&run(command.arg("--json"), code).0).unwrap()
}

/// Of the entries, how many are right by the first character of their file's name.
fn right(entries: &[Value]) -> usize {
    let is_right = |entry: &&Value| {
        let name = Path::new(entry["path"].as_str().unwrap()).file_name().unwrap().to_str().unwrap();
        let right = entry["digit"].as_u64() == name[..1].parse().ok();
        if !right {
            println!("{name} taken for {} ({})", entry["digit"], entry["confidence"]);
        }
        right
    };
    entries.iter().filter(is_right).count()
}

#[test]
fn the_built_in_network_knows_the_digits_that_we_drew() {
    let entries = entries(predict().arg(DIGITS), 0);
    assert_eq!(entries.len(), 20);
    let right = right(&entries);
    println!("{right} of 20");
    assert!(right >= 18, "{right} of 20");
}

#[test]
fn a_picture_is_told_in_one_line_and_the_network_on_stderr() {
    let path = digit("8-brush.png");
    let (stdout, stderr) = run(predict().arg(&path), 0);
    assert!(stdout.starts_with(&format!("{}: 8  ", path.display())) && stdout.contains("%  (then "), "{stdout}");
    assert_eq!(stdout.lines().count(), 1, "{stdout}");
    assert!(stderr.contains("the built-in network") && stderr.contains("epochs on mnist"), "{stderr}");
}

#[test]
fn what_the_network_sees_is_drawn_where_it_is_asked_for() {
    let (shades, _) = run(predict().args(["--picture", "always"]).arg(digit("8-brush.png")), 0);
    assert_eq!(shades.lines().count(), 15, "{shades}");
    assert!(shades.contains("> 8 ") && shades.contains('@') && !shades.contains('\x1b'), "{shades}");
    let mut coloured = predict();
    coloured.env_remove("NO_COLOR").env("TERM", "xterm-256color").env("COLORTERM", "truecolor");
    let (coloured, _) = run(coloured.args(["--picture", "always"]).arg(digit("8-brush.png")), 0);
    assert!(coloured.contains("\x1b[38;2;"), "{coloured}");
}

#[test]
fn json_holds_all_ten_probabilities() {
    let entries = entries(predict().arg(digit("8-brush.png")), 0);
    let [entry] = &entries[..] else { panic!("{entries:?}") };
    let probabilities: Vec<f64> = entry["probabilities"].as_array().unwrap().iter().map(|p| p.as_f64().unwrap()).collect();
    assert_eq!((probabilities.len(), entry["digit"].as_u64()), (10, Some(8)));
    assert!((probabilities.iter().sum::<f64>() - 1.0).abs() < 1e-9);
    assert_eq!(entry["confidence"].as_f64(), Some(probabilities[8]));
    let runner_up = entry["runner_up"].as_u64().unwrap() as usize;
    assert_eq!(entry["runner_up_confidence"].as_f64(), Some(probabilities[runner_up]));
}

#[test]
fn one_bad_picture_is_named_and_the_others_are_predicted() {
    let folder = tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    };
    let blank = folder.path().join("blank.png");
    GrayImage::from_pixel(40, 40, Luma([255])).save(&blank).unwrap();
    let empty = folder.path().join("empty");
    fs::create_dir(&empty).unwrap();
    let whole = fs::read(digit("8-brush.png")).unwrap();
    let cases = [
        (write("text.png", b"not a picture"), "expected a PNG or JPEG picture"),
        (write("half.png", &whole[..whole.len() / 2]), "damaged"),
        (blank, "blank page of 40x40"),
        (empty, "found none"),
        (folder.path().join("missing.png"), "cannot read it"),
    ];
    for (bad, part) in &cases {
        let (stdout, stderr) = run(predict().arg(digit("8-brush.png")).arg(bad).arg(digit("2-brush.png")), 1);
        assert_eq!(stdout.lines().count(), 2, "{stdout}");
        let line = stderr.lines().find(|line| line.contains(bad.to_str().unwrap())).unwrap_or_else(|| panic!("{stderr}"));
        assert!(line.contains(part) && stderr.contains("1 of 3"), "{stderr}");
        let entries = entries(predict().arg(digit("8-brush.png")).arg(bad), 1);
        assert!(entries[1]["error"].as_str().unwrap().contains(part) && entries[0]["digit"] == 8, "{entries:?}");
    }
}

#[test]
fn a_picture_can_come_through_stdin() {
    let picture = File::open(digit("8-brush.png")).unwrap();
    let (stdout, _) = run(predict().arg("-").stdin(picture), 0);
    assert!(stdout.starts_with("-: 8  "), "{stdout}");
}

/// As `<(...)` is one.
#[cfg(unix)]
#[test]
fn a_pipe_is_read_once() {
    let folder = tempdir().unwrap();
    let (picture, network) = (digit("8-brush.png"), concat!(env!("CARGO_MANIFEST_DIR"), "/assets/mnist-cnn.safetensors"));
    let piped = |file: &Path, arguments: &[&Path]| {
        let mut predict = program(folder.path());
        predict.arg("predict").args(arguments);
        let script = format!("cat '{}' | \"$0\" \"$@\"", file.display());
        harness::run(&mut harness::in_shell(&script, &predict)).expect(0, &[]).stdout
    };
    let (pipe, show) = (Path::new("/dev/stdin"), folder.path().join("show.png"));
    for named in [Path::new("-"), pipe] {
        let said = piped(&picture, &[named, Path::new("--show"), &show]);
        assert_eq!(said.split_whitespace().nth(1), Some("8"), "{said}");
        fs::remove_file(&show).unwrap();
    }
    assert!(piped(&picture, &[Path::new(network), pipe]).starts_with("/dev/stdin: 8  "));
    assert!(piped(Path::new(network), &[pipe, &picture]).contains("8-brush.png: 8  "));
}

#[test]
fn the_network_may_be_named_first() {
    let folder = tempdir().unwrap();
    let (run_folder, file) = (folder.path().join("0001"), folder.path().join("0001/model.safetensors"));
    fs::create_dir(&run_folder).unwrap();
    fs::copy(concat!(env!("CARGO_MANIFEST_DIR"), "/assets/mnist-cnn.safetensors"), &file).unwrap();
    fs::copy(digit("7-pen.png"), run_folder.join("curves.png")).unwrap(); // a report's pictures are not meant
    let latest = folder.path().join("latest"); // where there are no links
    fs::write(&latest, "0001\n").unwrap();
    for named in [&run_folder, &file, &latest] {
        let (stdout, stderr) = run(predict().arg(named).arg(digit("8-brush.png")), 0);
        assert!(stdout.contains("8-brush.png: 8  ") && stdout.lines().count() == 1, "{stdout}");
        assert!(stderr.contains(file.to_str().unwrap()), "{stderr}");
    }
    let (_, stderr) = run(predict().arg(digit("8-brush.png")).arg(&run_folder), 2);
    assert!(stderr.contains("name it before the pictures"), "{stderr}");
    let (_, stderr) = run(predict().args(["builtin"]).arg(digit("8-brush.png")), 0);
    assert!(stderr.contains("the built-in network"), "{stderr}");

    let missing = folder.path().join("missing.safetensors");
    let (_, stderr) = run(predict().arg(&missing).arg(digit("8-brush.png")), 1);
    assert!(stderr.contains(missing.to_str().unwrap()), "{stderr}");
    let (_, stderr) = run(predict().arg(&run_folder), 2);
    assert!(stderr.contains("[MODEL] IMAGE..."), "{stderr}");
}

/// The first thousand test images of MNIST, as files; then the same black on white, three times as large, off-centre.
#[test]
#[ignore = "needs MNIST_DIR"]
fn mnist_survives_the_way_through_files() {
    let folder = Some(Named { by: "MNIST_DIR".into(), path: mnist::folder() });
    let data = load(&Sources { folder, ..Sources::default() }, &mut |_| ()).unwrap().dataset;
    let (plain, redrawn) = (tempdir().unwrap(), tempdir().unwrap());
    for (index, (pixels, label)) in data.test.pixels.chunks_exact(28 * 28).zip(&data.test.labels).take(1000).enumerate() {
        let name = format!("{label}-{index}.png");
        let image = GrayImage::from_raw(28, 28, pixels.to_vec()).unwrap();
        let [digit] = &digits(&Picture::of(&image.clone().into()).unwrap()).unwrap()[..] else { panic!("{name}") };
        assert_eq!(digit.sample, pixels, "{name}");
        image.save(plain.path().join(&name)).unwrap();
        let mut page = GrayImage::new(150, 120);
        imageops::overlay(&mut page, &imageops::resize(&image, 84, 84, imageops::FilterType::Triangle), 5, 20);
        let mut page = DynamicImage::from(page);
        page.invert();
        page.save_with_format(redrawn.path().join(&name), ImageFormat::Png).unwrap();
    }
    for (folder, least) in [(&plain, 980), (&redrawn, 970)] {
        let right = right(&entries(predict().arg(folder.path()), 0));
        println!("{right} of 1000");
        assert!(right >= least, "{right} of 1000");
    }
}
