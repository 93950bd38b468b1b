package dev.espalier.natives.cuda;

import static dev.espalier.natives.cuda.generated.cusparse.Cusparse.*;

import dev.espalier.natives.cuda.generated.cusparse.Cusparse;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.List;
import java.util.function.ToIntFunction;

/// cuSPARSE: a linear layer whose weights are in CSR, on the device.
///
/// Dense matrices are row-major and contiguous; sums are in float32. A handle is for one stream at a time.
public final class CuSparse implements AutoCloseable {
    private final CudaHandle handle;

    private CuSparse(MemorySegment slot) {
        this.handle = handle(slot, "cusparseDestroy", Cusparse::cusparseDestroy);
    }

    /// A handle on the current device.
    public static CuSparse create() {
        CudaLibrary.CUSPARSE.require();
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment slot = arena.allocate(ValueLayout.ADDRESS);
            check("cusparseCreate", cusparseCreate(slot), "");
            return new CuSparse(slot);
        }
    }

    /// Weights `[out, in]` in compressed rows. Describes memory that stays the caller's; needs no handle.
    public static final class Csr implements AutoCloseable {
        private final int out;
        private final int in;
        private final long nonZeros;
        private final CudaType type;
        private final CudaHandle descriptor;

        /// Describes a matrix.
        ///
        /// @param rowStarts int32 `[out + 1]`
        /// @param columns int32 `[nonZeros]`
        /// @param values `[nonZeros]` of `type`
        public Csr(
                int out,
                int in,
                long nonZeros,
                DeviceMemory rowStarts,
                DeviceMemory columns,
                DeviceMemory values,
                CudaType type) {
            CudaLibrary.CUSPARSE.require();
            this.out = out;
            this.in = in;
            this.nonZeros = nonZeros;
            this.type = type;
            if (out < 1
                    || in < 1
                    || nonZeros < 1
                    || rowStarts.bytes() < (out + 1L) * Integer.BYTES
                    || columns.bytes() < nonZeros * Integer.BYTES
                    || values.bytes() < nonZeros * type.bytes()) {
                throw new IllegalArgumentException(this + ": does not fit into " + rowStarts.bytes() + ", "
                        + columns.bytes() + " and " + values.bytes() + " bytes");
            }
            try (Arena arena = Arena.ofConfined()) {
                MemorySegment slot = arena.allocate(ValueLayout.ADDRESS);
                check(
                        "cusparseCreateCsr",
                        cusparseCreateCsr(
                                slot,
                                out,
                                in,
                                nonZeros,
                                rowStarts.address(),
                                columns.address(),
                                values.address(),
                                CUSPARSE_INDEX_32I(),
                                CUSPARSE_INDEX_32I(),
                                CUSPARSE_INDEX_BASE_ZERO(),
                                type.code()),
                        toString());
                descriptor = handle(slot, "cusparseDestroySpMat", Cusparse::cusparseDestroySpMat);
            }
        }

        @Override
        public void close() {
            descriptor.close();
        }

        @Override
        public String toString() {
            return "CSR [" + out + ", " + in + "] of " + nonZeros + " " + type;
        }
    }

    /// `Y = X Wᵀ` with X `[tokens, in]`, W in CSR, Y `[tokens, out]`; for one token by the product of matrix and vector.
    /// The weights' descriptor must live as long as this; the library prepares it for one product, so that a second product
    /// takes a descriptor of its own.
    ///
    /// @param outType the type of Y: that of X and W, or F32
    public Linear linear(CudaStream stream, Csr weights, int tokens, CudaType outType) {
        return new Linear(this, stream, weights, tokens, outType);
    }

    /// One product, prepared: its descriptors and its scratch memory.
    public static final class Linear implements AutoCloseable {
        private final CuSparse library;
        private final Csr weights;
        private final int tokens;
        private final CudaType outType;
        private final Arena arena = Arena.ofShared();
        private final List<AutoCloseable> made = new ArrayList<>();
        private MemorySegment inputs;
        private MemorySegment outputs;
        private DeviceMemory buffer;
        private boolean prepared;

        private Linear(CuSparse library, CudaStream stream, Csr weights, int tokens, CudaType outType) {
            this.library = library;
            this.weights = weights;
            this.tokens = tokens;
            this.outType = outType;
            if (tokens < 1 || weights.type == CudaType.F64 || outType == CudaType.F64) {
                throw new IllegalArgumentException(this + ": at least one token, and no F64");
            }
            try {
                describe(stream);
            } catch (RuntimeException e) {
                close();
                throw e;
            }
        }

        private void describe(CudaStream stream) {
            MemorySegment slot = arena.allocate(ValueLayout.ADDRESS);
            MemorySegment size = arena.allocate(Runtime.SIZE);
            // A descriptor must have an address from its start; run puts the real one in.
            DeviceMemory nothing = DeviceMemory.allocate(256, "cuSPARSE's descriptors");
            try {
                inputs = dense(slot, nothing, weights.in, weights.type);
                outputs = dense(slot, nothing, weights.out, outType);
                MemorySegment sparse = library.on(stream);
                int status = tokens == 1
                        ? cusparseSpMV_bufferSize(
                                sparse,
                                CUSPARSE_OPERATION_NON_TRANSPOSE(),
                                Runtime.ONE,
                                weights.descriptor.get(),
                                inputs,
                                Runtime.ZERO,
                                outputs,
                                CudaType.F32.code(),
                                CUSPARSE_SPMV_ALG_DEFAULT(),
                                size)
                        : cusparseSpMM_bufferSize(
                                sparse,
                                CUSPARSE_OPERATION_NON_TRANSPOSE(),
                                CUSPARSE_OPERATION_NON_TRANSPOSE(),
                                Runtime.ONE,
                                weights.descriptor.get(),
                                inputs,
                                Runtime.ZERO,
                                outputs,
                                CudaType.F32.code(),
                                CUSPARSE_SPMM_ALG_DEFAULT(),
                                size);
                check(tokens == 1 ? "cusparseSpMV_bufferSize" : "cusparseSpMM_bufferSize", status, toString());
            } finally {
                nothing.close();
            }
            buffer = DeviceMemory.allocate(Math.max(size.get(Runtime.SIZE, 0), 16), "cuSPARSE's buffer for " + this);
            made.add(buffer);
        }

        private MemorySegment dense(MemorySegment slot, DeviceMemory memory, int features, CudaType type) {
            boolean vector = tokens == 1;
            // Column-major, row-major X [tokens, in] is [in, tokens].
            int status = vector
                    ? cusparseCreateDnVec(slot, features, memory.address(), type.code())
                    : cusparseCreateDnMat(
                            slot, features, tokens, features, memory.address(), type.code(), CUSPARSE_ORDER_COL());
            check(vector ? "cusparseCreateDnVec" : "cusparseCreateDnMat", status, toString());
            CudaHandle made = vector
                    ? handle(slot, "cusparseDestroyDnVec", Cusparse::cusparseDestroyDnVec)
                    : handle(slot, "cusparseDestroyDnMat", Cusparse::cusparseDestroyDnMat);
            this.made.add(made);
            return made.get();
        }

        /// Puts one product into the stream. The first one also prepares the library's buffer: to be done before a graph
        /// is recorded.
        public void run(CudaStream stream, DeviceMemory x, DeviceMemory y) {
            MemorySegment xAddress = weights.type.address(x, tokens, weights.in);
            MemorySegment yAddress = outType.address(y, tokens, weights.out);
            MemorySegment sparse = library.on(stream);
            MemorySegment matrix = weights.descriptor.get();
            MemorySegment scratch = buffer.address();
            int plain = CUSPARSE_OPERATION_NON_TRANSPOSE();
            int compute = CudaType.F32.code();
            if (tokens == 1) {
                check("cusparseDnVecSetValues", cusparseDnVecSetValues(inputs, xAddress), toString());
                check("cusparseDnVecSetValues", cusparseDnVecSetValues(outputs, yAddress), toString());
                int algorithm = CUSPARSE_SPMV_ALG_DEFAULT();
                if (!prepared) {
                    check(
                            "cusparseSpMV_preprocess",
                            cusparseSpMV_preprocess(
                                    sparse,
                                    plain,
                                    Runtime.ONE,
                                    matrix,
                                    inputs,
                                    Runtime.ZERO,
                                    outputs,
                                    compute,
                                    algorithm,
                                    scratch),
                            toString());
                }
                check(
                        "cusparseSpMV",
                        cusparseSpMV(
                                sparse,
                                plain,
                                Runtime.ONE,
                                matrix,
                                inputs,
                                Runtime.ZERO,
                                outputs,
                                compute,
                                algorithm,
                                scratch),
                        toString());
            } else {
                check("cusparseDnMatSetValues", cusparseDnMatSetValues(inputs, xAddress), toString());
                check("cusparseDnMatSetValues", cusparseDnMatSetValues(outputs, yAddress), toString());
                int algorithm = CUSPARSE_SPMM_ALG_DEFAULT();
                if (!prepared) {
                    check(
                            "cusparseSpMM_preprocess",
                            cusparseSpMM_preprocess(
                                    sparse,
                                    plain,
                                    plain,
                                    Runtime.ONE,
                                    matrix,
                                    inputs,
                                    Runtime.ZERO,
                                    outputs,
                                    compute,
                                    algorithm,
                                    scratch),
                            toString());
                }
                check(
                        "cusparseSpMM",
                        cusparseSpMM(
                                sparse,
                                plain,
                                plain,
                                Runtime.ONE,
                                matrix,
                                inputs,
                                Runtime.ZERO,
                                outputs,
                                compute,
                                algorithm,
                                scratch),
                        toString());
            }
            prepared = true;
        }

        @Override
        public void close() {
            for (AutoCloseable each : made.reversed()) {
                switch (each) {
                    case CudaHandle handle -> handle.close();
                    case DeviceMemory memory -> memory.close();
                    default -> throw new AssertionError();
                }
            }
            if (arena.scope().isAlive()) {
                arena.close();
            }
        }

        @Override
        public String toString() {
            return tokens + " tokens x " + weights + " to " + outType;
        }
    }

    /// The handle, its next call in this stream.
    private MemorySegment on(CudaStream stream) {
        MemorySegment sparse = handle.get();
        check("cusparseSetStream", cusparseSetStream(sparse, stream.handle()), "");
        return sparse;
    }

    @Override
    public void close() {
        handle.close();
    }

    private static CudaHandle handle(MemorySegment slot, String destroyFunction, ToIntFunction<MemorySegment> destroy) {
        return new CudaHandle(
                Runtime.handle(slot), destroyFunction, destroy, (function, status) -> check(function, status, ""));
    }

    private static void check(String function, int status, String detail) {
        if (status != CUSPARSE_STATUS_SUCCESS()) {
            throw new CudaException(function, status, Runtime.text(cusparseGetErrorName(status)), detail);
        }
    }
}
