//! TensorBoard's event files: the scalars of a run, for `tensorboard --logdir FOLDER`.
//!
//! An event file is a sequence of records, each of a length, the length's checksum, a protobuf message `Event`, and its
//! checksum. Of `event.proto` and `summary.proto` only the fields that scalars need stand below, with the numbers that
//! they have there.

use crate::history::Row;
use prost::Message;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// Writes one event file. Every start of a run, resumed or not, gets a file of its own in the run's folder, as
/// TensorBoard expects.
pub struct EventWriter {
    file: File,
    path: PathBuf,
}

const PREFIX: &str = "events.out.tfevents.";
const INFIX: &str = ".mnist-wgpu.";

/// Whether `path` has the name of a file that an [`EventWriter`] wrote.
pub fn is_event_file(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.starts_with(PREFIX) && name.contains(INFIX)
}

#[derive(Debug, thiserror::Error)]
#[error("cannot write the TensorBoard file {}: {source}; see that the folder can be written and the disk has room", path.display())]
pub struct TensorBoardError {
    pub path: PathBuf,
    pub source: io::Error,
}

impl EventWriter {
    /// Begins a new file in `folder`, which is created if need be.
    ///
    /// # Errors
    /// If the folder cannot be created or written.
    pub fn create(folder: &Path) -> Result<Self, TensorBoardError> {
        let fault = |path: &Path| {
            let path = path.to_path_buf();
            move |source| TensorBoardError { path, source }
        };
        fs::create_dir_all(folder).map_err(fault(folder))?;
        let (seconds, process) = (wall_time() as u64, std::process::id());
        let mut number = 0;
        let (file, path) = loop {
            let path = folder.join(format!("{PREFIX}{seconds:010}{INFIX}{process}.{number}"));
            match OpenOptions::new().append(true).create_new(true).open(&path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
                opened => break (opened.map_err(fault(&path))?, path),
            }
        };
        let mut writer = Self { file, path };
        writer.write(0, Some("brain.Event:2".into()), &[])?;
        Ok(writer)
    }

    /// Where it writes.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The mean training loss of the batches up to `step`, counted over all epochs, as `loss/running`.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn running(&mut self, step: u64, loss: f64) -> Result<(), TensorBoardError> {
        self.write(step, None, &[("loss/running", loss)])
    }

    /// An epoch's scalars, with the epoch as their step: `loss/train`, `loss/val`, `accuracy/train`, `accuracy/val`,
    /// `images_per_second`, `learning_rate`.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn epoch(&mut self, row: &Row) -> Result<(), TensorBoardError> {
        let scalars = [
            ("loss/train", row.train_loss),
            ("loss/val", row.val_loss),
            ("accuracy/train", row.train_accuracy),
            ("accuracy/val", row.val_accuracy),
            ("images_per_second", row.images_per_second),
            ("learning_rate", row.learning_rate),
        ];
        self.write(row.epoch.into(), None, &scalars)
    }

    fn write(&mut self, step: u64, file_version: Option<String>, scalars: &[(&str, f64)]) -> Result<(), TensorBoardError> {
        let values = scalars.iter().map(|&(tag, value)| Value { tag: tag.into(), simple_value: Some(value as f32) });
        let summary = (!scalars.is_empty()).then(|| Summary { value: values.collect() });
        let event = Event { wall_time: wall_time(), step: step as i64, file_version, summary };
        // One write per record: whoever reads meanwhile finds whole records, but for a last one that is being written.
        self.file
            .write_all(&record(&event.encode_to_vec()))
            .map_err(|source| TensorBoardError { path: self.path.clone(), source })
    }
}

/// Seconds since 1970; 0 where the clock stands before that.
fn wall_time() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |time| time.as_secs_f64())
}

fn record(message: &[u8]) -> Vec<u8> {
    let length = (message.len() as u64).to_le_bytes();
    [&length[..], &checksum(&length), message, &checksum(message)].concat()
}

