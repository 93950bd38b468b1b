package dev.espalier.tools.gpu;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.espalier.kernels.fake.Twins;
import dev.espalier.natives.cuda.Cuda;
import dev.espalier.natives.cuda.CudaLibrary;
import dev.espalier.natives.fake.FakeCuda;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.atomic.AtomicLong;
import java.util.function.LongSupplier;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/// The parts of `gpu-check` where something is missing, slow or broken, on a GPU that is none and whose clock runs by what is
/// done.
@Tag("fake-cuda")
class GpuPartsTest {
    private static final long MICROSECOND = 1000;
    private static final long MILLISECOND = 1_000_000;

    @TempDir
    Path folder;

    @BeforeAll
    static void aDeviceThatIsNone() {
        Twins.install();
    }

    @BeforeEach
    void everyKernelAndCallTakesAMicrosecond() {
        FakeCuda.clock(MICROSECOND, MICROSECOND, MICROSECOND);
    }

    @AfterEach
    void nothingIsLeft() {
        FakeCuda.budget(-1);
        FakeCuda.clock(0, 0, 0);
        FakeCuda.assertNothingLeft();
    }

    private ObjectNode run(GpuCheck check, String... letters) throws IOException {
        return check.run(Cuda.probe(), folder, folder.resolve("cache"), List.of(letters), line -> {});
    }

    private static List<JsonNode> rows(ObjectNode document) {
        List<JsonNode> rows = new ArrayList<>();
        document.path("parts").forEach(part -> part.path("rows").forEach(rows::add));
        return rows;
    }

    /// Cut off from PyTorch, which may be on this machine.
    private static class Check extends GpuCheck {
        Check() {
            super(FakeCuda::now, "/nonexistent/python3");
        }

        Check(LongSupplier clock, String python) {
            super(clock, python);
        }
    }

    private static GpuCheck without(CudaLibrary library) {
        return new Check() {
            @Override
            Optional<String> whyNot(CudaLibrary asked) {
                return asked == library ? Optional.of("not in /lib") : super.whyNot(asked);
            }
        };
    }

    @ParameterizedTest
    @CsvSource({
        "CUBLASLT, 1, 2, 1, 0",
        "CUSPARSE, 2, 8, 0, 0",
        "CUSPARSELT, 1, 0, 4, 0",
        "CUSOLVER, 1, 0, 0, 4",
        "CUBLAS, 2, 0, 0, 2"
    })
    void aLibraryThatIsMissingIsSaidWhereItWouldBeUsedAndNothingElseIsMissed(
            CudaLibrary library, int checks, int gemvs, int gemms, int factorizations) throws IOException {
        ObjectNode document = run(without(library), "a", "b", "c", "e");
        assertFalse(GpuCheck.failed(document), document::toString);
        String said = library.baseName() + " is absent: not in /lib";
        List<Integer> absent = new ArrayList<>();
        for (JsonNode part : document.path("parts")) {
            int here = 0;
            for (JsonNode row : part.path("rows")) {
                String why = row.path("skipped").asText() + row.path("why").asText("");
                assertTrue(why.isEmpty() || why.equals("null") || why.equals(said), row::toString);
                here += why.equals(said) ? 1 : 0;
            }
            absent.add(here);
        }
        assertEquals(List.of(checks, gemvs, gemms, factorizations), absent);
        String page = Files.readString(folder.resolve("gpu-check.md"));
        assertTrue(page.contains(said) && page.contains(library.baseName() + " (absent)"), page);
    }

    /// Where the GPU's memory ends does not matter: some ways fail, with what they needed it for, and all is given back.
    @ParameterizedTest
    @ValueSource(longs = {1, 600, 1400})
    void memoryThatIsExhaustedFailsWhatNeedsItAndIsGivenBack(long kibibytes) throws IOException {
        // The workspaces of cuBLAS and cuBLASLt have 32 MiB.
        for (long budget : List.of(kibibytes << 10, (32L << 20) + (kibibytes << 10))) {
            ObjectNode document = new Check()
                    .run(Cuda.probe(), folder, folder.resolve("cache"), List.of("b", "c", "e"), line -> {
                        if (line.startsWith("(b)")) {
                            FakeCuda.budget(budget);
                        }
                    });
            FakeCuda.budget(-1);
            List<JsonNode> failed =
                    rows(document).stream().filter(row -> row.has("failed")).toList();
            failed.forEach(row ->
                    assertTrue(row.path("failed").asText().contains("cudaErrorMemoryAllocation"), row::toString));
            assertEquals(!failed.isEmpty(), GpuCheck.failed(document));
            assertEquals(0, FakeCuda.live(FakeCuda.Kind.DEVICE_MEMORY));
        }
    }

