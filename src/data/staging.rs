//! The `mnist` crate, called only on files that it cannot panic on.
//!
//! It panics on anything unexpected and reads plain files only, so each file is streamed through the checks into a
//! temporary folder of ours, and parsed from there. A copy also cannot change between check and use.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;
use tempfile::TempDir;

use super::idx::{self, FILES, Fault, IdxFile, copy_checked};
use super::{DataError, Dataset, Images, Origin, TEST_COUNT, TRAIN_COUNT};

/// A temporary folder that gathers checked, unpacked copies of the four files.
pub(super) struct Staging {
    folder: TempDir,
    /// Whether every file so far is, byte for byte, the published one.
    published: bool,
}

impl Staging {
    pub fn new() -> Result<Self, DataError> {
        let folder = TempDir::with_prefix("mnist-wgpu-")
            .map_err(|source| DataError::Temporary { path: std::env::temp_dir(), source })?;
        Ok(Self { folder, published: true })
    }

    /// Checks the file at `path`, which may be any IDX data of MNIST's shape, and adds it.
    pub fn add(&mut self, file: &IdxFile, path: &Path) -> Result<(), Fault> {
        let sha256 = self.copy(file, path)?;
        self.published &= sha256 == file.sha256;
        Ok(())
    }

    /// Checks that the file at `path` is the published one, and adds it.
    pub fn add_published(&mut self, file: &IdxFile, path: &Path) -> Result<(), Fault> {
        let found = self.copy(file, path)?;
        if found == file.sha256 {
            return Ok(());
        }
        Err(Fault::Checksum { expected: file.sha256, found })
    }

    fn copy(&self, file: &IdxFile, path: &Path) -> Result<String, Fault> {
        // Looked at before it is opened: opening a pipe would wait for a writer.
        let metadata = fs::metadata(path).map_err(Fault::Unreadable)?;
        if metadata.is_dir() {
            return Err(Fault::NotAFile("folder"));
        } else if !metadata.is_file() {
            return Err(Fault::NotAFile("device or pipe"));
        }
        let mut input = BufReader::new(File::open(path).map_err(Fault::Unreadable)?);
        let zipped = input.fill_buf().map_err(Fault::Unreadable)?.starts_with(&[0x1f, 0x8b]);

        let output = File::create(self.folder.path().join(file.name)).map_err(Fault::Staging)?;
        let mut output = BufWriter::new(output);
        let sha256 = if zipped {
            copy_checked(file, MultiGzDecoder::new(input), None, &mut output)
        } else {
            copy_checked(file, input, Some(metadata.len()), &mut output)
        }?;
        output.flush().map_err(Fault::Staging)?;
        Ok(sha256)
    }

    /// Parses the four files, all of which have been added.
    pub fn finish(self, origin: Origin) -> Result<Dataset, DataError> {
        let unusable = |path: &Path, kind, text: &str| DataError::Temporary {
            path: path.to_owned(),
            source: io::Error::new(kind, text),
        };
        let folder = self.folder.path();
        let Some(base) = folder.to_str() else {
            return Err(unusable(folder, io::ErrorKind::InvalidInput, "a path that is not UTF-8"));
        };
        for file in &FILES {
            if fs::metadata(folder.join(file.name)).map(|m| m.len()).ok() != Some(file.len()) {
                return Err(unusable(folder, io::ErrorKind::NotFound, "unpacked files that changed"));
            }
        }
        let parsed = mnist::MnistBuilder::new()
            .base_path(base)
            .training_images_filename(idx::TRAIN_IMAGES)
            .training_labels_filename(idx::TRAIN_LABELS)
            .test_images_filename(idx::TEST_IMAGES)
            .test_labels_filename(idx::TEST_LABELS)
            .label_format_digit()
            .training_set_length(TRAIN_COUNT as u32)
            .validation_set_length(0)
            .test_set_length(TEST_COUNT as u32)
            .finalize();
        let images = |mut pixels: Vec<u8>, mut labels: Vec<u8>| {
            pixels.shrink_to_fit();
            labels.shrink_to_fit();
            Images { pixels, labels }
        };
        Ok(Dataset {
            name: if self.published { "mnist" } else { "custom" }.to_owned(),
            origin,
            train: images(parsed.trn_img, parsed.trn_lbl),
            test: images(parsed.tst_img, parsed.tst_lbl),
        })
    }
}
