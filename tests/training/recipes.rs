//! What a recipe asks of an engine: frozen layers, the moving average, images that move, AdamW; on every path.

use crate::common::engines::{Any, bits};
use crate::common::{BOTH, EPS, contexts};
use crate::{first, images};
use mnist_wgpu::engine::{Engine, Set, Settings};
use mnist_wgpu::layers;
use mnist_wgpu::model::Model;
use mnist_wgpu::ops::augment::Amounts;
use mnist_wgpu::ops::{adamw::AdamW, optimizer::Optimizer};
use mnist_wgpu::state::{Role, State};

const BATCH: usize = 12;
const STEPS: usize = 3;

/// Frozen layers end behind the second normalisation, the dropout, or nowhere.
const NET: &str =
    "conv 8 3 stride 2, bn, relu, conv 8 3, bn, leaky, pool 2, dropout 0.25, linear 16, relu, dropout 0.5, linear";

fn model() -> Model {
    Model::new([1, 28, 28], layers::parse(NET, 10).unwrap(), 10).unwrap()
}

fn settings() -> Settings {
    let optimizer = Optimizer::AdamW(AdamW { weight_decay: 0.05, ..AdamW::default() });
    Settings { batch_size: BATCH, seed: 5, optimizer, smoothing: 0.1, ..Settings::default() }
}

/// Runs `test` on the CPU and on every GPU, with fused layers and without.
fn on_every_engine(settings: Settings, test: impl Fn(&mut Any, &Model)) {
    let (model, contexts) = (model(), contexts(&BOTH[..1]));
    for fuse in [true, false] {
        let settings = Settings { fuse, ..settings };
        test(&mut Any::cpu(&model, images(), settings), &model);
        contexts.iter().for_each(|context| test(&mut Any::gpu(context, &model, images(), settings), &model));
    }
}

fn train(engine: &mut Any, model: &Model, steps: usize) -> State {
    engine.set_state(&State::new(model, 5)).unwrap();
    let metrics = engine.train(&first(steps * BATCH), 0, 2);
    assert!(metrics.iter().all(|batch| batch.loss_sum.is_finite()), "{}: {metrics:?}", engine.name);
    engine.now()
}

#[test]
fn frozen_layers_stay_as_they_were_to_the_bit_and_the_others_learn() {
    for freeze in [0, 2, 5, 9, 12] {
        on_every_engine(Settings { freeze, ..settings() }, |engine, model| {
            let (start, end) = (State::new(model, 5), train(engine, model, STEPS));
            for role in [Role::Parameters, Role::Buffers] {
                for tensor in role.tensors(model) {
                    let of = |state: &State| bits(&state.get(role).unwrap()[tensor.range.clone()]);
                    let (frozen, name) = (tensor.layer < freeze, &tensor.name);
                    assert_eq!(of(&end) == of(&start), frozen, "{}: {name}, frozen: {freeze} layers", engine.name);
                }
            }
        });
    }
}

/// Training on from frozen layers is training on what they put out.
#[test]
fn frozen_layers_act_as_in_an_evaluation() {
    on_every_engine(Settings { freeze: 9, ..settings() }, |engine, model| {
        train(engine, model, 1);
        engine.set_state(&State::new(model, 5)).unwrap();
        engine.train(&first(BATCH), 0, 1);
        let stage = engine.stages().iter().position(|layers| layers.end == 7).expect("the pooling ends a stage");
        let trained_on = engine.output(stage);
        engine.set_state(&State::new(model, 5)).unwrap();
        engine.evaluate(Set::Train, &first(BATCH));
        assert_eq!(bits(&engine.output(stage)), bits(&trained_on), "{}", engine.name);
    });
}

#[test]
fn an_evaluation_goes_by_the_average_of_the_weights() {
    let losses = |engine: &mut Any| -> Vec<u32> {
        engine.evaluate(Set::Test, &first(40)).iter().map(|batch| batch.loss_sum.to_bits()).collect()
    };
    on_every_engine(Settings { average: Some(0.75), ..settings() }, |engine, model| {
        // A state that has no average: it is its own.
        engine.set_state(&State::new(model, 5)).unwrap();
        let of_start = losses(engine);
        let one = train(engine, model, 1);
        for (role, average) in [(Role::Parameters, Role::Average), (Role::Buffers, Role::AverageBuffers)] {
            assert_eq!(bits(one.get(average).unwrap()), bits(one.get(role).unwrap()), "after the first step");
        }
        let end = train(engine, model, STEPS);
        let of_average = losses(engine);
        assert!(end.get(Role::Average) != end.get(Role::Parameters) && of_average != of_start);
        // What is kept of the run is that network.
        let kept = end.network();
        assert_eq!(kept.get(Role::Average), None);
        engine.set_state(&kept).unwrap();
        assert_eq!(losses(engine), of_average, "{}", engine.name);
        engine.set_state(&State { arenas: end.arenas.into_iter().take(2).collect() }).unwrap();
        assert_ne!(losses(engine), of_average, "the weights without it");
    });
}

/// The same images in training and in an evaluation but for what moves them, which both paths draw alike.
#[test]
fn images_move_in_training_only_each_step_otherwise_and_alike_on_every_path() {
    let still = |engine: &mut Any, model: &Model| {
        engine.set_state(&State::new(model, 5)).unwrap();
        let evaluated = engine.evaluate(Set::Train, &first(BATCH))[0].loss_sum;
        let seen = |engine: &mut Any, step| {
            engine.set_state(&State::new(model, 5)).unwrap();
            engine.train(&first(BATCH), step, 1)[0].loss_sum
        };
        (evaluated, seen(engine, 0), seen(engine, 1), seen(engine, 0))
    };
    // Nothing else that draws, so that the losses can be compared.
    let text = "conv 8 3 stride 2, relu, pool 2, linear";
    let model = Model::new([1, 28, 28], layers::parse(text, 10).unwrap(), 10).unwrap();
    let settings = Settings { augment: Some(Amounts::USUAL), smoothing: 0.0, ..settings() };
    let want = still(&mut Any::cpu(&model, images(), settings), &model);
    let (evaluated, first_step, second_step, again) = want;
    assert!(evaluated != first_step && first_step != second_step && first_step.to_bits() == again.to_bits(), "{want:?}");
    for context in contexts(&BOTH[..1]) {
        let got = still(&mut Any::gpu(&context, &model, images(), settings), &model);
        // A pixel differs by a few roundings of the sides, a loss by those of all that is summed for it.
        let near = |got: f32, want: f32| (f64::from(got) - f64::from(want)).abs() <= 4096.0 * EPS * f64::from(want);
        assert!(near(got.0, want.0) && near(got.1, want.1) && near(got.2, want.2), "{got:?}, the CPU has {want:?}");
    }
    let none = Settings { augment: None, ..settings };
    let (evaluated, trained, ..) = still(&mut Any::cpu(&model, images(), none), &model);
    assert_eq!(evaluated.to_bits(), trained.to_bits(), "without augmentation they are the same");
}
