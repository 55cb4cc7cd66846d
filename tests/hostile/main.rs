//! No bytes from outside make the program panic, hang or fill the memory: valid files of every kind that it reads are
//! spoiled in all ways that files are, thousands of them, the same in each run. `scripts/fuzz` looks further.

mod readers;
mod seeds;

use image::{GrayImage, Luma};
use mnist_wgpu::image::{Picture, digits};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use readers::{LONGEST, Reader};
use std::ops::Range;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// What reading a file may take.
const PATIENCE: Duration = Duration::from_secs(1);
/// What has not been read by then, tried three times, hangs.
const HANGS: Duration = Duration::from_secs(30);

/// Files that are made for a reader.
const FILES: usize = 2000;

/// A file that is tried: no other meanwhile, since memory is counted for all threads.
static TRYING: Mutex<()> = Mutex::new(());

/// Reads `files` one by one.
#[track_caller]
fn survives(reader: &'static Reader, files: impl Iterator<Item = Vec<u8>> + Send + 'static) {
    let _alone = TRYING.lock().unwrap_or_else(PoisonError::into_inner);
    let (done, next) = channel();
    // A thread of its own, so that one that hangs is told of.
    let reading = thread::spawn(move || {
        for file in files {
            let once = || {
                let begun = Instant::now();
                reader.check(&file);
                begun.elapsed()
            };
            done.send(file.clone()).expect("somebody listens");
            // A busy machine is slow at times; what takes long does so again.
            let taken = (0..3).map(|_| once()).find(|taken| *taken <= PATIENCE);
            assert!(taken.is_some(), "it takes more than {PATIENCE:?}");
        }
    });
    let mut latest = Vec::new();
    loop {
        match next.recv_timeout(HANGS) {
            Ok(file) => latest = file,
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => panic!("{} hangs over {}", reader.name, shown(&latest)),
        }
    }
    assert!(reading.join().is_ok(), "{} broke over {}", reader.name, shown(&latest));
}

/// To be pasted into a test.
fn shown(file: &[u8]) -> String {
    format!("b\"{}\"", file.escape_ascii())
}

#[test]
fn spoiled_files_are_survived() {
    for reader in &readers::ALL {
        let seeds = (reader.seeds)();
        let mut random = ChaCha8Rng::seed_from_u64(22);
        let spoiled = (0..FILES).map({
            let seeds = seeds.clone();
            move |_| spoiled(&seeds, &mut random)
        });
        survives(reader, seeds.into_iter().chain([Vec::new()]).chain(spoiled));
    }
}

/// One of `seeds` with one to four faults.
fn spoiled(seeds: &[Vec<u8>], random: &mut ChaCha8Rng) -> Vec<u8> {
    let mut file = seeds[random.random_range(0..seeds.len())].clone();
    for _ in 0..random.random_range(1..=4) {
        spoil(&mut file, &seeds[random.random_range(0..seeds.len())], random);
    }
    file.truncate(LONGEST);
    file
}

/// Numbers at which programs break, as texts have them.
const NUMBERS: [&str; 16] = [
    "0",
    "-1",
    "1",
    "255",
    "65536",
    "2147483648",
    "4294967295",
    "9223372036854775807",
    "18446744073709551615",
    "99999999999999999999",
    "1e308",
    "-1e-320",
    "0.5",
    "NaN",
    "inf",
    "",
];

fn spoil(file: &mut Vec<u8>, other: &[u8], random: &mut ChaCha8Rng) {
    if file.is_empty() {
        file.extend(other);
    }
    let len = file.len();
    let at = random.random_range(0..len);
    let up_to = |most: usize| at..(at + most).min(len);
    match random.random_range(0..10) {
        0 => file.truncate(at),
        1 => {
            let byte: u8 = random.random();
            file.extend(vec![byte; random.random_range(1..100)]);
        }
        2 | 3 => file[at] ^= 1 << random.random_range(0..8),
        4 => file[at] = [0, 1, 0x7f, 0x80, 0xff, b'\n', b'"', b',', b'.', b'-'][random.random_range(0..10)],
        // A length or a number, in whichever order its bytes lie.
        5 => {
            let place = up_to([1, 2, 4, 8][random.random_range(0..4)]);
            let number =
                [0, 1, u64::MAX, u64::MAX >> 1, 1 << 31, 1 << 16, len as u64, len as u64 - 1][random.random_range(0..8)];
            match random.random() {
                true => file[place.clone()].copy_from_slice(&number.to_le_bytes()[..place.len()]),
                false => file[place.clone()].copy_from_slice(&number.to_be_bytes()[8 - place.len()..]),
            }
        }
        6 => drop(file.drain(up_to(random.random_range(1..=32)))),
        7 => {
            let again = file[up_to(random.random_range(1..=64))].repeat(random.random_range(1..=20));
            file.splice(at..at, again);
        }
        8 => {
            let from = random.random_range(0..other.len());
            file.splice(up_to(random.random_range(1..=64)), other[from..].iter().take(64).copied());
        }
        _ => {
            let numbers = numbers(file);
            if !numbers.is_empty() {
                let number = NUMBERS[random.random_range(0..NUMBERS.len())];
                file.splice(numbers[random.random_range(0..numbers.len())].clone(), number.bytes());
            }
        }
    }
}

/// Where digits stand.
fn numbers(file: &[u8]) -> Vec<Range<usize>> {
    let mut found: Vec<Range<usize>> = Vec::new();
    for (at, _) in file.iter().enumerate().filter(|(_, byte)| byte.is_ascii_digit() || **byte == b'.') {
        match found.last_mut() {
            Some(last) if last.end == at => last.end += 1,
            _ => found.push(at..at + 1),
        }
    }
    found
}

#[test]
fn what_was_found_once_is_survived() {
    let changed = |name: &str, from: &str, to: &str| {
        let seed = String::from_utf8((Reader::named(name).seeds)().remove(0)).expect("a text");
        assert!(seed.contains(from), "{seed}");
        seed.replace(from, to).into_bytes()
    };
    for (name, file) in [
        // Samples for it came out too short.
        ("description", changed("description", "[1,28,28]", "[5,28,28]")),
        // The sum of the second row was larger than that of all.
        ("tested", changed("tested", "[0,1]", "[18446744073709551615,0]")),
        // Each name was looked for among all others, for seconds.
        ("checkpoint", seeds::deep()),
    ] {
        survives(Reader::named(name), std::iter::once(file));
    }
}

/// Hundreds of lines or rings of which each has the whole picture for its frame took minutes.
#[test]
fn a_texture_takes_about_as_long_as_a_page() {
    const SIDE: u32 = 1024;
    let _alone = TRYING.lock().unwrap_or_else(PoisonError::into_inner);
    let inside = |x: u32, y: u32| (8..SIDE - 8).contains(&x) && (8..SIDE - 8).contains(&y);
    let time = |ink: &dyn Fn(u32, u32) -> bool| {
        let shade = |x, y| Luma([if inside(x, y) && ink(x, y) { 0 } else { 255 }]);
        let picture = Picture::of(&GrayImage::from_fn(SIDE, SIDE, shade).into()).expect("a picture");
        let begun = Instant::now();
        let _ = digits(&picture);
        begun.elapsed()
    };
    let page = time(&|x, y| x % 90 < 10 && y % 120 < 80);
    for period in [10, 16] {
        let hatched = time(&|x, y| (x + y) % period < period / 3);
        assert!(hatched < 5 * page, "a page {page:?}, hatched {hatched:?}");
    }
}
