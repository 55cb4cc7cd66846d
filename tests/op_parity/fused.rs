//! conv2d_relu_maxpool2d against its mirror, and against the three ops that it stands for.

use crate::common::{SENTINEL, bound, close, exact, f64s, magnitudes, pack_winners, unpack_winners, within};
use crate::{Gpu, Gradients, KINDS, Kind};
use mnist_wgpu::ops::conv2d::{self, Conv2d};
use mnist_wgpu::ops::conv2d_relu_maxpool2d::{Conv2dReluMaxPool2d, DEAD, KERNEL, WINDOW, cpu};
use mnist_wgpu::ops::{Op, maxpool2d::MaxPool2d, relu::Relu};

/// The inputs of one comparison.
struct Inputs {
    n: usize,
    op: Conv2dReluMaxPool2d,
    x: Vec<f32>,
    weight: Vec<f32>,
    bias: Vec<f32>,
    d_y: Vec<f32>,
}

impl Inputs {
    fn draw(n: usize, op: Conv2dReluMaxPool2d, kind: Kind) -> Self {
        let x = kind.draw(1, n * op.input_len());
        let weight = kind.draw(2, op.weight_len());
        let bias = kind.draw(3, op.out);
        let d_y = kind.draw(4, n * op.output_len());
        Self { n, op, x, weight, bias, d_y }
    }

    fn conv(&self) -> Conv2d {
        let Conv2dReluMaxPool2d { channels, height, width, out, padding } = self.op;
        Conv2d { channels, height, width, out, kernel: KERNEL, padding }
    }

    /// Where in the convolution's output (N, O, OH, OW) element `q` of window `w` of (N, O, PH, PW) lies.
    fn element(&self, w: usize, q: usize) -> usize {
        let ((oh, ow), (ph, pw)) = (self.conv().output_size(), self.op.pooled());
        let (plane, row, column) = (w / (ph * pw), w / pw % ph, w % pw);
        plane * oh * ow + (WINDOW * row + q / WINDOW) * ow + WINDOW * column + q % WINDOW
    }

    /// The convolution alone, in f64, and how far each of its elements may be off.
    fn convolution(&self) -> (Vec<f64>, Vec<f64>) {
        let conv = self.conv();
        let mut sums = vec![f64::NAN; self.n * conv.output_len()];
        let mut bounds = sums.clone();
        conv2d::cpu::forward(&conv, &f64s(&self.x), &f64s(&self.weight), &f64s(&self.bias), &mut sums);
        let (x, weight, bias) = (magnitudes(&self.x), magnitudes(&self.weight), magnitudes(&self.bias));
        conv2d::cpu::forward(&conv, &x, &weight, &bias, &mut bounds);
        bounds.iter_mut().for_each(|b| *b = bound(self.op.fan_in() + 1, *b));
        (sums, bounds)
    }

    fn forward(&self, gpu: &Gpu) -> (Vec<f32>, Vec<u32>) {
        let (y, words) = gpu.forward(&self.op, self.n, &self.x, &[&self.weight, &self.bias], 0);
        (y, unpack_winners(&self.op, self.n, &words))
    }

    fn backward(&self, gpu: &Gpu, winner: &[u32], d_y: &[f32]) -> Gradients {
        let words = pack_winners(&self.op, winner);
        gpu.backward(&self.op, &self.x, &[&self.weight, &self.bias], &words, d_y, 0)
    }

    /// Where the four elements of a window differ by less than rounding, any of them may win; the winner has to be one that
    /// can be the maximum. A window is dead where its maximum can be 0 or less.
    fn check_winners(&self, sums: &[f64], bounds: &[f64], y: &[f32], winner: &[u32]) -> Result<(), String> {
        for (w, (&y, &winner)) in y.iter().zip(winner).enumerate() {
            let at: [usize; 4] = std::array::from_fn(|q| self.element(w, q));
            let least = at.map(|at| sums[at] - bounds[at]).into_iter().fold(0.0, f64::max);
            let told = || format!("window {w}: y {y:e}, winner {winner}, convolution {:?}", at.map(|at| sums[at]));
            let plausible = match winner {
                DEAD => least <= 0.0 && y == 0.0,
                0..4 => sums[at[winner as usize]] + bounds[at[winner as usize]] >= least && y > 0.0,
                _ => false,
            };
            if !plausible {
                return Err(told());
            }
        }
        Ok(())
    }

