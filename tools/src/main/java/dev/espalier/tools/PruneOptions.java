package dev.espalier.tools;

import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.espalier.checkpoint.CheckpointWriter;
import dev.espalier.checkpoint.SaveAs;
import dev.espalier.kernels.FormatChoice;
import dev.espalier.model.Block;
import dev.espalier.model.Projection;
import dev.espalier.prune.Journal;
import dev.espalier.prune.LayerReport;
import dev.espalier.prune.LayerwisePruner;
import dev.espalier.prune.PruneListener;
import dev.espalier.prune.PruneNeed;
import dev.espalier.prune.PrunePlan;
import dev.espalier.prune.PruneReport;
import dev.espalier.prune.PruneSink;
import dev.espalier.prune.calibrate.CalibrationData;
import dev.espalier.prune.solver.Refinement;
import dev.espalier.prune.solver.Solver;
import dev.espalier.prune.solver.Solvers;
import dev.espalier.tensor.InputException;
import dev.espalier.tensor.Tensor;
import dev.espalier.tools.bench.GemmSpeed;
import dev.espalier.tools.demo.StoryGrammar;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Iterator;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import picocli.CommandLine.Option;

/// What to prune and on which text: the options that `prune` and `prune-and-serve` share.
final class PruneOptions {
    private static final int SAMPLES = 128;
    private static final int LONGEST_WINDOW = 2048;

    /// Calibration texts that are no files, as reports name them: the model's own, the grammar's, none.
    private static final String SELF = "self";

    private static final String STORIES = "stories";
    private static final String NO_TEXT = "none";

    /// Letters of the grammar's stories that surely make a token.
    private static final int LETTERS_PER_TOKEN = 6;

    private static final int LONGEST_STORIES = 8_000_000;

    @Option(
            names = "--method",
            paramLabel = "NAME",
            completionCandidates = Methods.class,
            description = "One of ${COMPLETION-CANDIDATES}. Default: the last, the best there is.")
    private String method;

    /// The names that `--refine` takes.
    static final class Refinements implements Iterable<String> {
        @Override
        public Iterator<String> iterator() {
            return Arrays.stream(Refinement.values()).map(Refinement::text).iterator();
        }
    }

    /// The names that `--method` takes.
    static final class Methods implements Iterable<String> {
        @Override
        public Iterator<String> iterator() {
            return Solvers.all().stream().map(Solver::name).iterator();
        }
    }

    @Option(
            names = "--sparsity",
            paramLabel = "X",
            description = "Fraction of each layer's weights to remove, 0 to below 1. Default: 0.5.")
    private Double sparsity;

    @Option(
            names = "--pattern",
            paramLabel = "N:M",
            description = "Keep N of each M consecutive inputs of an output, as in 2:4. Default: unstructured.")
    private String pattern;

    @Option(
            names = "--calibration",
            paramLabel = "FILE|self",
            description = {
                "Text to record layer inputs on: plain, or JSON lines with a text field (.jsonl, .json); self: the model"
                        + " writes it. Default: self; for an embedded model, its own grammar's stories."
            })
    private String calibration;

    @Option(
            names = "--calibration-order",
            paramLabel = "random|consecutive",
            defaultValue = "random",
            description = "Windows of a plain text: at random places, or the first ones. Default: ${DEFAULT-VALUE}.")
    private CalibrationData.Order order;

    @Option(
            names = "--samples",
            paramLabel = "N",
            description = "Windows of calibration text. Default: 128; with self, what 5 minutes give.")
    private Integer samples;

    @Option(
            names = "--seq-len",
            paramLabel = "N",
            description = "Tokens of a window. Default: the smaller of 2048 and the model's context.")
    private Integer seqLen;

    @Option(
            names = "--damping",
            paramLabel = "auto|X",
            description =
                    "What is added to the Gram matrix's diagonal, a fraction of its mean. Default: the method's own,"
                            + " more where tokens are few.")
    private String damping;

