//! Watching a run: on a dashboard, by a line on stderr, or not at all.

mod bar;
mod dashboard;
mod meter;
mod screen;

pub use bar::Bar;
pub use screen::Run;

use super::Failure;
use super::output::{self, StdoutError, quiet};
use dashboard::Dashboard;
use mnist_wgpu::history::Row;
use mnist_wgpu::train::Progress;
use std::io::{self, IsTerminal};

/// How a run is watched: the options of `train`.
#[derive(clap::Args)]
pub struct WatchArguments {
    /// Nothing but the epochs' reports, warnings and errors
    #[arg(long, short)]
    quiet: bool,

    /// A live dashboard with curves; q stops the run and saves it
    #[arg(long, conflicts_with = "quiet")]
    tui: bool,
}

impl WatchArguments {
    /// Takes `--quiet` to heart, and refuses `--tui` where it cannot be drawn. To be called before anything else is
    /// said.
    pub fn check(&self) -> Result<(), Failure> {
        if self.quiet {
            output::be_quiet();
        }
        let terminal = io::stdin().is_terminal() && io::stdout().is_terminal() && io::stderr().is_terminal();
        if self.tui && (!terminal || console_is_dumb()) {
            let message = "--tui draws on the whole terminal and reads keys, but stdin, stdout or stderr is no terminal that can \
                           do that; leave --tui out to get plain lines";
            return Err(Failure::Usage(message.into()));
        }
        Ok(())
    }
}

/// Whether the terminal has no cursor to move. indicatif's own rule.
fn console_is_dumb() -> bool {
    std::env::var_os("TERM").map_or(cfg!(unix), |term| term == "dumb")
}

/// What is shown of a run while it lasts.
pub enum Watch {
    Quiet,
    Bar(Box<Bar>),
    Dashboard(Box<Dashboard>),
}

impl Watch {
    /// Begins to watch `run`. The dashboard takes the screen, until [`Watch::finish`] or until it is dropped.
    pub fn new(arguments: &WatchArguments, run: Run) -> Result<Self, Failure> {
        Ok(if quiet() {
            Watch::Quiet
        } else if arguments.tui {
            Watch::Dashboard(Box::new(Dashboard::new(run)?))
        } else {
            Watch::Bar(Box::new(Bar::new(if run.synthetic { "NOT MNIST: " } else { "" }, run.epochs)))
        })
    }

    /// The loop is here now.
    pub fn show(&mut self, progress: &Progress) {
        match self {
            Watch::Quiet => {}
            Watch::Bar(bar) => bar.show(progress),
            Watch::Dashboard(dashboard) => dashboard.show(progress),
        }
    }

    /// An epoch has ended.
    pub fn epoch(&mut self, row: &Row) {
        match self {
            Watch::Quiet => {}
            Watch::Bar(bar) => bar.epoch(row),
            Watch::Dashboard(dashboard) => dashboard.epoch(row),
        }
    }

    /// Makes room for lines to be printed. Those printed while the dashboard has the screen appear when it leaves.
    pub fn clear(&mut self) {
        if let Watch::Bar(bar) = self {
            bar.clear();
        }
    }

    /// Ends watching: gives the screen back, and writes what waited for that.
    pub fn finish(self) -> Result<(), StdoutError> {
        match self {
            Watch::Quiet => Ok(()),
            Watch::Bar(mut bar) => {
                bar.clear();
                Ok(())
            }
            Watch::Dashboard(dashboard) => dashboard.finish(),
        }
    }
}
