//! Makes what the page loads:
//!
//!     mnist-wgpu-pack CRATE.wasm NETWORK.safetensors FOLDER
//!
//! The crate, compiled to WebAssembly, gets the JavaScript that stands between it and a page. The network's numbers are
//! rounded to 16 bits, which is half of it to load. The page's tests hold what it reads against the network as it was.

use half::f16;
use safetensors::tensor::{Dtype, TensorView};
use safetensors::{SafeTensors, serialize};
use std::error::Error;
use std::fs;
use std::path::Path;
use wasm_bindgen_cli_support::Bindgen;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [program, network, folder] = &arguments[..] else {
        return Err("expected CRATE.wasm NETWORK.safetensors FOLDER".into());
    };
    Bindgen::new().input_path(program).web(true)?.generate(folder)?;
    let halved = halve(&fs::read(network)?).map_err(|error| format!("{network}: {error}"))?;
    Ok(fs::write(Path::new(folder).join("model.safetensors"), halved)?)
}

/// The same tensors in 16 bits.
fn halve(file: &[u8]) -> Result<Vec<u8>, Box<dyn Error>> {
    let (tensors, (_, header)) = (SafeTensors::deserialize(file)?, SafeTensors::read_metadata(file)?);
    let mut halves = Vec::new();
    for (name, tensor) in tensors.iter() {
        if tensor.dtype() != Dtype::F32 {
            return Err(format!("tensor `{name}` is {:?}, expected F32", tensor.dtype()).into());
        }
        let numbers = tensor.data().as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes));
        let bytes: Vec<u8> = numbers.flat_map(|number| f16::from_f32(number).to_le_bytes()).collect();
        halves.push((name, tensor.shape().to_vec(), bytes));
    }
    let views = halves.iter().map(|(name, shape, bytes)| Ok((*name, TensorView::new(Dtype::F16, shape.clone(), bytes)?)));
    let views = views.collect::<Result<Vec<_>, safetensors::SafeTensorError>>()?;
    Ok(serialize(views, header.metadata().clone())?)
}
