package dev.espalier.testing;

import dev.espalier.kernels.Backend;
import dev.espalier.kernels.Linear;
import dev.espalier.kernels.LinearAlgebra;
import dev.espalier.kernels.WeightFormat;
import dev.espalier.tensor.DType;
import dev.espalier.tensor.Tensor;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;

/// Every operation of a backend written out in the plainest way, sums in float64: the yardstick for the real ones, and
/// what tells a mistake in a family from one in a kernel. Dense weights only.
public final class PlainBackend implements Backend {
    private final Arena arena = Arena.ofShared();

    @Override
    public String name() {
        return "plain";
    }

    @Override
    public Tensor zeros(DType dtype, int rows, int columns) {
        return Tensor.allocate(arena, dtype, rows, columns);
    }

    @Override
    public void free(Tensor tensor) {}

    @Override
    public Tensor upload(Tensor host) {
        return host;
    }

    @Override
    public void download(Tensor device, Tensor host) {
        MemorySegment.copy(device.segment(), 0, host.segment(), 0, host.bytes());
    }

    @Override
    public void store(Tensor host, Tensor device) {
        MemorySegment.copy(host.segment(), 0, device.segment(), 0, host.bytes());
    }

    @Override
    public Linear linear(Tensor weight, WeightFormat format) {
        return new PlainLinear(weight, format);
    }

    @Override
    public void linear(Linear weight, Tensor bias, Tensor x, Tensor y) {
        Tensor w = ((PlainLinear) weight).weight;
        for (int t = 0; t < x.rows(); t++) {
            for (int row = 0; row < w.rows(); row++) {
                double sum = bias == null ? 0 : bias.get(0, row);
                for (int column = 0; column < w.columns(); column++) {
                    sum += (double) w.get(row, column) * x.get(t, column);
                }
                y.set(t, row, (float) sum);
            }
        }
    }

    @Override
    public void gather(Tensor table, int[] rows, float scale, Tensor y) {
        for (int t = 0; t < y.rows(); t++) {
            for (int c = 0; c < y.columns(); c++) {
                y.set(t, c, scale * table.get(rows[t], c));
            }
        }
    }

    @Override
    public void gatherAdd(Tensor table, int[] rows, Tensor y) {
        for (int t = 0; t < y.rows(); t++) {
            for (int c = 0; c < y.columns(); c++) {
                y.set(t, c, y.get(t, c) + table.get(rows[t], c));
            }
        }
    }

    @Override
    public void norm(Norm norm, Tensor x, Tensor weight, Tensor bias, Tensor y) {
        int features = x.columns();
        for (int t = 0; t < x.rows(); t++) {
            double mean = 0;
            for (int c = 0; c < features && norm.kind() == Norm.Kind.LAYER; c++) {
                mean += x.get(t, c) / (double) features;
            }
            double square = 0;
            for (int c = 0; c < features; c++) {
                square += (x.get(t, c) - mean) * (x.get(t, c) - mean) / features;
            }
            double factor = 1 / Math.sqrt(square + norm.epsilon());
            for (int c = 0; c < features; c++) {
                double value = (x.get(t, c) - mean) * factor;
                value *= weight == null ? 1 : weight.get(0, c) + norm.weightOffset();
                y.set(t, c, (float) (value + (bias == null ? 0 : bias.get(0, c))));
            }
        }
    }

    @Override
    public void angles(float[] inverseFrequencies, int[] positions, Tensor cosSin) {
        int half = inverseFrequencies.length;
        for (int t = 0; t < cosSin.rows(); t++) {
            for (int i = 0; i < half; i++) {
                double angle = (double) positions[t] * inverseFrequencies[i];
                cosSin.set(t, i, (float) Math.cos(angle));
                cosSin.set(t, half + i, (float) Math.sin(angle));
            }
        }
    }

    @Override
    public void rotate(Tensor x, Tensor cosSin) {
        int headDim = cosSin.columns();
        int half = headDim / 2;
        for (int t = 0; t < x.rows(); t++) {
            for (int head = 0; head < x.columns(); head += headDim) {
                for (int i = 0; i < half; i++) {
                    double a = x.get(t, head + i);
                    double b = x.get(t, head + half + i);
                    double cos = cosSin.get(t, i);
                    double sin = cosSin.get(t, half + i);
                    x.set(t, head + i, (float) (a * cos - b * sin));
                    x.set(t, head + half + i, (float) (b * cos + a * sin));
                }
            }
        }
    }

