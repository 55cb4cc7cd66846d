//! MNIST's four IDX files: their names, how they are found in a folder, and the checks that each must pass.

use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::{CLASSES, COLS, DataError, PIXELS, ROWS, TEST_COUNT, TRAIN_COUNT};

pub(super) const TRAIN_IMAGES: &str = "train-images-idx3-ubyte";
pub(super) const TRAIN_LABELS: &str = "train-labels-idx1-ubyte";
pub(super) const TEST_IMAGES: &str = "t10k-images-idx3-ubyte";
pub(super) const TEST_LABELS: &str = "t10k-labels-idx1-ubyte";

/// The four files, the small ones first: what is wrong with those is told (and what cannot be downloaded is noticed)
/// before the long work on the largest.
pub(super) const FILES: [IdxFile; 4] = [
    IdxFile {
        name: TRAIN_LABELS,
        content: Content::Labels,
        count: TRAIN_COUNT,
        sha256: "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    },
    IdxFile {
        name: TEST_LABELS,
        content: Content::Labels,
        count: TEST_COUNT,
        sha256: "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    },
    IdxFile {
        name: TEST_IMAGES,
        content: Content::Images,
        count: TEST_COUNT,
        sha256: "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    },
    IdxFile {
        name: TRAIN_IMAGES,
        content: Content::Images,
        count: TRAIN_COUNT,
        sha256: "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    },
];

/// What one of the four files must be.
pub(super) struct IdxFile {
    /// The published name, without `.gz`.
    pub name: &'static str,
    content: Content,
    count: usize,
    /// SHA-256 of the published content, decompressed, in hexadecimal.
    pub sha256: &'static str,
}

#[derive(Clone, Copy, PartialEq)]
enum Content {
    Images,
    Labels,
}

impl IdxFile {
    fn header_len(&self) -> u64 {
        match self.content {
            Content::Images => 16,
            Content::Labels => 8,
        }
    }

    /// Length in bytes, decompressed.
    pub fn len(&self) -> u64 {
        let item = match self.content {
            Content::Images => PIXELS,
            Content::Labels => 1,
        };
        self.header_len() + (self.count * item) as u64
    }

    /// The names under which this file is accepted.
    fn names(&self) -> [String; 4] {
        let dotted = self.name.replace("-idx", ".idx");
        [self.name.to_owned(), format!("{}.gz", self.name), dotted.clone(), format!("{dotted}.gz")]
    }

    /// The paths in `folder` at which this file exists.
    pub fn candidates(&self, folder: &Path) -> Vec<PathBuf> {
        let paths = self.names().map(|name| folder.join(name));
        paths.into_iter().filter(|path| path.exists()).collect()
    }
}

/// What is wrong with a file: what was expected and what was found.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)] // the texts say it
pub enum Fault {
    #[error("expected a file, found a {0}")]
    NotAFile(&'static str),
    #[error("expected a readable file, found: {0}")]
    Unreadable(io::Error),
    #[error("expected intact gzip data, found it broken after {after} unpacked bytes: {error}")]
    Gzip { after: u64, error: io::Error },
    #[error("expected IDX magic number {expected:#010x}, found {found:#010x}")]
    Magic { expected: u32, found: u32 },
    #[error("expected {expected} items, found {found}")]
    Count { expected: usize, found: u32 },
    #[error("expected images of 28x28 pixels, found {rows}x{cols}")]
    Dimensions { rows: u32, cols: u32 },
    #[error("expected {expected} bytes, found {found}: the file is truncated")]
    Truncated { expected: u64, found: u64 },
    #[error("expected {expected} bytes, found {found} or more: something follows the data")]
    Oversized { expected: u64, found: u64 },
    #[error("expected labels from 0 to 9, found {found} as label number {index}")]
    Label { index: u64, found: u8 },
    #[error("expected content with SHA-256 {expected}, found {found}")]
    Checksum { expected: &'static str, found: String },
    #[error("expected to unpack it into the temporary folder, found: {0}")]
    Staging(io::Error),
}

/// The paths of [`FILES`] in a folder that the user named.
pub(super) fn locate(named_by: &'static str, folder: &Path) -> Result<[PathBuf; 4], DataError> {
    let not_a_folder = |found: String| DataError::Folder { named_by, path: folder.to_owned(), found };
    let metadata = fs::metadata(folder).map_err(|error| not_a_folder(error.to_string()))?;
    if !metadata.is_dir() {
        return Err(not_a_folder("a file".to_owned()));
    }
    let entries = fs::read_dir(folder).map_err(|error| not_a_folder(error.to_string()))?;

    let paths = FILES.each_ref().map(|file| file.candidates(folder).into_iter().next());
    if let [Some(a), Some(b), Some(c), Some(d)] = paths {
        return Ok([a, b, c, d]);
    }
    let missing = FILES.iter().zip(&paths).filter(|(_, path)| path.is_none());
    let missing: Vec<&str> = missing.map(|(file, _)| file.name).collect();
    Err(DataError::Missing { named_by, path: folder.to_owned(), missing: missing.join(", "), found: list(entries) })
}

/// The first few names in a folder, in words.
fn list(entries: fs::ReadDir) -> String {
    const SHOWN: usize = 6;
    let names = entries.flatten().map(|entry| entry.file_name());
    let mut names: Vec<String> = names.map(|name| name.to_string_lossy().into_owned()).collect();
    names.sort();
    match names.len() {
        0 => "an empty folder".to_owned(),
        n if n <= SHOWN => names.join(", "),
        n => format!("{} and {} more", names[..SHOWN].join(", "), n - SHOWN),
    }
}

/// Copies `input` to `output` while checking it, never reading more than one byte beyond the expected length (a small gzip
/// file can unpack to terabytes). Returns the SHA-256 of the content in hexadecimal.
///
/// `stored` is the length of a plain file, which tells at once whether it is whole; `None` says that `input` unpacks gzip.
pub(super) fn copy_checked(
    file: &IdxFile,
    input: impl Read,
    stored: Option<u64>,
    output: &mut impl Write,
) -> Result<String, Fault> {
    let expected = file.len();
    let broken = |after: u64, error: io::Error| match stored {
        Some(_) => Fault::Unreadable(error),
        None => Fault::Gzip { after, error },
    };
    let mut input = input.take(expected + 1);

    let mut header = Vec::new();
    let result = (&mut input).take(file.header_len()).read_to_end(&mut header);
    let mut read = header.len() as u64;
    result.map_err(|error| broken(read, error))?;
    if read < file.header_len() {
        return Err(Fault::Truncated { expected, found: read });
    }
    check_header(file, &header)?;
    match stored {
        Some(found) if found < expected => return Err(Fault::Truncated { expected, found }),
        Some(found) if found > expected => return Err(Fault::Oversized { expected, found }),
        _ => {}
    }

    let mut hash = Sha256::new_with_prefix(&header);
    output.write_all(&header).map_err(Fault::Staging)?;
    let mut chunk = vec![0; 64 * 1024];
    loop {
        let data = match input.read(&mut chunk) {
            Ok(0) => break,
            Ok(count) => &chunk[..count],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(broken(read, error)),
        };
        if file.content == Content::Labels
            && let Some(at) = data.iter().position(|&label| label as usize >= CLASSES)
        {
            let index = read - file.header_len() + at as u64;
            return Err(Fault::Label { index, found: data[at] });
        }
        read += data.len() as u64;
        if read > expected {
            return Err(Fault::Oversized { expected, found: read });
        }
        hash.update(data);
        output.write_all(data).map_err(Fault::Staging)?;
    }
    if read < expected {
        return Err(Fault::Truncated { expected, found: read });
    }
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

fn check_header(file: &IdxFile, header: &[u8]) -> Result<(), Fault> {
    let field = |at: usize| u32::from_be_bytes([0, 1, 2, 3].map(|i| header[4 * at + i]));
    let magic = match file.content {
        Content::Images => 0x0000_0803,
        Content::Labels => 0x0000_0801,
    };
    if field(0) != magic {
        return Err(Fault::Magic { expected: magic, found: field(0) });
    }
    if field(1) as usize != file.count {
        return Err(Fault::Count { expected: file.count, found: field(1) });
    }
    if file.content == Content::Images && (field(2), field(3)) != (ROWS as u32, COLS as u32) {
        return Err(Fault::Dimensions { rows: field(2), cols: field(3) });
    }
    Ok(())
}
