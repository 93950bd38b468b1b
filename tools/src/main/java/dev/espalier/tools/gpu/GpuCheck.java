package dev.espalier.tools.gpu;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.SerializationFeature;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.espalier.natives.cuda.Cuda;
import dev.espalier.natives.cuda.CudaException;
import dev.espalier.natives.cuda.CudaLibrary;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.time.Instant;
import java.time.temporal.ChronoUnit;
import java.util.ArrayList;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.Set;
import java.util.TreeMap;
import java.util.function.Consumer;
import java.util.function.LongSupplier;

/// Every GPU path once: correctness, then speed; a JSON document and a page in Markdown.
public class GpuCheck {
    /// When a part begins nothing new. What it is at then takes less than the rest of 8 minutes: setting up a layer, and a race.
    private static final double PART_SECONDS = 380;

    /// When no part begins anything new, so that all of them take less than 18 minutes.
    private static final double ALL_SECONDS = 980;

    private static final List<GpuPart> PARTS =
            List.of(new Correctness(), new GemvTable(), new GemmTable(), new TorchTable(), new Factorizations());

    private final LongSupplier clock;
    private final String python;

    /// The check that a user asks for.
    public GpuCheck() {
        this(System::nanoTime, "python3");
    }

    /// @param clock nanoseconds since some moment
    /// @param python the command of part (d)
    GpuCheck(LongSupplier clock, String python) {
        this.clock = clock;
        this.python = python;
    }

    /// The parts' letters, in their order.
    public static List<String> letters() {
        return PARTS.stream().map(GpuPart::letter).toList();
    }

    String python() {
        return python;
    }

    /// What is measured on a device.
    Workload workload(Cuda.Device device) {
        return Workload.of(device);
    }

    /// Why a library is not there; empty if it is.
    Optional<String> whyNot(CudaLibrary library) {
        return library.library().found()
                ? Optional.empty()
                : Optional.of(library.library().whyNot().orElse("no reason is known"));
    }

    /// Runs the parts named by `letters` on the GPU of `cuda`; after each of them what is known is written to `out`.
    ///
    /// @param cache where compiled kernels are kept
    /// @param progress gets a line now and then
    public ObjectNode run(Cuda cuda, Path out, Path cache, List<String> letters, Consumer<String> progress)
            throws IOException {
        Deadline end = Deadline.in(clock, ALL_SECONDS);
        ObjectNode document = describe(cuda);
        ArrayNode parts = document.putArray("parts");
        try (GpuRig rig = new GpuRig(this, cuda, cache)) {
            document.put("copy_gb_per_s", rig.copyBandwidth() / 1e9);
            for (GpuPart part : PARTS) {
                if (letters.contains(part.letter())) {
                    progress.accept("(" + part.letter() + ") " + part.title());
                    run(rig, part, end.within(PART_SECONDS), parts.addObject(), progress);
                    ObjectNode images = document.putObject("kernel_images");
                    rig.kernels.origins().forEach((file, origin) -> images.put(file.baseName(), lowerCase(origin)));
                    write(out, document);
                }
            }
        }
        return document;
    }

    private ObjectNode describe(Cuda cuda) {
        ObjectNode document = JsonNodeFactory.instance.objectNode();
        Cuda.Device device = cuda.device();
        document.put("date", Instant.now().truncatedTo(ChronoUnit.SECONDS).toString())
                .put("commit", System.getProperty("espalier.commit"))
                .put("device", device.name())
                .put("compute_capability", device.computeCapability())
                .put("multiprocessors", device.multiprocessors())
                .put("memory_bytes", device.memoryBytes())
                .put("driver", cuda.driver());
        ArrayNode libraries = document.putArray("libraries");
        for (CudaLibrary library : CudaLibrary.values()) {
            libraries
                    .addObject()
                    .put("name", library.baseName())
                    .put("version", library.version().orElse(null))
                    .put("warning", library.warning().orElse(null))
                    .put("why_not", whyNot(library).orElse(null));
        }
        return document;
    }

    private void run(GpuRig rig, GpuPart part, Deadline deadline, ObjectNode node, Consumer<String> progress) {
        long start = clock.getAsLong();
        node.put("part", part.letter()).put("title", part.title());
        ArrayNode rows = node.putArray("rows");
        String problem = null;
        try {
            part.run(rig, deadline, row -> {
                rows.add(row);
                progress.accept("    " + line(row));
            });
        } catch (CudaException | IllegalArgumentException | IllegalStateException e) {
            problem = e.getMessage();
            progress.accept("    " + problem);
        }
        node.put("problem", problem).put("seconds", (clock.getAsLong() - start) / 1e9);
    }