    @Option(
            names = "--refine",
            paramLabel = "NAME",
            completionCandidates = Refinements.class,
            description = {
                "What is done to each layer after the method, one of ${COMPLETION-CANDIDATES}. pcg: the best weights on its"
                        + " support, iteratively; backsolve: the same exactly, slow on wide layers; swap: pruned and kept"
                        + " weights change places. Default: none."
            })
    private String refinement;

    @Option(
            names = "--reference-quirks",
            description = "Counts, ties and damping exactly as the papers' released codes have them.")
    private boolean referenceQuirks;

    @Option(
            names = "--seed",
            paramLabel = "N",
            defaultValue = "0",
            description = "Of the choice of windows. Default: ${DEFAULT-VALUE}.")
    private long seed;

    @Option(names = "--out", paramLabel = "DIR", description = "The folder to write; it appears when it is complete.")
    private Path out;

    @Option(
            names = "--save-as",
            paramLabel = "dense|packed",
            defaultValue = "dense",
            description = "dense: zeros stay in place, every program loads it, and it is as large as before; packed:"
                    + " smaller by what the zeros free, for espalier only. Default: ${DEFAULT-VALUE}.")
    private SaveAs saveAs;

    @Option(
            names = "--report",
            paramLabel = "DIR",
            description = "A new folder for one HTML page with the figures of this run; it needs no network.")
    private Path report;

    @Option(
            names = "--resume",
            description =
                    "Go on from the finished blocks that a run which ended early left in DIR.partial; the result has"
                            + " the bytes of an unbroken run. Without such a run: start afresh.")
    private boolean resume;

    @Option(
            names = "--dry-run",
            description = "Only say what memory and time it would take on this machine, layer by layer.")
    private boolean dryRun;

    long seed() {
        return seed;
    }

    boolean dryRun() {
        return dryRun;
    }

    /// The folder to write; null for none.
    Path out() {
        return out;
    }

    /// What was asked for.
    ///
    /// @throws InputException if options name nothing or contradict each other
    PrunePlan plan() throws IOException {
        if (samples != null && samples < 1) {
            throw new InputException("--samples " + samples + ": it must be 1 or more.");
        }
        if (seqLen != null && seqLen < 2) {
            throw new InputException("--seq-len " + seqLen + ": it must be 2 or more.");
        }
        if (calibration != null && !calibration.equals(SELF) && !Files.isReadable(Path.of(calibration))) {
            throw new InputException("--calibration " + calibration + ": there is no such file, or it cannot be read.");
        }
        if (out != null && !finished()) {
            CheckpointWriter.requireFree(out);
        }
        if (report != null) {
            CheckpointWriter.requireFree(report);
        }
        if (out == null && resume) {
            throw new InputException("--resume goes on with a folder; say which one by --out.");
        }
        return PrunePlan.of(method, pattern, sparsity, damping, referenceQuirks, refinement);
    }

    /// Whether `--resume` finds nothing to do, because a run has completed the folder already.
    boolean finished() {
        return resume && FinishedRun.in(out);
    }

    /// The report of the run that completed the folder, which must be the one that was asked for now.
    ///
    /// @throws InputException if it was of another model, plan or calibration
    /// @throws IOException if the folder cannot be read or tidied
    ObjectNode finishedReport(LoadedModel loaded, PrunePlan plan) throws IOException {
        FinishedRun run = FinishedRun.read(out);
        run.require("model", loaded.checkpoint().name());
        run.require(plan);
        run.require("save_as", saveAs.name().toLowerCase(Locale.ROOT));
        String source = source(loaded, plan);
        run.require("calibration/source", source);
        if (!source.equals(NO_TEXT)) {
            run.require("calibration/seq_len", Integer.toString(seqLen(loaded)));
            run.require("calibration/seed", Long.toString(seed));
            if (samples != null || !source.equals(SELF)) {
                run.require("calibration/samples", Integer.toString(samples()));
            }
        }
        return run.report();
    }

