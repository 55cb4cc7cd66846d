//! Folders of pictures as data sets: what is read, in which order and size, and what is refused by name.

use image::{DynamicImage, GrayImage, ImageFormat, Luma, Rgb, RgbImage, Rgba, RgbaImage};
use mnist_wgpu::image::{Picture, whole};
use mnist_wgpu::sources::pictures::Settings;
use mnist_wgpu::sources::{Event, Found, Named, Sources, load};
use std::fs;
use std::io::Cursor;
use std::path::Path;
use tempfile::{TempDir, tempdir};

/// A grey picture of one value, but for its middle, which is 200.
fn grey(width: u32, height: u32, value: u8) -> DynamicImage {
    let inner = |at: u32, side: u32| (side / 4..3 * side / 4).contains(&at);
    let pixel = |x, y| Luma([if inner(x, width) && inner(y, height) { 200 } else { value }]);
    GrayImage::from_fn(width, height, pixel).into()
}

fn save(folder: &Path, name: &str, picture: &DynamicImage) {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    picture.save(path).unwrap();
}

fn load_with(folder: &Path, pictures: Settings) -> (Result<Found, String>, Vec<String>) {
    let named = Named { by: "--data-dir".into(), path: folder.into() };
    let mut messages = Vec::new();
    let found = load(&Sources { folder: Some(named), pictures, ..Sources::default() }, &mut |event| {
        if let Event::Message(text) = event {
            messages.push(text.to_owned());
        }
    });
    (found.map_err(|error| error.to_string()), messages)
}

#[track_caller]
fn loaded(folder: &Path) -> Found {
    load_with(folder, Settings::default()).0.unwrap()
}

#[track_caller]
fn refused(folder: &Path, parts: &[&str]) {
    let error = load_with(folder, Settings::default()).0.expect_err("it was loaded");
    parts.iter().for_each(|part| assert!(error.contains(part), "{part:?} is not in {error:?}"));
}

/// Two sets of classes `b` and `a`, whose pictures are known by the value of their edge.
fn two_sets() -> TempDir {
    let at = tempdir().unwrap();
    for (class, base) in [("b", 0), ("a", 100)] {
        for index in 0..5 {
            save(at.path(), &format!("train/{class}/{index}.png"), &grey(12, 16, base + index));
        }
        save(at.path(), &format!("test/{class}/x.PNG"), &grey(12, 16, base + 50));
    }
    at
}

#[test]
fn two_sets_are_read_in_the_order_of_names_and_pixels_as_they_are() {
    let at = two_sets();
    let found = loaded(at.path());
    let data = found.dataset;
    assert_eq!((&found.name[..], data.shape, data.classes), ("pictures", [1, 16, 12], vec!["a".to_string(), "b".into()]));
    assert_eq!(data.train.labels, [0, 0, 0, 0, 0, 1, 1, 1, 1, 1]);
    let edges: Vec<u8> = data.train.pixels.chunks(16 * 12).map(|pixels| pixels[0]).collect();
    assert_eq!(edges, [100, 101, 102, 103, 104, 0, 1, 2, 3, 4]);
    assert_eq!(data.test.labels, [0, 1]);
    assert_eq!(data.test.pixels[..192], grey(12, 16, 150).into_luma8().into_raw()[..]);
    // The test set may have another name; a third set is told and not mixed in.
    fs::rename(at.path().join("test"), at.path().join("Val")).unwrap();
    fs::rename(at.path().join("train"), at.path().join("training")).unwrap();
    assert_eq!(loaded(at.path()).dataset.test.len(), 2);
    save(at.path(), "test/a/y.png", &grey(12, 16, 9));
    let (found, messages) = load_with(at.path(), Settings::default());
    assert_eq!(found.unwrap().dataset.test.pixels[0], 9);
    assert!(messages.iter().any(|text| text.contains("Passed over") && text.contains("Val")), "{messages:?}");
    // A folder around all of it, as archives have it.
    let outer = tempdir().unwrap();
    fs::rename(at.path(), outer.path().join("archive")).unwrap();
    assert_eq!(loaded(outer.path()).dataset.train.len(), 10);
}

