package dev.espalier.kernels.cpu;

import dev.espalier.kernels.Backend.Attention;
import dev.espalier.kernels.simd.Gemm;
import dev.espalier.kernels.simd.Raw;
import dev.espalier.kernels.simd.VectorCheck;
import dev.espalier.kernels.simd.Workers;
import dev.espalier.tensor.Tensor;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;

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
            reserve((long) shape.heads() * DecodeLoop.room(past + tokens));
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

    /// One token: a head a row of the loop. Heads that share keys and values go through them side by side, piece by piece, so
    /// that each piece comes from memory once.
    private final class DecodeLoop implements Workers.Range {
        /// Tokens of a piece; of keys of 64 floats it takes a third of a first-level cache.
        private static final int PIECE = 64;

        private Attention shape;
        private long q;
        private long keys;
        private long values;
        private long out;
        /// Bytes from one token's keys to the next, and of a head.
        private long stride;
        private int headBytes;
        /// Tokens that are seen.
        private int count;
        /// Bytes from one head's scores to the next.
        private long apart;

        /// Floats that one head's scores over `tokens` tokens take; a cache line is never two heads'.
        static int room(int tokens) {
            return tokens + AttentionKernels.KEYS + 15 & -16;
        }

        void set(Attention shape, Tensor q, Tensor keys, Tensor values, Tensor out, int token, int position) {
            int first = firstSeen(shape, position);
            long from = (long) first * keys.columns() * 4;
            long row = (long) token * q.columns() * 4;
            this.shape = shape;
            this.stride = keys.columns() * 4L;
            this.headBytes = shape.headDim() * 4;
            this.count = position + 1 - first;
            this.apart = room(position + 1) * 4L;
            this.q = Raw.address(q.segment(), row + (long) shape.heads() * headBytes) + row;
            this.out = Raw.address(out.segment(), row + (long) shape.heads() * headBytes) + row;
            this.keys = Raw.address(keys.segment(), from + count * stride) + from;
            this.values = Raw.address(values.segment(), from + count * stride) + from;
        }

        @Override
        public void run(int from, int to, int thread) {
            int sharing = shape.heads() / shape.kvHeads();
            for (int head = from; head < to; ) {
                int group = head / sharing;
                int end = Math.min(to, (group + 1) * sharing);
                attend(head, end, keys + (long) group * headBytes, values + (long) group * headBytes);
                head = end;
            }
        }

        /// Heads `from` to `to`, which read the same keys and values.
        private void attend(int from, int to, long key, long value) {
            int dim = shape.headDim();
            for (int p = 0, end; p < count; p = end) {
                end = pieceEnd(p);
                for (int head = from; head < to; head++) {
                    long query = q + (long) head * headBytes;
                    long at = scoresOf(head) + p * 4L;
                    AttentionKernels.scores(query, key + p * stride, stride, dim, end - p, shape.scale(), at);
                }
            }
            for (int head = from; head < to; head++) {
                long at = head * apart / 4;
                if (shape.softcap() != 0) {
                    Elementwise.softcap(shape.softcap(), scores, at, count);
                }
                Elementwise.softmax(scores, at, count);
                for (long i = 0; i < headBytes; i += 4) {
                    Raw.ALL.set(Raw.FLOAT, out + (long) head * headBytes + i, 0f);
                }
            }
            for (int p = 0, end; p < count; p = end) {
                end = pieceEnd(p);
                mix(from, to, value + p * stride, p * 4L, end - p);
            }
        }

        /// Adds a piece of `rows` values, whose weights lie `skip` bytes behind a head's first.
        private void mix(int from, int to, long value, long skip, int rows) {
            int dim = shape.headDim();
            int head = from;
            for (; head + 1 < to; head += 2) {
                long y = out + (long) head * headBytes;
                long weights = scoresOf(head) + skip;
                AttentionKernels.mixTwice(weights, weights + apart, value, stride, rows, dim, y, y + headBytes);
            }
            if (head < to) {
                long y = out + (long) head * headBytes;
                AttentionKernels.mix(scoresOf(head) + skip, value, stride, rows, dim, y);
            }
        }

        /// Where the piece that begins with token `from` ends; the last one takes what would be too small for a piece of its own.
        private int pieceEnd(int from) {
            return count - from < 2 * PIECE ? count : from + PIECE;
        }

        private long scoresOf(int head) {
            return scores.address() + head * apart;
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
