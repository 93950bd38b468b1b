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
import java.lang.foreign.ValueLayout;
import java.lang.invoke.VarHandle;
import jdk.incubator.vector.ByteVector;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.VectorMask;
import jdk.incubator.vector.VectorOperators;
import jdk.incubator.vector.VectorShape;
import jdk.incubator.vector.VectorSpecies;

/// Any mask, one bit a weight, and the kept values as bytes with one scale a row ([Int8]); not exact.
///
/// Rows are taken in blocks of 8, columns in groups of 64. Masks and values lie in the same order: block by block as [Strips]
/// has them, in a block group by group, in a group row by row; the values in two areas as those of [Bitmask].
///
/// ```
///             group 0                             group 1
///   masks   | row 0 u64 | row 1 u64 | ... row 7 | row 0 u64 | ...      bit c of a word = column 64 g + c is kept
///   values  | kept of row 0 | ... row 3         | row 0 | ...          lowest column first, a signed byte each, no padding
///           | kept of row 4 | ... row 7         | row 4 | ...
///   scales  | one float32 a row |
/// ```
///
/// `d + 1/8` bytes a weight, where d is the fraction kept: 0.625 at 50 %. With AVX-512 VBMI2 one `expand` spreads a row's
/// bytes over 64 lanes; four shifts, masks and conversions make float32 of them, so that a group costs the arithmetic of 64
/// weights however few are kept: pays from about 40 % to 65 %. Elsewhere 16 or 8 bytes are widened and spread at a time.
public final class BitmaskInt8 implements WeightFormat {
    /// See [CpuLinear#fewTokens].
    private static final int FEW_TOKENS = 6;

    private static final int BLOCK = 8;
    /// Rows of a block whose values are one stream.
    private static final int HALF_BLOCK = BLOCK / 2;
    private static final int GROUP = 64;
    private static final long MASK_BYTES = 8;
    /// Groups between two entries of the offset table, so that a panel finds its values.
    private static final int GROUPS_A_START = 4;

    private static final BitmaskInt8 INSTANCE = new BitmaskInt8();

    private BitmaskInt8() {}

    public static BitmaskInt8 of() {
        return INSTANCE;
    }

