package dev.espalier.prune.calibrate;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.espalier.kernels.Backend;
import dev.espalier.kernels.cpu.CpuBackend;
import dev.espalier.model.Block;
import dev.espalier.model.Model;
import dev.espalier.model.Projection;
import dev.espalier.model.Site;
import dev.espalier.model.Workspace;
import dev.espalier.prune.TestModels;
import dev.espalier.tensor.Tensor;
import java.lang.foreign.Arena;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class BlockWalkTest {
    private static final int SEQ_LEN = 24;

    private static CalibrationData data(int vocabulary, int windows, int heldOut) {
        int[] tokens = TestModels.tokens((windows + heldOut) * SEQ_LEN, vocabulary, 1);
        List<int[]> all = new ArrayList<>();
        for (int at = 0; at < tokens.length; at += SEQ_LEN) {
            all.add(Arrays.copyOfRange(tokens, at, at + SEQ_LEN));
        }
        return new CalibrationData("random", SEQ_LEN, 0, all.subList(0, windows), all.subList(windows, all.size()));
    }

    /// Positions, offsets, masks and norms are the blocks' and the embedding's own: 1e-5 of the largest feature.
    @ParameterizedTest
    @ValueSource(
            strings = {"llama-mha", "llama-gqa-tied", "llama-bias", "opt-preln", "opt-350m-style", "opt-post-norm"})
    void walkingBlockByBlockGivesWhatTheWholeForwardGives(String family) {
        try (Backend backend = new CpuBackend(2);
                Model model = TestModels.load(TestModels.family(family), backend);
                Scratch memory = new Scratch()) {
            CalibrationData data = data(model.spec().vocabulary(), 3, 1);
            try (BlockWalk walk = new BlockWalk(model, data, memory);
                    Workspace workspace = model.newWorkspace(SEQ_LEN)) {
                for (Block block : model.blocks()) {
                    walk.capture(block, () -> {}).close();
                    walk.advance(block, () -> {});
                }
                for (int window = 0; window < 4; window++) {
                    int[] tokens = window < 3
                            ? data.windows().get(window)
                            : data.heldOut().getFirst();
                    float[] whole =
                            model.run(tokens, 0, SEQ_LEN, null, workspace).toFloats();
                    float largest = 0;
                    for (float value : whole) {
                        largest = Math.max(largest, Math.abs(value));
                    }
                    assertArrayEquals(whole, walk.state(window).toFloats(), 1e-5f * largest);
                }
            }
        }
    }

    @Test
    void everySiteIsSeenOnceForEachWindow() {
        try (Backend backend = new CpuBackend(1);
                Model model = TestModels.load(TestModels.family("llama-gqa-tied"), backend);
                Scratch memory = new Scratch();
                BlockWalk walk = new BlockWalk(model, data(model.spec().vocabulary(), 5, 2), memory)) {
            int[] passes = {0};
            Block block = model.blocks().getFirst();
            try (BlockWalk.Statistics statistics = walk.capture(block, () -> passes[0]++)) {
                assertEquals(7, passes[0]);
                assertEquals(
                        List.of(Site.values()),
                        List.copyOf(statistics.calibration().keySet()));
                for (Projection projection : block.projections()) {
                    Gram gram = statistics.calibration().get(projection.site());
                    assertEquals(block.linear(projection).columns(), gram.features());
                    assertEquals(5, gram.sequences());
                    assertEquals(5 * SEQ_LEN, gram.tokens());
                    assertEquals(
                            2 * SEQ_LEN,
                            statistics.heldOut().get(projection.site()).tokens());
                }
            }
        }
    }

    @Test
    void hiddenStatesInAFileAreThoseInMemory() {
        try (Backend backend = new CpuBackend(1);
                Model model = TestModels.load(TestModels.family("opt-preln"), backend);
                Scratch memory = new Scratch();
                BlockWalk inMemory = new BlockWalk(model, data(model.spec().vocabulary(), 3, 1), memory);
                BlockWalk inFile = new BlockWalk(model, data(model.spec().vocabulary(), 3, 1), memory, 0)) {
            for (Block block : model.blocks()) {
                inMemory.advance(block, () -> {});
                inFile.advance(block, () -> {});
            }
            for (int window = 0; window < 4; window++) {
                assertArrayEquals(
                        inMemory.state(window).toFloats(), inFile.state(window).toFloats());
            }
        }
    }

    @Test
    void theGramOfSequencesIsTheGramOfAllTokensAtOnce() {
        Random random = new Random(3);
        float[] values = new float[60 * 20];
        for (int i = 0; i < values.length; i++) {
            values[i] = (float) random.nextGaussian() + 0.5f;
        }
        Tensor x = Tensor.of(Arena.ofAuto(), 60, 20, values);
        try (Backend backend = new CpuBackend(1);
                Gram parts = new Gram(20, backend.algebra());
                Gram whole = new Gram(20, backend.algebra())) {
            whole.add(x);
            parts.add(x.slice(0, 7));
            parts.add(x.slice(7, 40));
            parts.add(x.slice(40, 60));
            for (int i = 0; i < 20; i++) {
                double sum = 0;
                for (int t = 0; t < 60; t++) {
                    sum += x.get(t, i);
                }
                assertEquals(sum, parts.sum(i), 1e-9);
                for (int j = 0; j < 20; j++) {
                    double product = 0;
                    for (int t = 0; t < 60; t++) {
                        product += (double) x.get(t, i) * x.get(t, j);
                    }
                    // Float32 sums of at most 60 products of about 1 each.
                    assertEquals(product, whole.get(i, j), 1e-4);
                    assertEquals(product, parts.get(i, j), 1e-4);
                }
            }
            assertEquals(whole.tokens(), parts.tokens());
            assertEquals(3, parts.sequences());
        }
    }

    @Test
    void varianceIsWithinSequencesOnly() {
        Tensor low = Tensor.of(Arena.ofAuto(), 2, 1, 1f, 3f);
        Tensor high = Tensor.of(Arena.ofAuto(), 4, 1, 100f, 100f, 104f, 104f);
        try (Backend backend = new CpuBackend(1);
                Gram gram = new Gram(1, backend.algebra())) {
            gram.add(low);
            gram.add(high);
            assertEquals((2 * 1.0 + 4 * 4.0) / 6, gram.variance(0), 1e-9);
        }
    }

    @Test
    void peakMemoryIsCountedAndGivenBack() {
        try (Scratch root = new Scratch()) {
            try (Scratch one = root.child()) {
                one.tensor(10, 10);
                try (Scratch two = one.child()) {
                    two.bytes(1000);
                }
                one.bytes(100);
            }
            root.bytes(900);
            assertEquals(1400, root.peak());
            root.bytes(501);
            assertEquals(1401, root.peak());
        }
    }
}
