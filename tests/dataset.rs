//! The dataset's promises: a bad file is named and never loaded, and the sources are tried in order. What splits and
//! synthetic digits promise is tested beside them, in `src/data/`, and downloads in `tests/downloads.rs`.

#[path = "common/idx_files.rs"]
mod idx_files;
#[path = "common/mnist.rs"]
mod mnist_files;

use idx_files::*;
use mnist_wgpu::data::idx::{Array, Fault};
use mnist_wgpu::data::{DataError, Dataset, Images, digits, synthetic};
use mnist_wgpu::sources::{Origin, Sources};
use std::fs;
use std::io::Read;
use std::path::Path;
use tempfile::{TempDir, tempdir};

/// The error's text, after checking that it names `path` and everything in `parts`.
fn refused(folder: &Path, path: &Path, parts: &[&str]) -> String {
    let error = load_telling(&named(folder)).0.expect_err("a bad folder was loaded").to_string();
    for part in [&[path.to_str().unwrap()], parts].concat() {
        assert!(error.contains(part), "{part:?} is not in {error:?}");
    }
    error
}

/// Puts `bytes` in the place of one file of a valid folder: the error must name that file and every one of `parts`.
fn file_refused(name: &str, bytes: &[u8], parts: &[&str]) {
    let folder = valid_folder(3);
    let path = folder.path().join(format!("{name}.gz"));
    fs::write(&path, bytes).unwrap();
    refused(folder.path(), &path, parts);
}

#[test]
fn gzip_and_plain_files_and_dotted_names_load_alike() {
    let zipped = valid_folder(7);
    let plain = tempdir().unwrap();
    for name in FILES {
        let item = if name.contains("images") { PIXELS } else { 1 };
        let mut bytes = header(name, count(name), 28);
        bytes.resize(bytes.len() + count(name) as usize * item, 7);
        let name = if name == TRAIN_LABELS { "train-labels.idx1-ubyte" } else { name };
        // A .gz by name only: the content decides.
        let name = if name == TEST_LABELS { "t10k-labels-idx1-ubyte.gz" } else { name };
        fs::write(plain.path().join(name), bytes).unwrap();
    }
    let a = load_telling(&named(zipped.path())).0.unwrap();
    let b = load_telling(&named(plain.path())).0.unwrap();
    assert_eq!(a.name, "custom", "only the published files are MNIST");
    let a = a.dataset;
    assert_eq!((a.train.len(), a.test.len(), a.shape), (60_000, 10_000, [1, 28, 28]));
    assert_eq!((a.train.pixels.len(), a.test.pixels.len()), (60_000 * 784, 10_000 * 784));
    assert!(a.train.pixels.iter().all(|&pixel| pixel == 7) && a.test.labels.iter().all(|&label| label == 7));
    assert_eq!(a.classes, ["0", "1", "2", "3", "4", "5", "6", "7"], "as many as the labels ask for");
    assert!(a == b.dataset);
}

#[test]
fn a_named_folder_comes_before_the_cache_and_is_never_skipped() {
    let (first, second) = (valid_folder(1), valid_folder(2));
    let cache_dir = Some(second.path().to_owned());
    let found = load_telling(&Sources { cache_dir: cache_dir.clone(), ..named(first.path()) }).0.unwrap();
    assert_eq!((found.origin, found.dataset.train.labels[0]), (Origin::Directory(first.path().into()), 1));
    // Even where the next source would do.
    let sources = Sources { cache_dir, ..named_by("MNIST_DIR", Path::new("/nowhere/at/all")) };
    let error = load_telling(&sources).0.unwrap_err().to_string();
    assert!(error.contains("MNIST_DIR") && error.contains("/nowhere/at/all"), "{error}");
}

