package dev.espalier.kernels.cpu;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.espalier.kernels.Backend;
import dev.espalier.kernels.Backend.Activation;
import dev.espalier.kernels.Backend.Attention;
import dev.espalier.kernels.Backend.Norm;
import dev.espalier.kernels.Linear;
import dev.espalier.kernels.LinearGroup;
import dev.espalier.kernels.WeightFormat;
import dev.espalier.kernels.format.Bitmask;
import dev.espalier.kernels.format.Dense;
import dev.espalier.kernels.format.DenseInt8;
import dev.espalier.kernels.format.NOfM;
import dev.espalier.kernels.format.Swell;
import dev.espalier.kernels.format.WeightFormats;
import dev.espalier.tensor.DType;
import dev.espalier.tensor.Tensor;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.function.DoubleUnaryOperator;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;

/// The backend's operations against float64, around the widths of vectors, with 1, 2 and 3 threads.
@Tag("lanes")
class CpuBackendTest {
    /// One unit in the last place of a float32 near 1.
    private static final double ULP = 0x1p-23;

    private static final int[] SIZES = {1, 2, 15, 16, 17, 31, 33, 64, 172};

    private static List<CpuBackend> backends;
    private static Arena arena;

    @BeforeAll
    static void start() {
        backends = List.of(new CpuBackend(1), new CpuBackend(2), new CpuBackend(3));
        arena = Arena.ofShared();
    }

    @AfterAll
    static void stop() {
        backends.forEach(CpuBackend::close);
        arena.close();
    }

