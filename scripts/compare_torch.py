"""The classic network in PyTorch, as `scripts/compare` runs it: same layers, data, split, optimiser and report as
`mnist-wgpu train`.

    python scripts/compare_torch.py FOLDER --mode eager --epochs 2      # FOLDER holds the four MNIST files

Modes on the CPU: eager; channels_last, the memory format; compile, by torch.compile. On a CUDA GPU: cuda, eager;
cuda_graph, in which a whole training step is captured once and replayed. On the GPU the images lie in its memory, and
nothing is read back before an epoch ends.
"""

import argparse
import gzip
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

MODES = ["eager", "channels_last", "compile", "cuda", "cuda_graph"]


def read_idx(folder, name):
    """An array of u8, from a plain or a gzip IDX file."""
    path = Path(folder) / name
    data = path.read_bytes() if path.exists() else gzip.decompress(path.with_name(name + ".gz").read_bytes())
    sizes = [int.from_bytes(data[4 + 4 * i : 8 + 4 * i], "big") for i in range(data[3])]
    return np.frombuffer(data, np.uint8, offset=4 + 4 * len(sizes)).reshape(sizes)


class Trainer:
    def __init__(self, mode, batch_size):
        self.mode, self.batch_size = mode, batch_size
        self.device = "cuda" if mode.startswith("cuda") else "cpu"
        # The one who wants the fastest of a mode sets no memory format but its own.
        self.memory_format = torch.channels_last if mode == "channels_last" else torch.contiguous_format
        net = nn.Sequential(
            *(nn.Conv2d(1, 32, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Flatten(), nn.Linear(1600, 128), nn.Dropout(0.5), nn.Linear(128, 10)),
        )
        self.net = net.to(self.device, memory_format=self.memory_format)
        # Not dynamic: the smaller last batch of a validation would make a slower graph for all.
        self.forward = torch.compile(self.net, dynamic=False) if mode == "compile" else self.net
        self.sgd = torch.optim.SGD(self.net.parameters(), lr=0.01, momentum=0.9, nesterov=True)
        self.loss = torch.zeros((), device=self.device)
        self.correct = torch.zeros((), dtype=torch.int64, device=self.device)
        self.graphs = {}

    def step(self, x, y, train):
        """One batch, forward or, to `train`, forward, backward and update; adds to the metrics."""
        with torch.set_grad_enabled(train):
            logits = self.forward(x)
            loss = F.cross_entropy(logits, y)
        if train:
            self.sgd.zero_grad()
            loss.backward()
            self.sgd.step()
        self.loss += loss.detach() * len(y)
        self.correct += (logits.detach().argmax(1) == y).sum()

    def graph(self, x, y, train):
        """The same, captured at its first call and replayed from then on."""
        if (train, len(y)) not in self.graphs:
            # A capture needs allocations and choices made before, on a stream of its own. What these steps change is
            # undone.
            state = {name: value.clone() for name, value in self.net.state_dict().items()}
            x, y = x.clone(), y.clone()
            metrics = self.loss.clone(), self.correct.clone()
            side = torch.cuda.Stream()
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):
                for _ in range(3):
                    self.step(x, y, train)
            torch.cuda.current_stream().wait_stream(side)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                self.step(x, y, train)
            with torch.no_grad():
                for name, value in self.net.state_dict().items():
                    value.copy_(state[name])
                if train:
                    for slot in self.sgd.state.values():
                        slot["momentum_buffer"].zero_()
                self.loss.copy_(metrics[0])
                self.correct.copy_(metrics[1])
            self.graphs[train, len(y)] = graph, x, y
        graph, graph_x, graph_y = self.graphs[train, len(y)]
        graph_x.copy_(x)
        graph_y.copy_(y)
        graph.replay()

    def run(self, x, y, train):
        """Mean loss and accuracy over the batches of `x`; a last incomplete one is dropped in training."""
        self.net.train(train)
        self.loss.zero_()
        self.correct.zero_()
        step = self.graph if self.mode == "cuda_graph" else self.step
        count = len(y) // self.batch_size * self.batch_size if train else len(y)
        for i in range(0, count, self.batch_size):
            step(x[i : i + self.batch_size], y[i : i + self.batch_size], train)
        return self.loss.item() / count, self.correct.item() / count


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", help="with the MNIST files, gzip or plain")
    parser.add_argument("--mode", choices=MODES, default="eager")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--threads", type=int, help="on the CPU; as many as PyTorch likes, if not given")
    parser.add_argument("--val-fraction", type=float, default=0.1)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    trainer = Trainer(args.mode, args.batch_size)

    pixels = read_idx(args.folder, "train-images-idx3-ubyte")
    x = torch.from_numpy(pixels.astype(np.float32) / 255).unsqueeze(1)
    x = x.contiguous(memory_format=trainer.memory_format).to(trainer.device)
    y = torch.from_numpy(read_idx(args.folder, "train-labels-idx1-ubyte").astype(np.int64)).to(trainer.device)
    order = torch.randperm(len(y)).to(trainer.device)
    val_count = round(len(y) * args.val_fraction)
    val, train = order[:val_count], order[val_count:]
    val_x, val_y = x[val], y[val]
    for epoch in range(1, args.epochs + 1):
        # One copy in the epoch's order: its batches are slices, which cost nothing.
        shuffled = train[torch.randperm(len(train)).to(trainer.device)]
        loss, accuracy = trainer.run(x[shuffled], y[shuffled], True)
        val_loss, val_accuracy = trainer.run(val_x, val_y, False)
        print(f"-------------\nEpoch {epoch}:\n")
        print(f"Train loss: {loss:.6f} | Train accuracy: {accuracy:.6f}")
        print(f"Val loss:   {val_loss:.6f} | Val accuracy:   {val_accuracy:.6f}", flush=True)


if __name__ == "__main__":
    main()
