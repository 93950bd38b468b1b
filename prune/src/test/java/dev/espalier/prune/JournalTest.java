package dev.espalier.prune;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.espalier.checkpoint.Checkpoint;
import dev.espalier.kernels.cpu.CpuBackend;
import dev.espalier.model.Model;
import dev.espalier.prune.calibrate.CalibrationData;
import dev.espalier.prune.calibrate.CalibrationData.Order;
import dev.espalier.prune.calibrate.CalibrationData.Request;
import dev.espalier.tensor.InputException;
import dev.espalier.tensor.Tensor;
import java.io.IOException;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.CancellationException;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/// A run that ended early and is continued.
class JournalTest {
    private static final Path MODEL = TestModels.family("llama-gqa-tied");
    private static final int LAYERS = 7;

    @TempDir
    Path temp;

    /// Collects the weights; ends the run when it has `limit` of them.
    private static final class Weights implements PruneSink {
        private final Map<String, byte[]> weights = new TreeMap<>();
        private final int limit;

        Weights(int limit) {
            this.limit = limit;
        }

        @Override
        public void layer(LayerReport report, Tensor weight) {
            if (weights.size() == limit) {
                throw new CancellationException("stopped");
            }
            weights.put(report.name(), weight.segment().toArray(ValueLayout.JAVA_BYTE));
        }
    }

    private static PrunePlan plan(double sparsity) {
        return PrunePlan.of("sparsegpt", null, sparsity, null, false);
    }

    private static CalibrationData data(long seed) {
        return CalibrationData.ofTokens(
                "tokens", TestModels.tokens(400, 90, seed), new Request(4, 24, 0, Order.CONSECUTIVE));
    }

    private static void run(Path folder, PrunePlan plan, CalibrationData data, Weights sink) {
        try (CpuBackend backend = new CpuBackend(2);
                Checkpoint checkpoint = Checkpoint.open(MODEL);
                Model model = Model.load(checkpoint, backend, TestModels.DENSE)) {
            PruneSink all = folder == null ? sink : Journal.open(folder, plan, checkpoint, data, sink);
            new LayerwisePruner(plan, TestModels.DENSE, all, 2).prune(model, data, PruneListener.NONE);
        }
    }

    private static Map<String, byte[]> unbroken() {
        Weights weights = new Weights(1000);
        run(null, plan(0.5), data(1), weights);
        return weights.weights;
    }

    private static void assertSame(Map<String, byte[]> expected, Map<String, byte[]> actual) {
        assertEquals(expected.keySet(), actual.keySet());
        expected.forEach((name, bytes) -> assertArrayEquals(bytes, actual.get(name), name));
    }

    private void interrupted(int layers) {
        assertThrows(
                CancellationException.class, () -> run(temp.resolve("j"), plan(0.5), data(1), new Weights(layers)));
    }

    private int finishedBlocks() {
        try (Checkpoint checkpoint = Checkpoint.open(MODEL)) {
            return Journal.open(temp.resolve("j"), plan(0.5), checkpoint, data(1), PruneSink.NONE)
                    .finishedBlocks();
        }
    }

    @ParameterizedTest
    @ValueSource(ints = {0, 3, LAYERS, LAYERS + 1, 2 * LAYERS, 3 * LAYERS - 1})
    void aRunThatIsContinuedEndsWithTheBytesOfAnUnbrokenOne(int layers) {
        interrupted(layers);
        assertEquals(layers / LAYERS, finishedBlocks());
        assertEquals(layers >= LAYERS, Files.exists(temp.resolve("j")));
        Weights weights = new Weights(1000);
        run(temp.resolve("j"), plan(0.5), data(1), weights);
        assertSame(unbroken(), weights.weights);
        assertEquals(3, finishedBlocks());
    }

    @Test
    void aRunMayBeInterruptedAgainAndAgain() {
        for (int layers : new int[] {LAYERS + 2, LAYERS + 3, 2 * LAYERS + 1}) {
            interrupted(layers);
        }
        assertEquals(2, finishedBlocks());
        Weights weights = new Weights(1000);
        run(temp.resolve("j"), plan(0.5), data(1), weights);
        assertSame(unbroken(), weights.weights);
    }

    @Test
    void aBlockThatIsTruncatedOrDamagedIsPrunedAgainAndSoAreThoseAfterIt() throws IOException {
        Map<String, byte[]> expected = unbroken();
        for (int block = 0; block < 2; block++) {
            interrupted(2 * LAYERS + 1);
            Path file = temp.resolve("j/block-0000" + block + ".safetensors");
            byte[] bytes = Files.readAllBytes(file);
            byte[] damaged = bytes.clone();
            damaged[bytes.length - 100] ^= 1;
            for (byte[] bad : new byte[][] {Arrays.copyOf(bytes, bytes.length / 2), damaged, new byte[0]}) {
                Files.write(file, bad);
                assertEquals(block, finishedBlocks());
            }
            Weights weights = new Weights(1000);
            run(temp.resolve("j"), plan(0.5), data(1), weights);
            assertSame(expected, weights.weights);
        }
    }

    @Test
    void anotherPlanCheckpointOrCalibrationIsRefused() throws IOException {
        interrupted(2 * LAYERS);
        refused("another plan (sparsity 0.5, now 0.7)", MODEL, plan(0.7), data(1));
        refused(
                "another plan (damping auto, now 0.01)",
                MODEL,
                PrunePlan.of("sparsegpt", null, 0.5, "0.01", false),
                data(1));
        refused(
                "another plan (method sparsegpt, now wanda)",
                MODEL,
                PrunePlan.of("wanda", null, 0.5, null, false),
                data(1));
        refused("another calibration", MODEL, plan(0.5), data(2));
        refused("another calibration", MODEL, plan(0.5), null);
        Map<String, byte[]> files = TestModels.files(MODEL);
        TestModels.set(files.get("model.safetensors"), "model.layers.2.mlp.up_proj.weight", 5, 0.25f);
        Path changed = Files.createDirectory(temp.resolve("changed"));
        for (Map.Entry<String, byte[]> file : files.entrySet()) {
            Files.write(changed.resolve(file.getKey()), file.getValue());
        }
        refused("another checkpoint", changed, plan(0.5), data(1));
        assertEquals(2, finishedBlocks());
    }

    private void refused(String why, Path model, PrunePlan plan, CalibrationData data) {
        try (Checkpoint checkpoint = Checkpoint.open(model)) {
            InputException e = assertThrows(
                    InputException.class,
                    () -> Journal.open(temp.resolve("j"), plan, checkpoint, data, PruneSink.NONE));
            assertTrue(e.getMessage().contains(why), e.getMessage());
        }
    }

    @Test
    void windowsThatTheModelWroteAreKept() {
        CalibrationData own = new CalibrationData("self", 24, 7, data(1).windows(), data(2).windows());
        assertTrue(Journal.windows(temp.resolve("j")).isEmpty());
        assertThrows(
                CancellationException.class, () -> run(temp.resolve("j"), plan(0.5), own, new Weights(LAYERS + 1)));
        CalibrationData kept = Journal.windows(temp.resolve("j")).orElseThrow();
        assertEquals("self", kept.source());
        assertEquals(24, kept.seqLen());
        assertEquals(7, kept.seed());
        assertEquals(own.windows().size(), kept.windows().size());
        for (int i = 0; i < own.windows().size(); i++) {
            assertArrayEquals(own.windows().get(i), kept.windows().get(i));
            assertArrayEquals(own.heldOut().get(i), kept.heldOut().get(i));
        }
    }
}
