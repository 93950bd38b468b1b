package dev.espalier.natives.cuda;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.nio.charset.StandardCharsets;
import java.util.List;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/// CUDA's compiler, which needs no GPU.
class NvrtcTest {
    private static final String SOURCE = """
            extern "C" __global__ void axpy(float *y, const float *x, float a, int n) {
                int i = blockIdx.x * blockDim.x + threadIdx.x;
                if (i < n) y[i] += a * x[i];
            }
            """;

    @BeforeEach
    void theCompiler() {
        assumeTrue(
                CudaLibrary.NVRTC.library().found(),
                () -> "NVRTC: " + CudaLibrary.NVRTC.library().whyNot().orElse(""));
    }

    @ParameterizedTest
    @ValueSource(strings = {"sm_80", "sm_90", "sm_100"})
    void aKernelBecomesACubinWithItsName(String architecture) {
        Nvrtc.Image image = Nvrtc.compile("axpy.cu", SOURCE, architecture, List.of());
        assertEquals("", image.log());
        String text = new String(image.image(), StandardCharsets.ISO_8859_1);
        assertTrue(text.startsWith("\u007fELF"), "no ELF");
        assertTrue(text.contains("axpy"));
    }

    @Test
    void ptxIsTextWithoutAZeroAtItsEnd() {
        Nvrtc.Image image = Nvrtc.compile("axpy.cu", SOURCE, "compute_80", List.of());
        String text = new String(image.image(), StandardCharsets.UTF_8);
        assertTrue(text.contains(".entry axpy"), text);
        assertTrue(text.contains(".target sm_80"), text);
        assertNotEquals(0, image.image()[image.image().length - 1]);
    }

    @Test
    void aSourceThatDoesNotCompileShowsTheCompilersLog() {
        CudaException failure = assertThrows(
                CudaException.class,
                () -> Nvrtc.compile(
                        "broken.cu", SOURCE.replace("a * x[i]", "a * z[i]"), "sm_90", List.of("--std=c++17")));
        assertEquals("nvrtcCompileProgram", failure.function());
        assertEquals("NVRTC_ERROR_COMPILATION", failure.codeName());
        assertTrue(failure.getMessage().contains("broken.cu(3)"), failure.getMessage());
        assertTrue(failure.getMessage().contains("identifier \"z\" is undefined"), failure.getMessage());
    }

    @Test
    void anArchitectureOrOptionItDoesNotKnowIsNamed() {
        CudaException old = assertThrows(CudaException.class, () -> Nvrtc.compile("a.cu", SOURCE, "sm_70", List.of()));
        assertTrue(old.getMessage().contains("sm_70"), old.getMessage());
        CudaException option = assertThrows(
                CudaException.class, () -> Nvrtc.compile("a.cu", SOURCE, "sm_90", List.of("--no-such-option")));
        assertEquals("NVRTC_ERROR_INVALID_OPTION", option.codeName());
    }

    @Test
    void theArchitecturesOfTodaysDevicesAreAmongThose() {
        assertTrue(Nvrtc.architectures().containsAll(List.of("sm_80", "sm_90", "sm_100")));
    }

    @Test
    void severalThreadsCompileAtOnce() throws Exception {
        byte[] alone = Nvrtc.compile("axpy.cu", SOURCE, "sm_90", List.of()).image();
        byte[][] together = new byte[2][];
        Thread[] threads = new Thread[2];
        for (int i = 0; i < 2; i++) {
            int own = i;
            threads[i] = Thread.ofPlatform()
                    .start(() -> together[own] =
                            Nvrtc.compile("axpy.cu", SOURCE, "sm_90", List.of()).image());
        }
        for (int i = 0; i < 2; i++) {
            threads[i].join();
            assertEquals(alone.length, together[i].length);
        }
    }
}
