package dev.espalier.tools;

import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.espalier.kernels.FormatChoice;
import dev.espalier.kernels.format.Dense;
import dev.espalier.model.Model;
import dev.espalier.prune.PrunePlan;
import dev.espalier.prune.PruneReport;
import dev.espalier.prune.calibrate.CalibrationData;
import dev.espalier.prune.pattern.NOfM;
import dev.espalier.tensor.InputException;
import dev.espalier.tokenizer.Tokenizer;
import dev.espalier.tools.bench.Candidate;
import dev.espalier.tools.bench.ScaleUp;
import dev.espalier.tools.demo.StoryGrammar;
import java.io.IOException;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/// `espalier prune-and-serve`: the whole way in one process.
@Command(
        name = "prune-and-serve",
        mixinStandardHelpOptions = true,
        sortOptions = false,
        header = "Loads a model, prunes it in place, packs it, shows dense and sparse side by side, and serves it.",
        footer = {
            "",
            "Examples:",
            "  espalier prune-and-serve",
            "  espalier prune-and-serve FOLDER --sparsity 0.6 --calibration text.txt --eval-text other.txt",
            "  espalier prune-and-serve --pattern 2:4 --no-serve --json",
        })
final class PruneAndServeCommand implements Callable<Integer> {
    private static final int EVAL_WINDOWS = 40;
    private static final int LONGEST_WINDOW = 2048;

    @Parameters(
            paramLabel = "MODEL",
            arity = "0..1",
            defaultValue = "demo-llama",
            description = "A model folder, demo-llama, demo-opt, or random:SHAPE. Default: ${DEFAULT-VALUE}.")
    private String model;

    @Option(
            names = "--eval-text",
            paramLabel = "FILE",
            description = "The text of the comparison's perplexity. Default: for an embedded model new stories of its"
                    + " grammar, otherwise held-out text that the model writes itself, which flatters.")
    private Path evalText;

    @Option(names = "--no-serve", description = "Stop after the comparison.")
    private boolean noServe;

    @Option(names = "--no-scale-up", description = "Leave out the timing of large layers with the same zeros.")
    private boolean noScaleUp;

    @Mixin
    private PruneOptions pruning;

    @Mixin
    private ServeOptions serving;

    @Mixin
    private ModelOptions options;

    @Mixin
    private OutputOptions output;

    /// What perplexity is measured on.
    private record EvalText(String name, int[] tokens, int seqLen) {}

    @Override
    public Integer call() throws IOException {
        PrunePlan plan = pruning.plan();
        if (pruning.finished()) {
            throw new InputException(
                    "%s is complete already; serve it: espalier serve %s".formatted(pruning.out(), pruning.out()));
        }
        serving.check();
        String contents = evalText == null ? null : TextFiles.read(evalText, "--eval-text");
        try (LoadedModel loaded =
                LoadedModel.open(model, options, pruning.seed(), output, backend -> weight -> Dense.tiled())) {
            pruning.check(loaded, plan);
            if (pruning.dryRun()) {
                pruning.printNeed(loaded, plan, output);
                return Espalier.DONE;
            }
            FormatChoice formats = options.formats(loaded.backend());
            if (!noServe) {
                loaded.requireTokenizer("a server needs one; say --no-serve, or add one to the folder.");
            }
            CalibrationData data = pruning.calibration(loaded, plan, output);
            EvalText text = evalText(loaded, contents, data);
            double densePerplexity = perplexity(loaded.model(), text, "dense");
            PruneReport report = pruning.prune(loaded, plan, data, formats, output);
            PruneOptions.print(report, output);
            pruning.printOut(output);
            double sparsePerplexity = perplexity(loaded.model(), text, "sparse");
            Comparison comparison;
            // The dense model is loaded a second time for the timing, and given back before serving.
            try (Model dense =
                    Model.load(loaded.checkpoint(), loaded.backend(), weight -> Dense.tiled(), options.head())) {
                output.note("timing dense and sparse in turn");
                comparison = Comparison.of(dense, densePerplexity, loaded.model(), sparsePerplexity, loaded.backend());
            }
            ScaleUp scaleUp = noScaleUp ? null : scaleUp(plan, formats, loaded);
            print(comparison, text, scaleUp);
            ObjectNode document = document(report, comparison, text, scaleUp);
            pruning.writeReport(document, output);
            output.document(document);
            if (!noServe) {
                serving.serve(loaded, output);
            }
        }
        return Espalier.DONE;
    }

