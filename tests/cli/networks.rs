//! Networks as other programs save them, and files that are none: the first give the very same figures, the others are
//! named with what to do, by every subcommand, and nothing takes their place.

use crate::harness::*;
use mnist_wgpu::run::{load_network, save_network};
use safetensors::tensor::{Dtype, TensorView, serialize};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use tempfile::tempdir;

const BUILT_IN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/assets/mnist-cnn.safetensors");

/// A tensor: name, shape, numbers.
pub type Tensor = (String, Vec<usize>, Vec<f32>);

/// The tensors of the built-in network.
pub fn tensors() -> Vec<Tensor> {
    let bytes = fs::read(BUILT_IN).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let numbers = |bytes: &[u8]| bytes.as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect();
    file.iter().map(|(name, view)| (name.to_string(), view.shape().to_vec(), numbers(view.data()))).collect()
}

/// Writes them with `prefix` before their names and as `dtype`.
pub fn write(path: &Path, tensors: &[Tensor], prefix: &str, dtype: Dtype, metadata: &[(&str, &str)]) {
    let bytes = |x: &f32| match dtype {
        Dtype::F16 => half::f16::from_f32(*x).to_le_bytes().to_vec(),
        Dtype::BF16 => half::bf16::from_f32(*x).to_le_bytes().to_vec(),
        Dtype::F64 => f64::from(*x).to_le_bytes().to_vec(),
        _ => x.to_le_bytes().to_vec(),
    };
    let data = |(name, shape, numbers): &Tensor| {
        (format!("{prefix}{name}"), shape.clone(), numbers.iter().flat_map(bytes).collect::<Vec<u8>>())
    };
    let data: Vec<_> = tensors.iter().map(data).collect();
    let views = data.iter().map(|(name, shape, bytes)| (name, TensorView::new(dtype, shape.clone(), bytes).unwrap()));
    let metadata = metadata.iter().map(|(key, value)| (key.to_string(), value.to_string()));
    fs::write(path, serialize(views, Some(metadata.collect::<HashMap<_, _>>())).unwrap()).unwrap();
}

/// A data set of few images, so that `eval` takes no time.
fn few() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("cli-networks");
        fs::create_dir_all(&folder).unwrap();
        crate::folders::write_idx(&folder, "", &mnist_wgpu::data::synthetic(40, 300, 5));
        folder
    })
}

fn eval(at: &Path, arguments: &[&str]) -> Ended {
    run(program(at).args(["eval", "--device", "cpu", "--data-dir"]).arg(few()).args(arguments))
}

