package dev.espalier.kernels.format;

import dev.espalier.kernels.cpu.CpuLinear.Input;
import dev.espalier.kernels.simd.CompilerHints;
import dev.espalier.kernels.simd.Raw;
import dev.espalier.kernels.simd.Sums;
import java.lang.invoke.VarHandle;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.ShortVector;
import jdk.incubator.vector.VectorOperators;
import jdk.incubator.vector.VectorSpecies;

/// The inner loops of [Swell] with 16 lanes: blocks `begin` to `end` of one slice times the activations; the sums, one a lane,
/// go to `result`.
///
/// Two steps share a window. One instruction looks up 32 halves: the upper halves of the 32 activations that the two steps need, and
/// another their lower halves. Of a 32-bit lane's two halves the low one belongs to the first step and the high one to the
/// second; put together they are the float32s themselves, bit by bit.
///
/// `x` is the address of the upper halves ([Input#HALVES]).
final class SwellPairs {
    /// Bits of how far a window lies from the one before.
    static final int MOVE = 10;

    private static final VectorSpecies<Float> F = FloatVector.SPECIES_512;
    private static final VectorSpecies<Integer> I = IntVector.SPECIES_512;
    private static final VectorSpecies<Short> S = ShortVector.SPECIES_512;
    private static final int HIGH = 0xffff0000;
    private static final int LOW = 0xffff;
    /// A move in bytes of halves.
    private static final long MOVES = (1L << MOVE) - 1 << 1;

    private static final boolean FMA = CompilerHints.fma();

    static {
        CompilerHints.excludeFromC1(SwellPairs.class);
    }

    private SwellPairs() {}

