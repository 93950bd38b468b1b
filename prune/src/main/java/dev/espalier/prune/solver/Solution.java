package dev.espalier.prune.solver;

/// How a solver came to its result, which is in the problem's weight.
///
/// @param damping what was added to the Gram matrix's diagonal, a fraction of its mean; NaN if nothing
/// @param objective the method's own loss in its own units (SparseGPT: the sum of the squared errors e of all pruned
///     weights); NaN if it keeps none
/// @param supportChange weights that the method's last look at its support saw enter or leave it, divided by those kept; NaN
///     if it looks only once
/// @param note what the user should know, a clause; null if nothing
public record Solution(double damping, double objective, double supportChange, String note) {
    /// Nothing to tell.
    public static final Solution PLAIN = new Solution(Double.NaN, Double.NaN, Double.NaN, null);
}
