package dev.espalier.generate;

import java.util.ArrayList;
import java.util.List;

/// The log-probability of a token that stands in a text, and the likeliest tokens at its place.
///
/// From the model's own distribution, before penalty, temperature and filters.
///
/// @param tokenId the token
/// @param logprob its natural log-probability
/// @param top the likeliest tokens, likeliest first, equal ones by id
public record TokenLogprobs(int tokenId, double logprob, List<Entry> top) {
    /// A token and its log-probability.
    public record Entry(int tokenId, double logprob) {}

    /// The entry for `token` with the `count` likeliest tokens; `count` beyond the vocabulary is all of it.
    static TokenLogprobs of(float[] logits, int token, int count) {
        double normalizer = logSumExp(logits, 0, logits.length);
        int wanted = Math.min(count, logits.length);
        int[] ids = new int[wanted];
        int found = 0;
        for (int id = 0; id < logits.length; id++) {
            if (found < wanted || (wanted > 0 && logits[id] > logits[ids[found - 1]])) {
                int place = found < wanted ? found++ : found - 1;
                while (place > 0 && logits[ids[place - 1]] < logits[id]) {
                    ids[place] = ids[place - 1];
                    place--;
                }
                ids[place] = id;
            }
        }
        List<Entry> top = new ArrayList<>(wanted);
        for (int id : ids) {
            top.add(new Entry(id, logits[id] - normalizer));
        }
        return new TokenLogprobs(token, logits[token] - normalizer, List.copyOf(top));
    }

    /// log Σ exp of `count` logits from `from` on.
    static double logSumExp(float[] logits, int from, int count) {
        float max = Float.NEGATIVE_INFINITY;
        for (int i = from; i < from + count; i++) {
            max = Math.max(max, logits[i]);
        }
        double sum = 0;
        for (int i = from; i < from + count; i++) {
            sum += Math.exp(logits[i] - max);
        }
        return max + Math.log(sum);
    }
}
