package dev.espalier.model;

import com.fasterxml.jackson.databind.JsonNode;
import dev.espalier.tensor.InputException;
import java.util.List;
import java.util.stream.Collectors;

/// The model families there are. A new one is a file and a line in this list.
public final class ModelFamilies {
    private static final List<ModelFamily> ALL = List.of(new Llama(), new Opt());

    private ModelFamilies() {}

    /// All families.
    public static List<ModelFamily> all() {
        return ALL;
    }

    /// The family of a `config.json`, by its `model_type` alone: `architectures` is not consulted.
    ///
    /// @throws InputException if `model_type` is missing or not among the families
    public static ModelFamily of(JsonNode config) {
        return of(ModelConfig.of(config, "config.json"));
    }

    /// The family of `config`.
    ///
    /// @throws InputException if `model_type` is missing or not among the families
    public static ModelFamily of(ModelConfig config) {
        String supported = ALL.stream().map(ModelFamily::modelType).collect(Collectors.joining(", "));
        if (!config.has("model_type")) {
            throw new InputException(
                    config.file() + ": model_type is missing; add the one it is, supported: " + supported);
        }
        String type = config.text("model_type", "");
        return ALL.stream()
                .filter(family -> family.modelType().equals(type))
                .findFirst()
                .orElseThrow(() -> new InputException("%s: model_type '%s' is not supported; supported: %s"
                        .formatted(config.file(), type, supported)));
    }
}
