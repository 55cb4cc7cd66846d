//! batchnorm2d: statistics, normalisation and gradients.

use super::compare::{EPS, close, f64s, magnitudes, within};
use super::gpu::Forward;
use super::{Compared, Fault, Gpu, KINDS, Kind, Verdict, on_each};
use crate::ops::Op;
use crate::ops::batchnorm2d::cpu::{self, Channel};
use crate::ops::batchnorm2d::{BatchNorm2d, SHADER};
use crate::ops::conv2d::{self, Conv2d};
use crate::ops::conv2d_batchnorm2d::Conv2dBatchNorm2d;

/// Forward in training and in an evaluation, and all gradients, for all kinds of input.
///
/// What a bound has to allow for, in units of EPS: an invocation sums a share of a channel's M elements, then the
/// workgroup's sums are added in the form of a tree. So a sum goes through `t = M / GROUP + log2(GROUP)` additions, and
/// the mean is off by `t A`, with A the mean of |x|. Each x - mean inherits that, and so does the standard deviation s,
/// relative to it: by `t A / s`, beside the `t` of its own sum. An x-hat is off by the sum of these,
/// `t (A / s + |x-hat| (1 + A / s))`.
pub async fn check(gpus: &[Gpu], n: usize, op: &BatchNorm2d) -> Verdict {
    let mut all = Vec::new();
    for kind in KINDS {
        let case = format!("{op:?}, batch {n}, {kind:?}");
        let inputs = Inputs::draw(op, n, kind);
        all.extend(on_each(gpus, &case, async |gpu| inputs.check(gpu).await).await?);
    }
    Ok(all)
}

/// A convolution that normalises what it puts out, in an evaluation, for all kinds of input.
///
/// The sums of the convolution are off as conv2d's, and what is made of them by a handful of roundings more.
pub async fn check_folded(gpus: &[Gpu], n: usize, op: &Conv2dBatchNorm2d) -> Verdict {
    let (conv, norm) = (&op.conv, &op.norm);
    let mut all = Vec::new();
    for kind in KINDS {
        let (x, weight) = (kind.draw(1, n * conv.input_len()), kind.draw(2, conv.weight_len()));
        let [bias, norm_weight, norm_bias, mean] = [3, 4, 5, 6].map(|stream| Kind::Even.draw(stream, conv.out));
        let var: Vec<f32> = Kind::Even.draw(7, conv.out).iter().map(|x| x.abs() + 0.25).collect();
        let [wide_weight, wide_bias, wide_mean, wide_var] = [&norm_weight, &norm_bias, &mean, &var].map(|v| f64s(v));
        let channels = cpu::recall(&wide_weight, &wide_bias, &wide_mean, &wide_var);

        let mut want = vec![f64::NAN; n * op.output_len()];
        let normalise = |sample: &mut [f64]| cpu::normalise(norm, &channels, sample);
        conv2d::cpu::forward(conv, &f64s(&x), &f64s(&weight), &f64s(&bias), &mut want, normalise);
        let mut bounds = want.clone();
        let absolute = |sample: &mut [f64]| {
            for (plane, Channel { mean, scale, weight, bias }) in sample.chunks_exact_mut(norm.plane).zip(&channels) {
                plane.iter_mut().for_each(|sum| *sum = (*sum + mean.abs()) * (scale * weight).abs() + bias.abs());
            }
        };
        conv2d::cpu::forward(conv, &magnitudes(&x), &magnitudes(&weight), &magnitudes(&bias), &mut bounds, absolute);

        let case = format!("{op:?}, batch {n}, {kind:?}");
        let compared = on_each(gpus, &case, async |gpu| {
            let (params, buffers): ([&[f32]; 4], [&[f32]; 2]) = ([&weight, &bias, &norm_weight, &norm_bias], [&mean, &var]);
            let got = gpu.forward_with(op, n, &x, &params, &buffers, false, 0).await?;
            Ok(vec![close("y", &got.y, &want, &bounds, conv.fan_in() + 1 + 6)?])
        });
        all.extend(compared.await?);
    }
    Ok(all)
}

