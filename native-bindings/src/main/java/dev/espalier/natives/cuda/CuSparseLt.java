package dev.espalier.natives.cuda;

import static dev.espalier.natives.cuda.generated.cusparse.Cusparse.CUSPARSE_OPERATION_NON_TRANSPOSE;
import static dev.espalier.natives.cuda.generated.cusparse.Cusparse.CUSPARSE_OPERATION_TRANSPOSE;
import static dev.espalier.natives.cuda.generated.cusparse.Cusparse.CUSPARSE_ORDER_COL;
import static dev.espalier.natives.cuda.generated.cusparse.Cusparse.CUSPARSE_ORDER_ROW;
import static dev.espalier.natives.cuda.generated.cusparse.Cusparse.CUSPARSE_STATUS_SUCCESS;
import static dev.espalier.natives.cuda.generated.cusparselt.CusparseLt.*;

import dev.espalier.natives.cuda.generated.cusparselt.CusparseLt;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.List;

/// cuSPARSELt: a linear layer whose weights are in 2:4 pattern, on the device's sparse tensor cores.
///
/// Dense matrices are row-major and contiguous; sums are in float32.
public final class CuSparseLt implements AutoCloseable {
    /// The library's structs are opaque. 0.8.1 takes 512 bytes aligned to 16, older headers up to 11,024.
    private static final long STRUCT_BYTES = 16384;

    private static final long STRUCT_ALIGNMENT = 16;

    /// What a matrix' start must be aligned to; device memory is to 256.
    private static final int MATRIX_ALIGNMENT = 16;

    /// Rows of a tile at most, as far as we know: kernels of 64 x 256 were seen.
    private static final int TILE_ROWS = 256;

    private final Arena arena = Arena.ofShared();
    private final CudaHandle handle;

    private CuSparseLt() {
        MemorySegment struct = struct(arena);
        try {
            check("cusparseLtInit", cusparseLtInit(struct), "");
        } catch (CudaException e) {
            arena.close();
            throw e;
        }
        handle = new CudaHandle(
                struct,
                "cusparseLtDestroy",
                CusparseLt::cusparseLtDestroy,
                (function, status) -> check(function, status, ""));
    }

    /// A handle on the current device.
    public static CuSparseLt create() {
        CudaLibrary.CUSPARSELT.require();
        return new CuSparseLt();
    }

    private static MemorySegment struct(Arena arena) {
        return arena.allocate(STRUCT_BYTES, STRUCT_ALIGNMENT);
    }

    /// `Y = X Wᵀ` with X `[tokens, in]`, W `[out, in]` in 2:4 pattern along its rows, Y `[tokens, out]`, all of one type.
    ///
    /// @param tokens a multiple of 16, as are `in` and `out`
    /// @param type F16 or BF16
    public Linear linear(int tokens, int in, int out, CudaType type) {
        return new Linear(this, tokens, in, out, type);
    }

    /// One product's plan.
    public static final class Linear implements AutoCloseable {
        private final CuSparseLt library;
        private final int tokens;
        private final int in;
        private final int out;
        private final CudaType type;
        private final Arena arena = Arena.ofShared();
        private final List<Runnable> ends = new ArrayList<>();
        private final MemorySegment product;
        private final MemorySegment plan;
        private DeviceMemory workspace;

