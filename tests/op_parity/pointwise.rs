//! gather, relu, maxpool2d and dropout: copies and choices, which have to be exact.

use crate::common::{EPS, exact, hash, within};
use crate::{Gpu, KINDS, Kind};
use mnist_wgpu::gpu::Batch;
use mnist_wgpu::ops::dropout::{self, Dropout};
use mnist_wgpu::ops::gather::{self, Gather, GatherTensors};
use mnist_wgpu::ops::maxpool2d::{self, MaxPool2d};
use mnist_wgpu::ops::relu::{self, Relu};

/// More elements than a dispatch of `gpu::plan::strided` has invocations, so that its loops take a second turn.
const SECOND_TURN: usize = (1 << 20) + 257;

pub fn smallest(gpus: &[Gpu]) {
    check_relu(gpus, 2, 5);
    check_maxpool2d(gpus, 2, &MaxPool2d { channels: 2, height: 5, width: 4, size: 2 });
    check_dropout(gpus, 2, &Dropout::new(5, 0.5, 1, 2), 3);
    check_gather(gpus, 3, 5, Batch { first: 1, count: 3, ..Batch::default() });
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

fn check_relu(gpus: &[Gpu], n: usize, len: usize) {
    let op = Relu { len };
    let mut x = Kind::Mixed.draw(1, n * len);
    let edges = [-0.0, 0.0, f32::MIN_POSITIVE, -f32::MIN_POSITIVE, f32::MAX, f32::MIN, 1.0, -1.0];
    for (x, edge) in x.iter_mut().skip(3).zip(edges) {
        *x = edge;
    }
    let d_y = Kind::Even.draw(2, n * len);
    let (mut y, mut d_x) = (vec![f32::NAN; n * len], vec![f32::NAN; n * len]);
    relu::cpu::forward(&x, &mut y);
    relu::cpu::backward(&x, &d_y, &mut d_x);
    for gpu in gpus {
        // Bit by bit: -0 has to become 0.
        exact("y", &bits(&gpu.forward(&op, n, &x, &[], 0).0), &bits(&y))
            .and_then(|()| exact("d_x", &bits(&gpu.backward(&op, &x, &[], &[], &d_y, 0).d_x), &bits(&d_x)))
            .unwrap_or_else(|e| panic!("{gpu}: {op:?}, batch {n}: {e}"));
    }
}

#[test]
fn relu_is_exact_at_zero_at_the_largest_numbers_and_past_the_end_of_a_workgroup() {
    let gpus = Gpu::all();
    for (n, len) in [(1, 1), (1, 11), (3, 85), (1, 256), (1, 257), (2, 4099), (1, SECOND_TURN)] {
        check_relu(&gpus, n, len);
    }
}

fn check_maxpool2d(gpus: &[Gpu], n: usize, op: &MaxPool2d) {
    let (inputs, outputs) = (n * op.channels * op.height * op.width, n * op.channels * op.pooled().0 * op.pooled().1);
    for kind in KINDS {
        let (x, d_y) = (kind.draw(1, inputs), kind.draw(2, outputs));
        let (mut y, mut winner, mut d_x) = (vec![f32::NAN; outputs], vec![u32::MAX; outputs], vec![f32::NAN; inputs]);
        maxpool2d::cpu::forward(op, &x, &mut y, &mut winner);
        maxpool2d::cpu::backward(op, &winner, &d_y, &mut d_x);
        for gpu in gpus {
            let (got, got_winner) = gpu.forward(op, n, &x, &[], 0);
            exact("y", &got, &y)
                .and_then(|()| exact("winner", &got_winner, &winner))
                .and_then(|()| exact("d_x", &gpu.backward(op, &x, &[], &winner, &d_y, 0).d_x, &d_x))
                .unwrap_or_else(|e| panic!("{gpu}: {op:?}, batch {n}, {kind:?}: {e}"));
        }
    }
}

#[test]
fn maxpool2d_is_exact_in_values_winners_and_ties() {
    let gpus = Gpu::all();
    let cases = [
        (1, [1, 1, 1, 1]),
        (1, [1, 2, 2, 2]),
        (3, [2, 5, 7, 2]), // a row and a column that fill no window
        (2, [3, 7, 5, 3]),
        (1, [2, 10, 13, 5]),
        (1, [1, 16, 16, 2]), // 64 windows
        (1, [1, 10, 26, 2]), // 65 windows
        (2, [3, 5, 13, 1]),  // 65 elements
        (32, [64, 11, 11, 2]),
        (5, [13_109, 2, 3, 2]), // more planes than a dispatch has workgroups
    ];
    for (n, [channels, height, width, size]) in cases {
        check_maxpool2d(&gpus, n, &MaxPool2d { channels, height, width, size });
    }
}

#[test]
fn of_equal_values_in_a_pooling_window_the_first_wins() {
    let op = MaxPool2d { channels: 1, height: 2, width: 4, size: 2 };
    for gpu in Gpu::all() {
        let (y, winner) = gpu.forward(&op, 1, &[-1.0, -1.0, 0.0, 3.0, -1.0, -1.0, 3.0, 3.0], &[], 0);
        assert_eq!((y, winner), (vec![-1.0, 3.0], vec![0, 3]), "{gpu}");
    }
}

fn check_dropout(gpus: &[Gpu], n: usize, op: &Dropout, step: u32) {
    let total = n * op.len;
    // No zeros: a kept element has to differ from a dropped one.
    let nonzero = |stream| Kind::Even.draw(stream, total).into_iter().map(|x| if x == 0.0 { 1.0 } else { x });
    let (x, d_y): (Vec<f32>, Vec<f32>) = (nonzero(1).collect(), nonzero(2).collect());
    let compare = |what: &str, got: &[f32], x: &[f32]| {
        let x = crate::common::f64s(x);
        let mut want = vec![f64::NAN; total];
        dropout::cpu::apply(op, step, &x, &mut want);
        let kept = |values: &[bool]| values.iter().filter(|&&kept| kept).count();
        let mask: Vec<bool> = (0..total as u32).map(|i| dropout::cpu::keep(op, step, i)).collect();
        let got_mask: Vec<bool> = got.iter().map(|&y| y != 0.0).collect();
        exact(&format!("{what}: mask, {} kept", kept(&mask)), &got_mask, &mask)?;
        // One product, correctly rounded.
        let bounds: Vec<f64> = want.iter().map(|want| want.abs() * EPS).collect();
        within(what, got, &want, &bounds)
    };
    for gpu in gpus {
        compare("y", &gpu.forward(op, n, &x, &[], step).0, &x)
            .and_then(|()| compare("d_x", &gpu.backward(op, &x, &[], &[], &d_y, step).d_x, &d_y))
            .unwrap_or_else(|e| panic!("{gpu}: {op:?}, batch {n}, step {step}: {e}"));
    }
}

#[test]
fn dropout_draws_the_mask_of_its_mirror_at_any_probability_and_step() {
    let gpus = Gpu::all();
    for p in [0.0, 0.1, 0.5, 0.875, 0.999] {
        for (seed, layer, step) in [(0, 0, 0), (42, 7, 1), (u64::MAX, 3, u32::MAX), (1 << 32, 200, 123_456_789)] {
            check_dropout(&gpus, 3, &Dropout::new(43, p, seed, layer), step);
        }
    }
    for (n, len) in [(1, 1), (1, 256), (1, 257), (32, 128), (1, SECOND_TURN)] {
        check_dropout(&gpus, n, &Dropout::new(len, 0.5, 5, 6), 7);
    }
}

#[test]
fn dropout_keeps_an_element_whose_hash_is_exactly_the_threshold() {
    let (step, len) = (3, 4096);
    let mut op = Dropout::new(len, 0.0, 8, 9);
    let drawn = |i: u32| hash(i ^ hash(op.key.wrapping_add(step)));
    // An f32 holds 24 bits of the threshold's 32.
    let element = (0..len as u32).find(|&i| drawn(i) % 256 == 0).expect("one hash in 256");
    let threshold = drawn(element);
    op.p = (f64::from(threshold) / 2.0_f64.powi(32)) as f32;
    assert_eq!(op.threshold(), threshold);
    assert!(dropout::cpu::keep(&op, step, element));
    check_dropout(&Gpu::all(), 1, &op, step);
}

fn check_gather(gpus: &[Gpu], n: usize, len: usize, batch: Batch) {
    let op = Gather { len };
    let samples = 13;
    // Every byte value occurs in images of 28 x 28.
    let images: Vec<u8> = (0..(samples * len) as u32).map(|i| if len == 784 { i as u8 } else { hash(i) as u8 }).collect();
    let labels: Vec<u8> = (0..samples as u32).map(|i| hash(i ^ 0xa5a5) as u8).collect();
    let order: Vec<u32> = (0..batch.first + n as u32).map(|i| hash(i) % samples as u32).collect();

    // Places beyond the batch's count repeat its last sample.
    let place = |i: usize| order[batch.first as usize + i.min(batch.count as usize - 1)];
    let places: Vec<u32> = (0..n).map(place).collect();
    let (mut x, mut targets) = (vec![f32::NAN; n * len], vec![u32::MAX; n]);
    gather::cpu::forward(&op, &images, &labels, &places, &mut x, &mut targets);
    for gpu in gpus {
        let (got, got_targets) = (gpu.output("x", n * len), gpu.output("targets", n));
        let tensors = GatherTensors {
            n,
            samples,
            images: &gpu.input("images", &op.pad(&images)),
            labels: &gpu.input("labels", &labels.iter().map(|&label| label.into()).collect::<Vec<u32>>()),
            order: &gpu.input("order", &order),
            x: &got,
            targets: &got_targets,
        };
        gpu.run(batch, |planner| op.plan(planner, &tensors));
        exact("x", &gpu.read::<f32>(&got, n * len), &x)
            .and_then(|()| exact("targets", &gpu.read::<u32>(&got_targets, n), &targets))
            .unwrap_or_else(|e| panic!("{gpu}: {op:?}, {batch:?}: {e}"));
    }
}

#[test]
fn gather_is_exact_for_every_byte_and_any_length_of_sample() {
    let gpus = Gpu::all();
    for (n, len) in [(1_usize, 1), (2, 3), (5, 4), (3, 5), (7, 255), (2, 256), (3, 257), (67, 9), (32, 784)] {
        for (first, count) in [(0, n), (1, n), (37, n), (5, n.div_ceil(2)), (2, 1)] {
            check_gather(&gpus, n, len, Batch { first, count: count as u32, index: 9, step: 9 });
        }
    }
}
