//! Which program this is: its version, its revision, and wgpu's version.

use std::sync::OnceLock;

/// `0.1.0 (0480e5c, wgpu 30.0.1)`; a `+` after the revision stands for changes that were not committed. What is not
/// known, as the revision of sources without a history, is left out. For `--version` and the files that a run leaves.
pub fn version() -> &'static str {
    static VERSION: OnceLock<String> = OnceLock::new();
    VERSION.get_or_init(|| {
        let wgpu = option_env!("MNIST_WGPU_WGPU").map(|version| format!("wgpu {version}"));
        let known: Vec<_> = revision().into_iter().chain(wgpu).collect();
        match known.is_empty() {
            true => env!("CARGO_PKG_VERSION").into(),
            false => format!("{} ({})", env!("CARGO_PKG_VERSION"), known.join(", ")),
        }
    })
}

fn revision() -> Option<String> {
    let cloned = git_version::git_version!(args = ["--always", "--abbrev=7", "--dirty=+", "--exclude=*"], fallback = "");
    let packed = option_env!("MNIST_WGPU_REVISION").map(|revision| revision.chars().take(7).collect());
    packed.or(Some(cloned.to_string())).filter(|revision: &String| !revision.is_empty())
}
