//! Watching a run: the progress bar, Ctrl-C, and the clock.

use super::tell;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use mnist_wgpu::engine::Work;
use mnist_wgpu::train::Progress;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// From now on the first Ctrl-C only sets [`interrupted`], and says so; a second ends the program at once.
pub fn catch_interrupts() -> Result<(), ctrlc::Error> {
    ctrlc::set_handler(|| {
        if INTERRUPTED.swap(true, Ordering::SeqCst) {
            std::process::exit(130);
        }
        tell("Stopping. Ctrl-C again stops at once.");
    })
}

pub fn interrupted() -> bool {
    INTERRUPTED.load(Ordering::SeqCst)
}

/// Time since the first call.
pub fn clock() -> Duration {
    static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    START.get_or_init(Instant::now).elapsed()
}

/// A bar on stderr, where that is a terminal: batches, images/s and the running loss of one pass over the data.
pub struct Bar {
    bar: ProgressBar,
    label: &'static str,
    /// When the pass was first shown, and how many images it had done by then.
    started: Duration,
    before: u64,
    pass: Option<(u32, Work)>,
}

impl Bar {
    /// `label` goes before every line, so that nobody forgets what this run trains on.
    pub fn new(label: &'static str) -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        if let Ok(style) = ProgressStyle::with_template("{prefix} [{wide_bar}] {pos}/{len}  {msg}  {eta} left") {
            bar.set_style(style.progress_chars("=> "));
        }
        Self { bar, label, started: clock(), before: 0, pass: None }
    }

    pub fn show(&mut self, progress: &Progress) {
        let (done, all) = progress.batches;
        if self.pass != Some((progress.epoch, progress.work)) {
            self.pass = Some((progress.epoch, progress.work));
            (self.started, self.before) = (clock(), progress.totals.count());
            self.bar.reset();
            self.bar.set_length(all as u64);
            let pass = match progress.work {
                Work::Train => format!("Epoch {}", progress.epoch),
                Work::Evaluate => "Evaluating".to_string(),
            };
            self.bar.set_prefix(format!("{}{pass}", self.label));
        }
        let seconds = (clock() - self.started).as_secs_f64();
        let counted = progress.totals.count() - self.before;
        let rate = if counted > 0 { counted as f64 / seconds } else { 0.0 };
        self.bar.set_message(format!("{rate:.0} images/s  loss {:.4}", progress.totals.loss()));
        self.bar.set_position(done as u64);
    }

    /// Takes the bar off the screen, so that lines can be printed.
    pub fn clear(&mut self) {
        self.bar.finish_and_clear();
        self.pass = None;
    }
}
