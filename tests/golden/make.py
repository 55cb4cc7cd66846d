"""Writes PyTorch's numbers for the default net and for single ops: what both of our paths have to meet.

    pip install torch numpy safetensors
    python tests/golden/make.py

Everything is computed in float64 from inputs that are exact float32 values, and stored as float32: the reference's own
rounding is one rounding to float32, negligible beside that of a float32 computation. One thread, no random numbers:
running this again with the same versions writes the same bytes.

plain.safetensors, masked.safetensors: ten training steps of the default net, without dropout and with Dropout(0.5), whose
masks are those that our op draws.
    act.<i>       (8, ...)   output of layer i of the nn.Sequential in step 0; of the large ones (0, 1, 3, 4) only the
                             first image, (1, ...). act.7 to act.9 are (8, 128), (8, 128), (8, 10).
    loss          (10,)      mean cross-entropy of each step's batch, before the step's update
    grad.<name>              gradient of each parameter in step 0
    param.<name>             each parameter after the ten steps
    *.7.weight is large: stored are every 7th element of the flattened tensor (.every7), the sums of its rows (.rows,
    one per output) and of its columns (.cols, one per input).

    Inputs are not stored. They follow from `hash` and `signed` below (a few integer operations) and these streams:
    parameters  stream t, the index in NAMES:  signed * bound in float32, bound = float32(1 / sqrt(fan_in))
    images      stream 100 + step:  hash -> 0 where its two lowest bits are 0, else its highest byte; rows and columns 0..6,
                the upper left corner, are 0 (whole pooling windows then tie); input = pixel / 255
    labels      stream 200 + step:  hash % 10
    masks       element i of the (8, 128) batch: 2 where hash(i ^ hash(step + key)) is at least 2^31, else 0, with key as
                src/ops/dropout.rs makes it of SEED and layer 8

recipes.safetensors: the rates of PyTorch's schedulers, and SGD with weight decay by such rates.

layers.safetensors: ops of other nets than the default one, in the manner of ops.safetensors; AdamW, label smoothing and the
    moving average of weights; ten steps of a net with every layer.

ops.safetensors: single ops on small inputs, which are stored too. <op>.<case>.sizes (int32) holds a case's sizes, in the
    order of the comment above it. Unless said otherwise an input is `signed`; each draws the next stream, from 1000 on.
"""

import itertools
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.numpy import save_file
from torch import nn

NAMES = ["0.weight", "0.bias", "3.weight", "3.bias", "7.weight", "7.bias", "9.weight", "9.bias"]
FAN_IN = [9, 9, 288, 288, 1600, 1600, 128, 128]
STEPS, BATCH, HIDDEN, DROPOUT_AT = 10, 8, 128, 8
FIRST_IMAGE_ONLY = {0, 1, 3, 4}
# Keys the masks; neither half is 0. Searched for among some hundred, so that `assert_decided` holds in all ten steps.
SEED = 0x98_0000_0098
# Hyper-parameters, too, are what float32 makes of them.
LR, MOMENTUM = float(np.float32(0.01)), float(np.float32(0.9))


def hash(x):
    """lowbias32, in wrapping u32 arithmetic."""
    x = np.array(x, dtype=np.uint32, ndmin=1)
    x ^= x >> np.uint32(16)
    x *= np.uint32(0x7FEB352D)
    x ^= x >> np.uint32(15)
    x *= np.uint32(0x846CA68B)
    x ^= x >> np.uint32(16)
    return x


def hashes(stream, shape):
    """hash(k + hash(stream)) for k = 0, 1, ... in row-major order."""
    return hash(np.arange(np.prod(shape), dtype=np.uint32) + hash(stream)).reshape(shape)


def signed(stream, shape):
    """2 * uniform - 1 in [-1, 1), where uniform is the upper 24 bits of the hash / 2^24: both exact in float32."""
    uniform = (hashes(stream, shape) >> np.uint32(8)).astype(np.float32) / np.float32(2**24)
    return np.float32(2) * uniform - np.float32(1)


def f64(array):
    return torch.from_numpy(np.asarray(array, dtype=np.float32)).double()


def save(name, tensors):
    tensors = {key: torch.as_tensor(t).detach() for key, t in tensors.items()}
    arrays = {key: (t.float() if t.is_floating_point() else t.int()).contiguous().numpy() for key, t in tensors.items()}
    note = f"written by tests/golden/make.py with torch {torch.__version__.split('+')[0]}"
    save_file(arrays, Path(__file__).with_name(f"{name}.safetensors"), {"source": note})


