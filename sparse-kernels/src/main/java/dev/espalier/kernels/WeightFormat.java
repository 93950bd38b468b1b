package dev.espalier.kernels;

import dev.espalier.tensor.Tensor;

/// How a weight matrix lies in memory: packs a dense one into a [Linear].
///
/// Formats are listed in `WeightFormats`; the contract tests run over that list. In files every packed matrix has one
/// canonical form (a mask and the kept values, row by row), whatever the format: a machine's own tiling is made at load.
///
/// Most formats are exact: they hold every weight as it is. Those whose name ends in `-int8` round the weights when they
/// pack them ([#exact] is false). Such a matrix is for computing: files are written from the weights that were packed,
/// never from it.
public interface WeightFormat {
    /// The name that options, reports and files use: `dense`, `bitmask`, `csr`, `2:4`, `bitmask-int8`.
    String name();

    /// Whether packing keeps every weight, bit by bit (a -0.0 may become a 0.0), and its element type. If not, each is
    /// rounded to the nearest of 255 multiples of a scale, and moves by at most half of the scale; zeros stay zeros.
    default boolean exact() {
        return true;
    }

    /// Why a matrix with these zeros cannot be packed, as a clause, as in "row 3 keeps 3 of columns 8 to 11"; null when it
    /// can: without losing any weight if the format is [#exact], with every weight rounded if it is not.
    String refuses(Tensor dense);

    /// Packs `dense` `[out, in]` of type F32, BF16 or F16; the result owns its memory, and its type is that of `dense` if
    /// the format is [#exact], otherwise I8.
    ///
    /// @throws IllegalArgumentException if [#refuses] gives a reason
    Linear pack(Tensor dense);
}
