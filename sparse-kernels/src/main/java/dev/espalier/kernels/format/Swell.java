package dev.espalier.kernels.format;

import dev.espalier.kernels.Linear;
import dev.espalier.kernels.WeightFormat;
import dev.espalier.kernels.cpu.CpuLinear;
import dev.espalier.kernels.simd.CompilerHints;
import dev.espalier.kernels.simd.Raw;
import dev.espalier.kernels.simd.VectorCheck;
import dev.espalier.natives.os.Memory;
import dev.espalier.natives.os.Prefetch;
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
/// A vector's lanes are the rows of a slice, L (16, 8 or 4), as many as the machine's vectors have 32-bit lanes. A *step*
/// serves at most one kept weight of each row, all of them inside W consecutive columns: its base is the lowest column of
/// the slice that is not served yet; a row whose next weight lies beyond the window is filled with a zero. W is 32 with 16
/// lanes, otherwise L.
///
/// ```
///   bases   | u16 step 0 | u16 step 1 | ... | next block ...                       (a stream of its own)
///   block   | index words: 1 or 2 vectors | values |
///
///   index word of lane (row) r:  bits f s to f s + f - 1 = column of step s, counted from its base
///                                f = 5, 6 steps a word with 16 lanes; else f = 4, 8 steps
///   16-bit values, lane r:       a vector has two steps: 2 i in the low half, 2 i + 1 in the high half
///   8-bit values, lane r:        a vector has four steps, 4 i in the lowest byte; with 16 lanes a block has 12 steps
///   F32 values:                  one vector a step
/// ```
///
/// The kernel loads W floats of x from the base on, permutes them by the index words and multiplies: no gather, no sum over
/// lanes at the end, x in float32. Bytes a weight: `d · fill · (b + 4/s + 2/L)`, where d is the fraction kept, b the bytes of
/// a value, s the steps a word, and fill is how many slots a kept weight takes. With random masks and W = 32 fill is about
/// 1.06 at 50 %, 1.13 at 70 %, 1.2 at 80 %, 1.4 at 90 %; with W = 8 1.2, 1.4, 1.7, 2.3. Pays from about 60 % on; on machines
/// without AVX-512 it is the format for any mask.
///
/// In `swell-int8`, which is not exact, values are bytes with one scale a row ([Int8]).
public final class Swell implements WeightFormat {
    private static final int LANES = Kernel.LANES;
    private static final int WINDOW = Kernel.WINDOW;
    /// Bits of an index.
    private static final int FIELD = LANES == 16 ? 5 : 4;

    private static final int WORD_STEPS = 32 / FIELD;
    private static final int MAX_COLUMNS = 1 << 16;

    private static final Swell EXACT = new Swell(false);
    private static final Swell INT8 = new Swell(true);

    private final boolean rounds;

    private Swell(boolean rounds) {
        this.rounds = rounds;
    }

    public static Swell of() {
        return EXACT;
    }

    /// With bytes and scales for values.
    public static Swell int8() {
        return INT8;
    }

    @Override
    public String name() {
        return rounds ? "swell-int8" : "swell";
    }

    @Override
    public boolean exact() {
        return !rounds;
    }

    @Override
    public String refuses(Tensor dense) {
        if (dense.columns() > MAX_COLUMNS) {
            return "its %d columns are more than %d".formatted(dense.columns(), MAX_COLUMNS);
        }
        return rounds ? Int8.refuses(dense) : Weights.refuses(dense);
    }

    @Override
    public Linear pack(Tensor dense) {
        String reason = refuses(dense);
        if (reason != null) {
            throw new IllegalArgumentException(name() + ": " + reason);
        }
        if (!rounds) {
            return new Packed(this, dense, null);
        }
        try (Arena scratch = Arena.ofShared()) {
            Int8 bytes = Int8.of(dense, Math.max(1, dense.columns()), scratch);
            return new Packed(this, bytes.values(), bytes.scales());
        }
    }

    /// The packed matrix.
    private static final class Packed implements CpuLinear {
        private final Arena arena = Arena.ofShared();
        private final Swell format;
        private final DType dtype;
        private final int rows;
        private final int columns;
        /// Steps in a block.
        private final int steps;

        private final long blockBytes;
        /// One a row for bytes, else null.
        private final float[] scales;
        /// Blocks before each slice, and in all.
        private final long[] starts;

        private final long nonZeros;
        private final boolean ahead;
        /// Blocks that a kernel is given at once.
        private final int chunk;

        private final long bases;
        private final long blocks;

