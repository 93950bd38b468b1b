package dev.espalier.natives.blas;

/// A LAPACK routine gave up: which one, its `info` code, and what that means for this routine.
public final class LapackException extends RuntimeException {
    private static final long serialVersionUID = 1L;

    private final String function;
    private final int info;

    LapackException(String function, int info, String shapes, String meaning) {
        super(function + "(" + shapes + ") returned " + info + ": " + meaning);
        this.function = function;
        this.info = info;
    }

    /// The routine, as in `spotrf`.
    public String function() {
        return function;
    }

    /// LAPACK's code: `-i`, argument i was refused (a NaN in a matrix counts); `i > 0`, the computation failed at step i,
    /// counted from 1.
    public int info() {
        return info;
    }
}
