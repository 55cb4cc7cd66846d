//! A convolution, batch normalisation and, where it follows, ReLU as one op, in an evaluation: the statistics are known
//! before, so that what the convolution sums up is normalised before it reaches memory.

use super::batchnorm2d::{self, BatchNorm2d};
use super::conv2d::{self, Conv2d};
use super::relu::Relu;
use super::{BackwardSlices, BackwardTensors, ForwardSlices, ForwardTensors, LayerOp, OnCpu, OnGpu, Op};
use crate::gpu::{GpuError, Planner};
use std::any::Any;

/// Makes a convolution, normalisation and the ReLU after it one op.
pub fn fold(ops: &[&dyn Any]) -> Option<(usize, Box<dyn LayerOp>)> {
    let [conv, norm, rest @ ..] = ops else { return None };
    let (conv, norm) = (conv.downcast_ref::<Conv2d>()?.clone(), norm.downcast_ref::<BatchNorm2d>()?);
    let relu = rest.first().is_some_and(|op| op.is::<Relu>());
    let norm = BatchNorm2d { relu, ..norm.clone() };
    Some((2 + usize::from(relu), Box::new(Conv2dBatchNorm2d { conv, norm })))
}

/// `norm` of what `conv` puts out. It has no backward pass.
#[derive(Clone, Debug)]
pub struct Conv2dBatchNorm2d {
    pub conv: Conv2d,
    pub norm: BatchNorm2d,
}

impl Op for Conv2dBatchNorm2d {
    fn name(&self) -> &'static str {
        "conv2d_batchnorm2d"
    }

    fn input_len(&self) -> usize {
        self.conv.input_len()
    }

    fn output_len(&self) -> usize {
        self.norm.output_len()
    }

    fn saved_words(&self) -> usize {
        self.norm.saved_words()
    }

    fn flops(&self) -> u64 {
        self.conv.flops()
    }
}

impl OnGpu for Conv2dBatchNorm2d {
    fn plan_forward(&self, planner: &mut Planner, t: &ForwardTensors) -> Result<(), GpuError> {
        let (of_conv, of_norm) = t.params.split_at(2);
        self.norm.plan_recall(planner, t.n, of_norm, t.buffers, t.saved)?;
        self.conv.plan_normalised(planner, &ForwardTensors { params: of_conv, ..*t }, self.norm.relu)
    }

    fn plan_backward(&self, _planner: &mut Planner, _t: &BackwardTensors) -> Result<(), GpuError> {
        unreachable!("an op of evaluations")
    }
}

impl OnCpu for Conv2dBatchNorm2d {
    fn forward(&self, s: ForwardSlices) {
        let [weight, bias, norm_weight, norm_bias] = s.params else { unreachable!("weight and bias of both") };
        let [mean, var] = s.buffers else { unreachable!("two buffers: running mean and variance") };
        let channels = batchnorm2d::cpu::recall(norm_weight, norm_bias, mean, var);
        conv2d::forward(&self.conv, s.x, weight, bias, s.y, |y| batchnorm2d::cpu::normalise(&self.norm, &channels, y));
    }

    fn backward(&self, _s: BackwardSlices) {
        unreachable!("an op of evaluations")
    }
}
