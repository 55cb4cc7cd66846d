//! conv2d_relu_maxpool2d against its mirror, and against the three ops that it stands for.

use super::compare::{SENTINEL, bound, close, exact, f64s, magnitudes, within};
use super::{Compared, Fault, Gpu, Gradients, KINDS, Kind, Mismatch, Verdict, on_each};
use crate::ops::conv2d::{self, Conv2d};
use crate::ops::conv2d_relu_maxpool2d::{Conv2dReluMaxPool2d, DEAD, KERNEL, WINDOW, cpu};
use crate::ops::{Op, maxpool2d::MaxPool2d, relu::Relu};

/// Forward and all gradients, for all kinds of input: against the mirror and against the three ops in a row.
pub async fn check(gpus: &[Gpu], n: usize, op: &Conv2dReluMaxPool2d) -> Verdict {
    let mut all = Vec::new();
    for kind in KINDS {
        let inputs = Inputs::draw(n, op.clone(), kind);
        let case = inputs.case(kind);
        let compared = on_each(gpus, &case, async |gpu| {
            let (compared, (y, winner)) = inputs.check_against_mirror(kind, gpu).await?;
            check_against_unfused(gpu, &inputs, kind, &y, &winner).await?;
            Ok(compared)
        });
        all.extend(compared.await?);
    }
    Ok(all)
}

/// Forward and all gradients against the mirror alone, for `kinds` of input.
pub async fn check_against_mirror(gpus: &[Gpu], n: usize, op: &Conv2dReluMaxPool2d, kinds: &[Kind]) -> Verdict {
    let mut all = Vec::new();
    for &kind in kinds {
        let inputs = Inputs::draw(n, op.clone(), kind);
        let case = inputs.case(kind);
        let check = async |gpu: &Gpu| Ok(inputs.check_against_mirror(kind, gpu).await?.0);
        all.extend(on_each(gpus, &case, check).await?);
    }
    Ok(all)
}

/// The least that runs every entry point.
pub async fn smallest(gpus: &[Gpu]) -> Verdict {
    check(gpus, 2, &Conv2dReluMaxPool2d { channels: 2, height: 5, width: 6, out: 3, padding: 1 }).await
}

/// y and its winners, (N, O, PH, PW).
type Output = (Vec<f32>, Vec<u8>);

/// The inputs of one comparison.
pub struct Inputs {
    pub n: usize,
    pub op: Conv2dReluMaxPool2d,
    pub x: Vec<f32>,
    pub weight: Vec<f32>,
    pub bias: Vec<f32>,
    pub d_y: Vec<f32>,
}

impl Inputs {
    pub fn draw(n: usize, op: Conv2dReluMaxPool2d, kind: Kind) -> Self {
        let x = kind.draw(1, n * op.input_len());
        let weight = kind.draw(2, op.weight_len());
        let bias = kind.draw(3, op.out);
        let d_y = kind.draw(4, n * op.output_len());
        Self { n, op, x, weight, bias, d_y }
    }

    fn case(&self, kind: Kind) -> String {
        format!("{:?}, batch {}, {kind:?}", self.op, self.n)
    }

    async fn check_against_mirror(&self, kind: Kind, gpu: &Gpu) -> Result<(Vec<Compared>, Output), Fault> {
        let (forward, y, winner) = self.check_forward(kind, gpu).await?;
        let gradients = self.check_backward(kind, gpu, &winner).await?;
        Ok(([&[forward][..], &gradients].concat(), (y, winner)))
    }

    fn conv(&self) -> Conv2d {
        let Conv2dReluMaxPool2d { channels, height, width, out, padding } = self.op;
        Conv2d { channels, height, width, out, kernel: KERNEL, padding, stride: 1 }
    }

    /// Where in the convolution's output (N, O, OH, OW) element `q` of window `w` of (N, O, PH, PW) lies.
    fn element(&self, w: usize, q: usize) -> usize {
        let ((oh, ow), (ph, pw)) = (self.conv().output_size(), self.op.pooled());
        let (plane, row, column) = (w / (ph * pw), w / pw % ph, w % pw);
        plane * oh * ow + (WINDOW * row + q / WINDOW) * ow + WINDOW * column + q % WINDOW
    }

    /// The convolution alone, in f64, and how far each of its elements may be off.
    fn convolution(&self) -> (Vec<f64>, Vec<f64>) {
        let conv = self.conv();
        let mut sums = vec![f64::NAN; self.n * conv.output_len()];
        let mut bounds = sums.clone();
        conv2d::cpu::forward(&conv, &f64s(&self.x), &f64s(&self.weight), &f64s(&self.bias), &mut sums, |_| {});
        let (x, weight, bias) = (magnitudes(&self.x), magnitudes(&self.weight), magnitudes(&self.bias));
        conv2d::cpu::forward(&conv, &x, &weight, &bias, &mut bounds, |_| {});
        bounds.iter_mut().for_each(|b| *b = bound(self.op.fan_in() + 1, *b));
        (sums, bounds)
    }

