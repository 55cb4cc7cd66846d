//! Several of these ops in a row as one, for the CPU. A sample goes through all of them before the next one does, so
//! that what one puts out is still in a core's cache when another takes it.

use super::{Conv2dReluMaxPool2d, cpu};
use crate::ops::{BackwardSlices, ForwardSlices, OnCpu, Op};
use std::any::Any;
use std::iter;

/// At least two, each taking what the one before it puts out.
pub struct Chain(Vec<Conv2dReluMaxPool2d>);

/// Makes a chain of as many ops as there are in a row.
pub fn chain(ops: &[&dyn Any]) -> Option<(usize, Box<dyn OnCpu>)> {
    let links: Vec<Conv2dReluMaxPool2d> = ops.iter().map_while(|op| op.downcast_ref()).cloned().collect();
    (links.len() > 1).then(|| -> (usize, Box<dyn OnCpu>) { (links.len(), Box::new(Chain(links))) })
}

impl Op for Chain {
    fn name(&self) -> &'static str {
        "chain"
    }

    fn input_len(&self) -> usize {
        self.0[0].input_len()
    }

    fn output_len(&self) -> usize {
        self.0[self.0.len() - 1].output_len()
    }

    /// What each op saves, and the output of each but the last.
    fn saved_words(&self) -> usize {
        let saved: usize = self.0.iter().map(Op::saved_words).sum();
        saved + self.between().map(Op::output_len).sum::<usize>()
    }

    fn flops(&self) -> u64 {
        self.0.iter().map(Op::flops).sum()
    }
}

impl Chain {
    /// The ops whose output another takes.
    fn between(&self) -> impl Iterator<Item = &Conv2dReluMaxPool2d> {
        self.0.iter().take(self.0.len() - 1)
    }
}

impl OnCpu for Chain {
    fn forward(&self, s: ForwardSlices) {
        let n = s.x.len() / self.input_len();
        let (mut saved, mut last) = (s.saved, Some(s.y));
        let mut layers = Vec::new();
        for (index, (op, params)) in self.0.iter().zip(s.params.chunks_exact(2)).enumerate() {
            let (winners, rest) = saved.split_at_mut(n * op.saved_words());
            let inner = if index + 1 < self.0.len() { n * op.output_len() } else { 0 };
            let (y, rest) = rest.split_at_mut(inner);
            saved = rest;
            let y = if inner > 0 { bytemuck::cast_slice_mut(y) } else { last.take().unwrap_or_default() };
            layers.push(op.forward_layer(params, y, winners));
        }
        cpu::forward(s.x, layers);
    }

    fn backward(&self, s: BackwardSlices) {
        let n = s.x.len() / self.input_len();
        let (mut saved, mut x) = (s.saved, s.x);
        let mut layers = Vec::new();
        let lens = self.between().map(|op| n * op.output_len()).chain(iter::once(0));
        let params = s.params.chunks_exact(2).zip(s.d_params.chunks_exact_mut(2));
        for ((op, inner), (params, d_params)) in self.0.iter().zip(lens).zip(params) {
            let (winners, rest) = saved.split_at(n * op.saved_words());
            let (y, rest) = rest.split_at(inner);
            layers.push(op.backward_layer(x, params, winners, d_params));
            (saved, x) = (rest, bytemuck::cast_slice(y));
        }
        cpu::backward(layers, s.d_y, s.d_x);
    }
}
