package dev.espalier.tools;

import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.espalier.kernels.cpu.CpuBackend;
import dev.espalier.kernels.simd.VectorCheck;
import dev.espalier.tensor.DType;
import dev.espalier.tensor.InputException;
import dev.espalier.tools.bench.Candidate;
import dev.espalier.tools.bench.KernelBench;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.concurrent.Callable;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/// `espalier bench kernels`: one matrix times one token, or some, in several formats.
@Command(
        name = "kernels",
        mixinStandardHelpOptions = true,
        sortOptions = false,
        header = "Times the kernels alone: one linear layer in several formats.",
        description = {
            "",
            "Each format gets a random matrix of the shape, with its zeros at random places, in as many copies as no cache"
                    + " holds. The formats take turns; ratios are medians of measurements made in the same round.",
            "Two things bound a kernel: the memory (share of the bandwidth that is read in this run) and its own arithmetic"
                    + " (the last column: the same kernel with all threads at once, each on a matrix in its cache)."
                    + " A share well below 1 with a cache rate far above the measured one is neither: look for"
                    + " other programs that run.",
            "Gw/s counts weights, zeros included, for each token.",
            ""
        },
        footer = {
            "",
            "Examples:",
            "  espalier bench kernels",
            "  espalier bench kernels --formats bitmask@0.5,bitmask-int8@0.5,swell@0.8,13:64 --shapes 2048x5632",
            "  espalier bench kernels --tokens 64 --formats bitmask@0.5,2:4 --json",
        })
final class BenchKernelsCommand implements Callable<Integer> {
    private static final Pattern SHAPE = Pattern.compile("(\\d{1,7})x(\\d{1,7})");

    @Option(
            names = "--shapes",
            paramLabel = "OUTxIN,...",
            split = ",",
            defaultValue = "4096x4096",
            description = "Rows and columns of the matrices. Default: ${DEFAULT-VALUE}.")
    private List<String> shapes;

    @Option(
            names = "--formats",
            paramLabel = "FORMAT[@SPARSITY],...",
            split = ",",
            defaultValue = "bitmask@0.5,2:4,swell@0.7,swell@0.8,swell@0.9,dense-int8,bitmask-int8@0.5,swell-int8@0.8",
            description =
                    "What to compare with dense; dense formats and N:M need no sparsity. Default: ${DEFAULT-VALUE}.")
    private List<String> formats;

    @Option(
            names = "--tokens",
            paramLabel = "N",
            defaultValue = "1",
            description = "Tokens multiplied at once: 1 is decode, many are prefill. Default: ${DEFAULT-VALUE}.")
    private int tokens;

    @Option(
            names = "--dtype",
            paramLabel = "f32|bf16|f16",
            defaultValue = "bf16",
            description = "The type of the weights before they are packed. Default: ${DEFAULT-VALUE}.")
    private String dtype;

    @Option(
            names = "--memory",
            paramLabel = "MIB",
            defaultValue = "256",
            description = "Copies of each packed matrix take this much, so that none stays in a cache."
                    + " Default: ${DEFAULT-VALUE}.")
    private int memory;

    @Option(
            names = "--rounds",
            paramLabel = "N",
            defaultValue = "7",
            description = "How often the formats take turns. Default: ${DEFAULT-VALUE}.")
    private int rounds;

    @Option(
            names = "--seconds",
            paramLabel = "X",
            defaultValue = "0.2",
            description = "How long a turn lasts, at least one product with every copy. Default: ${DEFAULT-VALUE}.")
    private double seconds;

    @Option(
            names = "--threads",
            paramLabel = "N",
            description = "Threads to compute with. Default: the processors allowed.")
    private Integer threads;

    @Option(
            names = "--seed",
            paramLabel = "N",
            defaultValue = "0",
            description = "Of the random weights. Default: ${DEFAULT-VALUE}.")
    private long seed;

    @Mixin
    private OutputOptions output;

