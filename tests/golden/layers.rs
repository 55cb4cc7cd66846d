//! Ops of other nets than the default one, AdamW, label smoothing, the moving average; and ten steps of a net with
//! every layer.

use crate::Golden;
use crate::common::engines::Any;
use crate::common::{BOTH, EPS, contexts, f64s, hash, magnitudes};
use crate::ops::{Case, Check, Gpu, cases, conv2d_meets, with_gpus, zeros};
use mnist_wgpu::data::{Dataset, Images};
use mnist_wgpu::engine::{Engine, Set, Settings};
use mnist_wgpu::layers;
use mnist_wgpu::model::Model;
use mnist_wgpu::ops::adamw::{self, AdamW};
use mnist_wgpu::ops::average::{self, Average};
use mnist_wgpu::ops::avgpool2d::{self, AvgPool2d};
use mnist_wgpu::ops::batchnorm2d::{self, BatchNorm2d};
use mnist_wgpu::ops::cross_entropy::{self, CrossEntropy};
use mnist_wgpu::ops::leaky_relu::{self, LeakyRelu};
use mnist_wgpu::ops::{Batch, ForwardSlices, ForwardTensors, OnCpu, OnGpu};
use mnist_wgpu::state::{Role, State};

const FILE: &str = "layers.safetensors";

#[test]
fn strided_conv2d_meets_pytorch() {
    conv2d_meets(FILE, 3);
}

#[test]
fn avgpool2d_meets_pytorch() {
    with_gpus(|gpus| {
        cases(FILE, "avgpool2d", 3, |golden, name, sizes| {
            let &[n, channels, height, width, rows, columns] = sizes else { panic!("{name}: {sizes:?}") };
            let op = AvgPool2d { channels, height, width, rows, columns };
            let mut case = Case::read(golden, name, n, [rows * columns, 1, 0]);
            let run = |of: fn(&[f32]) -> Vec<f64>| {
                let (mut y, mut d_x) = (zeros(case.d_y.len()), zeros(case.x.len()));
                avgpool2d::cpu::forward(&op, &of(&case.x), &mut y);
                avgpool2d::cpu::backward(&op, &of(&case.d_y), &mut d_x);
                (y, d_x)
            };
            let ((y, d_x), (y_bound, d_x_bound)) = (run(f64s), run(magnitudes));
            (case.y.magnitude, case.d_x.magnitude) = (y_bound, d_x_bound);
            case.y.compare_f64(&y);
            case.d_x.compare_f64(&d_x);
            case.check_cpu(&op);
            gpus.iter().for_each(|gpu| case.check_gpu(gpu, &op));
        });
    });
}

#[test]
fn leaky_relu_meets_pytorch() {
    with_gpus(|gpus| {
        cases(FILE, "leaky_relu", 2, |golden, name, sizes| {
            let op = LeakyRelu { len: sizes[0], slope: 0.1 };
            let case = Case::read(golden, name, 1, [1, 1, 0]);
            let (mut y, mut d_x) = (zeros(op.len), zeros(op.len));
            leaky_relu::cpu::forward(&op, &f64s(&case.x), &mut y);
            leaky_relu::cpu::backward(&op, &f64s(&case.x), &f64s(&case.d_y), &mut d_x);
            case.y.compare_f64(&y);
            case.d_x.compare_f64(&d_x);
            case.check_cpu(&op);
            gpus.iter().for_each(|gpu| case.check_gpu(gpu, &op));
        });
    });
}

