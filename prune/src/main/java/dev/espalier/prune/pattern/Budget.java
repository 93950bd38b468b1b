package dev.espalier.prune.pattern;

/// How many weights of one layer are pruned, and against which others each is compared.
///
/// @param pruned weights that are pruned in the whole layer; N:M patterns ignore it, they have their own count
/// @param granularity what is ranked together
/// @param ties what happens to weights that score the same as the last one pruned
public record Budget(long pruned, Granularity granularity, Ties ties) {
    /// What is ranked together. A matrix-wide ranking leaves the rows differently dense, a ranking by row does not.
    public enum Granularity {
        /// All weights of the layer.
        MATRIX,
        /// The weights of one output, that is, of one row: each row loses the same number. What does not divide goes to
        /// the rows with the lowest next score, one more in each.
        ROW
    }

    /// What happens to weights that score the same as the last one pruned.
    public enum Ties {
        /// As many as the budget says are pruned, the lowest index first.
        LOWEST_INDEX,
        /// All that score up to the `pruned`-th lowest (counted from 0) are pruned, so one more than the budget, and all
        /// its ties: what the code released with the papers of magnitude pruning and SparseGPT does.
        ALL
    }

    /// A budget whose count is exact.
    public static Budget exact(long pruned, Granularity granularity) {
        return new Budget(pruned, granularity, Ties.LOWEST_INDEX);
    }
}
