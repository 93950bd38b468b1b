package dev.espalier.prune.solver;

import dev.espalier.prune.calibrate.Scratch;
import dev.espalier.prune.pattern.NOfM;
import dev.espalier.tensor.Tensor;

/// Local search over supports: a kept weight a and a pruned one p of one output change places wherever that lowers the
/// output's error, until no such pair is left (the neighbourhood of SparseSwaps, 2025; the formula is our own).
///
/// In the coordinates of [Scaling], with r = w − ŵ, g = r A and the error r A rᵀ, taking a away and giving p the value v
/// changes it by
///
/// Δ(a, p) = 2 ŵ_a g_a + ŵ_a² A_aa − 2 v g_p + v² A_pp − 2 ŵ_a v A_ap,
///
/// where v is the dense weight if kept weights are to keep their values, and otherwise the best there is,
/// (g_p + ŵ_a A_ap) / A_pp. Pruned weights look in turn for the best partner, rather than all pairs for the best one; it ends
/// in the same kind of place. With N:M, partners share a group. Every output keeps its number of weights.
///
/// @param a A, `[in, in]`
/// @param norms e; 0 for inputs that were always zero
/// @param keepsValues whether v is the dense weight
record Swap(LayerProblem problem, Tensor dense, Tensor a, float[] norms, boolean keepsValues) {
    /// A swap must gain this fraction of the output's error, or rounding would keep the search going.
    private static final double LEAST_GAIN = 1e-6;

    private static final int MOST_PASSES = 100;

    void search(Scratch memory) {
        Tensor w = problem.weight();
        int n = w.columns();
        try (Scratch scratch = memory.child()) {
            Tensor lost = scratch.tensor(Tiles.height(w.rows()), n);
            Tensor gradient = scratch.tensor(Tiles.height(w.rows()), n);
            Tiles.forEach(w.rows(), (from, to) -> {
                Tensor r = lost.slice(0, to - from);
                Tensor g = gradient.slice(0, to - from);
                Rows.map(dense, from, r, problem.workers(), () -> {
                    float[] now = new float[n];
                    return (row, values) -> {
                        Rows.read(w, row, 0, now, n);
                        for (int j = 0; j < n; j++) {
                            values[j] = (values[j] - now[j]) * norms[j];
                        }
                    };
                });
                problem.algebra().gemm(r, false, a, false, g);
                problem.workers().rows(to - from, 1, (first, last, thread) -> {
                    Output output = new Output();
                    for (int row = first; row < last; row++) {
                        output.search(from + row, r, g, row);
                    }
                });
            });
        }
    }

    /// One output at a time.
    private final class Output {
        private final int n = norms.length;
        private final int group = problem.pattern() instanceof NOfM pattern ? pattern.m() : norms.length;
        private final float[] original = new float[n];
        private final float[] weight = new float[n];
        private final float[] buffer = new float[n];
        private final double[] x = new double[n];
        private final double[] g = new double[n];
        private final double[] diagonal = new double[n];

        Output() {
            for (int j = 0; j < n; j++) {
                diagonal[j] = a.get(j, j);
            }
        }

        void search(int row, Tensor lost, Tensor gradient, int tileRow) {
            Rows.read(dense, row, 0, original, n);
            Rows.read(problem.weight(), row, 0, weight, n);
            Rows.read(gradient, tileRow, 0, buffer, n);
            for (int j = 0; j < n; j++) {
                x[j] = (double) weight[j] * norms[j];
                g[j] = buffer[j];
            }
            Rows.read(lost, tileRow, 0, buffer, n);
            double error = 0;
            for (int j = 0; j < n; j++) {
                error += buffer[j] * g[j];
            }
            double least = LEAST_GAIN * error;
            boolean improved = true;
            for (int pass = 0; pass < MOST_PASSES && improved; pass++) {
                improved = false;
                for (int p = 0; p < n; p++) {
                    if (weight[p] == 0 && original[p] != 0 && norms[p] > 0 && diagonal[p] > 0) {
                        improved |= replace(p, least);
                    }
                }
            }
            Rows.write(weight, n, problem.weight(), row, 0);
        }

        /// Gives `p` the place of its best partner, if that gains more than `least`.
        private boolean replace(int p, double least) {
            int from = p / group * group;
            int to = Math.min(n, from + group);
            Rows.read(a, p, from, buffer, to - from);
            double value = (double) original[p] * norms[p];
            double best = -least;
            int partner = -1;
            for (int j = from; j < to; j++) {
                if (weight[j] != 0) {
                    double v = keepsValues ? value : (g[p] + x[j] * buffer[j - from]) / diagonal[p];
                    double change = x[j] * (2 * g[j] + x[j] * diagonal[j])
                            + v * (v * diagonal[p] - 2 * g[p] - 2 * x[j] * buffer[j - from]);
                    if (change < best) {
                        best = change;
                        partner = j;
                    }
                }
            }
            if (partner < 0) {
                return false;
            }
            double v = keepsValues ? value : (g[p] + x[partner] * buffer[partner - from]) / diagonal[p];
            float kept = keepsValues ? original[p] : (float) (v / norms[p]);
            if (kept == 0) {
                return false;
            }
            add(x[partner], partner);
            add(-v, p);
            x[partner] = 0;
            weight[partner] = 0f;
            x[p] = v;
            weight[p] = kept;
            return true;
        }

        /// g += `change` · A_j.
        private void add(double change, int j) {
            Rows.read(a, j, 0, buffer, n);
            for (int i = 0; i < n; i++) {
                g[i] += change * buffer[i];
            }
        }
    }
}
