package dev.espalier.tools;

/// Work that could not be done although the input was usable, such as for want of memory; exit code 1.
///
/// The message is a sentence or two for the user: what failed, and what to do.
final class WorkFailedException extends RuntimeException {
    private static final long serialVersionUID = 1L;

    WorkFailedException(String message) {
        super(message);
    }
}
