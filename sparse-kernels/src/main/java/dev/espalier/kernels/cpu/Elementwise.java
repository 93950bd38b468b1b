package dev.espalier.kernels.cpu;

import dev.espalier.kernels.Backend.Activation;
import dev.espalier.kernels.simd.CompilerHints;
import dev.espalier.kernels.simd.Raw;
import dev.espalier.kernels.simd.Sums;
import dev.espalier.kernels.simd.VectorCheck;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorMask;
import jdk.incubator.vector.VectorOperators;
import jdk.incubator.vector.VectorSpecies;

/// What a decoder does to single rows of float32: activations, norms, softmax, rotations, sums.
///
/// Offsets and counts are in floats. What lies past the last whole vector of a row goes through the same operations, one
/// by one or under a mask, so a value does not depend on where it stands. Masks are for short loops only: each masked load
/// is so large a graph that C2 gives up on a loop with several of them and boxes its vectors.
final class Elementwise {
    private static final VectorSpecies<Float> F = FloatVector.SPECIES_PREFERRED;
    private static final int LANES = F.length();
    private static final ByteOrder ORDER = ByteOrder.LITTLE_ENDIAN;
    private static final ValueLayout.OfFloat FLOAT = ValueLayout.JAVA_FLOAT_UNALIGNED;

    static {
        CompilerHints.excludeFromC1(Elementwise.class);
    }

    private Elementwise() {}

    /// x = f(x) for `count` floats from `at` on. A loop for each function: several in one are too large a graph.
    static void activate(Activation f, MemorySegment x, long at, int count) {
        int whole = F.loopBound(count);
        switch (f) {
            case RELU -> relu(x, at, whole);
            case SILU -> silu(x, at, whole);
            case GELU_TANH -> geluTanh(x, at, whole);
            case GELU -> gelu(x, at, whole);
        }
        if (whole < count) {
            VectorMask<Float> mask = F.indexInRange(whole, count);
            FloatVector v = FloatVector.fromMemorySegment(F, x, (at + whole) * 4, ORDER, mask);
            apply(f, v).intoMemorySegment(x, (at + whole) * 4, ORDER, mask);
        }
    }

    private static void relu(MemorySegment x, long at, int count) {
        for (int i = 0; i < count; i += LANES) {
            FloatVector v = FloatVector.fromMemorySegment(F, x, (at + i) * 4, ORDER);
            v.max(0f).intoMemorySegment(x, (at + i) * 4, ORDER);
        }
    }

    private static void silu(MemorySegment x, long at, int count) {
        for (int i = 0; i < count; i += LANES) {
            FloatVector v = FloatVector.fromMemorySegment(F, x, (at + i) * 4, ORDER);
            VectorMath.silu(v).intoMemorySegment(x, (at + i) * 4, ORDER);
        }
    }

    private static void geluTanh(MemorySegment x, long at, int count) {
        for (int i = 0; i < count; i += LANES) {
            FloatVector v = FloatVector.fromMemorySegment(F, x, (at + i) * 4, ORDER);
            VectorMath.geluTanh(v).intoMemorySegment(x, (at + i) * 4, ORDER);
        }
    }

    private static void gelu(MemorySegment x, long at, int count) {
        for (int i = 0; i < count; i += LANES) {
            FloatVector v = FloatVector.fromMemorySegment(F, x, (at + i) * 4, ORDER);
            VectorMath.gelu(v).intoMemorySegment(x, (at + i) * 4, ORDER);
        }
    }

    /// gate = f(gate) · up.
    static void gate(Activation f, MemorySegment gate, MemorySegment up, long at, int count) {
        activate(f, gate, at, count);
        int i = 0;
        for (; i <= count - LANES; i += LANES) {
            FloatVector u = FloatVector.fromMemorySegment(F, up, (at + i) * 4, ORDER);
            FloatVector.fromMemorySegment(F, gate, (at + i) * 4, ORDER)
                    .mul(u)
                    .intoMemorySegment(gate, (at + i) * 4, ORDER);
        }
        for (; i < count; i++) {
            gate.set(FLOAT, (at + i) * 4, gate.get(FLOAT, (at + i) * 4) * up.get(FLOAT, (at + i) * 4));
        }
    }

    private static FloatVector apply(Activation f, FloatVector v) {
        return switch (f) {
            case RELU -> v.max(0f);
            case SILU -> VectorMath.silu(v);
            case GELU_TANH -> VectorMath.geluTanh(v);
            case GELU -> VectorMath.gelu(v);
        };
    }

