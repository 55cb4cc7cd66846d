//! From a WGSL file and an entry point to a compute pipeline. naga reads from the shader what the host must know, so that
//! nothing is typed twice: which bindings the entry point uses, how, and its workgroup size.

use super::{Context, GpuError};
use naga::valid::{Capabilities, GlobalUse, ModuleInfo, ValidationFlags, Validator};
use std::sync::{Arc, PoisonError};

/// A WGSL file in `shaders/`.
#[derive(Clone, Copy, Debug)]
pub struct Shader {
    /// The file's stem, which is the op's name.
    pub op: &'static str,
    pub source: &'static str,
}

/// `shader!("conv2d")` is the file `shaders/conv2d.wgsl`, compiled into the program.
#[macro_export]
macro_rules! shader {
    ($op:literal) => {
        $crate::gpu::Shader { op: $op, source: include_str!(concat!("../../shaders/", $op, ".wgsl")) }
    };
}

/// The body of `share` in the shaders that have it, and what stands there where invocations share their loads.
const SHARE_ALONE: &str = "{ return value; }";
const SHARE: &str = "{ if (among == 1u) { return value; } return subgroupShuffle(value, lane); }";

/// In shaders that have it, the type of what one load or store moves, with the sum of products of its elements, and what stands
/// there where it is a vector.
const SCALAR: [&str; 2] = ["alias Value = f32;", "{ return a * b; }"];
const VECTOR: [&str; 2] = ["alias Value = vec4f;", "{ return dot(a, b); }"];

/// What the name of a texture adds to that of the buffer whose elements it has.
const TEXELS: &str = "_texels";
/// And those of its first and last texel.
pub(super) const FIRST: &str = "_first";
pub(super) const LAST: &str = "_last";
/// And what its binding adds: more than a shader has buffers.
const TEXTURE_BINDINGS: u32 = 16;

/// A parsed and validated shader with its wgpu module.
pub struct Module {
    naga: naga::Module,
    info: ModuleInfo,
    wgpu: wgpu::ShaderModule,
}

/// What naga found out about one buffer that an entry point uses.
#[derive(Clone, Debug, PartialEq)]
pub struct Binding {
    /// The buffer's, also where it is read through a texture.
    pub name: String,
    pub group: u32,
    pub index: u32,
    pub kind: BindingKind,
    pub reads: bool,
    pub writes: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum BindingKind {
    Uniform,
    Read,
    ReadWrite,
    /// A texture of four elements in a texel, of f32 or u32, filled from the buffer before the dispatch.
    Texels(wgpu::TextureSampleType),
}

/// One entry point, ready to run.
#[derive(Clone)]
pub struct Kernel {
    pub pipeline: wgpu::ComputePipeline,
    pub layout: wgpu::BindGroupLayout,
    /// The storage buffers and textures of group 0.
    pub bindings: Vec<Binding>,
    /// Whether it reads the batch uniform of group 1.
    pub uses_batch: bool,
    pub workgroup_size: [u32; 3],
}

impl Shader {
    /// The value of `const NAME: u32` in the file, so that the host derives a kernel's tile sizes instead of repeating them.
    ///
    /// # Panics
    /// If the file declares no such constant.
    pub fn constant(&self, name: &str) -> u32 {
        let value = |line: &str| {
            let value = line.strip_prefix("const ")?.strip_prefix(name)?.strip_prefix(": u32 = ")?;
            value.split_once("u;")?.0.parse().ok()
        };
        match self.source.lines().find_map(value) {
            Some(value) => value,
            None => panic!("shaders/{}.wgsl declares no `const {name}: u32`", self.op),
        }
    }

    /// The value of constant `name` where the file is used with these `tiles`.
    pub fn tile(&self, tiles: &[(&str, u32)], name: &str) -> usize {
        let given = tiles.iter().find(|(known, _)| *known == name);
        given.map_or_else(|| self.constant(name), |&(_, value)| value) as usize
    }

    /// The file with other values for some of its `const NAME: u32`. Where `LANES` is more than 1, its function `share` becomes
    /// a subgroup shuffle: no `if` could keep that out of a shader for a device without subgroups. Where `VECTOR` is 4, its type
    /// `Value` becomes a vec4f. Where `TEXELS` is more than 0, buffers are read through textures.
    ///
    /// # Panics
    /// If the file declares no such constant.
    pub fn with(&self, tiles: &[(&str, u32)]) -> String {
        let mut source = self.source.to_owned();
        for &(name, value) in tiles {
            let declaration = |value: u32| format!("const {name}: u32 = {value}u;");
            source = source.replacen(&declaration(self.constant(name)), &declaration(value), 1);
            if name == "LANES" && value > 1 {
                source = source.replace(SHARE_ALONE, SHARE);
            }
            if name == "VECTOR" && value > 1 {
                SCALAR.iter().zip(VECTOR).for_each(|(scalar, vector)| source = source.replacen(scalar, vector, 1));
            }
            if name == "TEXELS" && value > 0 {
                source = through_textures(&source);
            }
        }
        source
    }

