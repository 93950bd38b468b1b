package dev.espalier.natives.cuda;

import static dev.espalier.natives.cuda.generated.cudart.CudaRt.*;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/// Page-locked host memory: the only kind that a device copies from and to while the host goes on.
public final class PinnedMemory implements AutoCloseable {
    private final Arena arena = Arena.ofShared();
    private final MemorySegment address;
    private final MemorySegment segment;

    private PinnedMemory(MemorySegment address, long bytes) {
        this.address = address;
        this.segment = address.reinterpret(bytes, arena, null);
    }

    /// Page-locked memory, with whatever it held before.
    ///
    /// @param what it is for, for the message when there is not enough
    public static PinnedMemory allocate(long bytes, String what) {
        if (bytes <= 0) {
            throw new IllegalArgumentException(what + " of " + bytes + " bytes");
        }
        CudaLibrary.CUDART.require();
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment slot = arena.allocate(ValueLayout.ADDRESS);
            Runtime.check("cudaMallocHost", cudaMallocHost(slot, bytes), bytes + " bytes for " + what);
            return new PinnedMemory(Runtime.handle(slot), bytes);
        }
    }

    /// The memory; not accessible any more once this is closed.
    public MemorySegment segment() {
        return segment;
    }

    /// Gives the memory back; a second call does nothing.
    @Override
    public void close() {
        if (arena.scope().isAlive()) {
            arena.close();
            Runtime.check("cudaFreeHost", cudaFreeHost(address));
        }
    }
}
