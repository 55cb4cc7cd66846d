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
fn json_holds_the_figures_of_each_class_and_the_confusion_matrix() {
    let (path, ended) = trained();
    let eval =
        run(program(tempdir().unwrap().path()).arg("eval").arg(path).args(["--device", "cpu", "--json"])).expect(0, &[]);
    let report: serde_json::Value = serde_json::from_str(&eval.stdout).unwrap();
    assert_eq!((report["split"].as_str(), report["images"].as_u64()), (Some("test"), Some(10_000)));
    let accuracy = report["accuracy"].as_f64().unwrap();
    assert!(ended.last_line().ends_with(&format!("{accuracy:.6}")), "{accuracy}");
    let counts = |truth: usize, guess: usize| report["confusion"][truth][guess].as_u64().unwrap();
    let all: u64 = (0..100).map(|i| counts(i / 10, i % 10)).sum();
    let right: u64 = (0..10).map(|class| counts(class, class)).sum();
    assert_eq!((all, right), (10_000, (accuracy * 1e4).round() as u64));
    let recall = counts(7, 7) as f64 / (0..10).map(|guess| counts(7, guess)).sum::<u64>() as f64;
    assert_eq!(report["classes"][7]["recall"].as_f64(), Some(recall));
}

#[test]
fn the_validation_images_are_those_of_the_run() {
    let (path, ended) = trained();
    let eval = run(program(tempdir().unwrap().path()).arg("eval").arg(path).args(["--device", "cpu", "--split", "val"]));
    let figures = |text: &str| -> Vec<f64> { text.split([' ', ':']).filter_map(|word| word.parse().ok()).collect() };
    let found = figures(eval.expect(0, &[]).first_line());
    // The best of the two epochs is the network that was kept.
    let lines = ended.stdout.lines().filter(|line| line.starts_with("Val loss"));
    let best = lines.map(figures).max_by(|a, b| a[1].total_cmp(&b[1])).unwrap();
    assert!((found[0] - best[0]).abs() < 2e-6 && found[1] == best[1], "{found:?} {best:?}");
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
