package dev.espalier.model;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import dev.espalier.checkpoint.Checkpoint;
import dev.espalier.kernels.Backend;
import dev.espalier.testing.Backends;
import dev.espalier.testing.ModelFiles;
import dev.espalier.testing.ModelRuns;
import java.nio.file.Path;
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
}
