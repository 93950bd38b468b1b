package dev.espalier.tools.gpu;

import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.espalier.natives.cuda.CuBlasLt;
import dev.espalier.natives.cuda.CudaException;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Consumer;

/// What the tables over a model's layers share.
final class LayerTable {
    private LayerTable() {}

    /// Measures one layer, unless there is no time left; if it fails, `label` says so, and others go on.
    static void attempt(Deadline deadline, ObjectNode label, Consumer<ObjectNode> rows, Runnable measure) {
        if (deadline.passed()) {
            rows.accept(label.put(GpuPart.SKIPPED, Deadline.NO_TIME));
            return;
        }
        try {
            measure.run();
        } catch (CudaException | IllegalArgumentException | IllegalStateException e) {
            rows.accept(label.put(GpuPart.FAILED, e.getMessage()));
        }
    }

    /// Selects the fastest of the algorithms that the library offers for `launches`, which run `linear`.
    static Race.Launches fastestAlgorithm(
            GpuRig rig, Deadline deadline, CuBlasLt.Linear linear, Race.Launches launches) {
        List<Race.Way> algorithms = new ArrayList<>();
        try (Race trial = new Race(rig, deadline)) {
            for (int i = 0; i < linear.algorithms(); i++) {
                linear.select(i);
                algorithms.add(trial.enter("algorithm " + i, 0, () -> launches));
            }
            trial.run();
        }
        int fastest = 0;
        for (int i = 0; i < algorithms.size(); i++) {
            Race.Way best = algorithms.get(fastest);
            Race.Way way = algorithms.get(i);
            if (way.measured() && (!best.measured() || way.seconds() < best.seconds())) {
                fastest = i;
            }
        }
        linear.select(fastest);
        return launches;
    }
}
