package dev.espalier.natives.blas;

import java.lang.foreign.MemorySegment;

/// The checks that every call makes before it goes native, where a wrong shape would write over somebody else's memory.
final class Matrices {
    private Matrices() {}

    /// Requires that `segment` holds a row-major matrix of `rows` rows and `columns` columns.
    static void check(String name, MemorySegment segment, int rows, int columns, int stride, int elementBytes) {
        if (rows < 0 || columns < 0) {
            throw new IllegalArgumentException(name + ": " + rows + " x " + columns + " is no shape");
        }
        if (stride < Math.max(1, columns)) {
            throw new IllegalArgumentException(
                    name + ": a row of " + columns + " columns does not fit a stride of " + stride);
        }
        if (!segment.isNative()) {
            throw new IllegalArgumentException(name + ": not in native memory");
        }
        long needed = rows == 0 ? 0 : ((rows - 1L) * stride + columns) * elementBytes;
        if (segment.byteSize() < needed) {
            throw new IllegalArgumentException(name + ": " + rows + " x " + columns + " at stride " + stride + " needs "
                    + needed + " bytes, the segment has " + segment.byteSize());
        }
    }

    static void checkVector(String name, MemorySegment segment, int length, int elementBytes) {
        check(name, segment, 1, length, Math.max(1, length), elementBytes);
    }
}
