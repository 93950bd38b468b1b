package dev.espalier.prune.solver;

import dev.espalier.kernels.LinearAlgebra.Matrix;
import dev.espalier.prune.calibrate.Scratch;
import dev.espalier.prune.pattern.Budget;
import dev.espalier.prune.pattern.Budget.Granularity;
import dev.espalier.prune.pattern.NOfM;
import dev.espalier.prune.pattern.Unstructured;
import dev.espalier.tensor.Mask;
import dev.espalier.tensor.Tensor;

/// ADMM-Grad: prunes gradually while the alternating direction method of multipliers re-fits the weights (Boža 2024,
/// "Fast and effective weight update for pruned large language models", algorithms 1 and 2).
///
/// The paper's letters, here `[out, in]` where the paper has columns for outputs: `E` = diag(‖X_j‖ + 1e-8), in whose
/// coordinates the dense weights are `B̂` = W E and the Gram matrix `A` = E⁻¹ XᵀX E⁻¹ + 0.1 · mean(diag) · I; `G` = B̂ A;
/// `K` = (A + ρI)⁻¹ with ρ = 1; `B` the weights, `Z` their pruned copy, `U` the scaled dual variable. Twenty rounds of
///
/// - the mask of |B + U|, in the first 15 rounds only, for the sparsity s_t = s − s (1 − t / 15)³, t = 1 … 15 (equation 6);
/// - Z = (B + U) ∘ mask; U = U + B − Z; B = (G + ρ (Z − U)) K;
///
/// and the result is ((B + U) ∘ mask) E⁻¹. Z lives where the mask keeps and U where it prunes, so that one matrix, B + U,
/// holds both. With N:M, the N best of a group are safe from the gradual schedule, which ranks all others.
///
/// The code released with the paper computes the schedule but ranks for the final sparsity from the first round on, if
/// the pattern is unstructured; `referenceQuirks` does too. (Its groups are of 4 whatever was asked for; here never.)
public final class AdmmGrad implements Solver {
    private static final double DAMPING = 0.1;
    private static final double RHO = 1;
    private static final int ROUNDS = 20;
    private static final int PRUNING_ROUNDS = 15;

    /// The one in [Solvers] serves everyone.
    public AdmmGrad() {}

    @Override
    public String name() {
        return "admm-grad";
    }

    @Override
    public boolean updatesWeights() {
        return true;
    }

    @Override
    public boolean usesData() {
        return true;
    }

    @Override
    public double damping() {
        return DAMPING;
    }

    @Override
    public long sharedBytes(long columns) {
        return columns * columns * Float.BYTES;
    }

    @Override
    public long scratchBytes(long rows, long columns) {
        return (columns * columns + (2 * rows + Tiles.height(rows)) * columns) * Float.BYTES;
    }

    @Override
    public double multiplications(long rows, long columns) {
        return ((ROUNDS + 1.0) * rows + columns) * columns * columns;
    }

    @Override
    public Solution solve(LayerProblem problem) {
        problem.requireFinite(this);
        if (problem.exactBudget(Granularity.MATRIX).pruned() == 0) {
            return Solution.PLAIN;
        }
        double damping = Double.isNaN(problem.damping()) ? DAMPING : problem.damping();
        Scaling scaling = Scaling.of(problem.gram(), 0);
        double ridge = damping * scaling.meanScaledDiagonal();
        Damping.Outcome<Tensor> k = problem.gram()
                .once(
                        "admm-grad " + damping,
                        memory -> Damping.retry(problem, name(), damping, ignored -> {
                            Tensor a = memory.tensor(
                                    problem.weight().columns(), problem.weight().columns());
                            scaling.fill(a, ridge + RHO, problem.workers());
                            problem.algebra().inverseSpd(a);
                            return a;
                        }));
        prune(problem, scaling, ridge, k.result());
        return new Solution(damping, Double.NaN, Double.NaN, null);
    }

    private static void prune(LayerProblem problem, Scaling scaling, double ridge, Tensor k) {
        Tensor w = problem.weight();
        int rows = w.rows();
        int n = w.columns();
        float[] e = scaling.norms();
        try (Scratch scratch = problem.memory().child()) {
            Tensor g = scratch.tensor(rows, n);
            Tensor tile = scratch.tensor(Tiles.height(rows), n);
            Rows.map(w, 0, w, problem.workers(), (r, row) -> {
                for (int j = 0; j < n; j++) {
                    row[j] *= e[j];
                }
            });
            try (Scratch once = scratch.child()) {
                Tensor a = once.tensor(n, n);
                scaling.fill(a, ridge, problem.workers());
                problem.algebra().gemm(w, false, a, false, g);
            }
            Tensor sum = w;
            Mask mask = null;
            for (int t = 0; t < ROUNDS; t++) {
                if (t < PRUNING_ROUNDS) {
                    mask = mask(problem, sum, t + 1, scratch);
                }
                step(problem, sum, mask, g, k, tile);
            }
            Mask last = mask;
            Rows.map(sum, 0, w, problem.workers(), (r, row) -> {
                for (int j = 0; j < n; j++) {
                    row[j] = last.kept(r, j) ? row[j] / e[j] : 0f;
                }
            });
        }
    }

    /// `sum` = B + U: from the last round's, whose Z is where `mask` keeps and whose U is where it prunes, to the next one's.
    private static void step(LayerProblem problem, Tensor sum, Mask mask, Tensor g, Tensor k, Tensor tile) {
        int n = sum.columns();
        Tiles.forEach(sum.rows(), (from, to) -> {
            Tensor right = tile.slice(0, to - from);
            Rows.map(g, from, right, problem.workers(), () -> {
                float[] s = new float[n];
                float[] keep = new float[n];
                return (r, row) -> {
                    Rows.read(sum, r, 0, s, n);
                    Rows.read(mask, r, keep);
                    for (int j = 0; j < n; j++) {
                        row[j] += (float) RHO * s[j] * (2 * keep[j] - 1);
                        s[j] *= 1 - keep[j];
                    }
                    Rows.write(s, n, sum, r, 0);
                };
            });
            problem.algebra()
                    .gemm(1f, Matrix.of(right), false, Matrix.of(k), false, 1f, Matrix.of(sum.slice(from, to)));
        });
    }

    /// The mask of round `t`, from 1.
    private static Mask mask(LayerProblem problem, Tensor sum, int t, Scratch memory) {
        long all = problem.exactBudget(Granularity.MATRIX).pruned();
        double left = 1 - (double) t / PRUNING_ROUNDS;
        long now = t == PRUNING_ROUNDS ? all : (long) (all * (1 - left * left * left));
        if (!(problem.pattern() instanceof NOfM)) {
            return problem.pattern()
                    .project(
                            sum,
                            problem.referenceQuirks()
                                    ? Budget.exact((long) (sum.size() * problem.sparsity()), Granularity.MATRIX)
                                    : Budget.exact(now, Granularity.MATRIX),
                            problem.workers());
        }
        Mask best = problem.pattern().project(sum, problem.exactBudget(Granularity.MATRIX), problem.workers());
        try (Scratch scratch = memory.child()) {
            Tensor scores = scratch.tensor(sum.rows(), sum.columns());
            Rows.map(sum, 0, scores, problem.workers(), (r, row) -> {
                for (int j = 0; j < row.length; j++) {
                    row[j] = best.kept(r, j) ? Float.POSITIVE_INFINITY : row[j];
                }
            });
            return Unstructured.INSTANCE.project(scores, Budget.exact(now, Granularity.MATRIX), problem.workers());
        }
    }
}
