package dev.espalier.tools;

import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.espalier.generate.Perplexity;
import java.nio.file.Path;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/// `espalier eval perplexity`: how well a model predicts a text.
@Command(
        name = "perplexity",
        mixinStandardHelpOptions = true,
        sortOptions = false,
        header = "How well a model predicts a text: exp of the mean loss of a token; lower is better.",
        description = {
            "",
            "The text is tokenized once and cut into windows of --seq-len tokens, the last partial one dropped; each"
                    + " window predicts its tokens 2 to n. Perplexities compare only with the same text and --seq-len.",
            ""
        },
        footer = {
            "",
            "Examples:",
            "  espalier eval perplexity FOLDER --text wiki.test.raw --seq-len 2048",
            "  espalier eval perplexity PRUNED --text wiki.test.raw --seq-len 512 --windows 64 --json",
        })
final class EvalPerplexityCommand implements Callable<Integer> {
    /// The kernels to measure with.
    enum Kernels {
        PREFILL,
        DECODE
    }

    @Parameters(paramLabel = "MODEL", description = "A model folder, demo-llama, demo-opt, or random:SHAPE.")
    private String model;

    @Option(names = "--text", required = true, paramLabel = "FILE", description = "The text, in UTF-8.")
    private Path text;

    @Option(
            names = "--seq-len",
            paramLabel = "N",
            description = "Tokens of a window. Default: the smaller of 2048 and the model's context.")
    private Integer seqLen;

    @Option(
            names = "--windows",
            paramLabel = "N",
            defaultValue = "0",
            description = "Stop after N windows. Default: the whole text.")
    private int windows;

    @Option(
            names = "--path",
            paramLabel = "prefill|decode",
            defaultValue = "prefill",
            description =
                    "Compute many tokens at once, or token by token as generation does. Default: ${DEFAULT-VALUE}.")
    private Kernels path;

    @Mixin
    private ModelOptions options;

    @Mixin
    private OutputOptions output;

    @Override
    public Integer call() {
        String contents = TextFiles.read(text, "--text");
        try (LoadedModel loaded = LoadedModel.open(model, options, 0, output)) {
            int[] tokens = loaded.requireTokenizer("a text needs one.").encode(contents);
            int context = loaded.model().spec().context();
            int length = seqLen == null ? Math.min(2048, context) : seqLen;
            int total = windows > 0
                    ? Math.min(windows, tokens.length / Math.max(1, length))
                    : tokens.length / Math.max(1, length);
            Perplexity result;
            try (Progress progress = output.progress("perplexity", total)) {
                result = Perplexity.of(
                        loaded.model(),
                        tokens,
                        length,
                        windows,
                        path == Kernels.DECODE ? Perplexity.Path.DECODE : Perplexity.Path.PREFILL,
                        progress::at);
            }
            output.print(
                    "perplexity %s (%s, %d windows of %d tokens, %,d tokens in all, %s)",
                    Units.number(result.perplexity()),
                    text,
                    result.windows(),
                    result.seqLen(),
                    result.tokens(),
                    Progress.duration(result.seconds()));
            ObjectNode document =
                    JsonNodeFactory.instance.objectNode().put("model", model).put("text", text.toString());
            OutputOptions.put(document, "perplexity", result.perplexity());
            output.document(document.put("tokens", result.tokens())
                    .put("windows", result.windows())
                    .put("seq_len", result.seqLen())
                    .put("seconds", result.seconds()));
        }
        return Espalier.DONE;
    }
}
