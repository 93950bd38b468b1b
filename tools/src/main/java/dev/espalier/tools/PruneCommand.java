package dev.espalier.tools;

import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.espalier.kernels.format.Dense;
import dev.espalier.prune.PrunePlan;
import dev.espalier.prune.PruneReport;
import dev.espalier.prune.calibrate.CalibrationData;
import dev.espalier.tensor.InputException;
import java.io.IOException;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
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
    @Parameters(paramLabel = "MODEL", description = "A model folder, demo-llama, demo-opt, or random:SHAPE.")
    private String model;

    @Mixin
    private PruneOptions pruning;

    @Mixin
    private ModelOptions options;

    @Mixin
    private OutputOptions output;

    @Override
    public Integer call() throws IOException {
        PrunePlan plan = pruning.plan();
        if (pruning.out() == null && !pruning.dryRun()) {
            throw new InputException("--out DIR is missing: where to write the pruned model.");
        }
        try (LoadedModel loaded =
                LoadedModel.open(model, options, pruning.seed(), output, backend -> weight -> Dense.tiled())) {
            pruning.check(loaded, plan);
            if (pruning.dryRun()) {
                pruning.printNeed(loaded, plan, output);
                return Espalier.DONE;
            }
            if (pruning.finished()) {
                ObjectNode document = pruning.finishedReport(loaded, plan)
                        .put("out", pruning.out().toString())
                        .put("model", model);
                output.print("%s is complete already: there is nothing to do", pruning.out());
                pruning.writeReport(document, output);
                output.document(document);
                return Espalier.DONE;
            }
            CalibrationData data = pruning.calibration(loaded, plan, output);
            PruneReport report = pruning.prune(loaded, plan, data, weight -> Dense.tiled(), output);
            PruneOptions.print(report, output);
            pruning.printOut(output);
            ObjectNode document = report.toJson(pruning.out().toString()).put("model", model);
            pruning.writeReport(document, output);
            output.document(document);
        }
        return Espalier.DONE;
    }
}
