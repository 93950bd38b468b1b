package dev.espalier.prune.solver;

import dev.espalier.kernels.simd.Workers;
import dev.espalier.prune.calibrate.Gram;
import dev.espalier.prune.calibrate.Scratch;
import dev.espalier.tensor.InputException;
import dev.espalier.tensor.Mask;
import dev.espalier.tensor.Tensor;
import java.util.Arrays;
import java.util.Locale;
import java.util.stream.Collectors;

/// What is done to a layer after any solver: it minimizes ‖X(Ŵ − W)ᵀ‖² + λ‖Ŵ − W‖² further, in ways that keep the pattern
/// and the number of zeros.
///
/// λ is the solver's damping where it has one. Weights of inputs that were always zero stay as they are.
public enum Refinement {
    /// Nothing.
    NONE,
    /// The best weights on the solver's support, by conjugate gradients ([ConjugateGradients]): until an output's residual is
    /// 1e-5 of ‖[W (XᵀX + λI)]_S‖ or less, at most 200 steps. Costs a product with the Gram matrix a step.
    PCG,
    /// The same exactly, by a Cholesky factor for each output ([Backsolve]): kept³ / 6 multiplications an output.
    BACKSOLVE,
    /// A better support: a kept and a pruned weight of one output change places as long as that helps ([Swap]).
    SWAP;

    /// λ as a fraction of XᵀX's mean diagonal, where the solver has none.
    public static final double DAMPING = 0.01;

    private static final int PCG_ITERATIONS = 200;
    private static final double PCG_TOLERANCE = 1e-5;

    /// The name in options and reports.
    public String text() {
        return name().toLowerCase(Locale.ROOT);
    }

    /// The refinement of this name.
    ///
    /// @throws InputException if there is none
    public static Refinement named(String text) {
        return Arrays.stream(values())
                .filter(refinement -> refinement.text().equals(text))
                .findFirst()
                .orElseThrow(() -> new InputException("refine '" + text + "' is not known; known: "
                        + Arrays.stream(values()).map(Refinement::text).collect(Collectors.joining(", "))));
    }

    /// Bytes of scratch memory for one layer.
    public long scratchBytes(long rows, long columns) {
        long square = columns * columns * Float.BYTES;
        long scaled = rows * columns * Float.BYTES;
        return switch (this) {
            case NONE -> 0;
            case PCG -> square + scaled + ConjugateGradients.scratchBytes(rows, columns);
            case BACKSOLVE -> square + 2L * Tiles.height(rows) * columns * Float.BYTES;
            case SWAP -> square + 2L * Tiles.height(rows) * columns * Float.BYTES;
        };
    }

    /// Multiplications for one layer, roughly.
    public double multiplications(long rows, long columns, double sparsity) {
        double product = (double) rows * columns * columns;
        return switch (this) {
            case NONE -> 0;
            case PCG -> 30 * product;
            case BACKSOLVE -> product + rows * Math.pow((1 - sparsity) * columns, 3) / 6;
            case SWAP -> 4 * product;
        };
    }

    /// Refines `problem.weight()`, which a solver pruned, in place.
    ///
    /// @param problem the layer; its damping is λ
    /// @param dense the weights before pruning, `[out, in]`
    /// @param keepsValues whether kept weights are the dense ones and shall be
    /// @return what the user should know, a clause; null if nothing
    /// @throws SolverException if it cannot, naming the layer
    public String refine(LayerProblem problem, Tensor dense, boolean keepsValues) {
        Tensor w = problem.weight();
        if (this == NONE || Mask.of(w).count() == w.size()) {
            return null;
        }
        double asked = problem.damping();
        return Damping.retry(problem, text(), asked, damping -> {
                    Scaling scaling = Scaling.of(problem.gram(), damping);
                    try (Scratch scratch = problem.memory().child()) {
                        Tensor a = scratch.tensor(w.columns(), w.columns());
                        scaling.fill(a, 0, problem.workers());
                        float[] norms = liveNorms(scaling);
                        switch (this) {
                            case NONE -> {}
                            case PCG -> conjugateGradients(problem, dense, a, norms, scratch);
                            case BACKSOLVE -> new Backsolve(problem, dense, a, norms).solve(scratch);
                            case SWAP -> new Swap(problem, dense, a, norms, keepsValues).search(scratch);
                        }
                    }
                    return this;
                })
                .note(asked);
    }

    /// The norms of inputs; 0 for those that were always zero.
    private static float[] liveNorms(Scaling scaling) {
        Gram gram = scaling.gram();
        float[] norms = scaling.norms().clone();
        for (int j = 0; j < norms.length; j++) {
            norms[j] = gram.dead(j) ? 0f : norms[j];
        }
        return norms;
    }

    private static void conjugateGradients(
            LayerProblem problem, Tensor dense, Tensor a, float[] norms, Scratch scratch) {
        Tensor w = problem.weight();
        Workers workers = problem.workers();
        Mask support = Mask.of(w);
        Tensor x = scratch.tensor(w.rows(), w.columns());
        Rows.map(w, 0, x, workers, (r, row) -> {
            for (int j = 0; j < row.length; j++) {
                row[j] *= norms[j];
            }
        });
        new ConjugateGradients(PCG_ITERATIONS, PCG_TOLERANCE).solve(problem, a, norms, dense, x, support, scratch);
        Rows.map(x, 0, x, workers, () -> {
            float[] before = new float[w.columns()];
            return (r, row) -> {
                Rows.read(w, r, 0, before, before.length);
                for (int j = 0; j < row.length; j++) {
                    row[j] = norms[j] > 0 && before[j] != 0 ? row[j] / norms[j] : before[j];
                }
                Rows.write(row, row.length, w, r, 0);
            };
        });
    }
}
