package dev.espalier.kernels.simd;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import java.util.concurrent.atomic.AtomicBoolean;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorOperators;
import jdk.incubator.vector.VectorSpecies;

/// Questions about all elements of a float32 array in memory, asked by all threads.
public final class Scan {
    private static final VectorSpecies<Float> S = FloatVector.SPECIES_PREFERRED;
    private static final int L = S.length();
    private static final ByteOrder ORDER = ByteOrder.nativeOrder();
    private static final ValueLayout.OfFloat FLOAT = ValueLayout.JAVA_FLOAT_UNALIGNED;
    private static final ValueLayout.OfInt INT = ValueLayout.JAVA_INT_UNALIGNED;

    /// Elements that one thread takes at least.
    private static final int GRAIN = 1 << 14;

    private Scan() {}

    /// Whether the first `count` elements hold neither a NaN nor an infinity.
    public static boolean allFinite(MemorySegment values, long count, Workers workers) {
        AtomicBoolean finite = new AtomicBoolean(true);
        workers.rows(grains(count), 1, (from, to, thread) -> {
            if (!allFinite(values, (long) from * GRAIN, Math.min(count, (long) to * GRAIN))) {
                finite.set(false);
            }
        });
        return finite.get();
    }

    /// Zero times a NaN or an infinity is a NaN, and stays one in a sum.
    private static boolean allFinite(MemorySegment values, long from, long to) {
        FloatVector zero = FloatVector.zero(S);
        FloatVector sum = zero;
        long i = from;
        for (; i + L <= to; i += L) {
            sum = FloatVector.fromMemorySegment(S, values, i * 4, ORDER)
                    .mul(zero)
                    .add(sum);
        }
        float rest = sum.reduceLanes(VectorOperators.ADD);
        for (; i < to; i++) {
            rest += values.get(FLOAT, i * 4) * 0f;
        }
        return rest == 0;
    }

    /// The `k`-th smallest magnitude (`k` from 0) of the first `count` elements; NaNs are larger than infinity.
    ///
    /// Radix selection: the bits of a float without its sign order as its magnitude does. Three passes count the next 11, 10
    /// and 10 of them among the elements that share those found so far.
    public static float kthSmallestMagnitude(MemorySegment values, long count, long k, Workers workers) {
        if (k < 0 || k >= count) {
            throw new IllegalArgumentException("no element " + k + " among " + count);
        }
        int prefix = 0;
        int known = 0;
        long rank = k;
        for (int bits : new int[] {11, 10, 10}) {
            int shift = 31 - known - bits;
            int above = 31 - known;
            int wanted = prefix;
            long[][] counts = new long[workers.threads()][];
            workers.rows(
                    grains(count),
                    1,
                    (from, to, thread) -> counts[thread] = histogram(
                            values,
                            (long) from * GRAIN,
                            Math.min(count, (long) to * GRAIN),
                            above,
                            wanted,
                            shift,
                            bits));
            int bin = 0;
            while (true) {
                long here = 0;
                for (long[] histogram : counts) {
                    here += histogram == null ? 0 : histogram[bin];
                }
                if (rank < here) {
                    break;
                }
                rank -= here;
                bin++;
            }
            prefix = prefix << bits | bin;
            known += bits;
        }
        return Float.intBitsToFloat(prefix);
    }

    private static long[] histogram(
            MemorySegment values, long from, long to, int above, int wanted, int shift, int bits) {
        long[] histogram = new long[1 << bits];
        int mask = (1 << bits) - 1;
        for (long i = from; i < to; i++) {
            int magnitude = values.get(INT, i * 4) & Integer.MAX_VALUE;
            if ((int) ((long) magnitude >>> above) == wanted) {
                histogram[magnitude >>> shift & mask]++;
            }
        }
        return histogram;
    }

    private static int grains(long count) {
        return Math.toIntExact(Math.ceilDiv(count, (long) GRAIN));
    }
}
