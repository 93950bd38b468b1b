package dev.espalier.generate;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.espalier.checkpoint.Checkpoint;
import dev.espalier.generate.Generation.FinishReason;
import dev.espalier.kernels.Backend;
import dev.espalier.model.Model;
import dev.espalier.tensor.InputException;
import dev.espalier.testing.Backends;
import dev.espalier.testing.ModelFiles;
import dev.espalier.testing.ModelRuns;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.junit.jupiter.api.Test;

/// Generation without a tokenizer, on a model of random weights: 97 tokens, a context of 48.
class GeneratorTest {
    private static final int VOCABULARY = 97;
    private static final int[] PROMPT = {5, 17, 3};

    private interface Use {
        void use(Generator generator, Model model) throws Exception;
    }

    private static void with(ModelFiles files, Use use) throws Exception {
        try (Backend backend = Backends.cpu();
                Checkpoint checkpoint = files.open();
                Model model = Model.load(checkpoint, backend, ModelRuns.DENSE);
                Generator generator = new Generator(model, null)) {
            use.use(generator, model);
        }
    }

    /// Without any end-of-sequence token.
    private static ModelFiles files() {
        ModelFiles files = ModelFiles.read(Path.of("src/test/resources/families/llama-linear"));
        files.config().putNull("eos_token_id");
        files.generationConfig().removeAll();
        return files;
    }

    private static GenerationOptions greedy(int tokens) {
        return GenerationOptions.of(tokens, SamplingOptions.GREEDY);
    }

    private static Generation generate(Generator generator, int[] prompt, GenerationOptions options) {
        return generator.generate(prompt, options, TokenListener.NONE);
    }

    private static float[] row(float[] logits, int row) {
        return Arrays.copyOfRange(logits, row * VOCABULARY, (row + 1) * VOCABULARY);
    }

    private static int[] joined(int[] prompt, int[] tokens) {
        int[] all = Arrays.copyOf(prompt, prompt.length + tokens.length);
        System.arraycopy(tokens, 0, all, prompt.length, tokens.length);
        return all;
    }

    @Test
    void greedyGenerationTakesTheLikeliestTokenOfEachStep() throws Exception {
        with(files(), (generator, model) -> {
            int[] tokens = generate(generator, PROMPT, greedy(10)).tokenIds();
            float[] logits = ModelRuns.logits(model, joined(PROMPT, tokens), 13);
            for (int i = 0; i < 10; i++) {
                assertEquals(new Sampler(SamplingOptions.GREEDY, VOCABULARY).next(row(logits, 2 + i)), tokens[i]);
            }
        });
    }

    @Test
    void anEndOfSequenceTokenOfEitherConfigEndsTheText() throws Exception {
        int[][] free = new int[1][];
        with(
                files(),
                (generator, model) ->
                        free[0] = generate(generator, PROMPT, greedy(8)).tokenIds());
        int end = free[0][4];
        int[] expected = Arrays.copyOf(free[0], 1 + indexOf(free[0], end));
        ModelFiles first = files();
        first.config().put("eos_token_id", 96);
        first.generationConfig().putArray("eos_token_id").add(96).add(end);
        ModelFiles second = files();
        second.generationConfig().putArray("eos_token_id").add(end).add(96);
        ModelFiles third = files();
        third.config().putArray("eos_token_id").add(96).add(end);
        for (ModelFiles files : List.of(first, second, third)) {
            with(files, (generator, model) -> {
                Generation ended = generate(generator, PROMPT, greedy(8));
                assertEquals(FinishReason.EOS, ended.finishReason());
                assertArrayEquals(expected, ended.tokenIds());
                Generation on = generate(generator, PROMPT, greedy(8).withIgnoreEos(true));
                assertEquals(FinishReason.LENGTH, on.finishReason());
                assertArrayEquals(free[0], on.tokenIds());
            });
        }
    }

    private static int indexOf(int[] tokens, int wanted) {
        for (int i = 0; i < tokens.length; i++) {
            if (tokens[i] == wanted) {
                return i;
            }
        }
        throw new AssertionError();
    }

    @Test
    void theContextEndsTheTextAndAPromptBeyondItIsRefused() throws Exception {
        with(files(), (generator, model) -> {
            Generation full = generate(generator, new int[40], greedy(1000));
            assertEquals(FinishReason.LENGTH, full.finishReason());
            // 48 positions, and one more token that the last of them predicts.
            assertEquals(9, full.tokenIds().length);
            assertEquals(1, generate(generator, new int[48], greedy(5)).tokenIds().length);
            assertRefused(() -> generate(generator, new int[49], greedy(1)), "49", "48");
            assertRefused(
                    () -> generate(generator, new int[40], greedy(10).withIgnoreEos(true)), "40", "exactly 10", "48");
            try (Generator narrow = new Generator(model, null, 8)) {
                assertRefused(() -> generate(narrow, new int[9], greedy(1)), "9", "8");
            }
        });
    }

