package dev.espalier.kernels.cpu;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import dev.espalier.kernels.LinearAlgebra;
import dev.espalier.kernels.LinearAlgebra.Matrix;
import dev.espalier.kernels.NonFiniteException;
import dev.espalier.kernels.NotPositiveDefiniteException;
import dev.espalier.kernels.simd.Workers;
import dev.espalier.natives.blas.Blas;
import dev.espalier.tensor.DType;
import dev.espalier.tensor.Tensor;
import java.lang.foreign.Arena;
import java.lang.foreign.ValueLayout;
import java.util.Arrays;
import java.util.Random;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/// What every implementation of [LinearAlgebra] keeps, against float64.
///
/// The matrices are Gram matrices of twice as many samples as features plus a tenth of their mean diagonal, with condition
/// numbers below 100; float32 errors of backward stable algorithms then stay below some n · 2⁻²³ times that, and are in fact
/// far smaller.
@Tag("lanes")
class LinearAlgebraTest {
    /// Who computes.
    enum Implementation {
        LAPACK,
        JAVA;

        LinearAlgebra on(Workers workers) {
            if (this == JAVA) {
                return CpuLinearAlgebra.pureJava(workers);
            }
            assumeTrue(
                    Blas.library().found(),
                    () -> "openblas: " + Blas.library().whyNot().orElse(""));
            CpuLinearAlgebra algebra = new CpuLinearAlgebra(workers);
            assertTrue(algebra.usesLapack());
            return algebra;
        }
    }

    private static final int[] ORDERS = {1, 2, 7, 63, 64, 65, 130, 200};

    private final Arena arena = Arena.ofShared();
    private final Workers workers = new Workers(2);
    private final Random random = new Random(11);

    @AfterEach
    void close() {
        workers.close();
        arena.close();
    }

    @ParameterizedTest
    @EnumSource
    void productsOfTensorsAndOfTheirPartsEqualFloat64(Implementation implementation) {
        LinearAlgebra algebra = implementation.on(workers);
        Tensor a = random(30, 50);
        Tensor b = random(50, 70);
        Tensor c = Tensor.allocate(arena, DType.F32, 30, 70);
        algebra.gemm(a, false, b, false, c);
        double[][] product = multiply(doubles(a), doubles(b));
        assertClose(product, c, 2e-5);
        algebra.gemm(
                -1f,
                Matrix.of(a).columns(10, 20),
                false,
                Matrix.of(b).rows(10, 20).columns(5, 70),
                false,
                1f,
                Matrix.of(c).columns(5, 70));
        for (int i = 0; i < 30; i++) {
            for (int j = 5; j < 70; j++) {
                for (int k = 10; k < 20; k++) {
                    product[i][j] -= (double) a.get(i, k) * b.get(k, j);
                }
            }
        }
        assertClose(product, c, 2e-5);
        assertThrows(IllegalArgumentException.class, () -> algebra.gemm(a, true, b, false, c));
        assertThrows(
                IllegalArgumentException.class,
                () -> algebra.gemm(Tensor.allocate(arena, DType.BF16, 30, 50), false, b, false, c));
    }

    @ParameterizedTest
    @EnumSource
    void gramMatricesAccumulate(Implementation implementation) {
        LinearAlgebra algebra = implementation.on(workers);
        Tensor x = random(90, 40);
        var gram = arena.allocate(8L * 40 * 40, 8);
        algebra.accumulateGram(x.slice(0, 50), gram);
        algebra.accumulateGram(x.slice(50, 90), gram);
        double[][] expected = multiply(transpose(doubles(x)), doubles(x));
        for (int i = 0; i < 1600; i++) {
            assertEquals(
                    expected[i / 40][i % 40],
                    gram.getAtIndex(ValueLayout.JAVA_DOUBLE, i),
                    90 * Math.pow(2, -20),
                    "" + i);
        }
    }

    @ParameterizedTest
    @EnumSource
    void theCholeskyFactorIsLowerTriangularAndRecomposes(Implementation implementation) {
        LinearAlgebra algebra = implementation.on(workers);
        for (int n : ORDERS) {
            Tensor a = positiveDefinite(n);
            Tensor l = copy(a);
            algebra.cholesky(l);
            for (int i = 0; i < n; i++) {
                assertTrue(l.get(i, i) > 0);
                for (int j = i + 1; j < n; j++) {
                    assertEquals(0f, l.get(i, j));
                }
            }
            double[][] factor = doubles(l);
            assertClose(multiply(factor, transpose(factor)), a, 1e-6);
            double[][] exact = doubles(a);
            cholesky(exact);
            assertClose(exact, l, 1e-5);
        }
    }