#[cfg(target_os = "linux")]
#[test]
fn folder_with_a_name_that_is_not_utf8_loads() {
    use std::os::unix::ffi::OsStrExt;
    let outer = tempdir().unwrap();
    let folder = outer.path().join(std::ffi::OsStr::from_bytes(b"caf\xe9"));
    fs::rename(valid_folder(4).keep(), &folder).unwrap();
    assert_eq!(load_telling(&named(&folder)).0.unwrap().dataset.test.labels[9999], 4);
}

#[test]
fn missing_folder_file_in_its_place_and_empty_folder_are_told_apart() {
    let outer = tempdir().unwrap();
    let absent = outer.path().join("absent");
    refused(&absent, &absent, &["--data-dir", "folder", "correct the path"]);
    let file = outer.path().join("file");
    fs::write(&file, "x").unwrap();
    refused(&file, &file, &["found a file"]);
    let empty = outer.path().join("empty");
    fs::create_dir(&empty).unwrap();
    refused(&empty, &empty, &["found an empty folder", TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES, TEST_LABELS]);
}

#[test]
fn missing_file_is_named_with_what_is_there() {
    let folder = valid_folder(0);
    fs::remove_file(folder.path().join(format!("{TEST_IMAGES}.gz"))).unwrap();
    let error = refused(folder.path(), folder.path(), &[TEST_IMAGES, "found t10k-labels-idx1-ubyte.gz"]);
    assert!(!error.contains("expected t10k-labels"), "{error}");
}

#[test]
fn folder_in_place_of_a_file_is_refused() {
    let folder = valid_folder(0);
    let path = folder.path().join(TRAIN_LABELS);
    fs::create_dir(&path).unwrap();
    load_telling(&named(folder.path())).0.expect("the file beside the folder is taken");
    fs::remove_file(path.with_extension("gz")).unwrap();
    refused(folder.path(), &path, &["expected a file, found a folder"]);
}

#[cfg(unix)]
#[test]
fn unreadable_file_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let folder = valid_folder(0);
    let path = folder.path().join(format!("{TEST_LABELS}.gz"));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).unwrap();
    if fs::File::open(&path).is_ok() {
        // An administrator reads everything; a pipe without a writer is as unreadable, and must not be waited for.
        fs::remove_file(&path).unwrap();
        let made = std::process::Command::new("mkfifo").arg(&path).status().unwrap();
        assert!(made.success());
        refused(folder.path(), &path, &["expected a file, found a device or pipe"]);
    } else {
        refused(folder.path(), &path, &["expected a readable file", "denied"]);
    }
}

#[test]
fn wrong_magic_type_and_sizes_are_named() {
    let images = gzip(&[header(TEST_IMAGES, 10_000, 1), vec![0; 10_000]].concat());
    file_refused(TEST_LABELS, &images, &["labels of N (or N x 8", "[10000, 1, 1]"]);
    file_refused(
        TEST_LABELS,
        b"Is this an IDX file?",
        &["IDX file", "found a magic number of 0x49732074", "put an IDX file"],
    );
    file_refused(TEST_IMAGES, &[0, 0, 8, 0], &["IDX file", "0x00000800"]);
    let labels = [header(TEST_LABELS, 10_000, 28), vec![0; 10_000]].concat();
    file_refused(TEST_IMAGES, &labels, &["images of N x rows x columns", "[10000]"]);
    let floats = [vec![0, 0, 0x0d, 1, 0, 0, 0, 1], 0.5f32.to_be_bytes().to_vec()].concat();
    file_refused(TEST_LABELS, &floats, &["whole numbers from 0 to 65535", "found 0.5 as label number 0"]);
}

