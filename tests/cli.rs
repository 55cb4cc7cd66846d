//! The command line's promises, kept by the program itself: what it prints and where, its exit codes, and that whatever goes
//! wrong is named and costs nobody a model.

use mnist_wgpu::checkpoint;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use tempfile::{TempDir, tempdir};

/// A training run as short as can be: few images to train with, on the CPU.
const SHORT: [&str; 7] = ["train", "--device", "cpu", "--val-fraction", "0.95", "--batch-size", "100"];
const EPOCH: &str = "-------------\nEpoch #:\n\nTrain loss: #.###### | Train accuracy: #.######\nVal loss:   #.###### | Val accuracy:   #.######\n";
const TEST: &str = "Loss on test set:#.###### Accuracy on test set: #.######\n";
const NOT_MNIST: &str = "These are NOT the MNIST images";

/// The program in `folder`, apart from the user's data and settings. It finds no MNIST and cannot download it, because what
/// should be its home is a file.
fn program(folder: &Path) -> Command {
    let home = folder.join("no-home");
    fs::write(&home, "").unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_mnist-wgpu"));
    command.current_dir(folder).stdin(Stdio::null());
    command.env("HOME", &home).env("XDG_CACHE_HOME", home.join("cache"));
    for proxy in ["HTTPS_PROXY", "https_proxy", "ALL_PROXY"] {
        command.env(proxy, "http://127.0.0.1:9");
    }
    for variable in ["MNIST_DIR", "RUST_LOG", "NO_PROXY", "no_proxy"] {
        command.env_remove(variable);
    }
    command
}

/// Leaves Vulkan without a driver.
#[cfg(target_os = "linux")]
fn without_gpu(command: &mut Command) -> &mut Command {
    command.env("VK_DRIVER_FILES", "/nonexistent").env("VK_ICD_FILENAMES", "/nonexistent")
}

/// How a run ended.
struct Ended {
    code: Option<i32>,
    stdout: String,
    stderr: String,
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
    fn expect(self, code: i32, parts: &[&str]) -> Self {
        assert_eq!(self.code, Some(code), "{}", self.stderr);
        assert!(!self.stderr.contains("panicked"), "{}", self.stderr);
        for part in parts {
            assert!(self.stderr.contains(part), "{part:?} is not in {:?}", self.stderr);
        }
        self
    }
}

fn run(command: &mut Command) -> Ended {
    command.output().expect("the program starts").into()
}

/// Runs the program with `arguments` in an empty folder.
fn run_alone<S: AsRef<std::ffi::OsStr>>(arguments: &[S]) -> Ended {
    run(program(tempdir().unwrap().path()).args(arguments))
}

/// `text` with every digit made `#`.
fn masked(text: &str) -> String {
    text.chars().map(|c| if c.is_ascii_digit() { '#' } else { c }).collect()
}

/// Names of what lies in `folder`, beside what [`program`] puts there.
fn files(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.filter(|name| name != "no-home").collect();
    names.sort();
    names
}

/// A folder in which there is a model already, or what stands for one.
fn folder_with_model() -> (TempDir, PathBuf) {
    let folder = tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    fs::write(&path, "a model of many hours").unwrap();
    (folder, path)
}

#[track_caller]
fn untouched(folder: &TempDir) {
    assert_eq!(fs::read_to_string(folder.path().join("model.safetensors")).unwrap(), "a model of many hours");
    assert_eq!(files(folder.path()), ["model.safetensors"], "something was left behind");
}

/// A network trained for two epochs, once for all tests, and what the program said.
fn trained() -> &'static (PathBuf, Ended) {
    static TRAINED: OnceLock<(PathBuf, Ended)> = OnceLock::new();
    TRAINED.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("cli-trained");
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        let ended =
            run(program(&folder).args(SHORT).args(["--epochs", "2", "--out", "two epochs.safetensors"])).expect(0, &[]);
        (folder.join("two epochs.safetensors"), ended)
    })
}

