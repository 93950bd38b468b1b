package dev.espalier.kernels.format;

import dev.espalier.kernels.Linear;
import dev.espalier.kernels.WeightFormat;
import dev.espalier.kernels.cpu.CpuLinear;
import dev.espalier.kernels.simd.CompilerHints;
import dev.espalier.kernels.simd.Raw;
import dev.espalier.kernels.simd.Sums;
import dev.espalier.kernels.simd.VectorCheck;
import dev.espalier.natives.os.Memory;
import dev.espalier.tensor.DType;
import dev.espalier.tensor.Tensor;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.invoke.VarHandle;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.ShortVector;
import jdk.incubator.vector.VectorMask;
import jdk.incubator.vector.VectorOperators;
import jdk.incubator.vector.VectorShape;
import jdk.incubator.vector.VectorSpecies;

/// Any mask: one bit a weight, and the kept values packed behind one another.
///
/// Rows are taken in blocks of 8, columns in groups of 32. Masks and values lie in the same order: block by block as [Strips]
/// has them, in a block group by group, in a group row by row. The values of a block's first four rows lie in one area and those of
/// its last four in another, so that a kernel reads two streams of them (docs/design/formats.md, "Two streams").
///
/// ```
///             group 0                             group 1
///   masks   | row 0 u32 | row 1 u32 | ... row 7 | row 0 u32 | ...      bit c of a word = column 32 g + c is kept
///   values  | kept of row 0 | ... row 3         | row 0 | ...          lowest column first, no padding
///           | kept of row 4 | ... row 7         | row 4 | ...
/// ```
///
/// `d · b + 1/8` bytes a weight, where d is the fraction kept and b the bytes of a value: 1.125 for BF16 at 50 %. Rows and
/// columns beyond the matrix count as zeros. With AVX-512 VBMI2 a row's values are spread over 32 lanes by one `expand`,
/// guided by the mask; pays from about 40 % to 70 % sparsity, more where bandwidth is short. Without it values are widened
/// first and 16 or 8 are spread at a time, which hardly beats dense.
public final class Bitmask implements WeightFormat {
    /// See [CpuLinear#fewTokens].
    private static final int FEW_TOKENS = 6;

    private static final int BLOCK = 8;
    /// Rows of a block whose values are one stream.
    private static final int HALF_BLOCK = BLOCK / 2;
    private static final int GROUP = 32;
    /// Groups between two entries of the offset table, so that a panel finds its values.
    private static final int GROUPS_A_START = 8;

    private static final Bitmask INSTANCE = new Bitmask();

    private Bitmask() {}

    public static Bitmask of() {
        return INSTANCE;
    }

    @Override
    public String name() {
        return "bitmask";
    }

    @Override
    public String refuses(Tensor dense) {
        return Weights.refuses(dense);
    }

    @Override
    public Linear pack(Tensor dense) {
        String reason = refuses(dense);
        if (reason != null) {
            throw new IllegalArgumentException("bitmask: " + reason);
        }
        return new Packed(dense);
    }

    /// The packed matrix.
    private static final class Packed implements CpuLinear, Strips.Matrix {
        private static final ThreadLocal<AheadChoice> AHEAD = AheadChoice.perThread();

        private final Arena arena = Arena.ofShared();
        private final DType dtype;
        private final int rows;
        private final int columns;
        private final int groups;
        private final Strips strips;
        /// Groups of a strip, and entries in the offset table for it.
        private final int stripGroups;

        private final int stripStarts;
        private final long nonZeros;
        private final long masks;
        /// Addresses of the values of group 8 i of each strip of each block, for its first four rows and for its last.
        private final long[] starts;

        Packed(Tensor dense) {
            dtype = dense.dtype();
            rows = dense.rows();
            columns = dense.columns();
            groups = Math.ceilDiv(columns, GROUP);
            strips = Strips.of(rows, columns, BLOCK);
            stripGroups = strips.width() / GROUP;
            stripStarts = stripGroups / GROUPS_A_START;
            int blocks = Math.ceilDiv(rows, BLOCK);
            masks = Memory.allocate(Math.max(1, 4L * BLOCK * blocks * groups), arena)
                    .address();
            long[] counts = writeMasks(dense);
            nonZeros = counts[0] + counts[1];
            starts = new long[2 * strips.units() * stripStarts];
            for (int half = 0; half < 2; half++) {
                long bytes = counts[half] * dtype.bytes() + 64;
                writeValues(dense, half, Ahead.allocate(bytes, arena).address());
            }
        }

        /// Returns how many weights the blocks' first four rows keep, and how many their last four.
        private long[] writeMasks(Tensor dense) {
            long[] counts = new long[2];
            for (int row = 0; row < rows; row++) {
                for (int group = 0; group < groups; group++) {
                    long index = (long) row * columns + (long) group * GROUP;
                    int word = 0;
                    for (int c = 0; c < Math.min(GROUP, columns - group * GROUP); c++) {
                        word |= (Weights.bits(dtype, dense.segment(), index + c) == 0 ? 0 : 1) << c;
                    }
                    Raw.ALL.set(Raw.INT, mask(row, group), word);
                    counts[row % BLOCK / HALF_BLOCK] += Integer.bitCount(word);
                }
            }
            return counts;
        }

        /// Writes the values of half of each block's rows from `values` on.
        private void writeValues(Tensor dense, int half, long values) {
            long[] at = {values};
            strips.forEach((index, block, strip) -> {
                for (int group = 0; group < groups(strip); group++) {
                    if (group % GROUPS_A_START == 0) {
                        starts[2 * (index * stripStarts + group / GROUPS_A_START) + half] = at[0];
                    }
                    at[0] = writeGroup(dense, block + half * HALF_BLOCK, strip * stripGroups + group, at[0]);
                }
            });
        }

        /// Writes what four rows from `first` on keep of one group, from `to` on; returns where the next ones begin.
        private long writeGroup(Tensor dense, int first, int group, long to) {
            long at = to;
            for (int row = first; row < first + HALF_BLOCK; row++) {
                long index = (long) row * columns + (long) group * GROUP;
                for (int m = Raw.ALL.get(Raw.INT, mask(row, group)); m != 0; m &= m - 1) {
                    int bits = Weights.bits(dtype, dense.segment(), index + Integer.numberOfTrailingZeros(m));
                    Weights.store(dtype, at, bits);
                    at += dtype.bytes();
                }
            }
            return at;
        }

        private int groups(int strip) {
            return Math.ceilDiv(strips.columns(strip), GROUP);
        }

        /// The address of a mask word. Groups lie in the order of [Strips].
        private long mask(int row, int group) {
            return masks + 4L * (strips.index(row, group, stripGroups, groups) * BLOCK + row % BLOCK);
        }

        /// The address of what a half of a block's rows keep of a group, whose number in its strip is a multiple of
        /// [#GROUPS_A_START].
        private long start(int row, int group, int half) {
            int strip = group / stripGroups;
            return starts[2 * (strips.index(row, strip) * stripStarts + group % stripGroups / GROUPS_A_START) + half];
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
            return nonZeros * dtype.bytes() + 4L * BLOCK * Math.ceilDiv(rows, BLOCK) * groups;
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
            return Kernel.WIDE && dtype != DType.F32 ? Input.EVEN_ODD : Input.PLAIN;
        }

        @Override
        public AheadChoice ahead() {
            return AHEAD.get();
        }

        @Override
        public int grain() {
            return BLOCK;
        }

        @Override
        public int fewTokens() {
            return FEW_TOKENS;
        }

        @Override
        public void multiply(MemorySegment x, MemorySegment y, int from, int to) {
            long xs = Raw.address(x, input().bytes(columns));
            long ys = Raw.address(y, 4L * to);
            if (groups == 0) {
                Raw.ALL.asSlice(ys + 4L * from, 4L * (to - from)).fill((byte) 0);
                return;
            }
            strips.multiply(this, input(), from, to, xs, ys);
        }

        @Override
        public void multiplyStrip(int strip, int from, int to, long x, long y, boolean pages) {
            long sums = Sums.scratch();
            float scale = Weights.scale(dtype);
            long begin = mask(from, strip * stripGroups);
            int index = strips.index(from, strip);
            for (int row = from; row < to; row += BLOCK) {
                int count = Math.min(BLOCK, to - row);
                long end = begin + 4L * BLOCK * groups(strip);
                long first = starts[2 * index * stripStarts];
                long last = starts[2 * index * stripStarts + 1];
                if (Kernel.EXPANDS) {
                    run(begin, end, first, last, x, sums, pages);
                    Sums.fold(sums, count, scale, strip > 0, y + 4L * row);
                } else {
                    scalar(begin, end, first, last, x, strip > 0, y + 4L * row, count);
                }
                begin = end;
                index++;
            }
        }

        private void run(long begin, long end, long first, long last, long x, long sums, boolean pages) {
            int shift = Weights.shift(dtype);
            int low = Weights.lowMask(dtype);
            int high = Weights.highMask(dtype);
            float scale = Weights.scale(dtype);
            if (dtype == DType.F32) {
                Kernel.narrow32(begin, end, first, last, x, sums, pages);
            } else if (!Kernel.WIDE) {
                Kernel.narrow16(begin, end, first, last, x, scale, shift, low, sums, pages);
            } else if (dtype == DType.BF16) {
                Kernel.bf16(begin, end, first, last, x, high, sums, pages);
            } else {
                Kernel.f16(begin, end, first, last, x, scale, shift, low, high, sums, pages);
            }
        }

