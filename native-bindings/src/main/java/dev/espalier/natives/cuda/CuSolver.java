package dev.espalier.natives.cuda;

import static dev.espalier.natives.cuda.generated.cusolver.Cusolver.*;

import dev.espalier.natives.cuda.generated.cusolver.Cusolver;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.HashMap;
import java.util.Map;

/// cuSOLVER: Cholesky factors and inverses of symmetric matrices on the device.
///
/// Matrices are row-major `[n, n]` in F32 or F64; only the lower triangle is read and written. The calls wait for their result.
/// The library crashes on a handle that was never set: there is none here that is not.
public final class CuSolver implements AutoCloseable {
    private static final Map<Integer, String> NAMES = names();

    private final CudaHandle handle;
    private final CudaHandle parameters;

    private CuSolver(CudaHandle handle, CudaHandle parameters) {
        this.handle = handle;
        this.parameters = parameters;
    }

    /// A handle on the current device.
    public static CuSolver create() {
        CudaLibrary.CUSOLVER.require();
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment slot = arena.allocate(ValueLayout.ADDRESS);
            check("cusolverDnCreate", cusolverDnCreate(slot), "");
            CudaHandle handle = new CudaHandle(
                    Runtime.handle(slot),
                    "cusolverDnDestroy",
                    Cusolver::cusolverDnDestroy,
                    (function, status) -> check(function, status, ""));
            try {
                return new CuSolver(handle, parameters());
            } catch (RuntimeException e) {
                handle.close();
                throw e;
            }
        }
    }

    /// The library's options, all as they are by default; needs no device.
    static CudaHandle parameters() {
        CudaLibrary.CUSOLVER.require();
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment slot = arena.allocate(ValueLayout.ADDRESS);
            check("cusolverDnCreateParams", cusolverDnCreateParams(slot), "");
            return new CudaHandle(
                    Runtime.handle(slot),
                    "cusolverDnDestroyParams",
                    Cusolver::cusolverDnDestroyParams,
                    (function, status) -> check(function, status, ""));
        }
    }

    /// Replaces the lower triangle of a positive definite A by that of L, A = L Lᵀ.
    ///
    /// @return 0, or the order of the first leading minor that is not positive; then A is of no use
    public int potrf(CudaStream stream, int n, DeviceMemory a, CudaType type) {
        CuBlas.requireReal(type);
        MemorySegment address = type.address(a, n, n);
        MemorySegment solver = on(stream);
        MemorySegment params = parameters.get();
        // Column-major, the same memory's lower triangle is the upper one.
        int upper = CUBLAS_FILL_MODE_UPPER();
        int code = type.code();
        String detail = "[" + n + ", " + n + "] of " + type;
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment onDevice = arena.allocate(Runtime.SIZE);
            MemorySegment onHost = arena.allocate(Runtime.SIZE);
            check(
                    "cusolverDnXpotrf_bufferSize",
                    cusolverDnXpotrf_bufferSize(solver, params, upper, n, code, address, n, code, onDevice, onHost),
                    detail);
            long deviceBytes = onDevice.get(Runtime.SIZE, 0);
            long hostBytes = onHost.get(Runtime.SIZE, 0);
            MemorySegment hostScratch = arena.allocate(Math.max(hostBytes, 1), 16);
            try (DeviceMemory scratch = DeviceMemory.allocate(deviceBytes, "cuSOLVER's workspace for " + detail);
                    DeviceMemory info = DeviceMemory.allocate(Integer.BYTES, "cuSOLVER's answer")) {
                check(
                        "cusolverDnXpotrf",
                        cusolverDnXpotrf(
                                solver,
                                params,
                                upper,
                                n,
                                code,
                                address,
                                n,
                                code,
                                scratch.address(),
                                deviceBytes,
                                hostScratch,
                                hostBytes,
                                info.address()),
                        detail);
                return answer("cusolverDnXpotrf", stream, info, detail);
            }
        }
    }

    /// Replaces the lower triangle of L, as [#potrf] left it, by that of A⁻¹.
    ///
    /// @return 0, or the index, from 1, of a zero on L's diagonal
    public int potri(CudaStream stream, int n, DeviceMemory l, CudaType type) {
        CuBlas.requireReal(type);
        MemorySegment address = type.address(l, n, n);
        MemorySegment solver = on(stream);
        int upper = CUBLAS_FILL_MODE_UPPER();
        boolean doubles = type == CudaType.F64;
        String name = doubles ? "cusolverDnDpotri" : "cusolverDnSpotri";
        String detail = "[" + n + ", " + n + "]";
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment elements = arena.allocate(ValueLayout.JAVA_INT);
            int status = doubles
                    ? cusolverDnDpotri_bufferSize(solver, upper, n, address, n, elements)
                    : cusolverDnSpotri_bufferSize(solver, upper, n, address, n, elements);
            check(name + "_bufferSize", status, detail);
            int size = elements.get(ValueLayout.JAVA_INT, 0);
            try (DeviceMemory scratch =
                            DeviceMemory.allocate((long) size * type.bytes(), "cuSOLVER's workspace for " + detail);
                    DeviceMemory info = DeviceMemory.allocate(Integer.BYTES, "cuSOLVER's answer")) {
                MemorySegment work = scratch.address();
                status = doubles
                        ? cusolverDnDpotri(solver, upper, n, address, n, work, size, info.address())
                        : cusolverDnSpotri(solver, upper, n, address, n, work, size, info.address());
                check(name, status, detail);
                return answer(name, stream, info, detail);
            }
        }
    }

    private static int answer(String function, CudaStream stream, DeviceMemory info, String detail) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment answer = arena.allocate(ValueLayout.JAVA_INT);
            info.download(answer, stream);
            stream.synchronize();
            int value = answer.get(ValueLayout.JAVA_INT, 0);
            if (value < 0) {
                throw new CudaException(function, value, "argument " + -value + " is wrong", detail);
            }
            return value;
        }
    }

    /// The handle, its next call in this stream.
    private MemorySegment on(CudaStream stream) {
        MemorySegment solver = handle.get();
        check("cusolverDnSetStream", cusolverDnSetStream(solver, stream.handle()), "");
        return solver;
    }

    @Override
    public void close() {
        parameters.close();
        handle.close();
    }

    /// The one library here that has no function for the names of its codes.
    private static Map<Integer, String> names() {
        Map<Integer, String> names = new HashMap<>();
        names.put(CUSOLVER_STATUS_ALLOC_FAILED(), "CUSOLVER_STATUS_ALLOC_FAILED");
        names.put(CUSOLVER_STATUS_ARCH_MISMATCH(), "CUSOLVER_STATUS_ARCH_MISMATCH");
        names.put(CUSOLVER_STATUS_EXECUTION_FAILED(), "CUSOLVER_STATUS_EXECUTION_FAILED");
        names.put(CUSOLVER_STATUS_INTERNAL_ERROR(), "CUSOLVER_STATUS_INTERNAL_ERROR");
        names.put(CUSOLVER_STATUS_INVALID_LICENSE(), "CUSOLVER_STATUS_INVALID_LICENSE");
        names.put(CUSOLVER_STATUS_INVALID_VALUE(), "CUSOLVER_STATUS_INVALID_VALUE");
        names.put(CUSOLVER_STATUS_INVALID_WORKSPACE(), "CUSOLVER_STATUS_INVALID_WORKSPACE");
        names.put(CUSOLVER_STATUS_IRS_INFOS_NOT_DESTROYED(), "CUSOLVER_STATUS_IRS_INFOS_NOT_DESTROYED");
        names.put(CUSOLVER_STATUS_IRS_INFOS_NOT_INITIALIZED(), "CUSOLVER_STATUS_IRS_INFOS_NOT_INITIALIZED");
        names.put(CUSOLVER_STATUS_IRS_INTERNAL_ERROR(), "CUSOLVER_STATUS_IRS_INTERNAL_ERROR");
        names.put(CUSOLVER_STATUS_IRS_MATRIX_SINGULAR(), "CUSOLVER_STATUS_IRS_MATRIX_SINGULAR");
        names.put(CUSOLVER_STATUS_IRS_NOT_SUPPORTED(), "CUSOLVER_STATUS_IRS_NOT_SUPPORTED");
        names.put(
                CUSOLVER_STATUS_IRS_NRHS_NOT_SUPPORTED_FOR_REFINE_GMRES(),
                "CUSOLVER_STATUS_IRS_NRHS_NOT_SUPPORTED_FOR_REFINE_GMRES");
        names.put(CUSOLVER_STATUS_IRS_OUT_OF_RANGE(), "CUSOLVER_STATUS_IRS_OUT_OF_RANGE");
        names.put(CUSOLVER_STATUS_IRS_PARAMS_INVALID(), "CUSOLVER_STATUS_IRS_PARAMS_INVALID");
        names.put(CUSOLVER_STATUS_IRS_PARAMS_INVALID_MAXITER(), "CUSOLVER_STATUS_IRS_PARAMS_INVALID_MAXITER");
        names.put(CUSOLVER_STATUS_IRS_PARAMS_INVALID_PREC(), "CUSOLVER_STATUS_IRS_PARAMS_INVALID_PREC");
        names.put(CUSOLVER_STATUS_IRS_PARAMS_INVALID_REFINE(), "CUSOLVER_STATUS_IRS_PARAMS_INVALID_REFINE");
        names.put(CUSOLVER_STATUS_IRS_PARAMS_NOT_INITIALIZED(), "CUSOLVER_STATUS_IRS_PARAMS_NOT_INITIALIZED");
        names.put(CUSOLVER_STATUS_MAPPING_ERROR(), "CUSOLVER_STATUS_MAPPING_ERROR");
        names.put(CUSOLVER_STATUS_MATRIX_TYPE_NOT_SUPPORTED(), "CUSOLVER_STATUS_MATRIX_TYPE_NOT_SUPPORTED");
        names.put(CUSOLVER_STATUS_NOT_INITIALIZED(), "CUSOLVER_STATUS_NOT_INITIALIZED");
        names.put(CUSOLVER_STATUS_NOT_SUPPORTED(), "CUSOLVER_STATUS_NOT_SUPPORTED");
        names.put(CUSOLVER_STATUS_SUCCESS(), "CUSOLVER_STATUS_SUCCESS");
        names.put(CUSOLVER_STATUS_ZERO_PIVOT(), "CUSOLVER_STATUS_ZERO_PIVOT");
        return names;
    }

    private static void check(String function, int status, String detail) {
        if (status != CUSOLVER_STATUS_SUCCESS()) {
            throw new CudaException(function, status, NAMES.getOrDefault(status, "an unknown code"), detail);
        }
    }
}
