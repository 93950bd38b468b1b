package dev.espalier.prune.solver;

import dev.espalier.prune.calibrate.Gram;
import dev.espalier.prune.calibrate.Scratch;
import dev.espalier.prune.pattern.NOfM;
import dev.espalier.tensor.Mask;
import dev.espalier.tensor.Tensor;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import java.util.stream.IntStream;

/// DSnoT: starts from Wanda's mask and lets weights change places as long as that brings the expected output back to the
/// dense one (Zhang et al. 2024, "Dynamic sparse no training", equations 3 to 6). What is left stays as it was.
///
/// The paper's letters, for one output: `W` its weights; m_c the sum of input c over the tokens of a sequence, averaged over
/// sequences; C_c = W_c · m_c what weight c contributes to the output's expected sum; ε = Σ C_c over the pruned weights,
/// the output's error; S Wanda's score. A cycle
///
/// - regrows the pruned weight whose C_c / var(x_c) has ε's sign and is largest in size,
/// - prunes a kept one that brings ε towards zero: the one of the lowest S among those with the other sign; with N:M, the
///   one of the lowest S in the regrown weight's group;
/// - until |ε| ≤ 0.1, in units of the outputs' sum over a sequence, or, with N:M, ε would change its sign; at most 50 times.
///
/// Made for inputs with a strong mean, as behind a ReLU; elsewhere, and from 70 % on, it may do worse than Wanda.
///
/// An output ends when it has no candidate of the right sign left, and inputs that were always zero are never regrown. With
/// `referenceQuirks`, as in the released code, counts are floored as Wanda's are; dead inputs are the first to be regrown
/// wherever ε is positive (their key is 0/0); and, unless the pattern is N:M, candidates run over to the other sign. (What
/// that code does to outputs that are done already, until all are, is left out: it differs where candidates run out only.)
public final class Dsnot implements Solver {
    private static final int MOST_CYCLES = 50;
    private static final double THRESHOLD = 0.1;

    /// The one in [Solvers] serves everyone.
    public Dsnot() {}

    @Override
    public String name() {
        return "dsnot";
    }

    @Override
    public boolean usesData() {
        return true;
    }

    @Override
    public boolean updatesWeights() {
        return false;
    }

    @Override
    public long scratchBytes(long rows, long columns) {
        return rows * columns * Float.BYTES;
    }

    @Override
    public Solution solve(LayerProblem problem) {
        problem.requireFinite(this);
        Tensor w = problem.weight();
        Gram gram = problem.gram();
        int n = w.columns();
        float[] mean = new float[n];
        float[] variance = new float[n];
        for (int c = 0; c < n; c++) {
            mean[c] = (float) (gram.sum(c) / gram.sequences());
            variance[c] = (float) gram.variance(c);
        }
        try (Scratch scratch = problem.memory().child()) {
            Tensor scores = scratch.tensor(w.rows(), n);
            Wanda.scores(problem, scores);
            Mask mask = problem.pattern().project(scores, Wanda.budget(problem), problem.workers());
            boolean released = problem.referenceQuirks() && !(problem.pattern() instanceof NOfM);
            problem.workers().rows(w.rows(), 1, (from, to, thread) -> {
                Output output = new Output(problem, mean, variance);
                for (int r = from; r < to; r++) {
                    output.read(w, scores, mask, r);
                    if (released) {
                        output.exchangeAsReleased();
                    } else {
                        output.exchange();
                    }
                    output.write(mask, r);
                }
            });
            Masking.zeroPruned(w, mask, problem.workers());
        }
        return Solution.PLAIN;
    }

    /// One output at a time.
    private static final class Output {
        private final int n;
        private final boolean quirks;
        private final int group;
        private final float[] mean;
        private final float[] variance;
        private final float[] contribution;
        private final float[] score;
        private final boolean[] kept;
        private final Candidates regrowPositive = new Candidates();
        private final Candidates regrowNegative = new Candidates();
        private final Candidates prunePositive = new Candidates();
        private final Candidates pruneNegative = new Candidates();

        Output(LayerProblem problem, float[] mean, float[] variance) {
            this.n = mean.length;
            this.quirks = problem.referenceQuirks();
            this.group = problem.pattern() instanceof NOfM pattern ? pattern.m() : 0;
            this.mean = mean;
            this.variance = variance;
            this.contribution = new float[n];
            this.score = new float[n];
            this.kept = new boolean[n];
        }

