//! Every backward pass of the CPU mirror is the gradient of its forward pass: central finite differences, in f64.
//!
//! Each op's output y is reduced to one number, the objective `L = sum d_y * y` with fixed random d_y. Then d_x is the
//! gradient of L, and element i of it is compared with `(L(x + h e_i) - L(x - h e_i)) / 2h`. What the two may differ
//! by:
//!
//! - truncation, `h^2 / 6 * max|L'''|`. Along one coordinate every op but two is linear, once its inputs stand
//!   far enough from ties and zeros (which is asserted, not hoped for): there it is 0.
//! - rounding. L is a sum of products; with t terms in a row and M = `sum|terms|`, each L is off by at most
//!   `2 t EPS64 M`, so the quotient by `2 t EPS64 M / h`. The analytic gradient rounds too, by at most
//!   `2 t EPS64 sum|its terms|`; with M taken at inputs whose absolute values were raised by h, that sum is at most
//!   M / h. Together: `4 t EPS64 M / h`.

mod common;

use common::uniform;
use mnist_wgpu::ops::avgpool2d::{self, AvgPool2d};
use mnist_wgpu::ops::batchnorm2d::{self, BatchNorm2d};
use mnist_wgpu::ops::conv2d::{self, Conv2d};
use mnist_wgpu::ops::conv2d_relu_maxpool2d::{Conv2dReluMaxPool2d, DEAD, cpu};
use mnist_wgpu::ops::cross_entropy::{self, CrossEntropy};
use mnist_wgpu::ops::dropout::{self, Dropout};
use mnist_wgpu::ops::leaky_relu::{self, LeakyRelu};
use mnist_wgpu::ops::linear::{self, Linear};
use mnist_wgpu::ops::maxpool2d::{self, MaxPool2d};
use mnist_wgpu::ops::relu;

/// Rounding of f64: half a unit in the last place of 1.
const EPS64: f64 = f64::EPSILON / 2.0;

/// Small, so that no step crosses a tie, and a power of two, so that `x + h` and `x - h` are exact for x of 24 bits.
const H: f64 = 1.0 / 65_536.0;

/// What the bound above is made of: t, M and `max|L'''|`.
type Bound = (usize, f64, f64);

/// Compares `gradient` with the central differences of `objective` at `x`.
fn compare(gradient: &[f64], x: &[f64], objective: impl Fn(&[f64]) -> f64, bound: Bound) -> Result<(), String> {
    let (terms, magnitude, third) = bound;
    let bound = H * H / 6.0 * third + 4.0 * terms as f64 * EPS64 * magnitude / H;
    if !(bound < 1e-4) {
        return Err(format!("a bound of {bound:e} would let mistakes through"));
    }
    if gradient.len() != x.len() {
        return Err(format!("{} elements, expected {}", gradient.len(), x.len()));
    }
    if gradient.iter().all(|&d| d == 0.0) {
        return Err("nothing but zeros, which proves nothing".into());
    }
    let mut moved = x.to_vec();
    for i in 0..x.len() {
        moved[i] = x[i] + H;
        let above = objective(&moved);
        moved[i] = x[i] - H;
        let below = objective(&moved);
        moved[i] = x[i];
        let (got, numeric) = (gradient[i], (above - below) / (2.0 * H));
        let error = (got - numeric).abs();
        // Written so that a NaN on either side fails.
        if !(error <= bound) {
            return Err(format!(
                "element {i} is {got:e}, finite differences give {numeric:e}: off by {error:e}, allowed {bound:e}"
            ));
        }
    }
    Ok(())
}

fn check(what: &str, gradient: &[f64], x: &[f64], objective: impl Fn(&[f64]) -> f64, bound: Bound) {
    if let Err(e) = compare(gradient, x, objective, bound) {
        panic!("{what}: {e}");
    }
}

/// `len` numbers in [-1, 1), exact in 24 bits.
fn draw(stream: u32, len: usize) -> Vec<f64> {
    (0..len as u32).map(|i| f64::from(2.0 * uniform(stream, i) - 1.0)).collect()
}

