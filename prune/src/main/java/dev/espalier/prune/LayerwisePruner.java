package dev.espalier.prune;

import dev.espalier.kernels.FormatChoice;
import dev.espalier.kernels.Linear;
import dev.espalier.kernels.simd.Workers;
import dev.espalier.model.Block;
import dev.espalier.model.Model;
import dev.espalier.model.Projection;
import dev.espalier.model.Site;
import dev.espalier.prune.calibrate.BlockWalk;
import dev.espalier.prune.calibrate.CalibrationData;
import dev.espalier.prune.calibrate.Gram;
import dev.espalier.prune.calibrate.Scratch;
import dev.espalier.prune.solver.LayerProblem;
import dev.espalier.prune.solver.Refinement;
import dev.espalier.prune.solver.Solution;
import dev.espalier.prune.solver.SolverException;
import dev.espalier.tensor.DType;
import dev.espalier.tensor.InputException;
import dev.espalier.tensor.Tensor;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/// Prunes the linear layers of a model's blocks one by one, each on what the pruned blocks before it make of the
/// calibration windows: one solver, one pattern, one sparsity, one walk.
///
/// Peak memory is one block's, not the model's. Weights are pruned in float32 and rounded to the type in which the model
/// holds them; zeros stay exact. Embeddings, head, norms and biases are not touched.
public final class LayerwisePruner implements Pruner {
    /// Held-out errors beyond this multiple of the calibration's are pointed out. With 16 tokens a feature they are some
    /// 1.1 times as large, with 2 some 1.5 times.
    private static final double PARTING = 1.25;

    private final PrunePlan plan;
    private final FormatChoice formats;
    private final PruneSink sink;
    private final int threads;

    /// @param formats the format in which a pruned layer is packed
    /// @param sink receives the pruned weights
    /// @param threads for what is not the backend's to compute; the result does not depend on it
    public LayerwisePruner(PrunePlan plan, FormatChoice formats, PruneSink sink, int threads) {
        this.plan = plan;
        this.formats = formats;
        this.sink = sink;
        this.threads = threads;
    }

    @Override
    public PruneReport prune(Model model, CalibrationData data, PruneListener listener) {
        check(model, data);
        formats.expect(model.weightBytes());
        long start = System.nanoTime();
        try (Workers workers = new Workers(threads);
                Scratch memory = new Scratch();
                BlockWalk walk = data == null ? null : new BlockWalk(model, data, memory)) {
            Pace pace = new Pace(model, walk, listener);
            List<LayerReport> layers = new ArrayList<>();
            for (Block block : model.blocks()) {
                pace.block(block.index());
                if (!takeOver(model, block, layers)) {
                    pruneBlock(model, block, walk, workers, memory, pace, layers, listener);
                    sink.blockDone(block.index());
                }
                if (walk != null && block.index() + 1 < model.spec().blocks()) {
                    walk.advance(block, () -> pace.windowDone("advancing"));
                }
            }
            double seconds = (System.nanoTime() - start) / 1e9;
            return new PruneReport(model.checkpoint().name(), plan, data, layers, seconds, memory.peak());
        } catch (SolverException e) {
            throw new PruneException(e.getMessage(), e);
        }
    }

    /// Everything that can be said before the work starts.
    private void check(Model model, CalibrationData data) {
        if (data == null && plan.usesData()) {
            throw new InputException((plan.solver().usesData()
                            ? "method " + plan.solver().name()
                            : "refine " + plan.refinement().text())
                    + " needs calibration text");
        }
        for (Block block : model.blocks()) {
            for (Projection projection : block.projections()) {
                String refusal = plan.pattern().refuses(block.linear(projection).columns());
                if (refusal != null) {
                    throw new InputException("pattern %s does not fit %s: its %s"
                            .formatted(plan.pattern().name(), block.weightName(projection), refusal));
                }
            }
        }
        if (data != null) {
            checkWindows(model, data);
        }
        checkMemory(model, data);
    }

