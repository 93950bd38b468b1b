package dev.espalier.natives.cuda;

import static dev.espalier.natives.cuda.generated.cudart.CudaRt.*;

import dev.espalier.natives.cuda.generated.cudart.dim3;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/// A function of a compiled image that runs on the device.
public final class CudaKernel {
    /// How many blocks, or threads of a block, in each dimension.
    public record Dim(int x, int y, int z) {
        /// Refuses what no device takes.
        public Dim {
            if (x < 1 || y < 1 || z < 1) {
                throw new IllegalArgumentException("a grid or block of " + x + " x " + y + " x " + z);
            }
        }

        public Dim(int x, int y) {
            this(x, y, 1);
        }

        public Dim(int x) {
            this(x, 1, 1);
        }

        @Override
        public String toString() {
            return x + "x" + y + "x" + z;
        }
    }

    private static final long SLOT = Long.BYTES;

    private final CudaModule module;
    private final String name;
    private final MemorySegment handle;

    CudaKernel(CudaModule module, String name, MemorySegment handle) {
        this.module = module;
        this.name = name;
        this.handle = handle;
    }

    /// The function's name in the image.
    public String name() {
        return name;
    }

    /// Puts a run into the stream and does not wait.
    ///
    /// @param stream the order it runs in
    /// @param grid blocks
    /// @param block threads of each block, 1024 at most
    /// @param sharedBytes dynamic shared memory of each block
    /// @param arguments in the function's order: `Integer`, `Long`, `Float`, `Double`, `DeviceMemory`, or null for a null
    ///     pointer. Their number and types are not checked against the function: the library does not know them
    /// @throws CudaException if the run cannot start; what goes wrong while it runs is told by the next wait
    public void launch(CudaStream stream, Dim grid, Dim block, int sharedBytes, Object... arguments) {
        launch(false, stream, grid, block, sharedBytes, arguments);
    }

    /// Like [#launch], but the run may begin while the one before it in the stream has not ended (programmatic dependent launch,
    /// compute capability 9.0): for kernels that wait for that themselves before they touch what it may write.
    public void launchEarly(CudaStream stream, Dim grid, Dim block, int sharedBytes, Object... arguments) {
        launch(true, stream, grid, block, sharedBytes, arguments);
    }

    private void launch(boolean early, CudaStream stream, Dim grid, Dim block, int sharedBytes, Object... arguments) {
        module.requireOpen();
        try (Arena arena = Arena.ofConfined()) {
            int n = arguments.length;
            MemorySegment values = arena.allocate(SLOT * Math.max(n, 1), SLOT);
            // One pointer more than needed stays null: it ends the list for those who do not know its length.
            MemorySegment pointers = arena.allocate(ValueLayout.ADDRESS, n + 1L);
            for (int i = 0; i < n; i++) {
                write(values, i, arguments[i]);
                pointers.setAtIndex(ValueLayout.ADDRESS, i, values.asSlice(SLOT * i));
            }
            int status = early
                    ? EarlyLaunch.launch(arena, handle, grid, block, pointers, sharedBytes, stream.handle())
                    : cudaLaunchKernel(
                            handle, dim3(arena, grid), dim3(arena, block), pointers, sharedBytes, stream.handle());
            Runtime.check(
                    early ? EarlyLaunch.FUNCTION : "cudaLaunchKernel",
                    status,
                    name + " with grid " + grid + ", block " + block + ", " + sharedBytes + " bytes of shared memory");
        }
    }

    private void write(MemorySegment values, int i, Object argument) {
        long at = SLOT * i;
        switch (argument) {
            case null -> values.set(ValueLayout.JAVA_LONG, at, 0L);
            case Integer v -> values.set(ValueLayout.JAVA_INT, at, v);
            case Long v -> values.set(ValueLayout.JAVA_LONG, at, v);
            case Float v -> values.set(ValueLayout.JAVA_FLOAT, at, v);
            case Double v -> values.set(ValueLayout.JAVA_DOUBLE, at, v);
            case DeviceMemory v -> values.set(ValueLayout.ADDRESS, at, v.address());
            default ->
                throw new IllegalArgumentException(name + ": argument " + i + " is a "
                        + argument.getClass().getSimpleName() + ", which no kernel takes");
        }
    }

    private static MemorySegment dim3(Arena arena, Dim dim) {
        MemorySegment struct = dim3.allocate(arena);
        dim3.x(struct, dim.x);
        dim3.y(struct, dim.y);
        dim3.z(struct, dim.z);
        return struct;
    }

    /// Lets a block have more dynamic shared memory than the usual 48 KiB.
    public void allowSharedBytes(int bytes) {
        module.requireOpen();
        Runtime.check(
                "cudaFuncSetAttribute",
                cudaFuncSetAttribute(handle, cudaFuncAttributeMaxDynamicSharedMemorySize(), bytes),
                bytes + " bytes of shared memory for " + name);
    }

    /// How many blocks of this size one multiprocessor runs at once.
    public int blocksPerMultiprocessor(int threads, int sharedBytes) {
        module.requireOpen();
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment blocks = arena.allocate(ValueLayout.JAVA_INT);
            Runtime.check(
                    "cudaOccupancyMaxActiveBlocksPerMultiprocessor",
                    cudaOccupancyMaxActiveBlocksPerMultiprocessor(blocks, handle, threads, sharedBytes),
                    name + " with " + threads + " threads");
            return blocks.get(ValueLayout.JAVA_INT, 0);
        }
    }

    @Override
    public String toString() {
        return name + " of " + module;
    }
}
