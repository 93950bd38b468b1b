package dev.espalier.tensor;

import java.util.Arrays;
import java.util.Objects;

/// One bit per weight of a `[rows, columns]` matrix; 1 = kept.
///
/// Each row starts at a word of its own; bit `c & 63` of word `c >> 6` of a row is column `c`. Bits past the last
/// column are zero.
public final class Mask {
    private final int rows;
    private final int columns;
    private final int wordsPerRow;
    private final long[] words;

    /// A mask that keeps nothing.
    public Mask(int rows, int columns) {
        this.rows = rows;
        this.columns = columns;
        this.wordsPerRow = (columns + 63) >>> 6;
        this.words = new long[Math.multiplyExact(rows, wordsPerRow)];
    }

    /// The mask of the non-zero elements of `weights`; -0.0 is a zero.
    public static Mask of(Tensor weights) {
        Mask mask = new Mask(weights.rows(), weights.columns());
        for (int row = 0; row < mask.rows; row++) {
            for (int column = 0; column < mask.columns; column++) {
                if (weights.get(row, column) != 0f) {
                    mask.keep(row, column);
                }
            }
        }
        return mask;
    }

    public int rows() {
        return rows;
    }

    public int columns() {
        return columns;
    }

    public boolean kept(int row, int column) {
        Objects.checkIndex(column, columns);
        return (words[row * wordsPerRow + (column >>> 6)] >>> column & 1) != 0;
    }

    public void keep(int row, int column) {
        Objects.checkIndex(column, columns);
        words[row * wordsPerRow + (column >>> 6)] |= 1L << column;
    }

    public void prune(int row, int column) {
        Objects.checkIndex(column, columns);
        words[row * wordsPerRow + (column >>> 6)] &= ~(1L << column);
    }

    /// Columns `64 * word` to `64 * word + 63` of `row`, lowest column in the lowest bit.
    public long word(int row, int word) {
        return words[row * wordsPerRow + Objects.checkIndex(word, wordsPerRow)];
    }

    /// Number of kept weights.
    public long count() {
        long count = 0;
        for (long word : words) {
            count += Long.bitCount(word);
        }
        return count;
    }

    /// Number of kept weights in `row`.
    public int count(int row) {
        int count = 0;
        for (int word = 0; word < wordsPerRow; word++) {
            count += Long.bitCount(words[row * wordsPerRow + word]);
        }
        return count;
    }

    /// Fraction of pruned weights, 0 to 1.
    public double sparsity() {
        long size = (long) rows * columns;
        return size == 0 ? 0 : 1 - (double) count() / size;
    }

    @Override
    public boolean equals(Object other) {
        return other instanceof Mask mask
                && mask.rows == rows
                && mask.columns == columns
                && Arrays.equals(mask.words, words);
    }

    @Override
    public int hashCode() {
        return Arrays.hashCode(words);
    }
}