        void read(Tensor w, Tensor scores, Mask mask, int row) {
            Rows.read(w, row, 0, contribution, n);
            Rows.read(scores, row, 0, score, n);
            for (Candidates list : List.of(regrowPositive, regrowNegative, prunePositive, pruneNegative)) {
                list.clear();
            }
            for (int c = 0; c < n; c++) {
                contribution[c] *= mean[c];
                kept[c] = mask.kept(row, c);
                if (!kept[c]) {
                    score[c] = Float.POSITIVE_INFINITY;
                    if (contribution[c] < 0) {
                        regrowNegative.offer(c, contribution[c] / variance[c]);
                    }
                } else if (contribution[c] != 0) {
                    (contribution[c] > 0 ? prunePositive : pruneNegative).offer(c, score[c]);
                }
            }
            // From the end, so that of equals the last comes first, as at the end of a stable sort.
            for (int c = n - 1; c >= 0; c--) {
                if (quirks && variance[c] == 0) {
                    regrowPositive.offer(c, Float.NEGATIVE_INFINITY);
                } else if (!kept[c] && contribution[c] > 0) {
                    regrowPositive.offer(c, -contribution[c] / variance[c]);
                }
            }
        }

        /// Lets weights change places until the error is small or there is no candidate left.
        void exchange() {
            double error = 0;
            for (int c = 0; c < n; c++) {
                error += kept[c] ? 0 : contribution[c];
            }
            double sign = Math.signum(error);
            for (int cycle = 0; cycle < MOST_CYCLES && Math.abs(error) > THRESHOLD; cycle++) {
                int in = (error > 0 ? regrowPositive : regrowNegative).next();
                if (in < 0) {
                    return;
                }
                int out = group > 0 ? lowestOfGroup(in) : (error > 0 ? pruneNegative : prunePositive).next();
                if (out < 0) {
                    return;
                }
                double after = error + contribution[out] - contribution[in];
                if (group > 0 && Math.signum(after) != sign) {
                    return;
                }
                kept[out] = false;
                kept[in] = true;
                score[out] = Float.POSITIVE_INFINITY;
                error = after;
            }
        }

        /// The released loop over all candidates in their order, the error in float32.
        void exchangeAsReleased() {
            Integer[] regrowing = IntStream.range(0, n).boxed().toArray(Integer[]::new);
            float[] key = new float[n];
            double sum = 0;
            for (int c = 0; c < n; c++) {
                key[c] = (kept[c] ? 0f : contribution[c]) / variance[c] + 0f;
                sum += kept[c] ? 0 : contribution[c];
            }
            Arrays.sort(regrowing, Comparator.comparing(c -> key[c]));
            int[] pruning = pruningOrder();
            float error = (float) sum;
            int cycles = Math.min(MOST_CYCLES, Math.min(n, pruning.length));
            int high = n;
            int back = pruning.length;
            for (int cycle = 0, low = 0, front = 0; cycle < cycles && Math.abs(error) > THRESHOLD; cycle++) {
                int in = error > 0 ? regrowing[--high] : regrowing[low++];
                int out = error < 0 ? pruning[--back] : pruning[front++];
                kept[out] = false;
                kept[in] = true;
                error += contribution[out] - contribution[in];
            }
        }

        /// Kept weights: those with negative contribution by ascending score, then those with positive by descending.
        private int[] pruningOrder() {
            Integer[] byScore = IntStream.range(0, n)
                    .filter(c -> kept[c] && contribution[c] != 0)
                    .boxed()
                    .sorted(Comparator.comparing(c -> score[c]))
                    .toArray(Integer[]::new);
            int[] order = new int[byScore.length];
            int front = 0;
            int back = order.length;
            for (int c : byScore) {
                if (contribution[c] < 0) {
                    order[front++] = c;
                } else {
                    order[--back] = c;
                }
            }
            return order;
        }

        /// The kept weight of the lowest score in `column`'s group; -1 if none is left that was not regrown.
        private int lowestOfGroup(int column) {
            int first = column / group * group;
            int lowest = -1;
            for (int c = first; c < first + group; c++) {
                if (score[c] < (lowest < 0 ? Float.POSITIVE_INFINITY : score[lowest])) {
                    lowest = c;
                }
            }
            return lowest;
        }

        void write(Mask mask, int row) {
            for (int c = 0; c < n; c++) {
                if (kept[c]) {
                    mask.keep(row, c);
                } else {
                    mask.prune(row, c);
                }
            }
        }
    }

    /// The columns of the lowest keys, as many as there are cycles; of equals the one that was offered first.
    private static final class Candidates {
        private final int[] columns = new int[MOST_CYCLES];
        private final float[] keys = new float[MOST_CYCLES];
        private int count;
        private int taken;

        void clear() {
            count = 0;
            taken = 0;
        }

        void offer(int column, float key) {
            if (count == MOST_CYCLES && !(key < keys[count - 1])) {
                return;
            }
            int at = count < MOST_CYCLES ? count++ : count - 1;
            for (; at > 0 && keys[at - 1] > key; at--) {
                keys[at] = keys[at - 1];
                columns[at] = columns[at - 1];
            }
            keys[at] = key;
            columns[at] = column;
        }

        /// The next one, -1 if there is none.
        int next() {
            return taken < count ? columns[taken++] : -1;
        }
    }
}
