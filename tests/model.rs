//! The network's promises: PyTorch's shapes, names and initialisation, and a stack that cannot be built is an error
//! that says which layer and why.

use mnist_wgpu::engine::rewrite::{FUSE, rewrite};
use mnist_wgpu::gpu::tensor::ALIGNMENT;
use mnist_wgpu::model::{Model, ModelError, Stage};
use mnist_wgpu::ops::{Init, Layer, conv2d, dropout, linear, maxpool2d};

const INPUT: [usize; 3] = [1, 28, 28];

fn classic() -> Model {
    Model::classic(INPUT, 10, 0.5).unwrap()
}

fn conv(out: usize, kernel: usize, padding: usize) -> Layer {
    conv2d::Settings { out, kernel, padding, stride: 1 }.into()
}

fn pool(size: usize) -> Layer {
    maxpool2d::Settings { size }.into()
}

fn linear(out: usize) -> Layer {
    linear::Settings { out }.into()
}

fn dropout(p: f32) -> Layer {
    dropout::Settings { p }.into()
}

fn fan_in(parameter: &mnist_wgpu::model::Parameter) -> usize {
    match parameter.init {
        Init::Uniform { fan_in } => fan_in,
        Init::Constant(_) => panic!("{} is drawn", parameter.name),
    }
}

/// The ops of `model`, as the engines have them with and without fusing.
fn ops(model: &Model, fuse: bool) -> Vec<Stage> {
    let stages = model.stages(1);
    if fuse { rewrite(stages, FUSE) } else { stages }
}

/// The error's text, after checking that it holds every one of `parts`.
fn refused(input: [usize; 3], layers: &[Layer], parts: &[&str]) -> String {
    let error = match Model::new(input, layers.to_vec(), 10) {
        Ok(model) => panic!("{layers:?} was accepted, with shapes {:?}", model.shapes()),
        Err(error) => error.to_string(),
    };
    for part in parts {
        assert!(error.contains(part), "{part:?} is not in {error:?}");
    }
    error
}

#[test]
fn the_classic_network_has_pytorchs_shapes_names_and_225_034_parameters() {
    let model = classic();
    let shapes: Vec<_> = model.shapes().iter().map(|shape| shape.0.clone()).collect();
    let expected: [&[usize]; 11] = [
        &[1, 28, 28],
        &[32, 26, 26],
        &[32, 26, 26],
        &[32, 13, 13],
        &[64, 11, 11],
        &[64, 11, 11],
        &[64, 5, 5],
        &[1600],
        &[128],
        &[128],
        &[10],
    ];
    assert_eq!(shapes, expected);

    let parameters: Vec<_> = model.parameters().iter().map(|p| (p.name.as_str(), p.shape.clone(), fan_in(p))).collect();
    let expected = [
        ("0.weight", vec![32, 1, 3, 3], 9),
        ("0.bias", vec![32], 9),
        ("3.weight", vec![64, 32, 3, 3], 288),
        ("3.bias", vec![64], 288),
        ("7.weight", vec![128, 1600], 1600),
        ("7.bias", vec![128], 1600),
        ("9.weight", vec![10, 128], 128),
        ("9.bias", vec![10], 128),
    ];
    assert_eq!(parameters, expected);
    assert_eq!(model.parameter_count(), 225_034);
}

#[test]
fn padding_and_windows_that_do_not_divide_give_pytorchs_shapes() {
    let layers = vec![conv(5, 3, 1), conv(3, 5, 4), conv(2, 1, 0), pool(3), pool(1), Layer::Flatten, linear(10)];
    let model = Model::new([3, 7, 10], layers, 10).unwrap();
    let shapes: Vec<_> = model.shapes().iter().map(|shape| shape.to_string()).collect();
    assert_eq!(shapes, ["(3, 7, 10)", "(5, 7, 10)", "(3, 11, 14)", "(2, 11, 14)", "(2, 3, 4)", "(2, 3, 4)", "(24)", "(10)"]);
}

#[test]
fn a_layer_exactly_as_large_as_its_input_is_built() {
    for layer in [conv(1, 28, 0), pool(28)] {
        let model = Model::new(INPUT, vec![layer, Layer::Flatten, linear(10)], 10).unwrap();
        assert_eq!(model.shapes()[1].0, [1, 1, 1]);
    }
    // Padding counts: a kernel of 9 fits on 7 + 2.
    let model = Model::new([1, 7, 7], vec![conv(1, 9, 1), Layer::Flatten, linear(10)], 10).unwrap();
    assert_eq!(model.shapes()[1].0, [1, 1, 1]);
}