    /// y += x.
    static void add(MemorySegment x, long xAt, MemorySegment y, long yAt, int count) {
        int i = 0;
        for (; i <= count - LANES; i += LANES) {
            FloatVector v = FloatVector.fromMemorySegment(F, x, (xAt + i) * 4, ORDER);
            FloatVector.fromMemorySegment(F, y, (yAt + i) * 4, ORDER).add(v).intoMemorySegment(y, (yAt + i) * 4, ORDER);
        }
        for (; i < count; i++) {
            y.set(FLOAT, (yAt + i) * 4, y.get(FLOAT, (yAt + i) * 4) + x.get(FLOAT, (xAt + i) * 4));
        }
    }

    /// x = factor · x.
    static void scale(MemorySegment x, long at, int count, float factor) {
        int i = 0;
        for (; i <= count - LANES; i += LANES) {
            FloatVector.fromMemorySegment(F, x, (at + i) * 4, ORDER)
                    .mul(factor)
                    .intoMemorySegment(x, (at + i) * 4, ORDER);
        }
        for (; i < count; i++) {
            x.set(FLOAT, (at + i) * 4, x.get(FLOAT, (at + i) * 4) * factor);
        }
    }

    /// x = cap · tanh(x / cap).
    static void softcap(float cap, MemorySegment x, long at, int count) {
        for (int i = 0; i < count; i += LANES) {
            VectorMask<Float> mask = F.indexInRange(i, count);
            FloatVector v = FloatVector.fromMemorySegment(F, x, (at + i) * 4, ORDER, mask);
            VectorMath.tanh(v.div(cap)).mul(cap).intoMemorySegment(x, (at + i) * 4, ORDER, mask);
        }
    }

    /// Root mean square norm of one row: y = x / √(mean x² + epsilon) · (weight + offset); `weight` float32 or null.
    static void rmsNorm(
            MemorySegment x, MemorySegment y, long at, int count, float epsilon, MemorySegment weight, float offset) {
        float meanSquare = squares(x, at, count, 0f) / count;
        float scale = (float) (1 / Math.sqrt(meanSquare + (double) epsilon));
        int i = 0;
        if (weight == null) {
            for (; i <= count - LANES; i += LANES) {
                FloatVector.fromMemorySegment(F, x, (at + i) * 4, ORDER)
                        .mul(scale)
                        .intoMemorySegment(y, (at + i) * 4, ORDER);
            }
        } else {
            for (; i <= count - LANES; i += LANES) {
                FloatVector w =
                        FloatVector.fromMemorySegment(F, weight, i * 4L, ORDER).add(offset);
                FloatVector.fromMemorySegment(F, x, (at + i) * 4, ORDER)
                        .mul(scale)
                        .mul(w)
                        .intoMemorySegment(y, (at + i) * 4, ORDER);
            }
        }
        for (; i < count; i++) {
            float v = x.get(FLOAT, (at + i) * 4) * scale;
            y.set(FLOAT, (at + i) * 4, weight == null ? v : v * (weight.get(FLOAT, i * 4L) + offset));
        }
    }

    /// Layer norm of one row: y = (x - mean) / √(variance + epsilon) · weight + bias; `weight`, `bias` float32 or null.
    static void layerNorm(
            MemorySegment x,
            MemorySegment y,
            long at,
            int count,
            float epsilon,
            MemorySegment weight,
            MemorySegment bias) {
        float mean = sum(x, at, count) / count;
        float variance = squares(x, at, count, mean) / count;
        float scale = (float) (1 / Math.sqrt(variance + (double) epsilon));
        for (int i = 0; i <= count - LANES; i += LANES) {
            FloatVector.fromMemorySegment(F, x, (at + i) * 4, ORDER)
                    .sub(mean)
                    .mul(scale)
                    .intoMemorySegment(y, (at + i) * 4, ORDER);
        }
        for (int i = count - count % LANES; i < count; i++) {
            y.set(FLOAT, (at + i) * 4, (x.get(FLOAT, (at + i) * 4) - mean) * scale);
        }
        if (weight != null) {
            multiply(weight, y, at, count);
        }
        if (bias != null) {
            add(bias, 0, y, at, count);
        }
    }

    /// y *= x for the first `count` floats of `x`.
    private static void multiply(MemorySegment x, MemorySegment y, long at, int count) {
        int i = 0;
        for (; i <= count - LANES; i += LANES) {
            FloatVector v = FloatVector.fromMemorySegment(F, x, i * 4L, ORDER);
            FloatVector.fromMemorySegment(F, y, (at + i) * 4, ORDER).mul(v).intoMemorySegment(y, (at + i) * 4, ORDER);
        }
        for (; i < count; i++) {
            y.set(FLOAT, (at + i) * 4, y.get(FLOAT, (at + i) * 4) * x.get(FLOAT, i * 4L));
        }
    }

