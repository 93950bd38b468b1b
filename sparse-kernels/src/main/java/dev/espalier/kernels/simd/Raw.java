package dev.espalier.kernels.simd;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;

/// Memory by address, for kernels whose pointers depend on the data.
///
/// Nothing is checked here: a kernel computes only addresses inside memory that its caller has checked, and that stays
/// allocated during the call. One segment over everything keeps C2's range checks out of the inner loops.
public final class Raw {
    /// All of the address space; offsets are addresses.
    public static final MemorySegment ALL = MemorySegment.NULL.reinterpret(Long.MAX_VALUE);

    /// Order in which packed matrices lie in memory.
    public static final ByteOrder ORDER = ByteOrder.LITTLE_ENDIAN;

    public static final ValueLayout.OfFloat FLOAT = ValueLayout.JAVA_FLOAT_UNALIGNED.withOrder(ORDER);
    public static final ValueLayout.OfInt INT = ValueLayout.JAVA_INT_UNALIGNED.withOrder(ORDER);
    public static final ValueLayout.OfLong LONG = ValueLayout.JAVA_LONG_UNALIGNED.withOrder(ORDER);
    public static final ValueLayout.OfShort SHORT = ValueLayout.JAVA_SHORT_UNALIGNED.withOrder(ORDER);

    private Raw() {}

    /// The address of `segment`, which must hold `bytes` bytes outside the heap.
    public static long address(MemorySegment segment, long bytes) {
        if (!segment.isNative() || segment.byteSize() < bytes) {
            throw new IllegalArgumentException("a kernel needs " + bytes + " bytes of native memory, not " + segment);
        }
        return segment.address();
    }
}
