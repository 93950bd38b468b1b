package dev.espalier.prune.solver;

import dev.espalier.tensor.Tensor;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/// Copies parts of rows between float32 tensors and arrays, where loops over them vectorize.
final class Rows {
    private Rows() {}

    /// `target[0 .. count) = source[row, column .. column + count)`.
    static void read(Tensor source, int row, int column, float[] target, int count) {
        MemorySegment.copy(
                source.segment(), ValueLayout.JAVA_FLOAT_UNALIGNED, at(source, row, column), target, 0, count);
    }

    /// `target[row, column .. column + count) = source[0 .. count)`.
    static void write(float[] source, int count, Tensor target, int row, int column) {
        MemorySegment.copy(
                source, 0, target.segment(), ValueLayout.JAVA_FLOAT_UNALIGNED, at(target, row, column), count);
    }

    private static long at(Tensor tensor, int row, int column) {
        return 4L * ((long) row * tensor.columns() + column);
    }
}
