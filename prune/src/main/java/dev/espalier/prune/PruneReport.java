package dev.espalier.prune;

import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.espalier.prune.calibrate.CalibrationData;
import java.util.List;

/// What pruning did, layer by layer and in all.
///
/// @param model the checkpoint's name
/// @param plan what was asked for
/// @param calibration the windows it was measured on; null if the method needs none and none were given
/// @param layers in the order in which they were pruned
/// @param seconds for everything, the walk through the blocks included
/// @param peakBytes the most memory that pruning held at once beside the dense model: statistics, scratch, hidden states
///     (those in a file left out), and the pruned layers
public record PruneReport(
        String model,
        PrunePlan plan,
        CalibrationData calibration,
        List<LayerReport> layers,
        double seconds,
        long peakBytes) {
    public PruneReport {
        layers = List.copyOf(layers);
    }

    /// Weights of the pruned layers; embeddings, head, norms and biases are not among them.
    public long weights() {
        return layers.stream()
                .mapToLong(layer -> (long) layer.rows() * layer.cols())
                .sum();
    }

    /// Those of them that are zero now.
    public long zeros() {
        return layers.stream().mapToLong(LayerReport::zeros).sum();
    }

    /// Fraction of them that is zero.
    public double sparsity() {
        return (double) zeros() / weights();
    }

    /// The document that `prune --json` prints; fields may be added, never renamed.
    ///
    /// @param out where the pruned checkpoint was written; null if nowhere
    public ObjectNode toJson(String out) {
        ObjectNode json = JsonNodeFactory.instance.objectNode();
        json.put("model", model);
        plan.putInto(json);
        ObjectNode from = json.putObject("calibration");
        from.put("source", calibration == null ? "none" : calibration.source());
        from.put("samples", calibration == null ? 0 : calibration.windows().size());
        from.put("seq_len", calibration == null ? 0 : calibration.seqLen());
        from.put("seed", calibration == null ? 0 : calibration.seed());
        from.put("tokens", calibration == null ? 0 : calibration.tokens());
        from.put(
                "heldout_samples",
                calibration == null ? 0 : calibration.heldOut().size());
        ArrayNode array = json.putArray("layers");
        layers.forEach(layer -> array.add(layer.toJson()));
        ObjectNode total = json.putObject("total");
        total.put("weights", weights());
        total.put("zeros", zeros());
        total.put("sparsity", sparsity());
        total.put("seconds", seconds);
        total.put("peak_bytes", peakBytes);
        json.put("out", out);
        return json;
    }
}