#[test]
fn one_set_is_split_by_the_seed_alone_class_by_class() {
    let at = tempdir().unwrap();
    // Written in another order than that of their names.
    for index in (0..24).rev() {
        for class in ["10", "9", "x/y"] {
            save(at.path(), &format!("{class}/{index:02}.png"), &grey(10, 10, index));
        }
    }
    fs::rename(at.path().join("x"), at.path().join("011")).unwrap();
    let with = |seed| load_with(at.path(), Settings { seed, ..Settings::default() });
    let (found, messages) = with(5);
    let data = found.unwrap().dataset;
    assert_eq!(data.classes, ["9", "10", "011"], "numbers by their value");
    assert_eq!((data.train.len(), data.test.len()), (63, 9));
    assert_eq!(data.test.labels, [0, 0, 0, 1, 1, 1, 2, 2, 2]);
    assert!(messages.iter().any(|text| text.contains("an eighth")), "{messages:?}");
    assert!(with(5).0.unwrap().dataset == data);
    assert_ne!(with(6).0.unwrap().dataset.test, data.test);
    // Which are held out is known by their edges: those of the test set are missing in the other.
    let edges = |pixels: &[u8]| pixels.chunks(100).map(|pixels| pixels[0]).collect::<Vec<_>>();
    let mut all = [edges(&data.train.pixels), edges(&data.test.pixels)].concat();
    all.sort_unstable();
    assert!(all.into_iter().eq((0..24).flat_map(|index| [index; 3])));
    // A folder `train` alone is split, too.
    let alone = tempdir().unwrap();
    fs::rename(at.path(), alone.path().join("train")).unwrap();
    assert!(load_with(alone.path(), Settings { seed: 5, ..Settings::default() }).0.unwrap().dataset == data);
}

#[test]
fn sizes_are_made_equal_to_the_commonest_and_proportions_kept() {
    let at = two_sets();
    save(at.path(), "train/a/wide.png", &grey(48, 8, 70));
    let shape = |settings| load_with(at.path(), settings).0.unwrap().dataset.shape;
    assert_eq!(shape(Settings::default()), [1, 16, 12], "most have it");
    assert_eq!(shape(Settings { size: Some([20, 30]), ..Settings::default() }), [1, 20, 30]);
    let data = load_with(at.path(), Settings { size: Some([24, 24]), ..Settings::default() }).0.unwrap().dataset;
    // The wide one is the sixth of class a: 24x4 of its own, between rows of its edge's colour.
    let wide = &data.train.pixels[5 * 576..6 * 576];
    assert!(wide[..10 * 24].iter().chain(&wide[14 * 24..]).all(|&pixel| pixel == 70), "{wide:?}");
    assert!(wide[11 * 24 + 8..11 * 24 + 16].iter().all(|&pixel| pixel > 180));
    // Large ones are made smaller than they are.
    let large = tempdir().unwrap();
    for class in ["a", "b"] {
        (0..3).for_each(|index| save(large.path(), &format!("{class}/{index}.png"), &grey(300, 100, index)));
    }
    assert_eq!(loaded(large.path()).dataset.shape, [1, 21, 64]);
    // A photograph that says it was held sideways counts as it is seen.
    let mut jpeg = Vec::new();
    grey(40, 20, 3).write_to(&mut Cursor::new(&mut jpeg), ImageFormat::Jpeg).unwrap();
    let exif = [&b"\xff\xe1\x00\x22Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"[..], &jpeg[2..]]
        .concat();
    let turned = [&jpeg[..2], &exif].concat();
    assert_eq!(Picture::size_of(&jpeg).unwrap(), [40, 20]);
    assert_eq!((Picture::size_of(&turned).unwrap(), Picture::decode(&turned).unwrap().size), ([20, 40], [20, 40]));
}

#[test]
fn grey_ones_stay_grey_and_one_in_colour_makes_all_of_them_so() {
    let at = two_sets();
    // A grey JPEG, and one that is kept as colour.
    save(at.path(), "train/a/grey.jpg", &grey(12, 16, 60));
    save(at.path(), "train/a/rgb.jpeg", &DynamicImage::from(grey(12, 16, 60).into_rgb8()));
    assert_eq!(loaded(at.path()).dataset.shape, [1, 16, 12]);
    save(at.path(), "test/b/red.png", &RgbImage::from_pixel(12, 16, Rgb([250, 10, 20])).into());
    let data = loaded(at.path()).dataset;
    assert_eq!((data.shape, data.train.len()), ([3, 16, 12], 12));
    let red = &data.test.pixels[576..1152];
    assert_eq!([red[0], red[192], red[384]], [250, 10, 20], "planes");
    let asked = load_with(at.path(), Settings { channels: Some(1), ..Settings::default() }).0.unwrap().dataset;
    assert_eq!((asked.shape, asked.test.pixels[192]), ([1, 16, 12], 61));
}

#[test]
fn what_a_network_learns_of_a_picture_is_what_it_is_shown_later() {
    let at = two_sets();
    let picture = DynamicImage::from(RgbImage::from_fn(37, 23, |x, y| Rgb([(5 * x) as u8, (9 * y) as u8, 77])));
    save(at.path(), "train/a/0.png", &picture);
    let data = load_with(at.path(), Settings { size: Some([16, 20]), ..Settings::default() }).0.unwrap().dataset;
    let bytes = fs::read(at.path().join("train/a/0.png")).unwrap();
    assert_eq!(data.train.pixels[..960], whole(&Picture::decode(&bytes).unwrap(), [3, 16, 20]));
}

