package dev.espalier.prune.solver;

/// Rows of a layer by the tile, so that scratch memory does not grow with the number of rows and a tile stays in cache
/// between a pass over its elements and the product that reads them.
final class Tiles {
    /// Rows of a tile: a multiple of what the matrix product takes at a time.
    private static final int ROWS = 384;

    /// What is done with rows `from` (inclusive) to `to` (exclusive).
    @FunctionalInterface
    interface Body {
        void run(int from, int to);
    }

    private Tiles() {}

    /// The most rows of one tile.
    static int height(long rows) {
        return (int) Math.min(ROWS, rows);
    }

    /// Runs `body` over all tiles in order.
    static void forEach(int rows, Body body) {
        for (int from = 0; from < rows; from += ROWS) {
            body.run(from, Math.min(rows, from + ROWS));
        }
    }
}
