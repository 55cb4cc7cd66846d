//! Matrices of the CPU path: products through the `gemm` crate with checked bounds, and transposition.
//!
//! The bits of a product depend on shapes and strides alone, on every processor with fused multiply-add: the order of
//! each sum is fixed here, where `gemm` would choose it by the processor's caches and the width of its registers.

use super::Real;
use super::lanes::{Lanes, widest};

/// A matrix over a slice, with its strides in elements.
#[derive(Clone, Copy, Debug)]
pub struct Matrix<'a, T> {
    data: &'a [T],
    rows: usize,
    cols: usize,
    row_stride: usize,
    col_stride: usize,
}

impl<'a, T> Matrix<'a, T> {
    /// A (rows, cols) matrix, row after row.
    ///
    /// # Panics
    /// If `data` is shorter than the matrix.
    pub fn new(data: &'a [T], rows: usize, cols: usize) -> Self {
        Self::strided(data, rows, cols, cols)
    }

    /// A (rows, cols) matrix whose rows begin `row_stride` elements apart.
    ///
    /// # Panics
    /// If `data` is shorter than the matrix.
    pub fn strided(data: &'a [T], rows: usize, cols: usize, row_stride: usize) -> Self {
        assert!(rows == 0 || cols == 0 || data.len() >= (rows - 1) * row_stride + cols, "matrix larger than its data");
        Self { data, rows, cols, row_stride, col_stride: 1 }
    }

    /// The transposed matrix, over the same data.
    pub fn t(self) -> Self {
        Self { rows: self.cols, cols: self.rows, row_stride: self.col_stride, col_stride: self.row_stride, ..self }
    }
}

/// Terms that `gemm` adds up in one go, on any processor. Longer sums it cuts by the sizes of caches.
const RUN: usize = 512;

/// Elements of a product up to which `gemm` may add up along the registers, where both factors lie so.
const SMALL: usize = 16 * 16;

/// Terms of a sum that are added up apart from each other in [`dot`].
const APART: usize = 16;

/// `out = a * b`, or `out += a * b` where `accumulate` is set; `out` is (a.rows, b.cols), its rows `out_stride`
/// elements apart.
///
/// Runs on the calling thread: callers split the work into tasks of a fixed size, so that no sum depends on the number
/// of threads.
///
/// # Panics
/// If the shapes do not fit each other or `out`.
pub fn multiply<T: Real>(out: &mut [T], out_stride: usize, a: Matrix<T>, b: Matrix<T>, accumulate: bool) {
    assert_eq!(a.cols, b.rows, "inner dimensions differ");
    if a.rows == 0 || b.cols == 0 {
        return;
    }
    assert!(out_stride >= b.cols && out.len() >= (a.rows - 1) * out_stride + b.cols, "product larger than its slice");
    let both_along = a.col_stride == 1 && b.row_stride == 1;
    if a.rows == 1 || b.cols == 1 || (both_along && a.rows * b.cols <= SMALL) {
        widest(
            #[inline(always)]
            || narrow(out, out_stride, a, b, accumulate),
        );
        return;
    }
    // Without terms `gemm` has to be called once, too: it writes zeros.
    for from in (0..a.cols.max(1)).step_by(RUN) {
        let (a_from, b_from) = (from * a.col_stride, from * b.row_stride);
        // SAFETY: `Matrix::strided` checked that every element of `a` and `b` lies in its slice, of which a run is a
        // part; the line above that of `out`; `out` is borrowed mutably, so it overlaps neither. `T` is f32 or f64, the
        // only implementations of `Real`.
        unsafe {
            gemm::gemm(
                a.rows,
                b.cols,
                RUN.min(a.cols - from),
                out.as_mut_ptr(),
                1,
                out_stride as isize,
                accumulate || from > 0,
                a.data.as_ptr().wrapping_add(a_from),
                a.col_stride as isize,
                a.row_stride as isize,
                b.data.as_ptr().wrapping_add(b_from),
                b.col_stride as isize,
                b.row_stride as isize,
                T::one(),
                T::one(),
                false,
                false,
                false,
                gemm::Parallelism::None,
            );
        }
    }
}

