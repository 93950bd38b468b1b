package dev.espalier.prune.pattern;

import dev.espalier.kernels.simd.Workers;
import dev.espalier.tensor.DType;
import dev.espalier.tensor.Mask;
import dev.espalier.tensor.Tensor;
import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import java.util.Objects;

/// Any weight may be pruned.
public record Unstructured() implements Pattern {
    /// All of them are equal; this is one.
    public static final Unstructured INSTANCE = new Unstructured();

    @Override
    public String name() {
        return "unstructured";
    }

    @Override
    public long pruned(int rows, int columns, double sparsity) {
        return Math.round((double) rows * columns * sparsity);
    }

    @Override
    public String refuses(int columns) {
        return null;
    }

    @Override
    public Mask project(Tensor scores, Budget budget, Workers workers) {
        Objects.checkFromToIndex(0, budget.pruned(), scores.size());
        Mask mask = new Mask(scores.rows(), scores.columns());
        switch (budget.granularity()) {
            case MATRIX -> overMatrix(scores, budget, workers, mask);
            case ROW -> overRows(scores, budget.pruned(), workers, mask);
        }
        return mask;
    }

    private static void overMatrix(Tensor scores, Budget budget, Workers workers, Mask mask) {
        if (budget.ties() == Budget.Ties.ALL && budget.pruned() < scores.size()) {
            int last = Threshold.of(scores, budget.pruned() + 1, workers).bits();
            long[] all = new long[scores.rows()];
            Arrays.fill(all, Long.MAX_VALUE);
            apply(scores, last, all, workers, mask);
            return;
        }
        Threshold threshold = Threshold.of(scores, budget.pruned(), workers);
        long[] ties = new long[scores.rows()];
        workers.rows(scores.rows(), 1, (from, to, thread) -> {
            int[] bits = new int[scores.columns()];
            for (int row = from; row < to; row++) {
                Threshold.read(scores, row, bits);
                for (int value : bits) {
                    ties[row] += value == threshold.bits() ? 1 : 0;
                }
            }
        });
        long left = threshold.ties();
        for (int row = 0; row < ties.length; row++) {
            ties[row] = Math.min(ties[row], left);
            left -= ties[row];
        }
        apply(scores, threshold.bits(), ties, workers, mask);
    }

    /// Keeps what scores more than `threshold`, and what equals it after the first `ties[row]` of a row.
    private static void apply(Tensor scores, int threshold, long[] ties, Workers workers, Mask mask) {
        workers.rows(scores.rows(), 1, (from, to, thread) -> {
            int[] bits = new int[scores.columns()];
            for (int row = from; row < to; row++) {
                Threshold.read(scores, row, bits);
                keep(bits, threshold, ties[row], mask, row);
            }
        });
    }

    private static void keep(int[] bits, int threshold, long ties, Mask mask, int row) {
        for (int column = 0; column < bits.length; column++) {
            boolean tied = bits[column] == threshold;
            if (bits[column] > threshold || tied && ties <= 0) {
                mask.keep(row, column);
            }
            ties -= tied ? 1 : 0;
        }
    }

    private static void overRows(Tensor scores, long pruned, Workers workers, Mask mask) {
        int rows = scores.rows();
        if (rows == 0) {
            return;
        }
        int each = (int) (pruned / rows);
        int[] oneMore = new int[rows];
        long remainder = pruned % rows;
        if (remainder > 0) {
            int[] next = new int[rows];
            workers.rows(rows, 1, (from, to, thread) -> {
                for (int row = from; row < to; row++) {
                    next[row] = Threshold.of(scores.slice(row, row + 1), each + 1, Threshold.ALONE)
                            .bits();
                }
            });
            Threshold lowest = Threshold.of(asRow(next), remainder, Threshold.ALONE);
            long ties = lowest.ties();
            for (int row = 0; row < rows; row++) {
                boolean tied = next[row] == lowest.bits();
                oneMore[row] = next[row] < lowest.bits() || tied && ties-- > 0 ? 1 : 0;
            }
        }
        workers.rows(rows, 1, (from, to, thread) -> {
            int[] bits = new int[scores.columns()];
            for (int row = from; row < to; row++) {
                Threshold threshold = Threshold.of(scores.slice(row, row + 1), each + oneMore[row], Threshold.ALONE);
                Threshold.read(scores, row, bits);
                keep(bits, threshold.bits(), threshold.ties(), mask, row);
            }
        });
    }

    private static Tensor asRow(int[] bits) {
        return Tensor.of(DType.F32, 1, bits.length, MemorySegment.ofArray(bits));
    }
}