#[test]
fn help_of_each_subcommand_names_every_option_and_its_default() {
    let cases: [(&str, &[(&str, &str)]); 6] = [
        (
            "train",
            &[
                ("--device", "[default: auto]"),
                ("--variant", "[default: the one that suits the device]"),
                ("--data-dir", "[default: $MNIST_DIR, the user's cache folder, a download]"),
                ("--epochs", "[default: 10]"),
                ("--batch-size", "[default: 32]"),
                ("--lr", "[default: 0.01]"),
                ("--momentum", "[default: 0.9]"),
                ("--no-nesterov", ""),
                ("--dropout", "[default: 0.5]"),
                ("--seed", "[default: 0]"),
                ("--val-fraction", "[default: 0.1]"),
                ("--out", "[default: model.safetensors]"),
                ("--help", ""),
            ],
        ),
        (
            "eval",
            &[
                ("--device", "[default: auto]"),
                ("--variant", "[default: the one that suits the device]"),
                ("--data-dir", "[default: $MNIST_DIR, the user's cache folder, a download]"),
                ("--help", ""),
            ],
        ),
        ("devices", &[("--json", ""), ("--help", "")]),
        (
            "bench",
            &[
                ("--device", "[default: auto]"),
                ("--variant", "[default: the one that suits the device]"),
                ("--batch-size", "[default: 32]"),
                ("--seconds", "[default: 5]"),
                ("--kernels", ""),
                ("--trace", ""),
                ("--json", ""),
                ("--help", ""),
            ],
        ),
        ("completions", &[("--help", "")]),
        ("man", &[("--help", "")]),
    ];
    let help = run_alone(&["--help"]).expect(0, &[]).stdout;
    let (_, commands) = help.split_once("Commands:\n").unwrap();
    let commands = commands.lines().map_while(|line| line.split_whitespace().next()).filter(|name| *name != "help");
    assert_eq!(commands.collect::<Vec<_>>(), cases.map(|(name, _)| name), "subcommands");
    for (subcommand, options) in cases {
        let help = run_alone(&[subcommand, "--help"]).expect(0, &[]).stdout;
        // Each option begins a line; the lines that follow belong to it.
        let mut found: Vec<(String, String)> = Vec::new();
        for line in help.lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            match words.iter().position(|word| word.starts_with("--")) {
                Some(at) if line.trim_start().starts_with('-') => found.push((words[at].into(), words.join(" "))),
                _ => {
                    if let Some((_, text)) = found.last_mut() {
                        *text += " ";
                        *text += &words.join(" ");
                    }
                }
            }
        }
        let names: Vec<_> = found.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, options.iter().map(|(name, _)| *name).collect::<Vec<_>>(), "of {subcommand}");
        for ((name, default), (_, text)) in options.iter().zip(&found) {
            assert!(text.contains(default), "{subcommand} {name}: {text}");
            assert!(default.is_empty() != text.contains("[default"), "{subcommand} {name}: {text}");
            assert!(text.split_whitespace().count() > 2, "{subcommand} {name} is not explained: {text}");
        }
    }
}

#[test]
fn the_help_names_every_subcommand_and_exit_code() {
    let help = run_alone(&["--help"]).expect(0, &[]).stdout;
    for part in ["train", "eval", "devices", "0 done", "1 failed", "2 bad usage", "130 interrupted"] {
        assert!(help.contains(part), "{part:?} is not in {help}");
    }
    let nothing: [&str; 0] = [];
    run_alone(&nothing).expect(2, &["Usage: mnist-wgpu <COMMAND>", "train"]);
}

#[test]
fn a_typo_gets_the_right_word() {
    run_alone(&["trian"]).expect(2, &["'trian'", "'train'"]);
    run_alone(&["train", "--epoch", "3"]).expect(2, &["'--epoch'", "'--epochs'"]);
    run_alone(&["train", "--batchsize", "3"]).expect(2, &["'--batchsize'", "'--batch-size'"]);
    run_alone(&["eval", "--devcie", "cpu", "model"]).expect(2, &["'--devcie'", "'--device'"]);
}

