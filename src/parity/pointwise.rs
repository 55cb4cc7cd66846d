//! gather, relu, maxpool2d and dropout: copies and choices, which have to be exact. leaky_relu, avgpool2d and augment:
//! products and sums.

use super::compare::{EPS, close, exact, f64s, magnitudes, within};
use super::inputs::hash;
use super::{Gpu, KINDS, Kind, Verdict, on_each};
use crate::ops::Batch;
use crate::ops::augment::{self, Amounts, Augment};
use crate::ops::avgpool2d::{self, AvgPool2d};
use crate::ops::dropout::{self, Dropout};
use crate::ops::gather::{self, Gather, GatherTensors};
use crate::ops::leaky_relu::{self, LeakyRelu};
use crate::ops::maxpool2d::{self, MaxPool2d};
use crate::ops::relu::{self, Relu};

/// ReLU forward and backward, among the inputs zeros and the largest and smallest numbers.
pub async fn check_relu(gpus: &[Gpu], n: usize, len: usize) -> Verdict {
    let op = Relu { len };
    let mut x = Kind::Mixed.draw(1, n * len);
    let edges = [-0.0, 0.0, f32::MIN_POSITIVE, -f32::MIN_POSITIVE, f32::MAX, f32::MIN, 1.0, -1.0];
    for (x, edge) in x.iter_mut().skip(3).zip(edges) {
        *x = edge;
    }
    let d_y = Kind::Even.draw(2, n * len);
    let (mut y, mut d_x) = (vec![f32::NAN; n * len], vec![f32::NAN; n * len]);
    relu::cpu::forward(&x, &mut y);
    relu::cpu::backward(&x, &d_y, &mut d_x);
    on_each(gpus, &format!("{op:?}, batch {n}"), async |gpu| {
        // Bit by bit: -0 has to become 0.
        let forward = exact("y", &bits(&gpu.forward(&op, n, &x, &[], 0).await?.0), &bits(&y))?;
        let backward = gpu.backward(&op, &x, &[], &[], &d_y, 0).await?;
        Ok(vec![forward, exact("d_x", &bits(&backward.d_x), &bits(&d_x))?])
    })
    .await
}

/// Leaky ReLU forward and backward: the product below 0 is rounded once, up or down as WGSL leaves open, all else is a
/// copy.
pub async fn check_leaky_relu(gpus: &[Gpu], n: usize, op: &LeakyRelu) -> Verdict {
    let total = n * op.len;
    let mut x = Kind::Mixed.draw(1, total);
    let edges = [-0.0, 0.0, 1.0, -1.0, f32::MAX, -1e30];
    for (x, edge) in x.iter_mut().skip(3).zip(edges) {
        *x = edge;
    }
    let d_y = Kind::Even.draw(2, total);
    let (mut y, mut d_x) = (vec![f64::NAN; total], vec![f64::NAN; total]);
    leaky_relu::cpu::forward(op, &f64s(&x), &mut y);
    leaky_relu::cpu::backward(op, &f64s(&x), &f64s(&d_y), &mut d_x);
    let bounds = |want: &[f64]| -> Vec<f64> {
        let rounded = |want: f64| want.abs() * 2.0 * EPS + f64::from(f32::MIN_POSITIVE);
        want.iter().zip(&x).map(|(&want, &x)| if x > 0.0 { 0.0 } else { rounded(want) }).collect()
    };
    on_each(gpus, &format!("{op:?}, batch {n}"), async |gpu| {
        let forward = within("y", &gpu.forward(op, n, &x, &[], 0).await?.0, &y, &bounds(&y))?;
        let backward = gpu.backward(op, &x, &[], &[], &d_y, 0).await?;
        Ok(vec![forward, within("d_x", &backward.d_x, &d_x, &bounds(&d_x))?])
    })
    .await
}