#[test]
fn floats_from_0_to_1_stand_for_bytes_though_rounding_leaves_some_outside() {
    let images = |floats: [f32; 2]| {
        let bytes: Vec<u8> = floats.into_iter().flat_map(f32::to_be_bytes).collect();
        let file = [vec![0, 0, 0x0d, 3, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 1], bytes].concat();
        Array::read(&file[..]).unwrap().into_images().map(|(_, pixels)| pixels).map_err(|fault| fault.to_string())
    };
    for (floats, pixels) in [
        ([0.5, 1.0], [128, 255]),
        ([0.5, 1.000_000_5], [128, 255]),
        ([-0.000_001, 0.2], [0, 51]),
        ([0.5, 254.6], [1, 255]), // from 0 to 255
    ] {
        assert_eq!(images(floats), Ok(pixels.into()), "{floats:?}");
    }
    // As bytes they would be black.
    for floats in [[0.5, 1.2], [1.2, 0.5]] {
        assert!(images(floats).unwrap_err().contains("found 1.2"), "{floats:?}");
    }
    assert!(images([0.5, 256.0]).unwrap_err().contains("found 256"));
    assert!(images([-0.5, 1.0]).unwrap_err().contains("found -0.5"));
}

#[test]
fn files_that_do_not_fit_each_other_are_named() {
    let bytes = gzip(&[header(TRAIN_LABELS, 59_999, 28), vec![0; 59_999]].concat());
    file_refused(TRAIN_LABELS, &bytes, &["59999 labels", "60000 images", TRAIN_IMAGES]);
    let bytes = gzip(&[header(TEST_IMAGES, 10_000, 2), vec![0; 40_000]].concat());
    file_refused(TEST_IMAGES, &bytes, &["expected images of shape [1, 28, 28]", "found [1, 2, 2]"]);
    let folder = idx_folder(&[0, 5, 5], &[0]);
    refused(folder.path(), &folder.path().join(TRAIN_IMAGES), &["expected at least one image, found none"]);
}

#[test]
fn truncated_file_is_named_with_both_lengths() {
    let whole = [header(TEST_LABELS, 10_000, 28), vec![5; 10_000]].concat();
    file_refused(TEST_LABELS, &whole[..9_000], &["expected 10008", "found 9000", "truncated"]);
    file_refused(TEST_LABELS, &gzip(&whole[..9_000]), &["expected 10008", "found 9000", "truncated"]);
    file_refused(TEST_LABELS, &whole[..5], &["expected 8 bytes", "found 5"]);
    file_refused(TRAIN_IMAGES, &[], &["expected 4 bytes", "found 0"]);
    file_refused(TRAIN_IMAGES, &header(TRAIN_IMAGES, 60_000, 28), &["expected 47040016", "found 16"]);
}

#[test]
fn oversized_file_is_named_with_both_lengths() {
    let long = [header(TEST_LABELS, 10_000, 28), vec![5; 10_001]].concat();
    file_refused(TEST_LABELS, &long, &["expected 10008", "found more"]);
    file_refused(TEST_LABELS, &gzip(&long), &["expected 10008", "found more"]);
}

#[test]
fn gzip_bomb_is_not_unpacked() {
    // A gigabyte once unpacked, all of it valid labels.
    let mut bytes = gzip(&header(TRAIN_LABELS, 60_000, 28));
    bytes.extend(gzip(&vec![0; 1 << 24]).repeat(64));
    file_refused(TRAIN_LABELS, &bytes, &["expected 60008", "found more"]);
    // And one whose header itself is out of bounds.
    file_refused(TRAIN_IMAGES, &header(TRAIN_IMAGES, u32::MAX, u32::MAX), &["at most 2147483648 bytes"]);
}

fn dataset_in(folder: &TempDir) -> Dataset {
    load_telling(&named(folder.path())).0.unwrap().dataset
}

