//! gather, relu, maxpool2d and dropout: copies and choices, which have to be exact. leaky_relu, avgpool2d and augment:
//! products and sums.

use crate::common::hash;
use crate::{demand, gpus};
use mnist_wgpu::ops::Batch;
use mnist_wgpu::ops::augment::{self, Amounts, Augment};
use mnist_wgpu::ops::avgpool2d::AvgPool2d;
use mnist_wgpu::ops::dropout::{self, Dropout};
use mnist_wgpu::ops::leaky_relu::LeakyRelu;
use mnist_wgpu::ops::maxpool2d::{self, MaxPool2d};
use mnist_wgpu::ops::relu::Relu;
use mnist_wgpu::parity::pointwise::{
    check_augment, check_avgpool2d, check_dropout, check_gather, check_leaky_relu, check_maxpool2d, check_relu,
};
use pollster::block_on;

/// More elements than a dispatch of `gpu::plan::strided` has invocations, so that its loops take a second turn.
const SECOND_TURN: usize = (1 << 20) + 257;

#[test]
fn relu_is_exact_at_zero_at_the_largest_numbers_and_past_the_end_of_a_workgroup() {
    let gpus = gpus();
    for (n, len) in [(1, 1), (1, 11), (3, 85), (1, 256), (1, 257), (2, 4099), (1, SECOND_TURN)] {
        demand(check_relu(&gpus, n, len));
    }
}

#[test]
fn augmented_images_agree_with_the_mirror_whatever_is_done_to_them() {
    let gpus = gpus();
    let none = Amounts::NONE;
    for amounts in [
        none,
        Amounts { rotation: 180.0, ..none },
        Amounts { scale: 0.9, ..none },
        Amounts { shear: 2.0, ..none },
        Amounts { shift: 1.0, ..none }, // out of the picture
        Amounts::USUAL,
    ] {
        for (n, shape, step) in [(1, [1, 1, 1], 0), (5, [3, 7, 5], 1), (3, [1, 28, 28], u32::MAX), (2, [1, 9, 65], 7)] {
            demand(check_augment(&gpus, n, &Augment::new(shape, amounts, 3), step));
        }
    }
}

/// The mirror itself: nothing leaves an image as it is, and every step moves it otherwise.
#[test]
fn augmentation_moves_images_by_what_it_draws() {
    let bytes: Vec<u8> = (0..784u32).map(|i| hash(i) as u8).collect();
    let seen = |amounts, step| {
        let mut x = vec![f64::NAN; 784];
        augment::cpu::image(&Augment::new([1, 28, 28], amounts, 5), step, 11, &bytes, &mut x);
        x
    };
    let still: Vec<f64> = bytes.iter().map(|&byte| f64::from(byte) / 255.0).collect();
    assert_eq!(seen(Amounts::NONE, 0), still);
    let moved = seen(Amounts::USUAL, 0);
    assert!(moved != still && moved != seen(Amounts::USUAL, 1) && moved == seen(Amounts::USUAL, 0));

    // A shift moves rows and columns as a whole: what lies inside is a mix of four neighbours, always the same one.
    let op = Augment::new([1, 28, 28], Amounts { shift: 0.1, ..Amounts::NONE }, 5);
    let place = |row, column| augment::cpu::Move::<f64>::new(&op, 0, 11).place(row, column);
    let [x, y] = place(3, 4);
    assert!((x - 4.0).abs() <= 2.8 && (y - 3.0).abs() <= 2.8 && (x != 4.0 || y != 3.0), "{x}, {y}");
    let [x2, y2] = place(20, 9);
    assert!((x2 - x - 5.0).abs() < 1e-12 && (y2 - y - 17.0).abs() < 1e-12);

    // A rotation keeps the distance from the middle.
    let op = Augment::new([1, 28, 28], Amounts { rotation: 90.0, ..Amounts::NONE }, 5);
    for sample in 0..50 {
        let [x, y] = augment::cpu::Move::<f64>::new(&op, 0, sample).place(0, 27);
        assert!(((x - 13.5).hypot(y - 13.5) - 13.5f64.hypot(13.5)).abs() < 1e-6);
        assert!(x > 13.5 - 1e-6 || y < 13.5 + 1e-6, "turned by more than a right angle: {x}, {y}");
    }
}