    /// However slow a device is, a part ends within 8 minutes, and all of them within 18.
    @ParameterizedTest
    @CsvSource({"10, 5, 1, 1", "400, 2, 16, 60", "490, 1, 16, 60"})
    void slowDevicesAreMeasuredLessOftenAndPartsEndInTime(long milliseconds, int rounds, int layers, int orders)
            throws IOException {
        FakeCuda.clock(milliseconds * MILLISECOND, milliseconds * MILLISECOND, 0);
        Workload small = Workload.SMALL;
        List<Shapes> many = new ArrayList<>();
        for (int i = 0; i < layers; i++) {
            many.add(new Shapes("layer " + i, 16, 16));
        }
        GpuCheck check = new Check() {
            @Override
            Workload workload(Cuda.Device device) {
                return new Workload(
                        many,
                        small.tokens(),
                        Collections.nCopies(orders, 16),
                        small.checks(),
                        small.copyBytes(),
                        small.workingSet(),
                        1);
            }
        };
        ObjectNode document = run(check, "a", "b", "c", "d", "e");
        assertFalse(GpuCheck.failed(document), document::toString);
        double all = 0;
        for (JsonNode part : document.path("parts")) {
            double seconds = part.path("seconds").asDouble();
            all += seconds;
            assertTrue(seconds < 480, () -> part.path("part") + " takes " + seconds);
        }
        assertTrue(all < 1080, "all parts take " + all);
        JsonNode first = document.at("/parts/1/rows/0");
        assertEquals(rounds, first.path("rounds").asInt(), first::toString);
        assertEquals(milliseconds * 1e3, first.path("us").asDouble(), 1);
        if (milliseconds >= 400) {
            for (int part : new int[] {1, 2, 4}) {
                JsonNode rows = document.path("parts").path(part).path("rows");
                assertEquals(
                        "no time left",
                        rows.path(rows.size() - 1).path("skipped").asText(),
                        rows::toString);
            }
        }
    }

    @Test
    void checksThatThereIsNoTimeForAreLeftOut() throws IOException {
        FakeCuda.clock(5000 * MILLISECOND, MICROSECOND, 0);
        ObjectNode document = run(new Check(), "a");
        assertFalse(GpuCheck.failed(document), document::toString);
        assertTrue(document.at("/parts/0/seconds").asDouble() < 480, document::toString);
        JsonNode rows = document.at("/parts/0/rows");
        assertEquals("passed", rows.path(7).path("result").asText(), rows::toString);
        JsonNode last = rows.path(rows.size() - 1);
        assertEquals(
                "left out: no time left",
                last.path("result").asText() + ": " + last.path("why").asText());
    }

    @Test
    void aLaunchThatTakesTooLongIsNotMeasured() throws IOException {
        FakeCuda.clock(2000 * MILLISECOND, MICROSECOND, 0);
        for (JsonNode row : rows(run(new Check(), "b"))) {
            boolean ours = !row.path("format").asText().contains("cu");
            assertEquals(
                    ours ? "one launch takes 2.0 s, too long to be measured" : "",
                    row.path("skipped").asText(),
                    row::toString);
            assertEquals(!ours, row.has("us"));
            // The fastest dense is the library's then.
            assertEquals(!ours, row.has("ratio_to_fastest_dense"));
        }
    }

    private String script(String name, String text) throws IOException {
        Path file = Files.writeString(folder.resolve(name), text);
        Files.setPosixFilePermissions(file, PosixFilePermissions.fromString("rwxr-xr-x"));
        return file.toString();
    }

    private List<JsonNode> torch(String python) throws IOException {
        return rows(run(new Check(System::nanoTime, python), "d"));
    }

