//! Small valid files of each kind, which spoiled ones are made from. The program makes them itself, but for two
//! pictures that no encoder at hand makes: a progressive JPEG and one in four inks.

use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
use flate2::{Compression, Crc};
use image::{DynamicImage, GrayImage, ImageFormat, Luma};
use mnist_wgpu::checkpoint::{self, Info, NORMALISATION};
use mnist_wgpu::data::digits;
use mnist_wgpu::history::Row;
use mnist_wgpu::image::Picture;
use mnist_wgpu::metrics::{BatchMetrics, Totals};
use mnist_wgpu::model::Model;
use mnist_wgpu::ops::augment::Amounts;
use mnist_wgpu::run::{Config, Data, Device, Program, Resumed, Run, Tested, Training};
use mnist_wgpu::state::{Role, State};
use mnist_wgpu::train::Position;
use mnist_wgpu::{layers, run};
use safetensors::tensor::{Dtype, TensorView};
use std::collections::HashMap;
use std::fs;
use std::io::{Cursor, Write};
use std::path::Path;
use tempfile::{TempDir, tempdir, tempdir_in};

/// A whole gzip file begins so: packed by deflate, and nothing else said.
pub const GZIP_HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];

/// Folders of [`data_sets`] and files in them.
pub const FILES: [(usize, &str); 9] = [
    (0, "train-images-idx3-ubyte"),
    (0, "train-labels-idx1-ubyte"),
    (0, "t10k-images-idx3-ubyte"),
    (0, "t10k-labels-idx1-ubyte"),
    (0, "classes.txt"),
    (1, "emnist-letters-train-labels-idx1-ubyte"),
    (1, "emnist-letters-mapping.txt"),
    (2, "train/a/0.png"),
    (2, "classes.txt"),
];

fn array(code: u8, sizes: &[u32], data: &[u8]) -> Vec<u8> {
    let sizes_bytes = sizes.iter().flat_map(|size| size.to_be_bytes());
    [0, 0, code, sizes.len() as u8].into_iter().chain(sizes_bytes).chain(data.iter().copied()).collect()
}

fn gzipped(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).expect("it is packed");
    encoder.finish().expect("it is packed")
}

pub fn idx() -> Vec<Vec<u8>> {
    let floats = |values: &[f32]| values.iter().flat_map(|x| x.to_be_bytes()).collect::<Vec<u8>>();
    let doubles = [0.0f64, 1.0, 3.0].iter().flat_map(|x| x.to_be_bytes()).collect::<Vec<u8>>();
    let images = array(8, &[3, 2, 4], &[7; 24]);
    vec![
        array(8, &[5], &[0, 1, 2, 3, 9]),
        array(9, &[2, 1], &[0, 1]),
        array(0x0b, &[2, 8], &[0; 32]),
        array(0x0c, &[2], &[0, 0, 0, 1, 0, 0, 1, 0]),
        array(0x0d, &[1, 4], &floats(&[0.0, 0.5, 1.0, 0.25])),
        array(0x0e, &[3, 1], &doubles),
        array(8, &[2, 2, 2, 3], &[9; 24]),
        array(8, &[2, 3, 2, 2], &[9; 24]),
        [gzipped(&images[..9]), gzipped(&images[9..])].concat(),
        images,
    ]
}

pub fn gzip() -> Vec<Vec<u8>> {
    let deflated = |bytes: &[u8], level: u32| {
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::new(level));
        encoder.write_all(bytes).expect("it is packed");
        let mut file = encoder.finish().expect("it is packed");
        let mut sum = Crc::new();
        sum.update(bytes);
        file.extend(sum.sum().to_le_bytes());
        file.extend((bytes.len() as u32).to_le_bytes());
        file
    };
    let images = array(8, &[40, 8, 8], &(0..40 * 64).map(|i| (i * i % 251) as u8).collect::<Vec<u8>>());
    let blank = array(8, &[900, 28, 28], &vec![0; 900 * 784]);
    // As many as its sizes say, and more than may be: 40 MB in 40 kB.
    let bomb = array(8, &[51_021, 28, 28], &vec![0; 51_021 * 784]);
    vec![deflated(&images, 0), deflated(&images, 1), deflated(&images, 9), deflated(&blank, 9), deflated(&bomb, 9)]
}

/// A new folder, in memory where the system has a place for it and nothing else is asked for: what the program writes
/// is synced to the disk.
pub fn folder() -> TempDir {
    let memory = Path::new("/dev/shm");
    let asked = std::env::var_os("TMPDIR").is_some();
    if !asked && memory.is_dir() { tempdir_in(memory) } else { tempdir() }.expect("a folder")
}

