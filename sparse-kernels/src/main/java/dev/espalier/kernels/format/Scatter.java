package dev.espalier.kernels.format;

import dev.espalier.kernels.simd.Raw;
import dev.espalier.kernels.simd.Sums;
import dev.espalier.tensor.DType;
import java.lang.foreign.ValueLayout;

/// Writes the weights of blocks whose lanes are rows into panels of float32, as [Swell] and [NOfM] store them: index words,
/// then values, step by step.
///
/// ```
///   | words: 32 / field steps a word | values: 32-bit lanes, as many steps in each as fit |
/// ```
///
/// A slot that holds no weight, or one outside the panel, is written to a place that nobody reads: which slots those are is
/// not to be predicted, and a wrong guess costs more than a store.
final class Scatter {
    private final DType dtype;
    private final int lanes;
    private final int field;
    private final int wordSteps;
    /// How much further up the index of an odd step begins, and by how much a word is shifted after an even one.
    private final int odd;

    private final int afterEven;
    private final int steps;
    private final long firstValue;
    /// One a row for bytes, else null.
    private final float[] scales;
    /// The lanes that are wanted, and for each its row and the address of its columns in the panel.
    private final int[] wanted;

    private final int[] rows;
    private final long[] targets;
    private int count;

    /// Of blocks of `steps` steps and `lanes` rows. Indices have `field` bits, `wordSteps` of them a word: in order from its lowest
    /// bit on if `together` is 1; if it is 2, those of even steps so and those of odd steps from the middle on.
    Scatter(DType dtype, int lanes, int field, int wordSteps, int together, int steps, float[] scales) {
        this.dtype = dtype;
        this.lanes = lanes;
        this.field = field;
        this.wordSteps = wordSteps;
        odd = together == 2 ? 16 : 0;
        afterEven = together == 2 ? 0 : field;
        this.steps = steps;
        this.firstValue = 4L * lanes * Math.ceilDiv(steps, wordSteps);
        this.scales = scales;
        wanted = new int[lanes];
        rows = new int[lanes];
        targets = new long[lanes];
    }

    /// Wants no lane any more.
    void clear() {
        count = 0;
    }

    /// Wants lane `lane`, which is row `row`, at address `to`, where the panel's first column of that row lies.
    void add(int lane, int row, long to) {
        wanted[count] = lane;
        rows[count] = row;
        targets[count] = to;
        count++;
    }

    boolean isEmpty() {
        return count == 0;
    }

    /// The wanted lanes of the block at `block` into a panel of `columns` columns, which holds zeros where nothing is
    /// written; step s's indices count from column `bases[s]` of the panel, which may lie outside.
    void block(long block, int[] bases, int columns) {
        long nowhere = Sums.scratch();
        for (int i = 0; i < count; i++) {
            switch (dtype) {
                case F32 -> singles(block, wanted[i], bases, columns, targets[i], nowhere);
                case I8 -> bytes(block, wanted[i], bases, columns, targets[i], nowhere, scales[rows[i]]);
                default -> halves(block, wanted[i], bases, columns, targets[i], nowhere);
            }
        }
    }

    private void halves(long block, int lane, int[] bases, int columns, long to, long nowhere) {
        int shift = Weights.shift(dtype);
        int low = Weights.lowMask(dtype);
        float factor = Weights.scale(dtype) * Weights.scale(dtype);
        int mask = (1 << field) - 1;
        long value = block + firstValue + 4L * lane;
        long words = block + 4L * lane;
        for (int s = 0; s < steps; words += 4L * lanes) {
            int word = Raw.ALL.get(Raw.INT, words);
            for (int end = Math.min(steps, s + wordSteps); s < end; s++) {
                int bits = Raw.ALL.get(Raw.SHORT, value + 4L * lanes * (s >> 1) + 2L * (s & 1));
                int column = bases[s] + (word >>> (s & 1) * odd & mask);
                long at = bits != 0 & column >= 0 & column < columns ? to + 4L * column : nowhere;
                Raw.ALL.set(Raw.FLOAT, at, Float.intBitsToFloat(bits << 16 >> shift & low) * factor);
                word >>>= (s & 1) == 0 ? afterEven : field;
            }
        }
    }

    private void bytes(long block, int lane, int[] bases, int columns, long to, long nowhere, float scale) {
        int mask = (1 << field) - 1;
        long value = block + firstValue + 4L * lane;
        long words = block + 4L * lane;
        for (int s = 0; s < steps; words += 4L * lanes) {
            int word = Raw.ALL.get(Raw.INT, words);
            for (int end = Math.min(steps, s + wordSteps); s < end; s++) {
                int bits = Raw.ALL.get(ValueLayout.JAVA_BYTE, value + 4L * lanes * (s >> 2) + (s & 3));
                int column = bases[s] + (word >>> (s & 1) * odd & mask);
                long at = bits != 0 & column >= 0 & column < columns ? to + 4L * column : nowhere;
                Raw.ALL.set(Raw.FLOAT, at, bits * scale);
                word >>>= (s & 1) == 0 ? afterEven : field;
            }
        }
    }

    private void singles(long block, int lane, int[] bases, int columns, long to, long nowhere) {
        int mask = (1 << field) - 1;
        long value = block + firstValue + 4L * lane;
        long words = block + 4L * lane;
        for (int s = 0; s < steps; words += 4L * lanes) {
            int word = Raw.ALL.get(Raw.INT, words);
            for (int end = Math.min(steps, s + wordSteps); s < end; s++) {
                int bits = Raw.ALL.get(Raw.INT, value + 4L * lanes * s);
                int column = bases[s] + (word >>> (s & 1) * odd & mask);
                long at = bits != 0 & column >= 0 & column < columns ? to + 4L * column : nowhere;
                Raw.ALL.set(Raw.INT, at, bits);
                word >>>= (s & 1) == 0 ? afterEven : field;
            }
        }
    }
}
