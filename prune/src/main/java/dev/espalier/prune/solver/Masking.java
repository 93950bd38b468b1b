package dev.espalier.prune.solver;

import dev.espalier.kernels.simd.Workers;
import dev.espalier.tensor.Mask;
import dev.espalier.tensor.Tensor;

/// Applies a mask to float32 weights.
final class Masking {
    private Masking() {}

    /// w = 0 where `mask` prunes; the rest is not touched.
    static void zeroPruned(Tensor w, Mask mask, Workers workers) {
        workers.rows(w.rows(), 1, (from, to, thread) -> {
            float[] row = new float[w.columns()];
            for (int r = from; r < to; r++) {
                Rows.read(w, r, 0, row, row.length);
                for (int c = 0; c < row.length; c++) {
                    if (!mask.kept(r, c)) {
                        row[c] = 0f;
                    }
                }
                Rows.write(row, row.length, w, r, 0);
            }
        });
    }
}
