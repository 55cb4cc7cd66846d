//! What an engine is given wrong is refused in words, by both in the same, before a kernel sees it.

use crate::common::{BOTH, contexts};
use crate::{digits, first, net};
use mnist_wgpu::data::Dataset;
use mnist_wgpu::engine::{CpuEngine, Engine, EngineError, GpuEngine, Pass, Set, Settings};
use mnist_wgpu::model::Model;
use mnist_wgpu::state::{Role, State};

/// The error's text, after checking that it holds every one of `parts`.
fn refused<T>(result: Result<T, EngineError>, parts: &[&str]) {
    let error = result.err().expect("it was accepted").to_string();
    for part in parts {
        assert!(error.contains(part), "{part:?} is not in {error:?}");
    }
}

/// Each makes an engine.
fn refuses_data<E: Engine>(make: impl Fn(&Model, &'static Dataset) -> Result<E, EngineError>) {
    let of = |change: &dyn Fn(&mut Dataset)| -> &'static Dataset {
        let mut data = digits(40, 8);
        change(&mut data);
        Box::leak(Box::new(data)) // a few kilobytes, for as long as the test runs
    };
    let model = net(0.5);
    refused(make(&model, of(&|data| data.shape = [1, 14, 56])), &["images", "(1, 28, 28)", "[1, 14, 56]"]);
    refused(make(&model, of(&|data| data.test.labels[7] = 10)), &["a label", "below 10", "found 10"]);
    refused(make(&model, of(&|data| data.train.pixels.truncate(31_359))), &["images", "31360 bytes", "found 31359"]);
    assert!(make(&model, of(&|_| ())).is_ok());
}

fn refuses_passes_and_states(mut engine: impl Engine) {
    refused(engine.begin(&Pass::evaluate(Set::Test, &[0, 8])), &["a sample in an order", "below 8", "found 8"]);
    refused(engine.begin(&Pass::evaluate(Set::Test, &[0; 41])), &["the length of an order", "below 41", "found 41"]);
    engine.begin(&Pass::evaluate(Set::Train, &first(40))).expect("it begins");
    refused(engine.submit(0..3), &["the end of a range of batches", "below 3", "found 3"]);

    let model = net(0.5);
    refused(engine.set_state(&State::from(vec![0.0; 7])), &["a state", "225152 elements of Parameters", "found 7"]);
    let mut state = State::new(&model, 0);
    state.arenas.push((Role::Slot("variance"), model.init(0)));
    refused(engine.set_state(&state), &["a state", "Slot(\"velocity\")", "found Slot(\"variance\")"]);
}

fn settings() -> Settings {
    Settings { batch_size: 20, ..Settings::default() }
}

#[test]
fn the_cpu_refuses_what_does_not_fit() {
    refuses_data(|model, data| CpuEngine::new(model, data, settings()));
    let data = digits(40, 8);
    refuses_passes_and_states(CpuEngine::new(&net(0.5), &data, settings()).expect("the engine is made"));
}

#[test]
fn every_gpu_refuses_what_does_not_fit() {
    for context in &contexts(&BOTH[1..]) {
        refuses_data(|model, data| GpuEngine::new(context, model, data, settings()));
        let data = digits(40, 8);
        refuses_passes_and_states(GpuEngine::new(context, &net(0.5), &data, settings()).expect("the engine is made"));
    }
}
