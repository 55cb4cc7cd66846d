//! 3x3 convolution, ReLU and 2x2 max pooling as one op: what the plan takes where the three layers stand in a row.
//!
//! Nothing between the convolution and the pooling is written to memory. Forward keeps one small number per window, which
//! of its four elements won; backward expands it again.

use super::{BackwardSlices, BackwardTensors, ForwardSlices, ForwardTensors, Op};
use crate::gpu::plan::Dispatch;
use crate::gpu::{Context, GpuError, Planner, Shader, Variant};
use crate::shader;

pub const SHADER: Shader = shader!("conv2d_relu_maxpool2d");

/// The kernel size that this op is made for.
pub const KERNEL: usize = 3;
/// The pooling window that this op is made for.
pub const WINDOW: usize = 2;
/// The winner of a window that ReLU cut to 0: no gradient passes.
pub const DEAD: u32 = 4;

/// Over (C, H, W) samples with `out` kernels of (C, 3, 3).
#[derive(Clone, Debug)]
pub struct Conv2dReluMaxPool2d {
    pub channels: usize,
    pub height: usize,
    pub width: usize,
    pub out: usize,
    pub padding: usize,
}

impl Conv2dReluMaxPool2d {
    /// (PH, PW)
    pub fn pooled(&self) -> (usize, usize) {
        ((self.height + 2 * self.padding - 2) / 2, (self.width + 2 * self.padding - 2) / 2)
    }

    /// Pooling windows of one output channel of one sample.
    pub fn windows(&self) -> usize {
        let (ph, pw) = self.pooled();
        ph * pw
    }

    /// C * 9, the terms of one output of the convolution.
    pub fn fan_in(&self) -> usize {
        self.channels * KERNEL * KERNEL
    }

    /// Elements of the weight (O, C, 3, 3).
    pub fn weight_len(&self) -> usize {
        self.out * self.fan_in()
    }

    /// Words in which forward keeps a sample's winners, `PACKED` output channels in each.
    fn winner_words(&self) -> usize {
        self.out.div_ceil(SHADER.constant("PACKED") as usize) * self.windows()
    }

