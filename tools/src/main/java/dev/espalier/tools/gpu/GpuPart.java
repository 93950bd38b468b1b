package dev.espalier.tools.gpu;

import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.function.Consumer;

/// One part of `gpu-check`.
///
/// A row of its result that was not measured says why: under [#SKIPPED] if something is absent, under [#FAILED] if it is there
/// and does not work.
interface GpuPart {
    String SKIPPED = "skipped";
    String FAILED = "failed";

    /// Its letter.
    String letter();

    /// Its title in the report.
    String title();

    /// Runs it; each row of the result goes to `rows` as it comes.
    ///
    /// @param deadline when it has to stop, leaving out what is left
    void run(GpuRig rig, Deadline deadline, Consumer<ObjectNode> rows);

    /// An empty row.
    static ObjectNode row() {
        return JsonNodeFactory.instance.objectNode();
    }
}
