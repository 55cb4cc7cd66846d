//! A run under way: it trains, keeps what there is after each epoch, and in the end tests the best network.

use super::report;
use crate::cli::clock::clock;
use crate::cli::dataset::{is_synthetic, warn_if_synthetic};
use crate::cli::output::note;
use crate::cli::watch::{self, Watch, WatchArguments};
use crate::cli::{Failure, interrupt, print, tell};
use mnist_wgpu::checkpoint::{Checkpoint, Info, NORMALISATION};
use mnist_wgpu::data::split;
use mnist_wgpu::engine::{Engine, Set, Work};
use mnist_wgpu::evaluation::{Judged, judge};
use mnist_wgpu::files;
use mnist_wgpu::history::{self, Row};
use mnist_wgpu::metrics::Totals;
use mnist_wgpu::model::Model;
use mnist_wgpu::run::{self, Config, Lock, Run, RunError, Tested};
use mnist_wgpu::sources::Found;
use mnist_wgpu::state::State;
use mnist_wgpu::tensorboard::{EventWriter, TensorBoardError};
use mnist_wgpu::train::{self, EpochReport, Observer, Position, Progress, TrainError, fit};
use std::error::Error;

type Outcome = Result<(), Box<dyn Error + Send + Sync>>;

/// How a run is watched and kept, which changes nothing of its result.
pub struct Options<'a> {
    pub watch: &'a WatchArguments,
    pub tensorboard: bool,
    /// See [`train::Options::checkpoint_every`].
    pub checkpoint_every: Option<usize>,
}

/// Where a run begins.
pub struct Start {
    pub position: Position,
    /// A row per complete epoch, and whether the file has them all.
    pub rows: Vec<Row>,
    pub written: bool,
}

impl Default for Start {
    fn default() -> Self {
        Self { position: Position::default(), rows: Vec::new(), written: true }
    }
}

pub struct Session<'a> {
    run: Run,
    /// Held as long as the run is written to.
    lock: Lock,
    /// Whether `runs/latest` is this run yet: see [`Session::be_latest`].
    is_latest: bool,
    config: Config,
    model: &'a Model,
    data: &'a Found,
    /// How far the last checkpoint is.
    position: Position,
    checkpoint_every: Option<usize>,
    /// See [`Start`].
    rows: Vec<Row>,
    rows_written: bool,
    /// Whether the user knows that the file does not have them.
    told_of_rows: bool,
    watch: Watch,
    events: Option<EventWriter>,
}

impl<'a> Session<'a> {
    pub fn new(
        (run, lock): (Run, Lock),
        config: Config,
        model: &'a Model,
        data: &'a Found,
        Start { position, rows, written }: Start,
        options: &Options,
    ) -> Result<Self, Failure> {
        let events = if options.tensorboard { Some(EventWriter::create(&run.folder)?) } else { None };
        let watched = watch::Run {
            name: run.name(),
            device: config.device_now().name.clone(),
            dataset: data.name.clone(),
            synthetic: is_synthetic(data),
            epochs: config.training.epochs,
            history: rows.clone(),
        };
        let watch = Watch::new(options.watch, watched)?;
        let checkpoint_every = options.checkpoint_every;
        Ok(Self {
            run,
            lock,
            is_latest: false,
            config,
            model,
            data,
            position,
            checkpoint_every,
            rows,
            rows_written: written,
            told_of_rows: false,
            watch,
            events,
        })
    }

    fn training(&self) -> &run::Training {
        &self.config.training
    }

    /// Trains from `state`, which belongs to the session's position, to the end, tests the best network and reports.
    pub async fn run<E: Engine>(mut self, engine: E, state: &State) -> Result<(), Failure> {
        let result = self.train_and_test(engine, state).await;
        let finished = self.watch.finish();
        result?;
        Ok(finished?)
    }

