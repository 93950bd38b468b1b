package dev.espalier.tensor;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;

/// The element type of a tensor as it lies in memory; arithmetic is always float32.
public enum DType {
    /// IEEE 754 binary32.
    F32(4),
    /// The upper half of a binary32: 8 exponent bits, 7 fraction bits.
    BF16(2),
    /// IEEE 754 binary16.
    F16(2),
    /// Signed bytes, used with scales by the quantized formats.
    I8(1);

    private static final ValueLayout.OfFloat FLOAT =
            ValueLayout.JAVA_FLOAT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
    private static final ValueLayout.OfShort SHORT =
            ValueLayout.JAVA_SHORT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);

    private final int bytes;

    DType(int bytes) {
        this.bytes = bytes;
    }

    /// Bytes an element takes.
    public int bytes() {
        return bytes;
    }

    /// The element at `index` (counted in elements) as a float32.
    public float get(MemorySegment segment, long index) {
        return switch (this) {
            case F32 -> segment.get(FLOAT, index * 4);
            case BF16 -> bf16ToFloat(segment.get(SHORT, index * 2));
            case F16 -> Float.float16ToFloat(segment.get(SHORT, index * 2));
            case I8 -> segment.get(ValueLayout.JAVA_BYTE, index);
        };
    }

    /// Stores `value` at `index` (counted in elements), rounded to nearest even; I8 saturates.
    public void set(MemorySegment segment, long index, float value) {
        switch (this) {
            case F32 -> segment.set(FLOAT, index * 4, value);
            case BF16 -> segment.set(SHORT, index * 2, floatToBf16(value));
            case F16 -> segment.set(SHORT, index * 2, Float.floatToFloat16(value));
            case I8 ->
                segment.set(ValueLayout.JAVA_BYTE, index, (byte) Math.max(-128, Math.min(127, Math.rint(value))));
        }
    }

    /// Widens a bfloat16; exact.
    public static float bf16ToFloat(short bits) {
        return Float.intBitsToFloat(bits << 16);
    }

    /// Rounds to the nearest bfloat16, ties to even; a NaN stays a NaN.
    public static short floatToBf16(float value) {
        int bits = Float.floatToRawIntBits(value);
        if (Float.isNaN(value)) {
            return (short) ((bits >>> 16) | 0x40);
        }
        return (short) ((bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16);
    }
}
