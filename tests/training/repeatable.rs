//! The same seed gives the same bits.

use crate::common::engines::{Any, bits};
use crate::common::{BOTH, EPS, contexts};
use crate::{first, images, net};
use mnist_wgpu::data::epoch_order;
use mnist_wgpu::engine::{Engine, Pass, Set, Settings};
use mnist_wgpu::metrics::BatchMetrics;
use mnist_wgpu::state::{Role, State};

/// Not a multiple of the samples that a task of the CPU path takes, nor of a workgroup.
const BATCH: usize = 10;
const STEPS: usize = 8;

/// What a run leaves behind, as bits.
#[derive(Clone, Debug, PartialEq)]
struct Trace {
    losses: Vec<(u32, u32)>,
    parameters: Vec<u32>,
    velocity: Vec<u32>,
}

fn trace(metrics: &[BatchMetrics], state: &State) -> Trace {
    let losses = metrics.iter().map(|batch| (batch.loss_sum.to_bits(), batch.correct)).collect();
    let velocity = state.get(Role::Slot("velocity")).expect("SGD keeps it");
    Trace { losses, parameters: bits(state.parameters()), velocity: bits(velocity) }
}

/// Initialises, shuffles and trains from `seed`, dropout and all.
fn train(engine: &mut Any, seed: u64, per_submit: usize) -> Trace {
    engine.start(&net(0.5).init(seed));
    let metrics = engine.train(&epoch_order(&first(STEPS * BATCH + 3), seed, 1), 0, per_submit);
    assert_eq!(metrics.len(), STEPS);
    trace(&metrics, &engine.now())
}

fn settings(seed: u64) -> Settings {
    Settings { batch_size: BATCH, seed, ..Settings::default() }
}

fn on_cpu(seed: u64) -> Trace {
    train(&mut Any::cpu(&net(0.5), images(), settings(seed)), seed, STEPS)
}

/// `assert_eq` would print a quarter of a million numbers.
fn assert_same(what: &str, a: &Trace, b: &Trace) {
    assert_eq!(a.losses, b.losses, "{what}: losses");
    for (part, a, b) in [("parameters", &a.parameters, &b.parameters), ("velocity", &a.velocity, &b.velocity)] {
        let differing = a.iter().zip(b).filter(|(a, b)| a != b).count();
        assert!(a.len() == b.len() && differing == 0, "{what}: {differing} of {} {part} differ", a.len());
    }
}

#[test]
fn the_same_seed_gives_the_same_bits_on_the_cpu() {
    let run = on_cpu(7);
    assert_same("a second run", &run, &on_cpu(7));
    assert_ne!(run.losses, on_cpu(8).losses, "another seed is another run");
}

#[test]
fn the_same_seed_gives_the_same_bits_on_every_gpu() {
    for context in &contexts(&BOTH) {
        let run = |seed| train(&mut Any::gpu(context, &net(0.5), images(), settings(seed)), seed, STEPS);
        let what = format!("a second run on {}", context.info.name);
        let first = run(7);
        assert_same(&what, &first, &run(7));
        assert_ne!(first.losses, run(8).losses, "another seed is another run");
    }
}

/// The seed of the settings alone: it keys dropout, and nothing else here.
#[test]
fn the_seed_and_the_step_draw_the_dropout_masks() {
    let mut runs = Vec::new();
    for (seed, first_step) in [(7, 0), (8, 0), (7 + (1 << 32), 0), (7, 1)] {
        let mut engine = Any::cpu(&net(0.5), images(), settings(seed));
        engine.start(&net(0.5).init(7));
        runs.push(engine.train(&first(BATCH), first_step, 1)[0].loss_sum.to_bits());
    }
    let distinct: std::collections::HashSet<_> = runs.iter().collect();
    assert_eq!(distinct.len(), runs.len(), "two runs drew the same mask: {runs:?}");
}

#[test]
fn the_number_of_threads_does_not_change_a_bit_on_the_cpu() {
    let with_threads = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
        pool.install(|| on_cpu(7))
    };
    let one = with_threads(1);
    for threads in [2, 3] {
        assert_same(&format!("{threads} threads"), &one, &with_threads(threads));
    }
}

#[test]
fn batches_per_submit_do_not_change_a_bit() {
    let model = net(0.5);
    let check = |mut engine: Any| {
        let all = train(&mut engine, 7, STEPS);
        for per_submit in [1, 3] {
            let what = format!("{}: {per_submit} batches per submit", engine.name);
            assert_same(&what, &all, &train(&mut engine, 7, per_submit));
        }
    };
    check(Any::cpu(&model, images(), settings(7)));
    contexts(&BOTH[1..]).iter().for_each(|context| check(Any::gpu(context, &model, images(), settings(7))));
}

