package dev.espalier.model;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.espalier.checkpoint.Checkpoint;
import dev.espalier.kernels.Backend;
import dev.espalier.testing.Backends;
import dev.espalier.testing.ModelFiles;
import dev.espalier.testing.ModelRuns;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Test;

class KvCacheTest {
    @Test
    void aDeclaredContextAllocatesNothing() {
        ModelFiles files = ModelFiles.read(Path.of("src/test/resources/families/llama-linear"));
        files.config().put("max_position_embeddings", 1 << 30);
        try (Backend backend = Backends.cpu();
                Checkpoint checkpoint = files.open();
                Model model = Model.load(checkpoint, backend, ModelRuns.DENSE);
                KvCache cache = model.newCache(3)) {
            assertEquals(3, cache.capacity());
            assertEquals(2L * 2 * 3 * 16 * 4, cache.bytes());
        }
    }

    @Test
    void itGrowsByDoublingUpToTheContextAndKeepsWhatItHolds() {
        try (Backend backend = Backends.cpu();
                Checkpoint checkpoint = Checkpoint.open(Path.of("src/test/resources/families/llama-linear"));
                Model model = Model.load(checkpoint, backend, ModelRuns.DENSE);
                KvCache growing = model.newCache(1);
                KvCache large = model.newCache(48);
                Workspace workspace = model.newWorkspace(16)) {
            int[] ids = new int[48];
            for (int i = 0; i < ids.length; i++) {
                ids[i] = 3 + i * 7 % 90;
            }
            int[] capacities = {1, 2, 4, 4, 8};
            for (int t = 0; t < ids.length; t++) {
                model.forward(ids, t, 1, growing, workspace);
                float[] grown = workspace.logits().toFloats();
                model.forward(ids, t, 1, large, workspace);
                assertArrayEquals(workspace.logits().toFloats(), grown);
                if (t < capacities.length) {
                    assertEquals(capacities[t], growing.capacity());
                }
            }
            assertEquals(48, growing.capacity());
            assertEquals(48, growing.length());
        }
    }

    @Test
    void aShortenedCacheContinuesFromThere() {
        try (Backend backend = Backends.cpu();
                Checkpoint checkpoint = Checkpoint.open(Path.of("src/test/resources/families/opt-gelu"));
                Model model = Model.load(checkpoint, backend, ModelRuns.DENSE);
                KvCache cache = model.newCache(4);
                Workspace workspace = model.newWorkspace(4)) {
            int[] ids = {9, 8, 7, 6};
            model.forward(ids, 0, 4, cache, workspace);
            float[] first = workspace.logits().toFloats();
            cache.truncate(3);
            model.forward(new int[] {50}, 0, 1, cache, workspace);
            cache.truncate(0);
            model.forward(ids, 0, 4, cache, workspace);
            assertArrayEquals(first, workspace.logits().toFloats());
            assertThrows(IllegalArgumentException.class, () -> cache.truncate(5));
        }
    }

    @Test
    void aStepOfSeveralSequencesGivesWhatEachGivesAlone() {
        for (String name : List.of("llama-linear", "opt-350m-style")) {
            try (Backend backend = Backends.cpu();
                    Checkpoint checkpoint = Checkpoint.open(Path.of("src/test/resources/families", name));
                    Model model = Model.load(checkpoint, backend, ModelRuns.DENSE);
                    Workspace workspace = model.newWorkspace(4)) {
                int[][] prompts = {{9, 8, 7}, {50}, {4, 5, 6, 7}};
                int[] next = {11, 12, 13};
                KvCache[] caches = new KvCache[3];
                float[][] alone = new float[3][];
                for (int i = 0; i < 3; i++) {
                    caches[i] = model.newCache(1);
                    model.forward(prompts[i], 0, prompts[i].length, caches[i], workspace);
                    alone[i] = model.run(next, i, 1, caches[i], workspace).toFloats();
                    caches[i].truncate(prompts[i].length);
                }
                float[] together = model.step(next, caches, workspace).toFloats();
                for (int i = 0; i < 3; i++) {
                    int hidden = model.spec().hidden();
                    float[] row = Arrays.copyOfRange(together, i * hidden, (i + 1) * hidden);
                    // Float32 sums in another order, as in prefill against decode.
                    assertTrue(ModelRuns.relativeError(row, alone[i]) < 1e-4, name);
                    assertEquals(prompts[i].length + 1, caches[i].length());
                    caches[i].close();
                }
            }
        }
    }
}