    /// Where the calibration text is from, as reports say it.
    private String source(LoadedModel loaded, PrunePlan plan) {
        if (calibration != null) {
            return calibration.equals(SELF) ? SELF : Path.of(calibration).toString();
        }
        return !plan.usesData() ? NO_TEXT : ModelSource.embedded(loaded.name()) ? STORIES : SELF;
    }

    /// Refuses a plan that does not fit `loaded`, before any work.
    ///
    /// @throws InputException if the pattern does not divide a layer's columns, or windows are longer than the context
    /// @throws dev.espalier.prune.PruneException if it needs more memory than there is
    void check(LoadedModel loaded, PrunePlan plan) {
        for (Block block : loaded.model().blocks()) {
            for (Projection projection : block.projections()) {
                String reason = plan.pattern().refuses(block.linear(projection).columns());
                if (reason != null) {
                    throw new InputException("--pattern %s does not fit %s: %s."
                            .formatted(plan.pattern().name(), block.weightName(projection), reason));
                }
            }
        }
        PruneNeed need = need(loaded, plan);
        if (!dryRun) {
            need.requireMemory();
        }
    }

    private PruneNeed need(LoadedModel loaded, PrunePlan plan) {
        int windows = plan.usesData() ? samples() : 0;
        return PruneNeed.of(loaded.model(), plan, windows, (windows + 9) / 10, seqLen(loaded));
    }

    /// The length of a window on `loaded`.
    ///
    /// @throws InputException if the model's context is shorter than what was asked for
    int seqLen(LoadedModel loaded) {
        int context = loaded.model().spec().context();
        if (seqLen != null && seqLen > context) {
            throw new InputException("--seq-len %d is more than the model's context of %d.".formatted(seqLen, context));
        }
        return seqLen == null ? Math.min(LONGEST_WINDOW, context) : seqLen;
    }

    int samples() {
        return samples == null ? SAMPLES : samples;
    }

    /// The calibration windows; null if `plan` needs none and none were asked for.
    ///
    /// @throws InputException if the text cannot be used
    /// @throws IOException if the journal of a run to be resumed cannot be looked at
    CalibrationData calibration(LoadedModel loaded, PrunePlan plan, OutputOptions output) throws IOException {
        if (calibration == null && !plan.usesData()) {
            return null;
        }
        CalibrationData.Request request = new CalibrationData.Request(samples(), seqLen(loaded), seed, order);
        if (calibration == null && ModelSource.embedded(loaded.name())) {
            long letters =
                    (long) (request.samples() + request.samples() / 5 + 2) * request.seqLen() * LETTERS_PER_TOKEN;
            String text = StoryGrammar.of(StoryGrammar.CALIBRATION_SEED).text((int) Math.min(letters, LONGEST_STORIES));
            return CalibrationData.ofText(STORIES, text, loaded.requireTokenizer(""), request);
        }
        if (calibration == null || calibration.equals(SELF)) {
            Optional<CalibrationData> earlier = earlierWindows(request);
            if (earlier.isPresent()) {
                return earlier.get();
            }
            double limit = samples == null ? CalibrationData.SAMPLING_SECONDS : Double.POSITIVE_INFINITY;
            output.note(
                    "calibrating on text that the model writes; a file by --calibration is better where there is one");
            try (Progress progress = output.progress("sampling", 1000)) {
                return CalibrationData.selfSampled(
                        loaded.model(), request, limit, (fraction, left) -> progress.at(Math.round(1000 * fraction)));
            }
        }
        return CalibrationData.ofFile(
                Path.of(calibration), loaded.requireTokenizer("calibration text needs one."), request);
    }