    private static void checkWindows(Model model, CalibrationData data) {
        if (data.seqLen() > model.spec().context()) {
            throw new InputException("seq-len %d is more than the model's context of %d"
                    .formatted(data.seqLen(), model.spec().context()));
        }
        for (List<int[]> windows : List.of(data.windows(), data.heldOut())) {
            for (int[] window : windows) {
                for (int token : window) {
                    if (token < 0 || token >= model.spec().vocabulary()) {
                        throw new InputException(
                                "token id %d of the calibration text is not in the model's vocabulary of %d; is the tokenizer another model's?"
                                        .formatted(token, model.spec().vocabulary()));
                    }
                }
            }
        }
    }

    private void checkMemory(Model model, CalibrationData data) {
        PruneNeed need = data == null
                ? PruneNeed.of(model, plan, 0, 0, 0)
                : PruneNeed.of(
                        model, plan, data.windows().size(), data.heldOut().size(), data.seqLen());
        need.requireMemory();
    }

    /// Puts the layers of an earlier run in their places, if all of this block's are there.
    private boolean takeOver(Model model, Block block, List<LayerReport> layers) {
        List<PruneSink.Done> done = new ArrayList<>();
        for (Projection projection : block.projections()) {
            Optional<PruneSink.Done> layer = sink.done(block.weightName(projection));
            if (layer.isEmpty()) {
                return false;
            }
            done.add(layer.get());
        }
        for (int i = 0; i < done.size(); i++) {
            Tensor weight = done.get(i).weight();
            block.swap(block.projections().get(i), model.backend().linear(weight, formats.choose(weight)));
            layers.add(done.get(i).report());
        }
        return true;
    }

    private void pruneBlock(
            Model model,
            Block block,
            BlockWalk walk,
            Workers workers,
            Scratch memory,
            Pace pace,
            List<LayerReport> layers,
            PruneListener listener) {
        try (BlockWalk.Statistics statistics =
                walk == null ? BlockWalk.Statistics.none() : walk.capture(block, () -> pace.windowDone("capturing"))) {
            List<Projection> projections = block.projections();
            for (int i = 0; i < projections.size(); i++) {
                Projection projection = projections.get(i);
                Site site = projection.site();
                LayerReport report = pruneLayer(
                        model,
                        block,
                        projection,
                        statistics.calibration().get(site),
                        statistics.heldOut().get(site),
                        workers,
                        memory);
                layers.add(report);
                listener.layer(report);
                pace.layerDone(projection, report);
                if (projections.subList(i + 1, projections.size()).stream().noneMatch(p -> p.site() == site)) {
                    statistics.close(site);
                }
            }
        }
    }

    private LayerReport pruneLayer(
            Model model, Block block, Projection projection, Gram gram, Gram heldOut, Workers workers, Scratch memory) {
        long start = System.nanoTime();
        String where = "block %d, projection %s".formatted(block.index(), projection);
        Linear linear = block.linear(projection);
        try (Scratch scratch = memory.child()) {
            Tensor dense = scratch.tensor(linear.rows(), linear.columns());
            Tensor w = scratch.tensor(linear.rows(), linear.columns());
            if (!linear.format().exact()) {
                throw new IllegalArgumentException(where + " is held as "
                        + linear.format().name() + ", which has rounded its weights; prune the model as it is stored");
            }
            linear.unpack(dense);
            MemorySegment.copy(dense.segment(), 0, w.segment(), 0, dense.bytes());
            requireFinite(dense, where + ": the model's weights contain", workers);
            double damping = plan.dampingFor(linear.columns(), gram == null ? 0 : gram.tokens());
            LayerProblem problem = new LayerProblem(
                    where,
                    w,
                    gram,
                    plan.pattern(),
                    plan.sparsity(),
                    damping,
                    plan.referenceQuirks(),
                    model.backend().algebra(),
                    workers,
                    memory);
            Solution solution = plan.solver().solve(problem);
            List<String> notes = new ArrayList<>();
            addIfAny(notes, note(solution, damping));
            if (plan.refinement() != Refinement.NONE) {
                double lambda = Double.isNaN(solution.damping())
                        ? plan.refinementDampingFor(linear.columns(), gram.tokens())
                        : solution.damping();
                addIfAny(
                        notes,
                        plan.refinement()
                                .refine(
                                        problem.withDamping(lambda),
                                        dense,
                                        !plan.solver().updatesWeights()));
            }
            Tensor pruned = Tensor.allocate(Arena.ofAuto(), linear.dtype(), linear.rows(), linear.columns());
            long zeros = round(w, pruned, workers);
            requireFinite(
                    w, "%s: %s's result contains".formatted(where, plan.solver().name()), workers);
            double seconds = (System.nanoTime() - start) / 1e9;
            subtract(dense, w, workers);
            double error = Measure.relativeError(dense, w, gram, model.backend().algebra(), workers, memory);
            double heldOutError =
                    Measure.relativeError(dense, w, heldOut, model.backend().algebra(), workers, memory);
            addIfAny(notes, parting(error, heldOutError));
            LayerReport report = new LayerReport(
                    block.weightName(projection),
                    block.index(),
                    projection.name(),
                    linear.rows(),
                    linear.columns(),
                    zeros,
                    error,
                    heldOutError,
                    solution.damping(),
                    notes.isEmpty() ? null : String.join("; ", notes),
                    seconds);
            block.swap(projection, model.backend().linear(pruned, formats.choose(pruned)));
            sink.layer(report, pruned);
            return report;
        }
    }

