package dev.espalier.natives.cuda;

import static dev.espalier.natives.cuda.generated.cublas.Cublas.CUBLAS_COMPUTE_32F;
import static dev.espalier.natives.cuda.generated.cublas.Cublas.CUBLAS_OP_N;
import static dev.espalier.natives.cuda.generated.cublas.Cublas.CUBLAS_OP_T;
import static dev.espalier.natives.cuda.generated.cublas.Cublas.CUBLAS_STATUS_SUCCESS;
import static dev.espalier.natives.cuda.generated.cublaslt.CublasLt.*;

import dev.espalier.natives.cuda.generated.cublaslt.CublasLt;
import dev.espalier.natives.cuda.generated.cublaslt.cublasLtMatmulHeuristicResult_t;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.List;
import java.util.function.ToIntFunction;

/// cuBLASLt: a dense linear layer on the device, with the algorithm that the library's heuristics choose, or another of
/// those they offer.
///
/// Matrices are row-major and contiguous; sums are in float32. A handle's products share its scratch memory: one stream at a
/// time.
public final class CuBlasLt implements AutoCloseable {
    private static final long WORKSPACE = 32L << 20;

    /// What the library assumes of a matrix unless it is told otherwise.
    private static final long ALIGNMENT = 256;

    private final CudaHandle handle;
    private final DeviceMemory workspace;

    private CuBlasLt(CudaHandle handle, DeviceMemory workspace) {
        this.handle = handle;
        this.workspace = workspace;
    }

