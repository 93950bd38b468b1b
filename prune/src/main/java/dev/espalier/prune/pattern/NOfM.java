package dev.espalier.prune.pattern;

import dev.espalier.kernels.simd.Workers;
import dev.espalier.tensor.InputException;
import dev.espalier.tensor.Mask;
import dev.espalier.tensor.Tensor;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Arrays;
import java.util.regex.Matcher;

/// N:M keeps `n` of each `m` consecutive inputs of an output: 2:4 is 50 % sparse, 1:4 is 75 %.
///
/// The code released with Wanda, SparseGPT and DSnoT counts the *pruned* weights in N, that of ALPS the kept ones; here N
/// is always what is kept.
///
/// @param n weights kept in a group, at least 1
/// @param m weights in a group, more than `n`
public record NOfM(int n, int m) implements Pattern {
    /// Up to this size of a group, counting is faster than sorting.
    private static final int COUNTED = 16;

    private static final java.util.regex.Pattern SYNTAX = java.util.regex.Pattern.compile("(\\d{1,9}):(\\d{1,9})");

    /// @throws InputException if a group keeps nothing or everything
    public NOfM {
        if (n < 1 || n >= m) {
            throw new InputException(("pattern %d:%d does not prune part of each group;"
                            + " N:M keeps N of M consecutive weights, with 0 < N < M, as in 2:4")
                    .formatted(n, m));
        }
    }

    /// The pattern that `text` names, as in `2:4`.
    ///
    /// @throws InputException if it is none
    public static NOfM parse(String text) {
        Matcher matcher = SYNTAX.matcher(text);
        if (!matcher.matches()) {
            throw new InputException("pattern '" + text + "' is not N:M; write N:M with 0 < N < M, as in 2:4"
                    + " (keeps 2 of 4 consecutive weights)");
        }
        return new NOfM(Integer.parseInt(matcher.group(1)), Integer.parseInt(matcher.group(2)));
    }

    @Override
    public String name() {
        return n + ":" + m;
    }

    /// The fraction of weights it prunes.
    public double sparsity() {
        return (double) (m - n) / m;
    }

    @Override
    public long pruned(int rows, int columns, double sparsity) {
        return (long) rows * (columns / m) * (m - n);
    }

    @Override
    public String refuses(int columns) {
        return columns % m == 0 ? null : columns + " columns are not a multiple of " + m;
    }

    @Override
    public Mask project(Tensor scores, Budget budget, Workers workers) {
        if (refuses(scores.columns()) != null) {
            throw new IllegalArgumentException(refuses(scores.columns()));
        }
        Mask mask = new Mask(scores.rows(), scores.columns());
        workers.rows(scores.rows(), 1, (from, to, thread) -> {
            float[] row = new float[scores.columns()];
            boolean[] pruned = new boolean[row.length];
            for (int r = from; r < to; r++) {
                MemorySegment.copy(
                        scores.segment(), ValueLayout.JAVA_FLOAT_UNALIGNED, 4L * r * row.length, row, 0, row.length);
                for (int group = 0; group < row.length; group += m) {
                    prune(row, group, pruned);
                }
                for (int column = 0; column < row.length; column++) {
                    if (!pruned[column]) {
                        mask.keep(r, column);
                    }
                }
            }
        });
        return mask;
    }

    /// Chooses the lowest `m - n` of the group `scores[at]` to `scores[at + m - 1]` (absolute values count; the lowest
    /// index of equals first), and sets `pruned` there, true or false.
    public void prune(float[] scores, int at, boolean[] pruned) {
        if (m > COUNTED) {
            pruneLarge(scores, at, pruned);
            return;
        }
        for (int i = at; i < at + m; i++) {
            float score = Math.abs(scores[i]);
            int lower = 0;
            for (int other = at; other < at + m; other++) {
                float value = Math.abs(scores[other]);
                lower += value < score || value == score && other < i ? 1 : 0;
            }
            pruned[i] = lower < m - n;
        }
    }

    /// The same for large groups, where counting what is lower than each would take the square of the group.
    private void pruneLarge(float[] scores, int at, boolean[] pruned) {
        float[] values = new float[m];
        for (int i = 0; i < m; i++) {
            values[i] = Math.abs(scores[at + i]);
        }
        Arrays.sort(values);
        float last = values[m - n - 1];
        int below = 0;
        for (int i = at; i < at + m; i++) {
            below += Math.abs(scores[i]) < last ? 1 : 0;
        }
        int ties = m - n - below;
        for (int i = at; i < at + m; i++) {
            float score = Math.abs(scores[i]);
            pruned[i] = score < last || score == last && ties-- > 0;
        }
    }
}