    pub async fn forward(&self, gpu: &Gpu) -> Result<(Vec<f32>, Vec<u8>), Fault> {
        let (y, words) = gpu.forward(&self.op, self.n, &self.x, &[&self.weight, &self.bias], 0).await?;
        Ok((y, unpack_winners(&self.op, self.n, &words)))
    }

    pub async fn backward(&self, gpu: &Gpu, winner: &[u8], d_y: &[f32]) -> Result<Gradients, Fault> {
        let words = pack_winners(&self.op, winner);
        gpu.backward(&self.op, &self.x, &[&self.weight, &self.bias], &words, d_y, 0).await
    }

    /// Where the four elements of a window differ by less than rounding, any of them may win; the winner has to be one
    /// that can be the maximum. A window is dead where its maximum can be 0 or less.
    fn check_winners(&self, sums: &[f64], bounds: &[f64], y: &[f32], winner: &[u8]) -> Result<(), Mismatch> {
        for (w, (&y, &winner)) in y.iter().zip(winner).enumerate() {
            let at: [usize; 4] = std::array::from_fn(|q| self.element(w, q));
            let least = at.map(|at| sums[at] - bounds[at]).into_iter().fold(0.0, f64::max);
            let told = || format!("window {w}: y {y:e}, winner {winner}, convolution {:?}", at.map(|at| sums[at]));
            let plausible = match winner {
                DEAD => least <= 0.0 && y == 0.0,
                0..4 => sums[at[winner as usize]] + bounds[at[winner as usize]] >= least && y > 0.0,
                _ => false,
            };
            if !plausible {
                return Err(Mismatch::Other { what: "winner".into(), problem: told() });
            }
        }
        Ok(())
    }

    async fn check_forward(&self, kind: Kind, gpu: &Gpu) -> Result<(Compared, Vec<f32>, Vec<u8>), Fault> {
        let (y, winner) = self.forward(gpu).await?;
        let (mut want, mut want_winner) = (vec![f64::NAN; y.len()], vec![u8::MAX; y.len()]);
        let (x, weight, bias) = (f64s(&self.x), f64s(&self.weight), f64s(&self.bias));
        let layer = cpu::Forward { op: &self.op, weight: &weight, bias: &bias, y: &mut want, winner: &mut want_winner };
        cpu::forward(&x, vec![layer]);
        if kind == Kind::Integers {
            exact("y", &f64s(&y), &want)?;
            exact("winner", &winner, &want_winner)?;
        }
        let (sums, bounds) = self.convolution();
        let window = |w| (0..4).map(|q| bounds[self.element(w, q)]).fold(0.0, f64::max);
        let compared = within("y", &y, &want, &(0..y.len()).map(window).collect::<Vec<_>>())?;
        self.check_winners(&sums, &bounds, &y, &winner)?;
        Ok((compared, y, winner))
    }

    /// `d_x`, `d_weight`, `d_bias` of the mirror for the same winners.
    fn mirror(&self, winner: &[u8], values: fn(&[f32]) -> Vec<f64>) -> [Vec<f64>; 3] {
        let mut d_x = vec![f64::NAN; self.x.len()];
        let (mut d_weight, mut d_bias) = (vec![f64::NAN; self.weight.len()], vec![f64::NAN; self.bias.len()]);
        let (x, weight, d_y) = (values(&self.x), values(&self.weight), values(&self.d_y));
        let layer =
            cpu::Backward { op: &self.op, x: &x, weight: &weight, winner, d_weight: &mut d_weight, d_bias: &mut d_bias };
        cpu::backward(vec![layer], &d_y, Some(&mut d_x));
        [d_x, d_weight, d_bias]
    }

    async fn check_backward(&self, kind: Kind, gpu: &Gpu, winner: &[u8]) -> Result<[Compared; 3], Fault> {
        let (want, magnitude) = (self.mirror(winner, f64s), self.mirror(winner, magnitudes));
        let got = self.backward(gpu, winner, &self.d_y).await?;
        let windows = self.n * self.op.windows();
        Ok([
            kind.compare("d_x", &got.d_x, &want[0], &magnitude[0], self.op.out * KERNEL * KERNEL)?,
            kind.compare("d_weight", &got.d_params[0], &want[1], &magnitude[1], windows)?,
            kind.compare("d_bias", &got.d_params[1], &want[2], &magnitude[2], windows)?,
        ])
    }
}

/// conv2d, relu and maxpool2d in a row on the same device.
struct Unfused<'a> {
    inputs: &'a Inputs,
    relu: Relu,
    pool: MaxPool2d,
    sums: Vec<f32>,
    rectified: Vec<f32>,
    y: Vec<f32>,
    winner: Vec<u32>,
}

