package dev.espalier.natives.cuda;

import static dev.espalier.natives.cuda.generated.cudart.CudaRt.*;

import dev.espalier.natives.cuda.generated.cudart.CudaRt;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/// An order of work on the device: what goes into one stream runs one after the other, and the host does not wait.
public final class CudaStream implements AutoCloseable {
    private final CudaHandle handle;

    private CudaStream(MemorySegment handle) {
        this.handle = new CudaHandle(handle, "cudaStreamDestroy", CudaRt::cudaStreamDestroy, Runtime::check);
    }

    /// A stream that waits for no other, not for the legacy default stream either.
    public static CudaStream create() {
        CudaLibrary.CUDART.require();
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment slot = arena.allocate(ValueLayout.ADDRESS);
            Runtime.check("cudaStreamCreateWithFlags", cudaStreamCreateWithFlags(slot, cudaStreamNonBlocking()));
            return new CudaStream(Runtime.handle(slot));
        }
    }

    /// Waits until all work of this stream is done.
    ///
    /// @throws CudaException if any of it failed, kernels included
    public void synchronize() {
        Runtime.check("cudaStreamSynchronize", cudaStreamSynchronize(handle()));
    }

    /// Whether all work of this stream is done.
    ///
    /// @throws CudaException if any of it failed
    public boolean isDone() {
        int status = cudaStreamQuery(handle());
        if (status == cudaErrorNotReady()) {
            return false;
        }
        Runtime.check("cudaStreamQuery", status);
        return true;
    }

    /// What comes after this in the stream waits for the event, wherever it was recorded.
    public void waitFor(CudaEvent event) {
        Runtime.check("cudaStreamWaitEvent", cudaStreamWaitEvent(handle(), event.handle(), 0));
    }

    MemorySegment handle() {
        return handle.get();
    }

    /// Ends the stream; work in it is still done.
    @Override
    public void close() {
        handle.close();
    }
}
