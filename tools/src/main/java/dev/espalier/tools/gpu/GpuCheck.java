package dev.espalier.tools.gpu;

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
import java.util.Set;
import java.util.function.Consumer;

/// Every GPU path once: correctness, then speed; a JSON document and a page in Markdown.
public final class GpuCheck {
    /// What a part may take; its last measurement may end later.
    private static final double PART_SECONDS = 400;

    private static final List<GpuPart> PARTS =
            List.of(new Correctness(), new GemvTable(), new GemmTable(), new TorchTable(), new Factorizations());

    private GpuCheck() {}

    /// The parts' letters, in their order.
    public static List<String> letters() {
        return PARTS.stream().map(GpuPart::letter).toList();
    }

    /// Runs the parts named by `letters` on the GPU of `cuda`; after each of them what is known is written to `out`.
    ///
    /// @param cache where compiled kernels are kept
    /// @param progress gets a line now and then
    public static ObjectNode run(Cuda cuda, Path out, Path cache, List<String> letters, Consumer<String> progress)
            throws IOException {
        ObjectNode document = JsonNodeFactory.instance.objectNode();
        Cuda.Device device = cuda.device();
        document.put("date", Instant.now().truncatedTo(ChronoUnit.SECONDS).toString())
                .put("device", device.name())
                .put("compute_capability", device.computeCapability())
                .put("multiprocessors", device.multiprocessors())
                .put("memory_bytes", device.memoryBytes());
        ArrayNode libraries = document.putArray("libraries");
        for (CudaLibrary library : CudaLibrary.values()) {
            libraries
                    .addObject()
                    .put("name", library.baseName())
                    .put("version", library.version().orElse(null))
                    .put(
                            "why_not",
                            library.library().found()
                                    ? null
                                    : library.library().whyNot().orElse(null));
        }
        ArrayNode parts = document.putArray("parts");
        try (GpuRig rig = new GpuRig(cuda, cache)) {
            document.put("copy_gb_per_s", rig.copyBandwidth() / 1e9);
            for (GpuPart part : PARTS) {
                if (letters.contains(part.letter())) {
                    progress.accept("(" + part.letter() + ") " + part.title());
                    part(rig, part, parts.addObject(), progress);
                    ArrayNode images = document.putArray("kernel_images");
                    rig.kernels
                            .origins()
                            .forEach((file, origin) -> images.addObject()
                                    .put("file", file.baseName())
                                    .put("origin", origin.name().toLowerCase(Locale.ROOT)));
                    write(out, document);
                }
            }
        }
        return document;
    }

    private static void part(GpuRig rig, GpuPart part, ObjectNode node, Consumer<String> progress) {
        long start = System.nanoTime();
        node.put("part", part.letter()).put("title", part.title());
        ArrayNode rows = node.putArray("rows");
        String problem = null;
        try {
            part.run(rig, new GpuPart.Deadline(PART_SECONDS), row -> {
                rows.add(row);
                progress.accept("    " + line(row));
            });
        } catch (CudaException | IllegalArgumentException | IllegalStateException e) {
            problem = e.getMessage();
            progress.accept("    " + problem);
        }
        node.put("problem", problem).put("seconds", (System.nanoTime() - start) / 1e9);
    }

    /// Whether a part broke off, or anything that was checked was wrong.
    public static boolean failed(ObjectNode document) {
        for (var part : document.path("parts")) {
            if (!part.path("problem").isNull()) {
                return true;
            }
            for (var row : part.path("rows")) {
                if (row.path("result").asText().equals(Correctness.FAILED)) {
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
        page.append("%s, compute capability %s, %s multiprocessors; %s. Copies at %.0f GB/s (read plus written).\n\n"
                .formatted(
                        document.path("device").asText(),
                        document.path("compute_capability").asText(),
                        document.path("multiprocessors").asText(),
                        document.path("date").asText(),
                        document.path("copy_gb_per_s").asDouble()));
        List<String> libraries = new ArrayList<>();
        document.path("libraries")
                .forEach(library -> libraries.add(library.path("name").asText()
                        + (library.path("why_not").isNull()
                                ? " " + library.path("version").asText("")
                                : " (absent)")));
        page.append("Libraries: ").append(String.join(", ", libraries)).append(".\n");
        for (var part : document.path("parts")) {
            page.append("\n## (%s) %s\n\n"
                    .formatted(part.path("part").asText(), part.path("title").asText()));
            Set<String> columns = new LinkedHashSet<>();
            part.path("rows").forEach(row -> row.fieldNames().forEachRemaining(columns::add));
            if (!columns.isEmpty()) {
                page.append("| ").append(String.join(" | ", columns)).append(" |\n");
                page.append("| --- ".repeat(columns.size())).append("|\n");
            }
            for (var row : part.path("rows")) {
                page.append("| ");
                columns.forEach(column -> page.append(cell(row.path(column))).append(" | "));
                page.setLength(page.length() - 1);
                page.append("\n");
            }
            if (!part.path("problem").isNull()) {
                page.append("\nBroke off: ")
                        .append(part.path("problem").asText())
                        .append("\n");
            }
            page.append("\n%.0f s.\n".formatted(part.path("seconds").asDouble()));
        }
        return page.toString();
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

    private static String cell(com.fasterxml.jackson.databind.JsonNode value) {
        if (value.isMissingNode() || value.isNull()) {
            return "";
        }
        String text = value.isDouble() ? String.format(Locale.ROOT, "%.3f", value.asDouble()) : value.asText();
        return text.replace("|", "\\|").replace("\n", " ");
    }
}
