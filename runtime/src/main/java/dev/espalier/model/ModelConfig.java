package dev.espalier.model;

import com.fasterxml.jackson.databind.JsonNode;
import dev.espalier.checkpoint.Checkpoint;
import dev.espalier.kernels.Backend.Activation;
import dev.espalier.tensor.InputException;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;

/// A model's `config.json`, read key by key; every complaint names the key, its value and the file.
///
/// A key whose value is `null` counts as absent.
public final class ModelConfig {
    /// More than any real size; keeps products of two sizes far from overflow.
    static final int LARGEST = 1 << 24;

    private static final Map<String, Activation> ACTIVATIONS = new TreeMap<>(Map.of(
            "relu", Activation.RELU,
            "silu", Activation.SILU,
            "swish", Activation.SILU,
            "gelu", Activation.GELU,
            "gelu_new", Activation.GELU_TANH,
            "gelu_fast", Activation.GELU_TANH,
            "gelu_pytorch_tanh", Activation.GELU_TANH));

    private final JsonNode json;
    private final String file;
    private final String path;

    private ModelConfig(JsonNode json, String file, String path) {
        this.json = json;
        this.file = file;
        this.path = path;
    }

    /// The config `json`, which complaints call `file`.
    ///
    /// @throws InputException if it is not a JSON object
    public static ModelConfig of(JsonNode json, String file) {
        if (!json.isObject()) {
            throw new InputException(file + " is not a JSON object");
        }
        return new ModelConfig(json, file, "");
    }

    /// The config of `checkpoint`.
    public static ModelConfig of(Checkpoint checkpoint) {
        return of(checkpoint.config(), fileOf(checkpoint, "config.json"));
    }

    /// What to call a file of `checkpoint` in a message.
    static String fileOf(Checkpoint checkpoint, String file) {
        return checkpoint
                .folder()
                .map(folder -> folder.resolve(file).toString())
                .orElse(file + " of " + checkpoint.name());
    }

    /// What to call `checkpoint` in a message.
    static String place(Checkpoint checkpoint) {
        return checkpoint.folder().map(Object::toString).orElse(checkpoint.name());
    }

    /// What complaints call the file.
    public String file() {
        return file;
    }

    /// Whether `key` is there and not null.
    public boolean has(String key) {
        return json.hasNonNull(key);
    }

    /// The object under `key`, if there is one that is not empty.
    public Optional<ModelConfig> section(String key) {
        if (!has(key)) {
            return Optional.empty();
        }
        JsonNode value = json.get(key);
        if (!value.isObject()) {
            throw bad(key, "it must be a JSON object");
        }
        return value.isEmpty() ? Optional.empty() : Optional.of(new ModelConfig(value, file, path + key + "."));
    }

    /// The whole number under `key`, from 1 to `largest`.
    public int count(String key, int largest) {
        JsonNode value = required(key);
        if (!value.isIntegralNumber()
                || !value.canConvertToInt()
                || value.intValue() < 1
                || value.intValue() > largest) {
            throw bad(key, "it must be a whole number from 1 to " + largest);
        }
        return value.intValue();
    }

    /// The whole number under `key`, from 1 to `largest`; `absent` where the key is not there.
    public int count(String key, int largest, int absent) {
        return has(key) ? count(key, largest) : absent;
    }

    /// The number under `key`, greater than `above` and at most `largest`.
    public double number(String key, double above, double largest) {
        JsonNode value = required(key);
        double number = value.isNumber() ? value.doubleValue() : Double.NaN;
        if (!(number > above && number <= largest)) {
            throw bad(key, "it must be a number above %s, at most %s".formatted(plain(above), plain(largest)));
        }
        return number;
    }

    /// The same; `absent` where the key is not there.
    public double number(String key, double above, double largest, double absent) {
        return has(key) ? number(key, above, largest) : absent;
    }

    /// The truth value under `key`; `absent` where the key is not there.
    public boolean flag(String key, boolean absent) {
        if (!has(key)) {
            return absent;
        }
        if (!json.get(key).isBoolean()) {
            throw bad(key, "it must be true or false");
        }
        return json.get(key).booleanValue();
    }

    /// The text under `key`; `absent` where the key is not there.
    public String text(String key, String absent) {
        if (!has(key)) {
            return absent;
        }
        if (!json.get(key).isTextual()) {
            throw bad(key, "it must be a text");
        }
        return json.get(key).textValue();
    }

    /// The activation function named under `key`; `absent` where the key is not there.
    public Activation activation(String key, Activation absent) {
        if (!has(key)) {
            return absent;
        }
        Activation activation = ACTIVATIONS.get(text(key, ""));
        if (activation == null) {
            throw bad(key, "supported: " + String.join(", ", ACTIVATIONS.keySet()));
        }
        return activation;
    }

    /// The token ids under `key`: a number, a list of numbers, or nothing.
    public List<Integer> ids(String key) {
        List<Integer> ids = new ArrayList<>();
        if (has(key)) {
            JsonNode value = json.get(key);
            for (JsonNode id : value.isArray() ? value : List.of(value)) {
                if (!id.isIntegralNumber() || !id.canConvertToInt()) {
                    throw bad(key, "it must be a token id or a list of token ids");
                }
                ids.add(id.intValue());
            }
        }
        return ids;
    }

    /// The complaint that the value under `key` cannot be used.
    public InputException bad(String key, String remedy) {
        String value = String.valueOf(json.get(key));
        String shown = value.length() > 60 ? value.substring(0, 60) + "…" : value;
        return new InputException("%s: %s%s is %s; %s".formatted(file, path, key, shown, remedy));
    }

    private JsonNode required(String key) {
        if (!has(key)) {
            throw new InputException(
                    "%s: %s%s is missing; a model cannot be built without it".formatted(file, path, key));
        }
        return json.get(key);
    }

    private static String plain(double number) {
        return number == Math.rint(number) && Math.abs(number) < 1e15
                ? Long.toString((long) number)
                : Double.toString(number);
    }
}
