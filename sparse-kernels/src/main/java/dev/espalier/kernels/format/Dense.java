package dev.espalier.kernels.format;

import dev.espalier.kernels.Linear;
import dev.espalier.kernels.WeightFormat;
import dev.espalier.tensor.DType;
import dev.espalier.tensor.Tensor;

/// The format that leaves no zero out, in the two layouts it is met in.
///
/// [#mapped] takes a matrix as a checkpoint holds it, row by row, and copies nothing: for start-up and pruning.
/// [#tiled] copies it into tiles that stream at the memory's speed: for decode, and for every comparison with a sparse
/// format.
public final class Dense implements WeightFormat {
    private static final Dense MAPPED = new Dense(false);
    private static final Dense TILED = new Dense(true);

    private final boolean tiled;

    private Dense(boolean tiled) {
        this.tiled = tiled;
    }

    /// Row by row, in the memory of the tensor that is packed, which must outlive the result.
    public static Dense mapped() {
        return MAPPED;
    }

    /// In tiles, in memory of its own.
    public static Dense tiled() {
        return TILED;
    }

    @Override
    public String name() {
        return "dense";
    }

    @Override
    public String refuses(Tensor dense) {
        return dense.dtype() == DType.I8 ? "plain bytes are no weights" : null;
    }

    @Override
    public Linear pack(Tensor dense) {
        String reason = refuses(dense);
        if (reason != null) {
            throw new IllegalArgumentException("dense: " + reason);
        }
        return tiled ? new DenseTiles(dense) : new DenseRows(dense);
    }
}
