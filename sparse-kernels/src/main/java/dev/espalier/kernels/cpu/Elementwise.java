package dev.espalier.kernels.cpu;

import dev.espalier.kernels.Backend.Activation;
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
/// Offsets and counts are in floats. The last, partial vector of a row goes through the same operations under a mask, so
/// a value does not depend on where it stands.
final class Elementwise {
    private static final VectorSpecies<Float> F = FloatVector.SPECIES_PREFERRED;
    private static final int LANES = F.length();
    private static final ByteOrder ORDER = ByteOrder.LITTLE_ENDIAN;
    private static final ValueLayout.OfFloat FLOAT = ValueLayout.JAVA_FLOAT_UNALIGNED;

    private Elementwise() {}

    /// x = f(x) for `count` floats from `at` on.
    static void activate(Activation f, MemorySegment x, long at, int count) {
        for (int i = 0; i < count; i += LANES) {
            VectorMask<Float> mask = F.indexInRange(i, count);
            FloatVector v = FloatVector.fromMemorySegment(F, x, (at + i) * 4, ORDER, mask);
            apply(f, v).intoMemorySegment(x, (at + i) * 4, ORDER, mask);
        }
    }

    /// gate = f(gate) · up.
    static void gate(Activation f, MemorySegment gate, MemorySegment up, long at, int count) {
        for (int i = 0; i < count; i += LANES) {
            VectorMask<Float> mask = F.indexInRange(i, count);
            FloatVector v = FloatVector.fromMemorySegment(F, gate, (at + i) * 4, ORDER, mask);
            FloatVector u = FloatVector.fromMemorySegment(F, up, (at + i) * 4, ORDER, mask);
            apply(f, v).mul(u).intoMemorySegment(gate, (at + i) * 4, ORDER, mask);
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
        for (int i = 0; i < count; i += LANES) {
            VectorMask<Float> mask = F.indexInRange(i, count);
            FloatVector v = FloatVector.fromMemorySegment(F, x, (xAt + i) * 4, ORDER, mask);
            FloatVector.fromMemorySegment(F, y, (yAt + i) * 4, ORDER, mask)
                    .add(v)
                    .intoMemorySegment(y, (yAt + i) * 4, ORDER, mask);
        }
    }

    /// x = factor · x.
    static void scale(MemorySegment x, long at, int count, float factor) {
        for (int i = 0; i < count; i += LANES) {
            VectorMask<Float> mask = F.indexInRange(i, count);
            FloatVector.fromMemorySegment(F, x, (at + i) * 4, ORDER, mask)
                    .mul(factor)
                    .intoMemorySegment(x, (at + i) * 4, ORDER, mask);
        }
    }

    /// x = cap · tanh(x / cap).
    static void softcap(float cap, MemorySegment x, long at, int count) {
        for (int i = 0; i < count; i += LANES) {
            VectorMask<Float> mask = F.indexInRange(i, count);
            FloatVector v = FloatVector.fromMemorySegment(F, x, (at + i) * 4, ORDER, mask);
            VectorMath.tanh(v.div(cap))
                    .mul(cap)
                    .intoMemorySegment(x, (at + i) * 4, ORDER, mask);
        }
    }

    /// Root mean square norm of one row: y = x / √(mean x² + epsilon) · (weight + offset); `weight` float32 or null.
    static void rmsNorm(
            MemorySegment x, MemorySegment y, long at, int count, float epsilon, MemorySegment weight, float offset) {
        float meanSquare = squares(x, at, count, 0f) / count;
        float scale = (float) (1 / Math.sqrt(meanSquare + (double) epsilon));
        for (int i = 0; i < count; i += LANES) {
            VectorMask<Float> mask = F.indexInRange(i, count);
            FloatVector v = FloatVector.fromMemorySegment(F, x, (at + i) * 4, ORDER, mask)
                    .mul(scale);
            if (weight != null) {
                v = v.mul(FloatVector.fromMemorySegment(F, weight, i * 4L, ORDER, mask)
                        .add(offset));
            }
            v.intoMemorySegment(y, (at + i) * 4, ORDER, mask);
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
        for (int i = 0; i < count; i += LANES) {
            VectorMask<Float> mask = F.indexInRange(i, count);
            FloatVector v = FloatVector.fromMemorySegment(F, x, (at + i) * 4, ORDER, mask)
                    .sub(mean)
                    .mul(scale);
            if (weight != null) {
                v = v.mul(FloatVector.fromMemorySegment(F, weight, i * 4L, ORDER, mask));
            }
            if (bias != null) {
                v = v.add(FloatVector.fromMemorySegment(F, bias, i * 4L, ORDER, mask));
            }
            v.intoMemorySegment(y, (at + i) * 4, ORDER, mask);
        }
    }

    private static float sum(MemorySegment x, long at, int count) {
        FloatVector sum = FloatVector.zero(F);
        for (int i = 0; i < count; i += LANES) {
            sum = sum.add(FloatVector.fromMemorySegment(F, x, (at + i) * 4, ORDER, F.indexInRange(i, count)));
        }
        return VectorMath.sum(sum);
    }

    /// Σ (x - mean)².
    private static float squares(MemorySegment x, long at, int count, float mean) {
        FloatVector sum = FloatVector.zero(F);
        for (int i = 0; i < count; i += LANES) {
            VectorMask<Float> mask = F.indexInRange(i, count);
            FloatVector v = FloatVector.fromMemorySegment(F, x, (at + i) * 4, ORDER, mask);
            v = FloatVector.zero(F).blend(v.sub(mean), mask);
            sum = sum.add(v.mul(v));
        }
        return VectorMath.sum(sum);
    }

    /// Turns `count` scores into probabilities, in place: exp(x - max) / Σ.
    static void softmax(MemorySegment x, long at, int count) {
        FloatVector most = FloatVector.broadcast(F, Float.NEGATIVE_INFINITY);
        for (int i = 0; i < count; i += LANES) {
            VectorMask<Float> mask = F.indexInRange(i, count);
            most = most.max(FloatVector.broadcast(F, Float.NEGATIVE_INFINITY)
                    .blend(FloatVector.fromMemorySegment(F, x, (at + i) * 4, ORDER, mask), mask));
        }
        float max = most.reduceLanes(VectorOperators.MAX);
        FloatVector sum = FloatVector.zero(F);
        for (int i = 0; i < count; i += LANES) {
            VectorMask<Float> mask = F.indexInRange(i, count);
            FloatVector v = VectorMath.exp(
                    FloatVector.fromMemorySegment(F, x, (at + i) * 4, ORDER, mask).sub(max));
            v = FloatVector.zero(F).blend(v, mask);
            v.intoMemorySegment(x, (at + i) * 4, ORDER, mask);
            sum = sum.add(v);
        }
        scale(x, at, count, 1 / VectorMath.sum(sum));
    }

    /// Σ a[i] b[i].
    static float dot(MemorySegment a, long aAt, MemorySegment b, long bAt, int count) {
        if (!VectorCheck.compiled()) {
            float sum = 0;
            for (int i = 0; i < count; i++) {
                sum += a.get(FLOAT, (aAt + i) * 4) * b.get(FLOAT, (bAt + i) * 4);
            }
            return sum;
        }
        FloatVector sum = FloatVector.zero(F);
        for (int i = 0; i < count; i += LANES) {
            VectorMask<Float> mask = F.indexInRange(i, count);
            FloatVector v = FloatVector.fromMemorySegment(F, a, (aAt + i) * 4, ORDER, mask);
            sum = FloatVector.fromMemorySegment(F, b, (bAt + i) * 4, ORDER, mask)
                    .mul(v)
                    .add(sum);
        }
        return VectorMath.sum(sum);
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
        for (; i < count; i += LANES) {
            VectorMask<Float> mask = F.indexInRange(i, count);
            FloatVector a = FloatVector.zero(F);
            for (int row = 0; row < rows; row++) {
                float w = weights.get(FLOAT, (weightsAt + row) * 4);
                a = FloatVector.fromMemorySegment(F, values, (at + i + (long) row * stride) * 4, ORDER, mask)
                        .mul(w)
                        .add(a);
            }
            a.intoMemorySegment(y, (yAt + i) * 4, ORDER, mask);
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
        for (int i = 0; i < half; i += LANES) {
            VectorMask<Float> mask = F.indexInRange(i, half);
            FloatVector a = FloatVector.fromMemorySegment(F, x, (at + i) * 4, ORDER, mask);
            FloatVector b = FloatVector.fromMemorySegment(F, x, (at + half + i) * 4, ORDER, mask);
            FloatVector cos = FloatVector.fromMemorySegment(F, cosSin, (angleAt + i) * 4, ORDER, mask);
            FloatVector sin = FloatVector.fromMemorySegment(F, cosSin, (angleAt + half + i) * 4, ORDER, mask);
            a.mul(cos).sub(b.mul(sin)).intoMemorySegment(x, (at + i) * 4, ORDER, mask);
            b.mul(cos).add(a.mul(sin)).intoMemorySegment(x, (at + half + i) * 4, ORDER, mask);
        }
    }
}
