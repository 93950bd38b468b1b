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
import java.lang.invoke.VarHandle;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.VectorOperators;
import jdk.incubator.vector.VectorSpecies;

/// N of each M consecutive inputs of an output are kept: packed values, and the place of each in its group.
///
/// A vector's lanes are rows, as many as the machine's vectors have 32-bit lanes (16, 8 or 4). A *step* is one kept weight
/// of each of these rows; a group has N steps, in order of columns. Groups that keep fewer weights are filled with zeros. A
/// block is one vector of index words and the values of the steps that the words describe. With field width f (2 bits for M
/// up to 4, 4 bits up to 16, 8 bits up to 256) a block has S = 32 / f steps.
///
/// ```
///   block   | index words: 1 vector | values of steps 0, 1 | values of steps 2, 3 | ... | S-2, S-1 |
///
///   index word of lane (row) r:  bits f s to f s + f - 1 = column within its group of step s
///   16-bit values, lane r:       a vector has two steps: 2 i in the low half, 2 i + 1 in the high half
///   8-bit values, lane r:        a vector has four steps, 4 i in the lowest byte
///   F32 values:                  one vector a step
/// ```
///
/// Bytes a weight: N/M · (b + f/8), where b is the bytes of a value: 2:4 1.125, 4:8 1.25, 13:64 0.61 with 16 bits. The inner
/// loop looks x up in registers: it permutes M columns of x by the index words; no lanes are added up at the end. A group
/// that fits a vector takes one permutation; there an odd N is stored as 2N:2M (1:4 as 2:8), so that two steps of a pair
/// always lie in one group. Up to four vectors (64 columns with AVX-512) take two permutations of two vectors each and a
/// choice: that is k:64, much looser than 2:4 and as regular, since every row keeps k of each 64 columns and nothing has to
/// be filled up. Larger M up to 256 is scalar code. Slices lie in the order of [Strips] where a strip is a whole number of blocks.
/// Blocks of 2:4 with values of 16 or 8 bits are cut in two ([Halved]).
///
/// In `N:M-int8`, which is not exact, values are bytes with one scale a row ([Int8]).
public final class NOfM implements WeightFormat {
    /// See [CpuLinear#fewTokens].
    private static final int FEW_TOKENS = 32;

    private static final int MAX_M = 256;
    private static final int LANES = Kernel.LANES;

    private final int kept;
    private final int group;
    private final boolean rounds;

    private NOfM(int kept, int group, boolean rounds) {
        this.kept = kept;
        this.group = group;
        this.rounds = rounds;
    }

    /// The format that keeps `n` of each `m`.
    ///
    /// @throws IllegalArgumentException unless 0 < n < m <= 256
    public static NOfM of(int n, int m) {
        if (n < 1 || n >= m || m > MAX_M) {
            throw new IllegalArgumentException(
                    "%d:%d is no format: N:M keeps N of each M inputs, 0 < N < M <= %d".formatted(n, m, MAX_M));
        }
        return new NOfM(n, m, false);
    }

    /// The same with bytes and scales for values.
    public NOfM int8() {
        return new NOfM(kept, group, true);
    }

    /// N, the weights kept of each group.
    public int kept() {
        return kept;
    }

    /// M, the size of a group.
    public int group() {
        return group;
    }

    @Override
    public String name() {
        return kept + ":" + group + (rounds ? "-int8" : "");
    }

    @Override
    public boolean exact() {
        return !rounds;
    }

    @Override
    public boolean equals(Object other) {
        return other instanceof NOfM that && that.kept == kept && that.group == group && that.rounds == rounds;
    }

    @Override
    public int hashCode() {
        return 31 * (31 * kept + group) + Boolean.hashCode(rounds);
    }

