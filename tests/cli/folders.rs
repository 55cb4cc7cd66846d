//! Data sets as people have them on their disks: archives unpacked one way or another, other programs' names and number
//! formats, and what was downloaded by mistake.

use crate::harness::*;
use crate::mnist;
use mnist_wgpu::data::{Dataset, synthetic};
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::tempdir;

const NAMES: [&str; 4] =
    ["train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"];

/// An IDX file of the type `code`.
fn idx(code: u8, sizes: &[usize], data: &[u8]) -> Vec<u8> {
    let sizes_bytes = sizes.iter().flat_map(|&size| (size as u32).to_be_bytes());
    [0, 0, code, sizes.len() as u8].into_iter().chain(sizes_bytes).chain(data.iter().copied()).collect()
}

/// The four files of `data`, in the order of [`NAMES`].
fn idx_files(data: &Dataset) -> [Vec<u8>; 4] {
    let [images, test_images] = [&data.train, &data.test].map(|set| idx(8, &[set.len(), 28, 28], &set.pixels));
    let labels = |labels: &[u16]| idx(8, &[labels.len()], &labels.iter().map(|&label| label as u8).collect::<Vec<_>>());
    [images, labels(&data.train.labels), test_images, labels(&data.test.labels)]
}

/// Writes them, with `prefix` before their names.
pub fn write_idx(folder: &Path, prefix: &str, data: &Dataset) {
    fs::create_dir_all(folder).unwrap();
    for (name, bytes) in NAMES.iter().zip(idx_files(data)) {
        fs::write(folder.join(format!("{prefix}{name}")), bytes).unwrap();
    }
}

fn digits() -> Dataset {
    synthetic(50, 70, 3)
}

fn eval(at: &Path, folder: impl AsRef<Path>) -> Ended {
    run(program(at).args(["eval", "builtin", "--device", "cpu", "--data-dir"]).arg(folder.as_ref()))
}

const COUNTS: &str = "50 training and 70 test images";

#[test]
fn kaggles_and_torchvisions_folders_are_found_from_any_of_their_levels() {
    let at = tempdir().unwrap();
    let want = {
        write_idx(&at.path().join("plain"), "", &digits());
        eval(at.path(), "plain").expect(0, &[COUNTS]).stdout
    };
    // Kaggle: a dotted name, and a folder of the dashed one that holds the file once more, or instead.
    for (index, name) in NAMES.into_iter().enumerate() {
        let from = at.path().join("plain").join(name);
        let [kaggle, nested] = ["kaggle", "nested"].map(|folder| at.path().join(folder).join(name));
        for folder in [&kaggle, &nested] {
            fs::create_dir_all(folder).unwrap();
        }
        fs::copy(&from, kaggle.with_file_name(name.replace("-idx", ".idx"))).unwrap();
        if index > 1 {
            fs::copy(&from, kaggle.join(name)).unwrap(); // two of them are empty
        }
        fs::copy(&from, nested.join(name)).unwrap();
    }
    write_idx(&at.path().join("root/MNIST/raw"), "", &digits());
    write_idx(&at.path().join("fashion/FashionMNIST/raw"), "", &digits());
    write_idx(&at.path().join("archive/unpacked"), "", &digits());
    let named = ["kaggle", "nested", "root", "root/MNIST", "root/MNIST/raw", "fashion", "archive"];
    for named in named {
        assert_eq!(eval(at.path(), named).expect(0, &[COUNTS, named]).stdout, want, "{named}");
    }
    // Of two the user is asked which.
    write_idx(&at.path().join("root/KMNIST/raw"), "", &digits());
    eval(at.path(), "root").expect(1, &["one data set in root", "root/KMNIST/raw, root/MNIST/raw", "name one"]);
    eval(at.path(), "root/MNIST").expect(0, &[]);
    // An incomplete one is not passed over for what lies below it.
    write_idx(&at.path().join("plain/below"), "", &digits());
    fs::remove_file(at.path().join("plain").join(NAMES[2])).unwrap();
    eval(at.path(), "plain").expect(1, &["expected t10k-images-idx3-ubyte in plain", "found below, t10k-labels"]);
}

