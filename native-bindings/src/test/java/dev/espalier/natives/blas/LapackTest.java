package dev.espalier.natives.blas;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Random;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/// Every bound call against a float64 computation by hand. `EPS` times a small power of n bounds each error: the matrices are
/// well conditioned.
class LapackTest {
    private static final double EPS = 6e-8;

    private final Arena arena = Arena.ofConfined();
    private final Random random = new Random(42);
    private Blas blas;
    private Lapack lapack;

    @BeforeEach
    void open() {
        assumeTrue(
                Blas.library().found(),
                () -> "openblas: " + Blas.library().whyNot().orElse(""));
        blas = Blas.open().orElseThrow();
        lapack = Lapack.open().orElseThrow();
    }

    @AfterEach
    void close() {
        arena.close();
    }

    @Test
    void theLibraryTellsItsVersionAndRunsOneThread() {
        assertTrue(blas.version().startsWith("OpenBLAS 0."), blas.version());
        assertEquals(1, dev.espalier.natives.blas.generated.OpenBlas.openblas_get_num_threads());
    }

    @Test
    void productsEqualTheTripleLoopForEveryTransposition() {
        int m = 7;
        int n = 5;
        int k = 9;
        for (boolean ta : new boolean[] {false, true}) {
            for (boolean tb : new boolean[] {false, true}) {
                double[][] a = random(ta ? k : m, ta ? m : k);
                double[][] b = random(tb ? n : k, tb ? k : n);
                double[][] c = random(m, n);
                MemorySegment cs = single(c, n + 2);
                blas.sgemm(
                        ta,
                        tb,
                        m,
                        n,
                        k,
                        2f,
                        single(a, a[0].length),
                        a[0].length,
                        single(b, b[0].length),
                        b[0].length,
                        0.5f,
                        cs,
                        n + 2);
                MemorySegment cd = twice(c);
                blas.dgemm(ta, tb, m, n, k, 2, twice(a), a[0].length, twice(b), b[0].length, 0.5, cd, n);
                for (int i = 0; i < m; i++) {
                    for (int j = 0; j < n; j++) {
                        double sum = 0;
                        for (int l = 0; l < k; l++) {
                            sum += (ta ? a[l][i] : a[i][l]) * (tb ? b[j][l] : b[l][j]);
                        }
                        double expected = 2 * sum + 0.5 * c[i][j];
                        assertEquals(expected, single(cs, n + 2, i, j), 10 * k * EPS);
                        assertEquals(expected, cd.getAtIndex(ValueLayout.JAVA_DOUBLE, (long) i * n + j), 1e-13);
                    }
                }
            }
        }
    }

    @Test
    void rankUpdatesAndVectorProductsEqualTheTripleLoop() {
        int n = 6;
        int k = 11;
        double[][] a = random(k, n);
        MemorySegment c = single(new double[n][n], n);
        blas.ssyrk(true, n, k, 1f, single(a, n), n, 0f, c, n);
        MemorySegment d = twice(new double[n][n]);
        blas.dsyrk(true, n, k, 1, twice(a), n, 0, d, n);
        MemorySegment y = single(new double[1][n], n);
        blas.sgemv(true, k, n, 1f, single(a, n), n, single(random(1, k), k), 0f, y);
        for (int i = 0; i < n; i++) {
            for (int j = 0; j < n; j++) {
                double sum = 0;
                for (double[] row : a) {
                    sum += row[i] * row[j];
                }
                assertEquals(j <= i ? sum : 0, single(c, n, i, j), 10 * k * EPS);
                assertEquals(j <= i ? sum : 0, d.getAtIndex(ValueLayout.JAVA_DOUBLE, i * n + j), 1e-13);
            }
        }
        assertTrue(Math.abs(single(y, n, 0, 0)) > 0);
    }

    @Test
    void choleskyFactorsSolvesAndInverts() {
        int n = 40;
        double[][] a = positiveDefinite(n);
        MemorySegment l = single(a, n + 3);
        lapack.spotrf(n, l, n + 3);
        assertEquals(a[0][n - 1], single(l, n + 3, 0, n - 1), 1e-5, "the upper triangle is left alone");
        for (int i = 0; i < n; i++) {
            for (int j = 0; j <= i; j++) {
                double sum = 0;
                for (int t = 0; t <= j; t++) {
                    sum += single(l, n + 3, i, t) * single(l, n + 3, j, t);
                }
                assertEquals(a[i][j], sum, n * n * EPS);
            }
        }
        double[][] b = random(n, 4);
        MemorySegment x = single(b, 5);
        lapack.spotrs(n, 4, l, n + 3, x, 5);
        for (int i = 0; i < n; i++) {
            for (int j = 0; j < 4; j++) {
                double sum = 0;
                for (int t = 0; t < n; t++) {
                    sum += a[i][t] * single(x, 5, t, j);
                }
                assertEquals(b[i][j], sum, 10 * n * EPS);
            }
        }
        MemorySegment y = single(b, 5);
        blas.strsm(false, n, 4, 1f, l, n + 3, y, 5);
        blas.strsm(true, n, 4, 1f, l, n + 3, y, 5);
        for (int i = 0; i < n; i++) {
            assertEquals(single(x, 5, i, 0), single(y, 5, i, 0), 10 * EPS);
        }
        MemorySegment inverse = arena.allocate(l.byteSize());
        inverse.copyFrom(l);
        lapack.spotri(n, inverse, n + 3);
        MemorySegment triangle = arena.allocate(l.byteSize());
        triangle.copyFrom(l);
        lapack.strtri(n, triangle, n + 3);
        for (int i = 0; i < n; i++) {
            double[] product = new double[2];
            for (int t = 0; t < n; t++) {
                product[0] += a[i][t] * (t >= i ? single(inverse, n + 3, t, i) : single(inverse, n + 3, i, t));
                product[1] += t <= i ? single(l, n + 3, i, t) * (t >= i ? single(triangle, n + 3, t, i) : 0) : 0;
            }
            assertEquals(1, product[0], 10 * n * EPS);
            assertEquals(1, product[1], n * EPS);
        }
    }

