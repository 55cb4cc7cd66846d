//! What reads bytes from outside: a function for each kind, which reads them as the program does and holds what it read
//! to what must be true of it. The tests beside this file feed them spoiled files, and `fuzz/` whatever covers more of
//! the code.

use super::seeds;
use mnist_wgpu::checkpoint::{self, Checkpoint, Info};
use mnist_wgpu::comparison::Comparison;
use mnist_wgpu::data::idx::Array;
use mnist_wgpu::data::{Dataset, Images};
use mnist_wgpu::engine::{CpuEngine, Engine, Set, Settings};
use mnist_wgpu::evaluation::judge;
use mnist_wgpu::history::Row;
use mnist_wgpu::image::{Picture, is_picture};
use mnist_wgpu::model::Model;
use mnist_wgpu::normalisation::Normalisation;
use mnist_wgpu::ops::Layer;
use mnist_wgpu::reading::Content;
use mnist_wgpu::run::{CONFIG, METRICS, Run, TEST, Training};
use mnist_wgpu::sources::{Named, Sources, load};
use mnist_wgpu::state::State;
use mnist_wgpu::train::Position;
use mnist_wgpu::{foreign, layers, onnx, report};
use peak_alloc::PeakAlloc;
use std::fs;
use std::path::Path;
use std::sync::LazyLock;
use tempfile::TempDir;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// What reads bytes of one kind.
pub struct Reader {
    pub name: &'static str,
    pub read: fn(&[u8]),
    /// Valid bytes, which others are made from.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// MiB that reading takes at most, of a file of at most [`LONGEST`] bytes.
    pub most: usize,
}

/// Bytes of the files that are tried.
pub const LONGEST: usize = 1 << 16;

pub static ALL: [Reader; 14] = [
    Reader { name: "idx", read: idx, seeds: seeds::idx, most: 32 },
    Reader { name: "gzip", read: gzip, seeds: seeds::gzip, most: 32 },
    Reader { name: "data_set", read: data_set, seeds: seeds::data_set, most: 64 },
    Reader { name: "checkpoint", read: checkpoint, seeds: seeds::checkpoint, most: 64 },
    Reader { name: "header", read: header, seeds: seeds::header, most: 64 },
    Reader { name: "description", read: description, seeds: seeds::description, most: 64 },
    Reader { name: "png", read: png, seeds: seeds::png, most: 512 },
    Reader { name: "jpeg", read: jpeg, seeds: seeds::jpeg, most: 512 },
    Reader { name: "layers", read: layers, seeds: seeds::layers, most: 64 },
    Reader { name: "model_file", read: model_file, seeds: seeds::model_file, most: 64 },
    Reader { name: "normalisation", read: normalisation, seeds: seeds::normalisation, most: 16 },
    Reader { name: "config", read: config, seeds: seeds::config, most: 64 },
    Reader { name: "metrics", read: metrics, seeds: seeds::metrics, most: 64 },
    Reader { name: "tested", read: tested, seeds: seeds::tested, most: 64 },
];

impl Reader {
    /// The reader of this name.
    ///
    /// # Panics
    /// Where there is none.
    pub fn named(name: &str) -> &'static Self {
        ALL.iter().find(|reader| reader.name == name).expect("a reader of this name")
    }

    /// Reads `bytes`, in bounded memory.
    ///
    /// # Panics
    /// Where the program would, where what was read is not as it must be, and where it took too much memory.
    pub fn check(&self, bytes: &[u8]) {
        MEMORY.reset_peak_usage();
        let before = MEMORY.current_usage();
        (self.read)(bytes);
        let taken = MEMORY.peak_usage().saturating_sub(before) >> 20;
        assert!(taken <= self.most, "{}: it took {taken} MiB, expected at most {}", self.name, self.most);
    }
}

/// A file of images or of labels.
fn idx(bytes: &[u8]) {
    const MOST: u64 = 1 << 20;
    foreign::known(bytes);
    let Ok(array) = Array::read_at_most(MOST, bytes).map_err(told) else { return };
    let count = array.sizes()[0];
    assert_eq!(array.sha256().len(), 64);
    if let Ok(labels) = array.clone().into_labels().map_err(told) {
        assert_eq!(labels.len(), count);
    }
    if let Ok((shape, pixels)) = array.into_images().map_err(told) {
        assert_eq!(pixels.len() as u64, shape.iter().fold(count as u64, |len, &side| len.saturating_mul(side as u64)));
    }
}

/// The same, packed. The bytes follow gzip's header, so that they are unpacked at all.
fn gzip(bytes: &[u8]) {
    idx(&[&seeds::GZIP_HEADER, bytes].concat());
}

