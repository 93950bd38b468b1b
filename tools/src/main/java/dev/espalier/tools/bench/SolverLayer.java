package dev.espalier.tools.bench;

import dev.espalier.checkpoint.Safetensors;
import dev.espalier.kernels.LinearAlgebra;
import dev.espalier.prune.calibrate.Gram;
import dev.espalier.tensor.DType;
import dev.espalier.tensor.InputException;
import dev.espalier.tensor.Tensor;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.file.Path;
import java.util.List;
import java.util.Random;

/// A layer for solvers to prune: its weight `[out, in]`, F32, and what its inputs were.
///
/// @param name for messages: the file, or the shape
public record SolverLayer(String name, Tensor weight, Gram gram) implements AutoCloseable {
    /// Tokens made up for each input of a random layer.
    private static final int TOKENS_PER_FEATURE = 4;

    private static final int SEQUENCE = 1024;

    /// The layer in `file`: `weight` `[out, in]` and `inputs` `[tokens, in]`, both F32; with metadata `seq_len`, the inputs are
    /// sequences of that many tokens one after another, otherwise they are one sequence.
    ///
    /// @throws InputException if that is not what the file holds
    /// @throws IOException if it cannot be read
    public static SolverLayer open(Path file, LinearAlgebra algebra) throws IOException {
        try (Arena arena = Arena.ofShared()) {
            Safetensors tensors = Safetensors.map(file, arena);
            Tensor weight = matrix(tensors, "weight");
            Tensor inputs = matrix(tensors, "inputs");
            if (inputs.columns() != weight.columns()) {
                throw new InputException("%s: inputs have %d columns and weight has %d; they must have the same number"
                        .formatted(file, inputs.columns(), weight.columns()));
            }
            int sequence = sequence(tensors, inputs.rows());
            Tensor own = Tensor.allocate(Arena.ofAuto(), DType.F32, weight.rows(), weight.columns());
            MemorySegment.copy(weight.segment(), 0, own.segment(), 0, own.bytes());
            Gram gram = new Gram(inputs.columns(), algebra);
            for (int at = 0; at < inputs.rows(); at += sequence) {
                gram.add(inputs.slice(at, at + sequence));
            }
            return new SolverLayer(file.toString(), own, gram);
        }
    }

    private static Tensor matrix(Safetensors tensors, String name) {
        Safetensors.Entry entry = tensors.entries().get(name);
        if (entry == null) {
            throw new InputException("%s has no tensor '%s'; a layer is `weight` [out, in] and `inputs` [tokens, in]"
                    .formatted(tensors.file(), name));
        }
        List<Long> shape = entry.shape();
        if (!entry.type().equals("F32") || shape.size() != 2) {
            throw new InputException("%s: '%s' is %s %s; it must be F32 with two dimensions"
                    .formatted(tensors.file(), name, entry.type(), shape));
        }
        if (shape.contains(0L) || shape.stream().anyMatch(size -> size > Integer.MAX_VALUE)) {
            throw new InputException("%s: '%s' is %s; both sizes must be 1 or more, and below 2^31"
                    .formatted(tensors.file(), name, shape));
        }
        return Tensor.of(DType.F32, shape.get(0).intValue(), shape.get(1).intValue(), tensors.bytes(entry));
    }

    private static int sequence(Safetensors tensors, int tokens) {
        String text = tensors.metadata().get("seq_len");
        if (text == null) {
            return tokens;
        }
        int length;
        try {
            length = Integer.parseInt(text);
        } catch (NumberFormatException e) {
            throw new InputException(
                    "%s: the metadata's seq_len '%s' is not a number".formatted(tensors.file(), text), e);
        }
        if (length < 1 || tokens % length != 0) {
            throw new InputException("%s: %d tokens are no whole number of sequences of the metadata's seq_len, %s"
                    .formatted(tensors.file(), tokens, text));
        }
        return length;
    }

    /// A made-up layer: weights of unequal rows and columns, inputs that hang together, of unequal scale and with means.
    public static SolverLayer random(int rows, int columns, long seed, LinearAlgebra algebra) {
        Random random = new Random(seed);
        double[] scale = new double[columns];
        double[] mean = new double[columns];
        for (int j = 0; j < columns; j++) {
            scale[j] = Math.exp(0.7 * random.nextGaussian());
            mean[j] = 0.3 * random.nextGaussian();
        }
        Tensor weight = Tensor.allocate(Arena.ofAuto(), DType.F32, rows, columns);
        float[] row = new float[columns];
        for (int r = 0; r < rows; r++) {
            double size = 0.02 * Math.exp(0.2 * random.nextGaussian());
            for (int j = 0; j < columns; j++) {
                row[j] = (float) (size * random.nextGaussian());
            }
            MemorySegment.copy(MemorySegment.ofArray(row), 0, weight.segment(), 4L * r * columns, 4L * columns);
        }
        Gram gram = new Gram(columns, algebra);
        Tensor x = Tensor.allocate(Arena.ofAuto(), DType.F32, SEQUENCE, columns);
        for (int tokens = 0; tokens < TOKENS_PER_FEATURE * columns; tokens += SEQUENCE) {
            for (int t = 0; t < SEQUENCE; t++) {
                double last = 0;
                for (int j = 0; j < columns; j++) {
                    last = 0.8 * last + 0.6 * random.nextGaussian();
                    row[j] = (float) (scale[j] * (last + mean[j]));
                }
                MemorySegment.copy(MemorySegment.ofArray(row), 0, x.segment(), 4L * t * columns, 4L * columns);
            }
            gram.add(x);
        }
        return new SolverLayer("random layer %dx%d".formatted(rows, columns), weight, gram);
    }

    @Override
    public void close() {
        gram.close();
    }
}
