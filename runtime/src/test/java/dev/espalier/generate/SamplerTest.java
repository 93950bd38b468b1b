package dev.espalier.generate;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.espalier.tensor.InputException;
import java.util.Arrays;
import java.util.SplittableRandom;
import java.util.TreeSet;
import org.junit.jupiter.api.Test;

/// The filters' order and edges, and what is drawn.
class SamplerTest {
    private static final long SEED = 20261126;
    private static final float[] LOGITS = logits(0.2, 0.4, 0.1, 0.3);

    private static float[] logits(double... probabilities) {
        float[] logits = new float[probabilities.length];
        for (int i = 0; i < logits.length; i++) {
            // An offset, because logits are not log-probabilities.
            logits[i] = (float) (Math.log(probabilities[i]) + 5);
        }
        return logits;
    }

    private static double[] frequencies(SamplingOptions options, float[] logits, int draws) {
        Sampler sampler = new Sampler(options, logits.length);
        double[] counts = new double[logits.length];
        for (int i = 0; i < draws; i++) {
            counts[sampler.next(logits)] += 1.0 / draws;
        }
        return counts;
    }

    private static void expect(SamplingOptions options, double... probabilities) {
        // 40000 draws: three standard deviations of a frequency are at most 0.0075.
        assertArrayEquals(probabilities, frequencies(options, LOGITS, 40_000), 0.0075);
    }

    private static SamplingOptions at(double temperature) {
        return SamplingOptions.of(temperature, SEED);
    }

    @Test
    void temperatureZeroTakesTheLikeliestAndOfEquallyLikelyOnesTheFirst() {
        assertEquals(1, new Sampler(SamplingOptions.GREEDY, 4).next(LOGITS));
        assertEquals(1, new Sampler(SamplingOptions.GREEDY, 4).next(new float[] {1, 3, 3, 2}));
    }

    @Test
    void temperatureOneDrawsTheModelsOwnDistribution() {
        expect(at(1), 0.2, 0.4, 0.1, 0.3);
    }

    @Test
    void temperatureDividesTheLogits() {
        double sum = 0.04 + 0.16 + 0.01 + 0.09;
        expect(at(0.5), 0.04 / sum, 0.16 / sum, 0.01 / sum, 0.09 / sum);
        assertEquals(1, new Sampler(at(1e-300), 4).next(LOGITS));
    }

    @Test
    void topKKeepsTheLikeliestAndWhatTiesWithTheLastOfThem() {
        expect(at(1).withTopK(2), 0, 0.4 / 0.7, 0, 0.3 / 0.7);
        expect(at(1).withTopK(1), 0, 1, 0, 0);
        double[] tied = frequencies(at(1).withTopK(2), logits(0.4, 0.2, 0.2, 0.2), 1000);
        assertTrue(Arrays.stream(tied).allMatch(frequency -> frequency > 0));
    }

    @Test
    void topKBeyondTheVocabularyIsNoFilter() {
        for (int k : new int[] {0, 4, 9_999_999, Integer.MAX_VALUE}) {
            assertArrayEquals(
                    frequencies(at(1), LOGITS, 500), frequencies(at(1).withTopK(k), LOGITS, 500), "top-k " + k);
        }
    }

    @Test
    void topPKeepsTheFewestTokensThatReachIt() {
        expect(at(1).withTopP(0.65), 0, 0.4 / 0.7, 0, 0.3 / 0.7);
        expect(at(1).withTopP(0.75), 0.2 / 0.9, 0.4 / 0.9, 0, 0.3 / 0.9);
        expect(at(1).withTopP(1), 0.2, 0.4, 0.1, 0.3);
    }

    @Test
    void topPZeroKeepsTheLikeliest() {
        expect(at(1).withTopP(0), 0, 1, 0, 0);
        expect(at(5).withTopP(1e-9), 0, 1, 0, 0);
    }

    @Test
    void minPDropsWhatIsFarBelowTheLikeliest() {
        expect(at(1).withMinP(0.6), 0, 0.4 / 0.7, 0, 0.3 / 0.7);
        expect(at(1).withMinP(1), 0, 1, 0, 0);
        expect(at(1).withMinP(0), 0.2, 0.4, 0.1, 0.3);
    }

