//! The text of a network: what it says, what it may leave out, and where a fault in it is.

use mnist_wgpu::layers::{parse, text};
use mnist_wgpu::model::Model;
use mnist_wgpu::ops::{Layer, TextError};

fn shown(text: &str) -> Vec<String> {
    parse(text, 10).unwrap().iter().map(ToString::to_string).collect()
}

#[test]
fn layers_are_told_by_name_and_numbers_with_pytorchs_defaults() {
    assert_eq!(
        shown("conv 32, bn, relu, conv 16 5 stride 2 padding 1, leaky, pool, avgpool 3, linear 128, dropout, linear"),
        [
            "Conv2d(32, 3x3)",
            "BatchNorm2d",
            "ReLU",
            "Conv2d(16, 5x5, stride 2, padding 1)",
            "LeakyReLU(0.01)",
            "MaxPool2d(2)",
            "AvgPool2d(3)",
            "Flatten",
            "Linear(128)",
            "Dropout(0.5)",
            "Linear(10)",
        ]
    );
    // PyTorch's names, in any case; settings in either order; one Flatten is enough; lines and comments.
    assert_eq!(
        shown("Conv2d 8 3 padding 1 stride 2, MAXPOOL2D 2,\n # all of it\nAdaptiveAvgPool2d, flatten # to a row\n\nLinear"),
        ["Conv2d(8, 3x3, stride 2, padding 1)", "MaxPool2d(2)", "AdaptiveAvgPool2d(1)", "Flatten", "Linear(10)"]
    );
}

#[test]
fn every_layer_reads_its_own_words() {
    let all = "conv 4 3, conv 4 3 stride 2, conv 4 3 padding 1, conv 4 5 stride 3 padding 2, bn, relu, leaky 0.25, pool 2, \
               avgpool 3, globalpool, flatten, linear 7, dropout 0.125, linear 10";
    let layers = parse(all, 3).unwrap();
    assert_eq!(text(&layers), all);
    // Each kind of layer is in there.
    for usage in Layer::USAGES {
        let name = usage.split(' ').next().unwrap();
        assert!(layers.iter().any(|layer| layer.words().split(' ').next() == Some(name)), "{usage}");
    }
    let classic = Model::classic_layers(10, 0.5);
    assert_eq!(parse(&text(&classic), 10).unwrap(), classic);
}

#[test]
fn a_fault_is_told_with_its_place_what_was_expected_and_what_was_found() {
    let cases = [
        ("conv 32 3, convolution 3", 11..22, "a layer, one of: conv OUTPUTS", Some("convolution")),
        ("conv, relu", 4..4, "a number of outputs", None),
        ("conv x, relu", 5..6, "a number of outputs", Some("x")),
        ("conv 8 3 stride, relu", 15..15, "a number behind `stride`", None),
        ("conv 8 3 stride two", 16..19, "a number behind `stride`", Some("two")),
        ("conv 8 3 1", 9..10, "`conv OUTPUTS [KERNEL] [stride S] [padding P]`", Some("1")),
        ("relu 3", 5..6, "`relu`", Some("3")),
        ("relu,, linear", 5..5, "a layer, one of", None),
        ("pool -2", 5..7, "`pool [SIZE]`", Some("-2")),
        ("relu,\nbnorm", 6..11, "a layer, one of", Some("bnorm")),
        ("", 0..0, "a layer, such as `conv OUTPUTS", None),
        (" # nothing", 0..0, "a layer, such as", None),
    ];
    for (text, at, expected, found) in cases {
        let TextError { at: got_at, expected: got_expected, found: got_found } = parse(text, 10).unwrap_err();
        assert_eq!((got_at, got_found.as_deref()), (at, found), "{text}");
        assert!(got_expected.starts_with(expected), "{text}: {got_expected}");
    }
    let error = parse("conv 32 3, ponv 2", 10).unwrap_err().to_string();
    assert!(error.starts_with("expected a layer") && error.ends_with("found `ponv`"), "{error}");
}

#[test]
fn layers_that_do_not_fit_are_refused_by_the_model() {
    for (text, words) in [
        ("pool 2, relu, linear 5", "(10)"),
        ("linear 8, bn, linear", "an image (channels, height, width)"),
        ("conv 8 0, linear", "a kernel is at least 1x1"),
        ("conv 8 3 stride 0, linear", "a stride is at least 1"),
        ("conv 8 29, linear", "at least (1, 29, 29)"),
        ("avgpool 0, linear", "a window is at least 1x1"),
        ("leaky inf, linear", "finite"),
        ("dropout 1, linear", "[0, 1)"),
    ] {
        let error = Model::new([1, 28, 28], parse(text, 10).unwrap(), 10).unwrap_err().to_string();
        assert!(error.contains(words), "{text}: {error}");
    }
}
