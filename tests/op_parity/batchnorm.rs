//! batchnorm2d: statistics, normalisation and gradients.

use crate::{demand, gpus};
use mnist_wgpu::ops::batchnorm2d::BatchNorm2d;
use mnist_wgpu::ops::conv2d::Conv2d;
use mnist_wgpu::ops::conv2d_batchnorm2d::Conv2dBatchNorm2d;
use mnist_wgpu::ops::{ForwardSlices, OnCpu, Op};
use mnist_wgpu::parity::Kind;
use mnist_wgpu::parity::batchnorm::{check, check_folded};

#[test]
fn batchnorm2d_agrees_with_its_mirror_at_odd_sizes_and_one_past_a_workgroup() {
    let gpus = gpus();
    let cases = [
        (2, 1, 1), // the least that has a variance
        (1, 3, 7),
        (3, 5, 85),
        (1, 2, 256), // an element for each invocation
        (1, 2, 257),
        (67, 3, 13), // many samples
        (2, 259, 5), // many channels
        (128, 8, 64),
    ];
    for (n, channels, plane) in cases {
        for relu in [false, true] {
            demand(check(&gpus, n, &BatchNorm2d { channels, plane, relu }));
        }
    }
}

#[test]
fn batchnorm2d_takes_more_planes_than_a_dispatch_has_workgroups() {
    demand(check(&gpus(), 300, &BatchNorm2d { channels: 219, plane: 2, relu: true }));
}

/// Batches and convolutions, of any algorithm, with what is normalised behind them.
fn folded() -> Vec<(usize, Conv2dBatchNorm2d)> {
    let cases = [
        (1, [1, 1, 1, 1, 1, 0], 1), // one element of everything
        (3, [2, 5, 9, 5, 3, 1], 1), // a patch that is cut off on both sides, a tile as well
        (2, [3, 8, 7, 6, 5, 2], 2),
        (5, [9, 12, 11, 8, 3, 0], 1), // Winograd's on the CPU
    ];
    let case = |(n, [channels, height, width, out, kernel, padding], stride): (usize, [usize; 6], usize)| {
        let conv = Conv2d { channels, height, width, out, kernel, padding, stride };
        let (oh, ow) = conv.output_size();
        let folded =
            |relu| (n, Conv2dBatchNorm2d { conv: conv.clone(), norm: BatchNorm2d { channels: out, plane: oh * ow, relu } });
        [folded(false), folded(true)]
    };
    cases.into_iter().flat_map(case).collect()
}

#[test]
fn a_convolution_that_normalises_agrees_with_its_mirror() {
    let gpus = gpus();
    for (n, op) in folded() {
        demand(check_folded(&gpus, n, &op));
    }
}

#[test]
fn a_convolution_that_normalises_has_the_bits_of_both_ops_on_the_cpu() {
    for (n, op) in folded() {
        let draw = |stream, len| Kind::Even.draw(stream, len);
        let (x, weight) = (draw(1, n * op.input_len()), draw(2, op.conv.weight_len()));
        let [bias, norm_weight, norm_bias, mean, var] = [3, 4, 5, 6, 7].map(|stream| draw(stream, op.conv.out));
        let run = |op: &dyn OnCpu, x: &[f32], params: &[&[f32]]| {
            let (mut mean, mut var) = (mean.clone(), Vec::from_iter(var.iter().map(|x| x.abs() + 0.25)));
            let (mut y, mut saved) = (vec![f32::NAN; n * op.output_len()], vec![0; n * op.saved_words()]);
            let buffers: &mut [&mut [f32]] = &mut [&mut mean, &mut var];
            op.forward(ForwardSlices { x, params, buffers, y: &mut y, saved: &mut saved, training: false, step: 0 });
            y
        };
        let got = run(&op, &x, &[&weight, &bias, &norm_weight, &norm_bias]);
        let between = run(&op.conv, &x, &[&weight, &bias]);
        assert_eq!(got, run(&op.norm, &between, &[&norm_weight, &norm_bias]), "{op:?}");
    }
}
