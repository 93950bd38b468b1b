package dev.espalier.natives.cuda;

import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;

/// `cudaLaunchKernelExC` with one attribute: the only call that starts a kernel before the one in front of it has ended.
///
/// Bound by hand, for it came after the include lists: two structs of CUDA 13's `driver_types.h`, by their offsets.
final class EarlyLaunch {
    static final String FUNCTION = "cudaLaunchKernelExC";

    /// `cudaLaunchConfig_t`: two `dim3`, then these.
    private static final long CONFIG_BYTES = 56;

    private static final long SHARED_BYTES = 24;
    private static final long STREAM = 32;
    private static final long ATTRIBUTES = 40;
    private static final long ATTRIBUTE_COUNT = 48;

    /// `cudaLaunchAttribute`: its number, and 64 bytes for a value of any kind.
    private static final long ATTRIBUTE_BYTES = 72;

    private static final long VALUE = 8;

    /// `cudaLaunchAttributeProgrammaticStreamSerialization`.
    private static final int PROGRAMMATIC_STREAM_SERIALIZATION = 6;

    private static final MethodHandle LAUNCH = Linker.nativeLinker()
            .downcallHandle(
                    SymbolLookup.loaderLookup().findOrThrow(FUNCTION),
                    FunctionDescriptor.of(
                            ValueLayout.JAVA_INT, ValueLayout.ADDRESS, ValueLayout.ADDRESS, ValueLayout.ADDRESS));

    private EarlyLaunch() {}

    static int launch(
            Arena arena,
            MemorySegment kernel,
            CudaKernel.Dim grid,
            CudaKernel.Dim block,
            MemorySegment arguments,
            int sharedBytes,
            MemorySegment stream) {
        MemorySegment attribute = arena.allocate(ATTRIBUTE_BYTES, 8);
        attribute.set(ValueLayout.JAVA_INT, 0, PROGRAMMATIC_STREAM_SERIALIZATION);
        attribute.set(ValueLayout.JAVA_INT, VALUE, 1);
        MemorySegment config = arena.allocate(CONFIG_BYTES, 8);
        int[] extents = {grid.x(), grid.y(), grid.z(), block.x(), block.y(), block.z()};
        MemorySegment.copy(extents, 0, config, ValueLayout.JAVA_INT, 0, extents.length);
        config.set(ValueLayout.JAVA_LONG, SHARED_BYTES, sharedBytes);
        config.set(ValueLayout.ADDRESS, STREAM, stream);
        config.set(ValueLayout.ADDRESS, ATTRIBUTES, attribute);
        config.set(ValueLayout.JAVA_INT, ATTRIBUTE_COUNT, 1);
        try {
            return (int) LAUNCH.invokeExact(config, kernel, arguments);
        } catch (Throwable e) {
            throw new AssertionError(FUNCTION, e);
        }
    }
}