    async fn train_and_test<E: Engine>(&mut self, mut engine: E, state: &State) -> Result<(), Failure> {
        let folder = self.run.folder.display().to_string();
        let training = self.training();
        let (batch_size, epochs) = (training.batch_size as usize, training.epochs);
        let options = train::Options {
            batch_size,
            epochs,
            seed: training.seed,
            schedule: training.schedule(),
            checkpoint_every: self.checkpoint_every,
        };
        let split = split(self.data.dataset.train.len(), training.val_fraction, training.seed);
        let start = self.position;
        match (start.epochs, start.batches) {
            (0, 0) => note(format_args!("Run: {folder}")),
            (epochs, 0) => note(format_args!("Run: {folder}, after epoch {epochs}")),
            (epochs, batches) => note(format_args!("Run: {folder}, after {batches} batches of epoch {}", epochs + 1)),
        }
        engine.set_state(state)?;
        let trained = fit(&mut engine, &split, &options, &start, &clock, self).await;
        self.watch.clear();
        trained.map_err(|error| self.explain(error))?;

        if !self.rows_written {
            self.write_rows();
        }
        if self.enough() && self.position.epochs < epochs {
            let since = history::since_best(&self.rows);
            note(format_args!("Validation has not improved for {since} epochs: that is enough (--patience)."));
        }
        let best = run::load_network(&self.run.path(run::MODEL))?;
        let judged = self.test(&mut engine, &best).await?;
        let totals = judged.totals;
        self.run.check_held(&self.lock)?;
        let tested = self.run.write_tested(&self.tested(&best, &judged));
        let reported = report::write(&self.run, &self.config, self.data, &self.rows, &best, &judged);
        print(&format!("Loss on test set:{:.6} Accuracy on test set: {:.6}\n", totals.loss(), totals.accuracy()))
            .map_err(|error| self.explain(TrainError::Observer(error.into())))?;
        let again = |error: &dyn Error| {
            let how = format!("{folder} holds the network; `train --resume` makes its report again");
            Failure::saying(format!("{error}; {how}"))
        };
        tested.map_err(|error| again(&error))?;
        reported.map_err(|error| again(&error))?;
        note(format_args!("Saved as {folder}: report.html shows how it went."));
        if let Some(doubt) = self.doubt(totals) {
            tell(format_args!(
                "Note: {doubt}; try another `--lr` than {:?}: `mnist-wgpu lr-find` suggests one",
                self.training().learning_rate
            ));
        }
        if is_synthetic(self.data) {
            tell("This network was trained and tested on SYNTHETIC digits.");
            warn_if_synthetic(self.data);
        }
        Ok(())
    }

    /// Why the run led nowhere, if it did.
    fn doubt(&self, test: Totals) -> Option<String> {
        let labels = &self.data.dataset.test.labels;
        let mut counts = vec![0u32; self.data.dataset.classes.len()];
        labels.iter().for_each(|&label| counts[usize::from(label)] += 1);
        let (class, most) = (0..).zip(counts).max_by_key(|&(_, count)| count)?;
        let (share, images) = (f64::from(most) / labels.len() as f64, labels.len() as f64);
        // Three standard deviations of the accuracy of a guess that is right so often.
        let by_chance = share + 3.0 * (share * (1.0 - share) / images).sqrt();
        let name = &self.data.dataset.classes[class];
        // Of a few images all may be right by chance.
        if test.accuracy() <= by_chance && by_chance < 1.0 {
            return Some(format!(
                "the network is no better than guessing: it is right for {:.1}% of the test images, and always `{name}` would \
                 be for {:.1}%",
                100.0 * test.accuracy(),
                100.0 * share
            ));
        }
        let (first, later) = self.rows.split_first()?;
        let rose = !later.is_empty() && later.iter().all(|row| row.train_loss > first.train_loss);
        rose.then(|| {
            let last = later[later.len() - 1].train_loss;
            format!("the training loss rose from epoch 1 on, from {:.4} to {last:.4}", first.train_loss)
        })
    }

