//! The checkpoints' promises: what is saved is loaded bit for bit and by PyTorch, a file that is anything else is
//! refused by an error that names it, and a save that fails leaves what was there. `golden/check_pytorch.py` holds both
//! directions against PyTorch itself.

use mnist_wgpu::checkpoint::{CheckpointError, Info, NORMALISATION};
use mnist_wgpu::data::digits;
use mnist_wgpu::files::check_writable;
use mnist_wgpu::metrics::{BatchMetrics, Totals};
use mnist_wgpu::model::Model;
use mnist_wgpu::ops::{Layer, linear};
use mnist_wgpu::run::{RunError, load_network as load, save_network};
use mnist_wgpu::state::{Role, State};
use mnist_wgpu::train::Position;
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView, serialize};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use tempfile::{TempDir, tempdir};

/// The key of our metadata.
const KEY: &str = "mnist-wgpu";

/// A network so small that its file can be cut at every length: (1, 2, 2) -> Flatten -> Linear(10).
fn small() -> Model {
    Model::new([1, 2, 2], vec![Layer::Flatten, linear::Settings { out: 10 }.into()], 10).unwrap()
}

fn classic() -> Model {
    Model::classic([1, 28, 28], 10, 0.25).unwrap()
}

fn info(model: &Model) -> Info {
    Info {
        input: model.shapes()[0].0.clone().try_into().unwrap(),
        layers: model.layers().to_vec(),
        classes: digits(),
        normalisation: NORMALISATION.into(),
        dataset: "synthetic \"quoted\" \u{e9}".into(),
        epoch: 7,
        seed: u64::MAX,
        val_fraction: 0.1,
        version: "9.9.9".into(),
    }
}

fn save(path: &Path, model: &Model, parameters: &[f32], info: &Info) -> Result<(), RunError> {
    save_network(path, model, &State::from(parameters.to_vec()), info, None, &[])
}

const VELOCITY: Role = Role::Slot("velocity");

/// All that training has of [`small`] or [`classic`].
fn state_of(model: &Model) -> State {
    let velocity = model.init(2).iter().map(|x| x * 1e-3).collect();
    State { arenas: vec![(Role::Parameters, model.init(1)), (Role::Buffers, Vec::new()), (VELOCITY, velocity)] }
}

/// A folder with `model.safetensors`, which holds `model` as initialised by seed 1.
fn saved(model: &Model) -> (TempDir, PathBuf) {
    let folder = tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    save(&path, model, &model.init(1), &info(model)).unwrap();
    (folder, path)
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|x| x.to_bits()).collect()
}