        Packed(Swell format, Tensor dense, float[] scales) {
            this.format = format;
            this.scales = scales;
            dtype = dense.dtype();
            rows = dense.rows();
            columns = dense.columns();
            int words = dtype == DType.I8 && LANES == 16 ? 2 : 1;
            steps = words * WORD_STEPS;
            blockBytes = 4L * LANES * words + (long) steps * LANES * dtype.bytes();
            int slices = Math.ceilDiv(rows, LANES);
            starts = new long[slices + 1];
            Slice slice = new Slice(dense);
            long count = 0;
            for (int i = 0; i < slices; i++) {
                count += slice.read(i * LANES);
                int served = 0;
                while (slice.base() < columns) {
                    slice.step(-1, 0);
                    served++;
                }
                starts[i + 1] = starts[i] + Math.ceilDiv(served, steps);
            }
            nonZeros = count;
            ahead = Ahead.of(bytes());
            chunk = Ahead.chunk(ahead, starts[slices], bytes());
            bases = Memory.allocate(Math.max(1, starts[slices] * steps * 2), arena)
                    .address();
            blocks = Memory.allocate(Math.max(1, starts[slices] * blockBytes), arena)
                    .address();
            for (int i = 0; i < slices; i++) {
                slice.read(i * LANES);
                int base = 0;
                long all = (starts[i + 1] - starts[i]) * steps;
                for (int step = 0; step < all; step++) {
                    // The filling of the last block keeps the last base.
                    base = slice.base() < columns ? slice.base() : base;
                    Raw.ALL.set(Raw.SHORT, bases + 2 * (starts[i] * steps + step), (short) base);
                    slice.step(blocks + (starts[i] + step / steps) * blockBytes, step % steps);
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
                    if (column >= columns || column >= base + WINDOW) {
                        continue;
                    }
                    next[lane]++;
                    if (block != -1) {
                        long word = word(block, lane, step);
                        int place = (column - base) << step % WORD_STEPS * FIELD;
                        Raw.ALL.set(Raw.INT, word, Raw.ALL.get(Raw.INT, word) | place);
                        Weights.store(dtype, value(block, lane, step), bits(lane, column));
                    }
                }
            }
        }

        /// The address of the index word of a step.
        private static long word(long block, int lane, int step) {
            return block + 4L * ((long) (step / WORD_STEPS) * LANES + lane);
        }

        /// The address of the value of a step: a 32-bit lane has as many steps as values fit.
        private long value(long block, int lane, int step) {
            long values = block + 4L * LANES * (steps / WORD_STEPS);
            int together = 4 / dtype.bytes();
            return values + 4L * ((long) (step / together) * LANES + lane) + (long) step % together * dtype.bytes();
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
            return format;
        }

        @Override
        public long bytes() {
            return starts[starts.length - 1] * (blockBytes + 2L * steps) + (scales == null ? 0 : 4L * rows);
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
            long xs = Raw.address(x, 4L * (columns + WINDOW));
            long ys = Raw.address(y, 4L * to);
            long result = Kernel.RESULT.get().address();
            long chunkBytes = chunk * blockBytes;
            long baseBytes = 2L * chunk * steps;
            float scale = Weights.scale(dtype);
            for (int row = from; row < to; row += LANES) {
                long start = starts[row / LANES];
                long begin = blocks + start * blockBytes;
                long end = blocks + starts[row / LANES + 1] * blockBytes;
                long base = bases + start * steps * 2;
                if (!VectorCheck.compiled()) {
                    scalar(row, Math.min(to, row + LANES), xs, ys);
                    continue;
                }
                Raw.zero(result, 4L * LANES);
                while (begin != end) {
                    long next = Math.min(end, begin + chunkBytes);
                    long nextBase = base + baseBytes;
                    if (ahead) {
                        Prefetch.ask(next, next + chunkBytes, nextBase, nextBase + baseBytes);
                    }
                    run(begin, next, base, xs, result);
                    begin = next;
                    base = nextBase;
                }
                for (int r = row; r < Math.min(to, row + LANES); r++) {
                    float factor = scales == null ? scale : Weights.TOP_BYTE_SCALE * scales[r];
                    Raw.ALL.set(Raw.FLOAT, ys + 4L * r, factor * Raw.ALL.get(Raw.FLOAT, result + 4L * (r - row)));
                }
            }
        }