/// A channel has at most 42 elements here, none of which is larger than 2.5; its deviation is 0.5 at least, but for a
/// case of three elements. So nothing that is summed is larger than a hundred, and few roundings of that are allowed.
#[test]
fn batchnorm2d_meets_pytorch() {
    with_gpus(|gpus| {
        cases(FILE, "batchnorm2d", 4, |golden, name, sizes| {
            let &[n, channels, height, width, relu] = sizes else { panic!("{name}: {sizes:?}") };
            let op = BatchNorm2d { channels, plane: height * width, relu: relu == 1 };
            let mut case = Case::read(golden, name, n, [8, 8, 8]);
            let size = |check: &Check| vec![16.0; check.want.len()];
            let [y, d_x, d_weight, d_bias] = [&case.y, &case.d_x, &case.d_params[0], &case.d_params[1]].map(size);
            case.bound(y, d_x, [d_weight, d_bias]);

            let floats = |key: &str| golden.floats(&format!("{name}.{key}"));
            let (x, d_y) = (f64s(&case.x), f64s(&case.d_y));
            let [weight, bias] = [&case.params[0], &case.params[1]].map(|values| f64s(values));
            let (mut mean, mut var) = (f64s(&floats("mean")), f64s(&floats("var")));
            let mut y = zeros(x.len());
            let evaluated = batchnorm2d::cpu::recall(&weight, &bias, &mean, &var);
            batchnorm2d::cpu::forward(&op, &x, &evaluated, &mut y);
            let want = f64s(&floats("evaluated"));
            let evaluated = Check { name: format!("{name}.evaluated"), magnitude: vec![16.0; want.len()], want, terms: 8 };
            evaluated.compare_f64(&y);

            let statistics = batchnorm2d::cpu::statistics(&op, &x, &weight, &bias, &mut mean, &mut var);
            batchnorm2d::cpu::forward(&op, &x, &statistics, &mut y);
            let (mut d_x, mut d_weight, mut d_bias) = (zeros(x.len()), zeros(channels), zeros(channels));
            batchnorm2d::cpu::backward_params(&op, &x, &statistics, &d_y, &mut d_weight, &mut d_bias);
            batchnorm2d::cpu::backward_input(&op, &x, &statistics, &d_y, &d_weight, &d_bias, &mut d_x);
            case.y.compare_f64(&y);
            case.d_x.compare_f64(&d_x);
            case.d_params[0].compare_f64(&d_weight);
            case.d_params[1].compare_f64(&d_bias);
            case.check_cpu(&op);
            gpus.iter().for_each(|gpu| case.check_gpu(gpu, &op));
            check_evaluation(&op, n, &case, [floats("mean"), floats("var")], &evaluated, gpus);
        });
    });
}

/// An evaluation goes by the running statistics and leaves them as they are.
fn check_evaluation(op: &BatchNorm2d, n: usize, case: &Case, running: [Vec<f32>; 2], want: &Check, gpus: &[Gpu]) {
    let (mut y, mut saved) = (vec![f32::NAN; case.x.len()], vec![0; n * 4 * op.channels]);
    let params = Vec::from_iter(case.params.iter().map(Vec::as_slice));
    let mut buffers = running.clone();
    let [mean, var] = &mut buffers;
    op.forward(ForwardSlices {
        x: &case.x,
        params: &params,
        buffers: &mut [mean, var],
        y: &mut y,
        saved: &mut saved,
        training: false,
        step: 0,
    });
    want.compare("CPU", &y);
    assert_eq!(buffers, running);
    for gpu in gpus {
        let (params, buffers) = (case.params.iter().map(|p| gpu.tensor(p)).collect::<Vec<_>>(), running.each_ref());
        let buffers = buffers.map(|buffer| gpu.tensor(buffer));
        let (x, y, saved) = (gpu.tensor(&case.x), gpu.unwritten(case.x.len()), gpu.tensor(&saved));
        let tensors = ForwardTensors { n, training: false, x: &x, params: &params, buffers: &buffers, y: &y, saved: &saved };
        gpu.run(&case.name, |planner| op.plan_forward(planner, &tensors));
        want.compare(&gpu.name, &gpu.read(&y));
        assert_eq!(buffers.each_ref().map(|buffer| gpu.read(buffer)), running);
    }
}

