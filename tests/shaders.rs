//! Every shader of the project, without running it: each file has its op, parses, translates for every API, stays
//! within WebGPU's default limits and agrees with the host on the structs they share. And the host's binding rules.

mod common;

use mnist_wgpu::gpu::plan::{self, Dispatch};
use mnist_wgpu::gpu::reflect::{interfaces, parse};
use mnist_wgpu::gpu::{Context, GpuError, Planner, Shader, Tensor, drive};
use mnist_wgpu::metrics::BatchMetrics;
use mnist_wgpu::ops::Batch;
use mnist_wgpu::ops::{OnGpu, SHADERS, conv2d::Conv2d, relu, sgd::Sgd};
use naga::back::{PipelineConstants, hlsl, msl, pipeline_constants::process_overrides, spv};
use naga::valid::{Capabilities, ModuleInfo, ValidationFlags, Validator};
use naga::{AddressSpace, Expression, Literal, ShaderStage, TypeInner};
use std::collections::BTreeSet;
use std::mem::offset_of;
use std::path::Path;

/// A parsed shader.
struct Parsed {
    op: &'static str,
    module: naga::Module,
    info: ModuleInfo,
}

fn parse_all() -> Vec<Parsed> {
    let parse = |shader: &Shader| {
        let (module, info) = parse(shader.source).unwrap_or_else(|e| panic!("{}: {e}", shader.op));
        Parsed { op: shader.op, module, info }
    };
    SHADERS.iter().map(parse).collect()
}

#[test]
fn every_shader_file_is_owned_by_exactly_one_op() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("shaders");
    let mut files = Vec::new();
    for entry in std::fs::read_dir(&folder).expect("shaders/ is there") {
        let path = entry.expect("shaders/ can be listed").path();
        assert_eq!(path.extension().and_then(|e| e.to_str()), Some("wgsl"), "{} is no shader", path.display());
        files.push(path.file_stem().and_then(|s| s.to_str()).expect("a plain name").to_owned());
    }
    files.sort();
    let mut ops: Vec<_> = SHADERS.iter().map(|shader| shader.op).collect();
    ops.sort_unstable();
    assert_eq!(files, ops, "left: files in shaders/, right: ops::SHADERS");

    for shader in SHADERS {
        let file = std::fs::read_to_string(folder.join(format!("{}.wgsl", shader.op))).expect("the file can be read");
        assert_eq!(file, shader.source, "{}: not the file that bears its name", shader.op);
        let mirror = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("src/ops/{}.rs", shader.op));
        assert!(mirror.is_file(), "{} has no {}", shader.op, mirror.display());
    }
}

#[test]
fn every_shader_parses_and_has_an_entry_point() {
    for Parsed { op, module, .. } in parse_all() {
        assert!(!module.entry_points.is_empty(), "{op} has no entry point");
        assert!(module.entry_points.iter().all(|e| e.stage == ShaderStage::Compute), "{op} has other than compute shaders");
    }
}

#[test]
fn a_shader_that_does_not_parse_or_validate_is_an_error_that_names_its_file() {
    for source in ["fn broken( {", "@compute @workgroup_size(1) fn main() { let x: u32 = 1.5; }", "fn f() -> u32 { }"] {
        let error = Shader { op: "broken", source }.interfaces().expect_err(source).to_string();
        assert!(error.starts_with("shaders/broken.wgsl: "), "{error}");
    }
}

/// The default of each `override`, which must be a literal, and another value for it.
fn overrides(module: &naga::Module) -> Vec<(String, f64, f64)> {
    let one = |(_, o): (_, &naga::Override)| {
        let name = o.name.clone().expect("overrides are named");
        let init = o.init.unwrap_or_else(|| panic!("override {name} has no default"));
        let (default, other) = match module.global_expressions[init] {
            Expression::Literal(Literal::U32(value)) => (f64::from(value), f64::from(value) + 1.0),
            Expression::Literal(Literal::F32(value)) => (f64::from(value), f64::from(value / 2.0)),
            Expression::Literal(Literal::Bool(value)) => (f64::from(u8::from(value)), f64::from(u8::from(!value))),
            ref expression => panic!("the default of override {name} is no literal: {expression:?}"),
        };
        (name, default, other)
    };
    module.overrides.iter().map(one).collect()
}

