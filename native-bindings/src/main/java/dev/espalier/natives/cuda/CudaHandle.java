package dev.espalier.natives.cuda;

import java.lang.foreign.MemorySegment;
import java.util.function.ToIntFunction;

/// A library's handle with its end: it is destroyed once, and nothing gets at it afterwards.
final class CudaHandle implements AutoCloseable {
    /// Turns a status code that is not success into an exception.
    interface Check {
        void check(String function, int status);
    }

    private final String destroyFunction;
    private final ToIntFunction<MemorySegment> destroy;
    private final Check check;
    private MemorySegment handle;

    CudaHandle(MemorySegment handle, String destroyFunction, ToIntFunction<MemorySegment> destroy, Check check) {
        this.handle = handle;
        this.destroyFunction = destroyFunction;
        this.destroy = destroy;
        this.check = check;
    }

    synchronized MemorySegment get() {
        if (handle == null) {
            throw new IllegalStateException(destroyFunction + " was called already: this handle is closed");
        }
        return handle;
    }

    @Override
    public void close() {
        MemorySegment last;
        synchronized (this) {
            last = handle;
            handle = null;
        }
        if (last != null) {
            check.check(destroyFunction, destroy.applyAsInt(last));
        }
    }
}