#[test]
fn label_smoothing_meets_pytorch() {
    with_gpus(|gpus| {
        cases(FILE, "smoothing", 3, |golden, name, sizes| {
            let &[n, classes] = sizes else { panic!("{name}: {sizes:?}") };
            let floats = |key: &str| golden.floats(&format!("{name}.{key}"));
            let targets: Vec<u32> = golden.ints(&format!("{name}.labels")).into_iter().map(|t| t as u32).collect();
            let op = CrossEntropy { classes, smoothing: floats("hyper")[0] };
            let logits = floats("logits");
            // No logit is larger than 4: a loss passes through as many roundings as there are classes, and a few.
            let check = |key: &str, magnitude: f64| {
                let want = f64s(&floats(key));
                Check { name: format!("{name}.{key}"), magnitude: vec![magnitude; want.len()], want, terms: classes + 8 }
            };
            let (loss, d_logits) = (check("loss", 8.0), check("d_logits", 8.0 / n as f64));
            let (mut losses, mut d) = (zeros(n), zeros(n * classes));
            cross_entropy::cpu::forward(&op, &f64s(&logits), &targets, &mut losses);
            cross_entropy::cpu::backward(&op, &f64s(&logits), &targets, &mut d);
            loss.compare_f64(&[losses.iter().sum::<f64>() / n as f64]);
            d_logits.compare_f64(&d);
            let (mut losses, mut d) = (vec![f32::NAN; n], vec![f32::NAN; n * classes]);
            cross_entropy::cpu::forward(&op, &logits, &targets, &mut losses);
            cross_entropy::cpu::backward(&op, &logits, &targets, &mut d);
            loss.compare("CPU", &[losses.iter().sum::<f32>() / n as f32]);
            d_logits.compare("CPU", &d);
            for gpu in gpus {
                let (logits, targets) = (gpu.tensor(&logits), gpu.tensor(&targets));
                let (losses, d) = (gpu.unwritten(n), gpu.unwritten(n * classes));
                gpu.run(name, |planner| {
                    op.plan_forward(planner, n, &logits, &targets, &losses)?;
                    op.plan_backward(planner, n, &logits, &targets, &d)
                });
                loss.compare(&gpu.name, &[gpu.read(&losses).iter().sum::<f32>() / n as f32]);
                d_logits.compare(&gpu.name, &gpu.read(&d));
            }
        });
    });
}

/// Every step moves a parameter by its rate, or less, and rounds a handful of times; the quotient's error is that of
/// the means, which all gradients so far went into.
#[test]
fn ten_steps_of_adamw_meet_pytorch() {
    with_gpus(|gpus| {
        cases(FILE, "adamw", 3, |golden, name, sizes| {
            let floats = |key: &str| golden.floats(&format!("{name}.{key}"));
            let [beta1, beta2, epsilon, weight_decay] = floats("hyper")[..] else { panic!("{name}") };
            let (op, len) = (AdamW { betas: [beta1, beta2], epsilon, weight_decay }, sizes[0]);
            let (start, gradients, params) = (floats("param"), floats("grads"), floats("params"));
            let (mut wide, mut narrow) = (f64s(&start), start.clone());
            let (mut wide_slots, mut narrow_slots) = ([zeros(len), zeros(len)], [vec![0.0f32; len], vec![0.0; len]]);
            let whole = |values: &[f32]| [values, &vec![0.0; len.next_multiple_of(4) - len]].concat();
            let arenas = |gpu: &Gpu| [&start, &vec![0.0; len], &vec![0.0; len]].map(|values| gpu.tensor(&whole(values)));
            let on_gpus: Vec<_> = gpus.iter().map(|gpu| (gpu, arenas(gpu))).collect();
            let steps = gradients.chunks_exact(len).zip(params.chunks_exact(len)).zip(floats("rates"));
            let mut moved = 0.0;
            for (step, ((gradient, want), lr)) in steps.enumerate() {
                moved += f64::from(lr) * 4.0; // a step's size is the rate's, but for its corrections
                let name = format!("{name}, step {step}");
                let magnitude = start.iter().map(|p| f64::from(p.abs()) + moved).collect();
                let check = Check { name: name.clone(), want: f64s(want), magnitude, terms: 6 + step };
                let corrections = op.corrections(step as u64 + 1);
                let bias = |beta: f32| 1.0 - f64::from(beta).powi(step as i32 + 1);
                let exactly = [1.0 / bias(beta1), 1.0 / bias(beta2).sqrt()];
                let [m, v] = &mut wide_slots;
                adamw::cpu::update(&op, f64::from(lr), exactly, &mut wide, [m, v], &f64s(gradient));
                check.compare_f64(&wide);
                let [m, v] = &mut narrow_slots;
                adamw::cpu::update(&op, lr, corrections, &mut narrow, [m, v], gradient);
                check.compare("CPU", &narrow);
                for (gpu, [p, m, v]) in &on_gpus {
                    let [correction1, correction2] = corrections;
                    let batch = Batch { learning_rate: lr, correction1, correction2, ..Batch::default() };
                    gpu.run_batch(&name, &batch, |planner| op.plan(planner, p, [m, v], &gpu.tensor(&whole(gradient))));
                    check.compare(&gpu.name, &gpu.read(p)[..len]);
                }
            }
        });
    });
}

