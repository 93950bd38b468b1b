package dev.espalier.tools;

import static dev.espalier.tools.Cli.refused;
import static dev.espalier.tools.Cli.words;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import dev.espalier.checkpoint.Safetensors;
import dev.espalier.checkpoint.SafetensorsWriter;
import dev.espalier.tensor.Tensor;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/// `bench solvers`.
class BenchSolversCommandTest {
    private static final int ROWS = 20;
    private static final int COLUMNS = 48;
    private static final int TOKENS = 256;

    @TempDir
    Path temp;

    private static Tensor random(int rows, int columns, long seed) {
        Random random = new Random(seed);
        float[] values = new float[rows * columns];
        for (int i = 0; i < values.length; i++) {
            values[i] = (float) random.nextGaussian() + (i == 0 ? 0 : 0.5f * values[i - 1]);
        }
        return Tensor.of(Arena.ofAuto(), rows, columns, values);
    }

    private static void write(Path file, Map<String, String> metadata, Map<String, Tensor> tensors) throws IOException {
        List<SafetensorsWriter.Declared> declared = tensors.entrySet().stream()
                .map(t -> new SafetensorsWriter.Declared(
                        t.getKey(), "F32", List.of((long) t.getValue().rows(), (long)
                                t.getValue().columns())))
                .toList();
        try (SafetensorsWriter writer = new SafetensorsWriter(file, metadata, declared)) {
            for (Map.Entry<String, Tensor> tensor : tensors.entrySet()) {
                writer.write(tensor.getKey(), tensor.getValue().segment());
            }
            writer.finish();
        }
    }

    private String layer(Tensor inputs, Map<String, String> metadata) throws IOException {
        Path file = temp.resolve("layer.safetensors");
        Files.deleteIfExists(file);
        write(file, metadata, Map.of("weight", random(ROWS, COLUMNS, 1), "inputs", inputs));
        return file.toString();
    }

    @Test
    void everyMethodPrunesALayerFromAFileAsAsked() throws IOException {
        String layer = layer(random(TOKENS, COLUMNS, 2), Map.of("seq_len", "64"));
        Path out = temp.resolve("out.safetensors");
        JsonNode document = Cli.json(words(
                "bench",
                "solvers",
                "--layer",
                layer,
                "--sparsity",
                "0.5,0.75",
                "--pattern",
                "2:4,1:3",
                "--out",
                out.toString()));
        JsonNode runs = document.path("runs");
        assertEquals(24, runs.size());
        try (Arena arena = Arena.ofConfined()) {
            Safetensors written = Safetensors.map(out, arena);
            assertEquals(24, written.entries().size());
            for (JsonNode run : runs) {
                for (String field : List.of(
                        "rows",
                        "cols",
                        "tokens",
                        "method",
                        "pattern",
                        "sparsity",
                        "relative_error",
                        "support_change",
                        "seconds",
                        "peak_bytes")) {
                    assertTrue(run.has(field), field);
                }
                assertEquals(ROWS, run.path("rows").asInt());
                assertEquals(COLUMNS, run.path("cols").asInt());
                assertEquals(TOKENS, run.path("tokens").asInt());
                double error = run.path("relative_error").asDouble();
                assertTrue(error > 0 && error < 1, run.toString());
                boolean unstructured = run.path("pattern").asText().equals("unstructured");
                String name = run.path("method").asText() + "@"
                        + (unstructured
                                ? run.path("sparsity").asText()
                                : run.path("pattern").asText());
                MemorySegment values = written.bytes(written.entries().get(name));
                long zeros = 0;
                for (long i = 0; i < ROWS * COLUMNS; i++) {
                    zeros += values.getAtIndex(ValueLayout.JAVA_FLOAT_UNALIGNED, i) == 0 ? 1 : 0;
                }
                assertEquals(Math.round(run.path("sparsity").asDouble() * ROWS * COLUMNS), zeros, name);
            }
        }
        assertFalse(Files.exists(temp.resolve("out.safetensors.partial")));
    }