/// Entry point `entry` through naga's three backends, with `constants` for its overrides.
fn translate(Parsed { op, module, info }: &Parsed, entry: &str, constants: &PipelineConstants) {
    let what = format!("{op}.{entry} with {constants:?}");
    let point = (ShaderStage::Compute, entry.to_owned());
    let (module, info) = process_overrides(module, info, Some((ShaderStage::Compute, entry)), constants)
        .unwrap_or_else(|e| panic!("{what}: {e}"));
    Validator::new(ValidationFlags::all(), Capabilities::empty())
        .validate(&module)
        .unwrap_or_else(|e| panic!("{what}: {}", e.into_inner()));

    let options = spv::PipelineOptions { shader_stage: ShaderStage::Compute, entry_point: entry.into() };
    let words = spv::write_vec(&module, &info, &spv::Options::default(), Some(&options));
    assert!(words.unwrap_or_else(|e| panic!("{what}, SPIR-V: {e}")).len() > 100, "{what}: hardly any SPIR-V");

    let mut text = String::new();
    let (options, point_options) = (hlsl::Options::default(), hlsl::PipelineOptions { entry_point: Some(point.clone()) });
    let names = hlsl::Writer::new(&mut text, &options, &point_options)
        .write(&module, &info, None)
        .unwrap_or_else(|e| panic!("{what}, HLSL: {e}"))
        .entry_point_names;
    let name = names[0].as_ref().unwrap_or_else(|e| panic!("{what}, HLSL: {e}"));
    assert!(text.contains("[numthreads(") && text.contains(name.as_str()), "{what}: no kernel in the HLSL");

    let options = msl::PipelineOptions { entry_point: Some(point), ..Default::default() };
    let (text, info) = msl::write_string(&module, &info, &msl::Options::default(), &options)
        .unwrap_or_else(|e| panic!("{what}, Metal: {e}"));
    let name = info.entry_point_names[0].as_ref().unwrap_or_else(|e| panic!("{what}, Metal: {e}"));
    assert!(text.contains("kernel void") && text.contains(name.as_str()), "{what}: no kernel in the Metal source");
}

#[test]
fn every_entry_point_translates_for_vulkan_dx12_and_metal() {
    for shader in parse_all() {
        let overrides = overrides(&shader.module);
        let others = overrides.iter().map(|(name, _, other)| (name.clone(), *other));
        for entry in &shader.module.entry_points {
            translate(&shader, &entry.name, &PipelineConstants::default());
            // One by one and all at once: padding where there was none, Nesterov off, sizes that fit no tile.
            for (name, value) in others.clone() {
                translate(&shader, &entry.name, &PipelineConstants::from_iter([(name, value)]));
            }
            translate(&shader, &entry.name, &others.clone().collect());
        }
    }
}

/// What the velocity is after `updates` of the optimizer in each of `plans` plans.
fn velocity_after(context: &Context, plans: usize, updates: usize) -> Vec<f32> {
    let tensor = |label: &str, value: f32| Tensor::from_slice(context, label, &[value; 64]).expect("it fits");
    let (param, velocity, gradient) = (tensor("param", 1.0), tensor("velocity", 0.0), tensor("gradient", 1.0));
    for _ in 0..plans {
        let mut planner = Planner::new(context);
        for _ in 0..updates {
            Sgd::default().plan(&mut planner, &param, &velocity, &gradient).expect("nothing is wrong with it");
        }
        plan::run(context, &planner.steps, &Batch::default()).expect("it runs");
    }
    drive::block_on(context, velocity.read(context)).expect("the results arrive")
}

#[test]
fn a_dispatch_reads_what_those_before_it_wrote() {
    for context in common::contexts(&common::BOTH) {
        let expected = velocity_after(&context, 6, 1);
        assert!(expected.iter().all(|&v| (v - 4.68559).abs() < 1e-5), "1 + 0.9 + ... + 0.9^5, not {}", expected[0]);
        assert_eq!(velocity_after(&context, 2, 3), expected, "{}: three updates in a plan", context.info.name);
    }
}

