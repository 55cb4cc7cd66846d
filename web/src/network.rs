//! A network, and what it reads.

use crate::js::{error, object};
use image::{DynamicImage, RgbaImage};
use js_sys::{Array, Float32Array, Object, Uint8Array};
use mnist_wgpu::checkpoint::{self, Checkpoint};
use mnist_wgpu::data::{Dataset, Images};
use mnist_wgpu::doubt::{doubts, own_doubts};
use mnist_wgpu::engine::{CpuEngine, Engine, EngineError, Pass, Set, Settings};
use mnist_wgpu::image::Picture;
use mnist_wgpu::ops::Layer;
use mnist_wgpu::reading::{Content, Reading};
use std::ops::Range;
use wasm_bindgen::prelude::{JsError, JsValue, wasm_bindgen};

#[wasm_bindgen(typescript_custom_section)]
const TYPES: &str = "
/** What a network says of one digit, or of a whole picture. */
export interface Reading {
    /** What it saw, (C, H, W), 0 for paper to 255 for ink. */
    sample: Uint8Array;
    /** Of each class. */
    probabilities: Float32Array;
    /** The number of the most likely class. */
    guess: number;
    /** Left, top, width and height in the picture's pixels. */
    place?: number[];
    /** Why the guess should not be believed. */
    doubt?: string;
}

/** Numbers of one layer: `count` planes of `height` x `width`. */
export interface Planes {
    values: Float32Array;
    count: number;
    height: number;
    width: number;
}
";

/// A trained network. It works on the processor: one digit takes less time than a GPU takes to begin.
#[wasm_bindgen]
pub struct Network {
    checkpoint: Checkpoint,
    classes: Vec<String>,
}

#[wasm_bindgen]
impl Network {
    /// Reads a `.safetensors` file, as `mnist-wgpu train`, a `Trainer` and PyTorch write them.
    #[wasm_bindgen(constructor)]
    pub fn new(bytes: &[u8]) -> Result<Network, JsError> {
        let checkpoint = checkpoint::read(bytes).map_err(error)?;
        checkpoint.check_finite().map_err(error)?;
        let classes = checkpoint.classes();
        Ok(Self { checkpoint, classes })
    }

    /// Names of the classes, in the order of its outputs.
    #[wasm_bindgen(getter)]
    pub fn classes(&self) -> Vec<String> {
        self.classes.clone()
    }

    /// Channels, height and width of a sample that it takes.
    #[wasm_bindgen(getter, js_name = shape)]
    pub fn sample_shape(&self) -> Vec<usize> {
        self.shape().to_vec()
    }

    /// Reads the digits of a picture, line by line; `rgba` is its pixels, as a canvas gives them.
    #[wasm_bindgen(unchecked_return_type = "Reading[]")]
    pub async fn read(&self, rgba: Vec<u8>, width: u32, height: u32) -> Result<Array, JsError> {
        let bytes = rgba.len();
        let expected = || error(format!("a picture of {width} x {height}: expected 4 bytes a pixel, found {bytes} bytes"));
        let pixels = RgbaImage::from_raw(width, height, rgba).ok_or_else(expected)?;
        let picture = Picture::of(&DynamicImage::from(pixels)).map_err(error)?;
        let whole = self.checkpoint.takes_whole();
        let content = Content::of(&picture, self.shape(), whole).map_err(error)?;
        let samples = content.samples();
        let logits = self.logits(&samples).await.map_err(error)?;
        let doubts = match whole {
            true => own_doubts(&logits, &self.classes),
            false => doubts(&samples, self.shape(), &logits, &self.classes).await.map_err(error)?,
        };
        let readings = content.readings(&mut logits.chunks_exact(self.classes.len()).zip(doubts));
        Ok(readings.iter().map(reading).collect())
    }

