package dev.espalier.generate;

import java.util.Arrays;
import java.util.BitSet;
import java.util.SplittableRandom;

/// Chooses the next token from logits, step by step, for one sequence.
///
/// The filters come in the order of Hugging Face transformers: repetition penalty, temperature, top-k, top-p, min-p.
/// Equally likely tokens are ordered by their ids, so that the choice depends on logits and seed alone. Nothing is
/// allocated per token.
public final class Sampler {
    private final SamplingOptions options;
    private final SplittableRandom random;
    private final BitSet seen = new BitSet();
    private final int vocabulary;
    private final float[] scores;
    private final long[] order;
    private final double[] weights;

    /// A sampler for logits of a model whose first `vocabulary` tokens may be chosen: the tokenizer's size, where the
    /// model's own is padded beyond it.
    public Sampler(SamplingOptions options, int vocabulary) {
        if (vocabulary < 1) {
            throw new IllegalArgumentException("no token to choose from");
        }
        this.options = options;
        this.vocabulary = vocabulary;
        this.random = new SplittableRandom(options.seed());
        this.scores = new float[vocabulary];
        this.order = options.greedy() ? new long[0] : new long[vocabulary];
        this.weights = options.greedy() ? new double[0] : new double[vocabulary];
    }

    /// Says that `token` stands in the text, for the repetition penalty.
    public void accept(int token) {
        seen.set(token);
    }

    /// The next token, from `logits`, of which the first `vocabulary` are looked at and none is changed.
    ///
    /// @throws ArithmeticException if a logit is NaN or +∞, or all are −∞: the model's weights are broken
    public int next(float[] logits) {
        System.arraycopy(logits, 0, scores, 0, vocabulary);
        int best = likeliest();
        if (options.repetitionPenalty() != 1) {
            penalize();
            best = likeliest();
        }
        return options.greedy() ? best : draw(filtered(scores[best]));
    }

    private int likeliest() {
        int best = 0;
        for (int id = 0; id < vocabulary; id++) {
            float score = scores[id];
            if (Float.isNaN(score) || score == Float.POSITIVE_INFINITY) {
                throw new ArithmeticException("the model's logit of token " + id + " is " + score
                        + "; its weights hold values that float32 arithmetic does not survive");
            }
            if (score > scores[best]) {
                best = id;
            }
        }
        if (scores[best] == Float.NEGATIVE_INFINITY) {
            throw new ArithmeticException("the model gives every token the logit -Infinity");
        }
        return best;
    }

    /// Keskar et al., CTRL (2019): a positive score is divided by the penalty, a negative one multiplied with it, once
    /// for each token that stands in the text.
    private void penalize() {
        float penalty = (float) options.repetitionPenalty();
        for (int id = seen.nextSetBit(0); id >= 0 && id < vocabulary; id = seen.nextSetBit(id + 1)) {
            scores[id] = scores[id] < 0 ? scores[id] * penalty : scores[id] / penalty;
        }
    }

    /// Sorts the tokens, likeliest first, into `order`, their unnormalized probabilities into `weights`, and returns
    /// how many the filters leave.
    private int filtered(float best) {
        for (int id = 0; id < vocabulary; id++) {
            order[id] = key(scores[id], id);
        }
        Arrays.sort(order);
        int kept = vocabulary;
        if (options.topK() > 0 && options.topK() < kept) {
            float last = scores[id(options.topK() - 1)];
            kept = options.topK();
            while (kept < vocabulary && scores[id(kept)] == last) {
                kept++;
            }
        }
        double sum = 0;
        for (int i = 0; i < kept; i++) {
            weights[i] = Math.exp(((double) scores[id(i)] - best) / options.temperature());
            sum += weights[i];
        }
        if (options.topP() < 1) {
            double tail = 0;
            double limit = (1 - options.topP()) * sum;
            while (kept > 1 && tail + weights[kept - 1] <= limit) {
                tail += weights[--kept];
            }
        }
        while (kept > 1 && weights[kept - 1] < options.minP() * weights[0]) {
            kept--;
        }
        return kept;
    }

    private int draw(int kept) {
        double sum = 0;
        for (int i = 0; i < kept; i++) {
            sum += weights[i];
        }
        double point = random.nextDouble() * sum;
        int last = 0;
        for (int i = 0; i < kept; i++) {
            if (weights[i] > 0) {
                last = i;
                point -= weights[i];
                if (point < 0) {
                    break;
                }
            }
        }
        return id(last);
    }

    private int id(int place) {
        return (int) order[place];
    }

    /// A number that sorts by score, highest first, then by id.
    private static long key(float score, int id) {
        int bits = Float.floatToIntBits(score + 0f);
        int ascending = bits >= 0 ? bits : bits ^ 0x7fffffff;
        return ((long) ~ascending << 32) | id;
    }
}
