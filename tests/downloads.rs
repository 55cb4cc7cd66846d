//! What downloads promise: whatever a server does, the next one is asked, within bounded time and memory; and nothing
//! is believed, or kept, before its checksum.

#[path = "common/idx_files.rs"]
mod idx_files;
#[path = "common/mnist.rs"]
mod mnist_files;

use idx_files::*;
use mnist_wgpu::sources::published::{FASHION_MNIST, KMNIST, MNIST, Published, Sum};
use mnist_wgpu::sources::{Found, Origin, Patience, Sources, Wanted};
use sha2::{Digest, Sha256};
use std::fs;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tempfile::{TempDir, tempdir};

fn reason(found: &Found) -> &str {
    match &found.origin {
        Origin::Synthetic { reason: Some(reason) } => reason,
        other => panic!("expected synthetic digits, found {other:?}"),
    }
}

/// Serves each connection to 127.0.0.1 in a thread of its own: `answer` gets the last part of the path that was asked
/// for and the stream. Returns the URL.
fn serve_raw(answer: impl Fn(&str, &mut TcpStream) -> io::Result<()> + Send + Clone + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/mnist", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let answer = answer.clone();
            std::thread::spawn(move || {
                let mut request = Vec::new();
                let mut byte = [0];
                while !request.ends_with(b"\r\n\r\n") && matches!(stream.read(&mut byte), Ok(1)) {
                    request.push(byte[0]);
                }
                let request = String::from_utf8_lossy(&request).into_owned();
                let path = request.split_whitespace().nth(1).unwrap_or("");
                answer(path.rsplit('/').next().unwrap_or(""), &mut stream)
            });
        }
    });
    url
}

fn respond(stream: &mut TcpStream, status: &str, headers: &str, body: &[u8]) -> io::Result<()> {
    stream.write_all(format!("HTTP/1.1 {status}\r\nConnection: close\r\n{headers}\r\n").as_bytes())?;
    stream.write_all(body)
}

/// Serves what `answer` gives (`None`: 404).
fn serve(answer: impl Fn(&str) -> Option<Vec<u8>> + Send + Clone + 'static) -> String {
    serve_raw(move |file, stream| match answer(file) {
        Some(body) => respond(stream, "200 OK", &format!("Content-Length: {}\r\n", body.len()), &body),
        None => respond(stream, "404 Not Found", "Content-Length: 0\r\n", &[]),
    })
}

/// A URL at which nobody listens.
const DEAD_MIRROR: &str = "http://127.0.0.1:1/mnist";

fn files_in(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
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
    let (found, messages) = load_telling(&sources);
    let found = found.unwrap();
    let counts = (found.dataset.train.len(), found.dataset.test.len());
    assert_eq!((found.name.as_str(), counts), ("synthetic", (60_000, 10_000)));
    let reason = reason(&found);
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
    // Would be unpacked to a gigabyte before any checksum.
    let bomb = serve(|file| Some(gzip(&header(file, 1 << 30, 1))));
    let sources = Sources {
        cache_dir: Some(cache.path().into()),
        mirrors: vec![forged.clone(), portal.clone(), bomb.clone()],
        ..Sources::default()
    };
    let (dataset, messages) = load_telling(&sources);
    assert!(reason(&dataset.unwrap()).contains("SHA-256"));
    let about = |url: &str| messages.iter().find(|text| text.contains(url)).unwrap();
    assert!(about(&forged).contains("SHA-256 65a50cbb"), "{messages:?}");
    assert!(about(&portal).contains("a web page"), "{messages:?}");
    assert!(about(&bomb).contains("at most 60008 bytes"), "{messages:?}");
    assert!(files_in(cache.path()).is_empty(), "{:?}", files_in(cache.path()));
}

#[test]
fn bad_cache_file_is_told_and_not_used() {
    let cache = valid_folder(3); // whole and valid, but not MNIST
    let sources = Sources { cache_dir: Some(cache.path().into()), ..Sources::default() };
    let (dataset, messages) = load_telling(&sources);
    assert!(reason(&dataset.unwrap()).contains("no mirror"));
    assert!(messages[0].contains(TRAIN_LABELS) && messages[0].contains("Not usable: "), "{messages:?}");
}

#[test]
#[ignore = "needs MNIST_DIR"]
fn download_fills_the_cache_once_and_replaces_a_bad_file() {
    let folder = mnist_files::folder();
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
    assert_eq!(first.dataset.train.labels[..5], [5, 0, 4, 1, 9]);
    assert!(messages.iter().any(|text| text.contains(bad.to_str().unwrap())), "{messages:?}");
    assert_eq!(files_in(cache.path()).len(), 4, "only the four files stay");

    sources.mirrors.clear();
    let again = load_telling(&sources).0.unwrap();
    assert!(again.dataset == first.dataset);
    let named = load_telling(&named(&folder)).0.unwrap();
    assert!(named.name == "mnist" && named.dataset == first.dataset);
}

