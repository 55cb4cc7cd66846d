//! The command line: arguments and exit codes. What the subcommands do stands in `cli/`.

mod cli;

use clap::Parser;
use env_logger::{Env, Target, WriteStyle};
use std::process::ExitCode;

fn main() -> ExitCode {
    let style = if cli::colour() { WriteStyle::Always } else { WriteStyle::Never };
    let mut logger = env_logger::Builder::from_env(Env::default().default_filter_or("warn,wgpu_hal=error,usvg=error"));
    logger.target(Target::Pipe(Box::new(cli::Log))).write_style(style).init();
    match cli::Arguments::parse().run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if let Some(message) = failure.message() {
                cli::tell(format_args!("error: {message}"));
            }
            failure.exit_code()
        }
    }
}
