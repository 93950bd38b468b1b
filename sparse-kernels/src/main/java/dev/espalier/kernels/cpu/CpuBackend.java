package dev.espalier.kernels.cpu;

import dev.espalier.kernels.Backend;
import dev.espalier.kernels.DeferredLinear;
import dev.espalier.kernels.Linear;
import dev.espalier.kernels.LinearAlgebra;
import dev.espalier.kernels.LinearGroup;
import dev.espalier.kernels.WeightFormat;
import dev.espalier.kernels.simd.CompilerHints;
import dev.espalier.kernels.simd.Convert;
import dev.espalier.kernels.simd.Gemm;
import dev.espalier.kernels.simd.VectorCheck;
import dev.espalier.kernels.simd.Workers;
import dev.espalier.natives.blas.Lapack;
import dev.espalier.natives.os.Cpu;
import dev.espalier.natives.os.Memory;
import dev.espalier.tensor.DType;
import dev.espalier.tensor.Tensor;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Arrays;
import java.util.IdentityHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.function.IntConsumer;

/// The reference backend: the host's own memory, vectors, and a fixed team of threads.
public final class CpuBackend implements Backend {
    private static final ValueLayout.OfFloat FLOAT = ValueLayout.JAVA_FLOAT_UNALIGNED;
    /// The most tokens of products that run together.
    private static final int GEMV_TOKENS = 64;

    /// Rows of a loop over tokens shorter than this are not worth waking threads for.
    private static final int SERIAL_FLOATS = 1 << 14;

    private final Workers workers;
    private final Gemm gemm;
    private final CpuAttention attention;
    private LinearAlgebra algebra;
    private final Map<MemorySegment, Arena> arenas = new IdentityHashMap<>();
    private final GemvLoop gemv = new GemvLoop();
    /// One for each layout of a token's activations.
    private final Scratch[] inputs = new Scratch[CpuLinear.Input.values().length];

    private final Scratch firstVector = new Scratch();
    private final Scratch secondVector = new Scratch();

    /// A backend that computes with `threads` threads, the caller's included.
    public CpuBackend(int threads) {
        CompilerHints.loadHierarchies();
        this.workers = new Workers(threads);
        this.gemm = new Gemm(workers);
        this.attention = new CpuAttention(workers, gemm);
        Arrays.setAll(inputs, i -> new Scratch());
    }

    /// The CPUs this process may use.
    public static int defaultThreads() {
        return Cpu.allowed();
    }

    @Override
    public String name() {
        return "cpu";
    }

    /// The team of threads, for measurements that want to run on the same ones.
    public Workers workers() {
        return workers;
    }

    @Override
    public Tensor zeros(DType dtype, int rows, int columns) {
        Arena arena = Arena.ofShared();
        long bytes = Math.max(64, (long) rows * columns * dtype.bytes());
        Tensor tensor = Tensor.of(dtype, rows, columns, Memory.allocate(bytes, arena));
        synchronized (arenas) {
            arenas.put(tensor.handle(), arena);
        }
        return tensor;
    }

    @Override
    public void free(Tensor tensor) {
        Arena arena;
        synchronized (arenas) {
            arena = arenas.remove(tensor.handle());
        }
        if (arena != null) {
            arena.close();
        }
    }

    @Override
    public Tensor upload(Tensor host) {
        return host;
    }

    @Override
    public void download(Tensor device, Tensor host) {
        copy(device, host);
    }

    @Override
    public void store(Tensor host, Tensor device) {
        copy(host, device);
    }

    private static void copy(Tensor from, Tensor to) {
        require(from.dtype() == to.dtype() && from.rows() == to.rows() && from.columns() == to.columns(), from, to);
        MemorySegment.copy(from.segment(), 0, to.segment(), 0, from.bytes());
    }

    @Override
    public Linear linear(Tensor weight, WeightFormat format) {
        return format.pack(weight);
    }

