package dev.espalier.kernels.cuda;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import dev.espalier.natives.cuda.CudaLibrary;
import dev.espalier.natives.cuda.Nvrtc;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/// The real compiler takes every kernel for every architecture that we promise, without a GPU.
class NvrtcKernelsTest {
    @BeforeAll
    static void compilerIsThere() {
        assumeTrue(
                CudaLibrary.NVRTC.library().found(),
                () -> "NVRTC: " + CudaLibrary.NVRTC.library().whyNot().orElse(""));
    }

    @ParameterizedTest
    @ValueSource(strings = {"sm_80", "sm_90", "sm_100"})
    void everyKernelCompilesWithoutSpillingRegisters(String architecture) {
        for (KernelFile file : KernelFile.values()) {
            List<String> options = new ArrayList<>(KernelImages.OPTIONS);
            options.add("--ptxas-options=-v");
            Nvrtc.Image image = Nvrtc.compile(file.baseName() + ".cu", file.source(), architecture, options);
            String symbols = new String(image.image(), StandardCharsets.ISO_8859_1);
            for (String entry : file.entries()) {
                assertTrue(symbols.contains(".text." + entry), () -> entry + " for " + architecture);
            }
            Matcher spills = Pattern.compile("(\\d+) bytes spill stores").matcher(image.log());
            int kernels = 0;
            for (; spills.find(); kernels++) {
                assertEquals("0", spills.group(1), () -> file + " for " + architecture + ": " + image.log());
            }
            assertEquals(file.entries().size(), kernels, () -> file + ": " + image.log());
        }
    }

    @Test
    void anImageIsCompiledOnceAndThenFound(@TempDir Path cache) {
        KernelImages images = new KernelImages(cache);
        assertEquals(
                KernelImages.Origin.COMPILED,
                images.image(KernelFile.NORM, "sm_90").origin());
        assertEquals(
                KernelImages.Origin.CACHED,
                images.image(KernelFile.NORM, "sm_90").origin());
    }
}
