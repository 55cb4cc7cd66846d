//! What libraries find in the environment.

/// To be called before there is a second thread.
///
/// Vulkan drivers ask libwayland for a display. Where XDG_RUNTIME_DIR is not set, as on a server or in a container,
/// that prints "error: XDG_RUNTIME_DIR is invalid or not set" on stderr, though all is well. In a folder that does not
/// exist it finds no display and says nothing.
pub fn prepare() {
    #[cfg(target_os = "linux")]
    {
        const NAME: &str = "XDG_RUNTIME_DIR";
        if !std::env::var_os(NAME).is_some_and(|folder| std::path::Path::new(&folder).is_absolute()) {
            // SAFETY: nobody else can read the environment meanwhile: this is the first thing that `main` does, and
            // there is no other thread. tests/cli/devices.rs looks at what is said with it and without.
            unsafe { std::env::set_var(NAME, "/nonexistent") };
        }
    }
}
