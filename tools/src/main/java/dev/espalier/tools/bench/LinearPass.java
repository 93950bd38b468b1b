package dev.espalier.tools.bench;

import dev.espalier.kernels.Linear;
import dev.espalier.kernels.cpu.CpuBackend;
import dev.espalier.model.Block;
import dev.espalier.model.Model;
import dev.espalier.model.Projection;
import dev.espalier.tensor.DType;
import dev.espalier.tensor.Tensor;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.SplittableRandom;

/// One token, or some, through a list of linear layers, one after the other, and nothing else: what pruning speeds up.
final class LinearPass implements Runnable, AutoCloseable {
    private final CpuBackend backend;
    private final List<Linear> layers;
    private final Map<Integer, Tensor> inputs = new HashMap<>();
    private final Map<Integer, Tensor> outputs = new HashMap<>();

    LinearPass(CpuBackend backend, List<Linear> layers) {
        this(backend, layers, 1);
    }

    /// The same for some tokens at once.
    LinearPass(CpuBackend backend, List<Linear> layers, int tokens) {
        this.backend = backend;
        this.layers = layers;
        for (Linear layer : layers) {
            inputs.computeIfAbsent(layer.columns(), size -> random(backend.zeros(DType.F32, tokens, size)));
            outputs.computeIfAbsent(layer.rows(), size -> backend.zeros(DType.F32, tokens, size));
        }
    }

    /// The linear layers of the model's blocks.
    static LinearPass of(Model model, CpuBackend backend) {
        List<Linear> layers = new ArrayList<>();
        for (Block block : model.blocks()) {
            for (Projection projection : block.projections()) {
                layers.add(block.linear(projection));
            }
        }
        return new LinearPass(backend, layers);
    }

    @Override
    public void run() {
        for (Linear layer : layers) {
            backend.linear(layer, null, inputs.get(layer.columns()), outputs.get(layer.rows()));
        }
    }

    /// Gives the inputs and outputs back, not the layers.
    @Override
    public void close() {
        inputs.values().forEach(backend::free);
        outputs.values().forEach(backend::free);
    }

    private static Tensor random(Tensor tensor) {
        SplittableRandom random = new SplittableRandom(1);
        for (int row = 0; row < tensor.rows(); row++) {
            for (int column = 0; column < tensor.columns(); column++) {
                tensor.set(row, column, (float) random.nextGaussian());
            }
        }
        return tensor;
    }
}