/// The names of all files in `folder`.
fn files(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// A tensor to be written: name, type, shape, bytes.
type Raw = (String, Dtype, Vec<usize>, Vec<u8>);

/// The tensors of [`small`], all zero.
fn small_tensors() -> Vec<Raw> {
    vec![("1.weight".into(), Dtype::F32, vec![10, 4], vec![0; 160]), ("1.bias".into(), Dtype::F32, vec![10], vec![0; 40])]
}

fn file_of(tensors: &[Raw], metadata: Option<&str>) -> Vec<u8> {
    let views = tensors.iter().map(|(name, dtype, shape, bytes)| {
        let view = TensorView::new(*dtype, shape.clone(), bytes).unwrap();
        (name.clone(), view)
    });
    let metadata = metadata.map(|json| HashMap::from([(KEY.to_string(), json.to_string())]));
    serialize(views, metadata).unwrap()
}

fn metadata() -> Value {
    serde_json::to_value(info(&small())).unwrap()
}

/// The error of loading a file of `bytes`, after checking that it names the file and holds every one of `parts`.
fn refused(bytes: &[u8], parts: &[&str]) -> CheckpointError {
    let folder = tempdir().unwrap();
    let path = folder.path().join("some.safetensors");
    fs::write(&path, bytes).unwrap();
    match refused_path(&path, parts) {
        RunError::Network { source, .. } => source,
        error => panic!("{error:?}"),
    }
}

fn refused_path(path: &Path, parts: &[&str]) -> RunError {
    let error = load(path).expect_err("a bad checkpoint was loaded");
    let text = error.to_string();
    for part in [&[path.to_str().unwrap()], parts].concat() {
        assert!(text.contains(part), "{part:?} is not in {text:?}");
    }
    error
}

#[test]
fn what_was_saved_is_loaded_bit_for_bit() {
    for model in [small(), classic()] {
        let mut parameters = model.init(1);
        // Numbers that a detour over text or arithmetic would lose.
        let hard = [-0.0, f32::MIN_POSITIVE / 2.0, f32::MAX, f32::NEG_INFINITY, f32::from_bits(0x7fc0_1234), 1.0 / 3.0];
        parameters[..hard.len()].copy_from_slice(&hard);
        let folder = tempdir().unwrap();
        let path = folder.path().join("made/on the way/model.safetensors");
        save(&path, &model, &parameters, &info(&model)).unwrap();

        let loaded = load(&path).unwrap();
        assert_eq!(bits(loaded.state.parameters()), bits(&parameters));
        assert_eq!(loaded.model, model);
        assert_eq!(loaded.info, Some(info(&model)));
        assert_eq!(files(path.parent().unwrap()), ["model.safetensors"]);
    }
}

#[test]
fn saving_over_an_older_network_replaces_it() {
    let (folder, path) = saved(&classic());
    let newer = classic().init(2);
    save(&path, &classic(), &newer, &info(&classic())).unwrap();
    assert_eq!(bits(load(&path).unwrap().state.parameters()), bits(&newer));
    assert_eq!(files(folder.path()), ["model.safetensors"]);
}

/// Where a run may be: in the middle of an epoch, with sums that no decimal number of few digits is.
fn position() -> Position {
    let mut totals = Totals::default();
    for i in 1..100u32 {
        totals.add(&BatchMetrics { loss_sum: 10.0 / i as f32, correct: i % 7, count: 10, non_finite: 0 });
    }
    Position { epochs: 3, batches: 99, totals, seconds: 0.1 + 0.2 }
}

#[test]
fn a_checkpoint_to_go_on_from_is_loaded_bit_for_bit_and_is_a_network_too() {
    let model = classic();
    let state = state_of(&model);
    let folder = tempdir().unwrap();
    let path = folder.path().join("last.safetensors");
    save_network(&path, &model, &state, &info(&model), Some(&position()), &[]).unwrap();
    let loaded = load(&path).unwrap();
    assert_eq!((loaded.position, &loaded.state), (Some(position()), &state));

    save_network(&path, &model, &state.network(), &info(&model), None, &[]).unwrap();
    let network = load(&path).unwrap();
    assert_eq!((network.position, network.state.get(VELOCITY)), (None, None));
    assert_eq!(network.state, state.network());
}

#[test]
fn classes_keep_their_names_and_files_of_earlier_versions_mean_digits() {
    let names = ["cat & dog", "\u{72ac}", "<b>"].map(String::from).to_vec();
    let model = Model::new([3, 2, 1], vec![Layer::Flatten, linear::Settings { out: 3 }.into()], 3).unwrap();
    let folder = tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    save(&path, &model, &model.init(1), &Info { classes: names.clone(), ..info(&model) }).unwrap();
    let loaded = load(&path).unwrap();
    assert_eq!((loaded.classes(), &loaded.model), (names, &model));

    let mut metadata = metadata();
    metadata.as_object_mut().unwrap().remove("classes");
    fs::write(&path, file_of(&small_tensors(), Some(&metadata.to_string()))).unwrap();
    assert_eq!(load(&path).unwrap().classes(), digits());
}

#[test]
fn the_same_network_makes_the_same_file() {
    let model = small();
    let state = state_of(&model);
    let folder = tempdir().unwrap();
    let files: Vec<_> = (0..20)
        .map(|i| {
            let path = folder.path().join(i.to_string());
            save_network(&path, &model, &state, &info(&model), Some(&position()), &[]).unwrap();
            fs::read(path).unwrap()
        })
        .collect();
    assert!(files.iter().all(|file| *file == files[0]), "the header's order varies");
}

#[test]
fn a_checkpoint_that_lacks_a_part_of_the_optimizers_state_is_refused() {
    let json = serde_json::to_string(&position()).unwrap();
    let metadata = HashMap::from([(KEY.to_string(), metadata().to_string()), ("mnist-wgpu.position".to_string(), json)]);
    let velocity = |name: &str, len: usize| (format!("velocity.{name}"), Dtype::F32, vec![len / 4, 4], vec![0u8; len * 4]);
    let mut tensors = small_tensors();
    tensors.push(velocity("1.weight", 40));
    let views = |tensors: &[Raw]| {
        let views = tensors
            .iter()
            .map(|(name, dtype, shape, bytes)| (name.clone(), TensorView::new(*dtype, shape.clone(), bytes).unwrap()));
        serialize(views.collect::<Vec<_>>(), Some(metadata.clone())).unwrap()
    };
    refused(&views(&tensors), &["`velocity.1.bias` is missing"]);
    tensors.push(velocity("1.bias", 12));
    refused(&views(&tensors), &["`velocity.1.bias`", "expected F32 [10]"]);
    // Without a position nothing can go on from it: the tensors are strangers.
    refused(&file_of(&tensors, Some(&self::metadata().to_string())), &["`velocity.1.bias` belongs to no layer"]);
}

#[test]
fn the_file_is_what_pytorch_expects() {
    let model = classic();
    let (_folder, path) = saved(&model);
    let bytes = fs::read(&path).unwrap();
    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    let metadata = header.metadata().clone().unwrap();
    assert_eq!(metadata["format"], "pt");
    assert_eq!(serde_json::from_str::<Info>(&metadata[KEY]).unwrap(), info(&model));
    assert_eq!(metadata.len(), 2);

    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let mut names = tensors.names();
    names.sort();
    assert_eq!(names, ["0.bias", "0.weight", "3.bias", "3.weight", "7.bias", "7.weight", "9.bias", "9.weight"]);
    let arena = model.init(1);
    for p in model.parameters() {
        let tensor = tensors.tensor(&p.name).unwrap();
        assert_eq!((tensor.dtype(), tensor.shape()), (Dtype::F32, &p.shape[..]), "{}", p.name);
        let little_endian: Vec<u8> = arena[p.range.clone()].iter().flat_map(|x| x.to_le_bytes()).collect();
        assert!(tensor.data() == little_endian, "{}", p.name);
    }
}

#[test]
fn a_file_without_metadata_is_the_classic_network() {
    let model = classic();
    let arena = model.init(2);
    let raw = |p: &mnist_wgpu::model::Parameter| {
        (p.name.clone(), Dtype::F32, p.shape.clone(), arena[p.range.clone()].iter().flat_map(|x| x.to_le_bytes()).collect())
    };
    let tensors: Vec<Raw> = model.parameters().iter().map(raw).collect();
    let folder = tempdir().unwrap();
    let path = folder.path().join("from-pytorch.safetensors");
    fs::write(&path, file_of(&tensors, None)).unwrap();
    let loaded = load(&path).unwrap();
    assert_eq!(loaded.info, None);
    assert_eq!(loaded.model.parameters(), model.parameters());
    assert_eq!(bits(loaded.state.parameters()), bits(&arena));
    assert!(matches!(loaded.model.layers()[8], Layer::Dropout(_)));
}

#[test]
fn a_wrong_tensor_is_named_with_what_was_expected_and_found() {
    let good = metadata().to_string();
    let with = |change: &dyn Fn(&mut Vec<Raw>)| {
        let mut tensors = small_tensors();
        change(&mut tensors);
        file_of(&tensors, Some(&good))
    };
    refused(&with(&|t| t[0].2 = vec![4, 10]), &["`1.weight`", "F32 [4, 10]", "expected F32 [10, 4]"]);
    refused(&with(&|t| t[0].2 = vec![40]), &["`1.weight`", "F32 [40]", "expected F32 [10, 4]"]);
    refused(&with(&|t| t[1] = ("1.bias".into(), Dtype::F32, vec![0], vec![])), &["`1.bias`", "[0]", "expected F32 [10]"]);
    refused(&with(&|t| t[1] = ("1.bias".into(), Dtype::F32, vec![], vec![0; 4])), &["`1.bias`", "[]", "[10]"]);
    refused(&with(&|t| t[1] = ("1.bias".into(), Dtype::F64, vec![11], vec![0; 88])), &["`1.bias`", "F64 [11]", "F32 [10]"]);
    // As wide as an f32, but none.
    refused(&with(&|t| t[1].1 = Dtype::I32), &["`1.bias`", "I32 [10]", "expected F32 [10]"]);
    refused(&with(&|t| drop(t.remove(1))), &["`1.bias` is missing", "1.weight"]);
    refused(&with(&|t| t.clear()), &["`1.weight` is missing", "no tensor"]);
    refused(&with(&|t| t.push(("2.bias".into(), Dtype::F32, vec![1], vec![0; 4]))), &["`2.bias`", "1.weight, 1.bias"]);
    refused(&with(&|t| t[0].0 = "fc.weight".into()), &["`fc.weight`", "1.weight, 1.bias"]);
    // Without metadata the layers are the classic ones, which these are not.
    refused(&file_of(&small_tensors(), None), &["`1.bias`", "0.weight, 0.bias, 3.weight"]);
}

#[test]
fn which_of_several_faults_is_told_does_not_vary() {
    let extra = |name: &str| (name.to_string(), Dtype::F32, vec![1], vec![0; 4]);
    let tensors: Vec<Raw> = ["z", "b", "a", "y"].map(extra).into_iter().chain(small_tensors()).collect();
    let bytes = file_of(&tensors, Some(&metadata().to_string()));
    for _ in 0..20 {
        refused(&bytes, &["`a` belongs to no layer"]);
    }
}

#[test]
fn metadata_that_cannot_be_understood_is_refused() {
    let with = |json: &str| file_of(&small_tensors(), Some(json));
    for broken in ["", "{", "[]", "null", "7", "\"text\"", "{}"] {
        let error = refused(&with(broken), &["`mnist-wgpu`"]);
        assert!(matches!(error, CheckpointError::Info(_)), "{error:?}");
    }
    let changed = |field: &str, value: Value| {
        let mut metadata = metadata();
        metadata[field] = value;
        with(&metadata.to_string())
    };
    refused(&changed("normalisation", json!("mean 0.1307, std 0.3081")), &["`mean 0.1307, std 0.3081`", NORMALISATION]);
    refused(&changed("layers", json!(["flatten", "swish"])), &["`mnist-wgpu`", "swish"]);
    refused(&changed("layers", json!(["flatten", {"linear": {"out": -1}}])), &["`mnist-wgpu`"]);
    refused(&changed("layers", json!("flatten")), &["`mnist-wgpu`"]);
    refused(&changed("input", json!([28, 28])), &["`mnist-wgpu`"]);
    refused(&changed("epoch", json!(-1)), &["`mnist-wgpu`"]);
    refused(&changed("seed", json!(0.5)), &["`mnist-wgpu`"]);
}

#[test]
fn layers_that_cannot_be_built_are_refused_as_a_model_is() {
    let with = |input: Value, layers: Value| {
        let mut metadata = metadata();
        (metadata["input"], metadata["layers"]) = (input, layers);
        file_of(&small_tensors(), Some(&metadata.to_string()))
    };
    let image = json!([1, 2, 2]);
    refused(&with(image.clone(), json!([{"linear": {"out": 10}}])), &["layer 0, Linear(10)", "(1, 2, 2)"]);
    refused(&with(image.clone(), json!(["flatten", {"linear": {"out": 11}}])), &["(11)", "10 classes"]);
    refused(&with(image.clone(), json!([])), &["10 classes"]);
    refused(&with(image.clone(), json!([{"max_pool2d": {"size": 0}}])), &["layer 0", "1x1"]);
    refused(&with(json!([0, 2, 2]), json!(["flatten", {"linear": {"out": 10}}])), &[]);
    // Numbers that are no memory to have: refused, neither overflowed nor allocated.
    for huge in [u64::MAX, u64::MAX / 2 + 1, 1 << 62, 1 << 40, 1 << 33] {
        refused(&with(image.clone(), json!(["flatten", {"linear": {"out": huge}}, {"linear": {"out": 10}}])), &[]);
        refused(&with(image.clone(), json!([{"conv2d": {"out": 1, "kernel": huge, "padding": huge - 1}}])), &[]);
        refused(&with(json!([huge, huge, huge]), json!(["flatten", {"linear": {"out": 10}}])), &[]);
        refused(&with(json!([1, 1, huge]), json!(["flatten", {"linear": {"out": 10}}])), &[]);
    }
    // Layers that may well be built, but need far more than this file has.
    refused(&with(json!([3, 256, 256]), json!(["flatten", {"linear": {"out": 10}}])), &["`1.weight`", "[10, 4]", "196608"]);
    // Images that no data set has.
    for input in [[2, 2, 1], [1, 1, 257], [1, 257, 1], [1, 1, 1 << 23]] {
        refused(&with(json!(input), json!(["flatten", {"linear": {"out": 10}}])), &["expected images of 1 or 3 channels"]);
    }
}

#[test]
fn a_file_cut_at_any_length_is_refused() {
    let (_folder, path) = saved(&small());
    let whole = fs::read(&path).unwrap();
    for len in 0..whole.len() {
        let error = refused(&whole[..len], &["not a safetensors file"]);
        assert!(matches!(error, CheckpointError::Format(_)), "{len} of {} bytes: {error:?}", whole.len());
    }
    // One byte too many is no checkpoint either.
    refused(&[&whole[..], &[0]].concat(), &["not a safetensors file"]);
}

#[test]
fn a_file_with_any_byte_of_its_header_changed_does_no_harm() {
    let (_folder, path) = saved(&small());
    let whole = fs::read(&path).unwrap();
    let header = 8 + u64::from_le_bytes(whole[..8].try_into().unwrap()) as usize;
    let other = path.with_file_name("changed");
    for position in 0..header {
        for change in [0x01, 0x10, 0x80, 0xff] {
            let mut bytes = whole.clone();
            bytes[position] ^= change;
            fs::write(&other, &bytes).unwrap();
            // Some changes are harmless, as one of the seed; none may panic, and none may alter the network unnoticed.
            match load(&other) {
                Ok(loaded) => {
                    assert_eq!(bits(loaded.state.parameters()), bits(&small().init(1)), "byte {position} ^ {change:#x}")
                }
                Err(error) => assert!(error.to_string().contains("changed"), "{error}"),
            }
        }
    }
}

#[test]
fn files_that_are_no_checkpoints_are_refused() {
    let noise: Vec<u8> = (0..5000u32).map(|i| (i.wrapping_mul(0x9e37_79b9) >> 24) as u8).collect();
    // A zip archive, as torch.save writes.
    let zip = [&b"PK\x03\x04"[..], &noise].concat();
    let lengths = [0, 1, 100, 1 << 40, u64::MAX, u64::MAX - 7, i64::MAX as u64].map(|len: u64| len.to_le_bytes());
    let headers = lengths.iter().map(|len| [&len[..], b"{}"].concat());
    for bytes in [vec![], b"{}".to_vec(), noise, zip].into_iter().chain(headers) {
        refused(&bytes, &["not a safetensors file", "safetensors.torch.save_file"]);
    }
}

#[test]
fn what_cannot_be_read_is_named() {
    let folder = tempdir().unwrap();
    fs::write(folder.path().join("file"), "text").unwrap();
    for path in [folder.path().to_owned(), folder.path().join("missing"), folder.path().join("file/below")] {
        let error = refused_path(&path, &["cannot read the checkpoint"]);
        assert!(matches!(error, RunError::ReadNetwork { .. }), "{error:?}");
    }
}

#[test]
fn a_save_that_fails_leaves_everything_as_it_was() {
    let (folder, path) = saved(&small());
    let before = fs::read(&path).unwrap();
    // The last step, the renaming, fails: a folder with something in it is in the way.
    let taken = folder.path().join("taken");
    fs::create_dir(&taken).unwrap();
    fs::write(taken.join("file"), "text").unwrap();
    for target in [&taken, &path.join("below")] {
        let error = save(target, &small(), &small().init(2), &info(&small())).unwrap_err();
        assert!(matches!(error, RunError::WriteNetwork { .. }), "{error:?}");
        assert!(error.to_string().contains(target.to_str().unwrap()), "{error}");
    }
    assert_eq!(files(folder.path()), ["model.safetensors", "taken"], "a temporary file was left");
    assert_eq!(files(&taken), ["file"]);
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[test]
fn whoever_reads_during_a_save_finds_the_old_network_or_the_new_one_whole() {
    let model = classic();
    let (folder, path) = saved(&model);
    let networks = [1, 2].map(|seed| model.init(seed));
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for i in 0..60 {
                save(&path, &model, &networks[i % 2], &info(&model)).unwrap();
            }
            done.store(true, Ordering::SeqCst);
        });
        let mut reads = 0;
        while !done.load(Ordering::SeqCst) || reads == 0 {
            let loaded = load(&path).unwrap().state;
            assert!(networks.iter().any(|network| network == loaded.parameters()), "read {reads} is a mixture");
            reads += 1;
        }
    });
    assert_eq!(files(folder.path()), ["model.safetensors"]);
}

