package dev.espalier.tools.gpu;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Locale;
import java.util.concurrent.TimeUnit;
import java.util.function.Consumer;

/// Part (d): the same products by PyTorch, dense and semi-structured, where `python3` has it.
final class TorchTable implements GpuPart {
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
        if (deadline.passed()) {
            rows.accept(GpuPart.row().put(SKIPPED, Deadline.NO_TIME));
            return;
        }
        try {
            Path log = Files.createTempFile("espalier-torch", ".log");
            Path answer = Files.createTempFile("espalier-torch", ".json");
            try {
                Process python = new ProcessBuilder(
                                rig.check.python(),
                                "-c",
                                script(),
                                order(rig.workload).toString(),
                                answer.toString())
                        .redirectErrorStream(true)
                        .redirectOutput(log.toFile())
                        .start();
                String problem = wait(python, deadline.secondsLeft(), log);
                for (String line : Files.readAllLines(answer)) {
                    row(line, rows);
                }
                if (problem != null) {
                    rows.accept(GpuPart.row().put(SKIPPED, problem));
                }
            } finally {
                Files.deleteIfExists(log);
                Files.deleteIfExists(answer);
            }
        } catch (IOException e) {
            rows.accept(GpuPart.row().put(SKIPPED, rig.check.python() + " does not run: " + e.getMessage()));
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            rows.accept(GpuPart.row().put(SKIPPED, "interrupted"));
        }
    }

    /// What the script is to measure, as it wants it.
    private static ObjectNode order(Workload workload) {
        ObjectNode order = GpuPart.row();
        ArrayNode layers = order.putArray("layers");
        for (Shapes shape : workload.layers()) {
            shape.describe(layers.addObject()).put("out", shape.out()).put("in", shape.in());
        }
        ArrayNode tokens = order.putArray("tokens").add(1);
        workload.tokens().forEach(tokens::add);
        return order.put("working_set", workload.workingSet());
    }

    /// Waits for the script; what went wrong with it, or null.
    private static String wait(Process python, double seconds, Path log) throws IOException, InterruptedException {
        if (!python.waitFor((long) (seconds * 1e3), TimeUnit.MILLISECONDS)) {
            python.destroyForcibly().waitFor();
            return String.format(Locale.ROOT, "PyTorch was stopped after %.0f s", seconds);
        }
        String last = Files.readString(log).lines().reduce("", (a, b) -> b.isBlank() ? a : b);
        return python.exitValue() == 0 ? null : "python3: " + last;
    }

    private static void row(String line, Consumer<ObjectNode> rows) throws IOException {
        try {
            if (new ObjectMapper().readTree(line) instanceof ObjectNode row) {
                rows.accept(row);
            }
        } catch (JsonProcessingException e) {
            // Half a line: the script was stopped while it wrote.
            rows.accept(GpuPart.row().put(SKIPPED, "PyTorch was stopped in the middle of a row"));
        }
    }

    private static String script() {
        try (InputStream in = TorchTable.class.getResourceAsStream("torch_products.py")) {
            return new String(in.readAllBytes(), StandardCharsets.UTF_8);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }
}