#[test]
fn transparent_ones_lie_on_white_unless_they_are_white() {
    let ink = |value| {
        let pixel = |x, _| if x < 5 { Rgba([value, value, value, 255]) } else { Rgba([0, 0, 0, 0]) };
        Picture::of(&DynamicImage::from(RgbaImage::from_fn(10, 10, pixel))).unwrap()
    };
    let [black, white] = [0, 255].map(|value| whole(&ink(value), [1, 10, 10]));
    assert_eq!((black[0], black[9], white[0], white[9]), (0, 255, 255, 0));
}

#[test]
fn what_is_no_picture_is_passed_over_and_told_once() {
    let at = two_sets();
    let want = loaded(at.path());
    for name in ["Thumbs.db", "train/.DS_Store", "train/a/._0.png", "train/b/.hidden/9.png"] {
        fs::create_dir_all(at.path().join(name).parent().unwrap()).unwrap();
        fs::write(at.path().join(name), "x").unwrap();
    }
    assert_eq!(load_with(at.path(), Settings::default()).1, [""; 0], "not worth a word");
    for name in ["train/a/notes.txt", "train/b/list.csv", "train/loose.png", "test/a/more.webp"] {
        fs::write(at.path().join(name), "x").unwrap();
    }
    fs::create_dir_all(at.path().join("train/empty")).unwrap();
    let (found, messages) = load_with(at.path(), Settings::default());
    assert!(found.unwrap().dataset == want.dataset);
    let [kinds, rest] = &messages[..] else { panic!("{messages:?}") };
    assert!(kinds.contains("1 pictures that are neither PNG nor JPEG") && kinds.contains("more.webp"), "{kinds}");
    assert!(rest.contains("4 other things"), "{rest}");
}

#[test]
fn classes_txt_gives_the_order_of_the_same_names() {
    let at = two_sets();
    let list = at.path().join("classes.txt");
    fs::write(&list, "b\na\n").unwrap();
    let data = loaded(at.path()).dataset;
    assert_eq!((&data.classes[0][..], data.train.pixels[0]), ("b", 0));
    let path = list.to_str().unwrap();
    fs::write(&list, "b\na\nc\n").unwrap();
    refused(at.path(), &[path, "found `c` in the file only"]);
    fs::write(&list, "b\nc\n").unwrap();
    refused(at.path(), &[path, "found `a` as a folder only"]);
}

#[test]
fn a_broken_picture_and_folders_that_are_no_data_set_are_named() {
    let at = two_sets();
    let broken = at.path().join("train/b/3.png");
    let whole = fs::read(&broken).unwrap();
    for (bytes, part) in
        [(&whole[..whole.len() / 2], "damaged"), (b"no picture", "found something else"), (b"", "nothing in it")]
    {
        fs::write(&broken, bytes).unwrap();
        refused(at.path(), &[broken.to_str().unwrap(), part, "or remove it"]);
    }
    fs::write(&broken, whole).unwrap();
    save(at.path(), "test/c/0.png", &grey(12, 16, 0));
    refused(at.path(), &["test", "expected the classes of", "found `c`"]);
    fs::remove_dir_all(at.path().join("test")).unwrap();
    fs::remove_dir_all(at.path().join("train/b")).unwrap();
    refused(at.path(), &["from 2 to 1000 folders", "found one, `a`"]);

    // One picture of each class: nothing is left to test with.
    let few = tempdir().unwrap();
    ["a", "b"].iter().for_each(|class| save(few.path(), &format!("{class}/0.png"), &grey(12, 12, 0)));
    refused(few.path(), &["expected two pictures of a class at least"]);
    let many = tempdir().unwrap();
    let one = grey(10, 10, 0);
    (0..1001).for_each(|class| save(many.path(), &format!("{class}/0.png"), &one));
    refused(many.path(), &["from 2 to 1000 folders", "found 1001"]);
    let none = tempdir().unwrap();
    fs::create_dir_all(none.path().join("a/b")).unwrap();
    refused(none.path(), &["folders of pictures", "found a"]);
}

#[cfg(target_os = "linux")]
#[test]
fn a_class_whose_name_is_not_utf8_is_refused_and_a_picture_of_such_a_name_is_not() {
    use std::os::unix::ffi::OsStrExt;
    let at = two_sets();
    let odd = std::ffi::OsStr::from_bytes(b"caf\xe9.png");
    fs::rename(at.path().join("train/a/0.png"), at.path().join("train/a").join(odd)).unwrap();
    assert_eq!(loaded(at.path()).dataset.train.len(), 10);
    fs::rename(at.path().join("train/a"), at.path().join("train").join(odd)).unwrap();
    refused(at.path(), &["caf", "name of a class in UTF-8", "rename the folder"]);
}
