package dev.espalier.kernels.cuda;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.util.HexFormat;
import java.util.List;
import java.util.regex.MatchResult;
import java.util.regex.Pattern;
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

    private static List<String> names(String pattern, String text) {
        return Pattern.compile(pattern)
                .matcher(text)
                .results()
                .map((MatchResult match) -> match.group(1))
                .toList();
    }
}
