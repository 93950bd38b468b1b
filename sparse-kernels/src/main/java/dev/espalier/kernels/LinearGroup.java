package dev.espalier.kernels;

import dev.espalier.tensor.Tensor;

/// Linear layers that read the same input, such as the queries, keys and values of one block, to be computed together: the
/// input is laid out once, and the threads are called once.
///
/// It is filled anew for each use and keeps its memory, so that a decoded token allocates nothing.
public final class LinearGroup {
    /// The most layers that fit.
    public static final int MOST = 3;

    private final Linear[] weights = new Linear[MOST];
    private final Tensor[] biases = new Tensor[MOST];
    private final Tensor[] results = new Tensor[MOST];
    private int size;

    /// No layers yet.
    public LinearGroup() {}

    /// Takes all layers out; returns this group.
    public LinearGroup clear() {
        size = 0;
        return this;
    }

    /// Adds a layer.
    ///
    /// @param weight `[out, in]`, `in` the same for all
    /// @param bias `[1, out]` or null
    /// @param result `[tokens, out]`, which is overwritten; no two layers share one
    /// @return `result`
    public Tensor add(Linear weight, Tensor bias, Tensor result) {
        weights[size] = weight;
        biases[size] = bias;
        results[size] = result;
        size++;
        return result;
    }

    public int size() {
        return size;
    }

    public Linear weight(int i) {
        return weights[i];
    }

    /// Null if the layer has none.
    public Tensor bias(int i) {
        return biases[i];
    }

    public Tensor result(int i) {
        return results[i];
    }
}
