//! A published data set from the cache folder, downloading what it lacks.

use super::Event;
use super::folder::{Content, Files, KINDS, Kind, read};
use super::published::{Published, Sum};
use crate::data::idx::{Array, Fault};
use crate::files;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long a server is waited for.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    pub connect: Duration,
    /// Once it is there, until it says something, and then something more.
    pub stall: Duration,
    /// What is not fast by then is given up.
    pub slow: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        // To connect little, because a machine without a network must get to its synthetic digits soon.
        let [connect, stall, slow] = [4, 15, 30].map(Duration::from_secs);
        Self { connect, stall, slow }
    }
}

/// Bytes a second on average that are not slow: MNIST's largest file takes 20 minutes.
const LEAST_RATE: f64 = 8192.0;

/// Why one mirror did not give one file.
#[derive(Debug, thiserror::Error)]
enum FetchError {
    #[error("{0}")]
    Http(#[from] ureq::Error),
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("{0}")]
    Content(#[from] Fault),
    #[error("it sent {bytes} bytes in {seconds:.0} s, which would take too long")]
    Slow { bytes: usize, seconds: f64 },
}

/// The four files of `published`: from `cache`, or from the first of `mirrors` that has them, keeping the download in
/// `cache`. The error is a part of a sentence, for the reason why there is no such data set.
pub fn fill(
    cache: &Path,
    published: &'static Published,
    mirrors: &[String],
    patience: &Patience,
    on_event: &mut dyn FnMut(Event),
) -> Result<Files, String> {
    let mut mirrors: Vec<&str> = mirrors.iter().map(|url| url.trim_end_matches('/')).collect();
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .timeout_resolve(Some(patience.connect))
        .timeout_connect(Some(patience.connect))
        .timeout_recv_response(Some(patience.stall))
        .timeout_per_read(Some(patience.stall))
        .accept_encoding("identity")
        .user_agent(concat!("mnist-wgpu/", env!("CARGO_PKG_VERSION")))
        .build()
        .into();
    let mut found = [const { (PathBuf::new(), None) }; 4];
    for ((kind, sum), found) in KINDS.iter().zip(published.sums).zip(&mut found) {
        if let Some((path, array)) = cached(kind, sum, cache, !mirrors.is_empty(), on_event) {
            *found = (path, Some(array));
            continue;
        }
        fs::create_dir_all(cache).map_err(|error| format!("it cannot be created: {error}"))?;
        let mut first_failure = None;
        for _ in 0..mirrors.len() {
            let url = format!("{}/{}.gz", mirrors[0], kind.published);
            match fetch(&agent, &url, (kind, sum), cache, patience, on_event) {
                Ok((path, array)) => {
                    *found = (path, Some(array));
                    break;
                }
                Err(error) => {
                    on_event(Event::Message(&format!("Not downloaded: {url}: {error}")));
                    first_failure.get_or_insert(error.to_string());
                    // The next file starts with a mirror that has not failed yet.
                    mirrors.rotate_left(1);
                }
            }
        }
        if found.1.is_none() {
            return Err(match first_failure {
                Some(failure) => {
                    format!("it could not be downloaded from any of {} mirrors ({failure})", mirrors.len())
                }
                None => "no mirror may be asked for it".to_owned(),
            });
        }
    }
    Ok(Files { folder: cache.into(), prefix: String::new(), files: found, published: Some(published) })
}

/// A file from the cache. Says so if there is one that cannot be used, and that it is downloaded `again`.
fn cached(kind: &Kind, sum: Sum, cache: &Path, again: bool, on_event: &mut dyn FnMut(Event)) -> Option<(PathBuf, Array)> {
    let mut faults = Vec::new();
    for path in kind.candidates(cache, "") {
        let read = read(&path, kind.len).map_err(|error| error.to_string());
        match read.and_then(|content| checked(sum, content).map_err(|fault| format!("{}: {fault}", path.display()))) {
            Ok(array) => return Some((path, array)),
            Err(fault) => faults.push(fault),
        }
    }
    let what = if again { "Not usable, downloading it again" } else { "Not usable" };
    for fault in faults {
        on_event(Event::Message(&format!("{what}: {fault}")));
    }
    None
}

/// The array, if it is the published one.
fn checked(sum: Sum, content: Content) -> Result<Array, Fault> {
    sum.check(&content).map(|()| content.array)
}

/// Downloads one file, checks it, and only then writes it to the cache.
fn fetch(
    agent: &ureq::Agent,
    url: &str,
    (kind, sum): (&Kind, Sum),
    cache: &Path,
    patience: &Patience,
    on_event: &mut dyn FnMut(Event),
) -> Result<(PathBuf, Array), FetchError> {
    let name = format!("{}.gz", kind.published);
    let response = agent.get(url).call()?;
    let total = response.body().content_length();
    // gzip adds a few bytes to what it cannot compress; anything longer is not the file.
    let mut body = response.into_body().into_with_config().limit(kind.len + 64 * 1024).reader();
    let (mut bytes, mut chunk) = (Vec::new(), vec![0; 64 * 1024]);
    let begun = Instant::now();
    loop {
        let seconds = begun.elapsed().as_secs_f64();
        if seconds > patience.slow.as_secs_f64() && (bytes.len() as f64) < LEAST_RATE * seconds {
            return Err(FetchError::Slow { bytes: bytes.len(), seconds });
        }
        on_event(Event::Progress { file: &name, done: bytes.len() as u64, total });
        match body.read(&mut chunk)? {
            0 => break,
            read => bytes.extend_from_slice(&chunk[..read]),
        }
    }
    let array = checked(sum, Content::read(&bytes[..], kind.len)?)?;
    let path = cache.join(name);
    files::replace(&path, &bytes)?;
    Ok((path, array))
}