    fn check_forward(&self, kind: Kind, gpu: &Gpu) -> Result<(Vec<f32>, Vec<u32>), String> {
        let (y, winner) = self.forward(gpu);
        let (mut want, mut want_winner) = (vec![f64::NAN; y.len()], vec![u32::MAX; y.len()]);
        let (x, weight, bias) = (f64s(&self.x), f64s(&self.weight), f64s(&self.bias));
        cpu::forward(&self.op, &x, &weight, &bias, &mut want, &mut want_winner);
        if kind == Kind::Integers {
            exact("y", &f64s(&y), &want)?;
            exact("winner", &winner, &want_winner)?;
        }
        let (sums, bounds) = self.convolution();
        let window = |w| (0..4).map(|q| bounds[self.element(w, q)]).fold(0.0, f64::max);
        within("y", &y, &want, &(0..y.len()).map(window).collect::<Vec<_>>())?;
        self.check_winners(&sums, &bounds, &y, &winner)?;
        Ok((y, winner))
    }

    /// `d_x`, `d_weight`, `d_bias` of the mirror for the same winners.
    fn mirror(&self, winner: &[u32], values: fn(&[f32]) -> Vec<f64>) -> [Vec<f64>; 3] {
        let mut d_x = vec![f64::NAN; self.x.len()];
        let (mut d_weight, mut d_bias) = (vec![f64::NAN; self.weight.len()], vec![f64::NAN; self.bias.len()]);
        let (x, weight, d_y) = (values(&self.x), values(&self.weight), values(&self.d_y));
        cpu::backward(&self.op, &x, &weight, winner, &d_y, Some(&mut d_x), &mut d_weight, &mut d_bias);
        [d_x, d_weight, d_bias]
    }

    fn check_backward(&self, kind: Kind, gpu: &Gpu, winner: &[u32]) -> Result<(), String> {
        let (want, magnitude) = (self.mirror(winner, f64s), self.mirror(winner, magnitudes));
        let got = self.backward(gpu, winner, &self.d_y);
        let windows = self.n * self.op.windows();
        kind.compare("d_x", &got.d_x, &want[0], &magnitude[0], self.op.out * KERNEL * KERNEL)?;
        kind.compare("d_weight", &got.d_params[0], &want[1], &magnitude[1], windows)?;
        kind.compare("d_bias", &got.d_params[1], &want[2], &magnitude[2], windows)
    }
}

fn fused(n: usize, [channels, height, width, out, padding]: [usize; 5]) -> (usize, Conv2dReluMaxPool2d) {
    (n, Conv2dReluMaxPool2d { channels, height, width, out, padding })
}

/// Forward and all gradients, for all kinds of input: against the mirror and against the three ops in a row.
fn check(gpus: &[Gpu], n: usize, op: &Conv2dReluMaxPool2d) {
    for kind in KINDS {
        let inputs = Inputs::draw(n, op.clone(), kind);
        for gpu in gpus {
            let check = || {
                let (y, winner) = inputs.check_forward(kind, gpu)?;
                inputs.check_backward(kind, gpu, &winner)?;
                check_against_unfused(gpu, &inputs, kind, &y, &winner).map_err(|e| format!("against the unfused ops: {e}"))
            };
            check().unwrap_or_else(|e| panic!("{gpu}: {op:?}, batch {n}, {kind:?}: {e}"));
        }
    }
}

pub fn smallest(gpus: &[Gpu]) {
    let (n, op) = fused(2, [2, 5, 6, 3, 1]);
    check(gpus, n, &op);
}

#[test]
fn conv2d_relu_maxpool2d_agrees_with_its_mirror_and_the_three_ops_it_stands_for() {
    let gpus = Gpu::all();
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
    let gpus = Gpu::all();
    for (n, op) in [fused(32, [1, 28, 28, 32, 0]), fused(32, [32, 13, 13, 64, 0])] {
        check(&gpus, n, &op);
    }
}

