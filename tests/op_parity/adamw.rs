//! adamw and average: ten steps in a row.

use crate::{demand, gpus};
use mnist_wgpu::ops::{adamw::AdamW, average::Average};
use mnist_wgpu::parity::adamw::{check, check_average};

#[test]
fn ten_steps_of_adamw_agree_with_the_mirror_at_small_and_large_rates_and_any_length() {
    let gpus = gpus();
    let usual = AdamW::default();
    for (op, lr, len) in [
        (usual, 1e-3, 4),
        (usual, 10.0, 1028),
        (AdamW { weight_decay: 0.0, ..usual }, 1e-6, 36),
        (AdamW { betas: [0.5, 0.9], epsilon: 1e-3, weight_decay: 0.5 }, 0.1, 300),
        (usual, 0.01, (4 << 20) + 1028), // more than a dispatch has invocations
    ] {
        demand(check(&gpus, &op, lr, len));
    }
}

#[test]
fn ten_steps_of_the_average_agree_with_the_mirror_from_a_copy_on() {
    let gpus = gpus();
    for (decay, len) in [(0.0, 4), (0.5, 36), (0.995, 1028), (0.99, (4 << 20) + 1028)] {
        demand(check_average(&gpus, &Average { decay }, len));
    }
}
