package dev.espalier.prune.solver;

import dev.espalier.kernels.LinearAlgebra.Matrix;
import dev.espalier.kernels.simd.Workers;
import dev.espalier.prune.calibrate.Scratch;
import dev.espalier.prune.pattern.Budget;
import dev.espalier.prune.pattern.Budget.Granularity;
import dev.espalier.prune.pattern.Unstructured;
import dev.espalier.tensor.Mask;
import dev.espalier.tensor.Tensor;
import java.util.function.Consumer;

/// ALPS: splits weights and sparsity by the alternating direction method of multipliers, stiffens the tie between them
/// until the support settles, and solves for the weights on it by conjugate gradients (Meng, Behdin, Wang and Mazumder
/// 2024, algorithms 1 and 2).
///
/// The paper's letters, here `[out, in]` where the paper has columns for outputs: `Ŵ` the dense weights, in the
/// coordinates of [Scaling] (equation 27), whose Gram matrix is `A`; `G` = Ŵ A; `P` keeps the largest weights that the
/// pattern allows, ranked over the whole layer; `W` the weights that fit, `D` the ones that are sparse, `V` the dual
/// variable that pulls them together, `ρ` the penalty on their distance. One iteration (equation 4):
///
/// - W = (G − V + ρD) (A + ρI)⁻¹
/// - D = P(W + V / ρ)
/// - V = V + ρ (W − D)
///
/// D lives on the support and V beside it, so one matrix holds both. Every third iteration looks at how much of the support
/// has changed since the last look and raises ρ by 1.3, 1.2 or 1.1: the less has changed, the more gently (section 3.2). A
/// start that moves nothing was too stiff: it begins again with ρ / 5. It ends when the support stays, or nearly so after
/// 30 iterations, or after 300.
///
/// As in the released code, and not in the paper: D starts from P(Ŵ); the softer restart; the last two of the three ends;
/// λ is a fraction of XᵀX's *mean* diagonal; step sizes of the conjugate gradients are each output's own. Where this
/// differs from the released code:
/// - (A + ρI)⁻¹ comes from a Cholesky factor, not from eigenvectors, which gives the same error to four digits;
/// - the support is D's, not that of W's largest, which are the same where the iterates have met;
/// - inputs that were always zero count as zero weights;
/// - if a matrix has no Cholesky factor, the damping grows tenfold, up to 1, and the note says so.
public final class Alps implements Solver {
    private static final double DAMPING = 0.01;
    private static final double FIRST_RHO = 0.1;
    private static final double MOST_RHO = 1e6;
    private static final int MOST_ITERATIONS = 300;
    private static final int LOOK_EVERY = 3;
    private static final int SETTLED_AFTER = 30;
    private static final double SETTLED = 3e-4;
    private static final int CG_ITERATIONS = 10;

    private final double fixedRho;
    private final int iterations;
    private final Consumer<Step> listener;

    /// The one in [Solvers] serves everyone.
    public Alps() {
        this(Double.NaN, MOST_ITERATIONS, null);
    }

    private Alps(double fixedRho, int iterations, Consumer<Step> listener) {
        this.fixedRho = fixedRho;
        this.iterations = iterations;
        this.listener = listener;
    }

    /// How far an iteration brought it.
    ///
    /// @param iteration from 1
    /// @param rho ρ in this iteration
    /// @param primalResidual ‖W − D‖_F / ‖Ŵ‖_F
    /// @param gradient ‖G − W A‖_F / ‖Ŵ‖_F. The distance of two iterations' V is at most the sum of theirs, which bounds
    ///     ρ times the primal residual (theorem 1)
    /// @param supportChange weights that entered or left D's support in this iteration, divided by those it keeps
    /// @param lookedChange the same since the last look at the support; NaN if there was none in this iteration
    /// @param nextRho ρ of the next iteration
    /// @param relativeError ‖X(D − Ŵ)ᵀ‖_F / ‖XŴᵀ‖_F
    public record Step(
            int iteration,
            double rho,
            double primalResidual,
            double gradient,
            double supportChange,
            double lookedChange,
            double nextRho,
            double relativeError) {}

    /// The same method, telling `listener` of every iteration; which costs two matrices of the layer's size, another of A's
    /// and two products an iteration.
    public Alps heardBy(Consumer<Step> listener) {
        return new Alps(fixedRho, iterations, listener);
    }

    /// The method with one `rho` for all of its `iterations`, as in the paper's table 5: for comparison.
    public Alps withFixedRho(double rho, int iterations) {
        return new Alps(rho, iterations, listener);
    }

    @Override
    public String name() {
        return "alps";
    }

    @Override
    public boolean usesData() {
        return true;
    }

    @Override
    public boolean updatesWeights() {
        return true;
    }

    @Override
    public double damping() {
        return DAMPING;
    }

    @Override
    public long scratchBytes(long rows, long columns) {
        long iterating = (rows + Tiles.height(rows)) * columns * Float.BYTES;
        return (columns + rows) * columns * Float.BYTES
                + Math.max(iterating, ConjugateGradients.scratchBytes(rows, columns));
    }

