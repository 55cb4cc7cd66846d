//! Rewrites: several stages in a row become one. Each engine asks for those that pay on its device; what comes out are
//! ops like others.

use crate::model::Stage;
use crate::ops::{LayerOp, Op, batchnorm2d, conv2d_batchnorm2d, conv2d_relu_maxpool2d, linear};
use std::any::Any;

/// Takes the ops from one on. Returns how many of them it replaces, and the op that replaces them.
pub type Rule<O> = fn(&[&dyn Any]) -> Option<(usize, Box<O>)>;

/// Layers that both paths take as one op.
pub const FUSE: &[Rule<dyn LayerOp>] = &[conv2d_relu_maxpool2d::fuse, batchnorm2d::with_relu, linear::with_dropout];

/// Layers that both paths take as one op in an evaluation, beside those.
pub const FOLD: &[Rule<dyn LayerOp>] = &[conv2d_batchnorm2d::fold];

/// Applies the first of `rules` that fits, from the first stage to the last.
pub fn rewrite<O: Op + ?Sized>(stages: Vec<Stage<O>>, rules: &[Rule<O>]) -> Vec<Stage<O>> {
    let mut rewritten = Vec::new();
    let mut left = stages.into_iter();
    while let Some(first) = left.as_slice().first() {
        let ops: Vec<&dyn Any> = left.as_slice().iter().map(|stage| stage.op.as_any()).collect();
        let Some((count, op)) = rules.iter().find_map(|rule| rule(&ops)) else {
            rewritten.extend(left.next());
            continue;
        };
        let last = &left.as_slice()[count - 1];
        let layers = first.layers.start..last.layers.end;
        let parameters = first.parameters.start..last.parameters.end;
        let buffers = first.buffers.start..last.buffers.end;
        rewritten.push(Stage { layers, op, parameters, buffers });
        left.by_ref().take(count).for_each(drop);
    }
    rewritten
}
