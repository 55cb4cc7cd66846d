#![no_main]

mnist_wgpu_fuzz::target!("description");