/// The least that runs every entry point.
pub async fn smallest(gpus: &[Gpu]) -> Verdict {
    let norm = check(gpus, 2, &BatchNorm2d { channels: 2, plane: 3, relu: true }).await?;
    let conv = Conv2d { channels: 2, height: 3, width: 4, out: 2, kernel: 2, padding: 1, stride: 2 };
    let (height, width) = conv.output_size();
    let folded = Conv2dBatchNorm2d { norm: BatchNorm2d { channels: 2, plane: height * width, relu: true }, conv };
    Ok([norm, check_folded(gpus, 2, &folded).await?].concat())
}

struct Inputs<'a> {
    op: &'a BatchNorm2d,
    n: usize,
    x: Vec<f32>,
    weight: Vec<f32>,
    bias: Vec<f32>,
    mean: Vec<f32>,
    var: Vec<f32>,
    d_y: Vec<f32>,
}

/// A channel's mean of |x| over its standard deviation.
type Offset = f64;

impl<'a> Inputs<'a> {
    fn draw(op: &'a BatchNorm2d, n: usize, kind: Kind) -> Self {
        let (c, len) = (op.channels, n * op.channels * op.plane);
        let var = Kind::Even.draw(5, c).iter().map(|x| x.abs() + 0.25).collect();
        let [x, d_y] = [1, 6].map(|stream| kind.draw(stream, len));
        let [weight, bias, mean] = [2, 3, 4].map(|stream| Kind::Even.draw(stream, c));
        Self { op, n, x, weight, bias, mean, var, d_y }
    }

    async fn check(&self, gpu: &Gpu) -> Result<Vec<Compared>, Fault> {
        let Self { op, n, x, weight, bias, mean, var, .. } = self;
        let forward = async |training| {
            let (params, buffers): ([&[f32]; 2], [&[f32]; 2]) = ([weight, bias], [mean, var]);
            gpu.forward_with(*op, *n, x, &params, &buffers, training, 0).await
        };
        let [wide_weight, wide_bias] = [weight, bias].map(|values| f64s(values));
        let (mut new_mean, mut new_var) = (f64s(mean), f64s(var));

        // Known exactly, these leave a handful of roundings.
        let recalled = cpu::recall(&wide_weight, &wide_bias, &new_mean, &new_var);
        let mut all = self.compare_y("y of an evaluation", &forward(false).await?, &recalled, 0, |_| 0.0)?;

        let channels = cpu::statistics(op, &f64s(x), &wide_weight, &wide_bias, &mut new_mean, &mut new_var);
        let offsets = self.offsets(&channels);
        let terms = (n * op.plane).div_ceil(SHADER.constant("GROUP")) + 8;
        let got = forward(true).await?;
        all.extend(self.compare_y("y", &got, &channels, terms, |c| offsets[c])?);
        let size = |c: usize| offsets[c] / channels[c].scale; // A, with the EPSILON in the deviation
        let bounds = (0..op.channels).map(|c| size(c) + f64::from(mean[c]).abs());
        all.push(close("running_mean", &got.buffers[0], &new_mean, &Vec::from_iter(bounds), terms + 4)?);
        let bounds = (0..op.channels).map(|c| (1.0 + offsets[c]).powi(2) * new_var[c].abs());
        all.push(close("running_var", &got.buffers[1], &new_var, &Vec::from_iter(bounds), 2 * terms + 6)?);
        all.extend(self.check_backward(gpu, &channels, terms).await?);
        Ok(all)
    }

    /// The mean of |x| of each channel, over its standard deviation.
    fn offsets(&self, channels: &[Channel<f64>]) -> Vec<Offset> {
        let (op, x) = (self.op, magnitudes(&self.x));
        let plane = |n: usize, c: usize| x[(n * op.channels + c) * op.plane..][..op.plane].iter().sum::<f64>();
        let mean = |c: usize| (0..self.n).map(|n| plane(n, c)).sum::<f64>() / (self.n * op.plane) as f64;
        channels.iter().enumerate().map(|(c, channel)| mean(c) * channel.scale).collect()
    }

    /// Each element with its channel.
    fn channel_of(&self, i: usize) -> usize {
        i / self.op.plane % self.op.channels
    }