    /// What each convolution puts out for one sample, after its ReLU.
    #[wasm_bindgen(unchecked_return_type = "Planes[]")]
    pub async fn activations(&self, sample: &[u8]) -> Result<Array, JsError> {
        let (data, model) = (self.data(sample), &self.checkpoint.model);
        // As single layers: what is fused keeps nothing in between.
        let mut engine = CpuEngine::new(model, &data, Settings { batch_size: 1, fuse: false, ..Settings::default() });
        let engine = engine.as_mut().map_err(error)?;
        self.run(engine, 1).await.map_err(error)?;
        let stages = engine.stages();
        let outputs = model.layers().iter().enumerate().filter(|(_, layer)| matches!(layer, Layer::Conv2d(_)));
        let planes = outputs.filter_map(|(index, _)| {
            let last = if model.layers().get(index + 1) == Some(&Layer::Relu) { index + 1 } else { index };
            let stage = stages.iter().position(|stage: &Range<usize>| stage.contains(&last))?;
            Some(planes(engine.output(stage), &model.shapes()[last + 1].0))
        });
        Ok(planes.collect())
    }

    /// The first layer's weights, a plane for each of its output and input channels, if it is a convolution.
    #[wasm_bindgen(getter, unchecked_return_type = "Planes | undefined")]
    pub fn kernels(&self) -> Option<Object> {
        let model = &self.checkpoint.model;
        let first = model.parameters().first().filter(|first| matches!(first.shape[..], [_, _, _, _]))?;
        let [out, channels, height, width] = first.shape[..] else { return None };
        Some(planes(&self.checkpoint.state.parameters()[first.range.clone()], &[out * channels, height, width]))
    }

    fn shape(&self) -> [usize; 3] {
        self.checkpoint.model.shapes()[0].image().unwrap_or_default() // a model begins with an image
    }

    /// A data set of samples that nobody has labelled.
    fn data(&self, samples: &[u8]) -> Dataset {
        let count = samples.len() / self.shape().iter().product::<usize>();
        let test = Images { pixels: samples.to_vec(), labels: vec![0; count] };
        Dataset { shape: self.shape(), classes: self.classes.clone(), train: Images::default(), test }
    }

    /// (N, classes), of samples (N, C, H, W), at least one.
    async fn logits(&self, samples: &[u8]) -> Result<Vec<f32>, EngineError> {
        let data = self.data(samples);
        let batch_size = data.test.len();
        let settings = Settings { batch_size, ..Settings::default() };
        let mut engine = CpuEngine::new(&self.checkpoint.model, &data, settings)?;
        self.run(&mut engine, batch_size).await?;
        engine.logits().await
    }

    /// Takes the first `count` samples through the network, in one batch.
    async fn run(&self, engine: &mut CpuEngine<'_>, count: usize) -> Result<(), EngineError> {
        let order: Vec<u32> = (0..count as u32).collect();
        engine.set_state(&self.checkpoint.state.network())?;
        engine.begin(&Pass::evaluate(Set::Test, &order))?;
        engine.submit(0..1)?;
        engine.collect().await?;
        Ok(())
    }
}

fn reading(reading: &Reading) -> Object {
    let probabilities: Vec<f32> = reading.probabilities.iter().map(|&probability| probability as f32).collect();
    let place = reading.place.map(|(place, _)| place.map(f64::from).into_iter().map(JsValue::from).collect::<Array>());
    object([
        ("sample", Uint8Array::from(&reading.sample[..]).into()),
        ("probabilities", Float32Array::from(&probabilities[..]).into()),
        ("guess", reading.verdict.guess.into()),
        ("place", place.map_or(JsValue::UNDEFINED, JsValue::from)),
        ("doubt", reading.doubt.as_deref().map_or(JsValue::UNDEFINED, JsValue::from)),
    ])
}

/// (count, height, width); a layer of single numbers has planes of 1 x 1.
fn planes(values: &[f32], shape: &[usize]) -> Object {
    let side = |axis: usize| shape.get(axis).copied().unwrap_or(1) as u32;
    object([
        ("values", Float32Array::from(values).into()),
        ("count", side(0).into()),
        ("height", side(1).into()),
        ("width", side(2).into()),
    ])
}
