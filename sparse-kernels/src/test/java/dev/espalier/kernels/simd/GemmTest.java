package dev.espalier.kernels.simd;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Random;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;

/// Products against sums in float64. A float32 sum of k products of magnitude |a||b| errs by less than k · 2⁻²⁴ · Σ|a||b| / k
/// on average and by `k · 2⁻²³ · Σ|a||b| / √k` in all cases met here.
@Tag("lanes")
class GemmTest {
    private static final int[] SIZES = {1, 5, 16, 17, 48, 49, 63, 65, 130, 260};

    private final Arena arena = Arena.ofShared();
    private final Random random = new Random(7);
    private final Workers one = new Workers(1);
    private final Workers three = new Workers(3);

    @AfterEach
    void close() {
        one.close();
        three.close();
        arena.close();
    }

    @Test
    void everyTranspositionOfRaggedShapesEqualsFloat64() {
        Gemm gemm = new Gemm(three);
        for (int m : SIZES) {
            int n = SIZES[random.nextInt(SIZES.length)];
            int k = SIZES[random.nextInt(SIZES.length)];
            for (int flags = 0; flags < 4; flags++) {
                check(gemm, m, n, k, (flags & 1) != 0, (flags & 2) != 0, 1f, 0f);
            }
            check(gemm, m, n, k, false, false, -0.5f, 1f);
        }
        check(gemm, 3, 600, 40, false, true, 2f, 0.25f);
        check(gemm, 20, 7, 1000, true, false, 1f, 0f);
    }

    private void check(Gemm gemm, int m, int n, int k, boolean ta, boolean tb, float alpha, float beta) {
        int lda = (ta ? m : k) + 3;
        int ldb = (tb ? k : n) + 1;
        int ldc = n + 2;
        // Exactly as long as the last row needs: reading or writing past the end would fail.
        MemorySegment a = random((ta ? k : m), ta ? m : k, lda);
        MemorySegment b = random((tb ? n : k), tb ? k : n, ldb);
        MemorySegment c = random(m, n, ldc);
        float[] before = c.toArray(ValueLayout.JAVA_FLOAT);
        gemm.multiply(m, n, k, alpha, a, ta, lda, b, tb, ldb, beta, c, ldc);
        for (int i = 0; i < m; i++) {
            for (int j = 0; j < n; j++) {
                double sum = 0;
                double size = 0;
                for (int l = 0; l < k; l++) {
                    double product = (double) at(a, ta ? (long) l * lda + i : (long) i * lda + l)
                            * at(b, tb ? (long) j * ldb + l : (long) l * ldb + j);
                    sum += product;
                    size += Math.abs(product);
                }
                double expected = alpha * sum + beta * before[i * ldc + j];
                assertEquals(
                        expected,
                        at(c, (long) i * ldc + j),
                        Math.abs(alpha) * size * Math.sqrt(k) * 1.2e-7 + Math.abs(expected) * 1.2e-7,
                        "[%d, %d, %d] %s %s at %d, %d".formatted(m, n, k, ta, tb, i, j));
            }
            if (i + 1 < m) {
                assertEquals(before[i * ldc + n], at(c, (long) i * ldc + n), "between the rows nothing is written");
            }
        }
    }

    @Test
    void withBetaZeroWhatTheResultHeldDoesNotMatter() {
        MemorySegment a = random(5, 40, 40);
        MemorySegment b = random(40, 33, 33);
        MemorySegment c = arena.allocate(4 * 5 * 33, 4);
        for (int i = 0; i < 5 * 33; i++) {
            c.setAtIndex(ValueLayout.JAVA_FLOAT, i, Float.NaN);
        }
        new Gemm(one).multiply(5, 33, 40, 1, a, false, 40, b, false, 33, 0, c, 33);
        for (int i = 0; i < 5 * 33; i++) {
            assertTrue(Float.isFinite(at(c, i)));
        }
    }

