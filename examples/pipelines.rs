//! Prints, as JSON, everything that a GPU's compiler has to take: the pipelines of a training step and of an evaluation
//! of the classic network, and each entry point of the WGSL files given, with the values written there. No GPU is
//! needed: `cargo run --release --example pipelines -- shaders/*.wgsl`. `scripts/browser` gives them to Chromium.

use mnist_wgpu::data::synthetic;
use mnist_wgpu::engine::{GpuEngine, Settings};
use mnist_wgpu::gpu::{Adapters, Options, Step};
use mnist_wgpu::model::Model;
use serde_json::{Map, Value, json};
use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    let data = synthetic(100, 10, 0);
    let model = Model::classic(data.shape, data.classes.len(), 0.5)?;
    // A browser's device has WebGPU's default limits.
    let options = Options { limits: Some(wgpu::Limits::default), ..Options::default() };
    let context = pollster::block_on(pollster::block_on(Adapters::noop()).open(0, options))?;
    let engine = GpuEngine::new(&context, &model, &data, Settings::default())?;

    let mut files = Vec::new();
    for path in std::env::args().skip(1) {
        let wgsl = std::fs::read_to_string(&path).map_err(|e| format!("{path}: {e}"))?;
        let module = naga::front::wgsl::parse_str(&wgsl).map_err(|e| e.emit_to_string_with_path(&wgsl, &path))?;
        files.extend(
            module.entry_points.iter().map(|e| json!({ "op": path, "entry": e.name, "wgsl": wgsl, "constants": {} })),
        );
    }
    let training: Vec<_> = engine.training_steps().map(pipeline).collect();
    let evaluation: Vec<_> = engine.evaluation_steps().map(pipeline).collect();
    println!("{}", json!({ "training": training, "evaluation": evaluation, "files": files }));
    Ok(())
}

fn pipeline(step: &Step) -> Value {
    let source = &step.source;
    let constants: Map<_, _> = source.constants.iter().map(|(name, value)| (name.clone(), (*value).into())).collect();
    json!({ "op": source.shader.op, "entry": source.entry, "wgsl": source.shader.source, "constants": constants })
}
