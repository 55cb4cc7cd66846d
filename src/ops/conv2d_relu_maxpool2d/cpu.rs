//! The CPU path of the fused op. Forward is Winograd's algorithm, sixteen matrix products instead of thirty-six;
//! backward follows each window's gradient to the one patch of the input that it came from.
//!
//! A sample is copied to an image first, its channels last. So neighbouring elements are different channels, and every
//! loop fills vector registers however narrow the sample is. Where there is but one channel, they are different
//! windows.
//!
//! Both take several layers in a row. A sample goes through all of them before the next one does, so that what one
//! layer puts out is in a core's cache still when another takes it.

mod backward;
mod forward;
mod patches;
mod plane;
mod pool;

pub use backward::{Backward, backward};
pub use forward::{Forward, forward};

use super::super::winograd::TAPS;

#[cfg(test)]
mod tests {
    use super::super::Conv2dReluMaxPool2d;
    use super::*;
    use crate::ops::Op;

    /// Those of a layer, but its input and the gradient of its output.
    #[derive(Debug, PartialEq)]
    struct Tensors {
        weight: Vec<f32>,
        bias: Vec<f32>,
        y: Vec<f32>,
        winner: Vec<u8>,
        d_weight: Vec<f32>,
        d_bias: Vec<f32>,
    }

    impl Tensors {
        /// Parameters, and results that nobody has written.
        fn new(op: &Conv2dReluMaxPool2d, n: usize) -> Self {
            let (weight, bias, y) = (op.weight_len(), op.out, n * op.output_len());
            Self {
                weight: numbers(weight, 1),
                bias: numbers(bias, 2),
                y: vec![f32::NAN; y],
                winner: vec![u8::MAX; y],
                d_weight: vec![f32::NAN; weight],
                d_bias: vec![f32::NAN; bias],
            }
        }

        fn forward<'a>(&'a mut self, op: &'a Conv2dReluMaxPool2d) -> Forward<'a, f32> {
            Forward { op, weight: &self.weight, bias: &self.bias, y: &mut self.y, winner: &mut self.winner }
        }

        fn backward<'a>(&'a mut self, op: &'a Conv2dReluMaxPool2d, x: &'a [f32]) -> Backward<'a, f32> {
            let Self { weight, winner, d_weight, d_bias, .. } = self;
            Backward { op, x, weight, winner, d_weight, d_bias }
        }
    }

    /// `len` numbers in [-1, 1].
    fn numbers(len: usize, seed: usize) -> Vec<f32> {
        (0..len).map(|i| ((i + seed) * 7919 % 1009) as f32 / 504.0 - 1.0).collect()
    }

    #[test]
    fn layers_in_a_row_do_what_they_do_one_by_one() {
        let n = 9; // more than one task, and one that is not full
        let a = &Conv2dReluMaxPool2d { channels: 1, height: 13, width: 12, out: 8, padding: 1 };
        let (height, width) = a.pooled();
        let b = &Conv2dReluMaxPool2d { channels: 8, height, width, out: 5, padding: 0 };
        let (x, d_y) = (&numbers(n * a.input_len(), 0), &numbers(n * b.output_len(), 3));
        let unwritten = |op: &Conv2dReluMaxPool2d| vec![f32::NAN; n * op.input_len()];

        let (mut a_alone, mut b_alone) = (Tensors::new(a, n), Tensors::new(b, n));
        forward(x, vec![a_alone.forward(a)]);
        let (y, mut d_between) = (a_alone.y.clone(), unwritten(b));
        forward(&y, vec![b_alone.forward(b)]);
        backward(vec![b_alone.backward(b, &y)], d_y, Some(&mut d_between));

        let (mut a_in_row, mut b_in_row) = (Tensors::new(a, n), Tensors::new(b, n));
        forward(x, vec![a_in_row.forward(a), b_in_row.forward(b)]);
        for wanted in [false, true] {
            let (mut d_x_alone, mut d_x) = (unwritten(a), unwritten(a));
            backward(vec![a_alone.backward(a, x)], &d_between, wanted.then_some(&mut d_x_alone));
            backward(vec![a_in_row.backward(a, x), b_in_row.backward(b, &y)], d_y, wanted.then_some(&mut d_x));
            assert_eq!(a_in_row, a_alone, "the first layer, d_x wanted: {wanted}");
            assert_eq!(b_in_row, b_alone, "the second layer, d_x wanted: {wanted}");
            assert!(!wanted || d_x == d_x_alone, "d_x");
        }
    }
}
