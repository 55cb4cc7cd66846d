//! From a folder of pictures to a classifier; and data sets by their names.

use crate::folders::write_idx;
use crate::harness::*;
use image::{DynamicImage, Rgb, RgbImage};
use mnist_wgpu::data::synthetic;
use mnist_wgpu::run::load_network;
use serde_json::Value;
use std::fs;
use std::path::Path;
use tempfile::tempdir;

const CLASSES: [&str; 3] = ["bar", "box", "dot"];

/// Picture number `index` of class `class`: a shape in dark `ink` on light, uneven paper, somewhere.
fn shape(class: &str, index: u32, side: u32, ink: [u8; 3]) -> DynamicImage {
    let (left, top) = (side / 8 + index * 7 % (side / 5), side / 8 + index * 3 % (side / 5));
    let pixel = |x: u32, y: u32| {
        let (x0, y0) = (x.wrapping_sub(left), y.wrapping_sub(top));
        let (inside, far) = (x0 < side / 2 && y0 < side / 2, side / 2 - side / 8);
        let inked = match class {
            "bar" => x0 < side / 8 && y0 < side / 2,
            "box" => inside && !((side / 8..far).contains(&x0) && (side / 8..far).contains(&y0)),
            _ => (side / 6..side / 3).contains(&x0) && (side / 6..side / 3).contains(&y0),
        };
        let noise = ((x * 31 + y * 17 + index * 101) % 29) as u8;
        Rgb(if inked { ink } else { [215 + noise; 3] })
    };
    RgbImage::from_fn(side, side, pixel).into()
}

fn save(folder: &Path, picture: &DynamicImage, name: &str) {
    fs::create_dir_all(folder).unwrap();
    picture.save(folder.join(name)).unwrap();
}

fn train(at: &Path, data: &str, arguments: &[&str]) -> Ended {
    let settings = ["--device", "cpu", "--batch-size", "8", "--lr", "0.05", "--dropout", "0", "--data-dir", data];
    run(program(at).arg("train").args(settings).args(arguments))
}

fn eval(at: &Path, arguments: &[&str]) -> Ended {
    run(program(at).args(["eval", "--device", "cpu"]).args(arguments))
}

fn accuracy(ended: &Ended) -> f64 {
    ended.first_line().rsplit(' ').next().unwrap().parse().unwrap()
}

/// How many of the pictures in `folder` are read as the class whose folder they are in, without doubt, and of how many.
fn read_right(at: &Path, network: &str, folder: &str) -> (usize, usize) {
    let ended = run(program(at).args(["predict", network, folder, "--json"])).expect(0, &[]);
    let all: Vec<Value> = serde_json::from_str(&ended.stdout).unwrap();
    let right = |entry: &&Value| {
        let class = Path::new(entry["path"].as_str().unwrap()).parent().unwrap().file_name().unwrap();
        entry["class"] == class.to_str().unwrap() && entry["doubt"].is_null()
    };
    (all.iter().filter(right).count(), all.len())
}

#[test]
fn a_folder_of_pictures_becomes_a_classifier_that_reads_them() {
    let at = tempdir().unwrap();
    // 28x28 and grey, as digits are: but they are none, and dark on light.
    for class in CLASSES {
        (0..40)
            .for_each(|i| save(&at.path().join("shapes").join(class), &shape(class, i, 40, [20; 3]), &format!("{i}.png")));
    }
    let settings = ["--size", "28", "--seed", "7", "--epochs"];
    train(at.path(), "shapes", &[&settings[..], &["8", "--out", "run"]].concat()).expect(
        0,
        &[
            "Data: pictures (shapes), 105 training and 15 test",
            "3 classes, 28x28 pixels, grey",
            "bar, box, dot",
            "an eighth",
        ],
    );
    let kept = load_network(&at.path().join("run/model.safetensors")).unwrap();
    assert!(kept.takes_whole() && kept.classes() == CLASSES);
    let search = ["lr-find", "--device", "cpu", "--data-dir", "shapes", "--size", "20x28", "--batch-size", "8"];
    run(program(at.path()).args(search)).expect(0, &["3 classes, 20x28 pixels, grey"]);

    // The run knows its own pictures, of which other ones are held out for each seed; so does its file.
    let own = eval(at.path(), &["run"]).expect(0, &["Data: pictures (", "15 test images"]);
    assert!(accuracy(&own) > 0.9, "{}", own.stdout);
    let elsewhere = tempdir().unwrap();
    fs::copy(at.path().join("run/model.safetensors"), elsewhere.path().join("net.safetensors")).unwrap();
    let pictures = at.path().join("shapes");
    let file = eval(elsewhere.path(), &["net.safetensors", "--data-dir", pictures.to_str().unwrap()]);
    assert_eq!(file.expect(0, &[]).stdout, own.stdout);

    let (right, all) = read_right(at.path(), "run", "shapes");
    assert!(all == 120 && right > 114, "{right} of {all}");

    // Taken up again it has the same pictures, and reaches the same bits; with another picture it does not go on.
    train(at.path(), "shapes", &[&settings[..], &["2", "--out", "parts"]].concat()).expect(0, &[]);
    run(program(at.path()).args(["train", "--resume", "parts", "--epochs", "8"])).expect(0, &["after epoch 2"]);
    let state = |run: &str| load_network(&at.path().join(run).join("last.safetensors")).unwrap().state;
    assert_eq!(state("run"), state("parts"));
    save(&at.path().join("shapes/dot"), &shape("bar", 1, 40, [20; 3]), "3.png");
    run(program(at.path()).args(["train", "--resume", "parts", "--epochs", "9"])).expect(1, &["other images", "pictures"]);
}

