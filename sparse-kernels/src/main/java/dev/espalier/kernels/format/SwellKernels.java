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
/// `x`; the sums, one a lane, are added to those at `result`.
///
/// With 16 lanes one instruction looks a lane up in two vectors. With 8 or 4 there is none: both vectors are permuted, and
/// the index's highest bit, moved to the sign, chooses. The narrow loops are rolled, a vector of values a turn, because the
/// few registers of these machines hold no more; the index words move on by shifting.
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

    /// 16 lanes, F32.
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

    /// 16 lanes, bytes: two words a block.
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

    private static FloatVector mac(FloatVector a, FloatVector b, FloatVector sum) {
        return FMA ? a.fma(b, sum) : a.mul(b).add(sum);
    }

    /// The columns that the lowest field of each lane of `index` names, of the two vectors at `at`.
    private static FloatVector look(IntVector index, long at) {
        IntVector near = IntVector.fromMemorySegment(I, Raw.ALL, at, Raw.ORDER);
        IntVector far = IntVector.fromMemorySegment(I, Raw.ALL, at + VECTOR, Raw.ORDER);
        if (LANES == 16) {
            return index.selectFrom(near, far).reinterpretAsFloats();
        }
        return index.selectFrom(near)
                .blend(
                        index.selectFrom(far),
                        index.lanewise(VectorOperators.LSHL, FAR).compare(VectorOperators.LT, 0))
                .reinterpretAsFloats();
    }

    /// BF16, a vector of values and so two steps a turn.
    static void bf16(long begin, long end, long bases, long x, long result) {
        FloatVector a0 = FloatVector.fromMemorySegment(F, Raw.ALL, result, Raw.ORDER);
        FloatVector a1 = FloatVector.zero(F);
        IntVector top = IntVector.broadcast(I, 0xffff0000);
        long bp = bases;
        for (long p = begin; p != end; ) {
            IntVector words = IntVector.fromMemorySegment(I, Raw.ALL, p, Raw.ORDER);
            long next = p + (1 + STEPS / 2) * VECTOR;
            for (p += VECTOR; p != next; p += VECTOR) {
                int b = Raw.ALL.get(Raw.INT, bp);
                bp += 4;
                IntVector v = IntVector.fromMemorySegment(I, Raw.ALL, p, Raw.ORDER);
                FloatVector w = v.lanewise(VectorOperators.LSHL, 16).reinterpretAsFloats();
                a0 = mac(w, look(words, x + 4L * (b & 0xffff)), a0);
                words = words.lanewise(VectorOperators.LSHR, FIELD);
                w = v.and(top).reinterpretAsFloats();
                a1 = mac(w, look(words, x + 4L * (b >>> 16)), a1);
                words = words.lanewise(VectorOperators.LSHR, FIELD);
            }
        }
        a0.add(a1).intoMemorySegment(Raw.ALL, result, Raw.ORDER);
    }

    /// F16, the same.
    static void f16(long begin, long end, long bases, long x, float scale, int shift, int low, int high, long result) {
        FloatVector a0 = FloatVector.fromMemorySegment(F, Raw.ALL, result, Raw.ORDER);
        FloatVector a1 = FloatVector.zero(F);
        long bp = bases;
        for (long p = begin; p != end; ) {
            IntVector words = IntVector.fromMemorySegment(I, Raw.ALL, p, Raw.ORDER);
            long next = p + (1 + STEPS / 2) * VECTOR;
            for (p += VECTOR; p != next; p += VECTOR) {
                int b = Raw.ALL.get(Raw.INT, bp);
                bp += 4;
                IntVector v = IntVector.fromMemorySegment(I, Raw.ALL, p, Raw.ORDER);
                FloatVector w = v.lanewise(VectorOperators.LSHL, 16)
                        .lanewise(VectorOperators.ASHR, shift)
                        .and(low)
                        .reinterpretAsFloats();
                a0 = mac(w, look(words, x + 4L * (b & 0xffff)).mul(scale), a0);
                words = words.lanewise(VectorOperators.LSHR, FIELD);
                w = v.lanewise(VectorOperators.ASHR, shift).and(high).reinterpretAsFloats();
                a1 = mac(w, look(words, x + 4L * (b >>> 16)).mul(scale), a1);
                words = words.lanewise(VectorOperators.LSHR, FIELD);
            }
        }
        a0.add(a1).intoMemorySegment(Raw.ALL, result, Raw.ORDER);
    }

    /// F32, two vectors of values and so two steps a turn.
    static void f32(long begin, long end, long bases, long x, long result) {
        FloatVector a0 = FloatVector.fromMemorySegment(F, Raw.ALL, result, Raw.ORDER);
        FloatVector a1 = FloatVector.zero(F);
        long bp = bases;
        for (long p = begin; p != end; ) {
            IntVector words = IntVector.fromMemorySegment(I, Raw.ALL, p, Raw.ORDER);
            long next = p + (1 + STEPS) * VECTOR;
            for (p += VECTOR; p != next; p += 2 * VECTOR) {
                int b = Raw.ALL.get(Raw.INT, bp);
                bp += 4;
                FloatVector w = FloatVector.fromMemorySegment(F, Raw.ALL, p, Raw.ORDER);
                a0 = mac(w, look(words, x + 4L * (b & 0xffff)), a0);
                words = words.lanewise(VectorOperators.LSHR, FIELD);
                w = FloatVector.fromMemorySegment(F, Raw.ALL, p + VECTOR, Raw.ORDER);
                a1 = mac(w, look(words, x + 4L * (b >>> 16)), a1);
                words = words.lanewise(VectorOperators.LSHR, FIELD);
            }
        }
        a0.add(a1).intoMemorySegment(Raw.ALL, result, Raw.ORDER);
    }

    /// Bytes in 8 or 4 lanes, a vector of values and so four steps a turn. Written out: C2 gives up on so many helpers.
    static void bytes(long begin, long end, long bases, long x, int topByte, long result) {
        FloatVector a0 = FloatVector.fromMemorySegment(F, Raw.ALL, result, Raw.ORDER);
        FloatVector a1 = FloatVector.zero(F);
        IntVector top = IntVector.broadcast(I, topByte);
        long bp = bases;
        for (long p = begin; p != end; ) {
            IntVector words = IntVector.fromMemorySegment(I, Raw.ALL, p, Raw.ORDER);
            long next = p + (1 + STEPS / 4) * VECTOR;
            for (p += VECTOR; p != next; p += VECTOR) {
                long b = Raw.ALL.get(Raw.LONG, bp);
                bp += 8;
                IntVector v = IntVector.fromMemorySegment(I, Raw.ALL, p, Raw.ORDER);
                long at;
                IntVector t;
                FloatVector w;
                at = x + 4 * (b & 0xffff);
                t = words.selectFrom(IntVector.fromMemorySegment(I, Raw.ALL, at, Raw.ORDER))
                        .blend(
                                words.selectFrom(IntVector.fromMemorySegment(I, Raw.ALL, at + VECTOR, Raw.ORDER)),
                                words.lanewise(VectorOperators.LSHL, FAR).compare(VectorOperators.LT, 0));
                words = words.lanewise(VectorOperators.LSHR, FIELD);
                w = (FloatVector) v.lanewise(VectorOperators.LSHL, 24).convert(VectorOperators.I2F, 0);
                a0 = FMA
                        ? w.fma(t.reinterpretAsFloats(), a0)
                        : w.mul(t.reinterpretAsFloats()).add(a0);
                at = x + 4 * (b >>> 16 & 0xffff);
                t = words.selectFrom(IntVector.fromMemorySegment(I, Raw.ALL, at, Raw.ORDER))
                        .blend(
                                words.selectFrom(IntVector.fromMemorySegment(I, Raw.ALL, at + VECTOR, Raw.ORDER)),
                                words.lanewise(VectorOperators.LSHL, FAR).compare(VectorOperators.LT, 0));
                words = words.lanewise(VectorOperators.LSHR, FIELD);
                w = (FloatVector) v.lanewise(VectorOperators.LSHL, 16).and(top).convert(VectorOperators.I2F, 0);
                a1 = FMA
                        ? w.fma(t.reinterpretAsFloats(), a1)
                        : w.mul(t.reinterpretAsFloats()).add(a1);
                at = x + 4 * (b >>> 32 & 0xffff);
                t = words.selectFrom(IntVector.fromMemorySegment(I, Raw.ALL, at, Raw.ORDER))
                        .blend(
                                words.selectFrom(IntVector.fromMemorySegment(I, Raw.ALL, at + VECTOR, Raw.ORDER)),
                                words.lanewise(VectorOperators.LSHL, FAR).compare(VectorOperators.LT, 0));
                words = words.lanewise(VectorOperators.LSHR, FIELD);
                w = (FloatVector) v.lanewise(VectorOperators.LSHL, 8).and(top).convert(VectorOperators.I2F, 0);
                a0 = FMA
                        ? w.fma(t.reinterpretAsFloats(), a0)
                        : w.mul(t.reinterpretAsFloats()).add(a0);
                at = x + 4 * (b >>> 48);
                t = words.selectFrom(IntVector.fromMemorySegment(I, Raw.ALL, at, Raw.ORDER))
                        .blend(
                                words.selectFrom(IntVector.fromMemorySegment(I, Raw.ALL, at + VECTOR, Raw.ORDER)),
                                words.lanewise(VectorOperators.LSHL, FAR).compare(VectorOperators.LT, 0));
                words = words.lanewise(VectorOperators.LSHR, FIELD);
                w = (FloatVector) v.and(top).convert(VectorOperators.I2F, 0);
                a1 = FMA
                        ? w.fma(t.reinterpretAsFloats(), a1)
                        : w.mul(t.reinterpretAsFloats()).add(a1);
            }
        }
        a0.add(a1).intoMemorySegment(Raw.ALL, result, Raw.ORDER);
    }

    /// The same, one vector of columns.
    static void bytesNear(long begin, long end, long bases, long x, int topByte, long result) {
        FloatVector a0 = FloatVector.fromMemorySegment(F, Raw.ALL, result, Raw.ORDER);
        FloatVector a1 = FloatVector.zero(F);
        IntVector top = IntVector.broadcast(I, topByte);
        long bp = bases;
        for (long p = begin; p != end; ) {
            IntVector words = IntVector.fromMemorySegment(I, Raw.ALL, p, Raw.ORDER);
            long next = p + (1 + STEPS / 4) * VECTOR;
            for (p += VECTOR; p != next; p += VECTOR) {
                long b = Raw.ALL.get(Raw.LONG, bp);
                bp += 8;
                IntVector v = IntVector.fromMemorySegment(I, Raw.ALL, p, Raw.ORDER);
                long at;
                IntVector t;
                FloatVector w;
                at = x + 4 * (b & 0xffff);
                t = words.selectFrom(IntVector.fromMemorySegment(I, Raw.ALL, at, Raw.ORDER));
                words = words.lanewise(VectorOperators.LSHR, FIELD);
                w = (FloatVector) v.lanewise(VectorOperators.LSHL, 24).convert(VectorOperators.I2F, 0);
                a0 = FMA
                        ? w.fma(t.reinterpretAsFloats(), a0)
                        : w.mul(t.reinterpretAsFloats()).add(a0);
                at = x + 4 * (b >>> 16 & 0xffff);
                t = words.selectFrom(IntVector.fromMemorySegment(I, Raw.ALL, at, Raw.ORDER));
                words = words.lanewise(VectorOperators.LSHR, FIELD);
                w = (FloatVector) v.lanewise(VectorOperators.LSHL, 16).and(top).convert(VectorOperators.I2F, 0);
                a1 = FMA
                        ? w.fma(t.reinterpretAsFloats(), a1)
                        : w.mul(t.reinterpretAsFloats()).add(a1);
                at = x + 4 * (b >>> 32 & 0xffff);
                t = words.selectFrom(IntVector.fromMemorySegment(I, Raw.ALL, at, Raw.ORDER));
                words = words.lanewise(VectorOperators.LSHR, FIELD);
                w = (FloatVector) v.lanewise(VectorOperators.LSHL, 8).and(top).convert(VectorOperators.I2F, 0);
                a0 = FMA
                        ? w.fma(t.reinterpretAsFloats(), a0)
                        : w.mul(t.reinterpretAsFloats()).add(a0);
                at = x + 4 * (b >>> 48);
                t = words.selectFrom(IntVector.fromMemorySegment(I, Raw.ALL, at, Raw.ORDER));
                words = words.lanewise(VectorOperators.LSHR, FIELD);
                w = (FloatVector) v.and(top).convert(VectorOperators.I2F, 0);
                a1 = FMA
                        ? w.fma(t.reinterpretAsFloats(), a1)
                        : w.mul(t.reinterpretAsFloats()).add(a1);
            }
        }
        a0.add(a1).intoMemorySegment(Raw.ALL, result, Raw.ORDER);
    }
}
