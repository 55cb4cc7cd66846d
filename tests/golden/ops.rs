//! Single ops on small inputs: the CPU mirror in f32 and f64, and every GPU.

use crate::Golden;
use crate::common::{BOTH, EPS, SENTINEL, close, contexts, f64s, magnitudes};
use bytemuck::Pod;
use mnist_wgpu::gpu::{Context, Planner, Tensor, drive, plan};
use mnist_wgpu::ops::conv2d::{self, Conv2d};
use mnist_wgpu::ops::cross_entropy::{self, CrossEntropy};
use mnist_wgpu::ops::linear::{self, Linear};
use mnist_wgpu::ops::maxpool2d::{self, MaxPool2d};
use mnist_wgpu::ops::relu::{self, Relu};
use mnist_wgpu::ops::sgd::{self, Sgd};
use mnist_wgpu::ops::{BackwardSlices, BackwardTensors, Batch, ForwardSlices, ForwardTensors, LayerOp};

/// A tensor that an op put out, what PyTorch has, and the bound: sums of `terms` terms, whose absolute values add up to
/// `magnitude`. Stored golden numbers are themselves rounded once, which the constant of `close` leaves room for.
pub struct Check {
    pub name: String,
    pub want: Vec<f64>,
    pub magnitude: Vec<f64>,
    pub terms: usize,
}

impl Check {
    pub fn compare(&self, what: &str, got: &[f32]) {
        close(&format!("{what}, {}", self.name), got, &self.want, &self.magnitude, self.terms)
            .unwrap_or_else(|e| panic!("{e}"));
    }

    /// The f64 mirror's only error should be the golden number's rounding to f32, and f64's own.
    pub fn compare_f64(&self, got: &[f64]) {
        assert_eq!(got.len(), self.want.len(), "{}", self.name);
        for (i, ((got, want), magnitude)) in got.iter().zip(&self.want).zip(&self.magnitude).enumerate() {
            let bound = EPS * want.abs() + 1e-12 * magnitude + f64::from(f32::MIN_POSITIVE);
            assert!((got - want).abs() <= bound, "f64, {}: element {i} is {got:e}, PyTorch has {want:e}", self.name);
        }
    }
}

/// One case of an op, read from the file.
pub struct Case {
    pub name: String,
    n: usize,
    pub x: Vec<f32>,
    pub params: Vec<Vec<f32>>,
    /// Before a pass in training, and after it.
    buffers: Vec<(Vec<f32>, Check)>,
    pub d_y: Vec<f32>,
    pub y: Check,
    pub d_x: Check,
    pub d_params: Vec<Check>,
}

impl Case {
    /// `terms` of the output, of the input's gradient, and of the parameters'. Bounds that need the op's own sums come
    /// from [`Case::bound`].
    pub fn read(golden: &Golden, name: &str, n: usize, terms: [usize; 3]) -> Self {
        let floats = |key: &str| golden.floats(&format!("{name}.{key}"));
        let check = |key: &str, terms| {
            let want = floats(key);
            Check { name: format!("{name}.{key}"), magnitude: magnitudes(&want), want: f64s(&want), terms }
        };
        let has = |key: &str| golden.names().contains(&format!("{name}.{key}"));
        let parameters: &[&str] = if has("weight") { &["weight", "bias"] } else { &[] };
        let buffers: &[&str] = if has("mean") { &["mean", "var"] } else { &[] };
        Self {
            name: name.into(),
            n,
            x: floats("input"),
            params: parameters.iter().map(|key| floats(key)).collect(),
            buffers: buffers.iter().map(|key| (floats(key), check(&format!("new_{key}"), terms[2]))).collect(),
            d_y: floats("d_output"),
            y: check("output", terms[0]),
            d_x: check("d_input", terms[1]),
            d_params: parameters.iter().map(|key| check(&format!("d_{key}"), terms[2])).collect(),
        }
    }

    pub fn bound(&mut self, y: Vec<f64>, d_x: Vec<f64>, d_params: [Vec<f64>; 2]) {
        (self.y.magnitude, self.d_x.magnitude) = (y, d_x);
        self.d_params.iter_mut().zip(d_params).for_each(|(check, magnitude)| check.magnitude = magnitude);
    }

