package dev.espalier.kernels.cuda;

import dev.espalier.kernels.Backend.Activation;
import dev.espalier.kernels.Backend.Attention;
import dev.espalier.kernels.Backend.Norm;
import dev.espalier.kernels.Linear;
import dev.espalier.kernels.cpu.CpuBackend;
import dev.espalier.kernels.format.WeightFormats;
import dev.espalier.natives.cuda.CudaGraph;
import dev.espalier.natives.cuda.CudaStream;
import dev.espalier.natives.cuda.DeviceMemory;
import dev.espalier.tensor.DType;
import dev.espalier.tensor.Tensor;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.SplittableRandom;
import java.util.function.BooleanSupplier;
import java.util.function.Consumer;
import java.util.function.IntToDoubleFunction;
import java.util.stream.IntStream;

/// Runs every kernel once over awkward shapes and compares it with the CPU's operation: the same check on a GPU and, with the
/// kernels' sources compiled for the host, without one.
///
/// Both sides round, so a result may differ from the CPU's by a stated number of float32 roundings; anything past that fails.
/// Outputs are filled with NaN first, so that what a kernel leaves out is seen.
public final class KernelChecks {
    /// What came of one kernel.
    ///
    /// @param kernel its name
    /// @param cases shapes that were compared
    /// @param worst largest difference as a fraction of what rounding explains; at most 1 is right
    /// @param problem the first thing that was wrong; null if nothing was
    public record Result(String kernel, int cases, double worst, String problem) {
        public boolean passed() {
            return problem == null && cases > 0;
        }

        /// Whether there was no time for it.
        public boolean leftOut() {
            return problem == null && cases == 0;
        }
    }

    /// How many shapes are compared.
    public enum Extent {
        /// A few awkward ones: every kernel runs.
        FEW,
        /// All awkward ones.
        AWKWARD,
        /// Also those of real models, which only a GPU computes in reasonable time.
        MODELS
    }

    private static final double UNIT = 0x1p-24;

    private final CudaKernels kernels;
    private final CudaStream stream;
    private final CpuBackend cpu;
    private final Extent extent;
    private final BooleanSupplier late;
    private final Map<String, Runnable> checks = new LinkedHashMap<>();
    private SplittableRandom random;

    private int cases;
    private double worst;
    private String problem;

    /// @param late tells when to leave out what is left
    public KernelChecks(CudaKernels kernels, CudaStream stream, CpuBackend cpu, Extent extent, BooleanSupplier late) {
        this.kernels = kernels;
        this.stream = stream;
        this.cpu = cpu;
        this.extent = extent;
        this.late = late;
        for (DType type : new DType[] {DType.BF16, DType.F16}) {
            String suffix = type == DType.F16 ? "_f16" : "_bf16";
            checks.put("dense_gemv" + suffix, () -> gemvs(type, Packing.DENSE));
            checks.put("delta_gemv" + suffix, () -> gemvs(type, Packing.DELTA));
            checks.put("two_four_gemv" + suffix, () -> gemvs(type, Packing.TWO_FOUR));
        }
        checks.put("products in a row", this::chains);
        checks.put("delta_expand", this::expand);
        checks.put("rms_norm", () -> norms(Norm.Kind.RMS));
        checks.put("layer_norm", () -> norms(Norm.Kind.LAYER));
        checks.put("angles", this::angles);
        checks.put("rotate", this::rotate);
        checks.put("attention_split, attention_merge", this::attention);
        checks.put("activate", this::activations);
        checks.put("gate", this::gates);
        checks.put("add", this::additions);
        checks.put("softcap", this::softcaps);
        for (DType type : new DType[] {DType.F32, DType.BF16, DType.F16}) {
            checks.put("gather_" + type.name().toLowerCase(Locale.ROOT), () -> gathers(type));
        }
        checks.put("scatter_rows", this::scatters);
        checks.put("a step as a graph", this::graph);
    }

    /// Checks all kernels; `watcher` sees each result as it comes.
    public List<Result> run(Consumer<Result> watcher) {
        List<Result> results = new ArrayList<>();
        for (String kernel : checks.keySet()) {
            Result result = run(kernel);
            results.add(result);
            watcher.accept(result);
        }
        return results;
    }

