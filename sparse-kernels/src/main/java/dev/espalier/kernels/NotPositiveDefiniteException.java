package dev.espalier.kernels;

/// A Cholesky factorisation met a pivot that is not positive; more damping on the diagonal helps.
public final class NotPositiveDefiniteException extends RuntimeException {
    private static final long serialVersionUID = 1L;

    private final int pivot;

    public NotPositiveDefiniteException(int pivot, int order) {
        super("the matrix of order " + order + " is not positive definite: pivot " + pivot + " is not positive");
        this.pivot = pivot;
    }

    /// The row of the matrix, from 0, whose pivot was zero or negative when its turn came.
    public int pivot() {
        return pivot;
    }
}
