package dev.espalier.kernels;

import dev.espalier.tensor.DType;
import dev.espalier.tensor.Tensor;
import java.util.ArrayList;
import java.util.List;

/// The operations of a decoder that a device must offer, and no tensor algebra beyond them.
///
/// Activations are F32 `[tokens, features]`. The runtime touches elements of tensors only through these operations, so
/// that a model runs unchanged where the host cannot read the memory. A backend is used by one thread at a time; it may
/// use many threads inside, and its results do not depend on their number.
public interface Backend extends AutoCloseable {
    /// `cpu` or `cuda`.
    String name();

    /// A new tensor of zeros in this device's memory; it lives until the backend is closed or [#free] is called.
    Tensor zeros(DType dtype, int rows, int columns);

    /// Gives back a tensor that [#zeros] or [#upload] made.
    void free(Tensor tensor);

    /// `host` in this device's memory; a backend whose memory is the host's returns `host` itself.
    Tensor upload(Tensor host);

    /// Copies `device` into `host`, which has the same shape and type.
    void download(Tensor device, Tensor host);

    /// Copies `host` into `device`, which has the same shape and type.
    void store(Tensor host, Tensor device);

    /// The weight matrix `[out, in]`, a host tensor, ready to be applied in `format`. With `dense` the backend may wrap
    /// the tensor's memory instead of copying it.
    Linear linear(Tensor weight, WeightFormat format);

    /// Packs matrices that were left to be packed later, side by side where the backend has threads for it.
    ///
    /// @throws OutOfMemoryError if there is no memory for one; it stays as it is
    default void pack(List<DeferredLinear> matrices) {
        matrices.forEach(DeferredLinear::pack);
    }

    /// [#linear(Tensor, WeightFormat)] of several, weight i in format i, side by side where the backend has threads for it;
    /// the weights' memory must be open to all threads. If one fails the others are closed.
    default List<Linear> linears(List<Tensor> weights, List<WeightFormat> formats) {
        List<Linear> packed = new ArrayList<>();
        try {
            for (int i = 0; i < weights.size(); i++) {
                packed.add(linear(weights.get(i), formats.get(i)));
            }
            return packed;
        } catch (RuntimeException | Error e) {
            packed.forEach(Linear::close);
            throw e;
        }
    }

    /// y = x Wᵀ + bias: `x` `[tokens, in]`, `bias` `[1, out]` or null, `y` `[tokens, out]` (overwritten). One row is a
    /// GEMV, several a GEMM.
    void linear(Linear weight, Tensor bias, Tensor x, Tensor y);

    /// [#linear(Linear, Tensor, Tensor, Tensor)] of each layer of `group`, to the bit, with the same `x` `[tokens, in]`.
    default void linear(LinearGroup group, Tensor x) {
        for (int i = 0; i < group.size(); i++) {
            linear(group.weight(i), group.bias(i), x, group.result(i));
        }
    }

    /// y[t] = scale · table[rows[t]] for the `y.rows()` first entries of `rows`; `table` `[entries, features]` of any
    /// float type, `y` overwritten.
    void gather(Tensor table, int[] rows, float scale, Tensor y);

    /// y[t] += table[rows[t]].
    void gatherAdd(Tensor table, int[] rows, Tensor y);

    /// y = norm(x) row by row; `weight` and `bias` `[1, features]`, null where the model has none; `y` may be `x`.
    void norm(Norm norm, Tensor x, Tensor weight, Tensor bias, Tensor y);

    /// cosSin[t] = cos (first half), sin (second half) of positions[t] · inverseFrequencies; `cosSin`
    /// `[tokens, headDim]` overwritten.
    void angles(float[] inverseFrequencies, int[] positions, Tensor cosSin);

    /// Rotates each head of `x` `[tokens, heads * headDim]` in place, dimension i paired with i + headDim/2 (RoPE as
    /// Hugging Face stores it); `cosSin` `[tokens, headDim]`.
    void rotate(Tensor x, Tensor cosSin);

    /// target[at + t] = source[t]; `target` has at least `at + source.rows()` rows.
    void copyRows(Tensor source, Tensor target, int at);

    /// Causal attention with grouped queries: token t of `q` `[tokens, heads * headDim]` sits at position `past + t` and
    /// sees rows 0 to `past + t` of `keys` and `values` `[>= past + tokens, kvHeads * headDim]`, less what the window
    /// hides. `out` like `q`, overwritten.
    void attention(Attention shape, Tensor q, Tensor keys, Tensor values, int past, Tensor out);

    /// x = f(x), element by element, in place.
    void activate(Activation f, Tensor x);

    /// gate = f(gate) ⊙ up, in place.
    void gate(Activation f, Tensor gate, Tensor up);

    /// y += x.
    void add(Tensor x, Tensor y);

    /// x = cap · tanh(x / cap), in place.
    void softcap(float cap, Tensor x);

    /// The dense algebra that solvers ask of this device.
    LinearAlgebra algebra();

    @Override
    void close();

    /// A normalization over a row's features.
    ///
    /// @param kind RMS (no mean, no bias) or LAYER
    /// @param epsilon added to the variance or mean square
    /// @param weightOffset added to every weight: 1 for Gemma, else 0
    record Norm(Kind kind, float epsilon, float weightOffset) {
        /// Root mean square, or mean and variance.
        public enum Kind {
            RMS,
            LAYER
        }
    }

    /// The shape of an attention.
    ///
    /// @param scale factor of q·k before the softmax
    /// @param softcap cap·tanh(score/cap) before the mask; 0 = none
    /// @param window a token sees itself and the `window - 1` before it; 0 = all
    record Attention(int heads, int kvHeads, int headDim, float scale, float softcap, int window) {}

    /// The activation functions that decoders use.
    enum Activation {
        RELU,
        SILU,
        /// x · Φ(x), with the error function.
        GELU,
        /// GELU's tanh approximation.
        GELU_TANH
    }
}
