package dev.espalier.kernels.cpu;

import dev.espalier.kernels.LinearAlgebra;
import dev.espalier.kernels.NonFiniteException;
import dev.espalier.kernels.NotPositiveDefiniteException;
import dev.espalier.kernels.simd.Gemm;
import dev.espalier.kernels.simd.Scan;
import dev.espalier.kernels.simd.Workers;
import dev.espalier.natives.blas.Lapack;
import dev.espalier.natives.blas.LapackException;
import dev.espalier.tensor.DType;
import dev.espalier.tensor.Tensor;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Optional;

/// Dense algebra on the CPU: products are our own; factorisations are LAPACK's where OpenBLAS was found, our own otherwise.
public final class CpuLinearAlgebra implements LinearAlgebra {
    private static final ValueLayout.OfFloat FLOAT = ValueLayout.JAVA_FLOAT_UNALIGNED;

    /// Rows that one thread takes at least, in passes over a matrix.
    private static final int GRAIN = 16;

    private final Workers workers;
    private final Gemm gemm;
    private final BlockedFactorization blocked;
    private final Optional<Lapack> lapack;

    /// With LAPACK where it is found.
    public CpuLinearAlgebra(Workers workers) {
        this(workers, new Gemm(workers), Lapack.open());
    }

    /// With products and scratch memory that others use too.
    CpuLinearAlgebra(Workers workers, Gemm gemm, Optional<Lapack> lapack) {
        this.workers = workers;
        this.gemm = gemm;
        this.blocked = new BlockedFactorization(gemm, workers);
        this.lapack = lapack;
    }

    /// Without LAPACK, even if it is there.
    public static CpuLinearAlgebra pureJava(Workers workers) {
        return new CpuLinearAlgebra(workers, new Gemm(workers), Optional.empty());
    }

    /// Whether factorisations are LAPACK's.
    public boolean usesLapack() {
        return lapack.isPresent();
    }

    @Override
    public void gemm(float alpha, Matrix a, boolean transposeA, Matrix b, boolean transposeB, float beta, Matrix c) {
        int m = transposeA ? a.columns() : a.rows();
        int k = transposeA ? a.rows() : a.columns();
        int n = transposeB ? b.rows() : b.columns();
        int inner = transposeB ? b.columns() : b.rows();
        if (k != inner || c.rows() != m || c.columns() != n) {
            throw new IllegalArgumentException(
                    "[%d, %d] times [%d, %d] does not give [%d, %d]".formatted(m, k, inner, n, c.rows(), c.columns()));
        }
        gemm.multiply(
                m,
                n,
                k,
                alpha,
                a.segment(),
                transposeA,
                a.stride(),
                b.segment(),
                transposeB,
                b.stride(),
                beta,
                c.segment(),
                c.stride());
    }

    @Override
    public void accumulateGram(Tensor x, MemorySegment gram) {
        gemm.gram(floats(x), x.rows(), x.columns(), gram);
    }

    @Override
    public void cholesky(Tensor a) {
        int n = square(a);
        requireFinite(a);
        int pivot = factor(a.segment(), n);
        if (pivot >= 0) {
            throw new NotPositiveDefiniteException(pivot, n);
        }
        zeroUpper(a.segment(), n);
    }

    @Override
    public void invertTriangular(Tensor l) {
        int n = square(l);
        zeroUpper(l.segment(), n);
        requireFinite(l);
        invert(l.segment(), n);
    }

    @Override
    public void inverseSpd(Tensor a) {
        int n = square(a);
        cholesky(a);
        MemorySegment segment = a.segment();
        if (lapack.isPresent() && segment.isNative()) {
            lapack.get().spotri(n, segment, n);
        } else {
            invert(segment, n);
            blocked.squareOfLower(segment, n);
        }
        workers.rows(n, GRAIN, (from, to, thread) -> {
            for (int i = from; i < to; i++) {
                for (int j = i + 1; j < n; j++) {
                    segment.set(FLOAT, offset(n, i, j), segment.get(FLOAT, offset(n, j, i)));
                }
            }
        });
    }

