package dev.espalier.kernels.simd;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;

/// Memory by address, for kernels whose pointers depend on the data.
///
/// Nothing is checked here: a kernel computes only addresses inside memory that its caller has checked, and that stays
/// allocated during the call.
///
/// To C2 an address is any number, so it checks each access against the segment's end: three instructions for a load, of seven or
/// eight that a line of weights takes. It does not where it sees that the address is small and not negative, so kernels write
/// `p &= ADDRESS` at the head of a loop, which changes nothing. But the checks had kept the loads in order: without them C2
/// moves loads as it likes, and the processor no longer recognizes the stream. Where order matters there is a fence, which is
/// no instruction here (docs/design/hotspot.md, "No range checks").
public final class Raw {
    /// All of the address space; offsets are addresses.
    public static final MemorySegment ALL = MemorySegment.NULL.reinterpret(Long.MAX_VALUE);

    /// Order in which packed matrices lie in memory.
    public static final ByteOrder ORDER = ByteOrder.LITTLE_ENDIAN;

    /// Whether a fence between loads costs nothing: on x86-64 it only binds the compiler. Elsewhere the checks stay.
    public static final boolean FENCES = "amd64".equals(System.getProperty("os.arch"));

    /// The bits that an address may have.
    public static final long ADDRESS = FENCES ? Long.MAX_VALUE >>> 1 : -1;

    /// The bits of an int that is not negative: C2 does not know how few bits a count has, and this it does for nothing.
    public static final long UNSIGNED = 0xffffffffL;

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
