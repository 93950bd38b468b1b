package dev.espalier.kernels.cuda;

import dev.espalier.natives.cuda.DeviceMemory;
import dev.espalier.tensor.DType;
import dev.espalier.tensor.Tensor;
import java.lang.foreign.Arena;

/// A row-major matrix in a device's memory: what a kernel gets instead of a bare address, so that shapes can be checked.
///
/// @param memory holds at least `rows * columns` elements; whoever made it closes it
public record DeviceTensor(DType dtype, int rows, int columns, DeviceMemory memory) implements AutoCloseable {
    public DeviceTensor {
        long need = (long) rows * columns * dtype.bytes();
        if (rows < 0 || columns < 0 || memory.bytes() < need) {
            throw new IllegalArgumentException(
                    "a [%d, %d] tensor of %s needs %d bytes, %s".formatted(rows, columns, dtype, need, memory));
        }
    }

    /// New memory with whatever it held before.
    ///
    /// @param what what it is for, in messages
    public static DeviceTensor allocate(DType dtype, int rows, int columns, String what) {
        return new DeviceTensor(
                dtype, rows, columns, DeviceMemory.allocate((long) rows * columns * dtype.bytes(), what));
    }

    /// A copy of a host tensor in new memory.
    public static DeviceTensor upload(Tensor host, String what) {
        DeviceTensor tensor = allocate(host.dtype(), host.rows(), host.columns(), what);
        try (Arena arena = Arena.ofConfined()) {
            Tensor source = host;
            if (!host.segment().isNative()) {
                source = Tensor.allocate(arena, host.dtype(), host.rows(), host.columns());
                source.segment().copyFrom(host.segment());
            }
            tensor.memory.upload(source.segment());
            return tensor;
        } catch (RuntimeException e) {
            tensor.close();
            throw e;
        }
    }

    /// Copies the elements to the host, and waits.
    public Tensor download(Arena arena) {
        Tensor host = Tensor.allocate(arena, dtype, rows, columns);
        memory.download(host.segment());
        return host;
    }

    /// Number of elements.
    public long size() {
        return (long) rows * columns;
    }

    @Override
    public void close() {
        memory.close();
    }

    @Override
    public String toString() {
        return dtype + "[" + rows + ", " + columns + "] (" + memory.what() + ")";
    }
}
