//! `export`: a saved network for other programs.

use super::network::{self, PixelArguments};
use super::{Failure, print_bytes, target, tell, values};
use mnist_wgpu::checkpoint::Checkpoint;
use mnist_wgpu::onnx;
use std::path::{Path, PathBuf};

const EXAMPLES: &str = "\
Example:
  mnist-wgpu export runs/latest --onnx digits.onnx

The file that `train` saves is safetensors already, with PyTorch's names.";

/// What is written.
const MODEL: &str = "the ONNX model";

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// A run's folder, a network that `train` saved, or `builtin`
    #[arg(value_name = "RUN|FILE", value_parser = values::path())]
    network: PathBuf,

    #[command(flatten)]
    pixels: PixelArguments,

    /// ONNX model to write; - is stdout
    #[arg(long, value_name = "FILE", value_parser = values::path())]
    onnx: PathBuf,

    /// Overwrite a file that exists
    #[arg(long)]
    force: bool,
}

pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let network = network::load(Some(&arguments.network), &arguments.pixels)?;
    tell(network.line());
    let Checkpoint { model, state, info, .. } = &network.checkpoint;
    if arguments.onnx == Path::new("-") {
        return Ok(print_bytes(&onnx::export(model, state, info.as_ref()))?);
    }
    target::check(MODEL, &arguments.onnx, arguments.force, &[Path::new(&network.name)])?;
    let bytes = onnx::export(model, state, info.as_ref());
    target::write(MODEL, &arguments.onnx, &bytes)?;
    let (path, shape, input, output) = (arguments.onnx.display(), &model.shapes()[0], onnx::INPUT, onnx::OUTPUT);
    tell(format_args!("Wrote {path}: from `{input}`, float images {shape}, pixels / 255, to `{output}`."));
    Ok(())
}
