package dev.espalier.tools;

import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.espalier.checkpoint.Checkpoint;
import dev.espalier.model.LayerName;
import java.util.Locale;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/// `espalier info`: what is in a checkpoint, without loading it.
@Command(
        name = "info",
        mixinStandardHelpOptions = true,
        header = "Says what is in a checkpoint: family, sizes, types, and each layer's sparsity and format.",
        footer = {
            "",
            "Examples:",
            "  espalier info demo-llama",
            "  espalier info PRUNED --json",
        })
final class InfoCommand implements Callable<Integer> {
    @Mixin
    private OutputOptions output;

    @Parameters(paramLabel = "MODEL", description = "A model folder, demo-llama, demo-opt, or random:SHAPE.")
    private String model;

    @Option(names = "--layers", description = "Print a line for every layer too.")
    private boolean layers;

    @Override
    public Integer call() {
        try (Checkpoint checkpoint = ModelSource.open(model, null, 0)) {
            ObjectNode document = describe(checkpoint);
            output.document(document);
            print(document);
        }
        return Espalier.DONE;
    }

    private ObjectNode describe(Checkpoint checkpoint) {
        ObjectNode document = JsonNodeFactory.instance.objectNode();
        ArrayNode list = JsonNodeFactory.instance.arrayNode();
        long weights = 0;
        long kept = 0;
        for (LayerName layer : LayerName.of(checkpoint)) {
            String name = layer.weight();
            int[] shape = checkpoint.shape(name);
            long size = (long) shape[0] * shape[1];
            long nonZeros = checkpoint.nonZeros(name);
            weights += size;
            kept += nonZeros;
            list.addObject()
                    .put("name", name)
                    .put("rows", shape[0])
                    .put("cols", shape[1])
                    .put("dtype", checkpoint.dtype(name).name().toLowerCase(Locale.ROOT))
                    .put("format", checkpoint.packedFormat(name).orElse("dense"))
                    .put("sparsity", sparsity(size, nonZeros))
                    .put("bytes", checkpoint.bytes(name));
        }
        document.put("model", model)
                .put("family", checkpoint.config().path("model_type").asText())
                .put("parameters", parameters(checkpoint))
                .put("dtype", list.isEmpty() ? null : list.get(0).path("dtype").asText())
                .put("bytes", checkpoint.bytes())
                .put("sparsity", sparsity(weights, kept))
                .set("layers", list);
        return document;
    }

    private void print(ObjectNode document) {
        output.print(
                "%s: %s, %,d parameters, %s, %s in its files",
                model,
                document.path("family").asText(),
                document.path("parameters").asLong(),
                document.path("dtype").asText(),
                Units.bytes(document.path("bytes").asLong()));
        output.print(
                "%d linear layers, %.1f %% of their weights are zero",
                document.path("layers").size(), 100 * document.path("sparsity").asDouble());
        if (ModelSource.random(model)) {
            output.print("Its weights are random numbers: for timing only.");
        }
        if (layers) {
            Table table = new Table("layer", "rows", "cols", "type", "format", "sparsity", "bytes");
            document.path("layers")
                    .forEach(layer -> table.row(
                            layer.path("name").asText(),
                            layer.path("rows").asText(),
                            layer.path("cols").asText(),
                            layer.path("dtype").asText(),
                            layer.path("format").asText(),
                            String.format(
                                    Locale.ROOT, "%.4f", layer.path("sparsity").asDouble()),
                            layer.path("bytes").asText()));
            output.print("%s", table);
        }
    }

    private static long parameters(Checkpoint checkpoint) {
        long parameters = 0;
        for (String name : checkpoint.names()) {
            long size = 1;
            for (int length : checkpoint.shape(name)) {
                size *= length;
            }
            parameters += size;
        }
        return parameters;
    }

    private static double sparsity(long weights, long kept) {
        return weights == 0 ? 0 : (double) (weights - kept) / weights;
    }
}