    @ParameterizedTest
    @EnumSource
    void inversesTimesTheirMatricesAreTheIdentity(Implementation implementation) {
        LinearAlgebra algebra = implementation.on(workers);
        for (int n : ORDERS) {
            Tensor a = positiveDefinite(n);
            double[][] identity = new double[n][n];
            for (int i = 0; i < n; i++) {
                identity[i][i] = 1;
            }
            Tensor l = copy(a);
            algebra.cholesky(l);
            Tensor triangular = copy(l);
            // What stands above the diagonal does not count.
            for (int j = 1; j < n; j++) {
                triangular.set(0, j, 5f);
            }
            algebra.invertTriangular(triangular);
            assertClose(identity, multiply(doubles(l), doubles(triangular)), 1e-5);
            assertEquals(0f, triangular.get(0, n - 1) * (n - 1));
            Tensor inverse = copy(a);
            algebra.inverseSpd(inverse);
            assertClose(identity, multiply(doubles(a), doubles(inverse)), 2e-5);
            assertClose(transpose(doubles(inverse)), inverse, 0);
        }
    }

    @ParameterizedTest
    @EnumSource
    void theUpperFactorOfTheInverseEqualsTheTextbooksTwoFactorisations(Implementation implementation) {
        LinearAlgebra algebra = implementation.on(workers);
        for (int n : ORDERS) {
            Tensor a = positiveDefinite(n);
            Tensor before = copy(a);
            Tensor u = random(n, n);
            algebra.upperCholeskyOfInverse(a, u);
            assertArrayEquals(before.toFloats(), a.toFloats());
            double[][] inverse = inverse(doubles(a));
            double[][] factor = doubles(u);
            assertClose(inverse, multiply(transpose(factor), factor), 1e-5);
            // The upper factor of A⁻¹ is the transpose of its lower one.
            cholesky(inverse);
            assertClose(transpose(inverse), u, 1e-5);
            for (int i = 1; i < n; i++) {
                assertEquals(0f, u.get(i, i - 1));
            }
        }
    }

    @ParameterizedTest
    @EnumSource
    void whatIsNotPositiveDefiniteNamesItsPivot(Implementation implementation) {
        LinearAlgebra algebra = implementation.on(workers);
        for (int n : new int[] {5, 64, 150}) {
            for (int bad : new int[] {0, n / 2, n - 1}) {
                Tensor a = positiveDefinite(n);
                a.set(bad, bad, -1f);
                Tensor l = copy(a);
                NotPositiveDefiniteException thrown =
                        assertThrows(NotPositiveDefiniteException.class, () -> algebra.cholesky(l));
                assertEquals(bad, thrown.pivot());
                assertTrue(thrown.getMessage().contains("pivot " + bad), thrown.getMessage());
                Tensor u = copy(a);
                assertEquals(
                        bad,
                        assertThrows(NotPositiveDefiniteException.class, () -> algebra.upperCholeskyOfInverse(a, u))
                                .pivot());
            }
        }
        Tensor zero = Tensor.allocate(arena, DType.F32, 3, 3);
        assertEquals(
                0,
                assertThrows(NotPositiveDefiniteException.class, () -> algebra.inverseSpd(zero))
                        .pivot());
    }

    @ParameterizedTest
    @EnumSource
    void nansAndInfinitiesAreFoundBeforeAnythingIsDone(Implementation implementation) {
        LinearAlgebra algebra = implementation.on(workers);
        for (float bad : new float[] {Float.NaN, Float.POSITIVE_INFINITY, Float.NEGATIVE_INFINITY}) {
            Tensor a = positiveDefinite(70);
            a.set(69, 68, bad);
            a.set(68, 69, bad);
            float[] before = a.toFloats();
            assertThrows(NonFiniteException.class, () -> algebra.cholesky(a));
            assertThrows(NonFiniteException.class, () -> algebra.inverseSpd(a));
            Tensor other = copy(a);
            assertThrows(NonFiniteException.class, () -> algebra.upperCholeskyOfInverse(a, other));
            assertArrayEquals(before, a.toFloats());
            assertThrows(NonFiniteException.class, () -> algebra.invertTriangular(other));
        }
        Tensor singular = positiveDefinite(70);
        singular.set(66, 66, 0f);
        NonFiniteException thrown = assertThrows(NonFiniteException.class, () -> algebra.invertTriangular(singular));
        assertTrue(thrown.getMessage().contains("diagonal element 66"), thrown.getMessage());
    }

    @ParameterizedTest
    @EnumSource
    void theKthSmallestMagnitudeIsExact(Implementation implementation) {
        LinearAlgebra algebra = implementation.on(workers);
        Tensor values = random(37, 1111);
        values.set(0, 0, 0f);
        values.set(5, 3, -0f);
        values.set(6, 6, Float.MIN_VALUE);
        values.set(7, 7, Float.POSITIVE_INFINITY);
        values.set(36, 1110, Float.NaN);
        for (int i = 0; i < 100; i++) {
            values.set(i % 37, 200 + i, -0.25f);
        }
        float[] sorted = values.toFloats();
        for (int i = 0; i < sorted.length; i++) {
            sorted[i] = Math.abs(sorted[i]);
        }
        Arrays.sort(sorted);
        for (int k : new int[] {0, 1, 2, 3, 100, 8000, 9000, 20000, sorted.length - 2, sorted.length - 1}) {
            assertEquals(sorted[k], algebra.selectKth(values, k), "" + k);
        }
        assertThrows(IllegalArgumentException.class, () -> algebra.selectKth(values, sorted.length));
        assertThrows(IllegalArgumentException.class, () -> algebra.selectKth(values, -1));
    }

