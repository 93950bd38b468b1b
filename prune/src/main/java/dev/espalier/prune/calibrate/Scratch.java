package dev.espalier.prune.calibrate;

import dev.espalier.natives.os.Memory;
import dev.espalier.tensor.DType;
import dev.espalier.tensor.Tensor;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;

/// Native memory that is given back together, and counted: pruning states its peak.
///
/// A [#child] takes its memory on its own and gives it back on its own; it counts against the root, which knows the peak.
/// Used by one thread; what is allocated may be used by all.
public final class Scratch implements AutoCloseable {
    private final Scratch root;
    private final Arena arena = Arena.ofShared();
    private long own;
    private long now;
    private long peak;

    /// A root.
    public Scratch() {
        this.root = this;
    }

    private Scratch(Scratch root) {
        this.root = root;
    }

    /// Memory of its own that counts against the same root.
    public Scratch child() {
        return new Scratch(root);
    }

    /// `count` zeroed bytes.
    public MemorySegment bytes(long count) {
        MemorySegment segment = Memory.allocate(Math.max(1, count), arena);
        count(count);
        return segment;
    }

    /// A `[rows, columns]` F32 tensor of zeros.
    public Tensor tensor(int rows, int columns) {
        return Tensor.of(DType.F32, rows, columns, bytes((long) rows * columns * DType.F32.bytes()));
    }

    /// Counts memory that somebody else holds as long as this.
    public void count(long bytes) {
        own += bytes;
        root.now += bytes;
        root.peak = Math.max(root.peak, root.now);
    }

    /// The most bytes that the root and all its children held at once.
    public long peak() {
        return root.peak;
    }

    /// Gives the memory back. Closing twice does nothing.
    @Override
    public void close() {
        if (arena.scope().isAlive()) {
            arena.close();
            root.now -= own;
        }
    }
}
