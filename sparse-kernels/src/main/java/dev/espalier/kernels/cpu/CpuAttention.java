package dev.espalier.kernels.cpu;

import dev.espalier.kernels.Backend.Attention;
import dev.espalier.kernels.simd.Gemm;
import dev.espalier.kernels.simd.VectorCheck;
import dev.espalier.kernels.simd.Workers;
import dev.espalier.tensor.Tensor;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/// Causal attention with grouped queries on the CPU.
///
/// A few tokens go head by head, dot product by dot product, heads in parallel. Many tokens go in blocks of queries: the
/// scores of a block and a head are one product, the mixed values another.
final class CpuAttention {
    /// Query tokens of one product: large enough for the GEMM, small enough that a causal block wastes little.
    private static final int QUERY_BLOCK = 128;

    private static final int FEW_TOKENS = 8;

    private final Workers workers;
    private final Gemm gemm;
    private final DecodeLoop decodeLoop = new DecodeLoop();
    private final SoftmaxLoop softmaxLoop = new SoftmaxLoop();
    private Arena arena;
    private MemorySegment scores = MemorySegment.NULL;

    CpuAttention(Workers workers, Gemm gemm) {
        this.workers = workers;
        this.gemm = gemm;
    }

    void run(Attention shape, Tensor q, Tensor keys, Tensor values, int past, Tensor out) {
        int tokens = q.rows();
        if (tokens <= FEW_TOKENS || !VectorCheck.compiled()) {
            reserve((long) shape.heads() * (past + tokens));
            for (int token = 0; token < tokens; token++) {
                decodeLoop.set(shape, q, keys, values, out, token, past + token);
                workers.rows(shape.heads(), 1, decodeLoop);
            }
            return;
        }
        for (int from = 0; from < tokens; from += QUERY_BLOCK) {
            block(shape, q, keys, values, past, out, from, Math.min(tokens, from + QUERY_BLOCK));
        }
    }

    private void block(Attention shape, Tensor q, Tensor keys, Tensor values, int past, Tensor out, int from, int to) {
        int seen = past + to;
        int count = to - from;
        int dim = shape.headDim();
        int width = q.columns();
        int keyWidth = keys.columns();
        reserve((long) count * seen);
        for (int head = 0; head < shape.heads(); head++) {
            int kvHead = head / (shape.heads() / shape.kvHeads());
            MemorySegment query = q.segment().asSlice(((long) from * width + (long) head * dim) * 4);
            MemorySegment key = keys.segment().asSlice((long) kvHead * dim * 4);
            MemorySegment value = values.segment().asSlice((long) kvHead * dim * 4);
            MemorySegment result = out.segment().asSlice(((long) from * width + (long) head * dim) * 4);
            gemm.multiply(count, seen, dim, shape.scale(), query, false, width, key, true, keyWidth, 0f, scores, seen);
            softmaxLoop.set(shape, seen, past + from);
            workers.rows(count, 1, softmaxLoop);
            gemm.multiply(count, dim, seen, 1f, scores, false, seen, value, false, keyWidth, 0f, result, width);
        }
    }

    private void reserve(long floats) {
        if (scores.byteSize() < floats * 4) {
            close();
            arena = Arena.ofShared();
            scores = arena.allocate(floats * 4 + floats, 64);
        }
    }

    void close() {
        if (arena != null) {
            arena.close();
            arena = null;
            scores = MemorySegment.NULL;
        }
    }

    private static int firstSeen(Attention shape, int position) {
        return shape.window() == 0 ? 0 : Math.max(0, position - shape.window() + 1);
    }

    /// One token: a head a row of the loop.
    private final class DecodeLoop implements Workers.Range {
        private Attention shape;
        private MemorySegment q;
        private MemorySegment keys;
        private MemorySegment values;
        private MemorySegment out;
        private int width;
        private int keyWidth;
        private int token;
        private int position;

        void set(Attention shape, Tensor q, Tensor keys, Tensor values, Tensor out, int token, int position) {
            this.shape = shape;
            this.q = q.segment();
            this.keys = keys.segment();
            this.values = values.segment();
            this.out = out.segment();
            this.width = q.columns();
            this.keyWidth = keys.columns();
            this.token = token;
            this.position = position;
        }

        @Override
        public void run(int from, int to, int thread) {
            int dim = shape.headDim();
            int first = firstSeen(shape, position);
            int count = position + 1 - first;
            for (int head = from; head < to; head++) {
                long query = (long) token * width + (long) head * dim;
                long keyAt = (long) first * keyWidth + (long) (head / (shape.heads() / shape.kvHeads())) * dim;
                long at = (long) head * (position + 1);
                for (int p = 0; p < count; p++) {
                    float score = Elementwise.dot(q, query, keys, keyAt + (long) p * keyWidth, dim) * shape.scale();
                    scores.set(ValueLayout.JAVA_FLOAT_UNALIGNED, (at + p) * 4, score);
                }
                if (shape.softcap() != 0) {
                    Elementwise.softcap(shape.softcap(), scores, at, count);
                }
                Elementwise.softmax(scores, at, count);
                Elementwise.weightedRows(scores, at, values, keyAt, keyWidth, count, out, query, dim);
            }
        }
    }

    /// A block of queries: the scores of a token are a row of the loop.
    private final class SoftmaxLoop implements Workers.Range {
        private Attention shape;
        private int seen;
        private int position;

        void set(Attention shape, int seen, int position) {
            this.shape = shape;
            this.seen = seen;
            this.position = position;
        }

        @Override
        public void run(int from, int to, int thread) {
            for (int row = from; row < to; row++) {
                long at = (long) row * seen;
                int first = firstSeen(shape, position + row);
                int count = position + row + 1 - first;
                if (shape.softcap() != 0) {
                    Elementwise.softcap(shape.softcap(), scores, at + first, count);
                }
                Elementwise.softmax(scores, at + first, count);
                scores.asSlice(at * 4, first * 4L).fill((byte) 0);
                scores.asSlice((at + first + count) * 4, (seen - first - count) * 4L)
                        .fill((byte) 0);
            }
        }
    }
}
