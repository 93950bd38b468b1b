package dev.espalier.kernels.cpu;

import dev.espalier.kernels.simd.CompilerHints;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.VectorMask;
import jdk.incubator.vector.VectorOperators;
import jdk.incubator.vector.VectorShuffle;
import jdk.incubator.vector.VectorSpecies;

/// The transcendental functions that activations need, in float32.
///
/// Written with multiplications and additions only, so that a value has the same bits whether the virtual machine has
/// compiled the loop or still interprets it; the Vector API's own functions differ there. The polynomials are least-squares
/// fits of the relative error in Chebyshev nodes, reweighted towards equal ripples.
final class VectorMath {
    private static final VectorSpecies<Float> F = FloatVector.SPECIES_PREFERRED;
    private static final float LOG2_E = 1.442695f;
    /// ln 2 in two parts; the first has so few bits that its product with a whole number up to 2^9 is exact.
    private static final float LN2_HIGH = 0.69314575f;

    private static final float LN2_LOW = 1.4286068e-6f;
    /// Adding this rounds a float of magnitude below 2^22 to a whole number, which is then in its low bits.
    private static final float ROUND = 0x1.8p23f;

    private static final VectorShuffle<Float> BY1 = upper(1);
    private static final VectorShuffle<Float> BY2 = upper(2);
    private static final VectorShuffle<Float> BY4 = upper(4);
    private static final VectorShuffle<Float> BY8 = upper(8);

    static {
        CompilerHints.excludeFromC1(VectorMath.class);
    }

    private VectorMath() {}

    private static VectorShuffle<Float> upper(int distance) {
        return VectorShuffle.fromOp(F, lane -> (lane + distance) % F.length());
    }

    /// The sum of all lanes, the upper half onto the lower until one is left: `reduceLanes` leaves the order open.
    static float sum(FloatVector lanes) {
        FloatVector v = lanes;
        for (int distance = F.length() / 2; distance > 8; distance /= 2) {
            v = v.add(v.rearrange(upper(distance)));
        }
        if (F.length() >= 16) {
            v = v.add(v.rearrange(BY8));
        }
        if (F.length() >= 8) {
            v = v.add(v.rearrange(BY4));
        }
        if (F.length() >= 4) {
            v = v.add(v.rearrange(BY2));
        }
        return v.add(v.rearrange(BY1)).lane(0);
    }

    /// Folds two vectors into one: in the lanes of `high` the sums of `b`'s lanes and their partners, in the others those of `a`'s.
    ///
    /// @param high half of the lanes, none with its partner
    /// @param across takes each lane to its partner and back
    static FloatVector halves(FloatVector a, FloatVector b, VectorMask<Float> high, VectorShuffle<Float> across) {
        return b.blend(a, high).rearrange(across).add(a.blend(b, high));
    }

    /// eˣ to 2 units in the last place; 0 below -87.3, e⁸⁸ above 88, NaN for NaN.
    static FloatVector exp(FloatVector x) {
        FloatVector v = x.max(-88f).min(88f);
        FloatVector rounded = v.mul(LOG2_E).add(ROUND);
        FloatVector n = rounded.sub(ROUND);
        FloatVector r = v.sub(n.mul(LN2_HIGH)).sub(n.mul(LN2_LOW));
        FloatVector p = r.mul(0.001383683f)
                .add(0.008374822f)
                .mul(r)
                .add(0.041668225f)
                .mul(r)
                .add(0.1666642f)
                .mul(r)
                .add(0.4999999f)
                .mul(r)
                .add(1f)
                .mul(r)
                .add(1f);
        // The exponent field of 2^n; for n = -127 it is that of zero.
        IntVector power = rounded.reinterpretAsInts().add(127).lanewise(VectorOperators.LSHL, 23);
        return p.mul(power.reinterpretAsFloats());
    }

    /// x / (1 + e⁻ˣ).
    static FloatVector silu(FloatVector x) {
        return x.div(exp(x.neg()).add(1f));
    }

    /// tanh x = (1 - e⁻²ˣ) / (1 + e⁻²ˣ), near 0 an odd polynomial, which keeps the relative error small.
    static FloatVector tanh(FloatVector x) {
        FloatVector a = x.abs();
        FloatVector e = exp(a.mul(-2f));
        FloatVector large = FloatVector.broadcast(F, 1f).sub(e).div(e.add(1f));
        FloatVector s = x.mul(x);
        FloatVector small = s.mul(-0.00565998f)
                .add(0.02059098f)
                .mul(s)
                .add(-0.053721067f)
                .mul(s)
                .add(0.13331127f)
                .mul(s)
                .add(-0.3333326f)
                .mul(s)
                .add(1f)
                .mul(x);
        VectorMask<Float> negative = x.compare(VectorOperators.LT, 0f);
        return large.blend(large.neg(), negative).blend(small, a.compare(VectorOperators.LT, 0.625f));
    }

    /// x · Φ(x), Φ the normal distribution function: with z = |x| / √2, erfc z = e^(-z²) P(2 / (2 + z)).
    static FloatVector gelu(FloatVector x) {
        FloatVector z = x.abs().mul(0.70710677f);
        FloatVector t = FloatVector.broadcast(F, 2f).div(z.add(2f));
        FloatVector p = t.mul(-0.05505204f)
                .add(0.2639069f)
                .mul(t)
                .add(-0.44148597f)
                .mul(t)
                .add(0.22120123f)
                .mul(t)
                .add(0.017069895f)
                .mul(t)
                .add(0.18125363f)
                .mul(t)
                .add(0.24979235f)
                .mul(t)
                .add(0.28109863f)
                .mul(t)
                .add(0.28222135f)
                .mul(t)
                .add(-6.0103425e-6f);
        FloatVector half = exp(z.mul(z).neg()).mul(p).mul(0.5f);
        VectorMask<Float> negative = x.compare(VectorOperators.LT, 0f);
        return x.mul(half.neg().add(1f).blend(half, negative));
    }

    /// GELU's tanh approximation: x σ(2u) with u = √(2/π) (x + 0.044715 x³), since (1 + tanh u) / 2 = σ(2u).
    static FloatVector geluTanh(FloatVector x) {
        FloatVector u = x.mul(x).mul(x).mul(0.044715f).add(x).mul(0.7978846f);
        return x.div(exp(u.mul(-2f)).add(1f));
    }
}