        /// The same without vectors.
        private void scalar(long begin, long end, long first, long last, long x, boolean more, long y, int count) {
            long[] at = {first, last};
            long group = x;
            float[] sums = new float[BLOCK];
            for (long p = begin; p != end; p += 4 * BLOCK) {
                for (int row = 0; row < BLOCK; row++) {
                    float sum = sums[row];
                    for (int m = Raw.ALL.get(Raw.INT, p + 4L * row); m != 0; m &= m - 1) {
                        float input = Raw.ALL.get(Raw.FLOAT, group + 4L * Integer.numberOfTrailingZeros(m));
                        sum += Weights.value(dtype, at[row / HALF_BLOCK]) * input;
                        at[row / HALF_BLOCK] += dtype.bytes();
                    }
                    sums[row] = sum;
                }
                group += 4L * GROUP;
            }
            Sums.put(sums, count, more, y);
        }

        @Override
        public void expand(int rowFrom, int rowTo, int colFrom, int colTo, MemorySegment panel, int stride) {
            long target = Raw.address(panel, 0);
            int last = Math.ceilDiv(colTo, GROUP);
            for (int first = colFrom / GROUP; first < last; first = (first / stripGroups + 1) * stripGroups) {
                int end = Math.min(last, (first / stripGroups + 1) * stripGroups);
                long to = target + 4L * ((long) first * GROUP - colFrom);
                for (int row = rowFrom; row < rowTo; row += BLOCK) {
                    expand(row, first, end - first, to + 4L * (row - rowFrom) * stride, stride);
                }
            }
        }

        /// `count` groups of a strip from `first` on, of the block of `row`.
        private void expand(int row, int first, int count, long to, int stride) {
            int anchor = first / GROUPS_A_START * GROUPS_A_START;
            for (int half = 0; half < 2; half++) {
                long above = 4L * HALF_BLOCK * half;
                long begin = mask(row, first) + above;
                long skip = 0;
                for (long p = mask(row, anchor) + above; p != begin; p += 4 * BLOCK) {
                    for (int r = 0; r < HALF_BLOCK; r++) {
                        skip += Integer.bitCount(Raw.ALL.get(Raw.INT, p + 4L * r));
                    }
                }
                long at = start(row, anchor, half) + skip * dtype.bytes();
                long target = to + above * stride;
                if (Kernel.WIDE && dtype != DType.F32) {
                    float scale = Weights.scale(dtype);
                    int shift = Weights.shift(dtype);
                    int low = Weights.lowMask(dtype);
                    long end = begin + 4L * BLOCK * count;
                    Kernel.panel16(begin, end, at, target, 4L * stride, scale * scale, shift, low);
                } else {
                    panel(begin, count, at, target, stride);
                }
            }
        }

