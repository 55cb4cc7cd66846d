//! The backward pass.

use super::super::Conv2dReluMaxPool2d;
use super::patches::{self, Gradients, Kernels};
use super::plane::BackwardPlane;
use crate::ops::conv2d::cpu::sum_parts;
use crate::ops::lanes::widest;
use crate::ops::winograd::Layout;
use crate::ops::{Op, Real, samples_per_task};
use aligned_vec::{AVec, avec};
use rayon::prelude::*;

/// A layer in a backward pass.
pub struct Backward<'a, T> {
    pub op: &'a Conv2dReluMaxPool2d,
    /// (N, C, H, W)
    pub x: &'a [T],
    /// (O, C, 3, 3)
    pub weight: &'a [T],
    /// (N, O, PH, PW)
    pub winner: &'a [u8],
    /// (O, C, 3, 3), overwritten.
    pub d_weight: &'a mut [T],
    /// (O), overwritten.
    pub d_bias: &'a mut [T],
}

/// All gradients at once: they share the winners and their patches.
///
/// A window with gradient d, whose winner was computed from a patch (3, 3, C) of the image, adds `d * patch` to its
/// kernel's gradient and `d * kernel` to the patch's gradient. The other three elements of the window have no part.
///
/// `d_y` (N, O, PH, PW) is the gradient of what the last of the `layers` put out, `d_x` (N, C, H, W) of what the first
/// took, overwritten where a window sees it. Those between are kept for one sample.
///
/// # Panics
/// If there is no layer, or one does not take what the one before it puts out.
pub fn backward<T: Real>(layers: Vec<Backward<T>>, d_y: &[T], d_x: Option<&mut [T]>) {
    let fit = |pair: &[Backward<T>]| pair[0].op.output_len() == pair[1].op.input_len();
    assert!(layers.windows(2).all(fit), "layers that do not fit each other");
    let input = layers[0].op.input_len();
    let output = layers[layers.len() - 1].op.output_len();
    let task = samples_per_task(layers[0].x.len() / input);
    let wanted = |index: usize| index > 0 || d_x.is_some();
    let mut layers: Vec<_> =
        layers.into_iter().enumerate().map(|(index, layer)| Prepared::new(layer, wanted(index))).collect();

    let d_y = d_y.par_chunks(output * task);
    let d_x: Vec<Option<&mut [T]>> = match d_x {
        Some(d_x) => d_x.chunks_mut(input * task).map(Some).collect(),
        None => (0..d_y.len()).map(|_| None).collect(),
    };
    let tasks = d_y.zip(d_x).enumerate().map(|(index, (d_y, d_x))| {
        let mut parts: Vec<_> = layers.iter().map(Part::new).collect();
        let mut d_x = d_x.map(|d_x| d_x.chunks_exact_mut(input));
        for (sample, mut d_y) in (index * task..).zip(d_y.chunks_exact(output)) {
            for (layer, part) in layers.iter().zip(&mut parts).rev() {
                d_y = layer.backward_sample(part, sample, d_y);
            }
            if let Some(d_x) = d_x.as_mut().and_then(Iterator::next) {
                d_x.copy_from_slice(d_y);
            }
        }
        layers.iter().zip(parts).map(|(layer, part)| part.params(layer)).collect()
    });
    let mut tasks: Vec<Vec<_>> = tasks.collect();
    for Prepared { layer, kernels, weight, .. } in layers.iter_mut().rev() {
        let parts = tasks.iter_mut().filter_map(Vec::pop).collect();
        sum_parts(parts, weight, layer.d_bias); // the old weights are not needed again
        kernels.write_weight(weight, layer.d_weight);
    }
}

/// A layer as all tasks read it.
struct Prepared<'a, T> {
    layer: Backward<'a, T>,
    layout: Layout,
    kernels: Kernels,
    /// (O, 3, R)
    weight: AVec<T>,
    /// Whether the gradient of its input is wanted.
    d_x: bool,
}

impl<'a, T: Real> Prepared<'a, T> {
    fn new(layer: Backward<'a, T>, d_x: bool) -> Self {
        let kernels = Kernels::new(layer.op);
        let mut weight = avec![T::zero(); layer.op.out * kernels.len()];
        kernels.read_weight(layer.weight, &mut weight);
        Self { layout: layer.op.layout(), layer, kernels, weight, d_x }
    }

    /// Adds a sample's gradients to the task's `part` and returns that of its input, or nothing where it is not wanted.
    fn backward_sample<'p>(&self, part: &'p mut Part<T>, sample: usize, d_y: &[T]) -> &'p [T] {
        let Backward { op, x, winner, .. } = &self.layer;
        let x = &x[sample * op.input_len()..][..op.input_len()];
        let winner = &winner[sample * op.output_len()..][..op.output_len()];
        let Part { image, plane, d_weight, d_bias, d_input } = part;
        widest(
            #[inline(always)]
            || {
                self.layout.write_image(x, image);
                if let Some(plane) = plane {
                    plane.backward(&self.layout, image, winner, d_y);
                    return;
                }
                let d_image = d_input.as_mut().map(|d_input| {
                    d_input.image.fill(T::zero());
                    &mut d_input.image[..]
                });
                let gradients = Gradients { d_weight, d_bias, d_image };
                patches::add_gradients(&self.layout, &self.kernels, image, &self.weight, winner, d_y, gradients);
                if let Some(DInput { image, x }) = d_input {
                    self.layout.write_sample(image, x);
                }
            },
        );
        d_input.as_ref().map_or(&[], |d_input| &d_input.x)
    }
}

/// What one task computes of a layer.
struct Part<T> {
    /// (SH, SW, C)
    image: AVec<T>,
    /// Where there is one channel and the gradient of its input is not wanted.
    plane: Option<BackwardPlane<T>>,
    /// (O, 3, R)
    d_weight: AVec<T>,
    d_bias: Vec<T>,
    d_input: Option<DInput<T>>,
}

/// The gradient of one sample.
struct DInput<T> {
    /// (SH, SW, C)
    image: AVec<T>,
    /// (C, H, W), 0 where no window sees it.
    x: Vec<T>,
}

impl<T: Real> Part<T> {
    fn new(layer: &Prepared<T>) -> Self {
        let op = layer.layer.op;
        let image = avec![T::zero(); layer.layout.len + Kernels::ALIGN]; // the last patch may be read beyond its end
        Self {
            plane: (op.channels == 1 && !layer.d_x).then(|| BackwardPlane::new(&layer.layout, op.out)),
            d_weight: avec![T::zero(); layer.weight.len()],
            d_bias: vec![T::zero(); op.out],
            d_input: layer.d_x.then(|| DInput { image: image.clone(), x: vec![T::zero(); op.input_len()] }),
            image,
        }
    }

    /// The gradients of weight and bias.
    fn params(mut self, layer: &Prepared<T>) -> (AVec<T>, Vec<T>) {
        if let Some(plane) = self.plane {
            plane.write_params(&layer.kernels, &mut self.d_weight, &mut self.d_bias);
        }
        (self.d_weight, self.d_bias)
    }
}