#[test]
fn an_impossible_stack_names_the_layer_what_it_got_and_what_it_needs() {
    let flat = [Layer::Flatten, linear(10)];
    let cases: &[(&[Layer], &[&str])] = &[
        (&[pool(7), conv(8, 5, 0)], &["layer 1, Conv2d(8, 5x5)", "(1, 4, 4)", "at least (1, 5, 5)"]),
        (&[pool(14), conv(8, 5, 1)], &["layer 1, Conv2d(8, 5x5, padding 1)", "(1, 2, 2)", "at least (1, 3, 3)"]),
        (&[pool(14), pool(3)], &["layer 1, MaxPool2d(3)", "(1, 2, 2)", "at least (1, 3, 3)"]),
        (&[Layer::Relu, linear(10)], &["layer 1, Linear(10)", "(1, 28, 28)", "(784)", "Flatten"]),
        (&[Layer::Flatten, conv(8, 3, 0)], &["layer 1, Conv2d(8, 3x3)", "(784)", "(channels, height, width)"]),
        (&[Layer::Flatten, pool(2)], &["layer 1, MaxPool2d(2)", "(784)", "(channels, height, width)"]),
        (&[Layer::Flatten, linear(11)], &["last layer", "(11)", "10 classes", "(10)"]),
        (&[conv(10, 28, 0)], &["last layer", "(10, 1, 1)", "(10)"]),
        (&[], &["last layer", "(1, 28, 28)", "(10)"]),
    ];
    for (layers, parts) in cases {
        refused(INPUT, layers, parts);
    }
    // Both sides of an image count.
    for input in [[1, 2, 9], [1, 9, 2]] {
        for layer in [conv(1, 3, 0), pool(3)] {
            let layers = [&[layer.clone()][..], &flat[..]].concat();
            refused(input, &layers, &[&format!("layer 0, {layer}"), &format!("(1, {}, {})", input[1], input[2])]);
        }
    }
}

#[test]
fn the_classic_network_takes_images_from_10x10_on_any_channels_and_classes() {
    for (input, classes) in [([1, 10, 10], 2), ([3, 20, 24], 47), ([3, 256, 256], 1000), ([1, 28, 10], 1)] {
        let model = Model::classic(input, classes, 0.5).unwrap();
        assert_eq!((model.classes(), model.shapes()[0].0.as_slice()), (classes, &input[..]));
    }
    for input in [[1, 9, 28], [1, 28, 9], [3, 1, 1]] {
        let error = Model::classic(input, 10, 0.5).unwrap_err().to_string();
        assert!(error.contains("at least"), "{error}");
    }
}

#[test]
fn settings_that_make_no_layer_are_named() {
    let cases: &[(Layer, &[&str])] = &[
        (conv(0, 3, 0), &["layer 1, Conv2d(0, 3x3)", "at least one output"]),
        (linear(0), &["layer 1, Linear(0)", "at least one output"]),
        (conv(8, 0, 0), &["layer 1, Conv2d(8, 0x0)", "at least 1x1"]),
        (pool(0), &["layer 1, MaxPool2d(0)", "at least 1x1"]),
        (conv(8, 3, 3), &["layer 1, Conv2d(8, 3x3, padding 3)", "smaller than the kernel"]),
        (conv(8, 3, 4), &["layer 1", "smaller than the kernel"]),
        (dropout(1.0), &["layer 1, Dropout(1)", "[0, 1)"]),
        (dropout(-0.1), &["layer 1", "[0, 1)"]),
        (dropout(f32::NAN), &["layer 1, Dropout(NaN)", "[0, 1)"]),
        (dropout(f32::INFINITY), &["layer 1", "[0, 1)"]),
    ];
    for (layer, parts) in cases {
        refused(INPUT, &[Layer::Relu, layer.clone(), Layer::Flatten, linear(10)], parts);
    }
}

#[test]
fn an_input_without_elements_is_refused() {
    for input in [[0, 28, 28], [1, 0, 28], [1, 28, 0]] {
        for layers in [vec![Layer::Flatten, linear(10)], Model::classic_layers(10, 0.5)] {
            refused(input, &layers, &["input", &format!("({}, {}, {})", input[0], input[1], input[2])]);
        }
    }
}