#[cfg(unix)]
#[test]
fn a_saved_file_has_the_permissions_of_any_new_file() {
    use std::os::unix::fs::PermissionsExt;
    let (folder, path) = saved(&small());
    let ordinary = folder.path().join("ordinary");
    fs::write(&ordinary, "").unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!(format!("{:o}", mode(&path)), format!("{:o}", mode(&ordinary)));
}

#[test]
fn a_target_that_cannot_be_written_is_known_before_training() {
    let (folder, path) = saved(&small());
    let before = fs::read(&path).unwrap();
    check_writable(&path).unwrap();
    check_writable(&folder.path().join("new/model.safetensors")).unwrap();
    assert_eq!(files(folder.path()), ["model.safetensors", "new"]);
    assert_eq!(fs::read(&path).unwrap(), before);
    assert!(files(&folder.path().join("new")).is_empty());

    let separator = folder.path().join("missing").display().to_string() + "/";
    let targets = [folder.path().to_owned(), separator.into(), path.join("below"), "".into(), "..".into()];
    for target in targets {
        check_writable(&target).expect_err(&target.display().to_string());
    }
    assert_eq!(files(folder.path()), ["model.safetensors", "new"]);
}

#[cfg(unix)]
#[test]
fn a_device_is_no_target_because_a_save_would_replace_it() {
    let error = check_writable(Path::new("/dev/null")).unwrap_err().to_string();
    assert!(error.contains("device"), "{error}");
}
