package dev.espalier.natives.blas;

import static dev.espalier.natives.blas.generated.OpenBlas.*;

import java.lang.foreign.MemorySegment;
import java.util.Optional;

/// The host's LAPACK, out of OpenBLAS: factorisations, inverses, eigenvalues and singular values.
///
/// All matrices are row-major in native memory; `ld…` is the number of elements from one row to the next. Shapes are
/// checked before each call, and a call that fails throws [LapackException]. A NaN in a matrix is refused.
///
/// The routines are called in column-major order with the triangles exchanged, which is the same matrix: LAPACKE's own
/// row-major order would copy it twice.
public final class Lapack {
    private static final byte UPPER = 'U';
    private static final byte NON_UNIT = 'N';
    private static final byte VECTORS = 'V';
    private static final byte VALUES = 'N';
    private static final byte THIN = 'S';

    private Lapack() {}

    /// The library's calls; empty if there is none, for the reason that [Blas#library()] gives.
    public static Optional<Lapack> open() {
        return Blas.library().found() ? Optional.of(new Lapack()) : Optional.empty();
    }

    /// Cholesky factor L of `A = L Lᵀ` in place of A's lower triangle, in float32; the upper triangle is left alone.
    ///
    /// @throws LapackException if A is not positive definite: `info()` is the order of the leading minor that is not
    public void spotrf(int n, MemorySegment a, int lda) {
        Matrices.check("A", a, n, n, lda, Float.BYTES);
        checkCholesky("spotrf", n, LAPACKE_spotrf(LAPACK_COL_MAJOR(), UPPER, n, a, lda));
    }

    /// As [#spotrf] in float64.
    public void dpotrf(int n, MemorySegment a, int lda) {
        Matrices.check("A", a, n, n, lda, Double.BYTES);
        checkCholesky("dpotrf", n, LAPACKE_dpotrf(LAPACK_COL_MAJOR(), UPPER, n, a, lda));
    }

    /// Lower triangle of `(L Lᵀ)⁻¹` in place of the lower triangular L, in float32.
    public void spotri(int n, MemorySegment l, int ldl) {
        Matrices.check("L", l, n, n, ldl, Float.BYTES);
        checkTriangle("spotri", n, LAPACKE_spotri(LAPACK_COL_MAJOR(), UPPER, n, l, ldl));
    }

    /// Solves `L Lᵀ X = B` in place of B `[n, right]`, in float32.
    public void spotrs(int n, int right, MemorySegment l, int ldl, MemorySegment b, int ldb) {
        Matrices.check("L", l, n, n, ldl, Float.BYTES);
        Matrices.check("B", b, n, right, ldb, Float.BYTES);
        int info = LAPACKE_spotrs(LAPACK_ROW_MAJOR(), (byte) 'L', n, right, l, ldl, b, ldb);
        check("spotrs", info, n + " x " + n + ", " + right + " right-hand sides", "");
    }

    /// Inverse of the lower triangular L in place, in float32; the upper triangle is left alone.
    ///
    /// @throws LapackException if a diagonal element is zero: `info()` is its index, counted from 1
    public void strtri(int n, MemorySegment l, int ldl) {
        Matrices.check("L", l, n, n, ldl, Float.BYTES);
        checkTriangle("strtri", n, LAPACKE_strtri(LAPACK_COL_MAJOR(), UPPER, NON_UNIT, n, l, ldl));
    }

    /// Eigenvalues of the symmetric A (its lower triangle is read), ascending, in float32.
    ///
    /// @param vectors whether A is replaced by its eigenvectors: row i is the one of `values[i]`; otherwise A is destroyed
    /// @param values `[n]`, overwritten
    public void ssyevd(boolean vectors, int n, MemorySegment a, int lda, MemorySegment values) {
        Matrices.check("A", a, n, n, lda, Float.BYTES);
        Matrices.checkVector("values", values, n, Float.BYTES);
        int info = LAPACKE_ssyevd(LAPACK_COL_MAJOR(), vectors ? VECTORS : VALUES, UPPER, n, a, lda, values);
        check("ssyevd", info, n + " x " + n, "it did not converge");
    }

    /// As [#ssyevd] in float64.
    public void dsyevd(boolean vectors, int n, MemorySegment a, int lda, MemorySegment values) {
        Matrices.check("A", a, n, n, lda, Double.BYTES);
        Matrices.checkVector("values", values, n, Double.BYTES);
        int info = LAPACKE_dsyevd(LAPACK_COL_MAJOR(), vectors ? VECTORS : VALUES, UPPER, n, a, lda, values);
        check("dsyevd", info, n + " x " + n, "it did not converge");
    }

    /// Thin singular value decomposition `A = U diag(s) Vᵀ` of A `[m, n]`, in float32; A is destroyed.
    ///
    /// @param s `[min(m, n)]`, descending
    /// @param u `[m, min(m, n)]`, contiguous
    /// @param vt `[min(m, n), n]`, contiguous
    public void sgesdd(int m, int n, MemorySegment a, int lda, MemorySegment s, MemorySegment u, MemorySegment vt) {
        int rank = Math.min(m, n);
        Matrices.check("A", a, m, n, lda, Float.BYTES);
        Matrices.checkVector("s", s, rank, Float.BYTES);
        Matrices.check("U", u, m, rank, Math.max(1, rank), Float.BYTES);
        Matrices.check("Vᵀ", vt, rank, n, Math.max(1, n), Float.BYTES);
        // Column-major, this is Aᵀ = V diag(s) Uᵀ: the factors change places.
        int info = LAPACKE_sgesdd(LAPACK_COL_MAJOR(), THIN, n, m, a, lda, s, vt, Math.max(1, n), u, Math.max(1, rank));
        check("sgesdd", info, m + " x " + n, "it did not converge");
    }

    private static void checkCholesky(String function, int n, int info) {
        check(
                function,
                info,
                n + " x " + n,
                "the matrix is not positive definite, its leading minor of order " + info + " is not");
    }

    private static void checkTriangle(String function, int n, int info) {
        check(function, info, n + " x " + n, "diagonal element " + info + ", counted from 1, is zero");
    }

    private static void check(String function, int info, String shapes, String meaning) {
        if (info != 0) {
            throw new LapackException(
                    function,
                    info,
                    shapes,
                    info > 0
                            ? meaning
                            : info <= -1010
                                    ? "no memory for its work space"
                                    : "argument " + -info + " was refused (NaN in a matrix?)");
        }
    }
}
