package dev.espalier.prune.solver;

/// A layer that a solver could not prune; the message names layer, solver and reason.
public class SolverException extends RuntimeException {
    private static final long serialVersionUID = 1L;

    public SolverException(String message) {
        super(message);
    }

    public SolverException(String message, Throwable cause) {
        super(message, cause);
    }
}
