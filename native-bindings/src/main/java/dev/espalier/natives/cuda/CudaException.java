package dev.espalier.natives.cuda;

import java.io.Serial;

/// A CUDA library's call that failed: the function, the status code with the library's own name for it, and what went in.
public final class CudaException extends RuntimeException {
    @Serial
    private static final long serialVersionUID = 1L;

    private final String function;
    private final int code;
    private final String codeName;

    /// @param function the C function that was called
    /// @param code the status it returned
    /// @param codeName the library's name for the status, as in `cudaErrorMemoryAllocation`
    /// @param detail shapes, sizes, a log: what the caller knows about the call; empty if nothing
    public CudaException(String function, int code, String codeName, String detail) {
        super(function + " failed with " + codeName + " (" + code + ")" + (detail.isEmpty() ? "" : ": " + detail));
        this.function = function;
        this.code = code;
        this.codeName = codeName;
    }

    /// The C function that was called.
    public String function() {
        return function;
    }

    /// The status that the function returned.
    public int code() {
        return code;
    }

    /// The library's own name for the status.
    public String codeName() {
        return codeName;
    }
}
