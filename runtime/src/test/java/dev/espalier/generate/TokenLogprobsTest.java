package dev.espalier.generate;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.util.List;
import org.junit.jupiter.api.Test;

class TokenLogprobsTest {
    private static List<Integer> ids(TokenLogprobs entry) {
        return entry.top().stream().map(TokenLogprobs.Entry::tokenId).toList();
    }

    @Test
    void theLikeliestComeFirstAndEquallyLikelyOnesById() {
        float[] logits = {1, 4, 2, 4, 3, 2};
        TokenLogprobs entry = TokenLogprobs.of(logits, 2, 4);
        assertEquals(List.of(1, 3, 4, 2), ids(entry));
        double sum = 0;
        for (float logit : logits) {
            sum += Math.exp(logit);
        }
        // Math.exp of a float difference: one unit in the last place each.
        assertEquals(2 - Math.log(sum), entry.logprob(), 1e-12);
        assertEquals(4 - Math.log(sum), entry.top().getFirst().logprob(), 1e-12);
    }

    @Test
    void moreThanTheVocabularyIsAllOfIt() {
        TokenLogprobs entry = TokenLogprobs.of(new float[] {0, 1, 2}, 0, 10_000);
        assertEquals(List.of(2, 1, 0), ids(entry));
        double total =
                entry.top().stream().mapToDouble(e -> Math.exp(e.logprob())).sum();
        assertEquals(1, total, 1e-12);
        assertEquals(List.of(), TokenLogprobs.of(new float[] {0, 1, 2}, 0, 0).top());
    }

    @Test
    void hugeLogitsDoNotOverflow() {
        assertEquals(-1e30, TokenLogprobs.of(new float[] {1e30f, 0}, 1, 1).logprob(), 1e24);
    }
}
