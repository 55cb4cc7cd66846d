//! The text of a network: its layers, with commas or new lines between them.
//!
//! ```
//! let layers = mnist_wgpu::layers::parse("conv 32 3, bn, relu, pool 2, linear 128, relu, dropout 0.5, linear", 10)?;
//! assert_eq!(layers.len(), 9); // a Flatten stands before the first linear layer
//! # Ok::<(), mnist_wgpu::ops::TextError>(())
//! ```

use crate::ops::{Layer, TextError, Words};

/// The layers that `text` names, for a network that tells `classes` classes apart: so many outputs has a linear layer
/// without a number. What follows a `#` in a line is passed over. Where no layer flattens the image, one is put before
/// the first linear layer.
///
/// # Errors
///
/// A word that is out of place. Whether the layers fit each other is asked by [`crate::model::Model::new`].
pub fn parse(text: &str, classes: usize) -> Result<Vec<Layer>, TextError> {
    let mut layers: Vec<Layer> = Vec::new();
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let code = line.split('#').next().unwrap_or_default();
        let mut place = at;
        let parts: Vec<&str> = code.trim_end().split(',').collect();
        for (index, part) in parts.iter().enumerate() {
            let mut words = Words::new(part, place, classes);
            place += part.len() + 1;
            // An empty line, or the end of one after a comma.
            if part.trim().is_empty() && index + 1 == parts.len() {
                continue;
            }
            let layer = Layer::parse(&mut words)?;
            let flat = layers.iter().any(|layer| matches!(layer, Layer::Flatten | Layer::Linear(_)));
            if matches!(layer, Layer::Linear(_)) && !flat {
                layers.push(Layer::Flatten);
            }
            layers.push(layer);
        }
        at += line.len();
    }
    match layers.is_empty() {
        false => Ok(layers),
        true => Err(Words::new("", 0, classes).expected(format!("a layer, such as `{}`", Layer::USAGES[0]))),
    }
}

/// The text of `layers`, from which [`parse`] reads them again.
pub fn text(layers: &[Layer]) -> String {
    layers.iter().map(Layer::words).collect::<Vec<_>>().join(", ")
}

/// The text of the network that a TOML file tells by a list `layers` of texts. A `#` in one of them hides the rest of
/// that one alone, and of a text of several lines the rest of the line.
///
/// # Errors
///
/// The file is no TOML, or holds no such list, or something else.
#[cfg(feature = "cli")]
pub fn from_toml(file: &str) -> Result<String, toml::de::Error> {
    #[derive(serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct File {
        layers: Vec<String>,
    }
    let layers = toml::from_str::<File>(file)?.layers;
    let lines = layers.iter().flat_map(|layer| layer.lines());
    let code = lines.map(|line| line.split('#').next().unwrap_or_default().trim().trim_end_matches(','));
    Ok(code.filter(|code| !code.is_empty()).collect::<Vec<_>>().join(", "))
}
