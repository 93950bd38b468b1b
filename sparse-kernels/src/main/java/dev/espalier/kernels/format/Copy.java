package dev.espalier.kernels.format;

import dev.espalier.tensor.Tensor;
import java.lang.foreign.MemorySegment;

/// Copies a dense matrix into another of the same shape, converting where the types differ.
final class Copy {
    private Copy() {}

    static void rows(Tensor source, Tensor target) {
        if (source.rows() != target.rows() || source.columns() != target.columns()) {
            throw new IllegalArgumentException(source + " does not fit " + target);
        }
        if (source.dtype() == target.dtype()) {
            MemorySegment.copy(source.segment(), 0, target.segment(), 0, source.bytes());
            return;
        }
        for (long i = 0; i < source.size(); i++) {
            target.dtype().set(target.segment(), i, source.dtype().get(source.segment(), i));
        }
    }
}
