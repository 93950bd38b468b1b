package dev.espalier.tensor;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.Objects;

/// A row-major matrix: an element type, rows, columns and the memory that holds them.
///
/// Always two-dimensional and contiguous: activations are `[tokens, features]`, weights `[out, in]`, a bias or norm
/// weight `[1, features]`. A tensor does not own its memory; the arena that allocated it does. A tensor of a device
/// refuses host access: read it through the backend that made it.
public final class Tensor {
    private final DType dtype;
    private final int rows;
    private final int columns;
    private final MemorySegment segment;
    private final boolean onHost;

    private Tensor(DType dtype, int rows, int columns, MemorySegment segment, boolean onHost) {
        this.dtype = Objects.requireNonNull(dtype);
        this.rows = rows;
        this.columns = columns;
        this.segment = Objects.requireNonNull(segment);
        this.onHost = onHost;
    }

    /// A tensor over `segment`, which holds at least `rows * columns` elements.
    ///
    /// @throws IllegalArgumentException if it does not
    public static Tensor of(DType dtype, int rows, int columns, MemorySegment segment) {
        long need = (long) rows * columns * dtype.bytes();
        if (rows < 0 || columns < 0 || segment.byteSize() < need) {
            throw new IllegalArgumentException("a [%d, %d] tensor of %s needs %d bytes, the segment has %d"
                    .formatted(rows, columns, dtype, need, segment.byteSize()));
        }
        return new Tensor(dtype, rows, columns, segment.asSlice(0, need), true);
    }

    /// A tensor whose memory the host must not touch; `segment` is the device's own handle for it.
    public static Tensor onDevice(DType dtype, int rows, int columns, MemorySegment segment) {
        return new Tensor(dtype, rows, columns, segment, false);
    }

    /// A new tensor of zeros, 64-byte aligned, that lives as long as `arena`.
    public static Tensor allocate(Arena arena, DType dtype, int rows, int columns) {
        return of(dtype, rows, columns, arena.allocate(Math.max(1, (long) rows * columns * dtype.bytes()), 64));
    }

    /// A new `[rows, columns]` F32 tensor holding a copy of `values`.
    public static Tensor of(Arena arena, int rows, int columns, float... values) {
        Tensor tensor = allocate(arena, DType.F32, rows, columns);
        if (values.length != rows * columns) {
            throw new IllegalArgumentException(values.length + " values for [" + rows + ", " + columns + "]");
        }
        MemorySegment.copy(MemorySegment.ofArray(values), 0, tensor.segment, 0, values.length * 4L);
        return tensor;
    }

    public DType dtype() {
        return dtype;
    }

    public int rows() {
        return rows;
    }

    public int columns() {
        return columns;
    }

    /// Number of elements.
    public long size() {
        return (long) rows * columns;
    }

    /// Bytes the elements take.
    public long bytes() {
        return size() * dtype.bytes();
    }

    /// Whether the host may read and write the elements.
    public boolean onHost() {
        return onHost;
    }

    /// The memory, for the host.
    ///
    /// @throws IllegalStateException if the tensor lives on a device
    public MemorySegment segment() {
        if (!onHost) {
            throw new IllegalStateException("host access to a tensor that lives on a device");
        }
        return segment;
    }

    /// The device's own handle; on the host the memory itself. Only the backend that made the tensor may use it.
    public MemorySegment handle() {
        return segment;
    }

    /// The rows `from` (inclusive) to `to` (exclusive), sharing this tensor's memory.
    public Tensor slice(int from, int to) {
        Objects.checkFromToIndex(from, to, rows);
        long rowBytes = (long) columns * dtype.bytes();
        return new Tensor(dtype, to - from, columns, segment.asSlice(from * rowBytes, (to - from) * rowBytes), onHost);
    }

    /// The element at `row`, `column` as a float32.
    public float get(int row, int column) {
        return dtype.get(segment(), index(row, column));
    }

    /// Stores `value` at `row`, `column`, rounded to this tensor's type.
    public void set(int row, int column, float value) {
        dtype.set(segment(), index(row, column), value);
    }

    /// A copy of all elements as float32, row by row.
    public float[] toFloats() {
        float[] values = new float[Math.toIntExact(size())];
        for (int i = 0; i < values.length; i++) {
            values[i] = dtype.get(segment(), i);
        }
        return values;
    }

    private long index(int row, int column) {
        return (long) Objects.checkIndex(row, rows) * columns + Objects.checkIndex(column, columns);
    }

    @Override
    public String toString() {
        return dtype + "[" + rows + ", " + columns + "]" + (onHost ? "" : " on a device");
    }
}
