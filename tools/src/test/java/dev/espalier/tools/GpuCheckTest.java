package dev.espalier.tools;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import dev.espalier.kernels.fake.Twins;
import dev.espalier.natives.fake.FakeCuda;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/// `gpu-check` from the command line to its files, on a GPU that is none: our kernels' own sources run on the host, the
/// libraries are their manuals' definitions in C.
@Tag("fake-cuda")
class GpuCheckTest {
    @BeforeAll
    static void aDeviceThatIsNone() {
        Twins.install();
    }

    private final String home = System.getProperty("user.home");

    @AfterEach
    void everythingAsItWas() {
        System.setProperty("user.home", home);
        FakeCuda.clock(0, 0, 0);
        FakeCuda.cuSparseLt(1);
    }

    /// The device's clock is foretold: 1 µs for a kernel, 2 µs for a library's call, 10 ns for 1024 bytes copied.
    @Test
    void everyPartRunsAndItsFiguresFollowFromTheTimes(@TempDir Path folder) throws Exception {
        Path out = folder.resolve("results");
        System.setProperty("user.home", folder.toString()); // where compiled kernels are kept
        FakeCuda.clock(1000, 2000, 10);
        Cli cli = Cli.run("gpu-check", "--out", out.toString(), "--only", "a,b,c,e", "--json");
        assertEquals(0, cli.code(), cli.err());
        JsonNode document = new ObjectMapper().readTree(Files.readString(out.resolve("gpu-check.json")));
        assertEquals(document, new ObjectMapper().readTree(cli.out()));
        assertEquals("Fake GPU", document.path("device").asText());
        assertTrue(document.path("driver").asText().endsWith("CUDA 13.0"), document.path("driver")::toString);
        // 1024 bytes read and written in 10 ns.
        assertEquals(204.8, document.path("copy_gb_per_s").asDouble(), 0.001);
        assertEquals(9, document.path("kernel_images").size());
        document.path("kernel_images").forEach(origin -> assertEquals("compiled", origin.asText()));
        checked(document.at("/parts/0/rows"));
        gemvs(document.at("/parts/1/rows"));
        gemms(document.at("/parts/2/rows"));
        factorizations(document.at("/parts/3/rows"));
        page(document, Files.readString(out.resolve("gpu-check.md")));
        FakeCuda.assertNothingLeft();
    }

    private static void checked(JsonNode rows) {
        List<String> libraries = new ArrayList<>();
        for (JsonNode row : rows) {
            assertEquals("passed", row.path("result").asText(), row.toString());
            assertTrue(row.path("cases").asInt() > 0, row.toString());
            if (row.path("kind").asText().equals("library")) {
                libraries.add(row.path("name").asText().replaceAll(":.*", ""));
            }
        }
        assertEquals(
                List.of("cublas", "cublas", "cublasLt", "cusparse", "cusparse", "cusparseLt", "cusolver"), libraries);
        assertEquals(7 + 22, rows.size());
    }

    private static void gemvs(JsonNode rows) {
        List<String> formats = List.of(
                "dense 0.0",
                "dense, cuBLASLt 0.0",
                "2:4 0.5",
                "delta 0.5",
                "delta 0.7",
                "delta 0.8",
                "delta 0.9",
                "CSR, cuSPARSE 0.5",
                "CSR, cuSPARSE 0.7",
                "CSR, cuSPARSE 0.8",
                "CSR, cuSPARSE 0.9");
        assertEquals(2 * formats.size(), rows.size());
        for (int i = 0; i < rows.size(); i++) {
            JsonNode row = rows.path(i);
            String format = row.path("format").asText();
            assertEquals(
                    formats.get(i % formats.size()),
                    format + " " + row.path("sparsity").asText());
            double us = format.contains("cu") ? 2 : 1;
            near(us, row.path("us"));
            near(row.path("gb_per_s").asDouble() / 204.8, row.path("copy_share"));
            // The fastest dense is our own.
            near(1 / us, row.path("ratio_to_fastest_dense"));
            double bytes = row.path("gb_per_s").asDouble() * us * 1e3;
            double weights = row.path("out").asDouble() * row.path("in").asDouble();
            double kept = weights * (1 - row.path("sparsity").asDouble());
            if (format.startsWith("dense")) {
                assertEquals(2 * weights, bytes, 0.01);
            } else if (format.startsWith("CSR")) {
                // A value and a column each; about as many as wanted are random.
                assertEquals(6 * kept, bytes - 4 * (row.path("out").asDouble() + 1), 6 * 0.15 * weights);
            } else {
                assertTrue(bytes > 2 * kept * 0.85, row.toString());
            }
            assertFalse(row.has("rounds"), "all nine were measured");
        }
    }

