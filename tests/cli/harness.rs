//! Running the program as a user does, and looking at what it says and leaves behind.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use tempfile::{TempDir, tempdir};

/// A training run as short as can be: few images to train with, on the CPU.
pub const SHORT: [&str; 7] = ["train", "--device", "cpu", "--val-fraction", "0.95", "--batch-size", "100"];
pub const EPOCH: &str = "-------------\nEpoch #:\n\nTrain loss: #.###### | Train accuracy: #.######\nVal loss:   #.###### | Val accuracy:   #.######\n";
pub const TEST: &str = "Loss on test set:#.###### Accuracy on test set: #.######";
pub const NOT_MNIST: &str = "These are NOT the MNIST images";

/// The program in `folder`, apart from the user's data and settings. It finds no MNIST and cannot download it, because
/// what should be its home is a file.
pub fn program(folder: &Path) -> Command {
    let home = folder.join("no-home");
    fs::write(&home, "").unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_mnist-wgpu"));
    command.current_dir(folder).stdin(Stdio::null());
    command.env("HOME", &home).env("XDG_CACHE_HOME", home.join("cache"));
    #[cfg(unix)]
    command.env("TMPDIR", home.join("tmp")); // nothing needs temporary files
    for proxy in ["HTTPS_PROXY", "https_proxy", "ALL_PROXY"] {
        command.env(proxy, "http://127.0.0.1:9");
    }
    for variable in ["MNIST_DIR", "RUST_LOG", "NO_PROXY", "no_proxy", "XDG_RUNTIME_DIR"] {
        command.env_remove(variable);
    }
    command
}

/// Leaves Vulkan without a driver.
#[cfg(target_os = "linux")]
pub fn without_gpu(command: &mut Command) -> &mut Command {
    command.env("VK_DRIVER_FILES", "/nonexistent").env("VK_ICD_FILENAMES", "/nonexistent")
}

/// How a run ended.
pub struct Ended {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl From<Output> for Ended {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).expect("UTF-8 output");
        Self { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }
}

impl Ended {
    /// Checks the exit code, that nothing panicked, and that stderr holds every one of `parts`.
    #[track_caller]
    pub fn expect(self, code: i32, parts: &[&str]) -> Self {
        assert_eq!(self.code, Some(code), "{}", self.stderr);
        assert!(!self.stderr.contains("panicked"), "{}", self.stderr);
        for part in parts {
            assert!(self.stderr.contains(part), "{part:?} is not in {:?}", self.stderr);
        }
        self
    }
}

impl Ended {
    pub fn first_line(&self) -> &str {
        self.stdout.lines().next().unwrap_or_default()
    }

    pub fn last_line(&self) -> &str {
        self.stdout.lines().last().unwrap_or_default()
    }
}

pub fn run(command: &mut Command) -> Ended {
    command.output().expect("the program starts").into()
}

/// Runs the program with `arguments` in an empty folder.
pub fn run_alone<S: AsRef<std::ffi::OsStr>>(arguments: &[S]) -> Ended {
    run(program(tempdir().unwrap().path()).args(arguments))
}

/// `text` with every digit made `#`.
pub fn masked(text: &str) -> String {
    text.chars().map(|c| if c.is_ascii_digit() { '#' } else { c }).collect()
}

/// Names of what lies in `folder`, beside what [`program`] puts there.
pub fn files(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.filter(|name| name != "no-home").collect();
    names.sort();
    names
}

/// A folder in which there is a run already, `runs/old`, or what stands for one.
pub fn folder_with_run() -> (TempDir, PathBuf) {
    let folder = tempdir().unwrap();
    let run = folder.path().join("runs/old");
    fs::create_dir_all(&run).unwrap();
    fs::write(run.join("model.safetensors"), "a model of many hours").unwrap();
    (folder, run)
}

/// Checks that in such a folder nothing was changed or added.
#[track_caller]
pub fn untouched(folder: &TempDir) {
    let run = folder.path().join("runs/old");
    assert_eq!(fs::read_to_string(run.join("model.safetensors")).unwrap(), "a model of many hours");
    assert_eq!(files(&run), ["model.safetensors"], "something was left behind");
    assert_eq!(files(&folder.path().join("runs")), ["old"], "something was left behind");
    assert_eq!(files(folder.path()), ["runs"], "something was left behind");
}

