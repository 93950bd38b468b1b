package dev.espalier.prune.pattern;

import dev.espalier.kernels.simd.Workers;
import dev.espalier.tensor.Mask;
import dev.espalier.tensor.Tensor;

/// Which weights of a layer may be pruned together: anywhere, or so many of each group of consecutive inputs.
///
/// A solver scores the weights, and every solver asks the same [#project] which of them go. Counts are exact, and ties
/// are broken by position (the lowest index is pruned first), so that a mask depends on nothing but the scores.
public sealed interface Pattern permits Unstructured, NOfM {
    /// The name in options, reports and files: `unstructured`, or `2:4` and the like.
    String name();

    /// How many weights of a `[rows, columns]` matrix are pruned for `sparsity`, a fraction 0 to 1 (which an N:M pattern
    /// ignores, since it has its own).
    long pruned(int rows, int columns, double sparsity);

    /// Why this pattern cannot be laid over rows of `columns` inputs, as a clause, or null if it can.
    String refuses(int columns);

    /// The mask that prunes the lowest of `scores` `[out, in]` (F32, on the host, finite; their absolute values count)
    /// as `budget` says. The threads of `workers` share the rows; the mask does not depend on their number.
    ///
    /// @throws IllegalArgumentException if [#refuses] gives a reason, or the budget is not within the matrix
    Mask project(Tensor scores, Budget budget, Workers workers);

    /// [#project(Tensor, Budget, Workers)] on the calling thread alone.
    default Mask project(Tensor scores, Budget budget) {
        return project(scores, budget, Threshold.ALONE);
    }

    /// The pattern that `text` names: `unstructured`, or `N:M` with 0 < N < M.
    ///
    /// @throws InputException if it names none
    static Pattern parse(String text) {
        return text.equals("unstructured") ? Unstructured.INSTANCE : NOfM.parse(text);
    }
}