    /// The windows that the model wrote for the run that is to be resumed; it might not write as many a second time.
    private Optional<CalibrationData> earlierWindows(CalibrationData.Request request) throws IOException {
        if (!resume) {
            return Optional.empty();
        }
        Optional<CalibrationData> earlier = Journal.windows(CheckpointWriter.journal(out));
        if (earlier.isPresent()) {
            CalibrationData data = earlier.get();
            if (data.seqLen() != request.seqLen()
                    || data.seed() != request.seed()
                    || samples != null && data.windows().size() != samples) {
                throw new InputException(
                        "the journal of %s is of %d windows of %d tokens by seed %d; give the same --samples, --seq-len and --seed, or leave --resume out to start afresh."
                                .formatted(out, data.windows().size(), data.seqLen(), data.seed()));
            }
        }
        return earlier;
    }

    /// Prunes `loaded` in place, each layer packed as `formats` chooses, and writes the result where `--out` says.
    ///
    /// @throws IOException if it cannot be written; nothing is left then
    PruneReport prune(
            LoadedModel loaded, PrunePlan plan, CalibrationData data, FormatChoice formats, OutputOptions output)
            throws IOException {
        if (out == null) {
            return prune(loaded, plan, data, formats, output, PruneSink.NONE);
        }
        try (CheckpointWriter writer = CheckpointWriter.open(
                loaded.checkpoint(), out, saveAs, Map.of("espalier_prune", summary(plan)), resume)) {
            requireRoom(loaded, plan);
            Journal journal =
                    Journal.open(CheckpointWriter.journal(out), plan, loaded.checkpoint(), data, sink(writer));
            if (resume) {
                output.note("resuming after %d blocks", journal.finishedBlocks());
            }
            PruneReport report = prune(loaded, plan, data, formats, output, journal);
            ObjectNode json = report.toJson(null).put("save_as", saveAs.name().toLowerCase(Locale.ROOT));
            writer.finish(Map.of(
                    FinishedRun.REPORT, json.toPrettyString().concat("\n").getBytes(StandardCharsets.UTF_8)));
            return report;
        }
    }

    /// Says before the work that the disk cannot hold the result and, until that is complete, the finished blocks.
    private void requireRoom(LoadedModel loaded, PrunePlan plan) throws IOException {
        long room =
                Files.getFileStore(CheckpointWriter.journal(out).getParent()).getUsableSpace();
        long bytes = need(loaded, plan).prunedBytes()
                + (saveAs == SaveAs.DENSE ? loaded.checkpoint().bytes() : 0);
        if (bytes > room) {
            throw new WorkFailedException(
                    "%s needs %s while it is written, and %s are free there; give a folder on another disk."
                            .formatted(out, Units.bytes(bytes), Units.bytes(room)));
        }
    }