    /// The op as training runs it on the CPU.
    pub fn check_cpu(&self, op: &dyn LayerOp) {
        let params: Vec<&[f32]> = self.params.iter().map(Vec::as_slice).collect();
        let mut saved = vec![u32::MAX; self.n * op.saved_words()];
        let mut y = vec![SENTINEL; self.y.want.len()];
        let mut buffers: Vec<Vec<f32>> = self.buffers.iter().map(|(before, _)| before.clone()).collect();
        let buffers_mut = &mut Vec::from_iter(buffers.iter_mut().map(Vec::as_mut_slice));
        op.forward(ForwardSlices {
            x: &self.x,
            params: &params,
            y: &mut y,
            saved: &mut saved,
            training: true,
            step: 0,
            buffers: buffers_mut,
        });
        self.y.compare("CPU", &y);
        self.buffers.iter().zip(&buffers).for_each(|((_, check), got)| check.compare("CPU", got));

        let mut d_x = vec![SENTINEL; self.x.len()];
        let mut d_params: Vec<Vec<f32>> = params.iter().map(|p| vec![SENTINEL; p.len()]).collect();
        op.backward(BackwardSlices {
            x: &self.x,
            params: &params,
            saved: &saved,
            d_y: &self.d_y,
            d_x: Some(&mut d_x),
            d_params: &mut Vec::from_iter(d_params.iter_mut().map(Vec::as_mut_slice)),
            step: 0,
        });
        self.d_x.compare("CPU", &d_x);
        self.d_params.iter().zip(&d_params).for_each(|(check, got)| check.compare("CPU", got));
    }

    /// The op as training runs it on a GPU.
    pub fn check_gpu(&self, gpu: &Gpu, op: &dyn LayerOp) {
        let buffers: Vec<Tensor> = self.buffers.iter().map(|(before, _)| gpu.tensor(before)).collect();
        let params: Vec<Tensor> = self.params.iter().map(|p| gpu.tensor(p)).collect();
        let (x, y) = (gpu.tensor(&self.x), gpu.unwritten(self.y.want.len()));
        let saved = gpu.tensor(&vec![u32::MAX; self.n * op.saved_words()]);
        let (d_y, d_x) = (gpu.tensor(&self.d_y), gpu.unwritten(self.x.len()));
        let d_params: Vec<Tensor> = self.params.iter().map(|p| gpu.unwritten(p.len())).collect();
        gpu.run(&self.name, |planner| {
            op.plan_forward(
                planner,
                &ForwardTensors {
                    n: self.n,
                    training: true,
                    x: &x,
                    params: &params,
                    buffers: &buffers,
                    y: &y,
                    saved: &saved,
                },
            )?;
            op.plan_backward(
                planner,
                &BackwardTensors {
                    n: self.n,
                    x: &x,
                    params: &params,
                    saved: &saved,
                    d_y: &d_y,
                    d_x: Some(&d_x),
                    d_params: &d_params,
                },
            )
        });
        self.y.compare(&gpu.name, &gpu.read(&y));
        self.buffers.iter().zip(&buffers).for_each(|((_, check), got)| check.compare(&gpu.name, &gpu.read(got)));
        self.d_x.compare(&gpu.name, &gpu.read(&d_x));
        self.d_params.iter().zip(&d_params).for_each(|(check, got)| check.compare(&gpu.name, &gpu.read(got)));
    }
}

/// A device that runs a plan once.
pub struct Gpu<'a> {
    context: &'a Context,
    pub name: String,
}

impl<'a> Gpu<'a> {
    fn new(context: &'a Context) -> Self {
        Self { context, name: format!("{}, {:?}", context.info.name, context.options) }
    }

    pub fn tensor<T: Pod>(&self, data: &[T]) -> Tensor {
        Tensor::from_slice(self.context, "test", data).expect("the buffer is made")
    }

    pub fn unwritten(&self, len: usize) -> Tensor {
        self.tensor(&vec![SENTINEL; len])
    }

    pub fn read(&self, tensor: &Tensor) -> Vec<f32> {
        drive::block_on(self.context, tensor.read(self.context)).expect("the results arrive")
    }

    pub fn run(&self, what: &str, plan: impl FnOnce(&mut Planner) -> Result<(), mnist_wgpu::gpu::GpuError>) {
        self.run_batch(what, &Batch::default(), plan);
    }

    pub fn run_batch(
        &self,
        what: &str,
        batch: &Batch,
        plan: impl FnOnce(&mut Planner) -> Result<(), mnist_wgpu::gpu::GpuError>,
    ) {
        let mut planner = Planner::new(self.context);
        plan(&mut planner).unwrap_or_else(|e| panic!("{what}, {}: {e}", self.name));
        plan::run(self.context, &planner.steps, batch).unwrap_or_else(|e| panic!("{what}, {}: {e}", self.name));
    }
}

