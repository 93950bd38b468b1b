package dev.espalier.generate;

/// Hears of a generation while it runs, on the thread that generates.
public interface TokenListener {
    /// Hears nothing.
    TokenListener NONE = new TokenListener() {};

    /// A new token, an end-of-sequence token included; `logprobs` is null unless asked for. The text it completes, if
    /// any, follows as [#text].
    default void token(int id, TokenLogprobs logprobs) {}

    /// More of the text, never empty, never half a character, never the beginning of a stop string that then completes.
    default void text(String piece) {}
}
