//! The dataset's promises: a bad file is named and never loaded, the sources are tried in order, and a download is believed
//! only after its checksum. What splits and synthetic digits promise is tested beside them, in `src/data/`.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};

use flate2::{Compression, write::GzEncoder};
use mnist_wgpu::data::{DataError, Dataset, Event, Origin, PIXELS, Sources, load};
use tempfile::{TempDir, tempdir};

const TRAIN_IMAGES: &str = "train-images-idx3-ubyte";
const TRAIN_LABELS: &str = "train-labels-idx1-ubyte";
const TEST_IMAGES: &str = "t10k-images-idx3-ubyte";
const TEST_LABELS: &str = "t10k-labels-idx1-ubyte";
const FILES: [&str; 4] = [TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES, TEST_LABELS];

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A valid header, with `count` items and, for images, `size` by `size` pixels.
fn header(name: &str, count: u32, size: u32) -> Vec<u8> {
    let fields = match name.contains("images") {
        true => vec![0x803, count, size, size],
        false => vec![0x801, count],
    };
    fields.into_iter().flat_map(u32::to_be_bytes).collect()
}

fn count(name: &str) -> u32 {
    if name.starts_with("train") { 60_000 } else { 10_000 }
}

/// A valid file of constant bytes, in one gzip member per thousand items, so that it is made quickly.
fn valid_gz(name: &str, fill: u8) -> Vec<u8> {
    let item = if name.contains("images") { PIXELS } else { 1 };
    let mut bytes = gzip(&header(name, count(name), 28));
    bytes.extend(gzip(&vec![fill; 1000 * item]).repeat(count(name) as usize / 1000));
    bytes
}

/// A folder with the four files, every label and pixel of which is `fill`.
fn valid_folder(fill: u8) -> TempDir {
    let folder = tempdir().unwrap();
    for name in FILES {
        let path = folder.path().join(format!("{name}.gz"));
        fs::write(path, valid_gz(name, fill)).unwrap();
    }
    folder
}

fn named(folder: &Path) -> Sources {
    Sources { data_dir: Some(folder.to_owned()), ..Sources::default() }
}

/// Loads, gathering the messages.
fn load_telling(sources: &Sources) -> (Result<Dataset, DataError>, Vec<String>) {
    let mut messages = Vec::new();
    let result = load(sources, &mut |event| {
        if let Event::Message(text) = event {
            messages.push(text.to_owned());
        }
    });
    (result, messages)
}

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

fn reason(dataset: &Dataset) -> &str {
    match &dataset.origin {
        Origin::Synthetic { reason } => reason,
        other => panic!("expected synthetic digits, found {other:?}"),
    }
}

/// Serves GET requests on 127.0.0.1 with what `answer` gives for the path's last part (`None`: 404). Returns the URL.
fn serve(answer: impl Fn(&str) -> Option<Vec<u8>> + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/mnist", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut request = Vec::new();
            let mut byte = [0];
            while !request.ends_with(b"\r\n\r\n") && matches!(stream.read(&mut byte), Ok(1)) {
                request.push(byte[0]);
            }
            let request = String::from_utf8_lossy(&request).into_owned();
            let path = request.split_whitespace().nth(1).unwrap_or("");
            let body = answer(path.rsplit('/').next().unwrap_or(""));
            let status = if body.is_some() { "200 OK" } else { "404 Not Found" };
            let body = body.unwrap_or_default();
            let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
            let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body));
        }
    });
    url
}

/// A URL at which nobody listens.
const DEAD_MIRROR: &str = "http://127.0.0.1:1/mnist";

fn files_in(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
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
    assert_eq!((a.train.len(), a.test.len()), (60_000, 10_000));
    assert_eq!((a.train.pixels.len(), a.test.pixels.len()), (60_000 * 784, 10_000 * 784));
    assert!(a.train.pixels.iter().chain(&a.test.labels).all(|&v| v == 7));
    assert!(a.train == b.train && a.test == b.test);
    assert_eq!(a.name, "custom", "only the published files are MNIST");
}

