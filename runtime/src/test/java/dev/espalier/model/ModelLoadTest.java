package dev.espalier.model;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.espalier.checkpoint.Checkpoint;
import dev.espalier.kernels.Backend;
import dev.espalier.tensor.InputException;
import dev.espalier.testing.Backends;
import dev.espalier.testing.ModelFiles;
import dev.espalier.testing.ModelFiles.Stored;
import dev.espalier.testing.ModelRuns;
import java.nio.file.Path;
import java.util.List;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/// What a checkpoint may hold, and what is refused, by name.
class ModelLoadTest {
    private static final int[] IDS = {5, 17, 3, 90, 41};
    private static final String EMBEDDING = "model.embed_tokens.weight";
    private static final String HEAD = "lm_head.weight";

    private static ModelFiles files(String name) {
        return ModelFiles.read(Path.of("src/test/resources/families", name));
    }

    /// A tied LLaMA, as the fixture stores it: the embedding only.
    private static ModelFiles tied() {
        return files("llama-gelu-head-dim");
    }

    private static float[] logits(ModelFiles files) {
        try (Backend backend = Backends.cpu();
                Checkpoint checkpoint = files.open();
                Model model = Model.load(checkpoint, backend, ModelRuns.DENSE)) {
            return ModelRuns.logits(model, IDS, IDS.length);
        }
    }

    private static List<String> notices(ModelFiles files) {
        try (Backend backend = Backends.cpu();
                Checkpoint checkpoint = files.open();
                Model model = Model.load(checkpoint, backend, ModelRuns.DENSE)) {
            return model.notices();
        }
    }

    private static void expectRefusal(ModelFiles files, String... parts) {
        InputException refused = assertThrows(InputException.class, () -> logits(files));
        for (String part : parts) {
            assertTrue(refused.getMessage().contains(part), () -> "no '" + part + "' in: " + refused.getMessage());
        }
        assertFalse(refused.getMessage().contains("\n"), refused::getMessage);
    }

    @Test
    void aTiedModelMayStoreItsHeadOnly() {
        float[] expected = logits(tied());
        ModelFiles files = tied();
        files.tensors().put(HEAD, files.tensors().remove(EMBEDDING));
        assertArrayEquals(expected, logits(files));
        assertTrue(notices(files).isEmpty());
    }

    @Test
    void aTiedModelMayStoreBothNames() {
        ModelFiles files = tied();
        files.tensors().put(HEAD, files.tensors().get(EMBEDDING));
        assertArrayEquals(logits(tied()), logits(files));
        assertTrue(notices(files).isEmpty());
    }

    @Test
    void whereBothNamesAreStoredAndDifferTheTieFlagWinsAndTheModelSaysSo() {
        ModelFiles files = tied();
        Stored embedding = files.tensors().get(EMBEDDING);
        float[] other = embedding.floats();
        other[7] += 3;
        files.tensors().put(HEAD, Stored.of(embedding.shape(), other));
        assertArrayEquals(logits(tied()), logits(files));
        List<String> notices = notices(files);
        assertEquals(1, notices.size());
        assertTrue(notices.getFirst().contains(HEAD) && notices.getFirst().contains("tie_word_embeddings"));
    }

    @Test
    void anUntiedModelWithoutAHeadIsRefused() {
        ModelFiles files = tied();
        files.config().put("tie_word_embeddings", false);
        expectRefusal(files, "missing: lm_head.weight [97, 32]");
    }

    @Test
    void anUntiedHeadIsUsed() {
        ModelFiles files = tied();
        Stored embedding = files.tensors().get(EMBEDDING);
        float[] doubled = embedding.floats();
        for (int i = 0; i < doubled.length; i++) {
            doubled[i] *= 2;
        }
        files.config().put("tie_word_embeddings", false);
        files.tensors().put(HEAD, Stored.of(embedding.shape(), doubled));
        float[] expected = logits(tied());
        for (int i = 0; i < expected.length; i++) {
            expected[i] *= 2;
        }
        assertArrayEquals(expected, logits(files));
    }

    @Test
    void storedRotaryFrequenciesAreIgnored() {
        ModelFiles files = tied();
        for (int layer = 0; layer < 2; layer++) {
            files.tensors()
                    .put(
                            "model.layers." + layer + ".self_attn.rotary_emb.inv_freq",
                            Stored.of(new int[] {6}, new float[6]));
        }
        assertArrayEquals(logits(tied()), logits(files));
    }

