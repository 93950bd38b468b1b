package dev.espalier.tools;

import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/// `espalier serve`: an OpenAI-compatible HTTP server over one model.
@Command(
        name = "serve",
        mixinStandardHelpOptions = true,
        sortOptions = false,
        header = "Serves a model to clients of the OpenAI API.",
        footer = {
            "",
            "Examples:",
            "  espalier serve demo-llama",
            "  espalier serve PRUNED --port 0 --api-key secret",
            "  curl http://127.0.0.1:8080/v1/completions -H 'Content-Type: application/json' \\",
            "       -d '{\"prompt\": \"Once\", \"max_tokens\": 50}'",
        })
final class ServeCommand implements Callable<Integer> {
    @Parameters(paramLabel = "MODEL", description = "A model folder, demo-llama, demo-opt, or random:SHAPE.")
    private String model;

    @Option(names = "--seed", paramLabel = "N", defaultValue = "0", description = "Of random weights.")
    private long seed;

    @Mixin
    private ServeOptions serving;

    @Mixin
    private ModelOptions options;

    @Mixin
    private OutputOptions output;

    @Override
    public Integer call() {
        serving.check();
        try (LoadedModel loaded = LoadedModel.openForDecode(model, options, seed, output)) {
            loaded.packInBackground();
            serving.serve(loaded, output);
        }
        return Espalier.DONE;
    }
}