    @Test
    void eigenvectorsComeAsRowsAndSingularVectorsRecompose() {
        int n = 30;
        double[][] a = positiveDefinite(n);
        MemorySegment vectors = single(a, n);
        MemorySegment values = arena.allocate(4L * n);
        lapack.ssyevd(true, n, vectors, n, values);
        MemorySegment doubles = twice(a);
        MemorySegment doubleValues = arena.allocate(8L * n, 8);
        lapack.dsyevd(false, n, doubles, n, doubleValues);
        for (int v = 0; v < n; v++) {
            double lambda = values.getAtIndex(ValueLayout.JAVA_FLOAT, v);
            assertEquals(lambda, doubleValues.getAtIndex(ValueLayout.JAVA_DOUBLE, v), n * n * EPS);
            for (int i = 0; i < n; i++) {
                double sum = 0;
                for (int j = 0; j < n; j++) {
                    sum += a[i][j] * single(vectors, n, v, j);
                }
                assertEquals(lambda * single(vectors, n, v, i), sum, n * n * EPS);
            }
        }
        for (int[] shape : new int[][] {{6, 4}, {4, 6}}) {
            int m = shape[0];
            int k = shape[1];
            int rank = Math.min(m, k);
            double[][] b = random(m, k);
            MemorySegment s = arena.allocate(4L * rank);
            MemorySegment u = arena.allocate(4L * m * rank);
            MemorySegment vt = arena.allocate(4L * rank * k);
            lapack.sgesdd(m, k, single(b, k), k, s, u, vt);
            for (int i = 0; i < m; i++) {
                for (int j = 0; j < k; j++) {
                    double sum = 0;
                    for (int t = 0; t < rank; t++) {
                        sum += single(u, rank, i, t) * s.getAtIndex(ValueLayout.JAVA_FLOAT, t) * single(vt, k, t, j);
                    }
                    assertEquals(b[i][j], sum, 20 * EPS);
                }
            }
        }
    }

    @Test
    void codesBecomeExceptionsThatNameRoutineAndMeaning() {
        int n = 5;
        double[][] a = positiveDefinite(n);
        a[3][3] = -1;
        LapackException indefinite = assertThrows(LapackException.class, () -> lapack.spotrf(n, single(a, n), n));
        assertEquals(4, indefinite.info());
        assertTrue(indefinite.getMessage().contains("spotrf(5 x 5)"), indefinite.getMessage());
        assertEquals(
                4,
                assertThrows(LapackException.class, () -> lapack.dpotrf(n, twice(a), n))
                        .info());
        a[3][3] = Double.NaN;
        assertTrue(assertThrows(LapackException.class, () -> lapack.spotrf(n, single(a, n), n))
                        .info()
                < 0);
        assertEquals(
                1,
                assertThrows(LapackException.class, () -> lapack.strtri(n, single(new double[n][n], n), n))
                        .info());
    }

    @Test
    void wrongShapesAreRefusedBeforeTheCall() {
        MemorySegment small = single(new double[3][3], 3);
        assertThrows(IllegalArgumentException.class, () -> lapack.spotrf(4, small, 4));
        assertThrows(IllegalArgumentException.class, () -> lapack.spotrf(3, small, 2));
        assertThrows(IllegalArgumentException.class, () -> lapack.spotrf(-1, small, 2));
        assertThrows(
                IllegalArgumentException.class,
                () -> blas.sgemm(false, false, 3, 3, 4, 1, small, 4, small, 3, 0, small, 3));
        assertThrows(IllegalArgumentException.class, () -> lapack.spotrf(3, MemorySegment.ofArray(new float[9]), 3));
    }

    private double[][] random(int rows, int columns) {
        double[][] a = new double[rows][columns];
        for (double[] row : a) {
            for (int j = 0; j < columns; j++) {
                row[j] = (float) random.nextGaussian();
            }
        }
        return a;
    }

    private double[][] positiveDefinite(int n) {
        double[][] x = random(2 * n, n);
        double[][] a = new double[n][n];
        for (int i = 0; i < n; i++) {
            for (int j = 0; j < n; j++) {
                double sum = i == j ? 1 : 0;
                for (double[] row : x) {
                    sum += row[i] * row[j] / (2 * n);
                }
                a[i][j] = (float) sum;
            }
        }
        return a;
    }

    private MemorySegment single(double[][] a, int stride) {
        MemorySegment s = arena.allocate(4L * a.length * stride, 64);
        for (int i = 0; i < a.length; i++) {
            for (int j = 0; j < a[i].length; j++) {
                s.setAtIndex(ValueLayout.JAVA_FLOAT, (long) i * stride + j, (float) a[i][j]);
            }
        }
        return s;
    }

    private MemorySegment twice(double[][] a) {
        MemorySegment s = arena.allocate(8L * a.length * a[0].length, 64);
        for (int i = 0; i < a.length; i++) {
            MemorySegment.copy(a[i], 0, s, ValueLayout.JAVA_DOUBLE, 8L * i * a[i].length, a[i].length);
        }
        return s;
    }

    private static double single(MemorySegment s, int stride, int row, int column) {
        return s.getAtIndex(ValueLayout.JAVA_FLOAT, (long) row * stride + column);
    }
}
