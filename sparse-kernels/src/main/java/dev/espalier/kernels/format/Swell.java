package dev.espalier.kernels.format;

import dev.espalier.kernels.Linear;
import dev.espalier.kernels.WeightFormat;
import dev.espalier.kernels.cpu.CpuLinear;
import dev.espalier.kernels.simd.CompilerHints;
import dev.espalier.kernels.simd.Raw;
import dev.espalier.kernels.simd.VectorCheck;
import dev.espalier.natives.os.Memory;
import dev.espalier.tensor.DType;
import dev.espalier.tensor.Tensor;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.VectorOperators;
import jdk.incubator.vector.VectorSpecies;

/// Any mask: a window of x slides over the columns, and rows take from it what they keep (sliding-window ELL).
///
/// A vector's lanes are the rows of a slice, as many as the machine's vectors have 32-bit lanes, W (16, 8 or 4). A *step*
/// serves at most one kept weight of each row, all of them inside W consecutive columns: its base is the lowest column of
/// the slice that is not served yet; a row whose next weight lies beyond the window is filled with a zero. Eight steps make
/// a block.
///
/// ```
///   bases   | u16 step 0 | u16 step 1 | ... | u16 step 7 | next block ...        (a stream of its own)
///   block   | index words: 1 vector | values of steps 0, 1 | 2, 3 | 4, 5 | 6, 7 |
///
///   index word of lane (row) r:  bits 4 s to 4 s + 3 = column of step s, counted from its base
///   16-bit values, lane r:       step 2 i in the low half, step 2 i + 1 in the high half
///   F32 values:                  one vector a step
/// ```
///
/// The kernel loads W floats of x from the base on, permutes them by the index words and multiplies: no gather, no sum over
/// lanes at the end, x in float32. Bytes a weight, 16-bit values: `d · fill · (2.5 + 2/W)`, where d is the fraction kept and
/// fill is how many slots a kept weight takes: with random masks and W = 16 about 1.1 at 50 %, 1.2 at 70 %, 1.4 at 80 %,
/// 1.75 at 90 %. Pays from about 60 % on; on machines without AVX-512 it is the format for any mask.
public final class Swell implements WeightFormat {
    private static final int STEPS = 8;
    private static final int LANES = Kernel.LANES;
    private static final int MAX_COLUMNS = 1 << 16;

    private static final Swell INSTANCE = new Swell();

    private Swell() {}

    public static Swell of() {
        return INSTANCE;
    }

    @Override
    public String name() {
        return "swell";
    }

    @Override
    public String refuses(Tensor dense) {
        return dense.columns() > MAX_COLUMNS
                ? "its %d columns are more than %d".formatted(dense.columns(), MAX_COLUMNS)
                : Weights.refuses(dense);
    }

    @Override
    public Linear pack(Tensor dense) {
        String reason = refuses(dense);
        if (reason != null) {
            throw new IllegalArgumentException("swell: " + reason);
        }
        return new Packed(dense);
    }

    /// The packed matrix.
    private static final class Packed implements CpuLinear {
        private final Arena arena = Arena.ofShared();
        private final DType dtype;
        private final int rows;
        private final int columns;
        private final long blockBytes;
        /// Blocks before each slice, and in all.
        private final long[] starts;

        private final long nonZeros;
        private final long bases;
        private final long blocks;

        Packed(Tensor dense) {
            dtype = dense.dtype();
            rows = dense.rows();
            columns = dense.columns();
            blockBytes = 4L * LANES + (long) STEPS * LANES * dtype.bytes();
            int slices = Math.ceilDiv(rows, LANES);
            starts = new long[slices + 1];
            Slice slice = new Slice(dense);
            long count = 0;
            for (int i = 0; i < slices; i++) {
                count += slice.read(i * LANES);
                int steps = 0;
                while (slice.base() < columns) {
                    slice.step(-1, 0);
                    steps++;
                }
                starts[i + 1] = starts[i] + Math.ceilDiv(steps, STEPS);
            }
            nonZeros = count;
            bases = Memory.allocate(Math.max(1, starts[slices] * STEPS * 2), arena)
                    .address();
            blocks = Memory.allocate(Math.max(1, starts[slices] * blockBytes), arena)
                    .address();
            for (int i = 0; i < slices; i++) {
                slice.read(i * LANES);
                int base = 0;
                long steps = (starts[i + 1] - starts[i]) * STEPS;
                for (int step = 0; step < steps; step++) {
                    // The filling of the last block keeps the last base.
                    base = slice.base() < columns ? slice.base() : base;
                    Raw.ALL.set(Raw.SHORT, bases + 2 * (starts[i] * STEPS + step), (short) base);
                    slice.step(blocks + (starts[i] + step / STEPS) * blockBytes, step % STEPS);
                }
            }
        }

