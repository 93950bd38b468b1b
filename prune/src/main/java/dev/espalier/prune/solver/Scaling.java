package dev.espalier.prune.solver;

import dev.espalier.kernels.simd.Workers;
import dev.espalier.prune.calibrate.Gram;
import dev.espalier.tensor.Tensor;

/// Coordinates in which every input of a layer has norm 1: weight `[r, j]` counts as `W[r, j]` · e_j there, and the Gram
/// matrix as A = E⁻¹ (XᵀX + λI) E⁻¹, with e_j = √((XᵀX)_jj + λ) + 1e-8 and E = diag(e).
///
/// The diagonal preconditioner of ALPS (equation 27) and the scaling of ADMM-Grad (with λ = 0).
///
/// @param gram XᵀX
/// @param lambda λ, in units of XᵀX
/// @param norms e
record Scaling(Gram gram, double lambda, float[] norms) {
    /// With λ = `damping` times XᵀX's mean diagonal.
    static Scaling of(Gram gram, double damping) {
        int n = gram.features();
        double lambda = damping * meanDiagonal(gram);
        float[] norms = new float[n];
        for (int j = 0; j < n; j++) {
            norms[j] = (float) (Math.sqrt(gram.diagonal(j) + lambda) + 1e-8);
        }
        return new Scaling(gram, lambda, norms);
    }

    private static double meanDiagonal(Gram gram) {
        double sum = 0;
        for (int j = 0; j < gram.features(); j++) {
            sum += gram.diagonal(j);
        }
        return sum / gram.features();
    }

    /// `a` `[in, in]` = A + `ridge` · I.
    void fill(Tensor a, double ridge, Workers workers) {
        int n = norms.length;
        double[] inverse = new double[n];
        for (int j = 0; j < n; j++) {
            inverse[j] = 1.0 / norms[j];
        }
        gram.copyScaled(a, inverse, workers);
        for (int j = 0; j < n; j++) {
            a.set(j, j, (float) ((gram.diagonal(j) + lambda) * inverse[j] * inverse[j] + ridge));
        }
    }

    /// The mean of A's diagonal: 1, but for inputs that were always zero.
    double meanScaledDiagonal() {
        double sum = 0;
        for (int j = 0; j < norms.length; j++) {
            sum += (gram.diagonal(j) + lambda) / norms[j] / norms[j];
        }
        return sum / norms.length;
    }
}
