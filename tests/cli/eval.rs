//! `eval`: the figures of a saved network.

use crate::harness::*;
use std::fs;
use tempfile::tempdir;

#[test]
fn eval_gives_the_test_line_that_train_printed() {
    let (path, ended) = trained();
    let eval = run(program(tempdir().unwrap().path()).arg("eval").arg(path).args(["--device", "cpu"]));
    let eval = eval.expect(0, &["Network: ", "two epochs", "2 epochs on synthetic", NOT_MNIST]);
    assert_eq!(eval.first_line(), ended.last_line());
}

#[test]
fn eval_on_a_gpu_agrees_with_the_cpu() {
    let (path, ended) = trained();
    let eval = run(program(tempdir().unwrap().path()).arg("eval").arg(path).args(["--device", "gpu"]));
    let eval = eval.expect(0, &["Device: "]);
    assert!(!eval.stderr.contains("the CPU,"), "{}", eval.stderr);
    assert_eq!(masked(eval.first_line()), TEST);
    let figures = |line: &str| -> Vec<f64> { line.split([' ', ':']).filter_map(|word| word.parse().ok()).collect() };
    let (gpu, cpu) = (figures(eval.first_line()), figures(ended.last_line()));
    assert!(gpu.len() == 2 && cpu.len() == 2, "{gpu:?} {cpu:?}");
    // Rounding differs, in the last digits of the loss; an image between two classes may be judged either way.
    assert!((gpu[0] - cpu[0]).abs() <= 1e-5 && (gpu[1] - cpu[1]).abs() <= 3e-4, "{gpu:?} {cpu:?}");
}

#[test]
fn a_checkpoint_that_cannot_be_used_is_named() {
    let folder = tempdir().unwrap();
    let eval = |name: &str| run(program(folder.path()).args(["eval", name, "--device", "cpu"]));
    eval("missing.safetensors").expect(1, &["missing.safetensors"]);

    fs::write(folder.path().join("noise.safetensors"), "This is no network. ".repeat(100)).unwrap();
    eval("noise.safetensors").expect(1, &["noise.safetensors", "not a safetensors file"]);

    let whole = fs::read(trained().0.join("model.safetensors")).unwrap();
    fs::write(folder.path().join("half.safetensors"), &whole[..whole.len() / 2]).unwrap();
    let ended = eval("half.safetensors").expect(1, &["half.safetensors", "not a safetensors file"]);
    assert_eq!(ended.stdout, "");

    eval(".").expect(1, &["expected model.safetensors in the folder ."]);
}