        /// The kept columns of one slice's rows, taken off step by step.
        private final class Slice {
            private final Tensor dense;
            private final int[][] kept = new int[LANES][columns + 1];
            private final int[] next = new int[LANES];
            private int first;

            Slice(Tensor dense) {
                this.dense = dense;
            }

            /// Begins the slice at row `from`; returns how many weights it keeps.
            int read(int from) {
                first = from;
                int total = 0;
                for (int lane = 0; lane < LANES; lane++) {
                    int count = 0;
                    for (int column = 0; from + lane < rows && column < columns; column++) {
                        if (bits(lane, column) != 0) {
                            kept[lane][count++] = column;
                        }
                    }
                    kept[lane][count] = columns;
                    next[lane] = 0;
                    total += count;
                }
                return total;
            }

            private int bits(int lane, int column) {
                return Weights.bits(dtype, dense.segment(), (long) (first + lane) * columns + column);
            }

            /// The lowest column not served yet; the number of columns if there is none.
            int base() {
                int base = columns;
                for (int lane = 0; lane < LANES; lane++) {
                    base = Math.min(base, kept[lane][next[lane]]);
                }
                return base;
            }

            /// Serves the window at [#base], and writes it as step `step` of the block at `block` unless that is -1.
            void step(long block, int step) {
                int base = base();
                for (int lane = 0; lane < LANES; lane++) {
                    int column = kept[lane][next[lane]];
                    if (column >= columns || column >= base + LANES) {
                        continue;
                    }
                    next[lane]++;
                    if (block != -1) {
                        long word = block + 4L * lane;
                        Raw.ALL.set(Raw.INT, word, Raw.ALL.get(Raw.INT, word) | (column - base) << 4 * step);
                        Weights.store(dtype, value(block, lane, step), bits(lane, column));
                    }
                }
            }
        }

        private long value(long block, int lane, int step) {
            long values = block + 4L * LANES;
            return dtype == DType.F32
                    ? values + 4L * ((long) step * LANES + lane)
                    : values + 4L * ((long) (step / 2) * LANES + lane) + 2L * (step % 2);
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
            return dtype;
        }

        @Override
        public WeightFormat format() {
            return INSTANCE;
        }

        @Override
        public long bytes() {
            return starts[starts.length - 1] * (blockBytes + 2 * STEPS);
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
            return Input.PLAIN;
        }

        @Override
        public int grain() {
            return LANES;
        }

        @Override
        public void multiply(MemorySegment x, MemorySegment y, int from, int to) {
            long xs = Raw.address(x, 4L * (columns + LANES));
            long ys = Raw.address(y, 4L * to);
            long result = Kernel.RESULT.get().address();
            for (int row = from; row < to; row += LANES) {
                long start = starts[row / LANES];
                long begin = blocks + start * blockBytes;
                long end = blocks + starts[row / LANES + 1] * blockBytes;
                long base = bases + start * STEPS * 2;
                if (!VectorCheck.compiled()) {
                    scalar(row, Math.min(to, row + LANES), xs, ys);
                    continue;
                }
                if (dtype == DType.F32) {
                    Kernel.single(begin, end, base, xs, result);
                } else {
                    Kernel.half(
                            begin,
                            end,
                            base,
                            xs,
                            Weights.scale(dtype),
                            Weights.shift(dtype),
                            Weights.lowMask(dtype),
                            Weights.highMask(dtype),
                            result);
                }
                MemorySegment.copy(Raw.ALL, result, Raw.ALL, ys + 4L * row, 4L * Math.min(LANES, to - row));
            }
        }

        private void scalar(int from, int to, long x, long y) {
            for (int row = from; row < to; row++) {
                float sum = 0;
                for (long step = starts[row / LANES] * STEPS; step < starts[row / LANES + 1] * STEPS; step++) {
                    sum += weight(row % LANES, step) * Raw.ALL.get(Raw.FLOAT, x + 4L * column(row % LANES, step));
                }
                Raw.ALL.set(Raw.FLOAT, y + 4L * row, sum);
            }
        }