    private static PruneReport prune(
            LoadedModel loaded,
            PrunePlan plan,
            CalibrationData data,
            FormatChoice formats,
            OutputOptions output,
            PruneSink sink) {
        int threads = loaded.backend().workers().threads();
        try (Progress progress = output.progress("pruning", 1000)) {
            return new LayerwisePruner(plan, formats, sink, threads).prune(loaded.model(), data, listener(progress));
        }
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

    /// Writes the page about the run, if it was asked for.
    ///
    /// @param document what `--json` prints
    /// @throws IOException if it cannot be written
    void writeReport(ObjectNode document, OutputOptions output) throws IOException {
        if (report != null) {
            HtmlReport.write(report, document, output.arguments());
            output.print("report in %s", report.resolve(HtmlReport.FILE));
        }
    }

    /// Says where the result was written, if it was.
    void printOut(OutputOptions output) {
        if (out != null) {
            output.print("written to %s", out);
            if (saveAs == SaveAs.DENSE) {
                output.note(
                        "The zeros are stored too, so the files are as large as before; --save-as packed is smaller.");
            }
        }
    }

    /// Prints what pruning `loaded` would take.
    void printNeed(LoadedModel loaded, PrunePlan plan, OutputOptions output) {
        int windows = plan.usesData() ? samples() : 0;
        int seqLen = seqLen(loaded);
        PruneNeed need = need(loaded, plan);
        double speed = GemmSpeed.multiplicationsPerSecond(loaded.backend().algebra());
        Table table = new Table("layer", "rows", "cols", "memory", "Gmul", "seconds");
        ObjectNode document = JsonNodeFactory.instance
                .objectNode()
                .put("model", loaded.name())
                .put("method", plan.solver().name())
                .put("samples", windows)
                .put("seq_len", seqLen)
                .put("peak_bytes", need.peakBytes())
                .put("file_bytes", need.fileBytes())
                .put("pruned_bytes", need.prunedBytes())
                .put("multiplications", need.multiplications())
                .put("multiplications_per_s", speed)
                .put("seconds", need.multiplications() / speed);
        ArrayNode layers = document.putArray("layers");
        for (PruneNeed.Layer layer : need.layers()) {
            table.row(
                    layer.name(),
                    Integer.toString(layer.rows()),
                    Integer.toString(layer.cols()),
                    Units.bytes(layer.bytes()),
                    Units.number(layer.multiplications() / 1e9),
                    Units.number(layer.multiplications() / speed));
            layers.addObject()
                    .put("name", layer.name())
                    .put("rows", layer.rows())
                    .put("cols", layer.cols())
                    .put("bytes", layer.bytes())
                    .put("multiplications", layer.multiplications())
                    .put("seconds", layer.multiplications() / speed);
        }
        output.print("%s", table);
        output.print(
                "%d windows of %d tokens; memory beside the model: %s, and %s for the pruned layers; %s on disk;"
                        + " %s G multiplications, at %s G a second (measured just now) about %s and what is not arithmetic",
                windows,
                seqLen,
                Units.bytes(need.peakBytes()),
                Units.bytes(need.prunedBytes()),
                Units.bytes(need.fileBytes()),
                Units.number(need.multiplications() / 1e9),
                Units.number(speed / 1e9),
                Progress.duration(need.multiplications() / speed));
        output.document(document);
    }

    /// A listener that draws the progress bar.
    private static PruneListener listener(Progress progress) {
        return new PruneListener() {
            @Override
            public void progress(Progress at) {
                progress.at(
                        Math.round(1000 * at.fraction()),
                        "block " + (at.block() + 1) + " of " + at.blocks() + ", " + at.doing()
                                + (Double.isNaN(at.secondsLeft())
                                        ? ""
                                        : ", " + dev.espalier.tools.Progress.duration(at.secondsLeft()) + " left"));
            }
        };
    }

    /// What was done, for people: a line a layer, and the sum.
    static void print(PruneReport report, OutputOptions output) {
        if (!output.quiet()) {
            Table table = new Table("layer", "rows", "cols", "sparsity", "error E", "E^2", "held out", "seconds");
            report.layers()
                    .forEach(layer -> table.row(
                            layer.name(),
                            Integer.toString(layer.rows()),
                            Integer.toString(layer.cols()),
                            String.format(Locale.ROOT, "%.4f", layer.sparsity()),
                            number(layer.relativeError()),
                            number(layer.relativeErrorSquared()),
                            number(layer.heldOutError()),
                            String.format(Locale.ROOT, "%.2f", layer.seconds())));
            output.print("%s", table);
            report.layers().stream()
                    .filter(layer -> layer.note() != null)
                    .forEach(layer -> output.note("note: %s: %s", layer.name(), layer.note()));
        }
        output.print(
                "%s, %s: %,d of %,d weights are zero (%.2f %%), in %s",
                report.plan().solver().name(),
                report.plan().pattern().name(),
                report.zeros(),
                report.weights(),
                100 * report.sparsity(),
                Progress.duration(report.seconds()));
    }

    private static String number(double value) {
        return Double.isNaN(value) ? "-" : Units.number(value);
    }
}
