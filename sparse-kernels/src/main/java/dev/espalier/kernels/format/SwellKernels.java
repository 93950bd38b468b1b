package dev.espalier.kernels.format;

import dev.espalier.kernels.simd.CompilerHints;
import dev.espalier.kernels.simd.Raw;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.VectorOperators;
import jdk.incubator.vector.VectorSpecies;

/// The inner loops of [Swell]: blocks `begin` to `end` of one slice, whose bases lie from `bases` on, times the activations at
/// `x`; the sums, one a lane, go to `result`.
///
/// With 16 lanes one instruction looks a lane up in two vectors. With 8 or 4 there is none: for two vectors both are permuted,
/// and the index's highest bit, moved to the sign, chooses.
final class SwellKernels {
    private static final VectorSpecies<Float> F = FloatVector.SPECIES_PREFERRED;
    private static final VectorSpecies<Integer> I = IntVector.SPECIES_PREFERRED;
    // A field of an index word has at most five bits.
    static final int LANES = Math.min(16, F.length());
    /// Bits of an index: a column of two vectors.
    static final int FIELD = LANES == 16 ? 5 : 4;

    /// Steps that an index word describes.
    static final int STEPS = LANES == 16 ? 6 : 8;

    private static final long VECTOR = 4L * LANES;
    private static final int FAR = 31 - Integer.numberOfTrailingZeros(LANES);
    private static final boolean FMA = CompilerHints.fma();
    static final ThreadLocal<MemorySegment> RESULT =
            ThreadLocal.withInitial(() -> Arena.ofAuto().allocate(VECTOR, 64));

    static {
        CompilerHints.excludeFromC1(SwellKernels.class);
    }

    private SwellKernels() {}

