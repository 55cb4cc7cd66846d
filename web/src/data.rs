//! Data sets: drawn here, or from MNIST's files.

use crate::js::error;
use mnist_wgpu::data::{self, Images, digits, idx};
use std::rc::Rc;
use wasm_bindgen::prelude::{JsError, wasm_bindgen};

/// Images and labels, to train and to test with.
#[wasm_bindgen]
pub struct Dataset {
    pub(crate) data: Rc<data::Dataset>,
    pub(crate) name: &'static str,
}

#[wasm_bindgen]
impl Dataset {
    /// Draws digits of 28 x 28 pixels, the same ones for the same `seed`.
    pub fn drawn(train: usize, test: usize, seed: u32) -> Self {
        Self { data: Rc::new(data::synthetic(train, test, seed.into())), name: "synthetic" }
    }

    /// Reads the contents of MNIST's four files, or of others like them: IDX, plain or gzip.
    pub fn from_idx(
        train_images: &[u8],
        train_labels: &[u8],
        test_images: &[u8],
        test_labels: &[u8],
    ) -> Result<Dataset, JsError> {
        let named = |what: &'static str| move |fault: idx::Fault| error(format!("{what}: {fault}; {}", fault.advice()));
        let images = |what, bytes: &[u8]| idx::Array::read(bytes).and_then(idx::Array::into_images).map_err(named(what));
        let labels = |what, bytes: &[u8]| idx::Array::read(bytes).and_then(idx::Array::into_labels).map_err(named(what));
        let (shape, train) = images("training images", train_images)?;
        let (test_shape, test) = images("test images", test_images)?;
        if shape != test_shape {
            let message = format!("test images: expected the training images' shape, {shape:?}, found {test_shape:?}");
            return Err(error(message));
        }
        let train = Images { pixels: train, labels: labels("training labels", train_labels)? };
        let test = Images { pixels: test, labels: labels("test labels", test_labels)? };
        let most = train.labels.iter().chain(&test.labels).copied().max().unwrap_or_default();
        let classes = if most < 10 { digits() } else { (0..=most).map(|class| class.to_string()).collect() };
        let data = data::Dataset::new(shape, classes, train, test).map_err(error)?;
        Ok(Self { data: Rc::new(data), name: "custom" })
    }

    /// Images to train and validate with.
    #[wasm_bindgen(getter)]
    pub fn train(&self) -> usize {
        self.data.train.len()
    }

    /// Images to test with.
    #[wasm_bindgen(getter)]
    pub fn test(&self) -> usize {
        self.data.test.len()
    }

    /// Names of the classes.
    #[wasm_bindgen(getter)]
    pub fn classes(&self) -> Vec<String> {
        self.data.classes.clone()
    }

    /// Channels, height and width of an image.
    #[wasm_bindgen(getter)]
    pub fn shape(&self) -> Vec<usize> {
        self.data.shape.to_vec()
    }
}
