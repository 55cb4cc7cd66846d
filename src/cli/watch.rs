//! Watching a run: what is shown of it, Ctrl-C, and the clock.

use super::dashboard::Dashboard;
use super::output::{self, StdoutError, quiet, tell};
use super::{Failure, thousands};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use mnist_wgpu::engine::Work;
use mnist_wgpu::history::Row;
use mnist_wgpu::train::Progress;
use std::io::{self, IsTerminal};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// From now on the first Ctrl-C only sets [`interrupted`], and says so; a second ends the program at once.
pub fn catch_interrupts() -> Result<(), ctrlc::Error> {
    ctrlc::set_handler(interrupt)
}

/// What Ctrl-C does.
pub fn interrupt() {
    if INTERRUPTED.swap(true, Ordering::SeqCst) {
        super::dashboard::restore();
        std::process::exit(130);
    }
    tell("Stopping. Ctrl-C again stops at once.");
}

pub fn interrupted() -> bool {
    INTERRUPTED.load(Ordering::SeqCst)
}

/// Time since the first call.
pub fn clock() -> Duration {
    static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    START.get_or_init(Instant::now).elapsed()
}

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
    /// Takes `--quiet` to heart, and refuses `--tui` where it cannot be drawn. To be called before anything else is said.
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

/// What is watched.
#[derive(Clone, Debug, Default)]
pub struct Run {
    pub name: String,
    pub device: String,
    pub dataset: String,
    /// Whether the digits are drawn, so that figures are not MNIST's.
    pub synthetic: bool,
    /// The last epoch to train.
    pub epochs: u32,
    /// Of the epochs that a resumed run had behind it.
    pub history: Vec<Row>,
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
            Watch::Bar(Box::new(Bar::of(&run)))
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

/// A line on stderr for one pass over the data: images/s, running loss and accuracy, time left. Where stderr is a terminal it is a bar
/// that moves; elsewhere a plain line now and then.
pub struct Bar {
    bar: ProgressBar,
    label: &'static str,
    meter: Meter,
    /// When a pass began, or the last plain line was written.
    told: Duration,
}

impl Bar {
    /// Plain lines come no more often than this: an epoch shorter than it has none.
    const PLAIN: Duration = Duration::from_secs(10);

    /// `label` goes before every line, so that nobody forgets what this run trains on.
    pub fn new(label: &'static str) -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        if let Ok(style) = ProgressStyle::with_template("{prefix} [{wide_bar}] {msg}") {
            bar.set_style(style.progress_chars("=> "));
        }
        Self { bar, label, meter: Meter::default(), told: clock() }
    }

    fn of(run: &Run) -> Self {
        let bar = Self::new(if run.synthetic { "NOT MNIST: " } else { "" });
        Self { meter: Meter::new(run.epochs), ..bar }
    }

    pub fn show(&mut self, progress: &Progress) {
        let now = clock();
        let new_pass = self.meter.pass != Some((progress.epoch, progress.work));
        let speed = self.meter.read(progress, now);
        let (done, all) = progress.batches;
        let pass = match (progress.work, self.meter.epochs) {
            (Work::Train, 0) => format!("{}Epoch {}", self.label, progress.epoch),
            (Work::Train, epochs) => format!("{}Epoch {}/{epochs}", self.label, progress.epoch),
            (Work::Evaluate, _) => format!("{}Evaluating", self.label),
        };
        if new_pass {
            self.told = now;
            self.bar.reset();
            self.bar.set_length(all as u64);
            self.bar.set_prefix(pass.clone());
        }
        let figures = figures(progress, &speed);
        if !self.bar.is_hidden() {
            self.bar.set_message(figures);
            self.bar.set_position(done as u64);
        } else if now >= self.told + Self::PLAIN {
            self.told = now;
            tell(format_args!("{pass}: {}%  {figures}", 100 * done / all.max(1)));
        }
    }

    fn epoch(&mut self, row: &Row) {
        self.meter.epoch_took(row.seconds);
    }

    /// Takes the bar off the screen, so that lines can be printed.
    pub fn clear(&mut self) {
        self.bar.finish_and_clear();
        self.meter.pass = None;
    }
}

/// `9,504 images/s  loss 0.0642  acc 0.9803  2s left, run 31s`
fn figures(progress: &Progress, speed: &Speed) -> String {
    let (loss, accuracy) = (progress.totals.loss(), progress.totals.accuracy());
    let rate = thousands(speed.images_per_second as usize);
    let left = speed.left.map(|left| format!("  {} left", short(left))).unwrap_or_default();
    let run = speed.run_left.map(|left| format!(", run {}", short(left))).unwrap_or_default();
    format!("{rate} images/s  loss {loss:.4}  acc {accuracy:.4}{left}{run}")
}

/// `8s`, `2m10s`, `1h05m`
pub fn short(time: Duration) -> String {
    match time.as_secs_f64().ceil() as u64 {
        seconds @ 0..60 => format!("{seconds}s"),
        seconds @ 60..3600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        seconds => format!("{}h{:02}m", seconds / 3600, seconds / 60 % 60),
    }
}