        private Linear(CuSparseLt library, int tokens, int in, int out, CudaType type) {
            this.library = library;
            this.tokens = tokens;
            this.in = in;
            this.out = out;
            this.type = type;
            if (tokens < 1 || in < 1 || out < 1 || tokens % 16 != 0 || in % 16 != 0 || out % 16 != 0) {
                throw new IllegalArgumentException(this + ": every size must be a multiple of 16");
            }
            if (type != CudaType.BF16 && type != CudaType.F16) {
                throw new IllegalArgumentException(this + ": the type must be BF16 or F16");
            }
            try {
                MemorySegment lt = library.handle.get();
                MemorySegment weights = struct(arena);
                check(
                        "cusparseLtStructuredDescriptorInit",
                        cusparseLtStructuredDescriptorInit(
                                lt,
                                weights,
                                out,
                                in,
                                in,
                                MATRIX_ALIGNMENT,
                                type.code(),
                                CUSPARSE_ORDER_ROW(),
                                CUSPARSELT_SPARSITY_50_PERCENT()));
                endBy("cusparseLtMatDescriptorDestroy", () -> cusparseLtMatDescriptorDestroy(weights));
                MemorySegment inputs = dense(lt, tokens, in, in, CUSPARSE_ORDER_ROW());
                // Column-major [out, tokens] is row-major [tokens, out].
                MemorySegment outputs = dense(lt, out, tokens, out, CUSPARSE_ORDER_COL());
                product = struct(arena);
                check(
                        "cusparseLtMatmulDescriptorInit",
                        cusparseLtMatmulDescriptorInit(
                                lt,
                                product,
                                CUSPARSE_OPERATION_NON_TRANSPOSE(),
                                CUSPARSE_OPERATION_TRANSPOSE(),
                                weights,
                                inputs,
                                outputs,
                                outputs,
                                CUSPARSE_COMPUTE_32F()));
                MemorySegment algorithm = struct(arena);
                check(
                        "cusparseLtMatmulAlgSelectionInit",
                        cusparseLtMatmulAlgSelectionInit(lt, algorithm, product, CUSPARSELT_MATMUL_ALG_DEFAULT()));
                endBy("cusparseLtMatmulAlgSelectionDestroy", () -> cusparseLtMatmulAlgSelectionDestroy(algorithm));
                plan = struct(arena);
                check("cusparseLtMatmulPlanInit", cusparseLtMatmulPlanInit(lt, plan, product, algorithm));
                endBy("cusparseLtMatmulPlanDestroy", () -> cusparseLtMatmulPlanDestroy(plan));
                workspace = DeviceMemory.allocate(workspaceBytes(), "cuSPARSELt's workspace for " + this);
            } catch (RuntimeException e) {
                close();
                throw e;
            }
        }

        private MemorySegment dense(MemorySegment lt, long rows, long columns, long stride, int order) {
            MemorySegment struct = struct(arena);
            check(
                    "cusparseLtDenseDescriptorInit",
                    cusparseLtDenseDescriptorInit(
                            lt, struct, rows, columns, stride, MATRIX_ALIGNMENT, type.code(), order));
            endBy("cusparseLtMatDescriptorDestroy", () -> cusparseLtMatDescriptorDestroy(struct));
            return struct;
        }

        private void endBy(String function, java.util.function.IntSupplier destroy) {
            ends.add(() -> check(function, destroy.getAsInt()));
        }

        private long workspaceBytes() {
            MemorySegment size = arena.allocate(Runtime.SIZE);
            check("cusparseLtMatmulGetWorkspace", cusparseLtMatmulGetWorkspace(library.handle.get(), plan, size));
            return size.get(Runtime.SIZE, 0);
        }

        /// Whether W `[out, in]` has at most two non-zeros in every four weights of a row. Waits.
        public boolean isInPattern(CudaStream stream, DeviceMemory w) {
            MemorySegment address = type.address(w, out, in);
            try (DeviceMemory invalid = DeviceMemory.allocate(Integer.BYTES, "the answer of the pattern's check");
                    Arena local = Arena.ofConfined()) {
                // 0.8.0 writes only where something is wrong.
                invalid.fill((byte) 0, stream);
                check(
                        "cusparseLtSpMMAPruneCheck",
                        cusparseLtSpMMAPruneCheck(
                                library.handle.get(), product, address, invalid.address(), stream.handle()));
                MemorySegment answer = local.allocate(ValueLayout.JAVA_INT);
                invalid.download(answer, stream);
                stream.synchronize();
                return answer.get(ValueLayout.JAVA_INT, 0) == 0;
            }
        }

