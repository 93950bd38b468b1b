package dev.espalier.kernels.simd;

import dev.espalier.natives.os.Memory;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import jdk.incubator.vector.DoubleVector;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorOperators;
import jdk.incubator.vector.VectorSpecies;

/// Matrix products in float32, for prefill and for solvers, at nine tenths of the machine's multiply-add rate.
///
/// Three forms of one loop. The *lanes* operand is packed once into panels, k lines of up to 4 vectors; the *rows* operand
/// is expanded block by block, 48 rows of 256 columns, and broadcast element by element; a block of results
/// stays in scratch memory until its sums are complete.
///
/// | form | rows operand | lanes operand | result |
/// | --- | --- | --- | --- |
/// | [#linear] y = x Wᵀ | W, from any format | tokens of x | transposed into y |
/// | [#multiply] C = α op(A) op(B) + β C | op(A) | columns of op(B) | row by row into C |
/// | [#gram] G += XᵀX | features of X | features of X | added to float64, upper triangle, then mirrored |
///
/// Every element is one sum in ascending k, so results do not depend on the number of threads, on the shape around the
/// element, or on the width of the vectors. Scratch memory is kept from call to call; calls on one object exclude each
/// other.
public final class Gemm {
    /// Tokens that [#gram] sums in float32 before it adds them to float64.
    public static final int GRAM_TOKENS = 1024;

    private static final int ROW_BLOCK = 48;
    private static final int K_BLOCK = 256;
    private static final int STRIDE = MicroKernel.ROW_STRIDE;
    private static final int L = MicroKernel.LANES;
    private static final int PANEL = MicroKernel.VECTORS * L;

    /// Most lanes packed at a time; fewer where k is large, so that the panels stay within [#PACK_FLOATS].
    private static final int MAX_LANES = 512;

    private static final int PACK_FLOATS = 4 << 20;
    private static final ByteOrder ORDER = ByteOrder.nativeOrder();
    private static final ValueLayout.OfFloat FLOAT = ValueLayout.JAVA_FLOAT_UNALIGNED;
    private static final VectorSpecies<Float> S = MicroKernel.SPECIES;
    private static final VectorSpecies<Double> D = DoubleVector.SPECIES_PREFERRED;

    private final Workers workers;
    private final MemorySegment[] rowScratch;
    private final MemorySegment[] resultScratch;
    private MemorySegment panels = MemorySegment.NULL;

    /// Products computed by the threads of `workers`.
    public Gemm(Workers workers) {
        this.workers = workers;
        this.rowScratch = new MemorySegment[workers.threads()];
        this.resultScratch = new MemorySegment[workers.threads()];
    }

    /// y ← x Wᵀ + bias, for many tokens at once.
    ///
    /// @param x `[tokens, in]`, row-major float32, contiguous
    /// @param tokens number of tokens
    /// @param weight W `[out, in]`
    /// @param bias `[out]` float32, or null
    /// @param y `[tokens, out]`, row-major float32, contiguous, overwritten
    public synchronized void linear(
            MemorySegment x, int tokens, PanelSource weight, MemorySegment bias, MemorySegment y) {
        int in = weight.columns();
        int out = weight.rows();
        require("x", x, tokens, in, in, 4);
        require("y", y, tokens, out, out, 4);
        if (bias != null) {
            require("bias", bias, 1, out, out, 4);
        }
        Lanes lanes = (from, count, width, k0, k1, target, at) ->
                Transpose.transpose(x, (long) from * in + k0, in, count, k1 - k0, target, at, width);
        Sink sink = (r0, r1, l0, l1, c, stride) -> {
            if (bias != null) {
                for (int r = r0; r < r1; r++) {
                    addScalar(c, (long) (r - r0) * stride, l1 - l0, bias.get(FLOAT, r * 4L));
                }
            }
            Transpose.transpose(c, 0, stride, r1 - r0, l1 - l0, y, (long) l0 * out + r0, out);
        };
        run(weight, out, tokens, in, lanes, sink, false);
    }

