//! Reads the shaders' entry points while the crate is built, so that naga, a fifth of the program, stays out of it.

#[path = "../src/gpu/interface.rs"]
mod interface;
#[path = "../src/gpu/reflect.rs"]
mod reflect;

use std::collections::BTreeMap;
use std::error::Error;
use std::path::Path;
use std::{env, fs};

const SHADERS: &str = "../shaders";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed={SHADERS}");
    let mut shaders = BTreeMap::new();
    for file in fs::read_dir(SHADERS)? {
        let path = file?.path();
        let op = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        shaders.insert(op, reflect::interfaces(&fs::read_to_string(&path)?)?);
    }
    let json = serde_json::to_string(&shaders)?;
    Ok(fs::write(Path::new(&env::var("OUT_DIR")?).join("interfaces.json"), json)?)
}
