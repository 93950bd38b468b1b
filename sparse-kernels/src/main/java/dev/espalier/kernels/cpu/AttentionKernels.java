package dev.espalier.kernels.cpu;

import dev.espalier.kernels.simd.CompilerHints;
import dev.espalier.kernels.simd.Raw;
import dev.espalier.kernels.simd.VectorCheck;
import java.nio.ByteOrder;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorMask;
import jdk.incubator.vector.VectorShuffle;
import jdk.incubator.vector.VectorSpecies;

/// The two products of one token's attention: a query with many keys, and their weights with as many values.
///
/// Keys and values are rows of float32, `stride` bytes apart. All pointers are addresses: the caller has checked what lies
/// behind them. A score has the same bits wherever its key stands, and a sum the same however its rows are cut into calls.
final class AttentionKernels {
    /// Keys of one step of [#scores], which may write as many floats behind the last score.
    static final int KEYS = 8;

    private static final VectorSpecies<Float> F = FloatVector.SPECIES_PREFERRED;
    private static final int LANES = F.length();
    private static final long BYTES = LANES * 4L;
    private static final ByteOrder ORDER = ByteOrder.LITTLE_ENDIAN;
    /// A fused multiply-add that is no instruction is slower than scalar code.
    private static final boolean VECTORS = VectorCheck.compiled() && CompilerHints.fma();
    /// Whether eight accumulators fold into one vector of scores.
    private static final boolean FOLDS = VECTORS && (LANES == 8 || LANES == 16);

    private static final VectorShuffle<Float> ACROSS1 = across(1);
    private static final VectorShuffle<Float> ACROSS2 = across(2);
    private static final VectorShuffle<Float> ACROSS4 = across(4);
    private static final VectorShuffle<Float> ACROSS8 = across(8);
    private static final VectorShuffle<Float> EVEN = VectorShuffle.fromOp(F, lane -> 2 * lane % LANES);
    private static final VectorMask<Float> HIGH1 = high(1);
    private static final VectorMask<Float> HIGH2 = high(2);
    private static final VectorMask<Float> HIGH4 = high(4);
    private static final VectorMask<Float> HIGH8 = high(8);

    static {
        CompilerHints.excludeFromC1(AttentionKernels.class);
    }

    private AttentionKernels() {}

    /// Each lane's partner `distance` away, in either direction.
    private static VectorShuffle<Float> across(int distance) {
        return VectorShuffle.fromOp(F, lane -> (lane ^ distance) % LANES);
    }

    private static VectorMask<Float> high(int bit) {
        long lanes = 0;
        for (int lane = 0; lane < LANES; lane++) {
            lanes |= (lane & bit) != 0 ? 1L << lane : 0;
        }
        return VectorMask.fromLong(F, lanes);
    }

    /// scores[p] = scale · Σ query[i] keys[p][i] for `count` keys of `dim` floats.
    ///
    /// @param scores room for `count` + [#KEYS] floats
    static void scores(long query, long keys, long stride, int dim, int count, float scale, long scores) {
        if (FOLDS && dim % LANES == 0 && count >= KEYS) {
            for (int p = 0; p < count; p += KEYS) {
                // The last eight may be computed twice in part: less than eight at a time is slower.
                int from = Math.min(p, count - KEYS);
                eight(query, keys + from * stride, stride, dim, scale, scores + from * 4L);
            }
            return;
        }
        for (int p = 0; p < count; p++) {
            Raw.ALL.set(Raw.FLOAT, scores + p * 4L, scale * dot(query, keys + p * stride, dim));
        }
    }

