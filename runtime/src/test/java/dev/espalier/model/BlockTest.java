package dev.espalier.model;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.espalier.checkpoint.Checkpoint;
import dev.espalier.kernels.Backend;
import dev.espalier.kernels.Linear;
import dev.espalier.kernels.format.Dense;
import dev.espalier.tensor.DType;
import dev.espalier.tensor.Tensor;
import dev.espalier.testing.Backends;
import dev.espalier.testing.ModelRuns;
import java.lang.foreign.Arena;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

/// One block on its own, as a pruner sees it.
class BlockTest {
    private static final int[] IDS = {5, 17, 3, 90, 41, 66, 8};

    private final Backend backend = Backends.cpu();
    private final Arena arena = Arena.ofShared();
    private final List<AutoCloseable> opened = new ArrayList<>();

    @AfterEach
    void close() throws Exception {
        for (AutoCloseable resource : opened.reversed()) {
            resource.close();
        }
        backend.close();
        arena.close();
    }

    private Model model(String name) {
        Checkpoint checkpoint = Checkpoint.open(Path.of("src/test/resources/families", name));
        opened.add(checkpoint);
        Model model = Model.load(checkpoint, backend, ModelRuns.DENSE);
        opened.add(model);
        return model;
    }

    private Workspace workspace(Model model) {
        Workspace workspace = model.newWorkspace(IDS.length);
        opened.add(workspace);
        return workspace;
    }

    @Test
    void blockByBlockGivesWhatTheWholeForwardGives() {
        for (String name : List.of("llama-old-spelling", "opt-350m-style", "opt-preln")) {
            Model model = model(name);
            Workspace workspace = workspace(model);
            Tensor hidden =
                    Tensor.allocate(arena, DType.F32, IDS.length, model.spec().hidden());
            model.embed(IDS, 0, hidden);
            for (Block block : model.blocks()) {
                block.forward(hidden, 0, null, workspace, null);
            }
            Tensor logits =
                    Tensor.allocate(arena, DType.F32, IDS.length, model.spec().vocabulary());
            model.logits(hidden, logits);
            double error = ModelRuns.relativeError(logits.toFloats(), ModelRuns.logits(model, IDS, IDS.length));
            assertEquals(0, error, name);
        }
    }

    @Test
    void theTapSeesEachSiteOnceWithWhatTheLayersRead() {
        Model model = model("opt-gelu");
        Block block = model.blocks().getFirst();
        Workspace workspace = workspace(model);
        Tensor hidden = Tensor.allocate(arena, DType.F32, IDS.length, 32);
        model.embed(IDS, 0, hidden);
        float[] before = hidden.toFloats();
        Map<Site, float[]> seen = new EnumMap<>(Site.class);
        block.forward(hidden, 0, null, workspace, (site, input) -> {
            assertEquals(IDS.length, input.rows());
            assertTrue(seen.put(site, input.toFloats()) == null, () -> site + " was shown twice");
        });
        assertEquals(List.of(Site.values()), List.copyOf(seen.keySet()));
        assertEquals(IDS.length * 56, seen.get(Site.MLP_OUTPUT).length);

        // The residual stream afterwards is what it was, plus O of one site, plus DOWN of another.
        Tensor expected = Tensor.of(arena, IDS.length, 32, before);
        for (Projection projection : List.of(Projection.O, Projection.DOWN)) {
            int features = block.linear(projection).columns();
            Tensor x = Tensor.of(arena, IDS.length, features, seen.get(projection.site()));
            Tensor y = Tensor.allocate(arena, DType.F32, IDS.length, 32);
            backend.linear(block.linear(projection), bias(model, block, projection), x, y);
            backend.add(y, expected);
        }
        assertArrayEquals(expected.toFloats(), hidden.toFloats(), 1e-5f);
    }

    private Tensor bias(Model model, Block block, Projection projection) {
        return model.checkpoint().read(block.weightName(projection).replace(".weight", ".bias"), arena);
    }

    @Test
    void projectionsCarryTheCheckpointsNames() {
        Block llama = model("llama-no-prefix").blocks().get(1);
        assertEquals(List.of(Projection.values()), llama.projections());
        assertEquals("layers.1.mlp.gate_proj.weight", llama.weightName(Projection.GATE));
        Block opt = model("opt-gelu").blocks().get(1);
        assertEquals(
                List.of(Projection.Q, Projection.K, Projection.V, Projection.O, Projection.UP, Projection.DOWN),
                opt.projections());
        assertEquals("model.decoder.layers.1.fc2.weight", opt.weightName(Projection.DOWN));
        assertThrows(IllegalArgumentException.class, () -> opt.linear(Projection.GATE));
    }

    @Test
    void aSwappedLayerIsUsedAndOneOfAnotherShapeIsNot() {
        Model model = model("llama-linear");
        float[] dense = ModelRuns.logits(model, IDS, IDS.length);
        Block block = model.blocks().get(1);
        Linear down = block.linear(Projection.DOWN);
        Tensor zeros = Tensor.allocate(arena, DType.F32, down.rows(), down.columns());
        long bytes = model.linearBytes();
        block.swap(Projection.DOWN, backend.linear(zeros, Dense.mapped()));
        float[] pruned = ModelRuns.logits(model, IDS, IDS.length);
        assertTrue(ModelRuns.relativeError(pruned, dense) > 1e-2);
        assertEquals(bytes, model.linearBytes());
        Tensor turned = Tensor.allocate(arena, DType.F32, down.columns(), down.rows());
        Linear wrong = backend.linear(turned, Dense.mapped());
        assertThrows(IllegalArgumentException.class, () -> block.swap(Projection.DOWN, wrong));
        wrong.close();
    }

    @Test
    void bytesCountWhatADecodedTokenReads() {
        Model model = model("llama-bf16");
        long perBlock = 2L * (32 * 32 + 16 * 32 + 16 * 32 + 32 * 32 + 3 * 56 * 32);
        assertEquals(2 * perBlock, model.linearBytes());
        long norms = 4L * 5 * 32;
        long headAndOneEmbedding = 2L * 97 * 32 + 2L * 32;
        assertEquals(2 * perBlock + norms + headAndOneEmbedding, model.weightBytes());
    }
}
