package dev.espalier.natives.cuda;

import static dev.espalier.natives.cuda.generated.cudart.CudaRt.*;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Objects;
import java.util.concurrent.atomic.AtomicBoolean;

/// A range of a device's memory: owned, when it was allocated; a view, when it is a slice.
///
/// The owner closes it, once; its slices end with it, and any use after that throws. Its address is a segment of size 0, so
/// that a stray read from Java throws instead of ending the process. Copies check both ranges. A graph or a running kernel
/// holds addresses only: what they use must not be closed before they are done.
public final class DeviceMemory implements AutoCloseable {
    private final MemorySegment address;
    private final long bytes;
    private final String what;
    private final DeviceMemory owner;
    private final AtomicBoolean closed;

    private DeviceMemory(MemorySegment address, long bytes, String what, DeviceMemory owner) {
        this.address = address;
        this.bytes = bytes;
        this.what = what;
        this.owner = owner;
        this.closed = owner == null ? new AtomicBoolean() : owner.closed;
    }

    /// Memory of the current device, with whatever it held before. Aligned to 256 bytes.
    ///
    /// @param bytes how much; 0 gives an empty range
    /// @param what it is for, as a user knows it: a tensor's name
    /// @throws CudaException if the device has not enough left: it names what the memory was for and how much is free
    public static DeviceMemory allocate(long bytes, String what) {
        if (bytes < 0) {
            throw new IllegalArgumentException(what + " of " + bytes + " bytes");
        }
        CudaLibrary.CUDART.require();
        if (bytes == 0) {
            return new DeviceMemory(MemorySegment.NULL, 0, what, null);
        }
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment slot = arena.allocate(ValueLayout.ADDRESS);
            int status = cudaMalloc(slot, bytes);
            if (status != cudaSuccess()) {
                // Not sticky; but a later cudaGetLastError would report it as its own.
                int cleared = cudaGetLastError();
                throw Runtime.failure("cudaMalloc", status, need(bytes, what, status == cleared));
            }
            return new DeviceMemory(Runtime.handle(slot), bytes, what, null);
        }
    }

    /// New memory with a copy of all of a host segment.
    ///
    /// @param what what it is for, in messages
    public static DeviceMemory copyOf(MemorySegment host, String what) {
        DeviceMemory memory = allocate(host.byteSize(), what);
        try {
            memory.upload(host);
            return memory;
        } catch (RuntimeException e) {
            memory.close();
            throw e;
        }
    }

    /// New memory for each of some host segments: for all of them or, if one fails, for none.
    public static List<DeviceMemory> copiesOf(String what, MemorySegment... hosts) {
        List<DeviceMemory> copies = new ArrayList<>();
        try {
            for (MemorySegment host : hosts) {
                copies.add(copyOf(host, what));
            }
            return copies;
        } catch (RuntimeException e) {
            copies.forEach(DeviceMemory::close);
            throw e;
        }
    }

    private static String need(long bytes, String what, boolean recoverable) {
        String need = size(bytes) + " for " + what;
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment free = arena.allocate(Runtime.SIZE);
            MemorySegment total = arena.allocate(Runtime.SIZE);
            if (!recoverable || cudaMemGetInfo(free, total) != cudaSuccess()) {
                return need;
            }
            return need + ", " + size(free.get(Runtime.SIZE, 0)) + " of " + size(total.get(Runtime.SIZE, 0))
                    + " are free";
        }
    }

    private static String size(long bytes) {
        return bytes < 10_000_000
                ? bytes + " bytes"
                : String.format(Locale.ROOT, "%.2f GiB", bytes / (double) (1L << 30));
    }

    /// Length of the range.
    public long bytes() {
        return bytes;
    }

    /// What the memory is for.
    public String what() {
        return what;
    }

    /// The address on the device, as a segment of size 0.
    ///
    /// @throws IllegalStateException if the memory was given back
    public MemorySegment address() {
        if (closed.get()) {
            throw new IllegalStateException(what + ": this device memory is closed");
        }
        return address;
    }

    /// A view of `length` bytes from `offset` on; ends with its owner.
    public DeviceMemory slice(long offset, long length) {
        Objects.checkFromIndexSize(offset, length, bytes);
        return new DeviceMemory(
                MemorySegment.ofAddress(address().address() + offset), length, what, owner == null ? this : owner);
    }

    /// Copies all of a host segment to the start of this range, and waits: work that is put into any stream afterwards sees it.
    /// Work of non-blocking streams that has not ended yet is not waited for.
    public void upload(MemorySegment host) {
        checkCopy(host);
        if (host.byteSize() > 0) {
            Runtime.check(
                    "cudaMemcpy",
                    cudaMemcpy(address(), host, host.byteSize(), cudaMemcpyHostToDevice()),
                    "upload of " + host.byteSize() + " bytes to " + what);
            // The copy returns when the host's memory was read; the last of it may still be on its way, and streams
            // that do
            // not wait for the default one would not wait for it.
            Runtime.check(
                    "cudaStreamSynchronize",
                    cudaStreamSynchronize(MemorySegment.NULL),
                    "upload of " + host.byteSize() + " bytes to " + what);
        }
    }

    /// Copies all of a host segment to the start of this range in the stream's order. The segment must stay as it is until
    /// the stream got there; only from [PinnedMemory] does the copy run beside the host's own work.
    public void upload(MemorySegment host, CudaStream stream) {
        checkCopy(host);
        if (host.byteSize() > 0) {
            Runtime.check(
                    "cudaMemcpyAsync",
                    cudaMemcpyAsync(address(), host, host.byteSize(), cudaMemcpyHostToDevice(), stream.handle()),
                    "upload of " + host.byteSize() + " bytes to " + what);
        }
    }

    /// Fills a host segment from the start of this range, and waits. Work of non-blocking streams is not waited for.
    public void download(MemorySegment host) {
        checkCopy(host);
        checkWritable(host);
        if (host.byteSize() > 0) {
            Runtime.check(
                    "cudaMemcpy",
                    cudaMemcpy(host, address(), host.byteSize(), cudaMemcpyDeviceToHost()),
                    "download of " + host.byteSize() + " bytes from " + what);
        }
    }

    /// Fills a host segment from the start of this range in the stream's order; it holds the bytes once the stream got there.
    public void download(MemorySegment host, CudaStream stream) {
        checkCopy(host);
        checkWritable(host);
        if (host.byteSize() > 0) {
            Runtime.check(
                    "cudaMemcpyAsync",
                    cudaMemcpyAsync(host, address(), host.byteSize(), cudaMemcpyDeviceToHost(), stream.handle()),
                    "download of " + host.byteSize() + " bytes from " + what);
        }
    }

    /// Copies all of `source` to the start of this range in the stream's order.
    public void copyFrom(DeviceMemory source, CudaStream stream) {
        checkLength(source.bytes);
        if (source.bytes > 0) {
            Runtime.check(
                    "cudaMemcpyAsync",
                    cudaMemcpyAsync(
                            address(), source.address(), source.bytes, cudaMemcpyDeviceToDevice(), stream.handle()),
                    "copy of " + source.bytes + " bytes from " + source.what + " to " + what);
        }
    }

    /// Sets every byte, in the stream's order.
    public void fill(byte value, CudaStream stream) {
        if (bytes > 0) {
            Runtime.check("cudaMemsetAsync", cudaMemsetAsync(address(), value, bytes, stream.handle()), what);
        }
    }

    private void checkCopy(MemorySegment host) {
        if (!host.isNative()) {
            throw new IllegalArgumentException(what + ": device copies need native memory on the host's side");
        }
        checkLength(host.byteSize());
    }

    private void checkLength(long length) {
        if (length > bytes) {
            throw new IndexOutOfBoundsException(what + ": " + length + " bytes do not fit into " + bytes);
        }
    }

    private void checkWritable(MemorySegment host) {
        if (host.isReadOnly()) {
            throw new IllegalArgumentException(what + ": download into a read-only segment");
        }
    }

    /// Gives the memory back; a second call does nothing. The device finishes what it is doing first.
    ///
    /// @throws IllegalStateException on a slice
    @Override
    public void close() {
        if (owner != null) {
            throw new IllegalStateException(what + ": a slice is closed by its owner");
        }
        if (closed.compareAndSet(false, true) && bytes > 0) {
            Runtime.check("cudaFree", cudaFree(address), what);
        }
    }

    @Override
    public String toString() {
        return what + ", " + bytes + " bytes of device memory";
    }
}
