package dev.espalier.prune.solver;

import dev.espalier.prune.calibrate.Gram;
import dev.espalier.prune.calibrate.Scratch;
import dev.espalier.prune.pattern.Budget;
import dev.espalier.prune.pattern.Budget.Granularity;
import dev.espalier.tensor.Mask;
import dev.espalier.tensor.Tensor;

/// Wanda: a weight matters as much as it is large and its input is strong (Sun et al. 2023, equation 1).
///
/// Score of weight `W[r, c]`: S[r, c] = |W[r, c]| · ‖X_c‖₂ / √(calibration sequences), compared within each output row.
/// What is left stays as it was. With `referenceQuirks` each row loses ⌊in · sparsity⌋ weights, as in the released code;
/// otherwise what does not divide is spread over the rows, so that the layer's count is exact. An input that was always
/// zero scores zero, so its weights go first.
public final class Wanda implements Solver {
    /// The one in [Solvers] serves everyone.
    public Wanda() {}

    @Override
    public String name() {
        return "wanda";
    }

    @Override
    public boolean updatesWeights() {
        return false;
    }

    @Override
    public boolean usesData() {
        return true;
    }

    @Override
    public long scratchBytes(long rows, long columns) {
        return rows * columns * Float.BYTES;
    }

    @Override
    public Solution solve(LayerProblem problem) {
        Tensor w = problem.weight();
        problem.requireFinite(this);
        try (Scratch scratch = problem.memory().child()) {
            Tensor scores = scratch.tensor(w.rows(), w.columns());
            scores(problem, scores);
            Mask mask = problem.pattern().project(scores, budget(problem), problem.workers());
            Masking.zeroPruned(w, mask, problem.workers());
        }
        return Solution.PLAIN;
    }

    /// S, into `scores` `[out, in]`.
    static void scores(LayerProblem problem, Tensor scores) {
        Tensor w = problem.weight();
        Gram gram = problem.gram();
        float[] norm = new float[w.columns()];
        for (int c = 0; c < norm.length; c++) {
            norm[c] = (float) Math.sqrt((float) (gram.diagonal(c) / gram.sequences()));
        }
        problem.workers().rows(w.rows(), 1, (from, to, thread) -> {
            float[] row = new float[w.columns()];
            for (int r = from; r < to; r++) {
                Rows.read(w, r, 0, row, row.length);
                for (int c = 0; c < row.length; c++) {
                    row[c] = Math.abs(row[c]) * norm[c];
                }
                Rows.write(row, row.length, scores, r, 0);
            }
        });
    }

    /// What each row loses.
    static Budget budget(LayerProblem problem) {
        Tensor w = problem.weight();
        return problem.referenceQuirks()
                ? Budget.exact(w.rows() * (long) (w.columns() * problem.sparsity()), Granularity.ROW)
                : problem.exactBudget(Granularity.ROW);
    }
}
