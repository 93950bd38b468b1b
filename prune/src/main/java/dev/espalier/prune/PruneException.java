package dev.espalier.prune;

/// Pruning that failed although what it was given could be used; the message says why, for the user.
public class PruneException extends RuntimeException {
    private static final long serialVersionUID = 1L;

    public PruneException(String message) {
        super(message);
    }

    public PruneException(String message, Throwable cause) {
        super(message, cause);
    }
}
