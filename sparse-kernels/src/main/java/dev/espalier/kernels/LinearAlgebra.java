package dev.espalier.kernels;

import dev.espalier.tensor.DType;
import dev.espalier.tensor.Tensor;
import java.lang.foreign.MemorySegment;
import java.util.Objects;

/// The dense algebra that solvers ask of a device, on row-major float32 matrices.
///
/// Results are the same, bit for bit, for any number of threads. Every operation may use all of them; one operation runs
/// at a time. A symmetric input holds both triangles; which one is read is left open.
public interface LinearAlgebra {
    /// C ← `alpha` op(A) op(B) + `beta` C, where op transposes if its flag says so; op(A) is `[m, k]`, op(B) `[k, n]`,
    /// C `[m, n]`. With `beta` 0, what C held does not matter, NaN included. C shares no memory with A or B.
    void gemm(float alpha, Matrix a, boolean transposeA, Matrix b, boolean transposeB, float beta, Matrix c);

    /// C ← op(A) op(B): `c` `[m, n]` is overwritten.
    default void gemm(Tensor a, boolean transposeA, Tensor b, boolean transposeB, Tensor c) {
        gemm(1f, Matrix.of(a), transposeA, Matrix.of(b), transposeB, 0f, Matrix.of(c));
    }

    /// G ← G + XᵀX: `x` `[tokens, features]`, `gram` `features * features` float64 values in native order, both triangles.
    ///
    /// Products are summed in float32 over at most 1024 tokens at a time and added to `gram` in float64, so that a million
    /// tokens lose no more than a thousand do.
    void accumulateGram(Tensor x, MemorySegment gram);

    /// Cholesky factor L, `A = L Lᵀ`, in place of `a` `[n, n]`: lower triangular, zeros above the diagonal.
    ///
    /// @throws NotPositiveDefiniteException if a pivot is not positive; `a` is destroyed
    /// @throws NonFiniteException if `a` holds a NaN or an infinity; `a` is as it was
    void cholesky(Tensor a);

    /// L⁻¹ in place of the lower triangular `l` `[n, n]`; zeros above the diagonal.
    ///
    /// @throws NonFiniteException if `l` holds a NaN or an infinity, or a zero on its diagonal
    void invertTriangular(Tensor l);

    /// A⁻¹ in place of the symmetric positive definite `a` `[n, n]`, both triangles.
    ///
    /// @throws NotPositiveDefiniteException if a pivot is not positive; `a` is destroyed
    /// @throws NonFiniteException if `a` holds a NaN or an infinity; `a` is as it was
    void inverseSpd(Tensor a);

    /// The upper triangular U with A⁻¹ = UᵀU, into `u` `[n, n]`, zeros below the diagonal; `a` `[n, n]` symmetric positive
    /// definite, unchanged.
    ///
    /// `U[j, j]²` is the inverse's diagonal once the first `j` variables are fixed, which is what SparseGPT (Frantar and
    /// Alistarh, 2023, section 3.3) walks along. Computed without the inverse: with J the reversal of the order and
    /// J A J = L Lᵀ, U = J L⁻¹ J.
    ///
    /// @throws NotPositiveDefiniteException if a pivot is not positive: more damping helps; `pivot()` counts in A's order
    /// @throws NonFiniteException if `a` holds a NaN or an infinity: damping does not help
    void upperCholeskyOfInverse(Tensor a, Tensor u);

    /// The `k`-th smallest magnitude (`k` from 0) among all elements of `values`, F32, which are not changed. NaNs come
    /// last. Exactly `k` elements come before it if ties are broken in any fixed order.
    float selectKth(Tensor values, long k);

    /// A row-major float32 matrix whose rows may lie further apart than they are long: a tensor, or some of its rows and
    /// columns.
    ///
    /// @param segment memory that starts with the first element
    /// @param rows number of rows
    /// @param columns number of columns
    /// @param stride elements from one row to the next
    record Matrix(MemorySegment segment, int rows, int columns, int stride) {
        public Matrix {
            Objects.requireNonNull(segment);
            long need = rows == 0 || columns == 0 ? 0 : ((rows - 1L) * stride + columns) * Float.BYTES;
            if (rows < 0 || columns < 0 || stride < columns || segment.byteSize() < need) {
                throw new IllegalArgumentException("a [%d, %d] matrix of stride %d needs %d bytes, the segment has %d"
                        .formatted(rows, columns, stride, need, segment.byteSize()));
            }
        }

        /// All of a tensor of type F32.
        public static Matrix of(Tensor tensor) {
            if (tensor.dtype() != DType.F32) {
                throw new IllegalArgumentException("linear algebra takes F32, not " + tensor);
            }
            return new Matrix(tensor.segment(), tensor.rows(), tensor.columns(), tensor.columns());
        }

        /// Rows `from` (inclusive) to `to` (exclusive), sharing the memory.
        public Matrix rows(int from, int to) {
            Objects.checkFromToIndex(from, to, rows);
            return slice(from, 0, to - from, columns);
        }

        /// Columns `from` (inclusive) to `to` (exclusive), sharing the memory.
        public Matrix columns(int from, int to) {
            Objects.checkFromToIndex(from, to, columns);
            return slice(0, from, rows, to - from);
        }

        private Matrix slice(int row, int column, int rows, int columns) {
            long offset = rows == 0 || columns == 0 ? 0 : ((long) row * stride + column) * Float.BYTES;
            return new Matrix(segment.asSlice(offset), rows, columns, stride);
        }
    }
}
