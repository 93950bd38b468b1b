package dev.espalier.tools;

import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.espalier.checkpoint.CheckpointWriter;
import dev.espalier.checkpoint.SaveAs;
import dev.espalier.kernels.format.Dense;
import dev.espalier.prune.LayerReport;
import dev.espalier.prune.LayerwisePruner;
import dev.espalier.prune.PruneNeed;
import dev.espalier.prune.PrunePlan;
import dev.espalier.prune.PruneReport;
import dev.espalier.prune.PruneSink;
import dev.espalier.prune.calibrate.CalibrationData;
import dev.espalier.tensor.InputException;
import dev.espalier.tensor.Tensor;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.Map;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/// `espalier prune`: writes a pruned copy of a checkpoint.
@Command(
        name = "prune",
        mixinStandardHelpOptions = true,
        sortOptions = false,
        header = "Writes a pruned copy of a model, with the report beside it.",
        footer = {
            "",
            "Examples:",
            "  espalier prune FOLDER --sparsity 0.5 --calibration c4.jsonl --out PRUNED",
            "  espalier prune FOLDER --pattern 2:4 --method wanda --save-as packed --out PRUNED",
            "  espalier prune demo-llama --sparsity 0.7 --out PRUNED --json",
        })
final class PruneCommand implements Callable<Integer> {
    /// The file beside the weights that says what was asked for and what came out.
    static final String REPORT = "prune-report.json";

    @Parameters(paramLabel = "MODEL", description = "A model folder, demo-llama, demo-opt, or random:SHAPE.")
    private String model;

    @Option(names = "--out", paramLabel = "DIR", description = "The folder to write; it appears when it is complete.")
    private Path out;

    @Option(
            names = "--save-as",
            paramLabel = "dense|packed",
            defaultValue = "dense",
            description = "dense: zeros stay in place, every program loads it, and it is as large as before; packed:"
                    + " smaller by what the zeros free, for espalier only. Default: ${DEFAULT-VALUE}.")
    private SaveAs saveAs;

    @Option(names = "--dry-run", description = "Only say what memory and arithmetic it would take, layer by layer.")
    private boolean dryRun;

    @Mixin
    private PruneOptions pruning;

    @Mixin
    private ModelOptions options;

    @Mixin
    private OutputOptions output;

    @Override
    public Integer call() throws IOException {
        PrunePlan plan = pruning.plan();
        if (out == null && !dryRun) {
            throw new InputException("--out DIR is missing: where to write the pruned model.");
        }
        if (out != null) {
            CheckpointWriter.requireFree(out);
        }
        try (LoadedModel loaded =
                LoadedModel.open(model, options, pruning.seed(), output, backend -> weight -> Dense.tiled())) {
            pruning.check(loaded, plan);
            if (dryRun) {
                need(loaded, plan);
                return Espalier.DONE;
            }
            CalibrationData data = pruning.calibration(loaded, plan, output);
            PruneReport report;
            try (CheckpointWriter writer =
                    CheckpointWriter.open(loaded.checkpoint(), out, saveAs, Map.of("espalier_prune", summary(plan)))) {
                try (Progress progress = output.progress("pruning", 1000)) {
                    report = new LayerwisePruner(
                                    plan,
                                    dense -> Dense.tiled(),
                                    sink(writer),
                                    loaded.backend().workers().threads())
                            .prune(loaded.model(), data, PruneOptions.listener(progress));
                }
                writer.finish(
                        Map.of(REPORT, (report.toJson(null).toPrettyString() + "\n").getBytes(StandardCharsets.UTF_8)));
            }
            PruneOptions.print(report, output);
            output.print("written to %s", out);
            if (saveAs == SaveAs.DENSE) {
                output.note(
                        "The zeros are stored too, so the files are as large as before; --save-as packed is smaller.");
            }
            output.document(report.toJson(out.toString()).put("model", model));
        }
        return Espalier.DONE;
    }

    private static PruneSink sink(CheckpointWriter writer) {
        return new PruneSink() {
            @Override
            public void layer(LayerReport report, Tensor weight) {
                try {
                    writer.put(report.name(), weight);
                } catch (IOException e) {
                    throw new UncheckedIOException(e.getMessage(), e);
                }
            }
        };
    }

    private static String summary(PrunePlan plan) {
        return JsonNodeFactory.instance
                .objectNode()
                .put("method", plan.solver().name())
                .put("pattern", plan.pattern().name())
                .put("sparsity", plan.sparsity())
                .toString();
    }

    private void need(LoadedModel loaded, PrunePlan plan) {
        boolean data = plan.solver().usesData();
        int samples = data ? pruning.samples() : 0;
        int heldOut = (samples + 9) / 10;
        int seqLen = pruning.seqLen(loaded);
        PruneNeed need = PruneNeed.of(loaded.model(), plan, samples, heldOut, seqLen);
        Table table = new Table("layer", "rows", "cols", "memory", "Gmul");
        ObjectNode document = JsonNodeFactory.instance
                .objectNode()
                .put("model", model)
                .put("method", plan.solver().name())
                .put("samples", samples)
                .put("seq_len", seqLen)
                .put("peak_bytes", need.peakBytes())
                .put("file_bytes", need.fileBytes())
                .put("pruned_bytes", need.prunedBytes())
                .put("multiplications", need.multiplications());
        ArrayNode layers = document.putArray("layers");
        for (PruneNeed.Layer layer : need.layers()) {
            table.row(
                    layer.name(),
                    Integer.toString(layer.rows()),
                    Integer.toString(layer.cols()),
                    Units.bytes(layer.bytes()),
                    Units.number(layer.multiplications() / 1e9));
            layers.addObject()
                    .put("name", layer.name())
                    .put("rows", layer.rows())
                    .put("cols", layer.cols())
                    .put("bytes", layer.bytes())
                    .put("multiplications", layer.multiplications());
        }
        output.print("%s", table);
        output.print(
                "%d windows of %d tokens; memory beside the model: %s, and %s for the pruned layers; %s on disk;"
                        + " %.0f G multiplications, at 100 G a second about %s",
                samples,
                seqLen,
                Units.bytes(need.peakBytes()),
                Units.bytes(need.prunedBytes()),
                Units.bytes(need.fileBytes()),
                need.multiplications() / 1e9,
                Progress.duration(need.multiplications() / 1e11));
        output.document(document);
    }
}
