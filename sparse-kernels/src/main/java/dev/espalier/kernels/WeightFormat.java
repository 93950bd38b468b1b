package dev.espalier.kernels;

import dev.espalier.tensor.Tensor;

/// How a weight matrix lies in memory: packs a dense one into a [Linear].
///
/// Formats are listed in `WeightFormats`; the contract tests run over that list. In files every packed matrix has one
/// canonical form (a mask and the kept values, row by row), whatever the format: a machine's own tiling is made at load.
public interface WeightFormat {
    /// The name that options, reports and files use: `dense`, `bitmask`, `csr`, `2:4`.
    String name();

    /// Whether a matrix with these zeros can be packed without losing any weight: null when it can, otherwise the
    /// reason as a clause, as in "row 3 keeps 3 of columns 8 to 11".
    String refuses(Tensor dense);

    /// Packs `dense` `[out, in]`, keeping its element type; the result owns its memory.
    ///
    /// @throws IllegalArgumentException if [#refuses] gives a reason
    Linear pack(Tensor dense);
}