    @Override
    public void copyRows(Tensor source, Tensor target, int at) {
        store(source, target.slice(at, at + source.rows()));
    }

    @Override
    public void attention(Attention shape, Tensor q, Tensor keys, Tensor values, int past, Tensor out) {
        int dim = shape.headDim();
        for (int t = 0; t < q.rows(); t++) {
            int position = past + t;
            int first = shape.window() == 0 ? 0 : Math.max(0, position - shape.window() + 1);
            for (int head = 0; head < shape.heads(); head++) {
                int shared = head / (shape.heads() / shape.kvHeads()) * dim;
                double[] weights = new double[position + 1];
                double sum = 0;
                for (int j = first; j <= position; j++) {
                    double score = 0;
                    for (int i = 0; i < dim; i++) {
                        score += (double) q.get(t, head * dim + i) * keys.get(j, shared + i);
                    }
                    score *= shape.scale();
                    score = shape.softcap() == 0 ? score : shape.softcap() * Math.tanh(score / shape.softcap());
                    // The largest score of these small models is far from where exp overflows a double.
                    weights[j] = Math.exp(score);
                    sum += weights[j];
                }
                for (int i = 0; i < dim; i++) {
                    double value = 0;
                    for (int j = first; j <= position; j++) {
                        value += weights[j] * values.get(j, shared + i);
                    }
                    out.set(t, head * dim + i, (float) (value / sum));
                }
            }
        }
    }

    @Override
    public void activate(Activation f, Tensor x) {
        each(x, x, (value, same) -> value(f, value));
    }

    @Override
    public void gate(Activation f, Tensor gate, Tensor up) {
        each(gate, up, (value, other) -> value(f, value) * other);
    }

    @Override
    public void add(Tensor x, Tensor y) {
        each(y, x, Double::sum);
    }

    @Override
    public void softcap(float cap, Tensor x) {
        each(x, x, (value, same) -> cap * Math.tanh(value / cap));
    }

    @Override
    public LinearAlgebra algebra() {
        throw new UnsupportedOperationException("this backend runs models only");
    }

    @Override
    public void close() {
        arena.close();
    }

    private interface Elementwise {
        double of(double value, double other);
    }

    private static void each(Tensor changed, Tensor other, Elementwise f) {
        for (int t = 0; t < changed.rows(); t++) {
            for (int c = 0; c < changed.columns(); c++) {
                changed.set(t, c, (float) f.of(changed.get(t, c), other.get(t, c)));
            }
        }
    }

    private static double value(Activation f, double x) {
        return switch (f) {
            case RELU -> Math.max(0, x);
            case SILU -> x / (1 + Math.exp(-x));
            case GELU -> x * normal(x);
            case GELU_TANH -> 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x * x * x)));
        };
    }

    /// Φ(x) by Simpson's rule on its density.
    private static double normal(double x) {
        int steps = 400;
        double h = x / steps;
        double sum = 0;
        for (int i = 0; i <= steps; i++) {
            double weight = i == 0 || i == steps ? 1 : i % 2 == 1 ? 4 : 2;
            sum += weight * Math.exp(-0.5 * i * h * i * h);
        }
        return 0.5 + sum * h / 3 / Math.sqrt(2 * Math.PI);
    }

    private record PlainLinear(Tensor weight, WeightFormat format) implements Linear {
        @Override
        public int rows() {
            return weight.rows();
        }

        @Override
        public int columns() {
            return weight.columns();
        }

        @Override
        public DType dtype() {
            return weight.dtype();
        }

        @Override
        public long bytes() {
            return weight.bytes();
        }

        @Override
        public long nonZeros() {
            long count = 0;
            for (float value : weight.toFloats()) {
                count += value != 0 ? 1 : 0;
            }
            return count;
        }

        @Override
        public void unpack(Tensor target) {
            for (int row = 0; row < weight.rows(); row++) {
                for (int column = 0; column < weight.columns(); column++) {
                    target.set(row, column, weight.get(row, column));
                }
            }
        }

        @Override
        public void close() {}
    }
}
