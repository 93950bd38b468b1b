package dev.espalier.generate;

import java.util.List;
import java.util.Locale;

/// What came out of one generation.
///
/// @param promptIds what the model read, as it was given
/// @param tokenIds the new tokens, an end-of-sequence token included
/// @param text the new tokens' text, without end-of-sequence and stop string; null without a tokenizer
/// @param logprobs one entry for each new token, if asked for, else empty
/// @param promptLogprobs one entry for each prompt token but the first, which nothing predicts, if asked for, else empty
/// @param finishReason why it ended
/// @param prefillSeconds the time the prompt took
/// @param firstTokenSeconds from the call to the first new token; the prompt's time where there is none
/// @param decodeSeconds the time that the new tokens after the first took
@SuppressWarnings("ArrayRecordComponent")
public record Generation(
        int[] promptIds,
        int[] tokenIds,
        String text,
        List<TokenLogprobs> logprobs,
        List<TokenLogprobs> promptLogprobs,
        FinishReason finishReason,
        double prefillSeconds,
        double firstTokenSeconds,
        double decodeSeconds) {

    /// Prompt tokens per second.
    public double prefillTokensPerSecond() {
        return promptIds.length / prefillSeconds;
    }

    /// New tokens per second, the first one apart, which belongs to the prompt; 0 where there is no second.
    public double decodeTokensPerSecond() {
        return tokenIds.length < 2 ? 0 : (tokenIds.length - 1) / decodeSeconds;
    }

    /// Why a generation ended.
    public enum FinishReason {
        /// An end-of-sequence token.
        EOS,
        /// A stop string.
        STOP,
        /// As many tokens as were asked for, or as the context holds.
        LENGTH,
        /// The caller.
        CANCELLED;

        /// `eos`, `stop`, `length`, `cancelled`.
        public String label() {
            return name().toLowerCase(Locale.ROOT);
        }
    }
}
