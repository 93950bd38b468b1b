package dev.espalier.tools.bench;

import dev.espalier.kernels.LinearAlgebra;
import dev.espalier.kernels.simd.Workers;
import dev.espalier.prune.Measure;
import dev.espalier.prune.PrunePlan;
import dev.espalier.prune.calibrate.Scratch;
import dev.espalier.prune.solver.LayerProblem;
import dev.espalier.prune.solver.Refinement;
import dev.espalier.prune.solver.Solution;
import dev.espalier.prune.solver.Solver;
import dev.espalier.tensor.DType;
import dev.espalier.tensor.Tensor;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/// Prunes one layer as a plan says and measures what it took.
///
/// @param algebra dense algebra
/// @param workers threads for everything else
public record SolverBench(LinearAlgebra algebra, Workers workers) {
    /// What came of one plan.
    ///
    /// @param pruned the weights, zeros in place
    /// @param relativeError ‖X(Ŵ − W)ᵀ‖_F / ‖XWᵀ‖_F
    /// @param solution what the solver said
    /// @param note what the refinement said; null if nothing
    /// @param seconds of solver and refinement, factorizations included; the inputs' Gram matrix was there
    /// @param peakBytes the most that was held: the Gram matrix, the layer before and after, and scratch memory
    public record Run(
            PrunePlan plan,
            Tensor pruned,
            double relativeError,
            Solution solution,
            String note,
            double seconds,
            long peakBytes) {}

    /// Prunes `layer`, which is not changed.
    ///
    /// @param damping NaN: the method's own value
    public Run run(SolverLayer layer, PrunePlan plan, double damping) {
        return run(layer, plan, plan.solver(), damping);
    }

    /// The same with another solver than the plan's.
    public Run run(SolverLayer layer, PrunePlan plan, Solver solver, double damping) {
        Tensor dense = layer.weight();
        Tensor w = Tensor.allocate(Arena.ofAuto(), DType.F32, dense.rows(), dense.columns());
        MemorySegment.copy(dense.segment(), 0, w.segment(), 0, dense.bytes());
        layer.gram().forget();
        try (Scratch memory = new Scratch()) {
            LayerProblem problem = new LayerProblem(
                    layer.name(),
                    w,
                    layer.gram(),
                    plan.pattern(),
                    plan.sparsity(),
                    damping,
                    plan.referenceQuirks(),
                    algebra,
                    workers,
                    memory);
            long start = System.nanoTime();
            Solution solution = solver.solve(problem);
            String note = null;
            if (plan.refinement() != Refinement.NONE) {
                double lambda = !Double.isNaN(solution.damping())
                        ? solution.damping()
                        : Double.isNaN(damping) ? Refinement.DAMPING : damping;
                note = plan.refinement().refine(problem.withDamping(lambda), dense, !solver.updatesWeights());
            }
            double seconds = (System.nanoTime() - start) / 1e9;
            long n = dense.columns();
            long peak = memory.peak() + 2 * dense.bytes() + 8 * n * n + solver.sharedBytes(n);
            return new Run(plan, w, error(dense, w, layer), solution, note, seconds, peak);
        }
    }

    private double error(Tensor dense, Tensor pruned, SolverLayer layer) {
        Tensor delta = Tensor.allocate(Arena.ofAuto(), DType.F32, dense.rows(), dense.columns());
        workers.rows(dense.rows(), 1, (from, to, thread) -> {
            for (long at = 4L * from * dense.columns(); at < 4L * to * dense.columns(); at += 4) {
                float now = pruned.segment().get(ValueLayout.JAVA_FLOAT, at);
                delta.segment()
                        .set(ValueLayout.JAVA_FLOAT, at, now - dense.segment().get(ValueLayout.JAVA_FLOAT, at));
            }
        });
        try (Scratch memory = new Scratch()) {
            return Measure.relativeError(dense, delta, layer.gram(), algebra, workers, memory);
        }
    }
}