    /// Checks one kernel, named as in its result.
    Result run(String kernel) {
        cases = 0;
        worst = 0;
        problem = null;
        random = new SplittableRandom(20261126);
        try {
            if (!late.getAsBoolean()) {
                checks.get(kernel).run();
            }
        } catch (RuntimeException e) {
            problem = problem == null ? e.getClass().getSimpleName() + ": " + e.getMessage() : problem;
        }
        return new Result(kernel, cases, worst, problem);
    }

    /// One of two lists, with what only a real GPU is asked for behind it.
    private int[] sizes(int[] few, int[] awkward, int... models) {
        int[] base = extent == Extent.FEW ? few : awkward;
        int[] all = Arrays.copyOf(base, base.length + models.length);
        System.arraycopy(models, 0, all, base.length, models.length);
        return extent == Extent.MODELS ? all : base;
    }

    private enum Packing {
        DENSE,
        DELTA,
        TWO_FOUR;

        DeviceWeights upload(Tensor dense) {
            return switch (this) {
                case DENSE -> DeviceWeights.Dense.upload(dense, "check");
                case DELTA -> DeviceWeights.Delta.upload(dense, "check");
                case TWO_FOUR -> DeviceWeights.TwoFour.upload(dense, "check");
            };
        }
    }

    private void gemvs(DType type, Packing packing) {
        double[] sparsities = packing == Packing.DELTA ? new double[] {0, 0.5, 0.9, 0.99, 1} : new double[] {0.5};
        int[] rows = sizes(new int[] {1, 9}, new int[] {1, 2, 15, 33, 64});
        int[] columns =
                sizes(new int[] {1, 17, 1025}, new int[] {1, 2, 15, 16, 17, 31, 33, 64, 172, 1023, 1024, 1025, 2056});
        for (double sparsity : sparsities) {
            for (int i = 0; i < columns.length; i++) {
                gemv(type, packing, rows[i % rows.length], columns[i], i % 2 == 0 ? 1 : 3, sparsity);
            }
            if (extent == Extent.MODELS && !late.getAsBoolean()) {
                gemv(type, packing, 4096, 11008, 1, sparsity);
                gemv(type, packing, 13824, 5120, 1, sparsity);
                gemv(type, packing, 1000, 4104, 4, sparsity);
            }
        }
    }

    private void gemv(DType type, Packing packing, int rows, int columns, int tokens, double sparsity) {
        try (Arena arena = Arena.ofShared()) {
            Tensor dense = weights(arena, type, rows, columns, packing, sparsity);
            Tensor x = floats(arena, tokens, columns);
            Tensor bias = tokens == 1 ? floats(arena, 1, rows) : null;
            Tensor expected = Tensor.allocate(arena, DType.F32, tokens, rows);
            try (Linear linear = cpu.linear(dense, WeightFormats.named("dense"))) {
                cpu.linear(linear, bias, x, expected);
            }
            try (DeviceWeights weights = packing.upload(dense);
                    DeviceTensor deviceX = DeviceTensor.upload(x, "x");
                    DeviceTensor deviceBias = bias == null ? null : DeviceTensor.upload(bias, "bias");
                    DeviceTensor y = output(tokens, rows)) {
                kernels.gemv(weights, deviceBias, deviceX, y, stream);
                double[] magnitudes = magnitudes(dense, bias, x);
                // Either side rounds at most columns + 1 partial sums, none above the sum of the magnitudes.
                compare(
                        expected,
                        download(y, arena),
                        i -> 2 * (columns + 1) * UNIT * magnitudes[i],
                        "[%d, %d] at %.1f, %d tokens".formatted(rows, columns, sparsity, tokens));
            }
        }
    }

