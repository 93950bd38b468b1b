package dev.espalier.prune;

import dev.espalier.kernels.Linear;
import dev.espalier.model.Block;
import dev.espalier.model.Model;
import dev.espalier.model.Projection;
import dev.espalier.model.Site;
import dev.espalier.model.Workspace;
import dev.espalier.natives.os.Memory;
import dev.espalier.prune.calibrate.BlockWalk;
import dev.espalier.tensor.DType;
import java.util.ArrayList;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;
import java.util.OptionalLong;

/// What a plan will need, before any of it is done.
///
/// @param layers what is held while each layer is pruned
/// @param peakBytes the most memory that is held at once beside the model: what [PruneReport#peakBytes] will say
/// @param fileBytes bytes of a temporary file for hidden states; 0 if they stay in memory
/// @param prunedBytes at most so much the pruned layers take, which replace the dense ones
/// @param multiplications multiplications of float32 numbers in all, which time goes with
public record PruneNeed(List<Layer> layers, long peakBytes, long fileBytes, long prunedBytes, double multiplications) {
    /// What is held while one layer is pruned.
    ///
    /// @param bytes statistics and scratch, hidden states left out
    /// @param multiplications of the solver and of measuring its error
    public record Layer(String name, int rows, int cols, long bytes, double multiplications) {}

    /// The need of pruning `model` as `plan` says.
    ///
    /// @param samples calibration windows; 0: no calibration
    /// @param heldOut held-out windows
    /// @param seqLen tokens of a window
    public static PruneNeed of(Model model, PrunePlan plan, int samples, int heldOut, int seqLen) {
        long states = (long) (samples + heldOut) * seqLen * model.spec().hidden() * DType.F32.bytes();
        boolean file = states > BlockWalk.LARGEST_IN_MEMORY;
        long walk = 0;
        if (samples > 0) {
            try (Workspace workspace = model.newWorkspace(seqLen)) {
                walk = workspace.bytes() + (file ? 0 : states);
            }
        }
        List<Layer> layers = new ArrayList<>();
        double multiplications = 0;
        long peak = walk;
        long pruned = 0;
        for (Block block : model.blocks()) {
            Map<Site, Long> grams = new EnumMap<>(Site.class);
            double forward = 0;
            for (Projection projection : block.projections()) {
                Linear linear = block.linear(projection);
                long n = linear.columns();
                grams.put(projection.site(), samples == 0 ? 0 : 8 * n * n * (heldOut > 0 ? 2 : 1));
                forward += (double) linear.rows() * n * 2 * (samples + heldOut) * seqLen;
            }
            for (long bytes : grams.values()) {
                double n = Math.sqrt(bytes / 8.0 / (heldOut > 0 ? 2 : 1));
                forward += n * n * (samples + heldOut) * seqLen / 2;
            }
            multiplications += samples == 0 ? 0 : forward;
            List<Projection> projections = block.projections();
            for (int i = 0; i < projections.size(); i++) {
                Linear linear = block.linear(projections.get(i));
                long scratch = scratch(plan, linear, samples > 0);
                List<Site> alive = projections.subList(i, projections.size()).stream()
                        .map(Projection::site)
                        .distinct()
                        .toList();
                long bytes = scratch + alive.stream().mapToLong(grams::get).sum();
                double work = work(plan, linear, samples > 0, heldOut > 0);
                layers.add(
                        new Layer(block.weightName(projections.get(i)), linear.rows(), linear.columns(), bytes, work));
                multiplications += work;
                peak = Math.max(peak, walk + bytes);
                pruned +=
                        (long) linear.rows() * linear.columns() * linear.dtype().bytes();
            }
        }
        return new PruneNeed(List.copyOf(layers), peak, file ? states : 0, pruned, multiplications);
    }

    /// Says before the work that it cannot end well, rather than be killed in the middle of it.
    ///
    /// @throws PruneException if less memory is free than is needed
    public void requireMemory() {
        OptionalLong free = Memory.available();
        long bytes = peakBytes + prunedBytes;
        if (free.isPresent() && bytes > free.getAsLong()) {
            throw new PruneException(
                    "pruning needs %s of memory beside the model, and %s of %s are free; give fewer --samples, a smaller --seq-len, or a larger machine"
                            .formatted(
                                    mebibytes(bytes),
                                    mebibytes(free.getAsLong()),
                                    mebibytes(Memory.limit().orElse(free.getAsLong()))));
        }
    }

    private static String mebibytes(long bytes) {
        return "%.0f MiB".formatted(Math.ceil(bytes / 0x1p20));
    }

    /// Two copies of the layer, what the solver keeps for all layers of the site, and the largest of what it takes while it
    /// works, what refining takes and what measuring takes.
    private static long scratch(PrunePlan plan, Linear linear, boolean calibrated) {
        long o = linear.rows();
        long n = linear.columns();
        long measuring = calibrated ? (n * n + o * n) * Float.BYTES : 0;
        long solving =
                Math.max(plan.solver().scratchBytes(o, n), plan.refinement().scratchBytes(o, n));
        return 2 * o * n * Float.BYTES + plan.solver().sharedBytes(n) + Math.max(solving, measuring);
    }

    private static double work(PrunePlan plan, Linear linear, boolean calibrated, boolean heldOut) {
        double o = linear.rows();
        double n = linear.columns();
        double measuring = calibrated ? 2 * o * n * n * (heldOut ? 2 : 1) : 0;
        return plan.solver().multiplications(linear.rows(), linear.columns())
                + plan.refinement().multiplications(linear.rows(), linear.columns(), plan.sparsity())
                + measuring;
    }
}
