package dev.espalier.natives.cuda;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.espalier.natives.cuda.generated.cublas.Cublas;
import dev.espalier.natives.fake.FakeCuda;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.SplittableRandom;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/// Our calls of cuBLAS and its like, against their manuals' definitions in C: that row-major matrices come out right of
/// column-major libraries, that everything is given back, and that a failure names the function, the code and the shapes.
///
/// All values are small multiples of 1/8, so that every sum is exact in float32, and results are compared bit by bit.
@Tag("fake-cuda")
class FakeLibrariesTest {
    private final SplittableRandom random = new SplittableRandom(1913);
    private final List<DeviceMemory> memory = new ArrayList<>();
    private CudaStream stream;

    @BeforeAll
    static void librariesWithoutADevice() {
        FakeCuda.install(FakeDeviceTest.TWINS);
    }

    @BeforeEach
    void aStream() {
        stream = CudaStream.create();
    }

    @AfterEach
    void nothingIsLeftAndNoRuleBroken() {
        memory.forEach(DeviceMemory::close);
        stream.close();
        FakeCuda.driver(13000, 1);
        FakeCuda.assertNothingLeft();
    }

    @ParameterizedTest
    @CsvSource({"false,false", "true,false", "false,true", "true,true"})
    void gemmMultipliesRowMajorMatrices(boolean transposeA, boolean transposeB) {
        int m = 3;
        int n = 5;
        int k = 7;
        double[] a = random(m * k);
        double[] b = random(k * n);
        double[] c = random(m * n);
        double[] expected = new double[m * n];
        for (int i = 0; i < m; i++) {
            for (int j = 0; j < n; j++) {
                double sum = 0.5 * c[i * n + j];
                for (int l = 0; l < k; l++) {
                    sum += 2 * a[transposeA ? l * m + i : i * k + l] * b[transposeB ? j * k + l : l * n + j];
                }
                expected[i * n + j] = sum;
            }
        }
        try (CuBlas blas = CuBlas.create()) {
            for (CudaType type : List.of(CudaType.F32, CudaType.F64, CudaType.BF16)) {
                CudaType out = type == CudaType.BF16 ? CudaType.F32 : type;
                DeviceMemory result = upload(c, out);
                blas.gemm(
                        stream,
                        transposeA,
                        transposeB,
                        m,
                        n,
                        k,
                        2,
                        upload(a, type),
                        upload(b, type),
                        type,
                        0.5,
                        result,
                        out);
                assertArrayEquals(expected, download(result, out, m * n), type.toString());
            }
        }
    }

    @Test
    void syrkWritesTheLowerTriangleOfTheGramMatrix() {
        int n = 4;
        int k = 6;
        double[] a = random(k * n);
        double[] c = random(n * n);
        double[] expected = c.clone();
        for (int i = 0; i < n; i++) {
            for (int j = 0; j <= i; j++) {
                double sum = c[i * n + j];
                for (int l = 0; l < k; l++) {
                    sum += 0.25 * a[l * n + i] * a[l * n + j];
                }
                expected[i * n + j] = sum;
            }
        }
        try (CuBlas blas = CuBlas.create()) {
            for (CudaType type : List.of(CudaType.F32, CudaType.F64)) {
                DeviceMemory result = upload(c, type);
                blas.syrk(stream, n, k, 0.25, upload(a, type), 1, result, type);
                assertArrayEquals(expected, download(result, type, n * n), type.toString());
            }
        }
    }

