//! naga reads from a shader what its host must know, so that nothing is typed twice. It does so when the program runs
//! or, where naga is not to be in the program, when it is built: this file is also a part of `web/build.rs`.

use super::interface::{Binding, Interface};
use naga::valid::{Capabilities, GlobalUse, ModuleInfo, ValidationFlags, Validator};

/// Parses and validates a WGSL file. The error points at its place.
pub fn parse(source: &str) -> Result<(naga::Module, ModuleInfo), String> {
    let module = naga::front::wgsl::parse_str(source).map_err(|error| error.emit_to_string(source))?;
    let info = Validator::new(ValidationFlags::all(), Capabilities::empty())
        .validate(&module)
        .map_err(|error| error.emit_to_string(source))?;
    Ok((module, info))
}

/// The entry points of a WGSL file, each with the buffers that it uses, itself or through the functions it calls.
pub fn interfaces(source: &str) -> Result<Vec<Interface>, String> {
    let (module, info) = parse(source)?;
    let interface = |(index, entry): (usize, &naga::EntryPoint)| Interface {
        entry: entry.name.clone(),
        workgroup_size: entry.workgroup_size,
        bindings: bindings(&module, &info, index),
    };
    Ok(module.entry_points.iter().enumerate().map(interface).collect())
}

/// The buffers that entry point number `entry` uses.
fn bindings(module: &naga::Module, info: &ModuleInfo, entry: usize) -> Vec<Binding> {
    let function = info.get_entry_point(entry);
    let used = module.global_variables.iter().filter_map(|(handle, variable)| {
        let uses = function[handle];
        let place = variable.binding.as_ref()?;
        if uses.is_empty() {
            return None;
        }
        let store = naga::StorageAccess::STORE;
        let read_only = !matches!(variable.space, naga::AddressSpace::Storage { access } if access.contains(store));
        let name = variable.name.clone().unwrap_or_default();
        let (reads, writes) = (uses.contains(GlobalUse::READ), uses.contains(GlobalUse::WRITE));
        Some(Binding { name, group: place.group, index: place.binding, read_only, reads, writes })
    });
    used.collect()
}