        private void run(long begin, long end, long base, long x, long result) {
            boolean wide = WINDOW == 32;
            switch (dtype) {
                case F32 -> {
                    if (wide) {
                        Kernel.wide32(begin, end, base, x, result);
                    } else {
                        Kernel.single(begin, end, base, x, result);
                    }
                }
                case I8 -> {
                    if (wide) {
                        Kernel.wide8(begin, end, base, x, Weights.TOP_BYTE, result);
                    } else {
                        Kernel.bytes(begin, end, base, x, Weights.TOP_BYTE, result);
                    }
                }
                default -> {
                    float scale = Weights.scale(dtype);
                    int shift = Weights.shift(dtype);
                    int low = Weights.lowMask(dtype);
                    int high = Weights.highMask(dtype);
                    if (wide) {
                        Kernel.wide16(begin, end, base, x, scale, shift, low, high, result);
                    } else {
                        Kernel.half(begin, end, base, x, scale, shift, low, high, result);
                    }
                }
            }
        }

        private void scalar(int from, int to, long x, long y) {
            for (int row = from; row < to; row++) {
                float sum = 0;
                for (long block = starts[row / LANES]; block < starts[row / LANES + 1]; block++) {
                    for (int step = 0; step < steps; step++) {
                        long at = x + 4L * column(row % LANES, block, step);
                        sum += weight(row % LANES, block, step) * Raw.ALL.get(Raw.FLOAT, at);
                    }
                }
                Raw.ALL.set(Raw.FLOAT, y + 4L * row, scales == null ? sum : scales[row] * sum);
            }
        }

        /// Which column a lane has in a step of a block, counted over the whole matrix.
        private int column(int lane, long block, int step) {
            int word = Raw.ALL.get(Raw.INT, word(blocks + block * blockBytes, lane, step));
            return base(block * steps + step) + (word >>> step % WORD_STEPS * FIELD & WINDOW - 1);
        }

        private float weight(int lane, long block, int step) {
            return Weights.value(dtype, value(blocks + block * blockBytes, lane, step));
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
            Scatter scatter = new Scatter(dtype, LANES, FIELD, steps, WORD_STEPS, scales);
            int[] windows = new int[steps];
            for (int row = rowFrom; row < rowTo; row += LANES) {
                int lanes = Math.min(LANES, rowTo - row);
                long to = target + 4L * (row - rowFrom) * stride;
                for (long block = first(row, colFrom) / steps; block < starts[row / LANES + 1]; block++) {
                    for (int step = 0; step < steps; step++) {
                        windows[step] = base(block * steps + step) - colFrom;
                    }
                    if (windows[0] >= colTo - colFrom) {
                        break;
                    }
                    scatter.block(blocks + block * blockBytes, row, windows, to, lanes, colTo - colFrom, 4L * stride);
                }
            }
        }