def default_net():
    net = nn.Sequential(
        nn.Conv2d(1, 32, 3), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(1600, HIDDEN), nn.Identity(), nn.Linear(HIDDEN, 10),
    ).double()  # fmt: skip
    with torch.no_grad():
        for t, (name, fan_in) in enumerate(zip(NAMES, FAN_IN, strict=True)):
            p = net.get_parameter(name)
            p.copy_(f64(signed(t, tuple(p.shape)) * np.float32(1 / np.sqrt(fan_in))))
    return net


def batch(step):
    h = hashes(100 + step, (BATCH, 1, 28, 28))
    pixels = np.where(h & np.uint32(3) == 0, np.uint32(0), h >> np.uint32(24))
    pixels[:, :, :6, :6] = 0
    labels = hashes(200 + step, (BATCH,)) % np.uint32(10)
    return f64(pixels.astype(np.float32) / np.float32(255)), torch.from_numpy(labels).long()


def mask(step, seed=SEED, layer=DROPOUT_AT):
    """What src/ops/dropout.rs multiplies with for p = 0.5."""
    low, high = hash(seed & 0xFFFFFFFF), hash((seed >> 32) ^ 0x9E3779B9)
    key = hash(low + high + np.uint32(layer))
    kept = hash(np.arange(BATCH * HIDDEN, dtype=np.uint32) ^ hash(key + np.uint32(step))) >= np.uint32(2**31)
    return f64(kept.reshape(BATCH, HIDDEN) * 2)


def assert_decided(sums, at_least):
    """Rounding must not decide which element of a pooling window wins, or whether it is above 0: a float32 computation that
    decides otherwise is as right, but its gradients differ by more than roundings. Exact ties are decided by rule."""
    windows = sums.detach().unfold(2, 2, 2).unfold(3, 2, 2).flatten(4)
    first, second = windows.topk(2).values.unbind(-1)
    lead = torch.where(first > 0, first - second, -first)
    assert min(lead[lead != 0].min(), first[first > 0].min()) > at_least


def put_parameter(out, key, t):
    if key.endswith("7.weight"):
        out |= {f"{key}.every7": t.flatten()[::7], f"{key}.rows": t.sum(1), f"{key}.cols": t.sum(0)}
    else:
        out[key] = t.clone()


def training(masked):
    net, out, losses = default_net(), {}, []
    sgd = torch.optim.SGD(net.parameters(), lr=LR, momentum=MOMENTUM, nesterov=True)
    for step in range(STEPS):
        x, labels = batch(step)
        for i, layer in enumerate(net):
            x = layer(x)
            if i == DROPOUT_AT and masked:
                x = x * mask(step)
            if i in (0, 3):  # some three times what a float32 convolution's sums are off by
                assert_decided(x, {0: 5e-7, 3: 1e-6}[i])
            if step == 0:
                out[f"act.{i}"] = x[:1] if i in FIRST_IMAGE_ONLY else x
        loss = F.cross_entropy(x, labels)
        losses.append(loss.item())
        sgd.zero_grad()
        loss.backward()
        if step == 0:
            for name in NAMES:
                put_parameter(out, f"grad.{name}", net.get_parameter(name).grad)
        sgd.step()
    for name in NAMES:
        put_parameter(out, f"param.{name}", net.get_parameter(name).detach())
    return out | {"loss": losses}


class Cases:
    """Collects the cases of a file. Each input draws the next stream, from `first` on."""

    def __init__(self, first):
        self.out, self.streams = {}, itertools.count(first)

    def draw(self, *shape):
        return f64(signed(next(self.streams), shape))

    def put(self, name, sizes, **tensors):
        self.out.update({f"{name}.{key}": t for key, t in tensors.items()} | {f"{name}.sizes": sizes})

    def case(self, name, sizes, op, **inputs):
        """Runs op, draws a gradient of its output and stores inputs, output and the gradients of all inputs."""
        inputs = {key: t.requires_grad_() for key, t in inputs.items()}
        output = op(*inputs.values())
        d_output = self.draw(*output.shape)
        output.backward(d_output)
        grads = {f"d_{key}": t.grad for key, t in inputs.items()}
        self.put(name, sizes, output=output, d_output=d_output, **inputs, **grads)


