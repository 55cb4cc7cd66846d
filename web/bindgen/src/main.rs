//! Writes the JavaScript that stands between a page and a crate that was compiled to WebAssembly:
//!
//!     mnist-wgpu-bindgen CRATE.wasm FOLDER

use std::error::Error;
use wasm_bindgen_cli_support::Bindgen;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [input, folder] = &arguments[..] else { return Err("expected CRATE.wasm FOLDER".into()) };
    Bindgen::new().input_path(input).web(true)?.generate(folder)?;
    Ok(())
}
