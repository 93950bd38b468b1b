package dev.espalier.tools.serve;

import com.fasterxml.jackson.databind.JsonNode;
import java.util.ArrayList;
import java.util.List;

/// Reads a request's fields: absent and null are the same, a wrong type or range is a 400 that names the field, and
/// fields nobody asks for are tolerated.
final class Fields {
    private final JsonNode body;

    Fields(JsonNode body) {
        if (!body.isObject()) {
            throw ApiException.badRequest(null, "The body must be a JSON object.");
        }
        this.body = body;
    }

    /// The field as it is; null when absent or null.
    JsonNode node(String name) {
        JsonNode value = body.get(name);
        return value == null || value.isNull() ? null : value;
    }

    double number(String name, double otherwise, double least, double most) {
        JsonNode value = node(name);
        if (value == null) {
            return otherwise;
        }
        if (!value.isNumber() || !(value.doubleValue() >= least && value.doubleValue() <= most)) {
            throw ApiException.badRequest(
                    name,
                    "'%s' must be a number from %s to %s, not %s.".formatted(name, plain(least), plain(most), value));
        }
        return value.doubleValue();
    }

    int integer(String name, int otherwise, int least) {
        JsonNode value = node(name);
        if (value == null) {
            return otherwise;
        }
        if (!value.isIntegralNumber() || !value.canConvertToLong() || value.longValue() < least) {
            throw ApiException.badRequest(
                    name, "'%s' must be a whole number of at least %d, not %s.".formatted(name, least, value));
        }
        return (int) Math.min(Integer.MAX_VALUE, value.longValue());
    }

    boolean flag(String name) {
        JsonNode value = node(name);
        if (value == null) {
            return false;
        }
        if (!value.isBoolean()) {
            throw ApiException.badRequest(name, "'%s' must be true or false, not %s.".formatted(name, value));
        }
        return value.booleanValue();
    }

    /// A string, or a list of strings; empty strings are dropped.
    List<String> strings(String name) {
        JsonNode value = node(name);
        List<String> strings = new ArrayList<>();
        if (value == null) {
            return strings;
        }
        for (JsonNode item : value.isArray() ? value : List.of(value)) {
            if (!item.isTextual()) {
                throw ApiException.badRequest(name, "'%s' must be a string or a list of strings.".formatted(name));
            }
            if (!item.textValue().isEmpty()) {
                strings.add(item.textValue());
            }
        }
        return strings;
    }

    /// Refuses a field that would change the answer and is not built, unless it has the value that changes nothing.
    void refuse(String name, boolean harmless) {
        if (!harmless) {
            throw ApiException.badRequest(name, "'%s' is not supported by this server; leave it out.".formatted(name));
        }
    }

    private static String plain(double bound) {
        return bound == Math.rint(bound) ? Long.toString((long) bound) : Double.toString(bound);
    }
}