    /// Eight scores: eight accumulators, folded by halves into one vector. What is added to what is as in [VectorMath#sum].
    private static void eight(long query, long keys, long stride, int dim, float scale, long scores) {
        FloatVector a = FloatVector.zero(F);
        FloatVector b = FloatVector.zero(F);
        FloatVector c = FloatVector.zero(F);
        FloatVector d = FloatVector.zero(F);
        FloatVector e = FloatVector.zero(F);
        FloatVector f = FloatVector.zero(F);
        FloatVector g = FloatVector.zero(F);
        FloatVector h = FloatVector.zero(F);
        long end = query + dim * 4L;
        long k = keys;
        for (long at = query; at != end; at += BYTES, k += BYTES) {
            FloatVector q = FloatVector.fromMemorySegment(F, Raw.ALL, at, ORDER);
            long l = k + 4 * stride;
            a = FloatVector.fromMemorySegment(F, Raw.ALL, k, ORDER).fma(q, a);
            b = FloatVector.fromMemorySegment(F, Raw.ALL, k + stride, ORDER).fma(q, b);
            c = FloatVector.fromMemorySegment(F, Raw.ALL, k + 2 * stride, ORDER).fma(q, c);
            d = FloatVector.fromMemorySegment(F, Raw.ALL, k + 3 * stride, ORDER).fma(q, d);
            e = FloatVector.fromMemorySegment(F, Raw.ALL, l, ORDER).fma(q, e);
            f = FloatVector.fromMemorySegment(F, Raw.ALL, l + stride, ORDER).fma(q, f);
            g = FloatVector.fromMemorySegment(F, Raw.ALL, l + 2 * stride, ORDER).fma(q, g);
            h = FloatVector.fromMemorySegment(F, Raw.ALL, l + 3 * stride, ORDER).fma(q, h);
        }
        FloatVector sums;
        if (LANES == 16) {
            a = VectorMath.halves(a, e, HIGH8, ACROSS8);
            b = VectorMath.halves(b, f, HIGH8, ACROSS8);
            c = VectorMath.halves(c, g, HIGH8, ACROSS8);
            d = VectorMath.halves(d, h, HIGH8, ACROSS8);
            a = VectorMath.halves(a, c, HIGH4, ACROSS4);
            b = VectorMath.halves(b, d, HIGH4, ACROSS4);
            sums = VectorMath.halves(a, b, HIGH2, ACROSS2);
            sums = sums.add(sums.rearrange(ACROSS1)).rearrange(EVEN);
        } else {
            a = VectorMath.halves(a, e, HIGH4, ACROSS4);
            b = VectorMath.halves(b, f, HIGH4, ACROSS4);
            c = VectorMath.halves(c, g, HIGH4, ACROSS4);
            d = VectorMath.halves(d, h, HIGH4, ACROSS4);
            a = VectorMath.halves(a, c, HIGH2, ACROSS2);
            b = VectorMath.halves(b, d, HIGH2, ACROSS2);
            sums = VectorMath.halves(a, b, HIGH1, ACROSS1);
        }
        sums.mul(scale).intoMemorySegment(Raw.ALL, scores, ORDER);
    }

    /// Σ a[i] b[i].
    private static float dot(long a, long b, int count) {
        if (!VECTORS) {
            float sum = 0;
            for (int i = 0; i < count; i++) {
                sum += Raw.ALL.get(Raw.FLOAT, a + i * 4L) * Raw.ALL.get(Raw.FLOAT, b + i * 4L);
            }
            return sum;
        }
        FloatVector sum = FloatVector.zero(F);
        int i = 0;
        for (; i <= count - LANES; i += LANES) {
            FloatVector v = FloatVector.fromMemorySegment(F, Raw.ALL, a + i * 4L, ORDER);
            sum = FloatVector.fromMemorySegment(F, Raw.ALL, b + i * 4L, ORDER).fma(v, sum);
        }
        float rest = VectorMath.sum(sum);
        for (; i < count; i++) {
            rest += Raw.ALL.get(Raw.FLOAT, a + i * 4L) * Raw.ALL.get(Raw.FLOAT, b + i * 4L);
        }
        return rest;
    }

    /// y[i] += Σ_p weights[p] values[p][i] over `rows` values of `dim` floats.
    static void mix(long weights, long values, long stride, int rows, int dim, long y) {
        int i = 0;
        if (VECTORS) {
            for (; i + 4 * LANES <= dim; i += 4 * LANES) {
                four(weights, values + i * 4L, stride, rows, y + i * 4L);
            }
            for (; i + LANES <= dim; i += LANES) {
                one(weights, values + i * 4L, stride, rows, y + i * 4L);
            }
        }
        if (i < dim) {
            rest(weights, values + i * 4L, stride, rows, dim - i, y + i * 4L);
        }
    }

    /// The same for two heads that read the same values.
    static void mixTwice(
            long weights, long otherWeights, long values, long stride, int rows, int dim, long y, long otherY) {
        if (!VECTORS || dim % (4 * LANES) != 0) {
            mix(weights, values, stride, rows, dim, y);
            mix(otherWeights, values, stride, rows, dim, otherY);
            return;
        }
        for (long i = 0; i < dim * 4L; i += 4 * BYTES) {
            fourTwice(weights, otherWeights - weights, values + i, stride, rows, y + i, otherY + i);
        }
    }

    private static void four(long weights, long values, long stride, int rows, long y) {
        FloatVector a = FloatVector.fromMemorySegment(F, Raw.ALL, y, ORDER);
        FloatVector b = FloatVector.fromMemorySegment(F, Raw.ALL, y + BYTES, ORDER);
        FloatVector c = FloatVector.fromMemorySegment(F, Raw.ALL, y + 2 * BYTES, ORDER);
        FloatVector d = FloatVector.fromMemorySegment(F, Raw.ALL, y + 3 * BYTES, ORDER);
        long v = values;
        long end = weights + rows * 4L;
        for (long at = weights; at != end; at += 4, v += stride) {
            FloatVector w = FloatVector.broadcast(F, Raw.ALL.get(Raw.FLOAT, at));
            a = FloatVector.fromMemorySegment(F, Raw.ALL, v, ORDER).fma(w, a);
            b = FloatVector.fromMemorySegment(F, Raw.ALL, v + BYTES, ORDER).fma(w, b);
            c = FloatVector.fromMemorySegment(F, Raw.ALL, v + 2 * BYTES, ORDER).fma(w, c);
            d = FloatVector.fromMemorySegment(F, Raw.ALL, v + 3 * BYTES, ORDER).fma(w, d);
        }
        a.intoMemorySegment(Raw.ALL, y, ORDER);
        b.intoMemorySegment(Raw.ALL, y + BYTES, ORDER);
        c.intoMemorySegment(Raw.ALL, y + 2 * BYTES, ORDER);
        d.intoMemorySegment(Raw.ALL, y + 3 * BYTES, ORDER);
    }