        /// Which column a lane has in a step, counted over the whole matrix.
        private int column(int lane, long step) {
            int word = Raw.ALL.get(Raw.INT, blocks + step / STEPS * blockBytes + 4L * lane);
            return base(step) + (word >>> (int) (4 * (step % STEPS)) & 15);
        }

        private float weight(int lane, long step) {
            return Weights.value(dtype, value(blocks + step / STEPS * blockBytes, lane, (int) (step % STEPS)));
        }

        private int base(long step) {
            return Short.toUnsignedInt(Raw.ALL.get(Raw.SHORT, bases + 2 * step));
        }

        @Override
        public void expand(int rowFrom, int rowTo, int colFrom, int colTo, MemorySegment panel, int stride) {
            long target = Raw.address(panel, 0);
            for (int row = rowFrom; row < rowTo; row++) {
                Raw.ALL
                        .asSlice(target + 4L * (row - rowFrom) * stride, 4L * (colTo - colFrom))
                        .fill((byte) 0);
            }
            for (int row = rowFrom; row < rowTo; row += LANES) {
                long last = starts[row / LANES + 1] * STEPS;
                int lanes = Math.min(LANES, rowTo - row);
                for (long step = first(row, colFrom); step < last && base(step) < colTo; step++) {
                    for (int lane = 0; lane < lanes; lane++) {
                        int column = column(lane, step);
                        float weight = weight(lane, step);
                        // A filled slot names some column, which another step may serve.
                        if (weight != 0 && column >= colFrom && column < colTo) {
                            Raw.ALL.set(
                                    Raw.FLOAT,
                                    target + 4L * ((long) (row - rowFrom + lane) * stride + column - colFrom),
                                    weight);
                        }
                    }
                }
            }
        }

        /// The first step of a row's slice whose window reaches `column`; bases ascend.
        private long first(int row, int column) {
            long low = starts[row / LANES] * STEPS;
            long high = starts[row / LANES + 1] * STEPS;
            while (low < high) {
                long middle = (low + high) >>> 1;
                if (base(middle) + LANES <= column) {
                    low = middle + 1;
                } else {
                    high = middle;
                }
            }
            return low;
        }

        @Override
        public void close() {
            if (arena.scope().isAlive()) {
                arena.close();
            }
        }
    }

    /// One slice of rows; the sums, one a lane, go to `result`.
    private static final class Kernel {
        private static final VectorSpecies<Float> F = FloatVector.SPECIES_PREFERRED;
        private static final VectorSpecies<Integer> I = IntVector.SPECIES_PREFERRED;
        // A field of an index word has four bits.
        static final int LANES = Math.min(16, F.length());
        private static final long VECTOR = 4L * LANES;
        private static final boolean FMA = CompilerHints.fma();
        static final ThreadLocal<MemorySegment> RESULT =
                ThreadLocal.withInitial(() -> Arena.ofAuto().allocate(VECTOR, 64));

        static {
            CompilerHints.excludeFromC1(Kernel.class);
        }

        private Kernel() {}