    /// Whether a part broke off, or anything that was there was wrong or did not work.
    public static boolean failed(ObjectNode document) {
        for (JsonNode part : document.path("parts")) {
            if (!part.path("problem").isNull()) {
                return true;
            }
            for (JsonNode row : part.path("rows")) {
                if (row.has(GpuPart.FAILED) || row.path("result").asText().equals(Correctness.FAILED)) {
                    return true;
                }
            }
        }
        return false;
    }

    private static void write(Path out, ObjectNode document) throws IOException {
        ObjectMapper mapper = new ObjectMapper().enable(SerializationFeature.INDENT_OUTPUT);
        replace(out.resolve("gpu-check.json"), mapper.writeValueAsString(document) + "\n");
        replace(out.resolve("gpu-check.md"), markdown(document));
    }

    private static void replace(Path file, String text) throws IOException {
        Path half = Files.createTempFile(file.getParent(), "half", ".tmp");
        Files.writeString(half, text);
        Files.move(half, file, StandardCopyOption.REPLACE_EXISTING, StandardCopyOption.ATOMIC_MOVE);
    }

    /// The document as a page: a table for each part, a column for each name that its rows have.
    static String markdown(ObjectNode document) {
        StringBuilder page = new StringBuilder("# GPU check\n\n");
        page.append(String.format(
                Locale.ROOT,
                "%s, compute capability %s, %s multiprocessors; driver %s; %s%s. Copies at %.0f GB/s (read plus written).\n\n",
                document.path("device").asText(),
                document.path("compute_capability").asText(),
                document.path("multiprocessors").asText(),
                document.path("driver").asText(),
                document.path("date").asText(),
                document.path("commit").isNull()
                        ? ""
                        : ", commit " + document.path("commit").asText(),
                document.path("copy_gb_per_s").asDouble()));
        List<String> libraries = new ArrayList<>();
        List<String> warnings = new ArrayList<>();
        document.path("libraries").forEach(library -> {
            String version = " " + library.path("version").asText("");
            libraries.add(library.path("name").asText()
                    + (library.path("why_not").isNull() ? version.stripTrailing() : " (absent)"));
            if (!library.path("warning").isNull()) {
                warnings.add(library.path("warning").asText());
            }
        });
        page.append("Libraries: ").append(String.join(", ", libraries)).append(".\n");
        warnings.forEach(warning -> page.append("\nWarning: ").append(warning).append(".\n"));
        page.append(images(document.path("kernel_images")));
        document.path("parts").forEach(part -> append(page, part));
        return page.toString();
    }

    private static String images(JsonNode images) {
        TreeMap<String, Integer> counts = new TreeMap<>();
        images.forEach(origin -> counts.merge(origin.asText(), 1, Integer::sum));
        List<String> words = new ArrayList<>();
        counts.forEach((origin, count) -> words.add(count + " " + origin));
        return words.isEmpty() ? "" : "\nKernel files: " + String.join(", ", words) + ".\n";
    }

    private static void append(StringBuilder page, JsonNode part) {
        page.append(String.format(
                "\n## (%s) %s\n\n",
                part.path("part").asText(), part.path("title").asText()));
        Set<String> columns = new LinkedHashSet<>();
        part.path("rows").forEach(row -> row.fieldNames().forEachRemaining(columns::add));
        if (!columns.isEmpty()) {
            page.append("| ").append(String.join(" | ", columns)).append(" |\n");
            page.append("| --- ".repeat(columns.size())).append("|\n");
        }
        for (JsonNode row : part.path("rows")) {
            page.append("|");
            columns.forEach(
                    column -> page.append(" ").append(cell(row.path(column))).append(" |"));
            page.append("\n");
        }
        if (!part.path("problem").isNull()) {
            page.append("\nBroke off: ").append(part.path("problem").asText()).append("\n");
        }
        page.append(
                String.format(Locale.ROOT, "\n%.0f s.\n", part.path("seconds").asDouble()));
    }

    private static String line(ObjectNode row) {
        List<String> words = new ArrayList<>();
        row.fieldNames().forEachRemaining(name -> {
            String cell = cell(row.path(name));
            if (!cell.isEmpty()) {
                words.add(name + " " + cell);
            }
        });
        return String.join(", ", words);
    }

    private static String cell(JsonNode value) {
        if (value.isMissingNode() || value.isNull()) {
            return "";
        }
        String text = value.isDouble() ? String.format(Locale.ROOT, "%.3f", value.asDouble()) : value.asText();
        return text.replace("|", "\\|").replace("\n", " ");
    }

    private static String lowerCase(Enum<?> value) {
        return value.name().toLowerCase(Locale.ROOT);
    }
}