/// A data set of 7 and 3 images, as if somebody had published it, and its files.
fn published(packed: bool) -> (&'static Published, impl Fn(&str) -> Option<Vec<u8>> + Send + Clone + 'static) {
    let files = [(TRAIN_LABELS, 7), (TEST_LABELS, 3), (TEST_IMAGES, 3), (TRAIN_IMAGES, 7)].map(|(name, count)| {
        let item = if name.contains("images") { PIXELS } else { 1 };
        let file = [header(name, count, 28), (0..count as usize * item).map(|i| (i % 2) as u8).collect()].concat();
        (format!("{name}.gz"), gzip(&file), file)
    });
    let sum = |bytes: &[u8]| -> &'static str {
        let sum = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        Box::leak(sum.into_boxed_str())
    };
    let sums = files.each_ref().map(|(_, gz, file)| match packed {
        true => Sum::Packed(sum(gz)),
        false => Sum::Content(sum(file)),
    });
    let (name, title) = ("small", "Small");
    let published = Published { name, title, folder: "small", mirrors: &[], classes: &["left", "right"], sums };
    let answer = move |asked: &str| files.iter().find(|(name, ..)| name == asked).map(|(_, gz, _)| gz.clone());
    (Box::leak(Box::new(published)), answer)
}

#[test]
fn a_published_set_is_downloaded_into_its_own_folder_and_known_by_either_sum() {
    for packed in [true, false] {
        let (published, answer) = published(packed);
        let cache = tempdir().unwrap();
        // The first mirror's labels are forged.
        let forged = serve(|file| file.contains("labels").then(|| gzip(&[header(TEST_LABELS, 3, 0), vec![1; 3]].concat())));
        let mirrors = vec![forged.clone(), serve(answer)];
        let wanted = Wanted::Only(published);
        let sources = Sources { wanted, mirrors, cache_dir: Some(cache.path().into()), ..Sources::default() };
        let (found, messages) = load_telling(&sources);
        let found = found.unwrap();
        assert_eq!((&found.name[..], &found.dataset.classes[..]), ("small", &["left", "right"].map(String::from)[..]));
        assert_eq!((found.dataset.train.len(), found.dataset.test.len()), (7, 3));
        assert_eq!(found.origin, Origin::Downloaded(cache.path().join("small")));
        assert!(messages.iter().any(|text| text.contains(&forged) && text.contains("SHA-256")), "{messages:?}");
        // Again, of the cache alone; and never of a file that was changed there.
        let offline = Sources { mirrors: vec![], ..sources };
        assert!(load_telling(&offline).0.unwrap().dataset == found.dataset);
        fs::write(cache.path().join("small").join(format!("{TEST_LABELS}.gz")), gzip(&header(TEST_LABELS, 0, 0))).unwrap();
        let (error, messages) = load_telling(&offline);
        let error = error.unwrap_err().to_string();
        assert!(error.contains("Small") && error.contains("no mirror") && error.contains("--data-dir"), "{error}");
        assert!(messages.iter().any(|text| text.starts_with("Not usable: ")), "{messages:?}");
    }
}

#[test]
fn no_synthetic_digits_come_in_the_place_of_a_set_that_was_named() {
    for published in [&MNIST, &FASHION_MNIST, &KMNIST] {
        let cache = tempdir().unwrap();
        let cache_dir = Some(cache.path().to_path_buf());
        let mirrors = vec![DEAD_MIRROR.into()];
        let sources = Sources { wanted: Wanted::Only(published), cache_dir, mirrors, ..Sources::default() };
        let error = load_telling(&sources).0.unwrap_err().to_string();
        let folder = cache.path().join(published.folder).display().to_string().trim_end_matches('/').to_owned();
        for part in [published.title, &folder, "1 mirrors", "--data-dir"] {
            assert!(error.contains(part), "{part:?} is not in {error:?}");
        }
        // Nor other images.
        let other = idx_folder(&[7, 28, 28], &[2]);
        let error = load_telling(&Sources { wanted: sources.wanted, ..named(other.path()) }).0.unwrap_err().to_string();
        assert!(error.contains(published.name) && error.contains("other images (custom)"), "{error}");
        assert!(published.mirrors.len() > 1 && Sources::of_user(None).wanting(sources.wanted).mirrors == published.mirrors);
    }
    let drawn = load_telling(&Sources { wanted: Wanted::Synthetic, ..named(Path::new("/nowhere")) }).0.unwrap();
    assert_eq!((&drawn.name[..], drawn.origin), ("synthetic", Origin::Synthetic { reason: None }));
}