#[test]
fn every_entry_point_stays_within_webgpus_default_limits() {
    // WebGPU guarantees 8 storage buffers per stage; we keep one spare.
    const STORAGE_BUFFERS: usize = 7;
    let limits = wgpu::Limits::default();
    for (Parsed { op, module, info }, shader) in parse_all().into_iter().zip(SHADERS) {
        let interfaces = interfaces(shader.source).expect("it is valid");
        for (index, entry) in module.entry_points.iter().enumerate() {
            let what = format!("{op}.{}", entry.name);
            let bindings = &interfaces[index].bindings;
            let storage = bindings.iter().filter(|b| b.group == 0).count();
            assert!((1..=STORAGE_BUFFERS).contains(&storage), "{what} uses {storage} storage buffers");
            let batch: Vec<_> = bindings.iter().filter(|b| b.group != 0).map(|b| (b.group, b.index)).collect();
            assert!(batch.is_empty() || batch == [(1, 0)], "{what}: beside its buffers a kernel has only the batch uniform");

            let [x, y, z] = entry.workgroup_size;
            assert!(entry.workgroup_size_overrides.is_none(), "{what}: the host reads the workgroup size as a constant");
            assert!(x * y * z <= limits.max_compute_invocations_per_workgroup, "{what}: {x} x {y} x {z} invocations");
            assert!(x <= limits.max_compute_workgroup_size_x, "{what}: {x} invocations along x");
            assert!(y <= limits.max_compute_workgroup_size_y, "{what}: {y} invocations along y");
            assert!(z <= limits.max_compute_workgroup_size_z, "{what}: {z} invocations along z");

            let memory = workgroup_memory(&module, &info, &entry.name);
            assert!(memory <= limits.max_compute_workgroup_storage_size, "{what} uses {memory} bytes of workgroup memory");
        }
    }
}

/// Bytes of workgroup memory of an entry point, counted as WebGPU does: each variable rounded up to 16.
fn workgroup_memory(module: &naga::Module, info: &ModuleInfo, entry: &str) -> u32 {
    let (module, info) = process_overrides(module, info, Some((ShaderStage::Compute, entry)), &PipelineConstants::default())
        .expect("defaults");
    let mut layouter = naga::proc::Layouter::default();
    layouter.update(module.to_ctx()).expect("the types have a layout");
    let index = module.entry_points.iter().position(|e| e.name == entry).expect("it was just there");
    let used = info.get_entry_point(index);
    let variables = module.global_variables.iter().filter(|(_, v)| v.space == AddressSpace::WorkGroup);
    variables.filter(|(handle, _)| !used[*handle].is_empty()).map(|(_, v)| layouter[v.ty].size.next_multiple_of(16)).sum()
}

#[test]
fn workgroup_memory_is_counted() {
    let source =
        "override N: u32 = 5u; var<workgroup> a: array<f32, 5>; var<workgroup> b: array<vec3f, 3>; var<workgroup> c: u32;
        @compute @workgroup_size(1) fn both() { a[0] = 1.0; b[0] = vec3f(f32(N)); }
        @compute @workgroup_size(1) fn neither() { }";
    let (module, info) = parse(source).expect("it is valid");
    assert_eq!(workgroup_memory(&module, &info, "both"), 32 + 48);
    assert_eq!(workgroup_memory(&module, &info, "neither"), 0);
}

/// Name, bytes, and the members with their offsets.
type Layout = (&'static str, usize, Vec<(&'static str, usize)>);

macro_rules! layout {
    ($name:literal, $host:ty, $($member:ident),+) => {
        ($name, size_of::<$host>(), vec![$((stringify!($member), offset_of!($host, $member))),+])
    };
}

/// The structs that host and shaders share, as the host lays them out.
fn shared() -> [Layout; 2] {
    [
        layout!("Batch", Batch, first, count, index, step, learning_rate, correction1, correction2),
        layout!("Metrics", BatchMetrics, loss_sum, correct, count, non_finite),
    ]
}

#[test]
fn host_and_shaders_lay_out_shared_structs_alike() {
    let shared = shared();
    let mut found = BTreeSet::new();
    for Parsed { op, module, .. } in parse_all() {
        for (_, variable) in module.global_variables.iter() {
            if variable.binding.is_none() {
                continue; // the host never sees it
            }
            let (ty, stride) = match module.types[variable.ty].inner {
                TypeInner::Array { base, stride, .. } => (base, Some(stride)),
                _ => (variable.ty, None),
            };
            let TypeInner::Struct { members, span } = &module.types[ty].inner else { continue };
            let name = module.types[ty].name.as_deref().unwrap_or_default();
            let Some((name, size, host)) = shared.iter().find(|(known, ..)| *known == name) else {
                panic!("{op}: struct {name} is shared with the host, but this test does not know its host side")
            };
            assert_eq!(*span as usize, *size, "{op}: size of {name}");
            assert_eq!(stride.unwrap_or(*span) as usize, *size, "{op}: distance of two {name} in an array");
            let shader: Vec<_> =
                members.iter().map(|m| (m.name.as_deref().unwrap_or_default(), m.offset as usize)).collect();
            assert_eq!(&shader, host, "{op}: members of {name}; left: shader, right: host");
            found.insert((op, *name));
        }
    }
    for expected in [
        ("gather", "Batch"),
        ("dropout", "Batch"),
        ("sgd", "Batch"),
        ("adamw", "Batch"),
        ("average", "Batch"),
        ("augment", "Batch"),
        ("cross_entropy", "Batch"),
        ("cross_entropy", "Metrics"),
    ] {
        assert!(found.contains(&expected), "{expected:?} was not looked at");
    }
}

