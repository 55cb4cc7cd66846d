//! Finding an adapter, opening a device, and hearing of its errors.

use super::interface::Interface;
use super::kernel::{Kernel, Module};
use super::{GpuError, Shader};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use wgpu::{Adapter, AdapterInfo, Backends, DeviceType};

/// The adapters of this machine, in the order in which `devices` lists them: hardware first, discrete before
/// integrated.
pub struct Adapters(Vec<Adapter>);

/// How a device is opened.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Let wgpu guard every buffer access and loop of our shaders. Tests run with and without.
    pub runtime_checks: bool,
    /// Ask for no more than these and for no features, as a browser would with WebGPU's default ones; without, for all
    /// that the adapter has.
    pub limits: Option<fn() -> wgpu::Limits>,
    /// What the host knows a shader's entry points by: [`Shader::interfaces`], or what was found out when the program
    /// was built.
    pub interfaces: fn(&Shader) -> Result<Vec<Interface>, GpuError>,
}

impl Default for Options {
    fn default() -> Self {
        Self { runtime_checks: false, limits: None, interfaces: Shader::interfaces }
    }
}

/// An open device with its queue, and the shaders parsed so far.
pub struct Context {
    pub device: wgpu::Device,
    pub queue: wgpu::Queue,
    pub info: AdapterInfo,
    pub options: Options,
    pub(super) modules: Mutex<HashMap<&'static str, Arc<Module>>>,
    pub(super) kernels: Mutex<HashMap<String, Kernel>>,
    /// Layout of bind group 1, the same for every kernel: one of [`super::Slots`], at a dynamic offset.
    pub(super) slot_layout: wgpu::BindGroupLayout,
    first_error: Arc<Mutex<Option<String>>>,
}

/// Rank of an adapter when the program chooses: lower is better, software last.
fn rank(info: &AdapterInfo) -> u8 {
    match info.device_type {
        DeviceType::DiscreteGpu => 0,
        DeviceType::IntegratedGpu => 1,
        DeviceType::VirtualGpu => 2,
        DeviceType::Other => 3,
        DeviceType::Cpu => 4,
    }
}

/// Whether the adapter is a software rasteriser (llvmpipe, SwiftShader, WARP) rather than a GPU.
pub fn is_software(info: &AdapterInfo) -> bool {
    info.device_type == DeviceType::Cpu
}

/// `discrete GPU`, `integrated GPU`, ... `software rasteriser`.
pub fn kind(info: &AdapterInfo) -> &'static str {
    match info.device_type {
        DeviceType::DiscreteGpu => "discrete GPU",
        DeviceType::IntegratedGpu => "integrated GPU",
        DeviceType::VirtualGpu => "virtual GPU",
        DeviceType::Other => "other",
        DeviceType::Cpu => "software rasteriser",
    }
}

impl Adapters {
    /// Asks Vulkan, Metal and DX12 for their adapters, or a browser for the one it offers. An empty list is no error:
    /// [`Adapters::none_found`] says what to do.
    pub async fn find() -> Self {
        let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle_from_env();
        descriptor.backends &= Backends::VULKAN | Backends::METAL | Backends::DX12 | Backends::BROWSER_WEBGPU;
        let instance = wgpu::Instance::new(descriptor);
        let mut adapters = instance.enumerate_adapters(Backends::all()).await;
        adapters.sort_by_key(|a| rank(&a.get_info())); // stable: equals stay in the driver's order
        Self(adapters)
    }

    /// One adapter that runs nothing: wgpu's no-op backend, which validates all commands and executes none. What
    /// remains is what the host does.
    #[cfg(not(target_arch = "wasm32"))]
    pub async fn noop() -> Self {
        let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
        descriptor.backends = Backends::NOOP;
        descriptor.backend_options.noop = wgpu::NoopBackendOptions::enabled();
        Self(wgpu::Instance::new(descriptor).enumerate_adapters(Backends::NOOP).await)
    }

    /// What each adapter says of itself.
    pub fn infos(&self) -> impl Iterator<Item = AdapterInfo> {
        self.0.iter().map(Adapter::get_info)
    }

    /// Adapter number `index`, for what else it says of itself.
    pub fn get(&self, index: usize) -> Option<&Adapter> {
        self.0.get(index)
    }