/// The products that `gemm` computes in other ways on each kind of processor: those of a vector and small ones.
#[inline(always)]
fn narrow<T: Real>(out: &mut [T], out_stride: usize, a: Matrix<T>, b: Matrix<T>, accumulate: bool) {
    // A column is a row of the transposed product.
    let (a, b) = if b.cols == 1 && out_stride == 1 { (b.t(), a.t()) } else { (a, b) };
    for i in 0..a.rows {
        let out = &mut out[i * out_stride..][..b.cols];
        if !accumulate {
            out.fill(T::zero());
        }
        if a.col_stride == 1 && b.row_stride == 1 {
            let row = &a.data[i * a.row_stride..][..a.cols];
            out.iter_mut().enumerate().for_each(|(j, out)| *out += dot(row, &b.data[j * b.col_stride..][..a.cols]));
            continue;
        }
        for k in 0..a.cols {
            let factor = a.data[i * a.row_stride + k * a.col_stride];
            let row = &b.data[k * b.row_stride..];
            if b.col_stride == 1 {
                out.iter_mut().zip(row).for_each(|(out, &b)| *out += factor * b);
            } else {
                out.iter_mut().zip(row.iter().step_by(b.col_stride)).for_each(|(out, &b)| *out += factor * b);
            }
        }
    }
}

/// `sum_k a[k] * b[k]`, in an order that no register's width enters.
#[inline(always)]
fn dot<T: Real>(a: &[T], b: &[T]) -> T {
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<APART>(), b.as_chunks::<APART>());
    let sums = a.iter().zip(b).fold(Lanes::zero(), |sums, (&a, &b)| sums + Lanes(a) * Lanes(b));
    let rest = a_rest.iter().zip(b_rest).map(|(&a, &b)| a * b);
    sums.0.into_iter().chain(rest).fold(T::zero(), |sum, term| sum + term)
}

/// Rows become columns. In two steps of interleaving, which is how vector registers do it.
#[inline(always)]
pub fn transposed<T: Copy>([a, b, c, d]: [[T; 4]; 4]) -> [[T; 4]; 4] {
    let lower = |x: [T; 4], y: [T; 4]| [x[0], y[0], x[1], y[1]];
    let upper = |x: [T; 4], y: [T; 4]| [x[2], y[2], x[3], y[3]];
    let (ac, bd) = (lower(a, c), lower(b, d));
    let (ac_upper, bd_upper) = (upper(a, c), upper(b, d));
    [lower(ac, bd), upper(ac, bd), lower(ac_upper, bd_upper), upper(ac_upper, bd_upper)]
}