/// Tells from the progress of a run how fast it is and how long it will yet take.
#[derive(Default)]
pub struct Meter {
    /// The last epoch; 0 where there is but one pass.
    epochs: u32,
    pass: Option<(u32, Work)>,
    /// When the pass was first heard of, and the images and batches done by then: what came before is not counted.
    started: Duration,
    before: (u64, usize),
    /// How long an epoch takes: with all that belongs to it once one has ended, until then its training alone.
    epoch: Option<f64>,
    training: f64,
}

/// See [`Meter`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Speed {
    /// Of this pass; 0 where it is not known yet.
    pub images_per_second: f64,
    /// Until the end of the pass, and of the whole run.
    pub left: Option<Duration>,
    pub run_left: Option<Duration>,
}

impl Meter {
    pub fn new(epochs: u32) -> Self {
        Self { epochs, ..Self::default() }
    }

    pub fn epoch_took(&mut self, seconds: f64) {
        self.epoch = Some(seconds);
    }

    /// Takes note of `progress` at the time `now`.
    pub fn read(&mut self, progress: &Progress, now: Duration) -> Speed {
        let (done, all) = progress.batches;
        let images = progress.totals.count();
        if self.pass != Some((progress.epoch, progress.work)) {
            self.pass = Some((progress.epoch, progress.work));
            (self.started, self.before) = (now, (images, done));
        }
        let seconds = now.saturating_sub(self.started).as_secs_f64();
        if done <= self.before.1 || seconds <= 0.0 {
            return Speed { images_per_second: 0.0, left: None, run_left: None };
        }
        let per_batch = seconds / (done - self.before.1) as f64;
        let left = per_batch * all.saturating_sub(done) as f64;
        if progress.work == Work::Train {
            self.training = per_batch * all as f64;
        }
        let epoch = self.epoch.unwrap_or(self.training);
        // After the last epoch comes the test, which is of none.
        let after = if progress.epoch == 0 { 0 } else { self.epochs.saturating_sub(progress.epoch) };
        Speed {
            images_per_second: (images - self.before.0) as f64 / seconds,
            left: Duration::try_from_secs_f64(left).ok(),
            run_left: Duration::try_from_secs_f64(left + epoch * f64::from(after)).ok().filter(|_| self.epochs > 1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mnist_wgpu::metrics::{BatchMetrics, Totals};

    /// After `done` of 100 batches of 32 images.
    fn progress(epoch: u32, done: usize) -> Progress {
        let mut totals = Totals::default();
        (0..done).for_each(|_| totals.add(&BatchMetrics { loss_sum: 16.0, correct: 24, count: 32, non_finite: 0 }));
        Progress { epoch, work: Work::Train, batches: (done, 100), totals }
    }

    #[test]
    fn a_meter_tells_the_speed_and_what_is_left_of_pass_and_run() {
        let mut meter = Meter::new(4);
        let at = Duration::from_secs;
        assert_eq!(meter.read(&progress(1, 10), at(5)).left, None, "nothing was measured yet");
        // 40 batches in 2 s.
        let speed = meter.read(&progress(1, 50), at(7));
        assert_eq!(speed.images_per_second, 640.0);
        assert_eq!(speed.left, Some(Duration::from_millis(2500)));
        assert_eq!(speed.run_left, Some(Duration::from_millis(2500 + 3 * 5000)));
        // Validation is short, and says nothing of how long the epochs after it take.
        let evaluation = |done| Progress { work: Work::Evaluate, ..progress(1, done) };
        meter.read(&evaluation(50), at(10));
        assert_eq!(meter.read(&evaluation(75), at(11)).run_left, Some(at(1 + 3 * 5)));
        // Once an epoch has ended it is known how long its validation and saving take.
        meter.epoch_took(6.0);
        meter.read(&progress(2, 20), at(20));
        assert_eq!(meter.read(&progress(2, 60), at(22)).run_left, Some(at(2 + 2 * 6)));
        // One pass alone is no run, and a clock that stands still no speed.
        assert_eq!(Meter::default().read(&progress(1, 10), at(1)).run_left, None);
        assert_eq!(meter.read(&progress(3, 10), at(30)), meter.read(&progress(3, 20), at(30)));
    }

    #[test]
    fn times_are_short() {
        let texts = [0.0, 7.2, 60.0, 3599.0, 3600.0, 90_000.0].map(|s| short(Duration::from_secs_f64(s)));
        assert_eq!(texts, ["0s", "8s", "1m00s", "59m59s", "1h00m", "25h00m"]);
    }

    #[test]
    fn the_line_holds_speed_loss_accuracy_and_time() {
        let speed = Speed { images_per_second: 9504.4, left: Some(Duration::from_secs(2)), run_left: None };
        assert_eq!(figures(&progress(1, 2), &speed), "9,504 images/s  loss 0.5000  acc 0.7500  2s left");
    }
}