    /// Each product is of what the one before it made: one that begins early and does not wait reads what was there before.
    private void chains() {
        int n = extent == Extent.MODELS ? 4096 : 172;
        for (Packing packing : Packing.values()) {
            try (Arena arena = Arena.ofShared();
                    DeviceWeights weights = packing.upload(weights(arena, DType.BF16, n, n, packing, 0.7));
                    DeviceTensor a = DeviceTensor.upload(floats(arena, 1, n), "x");
                    DeviceTensor b = output(1, n);
                    DeviceTensor c = DeviceTensor.upload(a.download(arena), "x");
                    DeviceTensor d = output(1, n)) {
                for (int i = 0; i < 4; i++) {
                    kernels.gemv(weights, null, a, b, stream);
                    kernels.gemv(weights, null, b, a, stream);
                }
                for (int i = 0; i < 4; i++) {
                    kernels.gemv(weights, null, c, d, stream);
                    stream.synchronize();
                    kernels.gemv(weights, null, d, c, stream);
                    stream.synchronize();
                }
                compare(download(c, arena), download(a, arena), i -> 0, packing.name());
            }
        }
    }

    private static double[] magnitudes(Tensor dense, Tensor bias, Tensor x) {
        double[] sums = new double[x.rows() * dense.rows()];
        float[] weights = dense.toFloats();
        float[] inputs = x.toFloats();
        int columns = dense.columns();
        IntStream.range(0, sums.length).parallel().forEach(i -> {
            int row = i % dense.rows();
            int from = i / dense.rows() * columns;
            double sum = bias == null ? 0 : Math.abs(bias.get(0, row));
            for (int c = 0; c < columns; c++) {
                sum += Math.abs((double) weights[row * columns + c] * inputs[from + c]);
            }
            sums[i] = sum;
        });
        return sums;
    }

    private Tensor weights(Arena arena, DType type, int rows, int columns, Packing packing, double sparsity) {
        Tensor dense = Tensor.allocate(arena, type, rows, columns);
        long seed = random.nextLong();
        IntStream.range(0, rows).parallel().forEach(row -> {
            SplittableRandom own = new SplittableRandom(seed + row);
            for (int group = 0; group < columns; group += 4) {
                int kept = 15;
                if (packing == Packing.TWO_FOUR) {
                    // Some groups keep one: that is within the pattern.
                    kept = 1 << own.nextInt(4);
                    kept |= own.nextInt(8) == 0 ? 0 : 1 << own.nextInt(4);
                }
                for (int column = group; column < Math.min(group + 4, columns); column++) {
                    boolean pruned = packing == Packing.DELTA && own.nextDouble() < sparsity;
                    if (!pruned && (kept >> (column - group) & 1) == 1) {
                        dense.set(row, column, (float) own.nextGaussian());
                    }
                }
            }
        });
        return dense;
    }

    private void expand() {
        int[][] shapes = extent == Extent.MODELS
                ? new int[][] {{5, 17}, {9, 1024}, {7, 2056}, {2048, 11008}}
                : new int[][] {{5, 17}, {9, 1024}, {7, 2056}, {3, 1031}};
        for (int[] shape : shapes) {
            for (double sparsity : new double[] {0, 0.5, 0.9, 1}) {
                try (Arena arena = Arena.ofShared()) {
                    int rows = shape[0];
                    int columns = shape[1];
                    Tensor dense = weights(arena, DType.BF16, rows, columns, Packing.DELTA, sparsity);
                    int first = rows / 3;
                    int count = rows - first;
                    int stride = Layouts.roundUp(columns, 8) + 8;
                    try (DeviceWeights.Delta weights = DeviceWeights.Delta.upload(dense, "check");
                            DeviceTensor out = DeviceTensor.allocate(DType.BF16, count, stride, "tile")) {
                        out.memory().fill((byte) 0x11, stream);
                        kernels.expand(weights, first, count, out, stream);
                        Tensor tile = download(out, arena);
                        Tensor expected = Tensor.allocate(arena, DType.BF16, count, stride);
                        expected.segment().fill((byte) 0x11);
                        for (int row = 0; row < count; row++) {
                            MemorySegment.copy(
                                    dense.segment(),
                                    (long) (first + row) * columns * 2,
                                    expected.segment(),
                                    (long) row * stride * 2,
                                    columns * 2L);
                        }
                        compare(expected, tile, i -> 0, "[%d, %d] at %.1f".formatted(rows, columns, sparsity));
                    }
                }
            }
        }
    }

