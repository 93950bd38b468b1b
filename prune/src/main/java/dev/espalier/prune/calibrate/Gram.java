package dev.espalier.prune.calibrate;

import dev.espalier.kernels.LinearAlgebra;
import dev.espalier.kernels.simd.Workers;
import dev.espalier.tensor.Tensor;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.HashMap;
import java.util.Map;
import java.util.function.Function;

/// What one site of a block saw during calibration, as far as any solver asks: how many tokens and sequences, the sum of
/// each feature, its variance within sequences, and the Gram matrix G = XᵀX.
///
/// Everything is a sum over tokens, not an average. Products are made in float32 and added up in float64, so that a
/// million tokens lose nothing. Layers that read the same input share one Gram, and what a solver computes from it alone
/// is computed [#once].
public final class Gram implements AutoCloseable {
    private final int features;
    private final LinearAlgebra algebra;
    private final Scratch memory;
    private final MemorySegment g;
    private final double[] sum;
    private final double[] variance;
    private final Map<String, Object> shared = new HashMap<>();
    private Scratch sharedMemory;
    private long tokens;
    private int sequences;

    /// Nothing seen yet, of inputs with `features` features. Takes 8 · features² bytes of native memory.
    public Gram(int features, LinearAlgebra algebra) {
        this(features, algebra, new Scratch());
    }

    /// The same, with memory that counts against `parent`.
    public Gram(int features, LinearAlgebra algebra, Scratch parent) {
        this.features = features;
        this.algebra = algebra;
        this.memory = parent.child();
        this.sharedMemory = memory.child();
        this.g = memory.bytes(8L * features * features);
        this.sum = new double[features];
        this.variance = new double[features];
    }

    /// Takes in one sequence: `x` `[tokens, features]`, F32 on the host.
    public void add(Tensor x) {
        if (x.columns() != features) {
            throw new IllegalArgumentException("inputs have " + x.columns() + " features, not " + features);
        }
        if (x.rows() == 0) {
            return;
        }
        algebra.accumulateGram(x, g);
        double[] s = new double[features];
        double[] squares = new double[features];
        float[] row = new float[features];
        for (int t = 0; t < x.rows(); t++) {
            MemorySegment.copy(x.segment(), ValueLayout.JAVA_FLOAT_UNALIGNED, 4L * t * features, row, 0, features);
            for (int j = 0; j < features; j++) {
                s[j] += row[j];
                squares[j] += (double) row[j] * row[j];
            }
        }
        for (int j = 0; j < features; j++) {
            sum[j] += s[j];
            variance[j] += Math.max(0, squares[j] - s[j] * s[j] / x.rows());
        }
        tokens += x.rows();
        sequences++;
        forget();
    }

    /// Drops what was computed [#once], and its memory.
    public void forget() {
        if (!shared.isEmpty()) {
            shared.clear();
            sharedMemory.close();
            sharedMemory = memory.child();
        }
    }

    public int features() {
        return features;
    }

    /// Tokens seen.
    public long tokens() {
        return tokens;
    }

    /// Sequences seen.
    public int sequences() {
        return sequences;
    }

    /// G\[i, j\] = Σ x_i x_j over all tokens.
    public double get(int i, int j) {
        return g.getAtIndex(ValueLayout.JAVA_DOUBLE, (long) i * features + j);
    }

    /// G\[j, j\] = Σ x_j².
    public double diagonal(int j) {
        return get(j, j);
    }

    /// Whether input `j` was zero at every token.
    public boolean dead(int j) {
        return diagonal(j) == 0;
    }

    /// Σ x_j over all tokens.
    public double sum(int j) {
        return sum[j];
    }

    /// The mean over all tokens of the variance (divided by the count, not by one less) of x_j within a token's own
    /// sequence; differences between the sequences' means do not count. DSnoT's variance.
    public double variance(int j) {
        return variance[j] / tokens;
    }

    /// `target` = `scale` · G, `target` `[features, features]`, F32 on the host.
    public void copyTo(Tensor target, double scale) {
        if (target.rows() != features || target.columns() != features) {
            throw new IllegalArgumentException(target + " cannot hold the Gram matrix of " + features + " features");
        }
        double[] row = new double[features];
        float[] scaled = new float[features];
        for (int i = 0; i < features; i++) {
            MemorySegment.copy(g, ValueLayout.JAVA_DOUBLE, 8L * i * features, row, 0, features);
            for (int j = 0; j < features; j++) {
                scaled[j] = (float) (row[j] * scale);
            }
            MemorySegment.copy(
                    scaled, 0, target.segment(), ValueLayout.JAVA_FLOAT_UNALIGNED, 4L * i * features, features);
        }
    }

    /// `target` = diag(`scale`) G diag(`scale`), `target` `[features, features]`, F32 on the host; products in float64.
    public void copyScaled(Tensor target, double[] scale, Workers workers) {
        if (target.rows() != features || target.columns() != features) {
            throw new IllegalArgumentException(target + " cannot hold the Gram matrix of " + features + " features");
        }
        workers.rows(features, 1, (from, to, thread) -> {
            double[] row = new double[features];
            float[] scaled = new float[features];
            for (int i = from; i < to; i++) {
                MemorySegment.copy(g, ValueLayout.JAVA_DOUBLE, 8L * i * features, row, 0, features);
                for (int j = 0; j < features; j++) {
                    scaled[j] = (float) (row[j] * scale[i] * scale[j]);
                }
                MemorySegment.copy(
                        scaled, 0, target.segment(), ValueLayout.JAVA_FLOAT_UNALIGNED, 4L * i * features, features);
            }
        });
    }

    /// Whether all that was seen is finite, and G too as float32. No entry of G exceeds its diagonal, so that is enough to
    /// look at.
    public boolean finite() {
        for (int j = 0; j < features; j++) {
            if (!Float.isFinite((float) diagonal(j)) || !Double.isFinite(sum[j])) {
                return false;
            }
        }
        return true;
    }

    /// What `make` computes from this Gram alone; computed at the first call with this `key`, for all layers that share
    /// the input. The memory that `make` is given lives until more is [added][#add], or all is [forgotten][#forget].
    @SuppressWarnings("unchecked")
    public <T> T once(String key, Function<Scratch, T> make) {
        return (T) shared.computeIfAbsent(key, k -> make.apply(sharedMemory));
    }

    /// Gives the memory back.
    @Override
    public void close() {
        sharedMemory.close();
        memory.close();
    }
}
