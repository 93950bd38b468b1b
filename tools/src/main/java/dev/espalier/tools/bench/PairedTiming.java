package dev.espalier.tools.bench;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.function.DoubleSupplier;
import java.util.function.IntConsumer;

/// Times several pieces of work against the first of them.
///
/// The memory bandwidth of a machine moves from minute to minute, so times taken one after the other say little. Here the
/// works take turns in every round, forth and back, and what counts is the median over the rounds of the ratio within a
/// round.
///
/// @param seconds the median time of one run
/// @param ratio how many times faster than the first work: the median of the paired ratios
/// @param ratioMin the smallest paired ratio
/// @param ratioMax the largest
/// @param readable bytes that memory could have given in the time of one run: the median over the rounds of that time by
///     the mean of the bandwidth measured just before and just after; NaN where it was not measured
public record PairedTiming(double seconds, double ratio, double ratioMin, double ratioMax, double readable) {
    /// Times `works`, each run as often as it takes to fill `seconds` in each of `rounds`, after a warm-up.
    ///
    /// @param progress hears the number of rounds done
    public static List<PairedTiming> of(List<Runnable> works, int rounds, double seconds, IntConsumer progress) {
        return of(works, works.size(), rounds, seconds, progress, () -> Double.NaN);
    }

    /// The same for several groups of `group` works in one list, all taking turns; each group is timed against its own
    /// first work.
    ///
    /// @param bandwidth measures how fast memory is read, GB/s; between all turns
    static List<PairedTiming> of(
            List<Runnable> works,
            int group,
            int rounds,
            double seconds,
            IntConsumer progress,
            DoubleSupplier bandwidth) {
        int[] repeats = new int[works.size()];
        for (int i = 0; i < repeats.length; i++) {
            repeats[i] = warmUp(works.get(i), seconds);
        }
        double[][] times = new double[works.size()][rounds];
        double[][] readable = new double[works.size()][rounds];
        double before = bandwidth.getAsDouble();
        for (int round = 0; round < rounds; round++) {
            for (int turn = 0; turn < works.size(); turn++) {
                int i = round % 2 == 0 ? turn : works.size() - 1 - turn;
                times[i][round] = time(works.get(i), repeats[i]);
                double after = bandwidth.getAsDouble();
                readable[i][round] = times[i][round] * (before + after) / 2 * 1e9;
                before = after;
            }
            progress.accept(round + 1);
        }
        List<PairedTiming> results = new ArrayList<>();
        for (int i = 0; i < times.length; i++) {
            double[] own = times[i];
            double[] first = times[i / group * group];
            double[] ratios = new double[rounds];
            for (int round = 0; round < rounds; round++) {
                ratios[round] = first[round] / own[round];
            }
            Arrays.sort(ratios);
            results.add(
                    new PairedTiming(median(own), median(ratios), ratios[0], ratios[rounds - 1], median(readable[i])));
        }
        return results;
    }

    /// The same for one of the `own` equal parts of each run, where the first work's runs have `first` of them.
    PairedTiming divided(int own, int first) {
        double share = (double) own / first;
        return new PairedTiming(seconds / own, ratio * share, ratioMin * share, ratioMax * share, readable / own);
    }

    /// The middle of `values`, or the mean of the two in the middle.
    public static double median(double... values) {
        double[] sorted = values.clone();
        Arrays.sort(sorted);
        int middle = sorted.length / 2;
        return sorted.length % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
    }

    /// The same of a list.
    static double median(List<Double> values) {
        return median(values.stream().mapToDouble(Double::doubleValue).toArray());
    }

    /// Runs `work` for about twice `seconds`, or half a second if that is more (but at most 20 times `seconds`), for the
    /// compiler, and returns how many runs fill `seconds`.
    private static int warmUp(Runnable work, double seconds) {
        double last = time(work, 1);
        double spent = last;
        while (spent < Math.max(2 * seconds, Math.min(0.5, 20 * seconds))) {
            last = time(work, 1);
            spent += last;
        }
        return Math.max(1, (int) Math.ceil(seconds / Math.max(last, 1e-7)));
    }

    private static double time(Runnable work, int repeats) {
        long start = System.nanoTime();
        for (int i = 0; i < repeats; i++) {
            work.run();
        }
        return (System.nanoTime() - start) / 1e9 / repeats;
    }
}
