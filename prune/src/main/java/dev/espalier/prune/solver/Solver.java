package dev.espalier.prune.solver;

/// Prunes one layer: chooses which weights go, and may change those that stay.
///
/// Solvers are stateless and listed in [Solvers]. The result depends on the problem alone: it is the same for any number
/// of threads. Biases are no solver's business.
public interface Solver {
    /// The name in options and reports: `wanda`.
    String name();

    /// Whether it needs to know the layer's inputs. One that does not prunes without calibration.
    boolean usesData();

    /// Whether weights that stay may change. If not, they are what they were, to the bit.
    boolean updatesWeights();

    /// The method's own damping, a fraction of the Gram matrix's mean diagonal; NaN if it has none.
    default double damping() {
        return Double.NaN;
    }

    /// Bytes that it keeps beside an input's Gram matrix, for all layers that read that input.
    default long sharedBytes(long columns) {
        return 0;
    }

    /// Bytes that it takes while it works on one layer, beside the layer itself and [#sharedBytes].
    default long scratchBytes(long rows, long columns) {
        return 0;
    }

    /// Multiplications for one layer, roughly.
    default double multiplications(long rows, long columns) {
        return (double) rows * columns;
    }

    /// Overwrites `problem.weight()` with the pruned weights, zeros in place.
    ///
    /// @throws SolverException if it cannot, naming the layer
    Solution solve(LayerProblem problem);
}
