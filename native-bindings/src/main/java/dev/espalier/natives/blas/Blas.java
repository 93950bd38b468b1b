package dev.espalier.natives.blas;

import static dev.espalier.natives.blas.generated.OpenBlas.*;

import dev.espalier.natives.NativeLibrary;
import dev.espalier.natives.blas.generated.OpenBlas;
import java.lang.foreign.MemorySegment;
import java.util.Optional;

/// The host's OpenBLAS: matrix products, in single and double precision.
///
/// All matrices are row-major in native memory; `ld…` is the number of elements from one row to the next. Shapes are
/// checked before each call. The library is set to one thread, so that results do not depend on how many this process
/// uses. Espalier's own products are faster where they exist; these are the yardstick they are tested against, and what
/// LAPACK brings along.
public final class Blas {
    private static NativeLibrary library;

    private Blas() {}

    /// The library: loaded at the first call, or the reason why it is not there. Looks at `ESPALIER_OPENBLAS_PATH`,
    /// `-Despalier.openblas.path` (a file or a folder), `LD_LIBRARY_PATH`, the jar that comes with Espalier, and the system's
    /// folders. One without LAPACKE counts as absent.
    public static synchronized NativeLibrary library() {
        if (library == null) {
            library = OpenBlasSearch.load(System.getenv(), System.getProperties());
            if (library.found()) {
                OpenBlas.openblas_set_num_threads(1);
            }
        }
        return library;
    }

    /// The library's calls; empty if there is none, for the reason that [#library()] gives.
    public static Optional<Blas> open() {
        return library().found() ? Optional.of(new Blas()) : Optional.empty();
    }

    /// Version, build options and the processor it chose its kernels for, as the library tells them.
    public String version() {
        return openblas_get_config().getString(0).strip();
    }

    /// `C ← alpha op(A) op(B) + beta C` with `op(A)` `[m, k]`, `op(B)` `[k, n]`, C `[m, n]`, in float32.
    public void sgemm(
            boolean transposeA,
            boolean transposeB,
            int m,
            int n,
            int k,
            float alpha,
            MemorySegment a,
            int lda,
            MemorySegment b,
            int ldb,
            float beta,
            MemorySegment c,
            int ldc) {
        checkGemm(transposeA, transposeB, m, n, k, a, lda, b, ldb, c, ldc, Float.BYTES);
        cblas_sgemm(CblasRowMajor(), op(transposeA), op(transposeB), m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
    }

    /// As [#sgemm] in float64.
    public void dgemm(
            boolean transposeA,
            boolean transposeB,
            int m,
            int n,
            int k,
            double alpha,
            MemorySegment a,
            int lda,
            MemorySegment b,
            int ldb,
            double beta,
            MemorySegment c,
            int ldc) {
        checkGemm(transposeA, transposeB, m, n, k, a, lda, b, ldb, c, ldc, Double.BYTES);
        cblas_dgemm(CblasRowMajor(), op(transposeA), op(transposeB), m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
    }

    /// `y ← alpha op(A) x + beta y` with A `[m, n]`, in float32; x and y are dense vectors.
    public void sgemv(
            boolean transpose,
            int m,
            int n,
            float alpha,
            MemorySegment a,
            int lda,
            MemorySegment x,
            float beta,
            MemorySegment y) {
        Matrices.check("A", a, m, n, lda, Float.BYTES);
        Matrices.checkVector("x", x, transpose ? m : n, Float.BYTES);
        Matrices.checkVector("y", y, transpose ? n : m, Float.BYTES);
        cblas_sgemv(CblasRowMajor(), op(transpose), m, n, alpha, a, lda, x, 1, beta, y, 1);
    }

    /// `C ← alpha op(A) op(A)ᵀ + beta C` with `op(A)` `[n, k]`, in float32; only C's lower triangle is read and written.
    public void ssyrk(
            boolean transpose,
            int n,
            int k,
            float alpha,
            MemorySegment a,
            int lda,
            float beta,
            MemorySegment c,
            int ldc) {
        Matrices.check("A", a, transpose ? k : n, transpose ? n : k, lda, Float.BYTES);
        Matrices.check("C", c, n, n, ldc, Float.BYTES);
        cblas_ssyrk(CblasRowMajor(), CblasLower(), op(transpose), n, k, alpha, a, lda, beta, c, ldc);
    }

    /// As [#ssyrk] in float64.
    public void dsyrk(
            boolean transpose,
            int n,
            int k,
            double alpha,
            MemorySegment a,
            int lda,
            double beta,
            MemorySegment c,
            int ldc) {
        Matrices.check("A", a, transpose ? k : n, transpose ? n : k, lda, Double.BYTES);
        Matrices.check("C", c, n, n, ldc, Double.BYTES);
        cblas_dsyrk(CblasRowMajor(), CblasLower(), op(transpose), n, k, alpha, a, lda, beta, c, ldc);
    }

    /// Solves `op(L) X = alpha B` in place of B `[m, n]`, where L `[m, m]` is lower triangular, in float32.
    public void strsm(
            boolean transpose, int m, int n, float alpha, MemorySegment l, int ldl, MemorySegment b, int ldb) {
        Matrices.check("L", l, m, m, ldl, Float.BYTES);
        Matrices.check("B", b, m, n, ldb, Float.BYTES);
        cblas_strsm(
                CblasRowMajor(), CblasLeft(), CblasLower(), op(transpose), CblasNonUnit(), m, n, alpha, l, ldl, b, ldb);
    }

    private static int op(boolean transpose) {
        return transpose ? CblasTrans() : CblasNoTrans();
    }

    private static void checkGemm(
            boolean transposeA,
            boolean transposeB,
            int m,
            int n,
            int k,
            MemorySegment a,
            int lda,
            MemorySegment b,
            int ldb,
            MemorySegment c,
            int ldc,
            int bytes) {
        Matrices.check("A", a, transposeA ? k : m, transposeA ? m : k, lda, bytes);
        Matrices.check("B", b, transposeB ? n : k, transposeB ? k : n, ldb, bytes);
        Matrices.check("C", c, m, n, ldc, bytes);
    }
}