impl<'a> Unfused<'a> {
    async fn forward(gpu: &Gpu, inputs: &'a Inputs) -> Result<Self, Fault> {
        let conv = inputs.conv();
        let (height, width) = conv.output_size();
        let relu = Relu { len: conv.output_len() };
        let pool = MaxPool2d { channels: conv.out, height, width, size: WINDOW };
        let (sums, _) = gpu.forward(&conv, inputs.n, &inputs.x, &[&inputs.weight, &inputs.bias], 0).await?;
        let (rectified, _) = gpu.forward(&relu, inputs.n, &sums, &[], 0).await?;
        let (y, winner) = gpu.forward(&pool, inputs.n, &rectified, &[], 0).await?;
        Ok(Self { inputs, relu, pool, sums, rectified, y, winner })
    }

    async fn backward(&self, gpu: &Gpu, d_y: &[f32]) -> Result<Gradients, Fault> {
        let Inputs { x, weight, bias, .. } = self.inputs;
        let d_rectified = gpu.backward(&self.pool, &self.rectified, &[], &self.winner, d_y, 0).await?.d_x;
        let d_sums = gpu.backward(&self.relu, &self.sums, &[], &[], &d_rectified, 0).await?.d_x;
        gpu.backward(&self.inputs.conv(), x, &[weight, bias], &[], &d_sums, 0).await
    }

    /// The winner of window `w` as the fused op tells it.
    fn winner(&self, w: usize) -> u8 {
        let plane = w / self.inputs.op.windows() * self.pool.height * self.pool.width;
        let at = plane + self.winner[w] as usize;
        let q = (0..4).find(|&q| self.inputs.element(w, q) == at);
        // None where a winner lies outside of its window: no fused op says so.
        if self.y[w] > 0.0 { q.map_or(u8::MAX, |q| q as u8) } else { DEAD }
    }
}

async fn check_against_unfused(gpu: &Gpu, inputs: &Inputs, kind: Kind, y: &[f32], winner: &[u8]) -> Result<(), Fault> {
    let unfused = Unfused::forward(gpu, inputs).await?;
    let unfused_winner: Vec<u8> = (0..y.len()).map(|w| unfused.winner(w)).collect();
    let (_, bounds) = inputs.convolution();
    let window = |w| (0..4).map(|q| bounds[inputs.element(w, q)]).fold(0.0, f64::max);
    within("y", y, &f64s(&unfused.y), &(0..y.len()).map(window).collect::<Vec<_>>())?;

    // Where rounding let different elements win, the gradients may differ by more than rounding: none enters there.
    let same = |w: usize| winner[w] == unfused_winner[w];
    let d_y: Vec<f32> = (0..y.len()).map(|w| if same(w) { inputs.d_y[w] } else { 0.0 }).collect();
    if kind == Kind::Integers {
        exact("y", y, &unfused.y)?;
        exact("winner", winner, &unfused_winner)?;
    }
    let (got, want) = (inputs.backward(gpu, winner, &d_y).await?, unfused.backward(gpu, &d_y).await?);
    if kind == Kind::Integers {
        exact("d_x", &got.d_x, &want.d_x)?;
        exact("d_weight", &got.d_params[0], &want.d_params[0])?;
        exact("d_bias", &got.d_params[1], &want.d_params[1])?;
        return Ok(());
    }
    let magnitude = inputs.mirror(winner, magnitudes);
    let windows = inputs.n * inputs.op.windows();
    if let Some(element) = want.d_x.iter().position(|d| d.to_bits() == SENTINEL.to_bits()) {
        return Err(Mismatch::Unwritten { what: "d_x of the unfused ops".into(), element }.into());
    }
    close("d_x", &got.d_x, &f64s(&want.d_x), &magnitude[0], inputs.op.out * KERNEL * KERNEL)?;
    close("d_weight", &got.d_params[0], &f64s(&want.d_params[0]), &magnitude[1], windows)?;
    close("d_bias", &got.d_params[1], &f64s(&want.d_params[1]), &magnitude[2], windows)?;
    Ok(())
}

/// The winners (N, O, PH, PW) that the kernel packed into `words`.
fn unpack_winners(op: &Conv2dReluMaxPool2d, n: usize, words: &[u32]) -> Vec<u8> {
    let winner = |i: usize| {
        let (sample, o, window) = (i / op.windows() / op.out, i / op.windows() % op.out, i % op.windows());
        let word = words[(sample * op.out.div_ceil(4) + o / 4) * op.windows() + window];
        word.to_le_bytes()[o % 4]
    };
    (0..n * op.out * op.windows()).map(winner).collect()
}

/// `winner` (N, O, PH, PW) as the kernel packs it; junk where the last word has no channels.
pub fn pack_winners(op: &Conv2dReluMaxPool2d, winner: &[u8]) -> Vec<u32> {
    let (windows, groups) = (op.windows(), op.out.div_ceil(4));
    let n = winner.len() / op.out / windows;
    let word = |i: usize| {
        let (sample, group, window) = (i / windows / groups, i / windows % groups, i % windows);
        let channel = |k: usize| match group * 4 + k {
            o if o < op.out => winner[(sample * op.out + o) * windows + window],
            _ => 2,
        };
        u32::from_le_bytes([0, 1, 2, 3].map(channel))
    };
    (0..n * groups * windows).map(word).collect()
}