    fn compare_y(
        &self,
        what: &str,
        got: &Forward,
        channels: &[Channel<f64>],
        terms: usize,
        offset: impl Fn(usize) -> Offset,
    ) -> Result<Vec<Compared>, Fault> {
        let x = f64s(&self.x);
        let mut want = vec![f64::NAN; x.len()];
        cpu::forward(self.op, &x, channels, &mut want);
        // Without ReLU, which changes no bound.
        let magnitude = |i: usize| {
            let c = self.channel_of(i);
            let Channel { mean, scale, weight, bias } = channels[c];
            let size = offset(c) + (x[i].abs() + mean.abs()) * scale * (1.0 + offset(c));
            size * weight.abs() + bias.abs()
        };
        let magnitudes: Vec<f64> = (0..x.len()).map(magnitude).collect();
        Ok(vec![close(what, &got.y, &want, &magnitudes, terms + 6)?])
    }

    /// From the channels rounded to f32, so that both sides begin with the same.
    async fn check_backward(&self, gpu: &Gpu, channels: &[Channel<f64>], terms: usize) -> Result<Vec<Compared>, Fault> {
        let Self { op, n, x, weight, bias, .. } = self;
        let mut saved = Vec::new();
        for Channel { mean, scale, weight, bias } in channels {
            saved.extend([*mean, *scale, *weight, *bias].map(|number| (number as f32).to_bits()));
        }
        let channels: Vec<Channel<f64>> = saved.chunks_exact(4).map(Channel::of_saved).collect();
        saved.resize(n * 4 * op.channels, 0);

        // Where ReLU stands at its edge a rounding decides: no gradient comes there.
        let wide_x = f64s(x);
        let mut y = vec![f64::NAN; x.len()];
        cpu::forward(&BatchNorm2d { relu: false, ..(*op).clone() }, &wide_x, &channels, &mut y);
        let near = |i: usize| {
            let Channel { mean, scale, weight, bias } = channels[self.channel_of(i)];
            let size = (wide_x[i].abs() + mean.abs()) * scale * weight.abs() + bias.abs();
            op.relu && y[i].abs() <= 8.0 * EPS * size
        };
        let d_y: Vec<f32> = self.d_y.iter().enumerate().map(|(i, &d)| if near(i) { 0.0 } else { d }).collect();

        let (mut d_weight, mut d_bias) = (vec![f64::NAN; op.channels], vec![f64::NAN; op.channels]);
        let (mut d_x, wide_d_y) = (vec![f64::NAN; x.len()], f64s(&d_y));
        cpu::backward_params(op, &wide_x, &channels, &wide_d_y, &mut d_weight, &mut d_bias);
        cpu::backward_input(op, &wide_x, &channels, &wide_d_y, &d_weight, &d_bias, &mut d_x);
        let got = gpu.backward(*op, x, &[weight, bias], &saved, &d_y, 0).await?;

        let (mut weight_size, mut bias_size) = (vec![0.0; op.channels], vec![0.0; op.channels]);
        let size =
            |i: usize| (wide_x[i].abs() + channels[self.channel_of(i)].mean.abs()) * channels[self.channel_of(i)].scale;
        for (i, d) in wide_d_y.iter().enumerate() {
            bias_size[self.channel_of(i)] += d.abs();
            weight_size[self.channel_of(i)] += d.abs() * size(i);
        }
        let count = (n * op.plane) as f64;
        let bound = |i: usize| {
            let c = self.channel_of(i);
            let along = (bias_size[c] + weight_size[c] * size(i)) / count;
            (channels[c].scale * channels[c].weight).abs() * (wide_d_y[i].abs() + along)
        };
        let bounds: Vec<f64> = (0..x.len()).map(bound).collect();
        let alone = gpu.backward_params(*op, x, &[weight, bias], &saved, &d_y, 0).await?;
        Ok(vec![
            close("d_weight", &got.d_params[0], &d_weight, &weight_size, terms + 4)?,
            close("d_bias", &got.d_params[1], &d_bias, &bias_size, terms)?,
            close("d_x", &got.d_x, &d_x, &bounds, terms + 10)?,
            within("d_weight without d_x", &alone[0], &f64s(&got.d_params[0]), &vec![0.0; op.channels])?,
            within("d_bias without d_x", &alone[1], &f64s(&got.d_params[1]), &vec![0.0; op.channels])?,
        ])
    }
}
