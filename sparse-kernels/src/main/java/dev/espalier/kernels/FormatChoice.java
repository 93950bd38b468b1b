package dev.espalier.kernels;

import dev.espalier.tensor.Tensor;
import java.util.function.BiFunction;

/// Decides in which format a weight matrix is packed, from what it is.
@FunctionalInterface
public interface FormatChoice {
    /// The format for `dense` `[out, in]`, a host tensor with its zeros in place.
    WeightFormat choose(Tensor dense);

    /// Hears, before the first choice, how many bytes the dense matrices have together that every token reads: what is small
    /// enough stays in a cache. Without this they count as too many for that.
    default void expect(long bytes) {}

    /// This choice, but `change` sees each format that it chose, with the tensor, and says which to take.
    default FormatChoice changed(BiFunction<WeightFormat, Tensor, WeightFormat> change) {
        FormatChoice own = this;
        return new FormatChoice() {
            @Override
            public void expect(long bytes) {
                own.expect(bytes);
            }

            @Override
            public WeightFormat choose(Tensor dense) {
                return change.apply(own.choose(dense), dense);
            }
        };
    }
}
