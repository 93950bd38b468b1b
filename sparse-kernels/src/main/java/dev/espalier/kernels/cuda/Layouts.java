package dev.espalier.kernels.cuda;

import dev.espalier.tensor.DType;
import dev.espalier.tensor.Tensor;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;

/// What the packers of device layouts share.
final class Layouts {
    static final ValueLayout.OfShort SHORT = ValueLayout.JAVA_SHORT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
    static final ValueLayout.OfInt INT = ValueLayout.JAVA_INT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);

    private Layouts() {}

    static int roundUp(int value, int multiple) {
        return Math.multiplyExact(Math.ceilDiv(value, multiple), multiple);
    }

    static void requireHalf(Tensor dense) {
        if (dense.dtype() != DType.BF16 && dense.dtype() != DType.F16) {
            throw new IllegalArgumentException("the device's layouts hold BF16 or F16, not " + dense);
        }
    }

    /// The bits of a row's 16-bit floats.
    static short[] bits(Tensor dense, int row) {
        short[] bits = new short[dense.columns()];
        MemorySegment.copy(dense.segment(), SHORT, (long) row * dense.columns() * 2, bits, 0, bits.length);
        return bits;
    }

    /// Whether these bits are a weight that is kept; -0.0 is a zero.
    static boolean kept(short bits) {
        return (bits & 0x7fff) != 0;
    }
}