#[test]
fn arguments_that_cannot_be_right_are_named() {
    run_alone(&["train", "extra"]).expect(2, &["'extra'"]);
    run_alone(&["train", "--seed"]).expect(2, &["'--seed <SEED>'"]);
    run_alone(&["train", "--lr", "0.1", "--lr", "0.2"]).expect(2, &["'--lr <RATE>'"]);
    run_alone(&["eval"]).expect(2, &["<CHECKPOINT>"]);
    run_alone(&["train", "--out", ""]).expect(2, &["'--out <FILE>'"]);
    run_alone(&["train", "--device", ""]).expect(2, &["--device", "auto, cpu, gpu"]);
}

#[test]
fn a_value_out_of_range_is_named_with_what_was_expected() {
    let cases: &[(&str, &[&str], &str)] = &[
        ("--lr", &["0", "-1", "-0.0", "1e-60", "1e60", "inf", "nan", "abc", ""], "a number above 0"),
        ("--momentum", &["1", "-0.1", "0.99999999999", "nan", "abc"], "a number from 0 to below 1"),
        ("--dropout", &["1", "1.5", "-0.5", "nan", "abc"], "a number from 0 to below 1"),
        ("--val-fraction", &["0", "1", "-0.1", "10", "nan", "abc"], "a number between 0 and 1"),
        ("--epochs", &["0", "-1", "1.5", "100001", "abc", ""], "a whole number from 1 to 100000"),
        ("--batch-size", &["0", "-32", "4097", "99999999999999999999", "abc"], "a whole number from 1 to 4096"),
        ("--seed", &["-1", "0.5", "18446744073709551616", "abc"], "a whole number from 0 to 18446744073709551615"),
    ];
    run_alone(&["bench", "--seconds", "-1"]).expect(2, &["'--seconds <SECONDS>'", "a whole number from 1 to 3600"]);
    run_alone(&["bench", "--batch-size", "32,0"]).expect(2, &["'--batch-size <N>'", "a whole number from 1 to 4096"]);
    for (flag, values, expected) in cases {
        for value in *values {
            let parts = [&format!("'{flag} <"), *expected];
            let ended = run_alone(&["train", flag, value]).expect(2, &parts);
            assert!(value.is_empty() || ended.stderr.contains(&format!("'{value}'")), "{}", ended.stderr);
        }
    }
}

#[test]
fn a_share_that_leaves_no_batch_or_no_validation_is_bad_usage() {
    let (folder, _) = folder_with_model();
    let train = |share| run(program(folder.path()).args(["train", "--device", "cpu", "--val-fraction", share]));
    train("0.9999").expect(2, &["6 training images", "one batch of 32", "--batch-size", "--val-fraction"]);
    train("0.000001").expect(2, &["validation", "--val-fraction"]);
    untouched(&folder);
}

#[test]
fn a_checkpoint_that_cannot_be_used_is_named() {
    let folder = tempdir().unwrap();
    let eval = |name: &str| run(program(folder.path()).args(["eval", name, "--device", "cpu"]));
    eval("missing.safetensors").expect(1, &["missing.safetensors"]);

    fs::write(folder.path().join("noise.safetensors"), "This is no network. ".repeat(100)).unwrap();
    eval("noise.safetensors").expect(1, &["noise.safetensors", "not a safetensors file"]);

    let whole = fs::read(&trained().0).unwrap();
    fs::write(folder.path().join("half.safetensors"), &whole[..whole.len() / 2]).unwrap();
    let ended = eval("half.safetensors").expect(1, &["half.safetensors", "not a safetensors file"]);
    assert_eq!(ended.stdout, "");

    eval(".").expect(1, &["cannot read the checkpoint ."]);
}

#[test]
fn an_unknown_device_gets_the_list_of_those_there_are() {
    let devices = run_alone(&["devices"]).expect(0, &[]).stdout;
    // A device's line begins with its number.
    let names =
        devices.lines().filter_map(|line| line.trim_start().split_once("  ").filter(|(n, _)| n.parse::<u32>().is_ok()));
    let names: Vec<&str> = names.map(|(_, name)| name).collect();
    for asked in ["99", "no such device"] {
        let (folder, _) = folder_with_model();
        let ended = run(program(folder.path()).args(["train", "--device", asked])).expect(1, &[asked, "\n  cpu"]);
        for name in &names {
            assert!(ended.stderr.contains(name), "{name:?} is not in {}", ended.stderr);
        }
        assert!(!ended.stderr.contains("Data:"), "data was loaded for nothing: {}", ended.stderr);
        untouched(&folder);
    }
}

