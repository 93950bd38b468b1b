package dev.espalier.tokenizer;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import dev.espalier.tensor.InputException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/// A JSON object of a tokenizer's files together with where it stands, so that every complaint can name the place.
record Spec(JsonNode node, String where) {
    private static final ObjectMapper MAPPER = new ObjectMapper();

    /// Reads a whole file whose top must be an object.
    static Spec parse(byte[] json, String file) {
        JsonNode root;
        try {
            // From a string: Jackson guesses UTF-16 or UTF-32 from the first bytes otherwise.
            root = MAPPER.readTree(new String(json, StandardCharsets.UTF_8));
        } catch (JsonProcessingException e) {
            var at = e.getLocation();
            throw new InputException(
                    file + " is not JSON: " + e.getOriginalMessage()
                            + (at == null ? "" : " (line " + at.getLineNr() + ", column " + at.getColumnNr() + ")"),
                    e);
        }
        if (root == null || !root.isObject()) {
            throw new InputException(file + ": expected a JSON object");
        }
        return new Spec(root, file);
    }

    InputException wrong(String what) {
        return new InputException(where + ": " + what);
    }

    boolean has(String field) {
        return node.hasNonNull(field);
    }

    /// The component under `field`, if it is there and not null.
    Optional<Spec> object(String field) {
        if (!has(field)) {
            return Optional.empty();
        }
        JsonNode child = node.get(field);
        if (!child.isObject()) {
            throw wrong("'" + field + "' must be an object");
        }
        return Optional.of(new Spec(child, where + ": " + field));
    }

    Spec requiredObject(String field) {
        return object(field).orElseThrow(() -> wrong("'" + field + "' is missing"));
    }

    /// The elements of the list under `field`, each an object; none where it is absent.
    List<Spec> objects(String field) {
        List<Spec> specs = new ArrayList<>();
        if (has(field)) {
            JsonNode list = node.get(field);
            if (!list.isArray()) {
                throw wrong("'" + field + "' must be a list");
            }
            for (int i = 0; i < list.size(); i++) {
                if (!list.get(i).isObject()) {
                    throw wrong(field + "[" + i + "] must be an object");
                }
                specs.add(new Spec(list.get(i), where + ": " + field + "[" + i + "]"));
            }
        }
        return specs;
    }

    /// The component's kind: its `type`.
    String type() {
        return text("type");
    }

    String text(String field) {
        return optionalText(field).orElseThrow(() -> wrong("'" + field + "' is missing"));
    }

    Optional<String> optionalText(String field) {
        if (!has(field)) {
            return Optional.empty();
        }
        if (!node.get(field).isTextual()) {
            throw wrong("'" + field + "' must be a string");
        }
        return Optional.of(node.get(field).textValue());
    }

    boolean flag(String field, boolean otherwise) {
        return optionalFlag(field).orElse(otherwise);
    }

    Optional<Boolean> optionalFlag(String field) {
        if (!has(field)) {
            return Optional.empty();
        }
        if (!node.get(field).isBoolean()) {
            throw wrong("'" + field + "' must be true or false");
        }
        return Optional.of(node.get(field).booleanValue());
    }

    int count(String field) {
        if (!has(field)) {
            throw wrong("'" + field + "' is missing");
        }
        JsonNode number = node.get(field);
        if (!number.isIntegralNumber() || !number.canConvertToInt() || number.intValue() < 0) {
            throw wrong("'" + field + "' must be a whole number from 0 on, found " + brief(number));
        }
        return number.intValue();
    }

    /// A JSON value as it may stand in a message: shortened.
    static String brief(JsonNode value) {
        String text = value.toString();
        return text.length() <= 60 ? text : text.substring(0, 57) + "...";
    }
}
