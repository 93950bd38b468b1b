package dev.espalier.prune.pattern;

import dev.espalier.kernels.simd.Workers;
import dev.espalier.tensor.Tensor;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/// The border between the `count` lowest scores of a matrix and the rest.
///
/// The bits of non-negative floats order as the floats do, so the border is found by three histograms over 11, 10 and 10
/// bits, without sorting and without a copy of the scores.
///
/// @param bits the `count`-th lowest score's bits, sign cleared; -1, below all, if `count` is 0
/// @param ties how many scores equal to it belong to the `count` lowest
record Threshold(int bits, long ties) {
    /// The calling thread.
    static final Workers ALONE = new Workers(1);

    private static final int[] SHIFTS = {20, 10, 0};
    private static final int BUCKETS = 1 << 11;

    static Threshold of(Tensor scores, long count, Workers workers) {
        if (count == 0) {
            return new Threshold(-1, 0);
        }
        int prefix = 0;
        int known = 0;
        long left = count;
        for (int shift : SHIFTS) {
            long[] histogram = histogram(scores, prefix, known, shift, workers);
            int bucket = 0;
            while (left > histogram[bucket]) {
                left -= histogram[bucket++];
            }
            prefix |= bucket << shift;
            known = -1 << shift;
        }
        return new Threshold(prefix, left);
    }

    /// Counts the scores whose bits under `known` are those of `prefix`, by their next bits from `shift` up.
    private static long[] histogram(Tensor scores, int prefix, int known, int shift, Workers workers) {
        long[][] parts = new long[workers.threads()][];
        int digits = known == 0 ? BUCKETS - 1 : (BUCKETS >> 1) - 1;
        workers.rows(scores.rows(), 1, (from, to, thread) -> {
            long[] part = new long[BUCKETS];
            int[] bits = new int[scores.columns()];
            for (int row = from; row < to; row++) {
                read(scores, row, bits);
                for (int value : bits) {
                    if ((value & known) == prefix) {
                        part[value >>> shift & digits]++;
                    }
                }
            }
            parts[thread] = part;
        });
        long[] histogram = new long[BUCKETS];
        for (long[] part : parts) {
            for (int bucket = 0; part != null && bucket < BUCKETS; bucket++) {
                histogram[bucket] += part[bucket];
            }
        }
        return histogram;
    }

    /// The scores of `row` as bits, signs cleared.
    static void read(Tensor scores, int row, int[] bits) {
        long at = 4L * row * bits.length;
        MemorySegment.copy(scores.segment(), ValueLayout.JAVA_INT_UNALIGNED, at, bits, 0, bits.length);
        for (int i = 0; i < bits.length; i++) {
            bits[i] &= 0x7fffffff;
        }
    }
}