    @Test
    void linearLayersOfAnyTokenCountEqualFloat64AndAddTheirBias() {
        Gemm gemm = new Gemm(three);
        int[][] shapes = {{1, 1}, {17, 100}, {48, 64}, {97, 257}};
        for (int[] shape : shapes) {
            int out = shape[0];
            int in = shape[1];
            MemorySegment w = random(out, in, in);
            MemorySegment bias = random(1, out, out);
            for (int tokens : new int[] {1, 3, 17, 64, 70, 530}) {
                MemorySegment x = random(tokens, in, in);
                MemorySegment y = random(tokens, out, out);
                gemm.linear(x, tokens, source(w, out, in), tokens % 2 == 0 ? bias : null, y);
                for (int t = 0; t < tokens; t += tokens > 100 ? 101 : 1) {
                    for (int o = 0; o < out; o++) {
                        double sum = tokens % 2 == 0 ? at(bias, o) : 0;
                        double size = 0;
                        for (int i = 0; i < in; i++) {
                            double product = (double) at(x, (long) t * in + i) * at(w, (long) o * in + i);
                            sum += product;
                            size += Math.abs(product);
                        }
                        assertEquals(sum, at(y, (long) t * out + o), size * Math.sqrt(in) * 1.2e-7 + 1e-6);
                    }
                }
            }
        }
    }

    @Test
    void panelsAreAskedForAtAlignedBordersWithRoomToTheNextOne() {
        int out = 101;
        int in = 333;
        MemorySegment w = random(out, in, in);
        MemorySegment x = random(5, in, in);
        MemorySegment y = arena.allocate(4L * 5 * out, 64);
        new Gemm(three)
                .linear(
                        x,
                        5,
                        new PanelSource() {
                            @Override
                            public int rows() {
                                return out;
                            }

                            @Override
                            public int columns() {
                                return in;
                            }

                            @Override
                            public void expand(int r0, int r1, int c0, int c1, MemorySegment panel, int stride) {
                                assertEquals(0, r0 % ROW_ALIGNMENT);
                                assertEquals(0, c0 % COLUMN_ALIGNMENT);
                                assertTrue(r1 == out || r1 % ROW_ALIGNMENT == 0);
                                assertTrue(c1 == in || c1 % COLUMN_ALIGNMENT == 0);
                                assertTrue(r1 - r0 <= 48);
                                assertEquals(0, panel.address() % 64);
                                assertEquals(0, stride % 16);
                                int rows = Math.ceilDiv(r1 - r0, ROW_ALIGNMENT) * ROW_ALIGNMENT;
                                int columns = Math.ceilDiv(c1 - c0, COLUMN_ALIGNMENT) * COLUMN_ALIGNMENT;
                                assertTrue(stride >= columns);
                                for (int r = 0; r < rows; r++) {
                                    for (int c = 0; c < columns; c++) {
                                        float value = r0 + r < r1 && c0 + c < c1
                                                ? at(w, (long) (r0 + r) * in + c0 + c)
                                                : Float.NaN;
                                        panel.setAtIndex(ValueLayout.JAVA_FLOAT, (long) r * stride + c, value);
                                    }
                                }
                            }
                        },
                        null,
                        y);
        for (int i = 0; i < 5 * out; i++) {
            assertTrue(Float.isFinite(at(y, i)), "slack does not reach a result");
        }
    }

    @Test
    void theGramMatrixIsAddedUpInFloat64AndFullySymmetric() {
        Gemm gemm = new Gemm(three);
        for (int features : new int[] {1, 7, 48, 100}) {
            for (int tokens : new int[] {1, 63, 1100}) {
                MemorySegment x = random(tokens, features, features);
                MemorySegment g = arena.allocate(8L * features * features, 8);
                g.setAtIndex(ValueLayout.JAVA_DOUBLE, 0, 1e9);
                gemm.gram(x, tokens, features, g);
                gemm.gram(x, tokens, features, g);
                for (int i = 0; i < features; i++) {
                    for (int j = 0; j < features; j++) {
                        double sum = i + j == 0 ? 1e9 : 0;
                        double size = 0;
                        for (int t = 0; t < tokens; t++) {
                            double product = (double) at(x, (long) t * features + i) * at(x, (long) t * features + j);
                            sum += 2 * product;
                            size += 2 * Math.abs(product);
                        }
                        double value = g.getAtIndex(ValueLayout.JAVA_DOUBLE, (long) i * features + j);
                        assertEquals(sum, value, size * Math.sqrt(Math.min(tokens, 1024)) * 1.2e-7);
                        assertEquals(g.getAtIndex(ValueLayout.JAVA_DOUBLE, (long) j * features + i), value);
                    }
                }
            }
        }
    }

