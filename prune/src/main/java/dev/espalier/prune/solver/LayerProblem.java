package dev.espalier.prune.solver;

import dev.espalier.kernels.LinearAlgebra;
import dev.espalier.kernels.simd.Workers;
import dev.espalier.prune.calibrate.Gram;
import dev.espalier.prune.calibrate.Scratch;
import dev.espalier.prune.pattern.Budget;
import dev.espalier.prune.pattern.Pattern;
import dev.espalier.tensor.Tensor;

/// One linear layer to be pruned.
///
/// @param name block and projection, for messages: `block 3, projection DOWN`
/// @param weight `[out, in]`, F32 on the host, scratch: the solver overwrites it with the pruned weights
/// @param gram what the layer's inputs were; null if the solver [uses no data][Solver#usesData]
/// @param pattern which weights may go together
/// @param sparsity fraction of weights to prune, 0 to 1, if the pattern leaves that open
/// @param damping added to the Gram matrix's diagonal, as a fraction of its mean; NaN for the method's own value
/// @param referenceQuirks counts and ties as the paper's released code has them, instead of exact ones
/// @param algebra dense algebra
/// @param workers threads for everything else
/// @param memory where the solver takes its scratch memory from, and gives it back to
public record LayerProblem(
        String name,
        Tensor weight,
        Gram gram,
        Pattern pattern,
        double sparsity,
        double damping,
        boolean referenceQuirks,
        LinearAlgebra algebra,
        Workers workers,
        Scratch memory) {

    /// The same layer with another damping.
    public LayerProblem withDamping(double other) {
        return new LayerProblem(
                name, weight, gram, pattern, sparsity, other, referenceQuirks, algebra, workers, memory);
    }

    /// The exact budget of the whole layer.
    Budget exactBudget(Budget.Granularity granularity) {
        return Budget.exact(pattern.pruned(weight.rows(), weight.columns(), sparsity), granularity);
    }

    /// @throws SolverException if the layer's inputs held NaN or an infinity
    void requireFinite(Solver solver) {
        if (!gram.finite()) {
            throw new SolverException(
                    "%s, %s: the layer's calibration inputs contain NaN or infinity (or overflow float32); check the model's weights"
                            .formatted(name, solver.name()));
        }
    }
}
