package dev.espalier.prune.solver;

import dev.espalier.kernels.simd.Workers;
import dev.espalier.tensor.Mask;
import dev.espalier.tensor.Tensor;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.function.Supplier;

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

    /// The body of a pass over rows: changes `values`, the elements of `row`.
    @FunctionalInterface
    interface Pass {
        void apply(int row, float[] values);
    }

    /// Each row `from + i` of `source` goes through `pass` into row i of `target`, `target.rows()` rows in all, shared by
    /// the threads.
    static void map(Tensor source, int from, Tensor target, Workers workers, Pass pass) {
        map(source, from, target, workers, () -> pass);
    }

    /// The same with a pass for each thread, which may have scratch memory of its own.
    static void map(Tensor source, int from, Tensor target, Workers workers, Supplier<Pass> passes) {
        workers.rows(target.rows(), 1, (first, last, thread) -> {
            Pass pass = passes.get();
            float[] row = new float[target.columns()];
            for (int r = first; r < last; r++) {
                read(source, from + r, 0, row, row.length);
                pass.apply(from + r, row);
                write(row, row.length, target, r, 0);
            }
        });
    }

    /// `keep[c]` = 1 where `mask` keeps column c of `row`, otherwise 0.
    static void read(Mask mask, int row, float[] keep) {
        for (int c = 0; c < keep.length; c += Long.SIZE) {
            long word = mask.word(row, c / Long.SIZE);
            int end = Math.min(keep.length, c + Long.SIZE);
            for (int i = c; i < end; i++) {
                keep[i] = word >>> (i - c) & 1;
            }
        }
    }

    private static long at(Tensor tensor, int row, int column) {
        return 4L * ((long) row * tensor.columns() + column);
    }
}
