//! conv2d and linear: a weight, a bias, sums of products.

use crate::{demand, gpus};
use mnist_wgpu::ops::conv2d::{self, Conv2d, minimal};
use mnist_wgpu::ops::{Op, linear::Linear};
use mnist_wgpu::parity::affine::{Affine, with_dropout};
use mnist_wgpu::parity::{Gpu, Kind, affine};

fn check(gpus: &[Gpu], n: usize, op: &(impl Affine + std::fmt::Debug)) {
    demand(affine::check(gpus, n, op));
}

fn conv(n: usize, sizes: [usize; 6]) -> (usize, Conv2d) {
    strided(n, sizes, 1)
}

fn strided(n: usize, [channels, height, width, out, kernel, padding]: [usize; 6], stride: usize) -> (usize, Conv2d) {
    (n, Conv2d { channels, height, width, out, kernel, padding, stride })
}

#[test]
fn conv2d_agrees_with_its_mirror_at_every_kernel_size_and_padding() {
    let gpus = gpus();
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
fn conv2d_agrees_with_its_mirror_at_every_stride() {
    let gpus = gpus();
    let cases = [
        strided(1, [1, 1, 1, 1, 1, 0], 7),  // one element of everything
        strided(3, [2, 8, 7, 3, 3, 1], 2),  // a column that no kernel begins at
        strided(2, [3, 9, 9, 2, 2, 0], 2),  // kernels side by side, a row and a column left over
        strided(2, [1, 11, 8, 5, 2, 1], 3), // gaps between the kernels
        strided(5, [2, 5, 13, 9, 5, 2], 4),
        strided(1, [9, 6, 6, 3, 3, 1], 6), // one output
    ];
    for (n, op) in cases {
        check(&gpus, n, &op);
    }
}

#[test]
fn conv2d_agrees_with_its_mirror_one_past_a_workgroup() {
    let gpus = gpus();
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
    let gpus = gpus();
    for (n, op) in [conv(32, [1, 28, 28, 32, 3, 0]), conv(32, [32, 13, 13, 64, 3, 0])] {
        check(&gpus, n, &op);
    }
}

/// Winograd's algorithm sums the same terms, and a few more that cancel: in f64 hardly anything is left between the
/// two.
#[test]
fn the_minimal_convolution_is_the_plain_one_at_odd_sizes_and_paddings() {
    let cases = [
        conv(1, [8, 3, 3, 8, 3, 0]), // one output
        conv(3, [8, 5, 4, 9, 3, 0]), // windows that are cut off in either direction
        conv(2, [11, 6, 7, 8, 3, 1]),
        conv(5, [17, 4, 9, 13, 3, 2]),
        conv(2, [8, 26, 26, 16, 3, 0]), // more than a block of windows
    ];
    for (n, op) in cases {
        let draw = |stream, len| -> Vec<f64> { Kind::Even.draw(stream, len).into_iter().map(f64::from).collect() };
        let (x, weight, bias) = (draw(1, n * op.input_len()), draw(2, op.weight_len()), draw(3, op.out));
        let d_y = draw(4, n * op.output_len());
        let close = |what: &str, got: &[f64], want: &[f64], terms: usize| {
            for (got, want) in got.iter().zip(want) {
                let bound = 64.0 * terms as f64 * f64::EPSILON;
                assert!((got - want).abs() <= bound, "{op:?}, {what}: {got:e}, {want:e}");
            }
        };
        let unwritten = |len| (vec![f64::NAN; len], vec![f64::NAN; len]);
        let (mut got, mut want) = unwritten(d_y.len());
        minimal::forward(&op, &x, &weight, &bias, &mut got, |_| {});
        conv2d::cpu::forward(&op, &x, &weight, &bias, &mut want, |_| {});
        close("y", &got, &want, op.fan_in());
        let (mut got, mut want) = unwritten(x.len());
        minimal::backward_input(&op, &weight, &d_y, &mut got);
        conv2d::cpu::backward_input(&op, &weight, &d_y, &mut want);
        close("d_x", &got, &want, 9 * op.out);
        let ((mut got, mut want), (mut got_bias, mut want_bias)) = (unwritten(weight.len()), unwritten(op.out));
        minimal::backward_params(&op, &x, &d_y, &mut got, &mut got_bias);
        conv2d::cpu::backward_params(&op, &x, &d_y, &mut want, &mut want_bias);
        let (oh, ow) = op.output_size();
        close("d_weight", &got, &want, n * oh * ow);
        close("d_bias", &got_bias, &want_bias, n * oh * ow);
    }
}

#[test]
fn linear_agrees_with_its_mirror_at_odd_and_prime_sizes() {
    let gpus = gpus();
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
        check(&gpus, n, &Linear::new(inputs, outputs));
    }
}

#[test]
fn linear_agrees_with_its_mirror_where_inputs_are_dropped() {
    let gpus = gpus();
    for (n, inputs, outputs, p) in
        [(1, 1, 1, 0.5), (5, 65, 9, 0.75), (67, 13, 11, 0.5), (9, 257, 17, 0.875), (32, 128, 10, 0.5)]
    {
        check(&gpus, n, &with_dropout(inputs, outputs, p));
    }
}

#[test]
fn linear_agrees_with_its_mirror_at_the_networks_sizes() {
    let gpus = gpus();
    for (inputs, outputs) in [(1600, 128), (128, 10)] {
        check(&gpus, 32, &Linear::new(inputs, outputs));
        check(&gpus, 1, &Linear::new(inputs, outputs));
    }
}