/// Folders: a data set of MNIST's names, one of EMNIST's, and one of pictures.
pub fn data_sets() -> [TempDir; 3] {
    let [plain, letters, pictures] = [(); 3].map(|()| folder());
    for (index, (folder, name)) in FILES.iter().enumerate() {
        let path = [&plain, &letters, &pictures][*folder].path().join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path, file(index)).expect("it is written");
    }
    for (name, bytes) in [
        ("emnist-letters-train-images-idx3-ubyte", file(0)),
        ("emnist-letters-test-images-idx3-ubyte", file(2)),
        ("emnist-letters-test-labels-idx1-ubyte", file(3)),
    ] {
        fs::write(letters.path().join(name), bytes).expect("it is written");
    }
    for name in ["train/a/1.png", "train/b/0.png", "test/a/0.png", "test/b/0.png"] {
        let path = pictures.path().join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path, file(7)).expect("it is written");
    }
    [plain, letters, pictures]
}

/// The content of the file `index` of [`FILES`].
fn file(index: usize) -> Vec<u8> {
    match index {
        0 => array(8, &[4, 3, 5], &[9; 60]),
        1 | 5 => array(8, &[4], &[1, 2, 1, 2]),
        2 => array(8, &[2, 3, 5], &[9; 30]),
        3 => array(8, &[2], &[1, 2]),
        4 => b"zero\none\ntwo\n".to_vec(),
        6 => b"1 65 97\n2 66 98\n".to_vec(),
        7 => encoded(&drawn(12, 16).into(), ImageFormat::Png),
        _ => b"b\na\n".to_vec(),
    }
}

pub fn data_set() -> Vec<Vec<u8>> {
    (0..FILES.len()).map(|index| [vec![index as u8], file(index)].concat()).collect()
}

fn info(model: &Model, dataset: &str) -> Info {
    Info {
        input: model.shapes()[0].image().expect("an image"),
        layers: model.layers().to_vec(),
        classes: (0..model.classes()).map(|class| class.to_string()).collect(),
        normalisation: NORMALISATION.into(),
        dataset: dataset.into(),
        epoch: 7,
        seed: 1,
        val_fraction: 0.1,
        version: "0.1.0".into(),
    }
}

/// With a line of each kind of layer among them.
fn models() -> Vec<(Model, &'static str)> {
    let model = |input, text, dataset| {
        let model = Model::new(input, layers::parse(text, 3).expect("layers"), 3).expect("a model");
        (model, dataset)
    };
    vec![
        model([1, 28, 28], "avgpool 7, linear", "mnist"),
        model([1, 6, 6], "conv 2 3, relu, pool 2, linear", "custom"),
        model([3, 9, 8], "conv 2 3 stride 2 padding 1, bn, relu, conv 3 1, bn, leaky 0.1, globalpool, flatten", "pictures"),
        model([1, 5, 4], "bn, leaky, avgpool 2, flatten, dropout 0.5, linear 4, relu, linear", "fashion-mnist"),
    ]
}

fn position() -> Position {
    let mut totals = Totals::default();
    totals.add(&BatchMetrics { loss_sum: 1.5, correct: 3, count: 4, non_finite: 0 });
    Position { epochs: 2, batches: 1, totals, seconds: 0.25 }
}

/// With the optimizer's numbers and averages.
pub fn in_training(model: &Model, network: State) -> State {
    let State { arenas } = network;
    let average = [(Role::Average, arenas[0].1.clone()), (Role::AverageBuffers, arenas[1].1.clone())];
    let slot = (Role::Slot("velocity"), model.init(2));
    State { arenas: arenas.into_iter().chain(average).chain([slot]).collect() }
}

/// The file of the network `index` among a few.
pub fn network(index: usize) -> Vec<u8> {
    let (model, dataset) = models().remove(index);
    checkpoint::write(&model, &State::new(&model, 1), &info(&model, dataset), None, &[]).expect("it is written")
}

pub fn checkpoint() -> Vec<Vec<u8>> {
    let mut files: Vec<Vec<u8>> = (0..models().len()).map(network).collect();
    let (model, dataset) = models().remove(2);
    let state = in_training(&model, State::new(&model, 1));
    files.push(
        checkpoint::write(&model, &state, &info(&model, dataset), Some(&position()), &[row(1)]).expect("it is written"),
    );
    files.push(others());
    files
}

/// As many layers as a network may have, and all that training keeps of them.
pub fn deep() -> Vec<u8> {
    let text = "bn, ".repeat(997) + "flatten, linear";
    let model = Model::new([1, 5, 4], layers::parse(&text, 3).expect("layers"), 3).expect("a model");
    let state = in_training(&model, State::new(&model, 1));
    checkpoint::write(&model, &state, &info(&model, "custom"), Some(&position()), &[]).expect("it is written")
}