    @Test
    void aPromptThatNothingFollowsFromIsRefusedAndTheNextOneIsAnswered() throws Exception {
        with(files(), (generator, model) -> {
            assertRefused(() -> generate(generator, new int[0], greedy(1)), "no tokens");
            assertRefused(() -> generate(generator, new int[] {5, 97}, greedy(1)), "97");
            assertRefused(() -> generate(generator, new int[] {-1}, greedy(1)), "-1");
            assertRefused(() -> generate(generator, PROMPT, greedy(1).withStop(List.of("x"))), "tokenizer");
            assertRefused(() -> greedy(-1), "-1");
            assertEquals(1, generate(generator, PROMPT, greedy(1)).tokenIds().length);
        });
    }

    @Test
    void logprobsAreThoseOfTheModelWhateverTheSampling() throws Exception {
        with(files(), (generator, model) -> {
            SamplingOptions wild = new SamplingOptions(3, 5, 0.5, 0, 1.5, 11);
            Generation generation = generate(
                    generator,
                    PROMPT,
                    GenerationOptions.of(6, wild).withLogprobs(2).withPromptLogprobs(true));
            int[] all = joined(PROMPT, generation.tokenIds());
            float[] logits = ModelRuns.logits(model, all, all.length);
            List<TokenLogprobs> entries = new ArrayList<>(generation.promptLogprobs());
            assertEquals(2, entries.size());
            entries.addAll(generation.logprobs());
            assertEquals(8, entries.size());
            for (int i = 0; i < 8; i++) {
                TokenLogprobs expected = TokenLogprobs.of(row(logits, i), all[i + 1], 2);
                TokenLogprobs entry = entries.get(i);
                assertEquals(expected.tokenId(), entry.tokenId());
                // Rounding of float32 sums in another order.
                assertEquals(expected.logprob(), entry.logprob(), 1e-4);
                assertEquals(
                        expected.top().getFirst().tokenId(),
                        entry.top().getFirst().tokenId());
            }
        });
    }

    @Test
    void noNewTokensOnlyReadsThePrompt() throws Exception {
        with(files(), (generator, model) -> {
            Generation generation = generate(generator, PROMPT, greedy(0).withPromptLogprobs(true));
            assertEquals(0, generation.tokenIds().length);
            assertEquals(FinishReason.LENGTH, generation.finishReason());
            assertEquals(2, generation.promptLogprobs().size());
            assertNull(generation.text());
        });
    }

    @Test
    void theListenerHearsEveryTokenAndCancellingEndsBeforeTheNext() throws Exception {
        with(files(), (generator, model) -> {
            List<Integer> heard = new ArrayList<>();
            TokenListener listener = new TokenListener() {
                @Override
                public void token(int id, TokenLogprobs logprobs) {
                    heard.add(id);
                }
            };
            Generation cut = generator.generate(PROMPT, greedy(20).withCancelled(() -> heard.size() == 4), listener);
            assertEquals(FinishReason.CANCELLED, cut.finishReason());
            assertEquals(4, heard.size());
            assertArrayEquals(heard.stream().mapToInt(id -> id).toArray(), cut.tokenIds());
            Generation none = generator.generate(PROMPT, greedy(20).withCancelled(() -> true), listener);
            assertEquals(FinishReason.CANCELLED, none.finishReason());
            assertEquals(0, none.tokenIds().length);
        });
    }

    @Test
    void severalAtOnceAreAnsweredAsEachAlone() throws Exception {
        with(files(), (generator, model) -> {
            List<int[]> alone = new ArrayList<>();
            for (int i = 0; i < 4; i++) {
                alone.add(sampled(generator, i));
            }
            try (ExecutorService threads = Executors.newVirtualThreadPerTaskExecutor()) {
                List<Future<int[]>> together = new ArrayList<>();
                for (int i = 0; i < 4; i++) {
                    int seed = i;
                    together.add(threads.submit(() -> sampled(generator, seed)));
                }
                for (int i = 0; i < 4; i++) {
                    assertArrayEquals(alone.get(i), together.get(i).get());
                }
            }
        });
    }

    private static int[] sampled(Generator generator, int seed) {
        GenerationOptions options = GenerationOptions.of(12, SamplingOptions.of(1, seed));
        return generate(generator, new int[] {seed, 17, 3}, options).tokenIds();
    }

    @Test
    void brokenWeightsAreAnErrorNotAnAnswer() throws Exception {
        ModelFiles files = files();
        ModelFiles.Stored norm = files.tensors().get("model.norm.weight");
        float[] broken = norm.floats();
        broken[3] = Float.NaN;
        files.tensors().put("model.norm.weight", ModelFiles.Stored.of(norm.shape(), broken));
        with(files, (generator, model) -> {
            assertThrows(ArithmeticException.class, () -> generate(generator, PROMPT, greedy(3)));
            assertThrows(
                    ArithmeticException.class,
                    () -> Perplexity.of(model, new int[20], 10, 0, Perplexity.Path.PREFILL, done -> {}));
        });
    }

    private static void assertRefused(Runnable task, String... parts) {
        InputException refused = assertThrows(InputException.class, task::run);
        for (String part : parts) {
            assertTrue(refused.getMessage().contains(part), () -> "no '" + part + "' in: " + refused.getMessage());
        }
    }
}