    private EvalText evalText(LoadedModel loaded, String contents, CalibrationData data) {
        int seqLen = Math.min(LONGEST_WINDOW, loaded.model().spec().context());
        if (contents != null) {
            Tokenizer tokenizer = loaded.requireTokenizer("--eval-text needs one.");
            return new EvalText(evalText.toString(), tokenizer.encode(contents), seqLen);
        }
        if (ModelSource.embedded(model)) {
            String stories = StoryGrammar.of(StoryGrammar.HELD_OUT_SEED).text(EVAL_WINDOWS * seqLen * 5);
            return new EvalText("new stories", loaded.requireTokenizer("").encode(stories), seqLen);
        }
        CalibrationData own =
                data != null && !data.heldOut().isEmpty() && data.source().equals("self")
                        ? data
                        : CalibrationData.selfSampled(
                                loaded.model(),
                                new CalibrationData.Request(
                                        8, Math.min(256, seqLen), pruning.seed() + 1, CalibrationData.Order.RANDOM),
                                60,
                                (fraction, left) -> {});
        List<int[]> windows = own == data ? own.heldOut() : own.windows();
        int[] tokens = windows.stream().flatMapToInt(Arrays::stream).toArray();
        output.note(
                "note: the perplexities are on text that the dense model wrote, which flatters it and the sparse one;"
                        + " give --eval-text for figures that mean something elsewhere");
        return new EvalText("text of the dense model's own", tokens, own.seqLen());
    }

    private double perplexity(Model which, EvalText text, String name) {
        return Comparison.perplexity(which, text.tokens, text.seqLen, EVAL_WINDOWS, output, name);
    }

    private ScaleUp scaleUp(PrunePlan plan, FormatChoice formats, LoadedModel loaded) {
        Candidate candidate = plan.pattern() instanceof NOfM group
                ? new Candidate("auto", group.n(), group.m(), group.sparsity())
                : new Candidate("auto", 0, 0, plan.sparsity());
        output.note("timing the same zeros on layers of a 1B model");
        try {
            return ScaleUp.of(candidate, formats, loaded.backend());
        } catch (InputException e) {
            output.note("note: no timing on layers of a 1B model: %s", e.getMessage());
            return null;
        }
    }

    private void print(Comparison comparison, EvalText text, ScaleUp scaleUp) {
        output.print("");
        Table table = new Table("", "perplexity", "tok/s", "prefill tok/s", "weights", "GB/s", "share");
        row(table, "dense", comparison.dense(), comparison);
        row(table, "sparse", comparison.sparse(), comparison);
        output.print("%s", table);
        output.print(
                "Perplexity on %s. A decoded token is %s times as fast as dense (%s to %s); memory reads at %s GB/s.",
                text.name,
                Units.number(comparison.speedup().ratio()),
                Units.number(comparison.speedup().ratioMin()),
                Units.number(comparison.speedup().ratioMax()),
                Units.number(comparison.readGbPerSecond()));
        if (scaleUp != null) {
            output.print(
                    "On the linear layers of %d blocks of the shape %s (random weights, larger than the cache), %s at %.0f %%"
                            + " zeros is %s times as fast as dense.",
                    scaleUp.blocks(),
                    scaleUp.shape(),
                    scaleUp.format(),
                    100 * scaleUp.sparsity(),
                    Units.number(scaleUp.timing().ratio()));
        }
    }

    private static void row(Table table, String name, Comparison.Side side, Comparison comparison) {
        double speed = side.weightBytes() * side.decodeTokensPerSecond() / 1e9;
        table.row(
                name,
                Units.number(side.perplexity()),
                Units.number(side.decodeTokensPerSecond()),
                Units.number(side.prefillTokensPerSecond()),
                Units.bytes(side.weightBytes()),
                Units.number(speed),
                String.format(Locale.ROOT, "%.2f", speed / comparison.readGbPerSecond()));
    }

    private ObjectNode document(PruneReport report, Comparison comparison, EvalText text, ScaleUp scaleUp) {
        ObjectNode document = report.toJson(
                        pruning.out() == null ? null : pruning.out().toString())
                .put("model", model);
        document.set("prune", document.deepCopy());
        comparison.dense().putInto(document, "dense");
        comparison.sparse().putInto(document, "sparse");
        document.put("speedup", comparison.speedup().ratio())
                .put("speedup_min", comparison.speedup().ratioMin())
                .put("speedup_max", comparison.speedup().ratioMax())
                .put("read_gb_per_s", comparison.readGbPerSecond())
                .put("eval_text", text.name);
        if (scaleUp != null) {
            document.putObject("scale_up")
                    .put("shape", scaleUp.shape())
                    .put("format", scaleUp.format())
                    .put("sparsity", scaleUp.sparsity())
                    .put("ratio", scaleUp.timing().ratio())
                    .put("blocks", scaleUp.blocks());
        }
        return document;
    }
}
