//! A WGSL file, and what the host writes into it: tile sizes, and what no `if` could keep out of a shader for a device that lacks it.

use super::GpuError;
use naga::valid::{Capabilities, ModuleInfo, ValidationFlags, Validator};

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

/// What is added to a buffer's name: for the texture through which it is read, for its first texel there and its last.
pub(super) const TEXTURE: &str = "_texels";
pub(super) const FIRST: &str = "_first";
pub(super) const LAST: &str = "_last";
/// And to its binding, for the texture's: more than a shader has buffers.
const TEXTURE_BINDINGS: u32 = 16;

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
        let format = if ty.starts_with("u32") { "rgba32uint" } else { "rgba32float" };
        Some((binding.parse::<u32>().ok()?, name.to_owned(), format))
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
        let load = |name: &str| format!("textureLoad({name}{TEXTURE}, vec2u(texel % TEXELS, texel / TEXELS))");
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
        if let Some((binding, name, format)) = buffer(line) {
            let binding = binding + TEXTURE_BINDINGS;
            text += &format!("@group(0) @binding({binding}) var {name}{TEXTURE}: texture_storage_2d<{format}, read>;\n");
            text += &format!("override {name}{FIRST}: u32 = 0u;\noverride {name}{LAST}: u32 = 0xffffffffu;\n");
            buffers.push(name);
        }
    }
    text
}
