//! conv2d_relu_maxpool2d against its mirror, and against the three ops that it stands for.

use crate::common::exact;
use crate::{demand, gpus};
use mnist_wgpu::ops::conv2d_relu_maxpool2d::{Conv2dReluMaxPool2d, DEAD, cpu};
use mnist_wgpu::parity::fused::{self, Inputs, pack_winners};
use mnist_wgpu::parity::{Gpu, Kind};
use pollster::block_on;

fn fused(n: usize, [channels, height, width, out, padding]: [usize; 5]) -> (usize, Conv2dReluMaxPool2d) {
    (n, Conv2dReluMaxPool2d { channels, height, width, out, padding })
}

fn check(gpus: &[Gpu], n: usize, op: &Conv2dReluMaxPool2d) {
    demand(fused::check(gpus, n, op));
}

#[test]
fn conv2d_relu_maxpool2d_agrees_with_its_mirror_and_the_three_ops_it_stands_for() {
    let gpus = gpus();
    // Sizes around the kernels' blocks of windows, channels and slices.
    let cases = [
        fused(1, [1, 4, 4, 1, 0]), // one window
        fused(1, [1, 2, 2, 1, 1]), // one window, half of its field padding
        fused(3, [2, 7, 5, 9, 1]), // one output channel more than a tile
        fused(2, [5, 6, 9, 8, 0]), // a row and a column that fill no window
        fused(5, [3, 9, 7, 17, 2]),
        fused(1, [4, 5, 5, 7, 0]),
        fused(7, [1, 11, 4, 16, 1]),
        fused(43, [1, 4, 8, 3, 0]),  // 129 windows: one more than two per invocation of a workgroup
        fused(32, [2, 4, 10, 2, 0]), // 128 windows
        fused(1, [65, 5, 4, 3, 1]),  // many input channels
        fused(2, [3, 4, 6, 67, 0]),  // many output channels
        fused(1, [1, 61, 59, 2, 0]), // a large image
        fused(257, [1, 5, 5, 1, 0]), // more windows than slices
        fused(1, [2, 4, 23, 5, 3]),  // windows that see padding alone
    ];
    for (n, op) in cases {
        check(&gpus, n, &op);
    }
}

#[test]
fn conv2d_relu_maxpool2d_agrees_with_its_mirror_at_the_networks_sizes() {
    let gpus = gpus();
    for (n, op) in [fused(32, [1, 28, 28, 32, 0]), fused(32, [32, 13, 13, 64, 0])] {
        check(&gpus, n, &op);
    }
}

#[test]
fn conv2d_relu_maxpool2d_takes_more_planes_than_a_dispatch_has_workgroups() {
    let gpus = gpus();
    let (n, op) = fused(300, [219, 4, 4, 1, 0]);
    check(&gpus, n, &op);
}

#[test]
fn windows_that_relu_cut_are_dead_and_pass_no_gradient() {
    let (n, op) = fused(3, [2, 7, 8, 9, 1]);
    let mut negative = Inputs::draw(n, op.clone(), Kind::Integers);
    negative.bias.fill(-1e4);
    // ReLU's gradient at exactly 0 is 0 too.
    let mut zero = Inputs::draw(n, op, Kind::Integers);
    zero.x.fill(0.0);
    zero.bias.fill(0.0);
    for gpu in gpus() {
        for inputs in [&negative, &zero] {
            let (y, winner) = block_on(inputs.forward(&gpu)).expect("it runs");
            exact("y", &y, &vec![0.0; y.len()]).expect("all of it is cut to 0");
            exact("winner", &winner, &vec![DEAD; y.len()]).expect("all of it is dead");
            let got = block_on(inputs.backward(&gpu, &winner, &inputs.d_y)).expect("it runs");
            exact("d_x", &got.d_x, &vec![0.0; inputs.x.len()]).expect("nothing passes");
            exact("d_weight", &got.d_params[0], &vec![0.0; inputs.weight.len()]).expect("nothing passes");
            exact("d_bias", &got.d_params[1], &vec![0.0; inputs.bias.len()]).expect("nothing passes");
        }
    }
}

#[test]
fn of_equal_values_in_a_window_the_first_wins() {
    let (n, op) = fused(2, [1, 6, 6, 2, 0]);
    let mut inputs = Inputs::draw(n, op, Kind::Integers);
    inputs.x.fill(1.0);
    inputs.weight.fill(1.0);
    inputs.bias.fill(1.0);
    for gpu in gpus() {
        let (y, winner) = block_on(inputs.forward(&gpu)).expect("it runs");
        exact("y", &y, &vec![10.0; y.len()]).expect("nine ones and the bias");
        exact("winner", &winner, &vec![0; y.len()]).expect("all four are equal");
    }
}

/// Each of a window's inputs and taps enters one of its four outputs at least.
#[test]
fn a_nan_anywhere_in_a_windows_field_or_kernel_reaches_its_output() {
    let (n, op) = fused(1, [1, 4, 4, 1, 0]);
    let gpus = gpus();
    let inputs = || Inputs::draw(n, op.clone(), Kind::Even);
    let mut poisoned = vec![];
    for (part, len) in [(0, 16), (1, 9), (2, 1)] {
        for place in 0..len {
            let mut inputs = inputs();
            [&mut inputs.x, &mut inputs.weight, &mut inputs.bias][part][place] = f32::NAN;
            poisoned.push((inputs, part, place));
        }
    }
    for (inputs, part, place) in &poisoned {
        let (mut y, mut winner) = ([0.0], [0]);
        let (weight, bias) = (&inputs.weight, &inputs.bias);
        cpu::forward(&inputs.x, vec![cpu::Forward { op: &op, weight, bias, y: &mut y, winner: &mut winner }]);
        assert!(y[0].is_nan(), "CPU: part {part}, place {place}: {y:?}");
        for gpu in &gpus {
            let (y, _) = block_on(inputs.forward(gpu)).expect("it runs");
            assert!(y[0].is_nan(), "{gpu}: part {part}, place {place}: {y:?}");
        }
    }
}

/// The first op of a network is asked for no gradient of its input.
#[test]
fn without_d_x_the_gradients_of_the_parameters_are_the_same() {
    let (n, op) = fused(3, [2, 7, 5, 9, 1]);
    let inputs = Inputs::draw(n, op, Kind::Mixed);
    for gpu in gpus() {
        let (_, winner) = block_on(inputs.forward(&gpu)).expect("it runs");
        let want = block_on(inputs.backward(&gpu, &winner, &inputs.d_y)).expect("it runs").d_params;
        let words = pack_winners(&inputs.op, &winner);
        let params: [&[f32]; 2] = [&inputs.weight, &inputs.bias];
        let got = gpu.backward_params(&inputs.op, &inputs.x, &params, &words, &inputs.d_y, 0);
        let got = block_on(got).expect("it runs");
        exact("gradients", &got, &want).expect("the same kernels ran");
    }
}