/// A folder with a data set, one file of which is the bytes behind the first; that says which.
fn data_set(bytes: &[u8]) {
    thread_local! { static FOLDERS: [TempDir; 3] = seeds::data_sets(); }
    let Some((&which, bytes)) = bytes.split_first() else { return };
    if Picture::size_of(bytes).is_ok_and(is_large) {
        return;
    }
    let (folder, file) = seeds::FILES[usize::from(which) % seeds::FILES.len()];
    let folder = FOLDERS.with(|folders| folders[folder].path().to_path_buf());
    let whole = fs::read(folder.join(file)).ok();
    fs::write(folder.join(file), bytes).expect("it is written");
    let sources = Sources { folder: Some(Named { by: "it".into(), path: folder.clone() }), ..Sources::default() };
    if let Ok(found) = load(&sources, &mut |_| {}).map_err(told) {
        let Dataset { shape, classes, train, test } = found.dataset;
        Dataset::new(shape, classes, train, test).expect("what was loaded is a data set");
    }
    match whole {
        Some(whole) => fs::write(folder.join(file), whole).expect("it is written"),
        None => fs::remove_file(folder.join(file)).expect("it is removed"),
    }
}

/// The file of a network, ours or another's.
fn checkpoint(bytes: &[u8]) {
    foreign::known(bytes);
    let Ok(network) = checkpoint::read(bytes).map_err(told) else { return };
    rewrite(&network);
    predict(network);
}

/// The header of such a file, to which its length and as many numbers as it asks for are added.
fn header(bytes: &[u8]) {
    const MOST: u64 = 1 << 20;
    let Ok(fields) = serde_json::from_slice::<serde_json::Value>(bytes) else { return };
    let ends = fields.as_object().into_iter().flat_map(|fields| fields.values());
    let ends = ends.filter_map(|tensor| tensor.get("data_offsets")?.get(1)?.as_u64());
    let len = ends.max().unwrap_or_default().min(MOST) as usize;
    let numbers = (0..len).map(|at| (at * 37 % 113) as u8);
    let file = (bytes.len() as u64).to_le_bytes().into_iter().chain(bytes.iter().copied()).chain(numbers);
    checkpoint(&Vec::from_iter(file));
}

/// What our metadata say of a network, of how far its training has come and how it went: three texts with zeros between
/// them. A network is made by them, written, read and used.
fn description(bytes: &[u8]) {
    let mut parts = bytes.split(|&byte| byte == 0);
    let mut part = || parts.next().unwrap_or_default();
    let Ok(info) = serde_json::from_slice::<Info>(part()) else { return };
    let position = serde_json::from_slice::<Position>(part()).ok();
    let history = serde_json::from_slice::<Vec<Row>>(part()).unwrap_or_default();
    let Ok(model) = Model::new(info.input, info.layers.clone(), info.classes.len()).map_err(told) else { return };
    if !is_small(&model) {
        return;
    }
    let state = State::new(&model, info.seed);
    let state = position.iter().fold(state, |state, _| seeds::in_training(&model, state));
    let file = checkpoint::write(&model, &state, &info, position.as_ref(), &history).expect("it is written");
    match checkpoint::read(&file).map_err(told) {
        Ok(read) => {
            assert_eq!((&read.model, &read.state, read.info.as_ref()), (&model, &state, Some(&info)));
            assert_eq!((read.position, &read.history), (position, &history));
            predict(read);
        }
        Err(error) => {
            // What is not written like this can be refused: pixels of another kind, and a sample that is no image.
            let refused = ["normalisation", "expected images of", "expected from 1 to"];
            assert!(refused.iter().any(|words| error.contains(words)), "{error}");
        }
    }
}

/// A network that was read is written and read again: it is the same.
fn rewrite(network: &Checkpoint) {
    let Checkpoint { model, state, position, history, .. } = network;
    let Some(info) = &network.info else { return };
    let file = checkpoint::write(model, state, info, position.as_ref(), history).expect("it is written");
    let again = checkpoint::read(&file).expect("it is read again");
    let bits = |state: &State| {
        let arenas = state.arenas.iter();
        arenas.map(|(role, arena)| (*role, arena.iter().map(|x| x.to_bits()).collect())).collect::<Vec<(_, Vec<u32>)>>()
    };
    assert_eq!((&again.model, bits(&again.state), again.info.as_ref()), (model, bits(state), Some(info)));
    assert_eq!((again.position, &again.history), (*position, history));
}

