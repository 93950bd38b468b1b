package dev.espalier.kernels.cpu;

import dev.espalier.kernels.Linear;
import dev.espalier.kernels.simd.PanelSource;
import java.lang.foreign.MemorySegment;

/// A weight matrix that the CPU applies as it lies in memory: the packed matrix is the [Linear].
///
/// One token or a few are GEMVs over ranges of rows that threads come for; many tokens are a GEMM into whose float32 panels
/// the matrix expands itself.
public interface CpuLinear extends Linear, PanelSource {
    /// How [#multiply] wants the token's activations to lie.
    Input input();

    /// Ranges of rows that [#multiply] is given begin and end at multiples of this, or at the last row.
    int grain();

    /// y[r] = Σ W[r, c] x[c] for as many rows as lie in places `from` (inclusive) to `to` (exclusive): ranges that cover 0 to
    /// the number of rows write each row once, in an order of the format's own.
    ///
    /// @param x the token's activations as [#input] says, 64-byte aligned and padded as [Input] says
    /// @param y float32, all rows; only those of the range are written
    void multiply(MemorySegment x, MemorySegment y, int from, int to);

    /// Up to this many tokens, as many products are faster than to expand the matrix for a GEMM; at least one. A product is as
    /// fast as the second cache allows from the second token on; measured with `[576, 1536]` and `[2048, 5632]` (docs/benchmarks/cpu.md).
    int fewTokens();

    /// How a token's activations lie in memory; prepared once a token for all matrices that read them.
    enum Input {
        /// Float32 in order, followed by 64 zeros.
        PLAIN,
        /// Float32, each 32 columns as 16 even ones and then 16 odd ones, the last group filled with zeros, followed by 64
        /// zeros: a 32-bit lane that holds two 16-bit weights meets its two activations in two loads.
        EVEN_ODD,
        /// Float32, each 64 columns as 16 times the first of four, 16 times the second, the third, the fourth; the last group
        /// filled with zeros, followed by 64 zeros: for lanes that hold four 8-bit weights.
        BY_FOUR,
        /// Each float32 in two halves of 16 bits: all upper halves in order, and [#LOWER] bytes after the first of them all lower
        /// halves, each followed by 64 zeros: where one instruction looks up 32 halves and only 16 whole ones.
        HALVES;

        /// Bytes from the upper halves to the lower ones, which a matrix of more than 65536 columns would not fit into; no
        /// multiple of a page, so that both do not ask for the same places of a cache.
        public static final long LOWER = 2 * ((1 << 16) + 192);

        /// The bytes that so many columns and what follows them take.
        public long bytes(int columns) {
            return this == HALVES ? LOWER + 2L * padded(columns) : 4L * padded(columns);
        }

        /// The bytes from a column to the one `columns` further on, both multiples of 64.
        public long offset(int columns) {
            return (this == HALVES ? 2L : 4L) * columns;
        }

        /// So many columns, in whole groups, and what follows them.
        static int padded(int columns) {
            return Math.ceilDiv(columns, 64) * 64 + 128;
        }
    }
}
