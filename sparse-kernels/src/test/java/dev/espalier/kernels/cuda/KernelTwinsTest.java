package dev.espalier.kernels.cuda;

import static org.junit.jupiter.api.Assertions.assertAll;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.espalier.kernels.Backend.Norm;
import dev.espalier.kernels.cpu.CpuBackend;
import dev.espalier.kernels.cuda.KernelChecks.Extent;
import dev.espalier.kernels.fake.Twins;
import dev.espalier.natives.cuda.CudaStream;
import dev.espalier.natives.fake.FakeCuda;
import dev.espalier.tensor.DType;
import dev.espalier.tensor.Tensor;
import java.lang.foreign.Arena;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;

/// The kernels' sources, run on the host by a fake GPU, against the CPU backend.
@Tag("fake-cuda")
class KernelTwinsTest {
    @TempDir
    static Path cache;

    @BeforeAll
    static void kernelsOnTheHost() {
        Twins.install();
    }

    @AfterEach
    void nothingIsLeft() {
        FakeCuda.assertNothingLeft();
    }

    private static CudaKernels kernels(int multiprocessors, int sharedBytes) {
        return new CudaKernels(new CudaKernels.Device("sm_90", multiprocessors, sharedBytes), new KernelImages(cache));
    }

    @Test
    void everyKernelAgreesWithTheCpu() {
        List<KernelChecks.Result> results;
        try (CudaKernels kernels = kernels(2, 232448);
                CudaStream stream = CudaStream.create();
                CpuBackend cpu = new CpuBackend(1)) {
            results = new KernelChecks(kernels, stream, cpu, Extent.AWKWARD, () -> false).run(result -> {});
        }
        assertAll(results.stream().map(result -> () -> assertNull(result.problem(), result.kernel())));
        Set<String> checked = new TreeSet<>();
        results.forEach(result -> checked.addAll(List.of(result.kernel().split(", "))));
        for (KernelFile file : KernelFile.values()) {
            assertTrue(checked.containsAll(file.entries()), () -> file + " is not all in " + checked);
        }
        results.forEach(result -> assertTrue(result.cases() > 0, result.kernel()));
    }

    /// NVRTC here is a fake that knows sm_75 to sm_100.
    @Test
    void aDeviceThatIsNewerThanNvrtcRunsThePtx() {
        try (CudaKernels kernels =
                        new CudaKernels(new CudaKernels.Device("sm_130", 2, 232448), new KernelImages(cache));
                CudaStream stream = CudaStream.create();
                CpuBackend cpu = new CpuBackend(1)) {
            KernelChecks checks = new KernelChecks(kernels, stream, cpu, Extent.FEW, () -> false);
            assertTrue(checks.run("rms_norm").passed());
            assertEquals(Map.of(KernelFile.NORM, KernelImages.Origin.PTX), kernels.origins());
        }
        try (CudaKernels kernels = kernels(2, 232448)) {
            kernels.loadAll();
            kernels.origins().values().forEach(origin -> assertNotEquals(KernelImages.Origin.PTX, origin));
        }
    }

    /// Not on a device before 9.0, not with the PTX, and not where two rows a warp are better (68 rows on 2 multiprocessors).
    @ParameterizedTest
    @CsvSource({"sm_80, 64, 0", "sm_90, 64, 3", "sm_90, 68, 2", "sm_100, 64, 3", "sm_130, 64, 0"})
    void productsBeginEarlyWhereTheDeviceAndTheImageKnowHow(String architecture, int rows, long early) {
        CudaKernels.Device device = new CudaKernels.Device(architecture, 2, 232448);
        try (CudaKernels kernels = new CudaKernels(device, new KernelImages(cache));
                CudaStream stream = CudaStream.create();
                Arena arena = Arena.ofShared()) {
            Tensor dense = Tensor.allocate(arena, DType.BF16, rows, 8);
            dense.set(rows - 1, 7, 3f);
            try (DeviceWeights all = DeviceWeights.Dense.upload(dense, "dense");
                    DeviceWeights delta = DeviceWeights.Delta.upload(dense, "delta");
                    DeviceWeights pairs = DeviceWeights.TwoFour.upload(dense, "pairs");
                    DeviceTensor x = DeviceTensor.upload(ones(arena, 8), "x");
                    DeviceTensor y = DeviceTensor.allocate(DType.F32, 1, rows, "y")) {
                long before = FakeCuda.earlyLaunches();
                for (DeviceWeights weights : List.of(all, delta, pairs)) {
                    y.memory().fill((byte) -1, stream);
                    kernels.gemv(weights, null, x, y, stream);
                    stream.synchronize();
                    assertEquals(3f, y.download(arena).get(0, rows - 1), weights::toString);
                }
                assertEquals(early, FakeCuda.earlyLaunches() - before);
            }
        }
    }