/// What `predict` and `export` do with a network that was read.
fn predict(network: Checkpoint) {
    static PICTURE: LazyLock<Picture> = LazyLock::new(seeds::picture);
    if network.check_finite().map_err(told).is_err() || !is_small(&network.model) {
        return;
    }
    let (model, classes) = (&network.model, network.classes());
    assert_eq!(classes.len(), model.classes());
    onnx::export(model, &network.state, network.info.as_ref());
    let shape = model.shapes()[0].image().expect("a network takes images");
    let content = Content::of(&PICTURE, shape, network.takes_whole()).expect("there is something in the picture");
    let samples = content.samples();
    let count = samples.len() / shape.iter().product::<usize>();
    assert_eq!(samples.len(), count * shape.iter().product::<usize>(), "samples are of the shape {shape:?}");
    let test = Images { pixels: samples, labels: vec![0; count] };
    let data = Dataset { shape, classes, train: Images::default(), test };
    let settings = Settings { batch_size: model.batch_within_bounds(count), ..Settings::default() };
    let mut engine = CpuEngine::new(model, &data, settings).expect("an engine is made");
    engine.set_state(&network.state.network()).expect("the state is of the network");
    let order: Vec<u32> = (0..count as u32).collect();
    let judged = pollster::block_on(judge(&mut engine, Set::Test, &order, settings.batch_size, &mut ()));
    let Ok(judged) = judged.map_err(told) else { return };
    let mut answers = judged.logits.chunks_exact(data.classes.len()).map(|logits| (logits, None));
    for reading in content.readings(&mut answers) {
        assert!(usize::from(reading.verdict.guess) < data.classes.len());
        assert_eq!(reading.probabilities.len(), data.classes.len());
    }
}

/// Whether a test has time for it.
fn is_small(model: &Model) -> bool {
    model.training_flops(1) < 10_000_000
        && model.arena_len() < 200_000
        && model.shapes().iter().all(|shape| shape.len() < 200_000)
}

/// A PNG file, whose sums are made right.
fn png(bytes: &[u8]) {
    picture(&seeds::with_sums(bytes));
}

fn jpeg(bytes: &[u8]) {
    picture(bytes);
}

fn picture(bytes: &[u8]) {
    /// Pixels of a picture that is looked for digits in.
    const LOOKED_AT: u64 = 1 << 14;
    is_picture(bytes);
    let said = Picture::size_of(bytes).map_err(told);
    if said.as_ref().is_ok_and(|&size| is_large(size)) {
        return;
    }
    let Ok(picture) = Picture::decode(bytes).map_err(told) else { return };
    assert_eq!(said, Ok(picture.size), "a picture is as large as it says");
    if pixels(picture.size) > LOOKED_AT {
        return;
    }
    for (shape, whole) in [([1, 28, 28], false), ([3, 19, 64], true), ([1, 7, 1], true)] {
        let Ok(content) = Content::of(&picture, shape, whole).map_err(told) else { continue };
        let samples = content.samples();
        assert!(!samples.is_empty() && samples.len().is_multiple_of(shape.iter().product()));
        if let Content::Digits(digits) = content {
            // They stand in the picture, but for what is rounded.
            let within = |[left, top, width, height]: [u32; 4]| {
                let [columns, rows] = picture.size;
                width > 0 && height > 0 && left + width <= columns + 1 && top + height <= rows + 1
            };
            assert!(digits.iter().all(|digit| within(digit.place)), "{:?}", picture.size);
        }
    }
}

/// Whether decoding a picture of these columns and rows takes its time, and its memory: a file of a few bytes can have
/// half a thousand million pixels.
fn is_large(size: [u32; 2]) -> bool {
    const DECODED: u64 = 1 << 22;
    pixels(size) > DECODED
}

fn pixels([width, height]: [u32; 2]) -> u64 {
    u64::from(width) * u64::from(height)
}

/// The text of a network.
fn layers(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let parsed = match layers::parse(&text, 10) {
        Ok(layers) => layers,
        Err(error) => {
            // A mark is put under it.
            assert!(text.get(error.at.clone()).is_some(), "{error} at {:?}", error.at);
            told(error);
            return;
        }
    };
    let said = layers::text(&parsed);
    assert_eq!(layers::parse(&said, 10).map(|again| layers::text(&again)), Ok(said), "a network's own words");
    for input in [[1, 28, 28], [3, 256, 256]] {
        let Ok(model) = Model::new(input, parsed.clone(), 10).map_err(told) else { continue };
        // As a checkpoint has them.
        let json = serde_json::to_string(&parsed).expect("layers are written");
        assert_eq!(serde_json::from_str::<Vec<Layer>>(&json).expect("they are read again"), parsed);
        model.parameter_count();
        model.training_flops(model.batch_within_bounds(Training::LARGEST_BATCH as usize));
        if is_small(&model) {
            model.init(0);
        }
    }
}

