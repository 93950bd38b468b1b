package dev.espalier.prune.solver;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.espalier.kernels.LinearAlgebra;
import dev.espalier.kernels.cpu.CpuLinearAlgebra;
import dev.espalier.kernels.simd.Workers;
import dev.espalier.prune.calibrate.Gram;
import dev.espalier.prune.calibrate.Scratch;
import dev.espalier.prune.pattern.NOfM;
import dev.espalier.prune.pattern.Pattern;
import dev.espalier.prune.pattern.Unstructured;
import dev.espalier.tensor.InputException;
import dev.espalier.tensor.Mask;
import dev.espalier.tensor.Tensor;
import java.lang.foreign.Arena;
import java.util.List;
import java.util.Random;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

/// What every solver promises for every pattern.
class SolverContractTest {
    private static final List<String> PATTERNS =
            List.of("unstructured", "2:4", "1:4", "3:4", "4:8", "2:8", "1:3", "13:24");
    private static final int[][] SHAPES = {{1, 24}, {7, 24}, {33, 168}, {5, 264}};
    private static final Workers ALONE = new Workers(1);
    private static final Workers TEAM = new Workers(3);
    private static final LinearAlgebra ALGEBRA = new CpuLinearAlgebra(ALONE);
    private static final LinearAlgebra TEAM_ALGEBRA = new CpuLinearAlgebra(TEAM);

    @AfterAll
    static void close() {
        ALONE.close();
        TEAM.close();
    }

    static Stream<Arguments> solversAndPatterns() {
        return Solvers.all().stream()
                .flatMap(solver -> PATTERNS.stream().map(name -> Arguments.of(solver.name(), name)));
    }

    private static Tensor random(int rows, int columns, long seed) {
        Random random = new Random(seed);
        float[] values = new float[rows * columns];
        for (int i = 0; i < values.length; i++) {
            values[i] = (float) random.nextGaussian();
        }
        return Tensor.of(Arena.ofAuto(), rows, columns, values);
    }

    /// Inputs of unequal scale that hang together, four tokens a feature; the inputs in `dead` are zero, of both signs.
    private static Tensor inputs(int features, long seed, int... dead) {
        Tensor z = random(4 * features, features, seed);
        Tensor x = random(4 * features, features, seed);
        for (int t = 0; t < x.rows(); t++) {
            for (int j = 1; j < features; j++) {
                x.set(t, j, (z.get(t, j) + 0.7f * z.get(t, j - 1)) * (1 + j % 5));
            }
            for (int j : dead) {
                x.set(t, j, t % 2 == 0 ? 0f : -0f);
            }
        }
        return x;
    }

    private static Gram gram(Tensor x) {
        Gram gram = new Gram(x.columns(), ALGEBRA);
        gram.add(x.slice(0, x.rows() / 2));
        gram.add(x.slice(x.rows() / 2, x.rows()));
        return gram;
    }

    private static Solution solve(
            String solver, Tensor w, Gram gram, String pattern, double sparsity, Workers workers) {
        return Solvers.named(solver)
                .solve(new LayerProblem(
                        "block 3, projection DOWN",
                        w,
                        gram,
                        Pattern.parse(pattern),
                        sparsity,
                        Double.NaN,
                        false,
                        workers == TEAM ? TEAM_ALGEBRA : ALGEBRA,
                        workers,
                        new Scratch()));
    }

    private static void assertPatternHolds(Pattern pattern, Tensor w, double sparsity) {
        long zeros = w.size() - Mask.of(w).count();
        assertEquals(pattern.pruned(w.rows(), w.columns(), sparsity), zeros, "zeros");
        if (pattern instanceof NOfM(int n, int m)) {
            for (int r = 0; r < w.rows(); r++) {
                for (int at = 0; at < w.columns(); at += m) {
                    int kept = 0;
                    for (int c = at; c < at + m; c++) {
                        kept += w.get(r, c) != 0 ? 1 : 0;
                    }
                    assertEquals(n, kept, "row " + r + ", columns from " + at);
                }
            }
        }
    }

    @ParameterizedTest
    @MethodSource("solversAndPatterns")
    void thePatternHoldsAndTheBudgetIsMet(String solver, String pattern) {
        for (int[] shape : SHAPES) {
            try (Gram gram = gram(inputs(shape[1], 1))) {
                for (double sparsity : new double[] {0, 0.31, 0.5, 0.9}) {
                    Tensor w = random(shape[0], shape[1], 2);
                    solve(solver, w, gram, pattern, sparsity, ALONE);
                    assertPatternHolds(Pattern.parse(pattern), w, sparsity);
                }
            }
        }
    }

