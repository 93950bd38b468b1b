package dev.espalier.tools.demo;

import dev.espalier.checkpoint.Checkpoint;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/// The models that are shipped inside the jar: small Hugging Face folders, trained on [StoryGrammar]'s text.
public final class DemoModels {
    /// The embedded models, the default first.
    public static final List<String> NAMES = List.of("demo-llama", "demo-opt");

    private static final List<String> FILES = List.of(
            "config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json");

    private DemoModels() {}

    /// The files of an embedded model's folder by name.
    ///
    /// @throws IllegalArgumentException if `name` is not one of [#NAMES]
    public static Map<String, byte[]> files(String name) {
        if (!NAMES.contains(name)) {
            throw new IllegalArgumentException("there is no embedded model " + name + "; there are " + NAMES);
        }
        Map<String, byte[]> files = new LinkedHashMap<>();
        for (String file : FILES) {
            try (InputStream in = DemoModels.class.getResourceAsStream(name + "/" + file)) {
                if (in == null) {
                    throw new IllegalStateException("the jar lacks " + name + "/" + file);
                }
                files.put(file, in.readAllBytes());
            } catch (IOException e) {
                throw new UncheckedIOException(e);
            }
        }
        return files;
    }

    /// The embedded model as a checkpoint.
    ///
    /// @throws IllegalArgumentException if `name` is not one of [#NAMES]
    public static Checkpoint checkpoint(String name) {
        return Checkpoint.of(name, files(name));
    }
}
