package dev.espalier.tools;

import dev.espalier.checkpoint.Checkpoint;
import dev.espalier.checkpoint.RandomCheckpoint;
import dev.espalier.tensor.DType;
import dev.espalier.tensor.InputException;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.file.InvalidPathException;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;

/// What the word MODEL stands for: an embedded model, random weights of a shape, or a folder.
final class ModelSource {
    /// The embedded models' names.
    static final List<String> EMBEDDED = List.of("demo-llama", "demo-opt");

    private static final String RANDOM = "random:";
    private static final List<String> FILES = List.of(
            "config.json",
            "generation_config.json",
            "model.safetensors",
            "tokenizer.json",
            "tokenizer_config.json",
            "special_tokens_map.json",
            "chat_template.jinja",
            "LICENSE");

    private ModelSource() {}

    /// Whether `model` is one of the models inside.
    static boolean embedded(String model) {
        return EMBEDDED.contains(model);
    }

    /// Whether `model` has random weights.
    static boolean random(String model) {
        return model.startsWith(RANDOM);
    }

    /// Opens `model`, its weights rounded to `dtype` unless that is null.
    ///
    /// @param seed of random weights
    /// @throws InputException if there is no such model, or it cannot be read
    static Checkpoint open(String model, DType dtype, long seed) {
        if (random(model)) {
            return RandomCheckpoint.of(model.substring(RANDOM.length()), dtype == null ? DType.BF16 : dtype, seed);
        }
        Checkpoint checkpoint = embedded(model) ? inJar(model) : Checkpoint.open(path(model));
        try {
            return dtype == null ? checkpoint : checkpoint.as(dtype);
        } catch (RuntimeException e) {
            checkpoint.close();
            throw e;
        }
    }

    private static Path path(String model) {
        try {
            return Path.of(model);
        } catch (InvalidPathException e) {
            throw new InputException("MODEL " + model + " cannot be a folder's name: " + e.getReason() + ".", e);
        }
    }

    private static Checkpoint inJar(String model) {
        Map<String, byte[]> files = new TreeMap<>();
        for (String file : FILES) {
            try (InputStream in = ModelSource.class.getResourceAsStream("demo/" + model + "/" + file)) {
                if (in != null) {
                    files.put(file, in.readAllBytes());
                }
            } catch (IOException e) {
                throw new UncheckedIOException("reading the embedded model " + model, e);
            }
        }
        if (files.isEmpty()) {
            throw new InputException("This build has no model " + model + " inside; give a folder.");
        }
        return Checkpoint.of(model, files);
    }
}
