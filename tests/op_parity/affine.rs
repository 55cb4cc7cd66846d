//! conv2d and linear: a weight, a bias, sums of products.

use crate::common::{exact, f64s, magnitudes};
use crate::{Gpu, KINDS};
use mnist_wgpu::ops::{Op, conv2d, conv2d::Conv2d, linear, linear::Linear};

/// The results of an op in f64.
struct Mirror {
    y: Vec<f64>,
    d_x: Vec<f64>,
    d_weight: Vec<f64>,
    d_bias: Vec<f64>,
}

/// How many terms are summed for one element of each result.
struct Terms {
    y: usize,
    d_x: usize,
    d_params: usize,
}

/// What sets one such op apart from another.
trait Affine: Op {
    fn weight_len(&self) -> usize;
    fn bias_len(&self) -> usize;
    fn terms(&self, n: usize) -> Terms;
    fn mirror(&self, x: &[f64], weight: &[f64], bias: &[f64], d_y: &[f64]) -> Mirror;
}

impl Affine for Conv2d {
    fn weight_len(&self) -> usize {
        self.out * self.channels * self.kernel * self.kernel
    }

    fn bias_len(&self) -> usize {
        self.out
    }

    fn terms(&self, n: usize) -> Terms {
        let taps = self.kernel * self.kernel;
        let (oh, ow) = self.output_size();
        Terms { y: self.channels * taps + 1, d_x: self.out * taps, d_params: n * oh * ow }
    }

    fn mirror(&self, x: &[f64], weight: &[f64], bias: &[f64], d_y: &[f64]) -> Mirror {
        let mut m = Mirror {
            y: vec![f64::NAN; d_y.len()],
            d_x: vec![f64::NAN; x.len()],
            d_weight: vec![f64::NAN; weight.len()],
            d_bias: vec![f64::NAN; bias.len()],
        };
        conv2d::cpu::forward(self, x, weight, bias, &mut m.y);
        conv2d::cpu::backward_input(self, weight, d_y, &mut m.d_x);
        conv2d::cpu::backward_params(self, x, d_y, &mut m.d_weight, &mut m.d_bias);
        m
    }
}

impl Affine for Linear {
    fn weight_len(&self) -> usize {
        self.outputs * self.inputs
    }

    fn bias_len(&self) -> usize {
        self.outputs
    }

    fn terms(&self, n: usize) -> Terms {
        Terms { y: self.inputs + 1, d_x: self.outputs, d_params: n }
    }

    fn mirror(&self, x: &[f64], weight: &[f64], bias: &[f64], d_y: &[f64]) -> Mirror {
        let mut m = Mirror {
            y: vec![f64::NAN; d_y.len()],
            d_x: vec![f64::NAN; x.len()],
            d_weight: vec![f64::NAN; weight.len()],
            d_bias: vec![f64::NAN; bias.len()],
        };
        linear::cpu::forward(self, x, weight, bias, &mut m.y);
        linear::cpu::backward_input(self, weight, d_y, &mut m.d_x);
        linear::cpu::backward_params(self, x, d_y, &mut m.d_weight, &mut m.d_bias);
        m
    }
}

/// Forward and all gradients of `op` over `n` samples, for all kinds of input.
fn check(gpus: &[Gpu], n: usize, op: &(impl Affine + std::fmt::Debug)) {
    for kind in KINDS {
        let x = kind.draw(1, n * op.input_len());
        let weight = kind.draw(2, op.weight_len());
        let bias = kind.draw(3, op.bias_len());
        let d_y = kind.draw(4, n * op.output_len());
        let want = op.mirror(&f64s(&x), &f64s(&weight), &f64s(&bias), &f64s(&d_y));
        let magnitude = op.mirror(&magnitudes(&x), &magnitudes(&weight), &magnitudes(&bias), &magnitudes(&d_y));
        let terms = op.terms(n);
        for gpu in gpus {
            let (y, _) = gpu.forward(op, n, &x, &[&weight, &bias], 0);
            let got = gpu.backward(op, &x, &[&weight, &bias], &[], &d_y, 0);
            kind.compare("y", &y, &want.y, &magnitude.y, terms.y)
                .and_then(|()| kind.compare("d_x", &got.d_x, &want.d_x, &magnitude.d_x, terms.d_x))
                .and_then(|()| {
                    kind.compare("d_weight", &got.d_params[0], &want.d_weight, &magnitude.d_weight, terms.d_params)
                })
                .and_then(|()| kind.compare("d_bias", &got.d_params[1], &want.d_bias, &magnitude.d_bias, terms.d_params))
                .and_then(|()| {
                    let alone = gpu.backward_params(op, &x, &[&weight, &bias], &[], &d_y);
                    exact("d_weight and d_bias without d_x", &alone, &got.d_params)
                })
                .unwrap_or_else(|e| panic!("{gpu}: {op:?}, batch {n}, {kind:?}: {e}"));
        }
    }
}