    /// C ← `alpha` op(A) op(B) + `beta` C on row-major float32 matrices; op transposes if its flag says so. With `beta` 0, C
    /// is not read.
    ///
    /// @param m rows of C and op(A)
    /// @param n columns of C and op(B)
    /// @param k columns of op(A), rows of op(B)
    /// @param lda elements from one row of A to the next; `ldb`, `ldc` likewise
    public synchronized void multiply(
            int m,
            int n,
            int k,
            float alpha,
            MemorySegment a,
            boolean transposeA,
            int lda,
            MemorySegment b,
            boolean transposeB,
            int ldb,
            float beta,
            MemorySegment c,
            int ldc) {
        require("A", a, transposeA ? k : m, transposeA ? m : k, lda, 4);
        require("B", b, transposeB ? n : k, transposeB ? k : n, ldb, 4);
        require("C", c, m, n, ldc, 4);
        Lanes lanes = transposeB
                ? (from, count, width, k0, k1, target, at) ->
                        Transpose.transpose(b, (long) from * ldb + k0, ldb, count, k1 - k0, target, at, width)
                : (from, count, width, k0, k1, target, at) -> copyLanes(b, ldb, from, count, width, k0, k1, target, at);
        Sink sink = (r0, r1, l0, l1, tile, stride) -> {
            for (int r = r0; r < r1; r++) {
                scaleInto(tile, (long) (r - r0) * stride, l1 - l0, alpha, beta, c, (long) r * ldc + l0);
            }
        };
        run(matrix(a, transposeA, lda, m, k), m, n, k, lanes, sink, false);
    }

    /// G ← G + XᵀX: `x` `[tokens, features]` float32, `gram` `[features, features]` float64, both row-major, contiguous.
    /// Sums of at most [#GRAM_TOKENS] tokens are made in float32 and added up in float64; both triangles are written.
    public synchronized void gram(MemorySegment x, int tokens, int features, MemorySegment gram) {
        require("X", x, tokens, features, features, 4);
        require("G", gram, features, features, features, 8);
        for (int t = 0; t < tokens; t += GRAM_TOKENS) {
            int chunk = Math.min(GRAM_TOKENS, tokens - t);
            MemorySegment part = x.asSlice(4L * t * features, 4L * chunk * features);
            Lanes lanes = (from, count, width, k0, k1, target, at) ->
                    copyLanes(part, features, from, count, width, k0, k1, target, at);
            Sink sink = (r0, r1, l0, l1, c, stride) -> {
                for (int r = r0; r < r1; r++) {
                    int from = Math.max(l0, r);
                    if (from < l1) {
                        addDouble(
                                c, (long) (r - r0) * stride + (from - l0), l1 - from, gram, (long) r * features + from);
                    }
                }
            };
            run(matrix(part, true, features, features, chunk), features, features, chunk, lanes, sink, true);
        }
        workers.rows(features, ROW_BLOCK, (from, to, thread) -> mirror(gram, features, from, to));
    }

    /// Packs lanes `from`, `from + 1`, … of the lanes operand: line k of the panel, `width` floats at `at + (k - k0) * width`.
    @FunctionalInterface
    private interface Lanes {
        void pack(int from, int count, int width, int k0, int k1, MemorySegment target, long at);
    }

    /// Takes rows `[r0, r1)` x lanes `[l0, l1)` of the result: row r at float index `(r - r0) * stride` of `c`.
    @FunctionalInterface
    private interface Sink {
        void take(int r0, int r1, int l0, int l1, MemorySegment c, int stride);
    }

    private void run(PanelSource rows, int m, int n, int k, Lanes lanes, Sink sink, boolean upper) {
        if (m == 0 || n == 0) {
            return;
        }
        int chunk = PANEL * Math.clamp(PACK_FLOATS / Math.max(1, k) / PANEL, 1, MAX_LANES / PANEL);
        int lineFloats = roundUp(Math.min(chunk, n), L);
        if (panels.byteSize() < (long) lineFloats * k * 4) {
            panels = Memory.allocate((long) lineFloats * k * 4, Arena.ofAuto());
        }
        int rowBlocks = Math.ceilDiv(m, ROW_BLOCK);
        for (int from = 0; from < n; from += chunk) {
            int l0 = from;
            int l1 = Math.min(n, l0 + chunk);
            int panelCount = Math.ceilDiv(l1 - l0, PANEL);
            int kBlocks = Math.ceilDiv(k, K_BLOCK);
            workers.rows(panelCount * kBlocks, 1, (u0, u1, thread) -> {
                for (int u = u0; u < u1; u++) {
                    packPanel(lanes, l0, l1, k, u / kBlocks, u % kBlocks);
                }
            });
            int blocks = upper ? Math.min(rowBlocks, Math.ceilDiv(l1, ROW_BLOCK)) : rowBlocks;
            // Few rows: cut the lanes as well, so that all threads have work.
            int groups = Math.clamp(Math.ceilDiv(4 * workers.threads(), blocks), 1, panelCount);
            workers.rows(blocks * groups, 1, (u0, u1, thread) -> {
                for (int u = u0; u < u1; u++) {
                    int block = upper ? fold(u / groups, blocks) : u / groups;
                    int group = u % groups;
                    int p0 = (int) ((long) panelCount * group / groups);
                    int p1 = (int) ((long) panelCount * (group + 1) / groups);
                    if (upper) {
                        p0 = Math.max(p0, (block * ROW_BLOCK - l0) / PANEL);
                    }
                    if (p0 < p1) {
                        block(rows, m, k, block * ROW_BLOCK, l0, l1, p0, p1, sink, thread);
                    }
                }
            });
        }
    }

