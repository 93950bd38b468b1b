package dev.espalier.generate;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.espalier.checkpoint.Checkpoint;
import dev.espalier.generate.Generation.FinishReason;
import dev.espalier.kernels.Backend;
import dev.espalier.model.KvCache;
import dev.espalier.model.Model;
import dev.espalier.tensor.InputException;
import dev.espalier.testing.Backends;
import dev.espalier.testing.ModelFiles;
import dev.espalier.testing.ModelFiles.Stored;
import dev.espalier.testing.ModelRuns;
import dev.espalier.testing.SharedFolder;
import dev.espalier.tokenizer.Tokenizer;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/// Faults that users of other runtimes reported, tried on a small trained model; thread numbers are GitHub's.
class ReportedFaultsTest {
    private static final int[] LILY = {1, 403, 407, 261, 378, 432, 383, 286, 261, 376, 298, 315, 421, 395, 317, 426};
    private static final int[] ANSWER = {338, 401, 396, 267, 337, 410, 408, 419, 292, 411, 322, 265, 282, 295, 433, 426
    };
    private static final String EMBEDDING = "model.embed_tokens.weight";

    private static ModelFiles stories() {
        return ModelFiles.read(SharedFolder.model("stories260K"));
    }

    private static GenerationOptions greedy(int tokens) {
        return GenerationOptions.of(tokens, SamplingOptions.GREEDY);
    }

    private static Generation generate(ModelFiles files, int[] prompt, GenerationOptions options) {
        return generate(files, prompt, options, TokenListener.NONE);
    }

    private static Generation generate(
            ModelFiles files, int[] prompt, GenerationOptions options, TokenListener listener) {
        Tokenizer tokenizer = Tokenizer.of(
                files.others().get("tokenizer.json"), files.others().get("tokenizer_config.json"));
        try (Backend backend = Backends.serial();
                Checkpoint checkpoint = files.open();
                Model model = Model.load(checkpoint, backend, ModelRuns.DENSE);
                Generator generator = new Generator(model, tokenizer)) {
            return generator.generate(prompt, options, listener);
        }
    }

    @Test
    void aRedundantTiedHeadIsNoError() { // vllm 6758
        ModelFiles files = stories();
        files.tensors().put("lm_head.weight", files.tensors().get(EMBEDDING));
        assertArrayEquals(ANSWER, generate(files, LILY, greedy(16)).tokenIds());
    }

    @Test
    void optCheckpointsWithTheShortPrefixLoad() { // DeepSpeed 4694, text-generation-inference 2197
        ModelFiles files = ModelFiles.read(SharedFolder.model("opt-wt2-4m"));
        int[] prompt = {2, 55, 261, 728, 1000, 1934};
        int[] expected = generate(files, prompt, greedy(16)).tokenIds();
        files.renamePrefix("model.decoder.", "decoder.");
        assertTrue(files.tensors().containsKey("decoder.embed_tokens.weight"));
        assertArrayEquals(expected, generate(files, prompt, greedy(16)).tokenIds());
    }

    @Test
    void thetaInRopeParametersIsNotOverlooked() { // vllm 42624
        int[] expected = {338, 401, 396, 267, 337, 335, 311, 267, 422, 419, 322, 265};
        ModelFiles nested = stories();
        nested.config().remove("rope_theta");
        nested.config().putObject("rope_parameters").put("rope_type", "default").put("rope_theta", 500000.0);
        assertArrayEquals(
                expected, Arrays.copyOf(generate(nested, LILY, greedy(16)).tokenIds(), 12));
        ModelFiles top = stories();
        top.config().put("rope_theta", 500000.0);
        assertArrayEquals(
                expected, Arrays.copyOf(generate(top, LILY, greedy(16)).tokenIds(), 12));
    }

