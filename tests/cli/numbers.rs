//! Numbers at the edge of what can be: a run ends with a finite network, or as diverged with its last good one kept.

use crate::folders::write_idx;
use crate::harness::*;
use crate::networks::{tensors, write};
use mnist_wgpu::data::{Dataset, Images, synthetic};
use mnist_wgpu::run::load_network;
use safetensors::tensor::Dtype;
use std::path::Path;
use tempfile::{TempDir, tempdir};

/// A folder with the data set `few`, of 200 digits; `gap`, the same without the class 4; and `two`, of two images.
fn folder() -> TempDir {
    let at = tempdir().unwrap();
    let few = synthetic(200, 50, 3);
    let mut gap = few.clone();
    gap.train.labels.iter_mut().for_each(|label| *label -= u16::from(*label == 4));
    let first = |images: &Images, count: usize| Images {
        pixels: images.pixels[..count * 784].to_vec(),
        labels: images.labels[..count].to_vec(),
    };
    let two = Dataset { train: first(&few.train, 2), test: first(&few.test, 1), ..few.clone() };
    for (name, data) in [("few", &few), ("gap", &gap), ("two", &two)] {
        write_idx(&at.path().join(name), "", data);
    }
    at
}

fn train(at: &Path, device: &str, data: &str, arguments: &[&str]) -> Ended {
    let mut command = program(at);
    command.args(["train", "--device", device, "--data-dir", data, "--quiet", "--force", "--out", "run"]);
    run(command.args(arguments))
}

/// The network that a run left, if it left one, is of finite numbers: others would not load.
#[track_caller]
fn assert_loads(at: &Path, case: &str) {
    let paths = ["model.safetensors", "last.safetensors"].map(|name| at.join("run").join(name));
    for path in paths.iter().filter(|path| path.exists()) {
        load_network(path).unwrap_or_else(|error| panic!("{case}: {}: {error}", path.display()));
    }
}

#[test]
fn a_run_ends_well_or_as_diverged_whatever_its_settings() {
    let at = folder();
    // Data, settings, and whether the loss stays finite with them.
    let slow_to_diverge = ["--epochs", "3", "--batch-size", "180", "--lr", "1e10"];
    let near_1 = "0.9999999";
    let cases: [(&str, &[&str], bool); 11] = [
        ("few", &["--epochs", "2", "--lr", "1e-30"], true),
        ("few", &["--epochs", "2", "--lr", "1e30"], false),
        // One step an epoch: the loss is finite, what comes of it is not.
        ("few", &["--epochs", "3", "--batch-size", "180", "--lr", "1e30"], false),
        ("few", &slow_to_diverge, false),
        ("few", &["--epochs", "1", "--lr", "1e30", "--optimizer", "adamw"], false),
        ("few", &["--epochs", "1", "--weight-decay", "1e30"], false),
        ("few", &["--epochs", "1", "--momentum", near_1, "--dropout", near_1, "--label-smoothing", near_1], true),
        ("few", &["--epochs", "1", "--batch-size", "1", "--model", "conv 4, bn, linear"], true),
        ("few", &["--epochs", "1", "--lr", "1e-30", "--schedule", "one-cycle", "--ema", near_1], true),
        ("gap", &["--epochs", "1"], true),
        ("two", &["--epochs", "1", "--val-fraction", "0.5", "--batch-size", "1"], true),
    ];
    for device in ["cpu", "gpu"] {
        // A software driver takes its time: it is only asked what the shaders make of what is not finite.
        for (data, arguments, finite) in cases.into_iter().filter(|(.., finite)| device == "cpu" || !finite) {
            let ended = train(at.path(), device, data, arguments);
            match finite {
                true => ended.expect(0, &[]),
                false => ended.expect(1, &["diverged in epoch", "lower learning rate"]),
            };
            assert_loads(at.path(), &format!("{device}, {data}, {arguments:?}"));
        }
    }
    // Of the epoch that went well the network is kept.
    train(at.path(), "cpu", "few", &slow_to_diverge)
        .expect(1, &["diverged in epoch 2", "run holds the network after epoch 1"]);
    assert_eq!(load_network(&at.path().join("run/model.safetensors")).unwrap().info.unwrap().epoch, 1);
}

#[test]
fn too_few_images_for_a_batch_or_a_validation_are_refused() {
    let at = folder();
    let many = ["--batch-size", "4096"];
    train(at.path(), "cpu", "few", &many).expect(2, &["180 training images", "4096", "--batch-size"]);
    train(at.path(), "cpu", "two", &[]).expect(2, &["no image is held out", "--val-fraction"]);
    assert!(!at.path().join("run").exists(), "nothing is begun");
}

#[test]
fn weights_that_overflow_are_told_and_nothing_is_made_of_them() {
    let at = folder();
    let mut huge = tensors();
    huge.iter_mut().flat_map(|(.., numbers)| numbers).for_each(|number| *number *= 1e38);
    write(&at.path().join("huge.safetensors"), &huge, "", Dtype::F32, &[]);
    for device in ["cpu", "gpu"] {
        let eval = ["eval", "huge.safetensors", "--data-dir", "few", "--device", device];
        run(program(at.path()).args(eval)).expect(1, &["huge.safetensors", "not finite"]);
        let from = ["--epochs", "1", "--from", "huge.safetensors"];
        train(at.path(), device, "few", &from).expect(1, &["diverged in epoch 1"]);
    }
}