/// A file that `--model` names.
fn model_file(bytes: &[u8]) {
    let Ok(text) = layers::from_toml(&String::from_utf8_lossy(bytes)).map_err(told) else { return };
    layers(text.as_bytes());
}

/// A mean and a standard deviation, a line each.
fn normalisation(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let (mean, std) = text.split_once('\n').map_or((Some(&*text), None), |(mean, std)| (Some(mean), Some(std)));
    let Ok(Some(said)) = Normalisation::parse(mean, std).map_err(told) else { return };
    let file = seeds::network(3);
    if let Ok(network) = checkpoint::read_normalised(&file, Some(said)).map_err(told) {
        rewrite(&network);
        predict(network);
    }
}

fn config(bytes: &[u8]) {
    run(CONFIG, bytes);
}

fn metrics(bytes: &[u8]) {
    run(METRICS, bytes);
}

fn tested(bytes: &[u8]) {
    run(TEST, bytes);
}

/// A run's folder with `bytes` in the place of the file `name`: read, compared and drawn.
fn run(name: &str, bytes: &[u8]) {
    thread_local! { static FOLDER: TempDir = seeds::run(); }
    let run = Run { folder: FOLDER.with(|folder| folder.path().into()) };
    let whole = fs::read(run.path(name)).expect("it is there");
    fs::write(run.path(name), bytes).expect("it is written");
    read_run(&run);
    fs::write(run.path(name), whole).expect("it is written");
}

fn read_run(run: &Run) {
    let copy = seeds::folder();
    let again = Run { folder: copy.path().into() };
    let config = run.config().map_err(told);
    if let Ok(config) = &config {
        again.write_config(config).expect("it is written");
        assert_eq!(again.config().map_err(told).as_ref(), Ok(config));
        let layers = config.training.layers(10).expect("a configuration is checked");
        if let Ok(model) = Model::new([1, 28, 28], layers, 10) {
            model.training_flops(model.batch_within_bounds(config.training.batch_size as usize));
        }
        config.training.optimizer();
        let (schedule, epochs) = (config.training.schedule(), config.training.epochs as usize);
        for per_epoch in [1, 2, 1 << 20] {
            for step in [0, 1, epochs * per_epoch / 3, epochs * per_epoch - 1] {
                let rate = schedule.at(step.min(epochs * per_epoch - 1), per_epoch);
                assert!(rate.is_finite() && rate >= 0.0, "{rate} in step {step}");
            }
        }
    }
    if let Ok(rows) = run.rows().map_err(told) {
        again.write_history(&rows).expect("it is written");
        assert_eq!(again.rows().map_err(told).map(|rows| bits(&rows)), Ok(bits(&rows)));
    }
    if let Ok(Some(tested)) = run.tested().map_err(told) {
        again.write_tested(&tested).expect("it is written");
        assert_eq!(again.tested().map_err(told), Ok(Some(tested.clone())));
        let confusion = tested.confusion();
        confusion.mistakes();
        for class in 0..confusion.classes() {
            assert!(confusion.f1(class).is_none_or(|f1| (0.0..=1.0).contains(&f1)));
            assert!(confusion.support(class) <= confusion.images());
        }
    }
    if let Ok(comparison) = Comparison::read(&[Path::new(&run.folder).into()]).map_err(told) {
        let (head, rows, _) = comparison.table();
        assert!(rows.iter().all(|row| row.len() == head.len()));
        let page = report::comparison::html("runs", None, &comparison).expect("it is drawn");
        assert!(!page.contains("NaN,") && !page.contains("inf,"), "no path of a curve leads nowhere");
    }
}

/// Numbers by their bits: NaN is itself.
fn bits(rows: &[Row]) -> Vec<[u64; 8]> {
    let row = |row: &Row| {
        let Row { epoch, train_loss, train_accuracy, val_loss, val_accuracy, seconds, images_per_second, learning_rate } =
            *row;
        let numbers = [train_loss, train_accuracy, val_loss, val_accuracy, seconds, images_per_second, learning_rate];
        let mut bits = [u64::from(epoch); 8];
        bits.iter_mut().skip(1).zip(numbers).for_each(|(bits, x)| *bits = if x.is_nan() { u64::MAX } else { x.to_bits() });
        bits
    };
    rows.iter().map(row).collect()
}

/// An error's text, which has to be one.
fn told(error: impl std::fmt::Display) -> String {
    let text = error.to_string();
    assert!(!text.is_empty());
    text
}
