package dev.espalier.prune.solver;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.espalier.kernels.LinearAlgebra;
import dev.espalier.kernels.cpu.CpuLinearAlgebra;
import dev.espalier.kernels.simd.Workers;
import dev.espalier.prune.Npz;
import dev.espalier.prune.calibrate.Gram;
import dev.espalier.prune.calibrate.Scratch;
import dev.espalier.prune.pattern.NOfM;
import dev.espalier.prune.pattern.Pattern;
import dev.espalier.tensor.InputException;
import dev.espalier.tensor.Mask;
import dev.espalier.tensor.Tensor;
import java.lang.foreign.Arena;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestInstance;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.MethodSource;

/// Refinements of every solver's result, on 96 outputs of the fixtures' synthetic layer (512 inputs, three of them dead).
@TestInstance(TestInstance.Lifecycle.PER_CLASS)
class RefinementTest {
    private static final int N = 512;
    private static final int ROWS = 96;
    private static final double DAMPING = 0.01;

    private final Npz input = Npz.resource("/solvers/case_A_input.npz");
    private final Workers workers = new Workers(2);
    private final LinearAlgebra algebra = new CpuLinearAlgebra(workers);
    private final Gram gram = new Gram(N, algebra);

    RefinementTest() {
        Tensor x = Tensor.of(Arena.ofAuto(), 2048, N, input.floats("X"));
        for (int s = 0; s < 8; s++) {
            gram.add(x.slice(s * 256, (s + 1) * 256));
        }
    }

    @AfterAll
    void close() {
        gram.close();
        workers.close();
    }

    static Stream<Arguments> solversAndPatterns() {
        return Solvers.all().stream()
                .flatMap(solver ->
                        Stream.of("unstructured", "2:4", "1:4").map(pattern -> Arguments.of(solver.name(), pattern)));
    }

    private Tensor dense() {
        return Tensor.of(Arena.ofAuto(), N, N, input.floats("W")).slice(0, ROWS);
    }

    private LayerProblem problem(Tensor w, String pattern, Workers team) {
        return new LayerProblem(
                "block 1, projection UP",
                w,
                gram,
                Pattern.parse(pattern),
                0.7,
                DAMPING,
                false,
                team == workers ? algebra : new CpuLinearAlgebra(team),
                team,
                new Scratch());
    }

    private Tensor pruned(String solver, String pattern) {
        Tensor w = copy(dense());
        Solvers.named(solver).solve(problem(w, pattern, workers));
        return w;
    }

    private Tensor refined(Refinement refinement, String solver, String pattern) {
        Tensor w = pruned(solver, pattern);
        boolean keeps = !Solvers.named(solver).updatesWeights();
        assertNull(refinement.refine(problem(w, pattern, workers), dense(), keeps));
        return w;
    }

    private static Tensor copy(Tensor w) {
        return Tensor.of(Arena.ofAuto(), w.rows(), w.columns(), w.toFloats());
    }

    /// (w − ŵ)(XᵀX + λI) in float64.
    private double[] gradient(Tensor w, Tensor p, int row) {
        double mean = 0;
        for (int j = 0; j < N; j++) {
            mean += gram.diagonal(j) / N;
        }
        double[] gradient = new double[N];
        for (int i = 0; i < N; i++) {
            double delta = (double) w.get(row, i) - (p == null ? 0 : p.get(row, i));
            for (int j = 0; delta != 0 && j < N; j++) {
                gradient[j] += delta * (gram.get(i, j) + (i == j ? DAMPING * mean : 0));
            }
        }
        return gradient;
    }

    private double[] errors(Tensor p) {
        Tensor w = dense();
        double[] errors = new double[ROWS];
        for (int r = 0; r < ROWS; r++) {
            double[] gradient = gradient(w, p, r);
            for (int j = 0; j < N; j++) {
                errors[r] += gradient[j] * ((double) w.get(r, j) - p.get(r, j));
            }
        }
        return errors;
    }

    private static double sum(double[] values) {
        double sum = 0;
        for (double value : values) {
            sum += value;
        }
        return sum;
    }

    /// ‖[(w − ŵ)(XᵀX + λI)]_S‖ / ‖[w (XᵀX + λI)]_S‖, each input divided by its norm; the largest of all outputs.
    private double largestResidual(Tensor p) {
        Tensor w = dense();
        double largest = 0;
        for (int r = 0; r < ROWS; r++) {
            double[] left = gradient(w, p, r);
            double[] all = gradient(w, null, r);
            double residual = 0;
            double size = 0;
            for (int j = 0; j < N; j++) {
                if (p.get(r, j) != 0 && !gram.dead(j)) {
                    residual += left[j] * left[j] / gram.diagonal(j);
                    size += all[j] * all[j] / gram.diagonal(j);
                }
            }
            largest = Math.max(largest, size == 0 ? 0 : Math.sqrt(residual / size));
        }
        return largest;
    }

    /// The optimality condition on the support, to 1e-4; the support is the solver's.
    @ParameterizedTest
    @MethodSource("solversAndPatterns")
    void pcgAndBacksolveFindTheBestWeightsOnTheSupport(String solver, String pattern) {
        Tensor before = pruned(solver, pattern);
        double error = sum(errors(before));
        List<Double> errors = new ArrayList<>();
        for (Refinement refinement : List.of(Refinement.PCG, Refinement.BACKSOLVE)) {
            Tensor w = refined(refinement, solver, pattern);
            assertEquals(Mask.of(before), Mask.of(w));
            assertTrue(largestResidual(w) < 1e-4, refinement + ": " + largestResidual(w));
            errors.add(sum(errors(w)));
            assertTrue(errors.getLast() <= error * (1 + 1e-6), refinement + " after " + solver);
        }
        assertEquals(errors.get(0), errors.get(1), 1e-4 * errors.get(1));
    }

