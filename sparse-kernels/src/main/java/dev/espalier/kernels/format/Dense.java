package dev.espalier.kernels.format;

import dev.espalier.kernels.FormatChoice;
import dev.espalier.kernels.Linear;
import dev.espalier.kernels.WeightFormat;
import dev.espalier.tensor.DType;
import dev.espalier.tensor.Tensor;

/// The format that leaves no zero out, in the layouts it is met in.
///
/// [#mapped] takes a matrix as a checkpoint holds it, row by row, and copies nothing: for start-up and pruning.
/// [#tiled] copies it into tiles that stream at the memory's speed: for decode, and for every comparison with a sparse
/// format. [#deferred] begins as the first and becomes the second.
public final class Dense implements WeightFormat {
    private enum Layout {
        MAPPED,
        TILED,
        DEFERRED
    }

    private static final Dense MAPPED = new Dense(Layout.MAPPED);
    private static final Dense TILED = new Dense(Layout.TILED);
    private static final Dense DEFERRED = new Dense(Layout.DEFERRED);

    private final Layout layout;

    private Dense(Layout layout) {
        this.layout = layout;
    }

    /// Row by row, in the memory of the tensor that is packed, which must outlive the result.
    public static Dense mapped() {
        return MAPPED;
    }

    /// In tiles, in memory of its own.
    public static Dense tiled() {
        return TILED;
    }

    /// As [#mapped] where the memory is that of a file, until the matrix is packed ([DeferredLinear]); as [#tiled] otherwise,
    /// and where the two layouts would not give the same bits.
    public static Dense deferred() {
        return DEFERRED;
    }

    /// `choice`, but what it would have in tiles is deferred.
    public static FormatChoice deferring(FormatChoice choice) {
        return choice.changed((format, dense) -> format.equals(TILED) ? DEFERRED : format);
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
        boolean late = layout == Layout.DEFERRED && dense.segment().isMapped() && DenseRows.sumsAsTiles(dense);
        return layout == Layout.MAPPED ? new DenseRows(dense) : late ? new LateTiles(dense) : new DenseTiles(dense);
    }
}