#[test]
fn numbers_too_large_to_multiply_are_an_error_and_no_overflow() {
    const MAX: usize = usize::MAX;
    for huge in [MAX, MAX - 1, MAX / 2, MAX / 2 + 1, MAX / 9 + 1, 1 << (usize::BITS / 2)] {
        for layer in [
            conv(huge, 3, 0),
            conv(8, huge, 0),
            conv(8, huge, huge - 1),
            conv(8, huge, huge / 2 + 1),
            conv(8, 3, huge),
            conv(huge, huge, huge - 1),
            pool(huge),
        ] {
            refused(INPUT, &[layer, Layer::Flatten, linear(10)], &["layer 0"]);
        }
        refused(INPUT, &[Layer::Flatten, linear(huge), linear(10)], &["layer 1"]);
        for input in [[huge, 28, 28], [1, huge, 28], [1, 28, huge], [huge, huge, huge]] {
            refused(input, &[conv(8, 3, 1), Layer::Flatten, linear(10)], &["input"]);
            refused(input, &[Layer::Flatten, linear(10)], &["input"]);
        }
    }
    // Each layer for itself is modest; only their product is not.
    refused([1 << 10, 1, 1], &[conv(1 << 20, 1, 0), Layer::Flatten, linear(10)], &["layer 0"]);
    assert!(matches!(Model::new(INPUT, vec![Layer::Flatten], MAX), Err(ModelError::Output { classes: MAX, .. })));
}

/// Each stage as (name, layers it stands for, parameters it uses).
fn stages(layers: Vec<Layer>, fuse: bool) -> Vec<(&'static str, std::ops::Range<usize>, std::ops::Range<usize>)> {
    let shape = [layers, vec![Layer::Flatten, linear(10)]].concat();
    let model = Model::new(INPUT, shape, 10).unwrap();
    ops(&model, fuse).into_iter().map(|stage| (stage.op.name(), stage.layers, stage.parameters)).collect()
}

#[test]
fn a_3x3_convolution_relu_and_2x2_pooling_in_a_row_become_one_op() {
    let fused: Vec<_> = ops(&classic(), true).into_iter().map(|s| (s.op.name(), s.layers, s.parameters)).collect();
    let expected = [
        ("conv2d_relu_maxpool2d", 0..3, 0..2),
        ("conv2d_relu_maxpool2d", 3..6, 2..4),
        ("linear", 7..8, 4..6),
        ("linear", 8..10, 6..8),
    ];
    assert_eq!(fused, expected);

    // A convolution before and after, and padding.
    let layers = vec![conv(2, 1, 0), conv(2, 3, 1), Layer::Relu, pool(2), Layer::Relu, pool(2)];
    let expected = [
        ("conv2d", 0..1, 0..2),
        ("conv2d_relu_maxpool2d", 1..4, 2..4),
        ("relu", 4..5, 4..4),
        ("maxpool2d", 5..6, 4..4),
        ("linear", 7..8, 4..6),
    ];
    assert_eq!(stages(layers, true), expected);
}

#[test]
fn nothing_else_is_fused() {
    let near_misses = [
        vec![conv(2, 5, 0), Layer::Relu, pool(2)],
        vec![conv(2, 1, 0), Layer::Relu, pool(2)],
        vec![conv(2, 3, 0), Layer::Relu, pool(3)],
        vec![conv(2, 3, 0), pool(2), Layer::Relu],
        vec![conv(2, 3, 0), pool(2)],
        vec![conv(2, 3, 0), Layer::Relu],
        vec![conv(2, 3, 0), Layer::Relu, Layer::Relu, pool(2)],
        vec![conv(2, 3, 0), dropout(0.5), Layer::Relu, pool(2)],
        vec![conv(2, 3, 0), Layer::Relu, dropout(0.5), pool(2)],
        vec![Layer::Relu, pool(2), conv(2, 3, 0)],
    ];
    for layers in near_misses {
        let count = layers.len();
        let stages = stages(layers.clone(), true);
        let got: Vec<_> = stages.iter().map(|(_, layers, _)| layers.clone()).collect();
        let want: Vec<_> = (0..count).chain([count + 1]).map(|i| i..i + 1).collect();
        assert_eq!(got, want, "{layers:?}: {stages:?}");
    }
}

#[test]
fn without_fusing_every_layer_that_does_something_is_its_own_op() {
    let got: Vec<_> = ops(&classic(), false).into_iter().map(|s| (s.op.name(), s.layers, s.parameters)).collect();
    let expected = [
        ("conv2d", 0..1, 0..2),
        ("relu", 1..2, 2..2),
        ("maxpool2d", 2..3, 2..2),
        ("conv2d", 3..4, 2..4),
        ("relu", 4..5, 4..4),
        ("maxpool2d", 5..6, 4..4),
        ("linear", 7..8, 4..6),
        ("dropout", 8..9, 6..6),
        ("linear", 9..10, 6..8),
    ];
    assert_eq!(got, expected);
    let names: Vec<_> = stages(vec![dropout(0.0)], false).into_iter().map(|(name, ..)| name).collect();
    assert_eq!(names, ["linear"], "dropping nothing is no op");
}

#[test]
fn the_ops_lengths_are_those_of_the_shapes_between_them() {
    for fuse in [true, false] {
        let model = classic();
        for stage in ops(&model, fuse) {
            let (input, output) = (&model.shapes()[stage.layers.start], &model.shapes()[stage.layers.end]);
            let got = (stage.op.input_len(), stage.op.output_len());
            assert_eq!(got, (input.len(), output.len()), "{} of layers {:?}", stage.op.name(), stage.layers);
        }
    }
}