/// A source whose first mirror is bad in some way, and which the second has to give.
fn from_the_second(bad: String, patience: Patience) -> (TempDir, Vec<String>, Duration) {
    let (published, answer) = published(false);
    let cache = tempdir().unwrap();
    let mirrors = vec![bad.clone(), serve(answer)];
    let cache_dir = Some(cache.path().to_path_buf());
    let sources = Sources { wanted: Wanted::Only(published), mirrors, cache_dir, patience, ..Sources::default() };
    let begun = Instant::now();
    let (found, messages) = load_telling(&sources);
    let took = begun.elapsed();
    assert_eq!(found.unwrap().dataset.train.len(), 7, "{messages:?}");
    assert!(messages[0].contains(&bad), "the first mirror's fault is told: {messages:?}");
    assert_eq!(files_in(&cache.path().join("small")).len(), 4, "nothing unfinished stays");
    (cache, messages, took)
}

#[test]
fn whatever_a_server_answers_the_next_one_is_asked() {
    let (_, answer) = published(false);
    let file = move |name: &str| answer(name).unwrap_or_default();
    let half = {
        let file = file.clone();
        serve_raw(move |name, stream| {
            let body = file(name);
            respond(stream, "200 OK", &format!("Content-Length: {}\r\n", body.len()), &body[..body.len() / 2])
        })
    };
    let cut = {
        let file = file.clone();
        serve_raw(move |name, stream| respond(stream, "200 OK", "", &file(name)[..20]))
    };
    let circle = serve_raw(|_, stream| respond(stream, "302 Found", "Location: again\r\nContent-Length: 0\r\n", &[]));
    let nowhere = serve_raw(|_, stream| respond(stream, "301 Moved", "Content-Length: 0\r\n", &[]));
    let bad = [
        (serve(|_| None), "404"),
        (serve_raw(|_, stream| respond(stream, "503 Service Unavailable", "Content-Length: 0\r\n", &[])), "503"),
        (half, ""),
        (cut, "gzip"),
        (circle, "redirect"),
        (nowhere, ""),
        (serve_raw(|_, stream| stream.write_all(b"220 mail.example.org ESMTP\r\n")), ""),
        (serve_raw(|_, _| Ok(())), ""),
    ];
    for (bad, told) in bad {
        let (_, messages, _) = from_the_second(bad, Patience::default());
        assert!(messages[0].contains(told), "{told:?} is not in {messages:?}");
    }
}

#[test]
fn a_redirection_is_followed() {
    let (published, answer) = published(false);
    let there = serve(answer);
    let here = serve_raw(move |file, stream| {
        respond(stream, "307 Temporary Redirect", &format!("Location: {there}/{file}\r\nContent-Length: 0\r\n"), &[])
    });
    let cache = tempdir().unwrap();
    let cache_dir = Some(cache.path().to_path_buf());
    let sources = Sources { wanted: Wanted::Only(published), mirrors: vec![here], cache_dir, ..Sources::default() };
    assert_eq!(load_telling(&sources).0.unwrap().dataset.test.len(), 3);
}

#[test]
fn a_server_that_is_silent_slow_or_endless_is_given_up() {
    let [connect, stall, slow] = [4000, 400, 1000].map(Duration::from_millis);
    let patience = Patience { connect, stall, slow };
    let silent = serve_raw(|_, _| {
        std::thread::sleep(Duration::from_secs(60));
        Ok(())
    });
    let trickling = serve_raw(|_, stream| {
        respond(stream, "200 OK", "Content-Length: 1000\r\n", &[])?;
        loop {
            stream.write_all(&[0x1f])?;
            std::thread::sleep(Duration::from_millis(100));
        }
    });
    let stopping = serve_raw(|_, stream| {
        respond(stream, "200 OK", "Content-Length: 1000\r\n", &[0x1f, 0x8b])?;
        std::thread::sleep(Duration::from_secs(60));
        Ok(())
    });
    let endless = serve_raw(|_, stream| {
        respond(stream, "200 OK", "", &[])?;
        loop {
            stream.write_all(&[0x1f; 1 << 16])?;
        }
    });
    for (bad, told) in [(silent, "timeout"), (trickling, "too long"), (stopping, "timeout"), (endless, "limit")] {
        let (_, messages, took) = from_the_second(bad, patience);
        assert!(messages[0].contains(told), "{told:?} is not in {messages:?}");
        assert!(took < Duration::from_secs(5), "{messages:?} took {took:?}");
    }
}
