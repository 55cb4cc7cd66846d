//! sgd: ten steps in a row.

use crate::{demand, gpus};
use mnist_wgpu::gpu::Planner;
use mnist_wgpu::ops::sgd::Sgd;
use mnist_wgpu::parity::Kind;
use mnist_wgpu::parity::sgd::{check, check_exactly};

fn optimizers() -> [Sgd; 6] {
    let sgd = |momentum, nesterov, weight_decay| Sgd { momentum, nesterov, weight_decay };
    let plain = [sgd(0.0, false, 0.0), sgd(0.0, true, 0.0), sgd(0.9, false, 0.0), sgd(0.9, true, 0.0)];
    let [a, b, c, d] = plain;
    [a, b, c, d, sgd(0.9, true, 5e-4), sgd(0.9, false, 0.5)]
}

#[test]
fn ten_steps_agree_with_the_mirror_at_small_and_absurd_learning_rates() {
    let gpus = gpus();
    for lr in [0.0, 1e-12, 0.01, 1.0, 1e3, 1e30] {
        // Where each step multiplies a parameter by such a rate it soon is no f32.
        for op in optimizers().into_iter().filter(|op| op.weight_decay == 0.0 || lr <= 1e3) {
            demand(check(&gpus, &op, lr, Kind::Mixed, 68));
            demand(check(&gpus, &op, lr, Kind::Even, 68));
        }
    }
}

#[test]
fn ten_steps_reach_every_parameter_of_any_arena() {
    let gpus = gpus();
    // One vector, around a workgroup, the default network's arena, and more than a dispatch has invocations.
    for len in [4, 1020, 1024, 1028, 225_280] {
        demand(check(&gpus, &Sgd::default(), 0.01, Kind::Mixed, len));
    }
    for gpu in &gpus {
        let (op, len) = (Sgd { momentum: 0.5, ..Sgd::default() }, (1 << 22) + 260);
        demand(check_exactly(std::slice::from_ref(gpu), &op, 0.25, len));
    }
}

#[test]
fn ten_steps_are_exact_where_f32_is() {
    for gpu in gpus() {
        for nesterov in [false, true] {
            for momentum in [0.0, 0.5] {
                demand(check_exactly(std::slice::from_ref(&gpu), &Sgd { momentum, nesterov, weight_decay: 0.0 }, 0.25, 68));
            }
        }
    }
}

#[test]
fn an_arena_that_fills_no_vector_is_refused() {
    for gpu in gpus() {
        let [param, velocity, gradient] = ["param", "velocity", "gradient"]
            .map(|label| gpu.in_out(label, &[0.0f32; 8]).expect("it fits").slice(label, 0..7));
        let error =
            Sgd::default().plan(&mut Planner::new(&gpu.context), &param, &velocity, &gradient).expect_err("7 elements");
        assert!(error.to_string().contains("multiple of 4") && error.to_string().contains('7'), "{error}");
    }
}
