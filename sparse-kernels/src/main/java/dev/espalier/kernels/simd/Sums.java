package dev.espalier.kernels.simd;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorShuffle;
import jdk.incubator.vector.VectorSpecies;

/// Adds up the lanes of accumulators in one fixed order: the upper half onto the lower, until one lane is left.
///
/// `reduceLanes` may add in another order once it is compiled, so the same call would change its last bits while the
/// virtual machine warms up. Kernels store their accumulators here and let this class, compiled apart, fold them.
public final class Sums {
    /// Accumulators that fit.
    public static final int ROWS = 16;

    /// Bytes from one accumulator to the next.
    public static final int STRIDE = 64;

    /// Where, seen from [#scratch], a kernel stores what nobody reads. It is the thread's own, as all of it: a place that two threads
    /// write wanders between their caches.
    public static final long SPARE = ROWS * STRIDE;

    /// No line of it, and no neighbour of one that the processor may bring with it, is another thread's.
    private static final long APART = 128;

    private static final VectorSpecies<Float> F = FloatVector.SPECIES_PREFERRED;
    private static final int LANES = F.length();
    private static final boolean VECTORS = VectorCheck.compiled();
    private static final VectorShuffle<Float> BY1 = upper(1);
    private static final VectorShuffle<Float> BY2 = upper(2);
    private static final VectorShuffle<Float> BY4 = upper(4);
    private static final VectorShuffle<Float> BY8 = upper(8);
    private static final ThreadLocal<MemorySegment> SCRATCH =
            ThreadLocal.withInitial(() -> Arena.ofAuto().allocate(SPARE + 2 * APART, APART));

    static {
        CompilerHints.excludeFromC1(Sums.class);
    }

    private Sums() {}

    private static VectorShuffle<Float> upper(int distance) {
        return VectorShuffle.fromOp(F, lane -> (lane + distance) % LANES);
    }

    /// The address of this thread's accumulators: row r's lanes lie at `r * STRIDE`.
    public static long scratch() {
        return SCRATCH.get().address();
    }

    /// Writes `scale` times the lane sum of the first `rows` accumulators at `scratch` to float32 values from address `y` on.
    public static void fold(long scratch, int rows, float scale, long y) {
        fold(scratch, rows, scale, false, y);
    }

    /// The same, added to what is there if there are `more`.
    public static void fold(long scratch, int rows, float scale, boolean more, long y) {
        for (int row = 0; row < rows; row++) {
            float sum = VECTORS && LANES <= 16
                    ? vectorSum(scratch + (long) row * STRIDE)
                    : scalarSum(scratch + (long) row * STRIDE);
            long at = y + row * 4L;
            Raw.ALL.set(Raw.FLOAT, at, more ? Raw.ALL.get(Raw.FLOAT, at) + scale * sum : scale * sum);
        }
    }

    /// Adds `count` float32 values at address `from` to those at `to`.
    public static void add(long from, long to, int count) {
        int i = 0;
        for (; VECTORS && i + LANES <= count; i += LANES) {
            FloatVector more = FloatVector.fromMemorySegment(F, Raw.ALL, from + 4L * i, Raw.ORDER);
            FloatVector sum = FloatVector.fromMemorySegment(F, Raw.ALL, to + 4L * i, Raw.ORDER);
            sum.add(more).intoMemorySegment(Raw.ALL, to + 4L * i, Raw.ORDER);
        }
        for (; i < count; i++) {
            float sum = Raw.ALL.get(Raw.FLOAT, to + 4L * i) + Raw.ALL.get(Raw.FLOAT, from + 4L * i);
            Raw.ALL.set(Raw.FLOAT, to + 4L * i, sum);
        }
    }

    /// Writes the first `count` of `sums` to address `y`, added to what is there if there are `more`.
    public static void put(float[] sums, int count, boolean more, long y) {
        for (int row = 0; row < count; row++) {
            long at = y + 4L * row;
            Raw.ALL.set(Raw.FLOAT, at, more ? Raw.ALL.get(Raw.FLOAT, at) + sums[row] : sums[row]);
        }
    }

    private static float vectorSum(long at) {
        FloatVector v = FloatVector.fromMemorySegment(F, Raw.ALL, at, Raw.ORDER);
        if (LANES == 16) {
            v = v.add(v.rearrange(BY8));
        }
        if (LANES >= 8) {
            v = v.add(v.rearrange(BY4));
        }
        if (LANES >= 4) {
            v = v.add(v.rearrange(BY2));
        }
        return v.add(v.rearrange(BY1)).lane(0);
    }

    private static float scalarSum(long at) {
        for (int half = LANES / 2; half > 0; half /= 2) {
            for (int i = 0; i < half; i++) {
                float low = Raw.ALL.get(Raw.FLOAT, at + i * 4L);
                Raw.ALL.set(Raw.FLOAT, at + i * 4L, low + Raw.ALL.get(Raw.FLOAT, at + (i + half) * 4L));
            }
        }
        return Raw.ALL.get(Raw.FLOAT, at);
    }
}