    /// BF16.
    static void bf16(long begin, long end, long tail, long x, long result, boolean pages) {
        FloatVector a0 = FloatVector.zero(F);
        FloatVector a1 = FloatVector.zero(F);
        FloatVector a2 = FloatVector.zero(F);
        FloatVector a3 = FloatVector.zero(F);
        long at = x;
        long distance = Ahead.distance(pages);
        long alignment = Ahead.alignment(pages);
        long ahead = 0;
        for (long p = begin, q = tail; p != end; p += 2 * 64, q += 2 * 64) {
            p &= Raw.ADDRESS;
            q &= Raw.ADDRESS;
            at &= Raw.ADDRESS;
            ahead ^= Raw.ALL.get(Raw.LONG, (p + distance & alignment) & Raw.ADDRESS);
            ShortVector words = ShortVector.fromMemorySegment(S, Raw.ALL, p, Raw.ORDER);
            long moves = words.compare(VectorOperators.LT, (short) 0).toLong();
            ShortVector index;
            IntVector h;
            IntVector l;
            FloatVector t;
            IntVector v;
            FloatVector w;
            at += moves << 1 & MOVES;
            index = words;
            h = index.selectFrom(ShortVector.fromMemorySegment(S, Raw.ALL, at, Raw.ORDER))
                    .reinterpretAsInts();
            l = index.selectFrom(ShortVector.fromMemorySegment(S, Raw.ALL, at + Input.LOWER, Raw.ORDER))
                    .reinterpretAsInts();
            if (Raw.FENCES) VarHandle.acquireFence();
            v = IntVector.fromMemorySegment(I, Raw.ALL, p + 64, Raw.ORDER);
            t = h.lanewise(VectorOperators.LSHL, 16).or(l.and(LOW)).reinterpretAsFloats();
            w = v.lanewise(VectorOperators.LSHL, 16).reinterpretAsFloats();
            a0 = FMA ? w.fma(t, a0) : w.mul(t).add(a0);
            t = h.and(HIGH).or(l.lanewise(VectorOperators.LSHR, 16)).reinterpretAsFloats();
            w = v.and(HIGH).reinterpretAsFloats();
            a1 = FMA ? w.fma(t, a1) : w.mul(t).add(a1);
            at += moves >>> 9 & MOVES;
            index = words.lanewise(VectorOperators.LSHR, 5);
            h = index.selectFrom(ShortVector.fromMemorySegment(S, Raw.ALL, at, Raw.ORDER))
                    .reinterpretAsInts();
            l = index.selectFrom(ShortVector.fromMemorySegment(S, Raw.ALL, at + Input.LOWER, Raw.ORDER))
                    .reinterpretAsInts();
            if (Raw.FENCES) VarHandle.acquireFence();
            v = IntVector.fromMemorySegment(I, Raw.ALL, q, Raw.ORDER);
            t = h.lanewise(VectorOperators.LSHL, 16).or(l.and(LOW)).reinterpretAsFloats();
            w = v.lanewise(VectorOperators.LSHL, 16).reinterpretAsFloats();
            a2 = FMA ? w.fma(t, a2) : w.mul(t).add(a2);
            t = h.and(HIGH).or(l.lanewise(VectorOperators.LSHR, 16)).reinterpretAsFloats();
            w = v.and(HIGH).reinterpretAsFloats();
            a3 = FMA ? w.fma(t, a3) : w.mul(t).add(a3);
            at += moves >>> 19 & MOVES;
            index = words.lanewise(VectorOperators.LSHR, 10);
            h = index.selectFrom(ShortVector.fromMemorySegment(S, Raw.ALL, at, Raw.ORDER))
                    .reinterpretAsInts();
            l = index.selectFrom(ShortVector.fromMemorySegment(S, Raw.ALL, at + Input.LOWER, Raw.ORDER))
                    .reinterpretAsInts();
            if (Raw.FENCES) VarHandle.acquireFence();
            v = IntVector.fromMemorySegment(I, Raw.ALL, q + 64, Raw.ORDER);
            t = h.lanewise(VectorOperators.LSHL, 16).or(l.and(LOW)).reinterpretAsFloats();
            w = v.lanewise(VectorOperators.LSHL, 16).reinterpretAsFloats();
            a0 = FMA ? w.fma(t, a0) : w.mul(t).add(a0);
            t = h.and(HIGH).or(l.lanewise(VectorOperators.LSHR, 16)).reinterpretAsFloats();
            w = v.and(HIGH).reinterpretAsFloats();
            a1 = FMA ? w.fma(t, a1) : w.mul(t).add(a1);
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

    /// F16: its bits become 2⁻¹¹² of the value, see [Weights].
    static void f16(
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
        long at = x;
        long distance = Ahead.distance(pages);
        long alignment = Ahead.alignment(pages);
        long ahead = 0;
        for (long p = begin, q = tail; p != end; p += 2 * 64, q += 2 * 64) {
            p &= Raw.ADDRESS;
            q &= Raw.ADDRESS;
            at &= Raw.ADDRESS;
            ahead ^= Raw.ALL.get(Raw.LONG, (p + distance & alignment) & Raw.ADDRESS);
            ShortVector words = ShortVector.fromMemorySegment(S, Raw.ALL, p, Raw.ORDER);
            long moves = words.compare(VectorOperators.LT, (short) 0).toLong();
            ShortVector index;
            IntVector h;
            IntVector l;
            FloatVector t;
            IntVector v;
            FloatVector w;
            at += moves << 1 & MOVES;
            index = words;
            h = index.selectFrom(ShortVector.fromMemorySegment(S, Raw.ALL, at, Raw.ORDER))
                    .reinterpretAsInts();
            l = index.selectFrom(ShortVector.fromMemorySegment(S, Raw.ALL, at + Input.LOWER, Raw.ORDER))
                    .reinterpretAsInts();
            if (Raw.FENCES) VarHandle.acquireFence();
            v = IntVector.fromMemorySegment(I, Raw.ALL, p + 64, Raw.ORDER);
            t = h.lanewise(VectorOperators.LSHL, 16)
                    .or(l.and(LOW))
                    .reinterpretAsFloats()
                    .mul(scale);
            w = v.lanewise(VectorOperators.LSHL, 16)
                    .lanewise(VectorOperators.ASHR, shift)
                    .and(low)
                    .reinterpretAsFloats();
            a0 = FMA ? w.fma(t, a0) : w.mul(t).add(a0);
            t = h.and(HIGH)
                    .or(l.lanewise(VectorOperators.LSHR, 16))
                    .reinterpretAsFloats()
                    .mul(scale);
            w = v.lanewise(VectorOperators.ASHR, shift).and(high).reinterpretAsFloats();
            a1 = FMA ? w.fma(t, a1) : w.mul(t).add(a1);
            at += moves >>> 9 & MOVES;
            index = words.lanewise(VectorOperators.LSHR, 5);
            h = index.selectFrom(ShortVector.fromMemorySegment(S, Raw.ALL, at, Raw.ORDER))
                    .reinterpretAsInts();
            l = index.selectFrom(ShortVector.fromMemorySegment(S, Raw.ALL, at + Input.LOWER, Raw.ORDER))
                    .reinterpretAsInts();
            if (Raw.FENCES) VarHandle.acquireFence();
            v = IntVector.fromMemorySegment(I, Raw.ALL, q, Raw.ORDER);
            t = h.lanewise(VectorOperators.LSHL, 16)
                    .or(l.and(LOW))
                    .reinterpretAsFloats()
                    .mul(scale);
            w = v.lanewise(VectorOperators.LSHL, 16)
                    .lanewise(VectorOperators.ASHR, shift)
                    .and(low)
                    .reinterpretAsFloats();
            a2 = FMA ? w.fma(t, a2) : w.mul(t).add(a2);
            t = h.and(HIGH)
                    .or(l.lanewise(VectorOperators.LSHR, 16))
                    .reinterpretAsFloats()
                    .mul(scale);
            w = v.lanewise(VectorOperators.ASHR, shift).and(high).reinterpretAsFloats();
            a3 = FMA ? w.fma(t, a3) : w.mul(t).add(a3);
            at += moves >>> 19 & MOVES;
            index = words.lanewise(VectorOperators.LSHR, 10);
            h = index.selectFrom(ShortVector.fromMemorySegment(S, Raw.ALL, at, Raw.ORDER))
                    .reinterpretAsInts();
            l = index.selectFrom(ShortVector.fromMemorySegment(S, Raw.ALL, at + Input.LOWER, Raw.ORDER))
                    .reinterpretAsInts();
            if (Raw.FENCES) VarHandle.acquireFence();
            v = IntVector.fromMemorySegment(I, Raw.ALL, q + 64, Raw.ORDER);
            t = h.lanewise(VectorOperators.LSHL, 16)
                    .or(l.and(LOW))
                    .reinterpretAsFloats()
                    .mul(scale);
            w = v.lanewise(VectorOperators.LSHL, 16)
                    .lanewise(VectorOperators.ASHR, shift)
                    .and(low)
                    .reinterpretAsFloats();
            a0 = FMA ? w.fma(t, a0) : w.mul(t).add(a0);
            t = h.and(HIGH)
                    .or(l.lanewise(VectorOperators.LSHR, 16))
                    .reinterpretAsFloats()
                    .mul(scale);
            w = v.lanewise(VectorOperators.ASHR, shift).and(high).reinterpretAsFloats();
            a1 = FMA ? w.fma(t, a1) : w.mul(t).add(a1);
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

    /// F32.
    static void f32(long begin, long end, long tail, long x, long result, boolean pages) {
        FloatVector a0 = FloatVector.zero(F);
        FloatVector a1 = FloatVector.zero(F);
        FloatVector a2 = FloatVector.zero(F);
        FloatVector a3 = FloatVector.zero(F);
        long at = x;
        long distance = Ahead.distance(pages);
        long alignment = Ahead.alignment(pages);
        long ahead = 0;
        for (long p = begin, q = tail; p != end; p += 4 * 64, q += 3 * 64) {
            p &= Raw.ADDRESS;
            q &= Raw.ADDRESS;
            at &= Raw.ADDRESS;
            ahead ^= Raw.ALL.get(Raw.LONG, (p + distance & alignment) & Raw.ADDRESS);
            ShortVector words = ShortVector.fromMemorySegment(S, Raw.ALL, p, Raw.ORDER);
            long moves = words.compare(VectorOperators.LT, (short) 0).toLong();
            ShortVector index;
            IntVector h;
            IntVector l;
            FloatVector t;
            FloatVector v;
            at += moves << 1 & MOVES;
            index = words;
            h = index.selectFrom(ShortVector.fromMemorySegment(S, Raw.ALL, at, Raw.ORDER))
                    .reinterpretAsInts();
            l = index.selectFrom(ShortVector.fromMemorySegment(S, Raw.ALL, at + Input.LOWER, Raw.ORDER))
                    .reinterpretAsInts();
            if (Raw.FENCES) VarHandle.acquireFence();
            v = FloatVector.fromMemorySegment(F, Raw.ALL, p + 64, Raw.ORDER);
            t = h.lanewise(VectorOperators.LSHL, 16).or(l.and(LOW)).reinterpretAsFloats();
            a0 = FMA ? v.fma(t, a0) : v.mul(t).add(a0);
            if (Raw.FENCES) VarHandle.acquireFence();
            v = FloatVector.fromMemorySegment(F, Raw.ALL, p + 128, Raw.ORDER);
            t = h.and(HIGH).or(l.lanewise(VectorOperators.LSHR, 16)).reinterpretAsFloats();
            a1 = FMA ? v.fma(t, a1) : v.mul(t).add(a1);
            at += moves >>> 9 & MOVES;
            index = words.lanewise(VectorOperators.LSHR, 5);
            h = index.selectFrom(ShortVector.fromMemorySegment(S, Raw.ALL, at, Raw.ORDER))
                    .reinterpretAsInts();
            l = index.selectFrom(ShortVector.fromMemorySegment(S, Raw.ALL, at + Input.LOWER, Raw.ORDER))
                    .reinterpretAsInts();
            if (Raw.FENCES) VarHandle.acquireFence();
            v = FloatVector.fromMemorySegment(F, Raw.ALL, p + 192, Raw.ORDER);
            t = h.lanewise(VectorOperators.LSHL, 16).or(l.and(LOW)).reinterpretAsFloats();
            a2 = FMA ? v.fma(t, a2) : v.mul(t).add(a2);
            if (Raw.FENCES) VarHandle.acquireFence();
            v = FloatVector.fromMemorySegment(F, Raw.ALL, q, Raw.ORDER);
            t = h.and(HIGH).or(l.lanewise(VectorOperators.LSHR, 16)).reinterpretAsFloats();
            a3 = FMA ? v.fma(t, a3) : v.mul(t).add(a3);
            at += moves >>> 19 & MOVES;
            index = words.lanewise(VectorOperators.LSHR, 10);
            h = index.selectFrom(ShortVector.fromMemorySegment(S, Raw.ALL, at, Raw.ORDER))
                    .reinterpretAsInts();
            l = index.selectFrom(ShortVector.fromMemorySegment(S, Raw.ALL, at + Input.LOWER, Raw.ORDER))
                    .reinterpretAsInts();
            if (Raw.FENCES) VarHandle.acquireFence();
            v = FloatVector.fromMemorySegment(F, Raw.ALL, q + 64, Raw.ORDER);
            t = h.lanewise(VectorOperators.LSHL, 16).or(l.and(LOW)).reinterpretAsFloats();
            a0 = FMA ? v.fma(t, a0) : v.mul(t).add(a0);
            if (Raw.FENCES) VarHandle.acquireFence();
            v = FloatVector.fromMemorySegment(F, Raw.ALL, q + 128, Raw.ORDER);
            t = h.and(HIGH).or(l.lanewise(VectorOperators.LSHR, 16)).reinterpretAsFloats();
            a1 = FMA ? v.fma(t, a1) : v.mul(t).add(a1);
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

    /// Bytes: two words a block.
    static void bytes(long begin, long end, long tail, long x, int topByte, long result, boolean pages) {
        IntVector top = IntVector.broadcast(I, topByte);
        FloatVector a0 = FloatVector.zero(F);
        FloatVector a1 = FloatVector.zero(F);
        FloatVector a2 = FloatVector.zero(F);
        FloatVector a3 = FloatVector.zero(F);
        // Vectors and not numbers: this is as much as C2 inlines into one method.
        IntVector upper = IntVector.broadcast(I, HIGH);
        IntVector lower = IntVector.broadcast(I, LOW);
        long at = x;
        long distance = Ahead.distance(pages);
        long alignment = Ahead.alignment(pages);
        long ahead = 0;
        for (long p = begin, q = tail; p != end; p += 3 * 64, q += 2 * 64) {
            p &= Raw.ADDRESS;
            q &= Raw.ADDRESS;
            at &= Raw.ADDRESS;
            ahead ^= Raw.ALL.get(Raw.LONG, (p + distance & alignment) & Raw.ADDRESS);
            ShortVector words = ShortVector.fromMemorySegment(S, Raw.ALL, p, Raw.ORDER);
            long moves = words.compare(VectorOperators.LT, (short) 0).toLong();
            ShortVector index;
            IntVector h;
            IntVector l;
            FloatVector t;
            IntVector v;
            FloatVector w;
            at += moves << 1 & MOVES;
            index = words;
            h = index.selectFrom(ShortVector.fromMemorySegment(S, Raw.ALL, at, Raw.ORDER))
                    .reinterpretAsInts();
            l = index.selectFrom(ShortVector.fromMemorySegment(S, Raw.ALL, at + Input.LOWER, Raw.ORDER))
                    .reinterpretAsInts();
            if (Raw.FENCES) VarHandle.acquireFence();
            v = IntVector.fromMemorySegment(I, Raw.ALL, p + 128, Raw.ORDER);
            t = h.lanewise(VectorOperators.LSHL, 16).or(l.and(lower)).reinterpretAsFloats();
            w = (FloatVector) v.lanewise(VectorOperators.LSHL, 24).convert(VectorOperators.I2F, 0);
            a0 = FMA ? w.fma(t, a0) : w.mul(t).add(a0);
            t = h.and(upper).or(l.lanewise(VectorOperators.LSHR, 16)).reinterpretAsFloats();
            w = (FloatVector) v.lanewise(VectorOperators.LSHL, 16).and(top).convert(VectorOperators.I2F, 0);
            a1 = FMA ? w.fma(t, a1) : w.mul(t).add(a1);
            at += moves >>> 9 & MOVES;
            index = words.lanewise(VectorOperators.LSHR, 5);
            h = index.selectFrom(ShortVector.fromMemorySegment(S, Raw.ALL, at, Raw.ORDER))
                    .reinterpretAsInts();
            l = index.selectFrom(ShortVector.fromMemorySegment(S, Raw.ALL, at + Input.LOWER, Raw.ORDER))
                    .reinterpretAsInts();

            t = h.lanewise(VectorOperators.LSHL, 16).or(l.and(lower)).reinterpretAsFloats();
            w = (FloatVector) v.lanewise(VectorOperators.LSHL, 8).and(top).convert(VectorOperators.I2F, 0);
            a2 = FMA ? w.fma(t, a2) : w.mul(t).add(a2);
            t = h.and(upper).or(l.lanewise(VectorOperators.LSHR, 16)).reinterpretAsFloats();
            w = (FloatVector) v.and(top).convert(VectorOperators.I2F, 0);
            a3 = FMA ? w.fma(t, a3) : w.mul(t).add(a3);
            at += moves >>> 19 & MOVES;
            index = words.lanewise(VectorOperators.LSHR, 10);
            h = index.selectFrom(ShortVector.fromMemorySegment(S, Raw.ALL, at, Raw.ORDER))
                    .reinterpretAsInts();
            l = index.selectFrom(ShortVector.fromMemorySegment(S, Raw.ALL, at + Input.LOWER, Raw.ORDER))
                    .reinterpretAsInts();
            if (Raw.FENCES) VarHandle.acquireFence();
            v = IntVector.fromMemorySegment(I, Raw.ALL, q, Raw.ORDER);
            t = h.lanewise(VectorOperators.LSHL, 16).or(l.and(lower)).reinterpretAsFloats();
            w = (FloatVector) v.lanewise(VectorOperators.LSHL, 24).convert(VectorOperators.I2F, 0);
            a0 = FMA ? w.fma(t, a0) : w.mul(t).add(a0);
            t = h.and(upper).or(l.lanewise(VectorOperators.LSHR, 16)).reinterpretAsFloats();
            w = (FloatVector) v.lanewise(VectorOperators.LSHL, 16).and(top).convert(VectorOperators.I2F, 0);
            a1 = FMA ? w.fma(t, a1) : w.mul(t).add(a1);
            if (Raw.FENCES) VarHandle.acquireFence();
            words = ShortVector.fromMemorySegment(S, Raw.ALL, p + 64, Raw.ORDER);
            moves = words.compare(VectorOperators.LT, (short) 0).toLong();
            at += moves << 1 & MOVES;
            index = words;
            h = index.selectFrom(ShortVector.fromMemorySegment(S, Raw.ALL, at, Raw.ORDER))
                    .reinterpretAsInts();
            l = index.selectFrom(ShortVector.fromMemorySegment(S, Raw.ALL, at + Input.LOWER, Raw.ORDER))
                    .reinterpretAsInts();

            t = h.lanewise(VectorOperators.LSHL, 16).or(l.and(lower)).reinterpretAsFloats();
            w = (FloatVector) v.lanewise(VectorOperators.LSHL, 8).and(top).convert(VectorOperators.I2F, 0);
            a2 = FMA ? w.fma(t, a2) : w.mul(t).add(a2);
            t = h.and(upper).or(l.lanewise(VectorOperators.LSHR, 16)).reinterpretAsFloats();
            w = (FloatVector) v.and(top).convert(VectorOperators.I2F, 0);
            a3 = FMA ? w.fma(t, a3) : w.mul(t).add(a3);
            at += moves >>> 9 & MOVES;
            index = words.lanewise(VectorOperators.LSHR, 5);
            h = index.selectFrom(ShortVector.fromMemorySegment(S, Raw.ALL, at, Raw.ORDER))
                    .reinterpretAsInts();
            l = index.selectFrom(ShortVector.fromMemorySegment(S, Raw.ALL, at + Input.LOWER, Raw.ORDER))
                    .reinterpretAsInts();
            if (Raw.FENCES) VarHandle.acquireFence();
            v = IntVector.fromMemorySegment(I, Raw.ALL, q + 64, Raw.ORDER);
            t = h.lanewise(VectorOperators.LSHL, 16).or(l.and(lower)).reinterpretAsFloats();
            w = (FloatVector) v.lanewise(VectorOperators.LSHL, 24).convert(VectorOperators.I2F, 0);
            a0 = FMA ? w.fma(t, a0) : w.mul(t).add(a0);
            t = h.and(upper).or(l.lanewise(VectorOperators.LSHR, 16)).reinterpretAsFloats();
            w = (FloatVector) v.lanewise(VectorOperators.LSHL, 16).and(top).convert(VectorOperators.I2F, 0);
            a1 = FMA ? w.fma(t, a1) : w.mul(t).add(a1);
            at += moves >>> 19 & MOVES;
            index = words.lanewise(VectorOperators.LSHR, 10);
            h = index.selectFrom(ShortVector.fromMemorySegment(S, Raw.ALL, at, Raw.ORDER))
                    .reinterpretAsInts();
            l = index.selectFrom(ShortVector.fromMemorySegment(S, Raw.ALL, at + Input.LOWER, Raw.ORDER))
                    .reinterpretAsInts();

            t = h.lanewise(VectorOperators.LSHL, 16).or(l.and(lower)).reinterpretAsFloats();
            w = (FloatVector) v.lanewise(VectorOperators.LSHL, 8).and(top).convert(VectorOperators.I2F, 0);
            a2 = FMA ? w.fma(t, a2) : w.mul(t).add(a2);
            t = h.and(upper).or(l.lanewise(VectorOperators.LSHR, 16)).reinterpretAsFloats();
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
}