    @Test
    void whatPythonAnswersAreTheRowsOfPyTorch() throws IOException {
        String python = script("python3", """
                #!/bin/sh
                # -c SCRIPT ORDER ANSWER
                case $2 in *"import torch"*) ;; *) exit 3 ;; esac
                echo 'a warning of PyTorch'
                printf '{"layer":"x","tokens":1,"us":2.5}\\n{"layer":"x","skipped":"2:4: not here"}\\n' >"$4"
                printf '%s' "$3" >"$(dirname "$0")/order"
                """);
        List<JsonNode> rows = torch(python);
        assertEquals(
                "[{\"layer\":\"x\",\"tokens\":1,\"us\":2.5}, {\"layer\":\"x\",\"skipped\":\"2:4: not here\"}]",
                rows.toString());
        assertEquals(
                "{\"layers\":[{\"layer\":\"small up\",\"out\":64,\"in\":48},{\"layer\":\"small down\",\"out\":32,\"in\":80}],"
                        + "\"tokens\":[1,16,32],\"working_set\":10000}",
                Files.readString(folder.resolve("order")));
        assertTrue(Files.readString(folder.resolve("gpu-check.md")).contains("| x | 1 | 2.500 |  |"));
    }

    @Test
    void withoutPyTorchOrPythonTheReasonIsSaid() throws IOException {
        String python = script("python3", """
                #!/bin/sh
                echo 'Traceback (most recent call last):' >&2
                echo "ModuleNotFoundError: No module named 'torch'" >&2
                exit 1
                """);
        assertEquals(
                "[{\"skipped\":\"python3: ModuleNotFoundError: No module named 'torch'\"}]",
                torch(python).toString());
        String nowhere = torch(folder.resolve("nowhere/python3").toString()).toString();
        assertTrue(nowhere.contains("nowhere/python3 does not run: "), nowhere);
    }

    @Test
    void pyTorchIsStoppedWhenItsTimeIsOverAndItsRowsAreKept() throws IOException {
        String python = script("python3", """
                #!/bin/sh
                printf '{"layer":"x","us":2.5}\\n{"layer":"y","u' >"$4"
                exec sleep 600
                """);
        // All but a second is gone once the part has begun.
        AtomicLong calls = new AtomicLong();
        List<JsonNode> rows =
                rows(run(new Check(() -> calls.getAndIncrement() < 3 ? 0 : 379_000 * MILLISECOND, python), "d"));
        assertEquals(
                List.of(
                        "{\"layer\":\"x\",\"us\":2.5}",
                        "{\"skipped\":\"PyTorch was stopped in the middle of a row\"}",
                        "{\"skipped\":\"PyTorch was stopped after 1 s\"}"),
                rows.stream().map(JsonNode::toString).toList());
    }

    /// The script itself, by a stand-in of PyTorch that knows shapes and a clock.
    @Test
    void theScriptForPyTorchMeasuresEveryLayer() throws Exception {
        Process there = new ProcessBuilder("sh", "-c", "python3 -c ''")
                .redirectErrorStream(true)
                .redirectOutput(folder.resolve("log").toFile())
                .start();
        assumeTrue(there.waitFor() == 0, "python3: it does not run here");
        try (InputStream torch = GpuPartsTest.class.getResourceAsStream("torch_stand_in.py")) {
            Files.copy(torch, folder.resolve("torch.py"));
        }
        String python = script("python3", "#!/bin/sh\nPYTHONPATH='" + folder + "' exec python3 \"$@\"\n");
        List<JsonNode> rows = torch(python);
        assertEquals(2 * 3 * 2, rows.size(), rows::toString);
        for (JsonNode row : rows) {
            // A dense product takes 8 us and one in 2:4 5 us there, whatever its shape.
            boolean dense = row.path("format").asText().startsWith("dense, PyTorch 0.0");
            assertEquals(dense ? 8 : 5, row.path("us").asDouble(), 1e-9, row::toString);
            assertEquals(dense ? 1 : 1.6, row.path("ratio_to_dense").asDouble(), 1e-9);
        }
        JsonNode last = rows.getLast();
        assertEquals(32, last.path("tokens").asInt());
        assertEquals(2.0 * 32 * 32 * 80 / 5e-6 / 1e12, last.path("tflop_per_s").asDouble(), 1e-12);
    }
}
