package dev.espalier.kernels.format;

import dev.espalier.kernels.Linear;
import dev.espalier.kernels.WeightFormat;
import dev.espalier.kernels.cpu.CpuLinear;
import dev.espalier.kernels.simd.CompilerHints;
import dev.espalier.kernels.simd.Raw;
import dev.espalier.kernels.simd.Sums;
import dev.espalier.kernels.simd.VectorCheck;
import dev.espalier.tensor.DType;
import dev.espalier.tensor.Tensor;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.VarHandle;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.VectorOperators;
import jdk.incubator.vector.VectorSpecies;

/// A dense matrix of bytes in tiles, with a scale for each 64 columns of a row ([Int8]); not exact.
///
/// A tile is 8 scales, float32, and 64 columns of each of 8 rows. The tiles of 8 rows follow one another, then those of the
/// next 8 rows; rows and columns are filled up with zeros.
///
/// ```
///   tile    | scales: 8 x 4 B | row 0: 64 B | row 1: 64 B | ... | row 7: 64 B |
/// ```
///
/// 1.0625 bytes a weight. A 32-bit lane holds four consecutive columns, the first in its lowest byte; shifted to the top,
/// a byte is a number times 2²⁴, and the scale of a tile's sum takes that back.
public final class DenseInt8 implements WeightFormat {
    /// See [CpuLinear#fewTokens].
    private static final int FEW_TOKENS = 16;

    /// Columns that share a scale.
    static final int GROUP = 64;

    private static final int TILE_ROWS = 8;
    private static final long TILE_BYTES = 4L * TILE_ROWS + (long) GROUP * TILE_ROWS;

    private static final DenseInt8 INSTANCE = new DenseInt8();

    private DenseInt8() {}

    public static DenseInt8 of() {
        return INSTANCE;
    }

    @Override
    public String name() {
        return "dense-int8";
    }

    @Override
    public boolean exact() {
        return false;
    }

    @Override
    public String refuses(Tensor dense) {
        return Int8.refuses(dense);
    }

    @Override
    public Linear pack(Tensor dense) {
        String reason = refuses(dense);
        if (reason != null) {
            throw new IllegalArgumentException(name() + ": " + reason);
        }
        try (Arena scratch = Arena.ofShared()) {
            return new Packed(Int8.of(dense, GROUP, scratch));
        }
    }

    /// The packed matrix.
    private static final class Packed implements CpuLinear {
        private static final ThreadLocal<AheadChoice> AHEAD = AheadChoice.perThread();

        private final Arena arena = Arena.ofShared();
        private final int rows;
        private final int columns;
        private final int groups;
        private final long nonZeros;

        private final long memory;

        Packed(Int8 weights) {
            Tensor bytes = weights.values();
            rows = bytes.rows();
            columns = bytes.columns();
            groups = Math.ceilDiv(columns, GROUP);
            nonZeros = NonZeros.count(bytes);
            memory = Ahead.allocate(Math.max(64, bytes()), arena).address();
            for (int row = 0; row < rows; row++) {
                for (int group = 0; group < groups; group++) {
                    Raw.ALL.set(Raw.FLOAT, scale(row, group), weights.scales()[row * groups + group]);
                    MemorySegment.copy(
                            bytes.segment(),
                            (long) row * columns + (long) group * GROUP,
                            Raw.ALL,
                            values(row, group),
                            Math.min(GROUP, columns - group * GROUP));
                }
            }
        }

        private long tile(int row, int group) {
            return memory + ((long) (row / TILE_ROWS) * groups + group) * TILE_BYTES;
        }

        private long scale(int row, int group) {
            return tile(row, group) + 4L * (row % TILE_ROWS);
        }

        private long values(int row, int group) {
            return tile(row, group) + 4L * TILE_ROWS + (long) GROUP * (row % TILE_ROWS);
        }

        @Override
        public int rows() {
            return rows;
        }

        @Override
        public int columns() {
            return columns;
        }

        @Override
        public DType dtype() {
            return DType.I8;
        }