#[test]
fn colours_sizes_and_kinds_of_files_mix_and_classes_are_known_by_name() {
    let at = tempdir().unwrap();
    let inks = [[200, 20, 20], [20, 150, 20], [20, 20, 200]];
    for (set, count) in [("train", 36), ("test", 12)] {
        for (class, ink) in CLASSES.into_iter().zip(inks) {
            for index in 0..count {
                let name = if index % 2 == 0 { format!("{index}.png") } else { format!("{index}.jpg") };
                let side = [24, 32, 24, 90][index as usize % 4];
                save(&at.path().join("own").join(set).join(class), &shape(class, index + count, side, ink), &name);
            }
        }
    }
    fs::write(at.path().join("own/classes.txt"), "dot\nbar\nbox\n").unwrap();
    train(at.path(), "own", &["--epochs", "6", "--out", "run"])
        .expect(0, &["108 training and 36 test images", "3 classes, 24x24 pixels, colour", "dot, bar, box"]);
    assert!(accuracy(&eval(at.path(), &["run"]).expect(0, &[])) > 0.9);
    let (right, all) = read_right(at.path(), "run", "own/test");
    assert!(all == 36 && right > 33, "{right} of {all}");

    // Two of the classes alone, whose numbers would be others.
    for class in ["bar", "box"] {
        fs::create_dir_all(at.path().join("two")).unwrap();
        fs::rename(at.path().join("own/test").join(class), at.path().join("two").join(class)).unwrap();
    }
    let two = eval(at.path(), &["run", "--data-dir", "two", "--split", "test"]).expect(0, &["2 classes"]);
    assert!(accuracy(&two) > 0.9, "{}", two.stdout);
    fs::rename(at.path().join("two/box"), at.path().join("two/bow")).unwrap();
    eval(at.path(), &["run", "--data-dir", "two"]).expect(1, &["does not know the class `bow`", "dot, bar, box"]);
    fs::write(at.path().join("two/bar/9.png"), "no picture").unwrap();
    eval(at.path(), &["run", "--data-dir", "two"]).expect(1, &["two/bar/9.png", "or remove it"]);
}

#[test]
fn runs_among_the_pictures_are_no_class_and_links_in_circles_are_followed_once() {
    let at = tempdir().unwrap();
    for class in ["bar", "box"] {
        (0..30).for_each(|i| save(&at.path().join(class), &shape(class, i, 24, [20; 3]), &format!("{i}.png")));
        #[cfg(unix)]
        for link in 0..6 {
            std::os::unix::fs::symlink(".", at.path().join(class).join(format!("again{link}"))).unwrap();
        }
    }
    let pictures = ["Data: pictures (.), 52 training and 8 test", "2 classes, 24x24 pixels, grey"];
    for (epochs, out) in [("6", "runs/one"), ("1", "bar-or-box")] {
        let ended = train(at.path(), ".", &["--epochs", epochs, "--out", out]).expect(0, &pictures);
        // Of eight images all may be right by chance.
        assert!(!ended.stderr.contains("no better than guessing"), "{}", ended.stderr);
    }
    let own = eval(at.path(), &["runs/latest"]).expect(0, &["8 test images"]);
    assert!(accuracy(&own) > 0.8, "{}", own.stdout);
    run(program(at.path()).args(["train", "--resume", "runs/one", "--epochs", "7"])).expect(0, &pictures[1..]);
    let seeds = train(at.path(), ".", &["--epochs", "1", "--seeds", "2", "--out", "runs/seeds"]).expect(0, &pictures);
    let mean = |text: &str| text.lines().last().unwrap().contains("0–1   2");
    assert!(mean(&seeds.stdout), "{}", seeds.stdout);
    let (_, all) = read_right(at.path(), "runs/one", ".");
    assert_eq!(all, 60, "neither twice nor those of a report");
}