    @Override
    public String refuses(Tensor dense) {
        if (dense.dtype() == DType.I8) {
            return Weights.refuses(dense);
        }
        if (dense.columns() % group != 0) {
            return "its %d columns are no multiple of %d".formatted(dense.columns(), group);
        }
        KeptRow row = new KeptRow(dense);
        for (int r = 0; r < dense.rows(); r++) {
            row.read(r);
            for (int first = 0, i = 0; first < dense.columns(); first += group) {
                int before = i;
                while (row.column(i) < first + group && i < row.count()) {
                    i++;
                }
                if (i - before > kept) {
                    return "row %d keeps %d of columns %d to %d".formatted(r, i - before, first, first + group - 1);
                }
            }
        }
        return rounds ? Int8.refuses(dense) : null;
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
    private static final class Packed implements CpuLinear, Strips.Matrix {
        private static final ThreadLocal<AheadChoice> AHEAD = AheadChoice.perThread();

        private final Arena arena = Arena.ofShared();
        private final NOfM format;
        private final DType dtype;
        /// One a row for bytes, else null.
        private final float[] scales;
        private final int rows;
        private final int columns;
        /// N and M as stored: even N where values go in pairs.
        private final int n;

        private final int m;
        /// Whether a group takes more than one vector of x.
        private final boolean wide;

        private final int field;
        private final int steps;
        private final Strips strips;
        private final int stripBlocks;
        private final int blocks;
        private final long blockBytes;
        private final long nonZeros;
        private final Halved halved;

        Packed(NOfM format, Tensor dense, float[] scales) {
            this.format = format;
            this.scales = scales;
            dtype = dense.dtype();
            rows = dense.rows();
            columns = dense.columns();
            boolean odd = format.kept % 2 == 1 && dtype != DType.I8;
            wide = format.group * (odd ? 2 : 1) > LANES;
            int twice = odd && !wide ? 2 : 1;
            n = twice * format.kept;
            m = twice * format.group;
            field = m <= 4 ? 2 : m <= 16 ? 4 : 8;
            steps = 32 / field;
            blocks = Math.ceilDiv(Math.ceilDiv(columns, m) * n, steps);
            blockBytes = 4L * LANES + (long) steps * LANES * dtype.bytes();
            Strips cut = Strips.of(rows, columns, LANES);
            boolean whole = cut.width() % m == 0 && cut.width() / m * n % steps == 0;
            strips = whole ? cut : Strips.one(rows, columns, LANES);
            stripBlocks = whole ? cut.width() / m * n / steps : Math.max(1, blocks);
            int slices = Math.ceilDiv(rows, LANES);
            long count = (long) slices * blocks;
            halved = unrolled()
                    ? Halved.allocate(count, blockBytes, 4L * LANES, arena)
                    : Halved.whole(count, blockBytes, arena);
            nonZeros = write(dense);
        }

        private long write(Tensor dense) {
            KeptRow kept = new KeptRow(dense);
            long all = 0;
            for (int row = 0; row < rows; row++) {
                all += kept.read(row);
                write(kept, row);
            }
            return all;
        }

        /// One row as a lane of its blocks.
        private void write(KeptRow kept, int row) {
            int lane = row % LANES;
            int number = 0;
            long block = block(row, number);
            int step = 0;
            int word = 0;
            int i = 0;
            for (int from = 0; from < columns; from += m) {
                int end = Math.min(columns, from + m);
                for (int slot = 0; slot < n; slot++) {
                    if (kept.column(i) < end) {
                        word |= kept.column(i) - from << step * field;
                        Weights.store(dtype, halved.address(block, inBlock(row, step)), kept.bits(i));
                        i++;
                    }
                    step++;
                    if (step == steps) {
                        Raw.ALL.set(Raw.INT, halved.address(block, 4L * lane), word);
                        number++;
                        block = number < blocks ? block(row, number) : 0;
                        step = 0;
                        word = 0;
                    }
                }
            }
            if (step > 0) {
                Raw.ALL.set(Raw.INT, halved.address(block, 4L * lane), word);
            }
        }

        /// Whether its kernel is written out for blocks of one size.
        private boolean unrolled() {
            return n == 2 && m == 4 && dtype != DType.F32;
        }

        /// Which block it is of all.
        private long block(int row, int number) {
            return strips.index(row, number, stripBlocks, blocks);
        }

        /// The address of the index word of a step.
        private long index(int row, int step) {
            return halved.address(block(row, step / steps), 4L * (row % LANES));
        }

        /// The address of the value of a step.
        private long value(int row, int step) {
            return halved.address(block(row, step / steps), inBlock(row, step % steps));
        }

        /// Bytes from the start of a block to the value of its step `step`.
        private long inBlock(int row, int step) {
            int together = 4 / dtype.bytes();
            long vector = 1L + step / together;
            return 4L * (vector * LANES + row % LANES) + (long) step % together * dtype.bytes();
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
            return (long) Math.ceilDiv(rows, LANES) * blocks * blockBytes + (scales == null ? 0 : 4L * rows);
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
        public AheadChoice ahead() {
            return AHEAD.get();
        }

        @Override
        public int grain() {
            return LANES;
        }

        @Override
        public int fewTokens() {
            return FEW_TOKENS;
        }

        @Override
        public void multiply(MemorySegment x, MemorySegment y, int from, int to) {
            long xs = Raw.address(x, input().bytes(columns));
            long ys = Raw.address(y, 4L * to);
            if (!VectorCheck.compiled() || m > 4 * LANES || blocks == 0) {
                scalar(from, to, xs, ys);
                return;
            }
            strips.multiply(this, input(), from, to, xs, ys);
            for (int row = from; scales != null && row < to; row++) {
                Raw.ALL.set(Raw.FLOAT, ys + 4L * row, scales[row] * Raw.ALL.get(Raw.FLOAT, ys + 4L * row));
            }
        }

        /// Without the rows' scales.
        @Override
        public void multiplyStrip(int strip, int from, int to, long x, long y, boolean pages) {
            long result = Sums.scratch();
            int taken = Math.min(stripBlocks, blocks - strip * stripBlocks);
            long first = block(from, strip * stripBlocks);
            for (int row = from; row < to; row += LANES) {
                int count = Math.min(LANES, to - row);
                run(first, first + taken, x, strips.columns(strip), result, pages);
                if (strip > 0) {
                    Sums.add(result, y + 4L * row, count);
                } else {
                    MemorySegment.copy(Raw.ALL, result, Raw.ALL, y + 4L * row, 4L * count);
                }
                first += taken;
            }
        }

        /// The sums over blocks `first` to `last`.
        ///
        /// @param columns those that `x` holds
        private void run(long first, long last, long x, int columns, long result, boolean pages) {
            long begin = halved.head(first);
            long end = halved.head(last);
            long tail = halved.tail(first);
            int shift = Weights.shift(dtype);
            int low = Weights.lowMask(dtype);
            int high = Weights.highMask(dtype);
            float scale = Weights.scale(dtype);
            int top = Weights.TOP_BYTE;
            if (wide) {
                long lastGroup = x + 4L * (columns - m);
                boolean four = m > 2 * LANES;
                switch (dtype) {
                    case F32 -> Kernel.wide32(begin, end, blockBytes, x, lastGroup, n, m, field, four, result, pages);
                    case I8 ->
                        Kernel.wide8(begin, end, blockBytes, x, lastGroup, n, m, field, four, top, result, pages);
                    default ->
                        Kernel.wide16(
                                begin,
                                end,
                                blockBytes,
                                x,
                                lastGroup,
                                n,
                                m,
                                field,
                                four,
                                scale,
                                shift,
                                low,
                                high,
                                result,
                                pages);
                }
                return;
            }
            boolean twoOfFour = unrolled();
            switch (dtype) {
                case F32 -> Kernel.any32(begin, end, blockBytes, x, n, 4L * m, field, result, pages);
                case I8 -> {
                    if (twoOfFour) {
                        Kernel.twoOfFour8(begin, end, tail, x, top, result, pages);
                    } else {
                        Kernel.any8(begin, end, blockBytes, x, n, 4L * m, field, top, result, pages);
                    }
                }
                default -> {
                    if (twoOfFour && dtype == DType.BF16) {
                        Kernel.twoOfFourBf16(begin, end, tail, x, high, result, pages);
                    } else if (twoOfFour) {
                        Kernel.twoOfFour(begin, end, tail, x, scale, shift, low, high, result, pages);
                    } else {
                        Kernel.any16(
                                begin, end, blockBytes, x, n, 4L * m, field, scale, shift, low, high, result, pages);
                    }
                }
            }
        }

        private void scalar(int from, int to, long x, long y) {
            int stored = Math.ceilDiv(columns, m) * n;
            for (int row = from; row < to; row++) {
                float sum = 0;
                for (int step = 0; step < stored; step++) {
                    sum += Weights.value(dtype, value(row, step)) * Raw.ALL.get(Raw.FLOAT, x + 4L * column(row, step));
                }
                Raw.ALL.set(Raw.FLOAT, y + 4L * row, scales == null ? sum : scales[row] * sum);
            }
        }

        private int column(int row, int step) {
            int word = Raw.ALL.get(Raw.INT, index(row, step));
            return step / n * m + (word >>> step % steps * field & (1 << field) - 1);
        }

        @Override
        public void expand(int rowFrom, int rowTo, int colFrom, int colTo, MemorySegment panel, int stride) {
            long target = Raw.address(panel, 0);
            for (int row = rowFrom; row < rowTo; row++) {
                long to = target + 4L * (row - rowFrom) * stride;
                Raw.ALL.asSlice(to, 4L * (colTo - colFrom)).fill((byte) 0);
            }
            int last = Math.min(blocks, Math.ceilDiv(Math.ceilDiv(colTo, m) * n, steps));
            Scatter scatter = new Scatter(halved, dtype, LANES, field, steps, 1, steps, scales);
            int[] groups = new int[steps];
            for (int row = rowFrom; row < rowTo; row += LANES) {
                scatter.clear(target);
                for (int r = row; r < Math.min(rowTo, row + LANES); r++) {
                    scatter.add(r - row, r, target + 4L * (r - rowFrom) * stride);
                }
                for (int block = colFrom / m * n / steps; block < last; block++) {
                    for (int step = 0; step < steps; step++) {
                        groups[step] = (block * steps + step) / n * m - colFrom;
                    }
                    scatter.block(block(row, block), groups, colTo - colFrom);
                }
            }
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
        static final int LANES = F.length();
        private static final long VECTOR = 4L * LANES;
        private static final boolean FMA = CompilerHints.fma();

        static {
            CompilerHints.excludeFromC1(Kernel.class);
        }

        private Kernel() {}

        private static FloatVector mac(FloatVector a, FloatVector b, FloatVector sum) {
            return FMA ? a.fma(b, sum) : a.mul(b).add(sum);
        }

        private static FloatVector low(IntVector v, int shift, int mask) {
            return v.lanewise(VectorOperators.LSHL, 16)
                    .lanewise(VectorOperators.ASHR, shift)
                    .and(mask)
                    .reinterpretAsFloats();
        }

        private static FloatVector high(IntVector v, int shift, int mask) {
            return v.lanewise(VectorOperators.ASHR, shift).and(mask).reinterpretAsFloats();
        }

        private static FloatVector look(IntVector index, IntVector table, int mask) {
            return index.and(mask).selectFrom(table).reinterpretAsFloats();
        }

        /// 8 groups of 4 columns a block.
        static void twoOfFour(
                long begin,
                long end,
                long tail,
                long x,
                float scale,
                int shift,
                int low,
                int high,
                long result,
                boolean pages) {
            FloatVector a0 = FloatVector.zero(F);
            FloatVector a1 = FloatVector.zero(F);
            FloatVector a2 = FloatVector.zero(F);
            FloatVector a3 = FloatVector.zero(F);
            long xp = x;
            long distance = Ahead.distance(pages);
            long alignment = Ahead.alignment(pages);
            long ahead = 0;
            for (long p = begin, q = tail; p != end; p += 5 * VECTOR, q += 4 * VECTOR) {
                p &= Raw.ADDRESS;
                q &= Raw.ADDRESS;
                xp &= Raw.ADDRESS;
                ahead ^= Raw.ALL.get(Raw.LONG, (p + distance & alignment) & Raw.ADDRESS);
                IntVector words = IntVector.fromMemorySegment(I, Raw.ALL, p, Raw.ORDER);
                IntVector v;
                IntVector table;
                FloatVector w;
                FloatVector t;
                if (Raw.FENCES) VarHandle.acquireFence();
                v = IntVector.fromMemorySegment(I, Raw.ALL, p + VECTOR, Raw.ORDER);
                table = IntVector.fromMemorySegment(I, Raw.ALL, xp, Raw.ORDER);
                t = words.and(3).selectFrom(table).reinterpretAsFloats().mul(scale);
                w = v.lanewise(VectorOperators.LSHL, 16)
                        .lanewise(VectorOperators.ASHR, shift)
                        .and(low)
                        .reinterpretAsFloats();
                a0 = FMA ? w.fma(t, a0) : w.mul(t).add(a0);
                t = words.lanewise(VectorOperators.LSHR, 2)
                        .and(3)
                        .selectFrom(table)
                        .reinterpretAsFloats()
                        .mul(scale);
                w = v.lanewise(VectorOperators.ASHR, shift).and(high).reinterpretAsFloats();
                a1 = FMA ? w.fma(t, a1) : w.mul(t).add(a1);
                if (Raw.FENCES) VarHandle.acquireFence();
                v = IntVector.fromMemorySegment(I, Raw.ALL, p + 2 * VECTOR, Raw.ORDER);
                table = IntVector.fromMemorySegment(I, Raw.ALL, xp + 16, Raw.ORDER);
                t = words.lanewise(VectorOperators.LSHR, 4)
                        .and(3)
                        .selectFrom(table)
                        .reinterpretAsFloats()
                        .mul(scale);
                w = v.lanewise(VectorOperators.LSHL, 16)
                        .lanewise(VectorOperators.ASHR, shift)
                        .and(low)
                        .reinterpretAsFloats();
                a2 = FMA ? w.fma(t, a2) : w.mul(t).add(a2);
                t = words.lanewise(VectorOperators.LSHR, 6)
                        .and(3)
                        .selectFrom(table)
                        .reinterpretAsFloats()
                        .mul(scale);
                w = v.lanewise(VectorOperators.ASHR, shift).and(high).reinterpretAsFloats();
                a3 = FMA ? w.fma(t, a3) : w.mul(t).add(a3);
                if (Raw.FENCES) VarHandle.acquireFence();
                v = IntVector.fromMemorySegment(I, Raw.ALL, p + 3 * VECTOR, Raw.ORDER);
                table = IntVector.fromMemorySegment(I, Raw.ALL, xp + 32, Raw.ORDER);
                t = words.lanewise(VectorOperators.LSHR, 8)
                        .and(3)
                        .selectFrom(table)
                        .reinterpretAsFloats()
                        .mul(scale);
                w = v.lanewise(VectorOperators.LSHL, 16)
                        .lanewise(VectorOperators.ASHR, shift)
                        .and(low)
                        .reinterpretAsFloats();
                a0 = FMA ? w.fma(t, a0) : w.mul(t).add(a0);
                t = words.lanewise(VectorOperators.LSHR, 10)
                        .and(3)
                        .selectFrom(table)
                        .reinterpretAsFloats()
                        .mul(scale);
                w = v.lanewise(VectorOperators.ASHR, shift).and(high).reinterpretAsFloats();
                a1 = FMA ? w.fma(t, a1) : w.mul(t).add(a1);
                if (Raw.FENCES) VarHandle.acquireFence();
                v = IntVector.fromMemorySegment(I, Raw.ALL, p + 4 * VECTOR, Raw.ORDER);
                table = IntVector.fromMemorySegment(I, Raw.ALL, xp + 48, Raw.ORDER);
                t = words.lanewise(VectorOperators.LSHR, 12)
                        .and(3)
                        .selectFrom(table)
                        .reinterpretAsFloats()
                        .mul(scale);
                w = v.lanewise(VectorOperators.LSHL, 16)
                        .lanewise(VectorOperators.ASHR, shift)
                        .and(low)
                        .reinterpretAsFloats();
                a2 = FMA ? w.fma(t, a2) : w.mul(t).add(a2);
                t = words.lanewise(VectorOperators.LSHR, 14)
                        .and(3)
                        .selectFrom(table)
                        .reinterpretAsFloats()
                        .mul(scale);
                w = v.lanewise(VectorOperators.ASHR, shift).and(high).reinterpretAsFloats();
                a3 = FMA ? w.fma(t, a3) : w.mul(t).add(a3);
                if (Raw.FENCES) VarHandle.acquireFence();
                v = IntVector.fromMemorySegment(I, Raw.ALL, q, Raw.ORDER);
                table = IntVector.fromMemorySegment(I, Raw.ALL, xp + 64, Raw.ORDER);
                t = words.lanewise(VectorOperators.LSHR, 16)
                        .and(3)
                        .selectFrom(table)
                        .reinterpretAsFloats()
                        .mul(scale);
                w = v.lanewise(VectorOperators.LSHL, 16)
                        .lanewise(VectorOperators.ASHR, shift)
                        .and(low)
                        .reinterpretAsFloats();
                a0 = FMA ? w.fma(t, a0) : w.mul(t).add(a0);
                t = words.lanewise(VectorOperators.LSHR, 18)
                        .and(3)
                        .selectFrom(table)
                        .reinterpretAsFloats()
                        .mul(scale);
                w = v.lanewise(VectorOperators.ASHR, shift).and(high).reinterpretAsFloats();
                a1 = FMA ? w.fma(t, a1) : w.mul(t).add(a1);
                if (Raw.FENCES) VarHandle.acquireFence();
                v = IntVector.fromMemorySegment(I, Raw.ALL, q + VECTOR, Raw.ORDER);
                table = IntVector.fromMemorySegment(I, Raw.ALL, xp + 80, Raw.ORDER);
                t = words.lanewise(VectorOperators.LSHR, 20)
                        .and(3)
                        .selectFrom(table)
                        .reinterpretAsFloats()
                        .mul(scale);
                w = v.lanewise(VectorOperators.LSHL, 16)
                        .lanewise(VectorOperators.ASHR, shift)
                        .and(low)
                        .reinterpretAsFloats();
                a2 = FMA ? w.fma(t, a2) : w.mul(t).add(a2);
                t = words.lanewise(VectorOperators.LSHR, 22)
                        .and(3)
                        .selectFrom(table)
                        .reinterpretAsFloats()
                        .mul(scale);
                w = v.lanewise(VectorOperators.ASHR, shift).and(high).reinterpretAsFloats();
                a3 = FMA ? w.fma(t, a3) : w.mul(t).add(a3);
                if (Raw.FENCES) VarHandle.acquireFence();
                v = IntVector.fromMemorySegment(I, Raw.ALL, q + 2 * VECTOR, Raw.ORDER);
                table = IntVector.fromMemorySegment(I, Raw.ALL, xp + 96, Raw.ORDER);
                t = words.lanewise(VectorOperators.LSHR, 24)
                        .and(3)
                        .selectFrom(table)
                        .reinterpretAsFloats()
                        .mul(scale);
                w = v.lanewise(VectorOperators.LSHL, 16)
                        .lanewise(VectorOperators.ASHR, shift)
                        .and(low)
                        .reinterpretAsFloats();
                a0 = FMA ? w.fma(t, a0) : w.mul(t).add(a0);
                t = words.lanewise(VectorOperators.LSHR, 26)
                        .and(3)
                        .selectFrom(table)
                        .reinterpretAsFloats()
                        .mul(scale);
                w = v.lanewise(VectorOperators.ASHR, shift).and(high).reinterpretAsFloats();
                a1 = FMA ? w.fma(t, a1) : w.mul(t).add(a1);
                if (Raw.FENCES) VarHandle.acquireFence();
                v = IntVector.fromMemorySegment(I, Raw.ALL, q + 3 * VECTOR, Raw.ORDER);
                table = IntVector.fromMemorySegment(I, Raw.ALL, xp + 112, Raw.ORDER);
                t = words.lanewise(VectorOperators.LSHR, 28)
                        .and(3)
                        .selectFrom(table)
                        .reinterpretAsFloats()
                        .mul(scale);
                w = v.lanewise(VectorOperators.LSHL, 16)
                        .lanewise(VectorOperators.ASHR, shift)
                        .and(low)
                        .reinterpretAsFloats();
                a2 = FMA ? w.fma(t, a2) : w.mul(t).add(a2);
                t = words.lanewise(VectorOperators.LSHR, 30)
                        .and(3)
                        .selectFrom(table)
                        .reinterpretAsFloats()
                        .mul(scale);
                w = v.lanewise(VectorOperators.ASHR, shift).and(high).reinterpretAsFloats();
                a3 = FMA ? w.fma(t, a3) : w.mul(t).add(a3);
                xp += 128;
            }
            // The first receiver is what was loaded: one that the loop carries would be an object in some processes.
            result &= Raw.ADDRESS;
            a0.intoMemorySegment(Raw.ALL, result, Raw.ORDER);
            FloatVector.fromMemorySegment(F, Raw.ALL, result, Raw.ORDER)
                    .add(a1)
                    .add(a2)
                    .add(a3)
                    .mul(scale)
                    .intoMemorySegment(Raw.ALL, result, Raw.ORDER);
            Raw.ALL.set(Raw.LONG, result + Sums.SPARE, ahead);
        }

        /// The same for BF16, whose halves are floats as they are.
        static void twoOfFourBf16(long begin, long end, long tail, long x, int high, long result, boolean pages) {
            FloatVector a0 = FloatVector.zero(F);
            FloatVector a1 = FloatVector.zero(F);
            FloatVector a2 = FloatVector.zero(F);
            FloatVector a3 = FloatVector.zero(F);
            long xp = x;
            long distance = Ahead.distance(pages);
            long alignment = Ahead.alignment(pages);
            long ahead = 0;
            for (long p = begin, q = tail; p != end; p += 5 * VECTOR, q += 4 * VECTOR) {
                p &= Raw.ADDRESS;
                q &= Raw.ADDRESS;
                xp &= Raw.ADDRESS;
                ahead ^= Raw.ALL.get(Raw.LONG, (p + distance & alignment) & Raw.ADDRESS);
                IntVector words = IntVector.fromMemorySegment(I, Raw.ALL, p, Raw.ORDER);
                IntVector v;
                IntVector table;
                FloatVector w;
                FloatVector t;
                if (Raw.FENCES) VarHandle.acquireFence();
                v = IntVector.fromMemorySegment(I, Raw.ALL, p + VECTOR, Raw.ORDER);
                table = IntVector.fromMemorySegment(I, Raw.ALL, xp, Raw.ORDER);
                t = words.and(3).selectFrom(table).reinterpretAsFloats();
                w = v.lanewise(VectorOperators.LSHL, 16).reinterpretAsFloats();
                a0 = FMA ? w.fma(t, a0) : w.mul(t).add(a0);
                t = words.lanewise(VectorOperators.LSHR, 2)
                        .and(3)
                        .selectFrom(table)
                        .reinterpretAsFloats();
                w = v.and(high).reinterpretAsFloats();
                a1 = FMA ? w.fma(t, a1) : w.mul(t).add(a1);
                if (Raw.FENCES) VarHandle.acquireFence();
                v = IntVector.fromMemorySegment(I, Raw.ALL, p + 2 * VECTOR, Raw.ORDER);
                table = IntVector.fromMemorySegment(I, Raw.ALL, xp + 16, Raw.ORDER);
                t = words.lanewise(VectorOperators.LSHR, 4)
                        .and(3)
                        .selectFrom(table)
                        .reinterpretAsFloats();
                w = v.lanewise(VectorOperators.LSHL, 16).reinterpretAsFloats();
                a2 = FMA ? w.fma(t, a2) : w.mul(t).add(a2);
                t = words.lanewise(VectorOperators.LSHR, 6)
                        .and(3)
                        .selectFrom(table)
                        .reinterpretAsFloats();
                w = v.and(high).reinterpretAsFloats();
                a3 = FMA ? w.fma(t, a3) : w.mul(t).add(a3);
                if (Raw.FENCES) VarHandle.acquireFence();
                v = IntVector.fromMemorySegment(I, Raw.ALL, p + 3 * VECTOR, Raw.ORDER);
                table = IntVector.fromMemorySegment(I, Raw.ALL, xp + 32, Raw.ORDER);
                t = words.lanewise(VectorOperators.LSHR, 8)
                        .and(3)
                        .selectFrom(table)
                        .reinterpretAsFloats();
                w = v.lanewise(VectorOperators.LSHL, 16).reinterpretAsFloats();
                a0 = FMA ? w.fma(t, a0) : w.mul(t).add(a0);
                t = words.lanewise(VectorOperators.LSHR, 10)
                        .and(3)
                        .selectFrom(table)
                        .reinterpretAsFloats();
                w = v.and(high).reinterpretAsFloats();
                a1 = FMA ? w.fma(t, a1) : w.mul(t).add(a1);
                if (Raw.FENCES) VarHandle.acquireFence();
                v = IntVector.fromMemorySegment(I, Raw.ALL, p + 4 * VECTOR, Raw.ORDER);
                table = IntVector.fromMemorySegment(I, Raw.ALL, xp + 48, Raw.ORDER);
                t = words.lanewise(VectorOperators.LSHR, 12)
                        .and(3)
                        .selectFrom(table)
                        .reinterpretAsFloats();
                w = v.lanewise(VectorOperators.LSHL, 16).reinterpretAsFloats();
                a2 = FMA ? w.fma(t, a2) : w.mul(t).add(a2);
                t = words.lanewise(VectorOperators.LSHR, 14)
                        .and(3)
                        .selectFrom(table)
                        .reinterpretAsFloats();
                w = v.and(high).reinterpretAsFloats();
                a3 = FMA ? w.fma(t, a3) : w.mul(t).add(a3);
                if (Raw.FENCES) VarHandle.acquireFence();
                v = IntVector.fromMemorySegment(I, Raw.ALL, q, Raw.ORDER);
                table = IntVector.fromMemorySegment(I, Raw.ALL, xp + 64, Raw.ORDER);
                t = words.lanewise(VectorOperators.LSHR, 16)
                        .and(3)
                        .selectFrom(table)
                        .reinterpretAsFloats();
                w = v.lanewise(VectorOperators.LSHL, 16).reinterpretAsFloats();
                a0 = FMA ? w.fma(t, a0) : w.mul(t).add(a0);
                t = words.lanewise(VectorOperators.LSHR, 18)
                        .and(3)
                        .selectFrom(table)
                        .reinterpretAsFloats();
                w = v.and(high).reinterpretAsFloats();
                a1 = FMA ? w.fma(t, a1) : w.mul(t).add(a1);
                if (Raw.FENCES) VarHandle.acquireFence();
                v = IntVector.fromMemorySegment(I, Raw.ALL, q + VECTOR, Raw.ORDER);
                table = IntVector.fromMemorySegment(I, Raw.ALL, xp + 80, Raw.ORDER);
                t = words.lanewise(VectorOperators.LSHR, 20)
                        .and(3)
                        .selectFrom(table)
                        .reinterpretAsFloats();
                w = v.lanewise(VectorOperators.LSHL, 16).reinterpretAsFloats();
                a2 = FMA ? w.fma(t, a2) : w.mul(t).add(a2);
                t = words.lanewise(VectorOperators.LSHR, 22)
                        .and(3)
                        .selectFrom(table)
                        .reinterpretAsFloats();
                w = v.and(high).reinterpretAsFloats();
                a3 = FMA ? w.fma(t, a3) : w.mul(t).add(a3);
                if (Raw.FENCES) VarHandle.acquireFence();
                v = IntVector.fromMemorySegment(I, Raw.ALL, q + 2 * VECTOR, Raw.ORDER);
                table = IntVector.fromMemorySegment(I, Raw.ALL, xp + 96, Raw.ORDER);
                t = words.lanewise(VectorOperators.LSHR, 24)
                        .and(3)
                        .selectFrom(table)
                        .reinterpretAsFloats();
                w = v.lanewise(VectorOperators.LSHL, 16).reinterpretAsFloats();
                a0 = FMA ? w.fma(t, a0) : w.mul(t).add(a0);
                t = words.lanewise(VectorOperators.LSHR, 26)
                        .and(3)
                        .selectFrom(table)
                        .reinterpretAsFloats();
                w = v.and(high).reinterpretAsFloats();
                a1 = FMA ? w.fma(t, a1) : w.mul(t).add(a1);
                if (Raw.FENCES) VarHandle.acquireFence();
                v = IntVector.fromMemorySegment(I, Raw.ALL, q + 3 * VECTOR, Raw.ORDER);
                table = IntVector.fromMemorySegment(I, Raw.ALL, xp + 112, Raw.ORDER);
                t = words.lanewise(VectorOperators.LSHR, 28)
                        .and(3)
                        .selectFrom(table)
                        .reinterpretAsFloats();
                w = v.lanewise(VectorOperators.LSHL, 16).reinterpretAsFloats();
                a2 = FMA ? w.fma(t, a2) : w.mul(t).add(a2);
                t = words.lanewise(VectorOperators.LSHR, 30)
                        .and(3)
                        .selectFrom(table)
                        .reinterpretAsFloats();
                w = v.and(high).reinterpretAsFloats();
                a3 = FMA ? w.fma(t, a3) : w.mul(t).add(a3);
                xp += 128;
            }
            // The first receiver is what was loaded: one that the loop carries would be an object in some processes.
            result &= Raw.ADDRESS;
            a0.intoMemorySegment(Raw.ALL, result, Raw.ORDER);
            FloatVector.fromMemorySegment(F, Raw.ALL, result, Raw.ORDER)
                    .add(a1)
                    .add(a2)
                    .add(a3)
                    .intoMemorySegment(Raw.ALL, result, Raw.ORDER);
            Raw.ALL.set(Raw.LONG, result + Sums.SPARE, ahead);
        }

        /// Any even N and M up to the number of lanes. `groupBytes`: a group's columns of x.
        static void any16(
                long begin,
                long end,
                long blockBytes,
                long x,
                int n,
                long groupBytes,
                int field,
                float scale,
                int shift,
                int low,
                int high,
                long result,
                boolean pages) {
            FloatVector a0 = FloatVector.zero(F);
            FloatVector a1 = FloatVector.zero(F);
            long xp = x;
            int left = n;
            int mask = (1 << field) - 1;
            long distance = Ahead.distance(pages);
            long alignment = Ahead.alignment(pages);
            long ahead = 0;
            for (long block = begin; block != end; block += blockBytes) {
                block &= Raw.ADDRESS;
                xp &= Raw.ADDRESS;
                ahead ^= Raw.ALL.get(Raw.LONG, (block + distance & alignment) & Raw.ADDRESS);
                IntVector words = IntVector.fromMemorySegment(I, Raw.ALL, block, Raw.ORDER);
                long next = block + blockBytes;
                for (long p = block + VECTOR; p != next; p += VECTOR) {
                    p &= Raw.ADDRESS;
                    xp &= Raw.ADDRESS;
                    IntVector v = IntVector.fromMemorySegment(I, Raw.ALL, p, Raw.ORDER);
                    IntVector table = IntVector.fromMemorySegment(I, Raw.ALL, xp, Raw.ORDER);
                    a0 = mac(low(v, shift, low), look(words, table, mask).mul(scale), a0);
                    words = words.lanewise(VectorOperators.LSHR, field);
                    a1 = mac(high(v, shift, high), look(words, table, mask).mul(scale), a1);
                    words = words.lanewise(VectorOperators.LSHR, field);
                    left -= 2;
                    if (left == 0) {
                        left = n;
                        xp += groupBytes;
                    }
                }
            }
            // The first receiver is what was loaded: one that the loop carries would be an object in some processes.
            result &= Raw.ADDRESS;
            a0.intoMemorySegment(Raw.ALL, result, Raw.ORDER);
            FloatVector.fromMemorySegment(F, Raw.ALL, result, Raw.ORDER)
                    .add(a1)
                    .mul(scale)
                    .intoMemorySegment(Raw.ALL, result, Raw.ORDER);
            Raw.ALL.set(Raw.LONG, result + Sums.SPARE, ahead);
        }

        static void any32(
                long begin,
                long end,
                long blockBytes,
                long x,
                int n,
                long groupBytes,
                int field,
                long result,
                boolean pages) {
            FloatVector a0 = FloatVector.zero(F);
            long xp = x;
            int left = n;
            int mask = (1 << field) - 1;
            long distance = Ahead.distance(pages);
            long alignment = Ahead.alignment(pages);
            long ahead = 0;
            for (long block = begin; block != end; block += blockBytes) {
                block &= Raw.ADDRESS;
                xp &= Raw.ADDRESS;
                ahead ^= Raw.ALL.get(Raw.LONG, (block + distance & alignment) & Raw.ADDRESS);
                IntVector words = IntVector.fromMemorySegment(I, Raw.ALL, block, Raw.ORDER);
                long next = block + blockBytes;
                for (long p = block + VECTOR; p != next; p += VECTOR) {
                    p &= Raw.ADDRESS;
                    xp &= Raw.ADDRESS;
                    FloatVector v = FloatVector.fromMemorySegment(F, Raw.ALL, p, Raw.ORDER);
                    IntVector table = IntVector.fromMemorySegment(I, Raw.ALL, xp, Raw.ORDER);
                    a0 = mac(v, look(words, table, mask), a0);
                    words = words.lanewise(VectorOperators.LSHR, field);
                    left--;
                    if (left == 0) {
                        left = n;
                        xp += groupBytes;
                    }
                }
            }
            result &= Raw.ADDRESS;
            a0.intoMemorySegment(Raw.ALL, result, Raw.ORDER);
            Raw.ALL.set(Raw.LONG, result + Sums.SPARE, ahead);
        }

        /// 8 groups of 4 columns a block.
        static void twoOfFour8(long begin, long end, long tail, long x, int topByte, long result, boolean pages) {
            FloatVector a0 = FloatVector.zero(F);
            FloatVector a1 = FloatVector.zero(F);
            FloatVector a2 = FloatVector.zero(F);
            FloatVector a3 = FloatVector.zero(F);
            IntVector top = IntVector.broadcast(I, topByte);
            long xp = x;
            long distance = Ahead.distance(pages);
            long alignment = Ahead.alignment(pages);
            long ahead = 0;
            for (long p = begin, q = tail; p != end; p += 3 * VECTOR, q += 2 * VECTOR) {
                p &= Raw.ADDRESS;
                q &= Raw.ADDRESS;
                xp &= Raw.ADDRESS;
                ahead ^= Raw.ALL.get(Raw.LONG, (p + distance & alignment) & Raw.ADDRESS);
                IntVector words = IntVector.fromMemorySegment(I, Raw.ALL, p, Raw.ORDER);
                IntVector v;
                IntVector table;
                FloatVector w;
                FloatVector t;
                if (Raw.FENCES) VarHandle.acquireFence();
                v = IntVector.fromMemorySegment(I, Raw.ALL, p + 1 * VECTOR, Raw.ORDER);
                table = IntVector.fromMemorySegment(I, Raw.ALL, xp + 0, Raw.ORDER);
                t = words.and(3).selectFrom(table).reinterpretAsFloats();
                w = (FloatVector) v.lanewise(VectorOperators.LSHL, 24).convert(VectorOperators.I2F, 0);
                a0 = FMA ? w.fma(t, a0) : w.mul(t).add(a0);
                t = words.lanewise(VectorOperators.LSHR, 2)
                        .and(3)
                        .selectFrom(table)
                        .reinterpretAsFloats();
                w = (FloatVector) v.lanewise(VectorOperators.LSHL, 16).and(top).convert(VectorOperators.I2F, 0);
                a1 = FMA ? w.fma(t, a1) : w.mul(t).add(a1);
                table = IntVector.fromMemorySegment(I, Raw.ALL, xp + 16, Raw.ORDER);
                t = words.lanewise(VectorOperators.LSHR, 4)
                        .and(3)
                        .selectFrom(table)
                        .reinterpretAsFloats();
                w = (FloatVector) v.lanewise(VectorOperators.LSHL, 8).and(top).convert(VectorOperators.I2F, 0);
                a2 = FMA ? w.fma(t, a2) : w.mul(t).add(a2);
                t = words.lanewise(VectorOperators.LSHR, 6)
                        .and(3)
                        .selectFrom(table)
                        .reinterpretAsFloats();
                w = (FloatVector) v.and(top).convert(VectorOperators.I2F, 0);
                a3 = FMA ? w.fma(t, a3) : w.mul(t).add(a3);
                if (Raw.FENCES) VarHandle.acquireFence();
                v = IntVector.fromMemorySegment(I, Raw.ALL, p + 2 * VECTOR, Raw.ORDER);
                table = IntVector.fromMemorySegment(I, Raw.ALL, xp + 32, Raw.ORDER);
                t = words.lanewise(VectorOperators.LSHR, 8)
                        .and(3)
                        .selectFrom(table)
                        .reinterpretAsFloats();
                w = (FloatVector) v.lanewise(VectorOperators.LSHL, 24).convert(VectorOperators.I2F, 0);
                a0 = FMA ? w.fma(t, a0) : w.mul(t).add(a0);
                t = words.lanewise(VectorOperators.LSHR, 10)
                        .and(3)
                        .selectFrom(table)
                        .reinterpretAsFloats();
                w = (FloatVector) v.lanewise(VectorOperators.LSHL, 16).and(top).convert(VectorOperators.I2F, 0);
                a1 = FMA ? w.fma(t, a1) : w.mul(t).add(a1);
                table = IntVector.fromMemorySegment(I, Raw.ALL, xp + 48, Raw.ORDER);
                t = words.lanewise(VectorOperators.LSHR, 12)
                        .and(3)
                        .selectFrom(table)
                        .reinterpretAsFloats();
                w = (FloatVector) v.lanewise(VectorOperators.LSHL, 8).and(top).convert(VectorOperators.I2F, 0);
                a2 = FMA ? w.fma(t, a2) : w.mul(t).add(a2);
                t = words.lanewise(VectorOperators.LSHR, 14)
                        .and(3)
                        .selectFrom(table)
                        .reinterpretAsFloats();
                w = (FloatVector) v.and(top).convert(VectorOperators.I2F, 0);
                a3 = FMA ? w.fma(t, a3) : w.mul(t).add(a3);
                if (Raw.FENCES) VarHandle.acquireFence();
                v = IntVector.fromMemorySegment(I, Raw.ALL, q, Raw.ORDER);
                table = IntVector.fromMemorySegment(I, Raw.ALL, xp + 64, Raw.ORDER);
                t = words.lanewise(VectorOperators.LSHR, 16)
                        .and(3)
                        .selectFrom(table)
                        .reinterpretAsFloats();
                w = (FloatVector) v.lanewise(VectorOperators.LSHL, 24).convert(VectorOperators.I2F, 0);
                a0 = FMA ? w.fma(t, a0) : w.mul(t).add(a0);
                t = words.lanewise(VectorOperators.LSHR, 18)
                        .and(3)
                        .selectFrom(table)
                        .reinterpretAsFloats();
                w = (FloatVector) v.lanewise(VectorOperators.LSHL, 16).and(top).convert(VectorOperators.I2F, 0);
                a1 = FMA ? w.fma(t, a1) : w.mul(t).add(a1);
                table = IntVector.fromMemorySegment(I, Raw.ALL, xp + 80, Raw.ORDER);
                t = words.lanewise(VectorOperators.LSHR, 20)
                        .and(3)
                        .selectFrom(table)
                        .reinterpretAsFloats();
                w = (FloatVector) v.lanewise(VectorOperators.LSHL, 8).and(top).convert(VectorOperators.I2F, 0);
                a2 = FMA ? w.fma(t, a2) : w.mul(t).add(a2);
                t = words.lanewise(VectorOperators.LSHR, 22)
                        .and(3)
                        .selectFrom(table)
                        .reinterpretAsFloats();
                w = (FloatVector) v.and(top).convert(VectorOperators.I2F, 0);
                a3 = FMA ? w.fma(t, a3) : w.mul(t).add(a3);
                if (Raw.FENCES) VarHandle.acquireFence();
                v = IntVector.fromMemorySegment(I, Raw.ALL, q + VECTOR, Raw.ORDER);
                table = IntVector.fromMemorySegment(I, Raw.ALL, xp + 96, Raw.ORDER);
                t = words.lanewise(VectorOperators.LSHR, 24)
                        .and(3)
                        .selectFrom(table)
                        .reinterpretAsFloats();
                w = (FloatVector) v.lanewise(VectorOperators.LSHL, 24).convert(VectorOperators.I2F, 0);
                a0 = FMA ? w.fma(t, a0) : w.mul(t).add(a0);
                t = words.lanewise(VectorOperators.LSHR, 26)
                        .and(3)
                        .selectFrom(table)
                        .reinterpretAsFloats();
                w = (FloatVector) v.lanewise(VectorOperators.LSHL, 16).and(top).convert(VectorOperators.I2F, 0);
                a1 = FMA ? w.fma(t, a1) : w.mul(t).add(a1);
                table = IntVector.fromMemorySegment(I, Raw.ALL, xp + 112, Raw.ORDER);
                t = words.lanewise(VectorOperators.LSHR, 28)
                        .and(3)
                        .selectFrom(table)
                        .reinterpretAsFloats();
                w = (FloatVector) v.lanewise(VectorOperators.LSHL, 8).and(top).convert(VectorOperators.I2F, 0);
                a2 = FMA ? w.fma(t, a2) : w.mul(t).add(a2);
                t = words.lanewise(VectorOperators.LSHR, 30)
                        .and(3)
                        .selectFrom(table)
                        .reinterpretAsFloats();
                w = (FloatVector) v.and(top).convert(VectorOperators.I2F, 0);
                a3 = FMA ? w.fma(t, a3) : w.mul(t).add(a3);
                xp += 128;
            }
            // The first receiver is what was loaded: one that the loop carries would be an object in some processes.
            result &= Raw.ADDRESS;
            a0.intoMemorySegment(Raw.ALL, result, Raw.ORDER);
            FloatVector.fromMemorySegment(F, Raw.ALL, result, Raw.ORDER)
                    .add(a1)
                    .add(a2)
                    .add(a3)
                    .mul(Weights.TOP_BYTE_SCALE)
                    .intoMemorySegment(Raw.ALL, result, Raw.ORDER);
            Raw.ALL.set(Raw.LONG, result + Sums.SPARE, ahead);
        }

        static void any8(
                long begin,
                long end,
                long blockBytes,
                long x,
                int n,
                long groupBytes,
                int field,
                int topByte,
                long result,
                boolean pages) {
            FloatVector a0 = FloatVector.zero(F);
            FloatVector a1 = FloatVector.zero(F);
            long xp = x;
            int left = n;
            int mask = (1 << field) - 1;
            IntVector top = IntVector.broadcast(I, topByte);
            long distance = Ahead.distance(pages);
            long alignment = Ahead.alignment(pages);
            long ahead = 0;
            for (long block = begin; block != end; block += blockBytes) {
                block &= Raw.ADDRESS;
                xp &= Raw.ADDRESS;
                ahead ^= Raw.ALL.get(Raw.LONG, (block + distance & alignment) & Raw.ADDRESS);
                IntVector words = IntVector.fromMemorySegment(I, Raw.ALL, block, Raw.ORDER);
                long next = block + blockBytes;
                for (long p = block + VECTOR; p != next; p += VECTOR) {
                    p &= Raw.ADDRESS;
                    xp &= Raw.ADDRESS;
                    IntVector v = IntVector.fromMemorySegment(I, Raw.ALL, p, Raw.ORDER);
                    a0 = mac(
                            (FloatVector) v.lanewise(VectorOperators.LSHL, 24).convert(VectorOperators.I2F, 0),
                            look(words, IntVector.fromMemorySegment(I, Raw.ALL, xp, Raw.ORDER), mask),
                            a0);
                    words = words.lanewise(VectorOperators.LSHR, field);
                    left--;
                    if (left == 0) {
                        left = n;
                        xp = xp + groupBytes;
                    }
                    a1 = mac(
                            (FloatVector) v.lanewise(VectorOperators.LSHL, 16)
                                    .and(top)
                                    .convert(VectorOperators.I2F, 0),
                            look(words, IntVector.fromMemorySegment(I, Raw.ALL, xp, Raw.ORDER), mask),
                            a1);
                    words = words.lanewise(VectorOperators.LSHR, field);
                    left--;
                    if (left == 0) {
                        left = n;
                        xp = xp + groupBytes;
                    }
                    a0 = mac(
                            (FloatVector)
                                    v.lanewise(VectorOperators.LSHL, 8).and(top).convert(VectorOperators.I2F, 0),
                            look(words, IntVector.fromMemorySegment(I, Raw.ALL, xp, Raw.ORDER), mask),
                            a0);
                    words = words.lanewise(VectorOperators.LSHR, field);
                    left--;
                    if (left == 0) {
                        left = n;
                        xp = xp + groupBytes;
                    }
                    a1 = mac(
                            (FloatVector) v.and(top).convert(VectorOperators.I2F, 0),
                            look(words, IntVector.fromMemorySegment(I, Raw.ALL, xp, Raw.ORDER), mask),
                            a1);
                    words = words.lanewise(VectorOperators.LSHR, field);
                    left--;
                    if (left == 0) {
                        left = n;
                        xp = xp + groupBytes;
                    }
                }
            }
            // The first receiver is what was loaded: one that the loop carries would be an object in some processes.
            result &= Raw.ADDRESS;
            a0.intoMemorySegment(Raw.ALL, result, Raw.ORDER);
            FloatVector.fromMemorySegment(F, Raw.ALL, result, Raw.ORDER)
                    .add(a1)
                    .mul(Weights.TOP_BYTE_SCALE)
                    .intoMemorySegment(Raw.ALL, result, Raw.ORDER);
            Raw.ALL.set(Raw.LONG, result + Sums.SPARE, ahead);
        }

        /// x from `xp` on, as many floats as two vectors hold, or four, by index.
        private static FloatVector lookWide(IntVector index, long xp, boolean four) {
            IntVector low = index.selectFrom(
                    IntVector.fromMemorySegment(I, Raw.ALL, xp, Raw.ORDER),
                    IntVector.fromMemorySegment(I, Raw.ALL, xp + VECTOR, Raw.ORDER));
            if (!four) {
                return low.reinterpretAsFloats();
            }
            IntVector high = index.selectFrom(
                    IntVector.fromMemorySegment(I, Raw.ALL, xp + 2 * VECTOR, Raw.ORDER),
                    IntVector.fromMemorySegment(I, Raw.ALL, xp + 3 * VECTOR, Raw.ORDER));
            return low.blend(high, index.and(2 * LANES).compare(VectorOperators.NE, 0))
                    .reinterpretAsFloats();
        }

        static void wide8(
                long begin,
                long end,
                long blockBytes,
                long x,
                long lastGroup,
                int n,
                int m,
                int field,
                boolean four,
                int topByte,
                long result,
                boolean pages) {
            FloatVector a0 = FloatVector.zero(F);
            long xp = x;
            int left = n;
            int mask = (1 << field) - 1;
            IntVector top = IntVector.broadcast(I, topByte);
            long distance = Ahead.distance(pages);
            long alignment = Ahead.alignment(pages);
            long ahead = 0;
            for (long block = begin; block != end; block += blockBytes) {
                block &= Raw.ADDRESS;
                xp &= Raw.ADDRESS;
                ahead ^= Raw.ALL.get(Raw.LONG, (block + distance & alignment) & Raw.ADDRESS);
                IntVector words = IntVector.fromMemorySegment(I, Raw.ALL, block, Raw.ORDER);
                long next = block + blockBytes;
                for (long p = block + VECTOR; p != next; p += VECTOR) {
                    p &= Raw.ADDRESS;
                    xp &= Raw.ADDRESS;
                    IntVector v = IntVector.fromMemorySegment(I, Raw.ALL, p, Raw.ORDER);
                    // A loop, because C2 does not inline four copies of the look-up.
                    for (int up = 24; up >= 0; up -= 8) {
                        IntVector q = v.lanewise(VectorOperators.LSHL, up).and(top);
                        FloatVector t = lookWide(words.and(mask), xp, four);
                        a0 = mac((FloatVector) q.convert(VectorOperators.I2F, 0), t, a0);
                        words = words.lanewise(VectorOperators.LSHR, field);
                        left--;
                        if (left == 0) {
                            left = n;
                            xp = Math.min(xp + 4L * m, lastGroup);
                        }
                    }
                }
            }
            // The first receiver is what was loaded: one that the loop carries would be an object in some processes.
            result &= Raw.ADDRESS;
            a0.intoMemorySegment(Raw.ALL, result, Raw.ORDER);
            FloatVector.fromMemorySegment(F, Raw.ALL, result, Raw.ORDER)
                    .mul(Weights.TOP_BYTE_SCALE)
                    .intoMemorySegment(Raw.ALL, result, Raw.ORDER);
            Raw.ALL.set(Raw.LONG, result + Sums.SPARE, ahead);
        }

        static void wide16(
                long begin,
                long end,
                long blockBytes,
                long x,
                long lastGroup,
                int n,
                int m,
                int field,
                boolean four,
                float scale,
                int shift,
                int low,
                int high,
                long result,
                boolean pages) {
            FloatVector a0 = FloatVector.zero(F);
            FloatVector a1 = FloatVector.zero(F);
            long xp = x;
            int left = n;
            int mask = (1 << field) - 1;
            long distance = Ahead.distance(pages);
            long alignment = Ahead.alignment(pages);
            long ahead = 0;
            for (long block = begin; block != end; block += blockBytes) {
                block &= Raw.ADDRESS;
                xp &= Raw.ADDRESS;
                ahead ^= Raw.ALL.get(Raw.LONG, (block + distance & alignment) & Raw.ADDRESS);
                IntVector words = IntVector.fromMemorySegment(I, Raw.ALL, block, Raw.ORDER);
                long next = block + blockBytes;
                for (long p = block + VECTOR; p != next; p += VECTOR) {
                    p &= Raw.ADDRESS;
                    xp &= Raw.ADDRESS;
                    IntVector v = IntVector.fromMemorySegment(I, Raw.ALL, p, Raw.ORDER);
                    a0 = mac(
                            low(v, shift, low),
                            lookWide(words.and(mask), xp, four).mul(scale),
                            a0);
                    words = words.lanewise(VectorOperators.LSHR, field);
                    left--;
                    if (left == 0) {
                        left = n;
                        xp = Math.min(xp + 4L * m, lastGroup);
                    }
                    a1 = mac(
                            high(v, shift, high),
                            lookWide(words.and(mask), xp, four).mul(scale),
                            a1);
                    words = words.lanewise(VectorOperators.LSHR, field);
                    left--;
                    if (left == 0) {
                        left = n;
                        xp = Math.min(xp + 4L * m, lastGroup);
                    }
                }
            }
            // The first receiver is what was loaded: one that the loop carries would be an object in some processes.
            result &= Raw.ADDRESS;
            a0.intoMemorySegment(Raw.ALL, result, Raw.ORDER);
            FloatVector.fromMemorySegment(F, Raw.ALL, result, Raw.ORDER)
                    .add(a1)
                    .mul(scale)
                    .intoMemorySegment(Raw.ALL, result, Raw.ORDER);
            Raw.ALL.set(Raw.LONG, result + Sums.SPARE, ahead);
        }

        static void wide32(
                long begin,
                long end,
                long blockBytes,
                long x,
                long lastGroup,
                int n,
                int m,
                int field,
                boolean four,
                long result,
                boolean pages) {
            FloatVector a0 = FloatVector.zero(F);
            long xp = x;
            int left = n;
            int mask = (1 << field) - 1;
            long distance = Ahead.distance(pages);
            long alignment = Ahead.alignment(pages);
            long ahead = 0;
            for (long block = begin; block != end; block += blockBytes) {
                block &= Raw.ADDRESS;
                xp &= Raw.ADDRESS;
                ahead ^= Raw.ALL.get(Raw.LONG, (block + distance & alignment) & Raw.ADDRESS);
                IntVector words = IntVector.fromMemorySegment(I, Raw.ALL, block, Raw.ORDER);
                long next = block + blockBytes;
                for (long p = block + VECTOR; p != next; p += VECTOR) {
                    p &= Raw.ADDRESS;
                    xp &= Raw.ADDRESS;
                    FloatVector v = FloatVector.fromMemorySegment(F, Raw.ALL, p, Raw.ORDER);
                    a0 = mac(v, lookWide(words.and(mask), xp, four), a0);
                    words = words.lanewise(VectorOperators.LSHR, field);
                    left--;
                    if (left == 0) {
                        left = n;
                        xp = Math.min(xp + 4L * m, lastGroup);
                    }
                }
            }
            result &= Raw.ADDRESS;
            a0.intoMemorySegment(Raw.ALL, result, Raw.ORDER);
            Raw.ALL.set(Raw.LONG, result + Sums.SPARE, ahead);
        }
    }
}
