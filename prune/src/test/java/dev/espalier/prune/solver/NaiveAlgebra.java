package dev.espalier.prune.solver;

import dev.espalier.kernels.LinearAlgebra;
import dev.espalier.kernels.NotPositiveDefiniteException;
import dev.espalier.tensor.Tensor;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/// Textbook loops in float64.
final class NaiveAlgebra implements LinearAlgebra {
    @Override
    public void upperCholeskyOfInverse(Tensor h, Tensor u) {
        int n = h.rows();
        double[][] l = new double[n][n]; // of the reversed matrix
        for (int i = 0; i < n; i++) {
            for (int j = 0; j <= i; j++) {
                double s = h.get(n - 1 - i, n - 1 - j);
                for (int k = 0; k < j; k++) {
                    s -= l[i][k] * l[j][k];
                }
                if (i == j) {
                    if (!(s > 0)) {
                        throw new NotPositiveDefiniteException(n - 1 - i, n);
                    }
                    l[i][i] = Math.sqrt(s);
                } else {
                    l[i][j] = s / l[j][j];
                }
            }
        }
        double[][] inv = new double[n][n];
        for (int c = 0; c < n; c++) {
            inv[c][c] = 1 / l[c][c];
            for (int i = c + 1; i < n; i++) {
                double s = 0;
                for (int k = c; k < i; k++) {
                    s -= l[i][k] * inv[k][c];
                }
                inv[i][c] = s / l[i][i];
            }
        }
        for (int i = 0; i < n; i++) {
            for (int j = 0; j < n; j++) {
                u.set(n - 1 - i, n - 1 - j, (float) inv[i][j]);
            }
        }
    }

    @Override
    public void gemm(float alpha, Matrix a, boolean ta, Matrix b, boolean tb, float beta, Matrix c) {
        if (ta || tb) {
            throw new UnsupportedOperationException();
        }
        for (int i = 0; i < c.rows(); i++) {
            double[] sum = new double[c.columns()];
            for (int k = 0; k < a.columns(); k++) {
                double x = at(a, i, k);
                for (int j = 0; j < sum.length; j++) {
                    sum[j] += x * at(b, k, j);
                }
            }
            for (int j = 0; j < sum.length; j++) {
                float before = beta == 0 ? 0 : beta * at(c, i, j);
                c.segment()
                        .setAtIndex(
                                ValueLayout.JAVA_FLOAT, (long) i * c.stride() + j, before + (float) (alpha * sum[j]));
            }
        }
    }

    private static float at(Matrix m, int i, int j) {
        return m.segment().getAtIndex(ValueLayout.JAVA_FLOAT, (long) i * m.stride() + j);
    }

    @Override
    public void cholesky(Tensor a) {
        throw new UnsupportedOperationException();
    }

    @Override
    public void invertTriangular(Tensor l) {
        throw new UnsupportedOperationException();
    }

    @Override
    public void inverseSpd(Tensor a) {
        throw new UnsupportedOperationException();
    }

    @Override
    public float selectKth(Tensor values, long k) {
        throw new UnsupportedOperationException();
    }

    @Override
    public void accumulateGram(Tensor x, MemorySegment g) {
        float[] v = x.toFloats();
        int n = x.columns();
        double[][] sums = new double[n][n];
        for (int t = 0; t < x.rows(); t++) {
            for (int i = 0; i < n; i++) {
                double xi = v[t * n + i];
                for (int j = 0; j < n; j++) {
                    sums[i][j] += xi * v[t * n + j];
                }
            }
        }
        for (int i = 0; i < n; i++) {
            for (int j = 0; j < n; j++) {
                long at = (long) i * n + j;
                g.setAtIndex(ValueLayout.JAVA_DOUBLE, at, g.getAtIndex(ValueLayout.JAVA_DOUBLE, at) + sums[i][j]);
            }
        }
    }
}