#[test]
fn a_data_set_that_is_named_is_that_one_or_an_error_that_says_what_to_do() {
    let at = tempdir().unwrap();
    for name in ["fashion-mnist", "kmnist", "mnist"] {
        let ended = run(program(at.path()).args(["train", "--device", "cpu", "--dataset", name]));
        let ended = ended.expect(1, &["MNIST: ", "by `--data-dir`"]);
        assert!(ended.stdout.is_empty() && !ended.stderr.to_lowercase().contains("synthetic"), "{}", ended.stderr);
    }
    assert_eq!(files(at.path()), [""; 0], "nothing is begun");
    let drawn = eval(at.path(), &["builtin", "--dataset", "synthetic"]).expect(0, &["SYNTHETIC", NOT_MNIST]);
    assert!(!drawn.stderr.contains("For MNIST") && !drawn.stderr.contains("instead"), "{}", drawn.stderr);
    // What MNIST_DIR holds is taken for MNIST only if it is, and for nothing else.
    write_idx(&at.path().join("few"), "", &synthetic(50, 70, 3));
    let in_few = |name| run(program(at.path()).args(["eval", "builtin", "--dataset", name]).env("MNIST_DIR", "few"));
    in_few("mnist").expect(1, &["MNIST_DIR", "other images (custom)"]);
    let ended = in_few("kmnist").expect(1, &["Kuzushiji-MNIST"]);
    assert!(!ended.stderr.contains("MNIST_DIR"), "{}", ended.stderr);

    let usage = |arguments: &[&str], parts: &[&str]| drop(run(program(at.path()).args(arguments)).expect(2, parts));
    usage(&["train", "--dataset", "svhn"], &["'svhn'", "fashion-mnist"]);
    usage(&["train", "--dataset", "mnist", "--data-dir", "few"], &["--dataset <NAME>", "--data-dir <FOLDER>"]);
    usage(&["train", "--dataset", "mnist", "--resume", "run"], &["--dataset <NAME>", "--resume <RUN>"]);
    usage(&["train", "--size", "28", "--resume", "run"], &["--size <N|HxW>", "--resume <RUN>"]);
    for size in ["9", "257", "28x", "a", "28x300"] {
        usage(&["train", "--size", size], &["--size <N|HxW>", "32 or 24x32"]);
    }
    usage(&["train", "--device", "cpu", "--size", "28", "--data-dir", "few"], &["--size", "a folder of pictures"]);
}