#[test]
fn images_of_any_size_and_colour_load_and_those_out_of_bounds_are_refused() {
    for (sizes, shape) in [
        (&[7, 20, 24][..], [1, 20, 24]),
        (&[7, 20, 24, 3], [3, 20, 24]),
        (&[7, 20, 24, 1], [1, 20, 24]),
        (&[7, 49], [1, 7, 7]),
        (&[7, 1, 1], [1, 1, 1]),
        (&[3, 256, 256], [1, 256, 256]),
    ] {
        let data = dataset_in(&idx_folder(sizes, &[2]));
        assert_eq!((data.shape, data.train.len(), data.classes.len()), (shape, sizes[0] as usize, 2), "{sizes:?}");
    }
    for (sizes, parts) in [
        (&[7, 257, 2][..], &["1x1 to 256x256", "257x2"][..]),
        (&[7, 2, 257], &["2x257"]),
        (&[7, 0, 5], &["0x5"]),
        (&[7, 4, 4, 2], &["1 or 3 channels", "[7, 4, 4, 2]"]),
        (&[7, 48], &["if they are square", "[7, 48]"]),
        (&[7, 2, 2, 3, 1], &["[7, 2, 2, 3, 1]"]),
    ] {
        let folder = idx_folder(sizes, &[2]);
        refused(folder.path(), &folder.path().join(TRAIN_IMAGES), parts);
    }
    // No image at all, of a size whose bytes no machine can hold.
    let none = [&[0, 0, 8, 4, 0, 0, 0, 0][..], &[0xff; 8], &[0, 0, 0, 3]].concat();
    assert!(Array::read(&none[..]).unwrap().into_images().unwrap().1.is_empty());
}

/// The labels in a file of these bytes.
fn labels(magic: [u8; 4], sizes: &[u32], data: &[u8]) -> Result<Vec<u16>, Fault> {
    let sizes: Vec<u8> = sizes.iter().flat_map(|size| size.to_be_bytes()).collect();
    Array::read(&[&magic[..], &sizes, data].concat()[..])?.into_labels()
}

#[test]
fn labels_of_every_whole_type_and_qmnists_rows_are_read_and_negative_ones_named() {
    let big_endian = |labels: &[i32]| labels.iter().flat_map(|label| label.to_be_bytes()).collect::<Vec<_>>();
    assert_eq!(labels([0, 0, 8, 1], &[2], &[200, 0]).unwrap(), [200, 0]);
    assert_eq!(labels([0, 0, 9, 1], &[1], &[5]).unwrap(), [5]);
    assert_eq!(labels([0, 0, 0x0b, 1], &[2], &[1, 2, 0, 3]).unwrap(), [258, 3]);
    assert_eq!(labels([0, 0, 0x0c, 1], &[2], &big_endian(&[999, 65_535])).unwrap(), [999, 65_535]);
    // QMNIST: class, and seven numbers about who wrote it.
    let rows = big_endian(&[&[7, -1, 70_000, 3, 4, 5, 6, 7][..], &[2, 1, 2, 3, 4, 5, 6, 7]].concat());
    assert_eq!(labels([0, 0, 0x0c, 2], &[2, 8], &rows).unwrap(), [7, 2]);
    for (label, told) in [(-1, "found -1 as label number 1"), (65_536, "found 65536 as label number 1")] {
        let error = labels([0, 0, 0x0c, 1], &[2], &big_endian(&[4, label])).unwrap_err().to_string();
        assert!(error.contains(told), "{error}");
    }
}

#[test]
fn the_channels_of_colour_images_become_planes() {
    // Two images of 1 x 2 pixels.
    let file = [&[0, 0, 8, 4, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3][..], &(1..=12).collect::<Vec<u8>>()].concat();
    let (shape, pixels) = Array::read(&file[..]).unwrap().into_images().unwrap();
    assert_eq!(shape, [3, 1, 2]);
    assert_eq!(pixels, [1, 4, 2, 5, 3, 6, 7, 10, 8, 11, 9, 12]);
}

