//! Matrices of the CPU path: products through the `gemm` crate with checked bounds, and transposition.

use super::Real;

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
    // SAFETY: `Matrix::strided` checked that every element of `a` and `b` lies in its slice, the line above that of
    // `out`; `out` is borrowed mutably, so it overlaps neither. `T` is f32 or f64, the only implementations of `Real`.
    unsafe {
        gemm::gemm(
            a.rows,
            b.cols,
            a.cols,
            out.as_mut_ptr(),
            1,
            out_stride as isize,
            accumulate,
            a.data.as_ptr(),
            a.col_stride as isize,
            a.row_stride as isize,
            b.data.as_ptr(),
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
