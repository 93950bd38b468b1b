package dev.espalier.kernels.format;

import dev.espalier.kernels.simd.CompilerHints;
import dev.espalier.kernels.simd.Raw;
import dev.espalier.kernels.simd.Sums;
import java.lang.invoke.VarHandle;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.ShortVector;
import jdk.incubator.vector.VectorOperators;
import jdk.incubator.vector.VectorShape;
import jdk.incubator.vector.VectorSpecies;

/// The inner loops of [Swell] with 8 or 4 lanes: blocks `begin` to `end` of one slice, whose bases lie from `bases` on, times the
/// activations at `x`; the sums, one a lane, go to `result`. With 16 lanes: [SwellPairs].
///
/// A lookup takes an index modulo the number of lanes. No instruction looks lanes up in two vectors here: where a window is
/// two vectors wide both are permuted, and the index's highest bit, moved to the sign, chooses.
final class SwellKernels {
    /// Rows of a slice. 16 only where 16-bit lanes are looked up as well as 32-bit ones (AVX512BW).
    static final int LANES = FloatVector.SPECIES_PREFERRED.length() < 16
            ? FloatVector.SPECIES_PREFERRED.length()
            : ShortVector.SPECIES_PREFERRED.length() < 32 ? 8 : 16;

    private static final VectorShape SHAPE = VectorShape.forBitSize(32 * LANES);
    private static final VectorSpecies<Float> F = VectorSpecies.of(float.class, SHAPE);
    private static final VectorSpecies<Integer> I = VectorSpecies.of(int.class, SHAPE);
    private static final long VECTOR = 4L * LANES;
    private static final int FAR = 31 - Integer.numberOfTrailingZeros(LANES);
    private static final boolean FMA = CompilerHints.fma();

    static {
        CompilerHints.excludeFromC1(SwellKernels.class);
    }

    private SwellKernels() {}

    /// A slice's sums, times `scale` and, if there are any, the rows' own scales from `row` on, to address `y`, added to what is
    /// there if there are `more`.
    static void store(long result, float scale, float[] scales, int row, boolean more, long y) {
        FloatVector sums = FloatVector.fromMemorySegment(F, Raw.ALL, result, Raw.ORDER);
        FloatVector factor = FloatVector.broadcast(F, scale);
        if (scales != null) {
            factor = FloatVector.fromArray(F, scales, row).mul(factor);
        }
        FloatVector products = sums.mul(factor);
        if (more) {
            products = FloatVector.fromMemorySegment(F, Raw.ALL, y, Raw.ORDER).add(products);
        }
        products.intoMemorySegment(Raw.ALL, y, Raw.ORDER);
    }