    /// First, last, second, last but one …: so that contiguous ranges hold as many long rows of a triangle as short ones.
    private static int fold(int index, int count) {
        return (index & 1) == 0 ? index / 2 : count - 1 - index / 2;
    }

    private void packPanel(Lanes lanes, int l0, int l1, int k, int panel, int kBlock) {
        int from = l0 + panel * PANEL;
        int count = Math.min(PANEL, l1 - from);
        int width = roundUp(count, L);
        int k0 = kBlock * K_BLOCK;
        int k1 = Math.min(k, k0 + K_BLOCK);
        long at = (long) panel * PANEL * k + (long) k0 * width;
        if (count < width) {
            panels.asSlice(at * 4, (long) (k1 - k0) * width * 4).fill((byte) 0);
        }
        lanes.pack(from, count, width, k0, k1, panels, at);
    }

    /// Rows `[r0, r0 + 48)` of the result for panels `[p0, p1)`.
    private void block(PanelSource rows, int m, int k, int r0, int l0, int l1, int p0, int p1, Sink sink, int thread) {
        int r1 = Math.min(m, r0 + ROW_BLOCK);
        int first = l0 + p0 * PANEL;
        int last = Math.min(l1, l0 + p1 * PANEL);
        int stride = roundUp(last - first, L) + 16;
        MemorySegment a = scratch(rowScratch, thread, ROW_BLOCK * STRIDE);
        MemorySegment c = scratch(resultScratch, thread, ROW_BLOCK * (MAX_LANES + PANEL + 16));
        c.asSlice(0, 4L * stride * ROW_BLOCK).fill((byte) 0);
        for (int k0 = 0; k0 < k; k0 += K_BLOCK) {
            int k1 = Math.min(k, k0 + K_BLOCK);
            rows.expand(r0, r1, k0, k1, a, STRIDE);
            for (int p = p0; p < p1; p++) {
                int lane = p * PANEL;
                int width = Math.min(PANEL, roundUp(l1 - l0 - lane, L));
                long b = panels.address() + ((long) lane * k + (long) k0 * width) * 4;
                long target = c.address() + (lane - p0 * PANEL) * 4L;
                for (int i = 0; i < r1 - r0; i += MicroKernel.ROWS) {
                    MicroKernel.run(
                            width / L,
                            a.address() + 4L * STRIDE * i,
                            b,
                            k1 - k0,
                            target + 4L * stride * i,
                            4L * stride);
                }
            }
        }
        sink.take(r0, r1, first, last, c, stride);
    }

    private static MemorySegment scratch(MemorySegment[] scratch, int thread, int floats) {
        if (scratch[thread] == null) {
            scratch[thread] = Memory.allocate(floats * 4L, Arena.ofAuto());
        }
        return scratch[thread];
    }

    /// A float32 matrix in memory as the rows operand.
    private static PanelSource matrix(MemorySegment a, boolean transpose, int stride, int rows, int columns) {
        return new PanelSource() {
            @Override
            public int rows() {
                return rows;
            }

            @Override
            public int columns() {
                return columns;
            }

            @Override
            public void expand(int rowFrom, int rowTo, int colFrom, int colTo, MemorySegment panel, int panelStride) {
                if (transpose) {
                    Transpose.transpose(
                            a,
                            (long) colFrom * stride + rowFrom,
                            stride,
                            colTo - colFrom,
                            rowTo - rowFrom,
                            panel,
                            0,
                            panelStride);
                    return;
                }
                for (int r = rowFrom; r < rowTo; r++) {
                    MemorySegment.copy(
                            a,
                            4L * ((long) r * stride + colFrom),
                            panel,
                            4L * (r - rowFrom) * panelStride,
                            4L * (colTo - colFrom));
                }
            }
        };
    }