    private void norms(Norm.Kind kind) {
        for (int columns : widths(4096)) {
            for (boolean affine : new boolean[] {true, false}) {
                try (Arena arena = Arena.ofShared()) {
                    Tensor x = floats(arena, 5, columns);
                    Tensor weight = affine ? floats(arena, 1, columns) : null;
                    Tensor bias = affine && kind == Norm.Kind.LAYER ? floats(arena, 1, columns) : null;
                    Norm norm = new Norm(kind, 1e-5f, affine && kind == Norm.Kind.RMS ? 1f : 0f);
                    Tensor expected = Tensor.allocate(arena, DType.F32, 5, columns);
                    cpu.norm(norm, x, weight, bias, expected);
                    try (DeviceTensor deviceX = DeviceTensor.upload(x, "x");
                            DeviceTensor deviceWeight = weight == null ? null : DeviceTensor.upload(weight, "weight");
                            DeviceTensor deviceBias = bias == null ? null : DeviceTensor.upload(bias, "bias");
                            DeviceTensor y = output(5, columns)) {
                        kernels.norm(norm, deviceX, deviceWeight, deviceBias, y, stream);
                        // Mean and variance are sums of `columns` terms; the deviation can be as small as the root of
                        // epsilon.
                        compare(
                                expected,
                                download(y, arena),
                                i -> (8 + columns / 4.0) * 2 * UNIT * (Math.abs(expected(expected, i)) + 8),
                                kind + " " + columns);
                        kernels.norm(norm, deviceX, deviceWeight, deviceBias, deviceX, stream);
                        compare(download(y, arena), download(deviceX, arena), i -> 0, "in place " + columns);
                    }
                }
            }
        }
    }

    private static double expected(Tensor tensor, int i) {
        return tensor.get(i / tensor.columns(), i % tensor.columns());
    }

    private void angles() {
        for (int half : new int[] {1, 4, 15, 16, 40, 64}) {
            try (Arena arena = Arena.ofShared()) {
                float[] frequencies = new float[half];
                for (int i = 0; i < half; i++) {
                    frequencies[i] = (float) Math.pow(10000, -(double) i / half);
                }
                int[] positions = {0, 1, 77, 2047, 131071};
                Tensor expected = Tensor.allocate(arena, DType.F32, positions.length, 2 * half);
                cpu.angles(frequencies, positions, expected);
                Tensor host = Tensor.of(arena, 1, half, frequencies);
                try (DeviceTensor deviceFrequencies = DeviceTensor.upload(host, "frequencies");
                        DeviceMemory devicePositions = ints(positions);
                        DeviceTensor cosSin = output(positions.length, 2 * half)) {
                    kernels.angles(deviceFrequencies, devicePositions, cosSin, stream);
                    // The angle within a turn, of up to pi, is rounded to float32 once; then sine and cosine are.
                    compare(expected, download(cosSin, arena), i -> 16 * UNIT, "half " + half);
                }
            }
        }
    }

    private void rotate() {
        for (int dim : new int[] {2, 8, 30, 64, 80, 128}) {
            try (Arena arena = Arena.ofShared()) {
                Tensor x = floats(arena, 4, 3 * dim);
                Tensor cosSin = floats(arena, 4, dim);
                Tensor expected = copy(arena, x);
                cpu.rotate(expected, cosSin);
                try (DeviceTensor deviceX = DeviceTensor.upload(x, "x");
                        DeviceTensor deviceAngles = DeviceTensor.upload(cosSin, "angles")) {
                    kernels.rotate(deviceX, deviceAngles, stream);
                    // Two products and their sum: three roundings, of values of about 10 at most here.
                    compare(expected, download(deviceX, arena), i -> 6 * UNIT * 32, "dim " + dim);
                }
            }
        }
    }

