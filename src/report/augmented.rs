//! What augmentation does to a few images: each as it is, and as training saw it in some steps.

use super::tiles::{self, Tile};
use super::{Material, ReportError};

/// Each image as a tile: itself, then what became of it, side by side.
pub(super) fn tiles(material: &Material) -> Result<Vec<Tile>, ReportError> {
    let [channels, height, width] = material.shape;
    let tile = |(index, views): (usize, &Vec<Vec<u8>>)| {
        // A column of nothing between two.
        let pixels = tiles::pixmap(views.len() * (width + 1) - 1, height, |x, y| {
            let (view, x) = (x / (width + 1), x % (width + 1));
            let value = |c: usize| views[view][((c % channels) * height + y) * width + x];
            (x < width).then(|| [0, 1, 2].map(value))
        })?;
        let alt = format!("training image {index}, and {} times as it was moved", views.len() - 1);
        Ok(Tile { pixels, caption: String::new(), taken_for: None, note: String::new(), alt })
    };
    material.augmented.iter().enumerate().filter(|(_, views)| !views.is_empty()).map(tile).collect()
}
