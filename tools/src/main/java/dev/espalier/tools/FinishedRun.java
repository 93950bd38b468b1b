package dev.espalier.tools;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.espalier.checkpoint.CheckpointWriter;
import dev.espalier.prune.PrunePlan;
import dev.espalier.tensor.InputException;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;

/// A pruned checkpoint that is complete, and the report of the run that wrote it.
///
/// `prune --resume` comes here when the run that it is to continue was killed after its last step, so that a script may
/// repeat one command until it succeeds.
record FinishedRun(Path out, ObjectNode report) {
    /// The report's name in the checkpoint's folder.
    static final String REPORT = "prune-report.json";

    private static final ObjectMapper JSON = new ObjectMapper();

    /// Whether `out` holds one.
    static boolean in(Path out) {
        return Files.isRegularFile(out.resolve(REPORT));
    }

    /// The one in `out`, freed of what a killed process left there.
    ///
    /// @throws InputException if its report is not one of ours
    /// @throws IOException if it cannot be read or tidied
    static FinishedRun read(Path out) throws IOException {
        if (!(json(out.resolve(REPORT)) instanceof ObjectNode report)
                || !report.path("layers").isArray()) {
            throw new InputException(out.resolve(REPORT) + " is not a report of espalier prune; give another --out.");
        }
        CheckpointWriter.tidy(out);
        return new FinishedRun(out, report);
    }

    /// What `file` holds; null if that is no JSON.
    private static JsonNode json(Path file) throws IOException {
        try {
            return JSON.readTree(file.toFile());
        } catch (JsonProcessingException e) {
            return null;
        }
    }

    /// @param field of the report, its parts parted by `/`
    /// @throws InputException if the run's `field` was not `value`
    void require(String field, String value) {
        String was = report.at("/" + field).asText();
        if (!was.equals(value)) {
            throw new InputException(
                    "%s is complete already, but of another run (%s %s, now %s); give another --out, or what that run was given."
                            .formatted(out, field.replace('/', ' '), was, value));
        }
    }

    /// @throws InputException if the run's plan was another
    void require(PrunePlan plan) {
        ObjectNode options = JsonNodeFactory.instance.objectNode();
        plan.putInto(options);
        for (Map.Entry<String, JsonNode> option : options.properties()) {
            require(option.getKey(), option.getValue().asText());
        }
    }
}