/// `len` numbers of both signs in mixed order, all at least 1/16 apart from each other and 1/32 from 0.
fn spaced(len: usize) -> Vec<f64> {
    const PRIME: usize = 7919; // shares no factor with any length used here, so that no number comes twice
    assert_ne!(len % PRIME, 0);
    (0..len).map(|i| ((i * PRIME % len) as f64 - (len / 2) as f64 + 0.5) / 16.0).collect()
}

/// Absolute values, raised by h: where M is taken.
fn raised(x: &[f64]) -> Vec<f64> {
    x.iter().map(|x| x.abs() + H).collect()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn zeros(len: usize) -> Vec<f64> {
    vec![0.0; len]
}

/// Filled in before a backward pass, which has to overwrite it.
fn unwritten(len: usize) -> Vec<f64> {
    vec![f64::NAN; len]
}

/// The objective over a forward pass with `len` outputs.
fn objective(d_y: &[f64], forward: impl FnOnce(&mut [f64])) -> f64 {
    let mut y = unwritten(d_y.len());
    forward(&mut y);
    dot(d_y, &y)
}

#[test]
fn conv2d_backward_is_the_gradient() {
    // N, C, H, W, O, K, P, S: one element; padding; even kernels; a kernel as large as the image; more than one task of
    // samples; strides that leave columns over, that are as large as the kernel, and larger
    let cases = [
        (1, 1, 1, 1, 1, 1, 0, 1),
        (2, 3, 5, 4, 2, 3, 1, 1),
        (1, 2, 6, 3, 3, 2, 1, 1),
        (2, 1, 4, 4, 5, 4, 0, 1),
        (3, 2, 5, 7, 3, 5, 2, 1),
        (9, 1, 4, 5, 2, 3, 0, 1),
        (2, 2, 6, 8, 3, 3, 1, 2),
        (2, 1, 7, 5, 2, 2, 0, 2),
        (1, 2, 8, 7, 2, 2, 1, 3),
    ];
    for (case, (n, channels, height, width, out, kernel, padding, stride)) in cases.into_iter().enumerate() {
        let op = Conv2d { channels, height, width, out, kernel, padding, stride };
        let (oh, ow) = op.output_size();
        let (inputs, outputs) = (n * channels * height * width, n * out * oh * ow);
        let stream = 10 * case as u32;
        let (x, weight, bias) = (draw(stream, inputs), draw(stream + 1, op.weight_len()), draw(stream + 2, out));
        let d_y = draw(stream + 3, outputs);
        let l = |d_y: &[f64], x: &[f64], weight: &[f64], bias: &[f64]| {
            objective(d_y, |y| conv2d::cpu::forward(&op, x, weight, bias, y, |_| {}))
        };
        let magnitude = l(&raised(&d_y), &raised(&x), &raised(&weight), &raised(&bias));
        let bound = (op.fan_in() + 1 + outputs, magnitude, 0.0);

        let (mut d_x, mut d_weight, mut d_bias) = (unwritten(inputs), unwritten(weight.len()), unwritten(out));
        conv2d::cpu::backward_input(&op, &weight, &d_y, &mut d_x);
        conv2d::cpu::backward_params(&op, &x, &d_y, &mut d_weight, &mut d_bias);
        check(&format!("{op:?} d_x"), &d_x, &x, |x| l(&d_y, x, &weight, &bias), bound);
        check(&format!("{op:?} d_weight"), &d_weight, &weight, |weight| l(&d_y, &x, weight, &bias), bound);
        check(&format!("{op:?} d_bias"), &d_bias, &bias, |bias| l(&d_y, &x, &weight, bias), bound);
    }
}

/// How far the inputs keep ReLU and pooling from changing their mind: the least distance between the two largest sums
/// of a window, and between its largest sum and 0.
fn least_gap(op: &Conv2dReluMaxPool2d, x: &[f64], weight: &[f64], bias: &[f64]) -> f64 {
    let &Conv2dReluMaxPool2d { channels, height, width, out, padding } = op;
    let conv = Conv2d { channels, height, width, out, kernel: 3, padding, stride: 1 };
    let (oh, ow) = conv.output_size();
    let mut sums = zeros(x.len() / (channels * height * width) * out * oh * ow);
    conv2d::cpu::forward(&conv, x, weight, bias, &mut sums, |_| {});
    let mut least = f64::INFINITY;
    for plane in sums.chunks_exact(oh * ow) {
        for (py, px) in (0..oh / 2).flat_map(|py| (0..ow / 2).map(move |px| (py, px))) {
            let corner = 2 * py * ow + 2 * px;
            let mut window = [0, 1, ow, ow + 1].map(|q| plane[corner + q]);
            window.sort_by(f64::total_cmp);
            least = least.min(window[3].abs());
            if window[3] > 0.0 {
                least = least.min(window[3] - window[2]);
            }
        }
    }
    least
}

#[test]
fn conv2d_relu_maxpool2d_backward_is_the_gradient() {
    // N, C, H, W, O, P: one window; odd sizes, whose last row and column no window takes; padding; more than one task
    let cases = [(1, 1, 4, 4, 3, 0), (2, 2, 7, 6, 3, 0), (1, 3, 5, 5, 2, 1), (2, 1, 6, 9, 4, 2), (9, 1, 5, 4, 2, 0)];
    let mut dead_and_alive = [0, 0];
    for (case, (n, channels, height, width, out, padding)) in cases.into_iter().enumerate() {
        let op = Conv2dReluMaxPool2d { channels, height, width, out, padding };
        let (inputs, outputs) = (n * channels * height * width, n * out * op.windows());
        let stream = 100 + 10 * case as u32;
        let (x, weight, d_y) = (draw(stream, inputs), draw(stream + 1, op.weight_len()), draw(stream + 3, outputs));
        // Lowered, so that ReLU cuts a good part of the windows.
        let bias: Vec<f64> = draw(stream + 2, out).iter().map(|x| x - 0.5).collect();

        // A step of h moves each sum by at most h (inputs and weights are at most 1), two sums by 2 h against each
        // other.
        let gap = least_gap(&op, &x, &weight, &bias);
        assert!(gap > 2.0 * H, "{op:?}: the inputs stand {gap:e} from a tie, closer than {:e}", 2.0 * H);

        let l = |d_y: &[f64], x: &[f64], weight: &[f64], bias: &[f64]| {
            let mut winner = vec![u8::MAX; outputs];
            objective(d_y, |y| cpu::forward(x, vec![cpu::Forward { op: &op, weight, bias, y, winner: &mut winner }]))
        };
        let magnitude = l(&raised(&d_y), &raised(&x), &raised(&weight), &raised(&bias));
        let bound = (op.fan_in() + 1 + outputs, magnitude, 0.0);

        let mut winner = vec![u8::MAX; outputs];
        let (y, winner_to) = (&mut zeros(outputs), &mut winner);
        cpu::forward(&x, vec![cpu::Forward { op: &op, weight: &weight, bias: &bias, y, winner: winner_to }]);
        winner.iter().for_each(|&winner| dead_and_alive[usize::from(winner != DEAD)] += 1);
        let backward = |d_x: Option<&mut [f64]>| {
            let (mut d_weight, mut d_bias) = (unwritten(weight.len()), unwritten(out));
            let (d_weight_to, d_bias_to) = (&mut d_weight, &mut d_bias);
            let layer =
                cpu::Backward { op: &op, x: &x, weight: &weight, winner: &winner, d_weight: d_weight_to, d_bias: d_bias_to };
            cpu::backward(vec![layer], &d_y, d_x);
            (d_weight, d_bias)
        };
        let mut d_x = unwritten(inputs);
        let with_d_x = backward(Some(&mut d_x));
        check(&format!("{op:?} d_x"), &d_x, &x, |x| l(&d_y, x, &weight, &bias), bound);
        for (which, (d_weight, d_bias)) in [("with d_x", with_d_x), ("without", backward(None))] {
            check(&format!("{op:?} d_weight {which}"), &d_weight, &weight, |weight| l(&d_y, &x, weight, &bias), bound);
            check(&format!("{op:?} d_bias {which}"), &d_bias, &bias, |bias| l(&d_y, &x, &weight, bias), bound);
        }
    }
    assert!(dead_and_alive.iter().all(|&count| count > 20), "both sides of ReLU are run: {dead_and_alive:?}");
}

#[test]
fn relu_backward_is_the_gradient() {
    for len in [2, 7, 257] {
        let (x, d_y) = (spaced(len), draw(200, len));
        let l = |d_y: &[f64], x: &[f64]| objective(d_y, |y| relu::cpu::forward(x, y));
        let mut d_x = unwritten(len);
        relu::cpu::backward(&x, &d_y, &mut d_x);
        check(&format!("relu of {len}"), &d_x, &x, |x| l(&d_y, x), (len, l(&raised(&d_y), &raised(&x)), 0.0));
    }
}

#[test]
fn maxpool2d_backward_is_the_gradient() {
    // N, C, H, W, window: one element; rows and columns left over; a window as large as the image; 3x3
    let cases = [(1, 1, 1, 1, 1), (2, 3, 5, 7, 2), (1, 2, 4, 4, 4), (2, 2, 7, 11, 3), (3, 1, 2, 9, 2)];
    for (n, channels, height, width, size) in cases {
        let op = MaxPool2d { channels, height, width, size };
        let (ph, pw) = op.pooled();
        let (inputs, outputs) = (n * channels * height * width, n * channels * ph * pw);
        let (x, d_y) = (spaced(inputs), draw(201, outputs));
        let pool = |x: &[f64], y: &mut [f64]| {
            let mut winner = vec![u32::MAX; outputs];
            maxpool2d::cpu::forward(&op, x, y, &mut winner);
            winner
        };
        let l = |d_y: &[f64], x: &[f64]| objective(d_y, |y| drop(pool(x, y)));
        let winner = pool(&x, &mut zeros(outputs));
        let mut d_x = unwritten(inputs);
        maxpool2d::cpu::backward(&op, &winner, &d_y, &mut d_x);
        let bound = (outputs, l(&raised(&d_y), &raised(&x)), 0.0);
        check(&format!("{op:?}"), &d_x, &x, |x| l(&d_y, x), bound);
    }
}

#[test]
fn avgpool2d_and_leaky_relu_backward_are_the_gradients() {
    for (n, channels, height, width, rows, columns) in [(1, 1, 1, 1, 1, 1), (2, 3, 5, 7, 2, 2), (2, 2, 4, 6, 4, 6)] {
        let op = AvgPool2d { channels, height, width, rows, columns };
        let (ph, pw) = op.pooled();
        let (x, d_y) = (draw(210, n * channels * height * width), draw(211, n * channels * ph * pw));
        let l = |d_y: &[f64], x: &[f64]| objective(d_y, |y| avgpool2d::cpu::forward(&op, x, y));
        let mut d_x = unwritten(x.len());
        avgpool2d::cpu::backward(&op, &d_y, &mut d_x);
        let bound = (rows * columns + d_y.len(), l(&raised(&d_y), &raised(&x)), 0.0);
        check(&format!("{op:?}"), &d_x, &x, |x| l(&d_y, x), bound);
    }
    for (len, slope) in [(2, 0.01), (257, 0.2)] {
        let op = LeakyRelu { len, slope };
        let (x, d_y) = (spaced(len), draw(212, len));
        let l = |d_y: &[f64], x: &[f64]| objective(d_y, |y| leaky_relu::cpu::forward(&op, x, y));
        let mut d_x = unwritten(len);
        leaky_relu::cpu::backward(&op, &x, &d_y, &mut d_x);
        check(&format!("{op:?}"), &d_x, &x, |x| l(&d_y, x), (len + 1, l(&raised(&d_y), &raised(&x)), 0.0));
    }
}

/// Along one coordinate x of the M elements of a channel an x-hat is a / s: a is linear with a slope of at most 1, and
/// q = s^2 is a quadratic with |q'| <= 2 |x - mean| / M <= 4 / M and q'' <= 2 / M. So the second derivative of 1 / s is
/// at most q'' / (2 s^3) + 3 q'^2 / (4 s^5), its third at most 9 q' q'' / (4 s^5) + 15 q'^3 / (8 s^7), and the third
/// derivative of an x-hat at most three times the former and twice the latter.
#[test]
fn batchnorm2d_backward_is_the_gradient() {
    for (case, (n, channels, plane)) in [(2, 1, 2), (3, 2, 5), (4, 3, 17), (33, 1, 3)].into_iter().enumerate() {
        let op = BatchNorm2d { channels, plane, relu: false };
        let stream = 700 + 10 * case as u32;
        let (x, d_y) = (draw(stream, n * channels * plane), draw(stream + 1, n * channels * plane));
        let (weight, bias) = (draw(stream + 2, channels), draw(stream + 3, channels));
        let statistics = |x: &[f64], weight: &[f64], bias: &[f64]| {
            batchnorm2d::cpu::statistics(&op, x, weight, bias, &mut zeros(channels), &mut zeros(channels))
        };
        let l = |x: &[f64], weight: &[f64], bias: &[f64]| {
            objective(&d_y, |y| batchnorm2d::cpu::forward(&op, x, &statistics(x, weight, bias), y))
        };
        let found = statistics(&x, &weight, &bias);
        let (mut d_x, mut d_weight, mut d_bias) = (unwritten(x.len()), unwritten(channels), unwritten(channels));
        batchnorm2d::cpu::backward_params(&op, &x, &found, &d_y, &mut d_weight, &mut d_bias);
        batchnorm2d::cpu::backward_input(&op, &x, &found, &d_y, &d_weight, &d_bias, &mut d_x);

        let m = (n * plane) as f64;
        let scale = found.iter().map(|channel| channel.scale).fold(0.0, f64::max);
        let second = scale.powi(3) / m + 12.0 * scale.powi(5) / (m * m);
        let third = 18.0 * scale.powi(5) / (m * m) + 120.0 * scale.powi(7) / m.powi(3);
        let moved = raised(&d_y).iter().sum::<f64>();
        // An x-hat is at most 2 / s.
        let size = moved * (2.0 * scale + 1.0);
        let bound = (2 * n * plane + 8, size * (1.0 + scale), moved * (3.0 * second + 2.0 * third));
        check(&format!("{op:?} d_x"), &d_x, &x, |x| l(x, &weight, &bias), bound);
        let bound = (2 * n * plane + 8, size, 0.0);
        check(&format!("{op:?} d_weight"), &d_weight, &weight, |weight| l(&x, weight, &bias), bound);
        check(&format!("{op:?} d_bias"), &d_bias, &bias, |bias| l(&x, &weight, bias), bound);
    }
}

#[test]
fn linear_backward_is_the_gradient() {
    // N, inputs, outputs: one element; more outputs and more inputs than one task takes, with a remainder
    for (case, (n, inputs, outputs)) in [(1, 1, 1), (3, 5, 7), (2, 3, 65), (2, 259, 2), (5, 17, 10)].into_iter().enumerate()
    {
        let op = Linear::new(inputs, outputs);
        let stream = 300 + 10 * case as u32;
        let (x, weight) = (draw(stream, n * inputs), draw(stream + 1, outputs * inputs));
        let (bias, d_y) = (draw(stream + 2, outputs), draw(stream + 3, n * outputs));
        let l = |d_y: &[f64], x: &[f64], weight: &[f64], bias: &[f64]| {
            objective(d_y, |y| linear::cpu::forward(&op, x, weight, bias, y))
        };
        let magnitude = l(&raised(&d_y), &raised(&x), &raised(&weight), &raised(&bias));
        let bound = (inputs + 1 + n * outputs, magnitude, 0.0);

        let (mut d_x, mut d_weight, mut d_bias) = (unwritten(x.len()), unwritten(weight.len()), unwritten(outputs));
        linear::cpu::backward_input(&op, &weight, &d_y, &mut d_x);
        linear::cpu::backward_params(&op, &x, &d_y, &mut d_weight, &mut d_bias);
        check(&format!("{op:?} d_x"), &d_x, &x, |x| l(&d_y, x, &weight, &bias), bound);
        check(&format!("{op:?} d_weight"), &d_weight, &weight, |weight| l(&d_y, &x, weight, &bias), bound);
        check(&format!("{op:?} d_bias"), &d_bias, &bias, |bias| l(&d_y, &x, &weight, bias), bound);
    }
}

/// The backward pass is the same function as the forward pass: this asks whether that is right, mask and scale
/// included.
#[test]
fn dropout_backward_is_the_gradient() {
    for (case, (len, p)) in [(3, 0.25), (37, 0.5), (257, 0.9)].into_iter().enumerate() {
        let (n, step) = (2, 7 + case as u32);
        let op = Dropout::new(len, p, 0x1234_5678_9abc_def0, 8);
        let (x, d_y) = (draw(400, n * len), draw(401, n * len));
        let l = |d_y: &[f64], x: &[f64]| {
            objective(d_y, |y| {
                y.copy_from_slice(x);
                dropout::cpu::apply(&op, step, y);
            })
        };
        let mut d_x = unwritten(n * len);
        d_x.copy_from_slice(&d_y);
        dropout::cpu::apply(&op, step, &mut d_x);
        let scale = f64::from(op.scale());
        check(&format!("{op:?}"), &d_x, &x, |x| l(&d_y, x), (n * len, scale * dot(&raised(&d_y), &raised(&x)), 0.0));
    }
}

/// Logits move the loss by their softmax p. Its third derivative along one logit is `p (1 - p) (1 - 2p)`, at most 0.1.
///
/// A loss is the logarithm of a sum of `classes` exponentials, the maximum subtracted: its value, at most
/// `2 max|logit| + ln(classes)`, passes through about `classes + 4` roundings. Neither exp nor ln is exact, but both
/// are within one unit in the last place.
#[test]
fn cross_entropy_backward_is_the_gradient() {
    for (case, (n, classes, scale)) in [(1, 2, 1.0), (7, 10, 4.0), (3, 5, 30.0), (33, 3, 0.0)].into_iter().enumerate() {
        let op = CrossEntropy::new(classes);
        let logits: Vec<f64> = draw(500 + case as u32, n * classes).iter().map(|x| x * scale).collect();
        let targets: Vec<u32> = (0..n).map(|i| (i % classes) as u32).collect();
        let l = |logits: &[f64]| {
            let mut losses = unwritten(n);
            cross_entropy::cpu::forward(&op, logits, &targets, &mut losses);
            losses.iter().sum::<f64>() / n as f64
        };
        let mut d_logits = unwritten(n * classes);
        cross_entropy::cpu::backward(&op, &logits, &targets, &mut d_logits);
        let magnitude = 2.0 * (scale + H) + (classes as f64).ln();
        check(&format!("{op:?}, {n} samples"), &d_logits, &logits, l, (classes + 4 + n, magnitude, 0.1));
    }
}

/// The comparison itself: just over the bound, a wrong sign, a zero, NaN, a missing element, a bound too wide to mean
/// anything.
#[test]
fn compare_refuses_wrong_gradients() {
    let x = draw(600, 2);
    let refuses = |gradient: &[f64], magnitude| compare(gradient, &x, |x| 3.0 * x[0] - x[1], (2, magnitude, 0.0)).is_err();
    let allowed = 4.0 * 2.0 * EPS64 * 8.0 / H;
    assert!(!refuses(&[3.0, -1.0], 8.0));
    for wrong in [&[3.0 + 2.0 * allowed, -1.0][..], &[3.0, -1.0 - 2.0 * allowed], &[3.0, 1.0], &[3.0, 0.0], &[3.0]] {
        assert!(refuses(wrong, 8.0), "{wrong:?}");
    }
    assert!(refuses(&[3.0, f64::NAN], 8.0) && refuses(&[3.0, -1.0], 1e12));
}
