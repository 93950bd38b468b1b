package dev.espalier.prune.pattern;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.espalier.kernels.simd.Workers;
import dev.espalier.prune.pattern.Budget.Granularity;
import dev.espalier.prune.pattern.Budget.Ties;
import dev.espalier.tensor.InputException;
import dev.espalier.tensor.Mask;
import dev.espalier.tensor.Tensor;
import java.lang.foreign.Arena;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class PatternTest {
    private static final Pattern UNSTRUCTURED = Pattern.parse("unstructured");

    /// Few distinct values, so that ties are everywhere; zeros of both signs among them.
    private static Tensor tied(int rows, int columns, long seed) {
        Random random = new Random(seed);
        float[] values = new float[rows * columns];
        for (int i = 0; i < values.length; i++) {
            values[i] = (random.nextInt(7) - 3) * (random.nextInt(5) == 0 ? 1e-30f : 0.25f);
        }
        return Tensor.of(Arena.ofAuto(), rows, columns, values);
    }

    private static Tensor distinct(int rows, int columns, long seed) {
        Random random = new Random(seed);
        float[] values = new float[rows * columns];
        for (int i = 0; i < values.length; i++) {
            values[i] = (float) random.nextGaussian() * (float) Math.exp(5 * random.nextGaussian());
        }
        return Tensor.of(Arena.ofAuto(), rows, columns, values);
    }

    /// The lowest `count` of a matrix by (score, row, column), by sorting.
    private static Mask sorted(Tensor scores, int count) {
        List<int[]> places = new ArrayList<>();
        for (int r = 0; r < scores.rows(); r++) {
            for (int c = 0; c < scores.columns(); c++) {
                places.add(new int[] {r, c});
            }
        }
        places.sort(Comparator.comparingDouble(p -> Math.abs(scores.get(p[0], p[1]))));
        Mask mask = new Mask(scores.rows(), scores.columns());
        places.stream().skip(count).forEach(p -> mask.keep(p[0], p[1]));
        return mask;
    }

    @ParameterizedTest
    @CsvSource({"1,1", "1,130", "7,64", "33,65", "64,3"})
    void aMatrixWideRankingPrunesTheLowestScoresAndOfTiesTheLowestIndex(int rows, int columns) {
        for (Tensor scores : List.of(tied(rows, columns, 1), distinct(rows, columns, 2))) {
            for (int count = 0; count <= rows * columns; count += Math.max(1, rows * columns / 13)) {
                Mask mask = UNSTRUCTURED.project(scores, Budget.exact(count, Granularity.MATRIX));
                assertEquals(sorted(scores, count), mask, count + " of " + scores);
            }
        }
    }

    @Test
    void everyCountIsMetExactly() {
        Tensor scores = tied(9, 31, 3);
        for (Granularity granularity : Granularity.values()) {
            for (int count = 0; count <= scores.size(); count++) {
                Mask mask = UNSTRUCTURED.project(scores, Budget.exact(count, granularity));
                assertEquals(scores.size() - count, mask.count(), granularity.toString());
            }
        }
    }

    @Test
    void aRowWideRankingSpreadsWhatDoesNotDivideOverTheRowsWithTheLowestNextScore() {
        Tensor scores = Tensor.of(Arena.ofAuto(), 3, 4, /**/ 1, 2, 9, 9, /**/ 1, 3, 9, 9, /**/ 1, 2, 9, 9);
        Mask mask = UNSTRUCTURED.project(scores, Budget.exact(4, Granularity.ROW));
        assertEquals(2, mask.count(0), "next scores are 2, 3, 2: of the tied rows the first");
        assertEquals(3, mask.count(1));
        assertEquals(3, mask.count(2));
        mask = UNSTRUCTURED.project(scores, Budget.exact(5, Granularity.ROW));
        assertEquals(2, mask.count(2));
        assertEquals(3, mask.count(1));
    }

    @Test
    void withinARowTheLowestScoresGoAndOfTiesTheLowestColumn() {
        Tensor scores = tied(5, 40, 4);
        Mask mask = UNSTRUCTURED.project(scores, Budget.exact(5 * 17, Granularity.ROW));
        for (int r = 0; r < 5; r++) {
            Mask expected = sorted(scores.slice(r, r + 1), 17);
            for (int c = 0; c < 40; c++) {
                assertEquals(expected.kept(0, c), mask.kept(r, c));
            }
        }
    }

    @Test
    void releasedCountsTakeTheNextScoreAndAllItsTies() {
        Tensor scores = Tensor.of(Arena.ofAuto(), 2, 4, 4, 1, 2, 2, -2, 3, 2, 5);
        Mask mask = UNSTRUCTURED.project(scores, new Budget(1, Granularity.MATRIX, Ties.ALL));
        assertEquals(3, mask.count(), "1 and the four twos");
        assertTrue(mask.kept(0, 0) && mask.kept(1, 1) && mask.kept(1, 3));
    }

    @Test
    void zerosOfEitherSignScoreTheSame() {
        Tensor scores = Tensor.of(Arena.ofAuto(), 1, 4, 1, -0.0f, 0f, -1e-30f);
        Mask mask = UNSTRUCTURED.project(scores, Budget.exact(2, Granularity.MATRIX));
        assertFalse(mask.kept(0, 1));
        assertFalse(mask.kept(0, 2));
        assertTrue(mask.kept(0, 3));
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "2:4", "1:4", "3:4", "4:8", "2:8", "1:2", "5:12", "1:3", "65:96", "32:64", "13:64", "6:64", "1:17"
            })
    void aGroupKeepsExactlyItsHighestAlongTheInputs(String name) {
        NOfM pattern = NOfM.parse(name);
        assertEquals(name, pattern.name());
        int columns = pattern.m() * 3;
        for (Tensor scores : List.of(tied(6, columns, 5), distinct(6, columns, 6))) {
            Mask mask = pattern.project(scores, Budget.exact(0, Granularity.MATRIX));
            for (int r = 0; r < 6; r++) {
                for (int at = 0; at < columns; at += pattern.m()) {
                    int kept = 0;
                    for (int i = at; i < at + pattern.m(); i++) {
                        kept += mask.kept(r, i) ? 1 : 0;
                        for (int j = at; j < at + pattern.m(); j++) {
                            float a = Math.abs(scores.get(r, i));
                            float b = Math.abs(scores.get(r, j));
                            if (mask.kept(r, i) && !mask.kept(r, j)) {
                                assertTrue(a > b || a == b && i > j);
                            }
                        }
                    }
                    assertEquals(pattern.n(), kept);
                }
            }
            assertEquals(pattern.pruned(6, columns, 0), 6L * columns - mask.count());
        }
    }

    @ParameterizedTest
    @ValueSource(
            strings = {"5:4", "4:4", "0:4", "2:4:8", "24", "", "2:", ":4", "-1:4", "2 : 4", "a:b", "99999999999:4"})
    void whatIsNoPatternIsRefusedByName(String text) {
        InputException refusal = assertThrows(InputException.class, () -> Pattern.parse(text));
        assertTrue(refusal.getMessage().contains("'" + text + "'")
                || refusal.getMessage().contains(text + " "));
        assertTrue(refusal.getMessage().contains("0 < N < M"), refusal.getMessage());
    }

    @Test
    void columnsThatAreNoMultipleOfAGroupAreNamed() {
        assertNull(new NOfM(2, 4).refuses(172));
        assertEquals("172 columns are not a multiple of 8", new NOfM(4, 8).refuses(172));
        assertNotNull(new NOfM(2, 4).refuses(2));
        Tensor scores = tied(2, 6, 7);
        assertThrows(
                IllegalArgumentException.class,
                () -> new NOfM(2, 4).project(scores, Budget.exact(0, Granularity.MATRIX)));
    }

    @Test
    void masksDoNotDependOnTheNumberOfThreads() {
        Tensor scores = tied(37, 120, 8);
        try (Workers three = new Workers(3)) {
            for (Pattern pattern : List.of(UNSTRUCTURED, new NOfM(2, 4))) {
                for (Granularity granularity : Granularity.values()) {
                    Budget budget = Budget.exact(3001, granularity);
                    assertEquals(pattern.project(scores, budget), pattern.project(scores, budget, three));
                }
            }
        }
    }

    @Test
    void sparsityIsMetToOneWeight() {
        for (double sparsity : new double[] {0, 0.1, 0.29, 0.5, 0.7, 0.8, 0.999}) {
            long pruned = UNSTRUCTURED.pruned(13, 100, sparsity);
            assertEquals(1300 * sparsity, (double) pruned, 0.5);
        }
    }
}
