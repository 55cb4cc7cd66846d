//! The fused op is the three ops that it replaces, ties included.
//!
//! Inputs are small whole numbers, so that every product and sum is exact in any order, many windows tie, and the
//! results are compared exactly. What the three do on ties and zeros is held against PyTorch beside this file.

use crate::common::{exact, hash};
use crate::ops::{Gpu, with_gpus};
use mnist_wgpu::ops::conv2d::{self, Conv2d};
use mnist_wgpu::ops::conv2d_relu_maxpool2d::{self as fused, Conv2dReluMaxPool2d};
use mnist_wgpu::ops::maxpool2d::{self, MaxPool2d};
use mnist_wgpu::ops::{BackwardTensors, ForwardTensors, OnGpu, Op, relu};

/// Whole numbers from -`most` to `most`.
fn draw(stream: u32, len: usize, most: u32) -> Vec<f32> {
    let number = |i: u32| (hash(i.wrapping_add(hash(stream))) % (2 * most + 1)) as f32 - most as f32;
    (0..len as u32).map(number).collect()
}

struct Inputs {
    n: usize,
    x: Vec<f32>,
    weight: Vec<f32>,
    bias: Vec<f32>,
    d_y: Vec<f32>,
}

/// y, d_x, d_weight, d_bias
type Outputs = [Vec<f32>; 4];

fn three_ops(op: &Conv2dReluMaxPool2d, t: &Inputs) -> Outputs {
    let &Conv2dReluMaxPool2d { channels, height, width, out, padding } = op;
    let conv = Conv2d { channels, height, width, out, kernel: 3, padding, stride: 1 };
    let (height, width) = conv.output_size();
    let pool = MaxPool2d { channels: out, height, width, size: 2 };
    let zeros = |len| vec![0.0; len];
    let len = t.n * conv.output_len();

    let (mut sums, mut cut, mut y, mut winner) = (zeros(len), zeros(len), zeros(t.d_y.len()), vec![0; t.d_y.len()]);
    conv2d::cpu::forward(&conv, &t.x, &t.weight, &t.bias, &mut sums, |_| {});
    relu::cpu::forward(&sums, &mut cut);
    maxpool2d::cpu::forward(&pool, &cut, &mut y, &mut winner);

    let (mut d_cut, mut d_sums) = (zeros(len), zeros(len));
    let (mut d_x, mut d_weight, mut d_bias) = (zeros(t.x.len()), zeros(t.weight.len()), zeros(out));
    maxpool2d::cpu::backward(&pool, &winner, &t.d_y, &mut d_cut);
    relu::cpu::backward(&sums, &d_cut, &mut d_sums);
    conv2d::cpu::backward_input(&conv, &t.weight, &d_sums, &mut d_x);
    conv2d::cpu::backward_params(&conv, &t.x, &d_sums, &mut d_weight, &mut d_bias);
    [y, d_x, d_weight, d_bias]
}

fn on_cpu(op: &Conv2dReluMaxPool2d, t: &Inputs) -> Outputs {
    let (mut y, mut winner) = (vec![f32::NAN; t.d_y.len()], vec![u8::MAX; t.d_y.len()]);
    let layer = fused::cpu::Forward { op, weight: &t.weight, bias: &t.bias, y: &mut y, winner: &mut winner };
    fused::cpu::forward(&t.x, vec![layer]);
    let [mut d_x, mut d_weight, mut d_bias] = [&t.x, &t.weight, &t.bias].map(|of| vec![f32::NAN; of.len()]);
    let layer = fused::cpu::Backward {
        op,
        x: &t.x,
        weight: &t.weight,
        winner: &winner,
        d_weight: &mut d_weight,
        d_bias: &mut d_bias,
    };
    fused::cpu::backward(vec![layer], &t.d_y, Some(&mut d_x));
    [y, d_x, d_weight, d_bias]
}

fn on_gpu(gpu: &Gpu, op: &Conv2dReluMaxPool2d, t: &Inputs) -> Outputs {
    let (x, params) = (&gpu.tensor(&t.x), [gpu.tensor(&t.weight), gpu.tensor(&t.bias)]);
    let (y, saved) = (&gpu.unwritten(t.d_y.len()), &gpu.tensor(&vec![u32::MAX; t.d_y.len()]));
    let (d_y, d_x) = (&gpu.tensor(&t.d_y), &gpu.unwritten(t.x.len()));
    let d_params = [gpu.unwritten(t.weight.len()), gpu.unwritten(t.bias.len())];
    gpu.run("fused", |planner| {
        op.plan_forward(planner, &ForwardTensors { n: t.n, training: true, x, params: &params, buffers: &[], y, saved })?;
        let backward = BackwardTensors { n: t.n, x, params: &params, saved, d_y, d_x: Some(d_x), d_params: &d_params };
        op.plan_backward(planner, &backward)
    });
    [y, d_x, &d_params[0], &d_params[1]].map(|tensor| gpu.read(tensor))
}

#[test]
fn the_fused_op_is_the_three_it_replaces_on_ties_and_zeros() {
    with_gpus(|gpus| {
        // N, C, H, W, O, P; the last fills the CPU path's lanes and blocks, with some over in each
        let cases = [(1, 1, 4, 4, 1, 0), (3, 2, 7, 9, 5, 0), (5, 3, 6, 5, 2, 1), (2, 1, 8, 8, 9, 2), (2, 11, 20, 19, 21, 1)];
        for (case, (n, channels, height, width, out, padding)) in cases.into_iter().enumerate() {
            let op = Conv2dReluMaxPool2d { channels, height, width, out, padding };
            let stream = 2000 + 10 * case as u32;
            let inputs = Inputs {
                n,
                x: draw(stream, n * op.input_len(), 1),
                weight: draw(stream + 1, op.weight_len(), 1),
                bias: draw(stream + 2, out, 1),
                d_y: draw(stream + 3, n * op.output_len(), 8),
            };
            let want = three_ops(&op, &inputs);
            assert!(want[0].contains(&0.0) || case == 0, "{op:?}: some windows are cut to 0");
            let check = |device: &str, got: Outputs| {
                for (name, (got, want)) in ["y", "d_x", "d_weight", "d_bias"].iter().zip(got.iter().zip(&want)) {
                    exact(&format!("{device}, {op:?}, {name}"), got, want).unwrap_or_else(|e| panic!("{e}"));
                }
            };
            check("CPU", on_cpu(&op, &inputs));
            gpus.iter().for_each(|gpu| check(&gpu.name, on_gpu(gpu, &op, &inputs)));
        }
    });
}