#[test]
fn initial_values_are_pytorchs_uniform_distribution() {
    let model = classic();
    let arena = model.init(0);
    for p in model.parameters() {
        // U(-bound, bound) has mean 0, variance bound^2 / 3 and fourth moment bound^4 / 5; in units of the bound, means
        // of n values stray from these by sqrt(1/3 / n) and sqrt((1/5 - 1/9) / n).
        let bound = 1.0 / (fan_in(p) as f64).sqrt();
        let values: Vec<f64> = arena[p.range.clone()].iter().map(|&x| f64::from(x) / bound).collect();
        let n = values.len() as f64;
        let most = values.iter().fold(0.0, |most: f64, x| most.max(x.abs()));
        let mean = values.iter().sum::<f64>() / n;
        let square = values.iter().map(|x| x * x).sum::<f64>() / n;
        let what = format!("{}: |max| {most}, mean {mean}, mean square {square}, in units of the bound", p.name);
        assert!(most <= 1.0 + 1e-6, "{what}");
        // That none of n values lies in the outermost 10/n of the range happens once in e^10 times.
        assert!(most > 1.0 - 10.0 / n, "{what}");
        assert!(mean.abs() < 4.0 * (1.0 / 3.0 / n).sqrt(), "{what}");
        assert!((square - 1.0 / 3.0).abs() < 4.0 * (4.0 / 45.0 / n).sqrt(), "{what}");
        assert!(values.iter().any(|&x| x < 0.0) && values.iter().any(|&x| x > 0.0), "{what}");
    }
}

#[test]
fn initial_values_are_a_pure_function_of_the_seed() {
    let model = classic();
    let bits = |seed| model.init(seed).into_iter().map(f32::to_bits).collect::<Vec<_>>();
    for seed in [0, 1, u64::MAX] {
        assert_eq!(bits(seed), bits(seed));
        assert_eq!(bits(seed), classic().init(seed).into_iter().map(f32::to_bits).collect::<Vec<_>>());
    }
    // Seeds that share a half differ, too.
    let seeds = [0, 1, 2, 1 << 32, (1 << 32) + 1, u64::MAX];
    for (i, &one) in seeds.iter().enumerate() {
        for &other in &seeds[i + 1..] {
            let same = bits(one).iter().zip(&bits(other)).filter(|(a, b)| a == b && **a != 0).count();
            // Of 225,034 values of 24 bits a few coincide.
            assert!(same < 30, "seeds {one} and {other} share {same} values");
        }
    }
}

#[test]
fn no_two_parameters_begin_with_the_same_draws() {
    let model = classic();
    let arena = model.init(0);
    let begin = |p: &mnist_wgpu::model::Parameter| {
        let scale = (fan_in(p) as f32).sqrt();
        arena[p.range.clone()][..8].iter().map(|x| (x * scale * 1e4).round() as i32).collect::<Vec<_>>()
    };
    let begins: Vec<_> = model.parameters().iter().map(begin).collect();
    for (i, one) in begins.iter().enumerate() {
        assert!(!begins[i + 1..].contains(one), "{} begins as another parameter", model.parameters()[i].name);
    }
}

#[test]
fn parameters_are_aligned_apart_and_the_gaps_are_zero() {
    // Sizes that fill no unit of alignment, one that does, and one that is a single element more.
    let odd = vec![conv(3, 3, 0), conv(1, 1, 0), Layer::Flatten, linear(ALIGNMENT), linear(ALIGNMENT + 1), linear(10)];
    for model in [classic(), Model::new(INPUT, odd, 10).unwrap()] {
        let arena = model.init(3);
        assert_eq!(arena.len(), model.arena_len());
        let mut end = 0;
        for p in model.parameters() {
            assert_eq!(p.range.start % ALIGNMENT, 0, "{}", p.name);
            assert!(p.range.start >= end, "{} overlaps the one before", p.name);
            assert_eq!(p.range.len(), p.shape.iter().product::<usize>(), "{}", p.name);
            assert!(arena[end..p.range.start].iter().all(|x| x.to_bits() == 0), "the gap before {}", p.name);
            assert!(arena[p.range.clone()].iter().any(|&x| x != 0.0), "{} is all zero", p.name);
            end = p.range.end;
        }
        assert!(model.arena_len() >= end && arena[end..].iter().all(|x| x.to_bits() == 0), "the gap at the end");
        let count: usize = model.parameters().iter().map(|p| p.shape.iter().product::<usize>()).sum();
        assert_eq!(model.parameter_count(), count);
    }
}
