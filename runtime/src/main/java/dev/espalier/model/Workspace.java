package dev.espalier.model;

import dev.espalier.kernels.Backend;
import dev.espalier.kernels.LinearGroup;
import dev.espalier.model.ModelSpec.Positions;
import dev.espalier.tensor.DType;
import dev.espalier.tensor.Tensor;
import java.util.ArrayList;
import java.util.List;

/// The scratch memory of a forward pass for at most so many tokens; used by one pass at a time.
///
/// A buffer is allocated when it is first used, and then kept. It hands out its first rows; the view is remembered, so
/// that a decode step, which always asks for one row, allocates nothing.
public final class Workspace implements AutoCloseable {
    private final Backend backend;
    private final Positions positions;
    private final int tokens;
    private final List<Buffer> buffers = new ArrayList<>();
    private final Buffer hidden;
    private final Buffer normed;
    private final Buffer q;
    private final Buffer k;
    private final Buffer v;
    private final Buffer attended;
    private final Buffer gate;
    private final Buffer up;
    private final Buffer branch;
    private final Buffer angles;
    private final Buffer embedded;
    private final Buffer logits;
    private final LinearGroup group = new LinearGroup();
    private final int[] ids;
    private final int[] rows;
    private int anglesPast = -1;
    private int anglesTokens;
    private boolean closed;

    Workspace(Backend backend, ModelSpec spec, int tokens) {
        this.backend = backend;
        this.positions = spec.positions();
        this.tokens = tokens;
        int queries = spec.attention().queryWidth();
        int keys = spec.attention().keyWidth();
        boolean rotary = positions instanceof Positions.Rotary;
        hidden = buffer(tokens, spec.hidden());
        normed = buffer(tokens, spec.hidden());
        q = buffer(tokens, queries);
        k = buffer(tokens, keys);
        v = buffer(tokens, keys);
        attended = buffer(tokens, queries);
        gate = spec.mlp().gated() ? buffer(tokens, spec.mlp().width()) : null;
        up = buffer(tokens, spec.mlp().width());
        branch = buffer(tokens, spec.hidden());
        angles = rotary ? buffer(tokens, spec.attention().shape().headDim()) : null;
        embedded = spec.projectsEmbedding() ? buffer(tokens, spec.embedding().width()) : null;
        logits = buffer(1, spec.vocabulary());
        ids = new int[tokens];
        rows = new int[tokens];
    }

    /// The most tokens a pass may have.
    public int tokens() {
        return tokens;
    }

    /// Bytes it takes once every buffer has been used.
    public long bytes() {
        return buffers.stream()
                .mapToLong(b -> (long) b.rows * b.columns * DType.F32.bytes())
                .sum();
    }

    /// For layers that read the same input; empty.
    LinearGroup group() {
        return group.clear();
    }

    /// The residual stream `[count, hidden]`; after a pass, what the last block left.
    public Tensor hidden(int count) {
        return hidden.rows(count);
    }

    /// The logits `[1, vocabulary]` of a pass' last token.
    public Tensor logits() {
        return logits.rows(1);
    }

    Tensor normed(int count) {
        return normed.rows(count);
    }

    Tensor q(int count) {
        return q.rows(count);
    }

    Tensor k(int count) {
        return k.rows(count);
    }

    Tensor v(int count) {
        return v.rows(count);
    }

    Tensor attended(int count) {
        return attended.rows(count);
    }

    Tensor gate(int count) {
        return gate.rows(count);
    }

    Tensor up(int count) {
        return up.rows(count);
    }

    /// What a branch adds to the residual stream.
    Tensor branch(int count) {
        return branch.rows(count);
    }

    /// Features of the embedding's width, where that is not the hidden one.
    Tensor embedded(int count) {
        return embedded.rows(count);
    }

    /// `tokens[from]` and the `count - 1` after it, at the start of an array that is reused.
    int[] ids(int[] tokens, int from, int count) {
        System.arraycopy(tokens, from, ids, 0, count);
        return ids;
    }

    /// `first`, `first + 1`, … `count` of them, at the start of an array that is reused.
    int[] consecutive(int first, int count) {
        for (int t = 0; t < count; t++) {
            rows[t] = first + t;
        }
        return rows;
    }

    /// The rotations `[count, headDim]` of positions `past` to `past + count - 1`; the blocks of a pass share them.
    Tensor angles(Positions.Rotary rotary, int past, int count) {
        Tensor cosSin = angles.rows(count);
        if (past != anglesPast || count != anglesTokens) {
            backend.angles(rotary.inverseFrequencies(), consecutive(past, count), cosSin);
            anglesPast = past;
            anglesTokens = count;
        }
        return cosSin;
    }

    /// The rotations `[count, headDim]` of the first `count` of `positions`.
    Tensor angles(Positions.Rotary rotary, int[] positions, int count) {
        Tensor cosSin = angles.rows(count);
        backend.angles(rotary.inverseFrequencies(), positions, cosSin);
        anglesPast = -1;
        return cosSin;
    }

    /// The length of each cache plus `offset`, at the start of an array that is reused.
    int[] ends(KvCache[] caches, int offset) {
        for (int i = 0; i < caches.length; i++) {
            rows[i] = caches[i].length() + offset;
        }
        return rows;
    }

    /// The last row of `hidden`, which is one of this workspace's own.
    Tensor lastOf(Tensor hidden) {
        int count = hidden.rows();
        if (count == 1) {
            return hidden;
        }
        return hidden.slice(count - 1, count);
    }

    private Buffer buffer(int rows, int columns) {
        Buffer buffer = new Buffer(rows, columns);
        buffers.add(buffer);
        return buffer;
    }

    /// Gives the memory back. Closing twice does nothing.
    @Override
    public void close() {
        if (!closed) {
            closed = true;
            buffers.stream().filter(buffer -> buffer.all != null).forEach(buffer -> backend.free(buffer.all));
        }
    }

    private final class Buffer {
        private final int rows;
        private final int columns;
        private Tensor all;
        private Tensor view;

        Buffer(int rows, int columns) {
            this.rows = rows;
            this.columns = columns;
        }

        Tensor rows(int count) {
            if (all == null) {
                all = backend.zeros(DType.F32, rows, columns);
                view = all;
            }
            if (view.rows() != count) {
                view = count == rows ? all : all.slice(0, count);
            }
            return view;
        }
    }
}
