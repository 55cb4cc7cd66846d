//! Ten training steps of the default net.

use crate::Golden;
use crate::common::engines::{Any, dataset, pick};
use crate::common::{BOTH, EPS, contexts, f64s, hash, uniform};
use mnist_wgpu::data::{Dataset, Images};
use mnist_wgpu::engine::{Set, Settings};
use mnist_wgpu::model::{Model, Parameter};
use mnist_wgpu::ops::Init;

const STEPS: usize = 10;
const BATCH: usize = 8;
const PIXELS: usize = 28 * 28;
/// make.py's `SEED`, which keys the masks.
const SEED: u64 = 0x98_0000_0098;

/// How far a number may be from PyTorch's, in roundings (EPS) of the largest number of its tensor.
///
/// Where a sum of n terms of mixed sign has size s, its terms have size s / sqrt(n), its partial sums grow like s
/// sqrt(k / n), and each rounds by EPS of itself. Roundings being as good as independent, the sum ends up off by `EPS s
/// sqrt(sum_k k / n) = EPS s sqrt(n / 2)`: 28 EPS for the longest sums of the net, over the 1600 inputs of the first
/// linear layer and the about 1352 windows that a first convolution's gradient adds up. The other seven sums between an
/// image and a gradient are short beside that (12 EPS for the second convolution, 8 and less for the rest), and errors
/// that are passed on add as squares: 28^2 + 28^2 + 4 * 12^2 + 3 * 8^2 is 48^2. An element may be unlucky, but blocked
/// sums and the fused multiply-add make fewer roundings than this counts.
///
/// PyTorch's own float32 run needs about a tenth of this.
const ROUNDINGS: f64 = 48.0;

/// Compares a tensor, and tells how much of the bound the worst element used.
fn compare(what: &str, got: &[f64], want: &[f32]) -> Result<f64, String> {
    if got.len() != want.len() {
        return Err(format!("{what}: {} elements, PyTorch has {}", got.len(), want.len()));
    }
    let largest = want.iter().fold(0.0, |most, want| f64::max(most, want.abs().into()));
    let errors = got.iter().zip(want).map(|(got, &want)| (got - f64::from(want)).abs());
    // A NaN counts as the largest of all.
    let worst = errors.enumerate().max_by(|a, b| a.1.total_cmp(&b.1));
    let (at, error) = worst.ok_or_else(|| format!("{what}: no elements"))?;
    let used = error / (EPS * largest);
    if !(used <= ROUNDINGS) {
        let (got, want) = (got[at], want[at]);
        return Err(format!(
            "{what}: element {at} is {got:e}, PyTorch has {want:e}: off by {used:.1} roundings of {largest:e}, allowed {ROUNDINGS}"
        ));
    }
    Ok(used)
}

fn check(what: &str, got: &[f64], want: &[f32]) {
    match compare(what, got, want) {
        Ok(used) => println!("{what}: used {used:.1} of {ROUNDINGS} roundings"), // shown with --nocapture, or beside a failure
        Err(e) => panic!("{e}"),
    }
}

/// make.py's `batch`, for all steps in order.
fn images() -> Images {
    let mut images = Images::default();
    for step in 0..STEPS as u32 {
        let draw = |stream: u32, i: usize| hash((i as u32).wrapping_add(hash(stream)));
        images.pixels.extend((0..BATCH * PIXELS).map(|i| {
            let (row, column, h) = (i % PIXELS / 28, i % 28, draw(100 + step, i));
            if (row < 6 && column < 6) || h & 3 == 0 { 0 } else { (h >> 24) as u8 }
        }));
        images.labels.extend((0..BATCH).map(|i| (draw(200 + step, i) % 10) as u16));
    }
    images
}

fn fan_in(parameter: &Parameter) -> usize {
    let Init::Uniform { fan_in } = parameter.init else { panic!("{} is drawn", parameter.name) };
    fan_in
}

/// make.py's `default_net`: parameter t is drawn from stream t.
fn parameters(model: &Model) -> Vec<f32> {
    let mut arena = vec![0.0; model.arena_len()];
    for (t, parameter) in model.parameters().iter().enumerate() {
        let bound = (1.0 / (fan_in(parameter) as f64).sqrt()) as f32;
        for (i, value) in arena[parameter.range.clone()].iter_mut().enumerate() {
            *value = (2.0 * uniform(t as u32, i as u32) - 1.0) * bound;
        }
    }
    arena
}

/// Compares a parameter, or its gradient, in the form in which make.py's `put_parameter` stores it.
fn check_parameter(what: &str, golden: &Golden, key: &str, got: &[f32]) {
    if !key.ends_with("7.weight") {
        return check(&format!("{what}, {key}"), &f64s(got), &golden.floats(key));
    }
    let inputs = 1600;
    let every7: Vec<f64> = got.iter().step_by(7).map(|&x| x.into()).collect();
    let rows: Vec<f64> = got.chunks_exact(inputs).map(|row| f64s(row).iter().sum()).collect();
    let column = |k: usize| got[k..].iter().step_by(inputs).map(|&x| f64::from(x)).sum();
    let cols: Vec<f64> = (0..inputs).map(column).collect();
    for (form, got) in [("every7", every7), ("rows", rows), ("cols", cols)] {
        let key = format!("{key}.{form}");
        check(&format!("{what}, {key}"), &got, &golden.floats(&key));
    }
}