    private static void fourTwice(
            long weights, long otherWeights, long values, long stride, int rows, long y, long otherY) {
        FloatVector a = FloatVector.fromMemorySegment(F, Raw.ALL, y, ORDER);
        FloatVector b = FloatVector.fromMemorySegment(F, Raw.ALL, y + BYTES, ORDER);
        FloatVector c = FloatVector.fromMemorySegment(F, Raw.ALL, y + 2 * BYTES, ORDER);
        FloatVector d = FloatVector.fromMemorySegment(F, Raw.ALL, y + 3 * BYTES, ORDER);
        FloatVector e = FloatVector.fromMemorySegment(F, Raw.ALL, otherY, ORDER);
        FloatVector f = FloatVector.fromMemorySegment(F, Raw.ALL, otherY + BYTES, ORDER);
        FloatVector g = FloatVector.fromMemorySegment(F, Raw.ALL, otherY + 2 * BYTES, ORDER);
        FloatVector h = FloatVector.fromMemorySegment(F, Raw.ALL, otherY + 3 * BYTES, ORDER);
        long v = values;
        long end = weights + rows * 4L;
        for (long at = weights; at != end; at += 4, v += stride) {
            FloatVector w = FloatVector.broadcast(F, Raw.ALL.get(Raw.FLOAT, at));
            FloatVector x = FloatVector.broadcast(F, Raw.ALL.get(Raw.FLOAT, at + otherWeights));
            FloatVector v0 = FloatVector.fromMemorySegment(F, Raw.ALL, v, ORDER);
            a = v0.fma(w, a);
            e = v0.fma(x, e);
            FloatVector v1 = FloatVector.fromMemorySegment(F, Raw.ALL, v + BYTES, ORDER);
            b = v1.fma(w, b);
            f = v1.fma(x, f);
            FloatVector v2 = FloatVector.fromMemorySegment(F, Raw.ALL, v + 2 * BYTES, ORDER);
            c = v2.fma(w, c);
            g = v2.fma(x, g);
            FloatVector v3 = FloatVector.fromMemorySegment(F, Raw.ALL, v + 3 * BYTES, ORDER);
            d = v3.fma(w, d);
            h = v3.fma(x, h);
        }
        a.intoMemorySegment(Raw.ALL, y, ORDER);
        b.intoMemorySegment(Raw.ALL, y + BYTES, ORDER);
        c.intoMemorySegment(Raw.ALL, y + 2 * BYTES, ORDER);
        d.intoMemorySegment(Raw.ALL, y + 3 * BYTES, ORDER);
        e.intoMemorySegment(Raw.ALL, otherY, ORDER);
        f.intoMemorySegment(Raw.ALL, otherY + BYTES, ORDER);
        g.intoMemorySegment(Raw.ALL, otherY + 2 * BYTES, ORDER);
        h.intoMemorySegment(Raw.ALL, otherY + 3 * BYTES, ORDER);
    }

    private static void one(long weights, long values, long stride, int rows, long y) {
        FloatVector a = FloatVector.fromMemorySegment(F, Raw.ALL, y, ORDER);
        long v = values;
        long end = weights + rows * 4L;
        for (long at = weights; at != end; at += 4, v += stride) {
            FloatVector w = FloatVector.broadcast(F, Raw.ALL.get(Raw.FLOAT, at));
            a = FloatVector.fromMemorySegment(F, Raw.ALL, v, ORDER).fma(w, a);
        }
        a.intoMemorySegment(Raw.ALL, y, ORDER);
    }

    /// What is less than a vector.
    private static void rest(long weights, long values, long stride, int rows, int count, long y) {
        long v = values;
        for (int row = 0; row < rows; row++, v += stride) {
            float w = Raw.ALL.get(Raw.FLOAT, weights + row * 4L);
            for (int i = 0; i < count; i++) {
                float sum = Raw.ALL.get(Raw.FLOAT, y + i * 4L);
                Raw.ALL.set(Raw.FLOAT, y + i * 4L, sum + w * Raw.ALL.get(Raw.FLOAT, v + i * 4L));
            }
        }
    }
}