#[test]
fn classes_have_the_names_in_classes_txt() {
    let folder = idx_folder(&[7, 2, 2], &[3]);
    let path = folder.path().join("classes.txt");
    let write = |text: &str| fs::write(&path, text).unwrap();
    write("\u{feff}cat\r\n  dog \n\u{72ac}\nunseen");
    assert_eq!(dataset_in(&folder).classes, ["cat", "dog", "\u{72ac}", "unseen"]);
    write("cat\n\ndog\n");
    refused(folder.path(), &path, &["line 2", "an empty line"]);
    write("cat\ndog\ncat\n");
    refused(folder.path(), &path, &["line 3", "`cat` as in line 1"]);
    write("cat\ndog\n");
    let parts = ["labels from 0 to 1", "found 2 as training label number 2", "classes.txt"];
    refused(folder.path(), &folder.path().join(TRAIN_LABELS), &parts);
    write("");
    refused(folder.path(), &path, &["line 1", "an empty line"]);
    write("cat\n\u{1b}[31mdog\nbird\n");
    refused(folder.path(), &path, &["line 2", "control characters"]);
    fs::write(&path, b"cat\ndog\n\xff\xfe").unwrap();
    refused(folder.path(), &path, &["line 3", "UTF-8"]);
    write(&Vec::from_iter((0..1001).map(|class| class.to_string())).join("\n"));
    refused(folder.path(), &path, &["1 to 1000 classes", "found 1001"]);
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    refused(folder.path(), &path, &["expected a file, found a folder"]);
}

#[test]
fn the_published_name_comes_first_then_the_plain_file() {
    let folder = idx_folder(&[7, 2, 2], &[3]);
    let labels = |name: &str, label: u8| {
        let bytes = [header(TEST_LABELS, 7, 0), vec![label; 7]].concat();
        fs::write(folder.path().join(name), bytes).unwrap();
    };
    fs::remove_file(folder.path().join(TEST_LABELS)).unwrap();
    for (name, label) in [
        ("test-labels.idx1.gz", 4),
        ("test-labels-idx1-ubyte", 5),
        ("t10k-labels-idx1-ubyte.gz", 6),
        ("t10k-labels.idx1-ubyte", 7),
        ("t10k-labels-idx1-ubyte", 8),
    ] {
        labels(name, label);
        assert_eq!(dataset_in(&folder).test.labels, [u16::from(label); 7], "{name} was not preferred");
    }
}

#[test]
fn gzip_is_known_from_a_stream_that_gives_one_byte_at_a_time() {
    struct Slow(std::io::Cursor<Vec<u8>>);
    impl Read for Slow {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            let len = buffer.len().min(1);
            self.0.read(&mut buffer[..len])
        }
    }
    let slow = |bytes| Array::read(Slow(std::io::Cursor::new(bytes))).unwrap().into_labels().unwrap();
    let plain = [header(TEST_LABELS, 3, 0), vec![4, 5, 6]].concat();
    assert_eq!((slow(gzip(&plain)), slow(plain)), (vec![4, 5, 6], vec![4, 5, 6]));
}

#[test]
fn a_data_set_is_checked_whoever_makes_it() {
    let images = |labels: &[u16]| Images { pixels: vec![0; 6 * labels.len()], labels: labels.to_vec() };
    let make = |shape, classes: usize, train, test| {
        Dataset::new(shape, (0..classes).map(|class| class.to_string()).collect(), train, test)
    };
    let shape = [1, 2, 3];
    assert!(make(shape, 1000, images(&[0, 999]), images(&[])).is_ok());
    assert_eq!(make(shape, 0, images(&[]), images(&[])), Err(DataError::Classes { found: 0 }));
    assert_eq!(make(shape, 1001, images(&[]), images(&[])), Err(DataError::Classes { found: 1001 }));
    assert!(matches!(make([2, 1, 3], 2, images(&[1]), images(&[])), Err(DataError::Shape { channels: 2, .. })));
    for found in [11, 13] {
        let other = Images { pixels: vec![0; found], labels: vec![0, 1] };
        let error = DataError::Pixels { set: "test", labels: 2, expected: 12, found };
        assert_eq!(make(shape, 2, images(&[1]), other), Err(error));
    }
    let error = make(shape, 2, images(&[1, 2]), images(&[])).unwrap_err();
    assert_eq!(error, DataError::Label { set: "training", index: 1, found: 2, classes: 2 });
    // The same images have the same sum, whatever is between them; a second byte of labels counts.
    let sum = |classes, label| make(shape, classes, images(&[label]), images(&[])).unwrap().sha256();
    assert_ne!(sum(1000, 1), sum(1000, 257));
    assert_ne!(sum(10, 1), sum(10, 2));
}