        /// The first step of a row's slice whose window reaches `column`; bases ascend.
        private long first(int row, int column) {
            long low = starts[row / LANES] * steps;
            long high = starts[row / LANES + 1] * steps;
            while (low < high) {
                long middle = (low + high) >>> 1;
                if (base(middle) + WINDOW <= column) {
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
        // A field of an index word has at most five bits.
        static final int LANES = Math.min(16, F.length());
        static final int WINDOW = LANES == 16 ? 32 : LANES;
        private static final long VECTOR = 4L * LANES;
        private static final boolean FMA = CompilerHints.fma();
        static final ThreadLocal<MemorySegment> RESULT =
                ThreadLocal.withInitial(() -> Arena.ofAuto().allocate(VECTOR, 64));

        static {
            CompilerHints.excludeFromC1(Kernel.class);
        }

        private Kernel() {}

        /// 32 columns in two vectors, six steps a word.
        static void wide16(
                long begin, long end, long bases, long x, float scale, int shift, int low, int high, long result) {
            FloatVector a0 = FloatVector.fromMemorySegment(F, Raw.ALL, result, Raw.ORDER);
            FloatVector a1 = FloatVector.zero(F);
            FloatVector a2 = FloatVector.zero(F);
            FloatVector a3 = FloatVector.zero(F);
            long bp = bases;
            for (long p = begin; p != end; p += 4 * 64) {
                IntVector words = IntVector.fromMemorySegment(I, Raw.ALL, p, Raw.ORDER);
                long b = Raw.ALL.get(Raw.LONG, bp);
                long c = Raw.ALL.get(Raw.INT, bp + 8);
                bp += 12;
                long at;
                IntVector v;
                FloatVector w;
                FloatVector t;
                v = IntVector.fromMemorySegment(I, Raw.ALL, p + 64, Raw.ORDER);
                at = x + 4 * (b & 0xffff);
                t = words.selectFrom(
                                IntVector.fromMemorySegment(I, Raw.ALL, at, Raw.ORDER),
                                IntVector.fromMemorySegment(I, Raw.ALL, at + 64, Raw.ORDER))
                        .reinterpretAsFloats()
                        .mul(scale);
                w = v.lanewise(VectorOperators.LSHL, 16)
                        .lanewise(VectorOperators.ASHR, shift)
                        .and(low)
                        .reinterpretAsFloats();
                a0 = FMA ? w.fma(t, a0) : w.mul(t).add(a0);
                at = x + 4 * (b >>> 16 & 0xffff);
                t = words.lanewise(VectorOperators.LSHR, 5)
                        .selectFrom(
                                IntVector.fromMemorySegment(I, Raw.ALL, at, Raw.ORDER),
                                IntVector.fromMemorySegment(I, Raw.ALL, at + 64, Raw.ORDER))
                        .reinterpretAsFloats()
                        .mul(scale);
                w = v.lanewise(VectorOperators.ASHR, shift).and(high).reinterpretAsFloats();
                a1 = FMA ? w.fma(t, a1) : w.mul(t).add(a1);
                v = IntVector.fromMemorySegment(I, Raw.ALL, p + 128, Raw.ORDER);
                at = x + 4 * (b >>> 32 & 0xffff);
                t = words.lanewise(VectorOperators.LSHR, 10)
                        .selectFrom(
                                IntVector.fromMemorySegment(I, Raw.ALL, at, Raw.ORDER),
                                IntVector.fromMemorySegment(I, Raw.ALL, at + 64, Raw.ORDER))
                        .reinterpretAsFloats()
                        .mul(scale);
                w = v.lanewise(VectorOperators.LSHL, 16)
                        .lanewise(VectorOperators.ASHR, shift)
                        .and(low)
                        .reinterpretAsFloats();
                a2 = FMA ? w.fma(t, a2) : w.mul(t).add(a2);
                at = x + 4 * (b >>> 48);
                t = words.lanewise(VectorOperators.LSHR, 15)
                        .selectFrom(
                                IntVector.fromMemorySegment(I, Raw.ALL, at, Raw.ORDER),
                                IntVector.fromMemorySegment(I, Raw.ALL, at + 64, Raw.ORDER))
                        .reinterpretAsFloats()
                        .mul(scale);
                w = v.lanewise(VectorOperators.ASHR, shift).and(high).reinterpretAsFloats();
                a3 = FMA ? w.fma(t, a3) : w.mul(t).add(a3);
                v = IntVector.fromMemorySegment(I, Raw.ALL, p + 192, Raw.ORDER);
                at = x + 4 * (c & 0xffff);
                t = words.lanewise(VectorOperators.LSHR, 20)
                        .selectFrom(
                                IntVector.fromMemorySegment(I, Raw.ALL, at, Raw.ORDER),
                                IntVector.fromMemorySegment(I, Raw.ALL, at + 64, Raw.ORDER))
                        .reinterpretAsFloats()
                        .mul(scale);
                w = v.lanewise(VectorOperators.LSHL, 16)
                        .lanewise(VectorOperators.ASHR, shift)
                        .and(low)
                        .reinterpretAsFloats();
                a0 = FMA ? w.fma(t, a0) : w.mul(t).add(a0);
                at = x + 4 * (c >>> 16 & 0xffff);
                t = words.lanewise(VectorOperators.LSHR, 25)
                        .selectFrom(
                                IntVector.fromMemorySegment(I, Raw.ALL, at, Raw.ORDER),
                                IntVector.fromMemorySegment(I, Raw.ALL, at + 64, Raw.ORDER))
                        .reinterpretAsFloats()
                        .mul(scale);
                w = v.lanewise(VectorOperators.ASHR, shift).and(high).reinterpretAsFloats();
                a1 = FMA ? w.fma(t, a1) : w.mul(t).add(a1);
            }
            a0.add(a2).add(a1.add(a3)).intoMemorySegment(Raw.ALL, result, Raw.ORDER);
        }

        static void wide32(long begin, long end, long bases, long x, long result) {
            FloatVector a0 = FloatVector.fromMemorySegment(F, Raw.ALL, result, Raw.ORDER);
            FloatVector a1 = FloatVector.zero(F);
            FloatVector a2 = FloatVector.zero(F);
            FloatVector a3 = FloatVector.zero(F);
            long bp = bases;
            for (long p = begin; p != end; p += 7 * 64) {
                IntVector words = IntVector.fromMemorySegment(I, Raw.ALL, p, Raw.ORDER);
                long b = Raw.ALL.get(Raw.LONG, bp);
                long c = Raw.ALL.get(Raw.INT, bp + 8);
                bp += 12;
                long at;
                FloatVector v;
                FloatVector t;
                v = FloatVector.fromMemorySegment(F, Raw.ALL, p + 64, Raw.ORDER);
                at = x + 4 * (b & 0xffff);
                t = words.selectFrom(
                                IntVector.fromMemorySegment(I, Raw.ALL, at, Raw.ORDER),
                                IntVector.fromMemorySegment(I, Raw.ALL, at + 64, Raw.ORDER))
                        .reinterpretAsFloats();
                a0 = FMA ? v.fma(t, a0) : v.mul(t).add(a0);
                v = FloatVector.fromMemorySegment(F, Raw.ALL, p + 128, Raw.ORDER);
                at = x + 4 * (b >>> 16 & 0xffff);
                t = words.lanewise(VectorOperators.LSHR, 5)
                        .selectFrom(
                                IntVector.fromMemorySegment(I, Raw.ALL, at, Raw.ORDER),
                                IntVector.fromMemorySegment(I, Raw.ALL, at + 64, Raw.ORDER))
                        .reinterpretAsFloats();
                a1 = FMA ? v.fma(t, a1) : v.mul(t).add(a1);
                v = FloatVector.fromMemorySegment(F, Raw.ALL, p + 192, Raw.ORDER);
                at = x + 4 * (b >>> 32 & 0xffff);
                t = words.lanewise(VectorOperators.LSHR, 10)
                        .selectFrom(
                                IntVector.fromMemorySegment(I, Raw.ALL, at, Raw.ORDER),
                                IntVector.fromMemorySegment(I, Raw.ALL, at + 64, Raw.ORDER))
                        .reinterpretAsFloats();
                a2 = FMA ? v.fma(t, a2) : v.mul(t).add(a2);
                v = FloatVector.fromMemorySegment(F, Raw.ALL, p + 256, Raw.ORDER);
                at = x + 4 * (b >>> 48);
                t = words.lanewise(VectorOperators.LSHR, 15)
                        .selectFrom(
                                IntVector.fromMemorySegment(I, Raw.ALL, at, Raw.ORDER),
                                IntVector.fromMemorySegment(I, Raw.ALL, at + 64, Raw.ORDER))
                        .reinterpretAsFloats();
                a3 = FMA ? v.fma(t, a3) : v.mul(t).add(a3);
                v = FloatVector.fromMemorySegment(F, Raw.ALL, p + 320, Raw.ORDER);
                at = x + 4 * (c & 0xffff);
                t = words.lanewise(VectorOperators.LSHR, 20)
                        .selectFrom(
                                IntVector.fromMemorySegment(I, Raw.ALL, at, Raw.ORDER),
                                IntVector.fromMemorySegment(I, Raw.ALL, at + 64, Raw.ORDER))
                        .reinterpretAsFloats();
                a0 = FMA ? v.fma(t, a0) : v.mul(t).add(a0);
                v = FloatVector.fromMemorySegment(F, Raw.ALL, p + 384, Raw.ORDER);
                at = x + 4 * (c >>> 16 & 0xffff);
                t = words.lanewise(VectorOperators.LSHR, 25)
                        .selectFrom(
                                IntVector.fromMemorySegment(I, Raw.ALL, at, Raw.ORDER),
                                IntVector.fromMemorySegment(I, Raw.ALL, at + 64, Raw.ORDER))
                        .reinterpretAsFloats();
                a1 = FMA ? v.fma(t, a1) : v.mul(t).add(a1);
            }
            a0.add(a2).add(a1.add(a3)).intoMemorySegment(Raw.ALL, result, Raw.ORDER);
        }

        static void wide8(long begin, long end, long bases, long x, int topByte, long result) {
            FloatVector a0 = FloatVector.fromMemorySegment(F, Raw.ALL, result, Raw.ORDER);
            FloatVector a1 = FloatVector.zero(F);
            FloatVector a2 = FloatVector.zero(F);
            FloatVector a3 = FloatVector.zero(F);
            IntVector top = IntVector.broadcast(I, topByte);
            long bp = bases;
            for (long p = begin; p != end; p += 5 * 64) {
                IntVector words = IntVector.fromMemorySegment(I, Raw.ALL, p, Raw.ORDER);
                long b = Raw.ALL.get(Raw.LONG, bp);
                long c = Raw.ALL.get(Raw.LONG, bp + 8);
                long d = Raw.ALL.get(Raw.LONG, bp + 16);
                bp += 24;
                long at;
                IntVector v;
                FloatVector w;
                FloatVector t;
                v = IntVector.fromMemorySegment(I, Raw.ALL, p + 128, Raw.ORDER);
                at = x + 4 * (b & 0xffff);
                t = words.selectFrom(
                                IntVector.fromMemorySegment(I, Raw.ALL, at, Raw.ORDER),
                                IntVector.fromMemorySegment(I, Raw.ALL, at + 64, Raw.ORDER))
                        .reinterpretAsFloats();
                w = (FloatVector) v.lanewise(VectorOperators.LSHL, 24).convert(VectorOperators.I2F, 0);
                a0 = FMA ? w.fma(t, a0) : w.mul(t).add(a0);
                at = x + 4 * (b >>> 16 & 0xffff);
                t = words.lanewise(VectorOperators.LSHR, 5)
                        .selectFrom(
                                IntVector.fromMemorySegment(I, Raw.ALL, at, Raw.ORDER),
                                IntVector.fromMemorySegment(I, Raw.ALL, at + 64, Raw.ORDER))
                        .reinterpretAsFloats();
                w = (FloatVector) v.lanewise(VectorOperators.LSHL, 16).and(top).convert(VectorOperators.I2F, 0);
                a1 = FMA ? w.fma(t, a1) : w.mul(t).add(a1);
                at = x + 4 * (b >>> 32 & 0xffff);
                t = words.lanewise(VectorOperators.LSHR, 10)
                        .selectFrom(
                                IntVector.fromMemorySegment(I, Raw.ALL, at, Raw.ORDER),
                                IntVector.fromMemorySegment(I, Raw.ALL, at + 64, Raw.ORDER))
                        .reinterpretAsFloats();
                w = (FloatVector) v.lanewise(VectorOperators.LSHL, 8).and(top).convert(VectorOperators.I2F, 0);
                a2 = FMA ? w.fma(t, a2) : w.mul(t).add(a2);
                at = x + 4 * (b >>> 48);
                t = words.lanewise(VectorOperators.LSHR, 15)
                        .selectFrom(
                                IntVector.fromMemorySegment(I, Raw.ALL, at, Raw.ORDER),
                                IntVector.fromMemorySegment(I, Raw.ALL, at + 64, Raw.ORDER))
                        .reinterpretAsFloats();
                w = (FloatVector) v.and(top).convert(VectorOperators.I2F, 0);
                a3 = FMA ? w.fma(t, a3) : w.mul(t).add(a3);
                v = IntVector.fromMemorySegment(I, Raw.ALL, p + 192, Raw.ORDER);
                at = x + 4 * (c & 0xffff);
                t = words.lanewise(VectorOperators.LSHR, 20)
                        .selectFrom(
                                IntVector.fromMemorySegment(I, Raw.ALL, at, Raw.ORDER),
                                IntVector.fromMemorySegment(I, Raw.ALL, at + 64, Raw.ORDER))
                        .reinterpretAsFloats();
                w = (FloatVector) v.lanewise(VectorOperators.LSHL, 24).convert(VectorOperators.I2F, 0);
                a0 = FMA ? w.fma(t, a0) : w.mul(t).add(a0);
                at = x + 4 * (c >>> 16 & 0xffff);
                t = words.lanewise(VectorOperators.LSHR, 25)
                        .selectFrom(
                                IntVector.fromMemorySegment(I, Raw.ALL, at, Raw.ORDER),
                                IntVector.fromMemorySegment(I, Raw.ALL, at + 64, Raw.ORDER))
                        .reinterpretAsFloats();
                w = (FloatVector) v.lanewise(VectorOperators.LSHL, 16).and(top).convert(VectorOperators.I2F, 0);
                a1 = FMA ? w.fma(t, a1) : w.mul(t).add(a1);
                words = IntVector.fromMemorySegment(I, Raw.ALL, p + 64, Raw.ORDER);
                at = x + 4 * (c >>> 32 & 0xffff);
                t = words.selectFrom(
                                IntVector.fromMemorySegment(I, Raw.ALL, at, Raw.ORDER),
                                IntVector.fromMemorySegment(I, Raw.ALL, at + 64, Raw.ORDER))
                        .reinterpretAsFloats();
                w = (FloatVector) v.lanewise(VectorOperators.LSHL, 8).and(top).convert(VectorOperators.I2F, 0);
                a2 = FMA ? w.fma(t, a2) : w.mul(t).add(a2);
                at = x + 4 * (c >>> 48);
                t = words.lanewise(VectorOperators.LSHR, 5)
                        .selectFrom(
                                IntVector.fromMemorySegment(I, Raw.ALL, at, Raw.ORDER),
                                IntVector.fromMemorySegment(I, Raw.ALL, at + 64, Raw.ORDER))
                        .reinterpretAsFloats();
                w = (FloatVector) v.and(top).convert(VectorOperators.I2F, 0);
                a3 = FMA ? w.fma(t, a3) : w.mul(t).add(a3);
                v = IntVector.fromMemorySegment(I, Raw.ALL, p + 256, Raw.ORDER);
                at = x + 4 * (d & 0xffff);
                t = words.lanewise(VectorOperators.LSHR, 10)
                        .selectFrom(
                                IntVector.fromMemorySegment(I, Raw.ALL, at, Raw.ORDER),
                                IntVector.fromMemorySegment(I, Raw.ALL, at + 64, Raw.ORDER))
                        .reinterpretAsFloats();
                w = (FloatVector) v.lanewise(VectorOperators.LSHL, 24).convert(VectorOperators.I2F, 0);
                a0 = FMA ? w.fma(t, a0) : w.mul(t).add(a0);
                at = x + 4 * (d >>> 16 & 0xffff);
                t = words.lanewise(VectorOperators.LSHR, 15)
                        .selectFrom(
                                IntVector.fromMemorySegment(I, Raw.ALL, at, Raw.ORDER),
                                IntVector.fromMemorySegment(I, Raw.ALL, at + 64, Raw.ORDER))
                        .reinterpretAsFloats();
                w = (FloatVector) v.lanewise(VectorOperators.LSHL, 16).and(top).convert(VectorOperators.I2F, 0);
                a1 = FMA ? w.fma(t, a1) : w.mul(t).add(a1);
                at = x + 4 * (d >>> 32 & 0xffff);
                t = words.lanewise(VectorOperators.LSHR, 20)
                        .selectFrom(
                                IntVector.fromMemorySegment(I, Raw.ALL, at, Raw.ORDER),
                                IntVector.fromMemorySegment(I, Raw.ALL, at + 64, Raw.ORDER))
                        .reinterpretAsFloats();
                w = (FloatVector) v.lanewise(VectorOperators.LSHL, 8).and(top).convert(VectorOperators.I2F, 0);
                a2 = FMA ? w.fma(t, a2) : w.mul(t).add(a2);
                at = x + 4 * (d >>> 48);
                t = words.lanewise(VectorOperators.LSHR, 25)
                        .selectFrom(
                                IntVector.fromMemorySegment(I, Raw.ALL, at, Raw.ORDER),
                                IntVector.fromMemorySegment(I, Raw.ALL, at + 64, Raw.ORDER))
                        .reinterpretAsFloats();
                w = (FloatVector) v.and(top).convert(VectorOperators.I2F, 0);
                a3 = FMA ? w.fma(t, a3) : w.mul(t).add(a3);
            }
            a0.add(a2).add(a1.add(a3)).intoMemorySegment(Raw.ALL, result, Raw.ORDER);
        }

        /// L columns, eight steps a word.
        static void bytes(long begin, long end, long bases, long x, int topByte, long result) {
            FloatVector a0 = FloatVector.fromMemorySegment(F, Raw.ALL, result, Raw.ORDER);
            FloatVector a1 = FloatVector.zero(F);
            FloatVector a2 = FloatVector.zero(F);
            FloatVector a3 = FloatVector.zero(F);
            IntVector top = IntVector.broadcast(I, topByte);
            long bp = bases;
            for (long p = begin; p != end; p += 3 * VECTOR) {
                IntVector words = IntVector.fromMemorySegment(I, Raw.ALL, p, Raw.ORDER);
                long b = Raw.ALL.get(Raw.LONG, bp);
                long c = Raw.ALL.get(Raw.LONG, bp + 8);
                bp += 16;
                IntVector v;
                FloatVector w;
                FloatVector t;
                v = IntVector.fromMemorySegment(I, Raw.ALL, p + 1 * VECTOR, Raw.ORDER);
                t = words.and(15)
                        .selectFrom(IntVector.fromMemorySegment(I, Raw.ALL, x + 4 * (b & 0xffff), Raw.ORDER))
                        .reinterpretAsFloats();
                w = (FloatVector) v.lanewise(VectorOperators.LSHL, 24).convert(VectorOperators.I2F, 0);
                a0 = FMA ? w.fma(t, a0) : w.mul(t).add(a0);
                t = words.lanewise(VectorOperators.LSHR, 4)
                        .and(15)
                        .selectFrom(IntVector.fromMemorySegment(I, Raw.ALL, x + 4 * (b >>> 16 & 0xffff), Raw.ORDER))
                        .reinterpretAsFloats();
                w = (FloatVector) v.lanewise(VectorOperators.LSHL, 16).and(top).convert(VectorOperators.I2F, 0);
                a1 = FMA ? w.fma(t, a1) : w.mul(t).add(a1);
                t = words.lanewise(VectorOperators.LSHR, 8)
                        .and(15)
                        .selectFrom(IntVector.fromMemorySegment(I, Raw.ALL, x + 4 * (b >>> 32 & 0xffff), Raw.ORDER))
                        .reinterpretAsFloats();
                w = (FloatVector) v.lanewise(VectorOperators.LSHL, 8).and(top).convert(VectorOperators.I2F, 0);
                a2 = FMA ? w.fma(t, a2) : w.mul(t).add(a2);
                t = words.lanewise(VectorOperators.LSHR, 12)
                        .and(15)
                        .selectFrom(IntVector.fromMemorySegment(I, Raw.ALL, x + 4 * (b >>> 48), Raw.ORDER))
                        .reinterpretAsFloats();
                w = (FloatVector) v.and(top).convert(VectorOperators.I2F, 0);
                a3 = FMA ? w.fma(t, a3) : w.mul(t).add(a3);
                v = IntVector.fromMemorySegment(I, Raw.ALL, p + 2 * VECTOR, Raw.ORDER);
                t = words.lanewise(VectorOperators.LSHR, 16)
                        .and(15)
                        .selectFrom(IntVector.fromMemorySegment(I, Raw.ALL, x + 4 * (c & 0xffff), Raw.ORDER))
                        .reinterpretAsFloats();
                w = (FloatVector) v.lanewise(VectorOperators.LSHL, 24).convert(VectorOperators.I2F, 0);
                a0 = FMA ? w.fma(t, a0) : w.mul(t).add(a0);
                t = words.lanewise(VectorOperators.LSHR, 20)
                        .and(15)
                        .selectFrom(IntVector.fromMemorySegment(I, Raw.ALL, x + 4 * (c >>> 16 & 0xffff), Raw.ORDER))
                        .reinterpretAsFloats();
                w = (FloatVector) v.lanewise(VectorOperators.LSHL, 16).and(top).convert(VectorOperators.I2F, 0);
                a1 = FMA ? w.fma(t, a1) : w.mul(t).add(a1);
                t = words.lanewise(VectorOperators.LSHR, 24)
                        .and(15)
                        .selectFrom(IntVector.fromMemorySegment(I, Raw.ALL, x + 4 * (c >>> 32 & 0xffff), Raw.ORDER))
                        .reinterpretAsFloats();
                w = (FloatVector) v.lanewise(VectorOperators.LSHL, 8).and(top).convert(VectorOperators.I2F, 0);
                a2 = FMA ? w.fma(t, a2) : w.mul(t).add(a2);
                t = words.lanewise(VectorOperators.LSHR, 28)
                        .and(15)
                        .selectFrom(IntVector.fromMemorySegment(I, Raw.ALL, x + 4 * (c >>> 48), Raw.ORDER))
                        .reinterpretAsFloats();
                w = (FloatVector) v.and(top).convert(VectorOperators.I2F, 0);
                a3 = FMA ? w.fma(t, a3) : w.mul(t).add(a3);
            }
            a0.add(a2).add(a1.add(a3)).intoMemorySegment(Raw.ALL, result, Raw.ORDER);
        }

        static void half(
                long begin, long end, long bases, long x, float scale, int shift, int low, int high, long result) {
            FloatVector a0 = FloatVector.fromMemorySegment(F, Raw.ALL, result, Raw.ORDER);
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
            a0.add(a2).add(a1.add(a3)).intoMemorySegment(Raw.ALL, result, Raw.ORDER);
        }

        static void single(long begin, long end, long bases, long x, long result) {
            FloatVector a0 = FloatVector.fromMemorySegment(F, Raw.ALL, result, Raw.ORDER);
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
