//! What is exported as ONNX computes the same logits in a runtime that is not ours. (`tests/golden/check_onnx.py` asks
//! onnxruntime.)

mod common;

use common::{EPS, hash};
use mnist_wgpu::checkpoint::{Info, NORMALISATION};
use mnist_wgpu::data::{Dataset, Images, digits};
use mnist_wgpu::engine::{CpuEngine, Engine, Pass, Set, Settings};
use mnist_wgpu::model::Model;
use mnist_wgpu::onnx;
use mnist_wgpu::ops::{Layer, conv2d, dropout, linear, maxpool2d};
use mnist_wgpu::state::State;
use rten::{Dimension, Value};

/// As `tests/golden/net.rs` allows, and explains, for whole training steps of nets of this depth.
const ROUNDINGS: f64 = 48.0;

const CLASSES: usize = 10;

fn pixels(len: usize) -> Vec<u8> {
    (0..len as u32).map(|i| hash(i) as u8).collect()
}

/// The logits of the CPU path.
fn ours(model: &Model, state: &State, n: usize, pixels: &[u8]) -> Vec<f32> {
    let test = Images { pixels: pixels.to_vec(), labels: vec![0; n] };
    let shape = model.shapes()[0].0.clone().try_into().expect("an image");
    let data = Dataset { shape, classes: digits(), train: Images::default(), test };
    let settings = Settings { batch_size: n, ..Settings::default() };
    let mut engine = CpuEngine::new(model, &data, settings).expect("the engine is made");
    engine.set_state(state).expect("the state is set");
    engine.begin(&Pass::evaluate(Set::Test, &Vec::from_iter(0..n as u32))).expect("it begins");
    engine.submit(0..1).expect("it runs");
    pollster::block_on(engine.logits()).expect("the logits arrive")
}

/// Those of rten, an ONNX runtime in Rust.
fn theirs(onnx: &rten::Model, model: &Model, n: usize, pixels: &[u8]) -> Vec<f32> {
    let shape = [&[n][..], &model.shapes()[0].0].concat();
    let image = pixels.iter().map(|&pixel| f32::from(pixel) / 255.0).collect();
    let image = Value::from_shape(shape, image).expect("as many pixels as the shape has");
    let logits = onnx.run_one(image.into(), None).expect("it runs");
    let (shape, logits) = logits.into_shape_vec::<f32, 2>().expect("two dimensions");
    assert_eq!(shape, [n, CLASSES]);
    logits
}

fn check(input: [usize; 3], layers: Vec<Layer>) {
    let model = Model::new(input, layers, CLASSES).expect("a network");
    let state = State::new(&model, 5);
    let exported = onnx::export(&model, &state, None);
    let onnx = rten::Model::load(exported).unwrap_or_else(|e| panic!("{:?}: {e}", model.layers()));
    for n in [1, 3] {
        let pixels = pixels(n * model.shapes()[0].len());
        let (want, got) = (ours(&model, &state, n, &pixels), theirs(&onnx, &model, n, &pixels));
        let largest = want.iter().fold(0.0, |most, logit| f64::max(most, logit.abs().into()));
        for (i, (&got, &want)) in got.iter().zip(&want).enumerate() {
            let used = (f64::from(got) - f64::from(want)).abs() / (EPS * largest);
            // Written so that a NaN fails.
            assert!(used <= ROUNDINGS, "{:?}, batch {n}, logit {i}: {got}, ours {want}: {used} roundings", model.layers());
        }
    }
}

fn conv(out: usize, kernel: usize, padding: usize) -> Layer {
    conv2d::Settings { out, kernel, padding, stride: 1 }.into()
}

#[test]
fn another_runtime_computes_our_logits_from_any_stack_of_layers() {
    let (pool, linear) = (|size| Layer::from(maxpool2d::Settings { size }), |out| Layer::from(linear::Settings { out }));
    let dropout = || Layer::from(dropout::Settings { p: 0.5 });
    check([1, 28, 28], Model::classic_layers(CLASSES, 0.5));
    check([1, 28, 28], vec![Layer::Flatten, linear(10)]);
    // Windows and kernels that leave rows and columns over, on images that are not square; dropout everywhere, and
    // last.
    let mut layers = vec![dropout(), conv(4, 5, 2), Layer::Relu, pool(3), dropout(), conv(3, 2, 1), pool(2), Layer::Relu];
    layers.extend([Layer::Flatten, linear(17), Layer::Relu, linear(10), dropout()]);
    check([3, 13, 17], layers);
    // No parameters at all, and an output that is no linear layer's.
    check([10, 2, 3], vec![pool(2), Layer::Flatten]);
}

#[test]
fn the_model_says_what_it_takes_and_where_it_comes_from() {
    let model = Model::classic([1, 28, 28], CLASSES, 0.5).expect("the classic network");
    let info = Info {
        input: [1, 28, 28],
        layers: model.layers().to_vec(),
        classes: digits(),
        normalisation: NORMALISATION.into(),
        dataset: "synthetic".into(),
        epoch: 3,
        seed: 7,
        val_fraction: 0.1,
        version: "0".into(),
    };
    let onnx = rten::Model::load(onnx::export(&model, &State::new(&model, 0), Some(&info))).expect("it loads");
    let shape = |name| onnx.node_info(onnx.node_id(name).expect("it is there")).and_then(|node| node.shape());
    let any = || Dimension::Symbolic("N".into());
    let fixed = Dimension::Fixed;
    assert_eq!(shape("image"), Some(vec![any(), fixed(1), fixed(28), fixed(28)]));
    assert_eq!(shape("logits"), Some(vec![any(), fixed(10)]));
    let metadata = onnx.metadata();
    assert_eq!(metadata.producer_name(), Some("mnist-wgpu"));
    let told = ["classes", "dataset", "epochs", "seed"].map(|key| metadata.get(key));
    let classes = r#"["0","1","2","3","4","5","6","7","8","9"]"#;
    assert_eq!(told, [Some(classes), Some("synthetic"), Some("3"), Some("7")]);
}
