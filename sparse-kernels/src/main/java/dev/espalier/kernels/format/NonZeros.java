package dev.espalier.kernels.format;

import dev.espalier.tensor.DType;
import dev.espalier.tensor.Tensor;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;

/// Tells zeros from weights on stored bits; -0.0 is a zero.
final class NonZeros {
    private static final ValueLayout.OfShort SHORT =
            ValueLayout.JAVA_SHORT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
    private static final ValueLayout.OfInt INT = ValueLayout.JAVA_INT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);

    private static final ValueLayout.OfLong LONG = ValueLayout.JAVA_LONG_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
    private static final long MAGNITUDES = 0x7fff_7fff_7fff_7fffL;

    private NonZeros() {}

    /// Elements of `weights` that are not zero.
    static long count(Tensor weights) {
        MemorySegment memory = weights.segment();
        long size = weights.size();
        long count = 0;
        long i = 0;
        if (weights.dtype().bytes() == 2) {
            // A half that is not zero carries into its sign bit, and none carries into the next half.
            for (; i + 4 <= size; i += 4) {
                long four = memory.get(LONG, i * 2) & MAGNITUDES;
                count += Long.bitCount(four + MAGNITUDES & ~MAGNITUDES);
            }
        }
        for (; i < size; i++) {
            count += is(weights.dtype(), memory, i) ? 1 : 0;
        }
        return count;
    }

    /// Whether element `index` is not zero.
    static boolean is(DType type, MemorySegment memory, long index) {
        return switch (type.bytes()) {
            case 4 -> (memory.get(INT, index * 4) & 0x7fffffff) != 0;
            case 2 -> (memory.get(SHORT, index * 2) & 0x7fff) != 0;
            default -> memory.get(ValueLayout.JAVA_BYTE, index) != 0;
        };
    }
}
