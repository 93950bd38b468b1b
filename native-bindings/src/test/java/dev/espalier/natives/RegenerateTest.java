package dev.espalier.natives;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/// `include-lists/regenerate` with a stand-in for jextract, which writes down what it was told and, as jextract does, the class
/// that it was asked for.
class RegenerateTest {
    private static final Path LISTS = Path.of("include-lists").toAbsolutePath();
    private static final Path SOURCES = Path.of("src/main/java").toAbsolutePath();

    @TempDir
    Path folder;

    private final Map<String, String> environment = new TreeMap<>();

    private record Run(int exit, String err) {}

    @BeforeEach
    void aJextractThatWritesDownWhatItWasTold() throws IOException {
        assumeTrue(Files.isExecutable(Path.of("/bin/sh")), "sh: there is no /bin/sh");
        Path bin = Files.createDirectories(folder.resolve("a bin"));
        Path jextract = Files.writeString(bin.resolve("jextract"), """
                #!/bin/sh
                { printf '%s\\n' "$@"; echo --; } >>"$TOLD"
                while [ $# -gt 0 ]; do
                    case $1 in
                        -t) package=$2 ;;
                        --header-class-name) class=$2 ;;
                        --output) out=$2 ;;
                    esac
                    shift
                done
                to=$out/$(echo "$package" | tr . /)
                mkdir -p "$to"
                : >"$to/$class.java"
                """);
        Files.setPosixFilePermissions(jextract, PosixFilePermissions.fromString("rwxr-xr-x"));
        environment.put("PATH", bin + ":/usr/bin:/bin");
        environment.put("TOLD", folder.resolve("told").toString());
        environment.put("OUT", folder.resolve("a tree").toString());
        environment.put("CUDA_WHEELS", "/w/nvidia");
        environment.put("CUDA_INCLUDE", "/cuda/include");
        environment.put("OPENBLAS_INCLUDE", "/blas/include");
    }

    private Run run(String... names) throws Exception {
        List<String> command =
                new ArrayList<>(List.of("/bin/sh", LISTS.resolve("regenerate").toString()));
        command.addAll(List.of(names));
        Path err = folder.resolve("err");
        ProcessBuilder builder = new ProcessBuilder(command).redirectError(err.toFile());
        builder.redirectOutput(folder.resolve("out").toFile());
        builder.environment().clear();
        builder.environment().putAll(environment);
        Process process = builder.start();
        assertTrue(process.waitFor(60, TimeUnit.SECONDS), "it does not end");
        return new Run(process.exitValue(), Files.readString(err));
    }

    /// What jextract was told, a list for each call.
    private List<List<String>> told() throws IOException {
        List<List<String>> calls = new ArrayList<>(List.of(new ArrayList<>()));
        for (String line : Files.readAllLines(folder.resolve("told"))) {
            if (line.equals("--")) {
                calls.add(new ArrayList<>());
            } else {
                calls.getLast().add(line);
            }
        }
        calls.removeLast();
        return calls;
    }

    @Test
    void everyListIsReadOnceAndTheClassesThatAreCommittedComeOfIt() throws Exception {
        Run run = run();
        assertEquals(0, run.exit, run.err);
        List<String> read = told().stream()
                .flatMap(List::stream)
                .filter(word -> word.startsWith("@"))
                .sorted()
                .toList();
        try (Stream<Path> lists = Files.list(LISTS)) {
            assertEquals(
                    lists.filter(list -> list.toString().endsWith(".args"))
                            .map(list -> "@" + list)
                            .sorted()
                            .toList(),
                    read);
        }
        Path tree = folder.resolve("a tree");
        try (Stream<Path> made = Files.walk(tree)) {
            List<Path> classes = made.filter(Files::isRegularFile).toList();
            assertEquals(9, classes.size());
            classes.forEach(file -> assertTrue(
                    Files.exists(SOURCES.resolve(tree.relativize(file).toString())), file + " is not committed"));
        }
    }

    @Test
    void jextractIsToldThePackageTheListAndTheHeaders() throws Exception {
        assertEquals(0, run("cusparselt", "openblas").exit);
        String tree = folder.resolve("a tree").toString();
        assertEquals(
                List.of(
                        List.of(
                                "-I",
                                "/w/nvidia/cu13/include",
                                "-I",
                                "/cuda/include",
                                "-t",
                                "dev.espalier.natives.cuda.generated.cusparselt",
                                "--header-class-name",
                                "CusparseLt",
                                "--symbols-class-name",
                                "CusparseLtSymbols",
                                "--output",
                                tree,
                                "@" + LISTS + "/cusparselt.args",
                                "-D",
                                "alignas=_Alignas",
                                "/w/nvidia/cusparselt/include/cusparseLt.h"),
                        List.of(
                                "-I",
                                "/blas/include",
                                "-t",
                                "dev.espalier.natives.blas.generated",
                                "--header-class-name",
                                "OpenBlas",
                                "--symbols-class-name",
                                "OpenBlasSymbols",
                                "--output",
                                tree,
                                "@" + LISTS + "/openblas.args",
                                "/blas/include/cblas.h",
                                "/blas/include/lapacke.h")),
                told());
        // A library would be loaded when its class is initialised, and be lost for good if that failed once.
        assertFalse(told().stream().flatMap(List::stream).anyMatch(word -> word.equals("-l")));
    }

    @Test
    void whatIsMissingIsNamedBeforeAnythingIsWritten() throws Exception {
        refused("no include list is called cudnn", "nvrtc", "cudnn");
        environment.put("JEXTRACT", "/nonexistent/jextract");
        refused("/nonexistent/jextract is not there; JEXTRACT names jextract 25", "nvrtc");
        environment.remove("JEXTRACT");
        environment.remove("CUDA_WHEELS");
        refused("CUDA_WHEELS is not set; it names site-packages/nvidia", "nvrtc");
        environment.remove("OPENBLAS_INCLUDE");
        refused("OPENBLAS_INCLUDE is not set; it names the folder of cblas.h and lapacke.h", "openblas");
        environment.remove("CUDA_INCLUDE");
        refused("CUDA_INCLUDE is not set; it names the include folder of a CUDA 13.0 toolkit", "cuda");
    }

    private void refused(String why, String... names) throws Exception {
        Run run = run(names);
        assertEquals(2, run.exit, run.err);
        assertTrue(run.err.contains(why), run.err);
        assertFalse(Files.exists(folder.resolve("a tree")), "something was written");
    }
}
