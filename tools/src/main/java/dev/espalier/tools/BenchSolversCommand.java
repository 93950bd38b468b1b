package dev.espalier.tools;

import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.espalier.checkpoint.SafetensorsWriter;
import dev.espalier.kernels.cpu.CpuBackend;
import dev.espalier.prune.PrunePlan;
import dev.espalier.prune.solver.Alps;
import dev.espalier.prune.solver.Solver;
import dev.espalier.prune.solver.Solvers;
import dev.espalier.tensor.InputException;
import dev.espalier.tensor.Tensor;
import dev.espalier.tools.bench.SolverBench;
import dev.espalier.tools.bench.SolverLayer;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/// `espalier bench solvers`: pruning methods side by side on one layer.
@Command(
        name = "solvers",
        mixinStandardHelpOptions = true,
        sortOptions = false,
        header = "Prunes one layer by several methods: error, time and memory side by side.",
        description = {
            "",
            "The layer comes from a file, or is made up. Every method is run for every sparsity and pattern, with the damping"
                    + " of its paper unless --damping says otherwise.",
            ""
        },
        footer = {
            "",
            "Examples:",
            "  espalier bench solvers --layer layer.safetensors --methods wanda,alps --sparsity 0.5,0.7 --pattern 2:4",
            "  espalier bench solvers --shapes 2048x2048 --methods sparsegpt,alps --sparsity 0.7 --json",
            "  espalier bench solvers --layer layer.safetensors --methods alps --sparsity 0.7 --trace course.jsonl",
        })
final class BenchSolversCommand implements Callable<Integer> {
    /// What the paper's table 5 compares the growing ρ with.
    private static final double[] FIXED_RHOS = {0.3, 3};

    private static final int FIXED_ITERATIONS = 100;

    @Option(
            names = "--layer",
            paramLabel = "FILE",
            description = "A safetensors file with weight [out, in] and inputs [tokens, in], both F32, and sequences of"
                    + " seq_len tokens if its metadata say so.")
    private Path layer;

    @Option(
            names = "--shapes",
            paramLabel = "OUTxIN,...",
            split = ",",
            defaultValue = "2048x2048",
            description = "Without --layer: the sizes of random layers. Default: ${DEFAULT-VALUE}.")
    private List<String> shapes;

    @Option(
            names = "--methods",
            paramLabel = "NAME,...",
            split = ",",
            completionCandidates = PruneOptions.Methods.class,
            description = "Some of ${COMPLETION-CANDIDATES}. Default: all.")
    private List<String> methods;

    @Option(
            names = "--sparsity",
            paramLabel = "X,...",
            split = ",",
            description = "Fractions of weights to remove. Default: 0.5, if there is no --pattern.")
    private List<Double> sparsities;

    @Option(names = "--pattern", paramLabel = "N:M,...", split = ",", description = "Patterns to keep.")
    private List<String> patterns;

    @Option(
            names = "--refine",
            paramLabel = "NAME",
            completionCandidates = PruneOptions.Refinements.class,
            description = "What follows each method, one of ${COMPLETION-CANDIDATES}. Default: none.")
    private String refinement;

    @Option(
            names = "--damping",
            paramLabel = "auto|X",
            description = "What is added to the Gram matrix's diagonal, a fraction of its mean. Default: the paper's.")
    private String damping;

    @Option(
            names = "--reference-quirks",
            description = "Counts, ties and schedules exactly as the papers' released codes have them.")
    private boolean referenceQuirks;

    @Option(
            names = "--rounds",
            paramLabel = "N",
            defaultValue = "1",
            description = "How often each is run; the shortest time counts. Default: ${DEFAULT-VALUE}.")
    private int rounds;

    @Option(
            names = "--out",
            paramLabel = "FILE",
            description = "A safetensors file for the pruned weights, each as METHOD@SPARSITY or METHOD@PATTERN.")
    private Path out;

    @Option(
            names = "--trace",
            paramLabel = "FILE",
            description =
                    "JSON lines with every iteration of alps, in runs of their own: with its growing penalty and with"
                            + " two fixed ones.")
    private Path trace;

    @Option(
            names = "--seed",
            paramLabel = "N",
            defaultValue = "0",
            description = "Of random layers. Default: ${DEFAULT-VALUE}.")
    private long seed;

    @Option(
            names = "--threads",
            paramLabel = "N",
            description = "Threads to compute with; results do not depend on it. Default: the processors allowed.")
    private Integer threads;

    @Mixin
    private OutputOptions output;

