package dev.espalier.tensor;

/// An input that cannot be used: a bad file, option or request.
///
/// The message is one or two sentences for the person who gave the input: what is wrong, in which file or option, and
/// what to do. The command line prints it and exits with 2; the server answers 400.
public class InputException extends RuntimeException {
    private static final long serialVersionUID = 1L;

    public InputException(String message) {
        super(message);
    }

    public InputException(String message, Throwable cause) {
        super(message, cause);
    }
}