#[test]
fn data_dir_comes_before_mnist_dir_before_cache() {
    let (first, second) = (valid_folder(1), valid_folder(2));
    let mut sources = Sources {
        data_dir: Some(first.path().into()),
        mnist_dir: Some(second.path().into()),
        cache_dir: Some(first.path().into()),
        mirrors: vec![],
    };
    let dataset = load_telling(&sources).0.unwrap();
    assert_eq!(dataset.origin, Origin::Directory(first.path().into()));
    sources.data_dir = None;
    let dataset = load_telling(&sources).0.unwrap();
    assert_eq!(dataset.origin, Origin::Directory(second.path().into()));
    assert_eq!(dataset.train.labels[0], 2);
    // What the user names is never skipped, even where the next source would do.
    sources.mnist_dir = Some("/nowhere/at/all".into());
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
    assert_eq!(load_telling(&named(&folder)).0.unwrap().test.labels[9999], 4);
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
fn wrong_magic_is_named_with_both_numbers() {
    let bytes = gzip(&[header(TEST_IMAGES, 10_000, 28), vec![0; 10_000]].concat());
    file_refused(TEST_LABELS, &bytes, &["0x00000801", "found 0x00000803"]);
    file_refused(TEST_LABELS, b"<html>no such page</html>", &["0x00000801", "found 0x3c68746d"]);
}

#[test]
fn wrong_count_is_named_with_both_counts() {
    let bytes = gzip(&[header(TRAIN_LABELS, 59_999, 28), vec![0; 59_999]].concat());
    file_refused(TRAIN_LABELS, &bytes, &["expected 60000", "found 59999"]);
}

#[test]
fn wrong_image_size_is_named() {
    let bytes = gzip(&[header(TEST_IMAGES, 10_000, 32), vec![0; 64]].concat());
    file_refused(TEST_IMAGES, &bytes, &["28x28", "found 32x32"]);
}

#[test]
fn truncated_file_is_named_with_both_lengths() {
    let whole = [header(TEST_LABELS, 10_000, 28), vec![5; 10_000]].concat();
    file_refused(TEST_LABELS, &whole[..9_000], &["expected 10008", "found 9000", "truncated"]);
    file_refused(TEST_LABELS, &gzip(&whole[..9_000]), &["expected 10008", "found 9000", "truncated"]);
    file_refused(TEST_LABELS, &whole[..5], &["expected 10008", "found 5"]);
    file_refused(TRAIN_IMAGES, &[], &["expected 47040016", "found 0"]);
}

#[test]
fn oversized_file_is_named_with_both_lengths() {
    let long = [header(TEST_LABELS, 10_000, 28), vec![5; 10_001]].concat();
    file_refused(TEST_LABELS, &long, &["expected 10008", "found 10009"]);
    file_refused(TEST_LABELS, &gzip(&long), &["expected 10008", "found 10009"]);
}

#[test]
fn gzip_bomb_is_not_unpacked() {
    // A gigabyte once unpacked, all of it valid labels.
    let mut bytes = gzip(&header(TRAIN_LABELS, 60_000, 28));
    bytes.extend(gzip(&vec![0; 1 << 24]).repeat(64));
    file_refused(TRAIN_LABELS, &bytes, &["expected 60008", "found 60009 or more"]);
}

#[test]
fn label_above_nine_is_named_with_its_place() {
    let mut bytes = [header(TEST_LABELS, 10_000, 28), vec![9; 10_000]].concat();
    bytes[8 + 9_999] = 10;
    file_refused(TEST_LABELS, &bytes, &["0 to 9", "found 10", "number 9999"]);
    file_refused(TEST_LABELS, &gzip(&bytes), &["0 to 9", "found 10", "number 9999"]);
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

#[test]
fn dead_mirrors_lead_to_synthetic_digits_with_a_reason() {
    let cache = tempdir().unwrap();
    let missing = serve(|_| None);
    let sources = Sources {
        cache_dir: Some(cache.path().join("new")),
        mirrors: vec![DEAD_MIRROR.into(), missing.clone()],
        ..Sources::default()
    };
    let (dataset, messages) = load_telling(&sources);
    let dataset = dataset.unwrap();
    assert_eq!((dataset.name.as_str(), dataset.train.len(), dataset.test.len()), ("synthetic", 60_000, 10_000));
    let reason = reason(&dataset);
    assert!(reason.contains("2 mirrors"), "{reason}");
    assert!(!reason.contains('\n') && reason.len() < 400, "{reason}");
    let asked: Vec<_> = messages.iter().filter(|text| text.contains("127.0.0.1")).collect();
    assert!(asked.iter().any(|text| text.contains(&missing) && text.contains("404")), "{asked:?}");
    assert!(messages.last().unwrap().contains("synthetic"));
    assert!(files_in(&cache.path().join("new")).is_empty());
}

#[test]
fn download_with_a_wrong_checksum_is_refused_and_leaves_nothing() {
    let cache = tempdir().unwrap();
    // Well-formed, but not the published content; and what a captive portal serves.
    let forged = serve(|file| Some(valid_gz(file.trim_end_matches(".gz"), 3)));
    let portal = serve(|_| Some(b"<html>log in</html>".to_vec()));
    let sources = Sources {
        cache_dir: Some(cache.path().into()),
        mirrors: vec![forged.clone(), portal.clone()],
        ..Sources::default()
    };
    let (dataset, messages) = load_telling(&sources);
    assert!(reason(&dataset.unwrap()).contains("SHA-256"));
    let about = |url: &str| messages.iter().find(|text| text.contains(url)).unwrap();
    assert!(about(&forged).contains("SHA-256 65a50cbb"), "{messages:?}");
    assert!(about(&portal).contains("magic"), "{messages:?}");
    assert!(files_in(cache.path()).is_empty(), "{:?}", files_in(cache.path()));
}

#[test]
fn bad_cache_file_is_told_and_not_used() {
    let cache = valid_folder(3); // whole and valid, but not MNIST
    let sources = Sources { cache_dir: Some(cache.path().into()), ..Sources::default() };
    let (dataset, messages) = load_telling(&sources);
    assert!(reason(&dataset.unwrap()).contains("no mirror"));
    assert!(messages[0].contains(TRAIN_LABELS) && messages[0].contains("downloading it again"), "{messages:?}");
}

#[test]
fn download_fills_the_cache_once_and_replaces_a_bad_file() {
    let Some(folder) = std::env::var_os("MNIST_DIR").map(PathBuf::from) else {
        println!("NOT RUN: a successful download needs the real files; set MNIST_DIR to a folder with the four .gz files");
        return;
    };
    let cache = tempdir().unwrap();
    let bad = cache.path().join(format!("{TEST_LABELS}.gz"));
    fs::write(&bad, "half a file").unwrap();
    let source = folder.clone();
    let mirror = serve(move |file| {
        let plain = || fs::read(source.join(file.trim_end_matches(".gz"))).ok();
        fs::read(source.join(file)).ok().or_else(plain)
    });
    let mut sources = Sources {
        cache_dir: Some(cache.path().into()),
        mirrors: vec![serve(|_| Some(vec![0x1f, 0x8b, 8])), mirror],
        ..Sources::default()
    };
    let (first, messages) = load_telling(&sources);
    let first = first.unwrap();
    assert_eq!(first.name, "mnist");
    assert_eq!(first.origin, Origin::Downloaded(cache.path().into()));
    assert_eq!(first.train.labels[..5], [5, 0, 4, 1, 9]);
    assert!(messages.iter().any(|text| text.contains(bad.to_str().unwrap())), "{messages:?}");
    assert_eq!(files_in(cache.path()).len(), 4, "only the four files stay");

    sources.mirrors.clear();
    let again = load_telling(&sources).0.unwrap();
    assert!(again.train == first.train && again.test == first.test);
    let named = load_telling(&named(&folder)).0.unwrap();
    assert!(named.name == "mnist" && named.train == first.train && named.test == first.test);
}
