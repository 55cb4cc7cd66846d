//! The ops that a model becomes: those of training, and those of an evaluation, which get by with less.

use super::rewrite::{FOLD, FUSE, Rule, rewrite};
use super::{Settings, Work};
use crate::model::{Model, Parameter, Stage};
use crate::ops::{LayerOp, Op};
use std::ops::Range;

/// Where an op of an evaluation ends, one of training ends as well: they put out the same tensor, which has one place.
pub struct Stages<O: ?Sized = dyn LayerOp> {
    /// Of training, in the order of their places.
    train: Vec<Stage<O>>,
    /// So many of those, from the first on, are not trained: they are ops of an evaluation.
    pub frozen: usize,
    evaluate: Vec<Stage<O>>,
}

impl Stages {
    pub fn new(model: &Model, settings: &Settings) -> Self {
        // Of each side of the border of what is trained.
        let part = |frozen: bool, work: Work| {
            let mut stages = model.stages(settings.seed);
            stages.retain(|stage| (stage.layers.end <= settings.freeze) == frozen);
            if work == Work::Evaluate {
                stages.retain(|stage| !stage.op.training_only());
            }
            match (settings.fuse, work) {
                (false, _) => stages,
                (true, Work::Train) => rewrite(stages, FUSE),
                (true, Work::Evaluate) => rewrite(stages, &[FOLD, FUSE].concat()),
            }
        };
        let (mut train, mut evaluate) = (part(true, Work::Evaluate), part(true, Work::Evaluate));
        let frozen = train.len();
        train.extend(part(false, Work::Train));
        evaluate.extend(part(false, Work::Evaluate));
        Self { train, frozen, evaluate }
    }
}

impl<O: Op + ?Sized> Stages<O> {
    /// The same, rewritten further, on each side of the border.
    pub fn map<P: Op + ?Sized>(self, on: impl Fn(Stage<O>) -> Stage<P>, rules: &[Rule<P>]) -> Stages<P> {
        let border = self.frozen.checked_sub(1).map_or(0, |last| self.train[last].layers.end);
        let part = |stages: Vec<Stage<O>>| {
            let mut frozen: Vec<Stage<P>> = stages.into_iter().map(&on).collect();
            let mut trained = frozen.split_off(frozen.partition_point(|stage| stage.layers.end <= border));
            trained = rewrite(trained, rules);
            frozen = rewrite(frozen, rules);
            let count = frozen.len();
            frozen.extend(trained);
            (frozen, count)
        };
        let ((train, frozen), (evaluate, _)) = (part(self.train), part(self.evaluate));
        Stages { train, frozen, evaluate }
    }

    /// Those of training: each has a place.
    pub fn train(&self) -> &[Stage<O>] {
        &self.train
    }

    /// Those of `work`, in order, with the places of what they put out.
    pub fn of(&self, work: Work) -> impl Iterator<Item = (usize, &Stage<O>)> {
        let stages = match work {
            Work::Train => &self.train,
            Work::Evaluate => &self.evaluate,
        };
        let ends = |stage: &Stage<O>| self.train.partition_point(|before| before.layers.end < stage.layers.end);
        stages.iter().map(move |stage| (ends(stage), stage))
    }

    /// Words per sample that are saved at each place, whatever is done.
    pub fn saved_words(&self) -> Vec<usize> {
        let mut words = vec![0; self.train.len()];
        for (place, stage) in [Work::Train, Work::Evaluate].into_iter().flat_map(|work| self.of(work)) {
            words[place] = words[place].max(stage.op.saved_words());
        }
        words
    }

    /// The elements of the arena of parameters that are trained: all behind those of the frozen stages.
    pub fn trained(&self, model: &Model) -> Range<usize> {
        let first = self.train.get(self.frozen).and_then(|stage| model.parameters().get(stage.parameters.start));
        first.map_or(0, |Parameter { range, .. }| range.start)..model.arena_len()
    }
}
