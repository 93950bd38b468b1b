package dev.espalier.prune.calibrate;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.espalier.kernels.Backend;
import dev.espalier.kernels.cpu.CpuBackend;
import dev.espalier.model.KvCache;
import dev.espalier.model.Model;
import dev.espalier.model.Workspace;
import dev.espalier.prune.TestModels;
import dev.espalier.prune.calibrate.CalibrationData.Order;
import dev.espalier.prune.calibrate.CalibrationData.Request;
import dev.espalier.tensor.InputException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class SelfSamplerTest {
    @Test
    void windowsBeginWithTheStartTokenAndDependOnTheSeedAlone() {
        List<CalibrationData> runs = new ArrayList<>();
        for (int threads : new int[] {1, 3}) {
            try (Backend backend = new CpuBackend(threads);
                    Model model = TestModels.load(TestModels.family("llama-mha"), backend)) {
                List<Double> fractions = new ArrayList<>();
                CalibrationData data = CalibrationData.selfSampled(
                        model,
                        new Request(20, 24, 7, Order.RANDOM),
                        Double.POSITIVE_INFINITY,
                        (fraction, secondsLeft) -> fractions.add(fraction));
                assertEquals("self", data.source());
                assertEquals(20, data.windows().size());
                assertEquals(2, data.heldOut().size());
                for (int[] window : data.windows()) {
                    assertEquals(24, window.length);
                    assertEquals(1, window[0]);
                    assertTrue(Arrays.stream(window).allMatch(id -> id >= 0 && id < 307));
                }
                assertTrue(Arrays.stream(data.windows().get(3)).distinct().count() > 5);
                assertEquals(1, fractions.getLast(), 1e-9);
                runs.add(data);
            }
        }
        assertTrue(Arrays.deepEquals(
                runs.get(0).windows().toArray(), runs.get(1).windows().toArray()));
    }

    /// What sequences of different lengths get together is what each gets alone; 1e-5 of the largest feature, for one row
    /// goes another way through the kernels than several.
    @ParameterizedTest
    @ValueSource(strings = {"llama-gqa-tied", "opt-preln", "opt-350m-style"})
    void severalSequencesInOneStepAreEachWhatTheyAreAlone(String family) {
        try (Backend backend = new CpuBackend(2);
                Model model = TestModels.load(TestModels.family(family), backend);
                Workspace workspace = model.newWorkspace(16);
                Workspace alone = model.newWorkspace(16)) {
            KvCache[] caches = new KvCache[3];
            int[][] texts = new int[3][];
            for (int i = 0; i < 3; i++) {
                texts[i] = TestModels.tokens(9 + i, 307, i);
                caches[i] = model.newCache(1);
                model.run(texts[i], 0, 4 + i, caches[i], workspace);
            }
            for (int t = 4; t < 9; t++) {
                int[] next = {texts[0][t], texts[1][t + 1], texts[2][t + 2]};
                float[] together = model.step(next, caches, workspace).toFloats();
                for (int i = 0; i < 3; i++) {
                    float[] rows =
                            model.run(texts[i], 0, t + i + 1, null, alone).toFloats();
                    int width = model.spec().hidden();
                    float[] expected = Arrays.copyOfRange(rows, rows.length - width, rows.length);
                    float largest = 0;
                    for (float value : expected) {
                        largest = Math.max(largest, Math.abs(value));
                    }
                    assertArrayEquals(
                            expected, Arrays.copyOfRange(together, i * width, (i + 1) * width), 1e-5f * largest);
                }
            }
            for (KvCache cache : caches) {
                cache.close();
            }
        }
    }

    @Test
    void whenTheTimeIsUpItEndsWithWhatThereIs() {
        try (Backend backend = new CpuBackend(1);
                Model model = TestModels.load(TestModels.family("opt-preln"), backend)) {
            CalibrationData data = CalibrationData.selfSampled(
                    model, new Request(128, 48, 0, Order.RANDOM), 0, (fraction, left) -> {});
            assertEquals(16, data.seqLen());
            assertEquals(15, data.windows().size());
            assertEquals(1, data.heldOut().size());
        }
    }

    @Test
    void windowsBeyondTheContextAreRefused() {
        try (Backend backend = new CpuBackend(1);
                Model model = TestModels.load(TestModels.family("opt-preln"), backend)) {
            Request request = new Request(2, 65, 0, Order.RANDOM);
            assertThrows(
                    InputException.class, () -> CalibrationData.selfSampled(model, request, 1, (fraction, left) -> {}));
        }
    }
}
