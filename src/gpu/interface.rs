//! What the host must know of a shader: its entry points, the buffers that each uses, and its workgroup size.

use serde::{Deserialize, Serialize};

/// An entry point as its host sees it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Interface {
    pub entry: String,
    pub workgroup_size: [u32; 3],
    pub bindings: Vec<Binding>,
}

/// One buffer that an entry point uses.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Binding {
    pub name: String,
    pub group: u32,
    pub index: u32,
    /// As the shader declares it; one entry point may only read what another writes.
    pub read_only: bool,
    pub reads: bool,
    pub writes: bool,
}
