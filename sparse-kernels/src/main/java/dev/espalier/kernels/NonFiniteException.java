package dev.espalier.kernels;

/// A matrix holds a NaN or an infinity, or its inverse would; no damping helps.
public final class NonFiniteException extends RuntimeException {
    private static final long serialVersionUID = 1L;

    public NonFiniteException(String message) {
        super(message);
    }
}