/// A device with WebGPU's default limits; the rules do not depend on which.
fn context() -> Context {
    common::contexts(&common::BOTH[..1]).swap_remove(0)
}

fn zeros(context: &Context, label: &str, len: usize) -> Tensor {
    Tensor::zeros(context, label, len).expect("it fits")
}

/// What `Planner::dispatch` says to ReLU over 100 elements with these buffers.
fn dispatch(context: &Context, entry: &str, buffers: &[(&str, &Tensor, usize)], invocations: usize) -> Result<(), GpuError> {
    let constants = &[("LENGTH", 100.0)];
    let invocations = [invocations, 1, 1];
    let mut planner = Planner::new(context);
    let result = planner.dispatch(Dispatch { shader: &relu::SHADER, entry, constants, buffers, invocations, flops: 0 });
    assert_eq!(planner.steps.len(), usize::from(result.is_ok()), "a refused dispatch leaves no step behind");
    context.check().expect("a refused dispatch is refused before the device hears of it");
    result
}

fn assert_names(error: &GpuError, words: &[&str]) {
    let message = error.to_string();
    for word in words {
        assert!(message.contains(word), "`{word}` is not in: {message}");
    }
}

#[test]
fn a_complete_dispatch_is_accepted_and_labelled_with_op_and_entry_point() {
    let context = context();
    let (x, y) = (zeros(&context, "in", 100), zeros(&context, "out", 100));
    dispatch(&context, "forward", &[("x", &x, 100), ("y", &y, 100)], 100).expect("nothing is wrong with it");
    // The order in which buffers are named does not matter; larger ones are fine.
    let larger = zeros(&context, "out", 200);
    dispatch(&context, "forward", &[("y", &larger, 100), ("x", &x, 100)], 100).expect("nothing is wrong with it");

    let mut planner = Planner::new(&context);
    let buffers = &[("x", &x, 100), ("y", &y, 100)];
    let d =
        Dispatch { shader: &relu::SHADER, entry: "forward", constants: &[], buffers, invocations: [100, 1, 1], flops: 0 };
    planner.dispatch(d).expect("nothing is wrong with it");
    assert_eq!(planner.steps[0].label, "relu.forward");
}

#[test]
fn a_missing_buffer_is_an_error_that_names_op_entry_point_and_binding() {
    let context = context();
    let x = zeros(&context, "in", 100);
    let error = dispatch(&context, "forward", &[("x", &x, 100)], 100).expect_err("y is missing");
    assert!(matches!(error, GpuError::Binding { .. }), "{error:?}");
    assert_names(&error, &["relu", "forward", "`y`", "no buffer was given"]);
    let error = dispatch(&context, "backward", &[("x", &x, 100), ("d_x", &x, 100)], 100).expect_err("d_y is missing");
    assert_names(&error, &["relu", "backward", "`d_y`"]);
}

#[test]
fn a_superfluous_buffer_is_an_error_that_names_op_entry_point_and_binding() {
    let context = context();
    let (x, y) = (zeros(&context, "in", 100), zeros(&context, "out", 100));
    // One that another entry point uses, and one that is nowhere in the shader.
    for name in ["d_y", "weights"] {
        let buffers = [("x", &x, 100), ("y", &y, 100), (name, &x, 100)];
        let error = dispatch(&context, "forward", &buffers, 100).expect_err(name);
        assert!(matches!(error, GpuError::Binding { .. }), "{error:?}");
        assert_names(&error, &["relu", "forward", &format!("`{name}`"), "does not use it", "x, y"]);
    }
}