/// Ten steps of `engine`, everything it computed in the first, and an evaluation before the first.
fn check_engine(engine: &mut Any, model: &Model, golden: &Golden, plain: &Golden, data: &Dataset) {
    let what = engine.name.clone();
    engine.start(&parameters(model));

    // Without dropout, so that the first batch's loss is that of the plain net.
    let tested = engine.evaluate(Set::Test, &Vec::from_iter(0..data.test.len() as u32));
    let loss = tested[0].loss_sum / BATCH as f32;
    check(&format!("{what}, loss of the test images"), &f64s(&[loss]), &plain.floats("loss")[..1]);

    let order = Vec::from_iter(0..data.train.len() as u32);
    let mut losses = engine.train(&order[..BATCH], 0, 1);
    for (index, layers) in engine.stages().into_iter().enumerate() {
        let layer = layers.end - 1;
        let len = model.shapes()[layers.end].len();
        let want = golden.floats(&format!("act.{layer}"));
        let got = engine.output(index);
        let images = if [0, 1, 3, 4].contains(&layer) { 1 } else { BATCH };
        assert_eq!((got.len(), want.len()), (BATCH * len, images * len), "act.{layer}");
        check(&format!("{what}, act.{layer}"), &f64s(&got[..want.len()]), &want);
    }
    let gradients = engine.gradients();
    for p in model.parameters() {
        check_parameter(&what, golden, &format!("grad.{}", p.name), &gradients[p.range.clone()]);
    }

    losses.extend(engine.train(&order[BATCH..], 1, 4));
    assert!(losses.iter().all(|batch| batch.count == BATCH as u32 && batch.non_finite == 0), "{what}: {losses:?}");
    let losses: Vec<f64> = losses.iter().map(|batch| f64::from(batch.loss_sum) / BATCH as f64).collect();
    check(&format!("{what}, loss"), &losses, &golden.floats("loss"));
    let state = engine.now();
    for p in model.parameters() {
        check_parameter(&what, golden, &format!("param.{}", p.name), &state.parameters()[p.range.clone()]);
    }
}

/// The variant of the net that `name`.safetensors holds, on the engines that `each` makes.
fn check_variant(name: &str, dropout: f32, each: impl Fn(&Model, &Dataset, Settings, &dyn Fn(Any))) {
    let (golden, plain) = (Golden::read(&format!("{name}.safetensors")), Golden::read("plain.safetensors"));
    let model = Model::classic([1, 28, 28], 10, dropout).expect("the default net");
    assert_eq!(Vec::from_iter(model.parameters().iter().map(fan_in)), [9, 9, 288, 288, 1600, 1600, 128, 128]);
    let train = images();
    let data = dataset(train.clone(), pick(&train, 0..2 * BATCH + 3));
    let settings = Settings { batch_size: BATCH, seed: SEED, ..Settings::default() };
    each(&model, &data, settings, &|mut engine| check_engine(&mut engine, &model, &golden, &plain, &data));
}

fn on_cpu(name: &str, dropout: f32) {
    check_variant(name, dropout, |model, data, settings, check| {
        for fuse in [true, false] {
            check(Any::cpu(model, data, Settings { fuse, ..settings }));
        }
    });
}

fn on_every_gpu(name: &str, dropout: f32) {
    let contexts = contexts(&BOTH);
    check_variant(name, dropout, |model, data, settings, check| {
        for (context, fuse) in contexts.iter().flat_map(|context| [(context, true), (context, false)]) {
            check(Any::gpu(context, model, data, Settings { fuse, ..settings }));
        }
    });
}

#[test]
fn cpu_meets_pytorch_without_dropout() {
    on_cpu("plain", 0.0);
}

#[test]
fn cpu_meets_pytorch_with_dropout() {
    on_cpu("masked", 0.5);
}

#[test]
fn every_gpu_meets_pytorch_without_dropout() {
    on_every_gpu("plain", 0.0);
}

#[test]
fn every_gpu_meets_pytorch_with_dropout() {
    on_every_gpu("masked", 0.5);
}

/// The comparison itself: just within the bound, just over it, NaN, the wrong sign, a wrong length.
#[test]
fn compare_refuses_wrong_numbers() {
    let refuses = |got: &[f64]| compare("got", got, &[1.0, -4.0]).is_err();
    let allowed = ROUNDINGS * EPS * 4.0;
    assert!(!refuses(&[1.0 + 0.9 * allowed, -4.0]));
    assert!(refuses(&[1.0 + 1.1 * allowed, -4.0]) && refuses(&[1.0, -4.0 - 1.1 * allowed]));
    assert!(refuses(&[f64::NAN, -4.0]) && refuses(&[1.0, f64::NAN]) && refuses(&[1.0, 4.0]) && refuses(&[1.0]));
}
