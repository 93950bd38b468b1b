package dev.espalier.kernels.simd;

import java.lang.foreign.MemorySegment;

/// A weight matrix `[rows, columns]` = `[out, in]` that can be read in float32 panels, whatever its stored format.
///
/// [Gemm] computes `y = x Wᵀ` with it: tokens lie along the vector lanes, weights are broadcast one at a time, so a panel
/// is plain row-major float32 and no format has to transpose anything. Each panel is expanded once per chunk of up to
/// about a thousand tokens, into a scratch of some 50 KB that stays in the second-level cache, and then used for every
/// token of the chunk. A call costs as much as streaming the panel's stored bytes, if the expansion is vectorized.
///
/// ```
///   panel, for rows r0 = rowFrom .. and columns c0 = colFrom ..   (one cell = one float32, native order)
///
///              c0      c0+1    ...                        colTo-1        stride
///   r0      | w       | w     | ...                     | w     | slack |
///   r0+1    | w       | w     | ...                     | w     | slack |
///   ...
///   rowTo-1 | w       | w     | ...                     | w     | slack |
///   (slack rows up to a multiple of 16)
/// ```
///
/// Several threads expand different panels of one source at the same time: an implementation keeps no state.
public interface PanelSource {
    /// Every panel starts at a multiple of this many rows, and ends at one or at the last row.
    int ROW_ALIGNMENT = 16;

    /// Every panel starts at a multiple of this many columns, and ends at one or at the last column.
    int COLUMN_ALIGNMENT = 64;

    /// Output features of the matrix.
    int rows();

    /// Input features of the matrix.
    int columns();

    /// Writes the block `[rowFrom, rowTo) x [colFrom, colTo)` as float32, zeros included: nothing may be left unwritten.
    ///
    /// The element at row `r`, column `c` goes to float index `(r - rowFrom) * stride + (c - colFrom)` of `panel`.
    ///
    /// @param rowFrom first row, a multiple of [#ROW_ALIGNMENT]
    /// @param rowTo past the last row: a multiple of [#ROW_ALIGNMENT], or [#rows()]; at most 48 rows after `rowFrom`
    /// @param colFrom first column, a multiple of [#COLUMN_ALIGNMENT]
    /// @param colTo past the last column: a multiple of [#COLUMN_ALIGNMENT], or [#columns()]
    /// @param panel scratch of the caller, 64-byte aligned, holding whatever was there before. The cells marked slack in
    ///     the figure exist and may be overwritten with anything: columns up to the next multiple of
    ///     [#COLUMN_ALIGNMENT], rows up to the next multiple of [#ROW_ALIGNMENT]
    /// @param stride floats from one row of the panel to the next, a multiple of 16
    void expand(int rowFrom, int rowTo, int colFrom, int colTo, MemorySegment panel, int stride);
}