#[test]
fn a_network_on_emnists_letters_is_judged_on_them_and_keeps_their_names() {
    let at = tempdir().unwrap();
    // Ten of the letters, counted from 1, lying on their side.
    let mut data = synthetic(200, 100, 5);
    for set in [&mut data.train, &mut data.test] {
        set.labels.iter_mut().for_each(|label| *label += 1);
        for image in set.pixels.chunks_exact_mut(784) {
            let upright = image.to_vec();
            (0..784).for_each(|place| image[place] = upright[place % 28 * 28 + place / 28]);
        }
    }
    write_idx(&at.path().join("letters"), "emnist-letters-", &data);
    train(at.path(), "letters", &["--epochs", "5", "--out", "run"]).expect(0, &["26 classes", "A, B, C"]);
    let ended = eval(at.path(), &["run"]).expect(0, &["Data: custom (", "100 test images"]);
    assert!(accuracy(&ended) > 0.5, "{}", ended.stdout);
    // Its images are nobody else's: in their place no others are judged, and a run that finds them again keeps where.
    fs::rename(at.path().join("letters"), at.path().join("moved")).unwrap();
    let own = ["trained on a data set of its own, `custom` in ", "letters, which is not there", "`--data-dir`"];
    assert!(eval(at.path(), &["run"]).expect(1, &own).stdout.is_empty());
    fs::copy(at.path().join("run/model.safetensors"), at.path().join("alone.safetensors")).unwrap();
    eval(at.path(), &["alone.safetensors"]).expect(1, &["of its own, `custom`;", "`--data-dir`"]);
    run(program(at.path()).args(["train", "--resume", "run", "--epochs", "6", "--data-dir", "moved"])).expect(0, &[]);
    eval(at.path(), &["run"]).expect(0, &["moved/"]);
    fs::write(at.path().join("run/config.toml"), "no = 1").unwrap();
    eval(at.path(), &["run"]).expect(1, &["run/config.toml"]);
    // An upright drawing is read, as its letter.
    let upright = synthetic(0, 100, 5).test;
    let mut right = 0;
    for (index, pixels) in upright.pixels.chunks_exact(784).enumerate().take(30) {
        let picture = image::GrayImage::from_raw(28, 28, pixels.to_vec()).unwrap();
        save(&at.path().join("drawn"), &picture.into(), &format!("{index:02}.png"));
    }
    let ended = run(program(at.path()).args(["predict", "run", "drawn", "--json"])).expect(0, &[]);
    let all: Vec<Value> = serde_json::from_str(&ended.stdout).unwrap();
    for (entry, &label) in all.iter().zip(&upright.labels) {
        right += usize::from(entry["class"] == char::from(b'A' + label as u8).to_string().as_str());
    }
    assert!(all.len() == 30 && right > 15, "{right} of {}", all.len());
}

/// A hand that leans far, in dark ink on paper: synthetic digit `image`, sheared and three times as large.
fn leaning(image: &[u8]) -> DynamicImage {
    const LEAN: f32 = 0.8;
    let pixel = |x: u32, y: u32| {
        let (row, column) = (y / 3, x as f32 / 3.0 - 14.0 + LEAN * (y as f32 / 3.0 - 14.0));
        let ink = match (0.0..28.0).contains(&column) {
            true => image[row as usize * 28 + column as usize],
            false => 0,
        };
        Rgb([235 - (u16::from(ink) * 200 / 255) as u8; 3])
    };
    RgbImage::from_fn(84, 84, pixel).into()
}

#[test]
fn twenty_pictures_of_a_hand_teach_a_network_to_read_that_hand() {
    let at = tempdir().unwrap();
    let (drawn, mut counts) = (synthetic(1000, 1, 9).train, [0; 10]);
    for (image, &label) in drawn.pixels.chunks_exact(28 * 28).zip(&drawn.labels) {
        let count = &mut counts[usize::from(label)];
        let part = match *count {
            0..20 => "train",
            20..40 => "test",
            _ => continue,
        };
        save(&at.path().join("hand").join(part).join(label.to_string()), &leaning(image), &format!("{count}.png"));
        *count += 1;
    }
    assert_eq!(counts, [40; 10]);
    let before = eval(at.path(), &["builtin", "--data-dir", "hand"]).expect(0, &["Data: strokes"]);
    let settings =
        ["--from", "builtin", "--epochs", "20", "--augment", "--batch-size", "10", "--lr", "0.01", "--out", "own"];
    let taught = run(program(at.path()).args(["train", "--device", "cpu", "--data-dir", "hand"]).args(settings));
    taught.expect(0, &["Begins with 225,034 of 225,034 parameters of the built-in network.", "Data: strokes (hand), 200"]);
    let after = eval(at.path(), &["own", "--data-dir", "hand"]).expect(0, &[]);
    let (before, after) = (accuracy(&before), accuracy(&after));
    assert!(before < 0.9 && after > before + 0.5 * (1.0 - before), "{before} before, {after} after");
    // Pictures are read as before, and better: twice as many.
    let right = |network: &str| {
        let ended = run(program(at.path()).args(["predict", network, "hand/test", "--json"])).expect(0, &[]);
        let all: Vec<Value> = serde_json::from_str(&ended.stdout).unwrap();
        let class =
            |entry: &Value| Path::new(entry["path"].as_str().unwrap()).parent().unwrap().file_name().unwrap().to_owned();
        all.iter().filter(|entry| entry.to_string().contains(&format!("\"class\":\"{}\"", class(entry).display()))).count()
    };
    let (before, after) = (right("builtin"), right("own"));
    assert!(after > 2 * before, "{before} before, {after} after");
}
