package dev.espalier.natives.cuda;

import static dev.espalier.natives.cuda.generated.cudart.CudaRt.*;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/// What the classes over libcudart share: the check of its status codes, and handles.
final class Runtime {
    static final ValueLayout.OfLong SIZE = ValueLayout.JAVA_LONG;

    /// The factors of a product and of what was there before, for libraries that take them as float32.
    static final MemorySegment ONE = Arena.global().allocateFrom(ValueLayout.JAVA_FLOAT, 1f);

    static final MemorySegment ZERO = Arena.global().allocateFrom(ValueLayout.JAVA_FLOAT, 0f);

    private Runtime() {}

    /// Throws if a call failed.
    static void check(String function, int status) {
        check(function, status, "");
    }

    /// Throws, with what the caller knows about it, if a call failed.
    static void check(String function, int status, String detail) {
        if (status != cudaSuccess()) {
            throw failure(function, status, detail);
        }
    }

    static CudaException failure(String function, int status, String detail) {
        String text = text(cudaGetErrorString(status));
        return new CudaException(
                function,
                status,
                text(cudaGetErrorName(status)),
                detail.isEmpty() ? text : text.isEmpty() ? detail : text + "; " + detail);
    }

    /// A C string that a library owns.
    static String text(MemorySegment string) {
        return string.address() == 0 ? "" : string.reinterpret(Long.MAX_VALUE).getString(0);
    }

    /// The handle that a call which succeeded wrote; of size 0, so that no Java code can read through it.
    static MemorySegment handle(MemorySegment slot) {
        return slot.get(ValueLayout.ADDRESS, 0);
    }
}