/// The oracle is not ours: the `mnist` crate, which reads plain files of MNIST's form.
#[test]
fn files_of_mnists_form_are_read_as_the_mnist_crate_reads_them() {
    // It takes MNIST's counts only. Prime numbers of images that repeat, so that they are drawn quickly.
    let digits = synthetic(601, 101, 4);
    let folder = tempdir().unwrap();
    for name in FILES {
        let images = if name.starts_with("train") { &digits.train } else { &digits.test };
        let (item, bytes) = match name.contains("images") {
            true => (PIXELS, images.pixels.clone()),
            false => (1, images.labels.iter().map(|&label| label as u8).collect()),
        };
        let data = bytes.iter().copied().cycle().take(count(name) as usize * item);
        let file: Vec<u8> = header(name, count(name), 28).into_iter().chain(data).collect();
        fs::write(folder.path().join(name), file).unwrap();
    }
    held_against_the_mnist_crate(folder.path());
}

/// The published files, too.
#[test]
#[ignore = "needs MNIST_DIR"]
fn mnist_is_read_as_the_mnist_crate_reads_it() {
    let folder = mnist_files::folder();
    let plain = tempdir().unwrap();
    for name in FILES {
        let packed = fs::read(folder.join(format!("{name}.gz"))).or_else(|_| fs::read(folder.join(name))).unwrap();
        let mut bytes = Vec::new();
        match packed.starts_with(&[0x1f, 0x8b]) {
            true => drop(flate2::read::GzDecoder::new(&packed[..]).read_to_end(&mut bytes).unwrap()),
            false => bytes = packed,
        }
        fs::write(plain.path().join(name), bytes).unwrap();
    }
    held_against_the_mnist_crate(plain.path());
    let found = load_telling(&named(&folder)).0.unwrap();
    assert_eq!((found.name.as_str(), found.dataset.classes), ("mnist", digits()));
}

fn held_against_the_mnist_crate(folder: &Path) {
    let theirs = mnist::MnistBuilder::new()
        .base_path(folder.to_str().unwrap())
        .label_format_digit()
        .training_set_length(60_000)
        .validation_set_length(0)
        .test_set_length(10_000)
        .finalize();
    let ours = load_telling(&named(folder)).0.unwrap().dataset;
    let wide = |labels: &[u8]| labels.iter().map(|&label| label.into()).collect::<Vec<u16>>();
    assert!(ours.train.pixels == theirs.trn_img && ours.test.pixels == theirs.tst_img);
    assert!(ours.train.labels == wide(&theirs.trn_lbl) && ours.test.labels == wide(&theirs.tst_lbl));
}

#[test]
fn corrupt_or_cut_gzip_is_refused() {
    let noise: Vec<u8> = (0..10_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8 % 10).collect();
    let whole = gzip(&[header(TEST_LABELS, 10_000, 28), noise].concat());
    file_refused(TEST_LABELS, &whole[..whole.len() / 2], &["intact gzip", "broken after"]);
    file_refused(TEST_LABELS, &whole[..whole.len() - 1], &["intact gzip", "after 10008"]);
    file_refused(TEST_LABELS, &whole[..6], &["intact gzip", "after 0"]);
    let mut bad_sum = whole.clone();
    bad_sum[whole.len() - 6] ^= 1;
    file_refused(TEST_LABELS, &bad_sum, &["intact gzip"]);
}