    /// No output gets worse; pattern and counts stay; methods that keep values still do. ALPS leaves no swap that gains.
    @ParameterizedTest
    @MethodSource("solversAndPatterns")
    void swapsLowerTheErrorAndKeepThePattern(String solver, String pattern) {
        Tensor before = pruned(solver, pattern);
        Tensor w = refined(Refinement.SWAP, solver, pattern);
        double[] old = errors(before);
        double[] now = errors(w);
        for (int r = 0; r < ROWS; r++) {
            assertTrue(now[r] <= old[r] * (1 + 1e-6), "row " + r);
            assertEquals(Mask.of(before).count(r), Mask.of(w).count(r));
        }
        assertTrue(sum(now) < sum(old) || solver.equals("alps"));
        if (!Solvers.named(solver).updatesWeights()) {
            Tensor dense = dense();
            for (int r = 0; r < ROWS; r++) {
                for (int c = 0; c < N; c++) {
                    assertTrue(w.get(r, c) == 0 || w.get(r, c) == dense.get(r, c));
                }
            }
        }
        if (Pattern.parse(pattern) instanceof NOfM(int n, int m)) {
            for (int r = 0; r < ROWS; r++) {
                for (int c = 0; c < N; c += m) {
                    int kept = 0;
                    for (int i = c; i < c + m; i++) {
                        kept += w.get(r, i) != 0 ? 1 : 0;
                    }
                    assertEquals(n, kept);
                }
            }
        }
    }

    /// The paper's claim for masks by Wanda: the squared error falls by up to 60 %.
    @Test
    void swapsTakeHalfOfWandasSquaredErrorAwayAndNoSwapIsLeft() {
        double before = sum(errors(pruned("wanda", "unstructured")));
        Tensor w = refined(Refinement.SWAP, "wanda", "unstructured");
        assertTrue(sum(errors(w)) < 0.5 * before, sum(errors(w)) / before + " of the error is left");
        Tensor dense = dense();
        for (int r = 0; r < ROWS; r += 31) {
            double[] g = gradient(dense, w, r);
            double error = errors(w)[r];
            double best = 0;
            for (int a = 0; a < N; a++) {
                for (int p = 0; w.get(r, a) != 0 && p < N; p++) {
                    if (w.get(r, p) == 0 && !gram.dead(p)) {
                        double wa = w.get(r, a);
                        double wp = dense.get(r, p);
                        double change = 2 * wa * g[a] + wa * wa * damped(a) - 2 * wp * g[p] + wp * wp * damped(p);
                        best = Math.min(best, change - 2 * wa * wp * gram.get(a, p));
                    }
                }
            }
            assertTrue(best > -1e-4 * error, "row " + r + ": a swap would gain " + -best / error);
        }
    }

    private double damped(int j) {
        double mean = 0;
        for (int i = 0; i < N; i++) {
            mean += gram.diagonal(i) / N;
        }
        return gram.diagonal(j) + DAMPING * mean;
    }

    @ParameterizedTest
    @EnumSource(Refinement.class)
    void theResultIsTheSameForAnyNumberOfThreads(Refinement refinement) {
        Tensor first = refined(refinement, "wanda", "unstructured");
        try (Workers team = new Workers(3)) {
            Tensor w = pruned("wanda", "unstructured");
            refinement.refine(problem(w, "unstructured", team), dense(), true);
            assertArrayEquals(first.toFloats(), w.toFloats());
        }
    }

    @ParameterizedTest
    @EnumSource(Refinement.class)
    void whatWasNotPrunedIsNotTouched(Refinement refinement) {
        Tensor w = copy(dense());
        refinement.refine(problem(w, "unstructured", workers), dense(), false);
        assertArrayEquals(dense().toFloats(), w.toFloats());
    }

    /// 5 tokens know little of 512 weights: without damping there is no factor.
    @Test
    void aBacksolveWithoutAFactorTakesMoreDampingAndSaysSo() {
        try (Gram few = new Gram(N, algebra)) {
            few.add(Tensor.of(Arena.ofAuto(), 2048, N, input.floats("X")).slice(0, 5));
            Tensor w = pruned("magnitude", "unstructured");
            LayerProblem problem = new LayerProblem(
                    "block 1, projection UP",
                    w,
                    few,
                    Pattern.parse("unstructured"),
                    0.7,
                    0,
                    false,
                    algebra,
                    workers,
                    new Scratch());
            String note = Refinement.BACKSOLVE.refine(problem, dense(), false);
            assertTrue(note != null && note.contains("damping grew"), note);
        }
    }

    @ParameterizedTest
    @CsvSource({"none, NONE", "pcg, PCG", "backsolve, BACKSOLVE", "swap, SWAP"})
    void refinementsHaveNames(String name, Refinement refinement) {
        assertEquals(refinement, Refinement.named(name));
    }

    @Test
    void anUnknownRefinementIsRefusedWithTheListOfKnownOnes() {
        InputException refusal = assertThrows(InputException.class, () -> Refinement.named("polish"));
        assertEquals("refine 'polish' is not known; known: none, pcg, backsolve, swap", refusal.getMessage());
    }
}