    /// Of some 36 iterations.
    @Override
    public double multiplications(long rows, long columns) {
        return (48.0 * rows + 12 * columns) * columns * columns;
    }

    @Override
    public Solution solve(LayerProblem problem) {
        problem.requireFinite(this);
        if (budget(problem).pruned() == 0) {
            return Solution.PLAIN;
        }
        double asked = Double.isNaN(problem.damping()) ? DAMPING : problem.damping();
        Damping.Outcome<Double> done =
                Damping.retry(problem, name(), asked, damping -> new Run(problem, damping).run());
        return new Solution(done.damping(), Double.NaN, done.result(), done.note(asked));
    }

    private static Budget budget(LayerProblem problem) {
        if (problem.referenceQuirks() && problem.pattern() instanceof Unstructured) {
            long size = problem.weight().size();
            return Budget.exact(size - (long) Math.rint((1 - problem.sparsity()) * size), Granularity.MATRIX);
        }
        return problem.exactBudget(Granularity.MATRIX);
    }

    /// One layer with one damping.
    private final class Run {
        private final LayerProblem problem;
        private final Workers workers;
        private final Tensor weight;
        private final int rows;
        private final int n;
        private final Budget budget;
        private final Scaling scaling;
        private final float[] norms;

        Run(LayerProblem problem, double damping) {
            this.problem = problem;
            this.workers = problem.workers();
            this.weight = problem.weight();
            this.rows = weight.rows();
            this.n = weight.columns();
            this.budget = budget(problem);
            this.scaling = Scaling.of(problem.gram(), damping);
            this.norms = scaling.norms().clone();
            for (int j = 0; j < n && !problem.referenceQuirks(); j++) {
                norms[j] = problem.gram().dead(j) ? 0f : norms[j];
            }
        }

        /// The change that the last look at the support saw; the pruned weights are in `problem.weight()` then, and not before.
        double run() {
            try (Scratch scratch = problem.memory().child()) {
                Tensor k = scratch.tensor(n, n);
                Tensor z = scratch.tensor(rows, n);
                Mask support;
                double lastChange = Double.NaN;
                try (Scratch loop = scratch.child()) {
                    Tensor g = loop.tensor(rows, n);
                    Tensor tile = loop.tensor(Tiles.height(rows), n);
                    Trace trace = listener == null ? null : new Trace(loop);
                    scaling.fill(k, 0, workers);
                    Tiles.forEach(rows, (from, to) -> {
                        Tensor dense = tile.slice(0, to - from);
                        dense(from, dense);
                        problem.algebra().gemm(dense, false, k, false, g.slice(from, to));
                    });
                    dense(0, z);
                    Mask start = problem.pattern().project(z, budget, workers);
                    restart(z, start);
                    support = start;
                    Mask looked = start;
                    boolean started = false;
                    double rho = Double.isNaN(fixedRho) ? FIRST_RHO : fixedRho;
                    double last = rho;
                    invert(k, rho);
                    for (int t = 1; t <= iterations; t++) {
                        step(g, k, z, support, rho, last, tile, trace);
                        Mask next = problem.pattern().project(z, budget, workers);
                        double stepChange = change(support, next);
                        support = next;
                        last = rho;
                        double seen = Double.NaN;
                        boolean ended = false;
                        if (t % LOOK_EVERY == 0 && Double.isNaN(fixedRho)) {
                            seen = change(looked, support);
                            looked = support;
                            lastChange = seen;
                            if (seen > 0) {
                                if (started || seen > 0.005) {
                                    started = true;
                                    rho = Math.min(MOST_RHO, rho * (seen > 0.1 ? 1.3 : seen > 0.005 ? 1.2 : 1.1));
                                } else {
                                    rho /= 5;
                                    support = start;
                                    dense(0, z);
                                    restart(z, start);
                                }
                            } else {
                                ended = started;
                                rho = started ? rho : rho / 5;
                            }
                            ended |= t > SETTLED_AFTER && seen < SETTLED;
                        }
                        if (trace != null) {
                            trace.tell(t, last, rho, stepChange, seen, g, z, support);
                        }
                        if (ended) {
                            break;
                        }
                        if (rho != last) {
                            invert(k, rho);
                        }
                    }
                }
                finish(k, z, support, scratch);
                return lastChange;
            }
        }

        /// Rows `from` and on of Ŵ.
        private void dense(int from, Tensor target) {
            Rows.map(weight, from, target, workers, (r, row) -> {
                for (int j = 0; j < n; j++) {
                    row[j] *= norms[j];
                }
            });
        }

        /// D = Ŵ on `support`, V = 0.
        private void restart(Tensor z, Mask support) {
            Rows.map(z, 0, z, workers, () -> {
                float[] keep = new float[n];
                return (r, row) -> {
                    Rows.read(support, r, keep);
                    for (int j = 0; j < n; j++) {
                        row[j] *= keep[j];
                    }
                };
            });
        }

        private void invert(Tensor k, double rho) {
            scaling.fill(k, rho, workers);
            problem.algebra().inverseSpd(k);
        }

