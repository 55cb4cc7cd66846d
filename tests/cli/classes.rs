//! A data set that is not MNIST, end to end: 47 classes with names, colour images of 20 x 24 pixels.

use crate::harness::*;
use image::{Rgb, RgbImage};
use mnist_wgpu::run::load_network;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

const CLASSES: usize = 47;
const CHANNELS: usize = 3;
const HEIGHT: usize = 20;
const WIDTH: usize = 24;

/// A name that a page must escape, one too long for a table, one of another script, and plain ones.
fn name(class: usize) -> String {
    match class {
        0 => "<b>&\"cat\"</b>".into(),
        1 => "a name that is longer than any column of a table could be".into(),
        2 => "\u{72ac}".into(),
        _ => format!("class {class}"),
    }
}

/// Image number `index` of class `class`, (H, W, C): a square of the class's own colour at the class's own place, in
/// noise.
fn picture(class: usize, index: usize) -> Vec<u8> {
    let (top, left) = (class / 8 * 3, class % 8 * 3);
    let colour = [class * 5 % 256, 255 - class * 5 % 256, class * 53 % 256];
    let value = |place: usize| {
        let (y, x, c) = (place / CHANNELS / WIDTH, place / CHANNELS % WIDTH, place % CHANNELS);
        let inside = (top..top + 5).contains(&y) && (left..left + 5).contains(&x);
        let noise = (place * 7919 + index * 104_729) % 97 % 40;
        if inside { colour[c] as u8 } else { noise as u8 }
    };
    (0..HEIGHT * WIDTH * CHANNELS).map(value).collect()
}

/// The data set's folder: 700 images to train and validate with, 94 to test with, as IDX files of N x H x W x C.
fn folder() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("cli-classes");
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        for (set, count, first) in [("train", 700, 0), ("t10k", 2 * CLASSES, 10_000)] {
            let sizes = |sizes: &[usize]| sizes.iter().flat_map(|&size| (size as u32).to_be_bytes()).collect::<Vec<u8>>();
            let (mut images, mut labels) = (sizes(&[0x804, count, HEIGHT, WIDTH, CHANNELS]), sizes(&[0x801, count]));
            for index in 0..count {
                images.extend(picture(index % CLASSES, first + index));
                labels.push((index % CLASSES) as u8);
            }
            fs::write(folder.join(format!("{set}-images-idx4-ubyte")), images).unwrap();
            fs::write(folder.join(format!("{set}-labels-idx1-ubyte")), labels).unwrap();
        }
        fs::write(folder.join("classes.txt"), Vec::from_iter((0..CLASSES).map(name)).join("\n")).unwrap();
        folder
    })
}

fn train(at: &Path, device: &str, arguments: &[&str]) -> Ended {
    let mut command = program(at);
    command.args(["train", "--device", device, "--data-dir", folder().to_str().unwrap(), "--dropout", "0"]);
    run(command.args(arguments))
}

fn json(command: &mut std::process::Command) -> Value {
    serde_json::from_str(&run(command).expect(0, &[]).stdout).unwrap()
}