    /// Whether dispatches of adapter number `index` can be timed.
    pub fn has_timestamps(&self, index: usize) -> bool {
        self.0.get(index).is_some_and(|adapter| adapter.features().contains(wgpu::Features::TIMESTAMP_QUERY))
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Opens adapter number `index` of the list.
    pub async fn open(&self, index: usize, options: Options) -> Result<Context, GpuError> {
        let missing = || GpuError::RequestDevice {
            name: format!("adapter {index}"),
            reason: format!("this machine has {} adapters", self.0.len()),
        };
        Context::open(self.0.get(index).ok_or_else(missing)?, options).await
    }

    /// What was looked for, which variables may hide it, and what to install on this system, for when the list is
    /// empty.
    pub fn none_found() -> String {
        let (what, install) = if cfg!(target_os = "linux") {
            (
                "no Vulkan driver was found",
                "Install your GPU's (Debian, Ubuntu: `apt install mesa-vulkan-drivers` for AMD, Intel and a software \
                 fallback, `nvidia-driver` for NVIDIA; Fedora: `dnf install mesa-vulkan-drivers`)",
            )
        } else if cfg!(target_os = "macos") {
            ("no Metal device was found", "Metal comes with macOS 10.13 and later on any Mac from 2012 on")
        } else if cfg!(target_os = "windows") {
            ("no DX12 or Vulkan device was found", "Install your GPU vendor's current driver")
        } else {
            ("no Vulkan driver was found", "Install your GPU's Vulkan driver")
        };
        let set = HIDING.iter().filter_map(|name| Some(format!("{name}={}", std::env::var_os(name)?.display())));
        match set.collect::<Vec<_>>() {
            set if set.is_empty() => format!("{what}. {install}"),
            set => format!("{what}, perhaps because of {}: try it without. {install}", set.join(" and ")),
        }
    }
}

/// Checks that a device of so much can run the shaders: each stays within WebGPU's default limits.
fn check_limits(device: &str, limits: &wgpu::Limits) -> Result<(), GpuError> {
    let defaults = wgpu::Limits::default();
    let needed = wgpu::Limits {
        max_bind_groups: 2,
        max_storage_buffers_per_shader_stage: defaults.max_storage_buffers_per_shader_stage,
        max_uniform_buffers_per_shader_stage: 1,
        max_dynamic_uniform_buffers_per_pipeline_layout: 1,
        max_compute_workgroup_storage_size: defaults.max_compute_workgroup_storage_size,
        max_compute_invocations_per_workgroup: defaults.max_compute_invocations_per_workgroup,
        max_compute_workgroup_size_x: defaults.max_compute_workgroup_size_x,
        ..limits.clone()
    };
    let mut lacking = Ok(());
    needed.check_limits_with_fail_fn(limits, true, |limit, needed, found| {
        lacking = Err(GpuError::Limit { device: device.into(), limit, needed, found });
    });
    lacking
}

/// Variables by which wgpu and Vulkan's loader look for less than there is.
const HIDING: [&str; 5] =
    ["WGPU_BACKEND", "VK_DRIVER_FILES", "VK_ICD_FILENAMES", "VK_LOADER_DRIVERS_SELECT", "VK_LOADER_DRIVERS_DISABLE"];

impl Context {
    async fn open(adapter: &Adapter, options: Options) -> Result<Self, GpuError> {
        let info = adapter.get_info();
        let Options { runtime_checks, limits, .. } = options;
        let AdapterInfo { name, driver, driver_info, backend, .. } = &info;
        log::info!(
            "opening {name} ({driver} {driver_info}, {backend:?}), runtime_checks: {runtime_checks}, limits: {}",
            if limits.is_some() { "given" } else { "all" }
        );
        let (required_features, required_limits) = match limits {
            Some(limits) => (wgpu::Features::empty(), limits()),
            None => (adapter.features() & wgpu::Features::TIMESTAMP_QUERY, adapter.limits()),
        };
        check_limits(&info.name, &required_limits)?;
        let (device, queue) = adapter
            .request_device(&wgpu::DeviceDescriptor {
                label: Some("mnist-wgpu"),
                required_features,
                required_limits,
                memory_hints: wgpu::MemoryHints::MemoryUsage,
                ..Default::default()
            })
            .await
            .map_err(|e| GpuError::RequestDevice { name: info.name.clone(), reason: e.to_string() })?;

        let first_error = Arc::new(Mutex::new(None));
        let keep = || {
            let slot = first_error.clone();
            move |message: String| {
                let mut first = slot.lock().unwrap_or_else(PoisonError::into_inner);
                // What follows from the first is worth a look only to whoever asks for it.
                log::log!(if first.is_none() { log::Level::Error } else { log::Level::Debug }, "{message}");
                first.get_or_insert(message);
            }
        };
        let on_error = keep();
        device.on_uncaptured_error(Arc::new(move |error: wgpu::Error| match error {
            wgpu::Error::OutOfMemory { .. } => on_error("out of memory; a smaller batch or network needs less".into()),
            error => on_error(error.to_string()),
        }));
        let on_lost = keep();
        device.set_device_lost_callback(move |reason, message| {
            if reason != wgpu::DeviceLostReason::Destroyed {
                on_lost(format!("the device was lost ({message}); the driver may have reset it after too long a submit"));
            }
        });

        let slot_layout = device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
            label: Some("slot"),
            entries: &[wgpu::BindGroupLayoutEntry {
                binding: 0,
                visibility: wgpu::ShaderStages::COMPUTE,
                ty: wgpu::BindingType::Buffer {
                    ty: wgpu::BufferBindingType::Uniform,
                    has_dynamic_offset: true,
                    min_binding_size: std::num::NonZeroU64::new(super::Slots::STRIDE as u64),
                },
                count: None,
            }],
        });
        Ok(Self {
            device,
            queue,
            info,
            options,
            modules: Mutex::default(),
            kernels: Mutex::default(),
            slot_layout,
            first_error,
        })
    }

    /// The first error that the device reported since it was opened, if any: a kernel that failed to compile, memory
    /// that ran out, a device that was lost.
    pub fn check(&self) -> Result<(), GpuError> {
        match &*self.first_error.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(message) => Err(GpuError::Device(message.clone())),
            None => Ok(()),
        }
    }
}
