//! MNIST from the cache folder, downloading what it lacks.

use std::fs;
use std::io::{self, Read, Write};
use std::path::Path;
use std::time::Duration;

use tempfile::NamedTempFile;

use super::Event;
use super::idx::{FILES, Fault, IdxFile};
use super::staging::Staging;

/// Folders on the web that hold the four `.gz` files. What they serve is believed only after its SHA-256 is checked.
pub(super) const MIRRORS: [&str; 3] = [
    "https://ossci-datasets.s3.amazonaws.com/mnist",
    "https://storage.googleapis.com/cvdf-datasets/mnist",
    "https://raw.githubusercontent.com/fgnt/mnist/master",
];

/// Short, because a machine without a network must get to its synthetic digits soon.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(4);
/// For a server that accepted a connection and then says nothing.
const STALL_TIMEOUT: Duration = Duration::from_secs(15);

/// Why one mirror did not give one file.
#[derive(Debug, thiserror::Error)]
enum FetchError {
    #[error("{0}")]
    Http(#[from] ureq::Error),
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("{0}")]
    Content(#[from] Fault),
}

/// Adds the four published files to `staging`: from `cache`, or from the first of `mirrors` that has them, keeping the
/// download in `cache`. The error is a part of a sentence, for the reason why there is no MNIST.
pub(super) fn stage(
    cache: &Path,
    mirrors: &[String],
    staging: &mut Staging,
    on_event: &mut dyn FnMut(Event),
) -> Result<(), String> {
    let mut mirrors: Vec<&str> = mirrors.iter().map(|url| url.trim_end_matches('/')).collect();
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .timeout_resolve(Some(CONNECT_TIMEOUT))
        .timeout_connect(Some(CONNECT_TIMEOUT))
        .timeout_recv_response(Some(STALL_TIMEOUT))
        .timeout_per_read(Some(STALL_TIMEOUT))
        .accept_encoding("identity")
        .user_agent(concat!("mnist-wgpu/", env!("CARGO_PKG_VERSION")))
        .build()
        .into();
    for file in &FILES {
        if add_cached(file, cache, staging, on_event) {
            continue;
        }
        fs::create_dir_all(cache).map_err(|error| format!("it cannot be created: {error}"))?;
        let mut first_failure = None;
        let mut fetched = false;
        for _ in 0..mirrors.len() {
            let url = format!("{}/{}.gz", mirrors[0], file.name);
            match fetch(&agent, &url, file, cache, staging, on_event) {
                Ok(()) => {
                    fetched = true;
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
        if !fetched {
            return Err(match first_failure {
                Some(failure) => {
                    format!("it could not be downloaded from any of {} mirrors ({failure})", mirrors.len())
                }
                None => "there is no mirror to download it from".to_owned(),
            });
        }
    }
    Ok(())
}

/// Adds a file from the cache. Says so if there is one that cannot be used.
fn add_cached(file: &IdxFile, cache: &Path, staging: &mut Staging, on_event: &mut dyn FnMut(Event)) -> bool {
    let mut faults = Vec::new();
    for path in file.candidates(cache) {
        match staging.add_published(file, &path) {
            Ok(()) => return true,
            Err(fault) => faults.push(format!("{}: {fault}", path.display())),
        }
    }
    for fault in faults {
        on_event(Event::Message(&format!("Not usable, downloading it again: {fault}")));
    }
    false
}

/// Downloads one file beside its place, checks it, adds it to `staging`, and only then gives it its name.
fn fetch(
    agent: &ureq::Agent,
    url: &str,
    file: &IdxFile,
    cache: &Path,
    staging: &mut Staging,
    on_event: &mut dyn FnMut(Event),
) -> Result<(), FetchError> {
    let name = format!("{}.gz", file.name);
    let response = agent.get(url).call()?;
    let total = response.body().content_length();
    // gzip adds a few bytes to what it cannot compress; anything longer is not the file.
    let limit = file.len() + 64 * 1024;
    let mut body = response.into_body().into_with_config().limit(limit).reader();
    let mut beside = NamedTempFile::with_prefix_in(".download-", cache)?;
    let mut chunk = vec![0; 64 * 1024];
    let mut done = 0;
    loop {
        on_event(Event::Progress { file: &name, done, total });
        let read = body.read(&mut chunk)?;
        if read == 0 {
            break;
        }
        beside.write_all(&chunk[..read])?;
        done += read as u64;
    }
    beside.flush()?;
    staging.add_published(file, beside.path())?;
    beside.persist(cache.join(&name)).map_err(|error| error.error)?;
    Ok(())
}
