//! A WGSL file, run as it is written.

use super::GpuError;
use super::interface::Interface;

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
    /// The value of `const NAME: u32` in the file, so that the host derives a kernel's tile sizes instead of repeating
    /// them.
    ///
    /// # Panics
    /// If the file declares no such constant.
    pub fn constant(&self, name: &str) -> usize {
        let value = |line: &str| {
            let value = line.strip_prefix("const ")?.strip_prefix(name)?.strip_prefix(": u32 = ")?;
            value.split_once("u;")?.0.parse().ok()
        };
        let found = self.source.lines().find_map(value);
        found.unwrap_or_else(|| panic!("shaders/{}.wgsl declares no `const {name}: u32`", self.op))
    }

    /// Its entry points, as naga finds them.
    ///
    /// # Errors
    ///
    /// If the file is not valid, or the program was built without naga.
    pub fn interfaces(&self) -> Result<Vec<Interface>, GpuError> {
        #[cfg(feature = "naga")]
        let interfaces = super::reflect::interfaces(self.source);
        #[cfg(not(feature = "naga"))]
        let interfaces = Err("its entry points are not known: the feature `naga` is off".into());
        interfaces.map_err(|message| GpuError::Shader { op: self.op, message })
    }
}
