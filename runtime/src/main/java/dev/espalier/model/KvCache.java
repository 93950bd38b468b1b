package dev.espalier.model;

import dev.espalier.kernels.Backend;
import dev.espalier.tensor.DType;
import dev.espalier.tensor.Tensor;

/// What a sequence remembers: the keys and values of its tokens, block by block.
///
/// It grows by doubling as tokens come, never beyond the model's context, and never by what a config merely declares.
/// Whoever asked the model for it closes it.
public final class KvCache implements AutoCloseable {
    private final Backend backend;
    private final int width;
    private final int limit;
    private final Tensor[] keys;
    private final Tensor[] values;
    private int capacity;
    private int length;
    private boolean closed;

    /// Room for `capacity` tokens in each of `blocks` blocks, `width` features a key.
    ///
    /// @param limit the most tokens it may ever hold
    KvCache(Backend backend, int blocks, int width, int capacity, int limit) {
        this.backend = backend;
        this.width = width;
        this.limit = limit;
        this.capacity = Math.clamp(capacity, 1, limit);
        this.keys = new Tensor[blocks];
        this.values = new Tensor[blocks];
        for (int block = 0; block < blocks; block++) {
            keys[block] = backend.zeros(DType.F32, this.capacity, width);
            values[block] = backend.zeros(DType.F32, this.capacity, width);
        }
    }

    /// Tokens remembered.
    public int length() {
        return length;
    }

    /// Tokens there is memory for.
    public int capacity() {
        return capacity;
    }

    /// Bytes that the keys and values take.
    public long bytes() {
        return 2L * keys.length * capacity * width * DType.F32.bytes();
    }

    /// Forgets all but the first `length` tokens.
    public void truncate(int length) {
        if (length < 0 || length > this.length) {
            throw new IllegalArgumentException("a cache of " + this.length + " tokens cannot be cut to " + length);
        }
        this.length = length;
    }

    /// Makes room for `tokens` tokens in all.
    void reserve(int tokens) {
        if (tokens <= capacity) {
            return;
        }
        if (tokens > limit) {
            throw new IllegalArgumentException("a cache of at most " + limit + " tokens cannot hold " + tokens);
        }
        int larger = (int) Math.min(limit, Math.max(tokens, 2L * capacity));
        for (int block = 0; block < keys.length; block++) {
            keys[block] = moved(keys[block], larger);
            values[block] = moved(values[block], larger);
        }
        capacity = larger;
    }

    /// Keeps `key` and `value` `[tokens, width]` of one block behind its first `past` tokens.
    void put(int block, int past, Tensor key, Tensor value) {
        reserve(past + key.rows());
        backend.copyRows(key, keys[block], past);
        backend.copyRows(value, values[block], past);
    }

    /// Every block has put its part: the cache now holds `length` tokens.
    void commit(int length) {
        this.length = length;
    }

    /// The keys of one block, `[capacity, width]`.
    Tensor keys(int block) {
        return keys[block];
    }

    /// The values of one block, `[capacity, width]`.
    Tensor values(int block) {
        return values[block];
    }

    private Tensor moved(Tensor from, int larger) {
        Tensor to = backend.zeros(DType.F32, larger, width);
        if (capacity > 0) {
            backend.copyRows(from, to, 0);
        }
        backend.free(from);
        return to;
    }

    /// Gives the memory back. Closing twice does nothing.
    @Override
    public void close() {
        if (!closed) {
            closed = true;
            for (int block = 0; block < keys.length; block++) {
                backend.free(keys[block]);
                backend.free(values[block]);
            }
        }
    }
}