    @Override
    public String name() {
        return "bitmask-int8";
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
            return new Packed(Int8.of(dense, Math.max(1, dense.columns()), scratch));
        }
    }

    /// The packed matrix.
    private static final class Packed implements CpuLinear, Strips.Matrix {
        private static final ThreadLocal<AheadChoice> AHEAD = AheadChoice.perThread();

        private final Arena arena = Arena.ofShared();
        private final int rows;
        private final int columns;
        private final int groups;
        private final Strips strips;
        /// Groups of a strip, and entries in the offset table for it.
        private final int stripGroups;

        private final int stripStarts;
        private final long nonZeros;
        private final long masks;
        private final float[] scales;
        /// Addresses of the values of group 4 i of each strip of each block, for its first four rows and for its last.
        private final long[] starts;

        Packed(Int8 weights) {
            Tensor bytes = weights.values();
            scales = weights.scales();
            rows = bytes.rows();
            columns = bytes.columns();
            groups = Math.ceilDiv(columns, GROUP);
            strips = Strips.of(rows, columns, BLOCK);
            stripGroups = strips.width() / GROUP;
            stripStarts = stripGroups / GROUPS_A_START;
            int blocks = Math.ceilDiv(rows, BLOCK);
            masks = Memory.allocate(Math.max(1, MASK_BYTES * BLOCK * blocks * groups), arena)
                    .address();
            long[] counts = writeMasks(bytes);
            nonZeros = counts[0] + counts[1];
            starts = new long[2 * strips.units() * stripStarts];
            for (int half = 0; half < 2; half++) {
                long values = Ahead.allocate(counts[half] + 64, arena).address();
                writeValues(bytes, half, values);
            }
        }

        /// Returns how many weights the blocks' first four rows keep, and how many their last four.
        private long[] writeMasks(Tensor bytes) {
            long[] counts = new long[2];
            for (int row = 0; row < rows; row++) {
                for (int group = 0; group < groups; group++) {
                    long index = (long) row * columns + (long) group * GROUP;
                    long word = 0;
                    for (int c = 0; c < Math.min(GROUP, columns - group * GROUP); c++) {
                        word |= (bytes.segment().get(ValueLayout.JAVA_BYTE, index + c) == 0 ? 0L : 1L) << c;
                    }
                    Raw.ALL.set(Raw.LONG, mask(row, group), word);
                    counts[row % BLOCK / HALF_BLOCK] += Long.bitCount(word);
                }
            }
            return counts;
        }

        /// Writes the values of half of each block's rows from `values` on.
        private void writeValues(Tensor bytes, int half, long values) {
            long[] at = {values};
            strips.forEach((index, block, strip) -> {
                for (int group = 0; group < groups(strip); group++) {
                    if (group % GROUPS_A_START == 0) {
                        starts[2 * (index * stripStarts + group / GROUPS_A_START) + half] = at[0];
                    }
                    at[0] = writeGroup(bytes, block + half * HALF_BLOCK, strip * stripGroups + group, at[0]);
                }
            });
        }

        /// Writes what four rows from `first` on keep of one group, from `to` on; returns where the next ones begin.
        private long writeGroup(Tensor bytes, int first, int group, long to) {
            long at = to;
            for (int row = first; row < first + HALF_BLOCK; row++) {
                long index = (long) row * columns + (long) group * GROUP;
                for (long m = Raw.ALL.get(Raw.LONG, mask(row, group)); m != 0; m &= m - 1) {
                    byte value = bytes.segment().get(ValueLayout.JAVA_BYTE, index + Long.numberOfTrailingZeros(m));
                    Raw.ALL.set(ValueLayout.JAVA_BYTE, at++, value);
                }
            }
            return at;
        }

        private int groups(int strip) {
            return Math.ceilDiv(strips.columns(strip), GROUP);
        }

        /// The address of a mask word. Groups lie in the order of [Strips].
        private long mask(int row, int group) {
            return masks + MASK_BYTES * (strips.index(row, group, stripGroups, groups) * BLOCK + row % BLOCK);
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
            return DType.I8;
        }

        @Override
        public WeightFormat format() {
            return INSTANCE;
        }

        @Override
        public long bytes() {
            return nonZeros + MASK_BYTES * BLOCK * Math.ceilDiv(rows, BLOCK) * groups + 4L * rows;
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
            return Kernel.WIDE ? Input.BY_FOUR : Input.PLAIN;
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
            for (int row = from; row < to; row++) {
                Raw.ALL.set(Raw.FLOAT, ys + 4L * row, scales[row] * Raw.ALL.get(Raw.FLOAT, ys + 4L * row));
            }
        }

        /// Without the rows' scales.
        @Override
        public void multiplyStrip(int strip, int from, int to, long x, long y, boolean pages) {
            long sums = Sums.scratch();
            float scale = Kernel.WIDE ? Weights.TOP_BYTE_SCALE : 1f;
            long begin = mask(from, strip * stripGroups);
            int index = strips.index(from, strip);
            for (int row = from; row < to; row += BLOCK) {
                int count = Math.min(BLOCK, to - row);
                long end = begin + MASK_BYTES * BLOCK * groups(strip);
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

        private static void run(long begin, long end, long first, long last, long x, long sums, boolean pages) {
            if (Kernel.WIDE) {
                Kernel.wide(begin, end, first, last, x, Weights.TOP_BYTE, sums, pages);
            } else {
                Kernel.narrow(begin, end, first, last, x, sums, pages);
            }
        }

        /// The same without vectors.
        private static void scalar(
                long begin, long end, long first, long last, long x, boolean more, long y, int count) {
            long[] at = {first, last};
            long group = x;
            float[] sums = new float[BLOCK];
            for (long p = begin; p != end; p += MASK_BYTES * BLOCK) {
                for (int row = 0; row < BLOCK; row++) {
                    float sum = sums[row];
                    for (long m = Raw.ALL.get(Raw.LONG, p + MASK_BYTES * row); m != 0; m &= m - 1) {
                        float input = Raw.ALL.get(Raw.FLOAT, group + 4L * Long.numberOfTrailingZeros(m));
                        sum += Raw.ALL.get(ValueLayout.JAVA_BYTE, at[row / HALF_BLOCK]++) * input;
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
                    expand(row, first, end, to + 4L * (row - rowFrom) * stride, stride);
                }
            }
        }

        /// Groups `first` to `last` of a strip, of the block of `row`.
        private void expand(int row, int first, int last, long target, int stride) {
            int anchor = first / GROUPS_A_START * GROUPS_A_START;
            for (int half = 0; half < 2; half++) {
                int above = HALF_BLOCK * half;
                long masks = mask(row, anchor) + MASK_BYTES * above;
                long begin = mask(row, first) + MASK_BYTES * above;
                long at = start(row, anchor, half);
                for (; masks != begin; masks += MASK_BYTES * BLOCK) {
                    for (int r = 0; r < HALF_BLOCK; r++) {
                        at += Long.bitCount(Raw.ALL.get(Raw.LONG, masks + MASK_BYTES * r));
                    }
                }
                long to = target + 4L * above * stride;
                for (int group = first; group < last; group++) {
                    at = spread(row + above, masks, at, to, 4L * stride);
                    masks += MASK_BYTES * BLOCK;
                    to += 4L * GROUP;
                }
            }
        }

        /// Half a block's part of a group; returns where the values of the next begin.
        private long spread(int row, long masks, long values, long target, long stride) {
            long at = values;
            for (int r = 0; r < HALF_BLOCK; r++) {
                long m = Raw.ALL.get(Raw.LONG, masks + MASK_BYTES * r);
                float scale = row + r < rows ? scales[row + r] : 0;
                if (Kernel.WIDE) {
                    Kernel.spread(m, at, scale, target + stride * r);
                } else {
                    spread(m, at, scale, target + stride * r);
                }
                at += Long.bitCount(m);
            }
            return at;
        }

        /// A row's part of a group as float32, without vectors.
        private static void spread(long mask, long value, float scale, long target) {
            Raw.ALL.asSlice(target, 4L * GROUP).fill((byte) 0);
            long at = value;
            for (long m = mask; m != 0; m &= m - 1) {
                float weight = Raw.ALL.get(ValueLayout.JAVA_BYTE, at++) * scale;
                Raw.ALL.set(Raw.FLOAT, target + 4L * Long.numberOfTrailingZeros(m), weight);
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
        private static final VectorSpecies<Byte> B = ByteVector.SPECIES_PREFERRED;
        private static final VectorSpecies<Byte> QUARTER =
                VectorSpecies.of(byte.class, VectorShape.forBitSize(Math.max(64, F.vectorBitSize() / 4)));
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

        static void wide(
                long masks, long end, long values, long others, long x, int topByte, long sums, boolean pages) {
            FloatVector a0 = FloatVector.zero(F);
            FloatVector a1 = FloatVector.zero(F);
            FloatVector a2 = FloatVector.zero(F);
            FloatVector a3 = FloatVector.zero(F);
            FloatVector a4 = FloatVector.zero(F);
            FloatVector a5 = FloatVector.zero(F);
            FloatVector a6 = FloatVector.zero(F);
            FloatVector a7 = FloatVector.zero(F);
            // An argument and not a constant: C2 would load a constant anew for every use.
            IntVector top = IntVector.broadcast(I, topByte);
            long vp = values;
            long wp = others;
            long xp = x;
            long distance = Ahead.distance(pages);
            long alignment = Ahead.alignment(pages);
            long ahead = 0;
            for (long p = masks; p != end; p += MASK_BYTES * BLOCK) {
                p &= Raw.ADDRESS;
                xp &= Raw.ADDRESS;
                vp &= Raw.ADDRESS;
                wp &= Raw.ADDRESS;
                // What lies between a stream's place and a row's values: no load waits for more than the masks.
                int before = 0;
                int behind = 0;
                ahead ^= Raw.ALL.get(Raw.LONG, (vp + distance & alignment) & Raw.ADDRESS);
                FloatVector x0 = FloatVector.fromMemorySegment(F, Raw.ALL, xp, Raw.ORDER);
                FloatVector x1 = FloatVector.fromMemorySegment(F, Raw.ALL, xp + 64, Raw.ORDER);
                FloatVector x2 = FloatVector.fromMemorySegment(F, Raw.ALL, xp + 128, Raw.ORDER);
                FloatVector x3 = FloatVector.fromMemorySegment(F, Raw.ALL, xp + 192, Raw.ORDER);
                xp += 4 * GROUP;
                long m;
                IntVector v;
                FloatVector w;
                m = Raw.ALL.get(Raw.LONG, p + 0);
                if (Raw.FENCES) VarHandle.acquireFence();
                v = ByteVector.fromMemorySegment(B, Raw.ALL, vp + (before & Raw.UNSIGNED), Raw.ORDER)
                        .expand(VectorMask.fromLong(B, m))
                        .reinterpretAsInts();
                before += Long.bitCount(m);
                w = (FloatVector) v.lanewise(VectorOperators.LSHL, 24).convert(VectorOperators.I2F, 0);
                a0 = FMA ? x0.fma(w, a0) : x0.mul(w).add(a0);
                w = (FloatVector) v.lanewise(VectorOperators.LSHL, 16).and(top).convert(VectorOperators.I2F, 0);
                a0 = FMA ? x1.fma(w, a0) : x1.mul(w).add(a0);
                w = (FloatVector) v.lanewise(VectorOperators.LSHL, 8).and(top).convert(VectorOperators.I2F, 0);
                a0 = FMA ? x2.fma(w, a0) : x2.mul(w).add(a0);
                w = (FloatVector) v.and(top).convert(VectorOperators.I2F, 0);
                a0 = FMA ? x3.fma(w, a0) : x3.mul(w).add(a0);
                m = Raw.ALL.get(Raw.LONG, p + 8);
                if (Raw.FENCES) VarHandle.acquireFence();
                v = ByteVector.fromMemorySegment(B, Raw.ALL, vp + (before & Raw.UNSIGNED), Raw.ORDER)
                        .expand(VectorMask.fromLong(B, m))
                        .reinterpretAsInts();
                before += Long.bitCount(m);
                w = (FloatVector) v.lanewise(VectorOperators.LSHL, 24).convert(VectorOperators.I2F, 0);
                a1 = FMA ? x0.fma(w, a1) : x0.mul(w).add(a1);
                w = (FloatVector) v.lanewise(VectorOperators.LSHL, 16).and(top).convert(VectorOperators.I2F, 0);
                a1 = FMA ? x1.fma(w, a1) : x1.mul(w).add(a1);
                w = (FloatVector) v.lanewise(VectorOperators.LSHL, 8).and(top).convert(VectorOperators.I2F, 0);
                a1 = FMA ? x2.fma(w, a1) : x2.mul(w).add(a1);
                w = (FloatVector) v.and(top).convert(VectorOperators.I2F, 0);
                a1 = FMA ? x3.fma(w, a1) : x3.mul(w).add(a1);
                m = Raw.ALL.get(Raw.LONG, p + 16);
                if (Raw.FENCES) VarHandle.acquireFence();
                v = ByteVector.fromMemorySegment(B, Raw.ALL, vp + (before & Raw.UNSIGNED), Raw.ORDER)
                        .expand(VectorMask.fromLong(B, m))
                        .reinterpretAsInts();
                before += Long.bitCount(m);
                w = (FloatVector) v.lanewise(VectorOperators.LSHL, 24).convert(VectorOperators.I2F, 0);
                a2 = FMA ? x0.fma(w, a2) : x0.mul(w).add(a2);
                w = (FloatVector) v.lanewise(VectorOperators.LSHL, 16).and(top).convert(VectorOperators.I2F, 0);
                a2 = FMA ? x1.fma(w, a2) : x1.mul(w).add(a2);
                w = (FloatVector) v.lanewise(VectorOperators.LSHL, 8).and(top).convert(VectorOperators.I2F, 0);
                a2 = FMA ? x2.fma(w, a2) : x2.mul(w).add(a2);
                w = (FloatVector) v.and(top).convert(VectorOperators.I2F, 0);
                a2 = FMA ? x3.fma(w, a2) : x3.mul(w).add(a2);
                m = Raw.ALL.get(Raw.LONG, p + 24);
                if (Raw.FENCES) VarHandle.acquireFence();
                v = ByteVector.fromMemorySegment(B, Raw.ALL, vp + (before & Raw.UNSIGNED), Raw.ORDER)
                        .expand(VectorMask.fromLong(B, m))
                        .reinterpretAsInts();
                before += Long.bitCount(m);
                w = (FloatVector) v.lanewise(VectorOperators.LSHL, 24).convert(VectorOperators.I2F, 0);
                a3 = FMA ? x0.fma(w, a3) : x0.mul(w).add(a3);
                w = (FloatVector) v.lanewise(VectorOperators.LSHL, 16).and(top).convert(VectorOperators.I2F, 0);
                a3 = FMA ? x1.fma(w, a3) : x1.mul(w).add(a3);
                w = (FloatVector) v.lanewise(VectorOperators.LSHL, 8).and(top).convert(VectorOperators.I2F, 0);
                a3 = FMA ? x2.fma(w, a3) : x2.mul(w).add(a3);
                w = (FloatVector) v.and(top).convert(VectorOperators.I2F, 0);
                a3 = FMA ? x3.fma(w, a3) : x3.mul(w).add(a3);
                m = Raw.ALL.get(Raw.LONG, p + 32);
                if (Raw.FENCES) VarHandle.acquireFence();
                v = ByteVector.fromMemorySegment(B, Raw.ALL, wp + (behind & Raw.UNSIGNED), Raw.ORDER)
                        .expand(VectorMask.fromLong(B, m))
                        .reinterpretAsInts();
                behind += Long.bitCount(m);
                w = (FloatVector) v.lanewise(VectorOperators.LSHL, 24).convert(VectorOperators.I2F, 0);
                a4 = FMA ? x0.fma(w, a4) : x0.mul(w).add(a4);
                w = (FloatVector) v.lanewise(VectorOperators.LSHL, 16).and(top).convert(VectorOperators.I2F, 0);
                a4 = FMA ? x1.fma(w, a4) : x1.mul(w).add(a4);
                w = (FloatVector) v.lanewise(VectorOperators.LSHL, 8).and(top).convert(VectorOperators.I2F, 0);
                a4 = FMA ? x2.fma(w, a4) : x2.mul(w).add(a4);
                w = (FloatVector) v.and(top).convert(VectorOperators.I2F, 0);
                a4 = FMA ? x3.fma(w, a4) : x3.mul(w).add(a4);
                m = Raw.ALL.get(Raw.LONG, p + 40);
                if (Raw.FENCES) VarHandle.acquireFence();
                v = ByteVector.fromMemorySegment(B, Raw.ALL, wp + (behind & Raw.UNSIGNED), Raw.ORDER)
                        .expand(VectorMask.fromLong(B, m))
                        .reinterpretAsInts();
                behind += Long.bitCount(m);
                w = (FloatVector) v.lanewise(VectorOperators.LSHL, 24).convert(VectorOperators.I2F, 0);
                a5 = FMA ? x0.fma(w, a5) : x0.mul(w).add(a5);
                w = (FloatVector) v.lanewise(VectorOperators.LSHL, 16).and(top).convert(VectorOperators.I2F, 0);
                a5 = FMA ? x1.fma(w, a5) : x1.mul(w).add(a5);
                w = (FloatVector) v.lanewise(VectorOperators.LSHL, 8).and(top).convert(VectorOperators.I2F, 0);
                a5 = FMA ? x2.fma(w, a5) : x2.mul(w).add(a5);
                w = (FloatVector) v.and(top).convert(VectorOperators.I2F, 0);
                a5 = FMA ? x3.fma(w, a5) : x3.mul(w).add(a5);
                m = Raw.ALL.get(Raw.LONG, p + 48);
                if (Raw.FENCES) VarHandle.acquireFence();
                v = ByteVector.fromMemorySegment(B, Raw.ALL, wp + (behind & Raw.UNSIGNED), Raw.ORDER)
                        .expand(VectorMask.fromLong(B, m))
                        .reinterpretAsInts();
                behind += Long.bitCount(m);
                w = (FloatVector) v.lanewise(VectorOperators.LSHL, 24).convert(VectorOperators.I2F, 0);
                a6 = FMA ? x0.fma(w, a6) : x0.mul(w).add(a6);
                w = (FloatVector) v.lanewise(VectorOperators.LSHL, 16).and(top).convert(VectorOperators.I2F, 0);
                a6 = FMA ? x1.fma(w, a6) : x1.mul(w).add(a6);
                w = (FloatVector) v.lanewise(VectorOperators.LSHL, 8).and(top).convert(VectorOperators.I2F, 0);
                a6 = FMA ? x2.fma(w, a6) : x2.mul(w).add(a6);
                w = (FloatVector) v.and(top).convert(VectorOperators.I2F, 0);
                a6 = FMA ? x3.fma(w, a6) : x3.mul(w).add(a6);
                m = Raw.ALL.get(Raw.LONG, p + 56);
                if (Raw.FENCES) VarHandle.acquireFence();
                v = ByteVector.fromMemorySegment(B, Raw.ALL, wp + (behind & Raw.UNSIGNED), Raw.ORDER)
                        .expand(VectorMask.fromLong(B, m))
                        .reinterpretAsInts();
                behind += Long.bitCount(m);
                w = (FloatVector) v.lanewise(VectorOperators.LSHL, 24).convert(VectorOperators.I2F, 0);
                a7 = FMA ? x0.fma(w, a7) : x0.mul(w).add(a7);
                w = (FloatVector) v.lanewise(VectorOperators.LSHL, 16).and(top).convert(VectorOperators.I2F, 0);
                a7 = FMA ? x1.fma(w, a7) : x1.mul(w).add(a7);
                w = (FloatVector) v.lanewise(VectorOperators.LSHL, 8).and(top).convert(VectorOperators.I2F, 0);
                a7 = FMA ? x2.fma(w, a7) : x2.mul(w).add(a7);
                w = (FloatVector) v.and(top).convert(VectorOperators.I2F, 0);
                a7 = FMA ? x3.fma(w, a7) : x3.mul(w).add(a7);
                vp += before;
                wp += behind;
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

        static void narrow(long masks, long end, long values, long others, long x, long sums, boolean pages) {
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
            for (long p = masks; p != end; p += MASK_BYTES * BLOCK) {
                p &= Raw.ADDRESS;
                xp &= Raw.ADDRESS;
                vp &= Raw.ADDRESS;
                wp &= Raw.ADDRESS;
                // What lies between a stream's place and a row's values: no load waits for more than the masks.
                int before = 0;
                int behind = 0;
                ahead ^= Raw.ALL.get(Raw.LONG, (vp + distance & alignment) & Raw.ADDRESS);
                long m;
                int s;
                FloatVector w;
                FloatVector t;
                m = Raw.ALL.get(Raw.LONG, p + 0);
                for (int c = 0; c < GROUP; c += LANES) {
                    s = (int) (m >>> c) & LANE_BITS;
                    if (Raw.FENCES) VarHandle.acquireFence();
                    w = (FloatVector) ((IntVector) ByteVector.fromMemorySegment(
                                            QUARTER, Raw.ALL, vp + (before & Raw.UNSIGNED), Raw.ORDER)
                                    .convertShape(VectorOperators.B2I, I, 0))
                            .expand(VectorMask.fromLong(I, s))
                            .convert(VectorOperators.I2F, 0);
                    t = FloatVector.fromMemorySegment(F, Raw.ALL, xp + 4L * c, Raw.ORDER);
                    a0 = FMA ? w.fma(t, a0) : w.mul(t).add(a0);
                    before += Integer.bitCount(s);
                }
                m = Raw.ALL.get(Raw.LONG, p + 8);
                for (int c = 0; c < GROUP; c += LANES) {
                    s = (int) (m >>> c) & LANE_BITS;
                    if (Raw.FENCES) VarHandle.acquireFence();
                    w = (FloatVector) ((IntVector) ByteVector.fromMemorySegment(
                                            QUARTER, Raw.ALL, vp + (before & Raw.UNSIGNED), Raw.ORDER)
                                    .convertShape(VectorOperators.B2I, I, 0))
                            .expand(VectorMask.fromLong(I, s))
                            .convert(VectorOperators.I2F, 0);
                    t = FloatVector.fromMemorySegment(F, Raw.ALL, xp + 4L * c, Raw.ORDER);
                    a1 = FMA ? w.fma(t, a1) : w.mul(t).add(a1);
                    before += Integer.bitCount(s);
                }
                m = Raw.ALL.get(Raw.LONG, p + 16);
                for (int c = 0; c < GROUP; c += LANES) {
                    s = (int) (m >>> c) & LANE_BITS;
                    if (Raw.FENCES) VarHandle.acquireFence();
                    w = (FloatVector) ((IntVector) ByteVector.fromMemorySegment(
                                            QUARTER, Raw.ALL, vp + (before & Raw.UNSIGNED), Raw.ORDER)
                                    .convertShape(VectorOperators.B2I, I, 0))
                            .expand(VectorMask.fromLong(I, s))
                            .convert(VectorOperators.I2F, 0);
                    t = FloatVector.fromMemorySegment(F, Raw.ALL, xp + 4L * c, Raw.ORDER);
                    a2 = FMA ? w.fma(t, a2) : w.mul(t).add(a2);
                    before += Integer.bitCount(s);
                }
                m = Raw.ALL.get(Raw.LONG, p + 24);
                for (int c = 0; c < GROUP; c += LANES) {
                    s = (int) (m >>> c) & LANE_BITS;
                    if (Raw.FENCES) VarHandle.acquireFence();
                    w = (FloatVector) ((IntVector) ByteVector.fromMemorySegment(
                                            QUARTER, Raw.ALL, vp + (before & Raw.UNSIGNED), Raw.ORDER)
                                    .convertShape(VectorOperators.B2I, I, 0))
                            .expand(VectorMask.fromLong(I, s))
                            .convert(VectorOperators.I2F, 0);
                    t = FloatVector.fromMemorySegment(F, Raw.ALL, xp + 4L * c, Raw.ORDER);
                    a3 = FMA ? w.fma(t, a3) : w.mul(t).add(a3);
                    before += Integer.bitCount(s);
                }
                m = Raw.ALL.get(Raw.LONG, p + 32);
                for (int c = 0; c < GROUP; c += LANES) {
                    s = (int) (m >>> c) & LANE_BITS;
                    if (Raw.FENCES) VarHandle.acquireFence();
                    w = (FloatVector) ((IntVector) ByteVector.fromMemorySegment(
                                            QUARTER, Raw.ALL, wp + (behind & Raw.UNSIGNED), Raw.ORDER)
                                    .convertShape(VectorOperators.B2I, I, 0))
                            .expand(VectorMask.fromLong(I, s))
                            .convert(VectorOperators.I2F, 0);
                    t = FloatVector.fromMemorySegment(F, Raw.ALL, xp + 4L * c, Raw.ORDER);
                    a4 = FMA ? w.fma(t, a4) : w.mul(t).add(a4);
                    behind += Integer.bitCount(s);
                }
                m = Raw.ALL.get(Raw.LONG, p + 40);
                for (int c = 0; c < GROUP; c += LANES) {
                    s = (int) (m >>> c) & LANE_BITS;
                    if (Raw.FENCES) VarHandle.acquireFence();
                    w = (FloatVector) ((IntVector) ByteVector.fromMemorySegment(
                                            QUARTER, Raw.ALL, wp + (behind & Raw.UNSIGNED), Raw.ORDER)
                                    .convertShape(VectorOperators.B2I, I, 0))
                            .expand(VectorMask.fromLong(I, s))
                            .convert(VectorOperators.I2F, 0);
                    t = FloatVector.fromMemorySegment(F, Raw.ALL, xp + 4L * c, Raw.ORDER);
                    a5 = FMA ? w.fma(t, a5) : w.mul(t).add(a5);
                    behind += Integer.bitCount(s);
                }
                m = Raw.ALL.get(Raw.LONG, p + 48);
                for (int c = 0; c < GROUP; c += LANES) {
                    s = (int) (m >>> c) & LANE_BITS;
                    if (Raw.FENCES) VarHandle.acquireFence();
                    w = (FloatVector) ((IntVector) ByteVector.fromMemorySegment(
                                            QUARTER, Raw.ALL, wp + (behind & Raw.UNSIGNED), Raw.ORDER)
                                    .convertShape(VectorOperators.B2I, I, 0))
                            .expand(VectorMask.fromLong(I, s))
                            .convert(VectorOperators.I2F, 0);
                    t = FloatVector.fromMemorySegment(F, Raw.ALL, xp + 4L * c, Raw.ORDER);
                    a6 = FMA ? w.fma(t, a6) : w.mul(t).add(a6);
                    behind += Integer.bitCount(s);
                }
                m = Raw.ALL.get(Raw.LONG, p + 56);
                for (int c = 0; c < GROUP; c += LANES) {
                    s = (int) (m >>> c) & LANE_BITS;
                    if (Raw.FENCES) VarHandle.acquireFence();
                    w = (FloatVector) ((IntVector) ByteVector.fromMemorySegment(
                                            QUARTER, Raw.ALL, wp + (behind & Raw.UNSIGNED), Raw.ORDER)
                                    .convertShape(VectorOperators.B2I, I, 0))
                            .expand(VectorMask.fromLong(I, s))
                            .convert(VectorOperators.I2F, 0);
                    t = FloatVector.fromMemorySegment(F, Raw.ALL, xp + 4L * c, Raw.ORDER);
                    a7 = FMA ? w.fma(t, a7) : w.mul(t).add(a7);
                    behind += Integer.bitCount(s);
                }
                xp += 4 * GROUP;
                vp += before;
                wp += behind;
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

        /// A row's part of a group as float32.
        static void spread(long mask, long value, float scale, long target) {
            ByteVector v =
                    ByteVector.fromMemorySegment(B, Raw.ALL, value, Raw.ORDER).expand(VectorMask.fromLong(B, mask));
            ((FloatVector) v.convertShape(VectorOperators.B2F, F, 0))
                    .mul(scale)
                    .intoMemorySegment(Raw.ALL, target + 0, Raw.ORDER);
            ((FloatVector) v.convertShape(VectorOperators.B2F, F, 1))
                    .mul(scale)
                    .intoMemorySegment(Raw.ALL, target + 64, Raw.ORDER);
            ((FloatVector) v.convertShape(VectorOperators.B2F, F, 2))
                    .mul(scale)
                    .intoMemorySegment(Raw.ALL, target + 128, Raw.ORDER);
            ((FloatVector) v.convertShape(VectorOperators.B2F, F, 3))
                    .mul(scale)
                    .intoMemorySegment(Raw.ALL, target + 192, Raw.ORDER);
        }
    }
}
