package dev.espalier.model;

/// Reads one `model_type`'s config and knows its tensor names.
///
/// The javadoc of each says in two lines how it differs from LLaMA, and names the keys that may be missing.
public interface ModelFamily {
    /// The `model_type` in `config.json`.
    String modelType();

    /// The decoder that `config` describes.
    ///
    /// @throws dev.espalier.tensor.InputException if a key is missing, absurd, or asks for what is not built
    ModelSpec spec(ModelConfig config);

    /// What this family's checkpoints call their tensors.
    TensorNames names();
}
