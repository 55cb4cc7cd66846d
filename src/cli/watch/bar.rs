//! A line on stderr that moves.

use super::meter::{Meter, Speed, short};
use crate::cli::clock::clock;
use crate::cli::{tell, thousands};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use mnist_wgpu::engine::Work;
use mnist_wgpu::history::Row;
use mnist_wgpu::train::Progress;
use std::time::Duration;

/// A line on stderr for one pass over the data: images/s, running loss and accuracy, time left. Where stderr is a
/// terminal it is a bar that moves; elsewhere a plain line now and then.
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

    /// `label` goes before every line, so that nobody forgets what this run trains on. `epochs` is the last epoch of a
    /// run; 0 where there is but one pass.
    pub fn new(label: &'static str, epochs: u32) -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        if let Ok(style) = ProgressStyle::with_template("{prefix} [{wide_bar}] {msg}") {
            bar.set_style(style.progress_chars("=> "));
        }
        Self { bar, label, meter: Meter::new(epochs), told: clock() }
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

    pub fn epoch(&mut self, row: &Row) {
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

#[cfg(test)]
mod tests {
    use super::super::meter::tests::progress;
    use super::*;

    #[test]
    fn the_line_holds_speed_loss_accuracy_and_time() {
        let speed = Speed { images_per_second: 9504.4, left: Some(Duration::from_secs(2)), run_left: None };
        assert_eq!(figures(&progress(1, 2), &speed), "9,504 images/s  loss 0.5000  acc 0.7500  2s left");
    }
}