#[test]
fn devices_marks_what_auto_takes() {
    let devices = run_alone(&["devices"]).expect(0, &[]).stdout;
    // Each adapter has five lines, the second of them its kind; then come the CPU, an empty line, and what auto takes and why.
    let lines: Vec<&str> = devices.lines().collect();
    let (adapters, [cpu, "", auto]) = lines.split_at(lines.len() - 3) else { panic!("{devices}") };
    assert!(cpu.starts_with("cpu  ") && adapters.len() % 5 == 0, "{devices}");
    let taken = adapters.chunks(5).position(|adapter| !adapter[1].contains("software rasteriser"));
    for (index, adapter) in adapters.chunks(5).enumerate() {
        assert_eq!(adapter[1].ends_with("  <- auto"), taken == Some(index), "{devices}");
    }
    assert_eq!(cpu.ends_with("  <- auto"), taken.is_none(), "{devices}");
    let name = taken.map_or("cpu".into(), |index| index.to_string());
    assert!(auto.starts_with(&format!("--device auto takes {name}: ")), "{devices}");
}

#[cfg(target_os = "linux")]
#[test]
fn without_any_gpu_devices_says_what_to_install() {
    let folder = tempdir().unwrap();
    let ended = run(without_gpu(&mut program(folder.path())).arg("devices")).expect(0, &["Vulkan", "install"]);
    let (cpu, auto) = ended.stdout.split_once("\n\n").unwrap();
    assert!(cpu.starts_with("cpu ") && cpu.lines().count() == 1 && cpu.ends_with("<- auto"), "{cpu}");
    assert_eq!(auto, "--device auto takes cpu: no GPU found.\n");
}

#[cfg(target_os = "linux")]
#[test]
fn without_any_gpu_asking_for_one_fails_and_auto_takes_the_cpu() {
    let (folder, _) = folder_with_model();
    let ended = run(without_gpu(&mut program(folder.path())).args(["train", "--device", "gpu"]));
    ended.expect(1, &["no GPU", "install", "--device cpu"]);
    let ended = run(without_gpu(&mut program(folder.path())).args(["train", "--device", "0"]));
    ended.expect(1, &["no device number 0", "\n  cpu"]);
    untouched(&folder);
    let ended = run(without_gpu(&mut program(folder.path())).arg("eval").arg(&trained().0).args(["--device", "auto"]));
    let ended = ended.expect(0, &["Device: the CPU", "no GPU found"]);
    assert_eq!(masked(&ended.stdout), TEST);
}

#[test]
fn a_data_folder_that_cannot_be_used_is_named_and_the_old_model_stays() {
    let data = tempdir().unwrap();
    let at = |name: &str| data.path().join(name);
    fs::create_dir(at("empty")).unwrap();
    fs::write(at("file"), "text").unwrap();
    fs::create_dir(at("bad")).unwrap();
    for name in ["train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"] {
        fs::write(at("bad").join(name), "not IDX at all").unwrap();
    }
    let bad = at("bad").join("train-labels-idx1-ubyte").display().to_string();
    let named = |name: &str| at(name).display().to_string();
    let cases = [
        ("missing", named("missing")),
        ("empty", "t10k-labels-idx1-ubyte".into()),
        ("empty", named("empty")),
        ("file", named("file")),
        ("bad", bad),
    ];
    let (folder, model) = folder_with_model();
    for (name, part) in &cases {
        let path = at(name);
        let mut train = program(folder.path());
        train.args(["train", "--device", "cpu", "--out"]).arg(&model);
        run(train.arg("--data-dir").arg(&path)).expect(1, &[part]);

        let mut eval = program(folder.path());
        eval.arg("eval").arg(&trained().0).args(["--device", "cpu"]);
        let ended = run(eval.env("MNIST_DIR", &path)).expect(1, &[part]);
        assert_eq!(ended.stdout, "");
        if *name != "bad" {
            assert!(ended.stderr.contains("MNIST_DIR"), "{}", ended.stderr);
        }
    }
    untouched(&folder);
}