const OPS: &str = "ops.safetensors";

/// Runs `each` with the sizes of every case of `op` in `file`; there are `count`.
pub fn cases(file: &str, op: &str, count: usize, mut each: impl FnMut(&Golden, &str, &[usize])) {
    let golden = Golden::read(file);
    let sizes = format!("{op}.");
    let found = golden.names().iter().filter(|name| name.starts_with(&sizes) && name.ends_with(".sizes")).count();
    assert_eq!(found, count, "cases of {op}");
    for case in 0..count {
        let name = format!("{op}.{case}");
        let sizes: Vec<usize> = golden.ints(&format!("{name}.sizes")).into_iter().map(|size| size as usize).collect();
        each(&golden, &name, &sizes);
    }
}

pub fn with_gpus(run: impl FnOnce(&[Gpu])) {
    let contexts = contexts(&BOTH);
    run(&Vec::from_iter(contexts.iter().map(Gpu::new)));
}

pub fn zeros(len: usize) -> Vec<f64> {
    vec![0.0; len]
}

#[test]
fn conv2d_meets_pytorch() {
    conv2d_meets(OPS, 4);
}

/// Sizes without a stride have one of 1.
pub fn conv2d_meets(file: &str, count: usize) {
    with_gpus(|gpus| {
        cases(file, "conv2d", count, |golden, name, sizes| {
            let &[n, channels, height, width, out, kernel, padding, ref stride @ ..] = sizes else {
                panic!("{name}: {sizes:?}")
            };
            let stride = stride.first().copied().unwrap_or(1);
            let op = Conv2d { channels, height, width, out, kernel, padding, stride };
            let (oh, ow) = op.output_size();
            let mut case = Case::read(golden, name, n, [op.fan_in() + 1, out * kernel * kernel, n * oh * ow]);
            // The mirror over f64, of the inputs and of their absolute values: the latter are the bounds' magnitudes.
            let run = |of: fn(&[f32]) -> Vec<f64>| {
                let (x, weight, bias, d_y) = (of(&case.x), of(&case.params[0]), of(&case.params[1]), of(&case.d_y));
                let (mut y, mut d_x) = (zeros(d_y.len()), zeros(x.len()));
                let (mut d_weight, mut d_bias) = (zeros(weight.len()), zeros(out));
                conv2d::cpu::forward(&op, &x, &weight, &bias, &mut y, |_| {});
                conv2d::cpu::backward_input(&op, &weight, &d_y, &mut d_x);
                conv2d::cpu::backward_params(&op, &x, &d_y, &mut d_weight, &mut d_bias);
                (y, d_x, [d_weight, d_bias])
            };
            let ((y, d_x, d_params), (y_bound, d_x_bound, d_params_bound)) = (run(f64s), run(magnitudes));
            case.bound(y_bound, d_x_bound, d_params_bound);
            case.y.compare_f64(&y);
            case.d_x.compare_f64(&d_x);
            case.d_params.iter().zip(&d_params).for_each(|(check, got)| check.compare_f64(got));
            case.check_cpu(&op);
            gpus.iter().for_each(|gpu| case.check_gpu(gpu, &op));
        });
    });
}

#[test]
fn linear_meets_pytorch() {
    with_gpus(|gpus| {
        cases(OPS, "linear", 3, |golden, name, sizes| {
            let &[n, inputs, outputs] = sizes else { panic!("{name}: {sizes:?}") };
            let op = Linear::new(inputs, outputs);
            let mut case = Case::read(golden, name, n, [inputs + 1, outputs, n]);
            let run = |of: fn(&[f32]) -> Vec<f64>| {
                let (x, weight, bias, d_y) = (of(&case.x), of(&case.params[0]), of(&case.params[1]), of(&case.d_y));
                let (mut y, mut d_x) = (zeros(d_y.len()), zeros(x.len()));
                let (mut d_weight, mut d_bias) = (zeros(weight.len()), zeros(outputs));
                linear::cpu::forward(&op, &x, &weight, &bias, &mut y);
                linear::cpu::backward_input(&op, &weight, &d_y, &mut d_x);
                linear::cpu::backward_params(&op, &x, &d_y, &mut d_weight, &mut d_bias);
                (y, d_x, [d_weight, d_bias])
            };
            let ((y, d_x, d_params), (y_bound, d_x_bound, d_params_bound)) = (run(f64s), run(magnitudes));
            case.bound(y_bound, d_x_bound, d_params_bound);
            case.y.compare_f64(&y);
            case.d_x.compare_f64(&d_x);
            case.d_params.iter().zip(&d_params).for_each(|(check, got)| check.compare_f64(got));
            case.check_cpu(&op);
            gpus.iter().for_each(|gpu| case.check_gpu(gpu, &op));
        });
    });
}