#[test]
fn emnists_and_qmnists_names_are_known_and_of_several_sets_one_is_named() {
    let at = tempdir().unwrap();
    for prefix in ["emnist-digits-", "qmnist-"] {
        let folder = at.path().join(prefix);
        write_idx(&folder, prefix, &digits());
        for name in NAMES.iter().filter(|name| name.starts_with("t10k")) {
            let test = folder.join(format!("{prefix}{}", name.replace("t10k", "test")));
            fs::rename(folder.join(format!("{prefix}{name}")), test).unwrap();
        }
        eval(at.path(), prefix).expect(0, &[COUNTS, "custom", prefix.trim_end_matches('-')]);
    }
    let several = at.path().join("several");
    write_idx(&several, "emnist-digits-", &digits());
    write_idx(&several, "emnist-mnist-", &synthetic(30, 40, 7));
    let told = "several/emnist-digits, several/emnist-mnist: name one of these";
    eval(at.path(), "several").expect(1, &["one data set in several", told]);
    eval(at.path(), "several/emnist-mnist").expect(0, &["30 training and 40 test images"]);
    eval(&several, "emnist-mnist").expect(0, &["30 training and 40 test images"]);
    fs::remove_file(several.join("no-home")).unwrap();
    eval(at.path(), "several/emnist").expect(1, &["several/emnist"]);
    fs::remove_file(several.join(format!("emnist-mnist-{}", NAMES[0]))).unwrap();
    eval(at.path(), "several").expect(0, &[COUNTS]);
    fs::remove_file(several.join(format!("emnist-digits-{}", NAMES[0]))).unwrap();
    eval(at.path(), "several").expect(1, &["expected emnist-digits-train-images-idx3-ubyte in several"]);
}

#[test]
fn a_run_on_one_of_several_sets_is_resumed_on_it() {
    let at = tempdir().unwrap();
    write_idx(&at.path().join("several"), "emnist-balanced-", &digits());
    write_idx(&at.path().join("several"), "emnist-mnist-", &synthetic(30, 40, 7));
    let train = ["train", "--device", "cpu", "--batch-size", "5", "--epochs", "1", "--out", "r"];
    run(program(at.path()).args(train).args(["--data-dir", "several/emnist-balanced"])).expect(0, &[COUNTS]);
    run(program(at.path()).args(["train", "--resume", "r", "--epochs", "2"])).expect(0, &[COUNTS, "after epoch 1"]);
}

#[test]
#[ignore = "needs MNIST_DIR"]
fn mnist_is_known_by_its_content_whatever_its_files_are_called() {
    let (from, at) = (mnist::folder(), tempdir().unwrap());
    let folders = ["kaggle", "torchvision/MNIST/raw", "emnist-names"].map(|folder| at.path().join(folder));
    folders.iter().for_each(|folder| fs::create_dir_all(folder).unwrap());
    for name in NAMES {
        let file =
            [format!("{name}.gz"), name.to_string()].map(|name| from.join(name)).into_iter().find(|file| file.is_file());
        let file = file.expect("one of MNIST's four files");
        let dotted = folders[0].join(name.replace("-idx", ".idx"));
        fs::create_dir(folders[0].join(name)).unwrap();
        let emnist = name.replace("train", "emnist-mnist-train").replace("t10k", "emnist-mnist-test");
        for target in [dotted, folders[1].join(name), folders[2].join(emnist)] {
            fs::copy(&file, target).unwrap();
        }
    }
    for folder in ["kaggle", "torchvision", "emnist-names"] {
        let ended = eval(at.path(), folder).expect(0, &["Data: mnist (", "60,000 training and 10,000 test images"]);
        assert!(ended.first_line().ends_with("Accuracy on test set: 0.990900"), "{}", ended.stdout);
    }
}