    @Test
    void theOlderKeyOfRopeScalingIsRead() { // transformers 32167
        List<List<TokenLogprobs>> both = new ArrayList<>();
        for (String key : List.of("type", "rope_type")) {
            ModelFiles files = stories();
            files.config().putObject("rope_scaling").put(key, "linear").put("factor", 2.0);
            both.add(generate(files, LILY, greedy(16).withLogprobs(1)).logprobs());
        }
        assertEquals(both.get(0), both.get(1));
        assertNotEquals(generate(stories(), LILY, greedy(16).withLogprobs(1)).logprobs(), both.get(0));
        ModelFiles unknown = stories();
        unknown.config().putObject("rope_scaling").put("type", "spiral").put("factor", 2.0);
        InputException refused = assertThrows(InputException.class, () -> generate(unknown, LILY, greedy(1)));
        assertTrue(refused.getMessage().contains("spiral"), refused::getMessage);
    }

    @Test
    void storedRotaryBuffersAreIgnored() { // transformers 35255
        ModelFiles files = stories();
        for (int layer = 0; layer < 5; layer++) {
            files.tensors()
                    .put(
                            "model.layers." + layer + ".self_attn.rotary_emb.inv_freq",
                            Stored.of(new int[] {4}, new float[4]));
        }
        assertArrayEquals(ANSWER, generate(files, LILY, greedy(16)).tokenIds());
    }

    @Test
    void everyEndOfSequenceTokenOfAListCounts() { // mlx-examples 1139, vllm 4182
        List<ModelFiles> variants = new ArrayList<>();
        for (int[] order : new int[][] {{2, 426}, {426, 2}}) {
            ModelFiles files = stories();
            files.generationConfig().putArray("eos_token_id").add(order[0]).add(order[1]);
            variants.add(files);
        }
        ModelFiles config = stories();
        config.config().putArray("eos_token_id").add(2).add(426);
        config.generationConfig().removeAll();
        variants.add(config);
        for (ModelFiles files : variants) {
            Generation ended = generate(files, LILY, greedy(32));
            assertEquals(FinishReason.EOS, ended.finishReason());
            assertArrayEquals(ANSWER, ended.tokenIds());
            assertEquals(
                    32, generate(files, LILY, greedy(32).withIgnoreEos(true)).tokenIds().length);
        }
    }

    @Test
    void aStopStringOverTokenBordersNeverLeaksItsBeginning() { // vllm 3574, SwiftLM 126
        StringBuilder streamed = new StringBuilder();
        TokenListener listener = new TokenListener() {
            @Override
            public void text(String piece) {
                streamed.append(piece);
                assertFalse(streamed.toString().contains("rk"), streamed::toString);
            }
        };
        Generation generation = generate(stories(), LILY, greedy(32).withStop(List.of("rk. One")), listener);
        assertEquals("She loved to play outside in the pa", generation.text());
        assertEquals(generation.text(), streamed.toString());
        assertEquals(FinishReason.STOP, generation.finishReason());
    }

    @Test
    void anEmptyStopStringIsNone() { // ollama 5545, 3629
        String expected = generate(stories(), LILY, greedy(16)).text();
        assertEquals("She loved to play outside in the park.", expected);
        for (List<String> stop : List.of(List.<String>of(), List.of(""), List.of("", "zzz"))) {
            Generation generation = generate(stories(), LILY, greedy(16).withStop(stop));
            assertEquals(expected, generation.text());
            assertEquals(FinishReason.LENGTH, generation.finishReason());
        }
        for (List<String> stop : List.of(List.of("park"), List.of("park", "zzz"), List.of("zzz", "park"))) {
            assertEquals(
                    "She loved to play outside in the ",
                    generate(stories(), LILY, greedy(16).withStop(stop)).text());
        }
    }

