//! Tells the program with which wgpu it is built and, in a crate from a registry, of which revision it is.
//!
//! Runs anew when the lock file changes, not with each commit: a clone's revision is found by `cli::version`, so that a
//! commit builds neither the library nor its dependencies again.

use std::fs;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    tell("Cargo.lock", "name = \"wgpu\"\nversion = \"", "MNIST_WGPU_WGPU");
    tell(".cargo_vcs_info.json", "\"sha1\": \"", "MNIST_WGPU_REVISION");
}

/// Hands what follows `key` in `file`, up to the next quote, to the program as the variable `name`; nothing where it is
/// not there.
fn tell(file: &str, key: &str, name: &str) {
    let Ok(text) = fs::read_to_string(file) else { return };
    println!("cargo::rerun-if-changed={file}"); // only of a file that exists: another would run this for ever
    let text = text.replace("\r\n", "\n");
    if let Some(value) = text.split_once(key).and_then(|(_, rest)| rest.split('"').next()) {
        println!("cargo::rustc-env={name}={value}");
    }
}