    @ParameterizedTest
    @MethodSource("solversAndPatterns")
    void theResultIsTheSameForAnyNumberOfThreadsAndEveryTime(String solver, String pattern) {
        Tensor x = inputs(264, 3);
        float[] first = null;
        for (Workers workers : List.of(ALONE, TEAM, TEAM)) {
            try (Gram gram = gram(x)) {
                Tensor w = random(13, 264, 4);
                solve(solver, w, gram, pattern, 0.6, workers);
                first = first == null ? w.toFloats() : first;
                assertArrayEquals(first, w.toFloats());
            }
        }
    }

    /// Weights of a dead input cost nothing: those methods that look at inputs give them up first.
    @ParameterizedTest
    @MethodSource("solversAndPatterns")
    void deadInputsAreNoObstacle(String solver, String pattern) {
        int[] dead = {0, 17, 18, 100};
        try (Gram gram = gram(inputs(168, 5, dead))) {
            Tensor w = random(9, 168, 6);
            solve(solver, w, gram, pattern, 0.5, TEAM);
            for (float value : w.toFloats()) {
                assertTrue(Float.isFinite(value));
            }
            Pattern p = Pattern.parse(pattern);
            long zeros = w.size() - Mask.of(w).count();
            assertTrue(zeros >= p.pruned(9, 168, 0.5), zeros + " zeros");
            if (Solvers.named(solver).usesData() && p instanceof Unstructured) {
                assertEquals(p.pruned(9, 168, 0.5), zeros);
                for (int r = 0; r < 9; r++) {
                    for (int j : dead) {
                        assertEquals(0f, w.get(r, j));
                    }
                }
            }
        }
    }

    @ParameterizedTest
    @MethodSource("solversAndPatterns")
    void aRowOfZerosOfBothSignsStaysZero(String solver, String pattern) {
        Tensor w = random(6, 48, 7);
        for (int c = 0; c < 48; c++) {
            w.set(2, c, c % 2 == 0 ? 0f : -0f);
        }
        try (Gram gram = gram(inputs(48, 8))) {
            solve(solver, w, gram, pattern, 0.5, TEAM);
        }
        for (int c = 0; c < 48; c++) {
            assertEquals(0f, Math.abs(w.get(2, c)));
        }
        long zeros = w.size() - Mask.of(w).count();
        assertTrue(zeros >= Pattern.parse(pattern).pruned(6, 48, 0.5));
    }

    /// Pruned to 0.5 and then to 0.7: 0.7 in all, and what only chooses keeps every zero it finds.
    @ParameterizedTest
    @MethodSource("solversAndPatterns")
    void oldZerosCount(String solver, String pattern) {
        Tensor w = random(11, 120, 9);
        try (Gram gram = gram(inputs(120, 10))) {
            solve(solver, w, gram, "unstructured", 0.5, TEAM);
            Mask before = Mask.of(w);
            Tensor again = Tensor.of(Arena.ofAuto(), 11, 120, w.toFloats());
            solve(solver, again, gram, pattern, 0.7, TEAM);
            if (Pattern.parse(pattern) instanceof Unstructured) {
                assertPatternHolds(Pattern.parse(pattern), again, 0.7);
            }
            if (!Solvers.named(solver).updatesWeights()) {
                for (int r = 0; r < 11; r++) {
                    for (int c = 0; c < 120; c++) {
                        assertTrue(before.kept(r, c) || again.get(r, c) == 0);
                    }
                }
            }
        }
    }