    @Override
    public List<Linear> linears(List<Tensor> weights, List<WeightFormat> formats) {
        Linear[] packed = new Linear[weights.size()];
        try {
            sideBySide(packed.length, i -> packed[i] = linear(weights.get(i), formats.get(i)));
        } catch (RuntimeException | Error e) {
            Arrays.stream(packed).filter(Objects::nonNull).forEach(Linear::close);
            throw e;
        }
        return List.of(packed);
    }

    @Override
    public void pack(List<DeferredLinear> matrices) {
        sideBySide(matrices.size(), i -> matrices.get(i).pack());
    }

    private void sideBySide(int tasks, IntConsumer task) {
        workers.shared(tasks, 1, (from, to, thread) -> {
            for (int i = from; i < to; i++) {
                task.accept(i);
            }
        });
    }

    @Override
    public void linear(Linear weight, Tensor bias, Tensor x, Tensor y) {
        require(weight, x, y);
        if (many(weight, x)) {
            MemorySegment shift = bias == null ? null : floats(bias, firstVector);
            gemm.linear(x.segment(), x.rows(), (CpuLinear) weight, shift, y.segment());
            return;
        }
        for (int from = 0; from < x.rows(); from += GEMV_TOKENS) {
            int to = Math.min(x.rows(), from + GEMV_TOKENS);
            gemv.clear(to - from);
            add(weight, x, y, from, to);
            gemv.run(workers);
        }
        addBias(bias, y);
    }

    @Override
    public void linear(LinearGroup group, Tensor x) {
        for (int i = 0; i < group.size(); i++) {
            require(group.weight(i), x, group.result(i));
            if (many(group.weight(i), x)) {
                Backend.super.linear(group, x);
                return;
            }
        }
        for (int from = 0; from < x.rows(); from += GEMV_TOKENS) {
            int to = Math.min(x.rows(), from + GEMV_TOKENS);
            gemv.clear(to - from);
            for (int i = 0; i < group.size(); i++) {
                add(group.weight(i), x, group.result(i), from, to);
            }
            gemv.run(workers);
        }
        for (int i = 0; i < group.size(); i++) {
            addBias(group.bias(i), group.result(i));
        }
    }

    private static void require(Linear weight, Tensor x, Tensor y) {
        require(x.columns() == weight.columns(), x, y);
        require(y.columns() == weight.rows() && y.rows() == x.rows(), x, y);
    }

    /// Whether so many tokens are a GEMM rather than GEMVs.
    private static boolean many(Linear weight, Tensor x) {
        return x.rows() > ((CpuLinear) weight).fewTokens() && VectorCheck.compiled();
    }

    /// Adds tokens `from` to `to` of a product to the loop, with each token's activations as the kernel wants them.
    private void add(Linear weight, Tensor x, Tensor y, int from, int to) {
        CpuLinear matrix = (CpuLinear) weight;
        CpuLinear.Input layout = matrix.input();
        Scratch input = inputs[layout.ordinal()];
        // Whole cache lines.
        long bytes = layout.bytes(x.columns()) + 63 & -64;
        boolean ready = gemv.has(layout);
        input.reserve(bytes * (to - from));
        for (int token = from; token < to; token++) {
            MemorySegment activations = part(input.memory, token - from, bytes);
            if (!ready) {
                prepare(layout, x.segment(), (long) token * x.columns(), x.columns(), activations);
            }
            gemv.add(matrix, token - from, activations, part(y.segment(), token, y.columns() * 4L));
        }
    }

    /// The `index`th part of `bytes` bytes and what follows; the first is `memory` itself, so that a step allocates nothing.
    private static MemorySegment part(MemorySegment memory, int index, long bytes) {
        return index == 0 ? memory : memory.asSlice(index * bytes);
    }

    /// Not by the threads: the rows that a range stands for are the format's own.
    private void addBias(Tensor bias, Tensor y) {
        if (bias != null) {
            MemorySegment shift = floats(bias, firstVector);
            for (int token = 0; token < y.rows(); token++) {
                Elementwise.add(shift, 0, y.segment(), (long) token * y.columns(), y.columns());
            }
        }
    }

