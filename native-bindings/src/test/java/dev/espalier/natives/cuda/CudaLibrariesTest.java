package dev.espalier.natives.cuda;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeFalse;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import dev.espalier.natives.NativeLibrary;
import dev.espalier.natives.cuda.generated.cublas.Cublas;
import dev.espalier.natives.cuda.generated.cublaslt.CublasLt;
import dev.espalier.natives.cuda.generated.cublaslt.cublasLtMatmulAlgo_t;
import dev.espalier.natives.cuda.generated.cuda.CudaDriver;
import dev.espalier.natives.cuda.generated.cudart.CudaRt;
import dev.espalier.natives.cuda.generated.cusolver.Cusolver;
import dev.espalier.natives.cuda.generated.cusparse.Cusparse;
import dev.espalier.natives.cuda.generated.cusparselt.CusparseLt;
import dev.espalier.natives.cuda.generated.cusparselt.cusparseLtHandle_t;
import dev.espalier.natives.cuda.generated.cusparselt.cusparseLtMatmulPlan_t;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;
import java.lang.reflect.Method;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.EnumSource.Mode;

/// The real libraries, as far as they go without a GPU: every function that is bound is there, and versions are told. Where a
/// library is not installed, its tests are skipped with the reason; `CONTRIBUTING.md` says how to install them.
class CudaLibrariesTest {
    static void assumeThere(CudaLibrary library) {
        NativeLibrary found = library.library();
        String group = library == CudaLibrary.DRIVER ? "GPU: no driver, " : "CUDA libraries: ";
        assumeTrue(found.found(), () -> group + library.baseName() + " is not installed");
    }

    @ParameterizedTest
    @EnumSource(mode = Mode.EXCLUDE, names = "NVJITLINK")
    void everyBoundFunctionIsInItsLibrary(CudaLibrary library) throws Exception {
        assumeThere(library);
        Class<?> bindings = bindings(library);
        List<String> missing = new ArrayList<>();
        int bound = 0;
        for (Method method : bindings.getMethods()) {
            if (method.getName().endsWith("$handle")) {
                bound++;
                try {
                    MethodHandle handle = (MethodHandle) method.invoke(null);
                    assertTrue(handle.type().parameterCount() >= 0);
                } catch (java.lang.reflect.InvocationTargetException e) {
                    missing.add(method.getName());
                }
            }
        }
        assertEquals(List.of(), missing);
        assertEquals(functions(library), bound);
    }

    private static Class<?> bindings(CudaLibrary library) {
        return switch (library) {
            case DRIVER -> CudaDriver.class;
            case CUDART -> CudaRt.class;
            case NVRTC -> dev.espalier.natives.cuda.generated.nvrtc.Nvrtc.class;
            case CUBLASLT -> CublasLt.class;
            case CUBLAS -> Cublas.class;
            case CUSPARSE -> Cusparse.class;
            case CUSOLVER -> Cusolver.class;
            case CUSPARSELT -> CusparseLt.class;
            case NVJITLINK -> throw new AssertionError();
        };
    }

    /// As many as the include lists name: a binding that was lost is seen.
    private static int functions(CudaLibrary library) {
        return switch (library) {
            case DRIVER -> 20;
            case CUDART -> 52;
            case NVRTC -> 24;
            case CUBLASLT -> 18;
            case CUBLAS -> 29;
            case CUSPARSE -> 35;
            case CUSOLVER -> 22;
            case CUSPARSELT -> 31;
            case NVJITLINK -> 0;
        };
    }

    @ParameterizedTest
    @EnumSource(
            mode = Mode.EXCLUDE,
            names = {"DRIVER", "NVJITLINK"})
    void theLibraryTellsAVersionOfCuda13(CudaLibrary library) {
        assumeThere(library);
        String version = library.version().orElseThrow();
        String major = version.substring(0, version.indexOf('.'));
        assertTrue(
                List.of("13", "12", "0").contains(major)
                        && Arrays.stream(version.split("\\.")).count() >= 2,
                library + " " + version);
        assertTrue(library.library().where().orElseThrow().isAbsolute());
    }

    /// A handle needs a GPU; without one, the call fails with the library's own name for its code, and nothing crashes.
    @ParameterizedTest
    @EnumSource(names = {"CUBLAS", "CUBLASLT", "CUSPARSE", "CUSPARSELT", "CUSOLVER"})
    void aHandleIsMadeOrTheLibrarysNameForTheCodeIsTold(CudaLibrary library) {
        assumeThere(library);
        assumeThere(CudaLibrary.CUDART);
        try (AutoCloseable handle = switch (library) {
            case CUBLAS -> CuBlas.create();
            case CUBLASLT -> CuBlasLt.create();
            case CUSPARSE -> CuSparse.create();
            case CUSPARSELT -> CuSparseLt.create();
            case CUSOLVER -> CuSolver.create();
            default -> throw new AssertionError();
        }) {
            assertTrue(Cuda.probe().usable(), handle + " was made without a GPU");
        } catch (CudaException e) {
            assertFalse(Cuda.probe().usable(), e.getMessage());
            assertTrue(e.codeName().endsWith("_STATUS_NOT_INITIALIZED"), e.getMessage());
            assertEquals(1, e.code());
        } catch (Exception e) {
            throw new AssertionError(e);
        }
    }

