package dev.espalier.prune.solver;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.espalier.kernels.LinearAlgebra;
import dev.espalier.kernels.cpu.CpuLinearAlgebra;
import dev.espalier.kernels.simd.Workers;
import dev.espalier.prune.Npz;
import dev.espalier.prune.calibrate.Gram;
import dev.espalier.prune.calibrate.Scratch;
import dev.espalier.prune.pattern.Pattern;
import dev.espalier.tensor.Tensor;
import java.lang.foreign.Arena;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestInstance;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/// How ALPS' iterates settle, and what they take, on the fixtures' synthetic layer, 512 x 512.
@TestInstance(TestInstance.Lifecycle.PER_CLASS)
class AlpsTest {
    private static final int N = 512;

    private final Npz input = Npz.resource("/solvers/case_A_input.npz");
    private final Workers workers = new Workers(2);
    private final LinearAlgebra algebra = new CpuLinearAlgebra(workers);
    private final Gram gram = new Gram(N, algebra);

    AlpsTest() {
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

    private Solution solve(Solver solver, String pattern, double sparsity, Scratch memory) {
        Tensor w = Tensor.of(Arena.ofAuto(), N, N, input.floats("W"));
        return solver.solve(new LayerProblem(
                "case A", w, gram, Pattern.parse(pattern), sparsity, Double.NaN, false, algebra, workers, memory));
    }

    private List<Alps.Step> course(Alps alps, String pattern, double sparsity) {
        List<Alps.Step> steps = new ArrayList<>();
        try (Scratch memory = new Scratch()) {
            solve(alps.heardBy(steps::add), pattern, sparsity, memory);
        }
        return steps;
    }

    /// Theorem 1: the distance of W and D is at most C / ρ. Here with its C: ρ (W − D) is the change of V; W is the minimum
    /// for the V and D before it, so V + ρ (W − D_before) = G − W A, and D is no further from W + V / ρ than D_before is, so
    /// ‖V‖ ≤ ‖G − W A‖ after each iteration. 1e-3: sums in float32.
    @ParameterizedTest
    @ValueSource(strings = {"unstructured", "2:4"})
    void thePenaltyTimesThePrimalResidualIsBoundedByTheGradients(String pattern) {
        for (Alps alps : List.of(new Alps(), new Alps().withFixedRho(0.3, 40), new Alps().withFixedRho(3, 40))) {
            double before = 0;
            for (Alps.Step step : course(alps, pattern, 0.5)) {
                assertTrue(
                        step.rho() * step.primalResidual() <= (step.gradient() + before) * (1 + 1e-3), step.toString());
                before = step.gradient();
            }
        }
    }

    /// The paper's table 5: a growing penalty settles within 50 iterations, with a lower error than a small one, whose support
    /// never rests, and than a large one, whose support hardly moves from the start.
    @Test
    void theGrowingPenaltySettlesWhereFixedOnesDoNot() {
        List<Alps.Step> growing = course(new Alps(), "unstructured", 0.8);
        List<Alps.Step> small = course(new Alps().withFixedRho(0.3, 60), "unstructured", 0.8);
        List<Alps.Step> large = course(new Alps().withFixedRho(3, 60), "unstructured", 0.8);
        assertTrue(growing.size() <= 50, growing.size() + " iterations");
        assertTrue(growing.getLast().supportChange() < 1e-3, growing.getLast().toString());
        assertTrue(growing.getLast().primalResidual() < 0.05, growing.getLast().toString());
        assertEquals(60, small.size());
        assertTrue(small.getLast().supportChange() > 0.01, small.getLast().toString());
        assertTrue(growing.getLast().relativeError() < small.getLast().relativeError());
        assertTrue(growing.getLast().relativeError() < large.getLast().relativeError());
    }

    /// All that is held during the layer's solve: the Gram matrix in float64, the weights, four masks, and scratch.
    @ParameterizedTest
    @ValueSource(strings = {"unstructured", "2:4"})
    void itHoldsNoMoreThanFourSquaresOfTheInputsAndFiveLayers(String pattern) {
        try (Scratch memory = new Scratch()) {
            solve(new Alps(), pattern, 0.5, memory);
            long held = memory.peak() + 8L * N * N + 4L * N * N + 4L * N * N / 8;
            assertTrue(held <= 4L * (4L * N * N + 5L * N * N), held + " bytes");
            assertEquals(new Alps().scratchBytes(N, N), memory.peak());
        }
    }

    @Test
    void itSaysHowMuchItsSupportChangedLast() {
        try (Scratch memory = new Scratch()) {
            double change = solve(new Alps(), "unstructured", 0.7, memory).supportChange();
            assertTrue(change >= 0 && change < 3e-4, "" + change);
        }
    }
}