        static void half(
                long begin, long end, long bases, long x, float scale, int shift, int low, int high, long result) {
            FloatVector a0 = FloatVector.zero(F);
            FloatVector a1 = FloatVector.zero(F);
            FloatVector a2 = FloatVector.zero(F);
            FloatVector a3 = FloatVector.zero(F);
            long bp = bases;
            for (long p = begin; p != end; p += 5 * VECTOR) {
                IntVector words = IntVector.fromMemorySegment(I, Raw.ALL, p, Raw.ORDER);
                IntVector v;
                long b = Raw.ALL.get(Raw.LONG, bp);
                long c = Raw.ALL.get(Raw.LONG, bp + 8);
                bp += 16;
                FloatVector w;
                FloatVector t;
                v = IntVector.fromMemorySegment(I, Raw.ALL, p + VECTOR, Raw.ORDER);
                t = words.and(15)
                        .selectFrom(IntVector.fromMemorySegment(I, Raw.ALL, x + 4 * (b & 0xffff), Raw.ORDER))
                        .reinterpretAsFloats()
                        .mul(scale);
                w = v.lanewise(VectorOperators.LSHL, 16)
                        .lanewise(VectorOperators.ASHR, shift)
                        .and(low)
                        .reinterpretAsFloats();
                a0 = FMA ? w.fma(t, a0) : w.mul(t).add(a0);
                t = words.lanewise(VectorOperators.LSHR, 4)
                        .and(15)
                        .selectFrom(IntVector.fromMemorySegment(I, Raw.ALL, x + 4 * (b >>> 16 & 0xffff), Raw.ORDER))
                        .reinterpretAsFloats()
                        .mul(scale);
                w = v.lanewise(VectorOperators.ASHR, shift).and(high).reinterpretAsFloats();
                a1 = FMA ? w.fma(t, a1) : w.mul(t).add(a1);
                v = IntVector.fromMemorySegment(I, Raw.ALL, p + 2 * VECTOR, Raw.ORDER);
                t = words.lanewise(VectorOperators.LSHR, 8)
                        .and(15)
                        .selectFrom(IntVector.fromMemorySegment(I, Raw.ALL, x + 4 * (b >>> 32 & 0xffff), Raw.ORDER))
                        .reinterpretAsFloats()
                        .mul(scale);
                w = v.lanewise(VectorOperators.LSHL, 16)
                        .lanewise(VectorOperators.ASHR, shift)
                        .and(low)
                        .reinterpretAsFloats();
                a2 = FMA ? w.fma(t, a2) : w.mul(t).add(a2);
                t = words.lanewise(VectorOperators.LSHR, 12)
                        .and(15)
                        .selectFrom(IntVector.fromMemorySegment(I, Raw.ALL, x + 4 * (b >>> 48), Raw.ORDER))
                        .reinterpretAsFloats()
                        .mul(scale);
                w = v.lanewise(VectorOperators.ASHR, shift).and(high).reinterpretAsFloats();
                a3 = FMA ? w.fma(t, a3) : w.mul(t).add(a3);
                v = IntVector.fromMemorySegment(I, Raw.ALL, p + 3 * VECTOR, Raw.ORDER);
                t = words.lanewise(VectorOperators.LSHR, 16)
                        .and(15)
                        .selectFrom(IntVector.fromMemorySegment(I, Raw.ALL, x + 4 * (c & 0xffff), Raw.ORDER))
                        .reinterpretAsFloats()
                        .mul(scale);
                w = v.lanewise(VectorOperators.LSHL, 16)
                        .lanewise(VectorOperators.ASHR, shift)
                        .and(low)
                        .reinterpretAsFloats();
                a0 = FMA ? w.fma(t, a0) : w.mul(t).add(a0);
                t = words.lanewise(VectorOperators.LSHR, 20)
                        .and(15)
                        .selectFrom(IntVector.fromMemorySegment(I, Raw.ALL, x + 4 * (c >>> 16 & 0xffff), Raw.ORDER))
                        .reinterpretAsFloats()
                        .mul(scale);
                w = v.lanewise(VectorOperators.ASHR, shift).and(high).reinterpretAsFloats();
                a1 = FMA ? w.fma(t, a1) : w.mul(t).add(a1);
                v = IntVector.fromMemorySegment(I, Raw.ALL, p + 4 * VECTOR, Raw.ORDER);
                t = words.lanewise(VectorOperators.LSHR, 24)
                        .and(15)
                        .selectFrom(IntVector.fromMemorySegment(I, Raw.ALL, x + 4 * (c >>> 32 & 0xffff), Raw.ORDER))
                        .reinterpretAsFloats()
                        .mul(scale);
                w = v.lanewise(VectorOperators.LSHL, 16)
                        .lanewise(VectorOperators.ASHR, shift)
                        .and(low)
                        .reinterpretAsFloats();
                a2 = FMA ? w.fma(t, a2) : w.mul(t).add(a2);
                t = words.lanewise(VectorOperators.LSHR, 28)
                        .and(15)
                        .selectFrom(IntVector.fromMemorySegment(I, Raw.ALL, x + 4 * (c >>> 48), Raw.ORDER))
                        .reinterpretAsFloats()
                        .mul(scale);
                w = v.lanewise(VectorOperators.ASHR, shift).and(high).reinterpretAsFloats();
                a3 = FMA ? w.fma(t, a3) : w.mul(t).add(a3);
            }
            a0.add(a2).add(a1.add(a3)).mul(scale).intoMemorySegment(Raw.ALL, result, Raw.ORDER);
        }

