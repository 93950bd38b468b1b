package dev.espalier.tools.gpu;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.concurrent.TimeUnit;
import java.util.function.Consumer;

/// Part (d): the same products by PyTorch, dense and semi-structured, where `python3` has it.
final class TorchTable implements GpuPart {
    private static final int SECONDS = 420;

    @Override
    public String letter() {
        return "d";
    }

    @Override
    public String title() {
        return "PyTorch: the same products, dense and semi-structured (2:4)";
    }

    @Override
    public void run(GpuRig rig, Deadline deadline, Consumer<ObjectNode> rows) {
        ArrayNode shapes = JsonNodeFactory.instance.arrayNode();
        for (Shapes shape : Shapes.LAYERS) {
            shapes.addObject()
                    .put("layer", shape.layer())
                    .put("out", shape.out())
                    .put("in", shape.in());
        }
        try {
            Path log = Files.createTempFile("espalier-torch", ".log");
            Path answer = Files.createTempFile("espalier-torch", ".json");
            try {
                Process python = new ProcessBuilder("python3", "-c", script(), shapes.toString(), answer.toString())
                        .redirectErrorStream(true)
                        .redirectOutput(log.toFile())
                        .start();
                boolean ended = python.waitFor(SECONDS, TimeUnit.SECONDS);
                if (!ended) {
                    python.destroyForcibly().waitFor();
                }
                if (!ended || python.exitValue() != 0) {
                    String last = Files.readString(log).lines().reduce("", (a, b) -> b.isBlank() ? a : b);
                    rows.accept(skipped(ended ? "python3: " + last : "PyTorch took longer than " + SECONDS + " s"));
                    return;
                }
                for (JsonNode row : new ObjectMapper().readTree(answer.toFile())) {
                    rows.accept((ObjectNode) row);
                }
            } finally {
                Files.deleteIfExists(log);
                Files.deleteIfExists(answer);
            }
        } catch (IOException e) {
            rows.accept(skipped("python3 does not run: " + e.getMessage()));
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            rows.accept(skipped("interrupted"));
        }
    }

    private static ObjectNode skipped(String why) {
        return JsonNodeFactory.instance.objectNode().put("skipped", why);
    }

    private static String script() {
        try (InputStream in = TorchTable.class.getResourceAsStream("torch_products.py")) {
            return new String(in.readAllBytes(), StandardCharsets.UTF_8);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }
}
