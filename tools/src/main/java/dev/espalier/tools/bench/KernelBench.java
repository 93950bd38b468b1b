package dev.espalier.tools.bench;

import dev.espalier.kernels.Linear;
import dev.espalier.kernels.WeightFormat;
import dev.espalier.kernels.cpu.Bandwidth;
import dev.espalier.kernels.cpu.CpuBackend;
import dev.espalier.kernels.format.KernelRate;
import dev.espalier.kernels.simd.Workers;
import dev.espalier.tensor.DType;
import dev.espalier.tensor.Tensor;
import java.lang.foreign.Arena;
import java.util.ArrayList;
import java.util.List;
import java.util.SplittableRandom;
import java.util.function.DoubleSupplier;
import java.util.function.IntConsumer;

/// The speed of the kernels alone: one linear layer's shape, in several formats, streamed from memory and from the cache.
///
/// @param readGbPerSecond memory bandwidth with all threads, the median of readings between all turns
/// @param readGbPerSecondOneThread the same with one thread
/// @param runs all formats of the first shape, then those of the next; the first of each is dense
public record KernelBench(double readGbPerSecond, double readGbPerSecondOneThread, List<Run> runs) {
    /// Bytes of the matrix whose products are timed in the cache.
    private static final int CACHE_BYTES = 1 << 18;

    private static final long CACHE_NANOS = 50_000_000;

    /// What was measured of one format on one shape.
    ///
    /// @param pattern `unstructured`, or N:M
    /// @param sparsity of the matrix, 0 to 1
    /// @param tokens multiplied at once
    /// @param bytes of the packed matrix
    /// @param timing of one product with the matrix in memory, against dense
    /// @param cacheWeightsPerSecond zeros included, one token, all threads at once, each on a matrix in its cache: what
    ///     arithmetic allows
    public record Run(
            int rows,
            int columns,
            int tokens,
            String format,
            String pattern,
            double sparsity,
            long bytes,
            PairedTiming timing,
            double cacheWeightsPerSecond) {
        /// Of a weight, zeros included.
        public double bytesPerWeight() {
            return bytes / ((double) rows * columns);
        }

        /// Weights a second, zeros included, for each token.
        public double weightsPerSecond() {
            return (double) rows * columns * tokens / timing.seconds();
        }

        /// Bytes of weights a second, in GB.
        public double gbPerSecond() {
            return bytes / timing.seconds() / 1e9;
        }

        /// The share of the bandwidth that memory had just before and just after, median over the rounds.
        public double bandwidthShare() {
            return bytes / timing.readable();
        }
    }

    /// What to measure.
    ///
    /// @param dtype of the weights before they are packed
    /// @param tokens multiplied at once
    /// @param memory bytes of copies of each packed matrix that take turns, so that none stays in a cache
    /// @param rounds how often the formats take turns
    /// @param seconds how long each turn lasts
    public record Plan(DType dtype, int tokens, long memory, int rounds, double seconds, long seed) {}

    /// A layer's size.
    public record Shape(int rows, int columns) {}

    /// How many steps the progress of [#of] has.
    public static int steps(int shapes, int candidates, int rounds) {
        return shapes * (candidates + rounds);
    }

    /// Measures `candidates`, the first of which is dense, on random matrices of `shapes`.
    ///
    /// @param progress hears of each finished step, of [#steps]
    /// @throws dev.espalier.tensor.InputException if a format does not take a shape
    public static KernelBench of(
            List<Shape> shapes, CpuBackend backend, List<Candidate> candidates, Plan plan, IntConsumer progress) {
        List<Double> read = new ArrayList<>();
        List<Double> alone = new ArrayList<>();
        List<Run> runs = new ArrayList<>();
        KernelRate rate = new KernelRate();
        int[] done = {0};
        try (Bandwidth bandwidth = new Bandwidth();
                Workers one = new Workers(1)) {
            for (int i = 0; i < 3; i++) {
                bandwidth.measure(backend.workers());
                bandwidth.measure(one);
            }
            for (Shape shape : shapes) {
                runs.addAll(measure(
                        shape,
                        backend,
                        candidates,
                        plan,
                        rate,
                        () -> {
                            read.add(bandwidth.measure(backend.workers()));
                            return read.getLast();
                        },
                        () -> {
                            alone.add(bandwidth.measure(one));
                            progress.accept(++done[0]);
                        }));
            }
        }
        return new KernelBench(PairedTiming.median(read), PairedTiming.median(alone), List.copyOf(runs));
    }

