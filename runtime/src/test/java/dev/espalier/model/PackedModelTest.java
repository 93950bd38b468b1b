package dev.espalier.model;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.espalier.checkpoint.Checkpoint;
import dev.espalier.generate.Perplexity;
import dev.espalier.kernels.Backend;
import dev.espalier.kernels.FormatChoice;
import dev.espalier.kernels.Linear;
import dev.espalier.kernels.WeightFormat;
import dev.espalier.kernels.format.Dense;
import dev.espalier.kernels.format.WeightFormats;
import dev.espalier.tensor.DType;
import dev.espalier.tensor.Tensor;
import dev.espalier.testing.Backends;
import dev.espalier.testing.FakeDeviceBackend;
import dev.espalier.testing.ModelFiles;
import dev.espalier.testing.ModelFiles.Stored;
import dev.espalier.testing.ModelRuns;
import java.lang.foreign.Arena;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.function.Function;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;

/// A pruned model gives the same in every format, by prefill and by decode.
///
/// What may differ is the order of float32 sums: 1e-4 of the largest logit at most, as against the references. A format that
/// rounds is held to a dense model of the weights that it rounded to.
class PackedModelTest {
    private static final int[] IDS = new int[40];

    static {
        for (int i = 0; i < IDS.length; i++) {
            IDS[i] = 3 + (i * 31) % 91;
        }
    }

    static List<Arguments> cases() {
        List<Arguments> cases = new ArrayList<>();
        for (WeightFormat format : WeightFormats.all()) {
            for (String model : List.of("llama-linear", "llama-bf16", "llama-f16", "opt-gelu")) {
                cases.add(Arguments.of(format.name(), model, format));
            }
        }
        return cases;
    }

    /// One of each four consecutive inputs kept, another one in each row: a mask that every format takes.
    private static ModelFiles pruned(String name) {
        ModelFiles files = ModelFiles.read(Path.of("src/test/resources/families", name));
        for (Map.Entry<String, Stored> entry : files.tensors().entrySet()) {
            Stored tensor = entry.getValue();
            if (entry.getKey().contains(".layers.") && tensor.shape().length == 2) {
                int size = tensor.dtype().equals("F32") ? 4 : 2;
                int columns = tensor.shape()[1];
                byte[] bytes = tensor.bytes().clone();
                for (int i = 0; i < tensor.shape()[0] * columns; i++) {
                    if (i % columns % 4 != (i / columns) % 4) {
                        Arrays.fill(bytes, i * size, (i + 1) * size, (byte) 0);
                    }
                }
                entry.setValue(new Stored(tensor.dtype(), tensor.shape(), bytes));
            }
        }
        return files;
    }

    private static <T> T with(ModelFiles files, Backend threads, FormatChoice formats, Function<Model, T> use) {
        try (Backend backend = threads;
                Checkpoint checkpoint = files.open();
                Model model = Model.load(checkpoint, backend, formats)) {
            return use.apply(model);
        }
    }

    /// The dense float32 matrix of what another format makes of the weights.
    private record Rounded(WeightFormat by) implements WeightFormat {
        @Override
        public String name() {
            return "dense";
        }

        @Override
        public String refuses(Tensor dense) {
            return by.refuses(dense);
        }

        @Override
        public Linear pack(Tensor dense) {
            Tensor rounded = Tensor.allocate(Arena.ofAuto(), DType.F32, dense.rows(), dense.columns());
            try (Linear packed = by.pack(dense)) {
                packed.unpack(rounded);
            }
            return Dense.tiled().pack(rounded);
        }
    }

    @ParameterizedTest(name = "{0} of {1}")
    @MethodSource("cases")
    void everyFormatGivesThePrunedDenseModelsLogits(String name, String model, WeightFormat format) {
        ModelFiles files = pruned(model);
        FormatChoice reference = format.exact() ? ModelRuns.DENSE : w -> new Rounded(format);
        float[] dense = with(files, Backends.cpu(), reference, m -> ModelRuns.logits(m, IDS, 40));
        for (int chunk : new int[] {1, 3, 40}) {
            float[] packed = with(files, Backends.cpu(), w -> format, m -> ModelRuns.logits(m, IDS, chunk));
            assertTrue(ModelRuns.relativeError(packed, dense) < 1e-4, () -> name + ", chunks of " + chunk);
        }
        float[] device =
                with(files, new FakeDeviceBackend(Backends.cpu()), w -> format, m -> ModelRuns.logits(m, IDS, 40));
        assertArrayEquals(with(files, Backends.cpu(), w -> format, m -> ModelRuns.logits(m, IDS, 40)), device);
    }

    @ParameterizedTest(name = "{0} of {1}")
    @MethodSource("cases")
    void perplexityByDecodeEqualsThatByPrefill(String name, String model, WeightFormat format) {
        double[] both = with(pruned(model), Backends.cpu(), w -> format, m -> new double[] {
            Perplexity.of(m, IDS, 20, 0, Perplexity.Path.PREFILL, done -> {}).perplexity(),
            Perplexity.of(m, IDS, 20, 0, Perplexity.Path.DECODE, done -> {}).perplexity()
        });
        // A logit's rounding of 1e-4 of 5 moves a loss by at most twice that.
        assertEquals(both[0], both[1], 1e-3 * both[0], name);
    }

    @Test
    void theHeadStaysDenseWhateverTheBlocksAre() {
        ModelFiles files = pruned("llama-linear");
        WeightFormat sparse = WeightFormats.named("1:4");
        long linear = with(files, Backends.cpu(), w -> sparse, Model::linearBytes);
        long all = with(files, Backends.cpu(), w -> sparse, Model::weightBytes);
        assertTrue(all - linear >= 97 * 32 * 4, () -> all + " and " + linear);
    }

    @Test
    void aHeadOfItsOwnFormatChangesTheHeadAlone() {
        ModelFiles files = pruned("llama-linear");
        WeightFormat sparse = WeightFormats.named("1:4");
        WeightFormat bytes = WeightFormats.named("dense-int8");
        long dense = with(files, Backends.cpu(), w -> sparse, Model::weightBytes);
        float[] exact = with(files, Backends.cpu(), w -> sparse, m -> ModelRuns.logits(m, IDS, 40));
        try (Backend backend = Backends.cpu();
                Checkpoint checkpoint = files.open();
                Model model = Model.load(checkpoint, backend, w -> sparse, bytes)) {
            // Of 4 bytes a weight one is left, its scale and the filling of a tile to 64 columns.
            long saved = dense - model.weightBytes();
            assertTrue(saved > 97 * 32, () -> "saved " + saved);
            double error = ModelRuns.relativeError(ModelRuns.logits(model, IDS, 40), exact);
            // A weight moves by at most 1/254 of the largest of its row.
            assertTrue(error > 0 && error < 0.02, () -> "error " + error);
        }
    }
}