#[test]
fn conv2d_relu_maxpool2d_takes_more_planes_than_a_dispatch_has_workgroups() {
    let gpus = Gpu::all();
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
    for gpu in Gpu::all() {
        for inputs in [&negative, &zero] {
            let (y, winner) = inputs.forward(&gpu);
            exact("y", &y, &vec![0.0; y.len()]).expect("all of it is cut to 0");
            exact("winner", &winner, &vec![DEAD; y.len()]).expect("all of it is dead");
            let got = inputs.backward(&gpu, &winner, &inputs.d_y);
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
    for gpu in Gpu::all() {
        let (y, winner) = inputs.forward(&gpu);
        exact("y", &y, &vec![10.0; y.len()]).expect("nine ones and the bias");
        exact("winner", &winner, &vec![0; y.len()]).expect("all four are equal");
    }
}

/// The first op of a network is asked for no gradient of its input.
#[test]
fn without_d_x_the_gradients_of_the_parameters_are_the_same() {
    let (n, op) = fused(3, [2, 7, 5, 9, 1]);
    let inputs = Inputs::draw(n, op, Kind::Mixed);
    for gpu in Gpu::all() {
        let (_, winner) = inputs.forward(&gpu);
        let want = inputs.backward(&gpu, &winner, &inputs.d_y).d_params;
        let words = pack_winners(&inputs.op, &winner);
        let got = gpu.backward_params(&inputs.op, &inputs.x, &[&inputs.weight, &inputs.bias], &words, &inputs.d_y);
        exact("gradients", &got, &want).expect("the same kernels ran");
    }
}

/// conv2d, relu and maxpool2d in a row on the same device.
struct Unfused<'a> {
    inputs: &'a Inputs,
    relu: Relu,
    pool: MaxPool2d,
    sums: Vec<f32>,
    rectified: Vec<f32>,
    y: Vec<f32>,
    winner: Vec<u32>,
}

impl<'a> Unfused<'a> {
    fn forward(gpu: &Gpu, inputs: &'a Inputs) -> Self {
        let conv = inputs.conv();
        let (height, width) = conv.output_size();
        let relu = Relu { len: conv.output_len() };
        let pool = MaxPool2d { channels: conv.out, height, width, size: WINDOW };
        let (sums, _) = gpu.forward(&conv, inputs.n, &inputs.x, &[&inputs.weight, &inputs.bias], 0);
        let (rectified, _) = gpu.forward(&relu, inputs.n, &sums, &[], 0);
        let (y, winner) = gpu.forward(&pool, inputs.n, &rectified, &[], 0);
        Self { inputs, relu, pool, sums, rectified, y, winner }
    }

    fn backward(&self, gpu: &Gpu, d_y: &[f32]) -> Gradients {
        let Inputs { x, weight, bias, .. } = self.inputs;
        let d_rectified = gpu.backward(&self.pool, &self.rectified, &[], &self.winner, d_y, 0).d_x;
        let d_sums = gpu.backward(&self.relu, &self.sums, &[], &[], &d_rectified, 0).d_x;
        gpu.backward(&self.inputs.conv(), x, &[weight, bias], &[], &d_sums, 0)
    }

    /// The winner of window `w` as the fused op tells it.
    fn winner(&self, w: usize) -> u32 {
        let plane = w / self.inputs.op.windows() * self.pool.height * self.pool.width;
        let at = plane + self.winner[w] as usize;
        let q = (0..4).find(|&q| self.inputs.element(w, q) == at).expect("the winner lies in its window");
        if self.y[w] > 0.0 { q as u32 } else { DEAD }
    }
}

fn check_against_unfused(gpu: &Gpu, inputs: &Inputs, kind: Kind, y: &[f32], winner: &[u32]) -> Result<(), String> {
    let unfused = Unfused::forward(gpu, inputs);
    let unfused_winner: Vec<u32> = (0..y.len()).map(|w| unfused.winner(w)).collect();
    let (_, bounds) = inputs.convolution();
    let window = |w| (0..4).map(|q| bounds[inputs.element(w, q)]).fold(0.0, f64::max);
    within("y", y, &f64s(&unfused.y), &(0..y.len()).map(window).collect::<Vec<_>>())?;

    // Where rounding let different elements win, the gradients may differ by more than rounding: none enters there.
    let same = |w: usize| winner[w] == unfused_winner[w];
    let d_y: Vec<f32> = (0..y.len()).map(|w| if same(w) { inputs.d_y[w] } else { 0.0 }).collect();
    if kind == Kind::Integers {
        exact("y", y, &unfused.y)?;
        exact("winner", winner, &unfused_winner)?;
    }
    let (got, want) = (inputs.backward(gpu, winner, &d_y), unfused.backward(gpu, &d_y));
    if kind == Kind::Integers {
        exact("d_x", &got.d_x, &want.d_x)?;
        exact("d_weight", &got.d_params[0], &want.d_params[0])?;
        return exact("d_bias", &got.d_params[1], &want.d_params[1]);
    }
    let magnitude = inputs.mirror(winner, magnitudes);
    let windows = inputs.n * inputs.op.windows();
    assert!(want.d_x.iter().all(|d| d.to_bits() != SENTINEL.to_bits()), "the unfused ops left d_x unwritten");
    close("d_x", &got.d_x, &f64s(&want.d_x), &magnitude[0], inputs.op.out * KERNEL * KERNEL)?;
    close("d_weight", &got.d_params[0], &f64s(&want.d_params[0]), &magnitude[1], windows)?;
    close("d_bias", &got.d_params[1], &f64s(&want.d_params[1]), &magnitude[2], windows)
}
