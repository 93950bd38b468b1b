package dev.espalier.prune.solver;

import dev.espalier.kernels.NotPositiveDefiniteException;
import dev.espalier.prune.calibrate.Scratch;
import dev.espalier.tensor.Tensor;
import java.util.Comparator;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.stream.IntStream;

/// The best weights on a fixed support, exactly: for every output with support S and pruned set P,
/// A_SS (ŵ − w)_S = A_SP w_P, by a Cholesky factor of A_SS in float64 (the "backsolve" of ALPS, Meng et al. 2024, table 1).
///
/// All in the coordinates of [Scaling]. Threads take outputs one by one, those with the largest support first, so that they
/// end together however unevenly the kept weights are spread.
///
/// @param a A, `[in, in]`
/// @param norms e; 0 for inputs that were always zero
record Backsolve(LayerProblem problem, Tensor dense, Tensor a, float[] norms) {
    void solve(Scratch memory) {
        Tensor w = problem.weight();
        int n = w.columns();
        try (Scratch scratch = memory.child()) {
            Tensor lost = scratch.tensor(Tiles.height(w.rows()), n);
            Tensor rightSide = scratch.tensor(Tiles.height(w.rows()), n);
            Tiles.forEach(w.rows(), (from, to) -> {
                Tensor left = lost.slice(0, to - from);
                Tensor right = rightSide.slice(0, to - from);
                Rows.map(dense, from, left, problem.workers(), () -> {
                    float[] now = new float[n];
                    return (r, row) -> {
                        Rows.read(w, r, 0, now, n);
                        for (int j = 0; j < n; j++) {
                            row[j] = now[j] == 0 ? row[j] * norms[j] : 0f;
                        }
                    };
                });
                problem.algebra().gemm(left, false, a, false, right);
                solve(from, right);
            });
        }
    }

    private void solve(int from, Tensor rightSide) {
        int[][] supports = new int[rightSide.rows()][];
        problem.workers().rows(supports.length, 1, (first, last, thread) -> {
            float[] row = new float[norms.length];
            for (int r = first; r < last; r++) {
                Rows.read(problem.weight(), from + r, 0, row, row.length);
                supports[r] = IntStream.range(0, row.length)
                        .filter(j -> row[j] != 0 && norms[j] > 0)
                        .toArray();
            }
        });
        int[] order = IntStream.range(0, supports.length)
                .boxed()
                .sorted(Comparator.comparing(r -> -supports[r].length))
                .mapToInt(r -> r)
                .toArray();
        AtomicInteger next = new AtomicInteger();
        problem.workers().rows(problem.workers().threads(), 1, (first, last, thread) -> {
            Output output = new Output(order.length == 0 ? 0 : supports[order[0]].length);
            for (int i = next.getAndIncrement(); i < order.length; i = next.getAndIncrement()) {
                output.solve(from + order[i], supports[order[i]], rightSide, order[i]);
            }
        });
    }

    /// One output at a time; row k of the factor starts at its diagonal.
    private final class Output {
        private final double[][] factor;
        private final double[] solution;
        private final float[] row = new float[norms.length];
        private final float[] original = new float[norms.length];

        Output(int largest) {
            factor = new double[largest][];
            for (int k = 0; k < largest; k++) {
                factor[k] = new double[largest];
            }
            solution = new double[largest];
        }

        void solve(int r, int[] support, Tensor rightSide, int rightRow) {
            int m = support.length;
            Rows.read(rightSide, rightRow, 0, row, row.length);
            for (int k = 0; k < m; k++) {
                solution[k] = row[support[k]];
            }
            for (int k = 0; k < m; k++) {
                Rows.read(a, support[k], 0, row, row.length);
                for (int j = k; j < m; j++) {
                    factor[k][j] = row[support[j]];
                }
            }
            factor(m);
            for (int k = 0; k < m; k++) {
                double s = solution[k] /= factor[k][k];
                for (int j = k + 1; j < m; j++) {
                    solution[j] -= s * factor[k][j];
                }
            }
            for (int k = m - 1; k >= 0; k--) {
                double s = solution[k];
                for (int j = k + 1; j < m; j++) {
                    s -= factor[k][j] * solution[j];
                }
                solution[k] = s / factor[k][k];
            }
            Rows.read(problem.weight(), r, 0, row, row.length);
            Rows.read(dense, r, 0, original, original.length);
            for (int k = 0; k < m; k++) {
                int j = support[k];
                row[j] = (float) (original[j] + solution[k] / norms[j]);
            }
            Rows.write(row, row.length, problem.weight(), r, 0);
        }

        /// U with A_SS = UᵀU over the upper triangle, four rows at a time, so that the rest is passed over a fourth as often.
        private void factor(int m) {
            for (int k = 0; k < m; k += 4) {
                int end = Math.min(m, k + 4);
                for (int p = k; p < end; p++) {
                    double[] pivot = factor[p];
                    for (int q = k; q < p; q++) {
                        subtract(pivot, factor[q], factor[q][p], p, m);
                    }
                    if (!((float) pivot[p] > 0)) {
                        throw new NotPositiveDefiniteException(p, m);
                    }
                    double inverse = 1 / Math.sqrt(pivot[p]);
                    for (int j = p; j < m; j++) {
                        pivot[j] *= inverse;
                    }
                }
                if (end == k + 4) {
                    for (int i = end; i < m; i++) {
                        subtract(factor[i], factor[k], factor[k + 1], factor[k + 2], factor[k + 3], i, m);
                    }
                }
            }
        }
    }

    private static void subtract(double[] row, double[] u, double f, int from, int to) {
        for (int j = from; j < to; j++) {
            row[j] -= f * u[j];
        }
    }

    private static void subtract(double[] row, double[] s, double[] t, double[] u, double[] v, int from, int to) {
        double fs = s[from];
        double ft = t[from];
        double fu = u[from];
        double fv = v[from];
        for (int j = from; j < to; j++) {
            row[j] -= fs * s[j] + ft * t[j] + fu * u[j] + fv * v[j];
        }
    }
}