    @Override
    public void upperCholeskyOfInverse(Tensor a, Tensor u) {
        int n = square(a);
        if (square(u) != n) {
            throw new IllegalArgumentException(u + " cannot hold a factor of " + a);
        }
        requireFinite(a);
        reverse(a.segment(), u.segment(), n);
        int pivot = factor(u.segment(), n);
        if (pivot >= 0) {
            throw new NotPositiveDefiniteException(n - 1 - pivot, n);
        }
        zeroUpper(u.segment(), n);
        invert(u.segment(), n);
        reverseInPlace(u.segment(), n);
    }

    @Override
    public float selectKth(Tensor values, long k) {
        return Scan.kthSmallestMagnitude(floats(values), values.size(), k, workers);
    }

    /// L in place of the lower triangle; the first pivot that is not positive, or -1.
    private int factor(MemorySegment a, int n) {
        if (lapack.isEmpty() || !a.isNative()) {
            return blocked.cholesky(a, n);
        }
        try {
            lapack.get().spotrf(n, a, n);
            return -1;
        } catch (LapackException e) {
            if (e.info() > 0) {
                return e.info() - 1;
            }
            throw e;
        }
    }

    private void invert(MemorySegment l, int n) {
        int zero = -1;
        if (lapack.isPresent() && l.isNative()) {
            try {
                lapack.get().strtri(n, l, n);
            } catch (LapackException e) {
                if (e.info() <= 0) {
                    throw e;
                }
                zero = e.info() - 1;
            }
        } else {
            zero = blocked.invertLower(l, n);
        }
        if (zero >= 0) {
            throw new NonFiniteException(
                    "the triangular matrix of order " + n + " is singular: diagonal element " + zero + " is zero");
        }
    }

    /// Lower triangle of J A J, out of A's upper triangle, into `target`.
    private void reverse(MemorySegment a, MemorySegment target, int n) {
        workers.rows(n, GRAIN, (from, to, thread) -> {
            for (int i = from; i < to; i++) {
                for (int j = 0; j <= i; j++) {
                    target.set(FLOAT, offset(n, i, j), a.get(FLOAT, offset(n, n - 1 - i, n - 1 - j)));
                }
            }
        });
    }

    /// J A J in place: the first element changes places with the last, and so on.
    private void reverseInPlace(MemorySegment a, int n) {
        long last = (long) n * n - 1;
        workers.rows((n + 1) / 2, GRAIN, (from, to, thread) -> {
            long end = Math.min((long) to * n, (last + 1) / 2);
            for (long i = (long) from * n; i < end; i++) {
                float first = a.get(FLOAT, 4 * i);
                a.set(FLOAT, 4 * i, a.get(FLOAT, 4 * (last - i)));
                a.set(FLOAT, 4 * (last - i), first);
            }
        });
    }

    private void zeroUpper(MemorySegment a, int n) {
        workers.rows(n, GRAIN, (from, to, thread) -> {
            for (int i = from; i < to; i++) {
                a.asSlice(offset(n, i, i) + 4, 4L * (n - 1 - i)).fill((byte) 0);
            }
        });
    }

    private void requireFinite(Tensor a) {
        if (!Scan.allFinite(a.segment(), a.size(), workers)) {
            throw new NonFiniteException("the matrix of order " + a.rows() + " holds a NaN or an infinity");
        }
    }

    private static int square(Tensor a) {
        floats(a);
        if (a.rows() != a.columns()) {
            throw new IllegalArgumentException(a + " is not square");
        }
        return a.rows();
    }

    private static MemorySegment floats(Tensor a) {
        if (a.dtype() != DType.F32) {
            throw new IllegalArgumentException("linear algebra takes F32, not " + a);
        }
        return a.segment();
    }

    private static long offset(int n, int row, int column) {
        return 4 * ((long) row * n + column);
    }
}