    @ParameterizedTest
    @ValueSource(ints = {1, 3, 17})
    void aDenseLayerOfCuBlasLtAppliesItsWeights(int tokens) {
        double[] x = random(tokens * 24);
        double[] w = random(40 * 24);
        double[] expected = linear(x, w, tokens, 24, 40);
        try (CuBlasLt lt = CuBlasLt.create();
                CuBlasLt.Linear linear = lt.linear(tokens, 24, 40, CudaType.BF16, CudaType.F32, 8)) {
            assertEquals(2, linear.algorithms(), "one of the three offered has a status of its own");
            DeviceMemory xs = upload(x, CudaType.BF16);
            DeviceMemory ws = upload(w, CudaType.BF16);
            for (int i = 0; i < linear.algorithms(); i++) {
                linear.select(i);
                DeviceMemory y = upload(new double[tokens * 40], CudaType.F32);
                linear.run(stream, xs, ws, y);
                assertArrayEquals(expected, download(y, CudaType.F32, tokens * 40));
            }
            assertThrows(IndexOutOfBoundsException.class, () -> linear.select(2));
            DeviceMemory small = upload(new double[tokens * 40 - 1], CudaType.F32);
            assertThrows(IllegalArgumentException.class, () -> linear.run(stream, xs, ws, small));
            DeviceMemory odd = upload(new double[40 * 24 + 1], CudaType.BF16).slice(2, 40 * 24 * 2);
            assertThrows(
                    IllegalArgumentException.class,
                    () -> linear.run(stream, xs, odd, upload(new double[tokens * 40], CudaType.F32)));
        }
    }

    /// A recorded call computes at each replay what is in memory then.
    @Test
    void productsOfEveryLibraryAreRecordedIntoAGraph() {
        int tokens = 16;
        int in = 32;
        int out = 16;
        double[] w = random(out * in);
        for (int i = 0; i < w.length; i += 4) {
            w[i] = w[i + 1] = 0;
        }
        int[] starts = new int[out + 1];
        List<Integer> columns = new ArrayList<>();
        for (int i = 0; i < out * in; i++) {
            if (w[i] != 0) {
                columns.add(i % in);
            }
            starts[i / in + 1] = columns.size();
        }
        double[] kept = Arrays.stream(w).filter(v -> v != 0).toArray();
        try (CuBlas blas = CuBlas.create();
                CuBlasLt lt = CuBlasLt.create();
                CuBlasLt.Linear dense = lt.linear(tokens, in, out, CudaType.BF16, CudaType.F32, 1);
                CuSparse sparse = CuSparse.create();
                CuSparse.Csr csr = new CuSparse.Csr(
                        out,
                        in,
                        kept.length,
                        upload(starts),
                        upload(columns.stream().mapToInt(Integer::intValue).toArray()),
                        upload(kept, CudaType.BF16),
                        CudaType.BF16);
                CuSparse.Linear rows = sparse.linear(stream, csr, tokens, CudaType.F32);
                CuSparseLt sparseLt = CuSparseLt.create();
                CuSparseLt.Linear pairs = sparseLt.linear(tokens, in, out, CudaType.BF16)) {
            DeviceMemory ws = upload(w, CudaType.BF16);
            DeviceMemory x = upload(random(tokens * in), CudaType.BF16);
            List<DeviceMemory> results = new ArrayList<>();
            for (int i = 0; i < 3; i++) {
                results.add(upload(new double[tokens * out], CudaType.F32));
            }
            DeviceMemory half = upload(new double[tokens * out], CudaType.BF16);
            rows.run(stream, x, results.get(2)); // prepares
            try (DeviceMemory compressed = pairs.compress(stream, ws);
                    CudaGraph graph = CudaGraph.capture(stream, () -> {
                        dense.run(stream, x, ws, results.get(0));
                        blas.gemm(
                                stream,
                                false,
                                true,
                                tokens,
                                out,
                                in,
                                1,
                                x,
                                ws,
                                CudaType.BF16,
                                0,
                                results.get(1),
                                CudaType.F32);
                        rows.run(stream, x, results.get(2));
                        pairs.run(stream, x, compressed, half);
                    })) {
                double[] values = random(tokens * in);
                x.copyFrom(upload(values, CudaType.BF16), stream);
                graph.launch(stream);
                double[] expected = linear(values, w, tokens, in, out);
                for (DeviceMemory y : results) {
                    assertArrayEquals(expected, download(y, CudaType.F32, tokens * out));
                }
                double[] rounded = download(half, CudaType.BF16, tokens * out);
                for (int i = 0; i < expected.length; i++) {
                    assertEquals(expected[i], rounded[i], Math.abs(expected[i]) / 256);
                }
            }
        }
    }