    fn constants(&self, n: usize) -> [(&'static str, f64); 6] {
        [
            ("BATCH", n as f64),
            ("CHANNELS", self.channels as f64),
            ("HEIGHT", self.height as f64),
            ("WIDTH", self.width as f64),
            ("OUT_CHANNELS", self.out as f64),
            ("PADDING", self.padding as f64),
        ]
    }

    /// The tiles that suit a device: see the constants in the shader.
    fn tiles(&self, context: &Context) -> [(&'static str, u32); 8] {
        let (channels, (_, pw)) = (self.channels as u32, self.pooled());
        // A software rasteriser takes wide strips, as even as they come; with few channels the results' stores decide.
        let widest = if channels < 8 { 3 } else { 6 };
        let strip = |length: usize| length.div_ceil(length.div_ceil(widest)) as u32;
        let side_by_side = channels.next_power_of_two().min(8);
        let [windows, patches, param_tile, group, c_lanes, slices] = match context.variant {
            Variant::Narrow => [1, 1, 1, 64, side_by_side, 256 / side_by_side],
            Variant::Wide if channels >= 8 => [strip(pw), strip(pw + 1), 8, 8, 8, 1],
            Variant::Shared if channels >= context.lanes => [strip(pw), strip(pw + 1), 8, context.lanes, context.lanes, 1],
            Variant::Wide => [strip(pw), strip(pw + 1), 8, 8, 1, 8],
            Variant::Shared => [strip(pw), strip(pw + 1), 8, context.lanes, 1, 8],
        };
        // In backward_params those share that differ in nothing but the input channel.
        let param_lanes = if c_lanes == context.lanes { context.lanes } else { 1 };
        [
            ("WINDOWS", windows),
            ("PATCHES", patches),
            ("PARAM_TILE", param_tile),
            ("LANES", context.lanes),
            ("PARAM_LANES", param_lanes),
            ("GROUP", group),
            ("C_LANES", c_lanes),
            ("SLICES", slices),
        ]
    }
}

impl Op for Conv2dReluMaxPool2d {
    fn name(&self) -> &'static str {
        SHADER.op
    }

    fn input_len(&self) -> usize {
        self.channels * self.height * self.width
    }

    fn output_len(&self) -> usize {
        self.out * self.windows()
    }

    fn saved_len(&self) -> usize {
        self.output_len()
    }

    fn kept_len(&self) -> usize {
        self.winner_words()
    }

    fn flops(&self) -> u64 {
        let (oh, ow) = (self.height + 2 * self.padding - 2, self.width + 2 * self.padding - 2);
        2 * (self.out * oh * ow * self.fan_in()) as u64
    }

    fn plan_forward(&self, planner: &mut Planner, t: &ForwardTensors) -> Result<(), GpuError> {
        let tiles = self.tiles(planner.context);
        let tile = |name| SHADER.tile(&tiles, name);
        let (ph, pw) = self.pooled();
        planner.dispatch(Dispatch {
            shader: &SHADER,
            entry: "forward",
            tiles: &tiles,
            constants: &self.constants(t.n),
            buffers: &[
                ("x", t.x, t.n * self.input_len()),
                ("weight", &t.params[0], self.weight_len()),
                ("bias", &t.params[1], self.out),
                ("y", t.y, t.n * self.output_len()),
                ("winner", t.saved, t.n * self.winner_words()),
            ],
            invocations: [t.n * ph * pw.div_ceil(tile("WINDOWS")), self.out.div_ceil(tile("TILE")), 1],
            flops: t.n as u64 * self.flops(),
        })
    }

    fn plan_backward(&self, planner: &mut Planner, t: &BackwardTensors) -> Result<(), GpuError> {
        let tiles = self.tiles(planner.context);
        let tile = |name| SHADER.tile(&tiles, name);
        let constants = &self.constants(t.n);
        let (d_y, winner) = (("d_y", t.d_y, t.n * self.output_len()), ("winner", t.saved, t.n * self.winner_words()));

        planner.dispatch(Dispatch {
            shader: &SHADER,
            entry: "backward_params",
            tiles: &tiles,
            constants,
            buffers: &[
                ("x", t.x, t.n * self.input_len()),
                d_y,
                winner,
                ("d_weight", &t.d_params[0], self.weight_len()),
                ("d_bias", &t.d_params[1], self.out),
            ],
            invocations: [
                self.channels.div_ceil(tile("C_LANES")) * tile("C_LANES") * tile("SLICES"),
                self.out.div_ceil(tile("PARAM_TILE")),
                1,
            ],
            flops: t.n as u64 * self.flops(),
        })?;

        let Some(d_x) = t.d_x else { return Ok(()) };
        let (ph, pw) = self.pooled();
        planner.dispatch(Dispatch {
            shader: &SHADER,
            entry: "backward_input",
            tiles: &tiles,
            constants,
            buffers: &[d_y, winner, ("weight", &t.params[0], self.weight_len()), ("d_x", d_x, t.n * self.input_len())],
            invocations: [t.n * (ph + 1) * (pw + 1).div_ceil(tile("PATCHES")), self.channels.div_ceil(tile("TILE")), 1],
            flops: t.n as u64 * self.flops(),
        })
    }

    fn forward(&self, s: ForwardSlices) {
        cpu::forward(self, s.x, s.params[0], s.params[1], s.y, s.saved);
    }

    fn backward(&self, s: BackwardSlices) {
        let [d_weight, d_bias] = s.d_params else { unreachable!("two parameters: weight and bias") };
        cpu::backward(self, s.x, s.params[0], s.saved, s.d_y, s.d_x, d_weight, d_bias);
    }
}

/// Convolution as a matrix product over unfolded inputs. The columns are grouped by window element: all windows' element 0,
/// then all windows' element 1, ... so that pooling is a maximum over four contiguous runs.
pub mod cpu {
    use super::{Conv2dReluMaxPool2d, DEAD, KERNEL};
    use crate::ops::conv2d::cpu::sum_parts;
    use crate::ops::matrix::{Matrix, multiply};
    use crate::ops::{Real, SAMPLES_PER_TASK};
    use rayon::prelude::*;

