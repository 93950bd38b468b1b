package dev.espalier.prune;

import dev.espalier.kernels.LinearAlgebra;
import dev.espalier.kernels.simd.Workers;
import dev.espalier.prune.calibrate.Gram;
import dev.espalier.prune.calibrate.Scratch;
import dev.espalier.tensor.Tensor;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/// How much of a layer's output pruning lost: √(tr(Δ G Δᵀ) / tr(W G Wᵀ)), G the inputs' Gram matrix, Δ = Ŵ − W.
public final class Measure {
    private Measure() {}

    /// The relative error of a layer `dense` `[out, in]` that changed by `delta`, both F32; NaN if `gram` is null. What was
    /// lost of nothing is nothing.
    public static double relativeError(
            Tensor dense, Tensor delta, Gram gram, LinearAlgebra algebra, Workers workers, Scratch parent) {
        if (gram == null) {
            return Double.NaN;
        }
        try (Scratch scratch = parent.child()) {
            Tensor g = scratch.tensor(gram.features(), gram.features());
            gram.copyTo(g, 1);
            Tensor product = scratch.tensor(dense.rows(), dense.columns());
            algebra.gemm(delta, false, g, false, product);
            double lost = dot(delta, product, workers);
            if (lost == 0) {
                return 0;
            }
            algebra.gemm(dense, false, g, false, product);
            return Math.sqrt(Math.max(0, lost) / dot(dense, product, workers));
        }
    }

    /// Σ x ∘ y, row by row in float64.
    private static double dot(Tensor x, Tensor y, Workers workers) {
        double[] rows = new double[x.rows()];
        workers.rows(x.rows(), 1, (from, to, thread) -> {
            float[] a = new float[x.columns()];
            float[] b = new float[x.columns()];
            for (int r = from; r < to; r++) {
                read(x, r, a);
                read(y, r, b);
                for (int c = 0; c < a.length; c++) {
                    rows[r] += (double) a[c] * b[c];
                }
            }
        });
        double sum = 0;
        for (double row : rows) {
            sum += row;
        }
        return sum;
    }

    private static void read(Tensor x, int row, float[] target) {
        MemorySegment.copy(
                x.segment(), ValueLayout.JAVA_FLOAT_UNALIGNED, 4L * row * target.length, target, 0, target.length);
    }
}