    /// Parses and validates the file with these `tiles`.
    pub fn parse(&self, tiles: &[(&str, u32)]) -> Result<(naga::Module, ModuleInfo), GpuError> {
        let source = self.with(tiles);
        let fail = |message| GpuError::Shader { op: self.op, message };
        let module = naga::front::wgsl::parse_str(&source).map_err(|e| fail(e.emit_to_string(&source)))?;
        let info = Validator::new(ValidationFlags::all(), Capabilities::SUBGROUP)
            .subgroup_stages(naga::valid::ShaderStages::COMPUTE)
            .subgroup_operations(naga::valid::SubgroupOperationSet::all())
            .validate(&module)
            .map_err(|e| fail(e.emit_to_string(&source)))?;
        Ok((module, info))
    }
}

/// A shader whose functions `NAME_at`, `NAME_four` and `NAME_run` read buffer NAME through a texture: TEXELS texels in a row, four
/// elements in each. The first two, `fn x_at(i: u32) -> T`, return element number i, or texel number i where T is a vector;
/// `fn x_run(start: u32, count: u32, last: u32) -> Run` the bits of neighbouring elements, by the shader's `run_texel` and
/// `from_start`.
fn through_textures(source: &str) -> String {
    let buffer = |line: &str| {
        let (binding, rest) = line.strip_prefix("@group(0) @binding(")?.split_once(") var<storage, ")?;
        let (name, ty) = rest.split_once("> ")?.1.split_once(": array<")?;
        Some((binding.parse::<u32>().ok()?, name.to_owned(), if ty.starts_with("u32") { "u32" } else { "f32" }))
    };
    let mut text = String::new();
    let mut buffers = Vec::new();
    let mut lines = source.lines();
    while let Some(line) = lines.next() {
        let function = line.strip_prefix("fn ").and_then(|rest| rest.split_once('('));
        let reader = function.and_then(|(function, _)| {
            let (name, what) = function.rsplit_once('_')?;
            buffers.iter().any(|buffer| buffer == name).then_some((name, what))
        });
        let head = line.split_once(" {").map_or(line, |(head, _)| head);
        let load = |name: &str| format!("textureLoad({name}{TEXELS}, vec2u(texel % TEXELS, texel / TEXELS), 0)");
        match reader {
            Some((name, "at" | "four")) => {
                let scalar = head.ends_with("-> f32") || head.ends_with("-> u32");
                let (texel, element) = if scalar { ("i / 4u", "[i % 4u]") } else { ("i", "") };
                let load = load(name);
                text += &format!("{head} {{ let texel = {texel} + {name}{FIRST}; return {load}{element}; }}\n");
            }
            Some((name, "run")) => {
                let load = load(name);
                text += &format!(
                    "{head} {{
    var texels: array<vec4u, RUN_TEXELS>;
    for (var h = 0u; h < RUN_TEXELS; h++) {{
        let texel = min(run_texel(start) + h + {name}{FIRST}, {name}{LAST});
        texels[h] = bitcast<vec4u>({load});
    }}
    return from_start(texels, start);
}}
"
                );
                lines.find(|&line| line == "}");
            }
            _ => text += &format!("{line}\n"),
        }
        if let Some((binding, name, element)) = buffer(line) {
            let binding = binding + TEXTURE_BINDINGS;
            text += &format!("@group(0) @binding({binding}) var {name}{TEXELS}: texture_2d<{element}>;\n");
            text += &format!("override {name}{FIRST}: u32 = 0u;\noverride {name}{LAST}: u32 = 0xffffffffu;\n");
            buffers.push(name);
        }
    }
    text
}

/// The buffers that entry point number `entry` uses, itself or through the functions it calls.
pub fn reflect(module: &naga::Module, info: &ModuleInfo, entry: usize) -> Vec<Binding> {
    let function = info.get_entry_point(entry);
    let used = module.global_variables.iter().filter_map(|(handle, variable)| {
        let uses = function[handle];
        let place = variable.binding.as_ref()?;
        if uses.is_empty() {
            return None;
        }
        let kind = match variable.space {
            naga::AddressSpace::Uniform => BindingKind::Uniform,
            naga::AddressSpace::Handle => BindingKind::Texels(sample_type(&module.types[variable.ty].inner)),
            _ if uses.contains(GlobalUse::WRITE) => BindingKind::ReadWrite,
            // Declared read_write for another entry point's sake: the layout must still say so.
            naga::AddressSpace::Storage { access } if access.contains(naga::StorageAccess::STORE) => BindingKind::ReadWrite,
            _ => BindingKind::Read,
        };
        let name = variable.name.as_deref().unwrap_or_default();
        let name = name.strip_suffix(TEXELS).unwrap_or(name).to_owned();
        let (reads, writes) = (uses.contains(GlobalUse::READ), uses.contains(GlobalUse::WRITE));
        Some(Binding { name, group: place.group, index: place.binding, kind, reads, writes })
    });
    used.collect()
}

