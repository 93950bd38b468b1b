package dev.espalier.prune;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.espalier.generate.Perplexity;
import dev.espalier.kernels.cpu.CpuBackend;
import dev.espalier.model.Model;
import dev.espalier.prune.calibrate.CalibrationData;
import dev.espalier.prune.calibrate.CalibrationData.Order;
import dev.espalier.prune.calibrate.CalibrationData.Request;
import dev.espalier.prune.solver.Solver;
import dev.espalier.prune.solver.Solvers;
import dev.espalier.tokenizer.Tokenizer;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/// Trained models of the folder `shared`: what is pruned, and that the result still speaks.
class SharedModelsTest {
    /// Enough of a text for the few windows below.
    private static int[] tokens(Path folder, String text) throws IOException {
        String all = Files.readString(TestModels.shared(text));
        return Tokenizer.open(folder).encode(all.substring(0, Math.min(all.length(), 60_000)));
    }

    private static double perplexity(Model model, int[] tokens, int seqLen) {
        return Perplexity.of(model, tokens, seqLen, 8, Perplexity.Path.PREFILL, done -> {})
                .perplexity();
    }

    @ParameterizedTest
    @CsvSource({"stories260K, 226560", "tinystories-656k, 393216", "opt-wt2-4m, 3145728"})
    void onlyTheBlocksLinearLayersArePruned(String name, long weights) {
        try (CpuBackend backend = new CpuBackend(2);
                Model model = TestModels.load(TestModels.shared("models/" + name), backend)) {
            PruneReport report = new LayerwisePruner(
                            PrunePlan.of("magnitude", null, 0.5, null, false), TestModels.DENSE, PruneSink.NONE, 2)
                    .prune(model, null, PruneListener.NONE);
            assertEquals(weights, report.weights());
            assertEquals(0.5, report.sparsity(), 1e-4);
        }
    }

    /// A wrong position or mask during capture would show here: within 5 % of dense at 0.1.
    @ParameterizedTest
    @CsvSource({
        "stories260K, data/tinystories/tinystories_val_1nl.txt, 512",
        "opt-wt2-4m, data/wikitext2/wiki.test.hfjoin.txt, 256"
    })
    void aTenthPrunedByWandaCostsAFewPerCent(String name, String text, int seqLen) throws IOException {
        Path folder = TestModels.shared("models/" + name);
        int[] tokens = tokens(folder, text);
        int[] evaluation = Arrays.copyOf(tokens, 8 * seqLen);
        int[] calibration = Arrays.copyOfRange(tokens, 8 * seqLen, 18 * seqLen);
        try (CpuBackend backend = new CpuBackend(2);
                Model model = TestModels.load(folder, backend)) {
            double dense = perplexity(model, evaluation, seqLen);
            new LayerwisePruner(PrunePlan.of("wanda", null, 0.1, null, false), TestModels.DENSE, PruneSink.NONE, 2)
                    .prune(
                            model,
                            CalibrationData.ofTokens(text, calibration, new Request(8, seqLen, 0, Order.CONSECUTIVE)),
                            PruneListener.NONE);
            assertEquals(dense, perplexity(model, evaluation, seqLen), 0.05 * dense);
        }
    }

    /// 16 tokens, 172 features: the report of a user whose Cholesky factorization failed.
    @Test
    void sixteenTokensAreEnoughForEverySolver() throws IOException {
        Path folder = TestModels.shared("models/stories260K");
        int[] tokens = tokens(folder, "data/tinystories/tinystories_val_1nl.txt");
        for (Solver solver : Solvers.all()) {
            try (CpuBackend backend = new CpuBackend(2);
                    Model model = TestModels.load(folder, backend)) {
                PruneReport report = new LayerwisePruner(
                                PrunePlan.of(solver.name(), "1:4", null, null, false),
                                TestModels.DENSE,
                                PruneSink.NONE,
                                2)
                        .prune(
                                model,
                                CalibrationData.ofTokens("TS", tokens, new Request(1, 16, 0, Order.CONSECUTIVE)),
                                PruneListener.NONE);
                assertEquals(0.75, report.sparsity(), 1e-12, solver.name());
                if (!Double.isNaN(solver.damping())) {
                    assertTrue(report.layers().stream().allMatch(layer -> layer.note() != null));
                }
            }
        }
    }
}