    @Test
    void cuSparseLtOfTheSlowVersionIsUsedWithAWarning() {
        assertEquals("0.8.1", CudaLibrary.CUSPARSELT.version().orElseThrow());
        assertEquals(Optional.empty(), CudaLibrary.CUSPARSELT.warning());
        FakeCuda.cuSparseLt(0);
        try (CuSparseLt lt = CuSparseLt.create()) {
            assertEquals(
                    "cuSPARSELt 0.8.0 is slow on an H100; 0.8.1 is not (pip install -U nvidia-cusparselt-cu13)",
                    CudaLibrary.CUSPARSELT.warning().orElseThrow(),
                    lt::toString);
            assertEquals(Optional.empty(), CudaLibrary.CUSPARSE.warning());
        } finally {
            FakeCuda.cuSparseLt(1);
        }
    }

    @Test
    void aProductThatNoAlgorithmDoesIsNamed() {
        try (CuBlasLt lt = CuBlasLt.create()) {
            CudaException failure =
                    assertThrows(CudaException.class, () -> lt.linear(2, 13, 16, CudaType.BF16, CudaType.BF16, 4));
            assertTrue(failure.getMessage().contains("[2, 13] x [16, 13]ᵀ, BF16 to BF16"), failure.getMessage());
        }
    }

    @ParameterizedTest
    @ValueSource(ints = {1, 3, 17})
    void aCompressedRowsLayerOfCuSparseAppliesItsWeights(int tokens) {
        int in = 24;
        int out = 10;
        double[] x = random(tokens * in);
        double[] w = random(out * in);
        int[] starts = new int[out + 1];
        List<Integer> columns = new ArrayList<>();
        for (int i = 0; i < out * in; i++) {
            w[i] = random.nextInt(3) == 0 ? w[i] : 0; // a row may be empty
            if (w[i] != 0) {
                columns.add(i % in);
            }
            starts[i / in + 1] = columns.size();
        }
        double[] values = Arrays.stream(w).filter(v -> v != 0).toArray();
        try (CuSparse sparse = CuSparse.create();
                CuSparse.Csr csr = new CuSparse.Csr(
                        out,
                        in,
                        values.length,
                        upload(starts),
                        upload(columns.stream().mapToInt(Integer::intValue).toArray()),
                        upload(values, CudaType.BF16),
                        CudaType.BF16);
                CuSparse.Linear linear = sparse.linear(stream, csr, tokens, CudaType.F32)) {
            for (int i = 0; i < 2; i++) {
                DeviceMemory y = upload(new double[tokens * out], CudaType.F32);
                linear.run(stream, upload(x, CudaType.BF16), y);
                assertArrayEquals(linear(x, w, tokens, in, out), download(y, CudaType.F32, tokens * out));
            }
        }
    }

    @Test
    void aTwoOfFourLayerOfCuSparseLtAppliesItsCompressedWeights() {
        int tokens = 16;
        int in = 32;
        int out = 48;
        double[] x = random(tokens * in);
        double[] w = random(out * in);
        for (int i = 0; i < w.length; i += 4) {
            int first = random.nextInt(4);
            w[i + first] = 0;
            w[i + (first + 1 + random.nextInt(3)) % 4] = 0;
        }
        try (CuSparseLt lt = CuSparseLt.create();
                CuSparseLt.Linear linear = lt.linear(tokens, in, out, CudaType.BF16)) {
            DeviceMemory ws = upload(w, CudaType.BF16);
            assertTrue(linear.isInPattern(stream, ws));
            double[] three = w.clone();
            three[4] = three[5] = three[6] = 1;
            assertFalse(linear.isInPattern(stream, upload(three, CudaType.BF16)));
            try (DeviceMemory compressed = linear.compress(stream, ws)) {
                DeviceMemory xs = upload(x, CudaType.BF16);
                DeviceMemory y = upload(new double[tokens * out], CudaType.BF16);
                linear.search(stream, xs, compressed, y);
                y.fill((byte) 0, stream);
                linear.run(stream, xs, compressed, y);
                double[] expected = linear(x, w, tokens, in, out);
                double[] result = download(y, CudaType.BF16, tokens * out);
                for (int i = 0; i < expected.length; i++) {
                    // BF16 keeps 8 bits: half a unit in the last place is at most 2^-8 of the value.
                    assertEquals(expected[i], result[i], Math.abs(expected[i]) / 256);
                }
                assertThrows(IllegalArgumentException.class, () -> linear.run(stream, xs, xs, y));
            }
            assertThrows(IllegalArgumentException.class, () -> lt.linear(8, in, out, CudaType.BF16));
            assertThrows(IllegalArgumentException.class, () -> lt.linear(16, in, out, CudaType.F32));
        }
    }

