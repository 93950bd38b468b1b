package dev.espalier.prune;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;

/// What pruning made of one linear layer. Errors are NaN where there was nothing to measure them on.
///
/// @param name the checkpoint's own name of the weight
/// @param block index of its block
/// @param projection which of the block's layers
/// @param rows output features
/// @param cols input features
/// @param zeros weights that are zero now
/// @param relativeError ‖XWᵀ − XŴᵀ‖ / ‖XWᵀ‖ over the calibration windows, W the weight before, Ŵ the one after, rounded to
///     its type; some papers print its square
/// @param heldOutError the same over windows that no solver saw
/// @param damping what was added to the Gram matrix's diagonal, a fraction of its mean
/// @param note what the user should know of this layer; null if nothing
/// @param seconds the solver's time
public record LayerReport(
        String name,
        int block,
        String projection,
        int rows,
        int cols,
        long zeros,
        double relativeError,
        double heldOutError,
        double damping,
        String note,
        double seconds) {
    /// Fraction of weights that are zero.
    public double sparsity() {
        return (double) zeros / ((double) rows * cols);
    }

    /// The square of [#relativeError], which ALPS' tables show.
    public double relativeErrorSquared() {
        return relativeError * relativeError;
    }

    /// The layer as an entry of the report's `layers`; what is NaN here is null there.
    public ObjectNode toJson() {
        ObjectNode json = JsonNodeFactory.instance.objectNode();
        json.put("name", name);
        json.put("block", block);
        json.put("projection", projection);
        json.put("rows", rows);
        json.put("cols", cols);
        json.put("zeros", zeros);
        json.put("sparsity", sparsity());
        putNumber(json, "relative_error", relativeError);
        putNumber(json, "relative_error_squared", relativeErrorSquared());
        putNumber(json, "heldout_error", heldOutError);
        putNumber(json, "damping", damping);
        json.put("note", note);
        json.put("seconds", seconds);
        return json;
    }

    /// The layer of an entry that [#toJson] made.
    public static LayerReport of(JsonNode json) {
        return new LayerReport(
                json.get("name").asText(),
                json.get("block").asInt(),
                json.get("projection").asText(),
                json.get("rows").asInt(),
                json.get("cols").asInt(),
                json.get("zeros").asLong(),
                json.get("relative_error").asDouble(Double.NaN),
                json.get("heldout_error").asDouble(Double.NaN),
                json.get("damping").asDouble(Double.NaN),
                json.get("note").textValue(),
                json.get("seconds").asDouble());
    }

    private static void putNumber(ObjectNode json, String name, double value) {
        if (Double.isFinite(value)) {
            json.put(name, value);
        } else {
            json.putNull(name);
        }
    }
}