/// Trains, takes up again, looks at all that is kept, judges, predicts and exports.
fn end_to_end(device: &str) {
    let at = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("cli-classes-{device}"));
    let _ = fs::remove_dir_all(&at);
    fs::create_dir_all(&at).unwrap();
    let settings = ["--batch-size", "20", "--lr", "0.05", "--seed", "3"];

    // Eight epochs at once, and as two and six: the same bits.
    train(&at, device, &[&settings[..], &["--epochs", "8", "--out", "whole"]].concat())
        .expect(0, &["700 training and 94 test images", "47 classes, 20x24 pixels, colour"]);
    train(&at, device, &[&settings[..], &["--epochs", "2", "--out", "parts"]].concat()).expect(0, &[]);
    run(program(&at).args(["train", "--resume", "parts", "--epochs", "8"])).expect(0, &[]);
    let [whole, parts] = ["whole", "parts"].map(|run| load_network(&at.join(run).join("last.safetensors")).unwrap());
    assert_eq!(whole.state, parts.state, "a resumed run has other bits");
    assert_eq!(whole.classes(), Vec::from_iter((0..CLASSES).map(name)));
    assert_eq!((whole.model.classes(), &whole.model.shapes()[0].0[..]), (CLASSES, &[CHANNELS, HEIGHT, WIDTH][..]));

    let page = fs::read_to_string(at.join("whole/report.html")).unwrap();
    for part in ["class 46", "&#60;b&#62;", "\u{72ac}"].iter().chain(&["a name that is longer"]) {
        assert!(page.contains(part), "{part} is not on the page");
    }
    assert!(!page.contains("<b>&"), "a name is not escaped");
    for picture in ["confusion.png", "curves.png", "filters.png", "mistakes.png"] {
        assert!(fs::read(at.join("whole").join(picture)).unwrap().starts_with(b"\x89PNG"), "{picture}");
    }
    let config = fs::read_to_string(at.join("whole/config.toml")).unwrap();
    assert!(config.contains("shape = [3, 20, 24]") || config.contains("shape = [\n"), "{config}");
    assert!(config.contains("classes = 47") && config.contains("name = \"custom\""), "{config}");

    let eval = ["eval", "whole", "--device", device, "--data-dir", folder().to_str().unwrap()];
    let report = json(program(&at).args(eval).arg("--json"));
    assert_eq!((report["images"].as_u64(), report["confusion"].as_array().unwrap().len()), (Some(94), CLASSES));
    assert_eq!(report["classes"][2]["name"], "\u{72ac}");
    // Each class has a place of its own: a net that learned tells nearly all apart, and a guess is worth 2%.
    assert!(report["accuracy"].as_f64().unwrap() > 0.9, "{}", report["accuracy"]);
    let text = run(program(&at).args(eval)).expect(0, &[]).stdout;
    assert!(text.contains("class 46") && text.starts_with("Loss on test set:"), "{text}");

    let mut right = 0;
    for class in 0..CLASSES {
        let pixels = picture(class, 20_000);
        let image = RgbImage::from_fn(WIDTH as u32, HEIGHT as u32, |x, y| {
            let at = (y as usize * WIDTH + x as usize) * CHANNELS;
            Rgb([pixels[at], pixels[at + 1], pixels[at + 2]])
        });
        fs::create_dir_all(at.join("pictures")).unwrap();
        image.save(at.join(format!("pictures/{class:02}.png"))).unwrap();
    }
    let predicted = json(program(&at).args(["predict", "whole", "pictures", "--device", device, "--json"]));
    for (class, entry) in predicted.as_array().unwrap().iter().enumerate() {
        right += usize::from(entry["class"] == name(class).as_str());
        assert_eq!(entry["probabilities"].as_array().unwrap().len(), CLASSES);
    }
    assert!(right > 40, "{right} of 47 pictures");
    let text = run(program(&at).args(["predict", "whole", "pictures/46.png", "--picture", "always"])).expect(0, &[]).stdout;
    assert!(text.contains("class "), "{text}");

    run(program(&at).args(["export", "whole", "--onnx", "net.onnx"])).expect(0, &["(3, 20, 24)"]);
    let onnx = rten::Model::load(fs::read(at.join("net.onnx")).unwrap()).unwrap();
    let names: Vec<String> = serde_json::from_str(onnx.metadata().get("classes").unwrap()).unwrap();
    assert_eq!(names, whole.classes());
}

#[test]
fn a_data_set_of_47_classes_in_colour_is_trained_and_used_on_the_cpu() {
    end_to_end("cpu");
}

#[test]
fn a_data_set_of_47_classes_in_colour_is_trained_and_used_on_the_gpu() {
    end_to_end("gpu");
}

#[test]
fn a_network_and_a_data_set_that_do_not_fit_each_other_are_told_so() {
    let ended = run_alone(&["eval", "builtin", "--device", "cpu", "--data-dir", folder().to_str().unwrap()]);
    ended.expect(1, &["the built-in network takes images of shape (1, 28, 28)", "(3, 20, 24)"]);
}

#[test]
fn images_too_small_for_the_network_are_told_so() {
    let at = tempfile::tempdir().unwrap();
    for (set, count) in [("train", 40u32), ("t10k", 10)] {
        let sizes = |sizes: &[u32]| sizes.iter().flat_map(|size| size.to_be_bytes()).collect::<Vec<u8>>();
        let images = [sizes(&[0x803, count, 8, 30]), vec![7; count as usize * 240]].concat();
        fs::write(at.path().join(format!("{set}-images-idx3-ubyte")), images).unwrap();
        let labels = [sizes(&[0x801, count]), (0..count as u8).map(|i| i % 3).collect()].concat();
        fs::write(at.path().join(format!("{set}-labels-idx1-ubyte")), labels).unwrap();
    }
    let ended = run_alone(&["train", "--device", "cpu", "--data-dir", at.path().to_str().unwrap()]);
    ended.expect(1, &["8x30", "too small for the network", "layer 5, MaxPool2d(2)"]);
}
