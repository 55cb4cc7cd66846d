//! A network as an ONNX model, for runtimes that know nothing of this program.

mod proto;

use crate::checkpoint::Info;
use crate::model::{Layer, Model, Parameter, Shape};
use prost::Message;

/// Names of what goes in and what comes out.
pub const INPUT: &str = "image";
pub const OUTPUT: &str = "logits";

/// Operator set 17 came with ONNX 1.12 in 2022, and so did version 8 of the format: what is older than that has to be updated.
const OPERATOR_SET: i64 = 17;
const IR_VERSION: i64 = 8;

/// The bytes of an ONNX model of `model` with the parameters in the arena `parameters`: from `image`, f32 (N, C, H, W) for any N,
/// pixels / 255, to `logits`, f32 (N, classes). Dropout, which acts only in training, is left out. What `info` tells of the
/// training goes into the model's metadata.
///
/// # Panics
/// If `parameters` is shorter than [`Model::arena_len`].
pub fn export(model: &Model, parameters: &[f32], info: Option<&Info>) -> Vec<u8> {
    let (image, logits) = (&model.shapes()[0], &model.shapes()[model.layers().len()]);
    let graph = proto::Graph {
        node: nodes(model),
        name: "mnist-wgpu".into(),
        initializer: model.parameters().iter().map(|p| tensor(p, &parameters[p.range.clone()])).collect(),
        input: vec![value(INPUT, image, "White digits on black: pixels / 255, from 0 to 1.")],
        output: vec![value(OUTPUT, logits, "A number for each class, before softmax: the largest is the guess.")],
    };
    proto::Model {
        ir_version: IR_VERSION,
        opset_import: vec![proto::OperatorSet { domain: Some(String::new()), version: OPERATOR_SET }],
        producer_name: env!("CARGO_PKG_NAME").into(),
        producer_version: env!("CARGO_PKG_VERSION").into(),
        doc_string: format!(
            "Tells handwritten digits apart. `{INPUT}`: any number of images of shape {image}, white digits on black, pixels / \
             255. `{OUTPUT}`: a number for each class, before softmax."
        ),
        graph: Some(graph),
        metadata_props: info.map(metadata).unwrap_or_default(),
    }
    .encode_to_vec()
}

/// A chain from [`INPUT`] to [`OUTPUT`], a node for each layer that acts.
fn nodes(model: &Model) -> Vec<proto::Node> {
    let mut nodes: Vec<proto::Node> = Vec::new();
    for (index, layer) in model.layers().iter().enumerate() {
        let Some((op_type, attribute)) = operator(layer) else { continue };
        let from = nodes.last().map_or(INPUT, |before| &before.output[0]);
        let parameters = model.parameters().iter().filter(|p| p.layer == index).map(|p| p.name.clone());
        let (input, name) = ([from.to_string()].into_iter().chain(parameters).collect(), format!("{index}.{op_type}"));
        nodes.push(proto::Node { input, output: vec![format!("{name}.output")], name, op_type: op_type.into(), attribute });
    }
    if let Some(last) = nodes.last_mut() {
        last.output = vec![OUTPUT.into()];
    }
    nodes
}

/// A layer's ONNX operator and its attributes; none where it only acts in training.
fn operator(layer: &Layer) -> Option<(&'static str, Vec<proto::Attribute>)> {
    Some(match *layer {
        // Padding on four sides.
        Layer::Conv2d { kernel, padding, .. } => {
            ("Conv", vec![ints("kernel_shape", [kernel; 2]), ints("pads", [padding; 4])])
        }
        Layer::Relu => ("Relu", vec![]),
        Layer::MaxPool2d { size } => ("MaxPool", vec![ints("kernel_shape", [size; 2]), ints("strides", [size; 2])]),
        Layer::Flatten => ("Flatten", vec![int("axis", 1)]),
        // The weight is (out, in), as PyTorch's.
        Layer::Linear { .. } => ("Gemm", vec![int("transB", 1)]),
        Layer::Dropout { .. } => return None,
    })
}

fn int(name: &str, i: i64) -> proto::Attribute {
    proto::Attribute { name: name.into(), i: Some(i), ints: vec![], kind: proto::AttributeType::Int.into() }
}

fn ints<const N: usize>(name: &str, values: [usize; N]) -> proto::Attribute {
    let ints = values.map(|value| value as i64).to_vec();
    proto::Attribute { name: name.into(), i: None, ints, kind: proto::AttributeType::Ints.into() }
}

fn tensor(parameter: &Parameter, values: &[f32]) -> proto::Tensor {
    proto::Tensor {
        dims: parameter.shape.iter().map(|&size| size as i64).collect(),
        data_type: proto::DataType::Float.into(),
        name: parameter.name.clone(),
        raw_data: values.iter().flat_map(|value| value.to_le_bytes()).collect(),
    }
}

/// A tensor (N, `shape`) for any N.
fn value(name: &str, shape: &Shape, doc_string: &str) -> proto::ValueInfo {
    let any = proto::Dimension { value: None, name: Some("N".into()) };
    let fixed = shape.0.iter().map(|&size| proto::Dimension { value: Some(size as i64), name: None });
    let shape = proto::Shape { dim: [any].into_iter().chain(fixed).collect() };
    let tensor = proto::TensorType { element: proto::DataType::Float.into(), shape: Some(shape) };
    proto::ValueInfo { name: name.into(), kind: Some(proto::Type { tensor: Some(tensor) }), doc_string: doc_string.into() }
}

fn metadata(info: &Info) -> Vec<proto::Entry> {
    let entries = [("dataset", info.dataset.clone()), ("epochs", info.epoch.to_string()), ("seed", info.seed.to_string())];
    entries.into_iter().map(|(key, value)| proto::Entry { key: key.into(), value }).collect()
}