    @Test
    void temperatureComesBeforeTopP() {
        // At temperature 1/2 the likeliest has 0.53 of the probability, at temperature 1 only 0.4.
        expect(at(0.5).withTopP(0.5), 0, 1, 0, 0);
    }

    @Test
    void topKComesBeforeTopP() {
        // Of the two likeliest alone the first has 0.571; of all it has 0.4.
        expect(at(1).withTopK(2).withTopP(0.5), 0, 1, 0, 0);
        expect(at(1).withTopP(0.5), 0, 0.4 / 0.7, 0, 0.3 / 0.7);
    }

    @Test
    void repetitionPenaltyDividesPositiveAndMultipliesNegativeLogitsOnce() {
        Sampler sampler = new Sampler(SamplingOptions.GREEDY.withRepetitionPenalty(2), 3);
        float[] logits = {4, 3, -1};
        assertEquals(0, sampler.next(logits));
        sampler.accept(0);
        sampler.accept(0);
        assertEquals(1, sampler.next(logits));
        sampler.accept(1);
        // 2, 1.5, -1: the first again, however often it was said.
        assertEquals(0, sampler.next(logits));
        float[] negative = {-5, -5, -9};
        // -10, -10, -9
        assertEquals(2, sampler.next(negative));
        assertArrayEquals(new float[] {-5, -5, -9}, negative);
    }

    @Test
    void theSameSeedDrawsTheSameAndAnotherSeedDoesNot() {
        float[] logits = new float[1000];
        SplittableRandom random = new SplittableRandom(SEED);
        for (int i = 0; i < logits.length; i++) {
            logits[i] = (float) random.nextGaussian();
        }
        assertEquals(drawn(SamplingOptions.of(1.5, 42), logits), drawn(SamplingOptions.of(1.5, 42), logits));
        assertNotEquals(drawn(SamplingOptions.of(1.5, 42), logits), drawn(SamplingOptions.of(1.5, 43), logits));
    }

    private static String drawn(SamplingOptions options, float[] logits) {
        Sampler sampler = new Sampler(options, logits.length);
        StringBuilder ids = new StringBuilder();
        for (int i = 0; i < 20; i++) {
            ids.append(sampler.next(logits)).append(' ');
        }
        return ids.toString();
    }

    @Test
    void tokensBeyondTheTokenizerAreNeverChosen() {
        float[] padded = {1, 2, 3, 50, 60};
        assertEquals(2, new Sampler(SamplingOptions.GREEDY, 3).next(padded));
        Sampler sampler = new Sampler(at(100), 3);
        TreeSet<Integer> seen = new TreeSet<>();
        for (int i = 0; i < 500; i++) {
            seen.add(sampler.next(padded));
        }
        assertEquals(2, seen.last());
    }

    @Test
    void logitsThatAreNoNumbersAreAnErrorThatNamesTheToken() {
        for (SamplingOptions options : new SamplingOptions[] {SamplingOptions.GREEDY, at(1)}) {
            ArithmeticException error = assertThrows(
                    ArithmeticException.class, () -> new Sampler(options, 3).next(new float[] {1, Float.NaN, 2}));
            assertTrue(error.getMessage().contains("token 1 is NaN"), error::getMessage);
            assertThrows(
                    ArithmeticException.class,
                    () -> new Sampler(options, 2).next(new float[] {1, Float.POSITIVE_INFINITY}));
            float low = Float.NEGATIVE_INFINITY;
            assertThrows(ArithmeticException.class, () -> new Sampler(options, 2).next(new float[] {low, low}));
            assertEquals(1, new Sampler(options, 2).next(new float[] {low, 0}));
        }
    }

    @Test
    void optionsOutOfRangeAreRefused() {
        assertThrows(InputException.class, () -> at(-0.1));
        assertThrows(InputException.class, () -> at(Double.NaN));
        assertThrows(InputException.class, () -> at(Double.POSITIVE_INFINITY));
        assertThrows(InputException.class, () -> at(1).withTopK(-1));
        assertThrows(InputException.class, () -> at(1).withTopP(-0.1));
        assertThrows(InputException.class, () -> at(1).withTopP(1.1));
        assertThrows(InputException.class, () -> at(1).withMinP(Double.NaN));
        assertThrows(InputException.class, () -> at(1).withRepetitionPenalty(0));
    }
}