#[test]
fn a_place_that_cannot_be_written_is_refused_before_anything_else() {
    let (folder, _) = folder_with_model();
    for out in [".", "missing/", "model.safetensors/below.safetensors"] {
        let ended =
            run(program(folder.path()).args(SHORT).args(["--out", out])).expect(1, &["cannot write the checkpoint", out]);
        assert!(!ended.stderr.contains("Device:") && ended.stdout.is_empty(), "{}", ended.stderr);
    }
    untouched(&folder);
}

#[test]
fn training_prints_the_notebooks_lines_to_stdout_and_nothing_else() {
    let (_, ended) = trained();
    assert_eq!(masked(&ended.stdout), [EPOCH, EPOCH, TEST].concat());
    let epochs: Vec<_> = ended.stdout.lines().filter(|line| line.starts_with("Epoch")).collect();
    assert_eq!(epochs, ["Epoch 1:", "Epoch 2:"]);
}

#[test]
fn figures_are_those_of_a_network_that_learns() {
    let (_, ended) = trained();
    let all: Vec<f64> =
        ended.stdout.split([' ', '\n', ':']).filter(|w| w.contains('.')).map(|w| w.parse().unwrap()).collect();
    let [first_loss, _, first_val_loss, _, loss, accuracy, val_loss, val_accuracy, test_loss, test_accuracy] = all[..]
    else {
        panic!("{all:?}")
    };
    assert!(loss < first_loss && val_loss < first_val_loss, "{all:?}");
    assert!(first_loss < 2.4, "before it learns, ten classes cost ln 10 = 2.3: {all:?}");
    assert!([accuracy, val_accuracy, test_accuracy].iter().all(|x| (0.11..=1.0).contains(x)), "{all:?}");
    assert!((val_loss - test_loss).abs() < 0.1, "{all:?}");
}

#[test]
fn synthetic_digits_are_announced_before_and_after() {
    let (path, ended) = trained();
    let stderr = &ended.stderr;
    let saved = stderr.find("Saved as two epochs.safetensors").expect(stderr);
    let (before, after) = stderr.split_at(saved);
    for part in ["SYNTHETIC", NOT_MNIST] {
        assert!(before.contains(part) && after.contains(part), "{part:?} is not said twice: {stderr}");
    }
    assert!(before.contains("--data-dir") && before.contains("MNIST_DIR"), "{before}");
    assert_eq!(checkpoint::load(path).unwrap().info.unwrap().dataset, "synthetic");
}

#[test]
fn the_saved_network_knows_how_it_was_trained() {
    let (path, _) = trained();
    let info = checkpoint::load(path).unwrap().info.unwrap();
    assert_eq!((info.epoch, info.seed, info.val_fraction, info.input), (2, 0, 0.95, [1, 28, 28]));
    assert_eq!(info.version, env!("CARGO_PKG_VERSION"));
    assert_eq!(files(path.parent().unwrap()), ["two epochs.safetensors"]);
}

#[test]
fn eval_gives_the_test_line_that_train_printed() {
    let (path, ended) = trained();
    let eval = run(program(tempdir().unwrap().path()).arg("eval").arg(path).args(["--device", "cpu"]));
    let eval = eval.expect(0, &["Network: ", "two epochs.safetensors", "2 epochs on synthetic", NOT_MNIST]);
    assert_eq!(eval.stdout, ended.stdout.lines().last().unwrap().to_owned() + "\n");
}