    /// The one function that is bound by hand.
    @Test
    void withoutAGpuAnEarlyLaunchIsRefusedToo() {
        assumeThere(CudaLibrary.CUDART);
        assumeFalse(Cuda.probe().usable(), "GPU: there is one, which refuses nothing");
        try (Arena arena = Arena.ofConfined()) {
            CudaKernel.Dim one = new CudaKernel.Dim(1);
            MemorySegment nothing = MemorySegment.NULL;
            int status = EarlyLaunch.launch(arena, nothing, one, one, nothing, 0, nothing);
            CudaException refusal =
                    assertThrows(CudaException.class, () -> Runtime.check(EarlyLaunch.FUNCTION, status, ""));
            assertTrue(refusal.codeName().startsWith("cudaError"), refusal.getMessage());
        }
    }

    @Test
    void withoutAGpuEveryCallOfTheRuntimeIsRefusedWithItsName() {
        assumeThere(CudaLibrary.CUDART);
        assumeFalse(Cuda.probe().usable(), "GPU: there is one, which refuses nothing");
        for (Executable call : List.<Executable>of(
                () -> DeviceMemory.allocate(16, "m"),
                () -> PinnedMemory.allocate(16, "p"),
                CudaStream::create,
                CudaEvent::create,
                () -> CudaModule.load("nothing", new byte[] {1, 2, 3}))) {
            CudaException failure = assertThrows(CudaException.class, call);
            assertTrue(failure.codeName().startsWith("cudaError"), failure.getMessage());
        }
    }

    @Test
    void aProductIsDescribedToCuBlasLtWithoutAGpu() {
        assumeThere(CudaLibrary.CUBLASLT);
        CuBlasLt.Shape shape = new CuBlasLt.Shape(3, 4096, 11008, CudaType.BF16, CudaType.F32);
        for (int i = 0; i < 100; i++) {
            CuBlasLt.Description description = new CuBlasLt.Description(shape, 1 << 20);
            description.close();
            description.close();
        }
    }

    @Test
    void parametersOfCuSolverAreMadeAndGivenBackWithoutAGpu() {
        assumeThere(CudaLibrary.CUSOLVER);
        CudaHandle parameters = CuSolver.parameters();
        assertTrue(parameters.get().address() != 0);
        parameters.close();
        assertThrows(IllegalStateException.class, parameters::get);
    }

    @Test
    void matricesAreDescribedToCuSparseWithoutAGpu() {
        assumeThere(CudaLibrary.CUSPARSE);
        try (Arena arena = Arena.ofConfined()) {
            // Addresses are only noted; these are of no memory.
            MemorySegment somewhere = MemorySegment.ofAddress(1 << 20);
            MemorySegment slot = arena.allocate(ValueLayout.ADDRESS);
            assertEquals(
                    0,
                    Cusparse.cusparseCreateCsr(
                            slot,
                            64,
                            128,
                            1000,
                            somewhere,
                            somewhere,
                            somewhere,
                            Cusparse.CUSPARSE_INDEX_32I(),
                            Cusparse.CUSPARSE_INDEX_32I(),
                            Cusparse.CUSPARSE_INDEX_BASE_ZERO(),
                            CudaType.BF16.code()));
            MemorySegment matrix = Runtime.handle(slot);
            MemorySegment sizes = arena.allocate(ValueLayout.JAVA_LONG, 3);
            assertEquals(0, Cusparse.cusparseSpMatGetSize(matrix, sizes, sizes.asSlice(8), sizes.asSlice(16)));
            assertArrayEquals(new long[] {64, 128, 1000}, sizes.toArray(ValueLayout.JAVA_LONG));
            assertEquals(0, Cusparse.cusparseDestroySpMat(matrix));
        }
    }

    @Test
    void theOpaqueStructsOfCuSparseLtFitWhereTheyAreAllocated() {
        assertTrue(cusparseLtHandle_t.layout().byteSize() <= 16384);
        assertTrue(cusparseLtMatmulPlan_t.layout().byteSize() <= 16384);
        assertEquals(64, cublasLtMatmulAlgo_t.layout().byteSize());
    }

    @Test
    void withoutAGpuTheReasonIsOneSentenceAndWithOneItIsDescribed() {
        Cuda cuda = Cuda.probe();
        assertEquals(cuda.usable(), cuda.whyNot().isEmpty());
        if (cuda.usable()) {
            assertFalse(cuda.device().name().isBlank());
            assertTrue(cuda.device().memoryBytes() > 1L << 30);
            assertTrue(cuda.freeBytes() <= cuda.device().memoryBytes());
        } else {
            String why = cuda.whyNot().orElseThrow();
            assertTrue(why.lines().count() == 1 && !why.endsWith("."), why);
        }
    }
}