/// A folder with the four files, one of which is replaced.
fn with(at: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    let folder = at.join("with");
    write_idx(&folder, "", &digits());
    fs::write(folder.join(name), bytes).unwrap();
    folder
}

#[test]
fn images_and_labels_of_any_type_and_layout_are_the_same_data_set() {
    let (at, data) = (tempdir().unwrap(), digits());
    let want = eval(at.path(), with(at.path(), "other", &[])).expect(0, &[COUNTS]).stdout;
    let (pixels, labels) = (&data.test.pixels, &data.test.labels);
    fn each<T: IntoIterator<Item = u8>>(pixels: &[u8], bytes: impl Fn(u8) -> T) -> Vec<u8> {
        pixels.iter().flat_map(|&pixel| bytes(pixel)).collect()
    }
    let n = labels.len();
    for images in [
        idx(8, &[n, 784], pixels),
        idx(8, &[n, 1, 28, 28], pixels),
        idx(8, &[n, 28, 28, 1], pixels),
        idx(0x0b, &[n, 28, 28], &each(pixels, |pixel| i16::from(pixel).to_be_bytes())),
        idx(0x0c, &[n, 784], &each(pixels, |pixel| i32::from(pixel).to_be_bytes())),
        idx(0x0d, &[n, 28, 28], &each(pixels, |pixel| (f32::from(pixel) / 255.0).to_be_bytes())),
        idx(0x0d, &[n, 28, 28], &each(pixels, |pixel| f32::from(pixel).to_be_bytes())),
        idx(0x0e, &[n, 784], &each(pixels, |pixel| (f64::from(pixel) / 255.0).to_be_bytes())),
        idx(0x0e, &[n, 28, 28], &each(pixels, |pixel| f64::from(pixel).to_be_bytes())),
    ] {
        assert_eq!(eval(at.path(), with(at.path(), NAMES[2], &images)).expect(0, &[COUNTS]).stdout, want);
    }
    let classes: Vec<u8> = labels.iter().map(|&label| label as u8).collect();
    let qmnist = |label: u8| [i32::from(label), -1, 2, 70_000, 4, 5, 6, 7].map(i32::to_be_bytes).concat();
    for labels in [
        idx(9, &[n], &classes),
        idx(8, &[n, 1], &classes),
        idx(0x0b, &[n], &each(&classes, |label| i16::from(label).to_be_bytes())),
        idx(0x0c, &[n], &each(&classes, |label| i32::from(label).to_be_bytes())),
        idx(0x0c, &[n, 8], &each(&classes, qmnist)),
        idx(0x0d, &[n], &each(&classes, |label| f32::from(label).to_be_bytes())),
        idx(0x0e, &[n], &each(&classes, |label| f64::from(label).to_be_bytes())),
    ] {
        assert_eq!(eval(at.path(), with(at.path(), NAMES[3], &labels)).expect(0, &[COUNTS]).stdout, want);
    }
}

#[test]
fn any_counts_and_a_class_without_images_will_do() {
    let at = tempdir().unwrap();
    let mut data = synthetic(61, 13, 3);
    let (pixels, labels) = data
        .test
        .pixels
        .chunks_exact(784)
        .zip(&data.test.labels)
        .filter(|(_, label)| **label != 4)
        .unzip::<_, _, Vec<_>, Vec<_>>();
    (data.test.pixels, data.test.labels) = (pixels.concat(), labels.into_iter().copied().collect());
    write_idx(&at.path().join("few"), "", &data);
    eval(at.path(), "few").expect(0, &[&format!("61 training and {} test images", data.test.len())]);
}