/// Copies: exact, so that no term is rounded.
#[test]
fn maxpool2d_meets_pytorch_on_ties() {
    with_gpus(|gpus| {
        cases(OPS, "maxpool2d", 4, |golden, name, sizes| {
            let &[n, channels, height, width, size] = sizes else { panic!("{name}: {sizes:?}") };
            let op = MaxPool2d { channels, height, width, size };
            let case = Case::read(golden, name, n, [0, 0, 0]);
            let (mut y, mut winner, mut d_x) = (zeros(case.d_y.len()), vec![u32::MAX; case.d_y.len()], zeros(case.x.len()));
            maxpool2d::cpu::forward(&op, &f64s(&case.x), &mut y, &mut winner);
            maxpool2d::cpu::backward(&op, &winner, &f64s(&case.d_y), &mut d_x);
            assert_eq!((&y, &d_x), (&case.y.want, &case.d_x.want), "{name}");
            case.check_cpu(&op);
            gpus.iter().for_each(|gpu| case.check_gpu(gpu, &op));
        });
    });
}

#[test]
fn relu_meets_pytorch_around_zero() {
    with_gpus(|gpus| {
        cases(OPS, "relu", 2, |golden, name, sizes| {
            let op = Relu { len: sizes[0] };
            let case = Case::read(golden, name, 1, [0, 0, 0]);
            let (mut y, mut d_x) = (zeros(op.len), zeros(op.len));
            relu::cpu::forward(&f64s(&case.x), &mut y);
            relu::cpu::backward(&f64s(&case.x), &f64s(&case.d_y), &mut d_x);
            assert_eq!((&y, &d_x), (&case.y.want, &case.d_x.want), "{name}");
            case.check_cpu(&op);
            gpus.iter().for_each(|gpu| case.check_gpu(gpu, &op));
        });
    });
}

/// The logarithm of a sum of exponentials, in f32: besides the roundings of the sum and of differences between numbers
/// as large as the logits, `exp` may be off by `3 + 2 |x|` units in the last place and `log` by 3, or by 2^-21 (8 EPS)
/// near 1 (WGSL, 15.7.4). A loss so has a magnitude of `max|logit| + ln(classes) + 8`. A probability p has p times the
/// magnitude of the difference it is the exponential of, 2 more for that difference's own `exp`.
#[test]
fn cross_entropy_meets_pytorch() {
    with_gpus(|gpus| {
        cases(OPS, "cross_entropy", 4, |golden, name, sizes| {
            let &[n, classes] = sizes else { panic!("{name}: {sizes:?}") };
            let op = CrossEntropy::new(classes);
            let logits = golden.floats(&format!("{name}.logits"));
            let targets: Vec<u32> = golden.ints(&format!("{name}.labels")).into_iter().map(|label| label as u32).collect();
            let (loss, d_logits) = (golden.floats(&format!("{name}.loss")), golden.floats(&format!("{name}.d_logits")));

            let largest = |logits: &[f32]| magnitudes(logits).into_iter().fold(0.0, f64::max);
            let d_magnitude = |i: usize| {
                let of_sample = &logits[i / classes * classes..][..classes];
                let label = f64::from(u8::from(targets[i / classes] as usize == i % classes));
                let d = f64::from(d_logits[i]);
                // p, and how far it is from the largest logit.
                let (p, below) = (d * n as f64 + label, 2.0 * largest(of_sample));
                (p * (3.0 * below + 16.0) + label) / n as f64
            };
            let loss_magnitude = largest(&logits) + (classes as f64).ln() + 8.0;
            let check = |key: &str, want: &[f32], magnitude, terms| Check {
                name: format!("{name}.{key}"),
                want: f64s(want),
                magnitude,
                terms,
            };
            let d_check = check("d_logits", &d_logits, (0..n * classes).map(d_magnitude).collect(), 2);
            let loss_check = check("loss", &loss, vec![loss_magnitude], classes + n);

            let (mut losses, mut d) = (zeros(n), zeros(n * classes));
            cross_entropy::cpu::forward(&op, &f64s(&logits), &targets, &mut losses);
            cross_entropy::cpu::backward(&op, &f64s(&logits), &targets, &mut d);
            loss_check.compare_f64(&[losses.iter().sum::<f64>() / n as f64]);
            d_check.compare_f64(&d);

            let mean = |losses: &[f32]| [losses.iter().sum::<f32>() / n as f32];
            let (mut losses, mut d) = (vec![SENTINEL; n], vec![SENTINEL; n * classes]);
            cross_entropy::cpu::forward(&op, &logits, &targets, &mut losses);
            cross_entropy::cpu::backward(&op, &logits, &targets, &mut d);
            loss_check.compare("CPU", &mean(&losses));
            d_check.compare("CPU", &d);

            for gpu in gpus {
                let (logits, targets) = (gpu.tensor(&logits), gpu.tensor(&targets));
                let (losses, d) = (gpu.unwritten(n), gpu.unwritten(n * classes));
                gpu.run(name, |planner| {
                    op.plan_forward(planner, n, &logits, &targets, &losses)?;
                    op.plan_backward(planner, n, &logits, &targets, &d)
                });
                loss_check.compare(&gpu.name, &mean(&gpu.read(&losses)));
                d_check.compare(&gpu.name, &gpu.read(&d));
            }
        });
    });
}