/// As another program saves one: numbers of 16 bits, names with a prefix, mean and deviation beside them.
fn others() -> Vec<u8> {
    let (model, dataset) = models().remove(1);
    let numbers: Vec<Vec<u8>> = model.parameters().iter().map(|tensor| vec![0x3c; 2 * tensor.range.len()]).collect();
    let tensors = model.parameters().iter().zip(&numbers).enumerate().map(|(index, (tensor, numbers))| {
        let kind = if index % 2 == 0 { Dtype::F16 } else { Dtype::BF16 };
        let view = TensorView::new(kind, tensor.shape.clone(), numbers).expect("numbers of this shape");
        (format!("module.{}", tensor.name), view)
    });
    let info = serde_json::to_string(&info(&model, dataset)).expect("it is written");
    let metadata = [("mnist-wgpu", info.as_str()), ("mean", "0.13"), ("std", "[0.3]")];
    let metadata: HashMap<_, _> = metadata.into_iter().map(|(key, text)| (key.to_string(), text.to_string())).collect();
    safetensors::serialize(tensors, Some(metadata)).expect("it is written")
}

pub fn header() -> Vec<Vec<u8>> {
    let header = |file: Vec<u8>| {
        let len = file.first_chunk().map_or(0, |len| u64::from_le_bytes(*len)) as usize;
        file[8..8 + len].trim_ascii_end().to_vec()
    };
    checkpoint().into_iter().map(header).collect()
}

pub fn description() -> Vec<Vec<u8>> {
    let texts = |model: &Model, dataset| {
        let info = serde_json::to_vec(&info(model, dataset)).expect("it is written");
        let position = serde_json::to_vec(&position()).expect("it is written");
        let history = serde_json::to_vec(&[row(1), row(2)]).expect("it is written");
        [info, position, history].join(&0)
    };
    models().iter().map(|(model, dataset)| texts(model, dataset)).collect()
}

/// Two strokes.
fn drawn(width: u32, height: u32) -> GrayImage {
    let ink = |x: u32, y: u32| (x * 5 / width == 1 || x * 5 / width == 3) && y * 6 / height > 0 && y * 6 / height < 5;
    GrayImage::from_fn(width, height, |x, y| Luma([if ink(x, y) { 20 } else { 240 }]))
}

/// A picture that a network is asked about.
pub fn picture() -> Picture {
    Picture::of(&drawn(60, 40).into()).expect("a picture")
}

fn encoded(picture: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    picture.write_to(&mut bytes, format).expect("it is written");
    bytes.into_inner()
}

/// A PNG file of these chunks.
fn png_of(chunks: &[(&[u8], &[u8])]) -> Vec<u8> {
    let mut file = b"\x89PNG\r\n\x1a\n".to_vec();
    for (kind, data) in chunks {
        file.extend((data.len() as u32).to_be_bytes());
        file.extend(kind.iter().chain(data.iter()));
        file.extend([0; 4]);
    }
    with_sums(&file)
}

/// A PNG file with the sums of its chunks set right.
pub fn with_sums(file: &[u8]) -> Vec<u8> {
    let mut file = file.to_vec();
    let mut at = 8;
    while let Some(len) = file.get(at..).and_then(|rest| rest.first_chunk()).map(|len| u32::from_be_bytes(*len) as usize) {
        let (data, sum) = (at + 4..at + 8 + len, at + 8 + len);
        at = sum + 4;
        if at > file.len() {
            break;
        }
        let mut crc = Crc::new();
        crc.update(&file[data]);
        file[sum..at].copy_from_slice(&crc.sum().to_be_bytes());
    }
    file
}

/// How a camera was held, as TIFF has it: a quarter turn.
const TURNED: [u8; 26] = [
    b'M', b'M', 0, 42, 0, 0, 0, 8, 0, 1, 0x01, 0x12, 0, 3, 0, 0, 0, 1, 0, 6, 0, 0, 0, 0, 0, 0, //
];

pub fn png() -> Vec<Vec<u8>> {
    let header = |width: u32, height: u32, depth: u8, colour: u8, interlaced: u8| {
        let sides = width.to_be_bytes().into_iter().chain(height.to_be_bytes());
        sides.chain([depth, colour, 0, 0, interlaced]).collect::<Vec<u8>>()
    };
    let packed = |bytes: &[u8]| {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(bytes).expect("it is packed");
        encoder.finish().expect("it is packed")
    };
    let grey = DynamicImage::from(drawn(40, 30));
    // Of 8x8 pixels in seven passes: bytes a row, and rows.
    let passes = [(1, 1), (1, 1), (2, 1), (2, 2), (4, 2), (4, 4), (8, 4)];
    let interlaced: Vec<u8> = passes.iter().flat_map(|(columns, rows)| vec![0; (1 + columns) * rows]).collect();
    vec![
        encoded(&grey, ImageFormat::Png),
        encoded(&DynamicImage::from(grey.to_rgb8()), ImageFormat::Png),
        encoded(&DynamicImage::from(grey.to_rgba16()), ImageFormat::Png),
        png_of(&[(b"IHDR", &header(8, 8, 8, 0, 1)), (b"IDAT", &packed(&interlaced)), (b"IEND", &[])]),
        png_of(&[
            (b"IHDR", &header(9, 3, 2, 3, 0)),
            (b"PLTE", &[0, 0, 0, 255, 255, 255, 90, 0, 0]),
            (b"tRNS", &[0, 128]),
            (b"eXIf", &TURNED),
            (b"IDAT", &packed(&[[0, 0x1b, 0x1b, 0], [1, 0x1b, 0, 0], [4, 9, 9, 0]].concat())),
            (b"IEND", &[]),
        ]),
    ]
}

