package dev.espalier.model;

/// Reads what a config says of rotary positions, in its old and its new spelling.
///
/// Old: `rope_theta` beside `rope_scaling {type or rope_type, …}`; new, from transformers 5 on:
/// `rope_parameters {rope_type, rope_theta, …}`. Where both are given, `rope_scaling` counts, as in transformers.
/// Missing: `rope_theta` is 10000 (LLaMA 1 and 2 were published without it), the type is `default`.
final class RotaryConfig {
    private static final double THETA = 10_000;

    private RotaryConfig() {}

    /// The `headDim / 2` inverse frequencies, in radians per position: θᵢ = base^(−2i / headDim), scaled as the type
    /// says.
    ///
    /// - `linear`: every one divided by `factor`
    /// - `llama3` (Llama 3.1, 2024): divided by `factor` where the wavelength exceeds original context /
    ///   `low_freq_factor`, kept where it is below original context / `high_freq_factor`, blended in between
    static float[] inverseFrequencies(ModelConfig config, int headDim, int context) {
        if (headDim % 2 != 0) {
            throw config.bad(
                    config.has("head_dim") ? "head_dim" : "num_attention_heads",
                    "rotary positions need an even size of a head, not " + headDim);
        }
        ModelConfig rope = config.section("rope_scaling")
                .or(() -> config.section("rope_parameters"))
                .orElse(config);
        ModelConfig thetas = rope.has("rope_theta") ? rope : config;
        double theta = thetas.number("rope_theta", 0, 1e15, THETA);
        for (ModelConfig part : new ModelConfig[] {config, rope}) {
            if (part.number("partial_rotary_factor", 0, 1, 1) != 1) {
                throw part.bad("partial_rotary_factor", "only 1 is supported: all of a head is rotated");
            }
        }
        double[] frequencies = new double[headDim / 2];
        for (int i = 0; i < frequencies.length; i++) {
            frequencies[i] = Math.pow(theta, -2.0 * i / headDim);
        }
        String key = rope.has("rope_type") ? "rope_type" : "type";
        switch (rope == config ? "default" : rope.text(key, "default")) {
            case "default" -> {}
            case "linear" -> linear(rope, frequencies);
            case "llama3" -> llama3(rope, frequencies, context);
            default -> throw rope.bad(key, "supported: default, linear, llama3");
        }
        float[] rounded = new float[frequencies.length];
        for (int i = 0; i < rounded.length; i++) {
            rounded[i] = (float) frequencies[i];
        }
        return rounded;
    }

    private static void linear(ModelConfig rope, double[] frequencies) {
        double factor = rope.number("factor", 0, 1e9);
        for (int i = 0; i < frequencies.length; i++) {
            frequencies[i] /= factor;
        }
    }

    private static void llama3(ModelConfig rope, double[] frequencies, int context) {
        double factor = rope.number("factor", 0, 1e9);
        double low = rope.number("low_freq_factor", 0, 1e9);
        double high = rope.number("high_freq_factor", 0, 1e9);
        if (high <= low) {
            throw rope.bad("high_freq_factor", "it must be above low_freq_factor, " + low);
        }
        double original = rope.count("original_max_position_embeddings", 1 << 30, context);
        for (int i = 0; i < frequencies.length; i++) {
            double wavelength = 2 * Math.PI / frequencies[i];
            double kept = Math.clamp((original / wavelength - low) / (high - low), 0, 1);
            frequencies[i] = (1 - kept) * frequencies[i] / factor + kept * frequencies[i];
        }
    }
}