    /// Judges the test images by the network that the run keeps.
    async fn test<E: Engine>(&mut self, engine: &mut E, best: &Checkpoint) -> Result<Judged, Failure> {
        engine.set_state(&best.state)?;
        if let Some(best) = history::best(&self.rows).filter(|best| best.epoch < self.position.epochs) {
            note(format_args!("Epoch {} was the best by validation: its network is kept and tested.", best.epoch));
        }
        let order: Vec<u32> = (0..self.data.dataset.test.len() as u32).collect();
        let judged = judge(engine, Set::Test, &order, self.training().batch_size as usize, self).await;
        self.watch.clear();
        judged.map_err(|error| self.explain(error))
    }

    /// What is kept of the test.
    fn tested(&self, best: &Checkpoint, judged: &Judged) -> Tested {
        let data = &self.data.dataset;
        let epoch = best.info.as_ref().map_or(self.position.epochs, |info| info.epoch);
        Tested::new(self.position.epochs, epoch, &data.classes, judged, &data.test.labels)
    }

    /// An early end, with what it means for the run.
    fn explain(&self, error: TrainError) -> Failure {
        if let TrainError::Observer(source) = &error
            && let Some(RunError::Gone { .. }) = source.downcast_ref()
        {
            let on = "Where it was moved to, `train --resume` goes on from its last checkpoint";
            return Failure::saying(format!("{error}. {on}"));
        }
        let folder = self.run.folder.display().to_string();
        let can_resume = self.run.path(run::LAST).exists();
        let kept = match (self.rows.last(), self.position.batches) {
            (None, 0) if can_resume => "nothing was trained yet".to_string(),
            (None, 0) => "nothing was saved".to_string(),
            (None, batches) => format!("{folder} holds the network after {batches} batches"),
            (Some(row), 0) => format!("{folder} holds the network after epoch {}", row.epoch),
            (Some(row), batches) => format!("{folder} holds the network after {batches} batches of epoch {}", row.epoch + 1),
        };
        let quoted = files::quoted(&self.run.folder);
        let on = match can_resume {
            true => format!(". Go on with it by: mnist-wgpu train --resume {quoted}"),
            false => String::new(),
        };
        match error {
            TrainError::Interrupted { epoch: 0 } => Failure::Interrupted(format!("interrupted before the test; {kept}{on}")),
            TrainError::Interrupted { epoch } => Failure::Interrupted(format!("interrupted in epoch {epoch}; {kept}{on}")),
            TrainError::Diverged { epoch: 0, .. } => Failure::saying("the best network's outputs are not finite numbers"),
            // To go on would end there again.
            TrainError::Diverged { .. } => Failure::saying(format!("{error} (`--lr`); {kept}")),
            error => Failure::saying(format!("{error}; {kept}{on}")),
        }
    }

    /// Writes to TensorBoard's file, if there is one. Training does not end with it: a curve less is better than a run
    /// less.
    fn event(&mut self, write: impl FnOnce(&mut EventWriter) -> Result<(), TensorBoardError>) {
        if let Some(Err(error)) = self.events.as_mut().map(write) {
            tell(format_args!("Note: {error}; training goes on without it"));
            self.events = None;
        }
    }

    fn info(&self, epoch: u32) -> Info {
        Info {
            input: self.data.dataset.shape,
            layers: self.model.layers().to_vec(),
            classes: self.data.dataset.classes.clone(),
            normalisation: NORMALISATION.into(),
            dataset: self.data.name.clone(),
            epoch,
            seed: self.training().seed,
            val_fraction: self.training().val_fraction,
            version: env!("CARGO_PKG_VERSION").into(),
        }
    }

    /// Saves what a resumed run goes on from.
    fn keep_last(&mut self, position: &Position, state: &State) -> Outcome {
        self.run.check_held(&self.lock)?;
        let (path, info) = (self.run.path(run::LAST), self.info(position.epochs));
        let unwritten = if self.rows_written { &[][..] } else { &self.rows };
        run::save_network(&path, self.model, state, &info, Some(position), unwritten)?;
        self.position = *position;
        Ok(())
    }