def ops():
    cases = Cases(1000)
    draw, put, case = cases.draw, cases.put, cases.case

    # N, C, H, W, output channels, kernel, padding
    for i, sizes in enumerate([(1, 1, 5, 5, 1, 3, 0), (2, 3, 7, 9, 5, 3, 1), (3, 2, 11, 6, 7, 5, 2), (2, 4, 6, 6, 8, 1, 0)]):
        n, c, h, w, o, k, p = sizes
        case(f"conv2d.{i}", sizes, partial(F.conv2d, padding=p), input=draw(n, c, h, w), weight=draw(o, c, k, k), bias=draw(o))

    # N, C, H, W, window (and stride). Multiples of 0.5, so that most windows tie: the first maximum in row-major order
    # gets the whole gradient. (+ 0.0 makes -0.0 into 0.0.)
    for i, (n, c, h, w, k) in enumerate([(2, 3, 8, 8, 2), (2, 3, 7, 9, 2), (2, 2, 9, 9, 3), (1, 3, 8, 11, 3)]):
        ties = (draw(n, c, h, w) * 2).round() / 2 + 0.0
        case(f"maxpool2d.{i}", (n, c, h, w, k), partial(F.max_pool2d, kernel_size=k), input=ties)

    # N, inputs, outputs
    for i, (n, c, o) in enumerate([(1, 1, 1), (3, 7, 5), (8, 65, 10)]):
        case(f"linear.{i}", (n, c, o), F.linear, input=draw(n, c), weight=draw(o, c), bias=draw(o))

    # elements. The gradient at 0 and at -0.0 is 0.
    case("relu.0", (8,), F.relu, input=f64([-1e30, -1.0, -1e-30, -0.0, 0.0, 1e-30, 1.0, 1e30]))
    case("relu.1", (37,), F.relu, input=draw(37))

    # N, classes. Ordinary logits; far apart by 160; by 20,000; all equal. Labels go through the classes, so that they
    # hit the largest logit, the smallest and those between.
    wide, huge = draw(10, 10), draw(10, 10)
    wide[:, 2], wide[:, 5] = 80.0, -80.0
    huge[:, 3], huge[:, 7] = 1e4, -1e4
    for i, logits in enumerate([draw(8, 10) * 4, wide, huge, torch.full((3, 10), -2.5, dtype=torch.float64)]):
        labels = torch.arange(len(logits)) % 10
        loss = F.cross_entropy(logits.requires_grad_(), labels)
        loss.backward()
        put(f"cross_entropy.{i}", logits.shape, logits=logits, labels=labels, loss=loss.reshape(1), d_logits=logits.grad)

    # elements, nesterov (0 or 1). hyper: lr, momentum. grads[s] is given in step s, params[s] is what step s leaves behind.
    for i, (lr, momentum, nesterov) in enumerate([(LR, MOMENTUM, 1), (LR, MOMENTUM, 0), (LR, 0.0, 0), (10.0, MOMENTUM, 1)]):
        start, grads, params = draw(37), draw(3, 37), []
        param = start.clone()
        sgd = torch.optim.SGD([param], lr=lr, momentum=momentum, nesterov=bool(nesterov))
        for grad in grads:
            param.grad = grad
            sgd.step()
            params.append(param.clone())
        put(f"sgd.{i}", (37, nesterov), param=start, grads=grads, params=torch.stack(params), hyper=[lr, momentum])
    return cases.out


# As src/schedule.rs counts them.
CONSTANT, STEP, COSINE, ONE_CYCLE = range(4)


