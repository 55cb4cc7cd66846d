//! Files that stand in the place of others, as downloads and clones leave them: what they are, by their first bytes.

use std::fmt;

/// A file that is not what was expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Foreign {
    /// What it is: "a ZIP archive".
    pub what: &'static str,
    /// What to do about it, in the imperative.
    pub advice: &'static str,
}

impl fmt::Display for Foreign {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}; {}", self.what, self.advice)
    }
}

/// So many first bytes are enough to know a file.
pub const ENOUGH: usize = 512;

/// What the file is that begins with `bytes`, if it is known.
pub fn known(bytes: &[u8]) -> Option<Foreign> {
    let bytes = &bytes[..bytes.len().min(ENOUGH)];
    let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes).trim_ascii_start().to_ascii_lowercase();
    let begins = |start: &[u8]| bytes.starts_with(start);
    let (what, advice) = match bytes {
        _ if text.starts_with(b"version https://git-lfs") => {
            ("a Git LFS pointer, not the file itself", "run `git lfs pull` where it was cloned")
        }
        _ if [&b"<!doctype html"[..], b"<html", b"<head", b"<?xml"].iter().any(|start| text.starts_with(start)) => {
            ("a web page, not the file itself", "download the file that the page shows or offers")
        }
        _ if begins(b"PK\x03\x04") => {
            ("a ZIP archive", "if torch.save wrote it, save the state_dict with safetensors.torch.save_file; else unpack it")
        }
        [0x80, 2..=5, ..] => {
            ("a Python pickle", "if torch.save wrote it, save the state_dict with safetensors.torch.save_file")
        }
        [8, 1..=32, 0x12 | 0x1a | 0x22 | 0x28 | 0x32 | 0x3a | 0x42, ..] => {
            ("an ONNX model", "save the network that it was made from with safetensors.torch.save_file")
        }
        _ if begins(b"\x89HDF\r\n\x1a\n") => {
            ("an HDF5 file, as Keras writes them", "save the weights as safetensors, named as PyTorch does")
        }
        _ if begins(b"\x93NUMPY") => ("a NumPy array", "save it in the format that is expected"),
        _ if begins(b"GGUF") => ("a GGUF model", "name another file"),
        _ if begins(b"\x89PNG") || begins(b"\xff\xd8\xff") || begins(b"GIF8") => ("a picture", "name another file"),
        [0x1f, 0x8b, ..] => ("a gzip file", "unpack it with gunzip"),
        _ => return None,
    };
    Some(Foreign { what, advice })
}

#[cfg(test)]
mod tests {
    use super::known;

    #[test]
    fn files_are_known_by_their_first_bytes_and_strangers_are_not() {
        for (bytes, what) in [
            (&b"version https://git-lfs.github.com/spec/v1\noid sha256:12\nsize 9\n"[..], "Git LFS"),
            (b"\xef\xbb\xbf\n<!DOCTYPE html><p>", "web page"),
            (b"PK\x03\x04\0\0", "ZIP"),
            (b"\x80\x02\x8a", "pickle"),
            (b"\x08\x08\x12\x07pytorch", "ONNX"),
            (b"\x89PNG\r\n", "picture"),
        ] {
            assert!(known(bytes).is_some_and(|foreign| foreign.what.contains(what)), "{what}");
        }
        for bytes in [&b""[..], b"version 1", &[0, 0, 8, 3], &[8, 0, 0, 0, 0, 0, 0, 0], b"\x80\x09"] {
            assert_eq!(known(bytes), None, "{bytes:?}");
        }
    }
}