    @ParameterizedTest
    @CsvSource({
        "llama-linear, model., ''",
        "opt-gelu, model.decoder., decoder.",
        "opt-bf16-old-prefix, decoder., model.decoder."
    })
    void namesMayHaveEitherPrefix(String name, String from, String to) {
        ModelFiles files = files(name);
        files.renamePrefix(from, to);
        assertArrayEquals(logits(files(name)), logits(files));
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "model.embed_tokens.weight",
                "lm_head.weight",
                "model.norm.weight",
                "model.layers.0.input_layernorm.weight",
                "model.layers.1.mlp.gate_proj.weight",
                "model.layers.1.self_attn.k_proj.weight"
            })
    void aMissingTensorIsNamed(String tensor) {
        ModelFiles files = files("llama-linear");
        files.tensors().remove(tensor);
        expectRefusal(files, "missing: " + tensor);
    }

    @Test
    void anUnknownTensorIsNamed() {
        ModelFiles files = files("llama-linear");
        files.tensors().put("model.layers.0.self_attn.q_proj.bias", Stored.of(new int[] {32}, new float[32]));
        expectRefusal(files, "not part of such a llama model: model.layers.0.self_attn.q_proj.bias");
    }

    @Test
    void aTensorOfTheWrongShapeIsNamedWithBothShapes() {
        ModelFiles files = files("opt-gelu");
        files.tensors().put("model.decoder.layers.1.fc1.weight", Stored.of(new int[] {32, 56}, new float[32 * 56]));
        expectRefusal(files, "model.decoder.layers.1.fc1.weight is [32, 56], the config says [56, 32]");
        ModelFiles flat = files("opt-gelu");
        flat.tensors().put("model.decoder.layers.1.fc1.bias", Stored.of(new int[] {1, 56}, new float[56]));
        expectRefusal(flat, "model.decoder.layers.1.fc1.bias is [1, 56], the config says [56]");
    }

    @ParameterizedTest
    @CsvSource({
        "hidden_size, 64",
        "intermediate_size, 57",
        "vocab_size, 96",
        "num_key_value_heads, 4",
        "head_dim, 16",
        "num_hidden_layers, 3",
        "num_hidden_layers, 1"
    })
    void aConfigOfAnotherModelIsRefused(String key, int value) {
        ModelFiles files = files("llama-linear");
        files.config().put(key, value);
        expectRefusal(files, "does not fit its config.json");
    }

    @Test
    void manyFaultsAreCountedNotListed() {
        ModelFiles files = files("llama-linear");
        files.tensors().keySet().removeIf(name -> name.startsWith("model.layers.1."));
        expectRefusal(files, "model.layers.1.", "and 6 more");
    }

    @Test
    void theEndsOfATextComeFromBothConfigs() {
        ModelFiles files = tied();
        files.config().put("eos_token_id", 2);
        files.generationConfig().putArray("eos_token_id").add(7).add(2);
        try (Backend backend = Backends.cpu();
                Checkpoint checkpoint = files.open();
                Model model = Model.load(checkpoint, backend, ModelRuns.DENSE)) {
            assertEquals(Set.of(2, 7), model.endOfSequence());
        }
    }

    @Test
    void aTokenOutsideTheVocabularyAndATextBeyondTheContextAreRefused() {
        try (Backend backend = Backends.cpu();
                Checkpoint checkpoint = tied().open();
                Model model = Model.load(checkpoint, backend, ModelRuns.DENSE);
                KvCache cache = model.newCache(1);
                Workspace workspace = model.newWorkspace(1000)) {
            assertEquals(48, workspace.tokens());
            for (int id : new int[] {-1, 97}) {
                InputException refused =
                        assertThrows(InputException.class, () -> model.run(new int[] {1, id}, 0, 2, cache, workspace));
                assertTrue(refused.getMessage().contains("token id " + id), refused::getMessage);
            }
            model.run(new int[48], 0, 48, cache, workspace);
            InputException refused =
                    assertThrows(InputException.class, () -> model.run(new int[1], 0, 1, cache, workspace));
            assertTrue(refused.getMessage().contains("context of 48"), refused::getMessage);
        }
    }
}