    private static void copyLanes(
            MemorySegment b, int ldb, int from, int count, int width, int k0, int k1, MemorySegment target, long at) {
        for (int k = k0; k < k1; k++) {
            MemorySegment.copy(b, 4L * ((long) k * ldb + from), target, 4 * (at + (long) (k - k0) * width), 4L * count);
        }
    }

    private static void addScalar(MemorySegment c, long at, int count, float value) {
        // The scratch row has slack for a whole last vector.
        for (int j = 0; j < count; j += L) {
            long offset = (at + j) * 4;
            FloatVector.fromMemorySegment(S, c, offset, ORDER).add(value).intoMemorySegment(c, offset, ORDER);
        }
    }

    private static void scaleInto(
            MemorySegment tile, long from, int count, float alpha, float beta, MemorySegment c, long to) {
        int whole = count - count % L;
        for (int j = 0; j < whole; j += L) {
            FloatVector v = FloatVector.fromMemorySegment(S, tile, (from + j) * 4, ORDER)
                    .mul(alpha);
            if (beta != 0) {
                v = FloatVector.fromMemorySegment(S, c, (to + j) * 4, ORDER)
                        .mul(beta)
                        .add(v);
            }
            v.intoMemorySegment(c, (to + j) * 4, ORDER);
        }
        for (int j = whole; j < count; j++) {
            float v = tile.get(FLOAT, (from + j) * 4) * alpha;
            c.set(FLOAT, (to + j) * 4, beta == 0 ? v : c.get(FLOAT, (to + j) * 4) * beta + v);
        }
    }

    private static void addDouble(MemorySegment c, long from, int count, MemorySegment g, long to) {
        int step = D.length();
        int whole = count - count % L;
        for (int j = 0; j < whole; j += L) {
            FloatVector v = FloatVector.fromMemorySegment(S, c, (from + j) * 4, ORDER);
            for (int part = 0; part < L / step; part++) {
                long offset = (to + j + (long) part * step) * 8;
                DoubleVector d = (DoubleVector) v.convertShape(VectorOperators.F2D, D, part);
                DoubleVector.fromMemorySegment(D, g, offset, ORDER).add(d).intoMemorySegment(g, offset, ORDER);
            }
        }
        for (int j = whole; j < count; j++) {
            long offset = (to + j) * 8;
            g.set(
                    ValueLayout.JAVA_DOUBLE_UNALIGNED,
                    offset,
                    g.get(ValueLayout.JAVA_DOUBLE_UNALIGNED, offset) + c.get(FLOAT, (from + j) * 4));
        }
    }

    /// Copies the upper triangle's columns `[from, to)` to the lower triangle's rows, in squares that stay in the cache.
    private static void mirror(MemorySegment g, int n, int from, int to) {
        int side = 16;
        for (int r0 = from; r0 < to; r0 += side) {
            int r1 = Math.min(to, r0 + side);
            for (int c0 = 0; c0 < r1; c0 += side) {
                for (int r = r0; r < r1; r++) {
                    for (int c = c0; c < Math.min(r, c0 + side); c++) {
                        g.set(
                                ValueLayout.JAVA_DOUBLE_UNALIGNED,
                                ((long) r * n + c) * 8,
                                g.get(ValueLayout.JAVA_DOUBLE_UNALIGNED, ((long) c * n + r) * 8));
                    }
                }
            }
        }
    }

    private static void require(String name, MemorySegment segment, int rows, int columns, int stride, int bytes) {
        long need = rows == 0 || columns == 0 ? 0 : ((rows - 1L) * stride + columns) * bytes;
        if (rows < 0 || columns < 0 || stride < columns || segment.byteSize() < need) {
            throw new IllegalArgumentException("%s: [%d, %d] at stride %d needs %d bytes, the segment has %d"
                    .formatted(name, rows, columns, stride, need, segment.byteSize()));
        }
    }

    private static int roundUp(int value, int multiple) {
        return Math.ceilDiv(value, multiple) * multiple;
    }
}
