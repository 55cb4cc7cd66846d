//! The real files of MNIST, for the tests that need them.

use std::path::PathBuf;

/// The folder that holds them. Who asks for it is marked `#[ignore = "needs MNIST_DIR"]`: `scripts/test` runs such
/// tests where the variable is set, and says that it leaves them out where it is not.
pub fn folder() -> PathBuf {
    let folder = std::env::var_os("MNIST_DIR").filter(|folder| !folder.is_empty());
    folder.expect("MNIST_DIR names a folder with MNIST's four files").into()
}
