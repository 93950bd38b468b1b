package dev.espalier.generate;

import dev.espalier.tensor.InputException;

/// How the next token is chosen from the logits.
///
/// @param temperature divides the logits; 0 takes the likeliest token and ignores all that follows but the penalty
/// @param topK keeps the k likeliest tokens; 0 = all, and more than there are is all
/// @param topP keeps the likeliest tokens that together reach this probability; 1 = all, 0 = only the likeliest
/// @param minP drops tokens below this share of the likeliest one's probability; 0 = none
/// @param repetitionPenalty above 1 makes tokens that already stand in the text less likely; 1 = no change
/// @param seed of the random numbers
public record SamplingOptions(
        double temperature, int topK, double topP, double minP, double repetitionPenalty, long seed) {
    /// Always the likeliest token.
    public static final SamplingOptions GREEDY = new SamplingOptions(0, 0, 1, 0, 1, 0);

    /// @throws InputException if a value is out of its range
    public SamplingOptions {
        require(temperature >= 0 && temperature <= 1e6, "temperature", temperature, "0 or more");
        require(topK >= 0, "top-k", topK, "0 (all) or more");
        require(topP >= 0 && topP <= 1, "top-p", topP, "0 to 1");
        require(minP >= 0 && minP <= 1, "min-p", minP, "0 to 1");
        require(repetitionPenalty > 0 && repetitionPenalty <= 1e6, "repetition-penalty", repetitionPenalty, "above 0");
    }

    /// Plain sampling at `temperature`, no filters.
    public static SamplingOptions of(double temperature, long seed) {
        return new SamplingOptions(temperature, 0, 1, 0, 1, seed);
    }

    public SamplingOptions withTopK(int topK) {
        return new SamplingOptions(temperature, topK, topP, minP, repetitionPenalty, seed);
    }

    public SamplingOptions withTopP(double topP) {
        return new SamplingOptions(temperature, topK, topP, minP, repetitionPenalty, seed);
    }

    public SamplingOptions withMinP(double minP) {
        return new SamplingOptions(temperature, topK, topP, minP, repetitionPenalty, seed);
    }

    public SamplingOptions withRepetitionPenalty(double repetitionPenalty) {
        return new SamplingOptions(temperature, topK, topP, minP, repetitionPenalty, seed);
    }

    /// Whether the likeliest token is always taken.
    public boolean greedy() {
        return temperature == 0;
    }

    private static void require(boolean fits, String option, Number value, String range) {
        if (!fits) {
            throw new InputException("%s %s: it must be %s".formatted(option, value, range));
        }
    }
}