    @ParameterizedTest
    @MethodSource("solversAndPatterns")
    void sparsityZeroOfAnUnstructuredPatternChangesNothing(String solver, String pattern) {
        if (Pattern.parse(pattern) instanceof Unstructured) {
            Tensor w = random(5, 24, 11);
            try (Gram gram = gram(inputs(24, 12))) {
                solve(solver, w, gram, pattern, 0, ALONE);
            }
            assertArrayEquals(random(5, 24, 11).toFloats(), w.toFloats());
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"sparsegpt", "admm-grad", "alps"})
    void methodsThatUpdateWeightsLoseNoMoreThanMagnitude(String solver) {
        for (String pattern : PATTERNS) {
            for (int[] shape : SHAPES) {
                Tensor x = inputs(shape[1], 13);
                try (Gram gram = gram(x)) {
                    Tensor dense = random(shape[0], shape[1], 14);
                    Tensor magnitude = random(shape[0], shape[1], 14);
                    Tensor pruned = random(shape[0], shape[1], 14);
                    solve("magnitude", magnitude, null, pattern, 0.6, ALONE);
                    solve(solver, pruned, gram, pattern, 0.6, ALONE);
                    assertTrue(loss(x, dense, pruned) <= loss(x, dense, magnitude), pattern);
                }
            }
        }
    }

    private static double loss(Tensor x, Tensor w, Tensor pruned) {
        double loss = 0;
        for (int t = 0; t < x.rows(); t++) {
            for (int r = 0; r < w.rows(); r++) {
                double error = 0;
                for (int c = 0; c < w.columns(); c++) {
                    error += x.get(t, c) * ((double) w.get(r, c) - pruned.get(r, c));
                }
                loss += error * error;
            }
        }
        return loss;
    }

    /// 5 tokens, 120 features: without more damping than none there is no Cholesky factor of H itself.
    @ParameterizedTest
    @ValueSource(strings = {"sparsegpt"})
    void aRankDeficientGramMakesTheDampingGrowAndSaysSo(String solver) {
        try (Gram gram = new Gram(120, ALGEBRA)) {
            gram.add(random(5, 120, 15));
            Tensor w = random(4, 120, 16);
            Solution solution = Solvers.named(solver).solve(problem(w, gram, Unstructured.INSTANCE, 0.5, 0));
            assertTrue(solution.damping() > 0);
            assertNotNull(solution.note());
            assertTrue(solution.note().contains("damping grew"), solution.note());
            assertPatternHolds(Unstructured.INSTANCE, w, 0.5);

            solution = solve(solver, w, gram, "unstructured", 0.5, ALONE);
            assertNull(solution.note(), "the paper's damping is enough");
        }
    }

    /// ρ takes the damping's place where there is none, so that these have a factor always.
    @ParameterizedTest
    @ValueSource(strings = {"admm-grad", "alps"})
    void aRankDeficientGramIsNoObstacleToThePenaltyMethods(String solver) {
        for (double damping : new double[] {0, 0.01}) {
            try (Gram gram = new Gram(120, ALGEBRA)) {
                gram.add(random(5, 120, 15));
                Tensor w = random(4, 120, 16);
                Solution solution = Solvers.named(solver).solve(problem(w, gram, Unstructured.INSTANCE, 0.5, damping));
                assertEquals(damping, solution.damping());
                assertPatternHolds(Unstructured.INSTANCE, w, 0.5);
                for (float value : w.toFloats()) {
                    assertTrue(Float.isFinite(value));
                }
            }
        }
    }

    private static LayerProblem problem(Tensor w, Gram gram, Pattern pattern, double sparsity, double damping) {
        return new LayerProblem(
                "block 0, projection UP", w, gram, pattern, sparsity, damping, false, ALGEBRA, ALONE, new Scratch());
    }

    @Test
    void infiniteOrUndefinedInputsAreNamedAtOnce() {
        for (float bad : new float[] {Float.NaN, Float.POSITIVE_INFINITY, Float.NEGATIVE_INFINITY, 2e19f}) {
            Tensor x = inputs(24, 17);
            x.set(3, 5, bad);
            try (Gram gram = gram(x)) {
                for (String solver : List.of("wanda", "dsnot", "sparsegpt", "admm-grad", "alps")) {
                    SolverException refusal = assertThrows(
                            SolverException.class,
                            () -> solve(solver, random(2, 24, 18), gram, "unstructured", 0.5, ALONE));
                    assertTrue(refusal.getMessage().startsWith("block 3, projection DOWN, " + solver + ":"));
                }
            }
        }
    }

    @Test
    void anUnknownMethodIsRefusedWithTheListOfKnownOnes() {
        InputException refusal = assertThrows(InputException.class, () -> Solvers.named("obd"));
        assertEquals(
                "method 'obd' is not known; known: magnitude, wanda, dsnot, sparsegpt, admm-grad, alps",
                refusal.getMessage());
    }
}