/// A folder of EMNIST's split `split`: 2 x 3 pixels as published, which is 3 x 2 upright, and these labels in both
/// sets.
fn emnist_folder(split: &str, labels: &[u8]) -> TempDir {
    let folder = tempdir().unwrap();
    let count = labels.len() as u32;
    for name in FILES {
        let sizes = if name.contains("images") { &[count, 2, 3][..] } else { &[count] };
        let mut bytes = vec![0, 0, 8, sizes.len() as u8];
        bytes.extend(sizes.iter().flat_map(|size| size.to_be_bytes()));
        match name.contains("images") {
            true => bytes.extend((0..count).flat_map(|image| (1..=6).map(move |pixel| 10 * image as u8 + pixel))),
            false => bytes.extend(labels),
        }
        let name = format!("emnist-{split}-{}", name.replace("t10k", "test"));
        fs::write(folder.path().join(format!("{name}.gz")), gzip(&bytes)).unwrap();
    }
    folder
}

#[test]
fn emnists_images_stand_upright_and_its_letters_begin_with_a() {
    let data = dataset_in(&emnist_folder("letters", &[1, 26, 3]));
    assert_eq!((data.shape, &data.test.pixels[..12]), ([1, 3, 2], &[1, 4, 2, 5, 3, 6, 11, 14, 12, 15, 13, 16][..]));
    assert_eq!((&data.train.labels[..], data.classes.len()), (&[0, 25, 2][..], 26));
    assert_eq!([0, 25, 2].map(|class| &data.classes[class][..]), ["A", "Z", "C"]);
    // A few of them are numbered as all are, and so are those of somebody who began at 0.
    assert_eq!(dataset_in(&emnist_folder("letters", &[4, 5])).train.labels, [3, 4]);
    assert_eq!(dataset_in(&emnist_folder("letters", &[0, 5])).train.labels, [0, 5]);
    for (split, classes, last) in [("byclass", 62, "z"), ("balanced", 47, "t"), ("bymerge", 47, "t"), ("digits", 10, "9")] {
        let data = dataset_in(&emnist_folder(split, &[1, 2]));
        assert_eq!(
            (data.classes.len(), &data.classes[classes - 1][..], &data.train.labels[..]),
            (classes, last, &[1, 2][..])
        );
    }
    assert_eq!(dataset_in(&emnist_folder("balanced", &[36, 46])).classes[36..38], ["a", "b"]);
}

#[test]
fn emnists_own_file_names_its_classes() {
    let folder = emnist_folder("letters", &[1, 2]);
    let mapping = folder.path().join("emnist-letters-mapping.txt");
    fs::write(&mapping, "1 66 98\n2 67 99\n").unwrap();
    assert_eq!(dataset_in(&folder).classes, ["B", "C"]);
    for (text, found) in
        [("1 66\n3 67\n", "line 2"), ("1 66\n\nx 67\n", "line 3"), ("1 66\n2\n", "found `2`"), ("1 7", "`1 7`")]
    {
        fs::write(&mapping, text).unwrap();
        refused(folder.path(), &mapping, &[found, "the next label and the code"]);
    }
    fs::write(folder.path().join("classes.txt"), "be\nce").unwrap();
    assert_eq!(dataset_in(&folder).classes, ["be", "ce"], "the user's own file comes first");
}

#[test]
fn labels_that_begin_at_1_leave_no_class_without_images() {
    let folder = idx_folder(&[7, 2, 2], &[3]);
    for name in [TRAIN_LABELS, TEST_LABELS] {
        fs::write(folder.path().join(name), [header(TEST_LABELS, 7, 0), vec![1, 2, 3, 3, 2, 1, 1]].concat()).unwrap();
    }
    let data = dataset_in(&folder);
    assert_eq!((&data.test.labels[..3], &data.classes[..]), (&[0, 1, 2][..], &["1", "2", "3"].map(String::from)[..]));
    let write = |text: &str| fs::write(folder.path().join("classes.txt"), text).unwrap();
    write("ant\nbee\ncat");
    assert_eq!(dataset_in(&folder).test.labels[..3], [0, 1, 2]);
    write("none\nant\nbee\ncat");
    assert_eq!(dataset_in(&folder).test.labels[..3], [1, 2, 3]);
}