    /// Ones are summed exactly in float32 up to 2²⁴; a running float32 sum of 0.1² would have drifted by 1e-3 by then.
    @Test
    void aMillionTokensLoseNoMoreThanAThousand() {
        Gemm gemm = new Gemm(three);
        int features = 3;
        int tokens = 1 << 12;
        MemorySegment x = arena.allocate(4L * tokens * features, 64);
        for (long i = 0; i < (long) tokens * features; i++) {
            x.setAtIndex(ValueLayout.JAVA_FLOAT, i, 0.1f);
        }
        MemorySegment g = arena.allocate(8L * features * features, 8);
        for (int i = 0; i < 256; i++) {
            gemm.gram(x, tokens, features, g);
        }
        double expected = 256.0 * tokens * 0.1f * 0.1f;
        for (int i = 0; i < features * features; i++) {
            // 1024 additions in float32 of equal numbers: a relative error of at most some 1e-5.
            assertEquals(expected, g.getAtIndex(ValueLayout.JAVA_DOUBLE, i), expected * 2e-5);
        }
    }

    @Test
    void resultsAreTheSameBitsForAnyNumberOfThreads() {
        int m = 150;
        int n = 210;
        int k = 700;
        MemorySegment a = random(m, k, k);
        MemorySegment b = random(k, n, n);
        float[][] products = new float[3][];
        double[][] grams = new double[3][];
        float[][] layers = new float[3][];
        for (int threads = 1; threads <= 3; threads++) {
            try (Workers workers = new Workers(threads)) {
                Gemm gemm = new Gemm(workers);
                MemorySegment c = arena.allocate(4L * m * n, 64);
                gemm.multiply(m, n, k, 1, a, false, k, b, false, n, 0, c, n);
                products[threads - 1] = c.toArray(ValueLayout.JAVA_FLOAT);
                MemorySegment g = arena.allocate(8L * n * n, 8);
                gemm.gram(b, k, n, g);
                grams[threads - 1] = g.toArray(ValueLayout.JAVA_DOUBLE);
                MemorySegment y = arena.allocate(4L * 33 * m, 64);
                gemm.linear(random(new Random(3), 33, k, k), 33, source(a, m, k), null, y);
                layers[threads - 1] = y.toArray(ValueLayout.JAVA_FLOAT);
            }
        }
        for (int i = 1; i < 3; i++) {
            assertArrayEquals(products[0], products[i]);
            assertArrayEquals(grams[0], grams[i]);
            assertArrayEquals(layers[0], layers[i]);
        }
    }

    @Test
    void aTokensResultDoesNotDependOnTheTokensBesideIt() {
        int out = 70;
        int in = 300;
        MemorySegment w = random(out, in, in);
        MemorySegment x = random(40, in, in);
        MemorySegment all = arena.allocate(4L * 40 * out, 64);
        Gemm gemm = new Gemm(three);
        gemm.linear(x, 40, source(w, out, in), null, all);
        MemorySegment few = arena.allocate(4L * 7 * out, 64);
        gemm.linear(x.asSlice(4L * 20 * in), 7, source(w, out, in), null, few);
        assertEquals(-1, few.mismatch(all.asSlice(4L * 20 * out, few.byteSize())));
    }

    @Test
    void memoryThatIsTooSmallIsRefused() {
        MemorySegment small = random(3, 3, 3);
        Gemm gemm = new Gemm(one);
        assertThrows(
                IllegalArgumentException.class,
                () -> gemm.multiply(3, 3, 4, 1, small, false, 4, small, false, 3, 0, small, 3));
        assertThrows(IllegalArgumentException.class, () -> gemm.gram(small, 3, 3, small));
        assertThrows(IllegalArgumentException.class, () -> gemm.linear(small, 4, source(small, 3, 3), null, small));
    }

    private static PanelSource source(MemorySegment w, int out, int in) {
        return new PanelSource() {
            @Override
            public int rows() {
                return out;
            }

            @Override
            public int columns() {
                return in;
            }

            @Override
            public void expand(int r0, int r1, int c0, int c1, MemorySegment panel, int stride) {
                for (int r = r0; r < r1; r++) {
                    MemorySegment.copy(w, 4L * ((long) r * in + c0), panel, 4L * stride * (r - r0), 4L * (c1 - c0));
                }
            }
        };
    }

    private MemorySegment random(int rows, int columns, int stride) {
        return random(random, rows, columns, stride);
    }

    private MemorySegment random(Random random, int rows, int columns, int stride) {
        MemorySegment s = arena.allocate(4L * ((rows - 1L) * stride + columns), 4);
        for (long i = 0; i < s.byteSize() / 4; i++) {
            s.setAtIndex(ValueLayout.JAVA_FLOAT, i, (float) random.nextGaussian());
        }
        return s;
    }

    private static float at(MemorySegment s, long index) {
        return s.getAtIndex(ValueLayout.JAVA_FLOAT, index);
    }
}