    /// Copies between a plane of the input and one row of the columns: tap (i, j), window element q, all windows of a
    /// sample. `each` gets the place in the plane, or nothing in the padding, and the number of the window.
    fn walk(op: &Conv2dReluMaxPool2d, tap: usize, q: usize, mut each: impl FnMut(Option<usize>, usize)) {
        let (ph, pw) = op.pooled();
        let (i, j) = (tap / KERNEL + q / 2, tap % KERNEL + q % 2);
        for py in 0..ph {
            let row = (2 * py + i).wrapping_sub(op.padding);
            for px in 0..pw {
                let column = (2 * px + j).wrapping_sub(op.padding);
                let inside = row < op.height && column < op.width;
                each(inside.then(|| row * op.width + column), py * pw + px);
            }
        }
    }

    /// Unfolds samples `x` into `columns` (C*9, 4, samples, windows).
    fn unfold<T: Real>(op: &Conv2dReluMaxPool2d, x: &[T], columns: &mut [T]) {
        let plane = op.height * op.width;
        let samples = x.len() / (op.channels * plane);
        for (row, columns) in columns.chunks_exact_mut(samples * op.windows()).enumerate() {
            let (c, tap, q) = (row / 4 / 9, row / 4 % 9, row % 4);
            for (sample, columns) in columns.chunks_exact_mut(op.windows()).enumerate() {
                let x = &x[(sample * op.channels + c) * plane..][..plane];
                walk(op, tap, q, |from, w| columns[w] = from.map_or(T::zero(), |from| x[from]));
            }
        }
    }

    /// Adds `columns` (C*9, 4, samples, windows) back onto the samples `d_x` that they were unfolded from.
    fn fold<T: Real>(op: &Conv2dReluMaxPool2d, columns: &[T], d_x: &mut [T]) {
        let plane = op.height * op.width;
        let samples = d_x.len() / (op.channels * plane);
        d_x.fill(T::zero());
        for (row, columns) in columns.chunks_exact(samples * op.windows()).enumerate() {
            let (c, tap, q) = (row / 4 / 9, row / 4 % 9, row % 4);
            for (sample, columns) in columns.chunks_exact(op.windows()).enumerate() {
                let d_x = &mut d_x[(sample * op.channels + c) * plane..][..plane];
                walk(op, tap, q, |to, w| {
                    if let Some(to) = to {
                        d_x[to] += columns[w];
                    }
                });
            }
        }
    }

    /// `y[n,o,w] = max(0, max_q(bias[o] + sum_{c,i,j} weight[o,c,i,j] * x[n, c, 2 py + q/2 + i - P, 2 px + q%2 + j - P]))`;
    /// `winner[n,o,w]` is that q, or [`DEAD`] where the result is 0.
    pub fn forward<T: Real>(op: &Conv2dReluMaxPool2d, x: &[T], weight: &[T], bias: &[T], y: &mut [T], winner: &mut [u32]) {
        let (input, output, windows) = (op.channels * op.height * op.width, op.out * op.windows(), op.windows());
        let task = SAMPLES_PER_TASK;
        let tasks =
            x.par_chunks(input * task).zip(y.par_chunks_mut(output * task).zip(winner.par_chunks_mut(output * task)));
        tasks.for_each_init(
            || (Vec::new(), Vec::new()),
            |(columns, sums), (x, (y, winner))| {
                let samples = x.len() / input;
                let run = samples * windows;
                columns.resize(op.fan_in() * 4 * run, T::zero());
                sums.resize(op.out * 4 * run, T::zero());
                unfold(op, x, columns);
                let weight = Matrix::new(weight, op.out, op.fan_in());
                multiply(sums, 4 * run, weight, Matrix::new(columns, op.fan_in(), 4 * run), false);
                for o in 0..op.out {
                    let sums: [&[T]; 4] = std::array::from_fn(|q| &sums[(o * 4 + q) * run..][..run]);
                    for sample in 0..samples {
                        let to = (sample * op.out + o) * windows;
                        let outputs = y[to..to + windows].iter_mut().zip(&mut winner[to..to + windows]);
                        for (w, (y, winner)) in outputs.enumerate() {
                            let w = sample * windows + w;
                            let (mut most, mut best) = (sums[0][w], 0);
                            for (q, sums) in (1..).zip(&sums[1..]) {
                                // `>` keeps the first of equal values, PyTorch's rule for ties.
                                if sums[w] > most {
                                    (most, best) = (sums[w], q);
                                }
                            }
                            most += bias[o];
                            let dead = most <= T::zero();
                            *y = if dead { T::zero() } else { most };
                            *winner = if dead { DEAD } else { best };
                        }
                    }
                }
            },
        );
    }