    private static float sum(MemorySegment x, long at, int count) {
        FloatVector sum = FloatVector.zero(F);
        int i = 0;
        for (; i <= count - LANES; i += LANES) {
            sum = sum.add(FloatVector.fromMemorySegment(F, x, (at + i) * 4, ORDER));
        }
        float rest = VectorMath.sum(sum);
        for (; i < count; i++) {
            rest += x.get(FLOAT, (at + i) * 4);
        }
        return rest;
    }

    /// Σ (x - mean)².
    private static float squares(MemorySegment x, long at, int count, float mean) {
        FloatVector sum = FloatVector.zero(F);
        int i = 0;
        for (; i <= count - LANES; i += LANES) {
            FloatVector v =
                    FloatVector.fromMemorySegment(F, x, (at + i) * 4, ORDER).sub(mean);
            sum = sum.add(v.mul(v));
        }
        float rest = VectorMath.sum(sum);
        for (; i < count; i++) {
            float v = x.get(FLOAT, (at + i) * 4) - mean;
            rest += v * v;
        }
        return rest;
    }

    /// Turns `count` scores into probabilities, in place: exp(x - max) / Σ.
    static void softmax(MemorySegment x, long at, int count) {
        float max = max(x, at, count);
        if (count < LANES) {
            lastExponentials(x, at, count, max);
        } else {
            exponentials(x, at, count, max);
        }
        scale(x, at, count, 1 / sum(x, at, count));
    }

    /// exp(x - max) of at least a vector, in place. The last vector overlaps the one before and is computed first, from what
    /// lies there then: a mask would be an object.
    private static void exponentials(MemorySegment x, long at, int count, float max) {
        long last = (at + count - LANES) * 4;
        long aside = Sums.scratch();
        exponentials(x, last, Raw.ALL, aside, LANES, max);
        exponentials(x, at * 4, x, at * 4, F.loopBound(count), max);
        FloatVector.fromMemorySegment(F, Raw.ALL, aside, ORDER).intoMemorySegment(x, last, ORDER);
    }

    /// exp(x - max) of whole vectors.
    private static void exponentials(MemorySegment x, long at, MemorySegment y, long yAt, int count, float max) {
        for (int i = 0; i < count; i += LANES) {
            FloatVector v = FloatVector.fromMemorySegment(F, x, at + i * 4L, ORDER);
            VectorMath.exp(v.sub(max)).intoMemorySegment(y, yAt + i * 4L, ORDER);
        }
    }

    private static float max(MemorySegment x, long at, int count) {
        FloatVector most = FloatVector.broadcast(F, Float.NEGATIVE_INFINITY);
        int i = 0;
        for (; i <= count - LANES; i += LANES) {
            most = most.max(FloatVector.fromMemorySegment(F, x, (at + i) * 4, ORDER));
        }
        float max = most.reduceLanes(VectorOperators.MAX);
        for (; i < count; i++) {
            max = Math.max(max, x.get(FLOAT, (at + i) * 4));
        }
        return max;
    }

    /// exp(x - max) of less than a vector, in place.
    private static void lastExponentials(MemorySegment x, long at, int count, float max) {
        VectorMask<Float> mask = F.indexInRange(0, count);
        FloatVector v = FloatVector.fromMemorySegment(F, x, at * 4, ORDER, mask);
        VectorMath.exp(v.sub(max)).intoMemorySegment(x, at * 4, ORDER, mask);
    }

    /// Σ a[i] b[i].
    static float dot(MemorySegment a, long aAt, MemorySegment b, long bAt, int count) {
        if (!VectorCheck.compiled()) {
            float sum = 0;
            for (int c = 0; c < count; c++) {
                sum += a.get(FLOAT, (aAt + c) * 4) * b.get(FLOAT, (bAt + c) * 4);
            }
            return sum;
        }
        FloatVector sum = FloatVector.zero(F);
        int i = 0;
        for (; i <= count - LANES; i += LANES) {
            FloatVector v = FloatVector.fromMemorySegment(F, a, (aAt + i) * 4, ORDER);
            sum = FloatVector.fromMemorySegment(F, b, (bAt + i) * 4, ORDER)
                    .mul(v)
                    .add(sum);
        }
        float rest = VectorMath.sum(sum);
        for (; i < count; i++) {
            rest += a.get(FLOAT, (aAt + i) * 4) * b.get(FLOAT, (bAt + i) * 4);
        }
        return rest;
    }

