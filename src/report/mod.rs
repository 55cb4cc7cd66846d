//! Pictures of a run, and the page that shows them.

use crate::data::PIXELS;
use crate::evaluation::{Confusion, Mistake};
use crate::history::Row;

/// What a report shows.
pub struct Material<'a> {
    /// The run's name.
    pub title: &'a str,
    /// What must be said loudly, if anything: that the digits were synthetic.
    pub warning: Option<&'a str>,
    /// Settings, device, data set, versions: names and values, in the order in which they are shown.
    pub facts: &'a [(String, String)],
    /// At least one epoch.
    pub history: &'a [Row],
    /// Loss and accuracy on the test images.
    pub test_loss: f64,
    pub test_accuracy: f64,
    pub confusion: &'a Confusion,
    /// The worst first, each with its image.
    pub mistakes: &'a [(Mistake, [u8; PIXELS])],
    /// The first layer's kernels, (count, channels, height, width); none where the network does not begin with a convolution.
    pub filters: Option<Filters<'a>>,
}

/// See [`Material::filters`].
#[derive(Clone, Copy)]
pub struct Filters<'a> {
    pub shape: [usize; 4],
    pub weights: &'a [f32],
}