#[test]
fn the_moving_average_meets_pytorchs() {
    with_gpus(|gpus| {
        cases(FILE, "average", 1, |golden, name, sizes| {
            let floats = |key: &str| golden.floats(&format!("{name}.{key}"));
            let (op, len) = (Average { decay: floats("hyper")[0] }, sizes[0]);
            let (mut wide, mut narrow) = (zeros(len), vec![0.0f32; len]);
            let whole = |values: &[f32]| [values, &vec![0.0; len.next_multiple_of(4) - len]].concat();
            let on_gpus: Vec<_> = gpus.iter().map(|gpu| (gpu, gpu.tensor(&whole(&vec![0.0; len])))).collect();
            let (params, averages) = (floats("params"), floats("averages"));
            for (step, (now, want)) in (0..).zip(params.chunks_exact(len).zip(averages.chunks_exact(len))) {
                let name = format!("{name}, step {step}");
                let want = f64s(want);
                let check = Check { name: name.clone(), magnitude: vec![1.0; len], want, terms: 2 + step as usize };
                average::cpu::update(&op, step, &f64s(now), &mut wide);
                check.compare_f64(&wide);
                average::cpu::update(&op, step, now, &mut narrow);
                check.compare("CPU", &narrow);
                for (gpu, average) in &on_gpus {
                    let batch = Batch { step, ..Batch::default() };
                    gpu.run_batch(&name, &batch, |planner| op.plan(planner, &gpu.tensor(&whole(now)), average));
                    check.compare(&gpu.name, &gpu.read(average)[..len]);
                }
            }
        });
    });
}

const NET: &str = "conv 6 3 padding 1, bn, relu, conv 8 3 stride 2 padding 1, bn, leaky 0.1, avgpool 2, conv 8 3, bn, \
                   globalpool, flatten, linear 5";
const STEPS: usize = 10;
const BATCH: usize = 6;
const PIXELS: usize = 2 * 12 * 12;

/// make.py's batches, with the first as the test images.
///
/// The library takes one channel or three; the images are made of two planes here, which the engines do not mind.
fn data() -> Dataset {
    let pixels: Vec<u8> =
        (0..(STEPS * BATCH * PIXELS) as u32).map(|i| (hash(i.wrapping_add(hash(4000))) >> 24) as u8).collect();
    let labels: Vec<u16> = (0..STEPS * BATCH).map(|i| (i % BATCH % 5) as u16).collect();
    let test = Images { pixels: pixels[..BATCH * PIXELS].to_vec(), labels: labels[..BATCH].to_vec() };
    let classes = (0..5).map(|class| class.to_string()).collect();
    Dataset { shape: [2, 12, 12], classes, train: Images { pixels, labels }, test }
}

