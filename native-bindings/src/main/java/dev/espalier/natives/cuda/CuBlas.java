package dev.espalier.natives.cuda;

import static dev.espalier.natives.cuda.generated.cublas.Cublas.*;

import dev.espalier.natives.cuda.generated.cublas.Cublas;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/// cuBLAS: products of dense matrices on the device.
///
/// Matrices are row-major and contiguous. Products accumulate in float32 (in float64 for float64), without TF32. A
/// handle is for one thread, and for one stream at a time: its scratch memory is shared by all its calls.
public final class CuBlas implements AutoCloseable {
    /// What the library asks for on the largest devices; its own default would be allocated while a graph is recorded.
    private static final long WORKSPACE = 32L << 20;

    private final CudaHandle handle;
    private final DeviceMemory workspace;

    private CuBlas(CudaHandle handle, DeviceMemory workspace) {
        this.handle = handle;
        this.workspace = workspace;
    }

    /// A handle on the current device.
    public static CuBlas create() {
        CudaLibrary.CUBLAS.require();
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment slot = arena.allocate(ValueLayout.ADDRESS);
            check("cublasCreate_v2", cublasCreate_v2(slot), "");
            CudaHandle handle = new CudaHandle(
                    Runtime.handle(slot),
                    "cublasDestroy_v2",
                    Cublas::cublasDestroy_v2,
                    (function, status) -> check(function, status, ""));
            try {
                return new CuBlas(handle, DeviceMemory.allocate(WORKSPACE, "cuBLAS' workspace"));
            } catch (RuntimeException e) {
                handle.close();
                throw e;
            }
        }
    }

    /// `C ← alpha op(A) op(B) + beta C` with `op(A)` `[m, k]`, `op(B)` `[k, n]`, C `[m, n]`.
    ///
    /// @param in the type of A and B
    /// @param out the type of C: `in`, or F32
    public void gemm(
            CudaStream stream,
            boolean transposeA,
            boolean transposeB,
            int m,
            int n,
            int k,
            double alpha,
            DeviceMemory a,
            DeviceMemory b,
            CudaType in,
            double beta,
            DeviceMemory c,
            CudaType out) {
        MemorySegment aAddress = in.address(a, m, k);
        MemorySegment bAddress = in.address(b, k, n);
        MemorySegment cAddress = out.address(c, m, n);
        boolean doubles = in == CudaType.F64;
        try (Arena arena = Arena.ofConfined()) {
            // Column-major, the same memory holds the transposes: Cᵀ = op(B)ᵀ op(A)ᵀ.
            int status = cublasGemmEx(
                    on(stream),
                    transposeB ? CUBLAS_OP_T() : CUBLAS_OP_N(),
                    transposeA ? CUBLAS_OP_T() : CUBLAS_OP_N(),
                    n,
                    m,
                    k,
                    scalar(arena, alpha, doubles),
                    bAddress,
                    in.code(),
                    transposeB ? k : n,
                    aAddress,
                    in.code(),
                    transposeA ? m : k,
                    scalar(arena, beta, doubles),
                    cAddress,
                    out.code(),
                    n,
                    doubles ? CUBLAS_COMPUTE_64F() : CUBLAS_COMPUTE_32F(),
                    CUBLAS_GEMM_DEFAULT());
            check(
                    "cublasGemmEx",
                    status,
                    "[" + m + ", " + k + "] x [" + k + ", " + n + "], " + in + " to " + out
                            + (transposeA ? ", A transposed" : "")
                            + (transposeB ? ", B transposed" : ""));
        }
    }

    /// The lower triangle of `C ← alpha Aᵀ A + beta C` with A `[k, n]` and C `[n, n]`; what is above the diagonal stays.
    ///
    /// @param type F32 or F64
    public void syrk(
            CudaStream stream, int n, int k, double alpha, DeviceMemory a, double beta, DeviceMemory c, CudaType type) {
        MemorySegment aAddress = type.address(a, k, n);
        MemorySegment cAddress = type.address(c, n, n);
        requireReal(type);
        boolean doubles = type == CudaType.F64;
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment alphaAddress = scalar(arena, alpha, doubles);
            MemorySegment betaAddress = scalar(arena, beta, doubles);
            // Column-major, the same memory is A with its n columns as rows, and the lower triangle is the upper one.
            int upper = CUBLAS_FILL_MODE_UPPER();
            int plain = CUBLAS_OP_N();
            MemorySegment blas = on(stream);
            int status = doubles
                    ? cublasDsyrk_v2(blas, upper, plain, n, k, alphaAddress, aAddress, n, betaAddress, cAddress, n)
                    : cublasSsyrk_v2(blas, upper, plain, n, k, alphaAddress, aAddress, n, betaAddress, cAddress, n);
            check(doubles ? "cublasDsyrk_v2" : "cublasSsyrk_v2", status, "A [" + k + ", " + n + "]");
        }
    }

    static void requireReal(CudaType type) {
        if (type != CudaType.F32 && type != CudaType.F64) {
            throw new IllegalArgumentException("F32 or F64, not " + type);
        }
    }

    private static MemorySegment scalar(Arena arena, double value, boolean doubles) {
        return doubles
                ? arena.allocateFrom(ValueLayout.JAVA_DOUBLE, value)
                : arena.allocateFrom(ValueLayout.JAVA_FLOAT, (float) value);
    }

    /// The handle, its next call in this stream.
    private MemorySegment on(CudaStream stream) {
        MemorySegment blas = handle.get();
        check("cublasSetStream_v2", cublasSetStream_v2(blas, stream.handle()), "");
        // A new stream brings the library's own workspace back.
        check("cublasSetWorkspace_v2", cublasSetWorkspace_v2(blas, workspace.address(), workspace.bytes()), "");
        return blas;
    }

    @Override
    public void close() {
        handle.close();
        workspace.close();
    }

    private static void check(String function, int status, String detail) {
        if (status != CUBLAS_STATUS_SUCCESS()) {
            throw new CudaException(function, status, Runtime.text(cublasGetStatusName(status)), detail);
        }
    }
}
