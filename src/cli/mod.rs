//! Subcommands, one file each, and what they share.

mod bench;
mod dashboard;
mod dataset;
mod device;
mod devices;
mod eval;
mod manual;
mod output;
mod train;
mod version;
#[expect(dead_code, reason = "until `train` watches with it")]
mod watch;

pub use output::{Log, colour, print, tell};

use clap::{Parser, Subcommand};
use std::error::Error;
use std::process::ExitCode;

/// Train the classic MNIST convolutional network on any GPU, in WGSL compute shaders.
///
/// No set-up is needed: without the MNIST files, and where they cannot be downloaded, it trains on digits that it draws itself.
#[derive(Parser)]
#[command(version = version::version(), arg_required_else_help = true, max_term_width = 100)]
#[command(after_help = "Exit codes: 0 done, 1 failed, 2 bad usage, 130 interrupted.\nRUST_LOG=info (or debug) tells more.")]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Train the network and save it after each epoch
    #[command(after_help = TRAIN_EXAMPLES)]
    Train(train::Arguments),
    /// Loss and accuracy of a saved network on the test images
    #[command(after_help = EVAL_EXAMPLES)]
    Eval(eval::Arguments),
    /// List the devices that --device can choose, and what they can do
    #[command(after_help = DEVICES_EXAMPLES)]
    Devices(devices::Arguments),
    /// Measure how fast a device trains
    #[command(after_help = BENCH_EXAMPLES)]
    Bench(bench::Arguments),
    /// Print a script that completes this program's arguments in a shell
    #[command(after_help = COMPLETIONS_EXAMPLES)]
    Completions(manual::CompletionsArguments),
    /// Print the manual page, or write the pages of all subcommands
    #[command(after_help = MAN_EXAMPLES)]
    Man(manual::ManArguments),
}

const TRAIN_EXAMPLES: &str = "\
Examples:
  mnist-wgpu train                              ten epochs on the best device there is
  mnist-wgpu train --device cpu --epochs 3      three, on the CPU
  mnist-wgpu train --data-dir ~/mnist --seed 7  with the MNIST files of a folder, and another seed";

const EVAL_EXAMPLES: &str = "\
Example:
  mnist-wgpu eval model.safetensors --data-dir ~/mnist";

const DEVICES_EXAMPLES: &str = "\
Examples:
  mnist-wgpu devices
  mnist-wgpu devices --json | jq '.adapters[].name'";

const BENCH_EXAMPLES: &str = "\
Examples:
  mnist-wgpu bench --device all --batch-size 32,256   every device, two batch sizes
  mnist-wgpu bench --kernels --trace trace.json       each dispatch, also for ui.perfetto.dev";

const COMPLETIONS_EXAMPLES: &str = "\
Examples:
  mnist-wgpu completions bash > ~/.local/share/bash-completion/completions/mnist-wgpu
  mnist-wgpu completions zsh > ~/.zfunc/_mnist-wgpu
  mnist-wgpu completions fish > ~/.config/fish/completions/mnist-wgpu.fish";

const MAN_EXAMPLES: &str = "\
Examples:
  mnist-wgpu man ~/.local/share/man/man1   then `man mnist-wgpu-train` finds it
  mnist-wgpu man | man -l -                reads it at once";

/// Why a subcommand ended without success.
pub enum Failure {
    /// To be told on stderr; exit code 1.
    Failed(Box<dyn Error>),
    /// Arguments that cannot be right; exit code 2.
    Usage(String),
    /// By Ctrl-C, with what to know; exit code 130.
    Interrupted(String),
}

impl Failure {
    pub fn message(&self) -> Option<String> {
        match self {
            Failure::Failed(error) => Some(error.to_string()),
            Failure::Usage(message) | Failure::Interrupted(message) => Some(message.clone()),
        }
    }

    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Failure::Failed(_) => 1,
            Failure::Usage(_) => 2,
            Failure::Interrupted(_) => 130,
        })
    }
}

impl<E: Error + 'static> From<E> for Failure {
    fn from(error: E) -> Self {
        Failure::Failed(Box::new(error))
    }
}

impl Arguments {
    pub fn run(self) -> Result<(), Failure> {
        match self.command {
            Command::Train(arguments) => train::run(&arguments),
            Command::Eval(arguments) => eval::run(&arguments),
            Command::Devices(arguments) => devices::run(&arguments),
            Command::Bench(arguments) => bench::run(&arguments),
            Command::Completions(arguments) => manual::completions(&arguments),
            Command::Man(arguments) => manual::man(&arguments),
        }
    }
}

/// `60000` as `60,000`.
pub fn thousands(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
