package dev.espalier.tools;

import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.espalier.checkpoint.Checkpoint;
import dev.espalier.kernels.cpu.CpuBackend;
import dev.espalier.kernels.simd.VectorCheck;
import dev.espalier.tensor.InputException;
import dev.espalier.tools.bench.Candidate;
import dev.espalier.tools.bench.DecodeBench;
import java.util.List;
import java.util.Locale;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/// `espalier bench decode`: token by token generation in several formats, side by side.
@Command(
        name = "decode",
        mixinStandardHelpOptions = true,
        sortOptions = false,
        header = "Times generation, token by token, with the same model in several formats.",
        description = {
            "",
            "The formats take turns; ratios are medians of measurements made in the same round. Weights get their zeros by"
                    + " magnitude, for timing: what matters for speed is how many there are and where, not which.",
            "Dense is our fastest dense format of the same element type. A small model lives in the cache, where sparse"
                    + " formats gain little.",
            ""
        },
        footer = {
            "",
            "Examples:",
            "  espalier bench decode random:llama-1b --formats dense,bitmask@0.5,bitmask@0.7,2:4",
            "  espalier bench decode FOLDER --formats auto@0.5,csr@0.9 --json",
            "  espalier bench decode PRUNED --formats bitmask@own,swell@own,auto@own",
        })
final class BenchDecodeCommand implements Callable<Integer> {
    @Parameters(paramLabel = "MODEL", description = "A model folder, demo-llama, demo-opt, or random:SHAPE.")
    private String model;

    @Option(
            names = "--formats",
            paramLabel = "FORMAT[@SPARSITY],...",
            split = ",",
            defaultValue = "dense,bitmask@0.5,bitmask@0.7,2:4",
            description =
                    "What to compare; dense, dense-int8 and N:M need no sparsity; auto@0.5 takes what would be chosen;"
                            + " swell@own keeps the zeros that the model has, as a pruned one."
                            + " Default: ${DEFAULT-VALUE}.")
    private List<String> formats;

    @Option(
            names = "--rounds",
            paramLabel = "N",
            defaultValue = "7",
            description = "How often they take turns. Default: ${DEFAULT-VALUE}.")
    private int rounds;

    @Option(
            names = "--seconds",
            paramLabel = "X",
            defaultValue = "0.3",
            description = "How long a turn lasts, at least one token. Default: ${DEFAULT-VALUE}.")
    private double seconds;

    @Option(
            names = "--seed",
            paramLabel = "N",
            defaultValue = "0",
            description = "Of random weights. Default: ${DEFAULT-VALUE}.")
    private long seed;

    @Mixin
    private ModelOptions options;

    @Mixin
    private OutputOptions output;

    @Override
    public Integer call() {
        if (rounds < 1 || rounds > 10_000 || !(seconds >= 0 && seconds <= 3600)) {
            throw new InputException("--rounds must be 1 to 10000, --seconds 0 to 3600.");
        }
        if (!options.format().equals("auto")) {
            throw new InputException("--format has no meaning here; say --formats.");
        }
        options.check();
        List<Candidate> candidates = Candidate.list(formats);
        try (Checkpoint checkpoint = ModelSource.open(model, options.dtype(), seed);
                CpuBackend backend = new CpuBackend(options.threads(CpuBackend.defaultThreads()))) {
            LoadedModel.requireMemory(model + " in " + candidates.size() + " formats", memory(checkpoint, candidates));
            VectorCheck.warning().ifPresent(warning -> output.note("note: %s", warning));
            DecodeBench result;
            try (Progress progress = output.progress("bench", DecodeBench.steps(candidates.size(), rounds))) {
                result = DecodeBench.of(checkpoint, backend, candidates, options.head(), rounds, seconds, progress::at);
            }
            print(result, backend.workers().threads());
            output.document(document(result, backend.workers().threads()));
        }
        return Espalier.DONE;
    }

    /// About what the weights of all candidates take together, in bytes; a mask costs a bit a weight.
    private static long memory(Checkpoint checkpoint, List<Candidate> candidates) {
        double share = 0;
        for (Candidate candidate : candidates) {
            boolean dense = candidate.format().startsWith("dense");
            double kept = candidate.prunes() ? 1 - candidate.sparsity() : 1;
            share += dense ? 1 : kept + 1.0 / 16;
        }
        return (long) (share * checkpoint.bytes());
    }

    private void print(DecodeBench result, int threads) {
        output.print(
                "%s on the CPU, %d threads; memory reads at %s GB/s (one thread %s)",
                model,
                threads,
                Units.number(result.readGbPerSecond()),
                Units.number(result.readGbPerSecondOneThread()));
        if (ModelSource.random(model)) {
            output.print("Random weights: for timing only.");
        }
        Table table = new Table(
                "format",
                "pattern",
                "sparsity",
                "x dense",
                "from",
                "to",
                "linear x",
                "tok/s",
                "MB/token",
                "GB/s",
                "share");
        for (DecodeBench.Run run : result.runs()) {
            table.row(
                    run.format(),
                    run.pattern(),
                    String.format(Locale.ROOT, "%.3f", run.sparsity()),
                    Units.number(run.step().ratio()),
                    Units.number(run.step().ratioMin()),
                    Units.number(run.step().ratioMax()),
                    Units.number(run.linear().ratio()),
                    Units.number(run.tokensPerSecond()),
                    Units.number(run.bytesPerToken() / 1e6),
                    Units.number(run.gbPerSecond()),
                    String.format(Locale.ROOT, "%.2f", run.bandwidthShare()));
        }
        output.print("%s", table);
    }

    private ObjectNode document(DecodeBench result, int threads) {
        ObjectNode document = JsonNodeFactory.instance
                .objectNode()
                .put("model", model)
                .put("device", "cpu")
                .put("threads", threads)
                .put("read_gb_per_s", result.readGbPerSecond())
                .put("read_gb_per_s_one_thread", result.readGbPerSecondOneThread());
        ArrayNode runs = document.putArray("runs");
        for (DecodeBench.Run run : result.runs()) {
            runs.addObject()
                    .put("format", run.format())
                    .put("pattern", run.pattern())
                    .put("sparsity", run.sparsity())
                    .put("tokens_per_s", run.tokensPerSecond())
                    .put("bytes_per_token", run.bytesPerToken())
                    .put("gb_per_s", run.gbPerSecond())
                    .put("bandwidth_share", run.bandwidthShare())
                    .put("ratio_to_dense", run.step().ratio())
                    .put("ratio_min", run.step().ratioMin())
                    .put("ratio_max", run.step().ratioMax())
                    .put("linear_ratio_to_dense", run.linear().ratio());
        }
        return document;
    }
}