#[test]
fn what_is_wrong_with_a_file_is_told_with_advice_that_fits() {
    let at = tempdir().unwrap();
    let (images, labels) = (NAMES[2], NAMES[3]);
    let floats = |value: f32| idx(0x0d, &[1, 28, 28], &value.to_be_bytes().repeat(784));
    for (name, bytes, parts) in [
        (images, floats(-0.42), &["pixels from 0 to 255", "found -0.41", "scale the images"][..]),
        (images, floats(f32::NAN), &["found NaN", "scale the images"]),
        (images, floats(300.0), &["found 300 as number 0"]),
        (images, idx(0x0b, &[1, 1, 2], &[0, 9, 0x7f, 0xff]), &["found 32767 as number 1"]),
        (images, idx(8, &[70, 785], &vec![0; 70 * 785]), &["if they are square", "[70, 785]", "write it anew"]),
        (images, idx(8, &[70], &[0; 70]), &["expected images", "[70]", "swapped"]),
        (labels, idx(8, &[70, 28, 28], &vec![0; 70 * 784]), &["expected labels", "[70, 28, 28]", "swapped"]),
        (labels, idx(0x0d, &[1], &0.5f32.to_be_bytes()), &["whole numbers from 0 to 65535", "found 0.5"]),
        (labels, idx(9, &[1], &[0xff]), &["found -1 as label number 0", "number the classes from 0"]),
        (labels, idx(8, &[70], &[0; 60]), &["truncated", "intact copy"]),
        (labels, idx(8, &[70], &[0; 80]), &["something follows the data", "sizes and data that belong together"]),
        (labels, idx(8, &[69], &[0; 69]), &["found 69 labels", "70 images"]),
        (labels, b"7\n2\n1\n0\n4\n".to_vec(), &["expected an IDX file", "put an IDX file there"]),
        (
            labels,
            b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n".to_vec(),
            &["Git LFS pointer", "git lfs pull"],
        ),
        (labels, b"\n<!DOCTYPE html>\n<html lang=en>".to_vec(), &["a web page", "download"]),
        (labels, b"PK\x03\x04\x14\0\0\0".to_vec(), &["a ZIP archive", "unpack it"]),
    ] {
        let ended = eval(at.path(), with(at.path(), name, &bytes)).expect(1, &[&[name], parts].concat());
        assert_eq!(ended.stdout, "");
    }
    // The same where it is named as packed.
    let folder = with(at.path(), "other", &[]);
    fs::remove_file(folder.join(labels)).unwrap();
    fs::write(folder.join(format!("{labels}.gz")), "version https://git-lfs.github.com/spec/v1\n").unwrap();
    eval(at.path(), &folder).expect(1, &[labels, "Git LFS pointer", "git lfs pull"]);
}

#[test]
fn a_tilde_that_no_shell_expanded_is_told_and_nothing_made() {
    let at = tempdir().unwrap();
    let home = at.path().join("no-home");
    let parts = |path: &str| ["did not expand the `~`".to_string(), format!("write {}", home.join(path).display())];
    let data = "--data-dir=~/mnist";
    for arguments in [
        &["eval", "builtin", data][..],
        &["train", data],
        &["train", "--out=~/mnist"],
        &["train", "--resume=~/mnist"],
        &["eval", "~/mnist"],
        &["export", "~/mnist", "--onnx", "x.onnx"],
        &["export", "builtin", "--onnx=~/mnist"],
        &["predict", "~/mnist"],
    ] {
        let told = parts("mnist");
        let ended = run(program(at.path()).args(arguments)).expect(2, &[&told[0], &told[1]]);
        assert_eq!(ended.stdout, "");
    }
    let told = parts("mnist");
    run(program(at.path()).args(["eval", "builtin", "--device", "cpu"]).env("MNIST_DIR", "~/mnist"))
        .expect(1, &["MNIST_DIR", &told[0], &told[1]]);
    run(program(at.path()).args(["eval", "builtin", "--data-dir=~somebody/mnist"])).expect(2, &["write the whole path"]);
    assert_eq!(files(at.path()), [""; 0]);
    // A folder may be called so.
    write_idx(&at.path().join("~/mnist"), "", &digits());
    eval(at.path(), "~/mnist").expect(0, &[COUNTS]);
}