#[test]
fn sgd_meets_pytorch() {
    sgd_meets(OPS, 4, |golden, name, nesterov| {
        let [lr, momentum] = golden.floats(&format!("{name}.hyper"))[..] else { panic!("{name}") };
        (vec![lr; 3], Sgd { momentum, nesterov, weight_decay: 0.0 })
    });
}

/// Updates in a row, whose learning rates and settings `hyper` gives: each element is a sum of its start and of the
/// steps, each of which weighs all gradients so far.
pub fn sgd_meets(file: &str, count: usize, hyper: impl Fn(&Golden, &str, bool) -> (Vec<f32>, Sgd)) {
    with_gpus(|gpus| {
        cases(file, "sgd", count, |golden, name, sizes| {
            let &[len, nesterov] = sizes else { panic!("{name}: {sizes:?}") };
            let floats = |key: &str| golden.floats(&format!("{name}.{key}"));
            let (start, gradients, params) = (floats("param"), floats("grads"), floats("params"));
            let (rates, op) = hyper(golden, name, nesterov == 1);
            assert_eq!(gradients.len(), rates.len() * len);
            let (mut magnitude, mut magnitude_v) = (magnitudes(&start), zeros(len));
            let (mut p64, mut v64) = (f64s(&start), zeros(len));
            let (mut p32, mut v32) = (start.clone(), vec![0.0; len]);
            // The kernel takes whole vectors.
            let whole = |values: &[f32]| [values, &vec![0.0; len.next_multiple_of(4) - len]].concat();
            let arenas = |gpu: &Gpu| [whole(&start), whole(&vec![0.0; len])].map(|values| gpu.tensor(&values));
            let on_gpus: Vec<_> = gpus.iter().map(|gpu| (gpu, arenas(gpu))).collect();
            let steps = gradients.chunks_exact(len).zip(params.chunks_exact(len)).zip(rates).enumerate();
            for (step, ((gradient, want), lr)) in steps {
                // Of absolute values, with the sign of the learning rate turned: the sum of all terms.
                sgd::cpu::update(&op, -lr, &mut magnitude, &mut magnitude_v, &magnitudes(gradient));
                let name = format!("{name}, step {step}");
                let decayed = 2 * usize::from(op.weight_decay != 0.0);
                let terms = (2 + decayed) * (step + 2); // products and additions, each of which rounds
                let check = Check { name: name.clone(), want: f64s(want), magnitude: magnitude.clone(), terms };
                sgd::cpu::update(&op, lr, &mut p64, &mut v64, &f64s(gradient));
                check.compare_f64(&p64);
                sgd::cpu::update(&op, lr, &mut p32, &mut v32, gradient);
                check.compare("CPU", &p32);
                for (gpu, [p, v]) in &on_gpus {
                    let batch = Batch { learning_rate: lr, ..Batch::default() };
                    gpu.run_batch(&name, &batch, |planner| op.plan(planner, p, v, &gpu.tensor(&whole(gradient))));
                    check.compare(&gpu.name, &gpu.read(p)[..len]);
                }
            }
        });
    });
}