pub fn jpeg() -> Vec<Vec<u8>> {
    let grey = DynamicImage::from(drawn(40, 30));
    let plain = encoded(&grey, ImageFormat::Jpeg);
    let note = [&[0xff, 0xe1, 0, (8 + TURNED.len()) as u8][..], b"Exif\0\0", &TURNED].concat();
    vec![
        [&plain[..2], &note, &plain[2..]].concat(),
        encoded(&DynamicImage::from(grey.to_rgb8()), ImageFormat::Jpeg),
        include_bytes!("progressive.jpg").to_vec(),
        include_bytes!("cmyk.jpg").to_vec(),
        plain,
    ]
}

pub fn layers() -> Vec<Vec<u8>> {
    let all = "conv 32 3, bn, relu, conv 4 5 stride 2 padding 1, leaky 0.1, pool 2, avgpool 3 # all\n globalpool, flatten,\n\
               linear 128, dropout 0.5, linear";
    let accurate = Training::ACCURATE.model.unwrap_or_default();
    let classic = layers::text(&Model::classic_layers(10, 0.5));
    [all, &accurate, &classic, "LINEAR"].map(|text| text.as_bytes().to_vec()).into()
}

pub fn model_file() -> Vec<Vec<u8>> {
    let several =
        "layers = [\n  \"conv 8 3 stride 2 # small\", 'bn,', \"\"\"\nrelu\npool 2\"\"\",\n  \"linear\", # last\n]\n";
    ["layers = [\"conv 32 3\", \"relu\", \"linear\"]", several].map(|text| text.as_bytes().to_vec()).into()
}

pub fn normalisation() -> Vec<Vec<u8>> {
    ["0.1307\n0.3081", "(0.5, 0.4,0.6)\n[1,2, 3,]", "-1e-3\n1e30"].map(|text| text.as_bytes().to_vec()).into()
}

fn row(epoch: u32) -> Row {
    Row {
        epoch,
        train_loss: 0.3 / f64::from(epoch),
        train_accuracy: 0.9,
        val_loss: 0.2,
        val_accuracy: 0.95,
        seconds: 2.0,
        images_per_second: 1e4,
        learning_rate: 0.01,
    }
}

/// The folder of a run that is at its end.
pub fn run() -> TempDir {
    let folder = folder();
    let run = Run { folder: folder.path().into() };
    let device = Device { name: "cpu".into(), backend: None, driver: None, instructions: Some("AVX2".into()) };
    let program = Program { version: "0.1.0".into(), started: "2026-01-01T00:00:00Z".into() };
    let config = Config {
        training: Training { epochs: 2, augment: Some(Amounts::USUAL), ..Training::ACCURATE },
        data: Data {
            name: "mnist".into(),
            folder: Some("/somewhere".into()),
            training_images: 60_000,
            test_images: 4,
            shape: [1, 28, 28],
            classes: 2,
            sha256: "0123456789abcdef".into(),
        },
        resumed: vec![Resumed { epochs: 1, device: device.clone(), program: program.clone() }],
        device,
        program,
    };
    run.write_config(&config).expect("it is written");
    run.write_history(&[row(1), row(2)]).expect("it is written");
    let classes = digits()[..2].to_vec();
    let confusion = vec![vec![2, 1], vec![0, 1]];
    let tested = Tested { epochs: 2, epoch: 2, images: 4, loss: 0.3, accuracy: 0.75, classes, confusion };
    run.write_tested(&tested).expect("it is written");
    folder
}

/// What a run's file holds.
fn of_run(name: &str) -> Vec<Vec<u8>> {
    vec![fs::read(run().path().join(name)).expect("it is there")]
}

pub fn config() -> Vec<Vec<u8>> {
    of_run(run::CONFIG)
}

pub fn metrics() -> Vec<Vec<u8>> {
    of_run(run::METRICS)
}

pub fn tested() -> Vec<Vec<u8>> {
    of_run(run::TEST)
}