fn conv(n: usize, [channels, height, width, out, kernel, padding]: [usize; 6]) -> (usize, Conv2d) {
    (n, Conv2d { channels, height, width, out, kernel, padding })
}

pub fn smallest(gpus: &[Gpu]) {
    check(gpus, 2, &Conv2d { channels: 2, height: 3, width: 4, out: 2, kernel: 2, padding: 1 });
    check(gpus, 2, &Linear { inputs: 3, outputs: 2 });
}

#[test]
fn conv2d_agrees_with_its_mirror_at_every_kernel_size_and_padding() {
    let gpus = Gpu::all();
    let cases = [
        conv(1, [1, 1, 1, 1, 1, 0]), // one element of everything
        conv(3, [2, 1, 5, 3, 1, 0]), // a single row
        conv(2, [3, 4, 3, 2, 1, 1]), // outputs that see padding alone
        conv(1, [1, 5, 7, 1, 2, 0]),
        conv(5, [1, 8, 9, 7, 2, 1]),
        conv(1, [2, 3, 3, 5, 3, 0]), // the output is one element
        conv(3, [2, 7, 5, 3, 3, 1]),
        conv(2, [3, 11, 13, 5, 5, 2]),
        conv(1, [1, 2, 2, 2, 5, 2]), // the kernel is larger than the image
        conv(2, [3, 7, 7, 2, 7, 0]),
        conv(1, [2, 9, 8, 3, 7, 3]),
        conv(1, [1, 4, 5, 2, 3, 4]), // more padding than kernel
    ];
    for (n, op) in cases {
        check(&gpus, n, &op);
    }
}

#[test]
fn conv2d_agrees_with_its_mirror_one_past_a_workgroup() {
    let gpus = Gpu::all();
    let cases = [
        conv(1, [1, 10, 10, 1, 3, 0]), // 64 outputs
        conv(2, [1, 7, 15, 2, 3, 0]),  // 65 outputs
        conv(2, [1, 5, 13, 2, 3, 0]),  // 65 inputs
        conv(1, [7, 6, 5, 2, 3, 1]),   // 63 taps and a bias fill a workgroup
        conv(1, [16, 4, 5, 2, 2, 0]),  // 64 taps and a bias
        conv(67, [1, 5, 4, 1, 3, 0]),  // many samples
        conv(1, [67, 3, 4, 65, 2, 0]), // many channels
        conv(1, [1, 61, 59, 1, 7, 3]), // a large image
    ];
    for (n, op) in cases {
        check(&gpus, n, &op);
    }
}

#[test]
fn conv2d_agrees_with_its_mirror_at_the_networks_sizes() {
    let gpus = Gpu::all();
    for (n, op) in [conv(32, [1, 28, 28, 32, 3, 0]), conv(32, [32, 13, 13, 64, 3, 0])] {
        check(&gpus, n, &op);
    }
}

#[test]
fn linear_agrees_with_its_mirror_at_odd_and_prime_sizes() {
    let gpus = Gpu::all();
    let cases = [
        (1, 1, 1),
        (1, 7, 3),
        (3, 1, 2),
        (5, 3, 1),
        (4, 64, 8), // exactly one tile of each kernel
        (5, 65, 9), // one more
        (3, 63, 7), // one less
        (8, 256, 8),
        (9, 257, 17),
        (7, 255, 15),
        (67, 13, 11), // many samples
        (2, 3, 259),  // many outputs
        (13, 1601, 5),
        (33, 36, 17), // whole vec4s, one more than a tile
        (31, 132, 33),
    ];
    for (n, inputs, outputs) in cases {
        check(&gpus, n, &Linear { inputs, outputs });
    }
}

#[test]
fn linear_agrees_with_its_mirror_at_the_networks_sizes() {
    let gpus = Gpu::all();
    for (inputs, outputs) in [(1600, 128), (128, 10)] {
        check(&gpus, 32, &Linear { inputs, outputs });
        check(&gpus, 1, &Linear { inputs, outputs });
    }
}