    /// A handle on the current device.
    public static CuBlasLt create() {
        CudaLibrary.CUBLASLT.require();
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment slot = arena.allocate(ValueLayout.ADDRESS);
            check("cublasLtCreate", cublasLtCreate(slot), "");
            CudaHandle handle = handle(slot, "cublasLtDestroy", CublasLt::cublasLtDestroy);
            try {
                return new CuBlasLt(handle, DeviceMemory.allocate(WORKSPACE, "cuBLASLt's workspace"));
            } catch (RuntimeException e) {
                handle.close();
                throw e;
            }
        }
    }

    /// `Y = X Wᵀ` with X `[tokens, in]`, W `[out, in]`, Y `[tokens, out]`.
    ///
    /// @param type the type of X and W, whose ranges begin at a multiple of 256 bytes as Y's does
    /// @param outType the type of Y: `type`, or F32
    /// @param algorithms the most algorithms to ask for, best first by the library's estimate
    public Linear linear(int tokens, int in, int out, CudaType type, CudaType outType, int algorithms) {
        return new Linear(this, new Shape(tokens, in, out, type, outType), algorithms);
    }

    /// What a product is of.
    record Shape(int tokens, int in, int out, CudaType type, CudaType outType) {
        Shape {
            if (tokens < 1 || in < 1 || out < 1) {
                throw new IllegalArgumentException("[" + tokens + ", " + in + "] x [" + out + ", " + in + "]ᵀ");
            }
            if (type == CudaType.F64 || outType == CudaType.F64) {
                throw new IllegalArgumentException("sums are in float32, F64 is not for that");
            }
        }

        @Override
        public String toString() {
            return "[" + tokens + ", " + in + "] x [" + out + ", " + in + "]ᵀ, " + type + " to " + outType;
        }
    }

    /// The library's description of a product; needs no device.
    static final class Description implements AutoCloseable {
        private final List<CudaHandle> made = new ArrayList<>();
        final MemorySegment product;
        final MemorySegment weights;
        final MemorySegment inputs;
        final MemorySegment outputs;
        final MemorySegment preference;

        Description(Shape shape, long workspaceBytes) {
            CudaLibrary.CUBLASLT.require();
            try (Arena arena = Arena.ofConfined()) {
                MemorySegment slot = arena.allocate(ValueLayout.ADDRESS);
                check(
                        "cublasLtMatmulDescCreate",
                        cublasLtMatmulDescCreate(slot, CUBLAS_COMPUTE_32F(), CudaType.F32.code()),
                        shape.toString());
                product = keep(slot, "cublasLtMatmulDescDestroy", CublasLt::cublasLtMatmulDescDestroy);
                // Column-major, row-major W [out, in] is [in, out], X is [in, tokens], Y is [out, tokens].
                set(arena, CUBLASLT_MATMUL_DESC_TRANSA(), CUBLAS_OP_T());
                set(arena, CUBLASLT_MATMUL_DESC_TRANSB(), CUBLAS_OP_N());
                weights = layout(slot, shape.type, shape.in, shape.out, shape);
                inputs = layout(slot, shape.type, shape.in, shape.tokens, shape);
                outputs = layout(slot, shape.outType, shape.out, shape.tokens, shape);
                check("cublasLtMatmulPreferenceCreate", cublasLtMatmulPreferenceCreate(slot), shape.toString());
                preference = keep(slot, "cublasLtMatmulPreferenceDestroy", CublasLt::cublasLtMatmulPreferenceDestroy);
                check(
                        "cublasLtMatmulPreferenceSetAttribute",
                        cublasLtMatmulPreferenceSetAttribute(
                                preference,
                                CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES(),
                                arena.allocateFrom(ValueLayout.JAVA_LONG, workspaceBytes),
                                Long.BYTES),
                        shape.toString());
            } catch (RuntimeException e) {
                close();
                throw e;
            }
        }

        private MemorySegment keep(MemorySegment slot, String destroyFunction, ToIntFunction<MemorySegment> destroy) {
            CudaHandle handle = handle(slot, destroyFunction, destroy);
            made.add(handle);
            return handle.get();
        }

        private MemorySegment layout(MemorySegment slot, CudaType type, long rows, long columns, Shape shape) {
            check(
                    "cublasLtMatrixLayoutCreate",
                    cublasLtMatrixLayoutCreate(slot, type.code(), rows, columns, rows),
                    shape.toString());
            return keep(slot, "cublasLtMatrixLayoutDestroy", CublasLt::cublasLtMatrixLayoutDestroy);
        }

        private void set(Arena arena, int attribute, int value) {
            check(
                    "cublasLtMatmulDescSetAttribute",
                    cublasLtMatmulDescSetAttribute(
                            product, attribute, arena.allocateFrom(ValueLayout.JAVA_INT, value), Integer.BYTES),
                    "attribute " + attribute);
        }

        @Override
        public void close() {
            made.reversed().forEach(CudaHandle::close);
        }
    }

    /// One product's description and the algorithms that the library offers for it.
    public static final class Linear implements AutoCloseable {
        private final CuBlasLt library;
        private final Shape shape;
        private final Arena arena = Arena.ofShared();
        private final Description description;
        private final List<MemorySegment> algorithms = new ArrayList<>();
        private int selected;

        private Linear(CuBlasLt library, Shape shape, int most) {
            this.library = library;
            this.shape = shape;
            try {
                description = new Description(shape, library.workspace.bytes());
            } catch (RuntimeException e) {
                arena.close();
                throw e;
            }
            try {
                offer(most);
            } catch (RuntimeException e) {
                close();
                throw e;
            }
        }

        private void offer(int most) {
            if (most < 1) {
                throw new IllegalArgumentException(most + " algorithms");
            }
            MemorySegment results = cublasLtMatmulHeuristicResult_t.allocateArray(most, arena);
            MemorySegment count = arena.allocate(ValueLayout.JAVA_INT);
            check(
                    "cublasLtMatmulAlgoGetHeuristic",
                    cublasLtMatmulAlgoGetHeuristic(
                            library.handle.get(),
                            description.product,
                            description.weights,
                            description.inputs,
                            description.outputs,
                            description.outputs,
                            description.preference,
                            most,
                            results,
                            count),
                    shape.toString());
            int found = count.get(ValueLayout.JAVA_INT, 0);
            for (int i = 0; i < found; i++) {
                MemorySegment result = cublasLtMatmulHeuristicResult_t.asSlice(results, i);
                if (cublasLtMatmulHeuristicResult_t.state(result) == CUBLAS_STATUS_SUCCESS()) {
                    algorithms.add(cublasLtMatmulHeuristicResult_t.algo(result));
                }
            }
            if (algorithms.isEmpty()) {
                throw new CudaException(
                        "cublasLtMatmulAlgoGetHeuristic", 0, "no algorithm", "there is none for " + shape);
            }
        }

        /// How many algorithms the library offers; 1 or more.
        public int algorithms() {
            return algorithms.size();
        }

        /// Takes algorithm `index` from now on; 0, the library's own choice, until then.
        public void select(int index) {
            if (index < 0 || index >= algorithms.size()) {
                throw new IndexOutOfBoundsException("algorithm " + index + " of " + algorithms.size());
            }
            selected = index;
        }

        /// Puts one product into the stream.
        public void run(CudaStream stream, DeviceMemory x, DeviceMemory w, DeviceMemory y) {
            MemorySegment wAddress = aligned(shape.type.address(w, shape.out, shape.in), w);
            MemorySegment xAddress = aligned(shape.type.address(x, shape.tokens, shape.in), x);
            MemorySegment yAddress = aligned(shape.outType.address(y, shape.tokens, shape.out), y);
            check(
                    "cublasLtMatmul",
                    cublasLtMatmul(
                            library.handle.get(),
                            description.product,
                            Runtime.ONE,
                            wAddress,
                            description.weights,
                            xAddress,
                            description.inputs,
                            Runtime.ZERO,
                            yAddress,
                            description.outputs,
                            yAddress,
                            description.outputs,
                            algorithms.get(selected),
                            library.workspace.address(),
                            library.workspace.bytes(),
                            stream.handle()),
                    shape.toString());
        }

        /// The algorithms were chosen for the alignment that whole allocations have.
        private static MemorySegment aligned(MemorySegment address, DeviceMemory memory) {
            if (address.address() % ALIGNMENT != 0) {
                throw new IllegalArgumentException(
                        memory + ": a matrix for cuBLASLt begins at a multiple of " + ALIGNMENT + " bytes");
            }
            return address;
        }

        @Override
        public void close() {
            description.close();
            if (arena.scope().isAlive()) {
                arena.close();
            }
        }
    }

    @Override
    public void close() {
        handle.close();
        workspace.close();
    }

    private static CudaHandle handle(MemorySegment slot, String destroyFunction, ToIntFunction<MemorySegment> destroy) {
        return new CudaHandle(
                Runtime.handle(slot), destroyFunction, destroy, (function, status) -> check(function, status, ""));
    }

    private static void check(String function, int status, String detail) {
        if (status != CUBLAS_STATUS_SUCCESS()) {
            throw new CudaException(function, status, Runtime.text(cublasLtGetStatusName(status)), detail);
        }
    }
}
