package dev.espalier.kernels.cpu;

import dev.espalier.kernels.Backend.Activation;
import dev.espalier.kernels.simd.CompilerHints;
import dev.espalier.kernels.simd.Raw;
import dev.espalier.kernels.simd.Sums;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorMask;
import jdk.incubator.vector.VectorOperators;
import jdk.incubator.vector.VectorSpecies;

/// What a decoder does to single rows of float32: activations, norms, softmax, rotations, sums.
///
/// Offsets and counts are in floats; memory outside the heap is checked once a call and then addressed: code that was
/// compiled for one kind of segment would be thrown away for another. What lies past the last whole vector of a row goes
/// through the same operations, one by one or under a mask, so a value does not depend on where it stands. Masks are for
/// short loops only: each masked load is so large a graph that C2 gives up on a loop with several of them and boxes its
/// vectors.
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
    static void activate(Activation f, MemorySegment xMemory, long at, int count) {
        long x = Raw.address(xMemory, (at + count) * 4);
        int whole = F.loopBound(count);
        switch (f) {
            case RELU -> relu(x, at, whole);
            case SILU -> silu(x, at, whole);
            case GELU_TANH -> geluTanh(x, at, whole);
            case GELU -> gelu(x, at, whole);
        }
        if (whole < count) {
            VectorMask<Float> mask = F.indexInRange(whole, count);
            FloatVector v = FloatVector.fromMemorySegment(F, Raw.ALL, x + (at + whole) * 4, ORDER, mask);
            apply(f, v).intoMemorySegment(Raw.ALL, x + (at + whole) * 4, ORDER, mask);
        }
    }

    private static void relu(long x, long at, int count) {
        for (int i = 0; i < count; i += LANES) {
            FloatVector v = FloatVector.fromMemorySegment(F, Raw.ALL, x + (at + i) * 4, ORDER);
            v.max(0f).intoMemorySegment(Raw.ALL, x + (at + i) * 4, ORDER);
        }
    }

    private static void silu(long x, long at, int count) {
        for (int i = 0; i < count; i += LANES) {
            FloatVector v = FloatVector.fromMemorySegment(F, Raw.ALL, x + (at + i) * 4, ORDER);
            VectorMath.silu(v).intoMemorySegment(Raw.ALL, x + (at + i) * 4, ORDER);
        }
    }

    private static void geluTanh(long x, long at, int count) {
        for (int i = 0; i < count; i += LANES) {
            FloatVector v = FloatVector.fromMemorySegment(F, Raw.ALL, x + (at + i) * 4, ORDER);
            VectorMath.geluTanh(v).intoMemorySegment(Raw.ALL, x + (at + i) * 4, ORDER);
        }
    }

    private static void gelu(long x, long at, int count) {
        for (int i = 0; i < count; i += LANES) {
            FloatVector v = FloatVector.fromMemorySegment(F, Raw.ALL, x + (at + i) * 4, ORDER);
            VectorMath.gelu(v).intoMemorySegment(Raw.ALL, x + (at + i) * 4, ORDER);
        }
    }

    /// gate = f(gate) · up.
    static void gate(Activation f, MemorySegment gateMemory, MemorySegment upMemory, long at, int count) {
        long gate = Raw.address(gateMemory, (at + count) * 4);
        long up = Raw.address(upMemory, (at + count) * 4);
        activate(f, gateMemory, at, count);
        int i = 0;
        for (; i <= count - LANES; i += LANES) {
            FloatVector u = FloatVector.fromMemorySegment(F, Raw.ALL, up + (at + i) * 4, ORDER);
            FloatVector.fromMemorySegment(F, Raw.ALL, gate + (at + i) * 4, ORDER)
                    .mul(u)
                    .intoMemorySegment(Raw.ALL, gate + (at + i) * 4, ORDER);
        }
        for (; i < count; i++) {
            Raw.ALL.set(
                    FLOAT,
                    gate + (at + i) * 4,
                    Raw.ALL.get(FLOAT, gate + (at + i) * 4) * Raw.ALL.get(FLOAT, up + (at + i) * 4));
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
    static void add(MemorySegment xMemory, long xAt, MemorySegment yMemory, long yAt, int count) {
        long x = Raw.address(xMemory, (xAt + count) * 4);
        long y = Raw.address(yMemory, (yAt + count) * 4);
        int i = 0;
        for (; i <= count - LANES; i += LANES) {
            FloatVector v = FloatVector.fromMemorySegment(F, Raw.ALL, x + (xAt + i) * 4, ORDER);
            FloatVector.fromMemorySegment(F, Raw.ALL, y + (yAt + i) * 4, ORDER)
                    .add(v)
                    .intoMemorySegment(Raw.ALL, y + (yAt + i) * 4, ORDER);
        }
        for (; i < count; i++) {
            Raw.ALL.set(
                    FLOAT,
                    y + (yAt + i) * 4,
                    Raw.ALL.get(FLOAT, y + (yAt + i) * 4) + Raw.ALL.get(FLOAT, x + (xAt + i) * 4));
        }
    }

    /// x = factor · x.
    static void scale(MemorySegment xMemory, long at, int count, float factor) {
        long x = Raw.address(xMemory, (at + count) * 4);
        int i = 0;
        for (; i <= count - LANES; i += LANES) {
            FloatVector.fromMemorySegment(F, Raw.ALL, x + (at + i) * 4, ORDER)
                    .mul(factor)
                    .intoMemorySegment(Raw.ALL, x + (at + i) * 4, ORDER);
        }
        for (; i < count; i++) {
            Raw.ALL.set(FLOAT, x + (at + i) * 4, Raw.ALL.get(FLOAT, x + (at + i) * 4) * factor);
        }
    }

    /// x = cap · tanh(x / cap).
    static void softcap(float cap, MemorySegment xMemory, long at, int count) {
        long x = Raw.address(xMemory, (at + count) * 4);
        for (int i = 0; i < count; i += LANES) {
            VectorMask<Float> mask = F.indexInRange(i, count);
            FloatVector v = FloatVector.fromMemorySegment(F, Raw.ALL, x + (at + i) * 4, ORDER, mask);
            VectorMath.tanh(v.div(cap)).mul(cap).intoMemorySegment(Raw.ALL, x + (at + i) * 4, ORDER, mask);
        }
    }

    /// Root mean square norm of one row: y = x / √(mean x² + epsilon) · (weight + offset); `weight` float32 or null.
    static void rmsNorm(
            MemorySegment xMemory,
            MemorySegment yMemory,
            long at,
            int count,
            float epsilon,
            MemorySegment weightMemory,
            float offset) {
        long x = Raw.address(xMemory, (at + count) * 4);
        long y = Raw.address(yMemory, (at + count) * 4);
        long weight = weightMemory == null ? 0 : Raw.address(weightMemory, count * 4L);
        float meanSquare = squares(x, at, count, 0f) / count;
        float scale = (float) (1 / Math.sqrt(meanSquare + (double) epsilon));
        int i = 0;
        if (weight == 0) {
            for (; i <= count - LANES; i += LANES) {
                FloatVector.fromMemorySegment(F, Raw.ALL, x + (at + i) * 4, ORDER)
                        .mul(scale)
                        .intoMemorySegment(Raw.ALL, y + (at + i) * 4, ORDER);
            }
        } else {
            for (; i <= count - LANES; i += LANES) {
                FloatVector w = FloatVector.fromMemorySegment(F, Raw.ALL, weight + i * 4L, ORDER)
                        .add(offset);
                FloatVector.fromMemorySegment(F, Raw.ALL, x + (at + i) * 4, ORDER)
                        .mul(scale)
                        .mul(w)
                        .intoMemorySegment(Raw.ALL, y + (at + i) * 4, ORDER);
            }
        }
        for (; i < count; i++) {
            float v = Raw.ALL.get(FLOAT, x + (at + i) * 4) * scale;
            Raw.ALL.set(FLOAT, y + (at + i) * 4, weight == 0 ? v : v * (Raw.ALL.get(FLOAT, weight + i * 4L) + offset));
        }
    }

    /// Layer norm of one row: y = (x - mean) / √(variance + epsilon) · weight + bias; `weight`, `bias` float32 or null.
    static void layerNorm(
            MemorySegment xMemory,
            MemorySegment yMemory,
            long at,
            int count,
            float epsilon,
            MemorySegment weightMemory,
            MemorySegment biasMemory) {
        long x = Raw.address(xMemory, (at + count) * 4);
        long y = Raw.address(yMemory, (at + count) * 4);
        long weight = weightMemory == null ? 0 : Raw.address(weightMemory, count * 4L);
        float mean = sum(x, at, count) / count;
        float variance = squares(x, at, count, mean) / count;
        float scale = (float) (1 / Math.sqrt(variance + (double) epsilon));
        for (int i = 0; i <= count - LANES; i += LANES) {
            FloatVector.fromMemorySegment(F, Raw.ALL, x + (at + i) * 4, ORDER)
                    .sub(mean)
                    .mul(scale)
                    .intoMemorySegment(Raw.ALL, y + (at + i) * 4, ORDER);
        }
        for (int i = count - count % LANES; i < count; i++) {
            Raw.ALL.set(FLOAT, y + (at + i) * 4, (Raw.ALL.get(FLOAT, x + (at + i) * 4) - mean) * scale);
        }
        if (weight != 0) {
            multiply(weight, y, at, count);
        }
        if (biasMemory != null) {
            add(biasMemory, 0, yMemory, at, count);
        }
    }

    /// y *= x for the first `count` floats of `x`.
    private static void multiply(long x, long y, long at, int count) {
        int i = 0;
        for (; i <= count - LANES; i += LANES) {
            FloatVector v = FloatVector.fromMemorySegment(F, Raw.ALL, x + i * 4L, ORDER);
            FloatVector.fromMemorySegment(F, Raw.ALL, y + (at + i) * 4, ORDER)
                    .mul(v)
                    .intoMemorySegment(Raw.ALL, y + (at + i) * 4, ORDER);
        }
        for (; i < count; i++) {
            Raw.ALL.set(FLOAT, y + (at + i) * 4, Raw.ALL.get(FLOAT, y + (at + i) * 4) * Raw.ALL.get(FLOAT, x + i * 4L));
        }
    }

    private static float sum(long x, long at, int count) {
        FloatVector sum = FloatVector.zero(F);
        int i = 0;
        for (; i <= count - LANES; i += LANES) {
            sum = FloatVector.fromMemorySegment(F, Raw.ALL, x + (at + i) * 4, ORDER)
                    .add(sum);
        }
        float rest = VectorMath.sum(sum);
        for (; i < count; i++) {
            rest += Raw.ALL.get(FLOAT, x + (at + i) * 4);
        }
        return rest;
    }

    /// Σ (x - mean)².
    private static float squares(long x, long at, int count, float mean) {
        FloatVector sum = FloatVector.zero(F);
        int i = 0;
        for (; i <= count - LANES; i += LANES) {
            FloatVector v = FloatVector.fromMemorySegment(F, Raw.ALL, x + (at + i) * 4, ORDER)
                    .sub(mean);
            sum = v.mul(v).add(sum);
        }
        float rest = VectorMath.sum(sum);
        for (; i < count; i++) {
            float v = Raw.ALL.get(FLOAT, x + (at + i) * 4) - mean;
            rest += v * v;
        }
        return rest;
    }

    /// Turns `count` scores into probabilities, in place: exp(x - max) / Σ.
    static void softmax(MemorySegment xMemory, long at, int count) {
        long x = Raw.address(xMemory, (at + count) * 4);
        float max = max(x, at, count);
        if (count < LANES) {
            lastExponentials(x, at, count, max);
        } else {
            exponentials(x, at, count, max);
        }
        scale(xMemory, at, count, 1 / sum(x, at, count));
    }

    /// exp(x - max) of at least a vector, in place. The last vector overlaps the one before and is computed first, from what
    /// lies there then: a mask would be an object.
    private static void exponentials(long x, long at, int count, float max) {
        long last = (at + count - LANES) * 4;
        long aside = Sums.scratch();
        exponentials(x, last, 0, aside, LANES, max);
        exponentials(x, at * 4, x, at * 4, F.loopBound(count), max);
        FloatVector.fromMemorySegment(F, Raw.ALL, aside, ORDER).intoMemorySegment(Raw.ALL, x + last, ORDER);
    }

    /// exp(x - max) of whole vectors.
    private static void exponentials(long x, long at, long y, long yAt, int count, float max) {
        for (int i = 0; i < count; i += LANES) {
            FloatVector v = FloatVector.fromMemorySegment(F, Raw.ALL, x + at + i * 4L, ORDER);
            VectorMath.exp(v.sub(max)).intoMemorySegment(Raw.ALL, y + yAt + i * 4L, ORDER);
        }
    }

    private static float max(long x, long at, int count) {
        FloatVector most = FloatVector.broadcast(F, Float.NEGATIVE_INFINITY);
        int i = 0;
        for (; i <= count - LANES; i += LANES) {
            most = FloatVector.fromMemorySegment(F, Raw.ALL, x + (at + i) * 4, ORDER)
                    .max(most);
        }
        float max = most.reduceLanes(VectorOperators.MAX);
        for (; i < count; i++) {
            max = Math.max(max, Raw.ALL.get(FLOAT, x + (at + i) * 4));
        }
        return max;
    }

    /// exp(x - max) of less than a vector, in place.
    private static void lastExponentials(long x, long at, int count, float max) {
        VectorMask<Float> mask = F.indexInRange(0, count);
        FloatVector v = FloatVector.fromMemorySegment(F, Raw.ALL, x + at * 4, ORDER, mask);
        VectorMath.exp(v.sub(max)).intoMemorySegment(Raw.ALL, x + at * 4, ORDER, mask);
    }

    /// Rotates one head of `2 * half` floats: the pair (i, half + i) by the angle whose cosine and sine are
    /// cosSin[i] and cosSin[half + i].
    static void rotate(MemorySegment xMemory, long at, MemorySegment cosSinMemory, long angleAt, int half) {
        long x = Raw.address(xMemory, (at + 2L * half) * 4);
        long cosSin = Raw.address(cosSinMemory, (angleAt + 2L * half) * 4);
        int i = 0;
        for (; i <= half - LANES; i += LANES) {
            FloatVector a = FloatVector.fromMemorySegment(F, Raw.ALL, x + (at + i) * 4, ORDER);
            FloatVector b = FloatVector.fromMemorySegment(F, Raw.ALL, x + (at + half + i) * 4, ORDER);
            FloatVector cos = FloatVector.fromMemorySegment(F, Raw.ALL, cosSin + (angleAt + i) * 4, ORDER);
            FloatVector sin = FloatVector.fromMemorySegment(F, Raw.ALL, cosSin + (angleAt + half + i) * 4, ORDER);
            a.mul(cos).sub(b.mul(sin)).intoMemorySegment(Raw.ALL, x + (at + i) * 4, ORDER);
            b.mul(cos).add(a.mul(sin)).intoMemorySegment(Raw.ALL, x + (at + half + i) * 4, ORDER);
        }
        for (; i < half; i++) {
            float a = Raw.ALL.get(FLOAT, x + (at + i) * 4);
            float b = Raw.ALL.get(FLOAT, x + (at + half + i) * 4);
            float cos = Raw.ALL.get(FLOAT, cosSin + (angleAt + i) * 4);
            float sin = Raw.ALL.get(FLOAT, cosSin + (angleAt + half + i) * 4);
            Raw.ALL.set(FLOAT, x + (at + i) * 4, a * cos - b * sin);
            Raw.ALL.set(FLOAT, x + (at + half + i) * 4, b * cos + a * sin);
        }
    }
}
