//! A WGSL file, run as it is written; only its `const` tile sizes may get other values.

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

    /// The file with other values for some of its `const NAME: u32`: sizes of workgroups and of arrays, which no `override` can
    /// give, since naga has to know them.
    ///
    /// # Panics
    /// If the file declares no such constant.
    pub fn with(&self, tiles: &[(&str, u32)]) -> String {
        let mut source = self.source.to_owned();
        for &(name, value) in tiles {
            let declaration = |value: u32| format!("const {name}: u32 = {value}u;");
            source = source.replacen(&declaration(self.constant(name)), &declaration(value), 1);
        }
        source
    }

    /// Parses and validates the file with these `tiles`.
    pub fn parse(&self, tiles: &[(&str, u32)]) -> Result<(naga::Module, ModuleInfo), GpuError> {
        let source = self.with(tiles);
        let fail = |message| GpuError::Shader { op: self.op, message };
        let module = naga::front::wgsl::parse_str(&source).map_err(|e| fail(e.emit_to_string(&source)))?;
        let info = Validator::new(ValidationFlags::all(), Capabilities::empty())
            .validate(&module)
            .map_err(|e| fail(e.emit_to_string(&source)))?;
        Ok((module, info))
    }
}
