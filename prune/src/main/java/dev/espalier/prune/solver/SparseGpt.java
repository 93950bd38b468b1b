package dev.espalier.prune.solver;

import dev.espalier.kernels.LinearAlgebra.Matrix;
import dev.espalier.prune.calibrate.Gram;
import dev.espalier.prune.calibrate.Scratch;
import dev.espalier.prune.pattern.Budget;
import dev.espalier.prune.pattern.Budget.Granularity;
import dev.espalier.prune.pattern.Budget.Ties;
import dev.espalier.prune.pattern.NOfM;
import dev.espalier.prune.pattern.Unstructured;
import dev.espalier.tensor.DType;
import dev.espalier.tensor.Mask;
import dev.espalier.tensor.Tensor;
import java.util.Arrays;

/// SparseGPT: prunes column by column and lets the columns to the right make up for what was lost (Frantar and Alistarh
/// 2023, algorithm 1).
///
/// The paper's letters: `W` `[out, in]` the weights; `H` = (2 / sequences) XᵀX + λI; `U` the upper Cholesky factor of its
/// inverse, H⁻¹ = UᵀU, so that `U[j, j]`² = [(H_{j:, j:})⁻¹]_{jj}; `B` = 128, the block of columns within which updates
/// are made at once, the columns right of it getting theirs together, as a matrix product. The score of a weight is
/// `W[r, j]`² / `U[j, j]`². Unstructured, the mask is chosen when a block begins, ranked over all rows of the block; N:M,
/// when a group begins, from the values updated so far.
///
/// Where it differs from the code released with the paper:
/// - counts are exact (the released code prunes one weight and all ties more in each block; `referenceQuirks` does too);
/// - `B` is the largest multiple of M up to 128, at least M, so that no group straddles two blocks (released: 2:4 and
///   4:8 only);
/// - `U` is had without the inverse, by factoring H from its last column backwards, which is the same matrix;
/// - if H has no Cholesky factor, the damping grows tenfold, up to 1, and the note says so.
///
/// Inputs that were always zero get a diagonal of 1, and their weights become zeros, whether the mask asks for them or not.
public final class SparseGpt implements Solver {
    /// The paper's λ, a fraction of H's mean diagonal.
    private static final double DAMPING = 0.01;

    private static final int BLOCK = 128;

    /// The one in [Solvers] serves everyone.
    public SparseGpt() {}

    @Override
    public String name() {
        return "sparsegpt";
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
        return Math.max(columns * columns, rows * BLOCK) * Float.BYTES;
    }

    @Override
    public double multiplications(long rows, long columns) {
        return 0.5 * columns * columns * (rows + columns);
    }

    @Override
    public Solution solve(LayerProblem problem) {
        Gram gram = problem.gram();
        problem.requireFinite(this);
        double asked = Double.isNaN(problem.damping()) ? DAMPING : problem.damping();
        Damping.Outcome<Tensor> factor = gram.once("sparsegpt " + asked, memory -> {
            Tensor u = memory.tensor(gram.features(), gram.features());
            return Damping.retry(problem, name(), asked, damping -> factor(problem, damping, u));
        });
        double objective = prune(problem, factor.result());
        return new Solution(factor.damping(), objective, Double.NaN, factor.note(asked));
    }

    private static Tensor factor(LayerProblem problem, double damping, Tensor u) {
        Gram gram = problem.gram();
        try (Scratch scratch = problem.memory().child()) {
            Tensor h = scratch.tensor(u.rows(), u.columns());
            gram.copyTo(h, 2.0 / gram.sequences());
            damp(h, gram, damping);
            problem.algebra().upperCholeskyOfInverse(h, u);
            return u;
        }
    }

    private static void damp(Tensor h, Gram gram, double damping) {
        int n = h.rows();
        double mean = 0;
        for (int j = 0; j < n; j++) {
            if (gram.dead(j)) {
                h.set(j, j, 1f);
            }
            mean += h.get(j, j) / n;
        }
        for (int j = 0; j < n; j++) {
            h.set(j, j, (float) (h.get(j, j) + damping * mean));
        }
    }

