//! batchnorm2d: statistics, normalisation and gradients.

use crate::{demand, gpus};
use mnist_wgpu::ops::batchnorm2d::BatchNorm2d;
use mnist_wgpu::parity::batchnorm::check;

#[test]
fn batchnorm2d_agrees_with_its_mirror_at_odd_sizes_and_one_past_a_workgroup() {
    let gpus = gpus();
    let cases = [
        (2, 1, 1), // the least that has a variance
        (1, 3, 7),
        (3, 5, 85),
        (1, 2, 256), // an element for each invocation
        (1, 2, 257),
        (67, 3, 13), // many samples
        (2, 259, 5), // many channels
        (128, 8, 64),
    ];
    for (n, channels, plane) in cases {
        for relu in [false, true] {
            demand(check(&gpus, n, &BatchNorm2d { channels, plane, relu }));
        }
    }
}

#[test]
fn batchnorm2d_takes_more_planes_than_a_dispatch_has_workgroups() {
    demand(check(&gpus(), 300, &BatchNorm2d { channels: 219, plane: 2, relu: true }));
}
