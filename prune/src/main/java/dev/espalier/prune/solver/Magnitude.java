package dev.espalier.prune.solver;

import dev.espalier.prune.pattern.Budget;
import dev.espalier.prune.pattern.Budget.Granularity;
import dev.espalier.prune.pattern.Budget.Ties;
import dev.espalier.tensor.Mask;
import dev.espalier.tensor.Tensor;

/// Prunes the weights of least magnitude, ranked over the whole layer; what is left stays as it was.
///
/// Score of weight `W[r, c]`: |W[r, c]|. The baseline of all pruning (Han et al. 2015); needs no data. With
/// `referenceQuirks` the unstructured count is that of the code released with Wanda and SparseGPT: everything up to the
/// ⌊out · in · sparsity⌋-th magnitude (from 0) goes, ties included, so at least one weight more.
public final class Magnitude implements Solver {
    /// The one in [Solvers] serves everyone.
    public Magnitude() {}

    @Override
    public String name() {
        return "magnitude";
    }

    @Override
    public boolean updatesWeights() {
        return false;
    }

    @Override
    public boolean usesData() {
        return false;
    }

    @Override
    public Solution solve(LayerProblem problem) {
        Tensor w = problem.weight();
        Budget budget = problem.referenceQuirks()
                ? new Budget((long) (w.size() * problem.sparsity()), Granularity.MATRIX, Ties.ALL)
                : problem.exactBudget(Granularity.MATRIX);
        Mask mask = problem.pattern().project(w, budget, problem.workers());
        Masking.zeroPruned(w, mask, problem.workers());
        return Solution.PLAIN;
    }
}