fn onnx(at: &Path, network: &str) -> Vec<u8> {
    let output = program(at).args(["export", network, "--onnx", "-"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

#[test]
fn prefixes_and_other_widths_of_numbers_give_the_same_network() {
    let at = tempdir().unwrap();
    let tensors = tensors();
    write(&at.path().join("plain.safetensors"), &tensors, "", Dtype::F32, &[]);
    let want = onnx(at.path(), "plain.safetensors");
    let figures = eval(at.path(), &["plain.safetensors"]).expect(0, &["taken as the classic layers"]).stdout;
    for (index, (prefix, dtype)) in [
        ("module.", Dtype::F32),
        ("_orig_mod.", Dtype::F32),
        ("module._orig_mod.", Dtype::F64),
        ("model.", Dtype::F32),
        ("0.", Dtype::F32),
        ("", Dtype::F64),
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("{index}.safetensors");
        write(&at.path().join(&name), &tensors, prefix, dtype, &[]);
        assert!(onnx(at.path(), &name) == want, "{prefix} {dtype:?}: another network");
        assert_eq!(eval(at.path(), &[&name]).expect(0, &[]).stdout, figures);
    }
    for (dtype, rounded) in [
        (Dtype::F16, (|x| half::f16::from_f32(x).to_f32()) as fn(f32) -> f32),
        (Dtype::BF16, |x| half::bf16::from_f32(x).to_f32()),
    ] {
        let narrow = at.path().join("narrow.safetensors");
        write(&narrow, &tensors, "module.", dtype, &[]);
        let mut tensors = tensors.clone();
        tensors.iter_mut().flat_map(|(_, _, numbers)| numbers).for_each(|x| *x = rounded(*x));
        write(&at.path().join("rounded.safetensors"), &tensors, "", Dtype::F32, &[]);
        assert!(onnx(at.path(), "narrow.safetensors") == onnx(at.path(), "rounded.safetensors"), "{dtype:?}");
    }
    // A prefix that is not everybody's is none, and whole numbers are no network.
    let mut some = tensors.clone();
    some.iter_mut().skip(1).for_each(|(name, ..)| *name = format!("module.{name}"));
    write(&at.path().join("some.safetensors"), &some, "", Dtype::F32, &[]);
    eval(at.path(), &["some.safetensors"]).expect(1, &["some.safetensors", "belongs to no layer"]);
    write(&at.path().join("whole.safetensors"), &tensors, "", Dtype::I32, &[]);
    eval(at.path(), &["whole.safetensors"]).expect(1, &["whole.safetensors", "I32", "expected F32"]);
}

/// The built-in network as it would be, had it been trained on `(x - mean) / std`.
fn trained_on(mean: f64, std: f64) -> Vec<Tensor> {
    let mut tensors = tensors();
    let weight = tensors.iter().position(|(name, ..)| name == "0.weight").unwrap();
    let sums: Vec<f64> = tensors[weight].2.chunks_exact(9).map(|w| w.iter().map(|&w| f64::from(w)).sum()).collect();
    tensors[weight].2.iter_mut().for_each(|w| *w = (f64::from(*w) * std) as f32);
    let (_, _, bias) = tensors.iter_mut().find(|(name, ..)| name == "0.bias").unwrap();
    bias.iter_mut().zip(sums).for_each(|(bias, sum)| *bias = (f64::from(*bias) + mean * sum) as f32);
    tensors
}

#[test]
fn a_normalisation_is_said_by_options_or_by_the_file_and_assumed_aloud() {
    let at = tempdir().unwrap();
    let (loss, other): (fn(&Ended) -> f64, _) = (
        |ended| ended.first_line().split([' ', ':']).find_map(|word| word.parse().ok()).unwrap(),
        trained_on(0.1307, 0.3081),
    );
    write(&at.path().join("silent.safetensors"), &other, "", Dtype::F32, &[]);
    write(&at.path().join("says.safetensors"), &other, "", Dtype::F32, &[("mean", "0.1307"), ("std", "(0.3081,)")]);
    let want = loss(&eval(at.path(), &["builtin"]).expect(0, &[]));
    let assumed = eval(at.path(), &["silent.safetensors"]).expect(0, &["trained on pixels / 255", "--mean", "--std"]);
    assert!(loss(&assumed) > want + 0.1, "{} {want}", loss(&assumed));
    let options = ["--mean", "0.1307", "--std", "0.3081"];
    for arguments in [&["says.safetensors"][..], &[&["silent.safetensors"][..], &options].concat()] {
        let told = eval(at.path(), arguments).expect(0, &["(pixels / 255 - 0.1307) / 0.3081"]);
        assert!((loss(&told) - want).abs() < 2e-6, "{} {want}", loss(&told));
    }
    // Options go before the file's word.
    let plain = eval(at.path(), &["says.safetensors", "--mean", "0", "--std", "1"]).expect(0, &[]);
    assert_eq!(loss(&plain), loss(&assumed));

    // `predict` of a digit that the network knows only so.
    let digit = concat!(env!("CARGO_MANIFEST_DIR"), "/assets/digits/8-brush.png");
    let predict = |arguments: &[&str]| {
        let ended = run(program(at.path()).args(["predict", "--json"]).args(arguments).arg(digit)).expect(0, &[]);
        serde_json::from_str::<Value>(&ended.stdout).unwrap()[0]["confidence"].as_f64().unwrap()
    };
    let known = predict(&["builtin"]);
    let normalised = predict(&[&options[..], &["silent.safetensors"]].concat());
    assert!((normalised - known).abs() < 1e-6 && (predict(&["silent.safetensors"]) - known).abs() > 1e-6);

    // What is exported takes pixels / 255.
    let exported = |arguments: &[&str]| {
        let output = program(at.path()).args(["export", "--onnx", "-"]).args(arguments).output().unwrap();
        assert!(output.status.success());
        (output.stdout, String::from_utf8(output.stderr).unwrap())
    };
    let (says, _) = exported(&["says.safetensors"]);
    assert!(says == exported(&[&["silent.safetensors"][..], &options].concat()).0);
    let (silent, told) = exported(&["silent.safetensors"]);
    assert!(says != silent && told.contains("trained on pixels / 255"), "{told}");

    for (arguments, code, parts) in [
        (&["--mean", "0.1307"][..], 2, &["--std"][..]),
        (&["--std", "0.3"], 2, &["--mean"]),
        (&["--mean", "0.1", "--std", "0"], 2, &["above 0"]),
        (&["--mean", "nan", "--std", "1"], 2, &["finite"]),
        (&["--mean", "0.1,0.2", "--std", "1"], 1, &["one mean or 1", "found 2"]),
    ] {
        let ended = eval(at.path(), &[&["silent.safetensors"][..], arguments].concat()).expect(code, parts);
        assert_eq!(ended.stdout, "");
    }
    for (metadata, part) in [
        (&[("mean", "0.1")][..], "a mean alone"),
        (&[("mean", "zero"), ("std", "1")], "`zero`"),
        (&[("mean", "0"), ("std", "-1")], "above 0"),
    ] {
        write(&at.path().join("wrong.safetensors"), &other, "", Dtype::F32, metadata);
        eval(at.path(), &["wrong.safetensors"]).expect(1, &["wrong.safetensors", part]);
    }
}

#[test]
fn a_network_with_a_number_that_is_not_finite_is_refused_and_nothing_written() {
    let at = tempdir().unwrap();
    for (tensor, broken) in [("7.weight", f32::NAN), ("9.bias", f32::INFINITY), ("0.weight", f32::NEG_INFINITY)] {
        let mut tensors = tensors();
        *tensors.iter_mut().find(|(name, ..)| name == tensor).unwrap().2.last_mut().unwrap() = broken;
        write(&at.path().join("broken.safetensors"), &tensors, "", Dtype::F16, &[]);
        let parts = ["broken.safetensors", &format!("`{tensor}`")];
        eval(at.path(), &["broken.safetensors"]).expect(1, &parts);
        let export = |to| run(program(at.path()).args(["export", "broken.safetensors", "--onnx", to])).expect(1, &parts);
        assert_eq!((export("x.onnx").stdout, export("-").stdout), (String::new(), String::new()));
        let digit = concat!(env!("CARGO_MANIFEST_DIR"), "/assets/digits/8-brush.png");
        assert_eq!(run(program(at.path()).args(["predict", "broken.safetensors", digit])).expect(1, &parts).stdout, "");
    }
    assert_eq!(files(at.path()), ["broken.safetensors"]);
}

#[test]
fn what_is_no_network_is_named_with_what_it_is_and_what_to_do() {
    let at = tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| fs::write(at.path().join(name), bytes).unwrap();
    write("model.pt", b"PK\x03\x04\0\0\x08\x08archive/data.pkl");
    write("old.pt", b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.");
    write("net.onnx", b"\x08\x08\x12\x07pytorch\x1a\x052.4.0:\x8a\x01");
    write("model.h5", b"\x89HDF\r\n\x1a\n\0\0");
    write("pointer.safetensors", b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 901000\n");
    write("page.safetensors", b"<!DOCTYPE html>\n<html><head>");
    write("text.safetensors", b"no network at all");
    fs::create_dir_all(at.path().join("pictures")).unwrap();
    fs::copy(concat!(env!("CARGO_MANIFEST_DIR"), "/assets/digits/8-brush.png"), at.path().join("8.png")).unwrap();
    fs::create_dir(at.path().join("runs")).unwrap();
    let mut cases = vec![
        ("model.pt", &["ZIP archive", "safetensors.torch.save_file"][..]),
        ("old.pt", &["pickle", "safetensors.torch.save_file"]),
        ("net.onnx", &["ONNX model"]),
        ("model.h5", &["HDF5"]),
        ("pointer.safetensors", &["Git LFS pointer", "git lfs pull"]),
        ("page.safetensors", &["web page"]),
        ("text.safetensors", &["not a safetensors file"]),
        ("8.png", &["a picture"]),
        ("pictures", &["expected model.safetensors in the folder"]),
        ("missing", &["cannot read", "a run's folder, a safetensors file, or `builtin`"]),
    ];
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink("gone", at.path().join("runs/latest")).unwrap();
        cases.push(("runs/latest", &["points at gone", "not there"]));
    }
    #[cfg(not(unix))]
    {
        write("runs/latest", b"gone");
        cases.push(("runs/latest", &["gone", "not there"]));
    }
    let before = files(at.path());
    for (name, parts) in cases {
        let parts = [&[name], parts].concat();
        assert_eq!(eval(at.path(), &[name]).expect(1, &parts).stdout, "");
        assert_eq!(run(program(at.path()).args(["export", name, "--onnx", "x.onnx"])).expect(1, &parts).stdout, "");
    }
    assert_eq!(files(at.path()), before);
}

/// A file whose metadata asks for `layers` over images of `input`, and which has `tensors`.
fn asking(path: &Path, input: [usize; 3], layers: Vec<Value>, tensors: &[Tensor]) {
    let info = json!({
        "input": input, "layers": layers, "normalisation": "pixels / 255", "dataset": "mnist", "epoch": 1, "seed": 0,
        "val_fraction": 0.1, "version": "0",
    });
    write(path, tensors, "", Dtype::F32, &[("mnist-wgpu", &info.to_string())]);
}

#[test]
fn what_metadata_ask_for_has_bounds() {
    let at = tempdir().unwrap();
    let path = at.path().join("huge.safetensors");
    let last = |index: usize, inputs: usize| {
        let zeros =
            |name: &str, shape: Vec<usize>| (format!("{index}.{name}"), shape.clone(), vec![0.0; shape.iter().product()]);
        vec![zeros("weight", vec![10, inputs]), zeros("bias", vec![10])]
    };
    let end = || vec![json!("flatten"), json!({"linear": {"out": 10}})];
    let image = [1, 28, 28];

    asking(&path, image, [vec![json!("relu"); 100_000], end()].concat(), &last(100_001, 784));
    eval(at.path(), &["huge.safetensors"]).expect(1, &["huge.safetensors", "100002 layers", "at most 1000"]);
    // Few layers, each within the bounds of one.
    let wide = json!({"conv2d": {"out": 60_000, "kernel": 1, "padding": 0}});
    let tensors = [("0.weight", vec![60_000, 1, 1, 1]), ("0.bias", vec![60_000])];
    let tensors = tensors.map(|(name, shape)| (name.to_string(), shape, vec![0.0; 60_000]));
    asking(
        &path,
        image,
        vec![wide, json!({"max_pool2d": {"size": 28}}), json!("flatten"), json!({"linear": {"out": 10}})],
        &tensors,
    );
    eval(at.path(), &["huge.safetensors"]).expect(1, &["huge.safetensors", "outputs of all layers", "at most"]);
    let large = json!({"conv2d": {"out": 1, "kernel": 200, "padding": 199}});
    asking(&path, [1, 200, 200], [vec![large], end()].concat(), &[]);
    eval(at.path(), &["huge.safetensors"]).expect(1, &["huge.safetensors", "too large together"]);
    // Parameters that the file does not have are not made room for.
    asking(&path, image, vec![json!("flatten"), json!({"linear": {"out": 300_000}}), json!({"linear": {"out": 10}})], &[]);
    eval(at.path(), &["huge.safetensors"]).expect(1, &["huge.safetensors", "`1.weight` is missing"]);

    // As many layers as may be are evaluated, in smaller batches.
    asking(&path, image, [vec![json!("relu"); 998], end()].concat(), &last(999, 784));
    eval(at.path(), &["huge.safetensors"]).expect(0, &[]);
}

#[test]
fn resume_takes_the_file_to_go_on_from_and_names_the_folder_for_others() {
    let at = tempdir().unwrap();
    let data = data_folder().to_str().unwrap();
    run(program(at.path()).args(SHORT).args(["--data-dir", data, "--epochs", "1", "--out", "r"])).expect(0, &[]);
    let resume = |path: &str, epochs: &str| run(program(at.path()).args(["train", "--resume", path, "--epochs", epochs]));
    resume("r/last.safetensors", "2").expect(0, &["Run: r, after epoch 1"]);
    let mut inside = program(at.path());
    run(inside.current_dir(at.path().join("r")).args(["train", "--resume", "last.safetensors", "--epochs", "3"]))
        .expect(0, &["after epoch 2"]);
    for name in ["r/model.safetensors", "r/config.toml", "r/curves.png"] {
        resume(name, "4").expect(2, &[name, "name its folder, r"]);
    }
    fs::write(at.path().join("alone.safetensors"), "").unwrap();
    resume("alone.safetensors", "4").expect(2, &["alone.safetensors", "expected the folder of a run", "found a file"]);
    resume("gone", "4").expect(1, &["gone", "is its folder one that `train` made?"]);
}

#[cfg(unix)]
#[test]
fn a_file_without_end_fills_no_memory() {
    let at = tempdir().unwrap();
    let path = |name: &str| at.path().join(name);
    let zeros = |name: &str| std::os::unix::fs::symlink("/dev/zero", path(name)).unwrap();
    zeros("zeros.safetensors");
    zeros("zeros.toml");
    fs::write(path("large.safetensors"), [&1000u64.to_le_bytes()[..], b"{"].concat()).unwrap();
    fs::OpenOptions::new().write(true).open(path("large.safetensors")).unwrap().set_len(9 << 30).unwrap(); // takes no place
    for (name, words) in
        [("zeros", "not a safetensors file"), ("large", "expected a file of at most 8192 MiB, found a larger one")]
    {
        let name = format!("{name}.safetensors");
        let mut eval = program(at.path());
        eval.args(["eval", &name, "--device", "cpu"]);
        run(&mut in_shell("ulimit -v 1000000; exec \"$0\" \"$@\"", &eval)).expect(1, &[&name, words]);
    }
    let larger = "expected a file of at most 256 MiB, found a larger one";
    run(program(at.path()).args(["train", "--model", "zeros.toml"])).expect(2, &["zeros.toml", larger]);
    let mut train = program(at.path());
    run(train.args(["train", "--epochs", "1", "--device", "cpu", "--out", "run", "--data-dir"]).arg(small_data_folder()))
        .expect(0, &[]);
    fs::remove_file(path("run/config.toml")).unwrap();
    zeros("run/config.toml");
    run(program(at.path()).args(["train", "--resume", "run"])).expect(1, &["run/config.toml", larger]);
    // Nor is a pipe waited for that nobody writes to.
    fs::remove_file(path("run/config.toml")).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(path("run/config.toml")).status().unwrap().success());
    run(program(at.path()).args(["train", "--resume", "run"])).expect(1, &["run/config.toml", "found a pipe"]);
}

#[test]
fn names_that_would_steer_the_terminal_do_not() {
    let folder = tempdir().unwrap();
    let mut network = load_network(&trained().0.join("model.safetensors")).unwrap();
    let info = network.info.as_mut().unwrap();
    info.dataset = "\u{1b}[2Jdigits".into();
    info.classes.iter_mut().for_each(|name| *name = format!("\u{1b}[31m{name}\n"));
    let path = folder.path().join("network.safetensors");
    save_network(&path, &network.model, &network.state, info, None, &[]).unwrap();
    let picture = concat!(env!("CARGO_MANIFEST_DIR"), "/assets/digits/3-blue.png");
    let predicted = run(program(folder.path()).args(["predict", "network.safetensors", picture, "--device", "cpu"]));
    let mut eval = program(folder.path());
    let judged = run(eval.args(["eval", "network.safetensors", "--device", "cpu", "--data-dir"]).arg(small_data_folder()));
    for ended in [predicted.expect(0, &["digits"]), judged] {
        let said = ended.stdout + &ended.stderr;
        assert!(said.contains("[31m") && !said.contains('\u{1b}'), "{said:?}");
    }
}
