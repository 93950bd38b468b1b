package dev.espalier.kernels.cuda;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.util.HexFormat;
import java.util.List;
import java.util.regex.MatchResult;
import java.util.regex.Pattern;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/// What is listed, what the sources hold and what was compiled ahead of time are the same.
class KernelFilesTest {
    @ParameterizedTest
    @EnumSource
    void theListNamesEveryKernelOfAFile(KernelFile file) {
        String text = KernelFile.read(file.baseName() + ".cu");
        assertEquals(file.entries(), names("(?m)^KERNEL\\(\\d+, \\d+, (\\w+)\\)", text));
        assertFalse(file.source().contains("#include"), "NVRTC would need a header");
    }

    /// The launcher lets such a kernel have all of a block's shared memory, which a device refuses if some of it is taken.
    @ParameterizedTest
    @EnumSource
    void aKernelWithDynamicSharedMemoryHasNoOther(KernelFile file) {
        String text = KernelFile.read(file.baseName() + ".cu");
        assertFalse(text.contains("DYNAMIC_SHARED(") && text.contains("__shared__"), file::toString);
    }

    @ParameterizedTest
    @EnumSource
    void thePtxIsOfTheSourceAsItIsAndHasTheSameKernels(KernelFile file) throws Exception {
        String ptx = new String(file.ptx().orElseThrow(), StandardCharsets.UTF_8);
        String hash = HexFormat.of()
                .formatHex(MessageDigest.getInstance("SHA-256")
                        .digest(file.source().getBytes(StandardCharsets.UTF_8)));
        assertTrue(
                ptx.startsWith("// of sha256 " + hash),
                "the source was changed: run sparse-kernels/make-ptx.sh, which needs nvcc");
        assertEquals(
                file.entries().stream().sorted().toList(),
                names("\\.visible \\.entry (\\w+)\\(", ptx).stream().sorted().toList());
        assertTrue(ptx.contains(".target sm_80"), "the oldest architecture that we run on");
    }

    /// The hash says that the PTX is of these sources; that it is what the compiler makes of them, only the compiler can say.
    @Test
    void thePtxIsWhatTheCompilerMakesOfTheSource(@TempDir Path folder) throws Exception {
        Path log = folder.resolve("log");
        int found = run(log, "sh", "-c", "nvcc --version");
        String version = Files.readString(log);
        assumeTrue(found == 0, "nvcc: it is not on the PATH");
        assumeTrue(version.contains("release 13.0"), "nvcc: 13.0 made the PTX, this is " + version.strip());
        Path ptx = folder.resolve("ptx");
        int made = run(log, "sh", Path.of("make-ptx.sh").toAbsolutePath().toString(), ptx.toString());
        assertEquals(0, made, Files.readString(log));
        for (KernelFile file : KernelFile.values()) {
            assertArrayEquals(
                    Files.readAllBytes(ptx.resolve(file.baseName() + ".ptx")),
                    file.ptx().orElseThrow(),
                    () -> file + ": run sparse-kernels/make-ptx.sh");
        }
    }

    private static int run(Path log, String... command) throws Exception {
        return new ProcessBuilder(command)
                .redirectErrorStream(true)
                .redirectOutput(log.toFile())
                .start()
                .waitFor();
    }

    private static List<String> names(String pattern, String text) {
        return Pattern.compile(pattern)
                .matcher(text)
                .results()
                .map((MatchResult match) -> match.group(1))
                .toList();
    }
}