    private void attention() {
        int[][] shapes = switch (extent) {
            case FEW -> new int[][] {{4, 2, 8}, {3, 1, 33}};
            case AWKWARD ->
                new int[][] {{4, 4, 16}, {4, 2, 8}, {6, 2, 20}, {3, 1, 64}, {5, 5, 33}, {2, 1, 128}, {1, 1, 256}};
            case MODELS ->
                new int[][] {{4, 4, 16}, {4, 2, 8}, {6, 2, 20}, {3, 1, 64}, {5, 5, 33}, {32, 8, 128}, {16, 8, 256}};
        };
        int[] pasts = extent == Extent.MODELS
                ? new int[] {0, 5, 70, 3000}
                : sizes(new int[] {0, 70}, new int[] {0, 5, 70, 301});
        for (int[] s : shapes) {
            for (int tokens : new int[] {1, 3}) {
                for (int past : pasts) {
                    for (int window : new int[] {0, 4, 50}) {
                        Attention shape = new Attention(
                                s[0], s[1], s[2], 1 / (float) Math.sqrt(s[2]), window == 4 ? 20 : 0, window);
                        attention(shape, tokens, past);
                    }
                }
            }
        }
    }

    private void attention(Attention shape, int tokens, int past) {
        try (Arena arena = Arena.ofShared()) {
            int rows = past + tokens + 3;
            Tensor q = floats(arena, tokens, shape.heads() * shape.headDim());
            Tensor keys = floats(arena, rows, shape.kvHeads() * shape.headDim());
            Tensor values = floats(arena, rows, shape.kvHeads() * shape.headDim());
            // What lies behind the last token must not be looked at.
            for (int row = past + tokens; row < rows; row++) {
                for (int column = 0; column < keys.columns(); column++) {
                    keys.set(row, column, Float.NaN);
                    values.set(row, column, Float.NaN);
                }
            }
            Tensor expected = Tensor.allocate(arena, DType.F32, tokens, q.columns());
            cpu.attention(shape, q, keys, values, past, expected);
            int[] positions = new int[tokens];
            for (int t = 0; t < tokens; t++) {
                positions[t] = past + t;
            }
            // One warp joins several tiles of 32 rows, or several warps have one each.
            int splits = past == 5 || past == 70 ? 1 : kernels.attentionSplits(shape, tokens, rows);
            try (DeviceTensor deviceQ = DeviceTensor.upload(q, "q");
                    DeviceTensor deviceKeys = DeviceTensor.upload(keys, "keys");
                    DeviceTensor deviceValues = DeviceTensor.upload(values, "values");
                    DeviceMemory devicePositions = ints(positions);
                    DeviceMemory scratch =
                            DeviceMemory.allocate(4 * CudaKernels.attentionScratch(shape, tokens, splits), "scratch");
                    DeviceTensor out = output(tokens, q.columns())) {
                kernels.attention(
                        shape, deviceQ, deviceKeys, deviceValues, devicePositions, splits, scratch, out, stream);
                // Scores of a few units are sums of headDim terms, and the weights' relative error is the scores'.
                compare(
                        expected,
                        download(out, arena),
                        i -> (shape.headDim() + Math.min(rows, 512)) * 4 * UNIT,
                        shape + ", past " + past + ", " + tokens + " tokens");
            }
        }
    }

    private void activations() {
        for (Activation f : Activation.values()) {
            for (int columns : widths(11008)) {
                try (Arena arena = Arena.ofShared()) {
                    Tensor x = wide(arena, 3, columns);
                    Tensor expected = copy(arena, x);
                    cpu.activate(f, expected);
                    try (DeviceTensor deviceX = DeviceTensor.upload(x, "x")) {
                        kernels.activate(f, deviceX, stream);
                        compare(expected, download(deviceX, arena), i -> activationTolerance(x, i), f + " " + columns);
                    }
                }
            }
        }
    }

    /// The exponential's argument and value are rounded, on both sides: relative to x, which bounds these functions.
    private static double activationTolerance(Tensor x, int i) {
        return 32 * UNIT * Math.min(Math.abs(expected(x, i)), 8) + 1e-30;
    }

