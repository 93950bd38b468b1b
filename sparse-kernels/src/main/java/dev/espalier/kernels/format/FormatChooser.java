package dev.espalier.kernels.format;

import dev.espalier.kernels.FormatChoice;
import dev.espalier.kernels.Linear;
import dev.espalier.kernels.WeightFormat;
import dev.espalier.kernels.cpu.Bandwidth;
import dev.espalier.kernels.cpu.CpuBackend;
import dev.espalier.kernels.cpu.CpuLinear;
import dev.espalier.kernels.simd.VectorCheck;
import dev.espalier.tensor.DType;
import dev.espalier.tensor.Tensor;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;

/// Picks the format in which a matrix decodes fastest on this machine, from what its mask is.
///
/// A sample of the matrix's own rows, small enough for the second-level cache, is packed in every format that takes the
/// matrix and timed there for some milliseconds. A token's time is predicted as the longer of two: the bytes over the read
/// bandwidth that all threads share, or the time in the cache over the number of threads. Matrices of one type and about
/// the same density share a decision. Kernels that this virtual machine fails to compile lose by themselves.
///
/// Csr is not considered: at any density where it beats dense, Swell beats it.
public final class FormatChooser implements FormatChoice {
    /// With fewer zeros than this no format but dense is worth a trial.
    private static final double FEW_ZEROS = 0.1;

    /// Bytes of the dense sample: within any second-level cache of the last ten years.
    private static final int SAMPLE_BYTES = 1 << 18;

    private static final int ROWS = 48;
    private static final long TRIAL_NANOS = 3_000_000;
    private static final long WARM_NANOS = 3_000_000_000L;

    private final CpuBackend backend;
    private final Map<Key, Decision> decisions = new HashMap<>();
    private final Map<String, Integer> chosen = new TreeMap<>();
    private final Set<String> warm = new HashSet<>();
    private double bandwidth;
    private String why = "nothing was chosen yet";

    /// A chooser for `backend`'s threads; the bandwidth is measured when it is first needed.
    public FormatChooser(CpuBackend backend) {
        this.backend = backend;
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
        Tensor sample = sample(dense);
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

    /// Some consecutive rows from the middle.
    private static Tensor sample(Tensor dense) {
        long rowBytes = Math.max(1, (long) dense.columns() * dense.dtype().bytes());
        long fitting = SAMPLE_BYTES / rowBytes / ROWS * ROWS;
        int count = (int) Math.min(dense.rows(), Math.max(ROWS, fitting));
        int from = (dense.rows() - count) / 2;
        return dense.slice(from, from + count);
    }

    /// The N:M format, of those that are listed, that the whole matrix fits and that keeps least; null if there is none.
    private static NOfM pattern(Tensor sample, Tensor dense) {
        NOfM best = null;
        for (WeightFormat format : WeightFormats.all()) {
            if (format instanceof NOfM pattern
                    && (best == null || pattern.kept() * best.group() < best.kept() * pattern.group())
                    && pattern.refuses(sample) == null
                    && pattern.refuses(dense) == null) {
                best = pattern;
            }
        }
        return best;
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
            bandwidth = Bandwidth.read(backend.workers());
        }
        WeightFormat best = null;
        double least = Double.POSITIVE_INFINITY;
        StringBuilder text = new StringBuilder();
        for (WeightFormat format : candidates) {
            try (Linear packed = format.pack(sample)) {
                double stream = packed.bytes() / bandwidth;
                double compute = nanos((CpuLinear) packed) / backend.workers().threads();
                double nanos = Math.max(stream, compute);
                text.append(String.format(
                        Locale.ROOT,
                        "%s%s %.1f Gweights/s (%s)",
                        text.isEmpty() ? "" : ", ",
                        format.name(),
                        sample.size() / nanos,
                        stream > compute ? "memory" : "arithmetic"));
                if (nanos < least) {
                    least = nanos;
                    best = format;
                }
            }
        }
        return new Decision(
                best,
                String.format(
                        Locale.ROOT,
                        "%s at %.0f %% zeros and %.0f GB/s: predicted %s",
                        best.name(),
                        100 * (1 - density),
                        bandwidth,
                        text));
    }

    /// Nanoseconds of one product with one thread, the matrix in the cache: the least of many.
    private double nanos(CpuLinear packed) {
        warm(packed);
        try (Arena arena = Arena.ofShared()) {
            MemorySegment x = arena.allocate(4L * (packed.columns() + 192), 64);
            MemorySegment y = arena.allocate(4L * packed.rows(), 64);
            return least(packed, x, y, TRIAL_NANOS);
        }
    }

    private static double least(CpuLinear packed, MemorySegment x, MemorySegment y, long nanos) {
        long begin = System.nanoTime();
        long best = Long.MAX_VALUE;
        for (long now = begin; now - begin < nanos || best == Long.MAX_VALUE; ) {
            packed.multiply(x, y, 0, packed.rows());
            long end = System.nanoTime();
            best = Math.min(best, end - now);
            now = end;
        }
        return best;
    }

    /// Runs a kernel on a tiny matrix until C2 has compiled it: it counts calls, and interpreted calls on large ones take
    /// long. A kernel that stays slow is left as it is.
    private void warm(CpuLinear packed) {
        if (!VectorCheck.compiled() || !warm.add(packed.format().name() + packed.dtype())) {
            return;
        }
        try (Arena arena = Arena.ofShared()) {
            int columns = 256;
            Tensor tiny = Tensor.allocate(arena, packed.dtype(), 16, columns);
            for (int row = 0; row < 16; row++) {
                for (int column = row % 4; column < columns; column += 4) {
                    tiny.set(row, column, 1f);
                }
            }
            MemorySegment x = arena.allocate(4L * (columns + 192), 64);
            MemorySegment y = arena.allocate(4L * 16, 64);
            try (Linear small = packed.format().pack(tiny)) {
                long begin = System.nanoTime();
                // 4096 weights take a compiled kernel a microsecond, interpreted it takes hundreds.
                while (System.nanoTime() - begin < WARM_NANOS && least((CpuLinear) small, x, y, 1_000_000) > 4_000) {
                    Thread.onSpinWait();
                }
            }
        }
    }
}