        /// Half of a block's rows without vectors.
        private void panel(long mask, int count, long value, long target, int stride) {
            long at = value;
            for (int row = 0; row < HALF_BLOCK; row++) {
                Raw.ALL.asSlice(target + 4L * row * stride, 4L * GROUP * count).fill((byte) 0);
            }
            for (int group = 0; group < count; group++) {
                for (int row = 0; row < HALF_BLOCK; row++) {
                    for (int m = Raw.ALL.get(Raw.INT, mask + 4L * ((long) group * BLOCK + row)); m != 0; m &= m - 1) {
                        long column = (long) group * GROUP + Integer.numberOfTrailingZeros(m);
                        Raw.ALL.set(Raw.FLOAT, target + 4L * ((long) row * stride + column), Weights.value(dtype, at));
                        at += dtype.bytes();
                    }
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

    /// One block of 8 rows; the accumulators go to `sums`.
    private static final class Kernel {
        private static final VectorSpecies<Float> F = FloatVector.SPECIES_PREFERRED;
        private static final VectorSpecies<Integer> I = IntVector.SPECIES_PREFERRED;
        private static final VectorSpecies<Short> S = ShortVector.SPECIES_PREFERRED;
        private static final VectorSpecies<Short> HALF =
                VectorSpecies.of(short.class, VectorShape.forBitSize(Math.max(64, F.vectorBitSize() / 2)));
        private static final int LANES = F.length();
        private static final int LANE_BITS = LANES < 32 ? (1 << LANES) - 1 : -1;
        private static final boolean FMA = CompilerHints.fma();
        /// Whether there is an instruction that spreads values over the lanes of a mask.
        static final boolean EXPANDS = VectorCheck.compiled() && (LANES == 16 || LANES == 8);

        static final boolean WIDE = EXPANDS && LANES == 16 && VectorCheck.shortExpand();

        static {
            CompilerHints.excludeFromC1(Kernel.class);
        }

        private Kernel() {}

        /// 16 lanes, BF16: its bits are the upper half of the float32.
        static void bf16(long masks, long end, long values, long others, long x, int high, long sums, boolean pages) {
            FloatVector a0 = FloatVector.zero(F);
            FloatVector a1 = FloatVector.zero(F);
            FloatVector a2 = FloatVector.zero(F);
            FloatVector a3 = FloatVector.zero(F);
            FloatVector a4 = FloatVector.zero(F);
            FloatVector a5 = FloatVector.zero(F);
            FloatVector a6 = FloatVector.zero(F);
            FloatVector a7 = FloatVector.zero(F);
            long vp = values;
            long wp = others;
            long xp = x;
            long distance = Ahead.distance(pages);
            long alignment = Ahead.alignment(pages);
            long ahead = 0;
            for (long p = masks; p != end; p += 4 * BLOCK) {
                p &= Raw.ADDRESS;
                xp &= Raw.ADDRESS;
                vp &= Raw.ADDRESS;
                wp &= Raw.ADDRESS;
                // What lies between a stream's place and a row's values: no load waits for more than the masks.
                int before = 0;
                int behind = 0;
                ahead ^= Raw.ALL.get(Raw.LONG, (vp + distance & alignment) & Raw.ADDRESS);
                FloatVector even = FloatVector.fromMemorySegment(F, Raw.ALL, xp, Raw.ORDER);
                FloatVector odd = FloatVector.fromMemorySegment(F, Raw.ALL, xp + 64, Raw.ORDER);
                xp += 4 * GROUP;
                long m;
                IntVector v;
                FloatVector w;
                m = Raw.ALL.get(Raw.LONG, p + 0);
                if (Raw.FENCES) VarHandle.acquireFence();
                v = ShortVector.fromMemorySegment(S, Raw.ALL, vp + 2L * (before & Raw.UNSIGNED), Raw.ORDER)
                        .expand(VectorMask.fromLong(S, m & 0xffffffffL))
                        .reinterpretAsInts();
                before += Integer.bitCount((int) m);
                w = v.lanewise(VectorOperators.LSHL, 16).reinterpretAsFloats();
                a0 = FMA ? even.fma(w, a0) : even.mul(w).add(a0);
                w = v.and(high).reinterpretAsFloats();
                a0 = FMA ? odd.fma(w, a0) : odd.mul(w).add(a0);
                if (Raw.FENCES) VarHandle.acquireFence();
                v = ShortVector.fromMemorySegment(S, Raw.ALL, vp + 2L * (before & Raw.UNSIGNED), Raw.ORDER)
                        .expand(VectorMask.fromLong(S, m >>> 32))
                        .reinterpretAsInts();
                before += Integer.bitCount((int) (m >>> 32));
                w = v.lanewise(VectorOperators.LSHL, 16).reinterpretAsFloats();
                a1 = FMA ? even.fma(w, a1) : even.mul(w).add(a1);
                w = v.and(high).reinterpretAsFloats();
                a1 = FMA ? odd.fma(w, a1) : odd.mul(w).add(a1);
                m = Raw.ALL.get(Raw.LONG, p + 8);
                if (Raw.FENCES) VarHandle.acquireFence();
                v = ShortVector.fromMemorySegment(S, Raw.ALL, vp + 2L * (before & Raw.UNSIGNED), Raw.ORDER)
                        .expand(VectorMask.fromLong(S, m & 0xffffffffL))
                        .reinterpretAsInts();
                before += Integer.bitCount((int) m);
                w = v.lanewise(VectorOperators.LSHL, 16).reinterpretAsFloats();
                a2 = FMA ? even.fma(w, a2) : even.mul(w).add(a2);
                w = v.and(high).reinterpretAsFloats();
                a2 = FMA ? odd.fma(w, a2) : odd.mul(w).add(a2);
                if (Raw.FENCES) VarHandle.acquireFence();
                v = ShortVector.fromMemorySegment(S, Raw.ALL, vp + 2L * (before & Raw.UNSIGNED), Raw.ORDER)
                        .expand(VectorMask.fromLong(S, m >>> 32))
                        .reinterpretAsInts();
                before += Integer.bitCount((int) (m >>> 32));
                w = v.lanewise(VectorOperators.LSHL, 16).reinterpretAsFloats();
                a3 = FMA ? even.fma(w, a3) : even.mul(w).add(a3);
                w = v.and(high).reinterpretAsFloats();
                a3 = FMA ? odd.fma(w, a3) : odd.mul(w).add(a3);
                m = Raw.ALL.get(Raw.LONG, p + 16);
                if (Raw.FENCES) VarHandle.acquireFence();
                v = ShortVector.fromMemorySegment(S, Raw.ALL, wp + 2L * (behind & Raw.UNSIGNED), Raw.ORDER)
                        .expand(VectorMask.fromLong(S, m & 0xffffffffL))
                        .reinterpretAsInts();
                behind += Integer.bitCount((int) m);
                w = v.lanewise(VectorOperators.LSHL, 16).reinterpretAsFloats();
                a4 = FMA ? even.fma(w, a4) : even.mul(w).add(a4);
                w = v.and(high).reinterpretAsFloats();
                a4 = FMA ? odd.fma(w, a4) : odd.mul(w).add(a4);
                if (Raw.FENCES) VarHandle.acquireFence();
                v = ShortVector.fromMemorySegment(S, Raw.ALL, wp + 2L * (behind & Raw.UNSIGNED), Raw.ORDER)
                        .expand(VectorMask.fromLong(S, m >>> 32))
                        .reinterpretAsInts();
                behind += Integer.bitCount((int) (m >>> 32));
                w = v.lanewise(VectorOperators.LSHL, 16).reinterpretAsFloats();
                a5 = FMA ? even.fma(w, a5) : even.mul(w).add(a5);
                w = v.and(high).reinterpretAsFloats();
                a5 = FMA ? odd.fma(w, a5) : odd.mul(w).add(a5);
                m = Raw.ALL.get(Raw.LONG, p + 24);
                if (Raw.FENCES) VarHandle.acquireFence();
                v = ShortVector.fromMemorySegment(S, Raw.ALL, wp + 2L * (behind & Raw.UNSIGNED), Raw.ORDER)
                        .expand(VectorMask.fromLong(S, m & 0xffffffffL))
                        .reinterpretAsInts();
                behind += Integer.bitCount((int) m);
                w = v.lanewise(VectorOperators.LSHL, 16).reinterpretAsFloats();
                a6 = FMA ? even.fma(w, a6) : even.mul(w).add(a6);
                w = v.and(high).reinterpretAsFloats();
                a6 = FMA ? odd.fma(w, a6) : odd.mul(w).add(a6);
                if (Raw.FENCES) VarHandle.acquireFence();
                v = ShortVector.fromMemorySegment(S, Raw.ALL, wp + 2L * (behind & Raw.UNSIGNED), Raw.ORDER)
                        .expand(VectorMask.fromLong(S, m >>> 32))
                        .reinterpretAsInts();
                behind += Integer.bitCount((int) (m >>> 32));
                w = v.lanewise(VectorOperators.LSHL, 16).reinterpretAsFloats();
                a7 = FMA ? even.fma(w, a7) : even.mul(w).add(a7);
                w = v.and(high).reinterpretAsFloats();
                a7 = FMA ? odd.fma(w, a7) : odd.mul(w).add(a7);
                vp += 2L * before;
                wp += 2L * behind;
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

        /// 16 lanes, F16: see [Weights].
        static void f16(
                long masks,
                long end,
                long values,
                long others,
                long x,
                float scale,
                int shift,
                int low,
                int high,
                long sums,
                boolean pages) {
            FloatVector a0 = FloatVector.zero(F);
            FloatVector a1 = FloatVector.zero(F);
            FloatVector a2 = FloatVector.zero(F);
            FloatVector a3 = FloatVector.zero(F);
            FloatVector a4 = FloatVector.zero(F);
            FloatVector a5 = FloatVector.zero(F);
            FloatVector a6 = FloatVector.zero(F);
            FloatVector a7 = FloatVector.zero(F);
            long vp = values;
            long wp = others;
            long xp = x;
            long distance = Ahead.distance(pages);
            long alignment = Ahead.alignment(pages);
            long ahead = 0;
            for (long p = masks; p != end; p += 4 * BLOCK) {
                p &= Raw.ADDRESS;
                xp &= Raw.ADDRESS;
                vp &= Raw.ADDRESS;
                wp &= Raw.ADDRESS;
                // What lies between a stream's place and a row's values: no load waits for more than the masks.
                int before = 0;
                int behind = 0;
                ahead ^= Raw.ALL.get(Raw.LONG, (vp + distance & alignment) & Raw.ADDRESS);
                FloatVector even =
                        FloatVector.fromMemorySegment(F, Raw.ALL, xp, Raw.ORDER).mul(scale);
                FloatVector odd = FloatVector.fromMemorySegment(F, Raw.ALL, xp + 64, Raw.ORDER)
                        .mul(scale);
                xp += 4 * GROUP;
                long m;
                IntVector v;
                FloatVector w;
                m = Raw.ALL.get(Raw.LONG, p + 0);
                if (Raw.FENCES) VarHandle.acquireFence();
                v = ShortVector.fromMemorySegment(S, Raw.ALL, vp + 2L * (before & Raw.UNSIGNED), Raw.ORDER)
                        .expand(VectorMask.fromLong(S, m & 0xffffffffL))
                        .reinterpretAsInts();
                before += Integer.bitCount((int) m);
                w = v.lanewise(VectorOperators.LSHL, 16)
                        .lanewise(VectorOperators.ASHR, shift)
                        .and(low)
                        .reinterpretAsFloats();
                a0 = FMA ? even.fma(w, a0) : even.mul(w).add(a0);
                w = v.lanewise(VectorOperators.ASHR, shift).and(high).reinterpretAsFloats();
                a0 = FMA ? odd.fma(w, a0) : odd.mul(w).add(a0);
                if (Raw.FENCES) VarHandle.acquireFence();
                v = ShortVector.fromMemorySegment(S, Raw.ALL, vp + 2L * (before & Raw.UNSIGNED), Raw.ORDER)
                        .expand(VectorMask.fromLong(S, m >>> 32))
                        .reinterpretAsInts();
                before += Integer.bitCount((int) (m >>> 32));
                w = v.lanewise(VectorOperators.LSHL, 16)
                        .lanewise(VectorOperators.ASHR, shift)
                        .and(low)
                        .reinterpretAsFloats();
                a1 = FMA ? even.fma(w, a1) : even.mul(w).add(a1);
                w = v.lanewise(VectorOperators.ASHR, shift).and(high).reinterpretAsFloats();
                a1 = FMA ? odd.fma(w, a1) : odd.mul(w).add(a1);
                m = Raw.ALL.get(Raw.LONG, p + 8);
                if (Raw.FENCES) VarHandle.acquireFence();
                v = ShortVector.fromMemorySegment(S, Raw.ALL, vp + 2L * (before & Raw.UNSIGNED), Raw.ORDER)
                        .expand(VectorMask.fromLong(S, m & 0xffffffffL))
                        .reinterpretAsInts();
                before += Integer.bitCount((int) m);
                w = v.lanewise(VectorOperators.LSHL, 16)
                        .lanewise(VectorOperators.ASHR, shift)
                        .and(low)
                        .reinterpretAsFloats();
                a2 = FMA ? even.fma(w, a2) : even.mul(w).add(a2);
                w = v.lanewise(VectorOperators.ASHR, shift).and(high).reinterpretAsFloats();
                a2 = FMA ? odd.fma(w, a2) : odd.mul(w).add(a2);
                if (Raw.FENCES) VarHandle.acquireFence();
                v = ShortVector.fromMemorySegment(S, Raw.ALL, vp + 2L * (before & Raw.UNSIGNED), Raw.ORDER)
                        .expand(VectorMask.fromLong(S, m >>> 32))
                        .reinterpretAsInts();
                before += Integer.bitCount((int) (m >>> 32));
                w = v.lanewise(VectorOperators.LSHL, 16)
                        .lanewise(VectorOperators.ASHR, shift)
                        .and(low)
                        .reinterpretAsFloats();
                a3 = FMA ? even.fma(w, a3) : even.mul(w).add(a3);
                w = v.lanewise(VectorOperators.ASHR, shift).and(high).reinterpretAsFloats();
                a3 = FMA ? odd.fma(w, a3) : odd.mul(w).add(a3);
                m = Raw.ALL.get(Raw.LONG, p + 16);
                if (Raw.FENCES) VarHandle.acquireFence();
                v = ShortVector.fromMemorySegment(S, Raw.ALL, wp + 2L * (behind & Raw.UNSIGNED), Raw.ORDER)
                        .expand(VectorMask.fromLong(S, m & 0xffffffffL))
                        .reinterpretAsInts();
                behind += Integer.bitCount((int) m);
                w = v.lanewise(VectorOperators.LSHL, 16)
                        .lanewise(VectorOperators.ASHR, shift)
                        .and(low)
                        .reinterpretAsFloats();
                a4 = FMA ? even.fma(w, a4) : even.mul(w).add(a4);
                w = v.lanewise(VectorOperators.ASHR, shift).and(high).reinterpretAsFloats();
                a4 = FMA ? odd.fma(w, a4) : odd.mul(w).add(a4);
                if (Raw.FENCES) VarHandle.acquireFence();
                v = ShortVector.fromMemorySegment(S, Raw.ALL, wp + 2L * (behind & Raw.UNSIGNED), Raw.ORDER)
                        .expand(VectorMask.fromLong(S, m >>> 32))
                        .reinterpretAsInts();
                behind += Integer.bitCount((int) (m >>> 32));
                w = v.lanewise(VectorOperators.LSHL, 16)
                        .lanewise(VectorOperators.ASHR, shift)
                        .and(low)
                        .reinterpretAsFloats();
                a5 = FMA ? even.fma(w, a5) : even.mul(w).add(a5);
                w = v.lanewise(VectorOperators.ASHR, shift).and(high).reinterpretAsFloats();
                a5 = FMA ? odd.fma(w, a5) : odd.mul(w).add(a5);
                m = Raw.ALL.get(Raw.LONG, p + 24);
                if (Raw.FENCES) VarHandle.acquireFence();
                v = ShortVector.fromMemorySegment(S, Raw.ALL, wp + 2L * (behind & Raw.UNSIGNED), Raw.ORDER)
                        .expand(VectorMask.fromLong(S, m & 0xffffffffL))
                        .reinterpretAsInts();
                behind += Integer.bitCount((int) m);
                w = v.lanewise(VectorOperators.LSHL, 16)
                        .lanewise(VectorOperators.ASHR, shift)
                        .and(low)
                        .reinterpretAsFloats();
                a6 = FMA ? even.fma(w, a6) : even.mul(w).add(a6);
                w = v.lanewise(VectorOperators.ASHR, shift).and(high).reinterpretAsFloats();
                a6 = FMA ? odd.fma(w, a6) : odd.mul(w).add(a6);
                if (Raw.FENCES) VarHandle.acquireFence();
                v = ShortVector.fromMemorySegment(S, Raw.ALL, wp + 2L * (behind & Raw.UNSIGNED), Raw.ORDER)
                        .expand(VectorMask.fromLong(S, m >>> 32))
                        .reinterpretAsInts();
                behind += Integer.bitCount((int) (m >>> 32));
                w = v.lanewise(VectorOperators.LSHL, 16)
                        .lanewise(VectorOperators.ASHR, shift)
                        .and(low)
                        .reinterpretAsFloats();
                a7 = FMA ? even.fma(w, a7) : even.mul(w).add(a7);
                w = v.lanewise(VectorOperators.ASHR, shift).and(high).reinterpretAsFloats();
                a7 = FMA ? odd.fma(w, a7) : odd.mul(w).add(a7);
                vp += 2L * before;
                wp += 2L * behind;
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

        static void narrow16(
                long masks,
                long end,
                long values,
                long others,
                long x,
                float scale,
                int shift,
                int low,
                long sums,
                boolean pages) {
            FloatVector a0 = FloatVector.zero(F);
            FloatVector a1 = FloatVector.zero(F);
            FloatVector a2 = FloatVector.zero(F);
            FloatVector a3 = FloatVector.zero(F);
            FloatVector a4 = FloatVector.zero(F);
            FloatVector a5 = FloatVector.zero(F);
            FloatVector a6 = FloatVector.zero(F);
            FloatVector a7 = FloatVector.zero(F);
            long vp = values;
            long wp = others;
            long xp = x;
            long distance = Ahead.distance(pages);
            long alignment = Ahead.alignment(pages);
            long ahead = 0;
            for (long p = masks; p != end; p += 4 * BLOCK) {
                p &= Raw.ADDRESS;
                xp &= Raw.ADDRESS;
                vp &= Raw.ADDRESS;
                wp &= Raw.ADDRESS;
                // What lies between a stream's place and a row's values: no load waits for more than the masks.
                int before = 0;
                int behind = 0;
                ahead ^= Raw.ALL.get(Raw.LONG, (vp + distance & alignment) & Raw.ADDRESS);
                FloatVector x0 =
                        FloatVector.fromMemorySegment(F, Raw.ALL, xp, Raw.ORDER).mul(scale);
                FloatVector x1 = FloatVector.fromMemorySegment(F, Raw.ALL, xp + 4L * LANES, Raw.ORDER)
                        .mul(scale);
                FloatVector x2 = x0;
                FloatVector x3 = x1;
                if (LANES == 8) {
                    x2 = FloatVector.fromMemorySegment(F, Raw.ALL, xp + 64, Raw.ORDER)
                            .mul(scale);
                    x3 = FloatVector.fromMemorySegment(F, Raw.ALL, xp + 96, Raw.ORDER)
                            .mul(scale);
                }
                xp += 4 * GROUP;
                int m;
                int s;
                IntVector v;
                FloatVector w;
                m = Raw.ALL.get(Raw.INT, p + 0);
                s = m & LANE_BITS;
                if (Raw.FENCES) VarHandle.acquireFence();
                v = ((IntVector) ShortVector.fromMemorySegment(
                                        HALF, Raw.ALL, vp + 2L * (before & Raw.UNSIGNED), Raw.ORDER)
                                .convertShape(VectorOperators.ZERO_EXTEND_S2I, I, 0))
                        .expand(VectorMask.fromLong(I, s));
                w = v.lanewise(VectorOperators.LSHL, 16)
                        .lanewise(VectorOperators.ASHR, shift)
                        .and(low)
                        .reinterpretAsFloats();
                a0 = FMA ? x0.fma(w, a0) : x0.mul(w).add(a0);
                before += Integer.bitCount(s);
                s = m >>> 1 * LANES & LANE_BITS;
                if (Raw.FENCES) VarHandle.acquireFence();
                v = ((IntVector) ShortVector.fromMemorySegment(
                                        HALF, Raw.ALL, vp + 2L * (before & Raw.UNSIGNED), Raw.ORDER)
                                .convertShape(VectorOperators.ZERO_EXTEND_S2I, I, 0))
                        .expand(VectorMask.fromLong(I, s));
                w = v.lanewise(VectorOperators.LSHL, 16)
                        .lanewise(VectorOperators.ASHR, shift)
                        .and(low)
                        .reinterpretAsFloats();
                a0 = FMA ? x1.fma(w, a0) : x1.mul(w).add(a0);
                before += Integer.bitCount(s);
                if (LANES == 8) {
                    s = m >>> 2 * LANES & LANE_BITS;
                    if (Raw.FENCES) VarHandle.acquireFence();
                    v = ((IntVector) ShortVector.fromMemorySegment(
                                            HALF, Raw.ALL, vp + 2L * (before & Raw.UNSIGNED), Raw.ORDER)
                                    .convertShape(VectorOperators.ZERO_EXTEND_S2I, I, 0))
                            .expand(VectorMask.fromLong(I, s));
                    w = v.lanewise(VectorOperators.LSHL, 16)
                            .lanewise(VectorOperators.ASHR, shift)
                            .and(low)
                            .reinterpretAsFloats();
                    a0 = FMA ? x2.fma(w, a0) : x2.mul(w).add(a0);
                    before += Integer.bitCount(s);
                    s = m >>> 3 * LANES & LANE_BITS;
                    if (Raw.FENCES) VarHandle.acquireFence();
                    v = ((IntVector) ShortVector.fromMemorySegment(
                                            HALF, Raw.ALL, vp + 2L * (before & Raw.UNSIGNED), Raw.ORDER)
                                    .convertShape(VectorOperators.ZERO_EXTEND_S2I, I, 0))
                            .expand(VectorMask.fromLong(I, s));
                    w = v.lanewise(VectorOperators.LSHL, 16)
                            .lanewise(VectorOperators.ASHR, shift)
                            .and(low)
                            .reinterpretAsFloats();
                    a0 = FMA ? x3.fma(w, a0) : x3.mul(w).add(a0);
                    before += Integer.bitCount(s);
                }
                m = Raw.ALL.get(Raw.INT, p + 4);
                s = m & LANE_BITS;
                if (Raw.FENCES) VarHandle.acquireFence();
                v = ((IntVector) ShortVector.fromMemorySegment(
                                        HALF, Raw.ALL, vp + 2L * (before & Raw.UNSIGNED), Raw.ORDER)
                                .convertShape(VectorOperators.ZERO_EXTEND_S2I, I, 0))
                        .expand(VectorMask.fromLong(I, s));
                w = v.lanewise(VectorOperators.LSHL, 16)
                        .lanewise(VectorOperators.ASHR, shift)
                        .and(low)
                        .reinterpretAsFloats();
                a1 = FMA ? x0.fma(w, a1) : x0.mul(w).add(a1);
                before += Integer.bitCount(s);
                s = m >>> 1 * LANES & LANE_BITS;
                if (Raw.FENCES) VarHandle.acquireFence();
                v = ((IntVector) ShortVector.fromMemorySegment(
                                        HALF, Raw.ALL, vp + 2L * (before & Raw.UNSIGNED), Raw.ORDER)
                                .convertShape(VectorOperators.ZERO_EXTEND_S2I, I, 0))
                        .expand(VectorMask.fromLong(I, s));
                w = v.lanewise(VectorOperators.LSHL, 16)
                        .lanewise(VectorOperators.ASHR, shift)
                        .and(low)
                        .reinterpretAsFloats();
                a1 = FMA ? x1.fma(w, a1) : x1.mul(w).add(a1);
                before += Integer.bitCount(s);
                if (LANES == 8) {
                    s = m >>> 2 * LANES & LANE_BITS;
                    if (Raw.FENCES) VarHandle.acquireFence();
                    v = ((IntVector) ShortVector.fromMemorySegment(
                                            HALF, Raw.ALL, vp + 2L * (before & Raw.UNSIGNED), Raw.ORDER)
                                    .convertShape(VectorOperators.ZERO_EXTEND_S2I, I, 0))
                            .expand(VectorMask.fromLong(I, s));
                    w = v.lanewise(VectorOperators.LSHL, 16)
                            .lanewise(VectorOperators.ASHR, shift)
                            .and(low)
                            .reinterpretAsFloats();
                    a1 = FMA ? x2.fma(w, a1) : x2.mul(w).add(a1);
                    before += Integer.bitCount(s);
                    s = m >>> 3 * LANES & LANE_BITS;
                    if (Raw.FENCES) VarHandle.acquireFence();
                    v = ((IntVector) ShortVector.fromMemorySegment(
                                            HALF, Raw.ALL, vp + 2L * (before & Raw.UNSIGNED), Raw.ORDER)
                                    .convertShape(VectorOperators.ZERO_EXTEND_S2I, I, 0))
                            .expand(VectorMask.fromLong(I, s));
                    w = v.lanewise(VectorOperators.LSHL, 16)
                            .lanewise(VectorOperators.ASHR, shift)
                            .and(low)
                            .reinterpretAsFloats();
                    a1 = FMA ? x3.fma(w, a1) : x3.mul(w).add(a1);
                    before += Integer.bitCount(s);
                }
                m = Raw.ALL.get(Raw.INT, p + 8);
                s = m & LANE_BITS;
                if (Raw.FENCES) VarHandle.acquireFence();
                v = ((IntVector) ShortVector.fromMemorySegment(
                                        HALF, Raw.ALL, vp + 2L * (before & Raw.UNSIGNED), Raw.ORDER)
                                .convertShape(VectorOperators.ZERO_EXTEND_S2I, I, 0))
                        .expand(VectorMask.fromLong(I, s));
                w = v.lanewise(VectorOperators.LSHL, 16)
                        .lanewise(VectorOperators.ASHR, shift)
                        .and(low)
                        .reinterpretAsFloats();
                a2 = FMA ? x0.fma(w, a2) : x0.mul(w).add(a2);
                before += Integer.bitCount(s);
                s = m >>> 1 * LANES & LANE_BITS;
                if (Raw.FENCES) VarHandle.acquireFence();
                v = ((IntVector) ShortVector.fromMemorySegment(
                                        HALF, Raw.ALL, vp + 2L * (before & Raw.UNSIGNED), Raw.ORDER)
                                .convertShape(VectorOperators.ZERO_EXTEND_S2I, I, 0))
                        .expand(VectorMask.fromLong(I, s));
                w = v.lanewise(VectorOperators.LSHL, 16)
                        .lanewise(VectorOperators.ASHR, shift)
                        .and(low)
                        .reinterpretAsFloats();
                a2 = FMA ? x1.fma(w, a2) : x1.mul(w).add(a2);
                before += Integer.bitCount(s);
                if (LANES == 8) {
                    s = m >>> 2 * LANES & LANE_BITS;
                    if (Raw.FENCES) VarHandle.acquireFence();
                    v = ((IntVector) ShortVector.fromMemorySegment(
                                            HALF, Raw.ALL, vp + 2L * (before & Raw.UNSIGNED), Raw.ORDER)
                                    .convertShape(VectorOperators.ZERO_EXTEND_S2I, I, 0))
                            .expand(VectorMask.fromLong(I, s));
                    w = v.lanewise(VectorOperators.LSHL, 16)
                            .lanewise(VectorOperators.ASHR, shift)
                            .and(low)
                            .reinterpretAsFloats();
                    a2 = FMA ? x2.fma(w, a2) : x2.mul(w).add(a2);
                    before += Integer.bitCount(s);
                    s = m >>> 3 * LANES & LANE_BITS;
                    if (Raw.FENCES) VarHandle.acquireFence();
                    v = ((IntVector) ShortVector.fromMemorySegment(
                                            HALF, Raw.ALL, vp + 2L * (before & Raw.UNSIGNED), Raw.ORDER)
                                    .convertShape(VectorOperators.ZERO_EXTEND_S2I, I, 0))
                            .expand(VectorMask.fromLong(I, s));
                    w = v.lanewise(VectorOperators.LSHL, 16)
                            .lanewise(VectorOperators.ASHR, shift)
                            .and(low)
                            .reinterpretAsFloats();
                    a2 = FMA ? x3.fma(w, a2) : x3.mul(w).add(a2);
                    before += Integer.bitCount(s);
                }
                m = Raw.ALL.get(Raw.INT, p + 12);
                s = m & LANE_BITS;
                if (Raw.FENCES) VarHandle.acquireFence();
                v = ((IntVector) ShortVector.fromMemorySegment(
                                        HALF, Raw.ALL, vp + 2L * (before & Raw.UNSIGNED), Raw.ORDER)
                                .convertShape(VectorOperators.ZERO_EXTEND_S2I, I, 0))
                        .expand(VectorMask.fromLong(I, s));
                w = v.lanewise(VectorOperators.LSHL, 16)
                        .lanewise(VectorOperators.ASHR, shift)
                        .and(low)
                        .reinterpretAsFloats();
                a3 = FMA ? x0.fma(w, a3) : x0.mul(w).add(a3);
                before += Integer.bitCount(s);
                s = m >>> 1 * LANES & LANE_BITS;
                if (Raw.FENCES) VarHandle.acquireFence();
                v = ((IntVector) ShortVector.fromMemorySegment(
                                        HALF, Raw.ALL, vp + 2L * (before & Raw.UNSIGNED), Raw.ORDER)
                                .convertShape(VectorOperators.ZERO_EXTEND_S2I, I, 0))
                        .expand(VectorMask.fromLong(I, s));
                w = v.lanewise(VectorOperators.LSHL, 16)
                        .lanewise(VectorOperators.ASHR, shift)
                        .and(low)
                        .reinterpretAsFloats();
                a3 = FMA ? x1.fma(w, a3) : x1.mul(w).add(a3);
                before += Integer.bitCount(s);
                if (LANES == 8) {
                    s = m >>> 2 * LANES & LANE_BITS;
                    if (Raw.FENCES) VarHandle.acquireFence();
                    v = ((IntVector) ShortVector.fromMemorySegment(
                                            HALF, Raw.ALL, vp + 2L * (before & Raw.UNSIGNED), Raw.ORDER)
                                    .convertShape(VectorOperators.ZERO_EXTEND_S2I, I, 0))
                            .expand(VectorMask.fromLong(I, s));
                    w = v.lanewise(VectorOperators.LSHL, 16)
                            .lanewise(VectorOperators.ASHR, shift)
                            .and(low)
                            .reinterpretAsFloats();
                    a3 = FMA ? x2.fma(w, a3) : x2.mul(w).add(a3);
                    before += Integer.bitCount(s);
                    s = m >>> 3 * LANES & LANE_BITS;
                    if (Raw.FENCES) VarHandle.acquireFence();
                    v = ((IntVector) ShortVector.fromMemorySegment(
                                            HALF, Raw.ALL, vp + 2L * (before & Raw.UNSIGNED), Raw.ORDER)
                                    .convertShape(VectorOperators.ZERO_EXTEND_S2I, I, 0))
                            .expand(VectorMask.fromLong(I, s));
                    w = v.lanewise(VectorOperators.LSHL, 16)
                            .lanewise(VectorOperators.ASHR, shift)
                            .and(low)
                            .reinterpretAsFloats();
                    a3 = FMA ? x3.fma(w, a3) : x3.mul(w).add(a3);
                    before += Integer.bitCount(s);
                }
                m = Raw.ALL.get(Raw.INT, p + 16);
                s = m & LANE_BITS;
                if (Raw.FENCES) VarHandle.acquireFence();
                v = ((IntVector) ShortVector.fromMemorySegment(
                                        HALF, Raw.ALL, wp + 2L * (behind & Raw.UNSIGNED), Raw.ORDER)
                                .convertShape(VectorOperators.ZERO_EXTEND_S2I, I, 0))
                        .expand(VectorMask.fromLong(I, s));
                w = v.lanewise(VectorOperators.LSHL, 16)
                        .lanewise(VectorOperators.ASHR, shift)
                        .and(low)
                        .reinterpretAsFloats();
                a4 = FMA ? x0.fma(w, a4) : x0.mul(w).add(a4);
                behind += Integer.bitCount(s);
                s = m >>> 1 * LANES & LANE_BITS;
                if (Raw.FENCES) VarHandle.acquireFence();
                v = ((IntVector) ShortVector.fromMemorySegment(
                                        HALF, Raw.ALL, wp + 2L * (behind & Raw.UNSIGNED), Raw.ORDER)
                                .convertShape(VectorOperators.ZERO_EXTEND_S2I, I, 0))
                        .expand(VectorMask.fromLong(I, s));
                w = v.lanewise(VectorOperators.LSHL, 16)
                        .lanewise(VectorOperators.ASHR, shift)
                        .and(low)
                        .reinterpretAsFloats();
                a4 = FMA ? x1.fma(w, a4) : x1.mul(w).add(a4);
                behind += Integer.bitCount(s);
                if (LANES == 8) {
                    s = m >>> 2 * LANES & LANE_BITS;
                    if (Raw.FENCES) VarHandle.acquireFence();
                    v = ((IntVector) ShortVector.fromMemorySegment(
                                            HALF, Raw.ALL, wp + 2L * (behind & Raw.UNSIGNED), Raw.ORDER)
                                    .convertShape(VectorOperators.ZERO_EXTEND_S2I, I, 0))
                            .expand(VectorMask.fromLong(I, s));
                    w = v.lanewise(VectorOperators.LSHL, 16)
                            .lanewise(VectorOperators.ASHR, shift)
                            .and(low)
                            .reinterpretAsFloats();
                    a4 = FMA ? x2.fma(w, a4) : x2.mul(w).add(a4);
                    behind += Integer.bitCount(s);
                    s = m >>> 3 * LANES & LANE_BITS;
                    if (Raw.FENCES) VarHandle.acquireFence();
                    v = ((IntVector) ShortVector.fromMemorySegment(
                                            HALF, Raw.ALL, wp + 2L * (behind & Raw.UNSIGNED), Raw.ORDER)
                                    .convertShape(VectorOperators.ZERO_EXTEND_S2I, I, 0))
                            .expand(VectorMask.fromLong(I, s));
                    w = v.lanewise(VectorOperators.LSHL, 16)
                            .lanewise(VectorOperators.ASHR, shift)
                            .and(low)
                            .reinterpretAsFloats();
                    a4 = FMA ? x3.fma(w, a4) : x3.mul(w).add(a4);
                    behind += Integer.bitCount(s);
                }
                m = Raw.ALL.get(Raw.INT, p + 20);
                s = m & LANE_BITS;
                if (Raw.FENCES) VarHandle.acquireFence();
                v = ((IntVector) ShortVector.fromMemorySegment(
                                        HALF, Raw.ALL, wp + 2L * (behind & Raw.UNSIGNED), Raw.ORDER)
                                .convertShape(VectorOperators.ZERO_EXTEND_S2I, I, 0))
                        .expand(VectorMask.fromLong(I, s));
                w = v.lanewise(VectorOperators.LSHL, 16)
                        .lanewise(VectorOperators.ASHR, shift)
                        .and(low)
                        .reinterpretAsFloats();
                a5 = FMA ? x0.fma(w, a5) : x0.mul(w).add(a5);
                behind += Integer.bitCount(s);
                s = m >>> 1 * LANES & LANE_BITS;
                if (Raw.FENCES) VarHandle.acquireFence();
                v = ((IntVector) ShortVector.fromMemorySegment(
                                        HALF, Raw.ALL, wp + 2L * (behind & Raw.UNSIGNED), Raw.ORDER)
                                .convertShape(VectorOperators.ZERO_EXTEND_S2I, I, 0))
                        .expand(VectorMask.fromLong(I, s));
                w = v.lanewise(VectorOperators.LSHL, 16)
                        .lanewise(VectorOperators.ASHR, shift)
                        .and(low)
                        .reinterpretAsFloats();
                a5 = FMA ? x1.fma(w, a5) : x1.mul(w).add(a5);
                behind += Integer.bitCount(s);
                if (LANES == 8) {
                    s = m >>> 2 * LANES & LANE_BITS;
                    if (Raw.FENCES) VarHandle.acquireFence();
                    v = ((IntVector) ShortVector.fromMemorySegment(
                                            HALF, Raw.ALL, wp + 2L * (behind & Raw.UNSIGNED), Raw.ORDER)
                                    .convertShape(VectorOperators.ZERO_EXTEND_S2I, I, 0))
                            .expand(VectorMask.fromLong(I, s));
                    w = v.lanewise(VectorOperators.LSHL, 16)
                            .lanewise(VectorOperators.ASHR, shift)
                            .and(low)
                            .reinterpretAsFloats();
                    a5 = FMA ? x2.fma(w, a5) : x2.mul(w).add(a5);
                    behind += Integer.bitCount(s);
                    s = m >>> 3 * LANES & LANE_BITS;
                    if (Raw.FENCES) VarHandle.acquireFence();
                    v = ((IntVector) ShortVector.fromMemorySegment(
                                            HALF, Raw.ALL, wp + 2L * (behind & Raw.UNSIGNED), Raw.ORDER)
                                    .convertShape(VectorOperators.ZERO_EXTEND_S2I, I, 0))
                            .expand(VectorMask.fromLong(I, s));
                    w = v.lanewise(VectorOperators.LSHL, 16)
                            .lanewise(VectorOperators.ASHR, shift)
                            .and(low)
                            .reinterpretAsFloats();
                    a5 = FMA ? x3.fma(w, a5) : x3.mul(w).add(a5);
                    behind += Integer.bitCount(s);
                }
                m = Raw.ALL.get(Raw.INT, p + 24);
                s = m & LANE_BITS;
                if (Raw.FENCES) VarHandle.acquireFence();
                v = ((IntVector) ShortVector.fromMemorySegment(
                                        HALF, Raw.ALL, wp + 2L * (behind & Raw.UNSIGNED), Raw.ORDER)
                                .convertShape(VectorOperators.ZERO_EXTEND_S2I, I, 0))
                        .expand(VectorMask.fromLong(I, s));
                w = v.lanewise(VectorOperators.LSHL, 16)
                        .lanewise(VectorOperators.ASHR, shift)
                        .and(low)
                        .reinterpretAsFloats();
                a6 = FMA ? x0.fma(w, a6) : x0.mul(w).add(a6);
                behind += Integer.bitCount(s);
                s = m >>> 1 * LANES & LANE_BITS;
                if (Raw.FENCES) VarHandle.acquireFence();
                v = ((IntVector) ShortVector.fromMemorySegment(
                                        HALF, Raw.ALL, wp + 2L * (behind & Raw.UNSIGNED), Raw.ORDER)
                                .convertShape(VectorOperators.ZERO_EXTEND_S2I, I, 0))
                        .expand(VectorMask.fromLong(I, s));
                w = v.lanewise(VectorOperators.LSHL, 16)
                        .lanewise(VectorOperators.ASHR, shift)
                        .and(low)
                        .reinterpretAsFloats();
                a6 = FMA ? x1.fma(w, a6) : x1.mul(w).add(a6);
                behind += Integer.bitCount(s);
                if (LANES == 8) {
                    s = m >>> 2 * LANES & LANE_BITS;
                    if (Raw.FENCES) VarHandle.acquireFence();
                    v = ((IntVector) ShortVector.fromMemorySegment(
                                            HALF, Raw.ALL, wp + 2L * (behind & Raw.UNSIGNED), Raw.ORDER)
                                    .convertShape(VectorOperators.ZERO_EXTEND_S2I, I, 0))
                            .expand(VectorMask.fromLong(I, s));
                    w = v.lanewise(VectorOperators.LSHL, 16)
                            .lanewise(VectorOperators.ASHR, shift)
                            .and(low)
                            .reinterpretAsFloats();
                    a6 = FMA ? x2.fma(w, a6) : x2.mul(w).add(a6);
                    behind += Integer.bitCount(s);
                    s = m >>> 3 * LANES & LANE_BITS;
                    if (Raw.FENCES) VarHandle.acquireFence();
                    v = ((IntVector) ShortVector.fromMemorySegment(
                                            HALF, Raw.ALL, wp + 2L * (behind & Raw.UNSIGNED), Raw.ORDER)
                                    .convertShape(VectorOperators.ZERO_EXTEND_S2I, I, 0))
                            .expand(VectorMask.fromLong(I, s));
                    w = v.lanewise(VectorOperators.LSHL, 16)
                            .lanewise(VectorOperators.ASHR, shift)
                            .and(low)
                            .reinterpretAsFloats();
                    a6 = FMA ? x3.fma(w, a6) : x3.mul(w).add(a6);
                    behind += Integer.bitCount(s);
                }
                m = Raw.ALL.get(Raw.INT, p + 28);
                s = m & LANE_BITS;
                if (Raw.FENCES) VarHandle.acquireFence();
                v = ((IntVector) ShortVector.fromMemorySegment(
                                        HALF, Raw.ALL, wp + 2L * (behind & Raw.UNSIGNED), Raw.ORDER)
                                .convertShape(VectorOperators.ZERO_EXTEND_S2I, I, 0))
                        .expand(VectorMask.fromLong(I, s));
                w = v.lanewise(VectorOperators.LSHL, 16)
                        .lanewise(VectorOperators.ASHR, shift)
                        .and(low)
                        .reinterpretAsFloats();
                a7 = FMA ? x0.fma(w, a7) : x0.mul(w).add(a7);
                behind += Integer.bitCount(s);
                s = m >>> 1 * LANES & LANE_BITS;
                if (Raw.FENCES) VarHandle.acquireFence();
                v = ((IntVector) ShortVector.fromMemorySegment(
                                        HALF, Raw.ALL, wp + 2L * (behind & Raw.UNSIGNED), Raw.ORDER)
                                .convertShape(VectorOperators.ZERO_EXTEND_S2I, I, 0))
                        .expand(VectorMask.fromLong(I, s));
                w = v.lanewise(VectorOperators.LSHL, 16)
                        .lanewise(VectorOperators.ASHR, shift)
                        .and(low)
                        .reinterpretAsFloats();
                a7 = FMA ? x1.fma(w, a7) : x1.mul(w).add(a7);
                behind += Integer.bitCount(s);
                if (LANES == 8) {
                    s = m >>> 2 * LANES & LANE_BITS;
                    if (Raw.FENCES) VarHandle.acquireFence();
                    v = ((IntVector) ShortVector.fromMemorySegment(
                                            HALF, Raw.ALL, wp + 2L * (behind & Raw.UNSIGNED), Raw.ORDER)
                                    .convertShape(VectorOperators.ZERO_EXTEND_S2I, I, 0))
                            .expand(VectorMask.fromLong(I, s));
                    w = v.lanewise(VectorOperators.LSHL, 16)
                            .lanewise(VectorOperators.ASHR, shift)
                            .and(low)
                            .reinterpretAsFloats();
                    a7 = FMA ? x2.fma(w, a7) : x2.mul(w).add(a7);
                    behind += Integer.bitCount(s);
                    s = m >>> 3 * LANES & LANE_BITS;
                    if (Raw.FENCES) VarHandle.acquireFence();
                    v = ((IntVector) ShortVector.fromMemorySegment(
                                            HALF, Raw.ALL, wp + 2L * (behind & Raw.UNSIGNED), Raw.ORDER)
                                    .convertShape(VectorOperators.ZERO_EXTEND_S2I, I, 0))
                            .expand(VectorMask.fromLong(I, s));
                    w = v.lanewise(VectorOperators.LSHL, 16)
                            .lanewise(VectorOperators.ASHR, shift)
                            .and(low)
                            .reinterpretAsFloats();
                    a7 = FMA ? x3.fma(w, a7) : x3.mul(w).add(a7);
                    behind += Integer.bitCount(s);
                }
                vp += 2L * before;
                wp += 2L * behind;
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

        static void narrow32(long masks, long end, long values, long others, long x, long sums, boolean pages) {
            FloatVector a0 = FloatVector.zero(F);
            FloatVector a1 = FloatVector.zero(F);
            FloatVector a2 = FloatVector.zero(F);
            FloatVector a3 = FloatVector.zero(F);
            FloatVector a4 = FloatVector.zero(F);
            FloatVector a5 = FloatVector.zero(F);
            FloatVector a6 = FloatVector.zero(F);
            FloatVector a7 = FloatVector.zero(F);
            long vp = values;
            long wp = others;
            long xp = x;
            long distance = Ahead.distance(pages);
            long alignment = Ahead.alignment(pages);
            long ahead = 0;
            for (long p = masks; p != end; p += 4 * BLOCK) {
                p &= Raw.ADDRESS;
                xp &= Raw.ADDRESS;
                vp &= Raw.ADDRESS;
                wp &= Raw.ADDRESS;
                // What lies between a stream's place and a row's values: no load waits for more than the masks.
                int before = 0;
                int behind = 0;
                ahead ^= Raw.ALL.get(Raw.LONG, (vp + distance & alignment) & Raw.ADDRESS);
                FloatVector x0 = FloatVector.fromMemorySegment(F, Raw.ALL, xp, Raw.ORDER);
                FloatVector x1 = FloatVector.fromMemorySegment(F, Raw.ALL, xp + 4L * LANES, Raw.ORDER);
                FloatVector x2 = x0;
                FloatVector x3 = x1;
                if (LANES == 8) {
                    x2 = FloatVector.fromMemorySegment(F, Raw.ALL, xp + 64, Raw.ORDER);
                    x3 = FloatVector.fromMemorySegment(F, Raw.ALL, xp + 96, Raw.ORDER);
                }
                xp += 4 * GROUP;
                int m;
                int s;
                FloatVector w;
                m = Raw.ALL.get(Raw.INT, p + 0);
                s = m & LANE_BITS;
                if (Raw.FENCES) VarHandle.acquireFence();
                w = FloatVector.fromMemorySegment(F, Raw.ALL, vp + 4L * (before & Raw.UNSIGNED), Raw.ORDER)
                        .expand(VectorMask.fromLong(F, s));
                a0 = FMA ? x0.fma(w, a0) : x0.mul(w).add(a0);
                before += Integer.bitCount(s);
                s = m >>> 1 * LANES & LANE_BITS;
                if (Raw.FENCES) VarHandle.acquireFence();
                w = FloatVector.fromMemorySegment(F, Raw.ALL, vp + 4L * (before & Raw.UNSIGNED), Raw.ORDER)
                        .expand(VectorMask.fromLong(F, s));
                a0 = FMA ? x1.fma(w, a0) : x1.mul(w).add(a0);
                before += Integer.bitCount(s);
                if (LANES == 8) {
                    s = m >>> 2 * LANES & LANE_BITS;
                    if (Raw.FENCES) VarHandle.acquireFence();
                    w = FloatVector.fromMemorySegment(F, Raw.ALL, vp + 4L * (before & Raw.UNSIGNED), Raw.ORDER)
                            .expand(VectorMask.fromLong(F, s));
                    a0 = FMA ? x2.fma(w, a0) : x2.mul(w).add(a0);
                    before += Integer.bitCount(s);
                    s = m >>> 3 * LANES & LANE_BITS;
                    if (Raw.FENCES) VarHandle.acquireFence();
                    w = FloatVector.fromMemorySegment(F, Raw.ALL, vp + 4L * (before & Raw.UNSIGNED), Raw.ORDER)
                            .expand(VectorMask.fromLong(F, s));
                    a0 = FMA ? x3.fma(w, a0) : x3.mul(w).add(a0);
                    before += Integer.bitCount(s);
                }
                m = Raw.ALL.get(Raw.INT, p + 4);
                s = m & LANE_BITS;
                if (Raw.FENCES) VarHandle.acquireFence();
                w = FloatVector.fromMemorySegment(F, Raw.ALL, vp + 4L * (before & Raw.UNSIGNED), Raw.ORDER)
                        .expand(VectorMask.fromLong(F, s));
                a1 = FMA ? x0.fma(w, a1) : x0.mul(w).add(a1);
                before += Integer.bitCount(s);
                s = m >>> 1 * LANES & LANE_BITS;
                if (Raw.FENCES) VarHandle.acquireFence();
                w = FloatVector.fromMemorySegment(F, Raw.ALL, vp + 4L * (before & Raw.UNSIGNED), Raw.ORDER)
                        .expand(VectorMask.fromLong(F, s));
                a1 = FMA ? x1.fma(w, a1) : x1.mul(w).add(a1);
                before += Integer.bitCount(s);
                if (LANES == 8) {
                    s = m >>> 2 * LANES & LANE_BITS;
                    if (Raw.FENCES) VarHandle.acquireFence();
                    w = FloatVector.fromMemorySegment(F, Raw.ALL, vp + 4L * (before & Raw.UNSIGNED), Raw.ORDER)
                            .expand(VectorMask.fromLong(F, s));
                    a1 = FMA ? x2.fma(w, a1) : x2.mul(w).add(a1);
                    before += Integer.bitCount(s);
                    s = m >>> 3 * LANES & LANE_BITS;
                    if (Raw.FENCES) VarHandle.acquireFence();
                    w = FloatVector.fromMemorySegment(F, Raw.ALL, vp + 4L * (before & Raw.UNSIGNED), Raw.ORDER)
                            .expand(VectorMask.fromLong(F, s));
                    a1 = FMA ? x3.fma(w, a1) : x3.mul(w).add(a1);
                    before += Integer.bitCount(s);
                }
                m = Raw.ALL.get(Raw.INT, p + 8);
                s = m & LANE_BITS;
                if (Raw.FENCES) VarHandle.acquireFence();
                w = FloatVector.fromMemorySegment(F, Raw.ALL, vp + 4L * (before & Raw.UNSIGNED), Raw.ORDER)
                        .expand(VectorMask.fromLong(F, s));
                a2 = FMA ? x0.fma(w, a2) : x0.mul(w).add(a2);
                before += Integer.bitCount(s);
                s = m >>> 1 * LANES & LANE_BITS;
                if (Raw.FENCES) VarHandle.acquireFence();
                w = FloatVector.fromMemorySegment(F, Raw.ALL, vp + 4L * (before & Raw.UNSIGNED), Raw.ORDER)
                        .expand(VectorMask.fromLong(F, s));
                a2 = FMA ? x1.fma(w, a2) : x1.mul(w).add(a2);
                before += Integer.bitCount(s);
                if (LANES == 8) {
                    s = m >>> 2 * LANES & LANE_BITS;
                    if (Raw.FENCES) VarHandle.acquireFence();
                    w = FloatVector.fromMemorySegment(F, Raw.ALL, vp + 4L * (before & Raw.UNSIGNED), Raw.ORDER)
                            .expand(VectorMask.fromLong(F, s));
                    a2 = FMA ? x2.fma(w, a2) : x2.mul(w).add(a2);
                    before += Integer.bitCount(s);
                    s = m >>> 3 * LANES & LANE_BITS;
                    if (Raw.FENCES) VarHandle.acquireFence();
                    w = FloatVector.fromMemorySegment(F, Raw.ALL, vp + 4L * (before & Raw.UNSIGNED), Raw.ORDER)
                            .expand(VectorMask.fromLong(F, s));
                    a2 = FMA ? x3.fma(w, a2) : x3.mul(w).add(a2);
                    before += Integer.bitCount(s);
                }
                m = Raw.ALL.get(Raw.INT, p + 12);
                s = m & LANE_BITS;
                if (Raw.FENCES) VarHandle.acquireFence();
                w = FloatVector.fromMemorySegment(F, Raw.ALL, vp + 4L * (before & Raw.UNSIGNED), Raw.ORDER)
                        .expand(VectorMask.fromLong(F, s));
                a3 = FMA ? x0.fma(w, a3) : x0.mul(w).add(a3);
                before += Integer.bitCount(s);
                s = m >>> 1 * LANES & LANE_BITS;
                if (Raw.FENCES) VarHandle.acquireFence();
                w = FloatVector.fromMemorySegment(F, Raw.ALL, vp + 4L * (before & Raw.UNSIGNED), Raw.ORDER)
                        .expand(VectorMask.fromLong(F, s));
                a3 = FMA ? x1.fma(w, a3) : x1.mul(w).add(a3);
                before += Integer.bitCount(s);
                if (LANES == 8) {
                    s = m >>> 2 * LANES & LANE_BITS;
                    if (Raw.FENCES) VarHandle.acquireFence();
                    w = FloatVector.fromMemorySegment(F, Raw.ALL, vp + 4L * (before & Raw.UNSIGNED), Raw.ORDER)
                            .expand(VectorMask.fromLong(F, s));
                    a3 = FMA ? x2.fma(w, a3) : x2.mul(w).add(a3);
                    before += Integer.bitCount(s);
                    s = m >>> 3 * LANES & LANE_BITS;
                    if (Raw.FENCES) VarHandle.acquireFence();
                    w = FloatVector.fromMemorySegment(F, Raw.ALL, vp + 4L * (before & Raw.UNSIGNED), Raw.ORDER)
                            .expand(VectorMask.fromLong(F, s));
                    a3 = FMA ? x3.fma(w, a3) : x3.mul(w).add(a3);
                    before += Integer.bitCount(s);
                }
                m = Raw.ALL.get(Raw.INT, p + 16);
                s = m & LANE_BITS;
                if (Raw.FENCES) VarHandle.acquireFence();
                w = FloatVector.fromMemorySegment(F, Raw.ALL, wp + 4L * (behind & Raw.UNSIGNED), Raw.ORDER)
                        .expand(VectorMask.fromLong(F, s));
                a4 = FMA ? x0.fma(w, a4) : x0.mul(w).add(a4);
                behind += Integer.bitCount(s);
                s = m >>> 1 * LANES & LANE_BITS;
                if (Raw.FENCES) VarHandle.acquireFence();
                w = FloatVector.fromMemorySegment(F, Raw.ALL, wp + 4L * (behind & Raw.UNSIGNED), Raw.ORDER)
                        .expand(VectorMask.fromLong(F, s));
                a4 = FMA ? x1.fma(w, a4) : x1.mul(w).add(a4);
                behind += Integer.bitCount(s);
                if (LANES == 8) {
                    s = m >>> 2 * LANES & LANE_BITS;
                    if (Raw.FENCES) VarHandle.acquireFence();
                    w = FloatVector.fromMemorySegment(F, Raw.ALL, wp + 4L * (behind & Raw.UNSIGNED), Raw.ORDER)
                            .expand(VectorMask.fromLong(F, s));
                    a4 = FMA ? x2.fma(w, a4) : x2.mul(w).add(a4);
                    behind += Integer.bitCount(s);
                    s = m >>> 3 * LANES & LANE_BITS;
                    if (Raw.FENCES) VarHandle.acquireFence();
                    w = FloatVector.fromMemorySegment(F, Raw.ALL, wp + 4L * (behind & Raw.UNSIGNED), Raw.ORDER)
                            .expand(VectorMask.fromLong(F, s));
                    a4 = FMA ? x3.fma(w, a4) : x3.mul(w).add(a4);
                    behind += Integer.bitCount(s);
                }
                m = Raw.ALL.get(Raw.INT, p + 20);
                s = m & LANE_BITS;
                if (Raw.FENCES) VarHandle.acquireFence();
                w = FloatVector.fromMemorySegment(F, Raw.ALL, wp + 4L * (behind & Raw.UNSIGNED), Raw.ORDER)
                        .expand(VectorMask.fromLong(F, s));
                a5 = FMA ? x0.fma(w, a5) : x0.mul(w).add(a5);
                behind += Integer.bitCount(s);
                s = m >>> 1 * LANES & LANE_BITS;
                if (Raw.FENCES) VarHandle.acquireFence();
                w = FloatVector.fromMemorySegment(F, Raw.ALL, wp + 4L * (behind & Raw.UNSIGNED), Raw.ORDER)
                        .expand(VectorMask.fromLong(F, s));
                a5 = FMA ? x1.fma(w, a5) : x1.mul(w).add(a5);
                behind += Integer.bitCount(s);
                if (LANES == 8) {
                    s = m >>> 2 * LANES & LANE_BITS;
                    if (Raw.FENCES) VarHandle.acquireFence();
                    w = FloatVector.fromMemorySegment(F, Raw.ALL, wp + 4L * (behind & Raw.UNSIGNED), Raw.ORDER)
                            .expand(VectorMask.fromLong(F, s));
                    a5 = FMA ? x2.fma(w, a5) : x2.mul(w).add(a5);
                    behind += Integer.bitCount(s);
                    s = m >>> 3 * LANES & LANE_BITS;
                    if (Raw.FENCES) VarHandle.acquireFence();
                    w = FloatVector.fromMemorySegment(F, Raw.ALL, wp + 4L * (behind & Raw.UNSIGNED), Raw.ORDER)
                            .expand(VectorMask.fromLong(F, s));
                    a5 = FMA ? x3.fma(w, a5) : x3.mul(w).add(a5);
                    behind += Integer.bitCount(s);
                }
                m = Raw.ALL.get(Raw.INT, p + 24);
                s = m & LANE_BITS;
                if (Raw.FENCES) VarHandle.acquireFence();
                w = FloatVector.fromMemorySegment(F, Raw.ALL, wp + 4L * (behind & Raw.UNSIGNED), Raw.ORDER)
                        .expand(VectorMask.fromLong(F, s));
                a6 = FMA ? x0.fma(w, a6) : x0.mul(w).add(a6);
                behind += Integer.bitCount(s);
                s = m >>> 1 * LANES & LANE_BITS;
                if (Raw.FENCES) VarHandle.acquireFence();
                w = FloatVector.fromMemorySegment(F, Raw.ALL, wp + 4L * (behind & Raw.UNSIGNED), Raw.ORDER)
                        .expand(VectorMask.fromLong(F, s));
                a6 = FMA ? x1.fma(w, a6) : x1.mul(w).add(a6);
                behind += Integer.bitCount(s);
                if (LANES == 8) {
                    s = m >>> 2 * LANES & LANE_BITS;
                    if (Raw.FENCES) VarHandle.acquireFence();
                    w = FloatVector.fromMemorySegment(F, Raw.ALL, wp + 4L * (behind & Raw.UNSIGNED), Raw.ORDER)
                            .expand(VectorMask.fromLong(F, s));
                    a6 = FMA ? x2.fma(w, a6) : x2.mul(w).add(a6);
                    behind += Integer.bitCount(s);
                    s = m >>> 3 * LANES & LANE_BITS;
                    if (Raw.FENCES) VarHandle.acquireFence();
                    w = FloatVector.fromMemorySegment(F, Raw.ALL, wp + 4L * (behind & Raw.UNSIGNED), Raw.ORDER)
                            .expand(VectorMask.fromLong(F, s));
                    a6 = FMA ? x3.fma(w, a6) : x3.mul(w).add(a6);
                    behind += Integer.bitCount(s);
                }
                m = Raw.ALL.get(Raw.INT, p + 28);
                s = m & LANE_BITS;
                if (Raw.FENCES) VarHandle.acquireFence();
                w = FloatVector.fromMemorySegment(F, Raw.ALL, wp + 4L * (behind & Raw.UNSIGNED), Raw.ORDER)
                        .expand(VectorMask.fromLong(F, s));
                a7 = FMA ? x0.fma(w, a7) : x0.mul(w).add(a7);
                behind += Integer.bitCount(s);
                s = m >>> 1 * LANES & LANE_BITS;
                if (Raw.FENCES) VarHandle.acquireFence();
                w = FloatVector.fromMemorySegment(F, Raw.ALL, wp + 4L * (behind & Raw.UNSIGNED), Raw.ORDER)
                        .expand(VectorMask.fromLong(F, s));
                a7 = FMA ? x1.fma(w, a7) : x1.mul(w).add(a7);
                behind += Integer.bitCount(s);
                if (LANES == 8) {
                    s = m >>> 2 * LANES & LANE_BITS;
                    if (Raw.FENCES) VarHandle.acquireFence();
                    w = FloatVector.fromMemorySegment(F, Raw.ALL, wp + 4L * (behind & Raw.UNSIGNED), Raw.ORDER)
                            .expand(VectorMask.fromLong(F, s));
                    a7 = FMA ? x2.fma(w, a7) : x2.mul(w).add(a7);
                    behind += Integer.bitCount(s);
                    s = m >>> 3 * LANES & LANE_BITS;
                    if (Raw.FENCES) VarHandle.acquireFence();
                    w = FloatVector.fromMemorySegment(F, Raw.ALL, wp + 4L * (behind & Raw.UNSIGNED), Raw.ORDER)
                            .expand(VectorMask.fromLong(F, s));
                    a7 = FMA ? x3.fma(w, a7) : x3.mul(w).add(a7);
                    behind += Integer.bitCount(s);
                }
                vp += 4L * before;
                wp += 4L * behind;
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

        /// Masks from `masks` to `end` as float32, of each group four rows, `stride` bytes apart.
        static void panel16(
                long masks, long end, long values, long target, long stride, float scale, int shift, int low) {
            long vp = values;
            long to = target;
            for (long p = masks; p != end; p += 4 * BLOCK) {
                p &= Raw.ADDRESS;
                vp &= Raw.ADDRESS;
                long at = to;
                for (int row = 0; row < HALF_BLOCK; row++) {
                    int m = Raw.ALL.get(Raw.INT, p + 4L * row);
                    ShortVector v = ShortVector.fromMemorySegment(S, Raw.ALL, vp, Raw.ORDER)
                            .expand(VectorMask.fromLong(S, m & 0xffffffffL));
                    vp += 2L * (Integer.bitCount(m) & Raw.UNSIGNED);
                    ((IntVector) v.convertShape(VectorOperators.ZERO_EXTEND_S2I, I, 0))
                            .lanewise(VectorOperators.LSHL, 16)
                            .lanewise(VectorOperators.ASHR, shift)
                            .and(low)
                            .reinterpretAsFloats()
                            .mul(scale)
                            .intoMemorySegment(Raw.ALL, at, Raw.ORDER);
                    ((IntVector) v.convertShape(VectorOperators.ZERO_EXTEND_S2I, I, 1))
                            .lanewise(VectorOperators.LSHL, 16)
                            .lanewise(VectorOperators.ASHR, shift)
                            .and(low)
                            .reinterpretAsFloats()
                            .mul(scale)
                            .intoMemorySegment(Raw.ALL, at + 64, Raw.ORDER);
                    at += stride;
                }
                to += 4 * GROUP;
            }
        }
    }
}
