package dev.espalier.tools.bench;

import dev.espalier.checkpoint.Checkpoint;
import dev.espalier.checkpoint.RandomCheckpoint;
import dev.espalier.kernels.FormatChoice;
import dev.espalier.kernels.Linear;
import dev.espalier.kernels.cpu.CpuBackend;
import dev.espalier.kernels.format.Dense;
import dev.espalier.model.LayerName;
import dev.espalier.tensor.Tensor;
import java.lang.foreign.Arena;
import java.util.ArrayList;
import java.util.List;

/// What a pattern gains on layers that lie in memory, not in the cache: the linear layers of some blocks of the shape
/// `llama-1b`, with random weights, dense and sparse in turn.
///
/// @param shape the name of the shape
/// @param blocks how many blocks' layers were taken
/// @param format the sparse layers' format
/// @param sparsity their fraction of zeros
/// @param timing of the sparse layers against the dense ones
public record ScaleUp(String shape, int blocks, String format, double sparsity, PairedTiming timing) {
    private static final String SHAPE = "llama-1b";
    private static final int BLOCKS = 4;

    /// Measures `candidate`, in the format that `formats` chooses.
    public static ScaleUp of(Candidate candidate, FormatChoice formats, CpuBackend backend) {
        List<Linear> dense = new ArrayList<>();
        List<Linear> sparse = new ArrayList<>();
        try (Checkpoint checkpoint = RandomCheckpoint.of(SHAPE, dev.espalier.tensor.DType.BF16, 0)) {
            // Far more than a cache holds, whatever the choice saw before.
            formats.expect(Long.MAX_VALUE);
            for (LayerName layer : LayerName.of(checkpoint)) {
                if (layer.block() < BLOCKS) {
                    try (Arena scratch = Arena.ofShared()) {
                        Tensor weight = checkpoint.read(layer.weight(), scratch);
                        dense.add(backend.linear(weight, Dense.tiled()));
                        candidate.prune(weight);
                        sparse.add(backend.linear(weight, formats.choose(weight)));
                    }
                }
            }
            try (LinearPass densePass = new LinearPass(backend, dense);
                    LinearPass sparsePass = new LinearPass(backend, sparse)) {
                PairedTiming timing = PairedTiming.of(List.of(densePass, sparsePass), 7, 0.25, round -> {})
                        .get(1);
                return new ScaleUp(SHAPE, BLOCKS, sparse.getFirst().format().name(), sparsity(sparse), timing);
            }
        } finally {
            dense.forEach(Linear::close);
            sparse.forEach(Linear::close);
        }
    }

    private static double sparsity(List<Linear> layers) {
        double weights = 0;
        double kept = 0;
        for (Linear layer : layers) {
            weights += (double) layer.rows() * layer.columns();
            kept += (double) layer.nonZeros();
        }
        return 1 - kept / weights;
    }
}
