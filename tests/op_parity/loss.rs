//! cross_entropy: losses, gradients and metrics.

use crate::{demand, gpus};
use mnist_wgpu::ops::cross_entropy::CrossEntropy;
use mnist_wgpu::parity::loss::{self, Case, case};
use mnist_wgpu::parity::{Gpu, Kind};
use pollster::block_on;

fn check(gpus: &[Gpu], what: &str, case: &Case) {
    demand(loss::check(gpus, what, case));
}

#[test]
fn cross_entropy_agrees_with_its_mirror_for_any_batch_and_number_of_classes() {
    let gpus = gpus();
    for (n, classes) in [(1, 10), (1, 1), (3, 2), (32, 10), (63, 3), (64, 10), (65, 10), (67, 17), (193, 5)] {
        check(&gpus, "ordinary logits", &case(n, classes, 3.0));
    }
}

#[test]
fn cross_entropy_agrees_with_its_mirror_where_exp_would_overflow() {
    let gpus = gpus();
    for scale in [1e-3, 20.0, 80.0, 1e4] {
        check(&gpus, &format!("logits up to {scale}"), &case(37, 10, scale));
    }
    // Both ends of the scale at once, the target at either.
    for (scale, target) in [(80.0, 0), (80.0, 1), (1e4, 0), (1e4, 1)] {
        let op = CrossEntropy::new(3);
        let case = Case { op, logits: [scale, -scale, 0.0].repeat(5), targets: vec![target; 5] };
        check(&gpus, &format!("logits of {scale} and -{scale}"), &case);
    }
}

#[test]
fn of_equal_logits_the_first_is_the_judgement() {
    let gpus = gpus();
    for value in [0.0, -1e4, 1e4] {
        let equal = Case { op: CrossEntropy::new(10), logits: vec![value; 200], targets: (0..20).map(|i| i % 10).collect() };
        check(&gpus, &format!("all logits {value}"), &equal);
        assert_eq!(equal.want(20).metrics.correct, 2, "the mirror judges all samples to be of class 0");
    }
    // Ties for the largest logit that class 0 has no part in.
    let logits = Kind::Integers.draw(5, 67 * 10);
    let case = Case { logits, ..case(67, 10, 1.0) };
    check(&gpus, "integers", &case);
}

#[test]
fn non_finite_logits_are_counted_and_only_within_the_batch() {
    let mut case = case(70, 10, 3.0);
    let places = [(3, f32::NAN), (47, f32::INFINITY), (48, f32::NEG_INFINITY), (49, -f32::NAN), (640, f32::INFINITY)];
    for (place, value) in places {
        case.logits[place] = value;
    }
    case.logits[100] = f32::MAX; // large, but finite
    for gpu in gpus() {
        for (count, expected) in [(70, 5), (64, 4), (5, 4), (4, 1), (1, 1)] {
            let (_, [train, evaluate]) = block_on(case.fused(&gpu, count)).expect("it runs");
            for metrics in [train, evaluate] {
                assert_eq!((metrics.non_finite, metrics.count), (expected, count as u32), "{gpu}, count {count}");
                assert!(metrics.diverged());
            }
        }
    }
}
