package dev.espalier.kernels.cpu;

import dev.espalier.kernels.simd.Gemm;
import dev.espalier.kernels.simd.Workers;
import dev.espalier.natives.os.Memory;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/// Cholesky factor and inverses in Java, in blocks, so that nearly all work is matrix products.
///
/// What happens inside a diagonal block is done in float64. Blocks below the diagonal are multiplied by its inverse instead
/// of being solved against it, which keeps the vector units busy (as GPU libraries do).
final class BlockedFactorization {
    /// Columns of a block: one panel of the widest vectors.
    private static final int BLOCK = 64;

    /// Columns of a triangular matrix that one product takes together; above them it skips the zeros.
    private static final int CHUNK = 512;

    private static final ValueLayout.OfFloat FLOAT = ValueLayout.JAVA_FLOAT_UNALIGNED;

    private final Gemm gemm;
    private final Workers workers;

    BlockedFactorization(Gemm gemm, Workers workers) {
        this.gemm = gemm;
        this.workers = workers;
    }

    /// L of `A = L Lᵀ` in place of A's lower triangle `[n, n]`; what is above the diagonal is left alone, except in the
    /// diagonal blocks.
    ///
    /// @return the first pivot that is not positive, or -1
    int cholesky(MemorySegment a, int n) {
        try (Arena arena = Arena.ofShared()) {
            MemorySegment below = Memory.allocate(4L * n * BLOCK, arena);
            MemorySegment inverse = Memory.allocate(4L * BLOCK * BLOCK, arena);
            for (int j = 0; j < n; j += BLOCK) {
                int width = Math.min(BLOCK, n - j);
                int rest = n - j - width;
                MemorySegment column = at(a, n, j, j);
                if (j > 0) {
                    MemorySegment left = at(a, n, j, 0);
                    gemm.multiply(n - j, width, j, -1f, left, false, n, left, true, n, 1f, column, n);
                }
                double[][] diagonal = read(column, n, width);
                int pivot = factor(diagonal);
                if (pivot >= 0) {
                    return j + pivot;
                }
                write(diagonal, column, n);
                if (rest > 0) {
                    invert(diagonal);
                    write(diagonal, inverse, width);
                    MemorySegment target = at(a, n, j + width, j);
                    copyRows(target, n, below, width, rest, width);
                    gemm.multiply(rest, width, width, 1f, below, false, width, inverse, true, width, 0f, target, n);
                }
            }
        }
        return -1;
    }

    /// L⁻¹ in place of the lower triangular L `[n, n]`, whose upper triangle must be zero.
    ///
    /// Block row by block row: `X[i, 0..i) = -L[i, i]⁻¹ (L[i, 0..i) X[0..i, 0..i))`.
    ///
    /// @return the first zero on the diagonal, or -1
    int invertLower(MemorySegment l, int n) {
        for (int i = 0; i < n; i++) {
            if (at(l, n, i, i).get(FLOAT, 0) == 0) {
                return i;
            }
        }
        try (Arena arena = Arena.ofShared()) {
            MemorySegment product = Memory.allocate(4L * BLOCK * n, arena);
            MemorySegment inverse = Memory.allocate(4L * BLOCK * BLOCK, arena);
            for (int i = 0; i < n; i += BLOCK) {
                int height = Math.min(BLOCK, n - i);
                double[][] diagonal = read(at(l, n, i, i), n, height);
                invert(diagonal);
                write(diagonal, at(l, n, i, i), n);
                write(diagonal, inverse, height);
                for (int c = 0; c < i; c += CHUNK) {
                    int width = Math.min(CHUNK, i - c);
                    gemm.multiply(
                            height,
                            width,
                            i - c,
                            1f,
                            at(l, n, i, c),
                            false,
                            n,
                            at(l, n, c, c),
                            false,
                            n,
                            0f,
                            product.asSlice(4L * c),
                            i);
                }
                if (i > 0) {
                    gemm.multiply(
                            height, i, height, -1f, inverse, false, height, product, false, i, 0f, at(l, n, i, 0), n);
                }
            }
        }
        return -1;
    }

    /// XᵀX in place of the lower triangular X `[n, n]`, whose upper triangle must be zero: the lower triangle only.
    void squareOfLower(MemorySegment x, int n) {
        try (Arena arena = Arena.ofShared()) {
            MemorySegment product = Memory.allocate(4L * BLOCK * n, arena);
            // Downwards: row i of the result needs rows i and below of X, and nothing else needs row i any more.
            for (int i = 0; i < n; i += BLOCK) {
                int height = Math.min(BLOCK, n - i);
                int width = i + height;
                gemm.multiply(
                        height,
                        width,
                        n - i,
                        1f,
                        at(x, n, i, i),
                        true,
                        n,
                        at(x, n, i, 0),
                        false,
                        n,
                        0f,
                        product,
                        width);
                copyRows(product, width, at(x, n, i, 0), n, height, width);
            }
        }
    }

    private void copyRows(MemorySegment from, int fromStride, MemorySegment to, int toStride, int rows, int columns) {
        workers.rows(rows, BLOCK, (r0, r1, thread) -> {
            for (int r = r0; r < r1; r++) {
                MemorySegment.copy(from, 4L * fromStride * r, to, 4L * toStride * r, 4L * columns);
            }
        });
    }

    /// Cholesky's recurrence on the lower triangle; the pivot that is not positive, or -1.
    private static int factor(double[][] a) {
        for (int j = 0; j < a.length; j++) {
            double pivot = a[j][j];
            for (int k = 0; k < j; k++) {
                pivot -= a[j][k] * a[j][k];
            }
            // What is no positive float32 would be a zero or NaN in the result.
            if (!((float) pivot > 0)) {
                return j;
            }
            a[j][j] = Math.sqrt(pivot);
            for (int i = j + 1; i < a.length; i++) {
                double sum = a[i][j];
                for (int k = 0; k < j; k++) {
                    sum -= a[i][k] * a[j][k];
                }
                a[i][j] = sum / a[j][j];
            }
        }
        return -1;
    }

    /// Inverse of the lower triangle in place.
    private static void invert(double[][] l) {
        for (int j = 0; j < l.length; j++) {
            l[j][j] = 1 / l[j][j];
            for (int i = j + 1; i < l.length; i++) {
                double sum = 0;
                for (int k = j; k < i; k++) {
                    sum -= l[i][k] * l[k][j];
                }
                l[i][j] = sum / l[i][i];
            }
        }
    }

    private static double[][] read(MemorySegment a, int stride, int n) {
        double[][] block = new double[n][n];
        for (int i = 0; i < n; i++) {
            for (int j = 0; j <= i; j++) {
                block[i][j] = a.get(FLOAT, 4L * ((long) i * stride + j));
            }
        }
        return block;
    }

    /// Writes a lower triangle and the zeros above it.
    private static void write(double[][] block, MemorySegment a, int stride) {
        for (int i = 0; i < block.length; i++) {
            for (int j = 0; j < block.length; j++) {
                a.set(FLOAT, 4L * ((long) i * stride + j), j <= i ? (float) block[i][j] : 0f);
            }
        }
    }

    private static MemorySegment at(MemorySegment a, int n, int row, int column) {
        return a.asSlice(4 * ((long) row * n + column));
    }
}
