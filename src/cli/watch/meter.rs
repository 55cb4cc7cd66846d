//! How fast a run is, and how long it will yet take.

use mnist_wgpu::engine::Work;
use mnist_wgpu::train::Progress;
use std::time::Duration;

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
    pub epochs: u32,
    pub pass: Option<(u32, Work)>,
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
pub mod tests {
    use super::*;
    use mnist_wgpu::metrics::{BatchMetrics, Totals};

    /// After `done` of 100 batches of 32 images.
    pub fn progress(epoch: u32, done: usize) -> Progress {
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
}