/// CRC-32C, masked as the format demands: data that hold their own checksum would else have a predictable one.
fn checksum(bytes: &[u8]) -> [u8; 4] {
    crc32c::crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8).to_le_bytes()
}

#[derive(Clone, PartialEq, Message)]
struct Event {
    /// Seconds since 1970.
    #[prost(double, tag = "1")]
    wall_time: f64,
    #[prost(int64, tag = "2")]
    step: i64,
    /// In a file's first event only.
    #[prost(string, optional, tag = "3")]
    file_version: Option<String>,
    #[prost(message, optional, tag = "5")]
    summary: Option<Summary>,
}

#[derive(Clone, PartialEq, Message)]
struct Summary {
    #[prost(message, repeated, tag = "1")]
    value: Vec<Value>,
}

#[derive(Clone, PartialEq, Message)]
struct Value {
    #[prost(string, tag = "1")]
    tag: String,
    #[prost(float, optional, tag = "2")]
    simple_value: Option<f32>,
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROW: Row = Row {
        epoch: 3,
        train_loss: 0.25,
        train_accuracy: 0.5,
        val_loss: 0.125,
        val_accuracy: 0.75,
        seconds: 4.0,
        images_per_second: 12_000.0,
        learning_rate: 0.01,
    };

    /// The events of a file, whose lengths and checksums are checked on the way.
    fn events(path: &Path) -> Vec<Event> {
        let bytes = fs::read(path).unwrap();
        let (mut rest, mut events) = (&bytes[..], Vec::new());
        while !rest.is_empty() {
            let (length, after) = rest.split_at(8);
            assert_eq!(after[..4], checksum(length), "the length's checksum");
            let (message, after) = after[4..].split_at(u64::from_le_bytes(length.try_into().unwrap()) as usize);
            assert_eq!(after[..4], checksum(message), "the message's checksum");
            events.push(Event::decode(message).unwrap());
            rest = &after[4..];
        }
        events
    }

    #[test]
    fn a_file_holds_what_was_written_in_whole_records() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = EventWriter::create(&folder.path().join("new/folder")).unwrap();
        writer.running(100, 2.25).unwrap();
        writer.epoch(&ROW).unwrap();
        let events = events(writer.path());
        assert_eq!(events[0].file_version.as_deref(), Some("brain.Event:2"));
        let scalars = |event: &Event| -> Vec<_> {
            let values = &event.summary.as_ref().unwrap().value;
            values.iter().map(|value| (value.tag.clone(), value.simple_value.unwrap())).collect()
        };
        assert_eq!((events[1].step, scalars(&events[1])), (100, vec![("loss/running".to_string(), 2.25)]));
        let expected = [
            ("loss/train", 0.25),
            ("loss/val", 0.125),
            ("accuracy/train", 0.5),
            ("accuracy/val", 0.75),
            ("images_per_second", 12_000.0),
            ("learning_rate", 0.01),
        ];
        assert_eq!((events[2].step, scalars(&events[2])), (3, expected.map(|(tag, x)| (tag.to_string(), x)).to_vec()));
        assert_eq!(events.len(), 3);
    }

    #[test]
    fn checksums_are_masked_as_the_format_has_them() {
        // RFC 3720, B.4: the CRC-32C of 32 zero bytes is 0x8a9136aa.
        assert_eq!(crc32c::crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(u32::from_le_bytes(checksum(&[0; 32])), 0x8a91_36aa_u32.rotate_right(15).wrapping_add(0xa282_ead8));
    }

    #[test]
    fn each_start_writes_a_file_of_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let first = EventWriter::create(folder.path()).unwrap();
        let second = EventWriter::create(folder.path()).unwrap();
        assert_ne!(first.path(), second.path());
        assert_eq!(events(first.path()).len(), 1);
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_an_error_that_names_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        let error = EventWriter::create(&file.join("sub")).err().unwrap().to_string();
        assert!(error.contains("file/sub") || error.contains("file\\sub"), "{error}");
    }
}