    private static double prune(LayerProblem problem, Tensor u) {
        Tensor w = problem.weight();
        int rows = w.rows();
        int n = w.columns();
        zeroDead(problem);
        int block = problem.pattern() instanceof NOfM(int kept, int m) ? Math.max(m, BLOCK / m * m) : BLOCK;
        double[] loss = new double[rows];
        try (Scratch scratch = problem.memory().child()) {
            Tensor errorsRoom = scratch.tensor(rows, block);
            for (int i1 = 0; i1 < n; i1 += block) {
                int i2 = Math.min(n, i1 + block);
                Tensor errors = Tensor.of(DType.F32, rows, i2 - i1, errorsRoom.segment());
                Mask mask = problem.pattern() instanceof Unstructured ? chooseMask(problem, u, i1, i2, errors) : null;
                pruneBlock(problem, u, i1, i2, mask, errors, loss);
                Matrix right = Matrix.of(u).rows(i1, i2).columns(i2, n);
                problem.algebra()
                        .gemm(
                                -1f,
                                Matrix.of(errors),
                                false,
                                right,
                                false,
                                1f,
                                Matrix.of(w).columns(i2, n));
            }
        }
        return Arrays.stream(loss).sum();
    }

    /// W[:, j] = 0 for every input j that was always zero.
    private static void zeroDead(LayerProblem problem) {
        Tensor w = problem.weight();
        for (int j = 0; j < w.columns(); j++) {
            if (problem.gram().dead(j)) {
                for (int r = 0; r < w.rows(); r++) {
                    w.set(r, j, 0f);
                }
            }
        }
    }

    /// The mask of columns `i1` to `i2`, ranked over all their rows; `scores` `[out, i2 - i1]` is scratch.
    private static Mask chooseMask(LayerProblem problem, Tensor u, int i1, int i2, Tensor scores) {
        Tensor w = problem.weight();
        int count = i2 - i1;
        problem.workers().rows(w.rows(), 1, (from, to, thread) -> {
            float[] row = new float[count];
            for (int r = from; r < to; r++) {
                Rows.read(w, r, i1, row, count);
                for (int j = 0; j < count; j++) {
                    row[j] = score(row[j], u.get(i1 + j, i1 + j));
                }
                Rows.write(row, count, scores, r, 0);
            }
        });
        return problem.pattern().project(scores, blockBudget(problem, i1, i2), problem.workers());
    }

    /// The share of columns `i1` to `i2` in the layer's budget; the shares of all blocks add up to it exactly.
    private static Budget blockBudget(LayerProblem problem, int i1, int i2) {
        int rows = problem.weight().rows();
        if (problem.referenceQuirks()) {
            return new Budget((long) ((long) rows * (i2 - i1) * problem.sparsity()), Granularity.MATRIX, Ties.ALL);
        }
        long before = problem.pattern().pruned(rows, i1, problem.sparsity());
        return Budget.exact(problem.pattern().pruned(rows, i2, problem.sparsity()) - before, Granularity.MATRIX);
    }

    private static float score(float weight, float diagonal) {
        return weight * weight / (diagonal * diagonal);
    }

    /// Prunes columns `i1` to `i2`, the rows independently of each other: leaves Q in W and what each pruned weight
    /// could not be replaced by in `errors` `[out, i2 - i1]`; adds each row's squared errors to `loss`.
    private static void pruneBlock(
            LayerProblem problem, Tensor u, int i1, int i2, Mask mask, Tensor errors, double[] loss) {
        Tensor w = problem.weight();
        int count = i2 - i1;
        float[][] ub = new float[count][count];
        for (int j = 0; j < count; j++) {
            Rows.read(u, i1 + j, i1, ub[j], count);
        }
        problem.workers().rows(w.rows(), 1, (from, to, thread) -> {
            float[] b = new float[count];
            float[] e = new float[count];
            float[] scores = new float[count];
            boolean[] pruned = new boolean[count];
            for (int r = from; r < to; r++) {
                Rows.read(w, r, i1, b, count);
                for (int j = 0; j < count; j++) {
                    if (problem.pattern() instanceof NOfM group && j % group.m() == 0) {
                        for (int k = j; k < j + group.m(); k++) {
                            scores[k] = score(b[k], ub[k][k]);
                        }
                        group.prune(scores, j, pruned);
                    } else if (mask != null) {
                        pruned[j] = !mask.kept(r, j);
                    }
                    e[j] = 0f;
                    if (pruned[j]) {
                        e[j] = b[j] / ub[j][j];
                        subtract(e[j], ub[j], b, j, count);
                        b[j] = 0f;
                        loss[r] += (double) e[j] * e[j];
                    }
                }
                Rows.write(b, count, w, r, i1);
                Rows.write(e, count, errors, r, 0);
            }
        });
    }

    /// b[from .. to) -= e · u[from .. to).
    private static void subtract(float e, float[] u, float[] b, int from, int to) {
        for (int k = from; k < to; k++) {
            b[k] -= e * u[k];
        }
    }
}