    @Test
    void topPZeroIsGreedyAndTopKBeyondTheVocabularyIsNoFilter() { // transformers 24111, sendnn-inference 542
        SamplingOptions sampling = SamplingOptions.of(1, 1);
        assertArrayEquals(
                ANSWER,
                generate(stories(), LILY, GenerationOptions.of(16, sampling.withTopP(0)))
                        .tokenIds());
        assertArrayEquals(
                generate(stories(), LILY, GenerationOptions.of(16, sampling)).tokenIds(),
                generate(stories(), LILY, GenerationOptions.of(16, sampling.withTopK(9_999_999)))
                        .tokenIds());
        Generation many = generate(stories(), LILY, greedy(2).withLogprobs(10_000));
        assertEquals(512, many.logprobs().getFirst().top().size());
    }

    @Test
    void theSeedIsUsed() { // llama.cpp 7381
        List<String> texts = new ArrayList<>();
        for (long seed : new long[] {42, 42, 43}) {
            texts.add(generate(stories(), LILY, GenerationOptions.of(32, SamplingOptions.of(1.5, seed)))
                    .text());
        }
        assertEquals(texts.get(0), texts.get(1));
        assertNotEquals(texts.get(0), texts.get(2));
    }

    /// The tokenizer's ids of some words exchanged with those of the bytes of 🙂.
    @ParameterizedTest
    @CsvSource({"8, '🙂 play outs'", "3, �"})
    void aCharacterOfSeveralTokensIsNeverShownInParts(int tokens, String expected) { // llama3.java 5, llama.cpp 11738
        ModelFiles files = stories();
        exchange(files, new int[][] {{338, 243}, {401, 162}, {396, 156}, {267, 133}});
        List<String> pieces = new ArrayList<>();
        TokenListener listener = new TokenListener() {
            @Override
            public void text(String piece) {
                pieces.add(piece);
            }
        };
        Generation generation = generate(files, LILY, greedy(tokens), listener);
        assertEquals(expected, generation.text());
        assertEquals(expected, String.join("", pieces));
    }

    private static void exchange(ModelFiles files, int[][] pairs) {
        try {
            ObjectMapper json = new ObjectMapper();
            ObjectNode tokenizer = (ObjectNode) json.readTree(files.others().get("tokenizer.json"));
            ObjectNode vocabulary = (ObjectNode) tokenizer.get("model").get("vocab");
            for (int[] pair : pairs) {
                String first = word(vocabulary, pair[0]);
                String second = word(vocabulary, pair[1]);
                vocabulary.put(first, pair[1]);
                vocabulary.put(second, pair[0]);
            }
            files.others().put("tokenizer.json", json.writeValueAsBytes(tokenizer));
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    private static String word(ObjectNode vocabulary, int id) {
        return vocabulary.properties().stream()
                .filter(entry -> entry.getValue().intValue() == id)
                .findFirst()
                .orElseThrow()
                .getKey();
    }

    @Test
    void promptLogprobsAreThoseOfTheReference() { // vllm 6521, llama.cpp 27174
        double[] expected = {-0.2437, -0.0175, -0.0121, -0.0007, -0.0317};
        Generation generation =
                generate(stories(), LILY, greedy(0).withLogprobs(1).withPromptLogprobs(true));
        assertEquals(15, generation.promptLogprobs().size());
        for (int i = 0; i < expected.length; i++) {
            assertEquals(expected[i], generation.promptLogprobs().get(i).logprob(), 1e-3);
        }
    }

    @Test
    void aDeclaredContextAllocatesNothing() { // wanda 68, optimum 1748
        ModelFiles files = stories();
        files.config().put("max_position_embeddings", 131_072);
        assertArrayEquals(ANSWER, generate(files, LILY, greedy(16)).tokenIds());
        try (Backend backend = Backends.serial();
                Checkpoint checkpoint = files.open();
                Model model = Model.load(checkpoint, backend, ModelRuns.DENSE);
                KvCache cache = model.newCache(16)) {
            assertEquals(2L * 5 * 16 * 32 * 4, cache.bytes());
        }
    }
}
