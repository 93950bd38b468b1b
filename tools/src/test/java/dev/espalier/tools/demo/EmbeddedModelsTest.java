package dev.espalier.tools.demo;

import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.espalier.checkpoint.Checkpoint;
import dev.espalier.generate.GenerationOptions;
import dev.espalier.generate.Generator;
import dev.espalier.generate.Perplexity;
import dev.espalier.generate.SamplingOptions;
import dev.espalier.generate.TokenListener;
import dev.espalier.kernels.FormatChoice;
import dev.espalier.kernels.cpu.CpuBackend;
import dev.espalier.kernels.format.Dense;
import dev.espalier.model.Model;
import dev.espalier.prune.LayerwisePruner;
import dev.espalier.prune.PruneListener;
import dev.espalier.prune.PrunePlan;
import dev.espalier.prune.PruneSink;
import dev.espalier.prune.calibrate.CalibrationData;
import dev.espalier.prune.calibrate.CalibrationData.Order;
import dev.espalier.prune.calibrate.CalibrationData.Request;
import dev.espalier.tokenizer.Tokenizer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/// What the embedded models have to be worth: they remember, they speak the grammar, and pruning them shows what pruning
/// does. All by our own forward pass, sampler and solvers; the training script has the same three checks in PyTorch.
class EmbeddedModelsTest {
    private static final int SEQ_LEN = 512;
    private static final int WINDOWS = 16;
    private static final FormatChoice TILED = weight -> Dense.tiled();

    private static Tokenizer tokenizer(String name) {
        Map<String, byte[]> files = DemoModels.files(name);
        return Tokenizer.of(files.get("tokenizer.json"), files.get("tokenizer_config.json"));
    }

    private static int[] heldOut(Tokenizer tokenizer) {
        int[] ids = tokenizer.encode(StoryGrammar.of(StoryGrammar.HELD_OUT_SEED).text(80_000));
        assertTrue(ids.length >= WINDOWS * SEQ_LEN, ids.length + " tokens");
        return Arrays.copyOf(ids, WINDOWS * SEQ_LEN);
    }

    private static double perplexity(Model model, int[] tokens) {
        return Perplexity.of(model, tokens, SEQ_LEN, WINDOWS, Perplexity.Path.PREFILL, done -> {})
                .perplexity();
    }

    /// Add-k smoothed, with the k that suits the measured tokens best: the bigram model's most favourable figure.
    private static double bigramPerplexity(int[] training, int[] tokens, int vocabulary) {
        double[][] counts = new double[vocabulary][vocabulary];
        double[] totals = new double[vocabulary];
        for (int i = 1; i < training.length; i++) {
            counts[training[i - 1]][training[i]]++;
            totals[training[i - 1]]++;
        }
        double best = Double.POSITIVE_INFINITY;
        for (double k : new double[] {1e-4, 1e-3, 1e-2, 0.1, 1}) {
            double nll = 0;
            int predicted = 0;
            for (int i = 0; i < tokens.length; i++) {
                if (i % SEQ_LEN != 0) {
                    double p = (counts[tokens[i - 1]][tokens[i]] + k) / (totals[tokens[i - 1]] + k * vocabulary);
                    nll -= Math.log(p);
                    predicted++;
                }
            }
            best = Math.min(best, Math.exp(nll / predicted));
        }
        return best;
    }

    @ParameterizedTest
    @ValueSource(strings = {"demo-llama", "demo-opt"})
    void perplexityIsAtMostHalfOfABigramModels(String name) {
        Tokenizer tokenizer = tokenizer(name);
        int[] tokens = heldOut(tokenizer);
        int[] training =
                tokenizer.encode(StoryGrammar.of(StoryGrammar.TRAINING_SEED).text(4_000_000));
        try (Checkpoint checkpoint = DemoModels.checkpoint(name);
                CpuBackend backend = new CpuBackend(2);
                Model model = Model.load(checkpoint, backend, TILED)) {
            double dense = perplexity(model, tokens);
            double bigram = bigramPerplexity(training, tokens, model.spec().vocabulary());
            assertTrue(dense <= bigram / 2, dense + " against the bigram model's " + bigram);
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"demo-llama", "demo-opt"})
    void ninetyOfAHundredSampledSentencesBelongToTheGrammar(String name) {
        Tokenizer tokenizer = tokenizer(name);
        List<String> sentences = new ArrayList<>();
        try (Checkpoint checkpoint = DemoModels.checkpoint(name);
                CpuBackend backend = new CpuBackend(2);
                Model model = Model.load(checkpoint, backend, TILED);
                Generator generator = new Generator(model, tokenizer)) {
            int[] prompt = {tokenizer.bosId().orElseThrow()};
            for (int seed = 0; sentences.size() < 100; seed++) {
                List<String> found = StoryParser.sentences(generator
                        .generate(prompt, GenerationOptions.of(300, SamplingOptions.of(0.7, seed)), TokenListener.NONE)
                        .text());
                // The last one may be cut by the length.
                sentences.addAll(found.subList(0, Math.max(0, found.size() - 1)));
            }
        }
        List<String> refused = sentences.subList(0, 100).stream()
                .filter(sentence -> !StoryParser.accepts(sentence))
                .toList();
        assertTrue(refused.size() <= 10, () -> String.join("\n", refused));
    }

    @ParameterizedTest
    @ValueSource(strings = {"demo-llama", "demo-opt"})
    void at70PercentSparseGptBeatsWandaAndWandaMagnitudeByAtLeastFivePercentEach(String name) {
        Tokenizer tokenizer = tokenizer(name);
        int[] tokens = heldOut(tokenizer);
        CalibrationData data = CalibrationData.ofText(
                "stories",
                StoryGrammar.of(StoryGrammar.CALIBRATION_SEED).text(500_000),
                tokenizer,
                new Request(64, SEQ_LEN, 0, Order.RANDOM));
        double sparseGpt = pruned(name, "sparsegpt", data, tokens);
        double wanda = pruned(name, "wanda", data, tokens);
        double magnitude = pruned(name, "magnitude", null, tokens);
        String all = "SparseGPT %.3f, Wanda %.3f, magnitude %.3f".formatted(sparseGpt, wanda, magnitude);
        assertTrue(wanda >= 1.05 * sparseGpt, all);
        assertTrue(magnitude >= 1.05 * wanda, all);
    }

    private static double pruned(String name, String method, CalibrationData data, int[] tokens) {
        try (Checkpoint checkpoint = DemoModels.checkpoint(name);
                CpuBackend backend = new CpuBackend(2);
                Model model = Model.load(checkpoint, backend, weight -> Dense.mapped())) {
            new LayerwisePruner(PrunePlan.of(method, null, 0.7, null, false), TILED, PruneSink.NONE, 2)
                    .prune(model, data, PruneListener.NONE);
            return perplexity(model, tokens);
        }
    }
}
