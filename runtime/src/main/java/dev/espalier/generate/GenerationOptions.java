package dev.espalier.generate;

import dev.espalier.tensor.InputException;
import java.util.List;
import java.util.function.BooleanSupplier;

/// What a caller asks of one generation.
///
/// @param maxNewTokens the most tokens to add; 0 only reads the prompt
/// @param sampling how a token is chosen
/// @param stop texts before whose first occurrence the new text ends; empty ones are ignored
/// @param ignoreEos goes on after an end-of-sequence token, up to exactly `maxNewTokens`
/// @param logprobs how many of the likeliest tokens to report for each place; 0 = the token's own log-probability only,
///     -1 = nothing
/// @param promptLogprobs whether to report the same for the prompt's tokens
/// @param cancelled asked before every token and every chunk of the prompt; true ends the generation
public record GenerationOptions(
        int maxNewTokens,
        SamplingOptions sampling,
        List<String> stop,
        boolean ignoreEos,
        int logprobs,
        boolean promptLogprobs,
        BooleanSupplier cancelled) {
    /// @throws InputException if a number is out of its range
    public GenerationOptions {
        if (maxNewTokens < 0) {
            throw new InputException("max-new-tokens " + maxNewTokens + ": it must be 0 or more");
        }
        if (logprobs < -1) {
            throw new InputException("logprobs " + logprobs + ": it must be 0 or more");
        }
        stop = stop.stream().filter(text -> !text.isEmpty()).toList();
    }

    /// At most `maxNewTokens` by `sampling`, and nothing else.
    public static GenerationOptions of(int maxNewTokens, SamplingOptions sampling) {
        return new GenerationOptions(maxNewTokens, sampling, List.of(), false, -1, false, () -> false);
    }

    public GenerationOptions withStop(List<String> stop) {
        return new GenerationOptions(maxNewTokens, sampling, stop, ignoreEos, logprobs, promptLogprobs, cancelled);
    }

    public GenerationOptions withIgnoreEos(boolean ignoreEos) {
        return new GenerationOptions(maxNewTokens, sampling, stop, ignoreEos, logprobs, promptLogprobs, cancelled);
    }

    public GenerationOptions withLogprobs(int logprobs) {
        return new GenerationOptions(maxNewTokens, sampling, stop, ignoreEos, logprobs, promptLogprobs, cancelled);
    }

    public GenerationOptions withPromptLogprobs(boolean promptLogprobs) {
        return new GenerationOptions(maxNewTokens, sampling, stop, ignoreEos, logprobs, promptLogprobs, cancelled);
    }

    public GenerationOptions withCancelled(BooleanSupplier cancelled) {
        return new GenerationOptions(maxNewTokens, sampling, stop, ignoreEos, logprobs, promptLogprobs, cancelled);
    }
}
