package dev.espalier.kernels.format;

import dev.espalier.kernels.simd.PanelSource;
import dev.espalier.kernels.simd.Raw;
import dev.espalier.tensor.DType;
import dev.espalier.tensor.Tensor;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/// Stored weights as bits: what packing, unpacking and scalar kernels share.
///
/// Vector kernels turn 16-bit weights into float32 where they lie, two in a 32-bit lane, with the same few instructions for
/// both types: low half `(v << 16 >> shift) & lowMask`, high half `(v >> shift) & highMask`. A BF16's bits become the
/// float32 itself (`shift` 0). An F16's, shifted by 3, become 2⁻¹¹² of it, exactly and subnormals included: x takes half of
/// the missing power of two as [#scale] and the sum the other half, since 2¹¹² x could overflow.
final class Weights {
    private Weights() {}

    static int shift(DType dtype) {
        return dtype == DType.F16 ? 3 : 0;
    }

    static int lowMask(DType dtype) {
        return dtype == DType.F16 ? 0x8fffffff : -1;
    }

    static int highMask(DType dtype) {
        return dtype == DType.F16 ? 0x8fffe000 : 0xffff0000;
    }

    /// Bytes in a 32-bit lane are weights too: the top one times 2²⁴ is what `v & 0xff000000` says as an integer, the others
    /// are shifted up first; the row's scale takes the 2⁻²⁴ back.
    static final int TOP_BYTE = 0xff000000;

    /// What undoes [#TOP_BYTE]'s power of two.
    static final float TOP_BYTE_SCALE = 0x1p-24f;

    /// 2⁵⁶ for F16, otherwise 1.
    static float scale(DType dtype) {
        return dtype == DType.F16 ? 0x1p56f : 1f;
    }

    /// The bits of an element as they are stored, 0 for both zeros.
    static int bits(DType dtype, MemorySegment segment, long index) {
        if (dtype == DType.F32) {
            int bits = segment.get(Raw.INT, index * 4);
            return bits == 0x80000000 ? 0 : bits;
        }
        if (dtype == DType.I8) {
            return segment.get(ValueLayout.JAVA_BYTE, index);
        }
        int bits = segment.get(Raw.SHORT, index * 2) & 0xffff;
        return bits == 0x8000 ? 0 : bits;
    }

    /// Stores what [#bits] gave at byte `at`.
    static void store(DType dtype, long at, int bits) {
        if (dtype == DType.F32) {
            Raw.ALL.set(Raw.INT, at, bits);
        } else if (dtype == DType.I8) {
            Raw.ALL.set(ValueLayout.JAVA_BYTE, at, (byte) bits);
        } else {
            Raw.ALL.set(Raw.SHORT, at, (short) bits);
        }
    }

    /// The value of the element that is stored at byte `at`; a byte's without its scale.
    static float value(DType dtype, long at) {
        return switch (dtype) {
            case F32 -> Raw.ALL.get(Raw.FLOAT, at);
            case BF16 -> DType.bf16ToFloat(Raw.ALL.get(Raw.SHORT, at));
            case F16 -> Float.float16ToFloat(Raw.ALL.get(Raw.SHORT, at));
            case I8 -> Raw.ALL.get(ValueLayout.JAVA_BYTE, at);
        };
    }

    /// Why no sparse format takes matrices of this type, as a clause, or null.
    static String refuses(Tensor dense) {
        return dense.dtype() == DType.I8 ? "plain bytes are no weights" : null;
    }

    /// Writes a matrix that can be read in panels into a dense one of any float type. Exact where that type holds the
    /// values, as it does if it is their own.
    static void unpack(PanelSource source, Tensor target) {
        int rows = source.rows();
        int columns = source.columns();
        if (target.rows() != rows || target.columns() != columns) {
            throw new IllegalArgumentException("a [%d, %d] matrix does not fit %s".formatted(rows, columns, target));
        }
        int stride = PanelSource.COLUMN_ALIGNMENT * 4;
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment panel = arena.allocate(4L * stride * PanelSource.ROW_ALIGNMENT, 64);
            for (int r0 = 0; r0 < rows; r0 += PanelSource.ROW_ALIGNMENT) {
                int r1 = Math.min(rows, r0 + PanelSource.ROW_ALIGNMENT);
                for (int c0 = 0; c0 < columns; c0 += stride) {
                    int c1 = Math.min(columns, c0 + stride);
                    source.expand(r0, r1, c0, c1, panel, stride);
                    for (int r = r0; r < r1; r++) {
                        store(panel, (long) (r - r0) * stride, target, (long) r * columns + c0, c1 - c0);
                    }
                }
            }
        }
    }

    private static void store(MemorySegment panel, long from, Tensor target, long at, int count) {
        MemorySegment memory = target.segment();
        switch (target.dtype()) {
            case F32 -> MemorySegment.copy(panel, from * 4, memory, at * 4, count * 4L);
            case BF16 -> {
                for (int i = 0; i < count; i++) {
                    short bits = DType.floatToBf16(panel.get(Raw.FLOAT, (from + i) * 4));
                    memory.set(Raw.SHORT, (at + i) * 2, bits);
                }
            }
            case F16 -> {
                for (int i = 0; i < count; i++) {
                    short bits = Float.floatToFloat16(panel.get(Raw.FLOAT, (from + i) * 4));
                    memory.set(Raw.SHORT, (at + i) * 2, bits);
                }
            }
            case I8 -> throw new IllegalArgumentException("plain bytes are no weights");
        }
    }
}