    @Override
    public Integer call() throws IOException {
        List<PrunePlan> plans = plans();
        List<int[]> sizes =
                layer == null ? shapes.stream().map(BenchSolversCommand::shape).toList() : List.of();
        check(plans, sizes);
        try (CpuBackend backend = new CpuBackend(threads == null ? CpuBackend.defaultThreads() : threads)) {
            SolverBench bench = new SolverBench(backend.algebra(), backend.workers());
            Report report = new Report();
            if (layer == null) {
                for (int[] size : sizes) {
                    try (SolverLayer made = SolverLayer.random(size[0], size[1], seed, backend.algebra())) {
                        run(bench, made, plans, report);
                    }
                }
            } else {
                try (SolverLayer read = SolverLayer.open(layer, backend.algebra())) {
                    run(bench, read, plans, report);
                }
            }
            report.print();
            if (trace != null) {
                Files.write(trace, report.trace, StandardCharsets.UTF_8);
            }
        }
        return Espalier.DONE;
    }

    /// Every method with every sparsity and pattern.
    private List<PrunePlan> plans() {
        List<String> names =
                methods == null ? Solvers.all().stream().map(Solver::name).toList() : methods;
        List<PrunePlan> plans = new ArrayList<>();
        for (String name : names) {
            List<Double> fractions = sparsities != null ? sparsities : patterns != null ? List.of() : List.of(0.5);
            for (double sparsity : fractions) {
                plans.add(PrunePlan.of(name, null, sparsity, damping, referenceQuirks, refinement));
            }
            for (String pattern : patterns == null ? List.<String>of() : patterns) {
                plans.add(PrunePlan.of(name, pattern, null, damping, referenceQuirks, refinement));
            }
        }
        return plans;
    }

    private void check(List<PrunePlan> plans, List<int[]> sizes) {
        if (rounds < 1) {
            throw new InputException("--rounds " + rounds + ": it must be 1 or more.");
        }
        if (threads != null && (threads < 1 || threads > 1024)) {
            throw new InputException("--threads " + threads + ": it must be 1 to 1024.");
        }
        if (out != null && sizes.size() > 1) {
            throw new InputException("--out takes the results of one layer; give one of --shapes, or --layer.");
        }
        if (trace != null && plans.stream().noneMatch(plan -> plan.solver() instanceof Alps)) {
            throw new InputException("--trace follows alps; name it among --methods.");
        }
        if (layer != null && !Files.isReadable(layer)) {
            throw new InputException("--layer " + layer + ": there is no such file, or it cannot be read.");
        }
        for (int[] size : sizes) {
            plans.forEach(plan -> requireFits(plan, size[1]));
        }
    }

    private static void requireFits(PrunePlan plan, int columns) {
        String reason = plan.pattern().refuses(columns);
        if (reason != null) {
            throw new InputException(
                    "--pattern %s does not fit: %s.".formatted(plan.pattern().name(), reason));
        }
    }

    private static int[] shape(String text) {
        String[] parts = text.split("x", -1);
        try {
            int[] shape = {Integer.parseInt(parts[0]), Integer.parseInt(parts[1])};
            if (parts.length == 2 && shape[0] > 0 && shape[1] > 0) {
                return shape;
            }
        } catch (NumberFormatException | ArrayIndexOutOfBoundsException e) {
            throw new InputException(notAShape(text), e);
        }
        throw new InputException(notAShape(text));
    }

    private static String notAShape(String text) {
        return "--shapes " + text + ": a shape is OUTxIN, as in 2048x2048.";
    }

    private void run(SolverBench bench, SolverLayer given, List<PrunePlan> plans, Report report) throws IOException {
        plans.forEach(plan -> requireFits(plan, given.weight().columns()));
        Map<String, Tensor> results = new LinkedHashMap<>();
        try (Progress progress = output.progress("pruning", (long) plans.size() * rounds)) {
            int done = 0;
            for (PrunePlan plan : plans) {
                SolverBench.Run best = null;
                for (int round = 0; round < rounds; round++) {
                    progress.at(done++, name(plan));
                    SolverBench.Run run = bench.run(given, plan, damping(plan, given));
                    best = best == null || run.seconds() < best.seconds() ? run : best;
                }
                report.add(given, best);
                if (out != null) {
                    results.put(name(plan), best.pruned());
                }
                if (trace != null && plan.solver() instanceof Alps alps) {
                    trace(bench, given, plan, alps, report);
                }
            }
        }
        if (out != null) {
            write(results);
        }
    }

