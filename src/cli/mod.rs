//! Subcommands, one file or folder each, and what they share.

mod bench;
mod clock;
mod compare;
mod dataset;
mod device;
mod devices;
mod environment;
mod eval;
mod export;
mod fastest;
mod interrupt;
mod layers;
mod log;
mod lr_find;
mod manual;
mod network;
mod output;
mod picture;
mod predict;
mod selftest;
mod stopwatch;
mod target;
mod train;
mod values;
mod version;
mod watch;

pub use output::{print, print_bytes, tell};

use clap::{Parser, Subcommand};
use std::error::Error;
use std::process::ExitCode;

/// Train the classic MNIST convolutional network on any GPU, in WGSL compute shaders.
///
/// No set-up is needed: without the MNIST files, and where they cannot be downloaded, it trains on digits that it draws
/// itself.
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
    Train(train::Arguments),
    /// Loss and accuracy of a saved network on the test images
    Eval(eval::Arguments),
    /// Several runs beside each other: settings, figures, curves
    Compare(compare::Arguments),
    /// Find a learning rate to train with
    LrFind(lr_find::Arguments),
    /// What a picture shows: which digit, or which other class
    Predict(predict::Arguments),
    /// Write a saved network as an ONNX model
    Export(export::Arguments),
    /// Check that a GPU computes what the CPU path does
    Selftest(selftest::Arguments),
    /// List the devices that --device can choose, and what they can do
    Devices(devices::Arguments),
    /// Measure how fast a device trains
    Bench(bench::Arguments),
    /// Print a script that completes this program's arguments in a shell
    Completions(manual::CompletionsArguments),
    /// Print the manual page, or write the pages of all subcommands
    Man(manual::ManArguments),
}

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
    pub fn saying(message: impl Into<String>) -> Self {
        Failure::Failed(message.into().into())
    }

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
            Command::Compare(arguments) => compare::run(&arguments),
            Command::LrFind(arguments) => lr_find::run(&arguments),
            Command::Predict(arguments) => predict::run(&arguments),
            Command::Export(arguments) => export::run(&arguments),
            Command::Selftest(arguments) => selftest::run(&arguments),
            Command::Devices(arguments) => devices::run(&arguments),
            Command::Bench(arguments) => bench::run(&arguments),
            Command::Completions(arguments) => manual::completions(&arguments),
            Command::Man(arguments) => manual::man(&arguments),
        }
    }
}

/// What comes before everything else.
pub fn start() {
    environment::prepare();
    log::start_log();
    if let Err(error) = interrupt::listen() {
        tell(format_args!("Note: cannot listen for signals, so that Ctrl-C saves nothing: {error}"));
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