    /// 8 or 4 lanes, bytes: as many columns, eight steps a word.
    static void bytes(long begin, long end, long tail, long bases, long x, int topByte, long result, boolean pages) {
        FloatVector a0 = FloatVector.zero(F);
        FloatVector a1 = FloatVector.zero(F);
        FloatVector a2 = FloatVector.zero(F);
        FloatVector a3 = FloatVector.zero(F);
        IntVector top = IntVector.broadcast(I, topByte);
        long bp = bases;
        x &= Raw.ADDRESS;
        long distance = Ahead.distance(pages);
        long alignment = Ahead.alignment(pages);
        long ahead = 0;
        for (long p = begin, q = tail; p != end; p += 2 * VECTOR, q += VECTOR) {
            p &= Raw.ADDRESS;
            q &= Raw.ADDRESS;
            bp &= Raw.ADDRESS;
            ahead ^= Raw.ALL.get(Raw.LONG, (p + distance & alignment) & Raw.ADDRESS);
            IntVector words = IntVector.fromMemorySegment(I, Raw.ALL, p, Raw.ORDER);
            long b = Raw.ALL.get(Raw.LONG, bp);
            long c = Raw.ALL.get(Raw.LONG, bp + 8);
            bp += 16;
            IntVector v;
            FloatVector w;
            FloatVector t;
            if (Raw.FENCES) VarHandle.acquireFence();
            v = IntVector.fromMemorySegment(I, Raw.ALL, p + 1 * VECTOR, Raw.ORDER);
            t = words.selectFrom(IntVector.fromMemorySegment(I, Raw.ALL, x + 4 * (b & 0xffff), Raw.ORDER))
                    .reinterpretAsFloats();
            w = (FloatVector) v.lanewise(VectorOperators.LSHL, 24).convert(VectorOperators.I2F, 0);
            a0 = FMA ? w.fma(t, a0) : w.mul(t).add(a0);
            t = words.lanewise(VectorOperators.LSHR, 4)
                    .selectFrom(IntVector.fromMemorySegment(I, Raw.ALL, x + 4 * (b >>> 16 & 0xffff), Raw.ORDER))
                    .reinterpretAsFloats();
            w = (FloatVector) v.lanewise(VectorOperators.LSHL, 16).and(top).convert(VectorOperators.I2F, 0);
            a1 = FMA ? w.fma(t, a1) : w.mul(t).add(a1);
            t = words.lanewise(VectorOperators.LSHR, 8)
                    .selectFrom(IntVector.fromMemorySegment(I, Raw.ALL, x + 4 * (b >>> 32 & 0xffff), Raw.ORDER))
                    .reinterpretAsFloats();
            w = (FloatVector) v.lanewise(VectorOperators.LSHL, 8).and(top).convert(VectorOperators.I2F, 0);
            a2 = FMA ? w.fma(t, a2) : w.mul(t).add(a2);
            t = words.lanewise(VectorOperators.LSHR, 12)
                    .selectFrom(IntVector.fromMemorySegment(I, Raw.ALL, x + 4 * (b >>> 48), Raw.ORDER))
                    .reinterpretAsFloats();
            w = (FloatVector) v.and(top).convert(VectorOperators.I2F, 0);
            a3 = FMA ? w.fma(t, a3) : w.mul(t).add(a3);
            if (Raw.FENCES) VarHandle.acquireFence();
            v = IntVector.fromMemorySegment(I, Raw.ALL, q, Raw.ORDER);
            t = words.lanewise(VectorOperators.LSHR, 16)
                    .selectFrom(IntVector.fromMemorySegment(I, Raw.ALL, x + 4 * (c & 0xffff), Raw.ORDER))
                    .reinterpretAsFloats();
            w = (FloatVector) v.lanewise(VectorOperators.LSHL, 24).convert(VectorOperators.I2F, 0);
            a0 = FMA ? w.fma(t, a0) : w.mul(t).add(a0);
            t = words.lanewise(VectorOperators.LSHR, 20)
                    .selectFrom(IntVector.fromMemorySegment(I, Raw.ALL, x + 4 * (c >>> 16 & 0xffff), Raw.ORDER))
                    .reinterpretAsFloats();
            w = (FloatVector) v.lanewise(VectorOperators.LSHL, 16).and(top).convert(VectorOperators.I2F, 0);
            a1 = FMA ? w.fma(t, a1) : w.mul(t).add(a1);
            t = words.lanewise(VectorOperators.LSHR, 24)
                    .selectFrom(IntVector.fromMemorySegment(I, Raw.ALL, x + 4 * (c >>> 32 & 0xffff), Raw.ORDER))
                    .reinterpretAsFloats();
            w = (FloatVector) v.lanewise(VectorOperators.LSHL, 8).and(top).convert(VectorOperators.I2F, 0);
            a2 = FMA ? w.fma(t, a2) : w.mul(t).add(a2);
            t = words.lanewise(VectorOperators.LSHR, 28)
                    .selectFrom(IntVector.fromMemorySegment(I, Raw.ALL, x + 4 * (c >>> 48), Raw.ORDER))
                    .reinterpretAsFloats();
            w = (FloatVector) v.and(top).convert(VectorOperators.I2F, 0);
            a3 = FMA ? w.fma(t, a3) : w.mul(t).add(a3);
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

    /// 8 or 4 lanes, BF16: as many columns.
    static void nearBf16(long begin, long end, long tail, long bases, long x, int high, long result, boolean pages) {
        FloatVector a0 = FloatVector.zero(F);
        FloatVector a1 = FloatVector.zero(F);
        FloatVector a2 = FloatVector.zero(F);
        FloatVector a3 = FloatVector.zero(F);
        long bp = bases;
        x &= Raw.ADDRESS;
        long distance = Ahead.distance(pages);
        long alignment = Ahead.alignment(pages);
        long ahead = 0;
        for (long p = begin, q = tail; p != end; p += 3 * VECTOR, q += 2 * VECTOR) {
            p &= Raw.ADDRESS;
            q &= Raw.ADDRESS;
            bp &= Raw.ADDRESS;
            ahead ^= Raw.ALL.get(Raw.LONG, (p + distance & alignment) & Raw.ADDRESS);
            IntVector words = IntVector.fromMemorySegment(I, Raw.ALL, p, Raw.ORDER);
            IntVector v;
            long b = Raw.ALL.get(Raw.LONG, bp);
            long c = Raw.ALL.get(Raw.LONG, bp + 8);
            bp += 16;
            FloatVector w;
            FloatVector t;
            if (Raw.FENCES) VarHandle.acquireFence();
            v = IntVector.fromMemorySegment(I, Raw.ALL, p + VECTOR, Raw.ORDER);
            t = words.selectFrom(IntVector.fromMemorySegment(I, Raw.ALL, x + 4 * (b & 0xffff), Raw.ORDER))
                    .reinterpretAsFloats();
            w = v.lanewise(VectorOperators.LSHL, 16).reinterpretAsFloats();
            a0 = FMA ? w.fma(t, a0) : w.mul(t).add(a0);
            t = words.lanewise(VectorOperators.LSHR, 4)
                    .selectFrom(IntVector.fromMemorySegment(I, Raw.ALL, x + 4 * (b >>> 16 & 0xffff), Raw.ORDER))
                    .reinterpretAsFloats();
            w = v.and(high).reinterpretAsFloats();
            a1 = FMA ? w.fma(t, a1) : w.mul(t).add(a1);
            if (Raw.FENCES) VarHandle.acquireFence();
            v = IntVector.fromMemorySegment(I, Raw.ALL, p + 2 * VECTOR, Raw.ORDER);
            t = words.lanewise(VectorOperators.LSHR, 8)
                    .selectFrom(IntVector.fromMemorySegment(I, Raw.ALL, x + 4 * (b >>> 32 & 0xffff), Raw.ORDER))
                    .reinterpretAsFloats();
            w = v.lanewise(VectorOperators.LSHL, 16).reinterpretAsFloats();
            a2 = FMA ? w.fma(t, a2) : w.mul(t).add(a2);
            t = words.lanewise(VectorOperators.LSHR, 12)
                    .selectFrom(IntVector.fromMemorySegment(I, Raw.ALL, x + 4 * (b >>> 48), Raw.ORDER))
                    .reinterpretAsFloats();
            w = v.and(high).reinterpretAsFloats();
            a3 = FMA ? w.fma(t, a3) : w.mul(t).add(a3);
            if (Raw.FENCES) VarHandle.acquireFence();
            v = IntVector.fromMemorySegment(I, Raw.ALL, q, Raw.ORDER);
            t = words.lanewise(VectorOperators.LSHR, 16)
                    .selectFrom(IntVector.fromMemorySegment(I, Raw.ALL, x + 4 * (c & 0xffff), Raw.ORDER))
                    .reinterpretAsFloats();
            w = v.lanewise(VectorOperators.LSHL, 16).reinterpretAsFloats();
            a0 = FMA ? w.fma(t, a0) : w.mul(t).add(a0);
            t = words.lanewise(VectorOperators.LSHR, 20)
                    .selectFrom(IntVector.fromMemorySegment(I, Raw.ALL, x + 4 * (c >>> 16 & 0xffff), Raw.ORDER))
                    .reinterpretAsFloats();
            w = v.and(high).reinterpretAsFloats();
            a1 = FMA ? w.fma(t, a1) : w.mul(t).add(a1);
            if (Raw.FENCES) VarHandle.acquireFence();
            v = IntVector.fromMemorySegment(I, Raw.ALL, q + VECTOR, Raw.ORDER);
            t = words.lanewise(VectorOperators.LSHR, 24)
                    .selectFrom(IntVector.fromMemorySegment(I, Raw.ALL, x + 4 * (c >>> 32 & 0xffff), Raw.ORDER))
                    .reinterpretAsFloats();
            w = v.lanewise(VectorOperators.LSHL, 16).reinterpretAsFloats();
            a2 = FMA ? w.fma(t, a2) : w.mul(t).add(a2);
            t = words.lanewise(VectorOperators.LSHR, 28)
                    .selectFrom(IntVector.fromMemorySegment(I, Raw.ALL, x + 4 * (c >>> 48), Raw.ORDER))
                    .reinterpretAsFloats();
            w = v.and(high).reinterpretAsFloats();
            a3 = FMA ? w.fma(t, a3) : w.mul(t).add(a3);
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

    /// 8 or 4 lanes, F16: as many columns.
    static void nearF16(
            long begin,
            long end,
            long tail,
            long bases,
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
        long bp = bases;
        x &= Raw.ADDRESS;
        long distance = Ahead.distance(pages);
        long alignment = Ahead.alignment(pages);
        long ahead = 0;
        for (long p = begin, q = tail; p != end; p += 3 * VECTOR, q += 2 * VECTOR) {
            p &= Raw.ADDRESS;
            q &= Raw.ADDRESS;
            bp &= Raw.ADDRESS;
            ahead ^= Raw.ALL.get(Raw.LONG, (p + distance & alignment) & Raw.ADDRESS);
            IntVector words = IntVector.fromMemorySegment(I, Raw.ALL, p, Raw.ORDER);
            IntVector v;
            long b = Raw.ALL.get(Raw.LONG, bp);
            long c = Raw.ALL.get(Raw.LONG, bp + 8);
            bp += 16;
            FloatVector w;
            FloatVector t;
            if (Raw.FENCES) VarHandle.acquireFence();
            v = IntVector.fromMemorySegment(I, Raw.ALL, p + VECTOR, Raw.ORDER);
            t = words.selectFrom(IntVector.fromMemorySegment(I, Raw.ALL, x + 4 * (b & 0xffff), Raw.ORDER))
                    .reinterpretAsFloats()
                    .mul(scale);
            w = v.lanewise(VectorOperators.LSHL, 16)
                    .lanewise(VectorOperators.ASHR, shift)
                    .and(low)
                    .reinterpretAsFloats();
            a0 = FMA ? w.fma(t, a0) : w.mul(t).add(a0);
            t = words.lanewise(VectorOperators.LSHR, 4)
                    .selectFrom(IntVector.fromMemorySegment(I, Raw.ALL, x + 4 * (b >>> 16 & 0xffff), Raw.ORDER))
                    .reinterpretAsFloats()
                    .mul(scale);
            w = v.lanewise(VectorOperators.ASHR, shift).and(high).reinterpretAsFloats();
            a1 = FMA ? w.fma(t, a1) : w.mul(t).add(a1);
            if (Raw.FENCES) VarHandle.acquireFence();
            v = IntVector.fromMemorySegment(I, Raw.ALL, p + 2 * VECTOR, Raw.ORDER);
            t = words.lanewise(VectorOperators.LSHR, 8)
                    .selectFrom(IntVector.fromMemorySegment(I, Raw.ALL, x + 4 * (b >>> 32 & 0xffff), Raw.ORDER))
                    .reinterpretAsFloats()
                    .mul(scale);
            w = v.lanewise(VectorOperators.LSHL, 16)
                    .lanewise(VectorOperators.ASHR, shift)
                    .and(low)
                    .reinterpretAsFloats();
            a2 = FMA ? w.fma(t, a2) : w.mul(t).add(a2);
            t = words.lanewise(VectorOperators.LSHR, 12)
                    .selectFrom(IntVector.fromMemorySegment(I, Raw.ALL, x + 4 * (b >>> 48), Raw.ORDER))
                    .reinterpretAsFloats()
                    .mul(scale);
            w = v.lanewise(VectorOperators.ASHR, shift).and(high).reinterpretAsFloats();
            a3 = FMA ? w.fma(t, a3) : w.mul(t).add(a3);
            if (Raw.FENCES) VarHandle.acquireFence();
            v = IntVector.fromMemorySegment(I, Raw.ALL, q, Raw.ORDER);
            t = words.lanewise(VectorOperators.LSHR, 16)
                    .selectFrom(IntVector.fromMemorySegment(I, Raw.ALL, x + 4 * (c & 0xffff), Raw.ORDER))
                    .reinterpretAsFloats()
                    .mul(scale);
            w = v.lanewise(VectorOperators.LSHL, 16)
                    .lanewise(VectorOperators.ASHR, shift)
                    .and(low)
                    .reinterpretAsFloats();
            a0 = FMA ? w.fma(t, a0) : w.mul(t).add(a0);
            t = words.lanewise(VectorOperators.LSHR, 20)
                    .selectFrom(IntVector.fromMemorySegment(I, Raw.ALL, x + 4 * (c >>> 16 & 0xffff), Raw.ORDER))
                    .reinterpretAsFloats()
                    .mul(scale);
            w = v.lanewise(VectorOperators.ASHR, shift).and(high).reinterpretAsFloats();
            a1 = FMA ? w.fma(t, a1) : w.mul(t).add(a1);
            if (Raw.FENCES) VarHandle.acquireFence();
            v = IntVector.fromMemorySegment(I, Raw.ALL, q + VECTOR, Raw.ORDER);
            t = words.lanewise(VectorOperators.LSHR, 24)
                    .selectFrom(IntVector.fromMemorySegment(I, Raw.ALL, x + 4 * (c >>> 32 & 0xffff), Raw.ORDER))
                    .reinterpretAsFloats()
                    .mul(scale);
            w = v.lanewise(VectorOperators.LSHL, 16)
                    .lanewise(VectorOperators.ASHR, shift)
                    .and(low)
                    .reinterpretAsFloats();
            a2 = FMA ? w.fma(t, a2) : w.mul(t).add(a2);
            t = words.lanewise(VectorOperators.LSHR, 28)
                    .selectFrom(IntVector.fromMemorySegment(I, Raw.ALL, x + 4 * (c >>> 48), Raw.ORDER))
                    .reinterpretAsFloats()
                    .mul(scale);
            w = v.lanewise(VectorOperators.ASHR, shift).and(high).reinterpretAsFloats();
            a3 = FMA ? w.fma(t, a3) : w.mul(t).add(a3);
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

    /// 8 or 4 lanes, F32: as many columns.
    static void near32(long begin, long end, long tail, long bases, long x, long result, boolean pages) {
        FloatVector a0 = FloatVector.zero(F);
        FloatVector a1 = FloatVector.zero(F);
        FloatVector a2 = FloatVector.zero(F);
        FloatVector a3 = FloatVector.zero(F);
        long bp = bases;
        x &= Raw.ADDRESS;
        long distance = Ahead.distance(pages);
        long alignment = Ahead.alignment(pages);
        long ahead = 0;
        for (long p = begin, q = tail; p != end; p += 5 * VECTOR, q += 4 * VECTOR) {
            p &= Raw.ADDRESS;
            q &= Raw.ADDRESS;
            bp &= Raw.ADDRESS;
            ahead ^= Raw.ALL.get(Raw.LONG, (p + distance & alignment) & Raw.ADDRESS);
            IntVector words = IntVector.fromMemorySegment(I, Raw.ALL, p, Raw.ORDER);
            FloatVector v;
            long b = Raw.ALL.get(Raw.LONG, bp);
            long c = Raw.ALL.get(Raw.LONG, bp + 8);
            bp += 16;
            FloatVector t;
            if (Raw.FENCES) VarHandle.acquireFence();
            v = FloatVector.fromMemorySegment(F, Raw.ALL, p + VECTOR, Raw.ORDER);
            t = words.selectFrom(IntVector.fromMemorySegment(I, Raw.ALL, x + 4 * (b & 0xffff), Raw.ORDER))
                    .reinterpretAsFloats();
            a0 = FMA ? v.fma(t, a0) : v.mul(t).add(a0);
            if (Raw.FENCES) VarHandle.acquireFence();
            v = FloatVector.fromMemorySegment(F, Raw.ALL, p + 2 * VECTOR, Raw.ORDER);
            t = words.lanewise(VectorOperators.LSHR, 4)
                    .selectFrom(IntVector.fromMemorySegment(I, Raw.ALL, x + 4 * (b >>> 16 & 0xffff), Raw.ORDER))
                    .reinterpretAsFloats();
            a1 = FMA ? v.fma(t, a1) : v.mul(t).add(a1);
            if (Raw.FENCES) VarHandle.acquireFence();
            v = FloatVector.fromMemorySegment(F, Raw.ALL, p + 3 * VECTOR, Raw.ORDER);
            t = words.lanewise(VectorOperators.LSHR, 8)
                    .selectFrom(IntVector.fromMemorySegment(I, Raw.ALL, x + 4 * (b >>> 32 & 0xffff), Raw.ORDER))
                    .reinterpretAsFloats();
            a2 = FMA ? v.fma(t, a2) : v.mul(t).add(a2);
            if (Raw.FENCES) VarHandle.acquireFence();
            v = FloatVector.fromMemorySegment(F, Raw.ALL, p + 4 * VECTOR, Raw.ORDER);
            t = words.lanewise(VectorOperators.LSHR, 12)
                    .selectFrom(IntVector.fromMemorySegment(I, Raw.ALL, x + 4 * (b >>> 48), Raw.ORDER))
                    .reinterpretAsFloats();
            a3 = FMA ? v.fma(t, a3) : v.mul(t).add(a3);
            if (Raw.FENCES) VarHandle.acquireFence();
            v = FloatVector.fromMemorySegment(F, Raw.ALL, q, Raw.ORDER);
            t = words.lanewise(VectorOperators.LSHR, 16)
                    .selectFrom(IntVector.fromMemorySegment(I, Raw.ALL, x + 4 * (c & 0xffff), Raw.ORDER))
                    .reinterpretAsFloats();
            a0 = FMA ? v.fma(t, a0) : v.mul(t).add(a0);
            if (Raw.FENCES) VarHandle.acquireFence();
            v = FloatVector.fromMemorySegment(F, Raw.ALL, q + VECTOR, Raw.ORDER);
            t = words.lanewise(VectorOperators.LSHR, 20)
                    .selectFrom(IntVector.fromMemorySegment(I, Raw.ALL, x + 4 * (c >>> 16 & 0xffff), Raw.ORDER))
                    .reinterpretAsFloats();
            a1 = FMA ? v.fma(t, a1) : v.mul(t).add(a1);
            if (Raw.FENCES) VarHandle.acquireFence();
            v = FloatVector.fromMemorySegment(F, Raw.ALL, q + 2 * VECTOR, Raw.ORDER);
            t = words.lanewise(VectorOperators.LSHR, 24)
                    .selectFrom(IntVector.fromMemorySegment(I, Raw.ALL, x + 4 * (c >>> 32 & 0xffff), Raw.ORDER))
                    .reinterpretAsFloats();
            a2 = FMA ? v.fma(t, a2) : v.mul(t).add(a2);
            if (Raw.FENCES) VarHandle.acquireFence();
            v = FloatVector.fromMemorySegment(F, Raw.ALL, q + 3 * VECTOR, Raw.ORDER);
            t = words.lanewise(VectorOperators.LSHR, 28)
                    .selectFrom(IntVector.fromMemorySegment(I, Raw.ALL, x + 4 * (c >>> 48), Raw.ORDER))
                    .reinterpretAsFloats();
            a3 = FMA ? v.fma(t, a3) : v.mul(t).add(a3);
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

    /// 8 or 4 lanes, BF16: twice as many columns.
    static void farBf16(long begin, long end, long tail, long bases, long x, int high, long result, boolean pages) {
        FloatVector a0 = FloatVector.zero(F);
        FloatVector a1 = FloatVector.zero(F);
        FloatVector a2 = FloatVector.zero(F);
        FloatVector a3 = FloatVector.zero(F);
        long bp = bases;
        x &= Raw.ADDRESS;
        long distance = Ahead.distance(pages);
        long alignment = Ahead.alignment(pages);
        long ahead = 0;
        for (long p = begin, q = tail; p != end; p += 3 * VECTOR, q += 2 * VECTOR) {
            p &= Raw.ADDRESS;
            q &= Raw.ADDRESS;
            bp &= Raw.ADDRESS;
            ahead ^= Raw.ALL.get(Raw.LONG, (p + distance & alignment) & Raw.ADDRESS);
            IntVector words = IntVector.fromMemorySegment(I, Raw.ALL, p, Raw.ORDER);
            IntVector v;
            long b = Raw.ALL.get(Raw.LONG, bp);
            long c = Raw.ALL.get(Raw.LONG, bp + 8);
            bp += 16;
            FloatVector w;
            FloatVector t;
            IntVector index;
            long at;
            if (Raw.FENCES) VarHandle.acquireFence();
            v = IntVector.fromMemorySegment(I, Raw.ALL, p + VECTOR, Raw.ORDER);
            at = x + 4 * (b & 0xffff);
            index = words;
            t = index.selectFrom(IntVector.fromMemorySegment(I, Raw.ALL, at, Raw.ORDER))
                    .blend(
                            index.selectFrom(IntVector.fromMemorySegment(I, Raw.ALL, at + VECTOR, Raw.ORDER)),
                            index.lanewise(VectorOperators.LSHL, FAR).compare(VectorOperators.LT, 0))
                    .reinterpretAsFloats();
            w = v.lanewise(VectorOperators.LSHL, 16).reinterpretAsFloats();
            a0 = FMA ? w.fma(t, a0) : w.mul(t).add(a0);
            at = x + 4 * (b >>> 16 & 0xffff);
            index = words.lanewise(VectorOperators.LSHR, 4);
            t = index.selectFrom(IntVector.fromMemorySegment(I, Raw.ALL, at, Raw.ORDER))
                    .blend(
                            index.selectFrom(IntVector.fromMemorySegment(I, Raw.ALL, at + VECTOR, Raw.ORDER)),
                            index.lanewise(VectorOperators.LSHL, FAR).compare(VectorOperators.LT, 0))
                    .reinterpretAsFloats();
            w = v.and(high).reinterpretAsFloats();
            a1 = FMA ? w.fma(t, a1) : w.mul(t).add(a1);
            if (Raw.FENCES) VarHandle.acquireFence();
            v = IntVector.fromMemorySegment(I, Raw.ALL, p + 2 * VECTOR, Raw.ORDER);
            at = x + 4 * (b >>> 32 & 0xffff);
            index = words.lanewise(VectorOperators.LSHR, 8);
            t = index.selectFrom(IntVector.fromMemorySegment(I, Raw.ALL, at, Raw.ORDER))
                    .blend(
                            index.selectFrom(IntVector.fromMemorySegment(I, Raw.ALL, at + VECTOR, Raw.ORDER)),
                            index.lanewise(VectorOperators.LSHL, FAR).compare(VectorOperators.LT, 0))
                    .reinterpretAsFloats();
            w = v.lanewise(VectorOperators.LSHL, 16).reinterpretAsFloats();
            a2 = FMA ? w.fma(t, a2) : w.mul(t).add(a2);
            at = x + 4 * (b >>> 48);
            index = words.lanewise(VectorOperators.LSHR, 12);
            t = index.selectFrom(IntVector.fromMemorySegment(I, Raw.ALL, at, Raw.ORDER))
                    .blend(
                            index.selectFrom(IntVector.fromMemorySegment(I, Raw.ALL, at + VECTOR, Raw.ORDER)),
                            index.lanewise(VectorOperators.LSHL, FAR).compare(VectorOperators.LT, 0))
                    .reinterpretAsFloats();
            w = v.and(high).reinterpretAsFloats();
            a3 = FMA ? w.fma(t, a3) : w.mul(t).add(a3);
            if (Raw.FENCES) VarHandle.acquireFence();
            v = IntVector.fromMemorySegment(I, Raw.ALL, q, Raw.ORDER);
            at = x + 4 * (c & 0xffff);
            index = words.lanewise(VectorOperators.LSHR, 16);
            t = index.selectFrom(IntVector.fromMemorySegment(I, Raw.ALL, at, Raw.ORDER))
                    .blend(
                            index.selectFrom(IntVector.fromMemorySegment(I, Raw.ALL, at + VECTOR, Raw.ORDER)),
                            index.lanewise(VectorOperators.LSHL, FAR).compare(VectorOperators.LT, 0))
                    .reinterpretAsFloats();
            w = v.lanewise(VectorOperators.LSHL, 16).reinterpretAsFloats();
            a0 = FMA ? w.fma(t, a0) : w.mul(t).add(a0);
            at = x + 4 * (c >>> 16 & 0xffff);
            index = words.lanewise(VectorOperators.LSHR, 20);
            t = index.selectFrom(IntVector.fromMemorySegment(I, Raw.ALL, at, Raw.ORDER))
                    .blend(
                            index.selectFrom(IntVector.fromMemorySegment(I, Raw.ALL, at + VECTOR, Raw.ORDER)),
                            index.lanewise(VectorOperators.LSHL, FAR).compare(VectorOperators.LT, 0))
                    .reinterpretAsFloats();
            w = v.and(high).reinterpretAsFloats();
            a1 = FMA ? w.fma(t, a1) : w.mul(t).add(a1);
            if (Raw.FENCES) VarHandle.acquireFence();
            v = IntVector.fromMemorySegment(I, Raw.ALL, q + VECTOR, Raw.ORDER);
            at = x + 4 * (c >>> 32 & 0xffff);
            index = words.lanewise(VectorOperators.LSHR, 24);
            t = index.selectFrom(IntVector.fromMemorySegment(I, Raw.ALL, at, Raw.ORDER))
                    .blend(
                            index.selectFrom(IntVector.fromMemorySegment(I, Raw.ALL, at + VECTOR, Raw.ORDER)),
                            index.lanewise(VectorOperators.LSHL, FAR).compare(VectorOperators.LT, 0))
                    .reinterpretAsFloats();
            w = v.lanewise(VectorOperators.LSHL, 16).reinterpretAsFloats();
            a2 = FMA ? w.fma(t, a2) : w.mul(t).add(a2);
            at = x + 4 * (c >>> 48);
            index = words.lanewise(VectorOperators.LSHR, 28);
            t = index.selectFrom(IntVector.fromMemorySegment(I, Raw.ALL, at, Raw.ORDER))
                    .blend(
                            index.selectFrom(IntVector.fromMemorySegment(I, Raw.ALL, at + VECTOR, Raw.ORDER)),
                            index.lanewise(VectorOperators.LSHL, FAR).compare(VectorOperators.LT, 0))
                    .reinterpretAsFloats();
            w = v.and(high).reinterpretAsFloats();
            a3 = FMA ? w.fma(t, a3) : w.mul(t).add(a3);
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

    /// 8 or 4 lanes, F16: twice as many columns.
    static void farF16(
            long begin,
            long end,
            long tail,
            long bases,
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
        long bp = bases;
        x &= Raw.ADDRESS;
        long distance = Ahead.distance(pages);
        long alignment = Ahead.alignment(pages);
        long ahead = 0;
        for (long p = begin, q = tail; p != end; p += 3 * VECTOR, q += 2 * VECTOR) {
            p &= Raw.ADDRESS;
            q &= Raw.ADDRESS;
            bp &= Raw.ADDRESS;
            ahead ^= Raw.ALL.get(Raw.LONG, (p + distance & alignment) & Raw.ADDRESS);
            IntVector words = IntVector.fromMemorySegment(I, Raw.ALL, p, Raw.ORDER);
            IntVector v;
            long b = Raw.ALL.get(Raw.LONG, bp);
            long c = Raw.ALL.get(Raw.LONG, bp + 8);
            bp += 16;
            FloatVector w;
            FloatVector t;
            IntVector index;
            long at;
            if (Raw.FENCES) VarHandle.acquireFence();
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
            if (Raw.FENCES) VarHandle.acquireFence();
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
            if (Raw.FENCES) VarHandle.acquireFence();
            v = IntVector.fromMemorySegment(I, Raw.ALL, q, Raw.ORDER);
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
            if (Raw.FENCES) VarHandle.acquireFence();
            v = IntVector.fromMemorySegment(I, Raw.ALL, q + VECTOR, Raw.ORDER);
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
}
