//! A run under way: it trains, keeps what there is after each epoch, and in the end tests the best network.

use super::facts;
use crate::cli::dataset::{NOT_MNIST, is_synthetic, warn_if_synthetic};
use crate::cli::watch::{self, Bar};
use crate::cli::{Failure, print, tell};
use mnist_wgpu::checkpoint::{self, Checkpoint, Info, NORMALISATION};
use mnist_wgpu::data::{COLS, Dataset, PIXELS, ROWS, split};
use mnist_wgpu::engine::{Engine, Set, State};
use mnist_wgpu::evaluation::{Confusion, Judged, judge, worst_mistakes};
use mnist_wgpu::history::{self, Row};
use mnist_wgpu::model::Model;
use mnist_wgpu::report::{self, Filters, Material};
use mnist_wgpu::run::{self, Config, Run, RunError};
use mnist_wgpu::train::{EpochReport, Observer, Options, Position, Progress, TrainError, fit};
use std::error::Error;

/// Digits that the report shows of those judged wrong.
const MISTAKES: usize = 40;

type Outcome = Result<(), Box<dyn Error + Send + Sync>>;

pub struct Session<'a> {
    run: Run,
    config: Config,
    pub model: &'a Model,
    pub data: &'a Dataset,
    /// How far the last checkpoint is.
    position: Position,
    checkpoint_every: Option<usize>,
    /// A row per complete epoch.
    rows: Vec<Row>,
    bar: Bar,
}

impl<'a> Session<'a> {
    pub fn new(
        run: Run,
        config: Config,
        model: &'a Model,
        data: &'a Dataset,
        position: Position,
        checkpoint_every: Option<usize>,
    ) -> Result<Self, RunError> {
        let rows = run.history(position.epochs)?;
        let label = if is_synthetic(data) { "synthetic digits, not MNIST: " } else { "" };
        Ok(Self { run, config, model, data, position, checkpoint_every, rows, bar: Bar::new(label) })
    }

    pub fn training(&self) -> &run::Training {
        &self.config.training
    }

    pub fn keep_config(&self) -> Result<(), RunError> {
        self.run.write_config(&self.config)
    }

    /// Trains from `state`, which belongs to the session's position, to the end, and tests the best network.
    pub async fn run<E: Engine>(mut self, mut engine: E, state: &State) -> Result<(), Failure> {
        let folder = self.run.folder.display().to_string();
        let training = self.training();
        let (batch_size, epochs) = (training.batch_size as usize, training.epochs);
        let options = Options { batch_size, epochs, seed: training.seed, checkpoint_every: self.checkpoint_every };
        let split = split(self.data.train.len(), training.val_fraction, training.seed);
        let start = self.position;
        match (start.epochs, start.batches) {
            (0, 0) => tell(format_args!("Run: {folder}")),
            (epochs, 0) => tell(format_args!("Run: {folder}, after epoch {epochs}")),
            (epochs, batches) => tell(format_args!("Run: {folder}, after {batches} batches of epoch {}", epochs + 1)),
        }
        engine.set_state(state)?;
        let trained = fit(&mut engine, &split, &options, &start, &watch::clock, &mut self).await;
        self.bar.clear();
        trained.map_err(|error| self.explain(error))?;

        let best = checkpoint::load(&self.run.path(run::MODEL))?;
        let judged = self.test(&mut engine, &best).await?;
        let totals = judged.totals;
        print(&format!("Loss on test set:{:.6} Accuracy on test set: {:.6}\n", totals.loss(), totals.accuracy()))
            .map_err(|error| self.explain(TrainError::Observer(error.into())))?;
        self.report(&best, &judged)?;
        tell(format_args!("Saved as {folder}: report.html shows how it went."));
        if is_synthetic(self.data) {
            tell("This network was trained and tested on SYNTHETIC digits.");
            warn_if_synthetic(self.data);
        }
        Ok(())
    }

    /// Judges the test images by the network that the run keeps.
    async fn test<E: Engine>(&mut self, engine: &mut E, best: &Checkpoint) -> Result<Judged, Failure> {
        let velocity = vec![0.0; best.parameters.len()];
        engine.set_state(&State { parameters: best.parameters.clone(), velocity })?;
        if let Some(best) = history::best(&self.rows).filter(|best| best.epoch < self.training().epochs) {
            tell(format_args!("Epoch {} was the best by validation: its network is kept and tested.", best.epoch));
        }
        let order: Vec<u32> = (0..self.data.test.len() as u32).collect();
        let judged = judge(engine, Set::Test, &order, self.training().batch_size as usize, self).await;
        self.bar.clear();
        judged.map_err(|error| self.explain(error))
    }

