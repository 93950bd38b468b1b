package dev.espalier.tools.bench;

import dev.espalier.checkpoint.Checkpoint;
import dev.espalier.kernels.Linear;
import dev.espalier.kernels.WeightFormat;
import dev.espalier.kernels.cpu.Bandwidth;
import dev.espalier.kernels.cpu.CpuBackend;
import dev.espalier.kernels.simd.Workers;
import dev.espalier.model.Block;
import dev.espalier.model.LayerName;
import dev.espalier.model.Model;
import dev.espalier.model.Projection;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.function.IntConsumer;

/// Decode speed of one model in several formats, all in one run.
///
/// @param readGbPerSecond memory bandwidth with all threads, the median of readings between all turns
/// @param readGbPerSecondOneThread the same with one thread
/// @param runs one for each candidate, the first is the fastest dense format of the same element type
public record DecodeBench(double readGbPerSecond, double readGbPerSecondOneThread, List<Run> runs) {
    /// What was measured of one candidate.
    ///
    /// @param format the name of the format that the layers really have; several are joined by +
    /// @param sparsity of the linear layers, 0 to 1
    /// @param bytesPerToken weight bytes that a decoded token reads
    /// @param step a whole decode step, embedding and head included
    /// @param linear the blocks' linear layers alone
    public record Run(
            String format,
            String pattern,
            double sparsity,
            long bytesPerToken,
            PairedTiming step,
            PairedTiming linear) {
        /// Decoded tokens per second, median.
        public double tokensPerSecond() {
            return 1 / step.seconds();
        }

        /// Weight bytes read per second, in GB.
        public double gbPerSecond() {
            return bytesPerToken / step.seconds() / 1e9;
        }

        /// The share of the bandwidth that memory had just before and after, median over the rounds. Where the bandwidth
        /// moves, this is not the quotient of the medians.
        public double bandwidthShare() {
            return bytesPerToken / step.readable();
        }
    }

    /// Measures `candidates`, the first of which is dense, on `checkpoint`.
    ///
    /// @param head the format of the head of all of them; null: dense
    /// @param rounds how often they take turns
    /// @param seconds how long each turn lasts, at least one token
    /// @param progress hears of each finished step, of [#steps]
    public static DecodeBench of(
            Checkpoint checkpoint,
            CpuBackend backend,
            List<Candidate> candidates,
            WeightFormat head,
            int rounds,
            double seconds,
            IntConsumer progress) {
        Set<String> names = new HashSet<>();
        LayerName.of(checkpoint).forEach(layer -> names.add(layer.weight()));
        List<Model> models = new ArrayList<>();
        try (Bandwidth bandwidth = new Bandwidth()) {
            for (Candidate candidate : candidates) {
                Checkpoint weights = candidate.prunes() ? checkpoint.edited(names, candidate::prune) : checkpoint;
                models.add(Model.load(weights, backend, candidate.formats(backend), head));
                progress.accept(models.size());
            }
            return measure(models, backend, candidates, rounds, seconds, progress, bandwidth);
        } finally {
            models.forEach(Model::close);
        }
    }

    /// How many steps the progress of [#of] has.
    public static int steps(int candidates, int rounds) {
        return candidates + rounds;
    }

    private static DecodeBench measure(
            List<Model> models,
            CpuBackend backend,
            List<Candidate> candidates,
            int rounds,
            double seconds,
            IntConsumer progress,
            Bandwidth bandwidth) {
        List<Double> read = new ArrayList<>();
        List<Double> alone = new ArrayList<>();
        List<DecodeStep> steps = models.stream().map(DecodeStep::new).toList();
        List<LinearPass> passes =
                models.stream().map(model -> LinearPass.of(model, backend)).toList();
        try (Workers one = new Workers(1)) {
            for (int i = 0; i < 3; i++) {
                bandwidth.measure(backend.workers());
                bandwidth.measure(one);
            }
            // Whole steps and linear layers alone in the same rounds: what disturbs one disturbs the other.
            List<Runnable> works = new ArrayList<>(steps);
            works.addAll(passes);
            List<PairedTiming> timings = PairedTiming.of(
                    works,
                    models.size(),
                    rounds,
                    seconds,
                    round -> {
                        alone.add(bandwidth.measure(one));
                        progress.accept(models.size() + round);
                    },
                    () -> {
                        read.add(bandwidth.measure(backend.workers()));
                        return read.getLast();
                    });
            List<Run> runs = new ArrayList<>();
            for (int i = 0; i < models.size(); i++) {
                runs.add(run(models.get(i), candidates.get(i), timings.get(i), timings.get(models.size() + i)));
            }
            return new DecodeBench(PairedTiming.median(read), PairedTiming.median(alone), runs);
        } finally {
            steps.forEach(DecodeStep::close);
            passes.forEach(LinearPass::close);
        }
    }

    private static Run run(Model model, Candidate candidate, PairedTiming step, PairedTiming linear) {
        long weights = 0;
        long kept = 0;
        List<String> formats = new ArrayList<>();
        for (Block block : model.blocks()) {
            for (Projection projection : block.projections()) {
                Linear layer = block.linear(projection);
                weights += (long) layer.rows() * layer.columns();
                kept += layer.nonZeros();
                if (!formats.contains(layer.format().name())) {
                    formats.add(layer.format().name());
                }
            }
        }
        return new Run(
                String.join("+", formats),
                candidate.pattern(),
                weights == 0 ? 0 : (double) (weights - kept) / weights,
                model.weightBytes(),
                step,
                linear);
    }
}