    private static List<Run> measure(
            Shape shape,
            CpuBackend backend,
            List<Candidate> candidates,
            Plan plan,
            KernelRate rate,
            DoubleSupplier bandwidth,
            Runnable step) {
        List<List<Linear>> packed = new ArrayList<>();
        List<LinearPass> passes = new ArrayList<>();
        double[] cache = new double[candidates.size()];
        try (Arena scratch = Arena.ofShared()) {
            Tensor weights = random(scratch, plan.dtype(), shape, plan.seed());
            for (Candidate candidate : candidates) {
                List<Linear> copies = new ArrayList<>();
                packed.add(copies);
                cache[packed.size() - 1] = pack(weights, candidate, backend, plan.memory(), copies, rate);
                passes.add(new LinearPass(backend, copies, plan.tokens()));
                step.run();
            }
            List<PairedTiming> timings = PairedTiming.of(
                    List.copyOf(passes), passes.size(), plan.rounds(), plan.seconds(), round -> step.run(), bandwidth);
            List<Run> runs = new ArrayList<>();
            for (int i = 0; i < candidates.size(); i++) {
                Linear first = packed.get(i).getFirst();
                runs.add(new Run(
                        shape.rows(),
                        shape.columns(),
                        plan.tokens(),
                        first.format().name(),
                        candidates.get(i).pattern(),
                        1 - first.nonZeros() / ((double) shape.rows() * shape.columns()),
                        first.bytes(),
                        timings.get(i)
                                .divided(packed.get(i).size(), packed.getFirst().size()),
                        cache[i]));
            }
            return runs;
        } finally {
            passes.forEach(LinearPass::close);
            packed.forEach(copies -> copies.forEach(Linear::close));
        }
    }

    /// Fills `copies` with at least `memory` bytes of `weights` as `candidate` wants them; returns the rate in the cache of
    /// all threads together, in weights a second.
    private static double pack(
            Tensor weights,
            Candidate candidate,
            CpuBackend backend,
            long memory,
            List<Linear> copies,
            KernelRate rate) {
        try (Arena scratch = Arena.ofShared()) {
            Tensor pruned = Tensor.allocate(scratch, weights.dtype(), weights.rows(), weights.columns());
            pruned.segment().copyFrom(weights.segment());
            candidate.prune(pruned);
            WeightFormat format = candidate.formats(backend).choose(pruned);
            long bytes = 0;
            do {
                copies.add(backend.linear(pruned, format));
                bytes += Math.max(1, copies.getLast().bytes());
            } while (bytes < memory);
            double denseBytes = (double) pruned.bytes() / copies.getLast().bytes() * CACHE_BYTES;
            Tensor sample = KernelRate.sample(pruned, (long) denseBytes);
            try (Linear small = backend.linear(sample, format)) {
                return sample.size() / rate.nanos(small, CACHE_NANOS, backend.workers()) * 1e9;
            }
        }
    }

    /// N(0, 1), seeded; for timing, any numbers do.
    private static Tensor random(Arena arena, DType dtype, Shape shape, long seed) {
        SplittableRandom random = new SplittableRandom(seed);
        Tensor weights = Tensor.allocate(arena, dtype, shape.rows(), shape.columns());
        for (long i = 0; i < weights.size(); i++) {
            dtype.set(weights.segment(), i, (float) random.nextGaussian());
        }
        return weights;
    }
}