    /// Draws the pictures and writes the page.
    fn report(&self, best: &Checkpoint, judged: &Judged) -> Result<(), Failure> {
        let test = &self.data.test;
        let image = |place: usize| std::array::from_fn(|pixel| test.pixels[place * PIXELS + pixel]);
        let mistakes: Vec<_> = worst_mistakes(&judged.logits, &test.labels, MISTAKES)
            .into_iter()
            .map(|mistake| (mistake, image(mistake.place)))
            .collect();
        let filters = best.model.parameters().first().and_then(|kernels| {
            let shape = kernels.shape.clone().try_into().ok()?;
            Some(Filters { shape, weights: &best.parameters[kernels.range.clone()] })
        });
        report::write(
            &self.run.folder,
            &Material {
                title: &self.run.name(),
                warning: is_synthetic(self.data).then_some(NOT_MNIST),
                facts: &facts::of(&self.config, self.model),
                history: &self.rows,
                test_loss: judged.totals.loss(),
                test_accuracy: judged.totals.accuracy(),
                confusion: &Confusion::of(&judged.logits, &test.labels),
                mistakes: &mistakes,
                filters,
            },
        )?;
        Ok(())
    }

    /// An early end, with what it means for the run.
    fn explain(&self, error: TrainError) -> Failure {
        let folder = self.run.folder.display();
        let kept = match (self.rows.last(), self.position.batches) {
            (None, 0) => "nothing was saved yet".to_string(),
            (None, batches) => format!("{folder} holds the network after {batches} batches"),
            (Some(row), 0) => format!("{folder} holds the network after epoch {}", row.epoch),
            (Some(row), batches) => format!("{folder} holds the network after {batches} batches of epoch {}", row.epoch + 1),
        };
        match error {
            TrainError::Interrupted { epoch } => {
                let when = if epoch == 0 { "before the test".to_string() } else { format!("in epoch {epoch}") };
                let on = format!("Go on with it by: mnist-wgpu train --resume {folder}");
                Failure::Interrupted(format!("interrupted {when}; {kept}. {on}"))
            }
            TrainError::TooFewImages { .. } => Failure::Usage(error.to_string()),
            error => Failure::Failed(format!("{error}; {kept}").into()),
        }
    }

    fn info(&self, epoch: u32) -> Info {
        Info {
            input: [1, ROWS, COLS],
            layers: self.model.layers().to_vec(),
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
        let (path, info) = (self.run.path(run::LAST), self.info(position.epochs));
        checkpoint::save_state(&path, self.model, state, &info, position)?;
        self.position = *position;
        Ok(())
    }

    /// Saves a complete epoch. The last checkpoint comes last: if anything before it fails, a resumed run does this epoch again.
    fn keep_epoch(&mut self, row: Row, state: &State) -> Outcome {
        let best = history::best(&self.rows).is_none_or(|best| history::better(&row, best));
        self.rows.push(row);
        let kept = || -> Outcome {
            self.run.write_history(&self.rows)?;
            if best {
                checkpoint::save(&self.run.path(run::MODEL), self.model, &state.parameters, &self.info(row.epoch))?;
            }
            Ok(())
        };
        let kept = kept().and_then(|()| self.keep_last(&Position { epochs: row.epoch, ..Position::default() }, state));
        if kept.is_err() {
            self.rows.pop();
        }
        kept
    }
}

impl Observer for Session<'_> {
    fn progress(&mut self, progress: &Progress) {
        self.bar.show(progress);
    }

    fn epoch(&mut self, report: &EpochReport, state: &State) -> Outcome {
        self.bar.clear();
        let row = Row {
            epoch: report.epoch,
            train_loss: report.train.loss(),
            train_accuracy: report.train.accuracy(),
            val_loss: report.val.loss(),
            val_accuracy: report.val.accuracy(),
            seconds: report.train_seconds + report.val_seconds,
            images_per_second: report.train.count() as f64 / report.train_seconds.max(1e-9),
            learning_rate: self.training().learning_rate,
        };
        let kept = self.keep_epoch(row, state);
        print(&epoch_text(&row))?; // what was computed is told, whether or not it could be saved
        kept
    }

    fn checkpoint(&mut self, position: &Position, state: &State) -> Outcome {
        self.keep_last(position, state)
    }

    fn stop(&self) -> bool {
        watch::interrupted()
    }
}

/// An epoch's lines, in the form that the notebook prints.
fn epoch_text(row: &Row) -> String {
    format!(
        "-------------\nEpoch {}:\n\nTrain loss: {:.6} | Train accuracy: {:.6}\nVal loss:   {:.6} | Val accuracy:   {:.6}\n",
        row.epoch, row.train_loss, row.train_accuracy, row.val_loss, row.val_accuracy
    )
}
