//! conv2d and linear: a weight, a bias, sums of products.

use super::compare::{exact, f64s, magnitudes};
use super::{Compared, Gpu, KINDS, Verdict, on_each};
use crate::ops::{OnGpu, conv2d, conv2d::Conv2d, dropout, dropout::Dropout, linear, linear::Linear};
use std::fmt::Debug;

/// The training step whose dropout mask is drawn.
const STEP: u32 = 3;

/// Forward and all gradients of `op` over `n` samples, for all kinds of input.
pub async fn check(gpus: &[Gpu], n: usize, op: &(impl Affine + Debug)) -> Verdict {
    let mut all = Vec::new();
    for kind in KINDS {
        let x = kind.draw(1, n * op.input_len());
        let weight = kind.draw(2, op.weight_len());
        let bias = kind.draw(3, op.bias_len());
        let d_y = kind.draw(4, n * op.output_len());
        let want = op.mirror(&f64s(&x), &f64s(&weight), &f64s(&bias), &f64s(&d_y));
        let magnitude = op.mirror(&magnitudes(&x), &magnitudes(&weight), &magnitudes(&bias), &magnitudes(&d_y));
        let terms = op.terms(n);
        let case = format!("{op:?}, batch {n}, {kind:?}");
        let compared = on_each(gpus, &case, async |gpu| {
            let (y, _) = gpu.forward(op, n, &x, &[&weight, &bias], STEP).await?;
            let y = kind.compare("y", &y, &want.y, &magnitude.y, terms.y)?;
            let got = gpu.backward(op, &x, &[&weight, &bias], &[], &d_y, STEP).await?;
            let (d_weight, d_bias) = (&got.d_params[0], &got.d_params[1]);
            let compared: Vec<Compared> = vec![
                y,
                kind.compare("d_x", &got.d_x, &want.d_x, &magnitude.d_x, terms.d_x)?,
                kind.compare("d_weight", d_weight, &want.d_weight, &magnitude.d_weight, terms.d_params)?,
                kind.compare("d_bias", d_bias, &want.d_bias, &magnitude.d_bias, terms.d_params)?,
            ];
            let alone = gpu.backward_params(op, &x, &[&weight, &bias], &[], &d_y, STEP).await?;
            exact("d_weight without d_x", &alone[0], d_weight)?;
            exact("d_bias without d_x", &alone[1], d_bias)?;
            Ok(compared)
        });
        all.extend(compared.await?);
    }
    Ok(all)
}

/// The least that runs every entry point.
pub async fn smallest(gpus: &[Gpu]) -> Verdict {
    let conv =
        check(gpus, 2, &Conv2d { channels: 2, height: 3, width: 4, out: 2, kernel: 2, padding: 1, stride: 2 }).await?;
    let linear = check(gpus, 2, &Linear::new(3, 2)).await?;
    Ok([conv, linear, check(gpus, 2, &with_dropout(3, 2, 0.5)).await?].concat())
}

/// A linear layer of dropped inputs. Where `1 / (1 - p)` is a power of two, small integers stay exact.
pub fn with_dropout(inputs: usize, outputs: usize, p: f32) -> Linear {
    Linear { dropout: Some(Dropout::new(inputs, p, 42, 8)), ..Linear::new(inputs, outputs) }
}

/// The results of an op in f64.
pub struct Mirror {
    pub y: Vec<f64>,
    pub d_x: Vec<f64>,
    pub d_weight: Vec<f64>,
    pub d_bias: Vec<f64>,
}

impl Mirror {
    /// Of these shapes, each number NaN.
    fn unwritten(x: &[f64], weight: &[f64], bias: &[f64], d_y: &[f64]) -> Self {
        let like = |shape: &[f64]| vec![f64::NAN; shape.len()];
        Self { y: like(d_y), d_x: like(x), d_weight: like(weight), d_bias: like(bias) }
    }
}

/// How many terms are summed for one element of each result.
pub struct Terms {
    pub y: usize,
    pub d_x: usize,
    pub d_params: usize,
}

/// What sets one such op apart from another.
pub trait Affine: OnGpu {
    fn weight_len(&self) -> usize;
    fn bias_len(&self) -> usize;
    fn terms(&self, n: usize) -> Terms;
    fn mirror(&self, x: &[f64], weight: &[f64], bias: &[f64], d_y: &[f64]) -> Mirror;
}

impl Affine for Conv2d {
    fn weight_len(&self) -> usize {
        self.out * self.channels * self.kernel * self.kernel
    }

    fn bias_len(&self) -> usize {
        self.out
    }

    fn terms(&self, n: usize) -> Terms {
        let taps = self.kernel * self.kernel;
        let (oh, ow) = self.output_size();
        Terms { y: self.channels * taps + 1, d_x: self.out * taps, d_params: n * oh * ow }
    }

    fn mirror(&self, x: &[f64], weight: &[f64], bias: &[f64], d_y: &[f64]) -> Mirror {
        let mut m = Mirror::unwritten(x, weight, bias, d_y);
        conv2d::cpu::forward(self, x, weight, bias, &mut m.y, |_| {});
        conv2d::cpu::backward_input(self, weight, d_y, &mut m.d_x);
        conv2d::cpu::backward_params(self, x, d_y, &mut m.d_weight, &mut m.d_bias);
        m
    }
}

impl Affine for Linear {
    fn weight_len(&self) -> usize {
        self.outputs * self.inputs
    }

    fn bias_len(&self) -> usize {
        self.outputs
    }

    fn terms(&self, n: usize) -> Terms {
        // The product with dropout's scale rounds once more.
        let scaled = usize::from(self.dropout.is_some());
        Terms { y: self.inputs + 1 + scaled, d_x: self.outputs + scaled, d_params: n + scaled }
    }

    fn mirror(&self, x: &[f64], weight: &[f64], bias: &[f64], d_y: &[f64]) -> Mirror {
        let mut m = Mirror::unwritten(x, weight, bias, d_y);
        let drop = |values: &mut [f64]| self.dropout.iter().for_each(|dropout| dropout::cpu::apply(dropout, STEP, values));
        let mut x = x.to_vec();
        drop(&mut x);
        linear::cpu::forward(self, &x, weight, bias, &mut m.y);
        linear::cpu::backward_input(self, weight, d_y, &mut m.d_x);
        drop(&mut m.d_x);
        linear::cpu::backward_params(self, &x, d_y, &mut m.d_weight, &mut m.d_bias);
        m
    }
}