/// Writes `a` (rows, columns), row after row, to `out` (columns, rows), whose rows begin `out_stride` elements apart.
///
/// # Panics
/// If `a` has been transposed already, or `out` is shorter.
#[inline(always)]
pub fn transpose<T: Real>(a: Matrix<T>, out: &mut [T], out_stride: usize) {
    assert_eq!(a.col_stride, 1, "elements of a row lie apart");
    let row = |i: usize| &a.data[i * a.row_stride..][..a.cols];
    let mut i = 0;
    while i + 4 <= a.rows {
        let rows = [row(i), row(i + 1), row(i + 2), row(i + 3)];
        let mut j = 0;
        while j + 4 <= a.cols {
            let four = |k: usize| {
                let row = &rows[k][j..j + 4];
                [row[0], row[1], row[2], row[3]]
            };
            let columns = transposed([four(0), four(1), four(2), four(3)]);
            for (k, column) in columns.iter().enumerate() {
                out[(j + k) * out_stride + i..][..4].copy_from_slice(column);
            }
            j += 4;
        }
        for j in j..a.cols {
            for (k, row) in rows.iter().enumerate() {
                out[j * out_stride + i + k] = row[j];
            }
        }
        i += 4;
    }
    for i in i..a.rows {
        out[i..].iter_mut().step_by(out_stride).zip(row(i)).for_each(|(out, &element)| *out = element);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{Rng, RngExt, SeedableRng};

    /// A matrix (rows, cols) of its own, which may lie transposed.
    #[derive(Clone)]
    struct Owned {
        data: Vec<f32>,
        rows: usize,
        cols: usize,
        transposed: bool,
    }

    impl Owned {
        fn draw(rows: usize, cols: usize, transposed: bool, rng: &mut impl Rng) -> Self {
            let data = (0..rows * cols).map(|_| rng.random_range(-1.0..1.0)).collect();
            Self { data, rows, cols, transposed }
        }

        fn matrix(&self) -> Matrix<'_, f32> {
            match self.transposed {
                true => Matrix::new(&self.data, self.cols, self.rows).t(),
                false => Matrix::new(&self.data, self.rows, self.cols),
            }
        }

        fn at(&self, i: usize, j: usize) -> f32 {
            self.data[if self.transposed { j * self.rows + i } else { i * self.cols + j }]
        }
    }

    /// The sum as this file says that it is added up.
    fn expected(start: f32, terms: &[(f32, f32)], way: Way) -> f32 {
        match way {
            Way::Runs => terms.chunks(RUN).fold(start, |sum, run| match run.len() {
                1 | 2 => run.iter().fold(sum, |sum, &(a, b)| sum + a * b),
                _ => sum + run.iter().fold(0.0, |sum, &(a, b)| a.mul_add(b, sum)),
            }),
            Way::OneByOne => terms.iter().fold(start, |sum, &(a, b)| sum + a * b),
            Way::Apart => {
                let whole = terms.len() / APART * APART;
                let lane = |l: usize| terms[..whole].iter().skip(l).step_by(APART).fold(0.0, |sum, &(a, b)| sum + a * b);
                let rest = terms[whole..].iter().map(|&(a, b)| a * b);
                start + (0..APART).map(lane).chain(rest).fold(0.0, |sum, term| sum + term)
            }
        }
    }

    #[derive(Clone, Copy, Debug)]
    enum Way {
        /// By `gemm`: each run apart, fused. (Two terms are not.)
        Runs,
        OneByOne,
        Apart,
    }

    /// No order of a sum is left to `gemm`, whose own depends on caches and registers: the bits are those of the sums
    /// written out. Shapes on both sides of each border, and the network's own.
    #[test]
    fn every_sum_has_the_order_that_is_written_here() {
        #[cfg(target_arch = "x86_64")]
        if !std::arch::is_x86_feature_detected!("fma") {
            return; // outside the promise, as docs/reliability.md says
        }
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(1);
        let shapes = [(1, 1), (1, 40), (40, 1), (2, 3), (10, 25), (16, 16), (16, 17), (10, 32), (32, 32), (5, 70), (70, 5)];
        for (rows, cols) in shapes {
            for terms in [1, 2, 3, 16, 17, 128, 512, 513, 1600] {
                for (a_t, b_t) in [(false, false), (false, true), (true, false), (true, true)] {
                    let a = Owned::draw(rows, terms, a_t, &mut rng);
                    let b = Owned::draw(terms, cols, b_t, &mut rng);
                    let start: Vec<f32> = (0..rows * cols).map(|_| rng.random_range(-1.0..1.0)).collect();
                    for accumulate in [true, false] {
                        let mut out = start.clone();
                        multiply(&mut out, cols, a.matrix(), b.matrix(), accumulate);
                        // A matrix of one row or column lies both ways.
                        let a_along = a.matrix().col_stride == 1;
                        let b_along = b.matrix().row_stride == 1;
                        let way = match () {
                            () if a_along && b_along && (rows * cols <= SMALL || rows == 1 || cols == 1) => Way::Apart,
                            () if rows == 1 || cols == 1 => Way::OneByOne,
                            () => Way::Runs,
                        };
                        for (at, &found) in out.iter().enumerate() {
                            let (i, j) = (at / cols, at % cols);
                            let terms: Vec<_> = (0..terms).map(|k| (a.at(i, k), b.at(k, j))).collect();
                            let want = expected(if accumulate { start[at] } else { 0.0 }, &terms, way);
                            assert_eq!(
                                found.to_bits(),
                                want.to_bits(),
                                "({rows}, {}) {a_t} x ({}, {cols}) {b_t}, {accumulate}, {way:?}: element {i}, {j}: {found}, {want}",
                                terms.len(),
                                terms.len(),
                            );
                        }
                    }
                }
            }
        }
    }
}