    @Override
    public Integer call() {
        if (rounds < 1 || rounds > 10_000 || !(seconds >= 0 && seconds <= 3600)) {
            throw new InputException("--rounds must be 1 to 10000, --seconds 0 to 3600.");
        }
        if (tokens < 1 || tokens > 1 << 16 || memory < 0 || memory > 1 << 20) {
            throw new InputException("--tokens must be 1 to 65536, --memory 0 to 1048576 (MiB).");
        }
        if (threads != null && (threads < 1 || threads > 1024)) {
            throw new InputException("--threads " + threads + ": it must be 1 to 1024.");
        }
        List<Candidate> candidates = Candidate.list(formats);
        List<KernelBench.Shape> sizes = new ArrayList<>();
        for (String shape : shapes) {
            KernelBench.Shape size = shape(shape.strip());
            candidates.forEach(candidate -> candidate.requireColumns(size.columns()));
            sizes.add(size);
        }
        long largest = sizes.stream()
                .mapToLong(size -> (long) size.rows() * size.columns() * 4)
                .max()
                .orElseThrow();
        LoadedModel.requireMemory(
                "bench kernels", candidates.size() * Math.max(largest, (long) memory << 20) + 3 * largest);
        KernelBench.Plan plan = new KernelBench.Plan(type(), tokens, (long) memory << 20, rounds, seconds, seed);
        VectorCheck.warning().ifPresent(warning -> output.note("note: %s", warning));
        try (CpuBackend backend = new CpuBackend(threads == null ? CpuBackend.defaultThreads() : threads)) {
            KernelBench result;
            try (Progress progress =
                    output.progress("bench", KernelBench.steps(sizes.size(), candidates.size(), rounds))) {
                result = KernelBench.of(sizes, backend, candidates, plan, progress::at);
            }
            print(result, backend.workers().threads());
            output.document(document(result, backend.workers().threads()));
        }
        return Espalier.DONE;
    }

    private static KernelBench.Shape shape(String text) {
        Matcher matcher = SHAPE.matcher(text);
        if (matcher.matches()) {
            int rows = Integer.parseInt(matcher.group(1));
            int columns = Integer.parseInt(matcher.group(2));
            if (rows > 0 && columns > 0 && (long) rows * columns <= 1L << 30) {
                return new KernelBench.Shape(rows, columns);
            }
        }
        throw new InputException(
                "--shapes " + text + ": a shape is OUTxIN, as in 2048x5632, with at most 1073741824 weights.");
    }

    private DType type() {
        return switch (dtype) {
            case "f32" -> DType.F32;
            case "bf16" -> DType.BF16;
            case "f16" -> DType.F16;
            default -> throw new InputException("--dtype " + dtype + ": it must be f32, bf16 or f16.");
        };
    }

    private void print(KernelBench result, int threads) {
        output.print(
                "%s weights on the CPU, %d threads, tokens at once: %d; memory reads at %s GB/s (one thread %s)",
                dtype,
                threads,
                tokens,
                Units.number(result.readGbPerSecond()),
                Units.number(result.readGbPerSecondOneThread()));
        Table table = new Table(
                "format",
                "shape",
                "sparsity",
                "x dense",
                "from",
                "to",
                "B/weight",
                "Gw/s",
                "GB/s",
                "share",
                "Gw/s cache");
        for (KernelBench.Run run : result.runs()) {
            table.row(
                    run.format(),
                    run.rows() + "x" + run.columns(),
                    String.format(Locale.ROOT, "%.3f", run.sparsity()),
                    Units.number(run.timing().ratio()),
                    Units.number(run.timing().ratioMin()),
                    Units.number(run.timing().ratioMax()),
                    String.format(Locale.ROOT, "%.3f", run.bytesPerWeight()),
                    Units.number(run.weightsPerSecond() / 1e9),
                    Units.number(run.gbPerSecond()),
                    String.format(Locale.ROOT, "%.2f", run.bandwidthShare()),
                    Units.number(run.cacheWeightsPerSecond() / 1e9));
        }
        output.print("%s", table);
    }

    private ObjectNode document(KernelBench result, int threads) {
        ObjectNode document = JsonNodeFactory.instance
                .objectNode()
                .put("device", "cpu")
                .put("threads", threads)
                .put("dtype", dtype)
                .put("read_gb_per_s", result.readGbPerSecond())
                .put("read_gb_per_s_one_thread", result.readGbPerSecondOneThread());
        ArrayNode runs = document.putArray("runs");
        for (KernelBench.Run run : result.runs()) {
            runs.addObject()
                    .put("rows", run.rows())
                    .put("cols", run.columns())
                    .put("tokens", run.tokens())
                    .put("format", run.format())
                    .put("pattern", run.pattern())
                    .put("sparsity", run.sparsity())
                    .put("bytes_per_weight", run.bytesPerWeight())
                    .put("weights_per_s", run.weightsPerSecond())
                    .put("cache_weights_per_s", run.cacheWeightsPerSecond())
                    .put("seconds", run.timing().seconds())
                    .put("gb_per_s", run.gbPerSecond())
                    .put("bandwidth_share", run.bandwidthShare())
                    .put("ratio_to_dense", run.timing().ratio())
                    .put("ratio_min", run.timing().ratioMin())
                    .put("ratio_max", run.timing().ratioMax());
        }
        return document;
    }
}