    /// 16 lanes, 16-bit values: 32 columns, six steps a word.
    static void wide16(
            long begin,
            long end,
            long last,
            long bases,
            long x,
            float scale,
            int shift,
            int low,
            int high,
            long result) {
        FloatVector a0 = FloatVector.zero(F);
        FloatVector a1 = FloatVector.zero(F);
        FloatVector a2 = FloatVector.zero(F);
        FloatVector a3 = FloatVector.zero(F);
        long bp = bases;
        long ahead = 0;
        for (long p = begin; p != end; p += 4 * 64) {
            ahead ^= Raw.ALL.get(Raw.LONG, Ahead.pageAhead(p, last));
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
        Ahead.keep(ahead);
    }

    /// 16 lanes, F32.
    static void wide32(long begin, long end, long last, long bases, long x, long result) {
        FloatVector a0 = FloatVector.zero(F);
        FloatVector a1 = FloatVector.zero(F);
        FloatVector a2 = FloatVector.zero(F);
        FloatVector a3 = FloatVector.zero(F);
        long bp = bases;
        long ahead = 0;
        for (long p = begin; p != end; p += 7 * 64) {
            ahead ^= Raw.ALL.get(Raw.LONG, Ahead.pageAhead(p, last));
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
        Ahead.keep(ahead);
    }

    /// 16 lanes, bytes: two words a block.
    static void wide8(long begin, long end, long last, long bases, long x, int topByte, long result) {
        FloatVector a0 = FloatVector.zero(F);
        FloatVector a1 = FloatVector.zero(F);
        FloatVector a2 = FloatVector.zero(F);
        FloatVector a3 = FloatVector.zero(F);
        IntVector top = IntVector.broadcast(I, topByte);
        long bp = bases;
        long ahead = 0;
        for (long p = begin; p != end; p += 5 * 64) {
            ahead ^= Raw.ALL.get(Raw.LONG, Ahead.pageAhead(p, last));
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
        Ahead.keep(ahead);
    }

    /// 8 or 4 lanes, bytes: as many columns, eight steps a word.
    static void bytes(long begin, long end, long last, long bases, long x, int topByte, long result) {
        FloatVector a0 = FloatVector.zero(F);
        FloatVector a1 = FloatVector.zero(F);
        FloatVector a2 = FloatVector.zero(F);
        FloatVector a3 = FloatVector.zero(F);
        IntVector top = IntVector.broadcast(I, topByte);
        long bp = bases;
        long ahead = 0;
        for (long p = begin; p != end; p += 3 * VECTOR) {
            ahead ^= Raw.ALL.get(Raw.LONG, Ahead.pageAhead(p, last));
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
        Ahead.keep(ahead);
    }

    /// 8 or 4 lanes, 16-bit values: as many columns.
    static void near16(
            long begin,
            long end,
            long last,
            long bases,
            long x,
            float scale,
            int shift,
            int low,
            int high,
            long result) {
        FloatVector a0 = FloatVector.zero(F);
        FloatVector a1 = FloatVector.zero(F);
        FloatVector a2 = FloatVector.zero(F);
        FloatVector a3 = FloatVector.zero(F);
        long bp = bases;
        long ahead = 0;
        for (long p = begin; p != end; p += 5 * VECTOR) {
            ahead ^= Raw.ALL.get(Raw.LONG, Ahead.pageAhead(p, last));
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
        Ahead.keep(ahead);
    }

    /// 8 or 4 lanes, F32: as many columns.
    static void near32(long begin, long end, long last, long bases, long x, long result) {
        FloatVector a0 = FloatVector.zero(F);
        FloatVector a1 = FloatVector.zero(F);
        FloatVector a2 = FloatVector.zero(F);
        FloatVector a3 = FloatVector.zero(F);
        long bp = bases;
        long ahead = 0;
        for (long p = begin; p != end; p += 9 * VECTOR) {
            ahead ^= Raw.ALL.get(Raw.LONG, Ahead.pageAhead(p, last));
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
        Ahead.keep(ahead);
    }

    /// 8 or 4 lanes, 16-bit values: twice as many columns.
    static void far16(
            long begin,
            long end,
            long last,
            long bases,
            long x,
            float scale,
            int shift,
            int low,
            int high,
            long result) {
        FloatVector a0 = FloatVector.zero(F);
        FloatVector a1 = FloatVector.zero(F);
        FloatVector a2 = FloatVector.zero(F);
        FloatVector a3 = FloatVector.zero(F);
        long bp = bases;
        long ahead = 0;
        for (long p = begin; p != end; p += 5 * VECTOR) {
            ahead ^= Raw.ALL.get(Raw.LONG, Ahead.pageAhead(p, last));
            IntVector words = IntVector.fromMemorySegment(I, Raw.ALL, p, Raw.ORDER);
            IntVector v;
            long b = Raw.ALL.get(Raw.LONG, bp);
            long c = Raw.ALL.get(Raw.LONG, bp + 8);
            bp += 16;
            FloatVector w;
            FloatVector t;
            IntVector index;
            long at;
            v = IntVector.fromMemorySegment(I, Raw.ALL, p + VECTOR, Raw.ORDER);
            at = x + 4 * (b & 0xffff);
            index = words;
            t = index.selectFrom(IntVector.fromMemorySegment(I, Raw.ALL, at, Raw.ORDER))
                    .blend(
                            index.selectFrom(IntVector.fromMemorySegment(I, Raw.ALL, at + VECTOR, Raw.ORDER)),
                            index.lanewise(VectorOperators.LSHL, FAR).compare(VectorOperators.LT, 0))
                    .reinterpretAsFloats()
                    .mul(scale);
            w = v.lanewise(VectorOperators.LSHL, 16)
                    .lanewise(VectorOperators.ASHR, shift)
                    .and(low)
                    .reinterpretAsFloats();
            a0 = FMA ? w.fma(t, a0) : w.mul(t).add(a0);
            at = x + 4 * (b >>> 16 & 0xffff);
            index = words.lanewise(VectorOperators.LSHR, 4);
            t = index.selectFrom(IntVector.fromMemorySegment(I, Raw.ALL, at, Raw.ORDER))
                    .blend(
                            index.selectFrom(IntVector.fromMemorySegment(I, Raw.ALL, at + VECTOR, Raw.ORDER)),
                            index.lanewise(VectorOperators.LSHL, FAR).compare(VectorOperators.LT, 0))
                    .reinterpretAsFloats()
                    .mul(scale);
            w = v.lanewise(VectorOperators.ASHR, shift).and(high).reinterpretAsFloats();
            a1 = FMA ? w.fma(t, a1) : w.mul(t).add(a1);
            v = IntVector.fromMemorySegment(I, Raw.ALL, p + 2 * VECTOR, Raw.ORDER);
            at = x + 4 * (b >>> 32 & 0xffff);
            index = words.lanewise(VectorOperators.LSHR, 8);
            t = index.selectFrom(IntVector.fromMemorySegment(I, Raw.ALL, at, Raw.ORDER))
                    .blend(
                            index.selectFrom(IntVector.fromMemorySegment(I, Raw.ALL, at + VECTOR, Raw.ORDER)),
                            index.lanewise(VectorOperators.LSHL, FAR).compare(VectorOperators.LT, 0))
                    .reinterpretAsFloats()
                    .mul(scale);
            w = v.lanewise(VectorOperators.LSHL, 16)
                    .lanewise(VectorOperators.ASHR, shift)
                    .and(low)
                    .reinterpretAsFloats();
            a2 = FMA ? w.fma(t, a2) : w.mul(t).add(a2);
            at = x + 4 * (b >>> 48);
            index = words.lanewise(VectorOperators.LSHR, 12);
            t = index.selectFrom(IntVector.fromMemorySegment(I, Raw.ALL, at, Raw.ORDER))
                    .blend(
                            index.selectFrom(IntVector.fromMemorySegment(I, Raw.ALL, at + VECTOR, Raw.ORDER)),
                            index.lanewise(VectorOperators.LSHL, FAR).compare(VectorOperators.LT, 0))
                    .reinterpretAsFloats()
                    .mul(scale);
            w = v.lanewise(VectorOperators.ASHR, shift).and(high).reinterpretAsFloats();
            a3 = FMA ? w.fma(t, a3) : w.mul(t).add(a3);
            v = IntVector.fromMemorySegment(I, Raw.ALL, p + 3 * VECTOR, Raw.ORDER);
            at = x + 4 * (c & 0xffff);
            index = words.lanewise(VectorOperators.LSHR, 16);
            t = index.selectFrom(IntVector.fromMemorySegment(I, Raw.ALL, at, Raw.ORDER))
                    .blend(
                            index.selectFrom(IntVector.fromMemorySegment(I, Raw.ALL, at + VECTOR, Raw.ORDER)),
                            index.lanewise(VectorOperators.LSHL, FAR).compare(VectorOperators.LT, 0))
                    .reinterpretAsFloats()
                    .mul(scale);
            w = v.lanewise(VectorOperators.LSHL, 16)
                    .lanewise(VectorOperators.ASHR, shift)
                    .and(low)
                    .reinterpretAsFloats();
            a0 = FMA ? w.fma(t, a0) : w.mul(t).add(a0);
            at = x + 4 * (c >>> 16 & 0xffff);
            index = words.lanewise(VectorOperators.LSHR, 20);
            t = index.selectFrom(IntVector.fromMemorySegment(I, Raw.ALL, at, Raw.ORDER))
                    .blend(
                            index.selectFrom(IntVector.fromMemorySegment(I, Raw.ALL, at + VECTOR, Raw.ORDER)),
                            index.lanewise(VectorOperators.LSHL, FAR).compare(VectorOperators.LT, 0))
                    .reinterpretAsFloats()
                    .mul(scale);
            w = v.lanewise(VectorOperators.ASHR, shift).and(high).reinterpretAsFloats();
            a1 = FMA ? w.fma(t, a1) : w.mul(t).add(a1);
            v = IntVector.fromMemorySegment(I, Raw.ALL, p + 4 * VECTOR, Raw.ORDER);
            at = x + 4 * (c >>> 32 & 0xffff);
            index = words.lanewise(VectorOperators.LSHR, 24);
            t = index.selectFrom(IntVector.fromMemorySegment(I, Raw.ALL, at, Raw.ORDER))
                    .blend(
                            index.selectFrom(IntVector.fromMemorySegment(I, Raw.ALL, at + VECTOR, Raw.ORDER)),
                            index.lanewise(VectorOperators.LSHL, FAR).compare(VectorOperators.LT, 0))
                    .reinterpretAsFloats()
                    .mul(scale);
            w = v.lanewise(VectorOperators.LSHL, 16)
                    .lanewise(VectorOperators.ASHR, shift)
                    .and(low)
                    .reinterpretAsFloats();
            a2 = FMA ? w.fma(t, a2) : w.mul(t).add(a2);
            at = x + 4 * (c >>> 48);
            index = words.lanewise(VectorOperators.LSHR, 28);
            t = index.selectFrom(IntVector.fromMemorySegment(I, Raw.ALL, at, Raw.ORDER))
                    .blend(
                            index.selectFrom(IntVector.fromMemorySegment(I, Raw.ALL, at + VECTOR, Raw.ORDER)),
                            index.lanewise(VectorOperators.LSHL, FAR).compare(VectorOperators.LT, 0))
                    .reinterpretAsFloats()
                    .mul(scale);
            w = v.lanewise(VectorOperators.ASHR, shift).and(high).reinterpretAsFloats();
            a3 = FMA ? w.fma(t, a3) : w.mul(t).add(a3);
        }
        a0.add(a2).add(a1.add(a3)).intoMemorySegment(Raw.ALL, result, Raw.ORDER);
        Ahead.keep(ahead);
    }
}
