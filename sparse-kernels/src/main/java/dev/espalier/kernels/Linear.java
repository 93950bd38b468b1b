package dev.espalier.kernels;

import dev.espalier.tensor.DType;
import dev.espalier.tensor.Tensor;

/// A weight matrix `[out, in]` that a backend can apply: y = x Wᵀ.
///
/// Immutable. Its [#bytes()] are what one decoded token has to read from memory, and so what bounds decode speed.
public interface Linear extends AutoCloseable {
    /// Output features.
    int rows();

    /// Input features.
    int columns();

    /// The type in which the values are stored; I8 where they have scales.
    DType dtype();

    /// How the values are stored.
    WeightFormat format();

    /// Bytes that one application reads: values, indices, masks and padding.
    long bytes();

    /// Weights that are not zero.
    long nonZeros();

    /// Writes all weights that this matrix computes with, zeros in place, into `target` `[out, in]`, which may be of any
    /// float type. Nothing is rounded where `target` has this matrix's own type, or is F32. They are the weights that were
    /// packed if the format is exact ([WeightFormat#exact]).
    void unpack(Tensor target);

    /// Gives the memory back. Closing twice does nothing; a matrix that only borrowed its memory keeps it.
    @Override
    void close();
}
