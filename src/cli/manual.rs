//! `completions` and `man`: what shells and `man` know of this program, made from the arguments themselves.

use super::{Arguments, Failure, print, tell, values};
use clap::CommandFactory;
use clap_complete::Shell;
use mnist_wgpu::files;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

const COMPLETIONS_EXAMPLES: &str = "\
Examples:
  mnist-wgpu completions bash > ~/.local/share/bash-completion/completions/mnist-wgpu
  mnist-wgpu completions zsh > ~/.zfunc/_mnist-wgpu
  mnist-wgpu completions fish > ~/.config/fish/completions/mnist-wgpu.fish";

#[derive(clap::Args)]
#[command(after_help = COMPLETIONS_EXAMPLES)]
pub struct CompletionsArguments {
    /// The shell to complete in
    shell: Shell,
}

const MAN_EXAMPLES: &str = "\
Examples:
  mnist-wgpu man ~/.local/share/man/man1   then `man mnist-wgpu-train` finds it
  mnist-wgpu man | man -l -                reads it at once";

#[derive(clap::Args)]
#[command(after_help = MAN_EXAMPLES)]
pub struct ManArguments {
    /// Folder for the pages, one of the program and one of each subcommand [default: the program's, on stdout]
    #[arg(value_parser = values::path())]
    folder: Option<PathBuf>,
}

#[derive(Debug, thiserror::Error)]
#[error("cannot write the manual page {}: {source}; name a folder that can be written", path.display())]
struct Unwritten {
    path: PathBuf,
    source: io::Error,
}

pub fn completions(arguments: &CompletionsArguments) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut Arguments::command(), env!("CARGO_PKG_NAME"), &mut script);
    Ok(print(&String::from_utf8_lossy(&script))?)
}

pub fn man(arguments: &ManArguments) -> Result<(), Failure> {
    // Without this, clap would list `help` with a page per subcommand of its own.
    let mut program = Arguments::command().disable_help_subcommand(true);
    program.build();
    let Some(folder) = &arguments.folder else {
        let page = page(&program, Path::new("stdout"))?;
        return Ok(print(&String::from_utf8_lossy(&page.1))?);
    };
    fs::create_dir_all(folder).map_err(|source| Unwritten { path: folder.clone(), source })?;
    let commands = std::iter::once(&program).chain(program.get_subcommands().filter(|command| !command.is_hide_set()));
    for command in commands {
        let (path, text) = page(command, folder)?;
        files::replace(&path, &text).map_err(|source| Unwritten { path: path.clone(), source })?;
        tell(format_args!("Written: {}", path.display()));
    }
    Ok(())
}

/// The page of `command`, and where in `folder` it goes.
fn page(command: &clap::Command, folder: &Path) -> Result<(PathBuf, Vec<u8>), Unwritten> {
    let man = clap_mangen::Man::new(command.clone());
    let path = folder.join(man.get_filename());
    let mut text = Vec::new();
    man.render(&mut text).map_err(|source| Unwritten { path: path.clone(), source })?;
    Ok((path, text))
}