    @ParameterizedTest
    @CsvSource({"F32,1e-5", "F64,1e-13"}) // a few roundings of a matrix whose condition is about 10
    void potrfAndPotriLeaveTheLowerTriangleOfFactorAndInverse(CudaType type, double tolerance) {
        int n = 5;
        double[] b = random(n * n);
        double[] a = new double[n * n];
        for (int i = 0; i < n; i++) {
            for (int j = 0; j < n; j++) {
                a[i * n + j] = i == j ? 4 : 0;
                for (int k = 0; k < n; k++) {
                    a[i * n + j] += b[i * n + k] * b[j * n + k];
                }
            }
        }
        double[] lower = a.clone();
        for (int i = 0; i < n; i++) {
            for (int j = i + 1; j < n; j++) {
                lower[i * n + j] = 99;
            }
        }
        try (CuSolver solver = CuSolver.create()) {
            DeviceMemory memory = upload(lower, type);
            assertEquals(0, solver.potrf(stream, n, memory, type));
            double[] l = download(memory, type, n * n);
            assertEquals(0, solver.potri(stream, n, memory, type));
            double[] inverse = download(memory, type, n * n);
            for (int i = 0; i < n; i++) {
                for (int j = 0; j < n; j++) {
                    double product = 0;
                    double unit = 0;
                    for (int k = 0; k < n; k++) {
                        product += k <= Math.min(i, j) ? l[i * n + k] * l[j * n + k] : 0;
                        unit += a[i * n + k] * inverse[Math.max(k, j) * n + Math.min(k, j)];
                    }
                    assertEquals(a[i * n + j], product, tolerance * 10);
                    assertEquals(i == j ? 1 : 0, unit, tolerance * 10);
                    if (j > i) {
                        assertEquals(99, inverse[i * n + j], "above the diagonal nothing is written");
                    }
                }
            }
        }
    }

    @Test
    void aMatrixThatIsNotPositiveDefiniteIsToldByTheOrderOfItsMinor() {
        try (CuSolver solver = CuSolver.create()) {
            assertEquals(
                    2,
                    solver.potrf(
                            stream, 3, upload(new double[] {1, 0, 0, 2, 1, 0, 0, 0, 1}, CudaType.F32), CudaType.F32));
        }
    }

    @Test
    void withoutADeviceNoHandleIsMadeAndTheLibrarysNameForTheCodeIsTold() {
        FakeCuda.driver(0, 1);
        List<CudaException> failures = List.of(
                assertThrows(CudaException.class, CuBlas::create),
                assertThrows(CudaException.class, CuBlasLt::create),
                assertThrows(CudaException.class, CuSparse::create),
                assertThrows(CudaException.class, CuSparseLt::create),
                assertThrows(CudaException.class, CuSolver::create));
        assertEquals(
                List.of(
                        "cublasCreate_v2 failed with CUBLAS_STATUS_NOT_INITIALIZED (1)",
                        "cublasLtCreate failed with CUBLAS_STATUS_NOT_INITIALIZED (1)",
                        "cusparseCreate failed with CUSPARSE_STATUS_NOT_INITIALIZED (1)",
                        "cusparseLtInit failed with CUSPARSE_STATUS_NOT_INITIALIZED (1)",
                        "cusolverDnCreate failed with CUSOLVER_STATUS_NOT_INITIALIZED (1)"),
                failures.stream().map(Throwable::getMessage).toList());
    }

