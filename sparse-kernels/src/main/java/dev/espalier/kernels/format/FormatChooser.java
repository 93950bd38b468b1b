package dev.espalier.kernels.format;

import dev.espalier.kernels.FormatChoice;
import dev.espalier.kernels.Linear;
import dev.espalier.kernels.WeightFormat;
import dev.espalier.kernels.cpu.Bandwidth;
import dev.espalier.kernels.cpu.CpuBackend;
import dev.espalier.tensor.DType;
import dev.espalier.tensor.Tensor;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.Collectors;

/// Picks the format in which a matrix decodes fastest on this machine, from what its mask is, among the exact ones.
///
/// A sample of the matrix's own rows, small enough for the second-level cache, is packed in every format that takes the
/// matrix and timed there for some milliseconds. A token's time is predicted as the longer of two: the bytes over the read
/// bandwidth that all threads share, or the time that all threads take at once with it in their caches. Bandwidth is that of
/// memory of the model's size: a small model lives in a cache. Of formats that are about equally fast the one with the fewest
/// bytes is taken, so that noise decides nothing. Matrices of one type and about the same density share a decision. Kernels
/// that this virtual machine fails to compile lose by themselves.
///
/// Csr is not considered: at any density where it beats dense, Swell beats it.
public final class FormatChooser implements FormatChoice {
    /// With fewer zeros than this no format but dense is worth a trial.
    private static final double FEW_ZEROS = 0.1;

    /// Predicted times within this of the least count as equal; repeated trials move by about as much.
    private static final double EQUAL = 0.05;

    /// Bytes of the dense sample: within any second-level cache of the last ten years.
    private static final int SAMPLE_BYTES = 1 << 18;

    /// The group of the patterns that are found by counting.
    private static final int LARGE_GROUP = 64;

    private static final long TRIAL_NANOS = 10_000_000;

    private final CpuBackend backend;
    private final Map<Key, Decision> decisions = new HashMap<>();
    private final Map<String, Integer> chosen = new TreeMap<>();
    private final KernelRate rate = new KernelRate();
    private long modelBytes = Long.MAX_VALUE;
    private double bandwidth;
    private String why = "nothing was chosen yet";

    /// A chooser for `backend`'s threads; the bandwidth is measured when it is first needed.
    public FormatChooser(CpuBackend backend) {
        this.backend = backend;
    }

    @Override
    public synchronized void expect(long bytes) {
        if (bytes != modelBytes) {
            modelBytes = bytes;
            bandwidth = 0;
            decisions.clear();
        }
    }

    private record Key(DType dtype, long density, String pattern) {}

    private record Decision(WeightFormat format, String why) {}

    @Override
    public synchronized WeightFormat choose(Tensor dense) {
        Decision decision = decide(dense);
        why = decision.why;
        chosen.merge(decision.format.name(), 1, Integer::sum);
        return decision.format;
    }

    /// Why the last choice was made, in one sentence.
    public synchronized String why() {
        return why;
    }

    /// How many matrices were given which format, by name.
    public synchronized Map<String, Integer> chosen() {
        return Map.copyOf(chosen);
    }

    private Decision decide(Tensor dense) {
        if (dense.size() == 0 || dense.dtype() == DType.I8) {
            return new Decision(Dense.tiled(), "dense: nothing to leave out");
        }
        Tensor sample = KernelRate.sample(dense, SAMPLE_BYTES);
        double density = (double) NonZeros.count(sample) / sample.size();
        if (1 - density < FEW_ZEROS) {
            return new Decision(
                    Dense.tiled(), String.format(Locale.ROOT, "dense: only %.0f %% are zeros", 100 * (1 - density)));
        }
        NOfM pattern = pattern(sample, dense);
        // Steps of two and a half percent; the density itself would ask for a trial a layer.
        Key key = new Key(dense.dtype(), Math.round(density * 40), pattern == null ? "" : pattern.name());
        return decisions.computeIfAbsent(key, k -> trial(sample, density, pattern));
    }

    /// The N:M format, of those that are listed and of k:64, that the whole matrix fits and that keeps least; null if there
    /// is none.
    private static NOfM pattern(Tensor sample, Tensor dense) {
        List<NOfM> patterns = new ArrayList<>();
        for (WeightFormat format : WeightFormats.all()) {
            if (format instanceof NOfM pattern && pattern.exact()) {
                patterns.add(pattern);
            }
        }
        int most = mostOf(sample, LARGE_GROUP);
        if (most > 0 && most < LARGE_GROUP) {
            patterns.add(NOfM.of(most, LARGE_GROUP));
        }
        NOfM best = null;
        for (NOfM pattern : patterns) {
            if ((best == null || pattern.kept() * best.group() < best.kept() * pattern.group())
                    && pattern.refuses(sample) == null
                    && pattern.refuses(dense) == null) {
                best = pattern;
            }
        }
        return best;
    }

    /// The most weights that any `group` consecutive ones of a row keep.
    private static int mostOf(Tensor sample, int group) {
        int most = 0;
        for (int row = 0; row < sample.rows(); row++) {
            for (int from = 0; from < sample.columns(); from += group) {
                int count = 0;
                for (int c = from; c < Math.min(sample.columns(), from + group); c++) {
                    long index = (long) row * sample.columns() + c;
                    count += NonZeros.is(sample.dtype(), sample.segment(), index) ? 1 : 0;
                }
                most = Math.max(most, count);
            }
        }
        return most;
    }

    private Decision trial(Tensor sample, double density, NOfM pattern) {
        List<WeightFormat> candidates = new ArrayList<>(List.of(Dense.tiled(), Bitmask.of()));
        if (Swell.of().refuses(sample) == null) {
            candidates.add(Swell.of());
        }
        if (pattern != null) {
            candidates.add(pattern);
        }
        if (bandwidth == 0) {
            bandwidth = Bandwidth.read(backend.workers(), modelBytes);
        }
        List<Trial> trials = new ArrayList<>();
        for (WeightFormat format : candidates) {
            try (Linear packed = format.pack(sample)) {
                double stream = packed.bytes() / bandwidth;
                double compute = rate.nanos(packed, TRIAL_NANOS, backend.workers());
                trials.add(new Trial(format, packed.bytes(), stream, compute));
            }
        }
        Trial best = best(trials);
        String predicted = trials.stream()
                .map(trial -> String.format(
                        Locale.ROOT,
                        "%s %.1f Gweights/s (%s)",
                        trial.format.name(),
                        sample.size() / trial.nanos(),
                        trial.stream > trial.compute ? "memory" : "arithmetic"))
                .collect(Collectors.joining(", "));
        return new Decision(
                best.format,
                String.format(
                        Locale.ROOT,
                        "%s at %.0f %% zeros and %.0f GB/s: predicted %s",
                        best.format.name(),
                        100 * (1 - density),
                        bandwidth,
                        predicted));
    }

    /// Fewest bytes among the fastest.
    private static Trial best(List<Trial> trials) {
        double least = trials.stream().mapToDouble(Trial::nanos).min().orElseThrow();
        return trials.stream()
                .filter(trial -> trial.nanos() <= least * (1 + EQUAL))
                .min(Comparator.comparingLong(Trial::bytes))
                .orElseThrow();
    }

    /// What a format would take for the sample: nanoseconds for its bytes, and for its arithmetic.
    private record Trial(WeightFormat format, long bytes, double stream, double compute) {
        double nanos() {
            return Math.max(stream, compute);
        }
    }
}
