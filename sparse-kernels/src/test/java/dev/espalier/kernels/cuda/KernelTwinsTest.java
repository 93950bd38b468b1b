package dev.espalier.kernels.cuda;

import static org.junit.jupiter.api.Assertions.assertAll;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.espalier.kernels.Backend.Norm;
import dev.espalier.kernels.cpu.CpuBackend;
import dev.espalier.kernels.fake.Twins;
import dev.espalier.natives.cuda.CudaStream;
import dev.espalier.natives.fake.FakeCuda;
import dev.espalier.tensor.DType;
import dev.espalier.tensor.Tensor;
import java.lang.foreign.Arena;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.TreeSet;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/// The kernels' sources, run on the host by a fake GPU, against the CPU backend.
@Tag("fake-cuda")
class KernelTwinsTest {
    @TempDir
    static Path cache;

    /// Any bytes are an image to the fake GPU.
    static final KernelImages.Compiler COMPILER = new KernelImages.Compiler() {
        @Override
        public Optional<String> version() {
            return Optional.of("none");
        }

        @Override
        public byte[] compile(String name, String source, String architecture) {
            return name.getBytes(java.nio.charset.StandardCharsets.UTF_8);
        }

        @Override
        public String whyNot() {
            return "";
        }
    };

    @BeforeAll
    static void kernelsOnTheHost() {
        Twins.install();
    }

    @AfterEach
    void nothingIsLeft() {
        FakeCuda.assertNothingLeft();
    }

    private static CudaKernels kernels(int multiprocessors, int sharedBytes) {
        return new CudaKernels(
                new CudaKernels.Device("sm_90", multiprocessors, sharedBytes), new KernelImages(cache, COMPILER));
    }

    @Test
    void everyKernelAgreesWithTheCpu() {
        List<KernelChecks.Result> results;
        try (CudaKernels kernels = kernels(2, 232448);
                CudaStream stream = CudaStream.create();
                CpuBackend cpu = new CpuBackend(1)) {
            results = new KernelChecks(kernels, stream, cpu, false).run(result -> {});
        }
        assertAll(results.stream().map(result -> () -> assertNull(result.problem(), result.kernel())));
        Set<String> checked = new TreeSet<>();
        results.forEach(result -> checked.addAll(List.of(result.kernel().split(", "))));
        for (KernelFile file : KernelFile.values()) {
            assertTrue(checked.containsAll(file.entries()), () -> file + " is not all in " + checked);
        }
        results.forEach(result -> assertTrue(result.cases() > 0, result.kernel()));
    }

    /// Fewer buffers a block where shared memory is small, until not even one x fits.
    @Test
    void matricesThatDoNotFitIntoSharedMemoryAreRefusedAndOthersUseWhatThereIs() {
        try (CudaKernels kernels = kernels(1, 48 << 10);
                CudaStream stream = CudaStream.create();
                Arena arena = Arena.ofShared()) {
            Tensor dense = Tensor.allocate(arena, DType.BF16, 3, 5000);
            dense.set(2, 4999, 3f);
            Tensor wide = Tensor.allocate(arena, DType.BF16, 1, 13000);
            try (DeviceWeights fits = DeviceWeights.Bitmask.upload(dense, "fits");
                    DeviceWeights tooWide = DeviceWeights.Bitmask.upload(wide, "wide");
                    DeviceWeights tooWideToo = DeviceWeights.TwoFour.upload(wide, "wide");
                    DeviceWeights anyWidth = DeviceWeights.Dense.upload(wide, "wide");
                    DeviceTensor x = DeviceTensor.upload(ones(arena, 5000), "x");
                    DeviceTensor y = DeviceTensor.allocate(DType.F32, 1, 3, "y")) {
                assertNull(kernels.refuses(fits));
                assertNull(kernels.refuses(anyWidth));
                assertEquals("13000 input features do not fit into shared memory", kernels.refuses(tooWide));
                assertEquals("13000 input features do not fit into shared memory", kernels.refuses(tooWideToo));
                kernels.gemv(fits, null, x, y, stream);
                assertEquals(3f, y.download(arena).get(0, 2));
            }
        }
    }

    @Test
    void shapesThatDoNotFitAreRefusedBeforeTheLaunch() {
        try (CudaKernels kernels = kernels(1, 48 << 10);
                CudaStream stream = CudaStream.create();
                Arena arena = Arena.ofShared()) {
            Tensor dense = Tensor.allocate(arena, DType.BF16, 3, 8);
            try (DeviceWeights.Bitmask weights = DeviceWeights.Bitmask.upload(dense, "weights");
                    DeviceTensor x = DeviceTensor.upload(ones(arena, 8), "x");
                    DeviceTensor y = DeviceTensor.allocate(DType.F32, 1, 3, "y");
                    DeviceTensor tile = DeviceTensor.allocate(DType.BF16, 3, 12, "tile")) {
                long launched = FakeCuda.launches();
                Norm norm = new Norm(Norm.Kind.RMS, 1e-5f, 0f);
                assertThrows(IllegalArgumentException.class, () -> kernels.gemv(weights, null, y, x, stream));
                assertThrows(IllegalArgumentException.class, () -> kernels.gemv(weights, x, x, y, stream));
                assertThrows(IllegalArgumentException.class, () -> kernels.norm(norm, x, y, null, x, stream));
                assertThrows(IllegalArgumentException.class, () -> kernels.add(x, y, stream));
                assertThrows(IllegalArgumentException.class, () -> kernels.expand(weights, 0, 3, tile, stream));
                assertThrows(IndexOutOfBoundsException.class, () -> kernels.expand(weights, 1, 3, tile, stream));
                assertThrows(
                        IllegalArgumentException.class,
                        () -> kernels.gather(x, y.memory().slice(0, 0), 1f, false, x, stream));
                assertThrows(IllegalArgumentException.class, () -> new DeviceTensor(DType.F32, 1, 4, y.memory()));
                assertEquals(launched, FakeCuda.launches());
            }
        }
    }

    private static Tensor ones(Arena arena, int columns) {
        Tensor x = Tensor.allocate(arena, DType.F32, 1, columns);
        for (int i = 0; i < columns; i++) {
            x.set(0, i, 1f);
        }
        return x;
    }
}