    private static void addIfAny(List<String> notes, String note) {
        if (note != null) {
            notes.add(note);
        }
    }

    /// Says so where a layer does much worse on text that its solver did not see; null where it does not.
    private static String parting(double error, double heldOutError) {
        return heldOutError > PARTING * error
                ? "the error on held-out text, %.3g, is much larger than on the calibration text, %.3g: more samples or more damping may help"
                        .formatted(heldOutError, error)
                : null;
    }

    private String note(Solution solution, double damping) {
        if (solution.note() != null
                || Double.isNaN(solution.damping())
                || !(damping > plan.solver().damping())
                || !Double.isNaN(plan.damping())) {
            return solution.note();
        }
        return "damping %.3g instead of %s: few calibration tokens for so many inputs"
                .formatted(damping, plan.solver().damping());
    }

    /// Rounds `w` to the type of `rounded`, writes it there and back to `w`, and returns how many are zero.
    private static long round(Tensor w, Tensor rounded, Workers workers) {
        long[] zeros = new long[w.rows()];
        DType dtype = rounded.dtype();
        workers.rows(w.rows(), 1, (from, to, thread) -> {
            for (long i = (long) from * w.columns(); i < (long) to * w.columns(); i++) {
                dtype.set(rounded.segment(), i, DType.F32.get(w.segment(), i));
                // Adding 0 makes 0.0 of -0.0, as files have it.
                float value = dtype.get(rounded.segment(), i) + 0f;
                dtype.set(rounded.segment(), i, value);
                DType.F32.set(w.segment(), i, value);
                zeros[(int) (i / w.columns())] += value == 0 ? 1 : 0;
            }
        });
        long sum = 0;
        for (long row : zeros) {
            sum += row;
        }
        return sum;
    }

    private static void requireFinite(Tensor w, String what, Workers workers) {
        workers.rows(w.rows(), 1, (from, to, thread) -> {
            for (long i = (long) from * w.columns(); i < (long) to * w.columns(); i++) {
                if (!Float.isFinite(w.segment().get(ValueLayout.JAVA_FLOAT, 4 * i))) {
                    throw new SolverException("%s NaN or infinity at row %d, column %d"
                            .formatted(what, i / w.columns(), i % w.columns()));
                }
            }
        });
    }

    /// w -= dense.
    private static void subtract(Tensor dense, Tensor w, Workers workers) {
        workers.rows(w.rows(), 1, (from, to, thread) -> {
            for (long i = 4L * from * w.columns(); i < 4L * to * w.columns(); i += 4) {
                float value = w.segment().get(ValueLayout.JAVA_FLOAT, i);
                w.segment()
                        .set(ValueLayout.JAVA_FLOAT, i, value - dense.segment().get(ValueLayout.JAVA_FLOAT, i));
            }
        });
    }
}
