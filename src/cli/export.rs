//! `export`: a saved network for other programs.

use super::network::{self, PixelArguments};
use super::{Failure, print_bytes, tell, values};
use mnist_wgpu::checkpoint::Checkpoint;
use mnist_wgpu::{files, onnx};
use std::path::{Path, PathBuf};

const EXAMPLES: &str = "\
Example:
  mnist-wgpu export runs/latest --onnx digits.onnx

The file that `train` saves is safetensors already, with PyTorch's names.";

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
    check_target(&arguments.onnx, Path::new(&network.name), arguments.force)?;
    let bytes = onnx::export(model, state, info.as_ref());
    files::replace(&arguments.onnx, &bytes).map_err(|error| cannot_write(&arguments.onnx, error))?;
    let (path, shape, input, output) = (arguments.onnx.display(), &model.shapes()[0], onnx::INPUT, onnx::OUTPUT);
    tell(format_args!("Wrote {path}: from `{input}`, float images {shape}, pixels / 255, to `{output}`."));
    Ok(())
}

/// Checks that `path` can be written and that nobody would miss what is there.
fn check_target(path: &Path, network: &Path, force: bool) -> Result<(), Failure> {
    files::check_writable(path).map_err(|error| cannot_write(path, error))?;
    let same = |a: &Path, b: &Path| a.canonicalize().is_ok_and(|a| b.canonicalize().is_ok_and(|b| a == b));
    if same(path, network) {
        return Err(Failure::saying(format!("{} is the network itself; give another file", path.display())));
    }
    // Not `exists`, which a link that leads nowhere denies.
    if !force && path.symlink_metadata().is_ok() {
        return Err(Failure::saying(format!("{} exists; --force overwrites it", path.display())));
    }
    Ok(())
}

fn cannot_write(path: &Path, error: std::io::Error) -> Failure {
    Failure::saying(format!("cannot write the ONNX model {}: {error}", path.display()))
}