    /// What the solver is told: NaN for the paper's value.
    private double damping(PrunePlan plan, SolverLayer given) {
        return damping == null
                ? Double.NaN
                : plan.dampingFor(given.weight().columns(), given.gram().tokens());
    }

    private static String name(PrunePlan plan) {
        String what = plan.pattern().name().equals("unstructured")
                ? Double.toString(plan.sparsity())
                : plan.pattern().name();
        return plan.solver().name() + "@" + what;
    }

    private void trace(SolverBench bench, SolverLayer given, PrunePlan plan, Alps alps, Report report) {
        bench.run(
                given,
                plan,
                alps.heardBy(step -> report.trace.add(line(given, plan, "growing", step))),
                damping(plan, given));
        for (double rho : FIXED_RHOS) {
            Solver fixed = alps.withFixedRho(rho, FIXED_ITERATIONS)
                    .heardBy(step -> report.trace.add(line(given, plan, "fixed", step)));
            bench.run(given, plan, fixed, damping(plan, given));
        }
    }

    private static String line(SolverLayer given, PrunePlan plan, String scheme, Alps.Step step) {
        ObjectNode json = JsonNodeFactory.instance
                .objectNode()
                .put("method", plan.solver().name())
                .put("rows", given.weight().rows())
                .put("cols", given.weight().columns())
                .put("pattern", plan.pattern().name())
                .put("sparsity", plan.sparsity())
                .put("scheme", scheme)
                .put("iteration", step.iteration())
                .put("rho", step.rho());
        OutputOptions.put(json, "primal_residual", step.primalResidual());
        OutputOptions.put(json, "gradient", step.gradient());
        OutputOptions.put(json, "support_change", step.supportChange());
        OutputOptions.put(json, "relative_error", step.relativeError());
        return json.toString();
    }

    private void write(Map<String, Tensor> results) throws IOException {
        Path partial = out.resolveSibling(out.getFileName() + ".partial");
        Files.deleteIfExists(partial);
        List<SafetensorsWriter.Declared> declared = results.entrySet().stream()
                .map(result -> new SafetensorsWriter.Declared(
                        result.getKey(), "F32", List.of((long) result.getValue().rows(), (long)
                                result.getValue().columns())))
                .toList();
        try (SafetensorsWriter writer = new SafetensorsWriter(partial, Map.of(), declared)) {
            for (Map.Entry<String, Tensor> result : results.entrySet()) {
                writer.write(result.getKey(), result.getValue().segment());
            }
            writer.finish();
        }
        Files.move(partial, out, StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
    }

    /// What is printed and written at the end.
    private final class Report {
        private final Table table =
                new Table("method", "rows", "cols", "pattern", "sparsity", "error E", "E^2", "seconds", "memory");
        private final ObjectNode document = JsonNodeFactory.instance.objectNode();
        private final ArrayNode runs = document.putArray("runs");
        private final List<String> trace = new ArrayList<>();
        private final List<String> notes = new ArrayList<>();

        void add(SolverLayer given, SolverBench.Run run) {
            PrunePlan plan = run.plan();
            double error = run.relativeError();
            table.row(
                    plan.solver().name(),
                    Integer.toString(given.weight().rows()),
                    Integer.toString(given.weight().columns()),
                    plan.pattern().name(),
                    String.format(Locale.ROOT, "%.3f", plan.sparsity()),
                    Units.number(error),
                    Units.number(error * error),
                    String.format(Locale.ROOT, "%.3f", run.seconds()),
                    Units.bytes(run.peakBytes()));
            ObjectNode json = runs.addObject()
                    .put("layer", given.name())
                    .put("rows", given.weight().rows())
                    .put("cols", given.weight().columns())
                    .put("tokens", given.gram().tokens())
                    .put("method", plan.solver().name())
                    .put("refine", plan.refinement().text())
                    .put("pattern", plan.pattern().name())
                    .put("sparsity", plan.sparsity());
            OutputOptions.put(json, "relative_error", error);
            OutputOptions.put(json, "relative_error_squared", error * error);
            OutputOptions.put(json, "support_change", run.solution().supportChange());
            OutputOptions.put(json, "damping", run.solution().damping());
            json.put("seconds", run.seconds()).put("peak_bytes", run.peakBytes());
            for (String note : new String[] {run.solution().note(), run.note()}) {
                if (note != null) {
                    notes.add("note: " + name(plan) + ": " + note);
                }
            }
        }

        void print() {
            output.print("%s", table);
            notes.forEach(note -> output.note("%s", note));
            output.document(document);
        }
    }
}