        static void single(long begin, long end, long bases, long x, long result) {
            FloatVector a0 = FloatVector.zero(F);
            FloatVector a1 = FloatVector.zero(F);
            FloatVector a2 = FloatVector.zero(F);
            FloatVector a3 = FloatVector.zero(F);
            long bp = bases;
            for (long p = begin; p != end; p += 9 * VECTOR) {
                IntVector words = IntVector.fromMemorySegment(I, Raw.ALL, p, Raw.ORDER);
                FloatVector v;
                long b = Raw.ALL.get(Raw.LONG, bp);
                long c = Raw.ALL.get(Raw.LONG, bp + 8);
                bp += 16;
                FloatVector t;
                v = FloatVector.fromMemorySegment(F, Raw.ALL, p + VECTOR, Raw.ORDER);
                t = words.and(15)
                        .selectFrom(IntVector.fromMemorySegment(I, Raw.ALL, x + 4 * (b & 0xffff), Raw.ORDER))
                        .reinterpretAsFloats();
                a0 = FMA ? v.fma(t, a0) : v.mul(t).add(a0);
                v = FloatVector.fromMemorySegment(F, Raw.ALL, p + 2 * VECTOR, Raw.ORDER);
                t = words.lanewise(VectorOperators.LSHR, 4)
                        .and(15)
                        .selectFrom(IntVector.fromMemorySegment(I, Raw.ALL, x + 4 * (b >>> 16 & 0xffff), Raw.ORDER))
                        .reinterpretAsFloats();
                a1 = FMA ? v.fma(t, a1) : v.mul(t).add(a1);
                v = FloatVector.fromMemorySegment(F, Raw.ALL, p + 3 * VECTOR, Raw.ORDER);
                t = words.lanewise(VectorOperators.LSHR, 8)
                        .and(15)
                        .selectFrom(IntVector.fromMemorySegment(I, Raw.ALL, x + 4 * (b >>> 32 & 0xffff), Raw.ORDER))
                        .reinterpretAsFloats();
                a2 = FMA ? v.fma(t, a2) : v.mul(t).add(a2);
                v = FloatVector.fromMemorySegment(F, Raw.ALL, p + 4 * VECTOR, Raw.ORDER);
                t = words.lanewise(VectorOperators.LSHR, 12)
                        .and(15)
                        .selectFrom(IntVector.fromMemorySegment(I, Raw.ALL, x + 4 * (b >>> 48), Raw.ORDER))
                        .reinterpretAsFloats();
                a3 = FMA ? v.fma(t, a3) : v.mul(t).add(a3);
                v = FloatVector.fromMemorySegment(F, Raw.ALL, p + 5 * VECTOR, Raw.ORDER);
                t = words.lanewise(VectorOperators.LSHR, 16)
                        .and(15)
                        .selectFrom(IntVector.fromMemorySegment(I, Raw.ALL, x + 4 * (c & 0xffff), Raw.ORDER))
                        .reinterpretAsFloats();
                a0 = FMA ? v.fma(t, a0) : v.mul(t).add(a0);
                v = FloatVector.fromMemorySegment(F, Raw.ALL, p + 6 * VECTOR, Raw.ORDER);
                t = words.lanewise(VectorOperators.LSHR, 20)
                        .and(15)
                        .selectFrom(IntVector.fromMemorySegment(I, Raw.ALL, x + 4 * (c >>> 16 & 0xffff), Raw.ORDER))
                        .reinterpretAsFloats();
                a1 = FMA ? v.fma(t, a1) : v.mul(t).add(a1);
                v = FloatVector.fromMemorySegment(F, Raw.ALL, p + 7 * VECTOR, Raw.ORDER);
                t = words.lanewise(VectorOperators.LSHR, 24)
                        .and(15)
                        .selectFrom(IntVector.fromMemorySegment(I, Raw.ALL, x + 4 * (c >>> 32 & 0xffff), Raw.ORDER))
                        .reinterpretAsFloats();
                a2 = FMA ? v.fma(t, a2) : v.mul(t).add(a2);
                v = FloatVector.fromMemorySegment(F, Raw.ALL, p + 8 * VECTOR, Raw.ORDER);
                t = words.lanewise(VectorOperators.LSHR, 28)
                        .and(15)
                        .selectFrom(IntVector.fromMemorySegment(I, Raw.ALL, x + 4 * (c >>> 48), Raw.ORDER))
                        .reinterpretAsFloats();
                a3 = FMA ? v.fma(t, a3) : v.mul(t).add(a3);
            }
            a0.add(a2).add(a1.add(a3)).intoMemorySegment(Raw.ALL, result, Raw.ORDER);
        }
    }
}