    private void gates() {
        for (Activation f : Activation.values()) {
            for (int columns : widths(11008)) {
                try (Arena arena = Arena.ofShared()) {
                    Tensor gate = wide(arena, 3, columns);
                    Tensor up = floats(arena, 3, columns);
                    Tensor expected = copy(arena, gate);
                    cpu.gate(f, expected, up);
                    try (DeviceTensor deviceGate = DeviceTensor.upload(gate, "gate");
                            DeviceTensor deviceUp = DeviceTensor.upload(up, "up")) {
                        kernels.gate(f, deviceGate, deviceUp, stream);
                        compare(
                                expected,
                                download(deviceGate, arena),
                                i -> activationTolerance(gate, i) * Math.abs(expected(up, i))
                                        + 2 * UNIT * Math.abs(expected(expected, i)),
                                f + " " + columns);
                    }
                }
            }
        }
    }

    private void additions() {
        for (int columns : widths(4096)) {
            try (Arena arena = Arena.ofShared()) {
                Tensor x = floats(arena, 3, columns);
                Tensor y = floats(arena, 3, columns);
                Tensor expected = copy(arena, y);
                cpu.add(x, expected);
                try (DeviceTensor deviceX = DeviceTensor.upload(x, "x");
                        DeviceTensor deviceY = DeviceTensor.upload(y, "y")) {
                    kernels.add(deviceX, deviceY, stream);
                    compare(expected, download(deviceY, arena), i -> 0, "" + columns);
                }
            }
        }
    }

    private void softcaps() {
        for (int columns : widths(32000)) {
            try (Arena arena = Arena.ofShared()) {
                Tensor x = wide(arena, 1, columns);
                Tensor expected = copy(arena, x);
                cpu.softcap(30f, expected);
                try (DeviceTensor deviceX = DeviceTensor.upload(x, "x")) {
                    kernels.softcap(30f, deviceX, stream);
                    compare(
                            expected,
                            download(deviceX, arena),
                            i -> 32 * UNIT * Math.min(Math.abs(expected(x, i)), 30),
                            "" + columns);
                }
            }
        }
    }

    private void gathers(DType type) {
        for (int columns : widths(4096)) {
            try (Arena arena = Arena.ofShared()) {
                Tensor table = Tensor.allocate(arena, type, 7, columns);
                for (int i = 0; i < table.size(); i++) {
                    table.set(i / columns, i % columns, (float) random.nextGaussian());
                }
                table.set(6, columns - 1, 0x1p-20f); // subnormal as F16
                int[] rows = {6, 0, 3, 6};
                Tensor expected = Tensor.allocate(arena, DType.F32, 4, columns);
                cpu.gather(table, rows, 2f, expected);
                try (DeviceTensor deviceTable = DeviceTensor.upload(table, "table");
                        DeviceMemory deviceRows = ints(rows);
                        DeviceTensor y = output(4, columns)) {
                    kernels.gather(deviceTable, deviceRows, 2f, false, y, stream);
                    compare(expected, download(y, arena), i -> 0, "" + columns);
                    cpu.gatherAdd(table, rows, expected);
                    kernels.gather(deviceTable, deviceRows, 1f, true, y, stream);
                    compare(expected, download(y, arena), i -> 0, "added, " + columns);
                }
            }
        }
    }

    private void scatters() {
        for (int columns : widths(4096)) {
            try (Arena arena = Arena.ofShared()) {
                Tensor source = floats(arena, 2, columns);
                Tensor expected = floats(arena, 6, columns);
                try (DeviceTensor target = DeviceTensor.upload(expected, "target");
                        DeviceTensor deviceSource = DeviceTensor.upload(source, "source");
                        DeviceMemory rows = ints(3, 4)) {
                    cpu.copyRows(source, expected, 3);
                    kernels.scatterRows(deviceSource, target, rows, stream);
                    compare(expected, download(target, arena), i -> 0, "" + columns);
                }
            }
        }
    }

