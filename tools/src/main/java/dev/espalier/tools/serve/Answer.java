package dev.espalier.tools.serve;

import java.util.List;

/// One answer to one prompt, as it grew.
///
/// @param index its place among all answers of the request
/// @param promptTokens tokens of the prompt, special ones included
/// @param tokens what the answer's log-probabilities list: the new tokens, and with `echo` the prompt's before them
/// @param text the answer; with `echo` the prompt's text before it
/// @param newTokens tokens that were generated
/// @param finishReason `stop` (a stop string or an end token) or `length`
record Answer(int index, int promptTokens, List<Token> tokens, String text, int newTokens, String finishReason) {
    /// A token with its log-probability.
    ///
    /// @param text the token's own text
    /// @param logprob natural logarithm; NaN for a prompt's first token, which nothing predicts
    /// @param top the likeliest tokens at its place, likeliest first
    record Token(int id, String text, double logprob, List<Token> top) {}
}
