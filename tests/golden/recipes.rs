//! The learning rate's schedules, and SGD with weight decay over ten steps of one.

use crate::Golden;
use crate::common::EPS;
use crate::ops::sgd_meets;
use mnist_wgpu::ops::sgd::Sgd;
use mnist_wgpu::schedule::{Kind, Schedule};

const FILE: &str = "recipes.safetensors";

#[test]
fn schedules_meet_pytorchs() {
    let golden = Golden::read(FILE);
    let mut cases = 0;
    while golden.names().contains(&format!("schedule.{cases}.sizes")) {
        let [kind, epochs, per_epoch, warmup] = golden.ints(&format!("schedule.{cases}.sizes"))[..] else { panic!() };
        let (kind, warmup) = (Kind::ALL[kind as usize], f64::from(warmup) / 10.0);
        let schedule = Schedule { kind, rate: 0.1, epochs: epochs as u32, warmup };
        let want = golden.floats(&format!("schedule.{cases}.rates"));
        assert_eq!(want.len() as i32, epochs * per_epoch);
        for (step, want) in want.into_iter().enumerate() {
            let (got, want) = (schedule.at(step, per_epoch as usize), f64::from(want));
            // The golden number is rounded to f32. PyTorch multiplies from step to step, which rounds in f64.
            assert!((got - want).abs() <= EPS * want + 1e-12, "{schedule:?}, step {step}: {got}, PyTorch {want}");
        }
        cases += 1;
    }
    assert_eq!(cases, 9);
}

#[test]
fn ten_steps_with_weight_decay_meet_pytorch() {
    sgd_meets(FILE, 3, |golden, name, nesterov| {
        let [momentum, weight_decay] = golden.floats(&format!("{name}.hyper"))[..] else { panic!("{name}") };
        (golden.floats(&format!("{name}.rates")), Sgd { momentum, nesterov, weight_decay })
    });
}
