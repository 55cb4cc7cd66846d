//! What `bench` finds out: the shape of its `--json`. Fields keep their names and units from version to version; new
//! ones may come.

use serde::{Deserialize, Serialize};

/// All that `bench --json` prints.
#[derive(Serialize)]
pub struct Report {
    /// Of this program.
    pub version: String,
    /// One per device and batch size, each measured in a process of its own.
    pub results: Vec<Measured>,
    pub host: Host,
}

/// Training on one device at one batch size.
#[derive(Serialize, Deserialize)]
pub struct Measured {
    pub device: Device,
    pub batch_size: u32,
    pub ms_per_step: Spread,
    /// At the median step, as the two below.
    pub images_per_second: f64,
    /// Dense FLOPs of a step ([`mnist_wgpu::ops::Op::flops`]).
    pub flops_per_step: u64,
    pub gflops_per_second: f64,
    /// None on the CPU path.
    pub dispatches_per_step: Option<usize>,
    /// From looking for the device to the end of the first step: opening it, uploading 60,000 images, compiling every
    /// kernel with the drivers' caches of compiled shaders off (Mesa, NVIDIA on Linux), and the step.
    pub first_step_seconds: f64,
    /// Most memory that the process had resident until the last step ended, 60,000 images in it. Known on Linux only.
    pub peak_memory_bytes: Option<u64>,
    /// Where it was asked for, and the device has timestamps.
    pub kernels: Option<Kernels>,
}

#[derive(Serialize, Deserialize)]
pub struct Device {
    pub name: String,
    /// `discrete GPU`, `integrated GPU`, ..., `software rasteriser`, or `CPU path`.
    pub kind: String,
    /// `vulkan`, `metal`, `dx12`; none for the CPU path, as the driver.
    pub backend: Option<String>,
    pub driver: Option<String>,
    /// Threads of the CPU path.
    pub threads: Option<usize>,
    /// The CPU path's vector instructions.
    pub instructions: Option<String>,
}

/// Of a quantity that was measured `samples` times.
#[derive(Clone, Serialize, Deserialize)]
pub struct Spread {
    pub median: f64,
    pub min: f64,
    pub lower_quartile: f64,
    pub upper_quartile: f64,
    pub max: f64,
    pub samples: usize,
}

/// Each dispatch of a training step, timed in a compute pass of its own: their sum is more than a step takes.
#[derive(Serialize, Deserialize)]
pub struct Kernels {
    /// Multiply-adds in registers alone: what no kernel can exceed.
    pub peak_gflops_per_second: f64,
    /// Dense FLOPs of the convolutions' dispatches over the time of them all, as a share of the peak. Above 1 would be
    /// possible, since kernels may get by with fewer multiplications than the definition has.
    pub convolutions_share_of_peak: f64,
    pub dispatches: Vec<Kernel>,
}

#[derive(Serialize, Deserialize)]
pub struct Kernel {
    /// `op.entry_point`
    pub name: String,
    /// Median over the steps timed.
    pub ms: f64,
    /// Of all dispatches' time.
    pub share: f64,
    pub flops: u64,
    /// The least traffic that serves it: every element needed once.
    pub bytes: u64,
    pub gflops_per_second: f64,
    pub gbytes_per_second: f64,
    /// Start and duration in each step timed, in microseconds from the first start: for the trace.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub spans: Vec<(f64, f64)>,
}

/// Time that the host takes to encode and submit a step of 32 images, on wgpu's no-op backend.
#[derive(Serialize)]
pub struct Host {
    /// With the best batching.
    pub microseconds_per_step: f64,
    pub steps_per_submit: usize,
    pub batchings: Vec<Batching>,
}

#[derive(Clone, Serialize)]
pub struct Batching {
    pub steps_per_submit: usize,
    pub microseconds_per_step: Spread,
}

impl Spread {
    /// # Panics
    /// If there are no samples.
    pub fn of(mut samples: Vec<f64>) -> Self {
        samples.sort_by(f64::total_cmp);
        let at = |share: f64| samples[((samples.len() - 1) as f64 * share).round() as usize];
        Self {
            median: at(0.5),
            min: at(0.0),
            lower_quartile: at(0.25),
            upper_quartile: at(0.75),
            max: at(1.0),
            samples: samples.len(),
        }
    }
}