    /// Lays one token's activations out at the beginning of `to`.
    private static void prepare(CpuLinear.Input layout, MemorySegment x, long from, int columns, MemorySegment to) {
        int padded = CpuLinear.Input.padded(columns);
        switch (layout) {
            case PLAIN -> {
                MemorySegment.copy(x, from * 4, to, 0, columns * 4L);
                zero(to, columns, padded);
            }
            case EVEN_ODD -> {
                zero(to, columns / 32 * 32, padded);
                EvenOdd.split(x, from, to, columns);
            }
            case BY_FOUR -> {
                zero(to, columns / 64 * 64, padded);
                EvenOdd.splitByFour(x, from, to, columns);
            }
            case HALVES -> {
                int lower = (int) CpuLinear.Input.LOWER / 4;
                zero(to, columns / 2, padded / 2);
                zero(to, lower + columns / 2, lower + padded / 2);
                Halves.split(x, from, to, columns);
            }
        }
    }

    /// A slice to be filled would be an object.
    private static void zero(MemorySegment memory, int from, int to) {
        for (int i = from; i < to; i++) {
            memory.set(FLOAT, i * 4L, 0f);
        }
    }

    @Override
    public void gather(Tensor table, int[] rows, float scale, Tensor y) {
        for (int token = 0; token < y.rows(); token++) {
            long at = (long) token * y.columns();
            Convert.toFloat(table.dtype(), table.segment(), row(table, rows[token]), y.segment(), at, y.columns());
            if (scale != 1f) {
                Elementwise.scale(y.segment(), at, y.columns(), scale);
            }
        }
    }

    @Override
    public void gatherAdd(Tensor table, int[] rows, Tensor y) {
        MemorySegment row = firstVector.reserve(table.columns() * 4L);
        for (int token = 0; token < y.rows(); token++) {
            Convert.toFloat(table.dtype(), table.segment(), row(table, rows[token]), row, 0, y.columns());
            Elementwise.add(row, 0, y.segment(), (long) token * y.columns(), y.columns());
        }
    }

    private static long row(Tensor table, int row) {
        if (row < 0 || row >= table.rows()) {
            throw new IndexOutOfBoundsException("row " + row + " of " + table);
        }
        return (long) row * table.columns();
    }

    @Override
    public void norm(Norm norm, Tensor x, Tensor weight, Tensor bias, Tensor y) {
        MemorySegment scale = weight == null ? null : floats(weight, firstVector);
        MemorySegment shift = bias == null ? null : floats(bias, secondVector);
        int columns = x.columns();
        MemorySegment from = x.segment();
        MemorySegment to = y.segment();
        if (x.size() < SERIAL_FLOATS) {
            normRows(norm, from, to, scale, shift, columns, 0, x.rows());
        } else {
            workers.rows(
                    x.rows(), 1, (first, last, thread) -> normRows(norm, from, to, scale, shift, columns, first, last));
        }
    }

    private static void normRows(
            Norm norm,
            MemorySegment x,
            MemorySegment y,
            MemorySegment weight,
            MemorySegment bias,
            int columns,
            int first,
            int last) {
        for (int row = first; row < last; row++) {
            long at = (long) row * columns;
            if (norm.kind() == Norm.Kind.RMS) {
                Elementwise.rmsNorm(x, y, at, columns, norm.epsilon(), weight, norm.weightOffset());
            } else {
                Elementwise.layerNorm(x, y, at, columns, norm.epsilon(), weight, bias);
            }
        }
    }

    @Override
    public void angles(float[] inverseFrequencies, int[] positions, Tensor cosSin) {
        int half = inverseFrequencies.length;
        for (int token = 0; token < cosSin.rows(); token++) {
            long at = (long) token * cosSin.columns();
            for (int i = 0; i < half; i++) {
                float angle = positions[token] * inverseFrequencies[i];
                cosSin.segment().set(FLOAT, (at + i) * 4, (float) Math.cos(angle));
                cosSin.segment().set(FLOAT, (at + half + i) * 4, (float) Math.sin(angle));
            }
        }
    }