    /// One thing that is wrong with a kernel.
    record Break(KernelFile file, String kernel, String right, String wrong) {
        @Override
        public String toString() {
            return kernel + ": " + wrong.strip() + " for " + right.strip();
        }
    }

    static List<Break> breaks() {
        KernelFile delta = KernelFile.DELTA_GEMV;
        KernelFile pairs = KernelFile.TWO_FOUR_GEMV;
        String barrier = "__syncthreads();";
        return List.of(
                // Indices.
                new Break(KernelFile.DENSE_GEMV, "dense_gemv_bf16", "min(row + r, rows - 1)", "row"),
                new Break(delta, "delta_gemv_f16", "byte_of<2>(columns.odd)", "byte_of<2>(columns.even)"),
                new Break(pairs, "two_four_gemv_bf16", "(lane + 8) % WARP", "(lane + 16) % WARP"),
                new Break(KernelFile.DELTA_EXPAND, "delta_expand", "i < columns / 8;", "i < columns / 8 - 1;"),
                new Break(KernelFile.ROTARY, "rotate", "angle[half + d]", "angle[d]"),
                new Break(KernelFile.ROTARY, "angles", "2.0 * (turns", "(turns"),
                new Break(
                        KernelFile.ATTENTION,
                        "attention_split, attention_merge",
                        "positions[token] + 1",
                        "positions[token]"),
                new Break(
                        KernelFile.ROWS,
                        "scatter_rows",
                        "rows[blockIdx.x] * columns;\n    for",
                        "blockIdx.x * columns;\n    for"),
                // Arithmetic.
                new Break(KernelFile.ATTENTION, "attention_split, attention_merge", "mixed[i] *= shrink;", ";"),
                new Break(KernelFile.ELEMENTWISE, "activate", "0.044715f", "0.0447f"),
                new Break(KernelFile.ROWS, "gather_bf16", "accumulate ? to[i] + value : value", "value"),
                // Barriers and waits.
                new Break(delta, "delta_gemv_bf16", barrier, ";"),
                new Break(delta, "delta_gemv_bf16", "copy_wait<0>", "copy_wait<1>"),
                new Break(delta, "delta_gemv_f16", "total >> 16", "total & 0xffff"),
                new Break(pairs, "two_four_gemv_bf16", "copy_wait<0>", "copy_wait<1>"),
                new Break(pairs, "two_four_gemv_f16", barrier, ";"),
                new Break(KernelFile.DELTA_EXPAND, "delta_expand", barrier + " // spans were", "// spans were"),
                new Break(KernelFile.ATTENTION, "attention_split, attention_merge", barrier, ";"),
                new Break(KernelFile.NORM, "rms_norm", "}\n    " + barrier + "\n    return", "}\n    return"),
                new Break(KernelFile.NORM, "layer_norm", barrier + " // the sum", "// the sum"),
                // What ends a launch: a lane that stays away, a write behind the shared memory.
                new Break(
                        KernelFile.DENSE_GEMV,
                        "dense_gemv_f16",
                        "float sum = warp_sum(sums[r]);",
                        "float sum = lane > 0 ? warp_sum(sums[r]) : 0;"),
                new Break(pairs, "two_four_gemv_bf16", "i < groups;", "i < groups + 1;"));
    }

    /// The comparison says something only if it can fail.
    @ParameterizedTest
    @MethodSource("breaks")
    void aKernelThatIsWrongInOnePlaceIsSeen(Break broken) {
        Twins.alter(broken.file, source -> {
            assertTrue(source.contains(broken.right), () -> broken.file + " has no " + broken.right);
            return source.replace(broken.right, broken.wrong);
        });
        try (CudaKernels kernels = kernels(2, 232448);
                CudaStream stream = CudaStream.create();
                CpuBackend cpu = new CpuBackend(1)) {
            KernelChecks.Result result =
                    new KernelChecks(kernels, stream, cpu, Extent.FEW, () -> false).run(broken.kernel);
            assertFalse(result.passed(), broken::toString);
            assertNotNull(result.problem());
        } finally {
            Twins.restore();
        }
    }

    /// As many blocks as have room for their x, until not even one has.
    @Test
    void matricesWhoseInputsDoNotFitIntoSharedMemoryAreRefused() {
        try (CudaKernels kernels = kernels(1, 48 << 10);
                CudaStream stream = CudaStream.create();
                Arena arena = Arena.ofShared()) {
            Tensor dense = Tensor.allocate(arena, DType.BF16, 3, 5000);
            dense.set(2, 4999, 3f);
            Tensor wide = Tensor.allocate(arena, DType.BF16, 1, 13000);
            try (DeviceWeights fits = DeviceWeights.Delta.upload(dense, "fits");
                    DeviceWeights tooWide = DeviceWeights.Delta.upload(wide, "wide");
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
            try (DeviceWeights.Delta weights = DeviceWeights.Delta.upload(dense, "weights");
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
