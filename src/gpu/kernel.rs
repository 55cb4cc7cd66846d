//! From a shader and an entry point to a compute pipeline. What the host must know of the shader is read from it, so
//! that nothing is typed twice: which bindings the entry point uses, how, and its workgroup size.

use super::interface::{Binding, Interface};
use super::{Context, GpuError, Shader};
use std::sync::{Arc, PoisonError};

/// A shader with its wgpu module.
pub struct Module {
    interfaces: Vec<Interface>,
    wgpu: wgpu::ShaderModule,
}

/// What a pipeline is compiled from, for whoever asks another compiler about it.
#[derive(Debug)]
pub struct Source {
    pub shader: Shader,
    pub entry: String,
    /// Values of its `override` constants.
    pub constants: Vec<(String, f64)>,
}

/// One entry point, ready to run.
#[derive(Clone)]
pub struct Kernel {
    pub source: Arc<Source>,
    pub pipeline: wgpu::ComputePipeline,
    pub layout: wgpu::BindGroupLayout,
    /// The storage buffers of group 0.
    pub bindings: Vec<Binding>,
    /// Whether it reads the uniform of group 1.
    pub uses_slot: bool,
    pub workgroup_size: [u32; 3],
}

impl Context {
    fn module(&self, shader: &Shader) -> Result<Arc<Module>, GpuError> {
        let mut modules = self.modules.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(module) = modules.get(shader.op) {
            return Ok(module.clone());
        }
        let interfaces = (self.options.interfaces)(shader)?;
        let source = wgpu::ShaderSource::Wgsl(shader.source.into());
        let descriptor = wgpu::ShaderModuleDescriptor { label: Some(shader.op), source };
        let wgpu = if self.options.runtime_checks {
            self.device.create_shader_module(descriptor)
        } else {
            // SAFETY: without wgpu's checks a shader that indexes outside its buffers or never leaves a loop is
            // undefined behaviour. Only this crate's own shaders come here; `tests/op_parity/` runs every entry point
            // over sizes that hurt both with the checks and without, and `Planner` refuses buffers smaller than the
            // op's shape. (`peak`'s shader looks at the length of the one buffer that it indexes; the ladder's own test
            // runs its rungs both ways.)
            unsafe { self.device.create_shader_module_trusted(descriptor, wgpu::ShaderRuntimeChecks::unchecked()) }
        };
        let module = Arc::new(Module { interfaces, wgpu });
        modules.insert(shader.op, module.clone());
        Ok(module)
    }

    /// Waits for the device's compiler, and returns its first error about one of the shaders used so far. A browser
    /// compiles while the program goes on, and tells of errors late.
    pub async fn compiled(&self) -> Result<(), GpuError> {
        let modules = self.modules.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for (op, module) in modules {
            let messages = module.wgpu.get_compilation_info().await.messages;
            if let Some(error) = messages.iter().find(|m| m.message_type == wgpu::CompilationMessageType::Error) {
                let line = error.location.map_or(String::new(), |place| format!("line {}: ", place.line_number));
                return Err(GpuError::Shader { op, message: format!("{line}{}", error.message) });
            }
        }
        self.check()
    }

    /// Entry point `entry` of `shader` with the given values for its `override` constants, compiled at its first use.
    pub fn kernel(&self, shader: &Shader, entry: &str, constants: &[(&str, f64)]) -> Result<Kernel, GpuError> {
        let key = format!("{}.{entry} {constants:?}", shader.op);
        if let Some(kernel) = self.kernels.lock().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return Ok(kernel.clone());
        }
        log::debug!("compiling {key}");
        let kernel = self.compile(shader, entry, constants)?;
        self.kernels.lock().unwrap_or_else(PoisonError::into_inner).insert(key, kernel.clone());
        Ok(kernel)
    }

    fn compile(&self, shader: &Shader, entry: &str, constants: &[(&str, f64)]) -> Result<Kernel, GpuError> {
        let module = self.module(shader)?;
        let known = || module.interfaces.iter().map(|known| known.entry.as_str()).collect::<Vec<_>>().join(", ");
        let unknown = || GpuError::EntryPoint { op: shader.op, entry: entry.into(), known: known() };
        let interface = module.interfaces.iter().find(|known| known.entry == entry).ok_or_else(unknown)?;
        let (slot, bindings): (Vec<_>, Vec<_>) = interface.bindings.iter().cloned().partition(|b| b.group == 1);

        let entries: Vec<_> = bindings
            .iter()
            .map(|b| wgpu::BindGroupLayoutEntry {
                binding: b.index,
                visibility: wgpu::ShaderStages::COMPUTE,
                ty: wgpu::BindingType::Buffer {
                    ty: wgpu::BufferBindingType::Storage { read_only: b.read_only },
                    has_dynamic_offset: false,
                    min_binding_size: None,
                },
                count: None,
            })
            .collect();
        let label = format!("{}.{entry}", shader.op);
        let layout = self
            .device
            .create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor { label: Some(&label), entries: &entries });
        let mut groups = vec![Some(&layout)];
        if !slot.is_empty() {
            groups.push(Some(&self.slot_layout));
        }
        let pipeline_layout = self.device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label: Some(&label),
            bind_group_layouts: &groups,
            immediate_size: 0,
        });
        let pipeline = self.device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: Some(&label),
            layout: Some(&pipeline_layout),
            module: &module.wgpu,
            entry_point: Some(entry),
            compilation_options: wgpu::PipelineCompilationOptions {
                constants,
                // Every kernel writes its workgroup memory before it reads it.
                zero_initialize_workgroup_memory: self.options.runtime_checks,
            },
            cache: None,
        });
        self.check()?;
        let workgroup_size = interface.workgroup_size;
        let constants = constants.iter().map(|&(name, value)| (name.into(), value)).collect();
        let source = Arc::new(Source { shader: *shader, entry: entry.into(), constants });
        Ok(Kernel { source, pipeline, layout, bindings, uses_slot: !slot.is_empty(), workgroup_size })
    }
}