    /// All gradients at once: they share the unfolded input and the unpooled gradient.
    #[allow(clippy::too_many_arguments)] // the op's tensors, each of them once
    pub fn backward<T: Real>(
        op: &Conv2dReluMaxPool2d,
        x: &[T],
        weight: &[T],
        winner: &[u32],
        d_y: &[T],
        d_x: Option<&mut [T]>,
        d_weight: &mut [T],
        d_bias: &mut [T],
    ) {
        let (input, output, windows) = (op.channels * op.height * op.width, op.out * op.windows(), op.windows());
        let task = SAMPLES_PER_TASK;
        // Where nobody wants d_x, empty slices stand in for it.
        let d_x: Vec<Option<&mut [T]>> = match d_x {
            Some(d_x) => d_x.chunks_mut(input * task).map(Some).collect(),
            None => (0..x.len().div_ceil(input * task)).map(|_| None).collect(),
        };
        let tasks =
            x.par_chunks(input * task).zip(d_x).zip(winner.par_chunks(output * task).zip(d_y.par_chunks(output * task)));
        let parts = tasks.map_init(
            || (Vec::new(), Vec::new()),
            |(columns, d_sums), ((x, d_x), (winner, d_y))| {
                let samples = x.len() / input;
                let run = samples * windows;
                columns.resize(op.fan_in() * 4 * run, T::zero());
                d_sums.resize(op.out * 4 * run, T::zero());

                // d_sums (O, 4, samples, windows): d_y at each window's winner, 0 elsewhere
                for (row, d_sums) in d_sums.chunks_exact_mut(windows).enumerate() {
                    let (o, q, sample) = (row / (4 * samples), row / samples % 4, row % samples);
                    let from = (sample * op.out + o) * windows;
                    let windows = winner[from..].iter().zip(&d_y[from..]);
                    for (d_sum, (&winner, &d)) in d_sums.iter_mut().zip(windows) {
                        *d_sum = if winner == q as u32 { d } else { T::zero() };
                    }
                }
                let d_sums_matrix = Matrix::new(d_sums, op.out, 4 * run);

                unfold(op, x, columns);
                let mut part_weight = vec![T::zero(); op.weight_len()];
                multiply(
                    &mut part_weight,
                    op.fan_in(),
                    d_sums_matrix,
                    Matrix::new(columns, op.fan_in(), 4 * run).t(),
                    false,
                );
                let part_bias = d_sums.chunks_exact(4 * run).map(|row| row.iter().copied().sum()).collect();

                if let Some(d_x) = d_x {
                    let weight = Matrix::new(weight, op.out, op.fan_in());
                    multiply(columns, 4 * run, weight.t(), d_sums_matrix, false);
                    fold(op, columns, d_x);
                }
                (part_weight, part_bias)
            },
        );
        sum_parts(parts.collect(), d_weight, d_bias);
    }
}