    private static double exact(Activation f, double x) {
        return switch (f) {
            case RELU -> Math.max(0, x);
            case SILU -> x / (1 + Math.exp(-x));
            case GELU -> x * phi(x);
            case GELU_TANH -> 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x * x * x)));
        };
    }

    /// The normal distribution function: its power series near 0, further out the continued fraction of its tail.
    private static double phi(double x) {
        if (Math.abs(x) < 3) {
            double term = x;
            double sum = x;
            for (int n = 1; n < 100; n++) {
                term *= x * x / (2 * n + 1);
                sum += term;
            }
            return 0.5 + sum * Math.exp(-x * x / 2) / Math.sqrt(2 * Math.PI);
        }
        double z = Math.abs(x);
        double fraction = 0;
        for (int n = 100; n > 0; n--) {
            fraction = n / (z + fraction);
        }
        double tail = Math.exp(-x * x / 2) / Math.sqrt(2 * Math.PI) / (z + fraction);
        return x > 0 ? 1 - tail : tail;
    }

    @Test
    void activationsAreExactToAFewUnits() {
        for (Activation f : Activation.values()) {
            for (int size : SIZES) {
                Tensor input = random(3, size, 4);
                input.set(0, 0, -60f);
                input.set(1, 0, 60f);
                input.set(2, 0, -0.001f);
                for (Backend backend : backends) {
                    Tensor x = copy(input);
                    backend.activate(f, x);
                    // Rounding of the exponential and its argument: relative to x, which bounds each of these
                    // functions.
                    compare(
                            x,
                            input,
                            v -> exact(f, v),
                            v -> 8 * ULP * Math.min(Math.abs(v), 8) + 1e-30,
                            f + " " + size);
                    Tensor gate = copy(input);
                    Tensor up = random(3, size, 2);
                    backend.gate(f, gate, up);
                    for (int i = 0; i < 3 * size; i++) {
                        int row = i / size;
                        int column = i % size;
                        assertEquals(x.get(row, column) * up.get(row, column), gate.get(row, column), "gate " + f);
                    }
                }
            }
        }
    }

    @Test
    void softcapIsTheHyperbolicTangentOverItsWholeRange() {
        Tensor input = random(1, 301, 1);
        for (int i = 0; i < 301; i++) {
            input.set(0, i, (i - 150) * (i - 150) * (i - 150) * 1e-4f);
        }
        Tensor x = copy(input);
        backends.get(0).softcap(30f, x);
        compare(x, input, v -> 30 * Math.tanh(v / 30), v -> 8 * ULP * Math.min(Math.abs(v), 30), "softcap");
    }

    @Test
    void normsEqualFloat64() {
        for (int size : SIZES) {
            Tensor input = random(5, size, 3);
            Tensor weight = random(1, size, 1);
            Tensor bias = random(1, size, 1);
            Tensor half = Tensor.allocate(arena, DType.BF16, 1, size);
            for (int c = 0; c < size; c++) {
                half.set(0, c, weight.get(0, c));
            }
            for (Norm.Kind kind : Norm.Kind.values()) {
                for (boolean affine : new boolean[] {true, false}) {
                    float offset = kind == Norm.Kind.RMS ? 1f : 0f;
                    Norm norm = new Norm(kind, 1e-5f, affine ? offset : 0f);
                    Tensor shift = affine && kind == Norm.Kind.LAYER ? bias : null;
                    float[] first = null;
                    for (Backend backend : backends) {
                        Tensor y = Tensor.allocate(arena, DType.F32, 5, size);
                        backend.norm(norm, input, affine ? half : null, shift, y);
                        for (int row = 0; row < 5; row++) {
                            norm(norm, input, affine ? half : null, shift, row, y);
                        }
                        Tensor inPlace = copy(input);
                        backend.norm(norm, inPlace, affine ? half : null, shift, inPlace);
                        assertArrayEquals(y.toFloats(), inPlace.toFloats());
                        first = same(first, y);
                    }
                }
            }
        }
    }

    private static void norm(Norm norm, Tensor x, Tensor weight, Tensor bias, int row, Tensor y) {
        int n = x.columns();
        double mean = 0;
        for (int c = 0; c < n && norm.kind() == Norm.Kind.LAYER; c++) {
            mean += x.get(row, c) / (double) n;
        }
        double square = 0;
        for (int c = 0; c < n; c++) {
            square += Math.pow(x.get(row, c) - mean, 2) / n;
        }
        double deviation = Math.sqrt(square + norm.epsilon());
        double largest = 0;
        for (int c = 0; c < n; c++) {
            largest = Math.max(largest, Math.abs(x.get(row, c)));
        }
        for (int c = 0; c < n; c++) {
            double w = weight == null ? 1 : weight.get(0, c) + (double) norm.weightOffset();
            double expected = (x.get(row, c) - mean) / deviation * w + (bias == null ? 0 : bias.get(0, c));
            // The mean and the variance are float32 sums of n terms, in at most n / 4 steps a lane.
            double tolerance = (4 + n / 4.0) * ULP * ((largest + Math.abs(mean)) / deviation * Math.abs(w) + 4);
            assertEquals(expected, y.get(row, c), tolerance, norm + " column " + c + " of " + n);
        }
    }

    @Test
    void rowsAreGatheredFromTablesOfEveryType() {
        for (DType type : new DType[] {DType.F32, DType.BF16, DType.F16}) {
            for (int size : SIZES) {
                Tensor table = Tensor.allocate(arena, type, 7, size);
                Random random = new Random(size);
                for (int i = 0; i < 7 * size; i++) {
                    table.set(i / size, i % size, (float) random.nextGaussian());
                }
                table.set(6, size - 1, 0x1p-20f);
                int[] rows = {6, 0, 3, 6};
                Tensor y = Tensor.allocate(arena, DType.F32, 4, size);
                Backend backend = backends.get(1);
                backend.gather(table, rows, 2f, y);
                for (int i = 0; i < 4 * size; i++) {
                    assertEquals(2 * table.get(rows[i / size], i % size), y.get(i / size, i % size));
                }
                backend.gatherAdd(table, rows, y);
                for (int i = 0; i < 4 * size; i++) {
                    float w = table.get(rows[i / size], i % size);
                    assertEquals(2 * w + w, y.get(i / size, i % size));
                }
                assertThrows(
                        IndexOutOfBoundsException.class, () -> backend.gather(table, new int[] {7, 0, 0, 0}, 1f, y));
            }
        }
    }

    @Test
    void headsAreRotatedByTheAnglesOfTheirPositions() {
        for (int dim : new int[] {2, 8, 30, 32, 64, 80}) {
            float[] frequencies = new float[dim / 2];
            for (int i = 0; i < frequencies.length; i++) {
                frequencies[i] = (float) Math.pow(10000, -2.0 * i / dim);
            }
            int[] positions = {0, 1, 77, 2047};
            Tensor input = random(4, 3 * dim, 1);
            float[] first = null;
            for (Backend backend : backends) {
                Tensor angles = Tensor.allocate(arena, DType.F32, 4, dim);
                backend.angles(frequencies, positions, angles);
                Tensor x = copy(input);
                backend.rotate(x, angles);
                for (int token = 0; token < 4; token++) {
                    for (int i = 0; i < 3 * dim / 2; i++) {
                        int at = i / (dim / 2) * dim + i % (dim / 2);
                        // The angle is a float32 product, as in Hugging Face's code.
                        float angle = positions[token] * frequencies[i % (dim / 2)];
                        double a = input.get(token, at);
                        double b = input.get(token, at + dim / 2);
                        double tolerance = 4 * ULP * (Math.abs(a) + Math.abs(b));
                        assertEquals(a * Math.cos(angle) - b * Math.sin(angle), x.get(token, at), tolerance);
                        assertEquals(b * Math.cos(angle) + a * Math.sin(angle), x.get(token, at + dim / 2), tolerance);
                    }
                }
                first = same(first, x);
            }
        }
    }

    @Test
    void attentionEqualsFloat64ForFewAndManyTokens() {
        int[][] shapes = {{4, 4, 16}, {4, 2, 8}, {6, 2, 20}, {3, 1, 64}, {5, 1, 80}, {2, 2, 128}};
        for (int[] s : shapes) {
            for (int tokens : new int[] {1, 3, 9, 140}) {
                for (int past : new int[] {0, 5, 37, 64, 203}) {
                    for (int window : new int[] {0, 4}) {
                        float cap = window == 0 ? 0f : 20f;
                        Attention shape = new Attention(s[0], s[1], s[2], 1 / (float) Math.sqrt(s[2]), cap, window);
                        Tensor q = random(tokens, s[0] * s[2], 1);
                        Tensor keys = random(past + tokens, s[1] * s[2], 1);
                        Tensor values = random(past + tokens, s[1] * s[2], 1);
                        float[] first = null;
                        for (Backend backend : backends) {
                            Tensor out = Tensor.allocate(arena, DType.F32, tokens, q.columns());
                            backend.attention(shape, q, keys, values, past, out);
                            if (first == null) {
                                attention(shape, q, keys, values, past, out);
                            }
                            first = same(first, out);
                        }
                    }
                }
            }
        }
    }

    private static void attention(Attention shape, Tensor q, Tensor keys, Tensor values, int past, Tensor out) {
        int dim = shape.headDim();
        for (int token = 0; token < q.rows(); token += Math.max(1, q.rows() / 5)) {
            for (int head = 0; head < shape.heads(); head++) {
                int kv = head / (shape.heads() / shape.kvHeads()) * dim;
                int position = past + token;
                int from = shape.window() == 0 ? 0 : Math.max(0, position - shape.window() + 1);
                double[] weights = new double[position + 1];
                double total = 0;
                for (int p = from; p <= position; p++) {
                    double score = 0;
                    for (int i = 0; i < dim; i++) {
                        score += (double) q.get(token, head * dim + i) * keys.get(p, kv + i);
                    }
                    score *= shape.scale();
                    score = shape.softcap() == 0 ? score : shape.softcap() * Math.tanh(score / shape.softcap());
                    weights[p] = Math.exp(score);
                    total += weights[p];
                }
                for (int i = 0; i < dim; i++) {
                    double sum = 0;
                    double magnitude = 0;
                    for (int p = from; p <= position; p++) {
                        sum += weights[p] / total * values.get(p, kv + i);
                        magnitude += weights[p] / total * Math.abs(values.get(p, kv + i));
                    }
                    // Scores of magnitude up to about 10 are float32, their rounding is a relative error of the
                    // weights.
                    double tolerance = (dim + weights.length) * ULP * (magnitude + 1);
                    assertEquals(sum, out.get(token, head * dim + i), tolerance, shape + " token " + token);
                }
            }
        }
    }

    @Test
    void rowsAreCopiedAndAddedInPlace() {
        Tensor source = random(3, 17, 1);
        Tensor target = Tensor.allocate(arena, DType.F32, 8, 17);
        backends.get(1).copyRows(source, target, 4);
        backends.get(1).add(source, target.slice(4, 7));
        for (int i = 0; i < 8 * 17; i++) {
            int row = i / 17 - 4;
            float expected = row >= 0 && row < 3 ? 2 * source.get(row, i % 17) : 0f;
            assertEquals(expected, target.get(i / 17, i % 17));
        }
    }

    @Test
    void shapesThatDoNotFitAreRefused() {
        Backend backend = backends.get(0);
        Tensor q = random(2, 8, 1);
        Attention shape = new Attention(2, 2, 4, 1f, 0f, 0);
        assertThrows(IllegalArgumentException.class, () -> backend.attention(shape, q, q, q, 1, q));
        assertThrows(IllegalArgumentException.class, () -> backend.copyRows(q, random(4, 9, 1), 0));
    }

    private static void compare(
            Tensor x, Tensor input, DoubleUnaryOperator exact, DoubleUnaryOperator tolerance, String what) {
        for (int row = 0; row < x.rows(); row++) {
            for (int column = 0; column < x.columns(); column++) {
                double v = input.get(row, column);
                assertEquals(exact.applyAsDouble(v), x.get(row, column), tolerance.applyAsDouble(v), what + " at " + v);
            }
        }
    }

    private static float[] same(float[] first, Tensor now) {
        float[] values = now.toFloats();
        if (first != null) {
            assertArrayEquals(first, values, "threads change bits");
        }
        assertTrue(values.length > 0);
        return values;
    }

    private static Tensor random(int rows, int columns, double scale) {
        Random random = new Random(31L * rows + columns);
        Tensor x = Tensor.of(DType.F32, rows, columns, arena.allocate(4L * rows * columns, 4));
        for (int i = 0; i < rows * columns; i++) {
            x.set(i / columns, i % columns, (float) (scale * random.nextGaussian()));
        }
        return x;
    }

    private static Tensor copy(Tensor x) {
        Tensor copy = Tensor.allocate(arena, DType.F32, x.rows(), x.columns());
        MemorySegment.copy(x.segment(), 0, copy.segment(), 0, x.bytes());
        return copy;
    }

    /// To the bit, in pieces that fit the cache too.
    @Test
    void fewTokensAreWhatTheyAreOneByOne() {
        for (WeightFormat format : WeightFormats.all()) {
            for (int rows : new int[] {5, 200, 700}) {
                Tensor weight = random(rows, 1216, 1);
                boolean few = format.refuses(weight) != null;
                for (int i = 0; few && i < weight.size(); i++) {
                    if (i % 4 > 0) {
                        weight.set(i / 1216, i % 1216, 0f);
                    }
                }
                Linear linear = format.pack(weight);
                int tokens = Math.min(7, ((CpuLinear) linear).fewTokens());
                Tensor x = random(tokens, 1216, 1);
                Tensor bias = random(1, rows, 1);
                for (Backend backend : backends) {
                    Tensor y = Tensor.allocate(arena, DType.F32, tokens, rows);
                    backend.linear(linear, bias, x, y);
                    for (int token = 0; token < tokens; token++) {
                        Tensor one = Tensor.allocate(arena, DType.F32, 1, rows);
                        backend.linear(linear, bias, x.slice(token, token + 1), one);
                        assertArrayEquals(
                                one.toFloats(), y.slice(token, token + 1).toFloats(), format.name());
                    }
                }
                linear.close();
            }
        }
    }

    /// To the bit, whatever the layers' formats, and so their inputs' layouts, are.
    @Test
    void layersOfOneInputAreWhatTheyAreOneByOne() {
        List<WeightFormat> formats = List.of(Dense.tiled(), Swell.of(), Dense.mapped(), Bitmask.of(), DenseInt8.of());
        Random random = new Random(9);
        try (Arena arena = Arena.ofShared()) {
            for (CpuBackend backend : backends) {
                for (int i = 0; i < formats.size() * 3; i++) {
                    for (int tokens : new int[] {1, 2, 5, 9}) {
                        Tensor x = random(tokens, 100, 1);
                        LinearGroup group = new LinearGroup();
                        List<Linear> packed = new ArrayList<>();
                        List<Tensor> expected = new ArrayList<>();
                        for (int layer = 0; layer <= i % LinearGroup.MOST; layer++) {
                            int rows = 1 + random.nextInt(70);
                            Tensor weight = random(rows, 100, 1);
                            Linear linear = backend.linear(weight, formats.get((i + layer) % formats.size()));
                            Tensor bias = layer == 1 ? random(1, rows, 1) : null;
                            packed.add(linear);
                            expected.add(Tensor.allocate(arena, DType.F32, tokens, rows));
                            backend.linear(linear, bias, x, expected.getLast());
                            Tensor y = group.add(linear, bias, Tensor.allocate(arena, DType.F32, tokens, rows));
                            assertEquals(rows, y.columns());
                        }
                        backend.linear(group, x);
                        for (int layer = 0; layer < group.size(); layer++) {
                            assertArrayEquals(
                                    expected.get(layer).toFloats(),
                                    group.result(layer).toFloats());
                        }
                        assertEquals(0, group.clear().size());
                        packed.forEach(Linear::close);
                    }
                }
            }
        }
    }

    @Test
    void severalMatricesArePackedAsOneByOneAndAFaultOfOneEndsAll() {
        try (CpuBackend backend = new CpuBackend(3);
                Arena arena = Arena.ofShared()) {
            List<Tensor> weights = new ArrayList<>();
            List<WeightFormat> formats = new ArrayList<>();
            for (int i = 0; i < 7; i++) {
                Tensor weight = Tensor.allocate(arena, DType.BF16, 5 + i, 64);
                for (int row = 0; row < weight.rows(); row++) {
                    weight.set(row, (row * 7 + i) % 64, row + 1f);
                }
                weights.add(weight);
                formats.add(List.of(Dense.tiled(), Bitmask.of(), Swell.of()).get(i % 3));
            }
            List<Linear> packed = backend.linears(weights, formats);
            for (int i = 0; i < 7; i++) {
                Tensor back = Tensor.allocate(arena, DType.BF16, weights.get(i).rows(), 64);
                packed.get(i).unpack(back);
                assertEquals(formats.get(i), packed.get(i).format());
                assertArrayEquals(weights.get(i).toFloats(), back.toFloats());
            }
            packed.forEach(Linear::close);
            weights.get(4).set(0, 1, 1f);
            weights.get(4).set(0, 2, 1f);
            weights.get(4).set(0, 3, 1f);
            formats.set(4, NOfM.of(2, 4));
            assertThrows(IllegalArgumentException.class, () -> backend.linears(weights, formats));
            assertEquals(List.of(), backend.linears(List.of(), List.of()));
        }
    }
}
