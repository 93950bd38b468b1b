package dev.espalier.generate;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.espalier.checkpoint.Checkpoint;
import dev.espalier.generate.Perplexity.Path;
import dev.espalier.kernels.Backend;
import dev.espalier.model.Model;
import dev.espalier.tensor.InputException;
import dev.espalier.testing.Backends;
import dev.espalier.testing.ModelRuns;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.function.Consumer;
import org.junit.jupiter.api.Test;

/// The protocol, on models of random weights; the values are held to the references elsewhere.
class PerplexityTest {
    private static final int VOCABULARY = 97;
    private static final int[] TOKENS = tokens();

    private static int[] tokens() {
        int[] tokens = new int[35];
        for (int i = 0; i < tokens.length; i++) {
            tokens[i] = 3 + (i * 29) % 91;
        }
        return tokens;
    }

    private static void with(String name, Consumer<Model> use) {
        try (Backend backend = Backends.cpu();
                Checkpoint checkpoint = Checkpoint.open(java.nio.file.Path.of("src/test/resources/families", name));
                Model model = Model.load(checkpoint, backend, ModelRuns.DENSE)) {
            use.accept(model);
        }
    }

    private static Perplexity of(Model model, int seqLen, int windows, Path path) {
        return Perplexity.of(model, TOKENS, seqLen, windows, path, done -> {});
    }

    @Test
    void windowsStandAloneAndThePartialOneIsDropped() {
        for (String name : List.of("opt-gelu", "llama-old-spelling")) {
            with(name, model -> {
                List<Integer> progress = new ArrayList<>();
                Perplexity whole = Perplexity.of(model, TOKENS, 10, 0, Path.PREFILL, progress::add);
                assertEquals(3, whole.windows());
                assertEquals(35, whole.tokens());
                assertEquals(List.of(1, 2, 3), progress);
                double mean = 0;
                for (int window = 0; window < 3; window++) {
                    int[] part = Arrays.copyOfRange(TOKENS, 10 * window, 10 * window + 10);
                    float[] logits = ModelRuns.logits(model, part, 10);
                    double loss = 0;
                    for (int t = 0; t < 9; t++) {
                        float[] row = Arrays.copyOfRange(logits, t * VOCABULARY, (t + 1) * VOCABULARY);
                        loss -= TokenLogprobs.of(row, part[t + 1], 0).logprob() / 9;
                    }
                    // Rounding of float32 sums in another order.
                    assertEquals(loss, whole.windowNll()[window], 1e-5);
                    mean += loss / 3;
                }
                assertEquals(Math.exp(mean), whole.perplexity(), 1e-5 * whole.perplexity());
            });
        }
    }

    @Test
    void decodeAgreesWithPrefill() {
        with("opt-350m-style", model -> {
            Perplexity prefill = of(model, 16, 0, Path.PREFILL);
            Perplexity decode = of(model, 16, 0, Path.DECODE);
            assertEquals(2, decode.windows());
            assertEquals(prefill.perplexity(), decode.perplexity(), 1e-4 * prefill.perplexity());
        });
    }

    @Test
    void itStopsAfterTheWindowsAskedFor() {
        with("opt-gelu", model -> {
            Perplexity two = of(model, 10, 2, Path.PREFILL);
            assertEquals(2, two.windows());
            assertEquals(of(model, 10, 0, Path.PREFILL).windowNll()[1], two.windowNll()[1]);
            assertEquals(3, of(model, 10, 99, Path.PREFILL).windows());
        });
    }

    @Test
    void whatCannotBeMeasuredIsRefused() {
        with("opt-gelu", model -> {
            refused(model, TOKENS, 49, "context, 48");
            refused(model, TOKENS, 1, "seq-len 1");
            refused(model, TOKENS, 36, "35 tokens");
            refused(model, new int[0], 10, "0 tokens");
            refused(model, new int[] {1, 2, 97}, 3, "token id 97");
        });
    }

    private static void refused(Model model, int[] tokens, int seqLen, String part) {
        InputException refused = assertThrows(
                InputException.class, () -> Perplexity.of(model, tokens, seqLen, 0, Path.PREFILL, done -> {}));
        assertTrue(refused.getMessage().contains(part), refused::getMessage);
    }
}
