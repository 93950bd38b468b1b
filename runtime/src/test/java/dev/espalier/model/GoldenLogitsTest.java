package dev.espalier.model;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.espalier.checkpoint.Checkpoint;
import dev.espalier.kernels.Backend;
import dev.espalier.kernels.FormatChoice;
import dev.espalier.kernels.cpu.CpuBackend;
import dev.espalier.kernels.format.Dense;
import dev.espalier.testing.Backends;
import dev.espalier.testing.FakeDeviceBackend;
import dev.espalier.testing.ModelRuns;
import dev.espalier.testing.Npy;
import dev.espalier.testing.PlainBackend;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/// Every family and every variant of a config, against the logits of Hugging Face transformers in float32.
///
/// The tolerance is 1e-4 of the largest logit. Float32 sums in different orders differ by about 1e-6 of it; the
/// smallest mistake in a family that we know of moves a logit by 2e-3.
class GoldenLogitsTest {
    private static final double TOLERANCE = 1e-4;
    private static final Path FAMILIES = Path.of("src/test/resources/families");

    static List<String> cases() throws IOException {
        try (Stream<Path> folders = Files.list(FAMILIES)) {
            return folders.map(folder -> folder.getFileName().toString())
                    .sorted()
                    .toList();
        }
    }

    @ParameterizedTest
    @MethodSource("cases")
    void prefillEqualsTransformers(String name) {
        expectGolden(name, Backends.cpu(), ModelRuns.DENSE, Integer.MAX_VALUE);
    }

    @ParameterizedTest
    @MethodSource("cases")
    void prefillInChunksEqualsTransformers(String name) {
        expectGolden(name, Backends.cpu(), ModelRuns.DENSE, 5);
    }

    @ParameterizedTest
    @MethodSource("cases")
    void decodeEqualsTransformers(String name) {
        expectGolden(name, Backends.cpu(), ModelRuns.DENSE, 1);
    }

    @ParameterizedTest
    @MethodSource("cases")
    void tiledWeightsEqualTransformers(String name) {
        expectGolden(name, Backends.cpu(), weight -> Dense.tiled(), Integer.MAX_VALUE);
        expectGolden(name, Backends.cpu(), weight -> Dense.tiled(), 1);
    }

    /// Where this fails too, the mistake is in the family and not in a kernel.
    @ParameterizedTest
    @MethodSource("cases")
    void thePlainestArithmeticEqualsTransformers(String name) {
        expectGolden(name, new PlainBackend(), ModelRuns.DENSE, Integer.MAX_VALUE);
    }

    @ParameterizedTest
    @MethodSource("cases")
    void aDeviceWhoseMemoryTheHostCannotReadRunsEveryFamily(String name) {
        expectGolden(name, new FakeDeviceBackend(Backends.cpu()), ModelRuns.DENSE, 8);
        expectGolden(name, new FakeDeviceBackend(Backends.cpu()), ModelRuns.DENSE, 1);
    }

    @ParameterizedTest
    @MethodSource("cases")
    void theNumberOfThreadsChangesNothing(String name) {
        for (int chunk : new int[] {1, Integer.MAX_VALUE}) {
            float[] one = run(name, new CpuBackend(1), ModelRuns.DENSE, chunk);
            for (int threads : new int[] {2, 3}) {
                assertArrayEquals(one, run(name, new CpuBackend(threads), ModelRuns.DENSE, chunk));
            }
        }
    }

    @Test
    void everyFamilyInTheListHasGoldenLogits() throws IOException {
        Set<String> golden = new TreeSet<>();
        for (String name : cases()) {
            try (Checkpoint checkpoint = Checkpoint.open(FAMILIES.resolve(name))) {
                golden.add(ModelFamilies.of(checkpoint.config()).modelType());
            }
        }
        assertEquals(
                ModelFamilies.all().stream().map(ModelFamily::modelType).collect(Collectors.toCollection(TreeSet::new)),
                golden);
    }

    private static void expectGolden(String name, Backend backend, FormatChoice formats, int chunk) {
        float[] golden = Npy.read(FAMILIES.resolve(name).resolve("logits.npy")).floats();
        float[] logits = run(name, backend, formats, chunk);
        assertEquals(golden.length, logits.length);
        double error = ModelRuns.relativeError(logits, golden);
        assertTrue(error < TOLERANCE, () -> name + ": relative error " + error);
    }

    private static float[] run(String name, Backend backend, FormatChoice formats, int chunk) {
        int[] ids = ModelRuns.ids(FAMILIES.resolve(name).resolve("input_ids.json"));
        try (backend;
                Checkpoint checkpoint = Checkpoint.open(FAMILIES.resolve(name));
                Model model = Model.load(checkpoint, backend, formats)) {
            return ModelRuns.logits(model, ids, chunk);
        }
    }
}