#[test]
fn eval_on_a_gpu_agrees_with_the_cpu() {
    let (path, ended) = trained();
    let eval = run(program(tempdir().unwrap().path()).arg("eval").arg(path).args(["--device", "gpu"]));
    let eval = eval.expect(0, &["Device: "]);
    assert!(!eval.stderr.contains("the CPU,"), "{}", eval.stderr);
    assert_eq!(masked(&eval.stdout), TEST);
    let figures = |line: &str| -> Vec<f64> { line.split([' ', ':']).filter_map(|word| word.parse().ok()).collect() };
    let (gpu, cpu) = (figures(eval.stdout.trim_end()), figures(ended.stdout.lines().last().unwrap()));
    assert!(gpu.len() == 2 && cpu.len() == 2, "{gpu:?} {cpu:?}");
    // Rounding differs, in the last digits of the loss; an image between two classes may be judged either way.
    assert!((gpu[0] - cpu[0]).abs() <= 1e-5 && (gpu[1] - cpu[1]).abs() <= 3e-4, "{gpu:?} {cpu:?}");
}

#[test]
fn the_same_seed_trains_the_same_network_and_another_seed_another() {
    let folder = tempdir().unwrap();
    let train = |seed, out: &str| {
        let arguments =
            ["train", "--device", "cpu", "--epochs", "1", "--val-fraction", "0.99", "--seed", seed, "--out", out];
        let ended = run(program(folder.path()).args(arguments)).expect(0, &[]);
        (checkpoint::load(&folder.path().join(out)).unwrap().parameters, ended.stdout)
    };
    let (one, again, other) = (train("5", "one"), train("5", "again"), train("6", "other"));
    assert!(one == again, "{} {}", one.1, again.1);
    assert!(one.0 != other.0 && one.1 != other.1);
}

/// Starts the program with nobody reading its stdout.
fn with_closed_stdout(command: &mut Command) -> Ended {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    child.wait_with_output().unwrap().into()
}

#[test]
fn a_closed_stdout_is_an_error_and_the_model_saved_is_whole() {
    let (folder, path) = folder_with_model();
    let ended = with_closed_stdout(program(folder.path()).args(SHORT).args(["--epochs", "3"]));
    ended.expect(1, &["error: cannot write to stdout", "model.safetensors holds the network after epoch 1"]);
    assert_eq!(checkpoint::load(&path).unwrap().info.unwrap().epoch, 1);
    assert_eq!(files(folder.path()), ["model.safetensors"]);

    with_closed_stdout(program(folder.path()).args(["eval", "model.safetensors", "--device", "cpu"]))
        .expect(1, &["error: cannot write to stdout"]);
    with_closed_stdout(program(folder.path()).arg("devices")).expect(1, &["error: cannot write to stdout"]);
    let help = with_closed_stdout(program(folder.path()).args(["train", "--help"]));
    assert!(!help.stderr.contains("panicked"), "{}", help.stderr);
}

#[test]
fn a_closed_stderr_costs_the_messages_and_nothing_else() {
    let folder = tempdir().unwrap();
    let mut eval = program(folder.path());
    let mut child = eval.arg("eval").arg(&trained().0).args(["--device", "cpu"]);
    let mut spawned = child.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(spawned.stderr.take());
    let ended: Ended = spawned.wait_with_output().unwrap().into();
    assert_eq!((ended.code, masked(&ended.stdout).as_str()), (Some(0), TEST));

    child = eval.arg("--data-dir").arg("missing");
    spawned = child.stderr(Stdio::piped()).spawn().unwrap();
    drop(spawned.stderr.take());
    assert_eq!(spawned.wait().unwrap().code(), Some(1));
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_under_stdout_is_an_error() {
    let full = || File::options().write(true).open("/dev/full").unwrap();
    let folder = tempdir().unwrap();
    let run_full = |command: &mut Command| Ended::from(command.stdout(full()).stderr(Stdio::piped()).output().unwrap());
    let told = ["error: cannot write to stdout", "No space left"];
    run_full(program(folder.path()).arg("devices")).expect(1, &told);
    run_full(program(folder.path()).arg("eval").arg(&trained().0).args(["--device", "cpu"])).expect(1, &told);
}

#[cfg(unix)]
#[test]
fn a_save_that_fails_is_told_and_leaves_the_old_model() {
    let (folder, _) = folder_with_model();
    // No file may grow beyond a part of the network's 900 kB.
    let limited = program(folder.path());
    let mut shell = Command::new("sh");
    shell.args(["-c", "trap '' XFSZ; ulimit -f 200; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_mnist-wgpu")]);
    shell.args(SHORT).args(["--epochs", "2"]).current_dir(folder.path());
    for (name, value) in limited.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    let ended = run(&mut shell).expect(1, &["cannot write the checkpoint model.safetensors", "nothing was saved"]);
    // The figures of the epoch are told, and training ends with it.
    assert_eq!(ended.stdout.matches("Epoch ").count(), 1, "{}", ended.stdout);
    untouched(&folder);
}