        /// `z` = W + V / ρ. Before, it holds D on the support and V / `last` beside it, `last` being the ρ of the iteration
        /// that left them there.
        private void step(
                Tensor g, Tensor k, Tensor z, Mask support, double rho, double last, Tensor tile, Trace trace) {
            float on = (float) rho;
            float off = (float) -last;
            float kept = (float) (last / rho);
            Tiles.forEach(rows, (from, to) -> {
                Tensor right = tile.slice(0, to - from);
                Tensor left = z.slice(from, to);
                Rows.map(g, from, right, workers, () -> {
                    float[] old = new float[n];
                    float[] keep = new float[n];
                    return (r, row) -> {
                        Rows.read(z, r, 0, old, n);
                        Rows.read(support, r, keep);
                        for (int j = 0; j < n; j++) {
                            row[j] += old[j] * (off + (on - off) * keep[j]);
                            old[j] *= kept * (1 - keep[j]);
                        }
                        Rows.write(old, n, z, r, 0);
                    };
                });
                if (trace != null) {
                    trace.weights(right, k, from, to);
                }
                problem.algebra().gemm(1f, Matrix.of(right), false, Matrix.of(k), false, 1f, Matrix.of(left));
            });
        }

        /// Weights that `a` and `b` treat differently, divided by the number kept.
        private double change(Mask a, Mask b) {
            long different = 0;
            for (int r = 0; r < rows; r++) {
                for (int word = 0; word < (n + Long.SIZE - 1) / Long.SIZE; word++) {
                    different += Long.bitCount(a.word(r, word) ^ b.word(r, word));
                }
            }
            return (double) different / Math.max(1, weight.size() - budget.pruned());
        }

        /// The best weights on `support`, begun from D; `k` is scratch.
        private void finish(Tensor k, Tensor z, Mask support, Scratch memory) {
            Rows.map(z, 0, z, workers, () -> {
                float[] keep = new float[n];
                return (r, row) -> {
                    Rows.read(support, r, keep);
                    for (int j = 0; j < n; j++) {
                        row[j] *= keep[j];
                    }
                };
            });
            scaling.fill(k, 0, workers);
            new ConjugateGradients(CG_ITERATIONS, 0).solve(problem, k, norms, weight, z, support, memory);
            Rows.map(z, 0, weight, workers, (r, row) -> {
                for (int j = 0; j < n; j++) {
                    row[j] = row[j] == 0 ? 0f : row[j] / norms[j];
                }
            });
        }

        /// What the listener hears, computed from matrices of its own.
        private final class Trace {
            private final Tensor a;
            private final Tensor w;
            private final Tensor product;
            private final double size;
            private final double energy;

            Trace(Scratch scratch) {
                a = scratch.tensor(n, n);
                w = scratch.tensor(rows, n);
                product = scratch.tensor(rows, n);
                scaling.fill(a, 0, workers);
                dense(0, w);
                problem.algebra().gemm(w, false, a, false, product);
                size = Math.sqrt(dot(w, w, false));
                energy = dot(w, product, false) - dot(w, w, true);
            }

            void weights(Tensor right, Tensor k, int from, int to) {
                problem.algebra().gemm(right, false, k, false, w.slice(from, to));
            }

            void tell(int t, double rho, double next, double change, double seen, Tensor g, Tensor z, Mask support) {
                Rows.map(g, 0, product, workers, (r, row) -> {});
                problem.algebra().gemm(-1f, Matrix.of(w), false, Matrix.of(a), false, 1f, Matrix.of(product));
                double gradient = Math.sqrt(dot(product, product, false));
                Rows.map(z, 0, product, workers, (r, row) -> {
                    for (int j = 0; j < n; j++) {
                        row[j] = w.get(r, j) - (support.kept(r, j) ? row[j] : 0f);
                    }
                });
                double residual = Math.sqrt(dot(product, product, false));
                Rows.map(z, 0, w, workers, (r, row) -> {
                    for (int j = 0; j < n; j++) {
                        row[j] = (support.kept(r, j) ? row[j] : 0f) - weight.get(r, j) * norms[j];
                    }
                });
                problem.algebra().gemm(w, false, a, false, product);
                double lost = dot(w, product, false) - dot(w, w, true);
                listener.accept(new Step(
                        t,
                        rho,
                        residual / size,
                        gradient / size,
                        change,
                        seen,
                        next,
                        Math.sqrt(Math.max(0, lost) / energy)));
            }

            /// Σ x ∘ y; with `ridge`, what the damping adds to an energy: each input times λ / e².
            private double dot(Tensor x, Tensor y, boolean ridge) {
                double sum = 0;
                float[] left = new float[n];
                float[] right = new float[n];
                for (int r = 0; r < rows; r++) {
                    Rows.read(x, r, 0, left, n);
                    Rows.read(y, r, 0, right, n);
                    for (int j = 0; j < n; j++) {
                        double e = scaling.norms()[j];
                        sum += (double) left[j] * right[j] * (ridge ? scaling.lambda() / e / e : 1);
                    }
                }
                return sum;
            }
        }
    }
}