/// Two steps of a pass, each at a rate of its own, are what two passes of a step each are at these rates.
fn each_batch_brings_its_rate(mut engine: Any) {
    let order = first(2 * BATCH);
    let rate = |batch: usize| [0.5, 0.03125][batch];
    engine.start(&net(0.5).init(7));
    engine.begin(&Pass::train(&order, 0, &rate)).expect("training begins");
    let metrics = engine.run(0..2, 2);
    let together = trace(&metrics, &engine.now());

    engine.start(&net(0.5).init(7));
    let mut metrics = Vec::new();
    for batch in 0..2 {
        engine.learning_rate = rate(batch);
        metrics.extend(engine.train(&order[batch * BATCH..][..BATCH], batch as u32, 1));
    }
    let apart = trace(&metrics, &engine.now());
    assert_same(&engine.name, &together, &apart);
    engine.start(&net(0.5).init(7));
    let metrics = engine.train(&order, 0, 2);
    assert_ne!(trace(&metrics, &engine.now()), together, "{}: the rate changes nothing", engine.name);
}

#[test]
fn the_learning_rate_comes_with_each_batch() {
    let model = net(0.5);
    each_batch_brings_its_rate(Any::cpu(&model, images(), settings(7)));
    for context in &contexts(&BOTH[1..]) {
        each_batch_brings_its_rate(Any::gpu(context, &model, images(), settings(7)));
    }
}

/// Training goes on from a state that was read and set again, on another engine, as if it had not stopped: what a
/// checkpoint relies on. An evaluation in between leaves no trace.
fn goes_on<'a>(make: impl Fn() -> Any<'a>) {
    let parameters = net(0.5).init(7);
    let order = first(STEPS * BATCH);
    let half = STEPS / 2;
    let mut unbroken = make();
    unbroken.start(&parameters);
    let metrics = unbroken.train(&order, 0, 4);

    let mut before = make();
    before.start(&parameters);
    let mut broken = before.train(&order[..half * BATCH], 0, 4);
    before.evaluate(Set::Test, &first(33));
    let state = before.now();
    let mut after = make();
    after.set_state(&state).expect("the state is set");
    broken.extend(after.train(&order[half * BATCH..], half as u32, 4));
    let (unbroken, broken) = (trace(&metrics, &unbroken.now()), trace(&broken, &after.now()));
    assert_same(&after.name, &unbroken, &broken);
}

#[test]
fn a_run_that_is_taken_up_again_gives_the_same_bits() {
    let model = net(0.5);
    goes_on(|| Any::cpu(&model, images(), settings(7)));
    contexts(&BOTH[1..]).iter().for_each(|context| goes_on(|| Any::gpu(context, &model, images(), settings(7))));
}

fn counts_every_image<'a>(make: impl Fn(Settings) -> Any<'a>) {
    const IMAGES: usize = 33;
    let mut results: Vec<(usize, f64, u32)> = Vec::new();
    for batch_size in [1, 7, 32, IMAGES, 100] {
        let mut engine = make(Settings { batch_size, ..Settings::default() });
        engine.start(&net(0.5).init(3));
        let metrics = engine.evaluate(Set::Test, &first(IMAGES));
        let counts: Vec<usize> = metrics.iter().map(|batch| batch.count as usize).collect();
        let want: Vec<usize> = first(IMAGES).chunks(batch_size).map(<[u32]>::len).collect();
        assert_eq!(counts, want, "{}, batches of {batch_size}", engine.name);

        let loss = metrics.iter().map(|batch| f64::from(batch.loss_sum)).sum();
        let correct = metrics.iter().map(|batch| batch.correct).sum();
        results.push((batch_size, loss, correct));
        // 33 losses added in another order; each of them computed in other blocks, for which the golden tests allow 48
        // roundings.
        let bound = (2.0 * IMAGES as f64 + 48.0) * EPS * results[0].1;
        let near = (loss - results[0].1).abs() <= bound && correct == results[0].2;
        assert!(near, "{}: batch size, loss, correct: {results:?}, allowed {bound:e}", engine.name);
    }
}

#[test]
fn an_evaluation_counts_every_image_whatever_the_batch_size() {
    let model = net(0.5);
    counts_every_image(|settings| Any::cpu(&model, images(), settings));
    for context in &contexts(&BOTH[1..]) {
        counts_every_image(|settings| Any::gpu(context, &model, images(), settings));
    }
}