/// A run with pipes, ended when the test is.
#[cfg(unix)]
struct Running {
    child: Child,
    stderr: BufReader<std::process::ChildStderr>,
    told: String,
}

#[cfg(unix)]
impl Running {
    fn start(folder: &Path, arguments: &[&str]) -> Self {
        let mut command = program(folder);
        let mut child = command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        Self { child, stderr, told: String::new() }
    }

    /// Reads stderr up to a line with `part`.
    fn wait_for(&mut self, part: &str) {
        let mut line = String::new();
        while !line.contains(part) {
            line.clear();
            assert!(self.stderr.read_line(&mut line).unwrap() > 0, "ended before {part:?}: {}", self.told);
            self.told += &line;
        }
    }

    /// What Ctrl-C sends.
    fn interrupt(&self) {
        let sent = Command::new("kill").args(["-INT", &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    fn end(mut self) -> Ended {
        let mut stdout = String::new();
        if let Some(mut pipe) = self.child.stdout.take() {
            pipe.read_to_string(&mut stdout).unwrap();
        }
        self.stderr.read_to_string(&mut self.told).unwrap();
        Ended { code: self.child.wait().unwrap().code(), stdout, stderr: std::mem::take(&mut self.told) }
    }
}

#[cfg(unix)]
impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(unix)]
#[test]
fn ctrl_c_during_training_ends_it_and_says_what_is_saved() {
    let folder = tempdir().unwrap();
    let mut running = Running::start(folder.path(), &[&SHORT[..], &["--epochs", "1000"]].concat());
    let mut stdout = BufReader::new(running.child.stdout.take().unwrap());
    let mut line = String::new();
    while !line.starts_with("Val loss") {
        line.clear();
        assert!(stdout.read_line(&mut line).unwrap() > 0, "training ended by itself");
    }
    running.interrupt();
    let mut rest = String::new();
    stdout.read_to_string(&mut rest).unwrap();
    let ended = running.end().expect(130, &["Stopping", "interrupted in epoch"]);
    // Another epoch may just have ended.
    let epoch = checkpoint::load(&folder.path().join("model.safetensors")).unwrap().info.unwrap().epoch;
    let kept = format!("model.safetensors holds the network after epoch {epoch}\n");
    assert!(ended.stderr.ends_with(&kept), "{}", ended.stderr);
    assert!(!rest.contains("Loss on test set"), "{rest}");
    assert_eq!(files(folder.path()), ["model.safetensors"]);
}

#[cfg(unix)]
#[test]
fn ctrl_c_before_the_first_epoch_ends_says_that_nothing_is_saved() {
    let (folder, _) = folder_with_model();
    let mut running = Running::start(folder.path(), &["train", "--device", "cpu", "--val-fraction", "0.01"]);
    running.wait_for(NOT_MNIST);
    running.interrupt();
    let ended = running.end().expect(130, &["interrupted in epoch 1; nothing was saved"]);
    assert_eq!(ended.stdout, "");
    untouched(&folder);
}

#[cfg(unix)]
#[test]
fn a_second_ctrl_c_ends_the_program_at_once() {
    let (folder, _) = folder_with_model();
    let mut running = Running::start(folder.path(), &["train", "--device", "cpu"]);
    running.wait_for("Device:"); // The digits are being drawn now, which takes a while.
    running.interrupt();
    running.wait_for("Ctrl-C again");
    running.interrupt();
    let ended = running.end().expect(130, &[]);
    assert!(!ended.stderr.contains("interrupted in epoch"), "it went on to the end: {}", ended.stderr);
    untouched(&folder);
}