#[test]
fn leaky_relu_is_a_copy_above_zero_and_a_product_below() {
    let gpus = gpus();
    for (n, len, slope) in [(1, 1, 0.01), (3, 85, 0.2), (1, 257, 0.01), (2, 11, -0.5), (1, SECOND_TURN, 0.01)] {
        demand(check_leaky_relu(&gpus, n, &LeakyRelu { len, slope }));
    }
}

#[test]
fn avgpool2d_agrees_with_its_mirror_over_windows_that_fit_and_that_do_not() {
    let gpus = gpus();
    let cases = [
        (1, [1, 1, 1, 1, 1]),
        (3, [2, 5, 7, 2, 2]), // a row and a column that fill no window
        (2, [3, 7, 5, 7, 5]), // one window
        (1, [2, 10, 13, 3, 5]),
        (1, [1, 10, 26, 2, 2]),    // 65 windows
        (5, [13_109, 2, 3, 2, 2]), // more planes than a dispatch has workgroups
    ];
    for (n, [channels, height, width, rows, columns]) in cases {
        demand(check_avgpool2d(&gpus, n, &AvgPool2d { channels, height, width, rows, columns }));
    }
}

#[test]
fn maxpool2d_is_exact_in_values_winners_and_ties() {
    let gpus = gpus();
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
        demand(check_maxpool2d(&gpus, n, &MaxPool2d { channels, height, width, size }));
    }
}

#[test]
fn of_equal_values_in_a_pooling_window_the_first_wins() {
    let op = MaxPool2d { channels: 1, height: 2, width: 4, size: 2 };
    for gpu in gpus() {
        let (y, winner) =
            block_on(gpu.forward(&op, 1, &[-1.0, -1.0, 0.0, 3.0, -1.0, -1.0, 3.0, 3.0], &[], 0)).expect("it runs");
        assert_eq!((y, winner), (vec![-1.0, 3.0], vec![0, 3]), "{gpu}");
    }
}

#[test]
fn a_nan_passes_relu_and_wins_its_pooling_window() {
    let (relu, pool) = (Relu { len: 4 }, MaxPool2d { channels: 1, height: 2, width: 2, size: 2 });
    for place in 0..4 {
        for nan in [f32::NAN, -f32::NAN] {
            let mut x = [f32::NEG_INFINITY, -1.0, f32::INFINITY, 3.0];
            x[place] = nan;
            let (mut y, mut winner) = ([0.0], [0]);
            maxpool2d::cpu::forward(&pool, &x, &mut y, &mut winner);
            assert!(y[0].is_nan() && winner == [place as u32], "CPU: place {place}: {y:?}, {winner:?}");
            for gpu in gpus() {
                let (y, _) = block_on(gpu.forward(&relu, 1, &x, &[], 0)).expect("it runs");
                let nans: Vec<usize> = (0..4).filter(|&i| y[i].is_nan()).collect();
                assert_eq!(nans, [place], "{gpu}: {y:?}");
                let (y, winner) = block_on(gpu.forward(&pool, 1, &x, &[], 0)).expect("it runs");
                assert!(y[0].is_nan() && winner == [place as u32], "{gpu}: place {place}: {y:?}, {winner:?}");
            }
        }
    }
}

#[test]
fn dropout_draws_the_mask_of_its_mirror_at_any_probability_and_step() {
    let gpus = gpus();
    for p in [0.0, 0.1, 0.5, 0.875, 0.999] {
        for (seed, layer, step) in [(0, 0, 0), (42, 7, 1), (u64::MAX, 3, u32::MAX), (1 << 32, 200, 123_456_789)] {
            demand(check_dropout(&gpus, 3, &Dropout::new(43, p, seed, layer), step));
        }
    }
    for (n, len) in [(1, 1), (1, 256), (1, 257), (32, 128), (1, SECOND_TURN)] {
        demand(check_dropout(&gpus, n, &Dropout::new(len, 0.5, 5, 6), 7));
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
    demand(check_dropout(&gpus(), 1, &op, step));
}

#[test]
fn gather_is_exact_for_every_byte_and_any_length_of_sample() {
    let gpus = gpus();
    for (n, len) in [(1_usize, 1), (2, 3), (5, 4), (3, 5), (7, 255), (2, 256), (3, 257), (67, 9), (32, 784)] {
        for (first, count) in [(0, n), (1, n), (37, n), (5, n.div_ceil(2)), (2, 1)] {
            demand(check_gather(
                &gpus,
                n,
                len,
                Batch { first, count: count as u32, index: 9, step: 9, learning_rate: 1.0, ..Batch::default() },
            ));
        }
    }
}
