//! gather, relu, maxpool2d and dropout: copies and choices, which have to be exact.

use super::compare::{EPS, exact, f64s, within};
use super::inputs::hash;
use super::{Gpu, KINDS, Kind, Verdict, on_each};
use crate::ops::Batch;
use crate::ops::dropout::{self, Dropout};
use crate::ops::gather::{self, Gather, GatherTensors};
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

/// The least that runs every entry point.
pub async fn smallest(gpus: &[Gpu]) -> Verdict {
    let relu = check_relu(gpus, 2, 5).await?;
    let maxpool2d = check_maxpool2d(gpus, 2, &MaxPool2d { channels: 2, height: 5, width: 4, size: 2 }).await?;
    let dropout = check_dropout(gpus, 2, &Dropout::new(5, 0.5, 1, 2), 3).await?;
    let gather = check_gather(gpus, 3, 5, Batch { first: 1, count: 3, ..Batch::default() }).await?;
    Ok([relu, maxpool2d, dropout, gather].concat())
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}