def schedules():
    """The rate of each step: kind, epochs, steps an epoch, tenths of an epoch of warm-up."""
    for kind, epochs, per_epoch, warmup in [
        (CONSTANT, 2, 5, 0),
        (CONSTANT, 2, 10, 5),
        (STEP, 3, 7, 0),
        (STEP, 4, 5, 10),
        (COSINE, 3, 7, 0),
        (COSINE, 2, 10, 3),
        (ONE_CYCLE, 2, 25, 0),
        (ONE_CYCLE, 3, 7, 0),
        (ONE_CYCLE, 3, 10, 15),
    ]:
        steps, rise = epochs * per_epoch, warmup * per_epoch // 10
        sgd = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
        schedulers, S = [], torch.optim.lr_scheduler
        if rise and kind != ONE_CYCLE:
            schedulers.append(S.LinearLR(sgd, start_factor=0.01, total_iters=rise))
            steps -= rise
        if kind == CONSTANT:
            schedulers.append(S.ConstantLR(sgd, factor=1.0))
        elif kind == STEP:
            schedulers.append(S.StepLR(sgd, step_size=-(-steps // 3), gamma=0.1))
        elif kind == COSINE:
            schedulers.append(S.CosineAnnealingLR(sgd, T_max=steps))
        else:
            share = rise / steps if rise else 0.3
            schedulers.append(S.OneCycleLR(sgd, 0.1, total_steps=steps, pct_start=share, cycle_momentum=False))
        scheduler = schedulers[0] if len(schedulers) == 1 else S.SequentialLR(sgd, schedulers, milestones=[rise])
        rates = []
        for _ in range(epochs * per_epoch):
            rates.append(sgd.param_groups[0]["lr"])
            sgd.step()
            scheduler.step()
        yield (kind, epochs, per_epoch, warmup), rates


def recipes():
    out = {}
    for i, (sizes, rates) in enumerate(schedules()):
        out |= {f"schedule.{i}.sizes": sizes, f"schedule.{i}.rates": rates}

    # Ten steps of SGD with weight decay; the rates are those of a one-cycle. hyper: momentum, weight decay.
    rates = [float(np.float32(rate)) for sizes, rates in schedules() if sizes == (ONE_CYCLE, 3, 7, 0) for rate in rates][:10]
    for i, (momentum, decay, nesterov) in enumerate([(0.9, 5e-4, 1), (0.9, 0.25, 0), (0.0, 0.25, 0)]):
        momentum, decay = float(np.float32(momentum)), float(np.float32(decay))
        numbers = lambda stream, count: torch.tensor(signed(2000 + 10 * i + stream, count), dtype=torch.float64)
        param, grads, params = numbers(0, 37).clone(), numbers(1, 370).reshape(10, 37), []
        start = param.clone()
        sgd = torch.optim.SGD([param], lr=1.0, momentum=momentum, nesterov=bool(nesterov), weight_decay=decay)
        for rate, grad in zip(rates, grads):
            sgd.param_groups[0]["lr"], param.grad = rate, grad
            sgd.step()
            params.append(param.clone())
        case = dict(param=start, grads=grads, params=torch.stack(params), hyper=[momentum, decay], rates=rates)
        out |= {f"sgd.{i}.{key}": value for key, value in case.items()} | {f"sgd.{i}.sizes": [37, nesterov]}
    return out


def every_layer():
    return nn.Sequential(
        nn.Conv2d(2, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(),
        nn.Conv2d(6, 8, 3, stride=2, padding=1), nn.BatchNorm2d(8), nn.LeakyReLU(0.1),
        nn.AvgPool2d(2), nn.Conv2d(8, 8, 3), nn.BatchNorm2d(8), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5),
    ).double()  # fmt: skip


def layers():
    cases = Cases(3000)
    draw, put, case = cases.draw, cases.put, cases.case
    number = lambda x: float(np.float32(x))

    # N, C, H, W, O, kernel, padding, stride
    for i, (n, c, h, w, o, k, p, s) in enumerate([(2, 3, 8, 7, 4, 3, 1, 2), (1, 2, 7, 9, 3, 2, 0, 3), (2, 1, 6, 6, 2, 1, 0, 2)]):
        conv = partial(F.conv2d, padding=p, stride=s)
        case(f"conv2d.{i}", (n, c, h, w, o, k, p, s), conv, input=draw(n, c, h, w), weight=draw(o, c, k, k), bias=draw(o))

    # N, C, H, W, ReLU (0 or 1). `mean` and `var` are the running statistics before, new_mean and new_var those after a
    # pass in training; `evaluated` is the output of an evaluation by those before.
    for i, (n, c, h, w, relu) in enumerate([(2, 3, 5, 4, 0), (4, 2, 3, 3, 1), (1, 4, 6, 7, 1), (3, 1, 1, 1, 0)]):
        x, weight, bias, mean = draw(n, c, h, w) * 2 + 0.5, draw(c), draw(c), draw(c)
        var, after = draw(c).abs() + 0.25, (lambda y: F.relu(y)) if relu else (lambda y: y)
        new_mean, new_var = mean.clone(), var.clone()
        evaluated = after(F.batch_norm(x, mean, var, weight, bias, training=False))
        op = lambda x, weight, bias: after(F.batch_norm(x, new_mean, new_var, weight, bias, training=True))
        case(f"batchnorm2d.{i}", (n, c, h, w, relu), op, input=x, weight=weight, bias=bias)
        put(f"batchnorm2d.{i}", (n, c, h, w, relu), mean=mean, var=var, new_mean=new_mean, new_var=new_var, evaluated=evaluated)

    # N, C, H, W, rows, columns
    for i, (n, c, h, w, rows, columns) in enumerate([(2, 2, 5, 7, 2, 2), (1, 3, 6, 6, 3, 3), (3, 2, 4, 5, 4, 5)]):
        case(f"avgpool2d.{i}", (n, c, h, w, rows, columns), lambda x: F.avg_pool2d(x, (rows, columns)), input=draw(n, c, h, w))

    # elements. The gradient at 0 and at -0.0 is the slope, 0.1.
    leaky = partial(F.leaky_relu, negative_slope=number(0.1))
    case("leaky_relu.0", (8,), leaky, input=f64([-1e30, -1.0, -1e-30, -0.0, 0.0, 1e-30, 1.0, 1e30]))
    case("leaky_relu.1", (37,), leaky, input=draw(37))

    # N, classes; hyper: the smoothing
    for i, (n, classes, smoothing) in enumerate([(8, 10, 0.1), (5, 3, 0.5), (4, 1, 0.25)]):
        logits, labels = (draw(n, classes) * 4).requires_grad_(), torch.arange(n) % classes
        loss = F.cross_entropy(logits, labels, label_smoothing=number(smoothing))
        loss.backward()
        put(f"smoothing.{i}", (n, classes), logits=logits, labels=labels, loss=loss.reshape(1), d_logits=logits.grad,
            hyper=[number(smoothing)])  # fmt: skip

    # elements. hyper: first and second beta, epsilon, weight decay; a rate for each of ten steps.
    rates = [number(rate) for rate in [1e-3, 4e-3, 1e-2, 4e-2, 1e-1, 1e-1, 4e-2, 1e-2, 1e-3, 1e-4]]
    for i, (beta1, beta2, epsilon, decay) in enumerate([(0.9, 0.999, 1e-8, 0.0), (0.9, 0.999, 1e-8, 0.01), (0.5, 0.9, 1e-3, 0.5)]):
        beta1, beta2, epsilon, decay = map(number, (beta1, beta2, epsilon, decay))
        param, grads, params = draw(37), draw(10, 37), []
        start = param.clone()
        adamw = torch.optim.AdamW([param], lr=1.0, betas=(beta1, beta2), eps=epsilon, weight_decay=decay)
        for rate, grad in zip(rates, grads, strict=True):
            adamw.param_groups[0]["lr"], param.grad = rate, grad
            adamw.step()
            params.append(param.clone())
        put(f"adamw.{i}", (37,), param=start, grads=grads, params=torch.stack(params), rates=rates,
            hyper=[beta1, beta2, epsilon, decay])  # fmt: skip

    # elements, decay: the weights after each of ten steps, and their average after each.
    decay, model = number(0.9), nn.Linear(37, 1, bias=False).double()
    average = torch.optim.swa_utils.AveragedModel(model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(decay))
    params, averages = draw(10, 37), []
    for now in params:
        with torch.no_grad():
            model.weight.copy_(now.reshape(1, 37))
        average.update_parameters(model)
        averages.append(average.module.weight.detach().clone().flatten())
    put("average.0", (37,), params=params, averages=torch.stack(averages), hyper=[decay])

    # Ten steps of a net with every layer, SGD at rate 0.05: losses, gradients of step 0, parameters and running statistics
    # afterwards, and the logits of an evaluation then.
    net, losses = every_layer(), []
    with torch.no_grad():
        for parameter in net.parameters():
            fan_in = parameter[0].numel() if parameter.dim() > 1 else 1
            parameter.copy_(draw(*parameter.shape) / np.sqrt(fan_in) if parameter.dim() > 1 else draw(*parameter.shape) / 4 + 1)
            parameter.copy_(parameter.float().double())
    start = {f"net.start.{name}": parameter.clone() for name, parameter in net.named_parameters()}
    sgd = torch.optim.SGD(net.parameters(), lr=number(0.05), momentum=number(0.9), nesterov=True)
    pixels = (hashes(4000, (10, 6, 2, 12, 12)) >> np.uint32(24)).astype(np.float32)
    for step in range(10):
        loss = F.cross_entropy(net(f64(pixels[step] / np.float32(255))), torch.arange(6) % 5)
        losses.append(loss.item())
        sgd.zero_grad()
        loss.backward()
        if step == 0:
            cases.out |= {f"net.grad.{name}": parameter.grad.clone() for name, parameter in net.named_parameters()}
        sgd.step()
    cases.out |= start | {f"net.param.{name}": parameter for name, parameter in net.named_parameters()}
    cases.out |= {f"net.buffer.{name}": b for name, b in net.named_buffers() if b.dim()} | {"net.loss": losses}
    cases.out["net.logits"] = net.eval()(f64(pixels[0] / np.float32(255)))
    return cases.out


if __name__ == "__main__":
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    save("plain", training(masked=False))
    save("masked", training(masked=True))
    save("ops", ops())
    save("recipes", recipes())
    save("layers", layers())