        @Override
        public WeightFormat format() {
            return INSTANCE;
        }

        @Override
        public long bytes() {
            return (long) Math.ceilDiv(rows, TILE_ROWS) * groups * TILE_BYTES;
        }

        @Override
        public long nonZeros() {
            return nonZeros;
        }

        @Override
        public void unpack(Tensor target) {
            Weights.unpack(this, target);
        }

        @Override
        public Input input() {
            return Input.BY_FOUR;
        }

        @Override
        public int grain() {
            return TILE_ROWS;
        }

        @Override
        public int fewTokens() {
            return FEW_TOKENS;
        }

        @Override
        public void multiply(MemorySegment x, MemorySegment y, int from, int to) {
            long xs = Raw.address(x, 4L * GROUP * groups);
            long ys = Raw.address(y, 4L * to);
            long sums = Sums.scratch();
            AheadChoice ahead = AHEAD.get();
            boolean pages = ahead.begin(bytes() * (to - from) / Math.max(1, rows));
            for (int row = from; row < to; row += TILE_ROWS) {
                long begin = tile(row, 0);
                long end = begin + groups * TILE_BYTES;
                int count = Math.min(TILE_ROWS, to - row);
                if (!VectorCheck.compiled()) {
                    scalar(row, count, xs, ys);
                    continue;
                }
                Kernel.rows8(begin, end, xs, Weights.TOP_BYTE, sums, pages);
                Sums.fold(sums, count, Weights.TOP_BYTE_SCALE, ys + 4L * row);
            }
            ahead.end();
        }

        private void scalar(int from, int count, long x, long y) {
            for (int row = from; row < from + count; row++) {
                float sum = 0;
                for (int group = 0; group < groups; group++) {
                    long values = values(row, group);
                    float part = 0;
                    for (int c = 0; c < GROUP; c++) {
                        long at = x + 4L * ((long) group * GROUP + (c & 3) * 16L + c / 4);
                        part += Raw.ALL.get(ValueLayout.JAVA_BYTE, values + c) * Raw.ALL.get(Raw.FLOAT, at);
                    }
                    sum += part * Raw.ALL.get(Raw.FLOAT, scale(row, group));
                }
                Raw.ALL.set(Raw.FLOAT, y + 4L * row, sum);
            }
        }

        @Override
        public void expand(int rowFrom, int rowTo, int colFrom, int colTo, MemorySegment panel, int stride) {
            long target = Raw.address(panel, 0);
            for (int row = rowFrom; row < rowTo; row++) {
                for (int group = colFrom / GROUP; group * GROUP < colTo; group++) {
                    long to = target + 4L * ((long) (row - rowFrom) * stride + (long) group * GROUP - colFrom);
                    widen(values(row, group), Raw.ALL.get(Raw.FLOAT, scale(row, group)), to);
                }
            }
        }

        /// A row's part of a tile as float32; C2 makes vectors of it.
        private static void widen(long values, float scale, long target) {
            for (int c = 0; c < GROUP; c++) {
                Raw.ALL.set(Raw.FLOAT, target + 4L * c, Raw.ALL.get(ValueLayout.JAVA_BYTE, values + c) * scale);
            }
        }

        @Override
        public void close() {
            if (arena.scope().isAlive()) {
                arena.close();
            }
        }
    }

    /// The rows of one tile; the accumulators go to `sums`.
    private static final class Kernel {
        private static final VectorSpecies<Float> F = FloatVector.SPECIES_PREFERRED;
        private static final VectorSpecies<Integer> I = IntVector.SPECIES_PREFERRED;
        private static final int VECTOR_BYTES = F.vectorByteSize();
        private static final boolean FMA = CompilerHints.fma();

        static {
            CompilerHints.excludeFromC1(Kernel.class);
        }

        private Kernel() {}