    /// Points `runs/latest` at this run. That is done when an epoch is complete, or somebody wants to end the run: what
    /// is saved in between may be on its way to nowhere.
    fn be_latest(&mut self) {
        if !std::mem::replace(&mut self.is_latest, true)
            && let Err(error) = self.run.point_latest()
        {
            tell(format_args!("Note: {error}")); // a convenience, not worth a run
        }
    }

    /// Saves a complete epoch. The last checkpoint says which epoch the run is in. What follows from it is written
    /// after it: a resumed run makes it again from the checkpoint if that was not to be.
    fn keep_epoch(&mut self, row: Row, state: &State) -> Outcome {
        self.run.check_held(&self.lock)?;
        let best = history::best(&self.rows).is_none_or(|best| history::better(&row, best));
        self.rows.push(row);
        self.write_rows();
        if let Err(error) = self.keep_last(&Position { epochs: row.epoch, ..Position::default() }, state) {
            self.rows.pop();
            return Err(error);
        }
        if best {
            keep_best(&self.run, self.model, state, &self.info(row.epoch))?;
        }
        self.be_latest();
        Ok(())
    }

    /// Writes the file of all epochs' rows, or says why not. Another program may have it open. Until it is written the
    /// last checkpoint holds the rows.
    fn write_rows(&mut self) {
        let written = self.run.write_history(&self.rows);
        self.rows_written = written.is_ok();
        if let (Err(error), false) = (&written, std::mem::replace(&mut self.told_of_rows, written.is_err())) {
            tell(format_args!("Note: {error}; it will be written at the next chance"));
        }
    }
}

/// Saves the network of an epoch as the best.
pub fn keep_best(run: &Run, model: &Model, state: &State, info: &Info) -> Result<(), RunError> {
    run::save_network(&run.path(run::MODEL), model, &state.network(), info, None, &[])
}

impl Observer for Session<'_> {
    fn progress(&mut self, progress: &Progress) {
        self.watch.show(progress);
        if progress.work == Work::Train {
            let (done, of) = progress.batches;
            let step = u64::from(progress.epoch - 1) * of as u64 + done as u64;
            self.event(|events| events.running(step, progress.totals.loss()));
        }
    }

    fn epoch(&mut self, report: &EpochReport, state: &State) -> Outcome {
        self.watch.clear();
        let row = Row {
            epoch: report.epoch,
            train_loss: report.train.loss(),
            train_accuracy: report.train.accuracy(),
            val_loss: report.val.loss(),
            val_accuracy: report.val.accuracy(),
            seconds: report.train_seconds + report.val_seconds,
            images_per_second: report.train.count() as f64 / report.train_seconds.max(1e-9),
            learning_rate: report.learning_rate,
        };
        self.watch.epoch(&row);
        self.event(|events| events.epoch(&row));
        let kept = self.keep_epoch(row, state);
        print(&epoch_text(&row))?; // what was computed is told, whether or not it could be saved
        kept
    }

    fn checkpoint(&mut self, position: &Position, state: &State) -> Outcome {
        self.keep_last(position, state)?;
        if self.stop() {
            self.be_latest();
        }
        Ok(())
    }

    fn enough(&self) -> bool {
        self.training().patience.is_some_and(|patience| history::since_best(&self.rows) >= patience)
    }

    fn stop(&self) -> bool {
        interrupt::interrupted()
    }
}

/// An epoch's lines, in the form that the notebook prints.
fn epoch_text(row: &Row) -> String {
    format!(
        "-------------\nEpoch {}:\n\nTrain loss: {:.6} | Train accuracy: {:.6}\nVal loss:   {:.6} | Val accuracy:   {:.6}\n",
        row.epoch, row.train_loss, row.train_accuracy, row.val_loss, row.val_accuracy
    )
}
