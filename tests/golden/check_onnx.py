"""Holds an exported ONNX model against onnxruntime.

    pip install onnx onnxruntime numpy safetensors
    python tests/golden/check_onnx.py model.safetensors MNIST_FOLDER --program target/release/mnist-wgpu

Exports model.safetensors, has onnx's own checker look at what comes out, and runs the test images and noise through
onnxruntime. Its logits must agree with those of the same layers in float64, computed here with numpy, within 48
roundings of the largest logit (tests/golden/net.rs says why 48); its loss and accuracy with those that `eval` prints on
each of --device: the loss to 1e-4, the accuracy exactly, but for images whose two best logits are closer than rounding.
Exit code 1 if they do not.
"""

import argparse
import gzip
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from safetensors.numpy import load_file

import ours

ROUNDINGS = 48
EPS = np.finfo(np.float32).eps / 2
LOSS_BOUND = 1e-4
# Two logits closer than this, relative to the largest, may change places in float32.
TIE = 1e-5


def idx(folder, name, header):
    path = folder / name
    content = path.read_bytes() if path.exists() else gzip.decompress((folder / f"{name}.gz").read_bytes())
    return np.frombuffer(content, np.uint8, offset=header)


def conv3x3_relu_pool2(x, weight, bias):
    """x (N, C, H, W)"""
    windows = np.lib.stride_tricks.sliding_window_view(x, (3, 3), axis=(2, 3))
    y = np.maximum(np.einsum("nchwkl,ockl->nohw", windows, weight, optimize=True) + bias[:, None, None], 0)
    n, o, h, w = y.shape
    return y[:, :, : h // 2 * 2, : w // 2 * 2].reshape(n, o, h // 2, 2, w // 2, 2).max(axis=(3, 5))


def classic_net(p, x):
    """Logits of the classic layers with the parameters p, in the precision of x."""
    x = conv3x3_relu_pool2(x, p["0.weight"], p["0.bias"])
    x = conv3x3_relu_pool2(x, p["3.weight"], p["3.bias"]).reshape(len(x), -1)
    return (x @ p["7.weight"].T + p["7.bias"]) @ p["9.weight"].T + p["9.bias"]


def loss_and_correct(logits, labels):
    """Mean loss, images judged right, and images that rounding may judge either way."""
    logits = logits.astype(np.float64)
    most = logits.max(axis=1, keepdims=True)
    normaliser = most[:, 0] + np.log(np.exp(logits - most).sum(axis=1))
    second, best = np.sort(logits, axis=1)[:, -2:].T
    close = (best - second < TIE * np.abs(logits).max(axis=1)).sum()
    right = (logits.argmax(axis=1) == labels).sum()
    return (normaliser - logits[np.arange(len(labels)), labels]).mean(), right, close


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path, help="a network of the classic layers, saved by `train`")
    parser.add_argument("data", type=Path, help="folder with the four MNIST files")
    parser.add_argument("--program", default="target/release/mnist-wgpu")
    parser.add_argument("--device", nargs="+", default=["cpu", "gpu"], help="devices to compare [default: cpu gpu]")
    arguments = parser.parse_args()

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        subprocess.run([arguments.program, "export", arguments.checkpoint, "--onnx", path], check=True)
        onnx.checker.check_model(onnx.load(path), full_check=True)
        print("onnx.checker: no complaints")
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])

    parameters = {name: value.astype(np.float64) for name, value in load_file(arguments.checkpoint).items()}
    images = idx(arguments.data, "t10k-images-idx3-ubyte", 16).reshape(-1, 1, 28, 28)
    labels = idx(arguments.data, "t10k-labels-idx1-ubyte", 8).astype(np.int64)
    noise = np.random.default_rng(0).integers(0, 256, (1000, 1, 28, 28), np.uint8)

    agree = True
    logits = {}
    for what, pixels in [("test images", images), ("noise", noise)]:
        batches = [pixels[i : i + 500] for i in range(0, len(pixels), 500)]
        got = np.concatenate([session.run(["logits"], {"image": x.astype(np.float32) / np.float32(255)})[0] for x in batches])
        want = np.concatenate([classic_net(parameters, x / 255.0) for x in batches])
        off, largest = np.abs(got - want).max(), np.abs(want).max()
        used = off / (EPS * largest)
        good = used <= ROUNDINGS  # False for NaN
        verdict = "agrees" if good else "DIFFERS"
        print(f"logits of {what}: off by {off:.1e} of up to {largest:.1f}, {used:.1f} of {ROUNDINGS} roundings: {verdict}")
        agree &= bool(good)
        logits[what] = got

    loss, correct, close = loss_and_correct(logits["test images"], labels)
    print(f"onnxruntime    loss {loss:.8f}  accuracy {correct / len(labels):.6f}  ({close} images too close to call)")
    for device in arguments.device:
        our_loss, our_accuracy = ours.evaluate(arguments.program, arguments.checkpoint, arguments.data, device)
        off = abs(our_loss - loss)
        # `not (<=)`, so that NaN fails.
        bad_loss = not (off <= LOSS_BOUND * max(1, abs(loss)))
        bad_accuracy = not (abs(round(our_accuracy * len(labels)) - correct) <= close)
        verdict = " ".join(["LOSS DIFFERS"] * bad_loss + ["ACCURACY DIFFERS"] * bad_accuracy) or "agrees"
        print(f"eval, {device:8} loss {our_loss:.6f}    accuracy {our_accuracy:.6f}  off by {off:.1e}: {verdict}")
        agree &= verdict == "agrees"
    sys.exit(not agree)


if __name__ == "__main__":
    main()