/// Of a texture that no sampler filters.
fn sample_type(ty: &naga::TypeInner) -> wgpu::TextureSampleType {
    match ty {
        naga::TypeInner::Image { class: naga::ImageClass::Sampled { kind: naga::ScalarKind::Uint, .. }, .. } => {
            wgpu::TextureSampleType::Uint
        }
        _ => wgpu::TextureSampleType::Float { filterable: false },
    }
}

impl Context {
    fn module(&self, shader: &Shader, tiles: &[(&str, u32)]) -> Result<Arc<Module>, GpuError> {
        let key = format!("{} {tiles:?}", shader.op);
        let mut modules = self.modules.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(module) = modules.get(&key) {
            return Ok(module.clone());
        }
        let (naga, info) = shader.parse(tiles)?;
        let source = wgpu::ShaderSource::Wgsl(shader.with(tiles).into());
        let descriptor = wgpu::ShaderModuleDescriptor { label: Some(shader.op), source };
        let wgpu = if self.options.runtime_checks {
            self.device.create_shader_module(descriptor)
        } else {
            // SAFETY: without wgpu's checks a shader that indexes outside its buffers or never leaves a loop is undefined
            // behaviour. Only this crate's own shaders come here; `tests/op_parity/` runs every entry point over sizes that hurt
            // both with the checks and without, and `Planner` refuses buffers smaller than the op's shape. (`bench`'s own shader
            // looks at the length of the one buffer that it indexes.)
            unsafe { self.device.create_shader_module_trusted(descriptor, wgpu::ShaderRuntimeChecks::unchecked()) }
        };
        let module = Arc::new(Module { naga, info, wgpu });
        modules.insert(key, module.clone());
        Ok(module)
    }

    /// Entry point `entry` of `shader` with the given values for its `const` tile sizes and its `override` constants, compiled at
    /// its first use.
    pub fn kernel(
        &self,
        shader: &Shader,
        entry: &str,
        tiles: &[(&str, u32)],
        constants: &[(&str, f64)],
    ) -> Result<Kernel, GpuError> {
        let key = format!("{}.{entry} {tiles:?} {constants:?}", shader.op);
        if let Some(kernel) = self.kernels.lock().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return Ok(kernel.clone());
        }
        log::debug!("compiling {key}");
        let kernel = self.compile(shader, entry, tiles, constants)?;
        self.kernels.lock().unwrap_or_else(PoisonError::into_inner).insert(key, kernel.clone());
        Ok(kernel)
    }

    fn compile(
        &self,
        shader: &Shader,
        entry: &str,
        tiles: &[(&str, u32)],
        constants: &[(&str, f64)],
    ) -> Result<Kernel, GpuError> {
        let module = self.module(shader, tiles)?;
        let known = || module.naga.entry_points.iter().map(|e| e.name.as_str()).collect::<Vec<_>>().join(", ");
        let index = module.naga.entry_points.iter().position(|e| e.name == entry).ok_or_else(|| GpuError::EntryPoint {
            op: shader.op,
            entry: entry.into(),
            known: known(),
        })?;
        let (batch, bindings): (Vec<_>, Vec<_>) =
            reflect(&module.naga, &module.info, index).into_iter().partition(|b| b.group == 1);

        let entries: Vec<_> = bindings
            .iter()
            .map(|b| wgpu::BindGroupLayoutEntry {
                binding: b.index,
                visibility: wgpu::ShaderStages::COMPUTE,
                ty: match b.kind {
                    BindingKind::Texels(sample_type) => wgpu::BindingType::Texture {
                        sample_type,
                        view_dimension: wgpu::TextureViewDimension::D2,
                        multisampled: false,
                    },
                    kind => wgpu::BindingType::Buffer {
                        ty: wgpu::BufferBindingType::Storage { read_only: kind == BindingKind::Read },
                        has_dynamic_offset: false,
                        min_binding_size: None,
                    },
                },
                count: None,
            })
            .collect();
        let label = format!("{}.{entry}", shader.op);
        let layout = self
            .device
            .create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor { label: Some(&label), entries: &entries });
        let mut groups = vec![Some(&layout)];
        if !batch.is_empty() {
            groups.push(Some(&self.batch_layout));
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
        let workgroup_size = module.naga.entry_points[index].workgroup_size;
        Ok(Kernel { pipeline, layout, bindings, uses_batch: !batch.is_empty(), workgroup_size })
    }
}