/// How far a number may be from PyTorch's, in roundings of its tensor's largest. Normalisation makes more of a rounding
/// than the default net does, and each of the ten steps begins with what the one before left. Not derived, as
/// `net.rs` derives its own: PyTorch's own float32 run of these steps uses 125 of it.
const ROUNDINGS: f64 = 400.0;

fn check(what: &str, got: &[f32], want: &[f32]) {
    assert_eq!(got.len(), want.len(), "{what}");
    let largest = want.iter().fold(0.0, |most, want| f64::max(most, want.abs().into()));
    for (i, (&got, &want)) in got.iter().zip(want).enumerate() {
        let used = (f64::from(got) - f64::from(want)).abs() / (EPS * largest);
        assert!(used <= ROUNDINGS, "{what}: element {i} is {got:e}, PyTorch has {want:e}: {used:.0} roundings");
    }
}

fn check_net(engine: &mut Any, model: &Model, golden: &Golden) {
    let what = engine.name.clone();
    let of = |role: Role, prefix: &str| {
        let mut arena = vec![0.0; role.len(model)];
        for tensor in role.tensors(model) {
            arena[tensor.range.clone()].copy_from_slice(&golden.floats(&format!("net.{prefix}.{}", tensor.name)));
        }
        (role, arena)
    };
    let buffers = (Role::Buffers, model.init_buffers());
    engine.set_state(&State { arenas: vec![of(Role::Parameters, "start"), buffers] }).expect("the state is set");
    engine.learning_rate = 0.05;
    let order = Vec::from_iter(0..(STEPS * BATCH) as u32);
    let mut losses = engine.train(&order[..BATCH], 0, 1);
    let gradients = engine.gradients();
    for p in model.parameters() {
        // The gradient of a bias before a normalisation is 0, but for roundings: those of what is summed for it.
        let want = golden.floats(&format!("net.grad.{}", p.name));
        if ["0.bias", "3.bias", "7.bias"].contains(&p.name.as_str()) {
            assert!(gradients[p.range.clone()].iter().all(|d| d.abs() < 1e-5), "{what}: {}", p.name);
            continue;
        }
        check(&format!("{what}, gradient of {}", p.name), &gradients[p.range.clone()], &want);
    }
    losses.extend(engine.train(&order[BATCH..], 1, 4));
    let losses: Vec<f32> = losses.iter().map(|batch| batch.loss_sum / BATCH as f32).collect();
    check(&format!("{what}, loss"), &losses, &golden.floats("net.loss"));
    let state = engine.now();
    for (role, prefix) in [(Role::Parameters, "param"), (Role::Buffers, "buffer")] {
        for tensor in role.tensors(model) {
            let got = &state.get(role).expect("the arena is there")[tensor.range.clone()];
            check(&format!("{what}, {}", tensor.name), got, &golden.floats(&format!("net.{prefix}.{}", tensor.name)));
        }
    }
    engine.evaluate(Set::Test, &Vec::from_iter(0..BATCH as u32));
    let logits = engine.wait(Any::logits).expect("the logits arrive");
    check(&format!("{what}, logits of an evaluation"), &logits, &golden.floats("net.logits"));
}

#[test]
fn ten_steps_of_a_net_with_every_layer_meet_pytorch() {
    let (golden, data) = (Golden::read(FILE), data());
    let model = Model::new(data.shape, layers::parse(NET, 5).expect("it is a network"), 5).expect("its layers fit");
    let contexts = contexts(&BOTH);
    for fuse in [true, false] {
        let settings = Settings { batch_size: BATCH, fuse, ..Settings::default() };
        check_net(&mut Any::cpu(&model, &data, settings), &model, &golden);
        for context in &contexts {
            check_net(&mut Any::gpu(context, &model, &data, settings), &model, &golden);
        }
    }
}