    @Override
    public void rotate(Tensor x, Tensor cosSin) {
        int dim = cosSin.columns();
        int heads = x.columns() / dim;
        MemorySegment memory = x.segment();
        MemorySegment angles = cosSin.segment();
        if (x.size() < SERIAL_FLOATS) {
            rotateRows(memory, angles, heads, dim, 0, x.rows());
        } else {
            workers.rows(x.rows(), 1, (from, to, thread) -> rotateRows(memory, angles, heads, dim, from, to));
        }
    }

    private static void rotateRows(MemorySegment x, MemorySegment angles, int heads, int dim, int from, int to) {
        for (int token = from; token < to; token++) {
            for (int head = 0; head < heads; head++) {
                Elementwise.rotate(x, ((long) token * heads + head) * dim, angles, (long) token * dim, dim / 2);
            }
        }
    }

    @Override
    public void copyRows(Tensor source, Tensor target, int at) {
        require(source.columns() == target.columns() && source.dtype() == target.dtype(), source, target);
        long rowBytes = (long) target.columns() * target.dtype().bytes();
        MemorySegment.copy(source.segment(), 0, target.segment(), at * rowBytes, source.bytes());
    }

    @Override
    public void attention(Attention shape, Tensor q, Tensor keys, Tensor values, int past, Tensor out) {
        require(keys.rows() >= past + q.rows() && values.rows() >= past + q.rows(), q, keys);
        int width = shape.kvHeads() * shape.headDim();
        require(keys.columns() >= width && values.columns() == keys.columns(), keys, values);
        attention.run(shape, q, keys, values, past, out);
    }

    @Override
    public void activate(Activation f, Tensor x) {
        MemorySegment memory = x.segment();
        int columns = x.columns();
        if (x.size() < SERIAL_FLOATS) {
            Elementwise.activate(f, memory, 0, Math.toIntExact(x.size()));
        } else {
            workers.rows(x.rows(), 1, (from, to, thread) -> {
                for (int row = from; row < to; row++) {
                    Elementwise.activate(f, memory, (long) row * columns, columns);
                }
            });
        }
    }

    @Override
    public void gate(Activation f, Tensor gate, Tensor up) {
        MemorySegment memory = gate.segment();
        MemorySegment other = up.segment();
        int columns = gate.columns();
        if (gate.size() < SERIAL_FLOATS) {
            Elementwise.gate(f, memory, other, 0, Math.toIntExact(gate.size()));
        } else {
            workers.rows(gate.rows(), 1, (from, to, thread) -> {
                for (int row = from; row < to; row++) {
                    Elementwise.gate(f, memory, other, (long) row * columns, columns);
                }
            });
        }
    }

    @Override
    public void add(Tensor x, Tensor y) {
        MemorySegment from = x.segment();
        MemorySegment to = y.segment();
        int columns = x.columns();
        if (x.size() < SERIAL_FLOATS) {
            Elementwise.add(from, 0, to, 0, Math.toIntExact(x.size()));
        } else {
            workers.rows(
                    x.rows(),
                    1,
                    (first, last, thread) -> Elementwise.add(
                            from, (long) first * columns, to, (long) first * columns, (last - first) * columns));
        }
    }

    @Override
    public void softcap(float cap, Tensor x) {
        for (int row = 0; row < x.rows(); row++) {
            Elementwise.softcap(cap, x.segment(), (long) row * x.columns(), x.columns());
        }
    }

    @Override
    public LinearAlgebra algebra() {
        if (algebra == null) {
            algebra = new CpuLinearAlgebra(workers, gemm, Lapack.open());
        }
        return algebra;
    }

    @Override
    public void close() {
        workers.close();
        attention.close();
        for (Scratch input : inputs) {
            input.close();
        }
        firstVector.close();
        secondVector.close();
        synchronized (arenas) {
            arenas.values().forEach(Arena::close);
            arenas.clear();
        }
    }

