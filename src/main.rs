//! The command line: arguments and exit codes. What the subcommands do stands in `cli/`.

mod cli;

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    cli::start();
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
