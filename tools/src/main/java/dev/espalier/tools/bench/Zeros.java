package dev.espalier.tools.bench;

import dev.espalier.tensor.DType;
import dev.espalier.tensor.Tensor;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import java.util.stream.IntStream;

/// Zeros for timing: the smallest magnitudes go, in one pass over billions of weights. Solvers prune for quality.
final class Zeros {
    private static final ValueLayout.OfShort SHORT =
            ValueLayout.JAVA_SHORT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);

    private Zeros() {}

    /// Zeroes `sparsity` of the weights, exactly as many as that makes, by the 15 bits below the sign; of weights that
    /// these bits do not tell apart, the first ones go.
    static void unstructured(Tensor weights, double sparsity) {
        MemorySegment segment = weights.segment();
        long size = weights.size();
        long[] counts = new long[1 << 15];
        for (long i = 0; i < size; i++) {
            counts[magnitude(segment, i, weights.dtype())]++;
        }
        long left = Math.round(sparsity * (double) size);
        int limit = 0;
        while (limit < counts.length - 1 && counts[limit] <= left) {
            left -= counts[limit++];
        }
        for (long i = 0; i < size; i++) {
            int magnitude = magnitude(segment, i, weights.dtype());
            if (magnitude < limit || (magnitude == limit && left-- > 0)) {
                weights.dtype().set(segment, i, 0f);
            }
        }
    }

    /// Zeroes all but the `kept` largest of each `group` consecutive weights of a row.
    static void grouped(Tensor weights, int kept, int group) {
        IntStream.range(0, weights.rows()).parallel().forEach(row -> {
            MemorySegment segment = weights.segment();
            int[] magnitudes = new int[group];
            long first = (long) row * weights.columns();
            for (long at = first; at < first + weights.columns(); at += group) {
                for (int i = 0; i < group; i++) {
                    magnitudes[i] = magnitude(segment, at + i, weights.dtype());
                }
                for (int gone = kept; gone < group; gone++) {
                    int smallest = 0;
                    for (int i = 1; i < group; i++) {
                        smallest = magnitudes[i] < magnitudes[smallest] ? i : smallest;
                    }
                    magnitudes[smallest] = Integer.MAX_VALUE;
                    weights.dtype().set(segment, at + smallest, 0f);
                }
            }
        });
    }

    private static int magnitude(MemorySegment segment, long index, DType dtype) {
        // In all three types the 15 bits below the sign, of the upper half, rise with the magnitude.
        long offset = dtype == DType.F32 ? index * 4 + 2 : index * 2;
        return segment.get(SHORT, offset) & 0x7fff;
    }
}
