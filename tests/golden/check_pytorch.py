"""Holds checkpoints against PyTorch, in both directions.

    pip install torch numpy safetensors
    python tests/golden/check_pytorch.py model.safetensors MNIST_FOLDER --program target/release/mnist-wgpu

Ours to PyTorch: model.safetensors, a network of the classic layers that `train` saved, goes into an nn.Sequential.
PyTorch to ours: what `safetensors.torch.save_file` makes of another network's state_dict goes to `eval`. Either way
PyTorch's loss and accuracy on the test images, computed in float64, and those that `eval` prints on each of --device
must agree: the loss to 1e-4 (relative where it is above 1), the accuracy exactly, but for images whose two best logits
are closer than rounding. Exit code 1 if they do not.
"""

import argparse
import gzip
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import nn

import ours

LOSS_BOUND = 1e-4
# Two logits closer than this, relative to the largest, may change places in float32.
TIE = 1e-5


def classic_net():
    return nn.Sequential(
        nn.Conv2d(1, 32, 3), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(1600, 128), nn.Dropout(0.5), nn.Linear(128, 10),
    )  # fmt: skip


def idx(folder, name, header):
    path = folder / name
    content = path.read_bytes() if path.exists() else gzip.decompress((folder / f"{name}.gz").read_bytes())
    return np.frombuffer(content, np.uint8, offset=header)


def test_set(folder):
    images = idx(folder, "t10k-images-idx3-ubyte", 16).reshape(-1, 1, 28, 28)
    labels = idx(folder, "t10k-labels-idx1-ubyte", 8)
    return torch.from_numpy(images.copy()), torch.from_numpy(labels.astype(np.int64))


@torch.no_grad()
def evaluate(net, images, labels):
    """Loss, images judged right, and images that rounding may judge either way."""
    net = net.double().eval()
    logits = torch.cat([net(batch.double() / 255) for batch in images.split(500)])
    best, second = logits.topk(2).values.T
    close = (best - second < TIE * logits.abs().amax(1)).sum().item()
    return F.cross_entropy(logits, labels).item(), (logits.argmax(1) == labels).sum().item(), close


def compare(what, net, checkpoint, arguments):
    images, labels = test_set(arguments.data)
    loss, correct, close = evaluate(net, images, labels)
    print(f"{what}\n  PyTorch      loss {loss:.8f}  accuracy {correct / len(labels):.6f}  ({close} images too close to call)")
    agree = True
    for device in arguments.device:
        our_loss, our_accuracy = ours.evaluate(arguments.program, checkpoint, arguments.data, device)
        off = abs(our_loss - loss)
        # `not (<=)`, so that NaN fails.
        bad_loss = not (off <= LOSS_BOUND * max(1, abs(loss)))
        bad_accuracy = not (abs(round(our_accuracy * len(labels)) - correct) <= close)
        verdict = " ".join(["LOSS DIFFERS"] * bad_loss + ["ACCURACY DIFFERS"] * bad_accuracy) or "agrees"
        print(f"  ours, {device:6} loss {our_loss:.6f}    accuracy {our_accuracy:.6f}  off by {off:.1e}: {verdict}")
        agree &= verdict == "agrees"
    return agree


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path, help="a network of the classic layers, saved by `train`")
    parser.add_argument("data", type=Path, help="folder with the four MNIST files")
    parser.add_argument("--program", default="target/release/mnist-wgpu")
    parser.add_argument("--device", nargs="+", default=["cpu", "gpu"], help="devices to compare [default: cpu gpu]")
    arguments = parser.parse_args()

    net = classic_net()
    net.load_state_dict(load_file(arguments.checkpoint))
    agree = compare(f"{arguments.checkpoint}, loaded by PyTorch", net, arguments.checkpoint, arguments)

    with tempfile.TemporaryDirectory() as folder:
        # The trained network, moved by a little noise, and PyTorch's own untrained one.
        torch.manual_seed(1)
        for parameter in net.float().parameters():
            parameter.data += 0.01 * torch.randn_like(parameter)
        for what, net in [("perturbed", net), ("untrained", classic_net())]:
            path = Path(folder) / f"{what}.safetensors"
            save_file(net.float().state_dict(), path)
            agree &= compare(f"{what}, saved by PyTorch", net, path, arguments)
    sys.exit(not agree)


if __name__ == "__main__":
    main()
