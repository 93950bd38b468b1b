package dev.espalier.natives.cuda;

import static dev.espalier.natives.cuda.generated.cudart.CudaRt.*;

import dev.espalier.natives.cuda.generated.cudart.CudaRt;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/// A compiled image (a cubin for one architecture, or PTX that the driver compiles) with the kernels in it.
///
/// The kernels end with it.
public final class CudaModule implements AutoCloseable {
    private final String name;
    private final CudaHandle handle;

    private CudaModule(String name, MemorySegment handle) {
        this.name = name;
        this.handle = new CudaHandle(handle, "cudaLibraryUnload", CudaRt::cudaLibraryUnload, Runtime::check);
    }

    /// Loads an image into the device.
    ///
    /// @param name what it is called in messages
    /// @param image a cubin, or PTX as text
    public static CudaModule load(String name, byte[] image) {
        CudaLibrary.CUDART.require();
        try (Arena arena = Arena.ofConfined()) {
            // PTX ends with a zero; behind a cubin one more byte does no harm.
            MemorySegment copy = arena.allocate(image.length + 1L, 16);
            MemorySegment.copy(image, 0, copy, ValueLayout.JAVA_BYTE, 0, image.length);
            MemorySegment slot = arena.allocate(ValueLayout.ADDRESS);
            Runtime.check(
                    "cudaLibraryLoadData",
                    cudaLibraryLoadData(
                            slot,
                            copy,
                            MemorySegment.NULL,
                            MemorySegment.NULL,
                            0,
                            MemorySegment.NULL,
                            MemorySegment.NULL,
                            0),
                    name + ", " + image.length + " bytes");
            return new CudaModule(name, Runtime.handle(slot));
        }
    }

    /// A function of the image, by the name it was declared with as `extern "C" __global__`.
    ///
    /// @throws CudaException if there is none of that name
    public CudaKernel kernel(String function) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment slot = arena.allocate(ValueLayout.ADDRESS);
            Runtime.check(
                    "cudaLibraryGetKernel",
                    cudaLibraryGetKernel(slot, handle.get(), arena.allocateFrom(function)),
                    function + " in " + name);
            return new CudaKernel(this, function, Runtime.handle(slot));
        }
    }

    /// Throws if the image was unloaded.
    void requireOpen() {
        MemorySegment open = handle.get();
        assert open.address() != 0;
    }

    @Override
    public void close() {
        handle.close();
    }

    @Override
    public String toString() {
        return name;
    }
}