        /// Compresses W `[out, in]`, which is in the pattern, and waits. The result is the caller's to close.
        public DeviceMemory compress(CudaStream stream, DeviceMemory w) {
            MemorySegment address = type.address(w, out, in);
            try (Arena local = Arena.ofConfined()) {
                MemorySegment size = local.allocate(Runtime.SIZE);
                MemorySegment scratchSize = local.allocate(Runtime.SIZE);
                check(
                        "cusparseLtSpMMACompressedSize",
                        cusparseLtSpMMACompressedSize(library.handle.get(), plan, size, scratchSize));
                // 0.8.0's kernels read whole tiles, behind the last row too, where the size that it asks for has ended.
                long rows = Math.ceilDiv(out, TILE_ROWS) * (long) TILE_ROWS;
                long bytes = Math.ceilDiv(size.get(Runtime.SIZE, 0) * rows, out);
                DeviceMemory compressed = DeviceMemory.allocate(bytes, w.what() + ", compressed by cuSPARSELt");
                try (DeviceMemory scratch =
                        DeviceMemory.allocate(scratchSize.get(Runtime.SIZE, 0), "cuSPARSELt's buffer for " + this)) {
                    check(
                            "cusparseLtSpMMACompress",
                            cusparseLtSpMMACompress(
                                    library.handle.get(),
                                    plan,
                                    address,
                                    compressed.address(),
                                    scratch.address(),
                                    stream.handle()));
                    stream.synchronize();
                    return compressed;
                } catch (RuntimeException e) {
                    compressed.close();
                    throw e;
                }
            }
        }

        /// Tries the library's algorithms on these operands, keeps the fastest for this plan, and waits. What is in `y`
        /// afterwards is a product.
        public void search(CudaStream stream, DeviceMemory x, DeviceMemory compressed, DeviceMemory y) {
            call(stream, x, compressed, y, true);
            DeviceMemory old = workspace;
            long bytes = workspaceBytes();
            if (bytes > old.bytes()) {
                workspace = DeviceMemory.allocate(bytes, old.what());
                old.close();
            }
        }

        /// Puts one product into the stream.
        public void run(CudaStream stream, DeviceMemory x, DeviceMemory compressed, DeviceMemory y) {
            call(stream, x, compressed, y, false);
        }

        private void call(CudaStream stream, DeviceMemory x, DeviceMemory compressed, DeviceMemory y, boolean search) {
            MemorySegment xAddress = type.address(x, tokens, in);
            MemorySegment yAddress = type.address(y, tokens, out);
            // Half of the values, and two bits for each of them at least.
            if (compressed.bytes() < (long) out * in / 2 * type.bytes() + (long) out * in / 8) {
                throw new IllegalArgumentException(compressed + ": too small for compressed weights of " + this);
            }
            MemorySegment wAddress = compressed.address();
            MemorySegment lt = library.handle.get();
            MemorySegment scratch = workspace.address();
            try (Arena local = Arena.ofConfined()) {
                MemorySegment streams = local.allocateFrom(ValueLayout.ADDRESS, stream.handle());
                if (search) {
                    check(
                            "cusparseLtMatmulSearch",
                            cusparseLtMatmulSearch(
                                    lt,
                                    plan,
                                    Runtime.ONE,
                                    wAddress,
                                    xAddress,
                                    Runtime.ZERO,
                                    yAddress,
                                    yAddress,
                                    scratch,
                                    streams,
                                    1));
                    stream.synchronize();
                } else {
                    check(
                            "cusparseLtMatmul",
                            cusparseLtMatmul(
                                    lt,
                                    plan,
                                    Runtime.ONE,
                                    wAddress,
                                    xAddress,
                                    Runtime.ZERO,
                                    yAddress,
                                    yAddress,
                                    scratch,
                                    streams,
                                    1));
                }
            }
        }

        private void check(String function, int status) {
            CuSparseLt.check(function, status, toString());
        }

        @Override
        public void close() {
            List<Runnable> last = List.copyOf(ends);
            ends.clear();
            last.reversed().forEach(Runnable::run);
            if (workspace != null) {
                workspace.close();
            }
            if (arena.scope().isAlive()) {
                arena.close();
            }
        }

        @Override
        public String toString() {
            return "[" + tokens + ", " + in + "] x [" + out + ", " + in + "]ᵀ in 2:4, " + type;
        }
    }

    @Override
    public void close() {
        handle.close();
        if (arena.scope().isAlive()) {
            arena.close();
        }
    }

    private static void check(String function, int status, String detail) {
        if (status != CUSPARSE_STATUS_SUCCESS()) {
            throw new CudaException(function, status, Runtime.text(cusparseLtGetErrorName(status)), detail);
        }
    }
}
