package dev.espalier.natives.cuda;

import static dev.espalier.natives.cuda.generated.cudart.CudaRt.*;

import dev.espalier.natives.cuda.generated.cudart.CudaRt;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/// A point in a stream: to wait for, and to measure the time between two.
public final class CudaEvent implements AutoCloseable {
    private final CudaHandle handle;

    private CudaEvent(MemorySegment handle) {
        this.handle = new CudaHandle(handle, "cudaEventDestroy", CudaRt::cudaEventDestroy, Runtime::check);
    }

    /// An event that notes its time.
    public static CudaEvent create() {
        CudaLibrary.CUDART.require();
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment slot = arena.allocate(ValueLayout.ADDRESS);
            Runtime.check("cudaEventCreateWithFlags", cudaEventCreateWithFlags(slot, cudaEventDefault()));
            return new CudaEvent(Runtime.handle(slot));
        }
    }

    /// Stands, from now on, for what is in the stream so far.
    public void record(CudaStream stream) {
        Runtime.check("cudaEventRecord", cudaEventRecord(handle(), stream.handle()));
    }

    /// Waits until the device got there.
    public void synchronize() {
        Runtime.check("cudaEventSynchronize", cudaEventSynchronize(handle()));
    }

    /// Seconds from `start` to this event on the device's clock, to about half a microsecond. Both must have been reached.
    public double secondsSince(CudaEvent start) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment milliseconds = arena.allocate(ValueLayout.JAVA_FLOAT);
            Runtime.check("cudaEventElapsedTime", cudaEventElapsedTime(milliseconds, start.handle(), handle()));
            return milliseconds.get(ValueLayout.JAVA_FLOAT, 0) / 1e3;
        }
    }

    MemorySegment handle() {
        return handle.get();
    }

    @Override
    public void close() {
        handle.close();
    }
}