    /// y[i] = Σ_p weights[p] · rows[p][i] over `rows` rows that lie `stride` floats apart; `count` floats a row.
    static void weightedRows(
            MemorySegment weights,
            long weightsAt,
            MemorySegment values,
            long at,
            int stride,
            int rows,
            MemorySegment y,
            long yAt,
            int count) {
        if (!VectorCheck.compiled()) {
            weightedRowsScalar(weights, weightsAt, values, at, stride, rows, y, yAt, count);
            return;
        }
        int i = 0;
        for (; i + 4 * LANES <= count; i += 4 * LANES) {
            FloatVector a = FloatVector.zero(F);
            FloatVector b = FloatVector.zero(F);
            FloatVector c = FloatVector.zero(F);
            FloatVector d = FloatVector.zero(F);
            long p = (at + i) * 4;
            for (int row = 0; row < rows; row++, p += stride * 4L) {
                float w = weights.get(FLOAT, (weightsAt + row) * 4);
                a = FloatVector.fromMemorySegment(F, values, p, ORDER).mul(w).add(a);
                b = FloatVector.fromMemorySegment(F, values, p + LANES * 4L, ORDER)
                        .mul(w)
                        .add(b);
                c = FloatVector.fromMemorySegment(F, values, p + LANES * 8L, ORDER)
                        .mul(w)
                        .add(c);
                d = FloatVector.fromMemorySegment(F, values, p + LANES * 12L, ORDER)
                        .mul(w)
                        .add(d);
            }
            a.intoMemorySegment(y, (yAt + i) * 4, ORDER);
            b.intoMemorySegment(y, (yAt + i + LANES) * 4, ORDER);
            c.intoMemorySegment(y, (yAt + i + 2L * LANES) * 4, ORDER);
            d.intoMemorySegment(y, (yAt + i + 3L * LANES) * 4, ORDER);
        }
        for (; i <= count - LANES; i += LANES) {
            FloatVector a = FloatVector.zero(F);
            for (int row = 0; row < rows; row++) {
                float w = weights.get(FLOAT, (weightsAt + row) * 4);
                a = FloatVector.fromMemorySegment(F, values, (at + i + (long) row * stride) * 4, ORDER)
                        .mul(w)
                        .add(a);
            }
            a.intoMemorySegment(y, (yAt + i) * 4, ORDER);
        }
        if (i < count) {
            weightedRowsScalar(weights, weightsAt, values, at + i, stride, rows, y, yAt + i, count - i);
        }
    }

    private static void weightedRowsScalar(
            MemorySegment weights,
            long weightsAt,
            MemorySegment values,
            long at,
            int stride,
            int rows,
            MemorySegment y,
            long yAt,
            int count) {
        y.asSlice(yAt * 4, count * 4L).fill((byte) 0);
        for (int row = 0; row < rows; row++) {
            float w = weights.get(FLOAT, (weightsAt + row) * 4);
            long from = at + (long) row * stride;
            for (int i = 0; i < count; i++) {
                float sum = y.get(FLOAT, (yAt + i) * 4);
                y.set(FLOAT, (yAt + i) * 4, sum + w * values.get(FLOAT, (from + i) * 4));
            }
        }
    }

    /// Rotates one head of `2 * half` floats: the pair (i, half + i) by the angle whose cosine and sine are
    /// cosSin[i] and cosSin[half + i].
    static void rotate(MemorySegment x, long at, MemorySegment cosSin, long angleAt, int half) {
        int i = 0;
        for (; i <= half - LANES; i += LANES) {
            FloatVector a = FloatVector.fromMemorySegment(F, x, (at + i) * 4, ORDER);
            FloatVector b = FloatVector.fromMemorySegment(F, x, (at + half + i) * 4, ORDER);
            FloatVector cos = FloatVector.fromMemorySegment(F, cosSin, (angleAt + i) * 4, ORDER);
            FloatVector sin = FloatVector.fromMemorySegment(F, cosSin, (angleAt + half + i) * 4, ORDER);
            a.mul(cos).sub(b.mul(sin)).intoMemorySegment(x, (at + i) * 4, ORDER);
            b.mul(cos).add(a.mul(sin)).intoMemorySegment(x, (at + half + i) * 4, ORDER);
        }
        for (; i < half; i++) {
            float a = x.get(FLOAT, (at + i) * 4);
            float b = x.get(FLOAT, (at + half + i) * 4);
            float cos = cosSin.get(FLOAT, (angleAt + i) * 4);
            float sin = cosSin.get(FLOAT, (angleAt + half + i) * 4);
            x.set(FLOAT, (at + i) * 4, a * cos - b * sin);
            x.set(FLOAT, (at + half + i) * 4, b * cos + a * sin);
        }
    }
}