/// Average pooling forward and backward, for all kinds of input.
pub async fn check_avgpool2d(gpus: &[Gpu], n: usize, op: &AvgPool2d) -> Verdict {
    let (inputs, outputs) = (n * op.channels * op.height * op.width, n * op.channels * op.pooled().0 * op.pooled().1);
    let size = op.rows * op.columns;
    let mut all = Vec::new();
    for kind in KINDS {
        let (x, d_y) = (kind.draw(1, inputs), kind.draw(2, outputs));
        let run = |of: fn(&[f32]) -> Vec<f64>| {
            let (mut y, mut d_x) = (vec![f64::NAN; outputs], vec![f64::NAN; inputs]);
            avgpool2d::cpu::forward(op, &of(&x), &mut y);
            avgpool2d::cpu::backward(op, &of(&d_y), &mut d_x);
            (y, d_x)
        };
        let ((y, d_x), (y_size, d_x_size)) = (run(f64s), run(magnitudes));
        let case = format!("{op:?}, batch {n}, {kind:?}");
        let compared = on_each(gpus, &case, async |gpu| {
            let forward = close("y", &gpu.forward(op, n, &x, &[], 0).await?.0, &y, &y_size, size)?;
            let backward = gpu.backward(op, &x, &[], &[], &d_y, 0).await?;
            Ok(vec![forward, close("d_x", &backward.d_x, &d_x, &d_x_size, 1)?])
        });
        all.extend(compared.await?);
    }
    Ok(all)
}

/// Pooling forward and backward, for all kinds of input.
pub async fn check_maxpool2d(gpus: &[Gpu], n: usize, op: &MaxPool2d) -> Verdict {
    let (inputs, outputs) = (n * op.channels * op.height * op.width, n * op.channels * op.pooled().0 * op.pooled().1);
    let mut all = Vec::new();
    for kind in KINDS {
        let (x, d_y) = (kind.draw(1, inputs), kind.draw(2, outputs));
        let (mut y, mut winner, mut d_x) = (vec![f32::NAN; outputs], vec![u32::MAX; outputs], vec![f32::NAN; inputs]);
        maxpool2d::cpu::forward(op, &x, &mut y, &mut winner);
        maxpool2d::cpu::backward(op, &winner, &d_y, &mut d_x);
        let case = format!("{op:?}, batch {n}, {kind:?}");
        let compared = on_each(gpus, &case, async |gpu| {
            let (got, got_winner) = gpu.forward(op, n, &x, &[], 0).await?;
            let forward = [exact("y", &got, &y)?, exact("winner", &got_winner, &winner)?];
            let backward = exact("d_x", &gpu.backward(op, &x, &[], &winner, &d_y, 0).await?.d_x, &d_x)?;
            Ok([&forward[..], &[backward]].concat())
        });
        all.extend(compared.await?);
    }
    Ok(all)
}

/// Dropout's mask and values, forward and backward.
pub async fn check_dropout(gpus: &[Gpu], n: usize, op: &Dropout, step: u32) -> Verdict {
    let total = n * op.len;
    // No zeros: a kept element has to differ from a dropped one.
    let nonzero = |stream| Kind::Even.draw(stream, total).into_iter().map(|x| if x == 0.0 { 1.0 } else { x });
    let (x, d_y): (Vec<f32>, Vec<f32>) = (nonzero(1).collect(), nonzero(2).collect());
    let compare = |what: &str, got: &[f32], x: &[f32]| {
        let x = f64s(x);
        let mut want = x.clone();
        dropout::cpu::apply(op, step, &mut want);
        let kept = |values: &[bool]| values.iter().filter(|&&kept| kept).count();
        let mask: Vec<bool> = (0..total as u32).map(|i| dropout::cpu::keep(op, step, i)).collect();
        let got_mask: Vec<bool> = got.iter().map(|&y| y != 0.0).collect();
        exact(&format!("{what}: mask, {} kept", kept(&mask)), &got_mask, &mask)?;
        // One product, correctly rounded.
        let bounds: Vec<f64> = want.iter().map(|want| want.abs() * EPS).collect();
        within(what, got, &want, &bounds)
    };
    on_each(gpus, &format!("{op:?}, batch {n}, step {step}"), async |gpu| {
        let forward = compare("y", &gpu.forward(op, n, &x, &[], step).await?.0, &x)?;
        Ok(vec![forward, compare("d_x", &gpu.backward(op, &x, &[], &[], &d_y, step).await?.d_x, &d_y)?])
    })
    .await
}

