package dev.espalier.tools;

import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assumptions.assumeFalse;

import dev.espalier.natives.cuda.Cuda;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/// `gpu-check` where there is nothing to check.
class GpuCheckWithoutGpuTest {
    @Test
    void withoutAGpuItSaysWhyAndLeavesNoFolder(@TempDir Path folder) {
        assumeFalse(Cuda.probe().usable(), "GPU: there is one");
        Path out = folder.resolve("results");
        Cli.refused(2, Cli.words("gpu-check", "--out", out.toString()), "gpu-check needs a GPU: ");
        assertFalse(Files.exists(out));
    }
}
