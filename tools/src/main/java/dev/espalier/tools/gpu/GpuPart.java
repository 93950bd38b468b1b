package dev.espalier.tools.gpu;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.function.Consumer;

/// One part of `gpu-check`.
interface GpuPart {
    /// Its letter.
    String letter();

    /// Its title in the report.
    String title();

    /// Runs it; each row of the result goes to `rows` as it comes.
    ///
    /// @param deadline when it has to stop, leaving out what is left
    void run(GpuRig rig, Deadline deadline, Consumer<ObjectNode> rows);

    /// The end of a part's time.
    final class Deadline {
        private final long end;

        Deadline(double seconds) {
            this.end = System.nanoTime() + (long) (seconds * 1e9);
        }

        boolean passed() {
            return System.nanoTime() - end > 0;
        }
    }
}