    /// A `[1, features]` tensor as float32: its own memory, or a widened copy in `scratch`.
    private static MemorySegment floats(Tensor vector, Scratch scratch) {
        if (vector.dtype() == DType.F32) {
            return vector.segment();
        }
        MemorySegment copy = scratch.reserve(vector.columns() * 4L);
        Convert.toFloat(vector.dtype(), vector.segment(), 0, copy, 0, vector.columns());
        return copy;
    }

    private static void require(boolean fits, Tensor a, Tensor b) {
        if (!fits) {
            throw new IllegalArgumentException(a + " does not fit " + b);
        }
    }

    /// Memory that grows to what was ever asked of it.
    private static final class Scratch {
        private Arena arena;
        private MemorySegment memory = MemorySegment.NULL;

        MemorySegment reserve(long bytes) {
            if (memory.byteSize() < bytes) {
                close();
                arena = Arena.ofShared();
                memory = arena.allocate(bytes, 64);
            }
            return memory;
        }

        void close() {
            if (arena != null) {
                arena.close();
                arena = null;
                memory = MemorySegment.NULL;
            }
        }
    }

    /// The rows of some GEMVs, one after another as if they were one, for one or a few tokens; one object for all, so that a
    /// step allocates nothing.
    private static final class GemvLoop implements Workers.Range {
        /// Weights that several tokens read one after the other, while they lie in a second-level cache.
        private static final int PIECE_BYTES = 1 << 18;

        private final CpuLinear[] matrices = new CpuLinear[LinearGroup.MOST];
        /// Of each matrix, token by token.
        private final MemorySegment[][] inputs = new MemorySegment[LinearGroup.MOST][1];

        private final MemorySegment[][] results = new MemorySegment[LinearGroup.MOST][1];
        /// Where each matrix' rows begin.
        private final int[] starts = new int[LinearGroup.MOST];
        private int size;
        private int tokens;

        /// No products any more; the next ones are of `tokens` tokens each.
        void clear(int tokens) {
            size = 0;
            this.tokens = tokens;
            for (int i = 0; i < matrices.length && inputs[i].length < tokens; i++) {
                inputs[i] = new MemorySegment[tokens];
                results[i] = new MemorySegment[tokens];
            }
        }

        /// Whether a matrix wants its input laid out like this.
        boolean has(CpuLinear.Input layout) {
            for (int i = 0; i < size; i++) {
                if (matrices[i].input() == layout) {
                    return true;
                }
            }
            return false;
        }

        /// Adds a matrix, a token at a time from the first to the last.
        void add(CpuLinear matrix, int token, MemorySegment input, MemorySegment result) {
            if (token == 0) {
                matrices[size++] = matrix;
            }
            inputs[size - 1][token] = input;
            results[size - 1][token] = result;
        }

        void run(Workers workers) {
            int grain = 1;
            for (int i = 0; i < size; i++) {
                // Grains are powers of two: each divides the largest.
                grain = Math.max(grain, matrices[i].grain());
            }
            int rows = 0;
            for (int i = 0; i < size; i++) {
                starts[i] = Math.ceilDiv(rows, grain) * grain;
                rows = starts[i] + matrices[i].rows();
            }
            workers.shared(rows, grain, this);
        }

        @Override
        public void run(int from, int to, int thread) {
            for (int i = 0; i < size; i++) {
                int first = Math.max(0, from - starts[i]);
                int last = Math.min(to - starts[i], matrices[i].rows());
                int piece = tokens == 1 ? last - first : piece(matrices[i]);
                for (int row = first; row < last; row += piece) {
                    int end = Math.min(last, row + piece);
                    for (int token = 0; token < tokens; token++) {
                        matrices[i].multiply(inputs[i][token], results[i][token], row, end);
                    }
                }
            }
        }

        /// Rows whose weights take about [#PIECE_BYTES] bytes.
        private static int piece(CpuLinear matrix) {
            long rowBytes = Math.max(1, matrix.bytes() / matrix.rows());
            return Math.max(1, (int) (PIECE_BYTES / rowBytes / matrix.grain())) * matrix.grain();
        }
    }
}