#[test]
fn a_buffer_that_is_too_small_is_an_error_that_names_op_entry_point_and_binding() {
    let context = context();
    let (x, y) = (zeros(&context, "in", 100), zeros(&context, "a little short", 99));
    let error = dispatch(&context, "forward", &[("x", &x, 100), ("y", &y, 100)], 100).expect_err("y is too small");
    assert!(matches!(error, GpuError::Binding { .. }), "{error:?}");
    assert_names(&error, &["relu", "forward", "`y`", "needs 100", "a little short", "99"]);

    let empty = zeros(&context, "nothing", 0);
    let error = dispatch(&context, "forward", &[("x", &x, 100), ("y", &empty, 0)], 100).expect_err("y is empty");
    assert_names(&error, &["relu", "forward", "`y`", "nothing", "empty"]);
}

#[test]
fn an_unknown_entry_point_is_an_error_that_lists_the_known_ones() {
    let context = context();
    let x = zeros(&context, "in", 100);
    let error = dispatch(&context, "sideways", &[("x", &x, 100)], 100).expect_err("there is none");
    assert!(matches!(error, GpuError::EntryPoint { .. }), "{error:?}");
    assert_names(&error, &["relu", "sideways", "forward", "backward"]);
}

#[test]
fn too_many_workgroups_are_an_error_that_names_op_entry_point_and_axis() {
    let context = context();
    let (x, y) = (zeros(&context, "in", 100), zeros(&context, "out", 100));
    let buffers = [("x", &x, 100), ("y", &y, 100)];
    let size = workgroup_size();
    dispatch(&context, "forward", &buffers, 65_535 * size).expect("exactly as many as allowed");
    // The last is more than fits in a u32 of workgroups: it must not wrap around to a small number.
    for invocations in [65_535 * size + 1, 1 << 31, (size << 32) + 1] {
        let error = dispatch(&context, "forward", &buffers, invocations).expect_err("too many");
        assert!(matches!(error, GpuError::TooManyWorkgroups { .. }), "{error:?}");
        assert_names(&error, &["relu", "forward", "65535", "along x"]);
    }
}

/// Invocations of one of ReLU's workgroups.
fn workgroup_size() -> usize {
    relu::SHADER.interfaces().expect("it is valid")[0].workgroup_size[0] as usize
}

#[test]
fn an_op_reports_a_batch_that_is_too_large_for_it() {
    let context = context();
    // One element per sample, so that only the number of workgroups is too large.
    let conv = Conv2d { channels: 1, height: 1, width: 1, out: 1, kernel: 1, padding: 0, stride: 1 };
    let n = 65_535 * 64 + 1;
    let (x, y, saved) = (zeros(&context, "x", n), zeros(&context, "y", n), zeros(&context, "saved", 0));
    let params = [zeros(&context, "weight", 1), zeros(&context, "bias", 1)];
    let tensors =
        mnist_wgpu::ops::ForwardTensors { n, training: true, x: &x, params: &params, buffers: &[], y: &y, saved: &saved };
    let error = conv.plan_forward(&mut Planner::new(&context), &tensors).expect_err("more than 65,535 workgroups");
    assert_names(&error, &["conv2d", "forward", "along x", "smaller batch"]);
}

#[test]
fn a_constant_that_the_shader_does_not_declare_is_an_error() {
    let context = context();
    let (x, y) = (zeros(&context, "in", 100), zeros(&context, "out", 100));
    let buffers = &[("x", &x, 100), ("y", &y, 100)];
    let d = Dispatch {
        shader: &relu::SHADER,
        entry: "forward",
        constants: &[("LENGHT", 100.0)],
        buffers,
        invocations: [1; 3],
        flops: 0,
    };
    Planner::new(&context).dispatch(d).expect_err("a typing error in a constant's name must not go unnoticed");
}

#[test]
fn a_tile_size_is_read_from_the_shader() {
    let shader =
        Shader { op: "test", source: "// const TILE: u32 = 1u;\nconst TILES: u32 = 2u;\nconst TILE: u32 = 8u; // wide" };
    assert_eq!((shader.constant("TILE"), shader.constant("TILES")), (8, 2));
    assert!(std::panic::catch_unwind(|| shader.constant("LANES")).is_err(), "a constant that is not there");
}

#[test]
fn the_mark_of_a_dead_window_is_the_same_on_both_sides() {
    use mnist_wgpu::ops::conv2d_relu_maxpool2d::{DEAD, SHADER};
    assert_eq!(SHADER.constant("DEAD"), usize::from(DEAD));
}
