package dev.espalier.kernels;

/// A matrix that is applied where the checkpoint holds it until somebody packs it, so that the first tokens need not wait
/// for that.
///
/// What it computes does not depend on when it is packed: both layouts add up in the same order.
public interface DeferredLinear extends Linear {
    /// Packs the matrix, unless it is packed or closed, and applies the copy from then on; true if it is packed now. May run
    /// beside applications of the matrix.
    ///
    /// @throws OutOfMemoryError if there is no memory for the copy; the matrix stays as it is
    boolean pack();
}