    @Test
    void errorsOfTheSameLayerAreInTheMethodsOrderAndRefinementLowersThem() throws IOException {
        String layer = layer(random(TOKENS, COLUMNS, 3), Map.of());
        String[] arguments = {
            "bench", "solvers", "--layer", layer, "--methods", "magnitude,sparsegpt,alps", "--sparsity", "0.6"
        };
        JsonNode plain = Cli.json(arguments).path("runs");
        List<String> refine = new ArrayList<>(List.of(arguments));
        refine.addAll(List.of("--refine", "backsolve"));
        JsonNode refined = Cli.json(refine.toArray(String[]::new)).path("runs");
        for (int i = 0; i < plain.size(); i++) {
            double error = plain.get(i).path("relative_error").asDouble();
            assertTrue(error
                    <= plain.get(Math.max(0, i - 1)).path("relative_error").asDouble());
            assertTrue(refined.get(i).path("relative_error").asDouble() <= error * (1 + 1e-3));
        }
        assertTrue(plain.get(2).path("support_change").isNumber());
        assertTrue(plain.get(0).path("support_change").isNull());
    }

    @Test
    void theTraceHasALineForEachIterationOfThreeSchemes() throws IOException {
        Path trace = temp.resolve("course.jsonl");
        Cli.json(
                "bench",
                "solvers",
                "--shapes",
                "24x32",
                "--methods",
                "alps",
                "--sparsity",
                "0.7",
                "--trace",
                trace.toString());
        List<String> lines = Files.readAllLines(trace);
        int fixed = 0;
        for (String line : lines) {
            JsonNode step = new ObjectMapper().readTree(line);
            for (String field :
                    List.of("iteration", "rho", "primal_residual", "gradient", "support_change", "relative_error")) {
                assertTrue(step.path(field).isNumber(), field);
            }
            fixed += step.path("scheme").asText().equals("fixed") ? 1 : 0;
        }
        assertEquals(200, fixed);
        assertTrue(lines.size() > 210, lines.size() + " lines");
    }

    /// Gram matrix, weights and everything else that is held during one layer's solve: 4 n² + 5 n o floats.
    @ParameterizedTest
    @ValueSource(strings = {"512x512", "256x768"})
    void alpsHoldsNoMoreThanItsBound(String shape) {
        JsonNode run = Cli.json("bench", "solvers", "--shapes", shape, "--methods", "alps", "--sparsity", "0.7")
                .at("/runs/0");
        long rows = run.path("rows").asLong();
        long columns = run.path("cols").asLong();
        long bound = Float.BYTES * (4 * columns * columns + 5 * columns * rows);
        long held = run.path("peak_bytes").asLong();
        assertTrue(held <= bound, held + " bytes of " + bound);
        assertTrue(held > bound / 2, held + " bytes of " + bound);
    }

    /// One bad number among the inputs: named, and nothing is written.
    @ParameterizedTest
    @ValueSource(floats = {Float.NaN, Float.POSITIVE_INFINITY})
    void inputsThatAreNoNumbersAreRefused(float bad) throws IOException {
        Tensor inputs = random(TOKENS, COLUMNS, 4);
        inputs.set(17, 5, bad);
        String layer = layer(inputs, Map.of());
        Path out = temp.resolve("never.safetensors");
        for (String method : List.of("wanda", "dsnot", "sparsegpt", "admm-grad", "alps")) {
            refused(
                    1,
                    words("bench", "solvers", "--layer", layer, "--methods", method, "--out", out.toString()),
                    "layer.safetensors",
                    method,
                    "NaN");
        }
        assertFalse(Files.exists(out));
    }

    @Test
    void whatCannotBeUsedIsRefusedInOneSentence() throws IOException {
        String layer = layer(random(TOKENS, COLUMNS, 5), Map.of());
        refused(2, words("bench", "solvers", "--layer", layer, "--pattern", "2:5"), "48 columns", "5");
        refused(2, words("bench", "solvers", "--layer", layer + "x"), "no such file");
        refused(2, words("bench", "solvers", "--shapes", "12"), "OUTxIN");
        refused(2, words("bench", "solvers", "--shapes", "0x4"), "OUTxIN");
        refused(2, words("bench", "solvers", "--layer", layer, "--methods", "obs"), "not known");
        refused(2, words("bench", "solvers", "--layer", layer, "--methods", "wanda", "--trace", "t"), "alps");
        refused(
                2,
                words("bench", "solvers", "--layer", layer(random(TOKENS, COLUMNS, 5), Map.of("seq_len", "100"))),
                "seq_len",
                "100");
        refused(2, words("bench", "solvers", "--layer", layer(random(TOKENS, 44, 5), Map.of())), "44", "48");
    }
}
