//! `export` hands a network over whole, and costs nobody a file.

use crate::harness::*;
use mnist_wgpu::checkpoint::{Info, NORMALISATION};
use mnist_wgpu::data::digits;
use mnist_wgpu::model::Model;
use mnist_wgpu::onnx;
use mnist_wgpu::run::save_network;
use mnist_wgpu::state::State;
use std::fs;
use std::path::Path;
use std::process::Output;
use tempfile::{TempDir, tempdir};

/// A folder with a run in it, `run/model.safetensors`, and its ONNX model.
fn folder() -> (TempDir, Vec<u8>) {
    let folder = tempdir().unwrap();
    let model = Model::classic([1, 28, 28], 10, 0.5).unwrap();
    let info = Info {
        input: [1, 28, 28],
        layers: model.layers().to_vec(),
        classes: digits(),
        normalisation: NORMALISATION.into(),
        dataset: "synthetic".into(),
        epoch: 3,
        seed: 7,
        val_fraction: 0.1,
        version: "0".into(),
    };
    let state = State::new(&model, 7);
    fs::create_dir(folder.path().join("run")).unwrap();
    save_network(&folder.path().join("run/model.safetensors"), &model, &state, &info, None, &[]).unwrap();
    (folder, onnx::export(&model, &state, Some(&info)))
}

fn export(folder: &Path, arguments: &[&str]) -> Output {
    program(folder).arg("export").args(arguments).output().expect("the program starts")
}

/// Checks that the program failed with exit code 1 and a message that holds every one of `parts`.
#[track_caller]
fn refuses(output: Output, parts: &[&str]) {
    Ended::from(output).expect(1, parts);
}

#[test]
fn a_run_and_a_file_become_the_same_onnx_model_in_a_file_or_on_stdout() {
    let (folder, want) = folder();
    for (number, network) in ["run", "run/model.safetensors"].into_iter().enumerate() {
        let path = format!("new/{number}.onnx"); // in a folder that is made
        let output = export(folder.path(), &[network, "--onnx", &path]);
        assert!(output.status.success() && output.stdout.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
        assert!(fs::read(folder.path().join(path)).unwrap() == want, "{network}: another file");
        let output = export(folder.path(), &[network, "--onnx", "-"]);
        assert!(output.stdout == want, "{network}: stdout has {} bytes of {}", output.stdout.len(), want.len());
    }
}

#[test]
fn a_file_that_exists_is_overwritten_only_by_force_and_the_network_never() {
    let (folder, want) = folder();
    let (path, network) = (folder.path().join("digits.onnx"), folder.path().join("run/model.safetensors"));
    let before = fs::read(&network).unwrap();
    fs::write(&path, "precious").unwrap();
    refuses(export(folder.path(), &["run", "--onnx", "digits.onnx"]), &["digits.onnx exists", "--force"]);
    assert_eq!(fs::read(&path).unwrap(), b"precious");
    assert!(export(folder.path(), &["run", "--onnx", "digits.onnx", "--force"]).status.success());
    assert!(fs::read(&path).unwrap() == want, "--force writes it");

    let output = export(folder.path(), &["run", "--onnx", "run/../run/model.safetensors", "--force"]);
    refuses(output, &["model.safetensors: the ONNX model is made from it"]);
    assert!(fs::read(&network).unwrap() == before, "the network is as it was");
}

#[test]
fn what_is_no_network_or_no_place_to_write_is_named() {
    let (folder, _) = folder();
    fs::write(folder.path().join("text"), "not a network").unwrap();
    fs::create_dir(folder.path().join("empty")).unwrap();
    refuses(export(folder.path(), &["absent", "--onnx", "x.onnx"]), &["cannot read", "absent"]);
    refuses(export(folder.path(), &["text", "--onnx", "x.onnx"]), &["text: not a safetensors file"]);
    refuses(export(folder.path(), &["empty", "--onnx", "x.onnx"]), &["expected model.safetensors in the folder empty"]);
    refuses(export(folder.path(), &["run", "--onnx", "empty"]), &["cannot write", "empty", "folder"]);
    refuses(export(folder.path(), &["run", "--onnx", "text/x.onnx"]), &["cannot write", "text/x.onnx"]);
    assert!(!folder.path().join("x.onnx").exists());

    let output = export(folder.path(), &["run"]);
    Ended::from(output).expect(2, &["--onnx"]);
}
