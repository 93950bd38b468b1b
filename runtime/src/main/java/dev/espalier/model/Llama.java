package dev.espalier.model;

import dev.espalier.kernels.Backend;
import dev.espalier.kernels.Backend.Activation;
import dev.espalier.kernels.Backend.Norm;
import dev.espalier.model.ModelSpec.Norms.Placement;
import dev.espalier.model.ModelSpec.Positions;
import java.util.List;
import java.util.Map;

/// LLaMA 1, 2 and 3, and what shares their architecture (TinyLlama, SmolLM): RMS norms before each branch, rotary
/// positions, grouped-query attention, SwiGLU. The family that the others are described against.
///
/// Keys that may be missing, as in published files: `num_key_value_heads` (as many as heads), `head_dim` (hidden size
/// over heads), `hidden_act` (silu), `attention_bias`, `mlp_bias`, `tie_word_embeddings` (false), and everything about
/// positions ([RotaryConfig]).
public final class Llama implements ModelFamily {
    /// Stateless; [ModelFamilies] has the one that is used.
    Llama() {}

    @Override
    public String modelType() {
        return "llama";
    }

    @Override
    public ModelSpec spec(ModelConfig config) {
        int hidden = config.count("hidden_size", ModelConfig.LARGEST);
        int heads = config.count("num_attention_heads", hidden);
        int kvHeads = config.count("num_key_value_heads", heads, heads);
        if (heads % kvHeads != 0) {
            throw config.bad("num_key_value_heads", "it must divide num_attention_heads, " + heads);
        }
        if (!config.has("head_dim") && hidden % heads != 0) {
            throw config.bad("num_attention_heads", "without head_dim it must divide hidden_size, " + hidden);
        }
        int headDim = config.count("head_dim", ModelConfig.LARGEST / heads, hidden / heads);
        int context = config.count("max_position_embeddings", 1 << 30);
        boolean bias = config.flag("attention_bias", false);
        return new ModelSpec(
                modelType(),
                new ModelSpec.Sizes(
                        config.count("vocab_size", ModelConfig.LARGEST),
                        hidden,
                        config.count("num_hidden_layers", 10_000),
                        context),
                new ModelSpec.Embedding(hidden, 1),
                new Positions.Rotary(RotaryConfig.inverseFrequencies(config, headDim, context)),
                new ModelSpec.Norms(
                        new Norm(Norm.Kind.RMS, (float) config.number("rms_norm_eps", 0, 1), 0),
                        Placement.BEFORE,
                        true,
                        false,
                        true),
                new ModelSpec.Attention(
                        new Backend.Attention(heads, kvHeads, headDim, (float) (1 / Math.sqrt(headDim)), 0, 0),
                        bias,
                        bias),
                new ModelSpec.Mlp(
                        config.count("intermediate_size", ModelConfig.LARGEST),
                        config.activation("hidden_act", Activation.SILU),
                        true,
                        config.flag("mlp_bias", false)),
                new ModelSpec.Head(config.flag("tie_word_embeddings", false), 0));
    }

    @Override
    public TensorNames names() {
        return new TensorNames(
                List.of("model.", ""),
                "embed_tokens",
                null,
                null,
                null,
                "layers.",
                "input_layernorm",
                "post_attention_layernorm",
                "norm",
                Map.of(
                        Projection.Q, "self_attn.q_proj",
                        Projection.K, "self_attn.k_proj",
                        Projection.V, "self_attn.v_proj",
                        Projection.O, "self_attn.o_proj",
                        Projection.GATE, "mlp.gate_proj",
                        Projection.UP, "mlp.up_proj",
                        Projection.DOWN, "mlp.down_proj"));
    }
}
