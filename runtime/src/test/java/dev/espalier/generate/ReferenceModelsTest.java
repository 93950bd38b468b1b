package dev.espalier.generate;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.espalier.checkpoint.Checkpoint;
import dev.espalier.generate.Perplexity.Path;
import dev.espalier.kernels.Backend;
import dev.espalier.kernels.FormatChoice;
import dev.espalier.kernels.format.Dense;
import dev.espalier.model.Model;
import dev.espalier.testing.Backends;
import dev.espalier.testing.ModelRuns;
import dev.espalier.testing.Npy;
import dev.espalier.testing.Reference;
import dev.espalier.testing.SharedFolder;
import dev.espalier.tokenizer.Tokenizer;
import java.util.Arrays;
import java.util.Map;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/// Trained models against what Hugging Face transformers computed for them in float32.
class ReferenceModelsTest {
    private interface Use {
        void use(Model model);
    }

    private static void with(String name, Backend threads, FormatChoice formats, Use use) {
        java.nio.file.Path folder = SharedFolder.model(name);
        try (Backend backend = threads;
                Checkpoint checkpoint = Checkpoint.open(folder);
                Model model = Model.load(checkpoint, backend, formats)) {
            use.use(model);
        }
    }

    /// 1e-4 of the largest logit, as for the toy models.
    @ParameterizedTest
    @ValueSource(strings = {"stories260K", "tinystories-656k", "opt-wt2-4m", "smollm2-135m"})
    void logitsEqualTransformers(String name) {
        Map<String, Npy> expected = Reference.of(name).logits();
        with(name, Backends.cpu(), ModelRuns.DENSE, model -> {
            int vocabulary = model.spec().vocabulary();
            for (int prompt = 0; expected.containsKey("ids_" + prompt); prompt++) {
                int[] ids = expected.get("ids_" + prompt).ints();
                float[] logits = ModelRuns.logits(model, ids, Integer.MAX_VALUE);
                float[] last = Arrays.copyOfRange(logits, logits.length - vocabulary, logits.length);
                expectClose(name, last, expected.get("last_logits_" + prompt));
                Npy all = expected.get("all_logits_" + prompt);
                if (all != null) {
                    expectClose(name, logits, all);
                    expectClose(name, ModelRuns.logits(model, ids, 1), all);
                }
            }
        });
    }

    private static void expectClose(String name, float[] logits, Npy expected) {
        double error = ModelRuns.relativeError(logits, expected.floats());
        assertTrue(error < 1e-4, () -> name + ": relative error " + error);
    }

    @ParameterizedTest
    @ValueSource(strings = {"stories260K", "tinystories-656k", "opt-wt2-4m", "smollm2-135m"})
    void greedyContinuationsEqualTransformersTokenForToken(String name) {
        Reference reference = Reference.of(name);
        with(name, Backends.serial(), weight -> Dense.tiled(), model -> {
            Tokenizer tokenizer = Tokenizer.open(SharedFolder.model(name));
            try (Generator generator = new Generator(model, tokenizer)) {
                for (Reference.Continuation expected : reference.continuations()) {
                    Generation generation = generator.generate(
                            expected.ids(),
                            GenerationOptions.of(32, SamplingOptions.GREEDY).withIgnoreEos(true),
                            TokenListener.NONE);
                    assertArrayEquals(
                            expected.greedy(),
                            generation.tokenIds(),
                            () -> name + ", least margin of the reference " + expected.margin());
                    assertEquals(tokenizer.decode(expected.greedy()), generation.text());
                }
            }
        });
    }

    /// Window by window to 0.1 % of the perplexity, that is 1e-3 nats; more windows cost time and show nothing new.
    @ParameterizedTest
    @CsvSource({
        "stories260K, tinystories_val_1nl, 12",
        "stories260K, wikitext2_test_raw_file, 4",
        "tinystories-656k, tinystories_val_1nl, 12",
        "opt-wt2-4m, wikitext2_test_hfjoin, 12",
        "opt-wt2-4m, wikitext2_test_raw_file, 4",
        "smollm2-135m, wikitext2_test_hfjoin_512, 1",
    })
    void perplexityEqualsTransformersWindowByWindow(String name, String text, int windows) {
        Reference reference = Reference.of(name);
        double[] expected = Arrays.copyOf(reference.windowNll(text), windows);
        int[] tokens = Tokenizer.open(SharedFolder.model(name)).encode(reference.text(text));
        assertEquals(reference.tokens(text), tokens.length);
        with(name, Backends.cpu(), ModelRuns.DENSE, model -> {
            Perplexity perplexity =
                    Perplexity.of(model, tokens, reference.seqLen(text), windows, Path.PREFILL, done -> {});
            assertArrayEquals(expected, perplexity.windowNll(), 1e-3);
        });
    }

    @ParameterizedTest
    @CsvSource({"stories260K, tinystories_val_1nl, 2", "opt-wt2-4m, wikitext2_test_hfjoin, 2"})
    void perplexityByDecodeEqualsTransformersToo(String name, String text, int windows) {
        Reference reference = Reference.of(name);
        double[] expected = Arrays.copyOf(reference.windowNll(text), windows);
        int[] tokens = Tokenizer.open(SharedFolder.model(name)).encode(reference.text(text));
        with(name, Backends.serial(), weight -> Dense.tiled(), model -> {
            Perplexity perplexity =
                    Perplexity.of(model, tokens, reference.seqLen(text), windows, Path.DECODE, done -> {});
            assertArrayEquals(expected, perplexity.windowNll(), 1e-3);
        });
    }
}