        static void rows8(long begin, long end, long x, int topByte, long sums, boolean pages) {
            FloatVector a0 = FloatVector.zero(F);
            FloatVector a1 = FloatVector.zero(F);
            FloatVector a2 = FloatVector.zero(F);
            FloatVector a3 = FloatVector.zero(F);
            FloatVector a4 = FloatVector.zero(F);
            FloatVector a5 = FloatVector.zero(F);
            FloatVector a6 = FloatVector.zero(F);
            FloatVector a7 = FloatVector.zero(F);
            IntVector top = IntVector.broadcast(I, topByte);
            long xp = x;
            long distance = Ahead.distance(pages);
            long alignment = Ahead.alignment(pages);
            long ahead = 0;
            for (long p = begin; p != end; p += 32 + 8 * GROUP) {
                p &= Raw.ADDRESS;
                xp &= Raw.ADDRESS;
                ahead ^= Raw.ALL.get(Raw.LONG, (p + distance & alignment) & Raw.ADDRESS);
                for (int j = 0; j < 64; j += VECTOR_BYTES) {
                    FloatVector x0 = FloatVector.fromMemorySegment(F, Raw.ALL, xp + j, Raw.ORDER);
                    FloatVector x1 = FloatVector.fromMemorySegment(F, Raw.ALL, xp + 64 + j, Raw.ORDER);
                    FloatVector x2 = FloatVector.fromMemorySegment(F, Raw.ALL, xp + 128 + j, Raw.ORDER);
                    FloatVector x3 = FloatVector.fromMemorySegment(F, Raw.ALL, xp + 192 + j, Raw.ORDER);
                    IntVector v;
                    FloatVector w;
                    FloatVector t;
                    FloatVector s;
                    if (Raw.FENCES) VarHandle.acquireFence();
                    v = IntVector.fromMemorySegment(I, Raw.ALL, p + 32 + j, Raw.ORDER);
                    w = (FloatVector) v.lanewise(VectorOperators.LSHL, 24).convert(VectorOperators.I2F, 0);
                    t = x0.mul(w);
                    w = (FloatVector)
                            v.lanewise(VectorOperators.LSHL, 16).and(top).convert(VectorOperators.I2F, 0);
                    t = FMA ? x1.fma(w, t) : x1.mul(w).add(t);
                    w = (FloatVector)
                            v.lanewise(VectorOperators.LSHL, 8).and(top).convert(VectorOperators.I2F, 0);
                    t = FMA ? x2.fma(w, t) : x2.mul(w).add(t);
                    w = (FloatVector) v.and(top).convert(VectorOperators.I2F, 0);
                    t = FMA ? x3.fma(w, t) : x3.mul(w).add(t);
                    s = FloatVector.broadcast(F, Raw.ALL.get(Raw.FLOAT, p + 0));
                    a0 = FMA ? t.fma(s, a0) : t.mul(s).add(a0);
                    if (Raw.FENCES) VarHandle.acquireFence();
                    v = IntVector.fromMemorySegment(I, Raw.ALL, p + 96 + j, Raw.ORDER);
                    w = (FloatVector) v.lanewise(VectorOperators.LSHL, 24).convert(VectorOperators.I2F, 0);
                    t = x0.mul(w);
                    w = (FloatVector)
                            v.lanewise(VectorOperators.LSHL, 16).and(top).convert(VectorOperators.I2F, 0);
                    t = FMA ? x1.fma(w, t) : x1.mul(w).add(t);
                    w = (FloatVector)
                            v.lanewise(VectorOperators.LSHL, 8).and(top).convert(VectorOperators.I2F, 0);
                    t = FMA ? x2.fma(w, t) : x2.mul(w).add(t);
                    w = (FloatVector) v.and(top).convert(VectorOperators.I2F, 0);
                    t = FMA ? x3.fma(w, t) : x3.mul(w).add(t);
                    s = FloatVector.broadcast(F, Raw.ALL.get(Raw.FLOAT, p + 4));
                    a1 = FMA ? t.fma(s, a1) : t.mul(s).add(a1);
                    if (Raw.FENCES) VarHandle.acquireFence();
                    v = IntVector.fromMemorySegment(I, Raw.ALL, p + 160 + j, Raw.ORDER);
                    w = (FloatVector) v.lanewise(VectorOperators.LSHL, 24).convert(VectorOperators.I2F, 0);
                    t = x0.mul(w);
                    w = (FloatVector)
                            v.lanewise(VectorOperators.LSHL, 16).and(top).convert(VectorOperators.I2F, 0);
                    t = FMA ? x1.fma(w, t) : x1.mul(w).add(t);
                    w = (FloatVector)
                            v.lanewise(VectorOperators.LSHL, 8).and(top).convert(VectorOperators.I2F, 0);
                    t = FMA ? x2.fma(w, t) : x2.mul(w).add(t);
                    w = (FloatVector) v.and(top).convert(VectorOperators.I2F, 0);
                    t = FMA ? x3.fma(w, t) : x3.mul(w).add(t);
                    s = FloatVector.broadcast(F, Raw.ALL.get(Raw.FLOAT, p + 8));
                    a2 = FMA ? t.fma(s, a2) : t.mul(s).add(a2);
                    if (Raw.FENCES) VarHandle.acquireFence();
                    v = IntVector.fromMemorySegment(I, Raw.ALL, p + 224 + j, Raw.ORDER);
                    w = (FloatVector) v.lanewise(VectorOperators.LSHL, 24).convert(VectorOperators.I2F, 0);
                    t = x0.mul(w);
                    w = (FloatVector)
                            v.lanewise(VectorOperators.LSHL, 16).and(top).convert(VectorOperators.I2F, 0);
                    t = FMA ? x1.fma(w, t) : x1.mul(w).add(t);
                    w = (FloatVector)
                            v.lanewise(VectorOperators.LSHL, 8).and(top).convert(VectorOperators.I2F, 0);
                    t = FMA ? x2.fma(w, t) : x2.mul(w).add(t);
                    w = (FloatVector) v.and(top).convert(VectorOperators.I2F, 0);
                    t = FMA ? x3.fma(w, t) : x3.mul(w).add(t);
                    s = FloatVector.broadcast(F, Raw.ALL.get(Raw.FLOAT, p + 12));
                    a3 = FMA ? t.fma(s, a3) : t.mul(s).add(a3);
                    if (Raw.FENCES) VarHandle.acquireFence();
                    v = IntVector.fromMemorySegment(I, Raw.ALL, p + 288 + j, Raw.ORDER);
                    w = (FloatVector) v.lanewise(VectorOperators.LSHL, 24).convert(VectorOperators.I2F, 0);
                    t = x0.mul(w);
                    w = (FloatVector)
                            v.lanewise(VectorOperators.LSHL, 16).and(top).convert(VectorOperators.I2F, 0);
                    t = FMA ? x1.fma(w, t) : x1.mul(w).add(t);
                    w = (FloatVector)
                            v.lanewise(VectorOperators.LSHL, 8).and(top).convert(VectorOperators.I2F, 0);
                    t = FMA ? x2.fma(w, t) : x2.mul(w).add(t);
                    w = (FloatVector) v.and(top).convert(VectorOperators.I2F, 0);
                    t = FMA ? x3.fma(w, t) : x3.mul(w).add(t);
                    s = FloatVector.broadcast(F, Raw.ALL.get(Raw.FLOAT, p + 16));
                    a4 = FMA ? t.fma(s, a4) : t.mul(s).add(a4);
                    if (Raw.FENCES) VarHandle.acquireFence();
                    v = IntVector.fromMemorySegment(I, Raw.ALL, p + 352 + j, Raw.ORDER);
                    w = (FloatVector) v.lanewise(VectorOperators.LSHL, 24).convert(VectorOperators.I2F, 0);
                    t = x0.mul(w);
                    w = (FloatVector)
                            v.lanewise(VectorOperators.LSHL, 16).and(top).convert(VectorOperators.I2F, 0);
                    t = FMA ? x1.fma(w, t) : x1.mul(w).add(t);
                    w = (FloatVector)
                            v.lanewise(VectorOperators.LSHL, 8).and(top).convert(VectorOperators.I2F, 0);
                    t = FMA ? x2.fma(w, t) : x2.mul(w).add(t);
                    w = (FloatVector) v.and(top).convert(VectorOperators.I2F, 0);
                    t = FMA ? x3.fma(w, t) : x3.mul(w).add(t);
                    s = FloatVector.broadcast(F, Raw.ALL.get(Raw.FLOAT, p + 20));
                    a5 = FMA ? t.fma(s, a5) : t.mul(s).add(a5);
                    if (Raw.FENCES) VarHandle.acquireFence();
                    v = IntVector.fromMemorySegment(I, Raw.ALL, p + 416 + j, Raw.ORDER);
                    w = (FloatVector) v.lanewise(VectorOperators.LSHL, 24).convert(VectorOperators.I2F, 0);
                    t = x0.mul(w);
                    w = (FloatVector)
                            v.lanewise(VectorOperators.LSHL, 16).and(top).convert(VectorOperators.I2F, 0);
                    t = FMA ? x1.fma(w, t) : x1.mul(w).add(t);
                    w = (FloatVector)
                            v.lanewise(VectorOperators.LSHL, 8).and(top).convert(VectorOperators.I2F, 0);
                    t = FMA ? x2.fma(w, t) : x2.mul(w).add(t);
                    w = (FloatVector) v.and(top).convert(VectorOperators.I2F, 0);
                    t = FMA ? x3.fma(w, t) : x3.mul(w).add(t);
                    s = FloatVector.broadcast(F, Raw.ALL.get(Raw.FLOAT, p + 24));
                    a6 = FMA ? t.fma(s, a6) : t.mul(s).add(a6);
                    if (Raw.FENCES) VarHandle.acquireFence();
                    v = IntVector.fromMemorySegment(I, Raw.ALL, p + 480 + j, Raw.ORDER);
                    w = (FloatVector) v.lanewise(VectorOperators.LSHL, 24).convert(VectorOperators.I2F, 0);
                    t = x0.mul(w);
                    w = (FloatVector)
                            v.lanewise(VectorOperators.LSHL, 16).and(top).convert(VectorOperators.I2F, 0);
                    t = FMA ? x1.fma(w, t) : x1.mul(w).add(t);
                    w = (FloatVector)
                            v.lanewise(VectorOperators.LSHL, 8).and(top).convert(VectorOperators.I2F, 0);
                    t = FMA ? x2.fma(w, t) : x2.mul(w).add(t);
                    w = (FloatVector) v.and(top).convert(VectorOperators.I2F, 0);
                    t = FMA ? x3.fma(w, t) : x3.mul(w).add(t);
                    s = FloatVector.broadcast(F, Raw.ALL.get(Raw.FLOAT, p + 28));
                    a7 = FMA ? t.fma(s, a7) : t.mul(s).add(a7);
                }
                xp += 4 * GROUP;
            }
            sums &= Raw.ADDRESS;
            a0.intoMemorySegment(Raw.ALL, sums + 0 * Sums.STRIDE, Raw.ORDER);
            a1.intoMemorySegment(Raw.ALL, sums + 1 * Sums.STRIDE, Raw.ORDER);
            a2.intoMemorySegment(Raw.ALL, sums + 2 * Sums.STRIDE, Raw.ORDER);
            a3.intoMemorySegment(Raw.ALL, sums + 3 * Sums.STRIDE, Raw.ORDER);
            a4.intoMemorySegment(Raw.ALL, sums + 4 * Sums.STRIDE, Raw.ORDER);
            a5.intoMemorySegment(Raw.ALL, sums + 5 * Sums.STRIDE, Raw.ORDER);
            a6.intoMemorySegment(Raw.ALL, sums + 6 * Sums.STRIDE, Raw.ORDER);
            a7.intoMemorySegment(Raw.ALL, sums + 7 * Sums.STRIDE, Raw.ORDER);
            Raw.ALL.set(Raw.LONG, sums + Sums.SPARE, ahead);
        }
    }
}