    @ParameterizedTest
    @EnumSource
    void resultsAreTheSameBitsForAnyNumberOfThreads(Implementation implementation) {
        Tensor a = positiveDefinite(200);
        float[][][] results = new float[3][][];
        for (int threads = 1; threads <= 3; threads++) {
            try (Workers team = new Workers(threads)) {
                LinearAlgebra algebra = implementation.on(team);
                Tensor inverse = copy(a);
                algebra.inverseSpd(inverse);
                Tensor u = copy(a);
                algebra.upperCholeskyOfInverse(a, u);
                results[threads - 1] = new float[][] {inverse.toFloats(), u.toFloats()};
            }
        }
        for (int i = 1; i < 3; i++) {
            assertArrayEquals(results[0][0], results[i][0]);
            assertArrayEquals(results[0][1], results[i][1]);
        }
    }

    private Tensor random(int rows, int columns) {
        Tensor t = Tensor.allocate(arena, DType.F32, rows, columns);
        for (int i = 0; i < rows; i++) {
            for (int j = 0; j < columns; j++) {
                t.set(i, j, (float) random.nextGaussian());
            }
        }
        return t;
    }

    private Tensor positiveDefinite(int n) {
        double[][] x = doubles(random(2 * n, n));
        double[][] gram = multiply(transpose(x), x);
        Tensor t = Tensor.allocate(arena, DType.F32, n, n);
        for (int i = 0; i < n; i++) {
            for (int j = 0; j < n; j++) {
                t.set(i, j, (float) (gram[i][j] / (2 * n) + (i == j ? 0.1 : 0)));
            }
        }
        return t;
    }

    private Tensor copy(Tensor t) {
        return Tensor.of(arena, t.rows(), t.columns(), t.toFloats());
    }

    private static double[][] doubles(Tensor t) {
        float[] values = t.toFloats();
        double[][] a = new double[t.rows()][t.columns()];
        for (int i = 0; i < values.length; i++) {
            a[i / t.columns()][i % t.columns()] = values[i];
        }
        return a;
    }

    private static double[][] transpose(double[][] a) {
        double[][] t = new double[a[0].length][a.length];
        for (int i = 0; i < a.length; i++) {
            for (int j = 0; j < a[0].length; j++) {
                t[j][i] = a[i][j];
            }
        }
        return t;
    }

    private static double[][] multiply(double[][] a, double[][] b) {
        double[][] c = new double[a.length][b[0].length];
        for (int i = 0; i < a.length; i++) {
            for (int k = 0; k < b.length; k++) {
                for (int j = 0; j < b[0].length; j++) {
                    c[i][j] += a[i][k] * b[k][j];
                }
            }
        }
        return c;
    }

    private static void cholesky(double[][] a) {
        int n = a.length;
        for (int j = 0; j < n; j++) {
            for (int k = 0; k < j; k++) {
                for (int i = j; i < n; i++) {
                    a[i][j] -= a[i][k] * a[j][k];
                }
            }
            double root = Math.sqrt(a[j][j]);
            for (int i = j; i < n; i++) {
                a[i][j] /= root;
                a[j][i] = i == j ? a[j][j] : 0;
            }
        }
    }

    /// Gauss and Jordan.
    private static double[][] inverse(double[][] a) {
        int n = a.length;
        double[][] x = new double[n][n];
        for (int i = 0; i < n; i++) {
            x[i][i] = 1;
        }
        for (int p = 0; p < n; p++) {
            double pivot = a[p][p];
            for (int j = 0; j < n; j++) {
                a[p][j] /= pivot;
                x[p][j] /= pivot;
            }
            for (int i = 0; i < n; i++) {
                double factor = a[i][p];
                for (int j = 0; i != p && j < n; j++) {
                    a[i][j] -= factor * a[p][j];
                    x[i][j] -= factor * x[p][j];
                }
            }
        }
        return x;
    }

    private static void assertClose(double[][] expected, Tensor actual, double tolerance) {
        assertClose(expected, doubles(actual), tolerance);
    }

    /// Every element to `tolerance` of the largest one.
    private static void assertClose(double[][] expected, double[][] actual, double tolerance) {
        double largest = 1;
        for (double[] row : expected) {
            for (double value : row) {
                largest = Math.max(largest, Math.abs(value));
            }
        }
        for (int i = 0; i < expected.length; i++) {
            for (int j = 0; j < expected[i].length; j++) {
                assertEquals(expected[i][j], actual[i][j], tolerance * largest, "at " + i + ", " + j);
            }
        }
    }
}