/// A folder with the four files of a data set, once for all tests: quicker to read than 70,000 digits are drawn.
pub fn data_folder() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| drawn_folder("cli-data", 60_000, 10_000))
}

/// The same of so few images that a run of them is over at once.
pub fn small_data_folder() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| drawn_folder("cli-small-data", 300, 100))
}

/// A folder `name` with so many images to train with and to test; a thousand that differ.
fn drawn_folder(name: &str, train: u32, test: u32) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::create_dir_all(&folder).unwrap();
    let digits = mnist_wgpu::data::synthetic(1000, 1, 1).train;
    for (name, count) in [("train", train), ("t10k", test)] {
        let sizes = |sizes: &[u32]| sizes.iter().flat_map(|size| size.to_be_bytes()).collect::<Vec<u8>>();
        let pixels = digits.pixels.iter().copied().cycle().take(count as usize * 28 * 28);
        let images: Vec<u8> = sizes(&[0x803, count, 28, 28]).into_iter().chain(pixels).collect();
        let labels = digits.labels.iter().map(|&label| label as u8).cycle().take(count as usize);
        let labels: Vec<u8> = sizes(&[0x801, count]).into_iter().chain(labels).collect();
        fs::write(folder.join(format!("{name}-images-idx3-ubyte")), images).unwrap();
        fs::write(folder.join(format!("{name}-labels-idx1-ubyte")), labels).unwrap();
    }
    folder
}

/// A run of two epochs, once for all tests, and what the program said.
pub fn trained() -> &'static (PathBuf, Ended) {
    static TRAINED: OnceLock<(PathBuf, Ended)> = OnceLock::new();
    TRAINED.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("cli-trained");
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        let ended = run(program(&folder).args(SHORT).args(["--epochs", "2", "--out", "two epochs"])).expect(0, &[]);
        (folder.join("two epochs"), ended)
    })
}

/// Starts the program with nobody reading its stdout.
pub fn with_closed_stdout(command: &mut Command) -> Ended {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    child.wait_with_output().unwrap().into()
}

/// `command`, started by the shell's `script`, which ends with `exec "$0" "$@"`.
#[cfg(unix)]
pub fn in_shell(script: &str, command: &Command) -> Command {
    let mut shell = Command::new("sh");
    shell.args(["-c", script]).arg(command.get_program()).args(command.get_args()).stdin(Stdio::null());
    shell.current_dir(command.get_current_dir().expect("a folder of its own"));
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    shell
}

/// A run with pipes, ended when the test is.
#[cfg(unix)]
pub struct Running {
    pub child: Child,
    stderr: BufReader<std::process::ChildStderr>,
    told: String,
}

#[cfg(unix)]
impl Running {
    pub fn start(folder: &Path, arguments: &[&str]) -> Self {
        Self::spawn(program(folder).args(arguments))
    }

    pub fn spawn(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        Self { child, stderr, told: String::new() }
    }

    /// Reads stderr up to a line with `part`.
    pub fn wait_for(&mut self, part: &str) {
        let mut line = String::new();
        while !line.contains(part) {
            line.clear();
            assert!(self.stderr.read_line(&mut line).unwrap() > 0, "ended before {part:?}: {}", self.told);
            self.told += &line;
        }
    }

    /// What Ctrl-C sends.
    pub fn interrupt(&self) {
        signal("INT", self.child.id());
    }

    pub fn end(mut self) -> Ended {
        let mut stdout = String::new();
        if let Some(mut pipe) = self.child.stdout.take() {
            pipe.read_to_string(&mut stdout).unwrap();
        }
        self.stderr.read_to_string(&mut self.told).unwrap();
        Ended { code: self.child.wait().unwrap().code(), stdout, stderr: std::mem::take(&mut self.told) }
    }
}

/// Sends the signal `name` to a process.
#[cfg(unix)]
pub fn signal(name: &str, process: u32) {
    let sent = Command::new("kill").args([format!("-{name}"), process.to_string()]).status().unwrap();
    assert!(sent.success());
}

/// Waits until `found` finds something.
#[cfg(unix)]
#[track_caller]
pub fn wait_until<T>(mut found: impl FnMut() -> Option<T>) -> T {
    for _ in 0..60_000 {
        if let Some(found) = found() {
            return found;
        }
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    panic!("it did not come within a minute");
}

#[cfg(unix)]
impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
