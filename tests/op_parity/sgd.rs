//! sgd: ten steps in a row.

use crate::common::{close, exact, f64s, magnitudes};
use crate::{Gpu, Kind};
use mnist_wgpu::gpu::Batch;
use mnist_wgpu::ops::sgd::{Sgd, cpu};

const STEPS: usize = 10;
/// Products and additions that one step makes of a parameter, so that after k steps no term has been rounded more than k times
/// as often.
const TERMS: usize = 5;

/// What lies behind the parameters.
const BEHIND: f32 = 1.0;

/// Runs `STEPS` steps and hands parameters and velocity after each to `compare`, with the number of steps.
fn steps(gpu: &Gpu, op: &Sgd, kind: Kind, len: usize, mut compare: impl FnMut(usize, &[f32], &[f32], &[f32])) {
    // The kernel updates the whole of the tensor it is given: one element more lies behind and has to stay as it is. No NaN,
    // because an update would leave it one.
    let behind = |data: Vec<f32>| gpu.in_out("arena", &[data, vec![BEHIND]].concat());
    let arenas = [behind(kind.draw(1, len)), behind(vec![0.0; len])];
    let [param, velocity] = arenas.each_ref().map(|arena| arena.slice("arena", 0..len));
    let read = |arena| {
        let mut data: Vec<f32> = gpu.read(arena, len + 1);
        assert_eq!(data.pop(), Some(BEHIND), "{gpu}: {op:?} changed the element behind its {len} parameters");
        data
    };
    for step in 0..STEPS {
        let gradient = kind.draw(100 + step as u32, len);
        let gradient_tensor = gpu.input("gradient", &gradient);
        gpu.run(Batch::default(), |planner| op.plan(planner, &param, &velocity, &gradient_tensor));
        compare(step + 1, &gradient, &read(&arenas[0]), &read(&arenas[1]));
    }
}

fn check(gpus: &[Gpu], op: &Sgd, kind: Kind, len: usize) {
    // The sum of the absolute terms: the mirror on absolute values, with a learning rate that adds.
    let adding = Sgd { lr: -op.lr, ..*op };
    for gpu in gpus {
        let start = kind.draw(1, len);
        let (mut param, mut velocity) = (f64s(&start), vec![0.0; len]);
        let (mut param_size, mut velocity_size) = (magnitudes(&start), vec![0.0; len]);
        steps(gpu, op, kind, len, |step, gradient, got_param, got_velocity| {
            cpu::update(op, &mut param, &mut velocity, &f64s(gradient));
            cpu::update(&adding, &mut param_size, &mut velocity_size, &magnitudes(gradient));
            close("velocity", got_velocity, &velocity, &velocity_size, TERMS * step)
                .and_then(|()| close("param", got_param, &param, &param_size, TERMS * step))
                .unwrap_or_else(|e| panic!("{gpu}: {op:?}, {len} parameters, {kind:?}, step {step}: {e}"));
        });
    }
}

fn optimizers(lr: f32) -> [Sgd; 4] {
    let sgd = |momentum, nesterov| Sgd { lr, momentum, nesterov };
    [sgd(0.0, false), sgd(0.0, true), sgd(0.9, false), sgd(0.9, true)]
}

pub fn smallest(gpus: &[Gpu]) {
    check(gpus, &Sgd::default(), Kind::Even, 4);
}

#[test]
fn ten_steps_agree_with_the_mirror_at_small_and_absurd_learning_rates() {
    let gpus = Gpu::all();
    for lr in [0.0, 1e-12, 0.01, 1.0, 1e3, 1e30] {
        for op in optimizers(lr) {
            check(&gpus, &op, Kind::Mixed, 68);
            check(&gpus, &op, Kind::Even, 68);
        }
    }
}

#[test]
fn ten_steps_reach_every_parameter_of_any_arena() {
    let gpus = Gpu::all();
    // One vector, around a workgroup, the default network's arena, and more than a dispatch has invocations.
    for len in [4, 1020, 1024, 1028, 225_280] {
        check(&gpus, &Sgd::default(), Kind::Mixed, len);
    }
    for gpu in &gpus {
        let (op, len) = (Sgd { lr: 0.25, momentum: 0.5, nesterov: true }, (1 << 22) + 260);
        check_exactly(gpu, &op, len);
    }
}

/// Where learning rate and momentum are powers of two and gradients small integers, ten steps are exact in f32.
fn check_exactly(gpu: &Gpu, op: &Sgd, len: usize) {
    let (mut param, mut velocity) = (f64s(&Kind::Integers.draw(1, len)), vec![0.0; len]);
    steps(gpu, op, Kind::Integers, len, |step, gradient, got_param, got_velocity| {
        cpu::update(op, &mut param, &mut velocity, &f64s(gradient));
        exact("velocity", &f64s(got_velocity), &velocity)
            .and_then(|()| exact("param", &f64s(got_param), &param))
            .unwrap_or_else(|e| panic!("{gpu}: {op:?}, {len} parameters, step {step}: {e}"));
    });
}

#[test]
fn ten_steps_are_exact_where_f32_is() {
    for gpu in Gpu::all() {
        for nesterov in [false, true] {
            for momentum in [0.0, 0.5] {
                check_exactly(&gpu, &Sgd { lr: 0.25, momentum, nesterov }, 68);
            }
        }
    }
}

#[test]
fn an_arena_that_fills_no_vector_is_refused() {
    for gpu in Gpu::all() {
        let [param, velocity, gradient] =
            ["param", "velocity", "gradient"].map(|label| gpu.in_out(label, &[0.0f32; 8]).slice(label, 0..7));
        let error = gpu.plan(|planner| Sgd::default().plan(planner, &param, &velocity, &gradient)).expect_err("7 elements");
        assert!(error.to_string().contains("multiple of 4") && error.to_string().contains('7'), "{error}");
    }
}