    /// A norm, a product and an addition, recorded once and replayed on other inputs, equal the same launches one by one.
    private void graph() {
        kernels.loadAll();
        try (Arena arena = Arena.ofShared()) {
            int width = 256;
            Tensor dense = weights(arena, DType.BF16, width, width, Packing.DELTA, 0.7);
            Norm norm = new Norm(Norm.Kind.RMS, 1e-5f, 0f);
            try (DeviceWeights weights = DeviceWeights.Delta.upload(dense, "check");
                    DeviceTensor x = output(1, width);
                    DeviceTensor normed = output(1, width);
                    DeviceTensor y = output(1, width);
                    CudaGraph step = CudaGraph.capture(stream, () -> step(norm, weights, x, normed, y))) {
                for (int round = 0; round < 2; round++) {
                    Tensor input = floats(arena, 1, width);
                    stream.synchronize(); // What fills or reads x has ended.
                    x.memory().upload(input.segment());
                    step.launch(stream);
                    Tensor replayed = download(y, arena);
                    step(norm, weights, x, normed, y);
                    compare(download(y, arena), replayed, i -> 0, "round " + round);
                }
            }
        }
    }

    private void step(Norm norm, DeviceWeights weights, DeviceTensor x, DeviceTensor normed, DeviceTensor y) {
        kernels.norm(norm, x, null, null, normed, stream);
        kernels.gemv(weights, null, normed, y, stream);
        kernels.add(x, y, stream);
    }

    private int[] widths(int largest) {
        return sizes(new int[] {1, 33, 1025}, new int[] {1, 2, 15, 16, 17, 31, 33, 64, 172, 1025}, largest);
    }

    private Tensor floats(Arena arena, int rows, int columns) {
        Tensor tensor = Tensor.allocate(arena, DType.F32, rows, columns);
        for (int i = 0; i < tensor.size(); i++) {
            tensor.set(i / columns, i % columns, (float) random.nextGaussian());
        }
        return tensor;
    }

    /// Values over the whole range in which activations change, and the far ends.
    private Tensor wide(Arena arena, int rows, int columns) {
        Tensor tensor = floats(arena, rows, columns);
        for (int i = 0; i < tensor.size(); i++) {
            tensor.set(i / columns, i % columns, 4 * tensor.get(i / columns, i % columns));
        }
        tensor.set(0, 0, -60f);
        tensor.set(rows - 1, columns - 1, 60f);
        return tensor;
    }

    private static Tensor copy(Arena arena, Tensor tensor) {
        Tensor copy = Tensor.allocate(arena, tensor.dtype(), tensor.rows(), tensor.columns());
        copy.segment().copyFrom(tensor.segment());
        return copy;
    }

    /// All NaN.
    private DeviceTensor output(int rows, int columns) {
        DeviceTensor tensor = DeviceTensor.allocate(DType.F32, rows, columns, "output");
        tensor.memory().fill((byte) 0xff, stream);
        return tensor;
    }

    private static DeviceMemory ints(int... values) {
        try (Arena arena = Arena.ofConfined()) {
            return DeviceMemory.copyOf(arena.allocateFrom(ValueLayout.JAVA_INT, values), "ints");
        }
    }

    private Tensor download(DeviceTensor tensor, Arena arena) {
        stream.synchronize();
        return tensor.download(arena);
    }

    private void compare(Tensor expected, Tensor actual, IntToDoubleFunction tolerance, String what) {
        cases++;
        for (int i = 0; i < expected.size(); i++) {
            int row = i / expected.columns();
            int column = i % expected.columns();
            float wanted = expected.get(row, column);
            float found = actual.get(row, column);
            double difference = Math.abs((double) wanted - found);
            double allowed = tolerance.applyAsDouble(i);
            double share = Float.floatToIntBits(wanted) == Float.floatToIntBits(found) || difference == 0
                    ? 0
                    : allowed == 0 || Double.isNaN(difference) ? Double.POSITIVE_INFINITY : difference / allowed;
            worst = Math.max(worst, share);
            if (share > 1 && problem == null) {
                problem = "%s: element [%d, %d] is %s, the CPU has %s; rounding explains %.3g"
                        .formatted(what, row, column, found, wanted, allowed);
            }
        }
    }
}