    @Test
    void noMemoryForAWorkspaceGivesTheHandleBack() {
        FakeCuda.budget(1 << 20);
        try {
            assertThrows(CudaException.class, CuBlas::create);
            assertThrows(CudaException.class, CuBlasLt::create);
        } finally {
            FakeCuda.budget(-1);
        }
    }

    @Test
    void aClosedHandleIsNeverPassedOn() {
        CuSolver solver = CuSolver.create();
        CuBlasLt lt = CuBlasLt.create();
        CuBlasLt.Linear linear = lt.linear(1, 16, 16, CudaType.BF16, CudaType.BF16, 1);
        DeviceMemory m = upload(new double[256], CudaType.BF16);
        lt.close();
        solver.close();
        assertThrows(IllegalStateException.class, () -> linear.run(stream, m, m, m));
        assertThrows(IllegalStateException.class, () -> solver.potrf(stream, 2, m, CudaType.F32));
        linear.close();
        linear.close();
        lt.close();
        solver.close();
    }

    @Test
    void aFailedCallTellsItsShapes() {
        try (CuBlas blas = CuBlas.create()) {
            DeviceMemory m = upload(new double[16], CudaType.F32);
            // The C code knows no F16.
            CudaException failure = assertThrows(
                    CudaException.class,
                    () -> blas.gemm(stream, false, true, 2, 2, 2, 1, m, m, CudaType.F16, 0, m, CudaType.F32));
            assertEquals(
                    "cublasGemmEx failed with CUBLAS_STATUS_INVALID_VALUE (7): [2, 2] x [2, 2], F16 to F32, B transposed",
                    failure.getMessage());
            assertEquals(Cublas.CUBLAS_STATUS_INVALID_VALUE(), failure.code());
        } finally {
            assertEquals(1, FakeCuda.breaches());
            FakeCuda.forgive();
        }
    }

    private double[] random(int n) {
        return random.ints(n, -8, 9).mapToDouble(i -> i / 8.0).toArray();
    }

    /// `y = x wᵀ`.
    private static double[] linear(double[] x, double[] w, int tokens, int in, int out) {
        double[] y = new double[tokens * out];
        for (int t = 0; t < tokens; t++) {
            for (int o = 0; o < out; o++) {
                for (int i = 0; i < in; i++) {
                    y[t * out + o] += x[t * in + i] * w[o * in + i];
                }
            }
        }
        return y;
    }

    private DeviceMemory upload(double[] values, CudaType type) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment host = arena.allocate((long) values.length * type.bytes(), 8);
            for (int i = 0; i < values.length; i++) {
                switch (type) {
                    case F32 -> host.setAtIndex(ValueLayout.JAVA_FLOAT, i, (float) values[i]);
                    case F64 -> host.setAtIndex(ValueLayout.JAVA_DOUBLE, i, values[i]);
                    // All values here have few bits, so that cutting them off is exact.
                    case BF16, F16 ->
                        host.setAtIndex(
                                ValueLayout.JAVA_SHORT, i, (short) (Float.floatToIntBits((float) values[i]) >>> 16));
                }
            }
            return upload(host);
        }
    }

    private DeviceMemory upload(int[] values) {
        try (Arena arena = Arena.ofConfined()) {
            return upload(arena.allocateFrom(ValueLayout.JAVA_INT, values));
        }
    }

    private DeviceMemory upload(MemorySegment host) {
        DeviceMemory device = DeviceMemory.allocate(host.byteSize(), "operand");
        memory.add(device);
        device.upload(host);
        return device;
    }

    private double[] download(DeviceMemory device, CudaType type, int n) {
        stream.synchronize();
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment host = arena.allocate((long) n * type.bytes(), 8);
            device.download(host);
            double[] values = new double[n];
            for (int i = 0; i < n; i++) {
                values[i] = switch (type) {
                    case F32 -> host.getAtIndex(ValueLayout.JAVA_FLOAT, i);
                    case F64 -> host.getAtIndex(ValueLayout.JAVA_DOUBLE, i);
                    case BF16, F16 -> Float.intBitsToFloat(host.getAtIndex(ValueLayout.JAVA_SHORT, i) << 16);
                };
            }
            return values;
        }
    }
}
