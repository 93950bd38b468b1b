package dev.espalier.prune.solver;

import dev.espalier.kernels.NonFiniteException;
import dev.espalier.kernels.NotPositiveDefiniteException;
import java.util.function.DoubleFunction;

/// What happens when a Gram matrix has no Cholesky factor: the damping grows tenfold, at least to 0.001 and at most to 1,
/// and the layer's note says so.
final class Damping {
    private static final double MOST = 1;
    private static final double LEAST_STEP = 0.001;

    private Damping() {}

    /// What came of a damping that was enough.
    record Outcome<T>(T result, double damping) {
        /// The clause for the user; null if what was asked for was enough.
        String note(double asked) {
            return damping == asked ? null : "damping grew from %s to %s".formatted(asked, damping);
        }
    }

    /// `attempt`, first with the damping `asked`, then with more until its matrices have their factors.
    ///
    /// @throws SolverException if not even the most is enough, or a matrix holds NaN or infinity
    static <T> Outcome<T> retry(LayerProblem problem, String method, double asked, DoubleFunction<T> attempt) {
        for (double damping = asked; ; damping = Math.min(MOST, Math.max(damping * 10, LEAST_STEP))) {
            try {
                return new Outcome<>(attempt.apply(damping), damping);
            } catch (NotPositiveDefiniteException e) {
                if (damping >= MOST) {
                    throw new SolverException(
                            ("%s, %s: the inputs' Gram matrix has no Cholesky factor even with damping %s (pivot %d of"
                                            + " %d); use more calibration samples or another --damping")
                                    .formatted(
                                            problem.name(),
                                            method,
                                            damping,
                                            e.pivot(),
                                            problem.gram().features()),
                            e);
                }
            } catch (NonFiniteException e) {
                throw new SolverException("%s, %s: %s".formatted(problem.name(), method, e.getMessage()), e);
            }
        }
    }
}
