package dev.espalier.tools;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import dev.espalier.kernels.fake.Twins;
import dev.espalier.natives.cuda.CudaLibrary;
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
    void homeAsItWas() {
        System.setProperty("user.home", home);
    }

    @Test
    void everyKernelAndLibraryCallIsCheckedAndWrittenDown(@TempDir Path folder) throws Exception {
        Path out = folder.resolve("results");
        System.setProperty("user.home", folder.toString()); // where compiled kernels are kept
        Cli cli = Cli.run("gpu-check", "--out", out.toString(), "--only", "a", "--json");
        assertEquals(
                "",
                cli.err()
                        .lines()
                        .filter(line -> line.contains("internal error"))
                        .findFirst()
                        .orElse(""));
        JsonNode document = new ObjectMapper().readTree(Files.readString(out.resolve("gpu-check.json")));
        assertEquals(document, new ObjectMapper().readTree(cli.out()));
        assertEquals("Fake GPU", document.path("device").asText());
        List<String> wrong = new ArrayList<>();
        List<String> absent = new ArrayList<>();
        for (JsonNode row : document.at("/parts/0/rows")) {
            switch (row.path("result").asText()) {
                case "passed" -> assertTrue(row.path("cases").asInt() > 0, row.toString());
                case "absent" -> absent.add(row.path("name").asText());
                default -> wrong.add(row.toString());
            }
        }
        assertEquals(List.of(), wrong);
        assertEquals(0, cli.code(), cli.err());
        // What the fake has, is checked; what it has not, is named with the reason.
        for (CudaLibrary library : List.of(
                CudaLibrary.CUBLAS,
                CudaLibrary.CUBLASLT,
                CudaLibrary.CUSPARSE,
                CudaLibrary.CUSPARSELT,
                CudaLibrary.CUSOLVER)) {
            boolean named = absent.stream().anyMatch(name -> name.startsWith(library.baseName() + ": "));
            assertEquals(!library.library().found(), named, library.baseName());
        }
        String page = Files.readString(out.resolve("gpu-check.md"));
        assertTrue(page.contains("| kernel | bitmask_gemv_bf16 | passed |"), page);
        FakeCuda.assertNothingLeft();
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
