//! A network as an ONNX model, for runtimes that know nothing of this program.

mod proto;

use crate::checkpoint::Info;
use crate::model::{Model, Parameter};
use crate::ops::{self, Shape};
use crate::state::State;
use prost::Message;

/// Names of what goes in and what comes out.
pub const INPUT: &str = "image";
pub const OUTPUT: &str = "logits";

/// Operator set 17 came with ONNX 1.12 in 2022, and so did version 8 of the format: what is older than that has to be
/// updated.
const OPERATOR_SET: i64 = 17;
const IR_VERSION: i64 = 8;

/// The bytes of an ONNX model of `model` with the numbers in `state`: from `image`, f32 (N, C, H, W) for any N, pixels
/// / 255, to `logits`, f32 (N, classes). Dropout, which acts only in training, is left out. What `info` tells of the
/// training goes into the model's metadata.
///
/// # Panics
/// If an arena of `state` is shorter than the model's.
pub fn export(model: &Model, state: &State, info: Option<&Info>) -> Vec<u8> {
    let (image, logits) = (&model.shapes()[0], &model.shapes()[model.layers().len()]);
    let network = state.network();
    let initializers = network.arenas.iter().flat_map(|(role, arena)| {
        role.tensors(model).iter().map(|tensor| initializer(tensor, &arena[tensor.range.clone()]))
    });
    let graph = proto::Graph {
        node: nodes(model),
        name: "mnist-wgpu".into(),
        initializer: initializers.collect(),
        input: vec![value(INPUT, image, "Pixels / 255, from 0 to 1; of MNIST, white digits on black.")],
        output: vec![value(OUTPUT, logits, "A number for each class, before softmax: the largest is the guess.")],
    };
    proto::Model {
        ir_version: IR_VERSION,
        opset_import: vec![proto::OperatorSet { domain: Some(String::new()), version: OPERATOR_SET }],
        producer_name: env!("CARGO_PKG_NAME").into(),
        producer_version: env!("CARGO_PKG_VERSION").into(),
        doc_string: format!(
            "Tells {} classes of pictures apart. `{INPUT}`: any number of images of shape {image}, pixels / 255. `{OUTPUT}`: a \
             number for each class, before softmax.",
            model.classes()
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
        let Some(ops::Operator { name: op_type, attributes }) = layer.definition().onnx() else { continue };
        let attribute = attributes.into_iter().map(attribute).collect();
        let from = nodes.last().map_or(INPUT, |before| &before.output[0]);
        let tensors = model.parameters().iter().chain(model.buffers());
        let parameters = tensors.filter(|tensor| tensor.layer == index).map(|tensor| tensor.name.clone());
        let (input, name) = ([from.to_string()].into_iter().chain(parameters).collect(), format!("{index}.{op_type}"));
        nodes.push(proto::Node { input, output: vec![format!("{name}.output")], name, op_type: op_type.into(), attribute });
    }
    if let Some(last) = nodes.last_mut() {
        last.output = vec![OUTPUT.into()];
    }
    nodes
}

fn attribute(attribute: ops::Attribute) -> proto::Attribute {
    let bare = |name: &str, kind: proto::AttributeType| proto::Attribute {
        name: name.into(),
        kind: kind.into(),
        ..proto::Attribute::default()
    };
    match attribute {
        ops::Attribute::Float(name, f) => proto::Attribute { f: Some(f), ..bare(name, proto::AttributeType::Float) },
        ops::Attribute::Int(name, i) => proto::Attribute { i: Some(i as i64), ..bare(name, proto::AttributeType::Int) },
        ops::Attribute::Ints(name, values) => {
            let ints = values.into_iter().map(|value| value as i64).collect();
            proto::Attribute { ints, ..bare(name, proto::AttributeType::Ints) }
        }
    }
}

fn initializer(parameter: &Parameter, values: &[f32]) -> proto::Tensor {
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
    let classes = serde_json::Value::from(info.classes.clone()).to_string();
    let entries = [
        ("classes", classes),
        ("dataset", info.dataset.clone()),
        ("epochs", info.epoch.to_string()),
        ("seed", info.seed.to_string()),
    ];
    entries.into_iter().map(|(key, value)| proto::Entry { key: key.into(), value }).collect()
}