/// What `batch` gathers out of 13 images of `len` bytes.
pub async fn check_gather(gpus: &[Gpu], n: usize, len: usize, batch: Batch) -> Verdict {
    let op = Gather { len };
    let samples = 13;
    // Every byte value occurs in images of 28 x 28.
    let images: Vec<u8> = (0..(samples * len) as u32).map(|i| if len == 784 { i as u8 } else { hash(i) as u8 }).collect();
    let labels: Vec<u16> = (0..samples as u32).map(|i| hash(i ^ 0xa5a5) as u16).collect();
    let order: Vec<u32> = (0..batch.first + n as u32).map(|i| hash(i) % samples as u32).collect();

    // Places beyond the batch's count repeat its last sample.
    let place = |i: usize| order[batch.first as usize + i.min(batch.count as usize - 1)];
    let places: Vec<u32> = (0..n).map(place).collect();
    let (mut x, mut targets) = (vec![f32::NAN; n * len], vec![u32::MAX; n]);
    gather::cpu::forward(&op, &images, &labels, &places, &mut x, &mut targets);
    on_each(gpus, &format!("{op:?}, {batch:?}"), async |gpu| {
        let (got, got_targets) = (gpu.output("x", n * len)?, gpu.output("targets", n)?);
        let tensors = GatherTensors {
            n,
            samples,
            images: &gpu.input("images", &op.pad(&images))?,
            labels: &gpu.input("labels", &labels.iter().map(|&label| label.into()).collect::<Vec<u32>>())?,
            order: &gpu.input("order", &order)?,
            x: &got,
            targets: &got_targets,
        };
        gpu.run(batch, |planner| op.plan(planner, &tensors))?;
        let targets = exact("targets", &gpu.read::<u32>(&got_targets, n).await?, &targets)?;
        Ok(vec![exact("x", &gpu.read::<f32>(&got, n * len).await?, &x)?, targets])
    })
    .await
}

/// What a batch of all of 13 images is, moved.
///
/// A place in the image is a handful of products of numbers no larger than its sides, so that it is off by that many
/// roundings of them, and a pixel, mixed of its neighbours, by so much of their difference, which is at most 1.
pub async fn check_augment(gpus: &[Gpu], n: usize, op: &Augment, step: u32) -> Verdict {
    let (samples, len) = (13, op.gather().len);
    let images: Vec<u8> = (0..(samples * len) as u32).map(|i| hash(i) as u8).collect();
    let labels: Vec<u16> = (0..samples as u32).map(|i| hash(i ^ 0xa5a5) as u16).collect();
    let order: Vec<u32> = (0..n as u32).map(|i| hash(i) % samples as u32).collect();
    let (mut x, mut targets) = (vec![f64::NAN; n * len], vec![u32::MAX; n]);
    augment::cpu::forward(op, step, &images, &labels, &order, &mut x, &mut targets);
    let sides = (op.shape[1] + op.shape[2]) as f64;
    // Enlarged by the shear, twice the shift, and the scale.
    let Amounts { scale, shear, shift, .. } = op.amounts;
    let reach = sides * f64::from((1.0 + shear) / (1.0 - scale) + 2.0 * shift);
    let bounds = vec![(24.0 * reach + 16.0) * EPS; x.len()];
    on_each(gpus, &format!("{op:?}, batch {n}, step {step}"), async |gpu| {
        let (got, got_targets) = (gpu.output("x", n * len)?, gpu.output("targets", n)?);
        let tensors = GatherTensors {
            n,
            samples,
            images: &gpu.input("images", &op.gather().pad(&images))?,
            labels: &gpu.input("labels", &labels.iter().map(|&label| label.into()).collect::<Vec<u32>>())?,
            order: &gpu.input("order", &order)?,
            x: &got,
            targets: &got_targets,
        };
        let batch = Batch { count: n as u32, step, ..Batch::default() };
        gpu.run(batch, |planner| op.plan(planner, &tensors))?;
        let targets = exact("targets", &gpu.read::<u32>(&got_targets, n).await?, &targets)?;
        Ok(vec![within("x", &gpu.read::<f32>(&got, n * len).await?, &x, &bounds)?, targets])
    })
    .await
}

/// The least that runs every entry point.
pub async fn smallest(gpus: &[Gpu]) -> Verdict {
    let relu = check_relu(gpus, 2, 5).await?;
    let maxpool2d = check_maxpool2d(gpus, 2, &MaxPool2d { channels: 2, height: 5, width: 4, size: 2 }).await?;
    let leaky_relu = check_leaky_relu(gpus, 2, &LeakyRelu { len: 5, slope: 0.1 }).await?;
    let op = AvgPool2d { channels: 2, height: 5, width: 4, rows: 2, columns: 3 };
    let avgpool2d = check_avgpool2d(gpus, 2, &op).await?;
    let dropout = check_dropout(gpus, 2, &Dropout::new(5, 0.5, 1, 2), 3).await?;
    let gather = check_gather(gpus, 3, 5, Batch { first: 1, count: 3, ..Batch::default() }).await?;
    let augment = check_augment(gpus, 3, &Augment::new([3, 5, 4], Amounts::USUAL, 1), 2).await?;
    Ok([relu, leaky_relu, maxpool2d, avgpool2d, dropout, gather, augment].concat())
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}