    private static void gemms(JsonNode rows) {
        List<String> formats = List.of(
                "dense, cuBLASLt 0.0",
                "2:4, cuSPARSELt 0.5",
                "delta, expanded, cuBLASLt 0.5",
                "delta, expanded, cuBLASLt 0.8");
        int[] tokens = {16, 32};
        double[] weights = {64 * 48, 32 * 80};
        assertEquals(2 * 2 * formats.size(), rows.size());
        for (int i = 0; i < rows.size(); i++) {
            JsonNode row = rows.path(i);
            assertEquals(
                    formats.get(i % 4),
                    row.path("format").asText() + " " + row.path("sparsity").asText());
            assertEquals(tokens[i / 4 % 2], row.path("tokens").asInt());
            double us = i % 4 < 2 ? 2 : 3; // a call, or a kernel and a call
            near(us, row.path("us"));
            near(2 / us, row.path("ratio_to_dense"));
            near(2 * tokens[i / 4 % 2] * weights[i / 8] / us / 1e6, row.path("tflop_per_s"));
        }
    }

    private static void factorizations(JsonNode rows) {
        int[] orders = {16, 40};
        double[] ms = {0.002, 0.004, 0.002};
        double[] share = {1 / 3.0, 1, 1};
        assertEquals(6, rows.size());
        for (int i = 0; i < rows.size(); i++) {
            JsonNode row = rows.path(i);
            int n = orders[i / 3];
            assertEquals(n, row.path("n").asInt());
            near(ms[i % 3], row.path("ms"));
            near(share[i % 3] * n * n * n / ms[i % 3] / 1e9, row.path("tflop_per_s"));
        }
    }

    /// Times are told as float32 milliseconds.
    private static void near(double expected, JsonNode actual) {
        assertEquals(expected, actual.asDouble(), 1e-6 * expected, actual::toString);
    }

    private static void page(JsonNode document, String page) {
        for (JsonNode part : document.path("parts")) {
            String heading = "\n## (" + part.path("part").asText() + ") ";
            String table = page.substring(page.indexOf(heading) + heading.length());
            int next = table.indexOf("\n## ");
            long lines = (next < 0 ? table : table.substring(0, next))
                    .lines()
                    .filter(line -> line.startsWith("|"))
                    .count();
            assertEquals(2 + part.path("rows").size(), lines, part.path("part").asText());
        }
        assertTrue(page.contains("| kernel | delta_gemv_bf16 | passed |"), page);
        assertTrue(page.contains("Copies at 205 GB/s"), page);
        assertTrue(page.contains("Kernel files: 9 compiled."), page);
        assertTrue(
                page.contains("| small up | 64 | 48 | dense, cuBLASLt | 0.000 | 2.000 | 3.072 | 0.015 | 0.500 |"),
                page);
    }

    @Test
    void anOldCuSparseLtIsUsedWithAWarning(@TempDir Path folder) throws Exception {
        String warning = "warning: cuSPARSELt 0.8.0 is slow on an H100; 0.8.1 is not";
        assertFalse(Cli.run("devices").out().contains("warning"));
        FakeCuda.cuSparseLt(0);
        Cli devices = Cli.run("devices");
        assertTrue(devices.out().contains(warning), devices.out());
        Cli json = Cli.run("devices", "--json");
        assertTrue(json.out().contains("slow on an H100"), json.out());
        System.setProperty("user.home", folder.toString());
        Cli cli = Cli.run("gpu-check", "--out", folder.resolve("results").toString(), "--only", "e");
        assertEquals(0, cli.code(), cli.err());
        assertTrue(cli.err().contains(warning), cli.err());
        String page = Files.readString(folder.resolve("results/gpu-check.md"));
        assertTrue(page.contains("Warning: cuSPARSELt 0.8.0 is slow"), page);
    }

    @Test
    void partsThatDoNotExistAndFoldersThatAreFilesAreRefused(@TempDir Path folder) throws Exception {
        Path file = Files.writeString(folder.resolve("file"), "");
        String[] unknown = {"gpu-check", "--out", folder.toString(), "--only", "a,x"};
        Cli.refused(2, unknown, "'x'", "a, b, c, d, e");
        String[] onFile = {"gpu-check", "--out", file.toString(), "--only", "a"};
        Cli.refused(2, onFile, "is a file");
        Cli.refused(2, Cli.words("gpu-check"), "--out");
    }
}
